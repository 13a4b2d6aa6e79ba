"""A spec file as the command line takes it: read, explained where it is wrong, and what must be trained before it."""

from dataclasses import dataclass, replace
from pathlib import Path

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


class FileRefused(Exception):
    """The file cannot be carried out; `lines` say why and what was probably meant."""

    def __init__(self, *lines: str | None) -> None:
        self.lines = [line for line in lines if line is not None]
        super().__init__("\n".join(self.lines))


@dataclass(frozen=True)
class PlannedRuns:
    """What a file asks for: a spec with its data set, trained with every seed, and `before` it what it builds on."""

    spec: AnySpec
    seeds: tuple[int, ...]
    info: DatasetInfo
    before: "PlannedRuns | None" = None

    def foundation_seed(self, seed: int) -> int:
        """The seed of what a run with the given seed builds on."""
        foundation = self.spec.built_on
        return foundation.seed_for(seed) if isinstance(foundation, Trained) else seed


def read_plan(path: Path, catalog: Catalog) -> PlannedRuns:
    """What the file asks for; raises FileRefused, before anything is trained."""
    try:
        request = read_request(parse_json(path.read_bytes()))
        spec = _spec_of(request)
    except OSError as error:
        raise FileRefused(f"{path}: {error.strerror}") from error
    except NotJSON as error:
        raise FileRefused(f"{path} is not JSON: {error}") from error
    except InvalidDocument as invalid:
        raise FileRefused(
            f"{path} is not a valid spec:",
            *(
                f"  {e.pointer or '/'}: {e.message}" + (f" ({e.hint})" if e.hint else "")
                for e in invalid.errors
            ),
        ) from invalid
    plan = PlannedRuns(spec, request.seeds, _info_of(spec, path, catalog))
    foundation = spec.built_on
    if isinstance(foundation, Trained):
        info = _info_of(foundation.spec, path, catalog)
        seeds = tuple(dict.fromkeys(map(foundation.seed_for, request.seeds)))
        plan = replace(plan, before=PlannedRuns(foundation.spec, seeds, info))
    for fault in misfits(spec, (plan.before or plan).info, plan.info):
        raise FileRefused(f"{path}: {fault.pointer}: {fault.message}", fault.hint)
    for planned in filter(None, (plan.before, plan)):
        for fault in layer_gradient_faults(planned.spec, planned.info):
            raise FileRefused(f"{path}: {fault.pointer}: {fault.message}", fault.hint)
    return plan


def _info_of(spec: AnySpec, path: Path, catalog: Catalog) -> DatasetInfo:
    """The spec's data set, whose images its network can take; raises FileRefused."""
    name = spec.dataset.name
    info = catalog.get(name)
    if info is None:
        raise FileRefused(
            f"{path}: there is no data set {name!r}",
            name_hint(name, [known.name for known in catalog.all()]),
        )
    reason = impossible(spec.network, info.shape)
    if reason is not None:
        raise FileRefused(f"{path}: /model: on {info.name}: {reason}")
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
