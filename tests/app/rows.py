"""Rows for tests, written as the API writes them."""

from pathlib import Path
from typing import Any

from sqlmodel import Session

from app.services.experiments import experiments
from app.services.submitting import drafts, planning, submissions
from app.services.submitting.planning import Lookups
from app.storage.tables import LOCAL, Experiment
from lab_models.datasets.catalog import BUILT_IN, Catalog
from lab_models.specs import read_request


def create(session: Session, document: dict[str, Any], owner: str = LOCAL) -> Experiment:
    """An experiment with its queued runs, from a request as a document."""
    request = read_request(document)
    plan = planning.plan(Lookups(session, Catalog(Path("nowhere"))), request, document)
    prepared = submissions.drafted(request, document, plan, BUILT_IN[request.dataset.name], owner)
    drafts.create(session, submissions.built(session, [prepared]))
    return experiments.get(session, prepared.own.id)
