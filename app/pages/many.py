"""What is asked of many experiments of the list at once: of each in a transaction of its own, and said of each."""

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Final, Literal, assert_never, get_args

from fastapi import Query, Request, Response
from fastapi.background import BackgroundTasks
from sqlmodel import Session

from app.api.experiments import experiments as experiments_api
from app.api.http import passes
from app.api.http.deps import (
    Body,
    TheCaller,
    TheDatabase,
    TheDoorbell,
    TheLocalWorkers,
    TheSettings,
    changeable_experiment,
)
from app.api.http.parameters import Afterwards
from app.api.http.problems import Problem
from app.doorbell import Doorbell
from app.errors import InvalidRequest
from app.pages import verbs
from app.pages.forms import request_of
from app.pages.lists import ListPageQuery
from app.pages.rendering import fields_of, or_problem, page, pages
from app.pages.verbs import Verb
from app.services.lifecycle.local_workers import LocalWorkers
from app.services.owners.keys import Caller
from app.settings import Settings
from app.storage.db import Database
from app.storage.states import RunStatus
from app.storage.tables import Experiment
from lab_models.common.validation import did_you_mean

router = pages()

ManyVerb = Verb | Literal["label", "archive", "unarchive", "delete"]
MANY_VERBS: Final[tuple[ManyVerb, ...]] = (
    *get_args(Verb),
    "label",
    "archive",
    "unarchive",
    "delete",
)
MOST_PICKED: Final = 100
"""Experiments that one form may name: each takes a turn among all who write."""


@dataclass(frozen=True)
class Outcome:
    """What has become of one: how it stands now, in a sentence, or why nothing has been changed."""

    id: str
    name: str
    said: str
    is_refused: bool = False
    status: RunStatus | None = None


@router.post("/experiments/many")
async def change_many(
    request: Request,
    database: TheDatabase,
    body: Body,
    caller: TheCaller,
    settings: TheSettings,
    doorbell: TheDoorbell,
    local_workers: TheLocalWorkers,
    _list: Annotated[ListPageQuery, Query()],
) -> Response:
    """Each by the API's function for one. A refusal changes nothing of its experiment and holds up no other; what is
    deleted is asked for twice. The address is the list's, to go back to.
    """
    fields = fields_of(body, 10 * MOST_PICKED)
    picked = list(dict.fromkeys(value for name, value in fields if name == "pick"))
    form = dict(fields)
    verb = _verb(form.get("verb", ""), picked)
    wanted = {"labels": form.get("label", "")} if verb == "label" else {}
    labels = request_of(wanted).get("labels", {})
    if verb == "label" and not labels:
        raise InvalidRequest("no label is written: write key:value, such as week:3, and then Label")
    back = f"/ui/experiments?{request.url.query}" if request.url.query else "/ui/experiments"
    if verb == "delete" and form.get("sure") != "yes":
        return page(request, "sure.html", picked=picked, back=back)
    lanes, client = passes.passes_of(request), passes.client_of(request)
    background, outcomes = BackgroundTasks(), []
    for experiment_id in picked:
        one = _One(experiment_id, caller, settings, doorbell, local_workers)
        work = partial(one.changed, database, verb, labels)
        outcome = await or_problem(request, lanes.go(lanes.writing, client, work))
        if isinstance(outcome, Problem):
            outcome = Outcome(experiment_id, one.name, outcome.detail, is_refused=True)
        else:
            background.tasks += one.afterwards.background.tasks
        outcomes.append(outcome)
    answer = page(request, "many.html", outcomes=outcomes, verb=verb, back=back)
    answer.background = background
    return answer


def _verb(text: str, picked: list[str]) -> ManyVerb:
    """Raises InvalidRequest for what is no verb, and where nothing or too much is picked."""
    if not picked:
        raise InvalidRequest("nothing is picked: tick experiments, and then say what to do")
    if len(picked) > MOST_PICKED:
        raise InvalidRequest(
            f"{len(picked)} experiments are picked, and at most {MOST_PICKED} are changed at once"
        )
    for verb in MANY_VERBS:
        if verb == text:
            return verb
    meant = did_you_mean(text, list(MANY_VERBS)) or f"one of {', '.join(MANY_VERBS)}"
    raise InvalidRequest(f"nothing is called {text[:40]!r}: {meant}")


@dataclass
class _One:
    """A picked experiment, and who asks."""

    id: str
    caller: Caller
    settings: Settings
    doorbell: Doorbell
    local_workers: LocalWorkers
    afterwards: Afterwards = field(default_factory=Afterwards)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.id

    def changed(self, database: Database, verb: ManyVerb, labels: dict[str, str]) -> Outcome:
        """All of it, or nothing and the API's error."""
        with database.writing() as session:
            experiment = changeable_experiment(session, self.caller, self.id)
            self.name = experiment.name or self.id
            outcome = self._asked(session, experiment, verb, labels)
        self.afterwards.committed()
        return outcome

    def _asked(
        self, session: Session, experiment: Experiment, verb: ManyVerb, labels: dict[str, str]
    ) -> Outcome:
        match verb:
            case "delete":
                experiments_api.delete_experiment(
                    session, experiment, self.settings, self.afterwards
                )
                return Outcome(self.id, self.name, "It is deleted.")
            case "label":
                self._patched(session, experiment, {"labels": labels})
                written = ", ".join(f"{key}:{value}" for key, value in labels.items())
                return Outcome(self.id, self.name, f"It is labeled {written}.")
            case "archive":
                self._patched(session, experiment, {"archived": True})
                return Outcome(self.id, self.name, "Lists leave it out from now on.")
            case "unarchive":
                self._patched(session, experiment, {"archived": False})
                return Outcome(self.id, self.name, "Lists show it again.")
            case "pause" | "resume" | "retry" | "cancel":
                record = verbs.steered(
                    verb,
                    session,
                    self.caller,
                    experiment,
                    self.settings,
                    self.doorbell,
                    self.afterwards,
                    self.local_workers,
                )
                return Outcome(self.id, self.name, record.status_message, status=record.status)
            case _:
                assert_never(verb)

    def _patched(self, session: Session, experiment: Experiment, changes: dict[str, Any]) -> None:
        verbs.patched(changes, session, self.caller, experiment, self.settings, self.local_workers)
