"""What a person sends: a spec, or one that names its foundation, a teacher or source, with seeds and names."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from lab_models.common.naming import Name
from lab_models.common.validation import FieldError, InvalidDocument, did_you_mean, validate
from lab_models.specs.base import MAX_SEED, Frozen
from lab_models.specs.distill import DistillSpec, Pupil, Reference, Trained, with_stored_views
from lab_models.specs.experiment import FoundationRole, Procedure, Subject, TrainSpec
from lab_models.specs.going_on import ContinueSpec, GoingOn, KeptWeights, Origin
from lab_models.specs.model import ModelSpec
from lab_models.specs.pretrained import Pretrained
from lab_models.specs.transfer import TransferSpec, Tuning

MOST_COUNTED: Final = 20
"""Replicates that people ask for by number; beyond, it may be a seed that is meant."""


def _as_text(value: Any) -> Any:
    """A number in a label is kept as it would be written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, int | float) else value


Label = Annotated[Name, BeforeValidator(_as_text, json_schema_input_type=str | float | bool)]


def _counted(value: Any) -> Any:
    """`"seeds": 5` stands for [0, 1, 2, 3, 4]."""
    if type(value) is not int:
        return value
    if not 1 <= value <= 1000:
        raise ValueError("a number of seeds lies between 1 and 1000")
    return list(range(value))


def many_seeds(document: Mapping[str, Any]) -> str | None:
    """A sentence where a body's number of seeds looks like a seed; None else."""
    seeds = document.get("seeds")
    if type(seeds) is not int or seeds <= MOST_COUNTED:
        return None
    return (
        f'"seeds": {seeds} are {seeds:,} runs, of seeds 0 to {seeds - 1}; one run with seed {seeds} is'
        f' "seeds": [{seeds}]'
    )


def _no_seed_twice(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds):
        raise ValueError("a seed is named twice; runs of one spec with one seed are identical")
    return seeds


LABEL_KEY: Final = re.compile(r"[A-Za-z0-9_.-]{1,60}")
LabelKey = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9_.-]+$")]
DeviceKind = Literal["auto", "any", "cpu", "cuda"]
Labels = Annotated[dict[LabelKey, Label], Field(max_length=50)]
Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...],
    Field(min_length=1, max_length=1000, strict=False),
    BeforeValidator(_counted, json_schema_input_type=list[int] | int),
    AfterValidator(_no_seed_twice),
]


class RequestFields(Frozen):
    """What a person says beside the spec: the seeds to run it with, and what to call it."""

    name: Name | None = None
    """Name shown in lists and plots."""
    labels: Labels = {}
    """Your own keys and values, to find the experiment by."""
    seeds: Seeds = (0,)
    """One run per seed: a list, or how many to count from 0."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Higher starts first."""
    device: DeviceKind = "auto"
    """Where it is trained: `cpu`, `cuda`, or all seeds, and all cells of a study, on the kind that takes the first of
    them (`auto`), which is a GPU for what takes a CPU long; `any` lets seeds differ in it.
    """

    @property
    def reference(self) -> Reference | None:
        """Which foundation it names; None where it builds on nothing."""
        return None

    @property
    def published(self) -> Pretrained | None:
        """The published weights that are its foundation; None where that is a network of this lab's, or nothing."""
        return None if self.reference is None else self.reference.published

    def control_spec(self, network: ModelSpec) -> TrainSpec | None:  # noqa: ARG002
        """The same network without its foundation, if it is wanted."""
        return None


class ExperimentRequest(RequestFields, TrainSpec):
    """What a person sends or keeps in a file: a spec, the seeds to run it with, and what to call it."""

    spec_type: ClassVar[type[TrainSpec]] = TrainSpec

    @property
    def spec(self) -> TrainSpec:
        """The experiment's spec alone, without seeds and names."""
        return TrainSpec.model_construct(
            **{field: getattr(self, field) for field in TrainSpec.model_fields}
        )

    def spec_with(self, foundation: Trained | Pretrained | None) -> TrainSpec:
        """The experiment's spec; there is no foundation to be known."""
        assert foundation is None
        return self.spec


class DistillRequest(RequestFields, Procedure, Pupil, Subject):
    """A student to be trained from a teacher, which is named or trained first."""

    spec_type: ClassVar[type[DistillSpec]] = DistillSpec

    kind: Literal["distill"] = "distill"
    """What is done: train a student from a teacher."""
    teacher: Reference
    """The teacher."""
    baseline: bool = False
    """Also train the same student without a teacher: same seeds, same data order, same views."""

    @model_validator(mode="before")
    @classmethod
    def _views(cls, document: Any) -> Any:
        return with_stored_views(document)

    @field_validator("teacher")
    @classmethod
    def _teachers_know_the_classes(cls, teacher: Reference) -> Reference:
        if teacher.pretrained is not None:
            raise ValueError(
                "published weights cannot teach: their outputs are ImageNet's classes, not this data set's; they can be"
                " the 'source' of a transfer"
            )
        return teacher

    @property
    def reference(self) -> Reference:
        """Which teacher it names."""
        return self.teacher

    def spec_with(self, foundation: Trained | Pretrained | None) -> DistillSpec:
        """The experiment's spec once it is known who the teacher is; raises pydantic.ValidationError where they do not
        fit together.
        """
        return DistillSpec.model_validate({**_said(self), "teacher": foundation})

    def control_spec(self, network: ModelSpec) -> TrainSpec | None:
        """The same student, trained from the labels alone, if it is wanted."""
        return _trained_plainly(self, network) if self.baseline else None


class TransferRequest(RequestFields, Procedure, Tuning, Subject):
    """A trained network, named or trained first, to be trained on under a new head."""

    spec_type: ClassVar[type[TransferSpec]] = TransferSpec

    kind: Literal["transfer"] = "transfer"
    """What is done: train a trained network on."""
    source: Reference
    """Where the backbone's weights come from."""
    from_scratch: bool = False
    """Also train the same network from initial weights, by the same procedure: the control that shows what the source
    was worth.
    """

    @property
    def reference(self) -> Reference:
        """Which source it names."""
        return self.source

    def spec_with(self, foundation: Trained | Pretrained | None) -> TransferSpec:
        """The experiment's spec once it is known what the source is; raises pydantic.ValidationError where they do not
        fit together.
        """
        return TransferSpec.model_validate({**_said(self), "source": foundation})

    def control_spec(self, network: ModelSpec) -> TrainSpec | None:
        """The same network from scratch, if it is wanted."""
        return _trained_plainly(self, network) if self.from_scratch else None


class OriginReference(Frozen):
    """Which trained network goes on: an experiment, whose run of the same seed each run begins with."""

    experiment: str = Field(max_length=100)
    """`exp_…`: of kind `train` or `continue`."""
    weights: KeptWeights = "best"
    """The weights that are begun with: of the best epoch, which were tested, or of the last."""

    @model_validator(mode="before")
    @classmethod
    def _bare_id(cls, value: Any) -> Any:
        return {"experiment": value} if isinstance(value, str) else value


class ContinueRequest(RequestFields, Procedure, GoingOn, Subject):
    """A network of an experiment, to be trained further, head included."""

    spec_type: ClassVar[type[ContinueSpec]] = ContinueSpec

    kind: Literal["continue"] = "continue"
    """What is done: train a network further."""
    origin: OriginReference
    """The experiment that goes on, with the runs of these seeds."""

    def spec_with(self, foundation: Trained | Pretrained | None) -> ContinueSpec:
        """The experiment's spec once it is known what the origin was trained by; raises pydantic.ValidationError where
        they do not fit together.
        """
        assert isinstance(foundation, Trained)
        goes_on = Origin(spec=foundation.spec, weights=self.origin.weights)
        return ContinueSpec.model_validate({**_said(self), "origin": goes_on})


def _said(request: DistillRequest | TransferRequest | ContinueRequest) -> dict[str, Any]:
    """The spec's fields but its foundation."""
    fields = request.spec_type.model_fields
    return {field: getattr(request, field) for field in fields if field != request.role}


def _trained_plainly(request: Procedure, model: ModelSpec) -> TrainSpec:
    shared = {
        field: getattr(request, field)
        for field in TrainSpec.model_fields
        if field not in ("kind", "model")
    }
    return TrainSpec.model_validate({**shared, "model": model})


Request = ExperimentRequest | DistillRequest | TransferRequest | ContinueRequest
REQUESTS: dict[
    str,
    type[ExperimentRequest] | type[DistillRequest] | type[TransferRequest] | type[ContinueRequest],
] = {
    "train": ExperimentRequest,
    "distill": DistillRequest,
    "transfer": TransferRequest,
    "continue": ContinueRequest,
}
ROLES: dict[str, FoundationRole] = {
    kind: request.role for kind, request in REQUESTS.items() if request.role is not None
}
"""What the foundation is called, and the field that names it, by the kinds that have one."""


def read_request(document: Any) -> Request:
    """A parsed document as the request that its `kind` says, `train` where it says none; raises InvalidDocument."""
    kind = document.get("kind", "train") if isinstance(document, dict) else "train"
    if isinstance(kind, str) and kind not in REQUESTS:
        *most, last = map(repr, REQUESTS)
        raise InvalidDocument(
            [
                FieldError(
                    "/kind",
                    f"must be {', '.join(most)} or {last}",
                    did_you_mean(kind[:100], list(REQUESTS)),
                )
            ]
        )
    return validate(REQUESTS[kind] if isinstance(kind, str) else ExperimentRequest, document)
