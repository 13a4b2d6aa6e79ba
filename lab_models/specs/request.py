"""What a person sends: a spec, or one that names a teacher or source, with seeds and names."""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from lab_models.common.naming import Name
from lab_models.common.validation import FieldError, InvalidDocument, did_you_mean, validate
from lab_models.specs.base import MAX_SEED, Frozen
from lab_models.specs.distill import DistillSpec, Pupil, Reference, Trained, with_stored_views
from lab_models.specs.experiment import Procedure, Subject, TrainSpec
from lab_models.specs.model import ModelSpec
from lab_models.specs.pretrained import Pretrained
from lab_models.specs.transfer import TransferSpec, Tuning

Label = Name


def _counted(value: Any) -> Any:
    """`"seeds": 5` stands for [0, 1, 2, 3, 4]."""
    if type(value) is not int:
        return value
    if not 1 <= value <= 1000:
        raise ValueError("a number of seeds lies between 1 and 1000")
    return list(range(value))


def _no_seed_twice(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds):
        raise ValueError("a seed is named twice; runs of one spec with one seed are identical")
    return seeds


LABEL_KEY: Final = re.compile(r"[A-Za-z0-9_.-]{1,60}")
LabelKey = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9_.-]+$")]
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


class ExperimentRequest(RequestFields, TrainSpec):
    """What a person sends or keeps in a file: a spec, the seeds to run it with, and what to call it."""

    @property
    def spec(self) -> TrainSpec:
        """The experiment's spec alone, without seeds and names."""
        return TrainSpec.model_construct(
            **{field: getattr(self, field) for field in TrainSpec.model_fields}
        )


class DistillRequest(RequestFields, Procedure, Pupil, Subject):
    """A student to be trained from a teacher, which is named or trained first."""

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

    def spec_with(self, teacher: Trained) -> DistillSpec:
        """The experiment's spec once it is known who the teacher is; raises pydantic.ValidationError where they do not
        fit together.
        """
        document = {
            field: getattr(self, field) for field in DistillSpec.model_fields if field != "teacher"
        }
        return DistillSpec.model_validate({**document, "teacher": teacher})

    @property
    def reference(self) -> Reference:
        """What it builds on."""
        return self.teacher

    def control_spec(self, network: ModelSpec) -> TrainSpec | None:
        """The same student, trained from the labels alone, if it is wanted."""
        return _trained_plainly(self, network) if self.baseline else None


class TransferRequest(RequestFields, Procedure, Tuning, Subject):
    """A trained network, named or trained first, to be trained on under a new head."""

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
        """What it builds on."""
        return self.source

    @property
    def published(self) -> Pretrained | None:
        """The published weights that are the source; None where it is a network of this lab's."""
        source = self.source
        return (
            None
            if source.pretrained is None
            else Pretrained(pretrained=source.pretrained, image_size=source.image_size)
        )

    def spec_with(self, source: Trained | Pretrained) -> TransferSpec:
        """The experiment's spec once it is known what the source is; raises pydantic.ValidationError where they do not
        fit together.
        """
        document = {
            field: getattr(self, field) for field in TransferSpec.model_fields if field != "source"
        }
        return TransferSpec.model_validate({**document, "source": source})

    def control_spec(self, network: ModelSpec) -> TrainSpec | None:
        """The same network from scratch, if it is wanted."""
        return _trained_plainly(self, network) if self.from_scratch else None


def _trained_plainly(request: Procedure, model: ModelSpec) -> TrainSpec:
    shared = {
        field: getattr(request, field)
        for field in TrainSpec.model_fields
        if field not in ("kind", "model")
    }
    return TrainSpec.model_validate({**shared, "model": model})


Request = ExperimentRequest | DistillRequest | TransferRequest
REQUESTS: dict[str, type[ExperimentRequest] | type[DistillRequest] | type[TransferRequest]] = {
    "train": ExperimentRequest,
    "distill": DistillRequest,
    "transfer": TransferRequest,
}


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
