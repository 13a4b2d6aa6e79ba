"""Early stopping: two rules, each a function of the val losses alone."""

from hypothesis import given
from hypothesis import strategies as st

from lab_models.specs import EarlyStoppingSpec
from lab_models.training.stopping import early_stop
from tests.lab_models.conftest import EXAMPLES

STAGNATION = EarlyStoppingSpec(patience=3, min_delta=0.1)
OVERFITTING = EarlyStoppingSpec(patience=None, overfit_delta=0.2, overfit_patience=2)
BOTH = EarlyStoppingSpec(patience=5, min_delta=1e-4, overfit_delta=0.02, overfit_patience=3)


def test_without_rules_nothing_stops() -> None:
    assert early_stop(None, [1.0] * 100) is None


def test_stagnation_waits_for_its_patience() -> None:
    assert early_stop(STAGNATION, [1.0, 1.0, 1.0]) is None
    assert early_stop(STAGNATION, [1.0, 1.0, 1.0, 1.0]) == "stagnation"


def test_a_fall_within_min_delta_is_no_improvement_but_small_falls_add_up() -> None:
    assert early_stop(STAGNATION, [1.0, 0.95, 0.93, 0.91]) == "stagnation"
    assert early_stop(STAGNATION, [1.0, 0.95, 0.89, 0.85, 0.80]) is None


def test_an_improvement_starts_the_count_again() -> None:
    assert early_stop(STAGNATION, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5]) is None
    assert early_stop(STAGNATION, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]) == "stagnation"


def test_overfitting_counts_epochs_in_a_row_above_the_best() -> None:
    assert early_stop(OVERFITTING, [0.5, 0.8]) is None
    assert early_stop(OVERFITTING, [0.5, 0.8, 0.8]) == "overfitting"
    assert early_stop(OVERFITTING, [0.5, 0.8, 0.6, 0.8]) is None
    assert early_stop(OVERFITTING, [0.5, 0.7, 0.7, 0.7]) is None, (
        "a rise by exactly the delta is not beyond it"
    )


def test_the_rule_that_holds_first_is_named() -> None:
    assert early_stop(BOTH, [0.5, 0.6, 0.6, 0.6]) == "overfitting"
    assert early_stop(BOTH, [0.5, 0.51, 0.51, 0.51, 0.51, 0.51]) == "stagnation"


@EXAMPLES
@given(st.lists(st.floats(0, 10), max_size=30))
def test_falling_losses_never_stop(losses: list[float]) -> None:
    falling = [10.0 - 0.3 * i for i in range(len(losses))]
    assert early_stop(BOTH, falling) is None


@EXAMPLES
@given(st.lists(st.floats(0, 10), min_size=1, max_size=30))
def test_training_that_obeys_the_rule_ends_once_and_for_a_reason_that_its_losses_show(
    losses: list[float],
) -> None:
    ends = [n for n in range(1, len(losses) + 1) if early_stop(BOTH, losses[:n])]
    if not ends:
        return
    seen = losses[: ends[0]]
    if early_stop(BOTH, seen) == "stagnation":
        assert min(seen[-5:]) >= min(seen[:-5]) - 5 * 1e-4 - 1e-12
    else:
        assert all(loss > min(seen) + 0.02 for loss in seen[-3:])
