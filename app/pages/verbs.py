"""What a page asks of an experiment that is there: each is the API's own function."""

import json
from typing import Any, Final, Literal, assert_never

from sqlmodel import Session

from app.api.experiments import experiments as experiments_api
from app.api.experiments import steering
from app.api.experiments.schemas import ExperimentRecord
from app.api.http.parameters import Afterwards
from app.doorbell import Doorbell
from app.services.lifecycle.local_workers import LocalWorkers
from app.services.owners.keys import Caller
from app.settings import Settings
from app.storage.states import RunStatus
from app.storage.tables import Experiment

Verb = Literal["pause", "resume", "retry", "cancel"]

VERBS: Final[dict[Verb, frozenset[RunStatus]]] = {
    "pause": frozenset({RunStatus.QUEUED, RunStatus.RUNNING}),
    "resume": frozenset({RunStatus.PAUSED}),
    "retry": frozenset({RunStatus.FAILED, RunStatus.CANCELLED}),
    "cancel": frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSED}),
}
"""What can be asked of an experiment, and of which of its runs each asks something."""


def steered(
    verb: Verb,
    session: Session,
    caller: Caller,
    experiment: Experiment,
    settings: Settings,
    doorbell: Doorbell,
    afterwards: Afterwards,
    local_workers: LocalWorkers,
) -> ExperimentRecord:
    """What the API's verb does and answers."""
    match verb:
        case "pause":
            return steering.pause_experiment(session, caller, experiment, local_workers)
        case "resume":
            return steering.resume_experiment(
                session, caller, experiment, doorbell, afterwards, local_workers
            )
        case "retry":
            return experiments_api.retry_experiment(
                session, caller, experiment, settings, doorbell, afterwards, local_workers
            )
        case "cancel":
            return experiments_api.cancel_experiment(session, caller, experiment, local_workers)
        case _:
            assert_never(verb)


def patched(
    changes: dict[str, Any],
    session: Session,
    caller: Caller,
    experiment: Experiment,
    settings: Settings,
    local_workers: LocalWorkers,
) -> ExperimentRecord:
    """The same for what `PATCH` takes: labels, notes, device, whether it is archived."""
    sent = json.dumps(changes).encode()
    return steering.change_experiment(session, sent, caller, experiment, settings, local_workers)
