"""From what a person asks for to a study's cells."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_models.common.validation import InvalidDocument
from lab_models.recipes.catalog import RECIPES
from lab_models.studies.design import (
    Design,
    cell_request,
    foundation_cell,
    read_design,
    whole_document,
)
from lab_models.studies.designing import design_of
from lab_models.studies.overrides import with_overrides
from lab_models.studies.request import read_study_request


def designed(**body: Any) -> Design:
    return design_of(read_study_request(body))


@pytest.mark.parametrize(
    ("document", "path", "value", "changed"),
    [
        ({}, "epochs", 3, {"epochs": 3}),
        (
            {"dataset": "mnist"},
            "dataset.train_limit",
            5,
            {"dataset": {"name": "mnist", "train_limit": 5}},
        ),
        (
            {"optimizer": "sgd"},
            "optimizer.momentum",
            0.9,
            {"optimizer": {"name": "sgd", "momentum": 0.9}},
        ),
        ({"model": "mlp"}, "model.depth", 4, {"model": {"arch": "mlp", "depth": 4}}),
        (
            {"model": "student"},
            "model.residual",
            False,
            {"model": {"preset": "student", "residual": False}},
        ),
        (
            {"student": "resnet20"},
            "student.depth",
            32,
            {"student": {"preset": "resnet20", "depth": 32}},
        ),
        (
            {"teacher": {"spec": {"dataset": "mnist"}}},
            "teacher.spec.dataset.name",
            "digits",
            {"teacher": {"spec": {"dataset": {"name": "digits"}}}},
        ),
        ({"early_stopping": {"patience": 2}}, "early_stopping", None, {"early_stopping": None}),
    ],
)
def test_an_override_goes_where_its_path_leads(
    document: dict[str, Any], path: str, value: Any, changed: dict[str, Any]
) -> None:
    before = repr(document)
    assert with_overrides(document, {path: value}) == changed
    assert repr(document) == before, "the original stays"


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "epochs.more"])
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    with pytest.raises(InvalidDocument):
        with_overrides({"epochs": 3}, {path: 1})


@given(
    st.dictionaries(
        st.sampled_from(["model.depth", "epochs", "batch_size", "dataset.val_fraction"]),
        st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True),
        min_size=1,
    )
)
def test_a_grid_has_every_combination_once_and_every_key_is_its_own(
    vary: dict[str, list[int]],
) -> None:
    cells = designed(spec={}, vary=vary).cells
    size = 1
    for levels in vary.values():
        size *= len(levels)
    assert (
        len(cells)
        == len({cell.key for cell in cells})
        == len({repr(cell.request) for cell in cells})
        == size
    )


def test_a_grid_compares_each_level_with_the_first_at_equal_others() -> None:
    design = designed(spec={}, vary={"model.depth": [2, 4, 6], "model.residual": [False, True]})
    pairs = {
        (contrast.treatment, contrast.control, contrast.factor) for contrast in design.contrasts
    }
    assert len(pairs) == 2 * 2 + 3
    assert (
        "model.depth=6,model.residual=true",
        "model.depth=2,model.residual=true",
        "model.depth",
    ) in pairs
    assert (
        "model.depth=4,model.residual=true",
        "model.depth=4,model.residual=false",
        "model.residual",
    ) in pairs


def test_factors_are_called_by_their_last_names_unless_two_are_alike() -> None:
    assert designed(spec={}, vary={"model.depth": [1], "optimizer.name": ["sgd"]}).factors == (
        "depth",
        "name",
    )
    assert designed(
        spec={}, vary={"dataset.name": ["digits"], "optimizer.name": ["sgd"]}
    ).factors == ("dataset.name", "optimizer.name")


def test_a_level_may_be_a_whole_object() -> None:
    design = designed(
        spec={}, vary={"optimizer": [{"name": "sgd"}, {"name": "adam", "learning_rate": 0.01}]}
    )
    assert [cell.factors["optimizer"] for cell in design.cells] == [
        "sgd",
        '{"learning_rate":0.01,"name":"adam"}',
    ]
    assert cell_request(design, design.cells[1]).optimizer.learning_rate == 0.01


def test_a_design_survives_being_stored() -> None:
    for name in RECIPES:
        design = designed(recipe=name, scale="smoke")
        assert read_design(design.model_dump(mode="json")) == design


def test_only_a_recipe_at_full_scale_and_unchanged_is_whole() -> None:
    assert designed(recipe="mlp-depth").whole
    assert not designed(recipe="mlp-depth", scale="smoke").whole
    assert not designed(recipe="mlp-depth", overrides={"epochs": 2}).whole
    assert not designed(recipe="mlp-depth", cell_overrides={"depth-2": {"epochs": 2}}).whole
    assert (
        "smoke scale, changed"
        in designed(recipe="mlp-depth", scale="smoke", overrides={"epochs": 2}).title
    )


def test_what_is_built_on_a_cell_follows_its_overrides() -> None:
    design = designed(
        recipe="distill",
        overrides={"dataset.name": "digits", "epochs": 1},
        cell_overrides={"teacher": {"epochs": 3}},
    )
    student = next(cell for cell in design.cells if foundation_cell(cell.request) == "teacher")
    document = whole_document(design, student)
    assert (
        document["epochs"],
        document["teacher"]["spec"]["epochs"],
        document["teacher"]["spec"]["dataset"]["name"],
    ) == (1, 3, "digits")
    assert document["teacher"]["seed"] == design.seeds[0]


def test_every_cell_of_every_recipe_is_a_valid_request_at_every_scale() -> None:
    for name, known in RECIPES.items():
        for scale in known.scales:
            design = designed(recipe=name, scale=scale, seeds=2)
            for cell in design.cells:
                request = cell_request(design, cell)
                assert len(request.seeds) == (
                    2 if cell.num_seeds is None else min(2, cell.num_seeds)
                ), (name, cell.key)
