"""Studies as pages: listed, begun from a recipe, and one with its table, verdicts and pictures."""

import json
from typing import Annotated, Any, Literal

from fastapi import Query, Request

from app.api.analyses.studies.verdicts import verdicts_answer
from app.api.http.deps import (
    Body,
    Reading,
    StudyToChange,
    StudyToPrepare,
    TheAfterwards,
    TheCaller,
    TheDoorbell,
    TheSettings,
    TheSpeeds,
    TheStudy,
    Writing,
)
from app.api.studies import studies as studies_api
from app.api.studies.studies import StudyListQuery
from app.api.studies.study_records import study_record
from app.errors import InvalidRequest
from app.pages.rendering import and_then, form_of, page, pages, see_other
from app.services.analyses.comparisons import Evidence
from app.services.analyses.scores import read_metric
from app.services.analyses.studies.columns import caption_of, columns_of
from app.services.analyses.studies.tables import table_of
from app.services.analyses.studies.verdicts import verdicts_of
from app.services.studies import studies
from app.storage.files.places import file_store

router = pages()

PICTURES = {
    "curves": "Val loss and accuracy of every cell over epochs",
    "factor": "The score along the factor",
    "differences": "Paired differences of every contrast with their intervals",
    "heat_map": "The score over two factors",
    "gradient_flow": "Gradient norms along the layers",
    "distillation": "Teacher, students and what distillation adds",
    "tradeoff": "Accuracy against cost",
}
"""What a picture shows, for those who cannot see it."""


@router.get("/studies")
def show_studies(
    request: Request, session: Reading, caller: TheCaller, query: Annotated[StudyListQuery, Query()]
) -> Any:
    """Studies, the newest first."""
    return page(
        request,
        "studies.html",
        found=studies_api.list_studies(session, caller, query),
        query_=query,
    )


@router.post("/studies")
def begin_study(
    session: Reading,
    body: Body,
    settings: TheSettings,
    caller: TheCaller,
    doorbell: TheDoorbell,
    speeds: TheSpeeds,
    afterwards: TheAfterwards,
) -> Any:
    """A recipe is run at a scale, and its page shown."""
    form = form_of(body)
    wanted = {"recipe": form.get("recipe", ""), "scale": form.get("scale", "smoke")}
    step = studies_api.create_study(
        session,
        json.dumps(wanted).encode(),
        settings,
        caller,
        doorbell,
        speeds,
        afterwards,
        idempotency_key=form.get("key") or None,
    )
    return and_then(step, lambda answer: see_other(f"/ui{answer.headers['Location']}"))


@router.get("/studies/{study_id}")
def show_study(request: Request, session: Reading, settings: TheSettings, study: TheStudy) -> Any:
    """Question, answers, table and pictures, at any time."""
    whole, metric = studies.whole(session, study), read_metric("test.accuracy")
    evidence = Evidence(session, file_store(settings), whole.runs)
    table = table_of(evidence.scores, whole, metric)
    record = study_record(whole)
    return page(
        request,
        "study.html",
        record=record,
        columns=columns_of(table),
        rows=list(zip(table.rows, record.cells, strict=True)),
        caption=caption_of(table),
        verdicts=verdicts_answer(verdicts_of(evidence, whole, metric)),
        pictures=[
            (address.removesuffix(".png"), PICTURES[name])
            for name, address in record.links.items()
            if name in PICTURES
        ],
        compared=list(dict.fromkeys(cell.experiment_id for cell in record.cells)),
    )


@router.post("/studies/{study_id}/extend")
def extend_study(
    session: Reading,
    body: Body,
    study: StudyToPrepare,
    settings: TheSettings,
    doorbell: TheDoorbell,
    afterwards: TheAfterwards,
) -> Any:
    """Seeds are added to every cell; once, however often the page that shows so many seeds is sent."""
    form, address = form_of(body), f"/ui/studies/{study.id}"
    try:
        added, there = int(form.get("seeds", "1")), int(form.get("there", "-1"))
    except ValueError as error:
        raise InvalidRequest("seeds is a whole number") from error
    if there not in (-1, len(study.design["seeds"])):
        return see_other(address)
    sent = json.dumps({"seeds": added}).encode()
    step = studies_api.extend_study(session, sent, study, settings, doorbell, afterwards)
    return and_then(step, lambda _: see_other(address))


@router.post("/studies/{study_id}/{verb}")
def steer_study(
    session: Writing,
    caller: TheCaller,
    study: StudyToChange,
    settings: TheSettings,
    doorbell: TheDoorbell,
    afterwards: TheAfterwards,
    verb: Literal["pause", "resume", "retry", "cancel"],
) -> Any:
    """What the API's verb does, and back to the page."""
    match verb:
        case "pause":
            studies_api.pause_study(session, caller, study)
        case "resume":
            studies_api.resume_study(session, caller, study, doorbell, afterwards)
        case "retry":
            studies_api.retry_study(session, caller, study, settings, doorbell, afterwards)
        case "cancel":
            studies_api.cancel_study(session, caller, study)
    return see_other(f"/ui/studies/{study.id}")
