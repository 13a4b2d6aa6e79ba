"""A network is shown in parts: their numbers are those of its layers, blocks hold what stands in them, and what comes
several times in a row is said once.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import TypeAdapter

from lab_models.architectures.parts import DrawnPart, parts_of
from lab_models.architectures.sizes import impossible, model_size
from lab_models.specs import ARCHITECTURES, PRESETS, ModelSpec
from lab_models.specs.presets import expand_preset
from tests.lab_models.conftest import EXAMPLES
from tests.lab_models.test_layer_lists import LISTS

validated: Any = TypeAdapter(ModelSpec).validate_python
COLOR = (3, 32, 32)


def parts(model: Any, shape: tuple[int, int, int] = COLOR) -> tuple[DrawnPart, ...]:
    return parts_of(model_size(validated(expand_preset(model)), shape, 10), 10)


def every(shown: Sequence[DrawnPart]) -> Iterator[DrawnPart]:
    """All of them as often as they come."""
    for part in shown:
        if part.kind not in ("repeat", "residual"):
            yield part
        for _ in range(part.times):
            yield from every((*part.parts, *part.shortcut))


def in_words(shown: Sequence[DrawnPart]) -> list[Any]:
    return [
        (
            part.text,
            in_words(part.parts),
            *([[one.text for one in part.shortcut]] if part.kind == "residual" else []),
        )
        if part.parts
        else part.text
        for part in shown
    ]


def require_the_sizes(model: Any, shape: tuple[int, int, int] = COLOR) -> None:
    size = model_size(validated(model), shape, 10)
    shown = parts_of(size, 10)
    assert sum(part.parameters for part in shown) == size.parameters
    assert sum(part.macs for part in shown) == size.macs_per_sample
    assert sum(part.parameters for part in every(shown)) == size.parameters
    assert shown[-1].output_shape == (10,)
    weighed = [layer for layer in size.layers if layer.parameters]
    assert sum(part.name is not None for part in every(shown)) == len(weighed)
    assert next(part.name for part in shown if part.name) == weighed[0].name


@pytest.mark.parametrize(
    "model",
    [*PRESETS, *(spec.model_fields["arch"].default for spec in ARCHITECTURES)],
)
def test_the_numbers_of_the_parts_are_those_of_the_network(model: str) -> None:
    document = expand_preset(model)
    if document.get("stages") != 10:  # which small images are too small for
        require_the_sizes(document)


@settings(EXAMPLES, max_examples=60)
@given(LISTS)
def test_so_are_those_of_any_list(layers: list[Any]) -> None:
    document = {"arch": "layers", "layers": layers}
    if impossible(validated(document), (1, 8, 8)) is None:
        require_the_sizes(document, (1, 8, 8))


def test_what_comes_several_times_is_said_once_with_its_shortcuts() -> None:
    block = ["3x3 conv, 32", "batch norm", "relu", "3x3 conv, 32", "batch norm"]
    wider = ["3x3 conv, 64, stride 2", *["batch norm", "relu", "3x3 conv, 64", "batch norm"]]
    found = in_words(parts({"arch": "cnn", "widths": [32, 64], "residual": True, "stem": "3x3"}))
    assert found[:6] == [
        *("3x3 conv, 32", "batch norm", "relu"),
        ("2 times", [("residual", block, []), "relu"]),
        ("residual", wider, ["1x1 conv, 64, stride 2", "batch norm"]),
        "relu",
    ]
    assert found[-2:] == ["global average pool", "linear, 10"]
    assert in_words(parts({"arch": "mlp", "depth": 10, "width": 64})) == [
        "flatten",
        "linear, 64",
        "relu",
        ("9 times", ["linear, 64", "relu"]),
        "linear, 10",
    ]


def test_a_repeat_whose_shapes_change_is_written_out_and_a_shortcut_of_zeros_says_so() -> None:
    own = {
        "arch": "layers",
        "layers": [
            {"repeat": 2, "layers": [{"conv": 4, "groups": 1}, "max_pool"]},
            {"residual": [{"conv": 8, "stride": 2, "dilation": 2}], "shortcut": "padded"},
            {"dropout": 0.2, "of": "channels"},
            {"group_norm": 2},
            {"average_pool": 3, "stride": 1},
            "flatten",
            "leaky_relu",
        ],
    }
    assert in_words(parts(own)) == [
        *("3x3 conv, 4", "max pool 2x2") * 2,
        ("residual", ["3x3 conv, 8, stride 2, dilation 2"], ["stride 2, 4 channels of zeros"]),
        *("dropout 0.2 of channels", "group norm, 2 groups", "average pool 3x3, stride 1"),
        *("flatten", "leaky relu", "linear, 10"),
    ]
    names = [part.name for part in parts(own)]
    assert names[:5] == ["layers.0.0.0", None, "layers.0.1.0", None, "layers.1.residual.0"]
    assert parts(own)[0].output_shape == (4, 32, 32)


@pytest.mark.parametrize(
    ("layers", "most"),
    [
        ([{"repeat": 200, "layers": ["relu"] * 10}], 5),
        ([{"repeat": 20, "layers": [{"conv": 8 + number} for number in range(50)]}], 60),
        ([{"conv": 8 + number % 7} for number in range(490)], 10),
        ([{"conv": 8 + number % 2} if number % 3 else "relu" for number in range(490)], 10),
    ],
    ids=["functions", "long", "seven", "two"],
)
def test_long_lists_are_folded_at_no_cost(layers: list[Any], most: int) -> None:
    started = time.process_time()
    assert len(parts({"arch": "layers", "layers": layers})) <= most
    assert time.process_time() - started < 2, "a tenth of a second is needed"
