"""Where an attempt's time goes: every moment counts once."""

from lab_models.running.stopwatch import Stopwatch
from lab_models.training.protocol import Checkpointed, Completed, EpochCompleted, Progress, Started
from tests.lab_models.conftest import TINY, OrderMaker, of_kind, train


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_each_moment_counts_for_one_phase_and_all_of_them_add_up() -> None:
    clock = Clock()
    watch = Stopwatch("data", clock)
    clock.now += 2.0
    watch.enter("training")
    clock.now += 7.0
    watch.attribute(1.5, "validation")
    watch.enter("checkpoint")
    clock.now += 0.25
    watch.enter("training")
    clock.now += 1.0
    assert watch.phases() == {
        "data": 2.0,
        "training": 6.5,
        "validation": 1.5,
        "checkpoint": 0.25,
    }


def test_no_phase_can_be_given_more_than_there_was() -> None:
    clock = Clock()
    watch = Stopwatch("training", clock)
    clock.now += 1.0
    watch.attribute(5.0, "validation")
    assert watch.phases() == {"training": 0.0, "validation": 1.0}


def test_every_event_of_an_attempt_says_where_its_time_went_and_the_last_has_all_of_it(
    make_order: OrderMaker,
) -> None:
    events = train(make_order(TINY))
    started, completed = of_kind(Started, events)[0], of_kind(Completed, events)[0]
    assert set(started.phases) == {"data", "building"}
    assert set(of_kind(Progress, events)[0].phases) == {"data", "building", "warm_up", "training"}
    assert list(completed.phases) == [
        "building",
        "data",
        "warm_up",
        "training",
        "validation",
        "checkpoint",
        "test",
    ]
    told = [
        sum(event.phases.values())
        for event in events
        if isinstance(event, Started | Progress | EpochCompleted | Checkpointed | Completed)
    ]
    assert told == sorted(told), "time goes on"
    validation = sum(event.metrics["val"]["seconds"] for event in of_kind(EpochCompleted, events))
    assert abs(completed.phases["validation"] - validation) < 0.005
