"""Rows for tests, written as the API writes them."""

from pathlib import Path
from typing import Any

from sqlmodel import Session

from app.services import submissions
from app.services.submissions import Prepared
from app.tables import LOCAL, Experiment
from lab_models.datasets.catalog import BUILT_IN, Catalog
from lab_models.specs import read_request


def create(session: Session, document: dict[str, Any], owner: str = LOCAL) -> Experiment:
    """An experiment with its queued runs, from a request as a document."""
    request = read_request(document)
    info = BUILT_IN[request.dataset.name]
    plan = submissions.plan(session, request, document, Catalog(Path("nowhere")))
    return submissions.submit(session, Prepared(request, document, plan, info, owner))
