"""Bundles: what was selected as one zip that says everything, in names that are safe, with bytes that come again."""

import asyncio
import csv
import hashlib
import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.api.analyses import bundles
from app.plots.artists import DrawingFailed
from app.roles import Role
from app.settings import Settings
from app.storage.db import Database
from lab_models.common.naming import as_file_name
from lab_models.training.assessment import assess
from tests.app.people import caller
from tests.app.test_confusion import DIGITS, assessment, succeed
from tests.app.test_reads import long_experiment
from tests.app.watching import PATIENCE, Client, service

FILES = {
    "spec-as-sent.json",
    "spec.json",
    "request.json",
    "results.json",
    "environment.json",
    "metrics.csv",
    "curves.svg",
    "curves.pdf",
}
AT_THE_TOP = {
    "reproduce-1.json",
    "table.md",
    "table.csv",
    "reproduce.sh",
    "README.md",
    "SHA256SUMS",
}


def opened(answer: Any) -> tuple[str, dict[str, bytes]]:
    """The folder, and the content of each file in it by its name."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
        assert len(found) == len(archive.namelist())
    (folder,) = {name.partition("/")[0] for name in found}
    return folder, {name.partition("/")[2]: content for name, content in found.items()}


def table(files: dict[str, bytes]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files["table.csv"].decode())))


def test_a_bundle_has_what_the_api_says_of_each_experiment(
    api: TestClient, database: Database, settings: Settings
) -> None:
    body = {"name": "three", "seeds": 3, "labels": {"exercise": "1.2"}, "epochs": 2}
    made = api.post("/experiments", json=body).json()["id"]
    api.patch(f"/experiments/{made}", json={"notes": "**best** of all"})
    api.post("/experiments", json={"name": "another"})
    for seed in range(3):
        succeed(database, settings, assessment(seed))
    answer = api.get("/bundles?label=exercise:1.2")
    assert answer.headers["content-disposition"] == (
        'attachment; filename="bundle-exercise-1.2.zip"'
    )
    folder, files = opened(answer)
    assert folder == "bundle-exercise-1.2"
    assert set(files) == {f"1 three/{name}" for name in FILES | {"notes.md"}} | AT_THE_TOP
    record = api.get(f"/experiments/{made}").json()
    results = json.loads(files["1 three/results.json"])
    assert results["results"] == record["results"]
    assert [run["test"] for run in results["runs"]] == [run["test"] for run in record["runs"]]
    assert json.loads(files["1 three/spec.json"]) == record["spec"]
    assert json.loads(files["1 three/spec-as-sent.json"]) == body
    assert json.loads(files["1 three/request.json"]) == {
        **api.get(f"/experiments/{made}/reproduce").json()["request"],
        "labels": {"exercise": "1.2"},
    }
    assert files["1 three/notes.md"] == b"**best** of all"
    assert files["1 three/curves.svg"] == api.get(f"/experiments/{made}/curves.svg").content
    assert files["1 three/curves.pdf"] == api.get(f"/experiments/{made}/curves.pdf").content
    (row,) = table(files)
    accuracy = record["results"]["test"]["accuracy"]
    assert float(row["test_accuracy"]) == accuracy["mean"]
    assert [float(row[f"test_accuracy_ci95_{end}"]) for end in ("low", "high")] == accuracy["ci95"]
    assert (row["experiment_id"], row["seeds_done"], row["seeds"]) == (made, "3", "3")
    said = files["README.md"].decode()
    assert "1 experiment, the oldest first" in said
    assert f"{100 * accuracy['mean']:.2f}" in said
    assert files["table.md"].decode() in said


def test_an_interval_of_two_seeds_that_says_nothing_is_not_printed(
    api: TestClient, database: Database, settings: Settings
) -> None:
    api.post("/experiments", json={"seeds": 2, "epochs": 1, "labels": {"a": "b"}})
    labels = np.arange(20) % 10
    for right in (4, 18):
        logits = np.eye(10, dtype=np.float32)[(labels + (np.arange(20) >= right)) % 10]
        succeed(database, settings, assess(logits, labels, DIGITS))
    _, files = opened(api.get("/bundles?label=a:b"))
    (row,) = table(files)
    assert [row[f"test_accuracy_ci95_{end}"] for end in ("low", "high")] == ["0.0", "1.0"]
    assert "| 55.00 |" in files["table.md"].decode()


def test_equal_content_has_equal_bytes_and_true_checksums(
    api: TestClient, database: Database, settings: Settings
) -> None:
    long_experiment(database, epochs=5, seeds=2)
    first, second = api.get("/bundles"), api.get("/bundles")
    assert first.content == second.content
    folder, files = opened(first)
    assert folder == "bundle"
    sums = dict(
        reversed(line.split("  ", 1)) for line in files.pop("SHA256SUMS").decode().splitlines()
    )
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def test_every_number_of_every_epoch_is_one_row(
    api: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: they come in parts, and a zip of several parts is whole."""
    monkeypatch.setattr("app.services.experiments.exports.EPOCHS_AT_ONCE", 7)
    made = long_experiment(database, epochs=20, seeds=2, gaps=0.3)
    _, files = opened(api.get("/bundles"))
    (name,) = (name for name in files if name.endswith("/metrics.csv"))
    rows = {
        (row["run_id"], int(row["epoch"]), row["split"], row["name"]): row["value"]
        for row in csv.DictReader(io.StringIO(files[name].decode()))
    }
    expected = {
        (run["run_id"], epoch["epoch"], split, score): "" if value is None else repr(value)
        for run in api.get(f"/experiments/{made}/metrics").json()["runs"]
        for epoch in run["epochs"]
        for split in ("train", "val")
        for score, value in epoch[split].items()
    }
    assert rows == expected
    assert "" in rows.values()


def test_names_are_safe_and_equal_ones_stay_apart(api: TestClient) -> None:
    names = ["../../etc/passwd", "same", "same", "=1+1", "Übung 1 网络 🙂", "CON", "a|b $(id)'\""]
    for name in names:
        api.post("/experiments", json={"name": name, "labels": {"by": "@me"}})
    _, files = opened(api.get("/bundles"))
    folders = list(dict.fromkeys(name.partition("/")[0] for name in files if "/" in name))
    assert folders == [
        "1 _.._etc_passwd",
        "2 same",
        "3 same",
        "4 =1+1",
        "5 Übung 1 网络 🙂",
        "6 CON",
        "7 a_b $(id)'_",
    ]
    assert all(name.count("/") <= 1 and "\\" not in name for name in files)
    rows = table(files)
    assert [row["name"] for row in rows] == [
        f"'{name}" if name == "=1+1" else name for name in names
    ]
    assert {row["labels"] for row in rows} == {"by:@me"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b\\c", "a_b_c"),
        ("..", "_"),
        ("", "_"),
        (" . ", "_"),
        ("tab\tand\u202eback", "tab_and_back"),
        ("e\u0301", "é"),
        ("網" * 60, "網" * 33),
        ("\ud800half", "_half"),
    ],
    ids=["slashes", "above", "empty", "dots", "unshown", "composed", "long", "half"],
)
def test_a_name_becomes_part_of_a_file_name(name: str, expected: str) -> None:
    assert as_file_name(name) == expected


def test_everybody_gets_their_own_and_an_admin_anybodys(
    api: TestClient, database: Database
) -> None:
    ada, bob = caller(api, database, "ada"), caller(api, database, "bob")
    admin = caller(api, database, "boss", Role.ADMIN)
    assert ada.post("/experiments", json={"name": "hers"}).status_code == 201
    assert bob.post("/experiments", json={"name": "his"}).status_code == 201
    assert api.get("/bundles").status_code == 401
    for client, address, names in (
        (ada, "/bundles", ["hers"]),
        (admin, "/bundles?owner=bob", ["his"]),
        (admin, "/bundles", ["hers", "his"]),
    ):
        _, files = opened(client.get(address))
        assert [row["name"] for row in table(files)] == names
    assert ada.get("/bundles?owner=bob").status_code == 404


def test_what_is_nothing_or_too_much_is_said(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = api.get("/bundles?label=exercise:9")
    assert nothing.status_code == 404
    assert "nothing to bundle" in nothing.json()["detail"]
    for name in "abc":
        api.post("/experiments", json={"name": name})
    monkeypatch.setattr(bundles, "MOST_EXPERIMENTS", 2)
    much = api.get("/bundles")
    assert much.status_code == 422
    assert much.json()["detail"].startswith(
        "3 experiments are like this, and a bundle has at most 2"
    )
    assert api.get("/bundles?lable=a:b").status_code == 422


def test_what_is_gone_meanwhile_or_cannot_be_drawn_is_said(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [api.post("/experiments", json={"name": name}).json()["id"] for name in "ab"]
    begin = bundles._begin

    def deleted(bundle: Any, experiment_id: str, place: str, session: Any) -> Any:
        return None if experiment_id == ids[0] else begin(bundle, experiment_id, place, session)

    async def fails(request: Any, draw: Any) -> bytes:
        raise DrawingFailed("a fault")

    monkeypatch.setattr(bundles, "_begin", deleted)
    monkeypatch.setattr(bundles, "drawn_for", fails)
    _, files = opened(api.get("/bundles"))
    assert {name for name in files if name.startswith("2 b/")} == {
        f"2 b/{name}" for name in FILES - {"curves.svg", "curves.pdf"}
    }
    said = files["README.md"].decode()
    assert "1 were deleted while this was made." in said
    assert "2 b lacks curves.pdf, which could not be drawn." in said


def test_who_reads_slowly_holds_nothing_and_gets_the_rest_when_they_read_on(
    settings: Settings, database: Database
) -> None:
    """Neither a connection nor a turn nor more than one piece: others read and write as if there were no bundle."""
    for _ in range(3):
        long_experiment(database, epochs=5, seeds=2)

    async def work() -> bytes:
        async with service(settings) as app:
            slow = Client(app, "/bundles")
            await slow.until(lambda one: one.content)
            slow.may_read.clear()
            async with asyncio.timeout(PATIENCE):
                while not slow.is_held_up:
                    await asyncio.sleep(0)
            begun = len(slow.content)
            assert not any(lane.num_passing for lane in app.state.passes.lanes)
            assert app.state.database.engine.pool.checkedout() == 0
            for _ in range(2):
                other = Client(app, "/experiments")
                await other.until(lambda one: one.is_whole)
                assert other.status == 200
            long_experiment(database, epochs=2, seeds=2)
            assert len(slow.content) == begun
            assert not slow.is_whole
            slow.may_read.set()
            await slow.until(lambda one: one.is_whole)
            await slow.task
            return bytes(slow.content)

    with zipfile.ZipFile(io.BytesIO(asyncio.run(work()))) as archive:
        assert archive.testzip() is None
        assert sum(name.endswith("/curves.pdf") for name in archive.namelist()) == 3
