"""What routes ask for by a parameter's type: sessions, settings, and rows loaded once with their 404.
`app.api.http.parameters` says how each comes about.
"""

from typing import Annotated, TypeVar

from fastapi import Depends, Header, Path, Request
from sqlmodel import Session

from app.api.http.parameters import Afterwards, Given, Kept, Loaded, Opened
from app.api.http.sharing import Watch
from app.doorbell import Doorbell
from app.errors import BodyTooLarge, Forbidden, NotFound
from app.roles import Role
from app.services.experiments.recent_losses import RecentLosses
from app.services.experiments.settled import SettledRecords
from app.services.experiments.speeds import LatestSpeeds
from app.services.experiments.standing import LatestStanding
from app.services.experiments.visibility import visible_experiment, visible_run
from app.services.lifecycle.local_workers import LocalWorkers
from app.services.owners.keys import ANYONE, Caller
from app.services.studies import studies
from app.services.studies.study_costs import RecipeCosts
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Experiment, Run, Study

Loadable = TypeVar("Loadable", Experiment, Study)

TheSettings = Annotated[Settings, Given(lambda request: request.app.state.settings)]
TheDatabase = Annotated[Database, Given(lambda request: request.app.state.database)]
TheDoorbell = Annotated[Doorbell, Given(lambda request: request.app.state.doorbell)]
TheCaller = Annotated[Caller, Given(lambda request: getattr(request.state, "caller", ANYONE))]
TheWatch = Annotated[Watch, Given(lambda request: request.app.state.watch)]
TheStanding = Annotated[LatestStanding, Given(lambda request: request.app.state.standing)]
TheSpeeds = Annotated[LatestSpeeds, Given(lambda request: request.app.state.speeds)]
TheRecipeCosts = Annotated[RecipeCosts, Given(lambda request: request.app.state.recipe_costs)]
TheLocalWorkers = Annotated[LocalWorkers, Given(lambda request: request.app.state.local_workers)]
TheSettledRecords = Annotated[
    SettledRecords, Given(lambda request: request.app.state.settled_records)
]
TheRecentLosses = Annotated[RecentLosses, Given(lambda request: request.app.state.recent_losses)]
TheAfterwards = Annotated[Afterwards, Kept()]

Reading = Annotated[Session, Opened(writes=False)]
Writing = Annotated[Session, Opened(writes=True)]

ExperimentId = Annotated[str, Path(description="An experiment's id, `exp_…`", max_length=100)]
StudyId = Annotated[str, Path(description="A study's id, `stu_…`", max_length=100)]
RunId = Annotated[str, Path(description="A run's id, `run_…`", max_length=100)]


def visible_study(session: Session, caller: Caller, study_id: str) -> Study:
    """The study; NotFound where there is none that the caller may see."""
    study = studies.get(session, study_id)
    if not caller.may_see(study.owner):
        raise NotFound(f"there is no study {study_id!r}; GET /studies lists them")
    return study


def require_admin(caller: Caller, what: str) -> None:
    """Raises Forbidden for every other role; `what` is what only an admin may."""
    if caller.role is not Role.ADMIN:
        raise Forbidden(
            f"the key of {caller.owner} has the role '{caller.role}', and {what} needs 'admin'"
        )


def changeable_experiment(session: Session, caller: Caller, experiment_id: str) -> Experiment:
    """The experiment; NotFound where the caller sees none, Forbidden where they may change nothing of it."""
    return _changeable(caller, visible_experiment(session, caller, experiment_id))


def _changeable(caller: Caller, row: Loadable) -> Loadable:
    if not caller.may_change(row.owner):
        raise Forbidden(
            f"the key of {caller.owner} has the role '{caller.role}', which changes nothing of {row.owner}'s"
        )
    return row


def _experiment(session: Reading, caller: TheCaller, experiment_id: ExperimentId) -> Experiment:
    return visible_experiment(session, caller, experiment_id)


def _experiment_to_prepare(
    session: Reading, caller: TheCaller, experiment_id: ExperimentId
) -> Experiment:
    return changeable_experiment(session, caller, experiment_id)


def _experiment_to_change(
    session: Writing, caller: TheCaller, experiment_id: ExperimentId
) -> Experiment:
    return changeable_experiment(session, caller, experiment_id)


def _run(session: Reading, caller: TheCaller, run_id: RunId) -> Run:
    return visible_run(session, caller, run_id)


def _study(session: Reading, caller: TheCaller, study_id: StudyId) -> Study:
    return visible_study(session, caller, study_id)


def _study_to_prepare(session: Reading, caller: TheCaller, study_id: StudyId) -> Study:
    return _changeable(caller, visible_study(session, caller, study_id))


def _study_to_change(session: Writing, caller: TheCaller, study_id: StudyId) -> Study:
    return _changeable(caller, visible_study(session, caller, study_id))


TheStudy = Annotated[Study, Loaded(_study)]
StudyToPrepare = Annotated[Study, Loaded(_study_to_prepare)]
StudyToChange = Annotated[Study, Loaded(_study_to_change)]
TheExperiment = Annotated[Experiment, Loaded(_experiment)]
ExperimentToPrepare = Annotated[Experiment, Loaded(_experiment_to_prepare)]
ExperimentToChange = Annotated[Experiment, Loaded(_experiment_to_change)]
TheRun = Annotated[Run, Loaded(_run)]


async def _body(request: Request) -> bytes:
    """The raw body, whatever its content type says; reading stops at the limit."""
    most: int = request.app.state.settings.max_body_bytes
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > most:
            raise BodyTooLarge(f"the body is larger than {most:,} bytes (LAB_MAX_BODY_BYTES)")
    return bytes(received)


Body = Annotated[bytes, Depends(_body)]

# An empty key, or bytes that no two programs read alike, would make strangers' requests one.
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern="^[ -~]+$",
        description="Makes a repeated POST return what the first one made",
    ),
]
