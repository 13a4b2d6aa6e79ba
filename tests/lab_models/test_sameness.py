"""What trains the same is called the same, which means: to the bit; and what does not is not."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from lab_models.architectures.sameness import effect_of
from lab_models.recipes.catalog import RECIPES
from lab_models.specs import canonical_json, fingerprint, read_spec
from lab_models.studies.design import cell_request
from lab_models.studies.designing import design_of
from lab_models.studies.request import read_study_request
from tests.lab_models.conftest import TINY, OrderMaker, scores_of, train

ONE_LAYER = {"arch": "mlp", "depth": 1, "width": 16, "dropout": 0.2}
DEEP = {"arch": "mlp", "depth": 3, "width": 16}
SMALL_CNN = {"arch": "cnn", "stages": 2, "width": 4, "stem": "3x3", "blocks_per_stage": 1}

SAME = {
    "a shortcut that is around nothing": (ONE_LAYER, {"residual": True}),
    "pairs of which there is none": (ONE_LAYER, {"residual": True, "shortcut_layers": 2}),
    "blocks of which there is none": (ONE_LAYER, {"block": "inverted_bottleneck"}),
    "every hidden layer is the last": (ONE_LAYER, {"dropout_at": "last_hidden"}),
    "no dropout, wherever it stands": (DEEP, {"dropout_at": "last_hidden"}),
    "grey images, as they are": (DEEP, {"input_channels": 1}),
    "every stage that can halve may": (SMALL_CNN, {"max_halvings": 5}),
}
DIFFERENT = {
    "shortcuts": (DEEP, {"residual": True}),
    "pairs": (DEEP | {"residual": True}, {"shortcut_layers": 2}),
    "blocks": (DEEP, {"block": "inverted_bottleneck"}),
    "where dropout stands": (DEEP | {"dropout": 0.2}, {"dropout_at": "last_hidden"}),
    "norm": (ONE_LAYER, {"norm": "batch"}),
    "initial weights": (ONE_LAYER, {"init": "kaiming_fan_out"}),
    "a stage that does not halve": (SMALL_CNN, {"max_halvings": 0}),
    "shortcuts of one block": (SMALL_CNN | {"stages": 1}, {"residual": True}),
}


def spec_of(model: dict[str, Any], **more: Any) -> Any:
    return read_spec({"kind": "train", **TINY, "model": model, **more})


@pytest.mark.parametrize("name", SAME)
def test_what_is_called_the_same_has_the_same_weights_and_scores_to_the_bit(
    make_order: OrderMaker, tmp_path: Path, name: str
) -> None:
    plain, more = SAME[name]
    specs = [TINY | {"model": plain}, TINY | {"model": {**plain, **more}}]
    assert fingerprint(spec_of(plain)) != fingerprint(spec_of({**plain, **more}))
    assert effect_of(spec_of(plain)) == effect_of(spec_of({**plain, **more}))
    weights, scores = [], []
    for place, spec in enumerate(specs):
        folder = tmp_path / str(place)
        scores.append(scores_of(train(make_order(spec, run_folder=str(folder)))))
        weights.append(load_file(folder / "attempt-1" / "weights-last.safetensors"))
    assert scores[0] == scores[1]
    assert weights[0].keys() == weights[1].keys()
    assert all((weights[0][key] == weights[1][key]).all() for key in weights[0])


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_has_an_effect_is_not_called_the_same(name: str) -> None:
    plain, more = DIFFERENT[name]
    assert effect_of(spec_of(plain)) != effect_of(spec_of({**plain, **more}))


def test_what_is_not_of_the_network_always_counts() -> None:
    assert effect_of(spec_of(ONE_LAYER)) != effect_of(spec_of(ONE_LAYER, epochs=7))
    assert effect_of(spec_of(ONE_LAYER)) != effect_of(spec_of(ONE_LAYER, label_smoothing=0.1))


def test_students_of_one_teacher_are_the_same_however_it_is_said() -> None:
    def student(teacher: dict[str, Any], **model: Any) -> Any:
        return read_spec(
            {
                "kind": "distill",
                "teacher": {"spec": {**TINY, "model": {**ONE_LAYER, **teacher}}},
                "student": {**ONE_LAYER, **model},
                "dataset": TINY.get("dataset", "digits"),
            }
        )

    plain = student({})
    assert effect_of(plain) == effect_of(student({"residual": True}, residual=True))
    assert effect_of(plain) != effect_of(student({"width": 8}))

    def transfer(**model: Any) -> Any:
        source = {"spec": {**TINY, "model": {**ONE_LAYER, **model}}}
        return read_spec({"kind": "transfer", "source": source})

    assert effect_of(transfer()) == effect_of(transfer(residual=True))
    assert effect_of(transfer()) != effect_of(transfer(width=8))


def test_a_fingerprint_is_no_effect_and_stays_what_it_was() -> None:
    spec = spec_of({**ONE_LAYER, "residual": True})
    effect_of(spec)
    assert '"residual":true' in canonical_json(spec)


@pytest.mark.parametrize("scale", ["smoke", "full"])
def test_no_recipe_has_two_cells_that_train_the_same(scale: str) -> None:
    for name in RECIPES:
        design = design_of(read_study_request({"recipe": name, "scale": scale}))
        effects = [
            effect_of(request.spec_with(None))
            for cell in design.cells
            if (request := cell_request(design, cell)).reference is None
        ]
        assert len(set(effects)) == len(effects), name
