"""Rows for tests, written as the API writes them."""

from typing import Any

from sqlmodel import Session

from app.services import experiments
from app.services.estimates import estimate
from app.tables import Experiment
from lab_models.datasets.catalog import BUILT_IN
from lab_models.specs import ExperimentRequest


def create(session: Session, document: dict[str, Any]) -> Experiment:
    """An experiment with its queued runs, from a request as a document."""
    request = ExperimentRequest.model_validate(document)
    experiment, _ = experiments.create(session, request, estimate(request.spec, BUILT_IN[request.dataset.name]), document)
    return experiment
