"""What decides a result, invented in pairs: whatever changes one makes two runs unequal, in both directions; what does
not leaves them equal.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.experiments.likeness import (
    BEFORE_RESUMING,
    FACTS,
    Likeness,
    Platform,
    Record,
    conditions,
    differences,
    resumed,
)
from lab_models.common.revision import RESULTS_VERSION
from lab_models.specs import fingerprint, read_spec

pytestmark = pytest.mark.sqlite  # what it reads is the same on both databases

SHA = st.integers(0, 3).map(lambda number: f"{number:064x}")
MLP: dict[str, Any] = {"kind": "train", "model": {"arch": "mlp", "hidden": [8]}}
CNN: dict[str, Any] = {"kind": "train", "model": {"arch": "cnn", "width": 8}}
SPECS = [
    MLP,
    CNN,
    {**MLP, "batch_size": 65},
    *({**CNN, "precision": precision} for precision in ("tf32", "bfloat16")),
    *(
        {"kind": "transfer", "source": {"spec": MLP, "seed": seed}, "strategy": "linear_probe"}
        for seed in (0, 1, "own")
    ),
    {"kind": "distill", "teacher": {"spec": CNN}, "student": {"arch": "mlp", "hidden": [4]}},
]


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    """A run as a worker of this version records it; below a spec that builds on another lie weights, made of images."""
    spec = draw(st.sampled_from(SPECS))
    kind = draw(st.sampled_from(["cpu", "cuda"]))
    below = {"run": draw(st.sampled_from(["run_a", "run_b"])), "weights_sha256": draw(SHA)}
    rounding = ["on", "off"] if spec.get("precision") == "tf32" else ["off"]
    card = {} if kind == "cpu" else {"tf32": draw(st.sampled_from(rounding))}
    return {
        "spec": spec,
        "seed": draw(st.integers(0, 2)),
        "environment": {
            "version": draw(st.sampled_from(["0.1.0", "0.2.0"])),
            "git": draw(st.sampled_from(["aaaa", "bbbb"])),
            "results_version": RESULTS_VERSION,
            "python": draw(st.sampled_from(["3.11.7", "3.13.1"])),
            "torch": draw(st.sampled_from(["2.11.0", "2.11.1+cpu", "2.14.1"])),
            "device": f"{kind}: {draw(st.sampled_from(['model a', 'model b']))}",
            **card,
            "threads": draw(st.sampled_from([1, 2])),
            "micro_batches": 1,
            "dataset_sha256": draw(SHA),
            "built_on": None if spec["kind"] == "train" else below,
        },
    }


def print_of(run: dict[str, Any]) -> str:
    return fingerprint(read_spec(run["spec"]))


def record(run: dict[str, Any]) -> Record:
    return Record(print_of(run), run["seed"], run["environment"])


def wanted(run: dict[str, Any]) -> Likeness:
    """What another would have to be like to stand in for the run, made once more where and on what it was made."""
    environment = run["environment"]
    kind = environment["device"].partition(":")[0]
    below = environment["built_on"]
    place = Platform.of(kind, environment["torch"], environment["threads"])
    return Likeness(
        print_of(run),
        run["seed"],
        environment["dataset_sha256"],
        None if below is None else below["weights_sha256"],
        frozenset({replace(place, tf32=environment.get("tf32"))}),
    )


def result(run: dict[str, Any]) -> tuple[Any, ...]:
    """All that decides the run's result, said without the code that is tested."""
    environment = run["environment"]
    kind = environment["device"][:3]
    return (
        print_of(run),
        run["seed"],
        environment["torch"][:4],
        kind,
        environment["threads"] if kind == "cpu" else environment["tf32"],
        environment["dataset_sha256"],
        (environment["built_on"] or {}).get("weights_sha256"),
    )


@settings(max_examples=500, deadline=None)
@given(runs(), runs())
def test_two_runs_are_equal_exactly_where_all_that_decides_a_result_is(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    equal = wanted(first).is_met_by(record(second))
    assert equal == (result(first) == result(second))
    assert equal == wanted(second).is_met_by(record(first)), "in both directions"


def _set(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(run: dict[str, Any]) -> None:
        for name in path[:-1]:
            run = run[name]
        run[path[-1]] = value

    return change


DECIDES: dict[str, Callable[[dict[str, Any]], None]] = {
    "seed": _set("seed", value=7),
    "spec": _set("spec", value={**MLP, "epochs": 3}),
    "precision": lambda run: run["spec"].update(
        precision="bfloat16" if run["spec"].get("precision") != "bfloat16" else "tf32"
    ),
    "threads or tf32": lambda run: run["environment"].update(
        {"threads": 9} if run["environment"]["device"].startswith("cpu") else {"tf32": "other"}
    ),
    "results_version": _set("environment", "results_version", value=RESULTS_VERSION - 1),
    "images": _set("environment", "dataset_sha256", value="f" * 64),
    "device": _set("environment", "device", value="mps: another"),
    "torch": _set("environment", "torch", value="2.99.0"),
    "micro_batches": _set("environment", "micro_batches", value=2),
    "built_on": _set("environment", "built_on", value={"weights_sha256": "f" * 64}),
    "resumed": _set("environment", BEFORE_RESUMING, value={"torch": "2.9.0"}),
}
CHANGES_NOTHING: dict[str, Callable[[dict[str, Any]], None]] = {
    "git": _set("environment", "git", value="cccc"),
    "version": _set("environment", "version", value="9.9"),
    "python": _set("environment", "python", value="3.99"),
    **{
        name: _set("environment", name, value="another")
        for name in ("driver", "cuda", "cudnn", "capability", "multiprocessors")
    },
}


@settings(max_examples=25, deadline=None)
@given(runs())
@pytest.mark.parametrize("name", DECIDES)
def test_what_decides_a_result_makes_another_run_of_it(name: str, run: dict[str, Any]) -> None:
    other = copy.deepcopy(run)
    DECIDES[name](other)
    assert wanted(run).is_met_by(record(run))
    assert not wanted(run).is_met_by(record(other))
    assert not wanted(other).is_met_by(record(run)) or name in (
        "results_version",
        "micro_batches",
        "resumed",
    ), "what is wanted is always of this version, with whole batches and of one piece"


@settings(max_examples=25, deadline=None)
@given(runs())
@pytest.mark.parametrize("name", CHANGES_NOTHING)
def test_what_changes_no_number_changes_no_equality(name: str, run: dict[str, Any]) -> None:
    other = copy.deepcopy(run)
    CHANGES_NOTHING[name](other)
    assert wanted(run).is_met_by(record(other))
    assert wanted(other).is_met_by(record(run))
    assert name in differences(run["environment"], other["environment"]), "but it is shown"


@settings(max_examples=25, deadline=None)
@given(runs(), st.sampled_from([fact.name for fact in FACTS if fact.compared is not None]))
def test_a_record_that_lacks_a_fact_equals_nothing(run: dict[str, Any], name: str) -> None:
    lacking = {key: value for key, value in run["environment"].items() if key != name}
    on_a_gpu = run["environment"]["device"].startswith("cuda")
    there = Record(print_of(run), run["seed"], lacking)
    matters_not = (name == "threads" and on_a_gpu) or (name == "tf32" and not on_a_gpu)
    assert wanted(run).is_met_by(there) == matters_not


@settings(max_examples=200, deadline=None)
@given(runs(), runs())
def test_what_goes_on_from_a_checkpoint_equals_something_only_where_nothing_was_otherwise(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    was, is_now = first["environment"], second["environment"]
    gone_on = {**second, "environment": resumed(was, is_now)}
    alike = result({**first, "spec": MLP, "seed": 0}) == result({**second, "spec": MLP, "seed": 0})
    assert wanted(second).is_met_by(record(gone_on)) == alike
    assert alike or wanted(first).is_met_by(record(gone_on)) is False
    named = differences(is_now, gone_on["environment"])
    assert (BEFORE_RESUMING in named) == (not alike), "and whoever repeats it is told"


def test_a_cell_is_taken_over_from_cards_that_round_alike() -> None:
    off, on = (replace(Platform.of("cuda", "2.11.0", 1), tf32=value) for value in ("off", "on"))
    assert Platform.of("cuda", "2.11.0", 1).covers(on), "no worker says it before it trains"
    assert off != on
    assert not off.covers(on)


def test_an_older_record_need_not_say_what_cannot_matter() -> None:
    older = {
        "results_version": RESULTS_VERSION,
        "torch": "2.11.0",
        "device": "cpu: x",
        "threads": 1,
        "dataset_sha256": "d" * 64,
    }
    like = Likeness("print", 0, "d" * 64)
    assert like.is_met_by(Record.whole("print", 0, older, needs=None, micro_batches=1))
    assert not like.is_met_by(Record.whole("print", 0, older, needs=None, micro_batches=2))
    assert not like.is_met_by(Record.whole("print", 0, older, needs=None, micro_batches=None))
    built = Likeness("print", 0, "d" * 64, built_on="w" * 64)
    assert not built.is_met_by(Record.whole("print", 0, older, needs="run_x", micro_batches=1))


def test_what_goes_on_elsewhere_says_how_it_began_through_any_number_of_attempts() -> None:
    first = {"torch": "2.11.0", "device": "cpu: x", "results_version": 1, "git": "a"}
    second = {"torch": "2.14.1", "device": "cpu: y", "results_version": 2, "git": "b"}
    once = resumed(first, second)
    assert once == {**second, "results_version": 1, BEFORE_RESUMING: {"torch": "2.11.0"}}
    twice = resumed(once, {**first, "results_version": 2})
    assert twice[BEFORE_RESUMING] == {"torch": "2.11.0"}
    assert BEFORE_RESUMING not in resumed(first, {**first, "torch": "2.11.4", "git": "c"})


def test_platforms_that_are_not_known_cover_all() -> None:
    assert Platform().covers(Platform.of("cuda", "2.11.0", 8))
    assert Platform.of("cpu", "2.11.0", None).covers(Platform.of("cpu", "2.11.9", 2))
    assert not Platform.of("cpu", "2.11.0", 1).covers(Platform.of("cpu", "2.11.0", 2))
    assert Platform.of("cuda", None, 1).covers(Platform.of("cuda", "2.11.0", 2))
    assert not Platform.of("cuda", "2.11.0", 1).covers(Platform.of("cpu", "2.11.0", 1))


def test_the_decision_names_every_fact() -> None:
    page = Path("docs/decisions/0030-what-makes-two-runs-equal.md").read_text()
    for fact in FACTS:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{fact.name}`"))
        assert ("not compared" in row) == (fact.compared is None), row
    assert set(conditions({})) < {fact.name for fact in FACTS}
