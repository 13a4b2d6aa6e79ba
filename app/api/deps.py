"""What routes are given: sessions, settings, and rows loaded once with their 404."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Path, Request
from sqlmodel import Session

from app.db import Database
from app.errors import BodyTooLarge
from app.queue import Doorbell
from app.services import experiments, studies
from app.settings import Settings
from app.tables import Experiment, Run, Study


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _doorbell(request: Request) -> Doorbell:
    doorbell: Doorbell = request.app.state.doorbell
    return doorbell


TheSettings = Annotated[Settings, Depends(_settings)]
TheDatabase = Annotated[Database, Depends(_database)]
TheDoorbell = Annotated[Doorbell, Depends(_doorbell)]


def _reading(database: TheDatabase) -> Iterator[Session]:
    with database.reading() as session:
        yield session


def _writing(database: TheDatabase) -> Iterator[Session]:
    with database.writing() as session:
        yield session


# scope="function" ends the transaction before the answer leaves: what a client was told is on disk.
Reading = Annotated[Session, Depends(_reading, scope="function")]
Writing = Annotated[Session, Depends(_writing, scope="function")]

ExperimentId = Annotated[str, Path(description="An experiment's id, `exp_…`", max_length=100)]
StudyId = Annotated[str, Path(description="A study's id, `stu_…`", max_length=100)]
RunId = Annotated[str, Path(description="A run's id, `run_…`", max_length=100)]


def _experiment(session: Reading, experiment_id: ExperimentId) -> Experiment:
    return experiments.get(session, experiment_id)


def _experiment_to_change(session: Writing, experiment_id: ExperimentId) -> Experiment:
    return experiments.get(session, experiment_id)


def _run(session: Reading, run_id: RunId) -> Run:
    return experiments.get_run(session, run_id)


def _study(session: Reading, study_id: StudyId) -> Study:
    return studies.get(session, study_id)


def _study_to_change(session: Writing, study_id: StudyId) -> Study:
    return studies.get(session, study_id)


TheStudy = Annotated[Study, Depends(_study, scope="function")]
StudyToChange = Annotated[Study, Depends(_study_to_change, scope="function")]
TheExperiment = Annotated[Experiment, Depends(_experiment, scope="function")]
ExperimentToChange = Annotated[Experiment, Depends(_experiment_to_change, scope="function")]
TheRun = Annotated[Run, Depends(_run, scope="function")]


async def _body(request: Request, settings: TheSettings) -> bytes:
    """The raw body, whatever its content type says; reading stops at the limit."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > settings.max_body_bytes:
            raise BodyTooLarge(f"the body is larger than {settings.max_body_bytes:,} bytes (LAB_MAX_BODY_BYTES)")
    return bytes(received)


Body = Annotated[bytes, Depends(_body)]
