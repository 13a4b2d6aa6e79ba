"""A spec as the command line takes it, from a file or from flags: read, explained where it is wrong, and what must be
trained before it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lab_models.architectures.misfits import misfits
from lab_models.architectures.parameter_names import layer_gradient_faults
from lab_models.architectures.sizes import impossible
from lab_models.common.documents import NotJSON, parse_json
from lab_models.common.validation import (
    FieldError,
    InvalidDocument,
    explain,
)
from lab_models.datasets.catalog import Catalog, DatasetInfo
from lab_models.datasets.naming_hints import name_hint
from lab_models.specs import (
    AnySpec,
    ContinueRequest,
    DistillRequest,
    DistillSpec,
    ExperimentRequest,
    Request,
    Trained,
    TransferRequest,
    TransferSpec,
    read_request,
)


class SpecRefused(Exception):
    """The spec cannot be carried out; `lines` say why and what was probably meant."""

    def __init__(self, *lines: str | None) -> None:
        self.lines = [line for line in lines if line is not None]
        super().__init__("\n".join(self.lines))


@dataclass(frozen=True)
class PlannedRuns:
    """What is asked for: a spec with its data set, trained with every seed, and `before` it what it builds on."""

    spec: AnySpec
    seeds: tuple[int, ...]
    info: DatasetInfo
    before: "PlannedRuns | None" = None

    def foundation_seed(self, seed: int) -> int:
        """The seed of what a run with the given seed builds on."""
        foundation = self.spec.built_on
        return foundation.seed_for(seed) if isinstance(foundation, Trained) else seed


@dataclass(frozen=True)
class SpecSource:
    """Where a spec is from, in words, and what a field at a JSON pointer is called there."""

    called: str
    field: Callable[[str], str] = lambda pointer: pointer or "/"


def read_plan(path: Path, catalog: Catalog) -> PlannedRuns:
    """What the file asks for; raises SpecRefused, before anything is trained."""
    try:
        document = parse_json(path.read_bytes())
    except OSError as error:
        raise SpecRefused(f"{path}: {error.strerror}") from error
    except NotJSON as error:
        raise SpecRefused(f"{path} is not JSON: {error}") from error
    return plan_of(document, SpecSource(str(path)), catalog)


def plan_of(document: Any, source: SpecSource, catalog: Catalog) -> PlannedRuns:
    """What the parsed document asks for; raises SpecRefused, before anything is trained."""
    try:
        request = read_request(document)
        spec = _spec_of(request)
    except InvalidDocument as invalid:
        raise SpecRefused(
            f"{source.called} is not a valid spec:",
            *(
                f"  {source.field(e.pointer)}: {e.message}" + (f" ({e.hint})" if e.hint else "")
                for e in invalid.errors
            ),
        ) from invalid
    plan = PlannedRuns(spec, request.seeds, _info_of(spec, source, catalog))
    foundation = spec.built_on
    if isinstance(foundation, Trained):
        info = _info_of(foundation.spec, source, catalog)
        seeds = tuple(dict.fromkeys(map(foundation.seed_for, request.seeds)))
        plan = replace(plan, before=PlannedRuns(foundation.spec, seeds, info))
    for fault in misfits(spec, (plan.before or plan).info, plan.info):
        raise _refused(fault, source)
    for planned in filter(None, (plan.before, plan)):
        for fault in layer_gradient_faults(planned.spec, planned.info):
            raise _refused(fault, source)
    return plan


def _refused(fault: FieldError, source: SpecSource) -> SpecRefused:
    return SpecRefused(
        f"{source.called}: {source.field(fault.pointer)}: {fault.message}", fault.hint
    )


def _info_of(spec: AnySpec, source: SpecSource, catalog: Catalog) -> DatasetInfo:
    """The spec's data set, whose images its network can take; raises SpecRefused."""
    name = spec.dataset.name
    info = catalog.get(name)
    if info is None:
        raise SpecRefused(
            f"{source.called}: there is no data set {name!r}",
            name_hint(name, [known.name for known in catalog.all()]),
        )
    reason = impossible(spec.network, info.shape)
    if reason is not None:
        raise SpecRefused(f"{source.called}: {source.field('/model')}: on {info.name}: {reason}")
    return info


def _spec_of(request: Request) -> AnySpec:
    """The effective spec, with what it builds on in it; raises InvalidDocument."""
    if isinstance(request, ExperimentRequest):
        return request.spec
    if isinstance(request, ContinueRequest):
        message = (
            "without a service there are no experiments to go on with: send it by `lab submit`"
        )
        raise InvalidDocument([FieldError("/origin", message)])
    if request.control is not None and getattr(request, request.control):
        raise InvalidDocument(
            [
                FieldError(
                    f"/{request.control}",
                    'without a service the control is a file of its own: the same with "kind": "train" and \'model\'',
                )
            ]
        )
    try:
        if isinstance(request, TransferRequest) and request.published is not None:
            return request.spec_with(request.published)
        if request.reference.spec is None:
            raise InvalidDocument(
                [
                    FieldError(
                        f"/{request.role}",
                        "without a service there are no experiments and runs to name: give the"
                        f" {request.role}'s 'spec'",
                    )
                ]
            )
        return request.spec_with(request.reference.trained)
    except ValidationError as error:
        raise InvalidDocument(
            explain(error, DistillSpec if isinstance(request, DistillRequest) else TransferSpec, {})
        ) from error
