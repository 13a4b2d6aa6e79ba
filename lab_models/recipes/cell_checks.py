"""A recipe's cells held against each other: what else differs between two arms, weights that never learn, and teachers
weaker than their students.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from lab_models.architectures.sizes import ModelSize, dead_weight_warning, model_size
from lab_models.datasets.catalog import BUILT_IN
from lab_models.recipes.findings import Code, Finding
from lab_models.recipes.recipe import Cell, Contrast, Recipe
from lab_models.specs import (
    ROLES,
    AnySpec,
    DistillSpec,
    Trained,
    TrainSpec,
    read_request,
)
from lab_models.statistics.wording import with_sign

Specs = Mapping[str, AnySpec]
Sizes = Mapping[str, ModelSize]


def effective_specs(recipe: Recipe) -> dict[str, AnySpec]:
    """Each cell's spec at full scale, by its key, with the cell that it builds on in its place; raises
    InvalidDocument.
    """
    found: dict[str, AnySpec] = {}
    for cell in recipe.cells:
        request = read_request(_with_reference(cell.request, recipe))
        foundation = None
        if request.reference is not None:
            below = found[_foundation_cell(cell.request)]
            assert isinstance(below, TrainSpec)  # catalog.check holds it
            foundation = Trained(spec=below)
        found[cell.key] = request.spec_with(foundation)
    return found


def sizes_of(specs: Specs) -> dict[str, ModelSize]:
    """The networks' sizes for the images and classes that they learn, by the cells' keys."""
    return {
        key: model_size(
            spec.network, BUILT_IN[spec.dataset.name].shape, BUILT_IN[spec.dataset.name].num_classes
        )
        for key, spec in specs.items()
    }


def check_cells(recipe: Recipe, specs: Specs, sizes: Sizes) -> Iterator[Finding]:
    """Findings of the design itself."""
    yield from _unnamed_differences(recipe, specs)
    yield from _unmatched_parameters(recipe, sizes)
    yield from _dead_weights(recipe, sizes)
    yield from _weak_teachers(recipe, specs, sizes)


def unnamed_differences(contrast: Contrast, specs: Specs) -> list[str]:
    """Dotted paths in which the two arms differ, and which the contrast's factor does not name."""
    treatment, control = _flat(specs[contrast.treatment]), _flat(specs[contrast.control])
    building = next((role for role in ROLES.values() if role in {*treatment, *control}), "")
    paths = treatment.keys() | control.keys()
    # one arm builds on a network: how it does so is part of that
    if (building in treatment) != (building in control):
        paths = {
            path for path in paths if path.partition(".")[0] in (*TrainSpec.model_fields, building)
        }
    differing = [path for path in paths if treatment.get(path) != control.get(path)]
    named = [factor.strip() for factor in contrast.factor.split(",")]
    return sorted(
        path
        for path in differing
        if not any(path == factor or path.startswith(f"{factor}.") for factor in named)
    )


def _unnamed_differences(recipe: Recipe, specs: Specs) -> Iterator[Finding]:
    for contrast in recipe.contrasts:
        others = unnamed_differences(contrast, specs)
        if others:
            message = f"the two arms are said to differ in {contrast.factor}, and differ in {', '.join(others)} as well"
            yield Finding(
                Code.UNNAMED_DIFFERENCE,
                f"{contrast.treatment} against {contrast.control}",
                message,
                "name it in the contrast, or make it equal",
            )


def _unmatched_parameters(recipe: Recipe, sizes: Sizes) -> Iterator[Finding]:
    """One finding for all contrasts of one factor."""
    titles = {cell.key: cell.title for cell in recipe.cells}
    for factor, contrasts in groupby(
        sorted(recipe.contrasts, key=lambda contrast: contrast.factor),
        key=lambda contrast: contrast.factor,
    ):
        pairs = []
        for contrast in contrasts:
            treatment, control = (
                sizes[contrast.treatment].parameters,
                sizes[contrast.control].parameters,
            )
            if treatment != control:
                share = 100 * (treatment - control) / control
                pairs.append(
                    f"{titles[contrast.treatment]} {treatment:,} against {titles[contrast.control]} {control:,}"
                    f" ({with_sign(share, 1)} %)"
                )
        if pairs:
            suggestion = (
                "a difference in accuracy may be one of size: match the parameters, or say so"
            )
            yield Finding(
                Code.UNMATCHED_PARAMETERS,
                f"contrasts of {factor}",
                f"parameters differ between the arms: {'; '.join(pairs)}",
                suggestion,
            )


def _dead_weights(recipe: Recipe, sizes: Sizes) -> Iterator[Finding]:
    for cell in recipe.cells:
        warning = dead_weight_warning(sizes[cell.key])
        if warning is not None:
            message, _, remedy = warning.rpartition("; ")
            yield Finding(Code.DEAD_WEIGHTS, f"cell {cell.key}", message, remedy)


def _weak_teachers(recipe: Recipe, specs: Specs, sizes: Sizes) -> Iterator[Finding]:
    """One finding for each teacher and reason, whatever the number of its students."""
    cells = {cell.key: cell for cell in recipe.cells}
    said: set[tuple[str, str]] = set()
    for cell in recipe.cells:
        spec = specs[cell.key]
        if not isinstance(spec, DistillSpec):
            continue
        key = _foundation_cell(cell.request)
        for reason in _weaknesses(
            spec, cells[key], cell, sizes[key].parameters - sizes[cell.key].parameters
        ):
            if (key, reason) not in said:
                said.add((key, reason))
                yield Finding(
                    Code.WEAK_TEACHER,
                    f"cell {key}",
                    reason,
                    "compare the teacher's accuracy with the baseline's before reading the gain",
                )


def _weaknesses(
    spec: DistillSpec, teacher: Cell, student: Cell, more_parameters: int
) -> Iterator[str]:
    before, after = spec.teacher.spec.planned_epochs, spec.planned_epochs
    if before < after:
        yield (
            f"the teacher is trained for {before} epochs and the student for {after}: the student may become the better"
            " of the two"
        )
    if more_parameters < 0:
        yield f"the teacher has {-more_parameters:,} parameters fewer than the student"
    if (
        teacher.published
        and student.published
        and teacher.published.value < student.published.value
    ):
        yield f"the source's teacher has {teacher.published.printed} and its student {student.published.printed}"
    if teacher.expected and student.expected and teacher.expected.high < student.expected.low:
        yield (
            f"the teacher is expected to reach at most {100 * teacher.expected.high:.4g} % and the student at least"
            f" {100 * student.expected.low:.4g} %"
        )


def _flat(spec: AnySpec) -> dict[str, Any]:
    """Every leaf of a spec by its dotted path, the network always under `model`, and what is built on as one leaf."""
    document = spec.model_dump(mode="json")
    document.pop("kind")
    document.pop("student", None)
    document["model"] = spec.network.model_dump(mode="json")
    if spec.role is not None:
        document[spec.role] = json.dumps(document[spec.role], sort_keys=True)
    return dict(_leaves(document, ""))


def _leaves(document: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _with_reference(request: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The request with the referenced cell's own in place of its key."""
    cells = {cell.key: cell for cell in recipe.cells}
    return {
        name: (
            {"spec": cells[value["cell"]].request}
            if name in ROLES.values() and isinstance(value, dict) and "cell" in value
            else value
        )
        for name, value in request.items()
    }


def _foundation_cell(request: Mapping[str, Any]) -> str:
    return str(request[ROLES[request["kind"]]]["cell"])
