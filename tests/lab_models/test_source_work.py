"""Which cells are their source's work, what is said of the others, and titles that name what is run."""

from typing import Any

import pytest

from lab_models.recipes.catalog import RECIPES, recipe
from lab_models.recipes.cell_checks import effective_specs
from lab_models.recipes.recipe import Reaches
from lab_models.specs import AnySpec
from lab_models.studies.design import Design, read_design
from lab_models.studies.designing import design_of
from lab_models.studies.request import read_study_request
from lab_models.studies.source_work import departures, is_sources_work


def designed(**body: Any) -> Design:
    return design_of(read_study_request(body))


def spec_of(name: str, key: str) -> AnySpec:
    return effective_specs(recipe(name))[key]


def changed(spec: AnySpec, path: str, value: Any) -> AnySpec:
    """The spec with one field put in its place."""
    document = spec.model_dump(mode="json")
    *way, last = path.split(".")
    part = document
    for name in way:
        part = part[name]
    part[last] = value
    return type(spec).model_validate(document, strict=False)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("probes", ["gradient_flow"]),
        ("on_out_of_memory", "halve_batch"),
        ("precision", "bfloat16"),
    ],
)
def test_what_is_measured_beside_leaves_a_cell_the_sources_work(path: str, value: Any) -> None:
    spec = spec_of("mlp-depth", "depth-4")
    assert departures(changed(spec, path, value), spec) != []
    assert is_sources_work(changed(spec, path, value), spec)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("dataset.name", "digits"),
        ("dataset.train_limit", 200),
        ("dataset.val_fraction", 0.1),
        ("dataset.split_seed", 1),
        ("model.width", 64),
        ("model.residual", True),
        ("epochs", 1),
        ("epochs", 11),
        ("batch_size", 128),
        ("optimizer.learning_rate", 0.002),
        ("label_smoothing", 0.1),
        ("best_by", "accuracy"),
    ],
)
def test_another_data_set_network_or_procedure_is_not_the_sources_work(
    path: str, value: Any
) -> None:
    spec = spec_of("mlp-depth", "depth-4")
    assert [one.path for one in departures(changed(spec, path, value), spec)] == [path]
    assert not is_sources_work(changed(spec, path, value), spec)


def test_a_student_is_the_sources_work_only_with_the_sources_teacher() -> None:
    spec = spec_of("distill", "distilled")
    assert is_sources_work(changed(spec, "teacher.seed", 7), spec)
    assert not is_sources_work(changed(spec, "teacher.spec.epochs", 20), spec)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_at_full_scale_is_the_sources_work_with_any_seeds_name_and_labels(
    name: str,
) -> None:
    page = recipe(name)
    design = designed(recipe=name, seeds=[5, 6, *range(10, 30)], name="mine", labels={"a": "b"})
    assert design.whole
    assert design.sources == tuple(cell.key for cell in page.cells)
    assert [(cell.published, cell.expected) for cell in design.cells] == [
        (cell.published, cell.expected) for cell in page.cells
    ]
    *remarks, on_seeds = design.remarks
    assert (design.claims, tuple(remarks)) == (page.claims, page.notes)
    assert on_seeds.startswith("22 seeds of each cell")


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_of_the_source_stands_in_a_smoke_scale(name: str) -> None:
    design = designed(recipe=name, scale="smoke")
    assert (design.sources, design.whole) == ((), False)
    assert all(cell.published is None and cell.expected is None for cell in design.cells)
    assert not any(isinstance(claim.test, Reaches) for claim in design.claims)
    assert design.remarks[0].startswith("Not at full scale: ")


@pytest.mark.parametrize("name", RECIPES)
def test_titles_and_questions_name_the_data_sets_that_are_learned(name: str) -> None:
    page = recipe(name)
    own = designed(recipe=name)
    assert (own.title, own.question) == (page.title, page.question)
    assert "{" not in own.title + own.question
    design = designed(recipe=name, overrides={"dataset.name": "digits"})
    for text in (design.title, design.question):
        assert "MNIST" not in text
        assert "CIFAR-10" not in text
    assert "digits" in design.title
    assert design.title.endswith(" (changed)")
    assert design.margin_points is None, "the margin is that of the images that are tested on"
    assert not set(page.notes) & set(design.remarks), "they speak of the recipe's own data"


def test_a_network_and_what_builds_on_it_may_have_learned_different_data() -> None:
    assert designed(recipe="probe").title == "A CIFAR-10 network's features on CIFAR-100"
    mixed = designed(recipe="probe", cell_overrides={"source": {"dataset.name": "digits"}})
    assert mixed.title == "A digits network's features on CIFAR-100 (changed)"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            {
                "recipe": "mlp-depth",
                "seeds": 1,
                "overrides": {"epochs": 1, "dataset.train_limit": 200},
            },
            "Not at full scale: 200 of 60,000 training images, 1 epoch instead of 10, 1 seed instead of ",
        ),
        (
            {
                "recipe": "mlp-residual",
                "scale": "smoke",
                "overrides": {"dataset.train_limit": 1000},
            },
            "Not at full scale: 1,000 of 60,000 training images, 2 epochs instead of 10, 3 seeds instead of ",
        ),
        (
            {"recipe": "cnn-blocks", "scale": "smoke", "seeds": 1},
            "Not at full scale: 1,000 of 50,000 training images, 2 epochs instead of 20, batch_size 32 instead of 128,",
        ),
        (
            {
                "recipe": "mlp-depth",
                "scale": "smoke",
                "seeds": 2,
                "overrides": {"dataset.name": "digits", "dataset.train_limit": 200, "epochs": 1},
            },
            "Not at full scale: digits instead of MNIST, 200 of 1,437 training images, 1 epoch instead of 10, 2 seeds",
        ),
        (
            {"recipe": "three-models", "overrides": {"dataset.name": "digits"}},
            "Otherwise than in the recipe: digits instead of CIFAR-10.",
        ),
        (
            {"recipe": "cnn-blocks", "overrides": {"precision": "bfloat16"}},
            "Otherwise than in the recipe: precision bfloat16 instead of float32.",
        ),
        (
            {"recipe": "mlp-depth", "cell_overrides": {"depth-4": {"model.width": 64}}},
            "Otherwise than in the recipe: model.width 64 instead of 512 (depth-4).",
        ),
        (
            {"recipe": "mlp-depth", "overrides": {"optimizer": "sgd"}},
            "Otherwise than in the recipe: optimizer.learning_rate 0.1 instead of 0.001, optimizer.momentum 0,"
            " optimizer.name sgd instead of adam",
        ),
    ],
)
def test_the_sentence_on_scale_says_what_is_run_and_every_field_that_is_changed(
    body: dict[str, Any], said: str
) -> None:
    assert designed(**body).remarks[0].startswith(said)


def test_widths_layer_by_layer_are_said_once_and_an_unending_list_is_cut() -> None:
    said = designed(recipe="cnn-blocks", scale="smoke").remarks[0]
    assert "model.widths [16, 32, 64, 128, 128] (plain-5 and residual-5)" in said
    assert "model.stages" not in said
    assert "model.width 16 instead of 64 (plain-1 and residual-1)" in said


def test_the_sentence_on_seeds_counts_those_that_there_are_now() -> None:
    design = designed(recipe="mlp-depth", seeds=1)
    full = recipe("mlp-depth").scales["full"].seeds
    assert design.remarks[0] == f"Not at full scale: 1 seed instead of {full}."
    assert design.whole, "seeds are no part of what is done"
    grown = design.model_copy(update={"seeds": tuple(range(full))})
    assert grown.remarks == design.notes


def test_a_note_says_why_the_sources_numbers_are_missing() -> None:
    digits = designed(recipe="mlp-depth", overrides={"dataset.name": "digits"})
    assert digits.remarks[-1] == (
        "The source's numbers are left out: they are of MNIST, and this is digits."
    )
    shorter = designed(recipe="mlp-depth", overrides={"epochs": 3})
    assert shorter.remarks[-1] == "The source's numbers are left out: they are of other settings."
    strong = designed(recipe="mlp-depth-strong", scale="smoke")
    assert strong.remarks[-1].startswith("The numbers that are expected are left out: nothing at")


def test_the_cells_that_are_left_as_they_were_keep_the_sources_numbers() -> None:
    design = designed(recipe="mlp-small", cell_overrides={"residual-110": {"epochs": 20}})
    published = {cell.key: cell.published is not None for cell in design.cells}
    assert (published["mlp-small"], published["residual-110"]) == (True, False)
    assert "strong-baseline" in [claim.key for claim in design.claims]
    assert design.remarks[-1].startswith("The source's numbers stand beside the cells that")
    other = designed(recipe="mlp-small", cell_overrides={"mlp-small": {"epochs": 20}})
    assert "strong-baseline" not in [claim.key for claim in other.claims]


def test_a_design_of_before_shows_the_source_only_where_all_was_the_sources() -> None:
    def stored(**body: Any) -> dict[str, Any]:
        """As an earlier version kept it: with everything of the recipe."""
        design, page = designed(**body), recipe(body["recipe"])
        published = {cell.key: cell.published for cell in page.cells}
        cells = tuple(
            cell.model_copy(update={"published": published[cell.key]}) for cell in design.cells
        )
        scale = page.scales[body.get("scale", "full")]
        false = () if design.whole else (f"Not at full scale: {scale.description}",)
        kept = design.model_copy(
            update={"cells": cells, "claims": page.claims, "notes": (*page.notes, *false)}
        )
        document = kept.model_dump(mode="json")
        for field in ("sources", "changes", "is_smaller", "left_out", "full_seeds"):
            del document[field]
        return document

    whole = read_design(stored(recipe="mlp-small"))
    assert len(whole.sources) == len(whole.cells)
    assert whole.cells[0].published is not None
    smoke = read_design(stored(recipe="mlp-small", scale="smoke"))
    assert all(cell.published is None for cell in smoke.cells)
    assert "strong-baseline" not in [claim.key for claim in smoke.claims]
    assert not any("5,000 training images" in note for note in smoke.remarks)
    assert smoke.remarks[0].startswith("Not at full scale; what was changed stands in the request.")
