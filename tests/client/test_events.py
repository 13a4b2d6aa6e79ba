"""Events over every cut of the line: none that matters is lost, nothing is taken for an end that is none."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings import Settings
from app.storage.db import Database
from tests.app.test_retry import begin, fail, finish_epoch, resume, succeed
from training_lab import AsyncLab, Event, Lab, NotFound, Refused, retrying
from training_lab.events import Parser

pytestmark = pytest.mark.sqlite

DIGITS = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 4}
STREAM = "".join(
    f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n{number}\n"
    for name, data, number in (
        ("run", {"id": "run_a", "name": "a\u2028b\u0085c\u000bd: é"}, ""),
        ("experiment", {"id": "exp_a"}, "id: 7\n"),
        ("ping", {"at": "now"}, "id: 9\n"),
    )
).encode()


def test_a_stream_that_begins_with_a_comment_and_has_windows_lines_is_read() -> None:
    read = list(Parser().feed(b"retry: 2000\n\n: hello\n\n" + STREAM.replace(b"\n", b"\r\n")))
    assert [(one.type, one.id, one.number) for one in read] == [
        ("run", "run_a", None),
        ("experiment", "exp_a", 7),
        ("ping", "", 9),
    ]


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_wherever_the_pieces_end_the_events_are_the_same(cuts: list[int]) -> None:
    parser = Parser()
    ends = [0, *sorted(cuts), len(STREAM)]
    read = [
        event
        for begins, end in itertools.pairwise(ends)
        for event in parser.feed(STREAM[begins:end])
    ]
    assert [(one.type, one.raw) for one in read] == [
        ("run", {"id": "run_a", "name": "a\u2028b\u0085c\u000bd: é"}),
        ("experiment", {"id": "exp_a"}),
        ("ping", {"at": "now"}),
    ]


def test_an_experiment_is_followed_to_its_end(
    lab: Lab, database: Database, settings: Settings
) -> None:
    made = lab.submit(DIGITS, labels={"week": 3})
    stream = made.stream()
    first = next(stream)
    assert (first.type, first.status, first.owner) == ("run", "queued", "local")
    lease = begin(database)
    resume(database, lease, settings)
    finish_epoch(database, lease, 1)
    succeed(database, lease)
    events = list(stream)
    assert events[-1].type == "experiment"
    assert events[-1].status == "succeeded"
    assert {event.experiment_id for event in events} == {made.id}
    after = max(event.number or 0 for event in events)
    assert list(lab.events(made, after=after)) == []
    with pytest.raises(NotFound):
        next(lab.events("exp_nothing"))
    with pytest.raises(Refused, match="cannot be watched at once"):
        next(lab.events(made, owner="ann"))


def test_with_a_label_only_what_has_it_is_told_and_runs_know_their_owner(
    url: str, lab: Lab, database: Database
) -> None:
    """The session of somebody who watches forty, with the others' runs between."""
    others = [lab.submit(DIGITS) for _ in range(3)]
    mine = lab.submit(DIGITS, labels={"week": "3"})
    others[0].edit(labels={"week": "4"})
    for _ in range(4):
        fail(database, begin(database))

    async def work() -> list[Event]:
        found = []
        async with AsyncLab(url) as lab, asyncio.timeout(20):
            async for event in lab.events(label="week:3"):
                found.append(event)
                if event.type == "run" and event.status == "failed":
                    break
        return found

    *_, last = asyncio.run(work())
    assert last.experiment_id == mine.id
    assert last.owner == "local"
    assert last.labels == {"week": "3"}
    assert last.reason == "training_failed"


def at(pieces: list[list[bytes]], asked: list[str]) -> httpx.MockTransport:
    """A service whose streams say these pieces, one list a connection, and are then cut."""

    class Cut(httpx.AsyncByteStream):
        def __init__(self, said: list[bytes]) -> None:
            self._said = said

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in self._said:
                yield piece
            raise httpx.ReadError("cut")

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.get("after", ""))
        if not pieces:
            return httpx.Response(404, json={"title": "Not found", "code": "not_found"})
        said = pieces.pop(0)
        return httpx.Response(502) if not said else httpx.Response(200, stream=Cut(said))

    return httpx.MockTransport(answer)


def told(pieces: list[list[bytes]], asked: list[str]) -> list[Any]:
    async def work() -> list[Any]:
        async with AsyncLab("http://service", transport=at(pieces, asked)) as lab:
            return [(event.type, event.number) async for event in lab.events()]

    return asyncio.run(work())


def test_a_stream_that_is_cut_goes_on_after_the_last_whole_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrying, "FIRST_SECONDS", 0.001)
    run, end = STREAM[: STREAM.index(b"event: experiment")], STREAM.index(b"event: ping")
    asked: list[str] = []
    pieces = [
        [run, STREAM[len(run) : end - 3]],  # within the experiment's event
        [],  # something in between answers
        [STREAM[:end]],
        [STREAM[end:], b'event: end\ndata: {"reason": "shutdown"}\n\n'],
        [b'event: end\ndata: {"reason": "terminal"}\n\n'],
    ]
    assert told(pieces, asked) == [("run", None), ("experiment", 7)]
    assert asked == ["", "", "", "7", "9"]


def test_a_key_that_is_revoked_and_a_thing_that_is_gone_end_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrying, "FIRST_SECONDS", 0.001)
    with pytest.raises(Refused, match="of no use any more"):
        told([[b'event: end\ndata: {"reason": "revoked"}\n\n']], [])
    with pytest.raises(NotFound):
        told([[STREAM]], [])


def test_a_newer_services_events_are_told_and_a_reset_forgets_experiments() -> None:
    event = Event("eclipse", {"id": "moon_a", "shade": 1})
    assert (event.status, event.reason, event.owner, event.labels) == ("", "", None, {})
    assert repr(event) == "<Event eclipse moon_a>"
