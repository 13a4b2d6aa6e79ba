"""The life of studies as a random walk: sent, trained, failed, extended, cancelled, retried, verified, deleted, in any
order; what holds after every step.
"""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlmodel import col, select
from starlette.testclient import TestClient

from app.main import create_app
from app.services import lifecycle
from app.services.experiments.artifacts import artifacts_of
from app.services.experiments.metrics import metrics_of
from app.settings import Settings
from app.storage.db import Database, open_database
from app.storage.states import RunStatus, experiment_status
from app.storage.tables import Artifact, Experiment, Metric, Run, StatusChange, Study
from tests.app import studies as made
from tests.app.studies import fail_next
from tests.databases import renew_database

TEACHER: dict[str, Any] = {"name": "teacher", "model": {"depth": 1, "width": 8}, "epochs": 1}
STUDENT: dict[str, Any] = {
    "name": "student",
    "kind": "distill",
    "teacher": {"cell": "teacher"},
    "student": {"hidden": [8]},
    "epochs": 1,
}
BODIES: list[dict[str, Any]] = [
    {"spec": {"epochs": 1, "model": {"width": 8}}, "vary": {"model.depth": [1, 2]}, "seeds": 2},
    {"specs": [TEACHER, STUDENT], "seeds": 2},
    {"specs": [TEACHER], "seeds": 1, "reuse": False},
    {
        "spec": {"epochs": 1, "model": {"width": 8, "depth": 1}},
        "vary": {
            "optimizer.learning_rate": {"log": [0.001, 0.1], "n": 2},
            "model.residual": [False, True],
        },
        "seeds": 1,
    },
]


def succeed_next(database: Database, settings: Settings) -> None:
    """The next run that can be claimed succeeds, if there is one."""
    with database.writing() as session:
        lease = lifecycle.claim(session, "worker")
        if lease is not None:
            made._succeed(session, settings, lease, session.get_one(Run, lease.run_id), 0.9)


class Life(RuleBasedStateMachine):
    """At most three studies at once, and the experiments that verify their cells."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        renew_database()
        self.settings = Settings(home=Path(self.folder.name), log_level="ERROR", _env_file=None)
        self.database = open_database(self.settings)
        self.client = TestClient(create_app(self.settings), raise_server_exceptions=False)
        self.api = self.client.__enter__()
        self.studies: list[str] = []
        self.verifications: list[str] = []

    def teardown(self) -> None:
        """Close what is open."""
        self.client.__exit__(None, None, None)
        self.database.close()
        self.folder.cleanup()

    @precondition(lambda self: len(self.studies) < 3)
    @rule(body=st.sampled_from(BODIES))
    def send(self, body: dict[str, Any]) -> None:
        """A new study; what equal runs have done is taken over."""
        answer = self.api.post("/studies", json=body)
        assert answer.status_code == 201, answer.text
        self.studies.append(answer.json()["id"])

    @rule(times=st.integers(1, 4))
    def train(self, times: int) -> None:
        """Some runs succeed."""
        for _ in range(times):
            succeed_next(self.database, self.settings)

    @rule()
    def fail(self) -> None:
        """A run fails."""
        with self.database.reading() as session:
            is_one = lifecycle.queued_runs(session) > 0
        if is_one:
            fail_next(self.database)

    @precondition(lambda self: self.studies)
    @rule(place=st.integers(0, 2), verb=st.sampled_from(["extend", "cancel", "retry"]))
    def change(self, place: int, verb: str) -> None:
        """Grow, stop or go on; what does not fit changes nothing."""
        address = f"/studies/{self.studies[place % len(self.studies)]}"
        before = self.api.get(address).json()
        answer = self.api.post(f"{address}/{verb}", json={"seeds": 1})
        assert answer.status_code in (200, 409), answer.text
        if answer.status_code == 409:
            assert self.api.get(address).json() == before
        elif verb == "cancel":
            assert answer.json()["is_terminal"]
        elif verb == "extend":
            assert len(answer.json()["seeds"]) == len(before["seeds"]) + 1
        else:
            assert not answer.json()["is_terminal"]

    @precondition(lambda self: self.studies and len(self.verifications) < 2)
    @rule(place=st.integers(0, 2), cell=st.integers(0, 1))
    def verify(self, place: int, cell: int) -> None:
        """A cell's succeeded runs are done again."""
        cells = self.api.get(f"/studies/{self.studies[place % len(self.studies)]}").json()["cells"]
        answer = self.api.post(f"/experiments/{cells[cell % len(cells)]['experiment_id']}/verify")
        assert answer.status_code in (201, 409), answer.text
        if answer.status_code == 201:
            self.verifications.append(answer.json()["id"])

    @precondition(lambda self: self.verifications)
    @rule()
    def end_verification(self) -> None:
        """The oldest verification is read and goes."""
        again = self.verifications[0]
        assert self.api.get(f"/experiments/{again}/verification").status_code in (200, 404)
        self.api.post(f"/experiments/{again}/cancel")
        assert self.api.delete(f"/experiments/{again}").status_code == 204
        self.verifications.pop(0)

    @precondition(lambda self: self.studies)
    @rule(place=st.integers(0, 2))
    def delete(self, place: int) -> None:
        """A study goes if nothing is under way and nothing else builds on it."""
        study = self.studies[place % len(self.studies)]
        answer = self.api.delete(f"/studies/{study}")
        assert answer.status_code in (204, 409), answer.text
        if answer.status_code == 204:
            self.studies.remove(study)
            assert self.api.get(f"/studies/{study}").status_code == 404

    @invariant()
    def counts_add_up_and_every_page_answers(self) -> None:
        """The record, the list and the rows say the same."""
        rows = {row["id"]: row for row in self.api.get("/studies").json()["data"]}
        assert set(rows) == set(self.studies)
        for study in self.studies:
            record = self.api.get(f"/studies/{study}").json()
            assert {name: record[name] for name in rows[study]} == rows[study]
            progress = record["progress"]
            assert (
                sum(progress["runs"].values())
                == progress["num_runs"]
                == sum(cell["num_runs"] for cell in record["cells"] if cell["same_as"] is None)
            )
            assert record["status"] == experiment_status(
                RunStatus(status) for status in progress["runs"]
            )
            assert record["is_terminal"] == (
                not {"queued", "running", "paused"} & set(progress["runs"])
            )
            assert {cell["num_runs"] for cell in record["cells"]} == {len(record["seeds"])}
            assert all(
                self.api.get(f"/studies/{study}/{page}").status_code == 200
                for page in ("table", "table?format=md", "verdicts")
            )

    @invariant()
    def no_row_and_no_folder_is_left_alone(self) -> None:
        """Runs hang on experiments, cells on studies, and files on runs; what was taken over is all there."""
        with self.database.reading() as session:
            runs = {run.id: run for run in session.exec(select(Run))}
            experiments = {row.id: row for row in session.exec(select(Experiment))}
            assert (
                {row.study_id for row in experiments.values()} - {None}
                == set(self.studies)
                == set(session.exec(select(Study.id)))
            )
            assert {run.experiment_id for run in runs.values()} == set(experiments)
            assert {
                row
                for table in (Metric, Artifact, StatusChange)
                for row in session.exec(select(col(table.run_id)))
            } <= set(runs)
            folders = (
                {folder.name for folder in self.settings.runs_folder.iterdir()}
                if self.settings.runs_folder.exists()
                else set()
            )
            assert folders <= set(runs)
            for run in runs.values():
                needed = runs[run.needs].status if run.needs is not None else "succeeded"
                if run.status == "queued":
                    assert needed in ("queued", "succeeded"), "what it waits for can still come"
                    assert (run.status_reason == "waiting_for_teacher") == (needed == "queued")
                if run.reused_from is not None:
                    assert (run.status, run.status_reason, run.test, run.error) == (
                        "succeeded",
                        "reused",
                        {"loss": 0.5, "accuracy": 0.9},
                        None,
                    )
                    assert metrics_of(session, [run.id])[run.id]
                if run.status == "succeeded":
                    found = artifacts_of(session, run.id)
                    assert (
                        [
                            (self.settings.runs_folder / run.id / one.path).stat().st_size
                            for one in found
                        ]
                        == [one.size_bytes for one in found]
                        != []
                    )


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=12, stateful_step_count=16, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_study_can_be_reported_on_at_every_stage(tmp_path: Path) -> None:
    """Report and pictures, which are slower than pages, along one life."""
    home = Settings(home=tmp_path, log_level="ERROR", _env_file=None)
    database = open_database(home)
    with TestClient(create_app(home), raise_server_exceptions=False) as api:
        study = api.post("/studies", json=BODIES[1]).json()["id"]
        address = f"/studies/{study}"
        for step in ("sent", "teacher", "student", "failed", "cancel", "retry", "extend"):
            if step in ("teacher", "student"):
                succeed_next(database, home)
            elif step == "failed":
                fail_next(database)
            elif step != "sent":
                assert api.post(f"{address}/{step}", json={"seeds": 1}).status_code == 200, step
            for page in ("report.html", "curves.svg", "differences.svg", "factor.svg"):
                assert api.get(f"{address}/{page}").status_code == 200, (step, page)
    database.close()
