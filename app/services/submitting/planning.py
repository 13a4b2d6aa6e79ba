"""What a request comes to, found and checked on a session that only reads: data set, foundation, effective spec."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session

from app.errors import InvalidRequest
from app.services.experiments.estimates import refusals
from app.services.experiments.platforms import Workplaces, places_now
from app.services.lifecycle.workers import largest_memory
from app.services.owners.keys import ANYONE, Caller
from app.services.submitting import foundations
from app.services.submitting.foundations import Foundation
from app.settings import Settings
from lab_models.architectures.misfits import misfits
from lab_models.common.validation import FieldError, explain
from lab_models.datasets.catalog import Catalog, DatasetInfo
from lab_models.datasets.naming_hints import name_hint
from lab_models.specs import (
    OWN,
    AnySpec,
    ContinueRequest,
    FoundationRole,
    Pretrained,
    Reference,
    Request,
    Trained,
)


@dataclass(frozen=True)
class Plan:
    """What a request comes to: the effective spec, and by seed its foundations, where those are runs' networks: all the
    same, or each seed's own. Published weights need no run.
    """

    spec: AnySpec
    foundations: Mapping[int, Foundation] = field(default_factory=dict)

    @property
    def foundation(self) -> Foundation | None:
        """One of them, of which all have the spec and the data set."""
        return next(iter(self.foundations.values()), None)

    @property
    def missing(self) -> tuple[int, ...]:
        """Seeds of foundations that have to be trained first, each once."""
        return tuple(
            dict.fromkeys(one.seed for one in self.foundations.values() if one.run_id is None)
        )


class Lookups:
    """What preparing reads, each thing once however many requests are prepared together."""

    def __init__(self, session: Session, catalog: Catalog, caller: Caller = ANYONE) -> None:
        self.catalog = catalog
        self.caller = caller
        self._session = session
        self._datasets: dict[str, DatasetInfo | None] = {}
        self._contents: dict[str, str | None] = {}
        self._foundations: dict[tuple[Reference, str, tuple[int, ...]], dict[int, Foundation]] = {}

    def dataset(self, name: str) -> DatasetInfo | None:
        """The data set, if there is one."""
        if name not in self._datasets:
            self._datasets[name] = self.catalog.get(name)
        return self._datasets[name]

    def sha256(self, name: str) -> str | None:
        """Names the data set's content, as `Catalog.sha256`."""
        if name not in self._contents:
            self._contents[name] = self.catalog.sha256(name)
        return self._contents[name]

    def foundations(
        self, reference: Reference, role: FoundationRole, seeds: tuple[int, ...]
    ) -> dict[int, Foundation]:
        """As `foundations.find`."""
        asked = reference, role, seeds
        if asked not in self._foundations:
            self._foundations[asked] = foundations.find(
                self._session, reference, role, self.catalog, self.places, self.caller, seeds
            )
        return self._foundations[asked]

    def origins(self, request: ContinueRequest) -> dict[int, Foundation]:
        """As `foundations.find_origins`."""
        return foundations.find_origins(
            self._session, request.origin.experiment, request.seeds, self.catalog, self.caller
        )

    @cached_property
    def places(self) -> Workplaces:
        """As `platforms.places_now`."""
        return places_now(self._session)

    @cached_property
    def largest_memory(self) -> int | None:
        """As `workers.largest_memory`."""
        return largest_memory(self._session)


def plan(lookups: Lookups, request: Request, submitted: dict[str, Any]) -> Plan:
    """Find the foundations, if they are runs; raises InvalidRequest where there is none, or where the two do not fit
    together.
    """
    if isinstance(request, ContinueRequest):
        origins = lookups.origins(request)
        trained = next(iter(origins.values())).trained
        return Plan(_spec_with(request, trained, submitted), origins)
    role, reference = request.role, request.reference
    if role is None or reference is None or reference.published is not None:
        return Plan(_spec_with(request, request.published, submitted))
    found = lookups.foundations(reference, role, request.seeds)
    trained = next(iter(found.values())).trained
    if reference.is_own:
        trained = trained.model_copy(update={"seed": OWN})
    return Plan(_spec_with(request, trained, submitted), found)


def _spec_with(
    request: Request, foundation: Trained | Pretrained | None, submitted: dict[str, Any]
) -> AnySpec:
    try:
        return request.spec_with(foundation)
    except ValidationError as error:
        faults = [
            FieldError(f"/{request.role}", fault.message, fault.hint)
            for fault in explain(error, request.spec_type, submitted)
        ]
        raise InvalidRequest("; ".join(fault.message for fault in faults), faults) from error


def dataset_of(lookups: Lookups, request: Request, submitted: dict[str, Any]) -> DatasetInfo:
    """The data set that is learned; raises InvalidRequest where there is none of that name."""
    name = request.dataset.name
    info = lookups.dataset(name)
    if info is None:
        place = "/dataset" if isinstance(submitted.get("dataset"), str) else "/dataset/name"
        error = FieldError(
            place,
            f"there is no data set {name!r}",
            name_hint(name, [known.name for known in lookups.catalog.all()]),
        )
        raise InvalidRequest(error.message, [error])
    return info


def refuse(
    lookups: Lookups, request: Request, planned: Plan, info: DatasetInfo, settings: Settings
) -> None:
    """Raises InvalidRequest for what is more than this service allows, or impossible."""
    refused = _refusals(request, planned, info, settings, lookups.largest_memory)
    if refused:
        raise InvalidRequest("; ".join(error.message for error in refused), refused)


def _refusals(
    request: Request, planned: Plan, info: DatasetInfo, settings: Settings, memory: int | None
) -> list[FieldError]:
    foundation = planned.foundation
    refused: list[FieldError] = []
    if foundation is not None and planned.missing:
        # it would be trained first, so it is looked at first
        num_seeds = len(planned.missing)
        refused = [
            FieldError(f"/{request.role}/spec{error.pointer}", error.message, error.hint)
            for error in refusals(
                foundation.trained.spec, num_seeds, foundation.info, settings, memory
            )
        ]
    learned = info if foundation is None else foundation.info
    refused = refused or misfits(planned.spec, learned, info)
    return refused or refusals(planned.spec, len(request.seeds), info, settings, memory)
