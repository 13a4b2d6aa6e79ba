"""What routes are given: sessions, settings, and rows loaded once with their 404."""

from collections.abc import Iterator
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Path, Request
from sqlmodel import Session

from app.api.bodies import refuse_deep_nesting
from app.db import Database
from app.errors import BodyTooLarge, Forbidden, NotFound
from app.queue import Doorbell
from app.services import studies
from app.services.keys import ANYONE, Caller, Role
from app.services.visibility import visible_experiment, visible_run
from app.settings import Settings
from app.tables import Experiment, Run, Study

Row = TypeVar("Row", Experiment, Study)


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _doorbell(request: Request) -> Doorbell:
    doorbell: Doorbell = request.app.state.doorbell
    return doorbell


def _caller(request: Request) -> Caller:
    caller: Caller = getattr(request.state, "caller", ANYONE)
    return caller


TheSettings = Annotated[Settings, Depends(_settings)]
TheDatabase = Annotated[Database, Depends(_database)]
TheDoorbell = Annotated[Doorbell, Depends(_doorbell)]
TheCaller = Annotated[Caller, Depends(_caller)]


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


def _visible_study(session: Session, caller: Caller, study_id: str) -> Study:
    """The study; NotFound where there is none that the caller may see."""
    study = studies.get(session, study_id)
    if not caller.may_see(study.owner):
        raise NotFound(f"there is no study {study_id!r}; GET /studies lists them")
    return study


def require_admin(caller: Caller, what: str) -> None:
    """Raises Forbidden for every other role; `what` is what only an admin may."""
    if caller.role is not Role.ADMIN:
        raise Forbidden(f"the key of {caller.owner} has the role '{caller.role}', and {what} needs 'admin'")


def _changeable(caller: Caller, row: Row) -> Row:
    if not caller.may_change(row.owner):
        raise Forbidden(f"the key of {caller.owner} has the role '{caller.role}', which changes nothing of {row.owner}'s")
    return row


def _experiment(session: Reading, caller: TheCaller, experiment_id: ExperimentId) -> Experiment:
    return visible_experiment(session, caller, experiment_id)


def _experiment_to_prepare(session: Reading, caller: TheCaller, experiment_id: ExperimentId) -> Experiment:
    return _changeable(caller, visible_experiment(session, caller, experiment_id))


def _experiment_to_change(session: Writing, caller: TheCaller, experiment_id: ExperimentId) -> Experiment:
    return _changeable(caller, visible_experiment(session, caller, experiment_id))


def _run(session: Reading, caller: TheCaller, run_id: RunId) -> Run:
    return visible_run(session, caller, run_id)


def _study(session: Reading, caller: TheCaller, study_id: StudyId) -> Study:
    return _visible_study(session, caller, study_id)


def _study_to_prepare(session: Reading, caller: TheCaller, study_id: StudyId) -> Study:
    return _changeable(caller, _visible_study(session, caller, study_id))


def _study_to_change(session: Writing, caller: TheCaller, study_id: StudyId) -> Study:
    return _changeable(caller, _visible_study(session, caller, study_id))


TheStudy = Annotated[Study, Depends(_study, scope="function")]
StudyToPrepare = Annotated[Study, Depends(_study_to_prepare, scope="function")]
StudyToChange = Annotated[Study, Depends(_study_to_change, scope="function")]
TheExperiment = Annotated[Experiment, Depends(_experiment, scope="function")]
ExperimentToPrepare = Annotated[Experiment, Depends(_experiment_to_prepare, scope="function")]
ExperimentToChange = Annotated[Experiment, Depends(_experiment_to_change, scope="function")]
TheRun = Annotated[Run, Depends(_run, scope="function")]


async def _body(request: Request, settings: TheSettings) -> bytes:
    """The raw body, whatever its content type says; reading stops at the limit."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > settings.max_body_bytes:
            raise BodyTooLarge(f"the body is larger than {settings.max_body_bytes:,} bytes (LAB_MAX_BODY_BYTES)")
    refuse_deep_nesting(received, settings.max_body_depth)
    return bytes(received)


Body = Annotated[bytes, Depends(_body)]

# An empty key, or bytes that no two programs read alike, would make strangers' requests one.
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=200, pattern="^[ -~]+$", description="Makes a repeated POST return what the first one made")
]
