"""To wait: through what passes by itself, not for ever, and with progress for whoever looks."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from training_lab import AsyncLab, Lab, Refused, TimedOut, Unreachable, progress, retrying, waiting

RECORD = {"id": "exp_a", "name": "depth", "status_message": "Epoch 1 of 2."}
UNDER_WAY = {**RECORD, "status": "running", "is_terminal": False, "progress": {"fraction": 0.5}}
OVER = {**RECORD, "status": "succeeded", "is_terminal": True, "progress": {"fraction": 1.0}}


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_SECONDS", 0.001)
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.001)


def service(*answers: Any) -> httpx.MockTransport:
    """It answers with a status, a record, or not at all, one after the other, and with the last for ever."""
    left: Iterator[Any] = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        found = next(left, answers[-1])
        if found is None:
            raise httpx.ConnectError("refused", request=request)
        if isinstance(found, int):
            headers = {"Retry-After": "0"} if found in (429, 503) else {}
            return httpx.Response(found, headers=headers)
        return httpx.Response(200, json=found)

    return httpx.MockTransport(answer)


PASSING = [UNDER_WAY, *[None] * 5, *[502] * 7, *[503] * 4, *[429] * 4, UNDER_WAY, OVER]


@pytest.mark.parametrize("read", [Lab.experiment, Lab.study])
def test_waiting_bears_what_passes_by_itself(read: Callable[..., Any]) -> None:
    with Lab("http://other", transport=service(*PASSING)) as lab:
        assert read(lab, "x").wait().status == "succeeded"

    async def work() -> str:
        async with AsyncLab("http://other", transport=service(*PASSING)) as lab:
            return (await (await lab.experiment("x")).wait()).status

    assert asyncio.run(work()) == "succeeded"


def test_waiting_ends_when_the_service_is_away_for_good_when_time_is_up_and_when_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Lab("http://other", transport=service(UNDER_WAY, None)) as lab, pytest.raises(TimedOut):
        lab.experiment("x").wait(timeout=0.05)
    monkeypatch.setattr(waiting, "GONE_SECONDS", 0.05)
    with Lab("http://other", transport=service(UNDER_WAY, None)) as lab, pytest.raises(Unreachable):
        lab.experiment("x").wait()
    with Lab("http://other", transport=service(UNDER_WAY, 404)) as lab, pytest.raises(Refused):
        lab.experiment("x").wait()


def test_the_service_holds_the_answer_no_longer_than_is_waited() -> None:
    asked: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if "wait" in request.url.params:
            asked.append(float(request.url.params["wait"]))
        return httpx.Response(200, json=OVER if len(asked) == 2 else UNDER_WAY)

    with Lab("http://other", transport=httpx.MockTransport(answer)) as lab:
        lab.experiment("x").wait(timeout=3)
        assert 0 < asked[1] <= asked[0] <= 3
        asked.clear()
        lab.experiment("x").wait()
        assert asked == [waiting.HOLD_SECONDS] * 2
        asked.clear()
        lab.experiment("x").wait(progress="bar")
        assert asked == [waiting.SEEN_HOLD_SECONDS] * 2


def test_a_terminal_has_a_bar_and_what_is_none_has_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Lab("http://other", transport=service(UNDER_WAY, UNDER_WAY, OVER)) as lab:
        lab.experiment("x").wait()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Lab("http://other", transport=service(UNDER_WAY, UNDER_WAY, OVER)) as lab:
        lab.experiment("x").wait()
    said = capsys.readouterr().err
    assert "depth" in said
    assert "100 %" in said
    assert progress.Bar.num_open == 0


def test_several_that_are_waited_for_at_once_share_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    async def work() -> None:
        answers = [UNDER_WAY] * 4 + [OVER]
        async with AsyncLab("http://other", transport=service(*answers)) as lab:
            both = await asyncio.gather(lab.experiment("a"), lab.experiment("b"))
            await asyncio.gather(*(one.wait() for one in both))

    asyncio.run(work())
    assert progress.Bar.num_open == 0


def test_pauses_grow_with_chance_and_have_an_end() -> None:
    monkey = [retrying.backoff(number) for number in range(60)]
    assert all(0 < pause <= retrying.LONGEST_SECONDS for pause in monkey)
    assert len(set(monkey)) > 50
    dated = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    found = {
        said: retrying.retry_after({"retry-after": said})
        for said in ("", "2", "soon", "-1", "٣", dated, "Thu, 01 Jan 1970 00:00:00 GMT")
    }
    assert found.pop(dated) == pytest.approx(60, abs=5)
    assert found == {
        "": None,
        "2": 2.0,
        "soon": None,
        "-1": None,
        "٣": None,
        "Thu, 01 Jan 1970 00:00:00 GMT": 0.0,
    }
