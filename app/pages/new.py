"""A form that is an experiment's request: what is left empty has the default, and the price is said while one types."""

import json
import secrets
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query, Request
from sqlmodel import Session

from app.api.catalog.datasets import list_datasets
from app.api.experiments import experiments as experiments_api
from app.api.experiments.dry_runs import priced
from app.api.http.bodies import read_body
from app.api.http.deps import (
    Body,
    Reading,
    TheAfterwards,
    TheCaller,
    TheDoorbell,
    TheLocalWorkers,
    TheSettings,
    TheSpeeds,
    TheStanding,
)
from app.errors import BadBody, Forbidden, ServiceError
from app.pages.forms import FIELDS, MORE, request_of, titles, usual, written
from app.pages.networks import rows_of
from app.pages.rendering import and_then, form_of, page, pages, refused_on, see_other
from app.roles import Role
from app.services.experiments.visibility import visible_experiment
from app.services.owners.keys import Caller
from app.services.submitting.again import prepare
from app.settings import Settings
from lab_models.studies.again import read_changed

router = pages()


@dataclass(frozen=True)
class ClonedFrom:
    """The experiment that another is like."""

    id: str
    title: str


@router.get("/new")
def show_form(
    request: Request,
    session: Reading,
    caller: TheCaller,
    settings: TheSettings,
    like: Annotated[str | None, Query(max_length=100)] = None,
) -> Any:
    """The form, empty, or for a change of another experiment; Forbidden for whoever may only read."""
    if caller.role is Role.READ:
        raise Forbidden(f"the key of {caller.owner} has the role 'read', which trains nothing")
    return page(request, "new.html", **_form(session, caller, settings, like))


def _form(session: Session, caller: Caller, settings: Settings, like: str | None) -> dict[str, Any]:
    """What the form shows, with nothing written yet."""
    origin = None if like is None else visible_experiment(session, caller, like)
    return {
        "groups": FIELDS,
        "choices": {"dataset.name": [one.name for one in list_datasets(settings).data]},
        "origin": origin and ClonedFrom(origin.id, origin.name or origin.id),
        # of a network that is not chosen yet nothing is known
        "there": {
            path: value
            for path, value in written(usual() if origin is None else origin.spec).items()
            if origin is not None or not path.startswith("model.")
        },
        "key": secrets.token_hex(16),
        "form": {},
    }


@router.post("/new")
def submit_form(
    request: Request,
    session: Reading,
    body: Body,
    settings: TheSettings,
    caller: TheCaller,
    doorbell: TheDoorbell,
    standing: TheStanding,
    speeds: TheSpeeds,
    afterwards: TheAfterwards,
    local_workers: TheLocalWorkers,
) -> Any:
    """The experiment is stored, and its page shown; twice sent, it is one experiment. What is refused is shown in the
    form, as it was written.
    """
    form = form_of(body)
    shown = _form(session, caller, settings, form.get("like") or None)
    refused_on(request, "new.html", **shown | {"form": form})
    step = experiments_api.create_experiment(
        session,
        json.dumps(request_of(form)).encode(),
        settings,
        caller,
        doorbell,
        standing,
        speeds,
        afterwards,
        local_workers,
        idempotency_key=form.get("key") or None,
    )
    return and_then(step, lambda answer: see_other(f"/ui{answer.headers['Location']}"))


@router.post("/new/plan")
def show_plan(
    request: Request,
    session: Reading,
    body: Body,
    settings: TheSettings,
    caller: TheCaller,
    speeds: TheSpeeds,
) -> Any:
    """What the form as it stands would be and cost, or what is wrong with it; nothing is stored."""
    shown: dict[str, Any] = {"plan": None, "errors": [], "said": "", "sent": ""}
    try:
        wanted = request_of(form_of(body))
        shown["sent"] = json.dumps(wanted, indent=2, ensure_ascii=False)
        sent, asked = read_body(json.dumps(wanted).encode(), read_changed, settings)
        shown["plan"] = priced(
            session, prepare(session, asked, sent, settings, caller), settings, speeds
        )
    except ServiceError as error:
        shown |= {
            "said": str(error),
            "errors": [(_field(one.pointer), one.message, one.hint) for one in error.errors]
            or (
                [("more", str(error).removeprefix(MORE), None)]
                if isinstance(error, BadBody)
                else []
            ),
        }
    rows = [] if shown["plan"] is None else rows_of(shown["plan"].estimate.parts)
    return page(request, "_plan.html", **shown, rows=rows, titles=titles())


def _field(pointer: str) -> str:
    """The form's field that a JSON Pointer into the request means."""
    return pointer.removeprefix("/set/").strip("/").replace("/", ".")
