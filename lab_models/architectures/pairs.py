"""Which stages of a student are compared with which of its teacher, and what the comparison needs to know of them.
Nothing here loads torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lab_models.architectures.shapes import Shape
from lab_models.architectures.sizes import ModelSize
from lab_models.architectures.stages import stage_sizes, stages_of
from lab_models.common.validation import FieldError, did_you_mean
from lab_models.specs import AttentionSpec, FeatureSpec, ModelSpec

STEM = "stem"
ROLES = ("teacher", "student")


@dataclass(frozen=True)
class StagePair:
    """A stage of the teacher and one of the student, by the names of their modules, with one image's output: (C, h, w)
    or (D,).
    """

    teacher: str
    student: str
    teacher_shape: Shape
    student_shape: Shape

    @property
    def size(self) -> Shape:
        """The size (h, w) at which their maps are compared, the smaller of the two; empty for vectors."""
        return tuple(
            min(ours, theirs)
            for ours, theirs in zip(self.student_shape[1:], self.teacher_shape[1:], strict=True)
        )


def compared_stages(size: ModelSize) -> dict[str, Shape]:
    """The stages between stem and head, input side first, and the shape of one image's output of each."""
    sizes = stage_sizes(size)
    return {stage: sizes[stage].output_shape for stage in stages_of(size)[:-1] if stage != STEM}


def stage_pairs(
    features: FeatureSpec, teacher: ModelSize, student: ModelSize
) -> tuple[StagePair, ...]:
    """The pairs that the spec names, or those with outputs of one size from the top down; the spec must have no
    `pair_faults`.
    """
    theirs, ours = compared_stages(teacher), compared_stages(student)
    names = (
        features.stages
        if features.stages is not None
        else tuple(_of_one_size(features, theirs, ours))
    )
    return tuple(StagePair(one, other, theirs[one], ours[other]) for one, other in names)


def regressor_parameters(features: FeatureSpec, teacher: ModelSize, student: ModelSize) -> int:
    """Numbers that are trained beside the student and never published; none for attention. The spec must have no
    `pair_faults`.
    """
    if isinstance(features, AttentionSpec):
        return 0
    return sum(
        pair.teacher_shape[0] * (pair.student_shape[0] + 1)
        for pair in stage_pairs(features, teacher, student)
    )


def pair_faults(features: FeatureSpec, teacher: ModelSize, student: ModelSize) -> list[FieldError]:
    """What of the spec cannot be compared between these networks; nothing where all can."""
    if isinstance(features, AttentionSpec):
        for role, size in zip(ROLES, (teacher, student), strict=True):
            if not size.model.has_maps:
                message = f"attention is of maps, and the {role} {_without_maps(size.model)}"
                return [FieldError("/features", message, 'for layers without maps there is "hint"')]
    theirs, ours = compared_stages(teacher), compared_stages(student)
    if features.stages is not None:
        return [
            fault
            for number, pair in enumerate(features.stages)
            for fault in _faults_of(features, f"/features/stages/{number}", pair, theirs, ours)
        ]
    if any(_of_one_size(features, theirs, ours)):
        return []
    message = "no stage of the teacher has outputs of the size of one of the student's"
    return [
        FieldError(
            "/features/stages",
            message,
            f"name pairs [teacher's, student's]; the teacher has {_listed(theirs)}; the student has {_listed(ours)}",
        )
    ]


def _of_one_size(
    features: FeatureSpec, theirs: dict[str, Shape], ours: dict[str, Shape]
) -> Iterator[tuple[str, str]]:
    """Each of the student's stages, the top one first, with the highest of the teacher's that is left, no higher than
    the last, and of its size.
    """
    left = list(reversed(theirs))
    for stage in reversed(ours):
        size = ours[stage][1:]
        if isinstance(features, AttentionSpec) and _shows_no_place(size):
            continue
        found = next((place for place, name in enumerate(left) if theirs[name][1:] == size), None)
        if found is not None:
            yield left[found], stage
            left = left[found + 1 :]


def _faults_of(
    features: FeatureSpec,
    place: str,
    pair: tuple[str, str],
    theirs: dict[str, Shape],
    ours: dict[str, Shape],
) -> Iterator[FieldError]:
    unknown = False
    for side, (role, name, known) in enumerate(zip(ROLES, pair, (theirs, ours), strict=True)):
        if name not in known:
            unknown = True
            yield FieldError(
                f"{place}/{side}",
                f"the {role} has no stage {name!r} to be compared",
                # a number near by is no slip
                f"it has {_listed(known)}"
                if name.startswith("layers.")
                else did_you_mean(name, list(known)),
            )
    if unknown:
        return
    compared = theirs[pair[0]], ours[pair[1]]
    said = " and ".join(
        f"the {role}'s {name} gives {_shown(shape)}"
        for role, name, shape in zip(ROLES, pair, compared, strict=True)
    )
    if len({len(shape) for shape in compared}) > 1:
        yield FieldError(
            place, f"{said}: only maps and maps, or vectors and vectors, can be compared"
        )
    elif isinstance(features, AttentionSpec) and any(
        _shows_no_place(shape[1:]) for shape in compared
    ):
        yield FieldError(
            place,
            f"{said}: attention needs maps of more than one pixel, which alone show where a stage looks",
            _with_maps(theirs, ours),
        )


def _shows_no_place(size: Shape) -> bool:
    return size in ((), (1, 1))


def _with_maps(theirs: dict[str, Shape], ours: dict[str, Shape]) -> str:
    kept = [
        [name for name, shape in stages.items() if not _shows_no_place(shape[1:])]
        for stages in (theirs, ours)
    ]
    return "; ".join(
        f"the {role} has " + (", ".join(names) or "none")
        for role, names in zip(ROLES, kept, strict=True)
    )


def _listed(stages: dict[str, Shape]) -> str:
    return ", ".join(f"{name} ({_shown(shape)})" for name, shape in stages.items()) or "none"


def _shown(shape: Shape) -> str:
    return (
        f"{shape[0]} numbers"
        if len(shape) == 1
        else f"{shape[0]} maps of {'x'.join(map(str, shape[1:]))}"
    )


def _without_maps(model: ModelSpec) -> str:
    return (
        "is an MLP, which has none"
        if model.arch == "mlp"
        else "has no convs, which alone give some"
    )
