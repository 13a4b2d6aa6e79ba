"""Values that are drawn: the same everywhere, within their bounds, even, readable, and refused where they cannot be."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_models.common.validation import InvalidDocument
from lab_models.studies.design import Design, read_design
from lab_models.studies.designing import design_of
from lab_models.studies.field_types import is_whole_number
from lab_models.studies.request import read_study_request
from lab_models.studies.sampling import PRIMES, Distribution, drawn_alone, drawn_together
from tests.lab_models.conftest import EXAMPLES

RATE = "optimizer.learning_rate"


def designed(vary: dict[str, Any], spec: dict[str, Any] | None = None, **body: Any) -> Design:
    return design_of(read_study_request({"spec": spec or {}, "vary": vary, **body}))


def alone(
    count: int, *, whole: bool = False, seed: int = 0, path: str = "x", **said: Any
) -> list[Any]:
    drawn = drawn_alone(path, Distribution(n=count, **said), is_whole=whole, seed=seed)
    return [value for (value,) in drawn]


def test_the_values_are_what_they_always_were() -> None:
    """Golden: a study that is sent again, on whatever machine and with whatever libraries, has the same cells."""
    vary = {
        RATE: {"log": [1e-4, 1e-1]},
        "model.dropout": {"uniform": [0, 0.5]},
        "model.width": {"log": [16, 512]},
        "model.norm": {"choices": ["none", "batch", "layer"]},
    }
    points = designed(vary, sample={"points": 6, "seed": 0})
    assert [tuple(cell.factors.values()) for cell in points.cells] == GOLDEN_POINTS
    assert alone(8, path=RATE, log=(1e-4, 1e-1)) == GOLDEN_RATES
    assert alone(4, whole=True, path="model.depth", uniform=(2, 9), seed=7) == GOLDEN_DEPTHS


GOLDEN_POINTS = [
    (0.0291, 0.116, 21, "layer"),
    (0.000921, 0.45, 87, "none"),
    (0.00518, 0.283, 175, "layer"),
    (0.000164, 0.005, 43, "batch"),
    (0.0691, 0.338, 352, "none"),
    (0.00218, 0.172, 25, "batch"),
]
GOLDEN_RATES = [0.000165, 0.000392, 0.000931, 0.00221, 0.00523, 0.0124, 0.0294, 0.0698]
GOLDEN_DEPTHS = [3, 5, 7, 9]

bounds = st.tuples(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6)).map(
    lambda ends: (ends[0], ends[0] + ends[1])
)
positive = st.tuples(st.floats(1e-9, 1e6), st.floats(1.001, 1e9)).map(
    lambda ends: (ends[0], ends[0] * ends[1])
)


@EXAMPLES
@given(bounds, st.integers(1, 20), st.integers(0, 2**31 - 1))
def test_uniform_values_lie_within_their_bounds_rise_and_differ(
    ends: tuple[float, float], count: int, seed: int
) -> None:
    values = alone(count, uniform=ends, seed=seed)
    assert values == sorted(set(values))
    assert len(values) == count
    assert ends[0] <= values[0] <= values[-1] <= ends[1]


@EXAMPLES
@given(positive, st.integers(1, 20), st.integers(0, 2**31 - 1))
def test_log_uniform_values_lie_within_their_bounds_with_few_digits(
    ends: tuple[float, float], count: int, seed: int
) -> None:
    values = alone(count, log=ends, seed=seed)
    assert values == sorted(set(values))
    assert len(values) == count
    assert ends[0] <= values[0] <= values[-1] <= ends[1]
    if ends[1] >= 2 * ends[0]:
        inside = [value for value in values if value not in ends]
        assert all(value == float(f"{value:.2e}") for value in inside)


@EXAMPLES
@given(st.integers(1, 50), st.integers(0, 400), st.integers(0, 2**31 - 1), st.booleans())
def test_whole_numbers_are_whole_and_reach_both_ends(
    low: int, more: int, seed: int, is_log: bool
) -> None:
    ends = (float(low), float(low + more + 1))
    said = {"log" if is_log else "uniform": ends}
    values = alone(min(5, more + 2), whole=True, seed=seed, **said)
    assert all(type(value) is int and low <= value <= low + more + 1 for value in values)
    assert alone(4, whole=True, seed=seed, uniform=(low, low + 3)) == list(range(low, low + 4))


@EXAMPLES
@given(st.integers(1, 4), st.integers(0, 2**31 - 1), st.integers(0, 9))
def test_each_factor_of_a_whole_number_of_rounds_is_covered_evenly(
    rounds: int, seed: int, place: int
) -> None:
    """In base b each of b equal parts has one of every b points that follow each other, whatever the others do."""
    base = PRIMES[place]
    factors = [(f"f{i}", Distribution(uniform=(0.0, 1e6)), False) for i in range(place + 1)]
    points = drawn_together(factors, rounds * base, seed)
    parts = [int(point[place] / 1e6 * base) for point in points]
    # a value on the border between two parts may be rounded over it
    near = sum(parts.count(part) == rounds for part in range(base))
    assert near >= base - 2
    assert len(points) == rounds * base


@EXAMPLES
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 1000))
def test_the_first_points_are_the_same_however_many_are_drawn(
    few: int, more: int, seed: int
) -> None:
    factors = [
        (RATE, Distribution(log=(1e-5, 1.0)), False),
        ("model.depth", Distribution(uniform=(1.0, 3.0)), True),
    ]
    assert drawn_together(factors, few + more, seed)[:few] == drawn_together(factors, few, seed)


def test_a_factor_that_is_added_at_the_end_changes_no_value_of_the_others() -> None:
    one = (RATE, Distribution(log=(1e-5, 1.0)), False)
    two = ("model.dropout", Distribution(uniform=(0.0, 0.5)), False)
    both = drawn_together([one, two], 20, 3)
    assert [point[:1] for point in both] == drawn_together([one], 20, 3)
    assert drawn_together([one], 20, 4) != drawn_together([one], 20, 3)


def test_points_are_no_product_and_are_crossed_with_what_is_listed() -> None:
    vary = {
        RATE: {"log": [1e-4, 1e-1]},
        "model.residual": [False, True],
        "model.dropout": {"uniform": [0, 0.5]},
    }
    design = designed(vary, sample={"points": 5})
    assert len(design.cells) == 10
    assert design.factors == ("learning_rate", "residual", "dropout")
    assert design.cells[1].key == "point-0,model.residual=true"
    first, second = (cell.factors for cell in design.cells[:2])
    assert first | {"residual": True} == second
    assert len({cell.factors["learning_rate"] for cell in design.cells}) == 5
    assert {(one.treatment, one.control) for one in design.contrasts} == {
        (f"point-{i},model.residual=true", f"point-{i},model.residual=false") for i in range(5)
    }
    assert read_design(design.model_dump(mode="json")) == design


def test_values_of_one_factor_are_crossed_and_not_compared_with_their_first() -> None:
    design = designed({RATE: {"log": [1e-4, 1e-1], "n": 4}, "model.depth": [2, 3]})
    assert len(design.cells) == 8
    assert {one.factor for one in design.contrasts} == {"model.depth"}
    assert (design.sample is not None, design.drawn["learning_rate"].n) == (True, 4)
    rates = [cell.request["optimizer"]["learning_rate"] for cell in design.cells[::2]]
    assert rates == [cell.factors["learning_rate"] for cell in design.cells[::2]] == sorted(rates)
    only = designed({RATE: {"log": [1e-4, 1e-1], "n": 4}})
    assert (only.contrasts, only.pictures) == ((), ("factor", "curves"))


def test_a_grid_without_anything_drawn_is_what_it_was() -> None:
    design = designed({"model.depth": [2, 3], "model.residual": [False, True]})
    assert (design.sample, design.drawn, design.paths) == (
        None,
        {},
        ("model.depth", "model.residual"),
    )


@pytest.mark.parametrize(
    ("path", "is_whole"),
    [
        ("model.depth", True),
        ("model.width", True),
        ("epochs", True),
        ("batch_size", True),
        ("model.dropout", False),
        (RATE, False),
        ("schedule.patience", True),
        ("schedule.warmup_epochs", False),
        ("dataset.train_limit", True),
        ("dataset.augmentation.rotation", False),
        ("model.residual", False),
        ("model.shortcut_layers", True),
        ("no.such.path", False),
        ("model", False),
    ],
)
def test_a_field_s_type_is_found_by_its_path(path: str, is_whole: bool) -> None:
    assert is_whole_number({}, path) is is_whole


def test_fields_of_students_and_teachers_are_found_too() -> None:
    assert is_whole_number({"kind": "distill"}, "student.width")
    assert is_whole_number({"kind": "distill"}, "teacher.spec.epochs")
    assert not is_whole_number({"kind": "distill"}, "temperature")


@pytest.mark.parametrize(
    ("vary", "sample", "pointer", "said"),
    [
        ({RATE: {"log": [0.1, 1e-4], "n": 2}}, None, f"/vary/{RATE}/log", "must lie below"),
        ({RATE: {"log": [0.1, 0.1], "n": 2}}, None, f"/vary/{RATE}/log", "must lie below"),
        ({RATE: {"log": [0, 0.1], "n": 2}}, None, f"/vary/{RATE}/log", "bounds above 0"),
        ({RATE: {"log": [-1, 0.1]}}, {"points": 2}, f"/vary/{RATE}/log", "bounds above 0"),
        (
            {"model.depth": {"uniform": [1.5, 3], "n": 2}},
            None,
            "/vary/model.depth/uniform",
            "whole number",
        ),
        ({"model.depth": {"uniform": [1, 3], "n": 4}}, None, "/vary/model.depth/n", "there are 3"),
        (
            {"model.depth": {"uniform": [1, 2]}, "model.norm": {"choices": ["none", "batch"]}},
            {"points": 9},
            "/sample/points",
            "there are 4",
        ),
        (
            {f"model.f{i}": {"choices": ["a"]} for i in range(10)},
            {"points": 1000},
            "/sample/points",
            "there are 1",
        ),
        ({RATE: {"log": [0.1], "n": 2}}, None, f"/vary/{RATE}/log/1", "required"),
        ({RATE: {"log": ["a", "b"], "n": 2}}, None, f"/vary/{RATE}/log/0", "valid number"),
        ({RATE: {"logg": [0.1, 1], "n": 2}}, None, f"/vary/{RATE}/logg", "unknown field"),
        ({RATE: {"n": 2}}, None, f"/vary/{RATE}", "give one of"),
        ({RATE: {"log": [0.1, 1], "uniform": [0, 1]}}, None, f"/vary/{RATE}", "give one of"),
        ({RATE: {"log": [0.1, 1], "n": 0}}, None, f"/vary/{RATE}/n", "greater than or equal to 1"),
        ({RATE: {"log": [0.1, 1]}}, None, f"/vary/{RATE}", "not said how many"),
        ({RATE: {"log": [0.1, 1]}}, {"seed": 1}, f"/vary/{RATE}", "not said how many"),
        ({RATE: {"log": [0.1, 1], "n": 2}}, {"points": 3}, "/sample/points", "its own 'n'"),
        ({RATE: [0.1, 1]}, {"points": 3}, "/sample", "nothing in 'vary' is drawn"),
        ({"model.norm": {"choices": ["none"], "n": 1}}, None, "/vary/model.norm/n", "no 'n'"),
        ({RATE: 0.1}, None, f"/vary/{RATE}", "must be a list of values, or what they are drawn"),
        ({RATE: []}, None, f"/vary/{RATE}", "must have 1 to 100 values"),
        ({RATE: {"log": [0.1, 1], "n": 2}}, {"points": 0}, "/sample/points", "greater than"),
    ],
)
def test_what_cannot_be_drawn_is_refused_where_it_is_said(
    vary: dict[str, Any], sample: dict[str, Any] | None, pointer: str, said: str
) -> None:
    with pytest.raises(InvalidDocument) as refused:
        designed(vary, **({} if sample is None else {"sample": sample}))
    assert refused.value.errors[0].pointer == pointer, refused.value.errors
    assert said in refused.value.errors[0].message


def test_a_sample_without_anything_that_varies_is_refused() -> None:
    with pytest.raises(InvalidDocument, match="'sample' goes with 'vary'"):
        read_study_request({"specs": [{}], "sample": {"points": 2}})


def test_a_value_has_three_digits_of_what_it_is_drawn_from_and_zero_has_no_sign() -> None:
    narrow = alone(8, uniform=(0.5, 0.5001))
    assert len(set(narrow)) == 8
    assert all(math.isclose(value, round(value, 7)) for value in narrow)
    around = alone(20, uniform=(-1e-6, 1.0), seed=1)
    assert all(math.copysign(1, value) == 1 for value in around if value == 0)


@EXAMPLES
@given(st.integers(1, 40), st.integers(0, 60), st.integers(0, 2**31 - 1), st.booleans())
def test_all_whole_numbers_that_there_are_can_be_drawn(
    low: int, more: int, seed: int, is_log: bool
) -> None:
    ends = (float(low), float(low + more + 1))
    said = {"log" if is_log else "uniform": ends}
    assert alone(more + 2, whole=True, seed=seed, **said) == list(range(low, low + more + 2))


@EXAMPLES
@given(st.integers(1, 6), st.integers(2, 5), st.integers(0, 2**31 - 1))
def test_all_points_that_there_are_can_be_drawn(numbers: int, choices: int, seed: int) -> None:
    factors = [
        ("model.depth", Distribution(uniform=(1.0, 1.0 + numbers)), True),
        ("model.norm", Distribution(choices=list("abcde"[:choices])), False),
    ]
    points = drawn_together(factors, (numbers + 1) * choices, seed)
    assert len({tuple(point) for point in points}) == (numbers + 1) * choices
