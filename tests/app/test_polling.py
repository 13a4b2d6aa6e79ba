"""Whoever polls pays for changes alone: tags of what is read, and texts that leave compressed."""

import gzip
import zlib
from typing import Any

import anyio
import pytest
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from app.api.http.compression import Compression
from app.settings import Settings
from app.storage.db import Database
from tests.app.studies import fail_next, finish_all
from tests.app.test_reads import statements

BODY = {"dataset": "digits", "model": {"hidden": [16, 8]}, "epochs": 2, "seeds": 2}


@pytest.fixture
def finished(api: TestClient, database: Database, settings: Settings) -> str:
    record = api.post("/experiments", json=BODY).json()
    finish_all(database, settings, {0: 0.9, 1: 0.92})
    return str(record["id"])


def again(api: TestClient, path: str, tag: str) -> Response:
    answer: Any = api.get(path, headers={"If-None-Match": f'"other", {tag}'})
    return answer  # type: ignore[no-any-return]


def test_a_finished_record_is_looked_at_by_one_statement_and_found_changed_by_whatever_changes_it(
    api: TestClient, database: Database, finished: str
) -> None:
    path = f"/experiments/{finished}"
    tag = api.get(path).headers["etag"]
    assert again(api, path, tag).status_code == 304, "by the content"
    asked = statements(api.app.state.database)  # type: ignore[attr-defined]
    for _ in range(3):
        answer: Any = again(api, path, tag)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert len([one for one in asked if "FROM experiment" in one]) == 3
    assert not any("spec" in one for one in asked), "the record is not read"
    seen = {tag}
    labels = {"labels": {"note": "x"}}
    changes = (
        lambda: api.patch(path, json={"name": "another"}),
        lambda: api.patch(path, json=labels),
        lambda: api.patch(path, json={"notes": "# It works"}),
        lambda: api.patch(path, json={"archived": True}),
    )
    for change in changes:
        assert change().status_code == 200
        new: Any = again(api, path, tag)
        assert new.status_code == 200
        assert new.json() == api.get(path).json()
        tag = new.headers["etag"]
        assert again(api, path, tag).status_code == 304
        seen.add(tag)
    assert len(seen) == 5


def test_a_retry_is_seen_by_whoever_polled_the_failed_record(
    api: TestClient, database: Database
) -> None:
    path = f"/experiments/{api.post('/experiments', json={**BODY, 'seeds': 1}).json()['id']}"
    fail_next(database)
    tag = api.get(path).headers["etag"]
    assert [again(api, path, tag).status_code for _ in range(2)] == [304, 304]
    api.post(f"{path}/retry")
    queued: Any = again(api, path, tag)
    assert (queued.status_code, queued.json()["status"]) == (200, "queued")
    fail_next(database)
    failed: Any = again(api, path, queued.headers["etag"])
    assert (failed.status_code, failed.json()["status"]) == (200, "failed")


def test_every_kind_of_document_has_a_tag(api: TestClient, finished: str) -> None:
    run = api.get(f"/experiments/{finished}").json()["runs"][0]["id"]
    for path in (
        "/experiments",
        "/experiments/counts",
        "/studies",
        f"/runs/{run}",
        f"/runs/{run}/metrics?format=csv",
        f"/runs/{run}/artifacts",
        "/recipes",
    ):
        first = api.get(path)
        assert first.headers["cache-control"] == "no-cache", path
        assert again(api, path, first.headers["etag"]).status_code == 304, path
        assert again(api, path, 'W/"none"').status_code == 200, path
    refused = api.get("/experiments/exp_none")
    assert "etag" not in refused.headers


def test_texts_leave_compressed_for_whoever_accepts_that(api: TestClient, finished: str) -> None:
    path = f"/experiments/{finished}"
    plain = api.get(path, headers={"Accept-Encoding": "gzip;q=0, identity"})
    assert "content-encoding" not in plain.headers
    for accepted in ("gzip", "br, GZIP;q=0.5", "*"):
        packed = api.get(path, headers={"Accept-Encoding": accepted})
        assert packed.headers["content-encoding"] == "gzip"
        assert "Accept-Encoding" in packed.headers["vary"]
        assert packed.json() == plain.json()
        assert int(packed.headers["content-length"]) < len(plain.content) / 2
        assert packed.headers["etag"] == plain.headers["etag"], "weak: the same document"
    svg = api.get(f"{path}/curves.svg", headers={"Accept-Encoding": "gzip"})
    assert svg.headers["content-encoding"] == "gzip"
    assert again(api, f"{path}/curves.svg", svg.headers["etag"]).status_code == 304
    assert "content-encoding" not in api.get(f"{path}/curves.png").headers
    assert "content-encoding" not in api.get("/healthz").headers, "too small"


def sent(app: ASGIApp) -> tuple[dict[str, str], list[bytes]]:
    """The headers and the pieces of an answer, as they leave."""
    headers: dict[str, str] = {}
    pieces: list[bytes] = []

    async def receive() -> Any:
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers.update((key.decode(), value.decode()) for key, value in message["headers"])
        else:
            pieces.append(message["body"])

    scope = {"type": "http", "method": "GET", "headers": [(b"accept-encoding", b"gzip")]}
    anyio.run(Compression(app), scope, receive, send)
    return headers, pieces


def test_each_piece_of_a_stream_can_be_read_as_soon_as_it_is_sent() -> None:
    async def parts() -> Any:
        for part in (b"one,two\n" * 400, b"", b"three\n", b"x" * 200_000):
            yield part

    headers, pieces = sent(StreamingResponse(parts(), media_type="text/csv; charset=utf-8"))
    assert headers["content-encoding"] == "gzip"
    assert "content-length" not in headers
    reader = zlib.decompressobj(31)
    assert reader.decompress(pieces[0]) == b"one,two\n" * 400
    assert gzip.decompress(b"".join(pieces)) == b"one,two\n" * 400 + b"three\n" + b"x" * 200_000


@pytest.mark.parametrize("media_type", ["text/event-stream", "application/zip", "image/png"])
def test_events_and_what_is_packed_already_stay_as_they_are(media_type: str) -> None:
    content = b"data: 1\n\n" * 400
    headers, pieces = sent(Response(content, media_type=media_type))
    assert "content-encoding" not in headers
    assert b"".join(pieces) == content


def test_what_is_sent_in_ranges_or_has_a_strong_tag_keeps_its_meaning() -> None:
    ranged = PlainTextResponse("x" * 4000, headers={"Accept-Ranges": "bytes", "ETag": '"strong"'})
    headers, _ = sent(ranged)
    assert "content-encoding" not in headers
    assert headers["etag"] == '"strong"'
    headers, pieces = sent(PlainTextResponse("x" * 4000, headers={"ETag": '"strong"'}))
    assert headers["etag"] == 'W/"strong"'
    assert gzip.decompress(b"".join(pieces)) == b"x" * 4000
