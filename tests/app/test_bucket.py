"""Files in a bucket instead of the home: what the service serves, copies and removes of them."""

from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from sqlmodel import col, select
from starlette.testclient import TestClient

from app.errors import Misconfigured, StoreOutOfReach
from app.main import create_app
from app.services.experiments import taking_over
from app.services.experiments.taking_over import Equal, FinishedRun
from app.services.upkeep import installation, stored
from app.services.upkeep.collection import collect
from app.services.upkeep.leftovers import Kind
from app.settings import Settings
from app.storage.db import Database, open_database
from app.storage.files.bucket import Bucket
from app.storage.files.places import file_store
from app.storage.tables import Artifact, Run, utc_now
from lab_models.datasets.catalog import Catalog
from tests.app.rows import create
from tests.app.test_datasets_api import put
from tests.buckets import Buckets, served

SPEC = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 1}
CONTENT = b"weights of a network"
PATH = "attempt-1/weights.safetensors"


@pytest.fixture(scope="module")
def buckets() -> Iterator[Buckets]:
    with served() as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, buckets: Buckets) -> Settings:
    return Settings(
        home=tmp_path / "api",
        log_level="ERROR",
        store=buckets.take(),
        min_free_bytes=0,
        _env_file=None,
    )


@pytest.fixture
def out_of_reach(buckets: Buckets) -> Iterator[None]:
    buckets.wire.cut()
    yield
    buckets.wire.mend()


@pytest.fixture
def run_id(database: Database, settings: Settings, tmp_path: Path) -> str:
    """A run whose worker, elsewhere, has published a file."""
    with database.writing() as session:
        experiment = create(session, SPEC)
        found = session.exec(select(Run.id).where(col(Run.experiment_id) == experiment.id)).one()
        put_there(settings, tmp_path, found)
        session.add(
            Artifact(
                run_id=found,
                name="weights.safetensors",
                media_type="application/octet-stream",
                path=PATH,
                sha256=sha256(CONTENT).hexdigest(),
                size_bytes=len(CONTENT),
                created_at=utc_now(),
            )
        )
    return found


def put_there(settings: Settings, tmp_path: Path, run_id: str, path: str = PATH) -> None:
    """As a worker with a home of its own does it."""
    elsewhere = Bucket(tmp_path / "worker", settings.store, 0)
    file = tmp_path / "worker" / "runs" / run_id / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(CONTENT)
    elsewhere.keep(run_id, [path])
    elsewhere.clear(run_id)
    assert not file.exists()


def names(settings: Settings, below: str = "runs/") -> list[str]:
    return sorted(file.name for file in file_store(settings).listed(below))


def test_a_file_is_served_from_the_bucket_with_range_and_etag(
    api: TestClient, run_id: str, settings: Settings
) -> None:
    address = f"/runs/{run_id}/artifacts/weights.safetensors"
    answer = api.get(address)
    assert (answer.content, answer.headers["etag"]) == (
        CONTENT,
        f'"{sha256(CONTENT).hexdigest()}"',
    )
    part = api.get(address, headers={"Range": "bytes=8-9"})
    assert (part.status_code, part.content) == (206, b"of")
    assert (settings.home / "cache" / run_id / PATH).read_bytes() == CONTENT


def test_a_bucket_out_of_reach_is_503_and_says_which(
    api: TestClient, run_id: str, out_of_reach: None
) -> None:
    answer = api.get(f"/runs/{run_id}/artifacts/weights.safetensors")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["code"] == "store_out_of_reach"
    assert "LAB_STORE" in answer.json()["detail"]
    assert "anything" not in answer.text, "no secret is said"
    assert api.get(f"/runs/{run_id}/artifacts").status_code == 200


def test_what_was_read_is_kept_for_a_while_and_the_oldest_goes_first(
    settings: Settings, tmp_path: Path
) -> None:
    small = Bucket(tmp_path / "small", settings.store, 0, most_cached=2 * len(CONTENT))
    digest = sha256(CONTENT).hexdigest()
    for run_id in ("run_1", "run_2", "run_3"):
        put_there(settings, tmp_path, run_id)
        assert small.path_of(run_id, PATH, digest) is not None
    kept = sorted(path.parts[-3] for path in (tmp_path / "small" / "cache").rglob("*.safetensors"))
    assert len(kept) == 2
    assert "run_3" in kept
    assert small.path_of("run_none", PATH, digest) is None
    assert small.path_of("run_1", PATH, digest) is not None, "fetched again"
    assert Bucket(tmp_path / "other", settings.store, 0).path_of("run_1", PATH, "0" * 64) is None
    assert not [path for path in (tmp_path / "other").rglob("*") if path.is_file()], "nor a trace"


def test_an_equal_run_takes_copies_that_the_bucket_makes(
    settings: Settings, tmp_path: Path, run_id: str
) -> None:
    whole, wrong = ((PATH, len(CONTENT)),), ((PATH, 1),)
    taken = taking_over.take_files(
        [
            Equal("run_new", (FinishedRun("run_gone", whole), FinishedRun(run_id, whole))),
            Equal("run_other", (FinishedRun(run_id, wrong),)),
        ],
        file_store(settings),
    )
    assert taken == {"run_new": run_id}
    assert names(settings) == sorted([f"runs/{run_id}/{PATH}", f"runs/run_new/{PATH}"])


def test_a_deletion_removes_what_is_in_the_bucket(
    api: TestClient, run_id: str, settings: Settings, database: Database
) -> None:
    with database.reading() as session:
        experiment = session.get_one(Run, run_id).experiment_id
    api.get(f"/runs/{run_id}/artifacts/weights.safetensors")
    api.post(f"/experiments/{experiment}/cancel")
    assert api.delete(f"/experiments/{experiment}").status_code == 204
    assert names(settings) == []
    assert not list((settings.home / "cache").rglob("*.safetensors"))


def test_gc_finds_in_the_bucket_what_no_row_points_to(
    settings: Settings,
    tmp_path: Path,
    run_id: str,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for orphan, path in (
        ("run_deleted", PATH),
        (run_id, "attempt-0/epoch-1.pt"),
        (run_id, "attempt-1/epoch-2.pt"),
    ):
        put_there(settings, tmp_path, orphan, path)
    assert collect(database, settings, dry_run=False).found == (), "nothing younger than an hour"
    monkeypatch.setattr(stored, "utc_now", lambda: utc_now() + timedelta(hours=2))
    with database.writing() as session:
        session.get_one(Run, run_id).attempt = 1
    listed = collect(database, settings, dry_run=True)
    assert {(item.kind, item.path) for item in listed.found} == {
        (Kind.STORED, "runs/run_deleted"),
        (Kind.STORED, f"runs/{run_id}"),
    }
    assert collect(database, settings, dry_run=False) == listed
    assert names(settings) == [f"runs/{run_id}/{PATH}"]


def test_an_imported_data_set_reaches_another_home_and_goes_with_its_removal(
    api: TestClient, settings: Settings, tmp_path: Path
) -> None:
    assert put(api).status_code == 201
    worker = Bucket(tmp_path / "worker", settings.store, 0)
    worker.bring_dataset("flowers")
    here, there = (Catalog(home / "imported") for home in (settings.home, tmp_path / "worker"))
    assert there.sha256("flowers") == here.sha256("flowers")
    assert there.disk_bytes("flowers") == here.disk_bytes("flowers")
    first = here.sha256("flowers")
    assert api.delete("/datasets/flowers").status_code == 200
    assert names(settings, "imported/") == []
    assert put(api, size=5).status_code == 201
    worker.bring_dataset("flowers")
    assert there.sha256("flowers") == here.sha256("flowers") != first, "the later one of its name"
    worker.bring_dataset("none")
    assert there.get("none") is None


def test_an_import_that_cannot_be_kept_is_none(
    api: TestClient, settings: Settings, buckets: Buckets
) -> None:
    buckets.wire.cut()
    try:
        answer = put(api)
    finally:
        buckets.wire.mend()
    assert (answer.status_code, answer.json()["code"]) == (503, "store_out_of_reach")
    assert Catalog(settings.imported_folder).get("flowers") is None
    assert put(api).status_code == 201


def test_a_data_set_stays_when_the_bucket_cannot_be_told_of_its_removal(
    api: TestClient, settings: Settings, buckets: Buckets
) -> None:
    put(api)
    buckets.wire.cut()
    try:
        assert api.delete("/datasets/flowers").status_code == 503
    finally:
        buckets.wire.mend()
    assert Catalog(settings.imported_folder).get("flowers") is not None
    assert api.delete("/datasets/flowers").status_code == 200


def test_a_worker_without_the_apis_bucket_is_refused(settings: Settings, tmp_path: Path) -> None:
    apart = settings.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'shared.sqlite3'}"})
    database = open_database(apart)
    try:
        with database.writing() as session:
            installation.note(session, apart)
        other = apart.model_copy(update={"home": tmp_path / "worker"})
        with database.reading() as session:
            installation.compare(session, other)
            with pytest.raises(Misconfigured, match="LAB_STORE is not set, the API's s3://"):
                installation.compare(session, other.model_copy(update={"store": ""}))
    finally:
        database.close()


@pytest.mark.parametrize("url", ["s3:/lab", "/srv/lab", "s3://", "gs://lab", "s3://Lab?x=1"])
def test_what_names_no_bucket_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="LAB_STORE: must be s3://bucket"):
        Settings(home=tmp_path, store=url, _env_file=None)


@pytest.mark.usefixtures("out_of_reach")
def test_gc_says_that_the_bucket_does_not_answer(settings: Settings, database: Database) -> None:
    with pytest.raises(StoreOutOfReach):
        collect(database, settings, dry_run=True)


@pytest.fixture
def api(settings: Settings, database: Database) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client
