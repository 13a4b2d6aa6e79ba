"""What is sent in bad faith or by accident, to every endpoint that reads a body: a problem comes back, nothing is
stored, and memory stays flat.
"""

import base64
import gzip
import json
import select as select_module
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlmodel import SQLModel
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from app.storage.db import Database, open_database
from tests.app.studies import finish, send
from tests.e2e.service import Service, wait_until

PROBLEM = "application/problem+json"
METHODS = ("get", "post", "put", "patch", "delete")

NESTED = 100_000
LONG = 2**20
"""Of a key or a name: a mebibyte, more than a body may have."""

BROKEN: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n\t ",
    "half": b'{"epochs": 1',
    "trailing comma": b'{"epochs": 1,}',
    "two documents": b"{}{}",
    "nothing but a bracket": b"[",
    "deep lists": b"[" * NESTED + b"]" * NESTED,
    "deep objects": b'{"a":' * NESTED + b"1" + b"}" * NESTED,
    "deep and never closed": b"[" * NESTED,
    "33 levels": b'{"labels":' * 33 + b"1" + b"}" * 33,
    "NaN": b'{"epochs": NaN, "seeds": NaN, "row": NaN, "priority": NaN}',
    "Infinity": b'{"epochs": Infinity, "seeds": Infinity, "row": Infinity}',
    "minus Infinity": b'{"epochs": -Infinity, "seeds": -Infinity, "row": -Infinity}',
    "1e999": b'{"epochs": 1e999, "seeds": 1e999, "row": 1e999}',
    "5,000 digits": b'{"epochs": ' + b"9" * 5000 + b', "seeds": 1}',
    "key twice": b'{"epochs": 1, "seeds": 1, "epochs": 2}',
    "key twice, written otherwise": b'{"epochs": 1, "\\u0065pochs": 2}',
    "lone surrogate": b'{"name": "\\ud800", "recipe": "\\ud800", "split": "\\ud800"}',
    "lone surrogate in a key": b'{"\\udfff": 1}',
    "bad UTF-8": b'{"name": "\xff\xfe"}',
    "overlong UTF-8": b'{"name": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"name": "\xed\xa0\x80"}',
    "Latin-1": '{"name": "Größe"}'.encode("latin-1"),
    "cut off, in UTF-16 without a mark": '{"seeds": 1'.encode("utf-16-le"),
    "deep, in UTF-16": ("[" * NESTED).encode("utf-16"),
    "no UTF-16, though its mark says so": b"\xff\xfe{",
    "gzip": gzip.compress(b"{}"),
    "a quoted document": b"'{}'",
    "NUL": b"\0",
    "raw NUL in a string": b'{"name": "a\0b"}',
    "YAML": b"seeds: 1\n",
    "a form": b"seeds=1&epochs=2",
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.",
    "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
}
"""What is no JSON that this service keeps."""

WRONG: dict[str, Any] = {
    "null": None,
    "true": True,
    "a number": 3,
    "a string": "mlp",
    "a list": [],
    "a list of objects": [{}],
    "strings for numbers": {"seeds": "3", "epochs": "1", "row": "0", "priority": "0"},
    "booleans for integers": {"seeds": True, "epochs": True, "row": True, "priority": True},
    "fractions for integers": {"seeds": 1.5, "epochs": 1.5, "row": 0.5, "priority": 0.5},
    "null for everything": {
        "seeds": None,
        "epochs": None,
        "row": None,
        "split": None,
        "priority": None,
        "dataset": None,
    },
    "no seeds": {"seeds": [], "row": []},
    "a seed twice": {"seeds": [1, 2, 1], "row": [1]},
    "a negative seed": {"seeds": [-1], "row": -1},
    "a huge seed": {"seeds": [2**31], "row": 2**63},
    "a seed of 4,000 digits": {"seeds": [10**4000 - 1], "row": "x"},
    "too many seeds": {"seeds": 10**9, "row": "x"},
    "100,000 seeds": {"seeds": list(range(100_000)), "row": "x"},
    "a seed as an object": {"seeds": {"0": 1}, "row": {}},
    "NUL in a label's key": {"labels": {"a\0b": "c"}, "row": "x"},
    "NUL in a name": {"name": "a\0b", "recipe": "a\0b", "row": "\0"},
    "NUL in a label": {"labels": {"a": "b\0c"}, "row": "\0"},
    "a long name": {"name": "x" * 5000, "recipe": "x" * 5000, "row": "x"},
    "a long label": {"labels": {"a": "x" * 5000}},
    "a long label's key": {"labels": {"x" * 5000: "a"}},
    "5,000 labels": {"labels": {f"k{number}": "v" for number in range(5000)}},
    "5,000 unknown keys": {f"k{number}": number for number in range(5000)},
    "a key of 100,000 characters": {"x" * 100_000: 1},
    "attributes of Python": {"__class__": "x", "__proto__": {"a": 1}, "constructor": 1},
    "another spec's fields": {
        "kind": "distill",
        "source": {"spec": {}},
        "temperature": -1,
        "split": "test",
    },
    "a reference": {"$ref": "#/components/schemas/ExperimentRequest"},
    "a path for a data set": {
        "dataset": "../../etc/passwd",
        "recipe": "../../etc/passwd",
        "split": "../../etc/passwd",
    },
    "an address for a data set": {
        "dataset": "http://169.254.169.254/latest",
        "recipe": "http://169.254.169.254/",
        "split": "file:///",
    },
}
"""JSON that no endpoint takes."""

IDS = [
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "%00",
    "a%00b",
    "x" * 10_000,
    "%F0%9F%98%80",
    "%ff%fe",
    "%ED%A0%80",
    "exp_%0d%0aX-Injected:%201",
    "' OR 1=1 --",
    "*",
    "%25",
    "-1",
    "~",
]
QUERIES = [
    "limit=-1",
    "limit=1e9",
    "limit=" + "9" * 5000,
    "limit=%00",
    "cursor=%00",
    "cursor=" + "A" * 501,
    "label=%ff",
    "label=" + "a" * 10_000,
    "status=%F0%9F%98%80",
    "limit=1&limit=x",
]
CURSORS = [
    "",
    "e30=",
    "W10=",
    "WzEsMl0=",
    "WyIyMDI2LTAxLTAxIiwgIngiXQ==",
    "bnVsbA==",
    "////",
    "%F0%9F%98%80",
    "W1tbW1tbW1tbW1tbW1tb",
    "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgMV0=",
    "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjAwIiwgImV4cF94Il0=",  # before the year 1 in UTC
]
KEYS = ["", "x" * 201, "x" * 60_000, "caf\xe9", "tab\there", "\x7f"]


def endpoints_with_bodies(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Method and path of everything that reads a body, as the OpenAPI document says."""
    paths = document["paths"].items()
    return [
        (method, path)
        for path, operations in paths
        for method, operation in operations.items()
        if "requestBody" in operation
    ]


def takes(document: dict[str, Any], method: str, path: str, media_type: str) -> bool:
    return media_type in document["paths"][path][method]["requestBody"]["content"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        home=tmp_path_factory.mktemp("hostile"),
        log_level="ERROR",
        max_body_bytes=1_000_000,
        _env_file=None,
    )


@pytest.fixture(scope="module")
def stored(home: Settings) -> Iterator[Database]:
    database = open_database(home)
    yield database
    database.close()


@pytest.fixture(scope="module")
def client(home: Settings, stored: Database) -> Iterator[TestClient]:
    with TestClient(create_app(home), raise_server_exceptions=False) as api:
        yield api


@pytest.fixture(scope="module")
def known(client: TestClient, home: Settings, stored: Database) -> dict[str, str]:
    """Ids of what is there, by the parameter that takes them."""
    study = send(
        client, spec={"model": {"width": 8}, "epochs": 1}, vary={"model.depth": [1, 2]}, seeds=1
    )
    finish(stored, home, study["id"], {})
    experiment = study["cells"][0]["experiment_id"]
    run = client.get(f"/experiments/{experiment}").json()["runs"][0]["id"]
    return {
        "study_id": study["id"],
        "experiment_id": experiment,
        "run_id": run,
        "name": "flowers",
        "key_id": "key_none",
        "webhook_id": "whk_none",
        "delivery_id": "msg_none",
    }


def counts(database: Database) -> dict[str, int]:
    """Rows of every table."""
    with database.reading() as session:
        return {
            name: session.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in SQLModel.metadata.tables.items()
        }


def files(home: Path) -> set[Path]:
    """What lies in the home."""
    folders = ("runs", "imported", "uploads", "archives")
    return {path for folder in folders for path in (home / folder).rglob("*") if path.is_file()}


def require_refusal(answer: Any, what: object) -> dict[str, Any]:
    assert 400 <= answer.status_code < 500, (what, answer.status_code, answer.text[:500])
    assert answer.headers["content-type"] == PROBLEM, what
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    assert len(answer.content) < 50_000, f"{what}: an answer does not grow with the request"
    return problem


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    described: dict[str, Any] = client.get("/openapi.json").json()
    return described


def test_the_document_names_the_endpoints_that_read_bodies(document: dict[str, Any]) -> None:
    named = set(endpoints_with_bodies(document))
    assert named >= {
        ("post", "/experiments"), ("post", "/studies"), ("post", "/studies/{study_id}/extend"),
        ("post", "/runs/{run_id}/predict"), ("put", "/datasets/{name}"),
    }  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_json_is_refused_everywhere_and_nothing_is_stored(
    client: TestClient,
    stored: Database,
    home: Settings,
    known: dict[str, str],
    document: dict[str, Any],
    case: str,
) -> None:
    before, files_before = counts(stored), files(home.home)
    for method, path in endpoints_with_bodies(document):
        for content_type in (
            "application/json",
            "application/json; charset=utf-16",
            "text/plain",
            "",
        ):
            headers = {"Content-Type": content_type} if content_type else {}
            answer = client.request(
                method, path.format(**known), content=BROKEN[case], headers=headers
            )
            problem = require_refusal(answer, (method, path))
            if takes(document, method, path, "application/json") and "predict" not in path:
                right = (415, "packed_body") if case == "gzip" else (400, "bad_json")
                assert (answer.status_code, problem["code"]) == right, (path, problem)
    assert (counts(stored), files(home.home)) == (before, files_before)


def test_a_key_that_stands_twice_is_named(client: TestClient, known: dict[str, str]) -> None:
    problem = require_refusal(
        client.post("/experiments", content=b'{"model": {"depth": 1, "depth": 2}}'), "depth"
    )
    assert problem["detail"] == "the key 'depth' stands twice in one object"


@pytest.mark.parametrize("case", WRONG)
def test_json_that_is_no_request_is_refused_everywhere_and_nothing_is_stored(
    client: TestClient,
    stored: Database,
    home: Settings,
    known: dict[str, str],
    document: dict[str, Any],
    case: str,
) -> None:
    before, files_before = counts(stored), files(home.home)
    for method, path in endpoints_with_bodies(document):
        answer = client.request(
            method, path.format(**known), content=json.dumps(WRONG[case]).encode()
        )
        problem = require_refusal(answer, (method, path))
        assert all(
            len(error["pointer"]) <= 1000 and len(error["message"]) <= 5000
            for error in problem["errors"]
        ), path
    assert (counts(stored), files(home.home)) == (before, files_before)


def test_a_file_that_unpacks_to_more_is_not_unpacked(
    client: TestClient, document: dict[str, Any], known: dict[str, str]
) -> None:
    bomb = gzip.compress(b'{"name": "' + b"x" * 10 * LONG + b'"}')
    for method, path in endpoints_with_bodies(document):
        for encoding in ("gzip", "gzip, gzip", "br", "identity"):
            require_refusal(
                client.request(
                    method,
                    path.format(**known),
                    content=bomb,
                    headers={"Content-Encoding": encoding},
                ),
                (method, path),
            )


def test_a_body_over_the_limit_is_413_whether_its_length_is_said_or_not(
    client: TestClient, stored: Database, known: dict[str, str]
) -> None:
    before = counts(stored)
    for path in ("/experiments", "/studies", f"/studies/{known['study_id']}/extend"):
        whole = b'{"' + b"x" * LONG + b'": 1}'
        pieces = (whole[start : start + 65_536] for start in range(0, len(whole), 65_536))
        for content in (whole, pieces):
            assert (
                require_refusal(client.post(path, content=content), path)["code"]
                == "body_too_large"
            )
    assert counts(stored) == before


@pytest.mark.parametrize("identifier", IDS)
def test_an_odd_id_is_nothing_that_is_there(
    client: TestClient, stored: Database, document: dict[str, Any], identifier: str
) -> None:
    before = counts(stored)
    for path, operations in document["paths"].items():
        if "{" not in path:
            continue
        address = path.replace("{extension}", "png").replace("curves.png", "curves.svg")
        for name in ("experiment_id", "study_id", "run_id", "name", "key_id", "webhook_id"):
            address = address.replace(f"{{{name}}}", identifier)
        for method in operations:
            answer = client.request(
                method, address, content=b"{}" if method in ("post", "put", "patch") else None
            )
            require_refusal(answer, (method, path))
            assert "x-injected" not in answer.headers
    assert counts(stored) == before


@pytest.mark.parametrize("query", [*QUERIES, *(f"cursor={cursor}" for cursor in CURSORS if cursor)])
def test_an_odd_query_is_refused(client: TestClient, query: str) -> None:
    for path in ("/experiments", "/studies"):
        require_refusal(client.get(f"{path}?{query}"), path)


@pytest.mark.parametrize(
    ("sort", "value", "made"),
    [
        ("-duration", "Infinity", "2026-01-01T00:00:00+00:00"),
        ("-duration", "9223372036854775808", "2026-01-01T00:00:00+00:00"),
        ("duration", "NaN", "2026-01-01T00:00:00+00:00"),
        ("duration", "5", "0001-01-01T00:00:00+23:00"),
        ("-finished_at", '"9999-12-31T23:59:59-23:00"', "2026-01-01T00:00:00+00:00"),
        ("test.accuracy", "1" + 400 * "0", "2026-01-01T00:00:00+00:00"),
    ],
    ids=["infinite", "too-long", "no-number", "year-0", "year-10000", "too-large"],
)
def test_a_sorted_list_refuses_a_cursor_of_values_that_no_database_holds(
    client: TestClient, sort: str, value: str, made: str
) -> None:
    place = f'["{sort}", {value}, "{made}", "exp_1"]'
    cursor = base64.urlsafe_b64encode(place.encode()).decode()
    answer = client.get("/experiments", params={"sort": sort, "cursor": cursor})
    require_refusal(answer, sort)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_for_repeated_posts_is_1_to_200_visible_characters(
    client: TestClient, stored: Database, key: str
) -> None:
    before = counts(stored)
    for path in ("/experiments", "/studies"):
        require_refusal(
            client.post(path, content=b"{}", headers={"Idempotency-Key": key.encode("latin-1")}),
            path,
        )
    assert counts(stored) == before


# A service in a process of its own: what its memory does

HUNDRED_MEGABYTES = 100_000_000
ALLOWED_GROWTH = 40_000_000
"""Bytes. A body that was read whole would take 100 million, and as text and JSON several times that."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("memory"), max_upload_bytes=1_000_000)
    running.api()
    yield running
    running.stop()


def peak_memory(service: Service) -> int:
    """Most memory that the service's process has ever taken, in bytes."""
    status = Path(f"/proc/{service.processes[0].pid}/status").read_text()
    return 1024 * int(
        next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    )


def send_much(service: Service, method: str, path: str, *, chunked: bool) -> int:
    """Send a hundred megabytes, or until an answer comes; returns its status."""
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {HUNDRED_MEGABYTES}"
    piece = b"[" * 65_536
    packet = b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(
            f"{method.upper()} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{framing}\r\n\r\n".encode()
        )
        sent = 0
        while sent < HUNDRED_MEGABYTES and not select_module.select([connection], [], [], 0)[0]:
            connection.sendall(packet)
            sent += len(piece)
        answer = connection.recv(65_536)
    assert b"application/problem+json" in answer
    return int(answer.split(b" ", 2)[1])


def test_a_hundred_megabytes_are_refused_and_memory_stays_flat(service: Service) -> None:
    document = service.get("/openapi.json")
    service.submit({"epochs": 1})
    before = peak_memory(service)
    for method, path in endpoints_with_bodies(document):
        address = (
            path.replace("{name}", "flowers")
            .replace("{run_id}", "run_none")
            .replace("{study_id}", "stu_none")
            .replace("{experiment_id}", "exp_none")
        )
        for chunked in (False, True):
            assert send_much(service, method, address, chunked=chunked) in (404, 413), (
                method,
                path,
            )
    assert peak_memory(service) - before < ALLOWED_GROWTH
    wait_until(lambda: service.get("/healthz")["status"] == "ok", 10, "it still answers")
    assert len(service.get("/experiments")["data"]) == 1
    assert "Traceback" not in service.read_log()
