"""The cores of an attempt: its share, all where it is alone, and back again when others come."""

from typing import Any

import pytest

from app.services.experiments.tasks import Task
from lab_models.specs import read_request
from lab_models.training.protocol import Started
from tests.worker.conftest import Stage
from worker import allotment
from worker.allotment import Allotment, Wish

pytestmark = pytest.mark.sqlite

CONVOLUTIONS = {"model": {"arch": "layers", "layers": [{"conv": 4}, "relu"]}}


class Scene:
    """An attempt on a machine of four cores and two slots, with a clock and neighbors that the test sets."""

    def __init__(
        self, stage: Stage, spec: dict[str, Any] | None = None, attempt: int = 1, **task: Any
    ) -> None:
        stage.slot.threads, stage.slot.cores = 2, 4
        fields = {"threads": None, "is_by_itself": True, **task}
        found = read_request(spec or CONVOLUTIONS).spec
        self.now, self.others = 100.0, False
        self.allotment = Allotment(
            stage.slot,
            Task(found, 0, (), 1, None, "exp_1", 0, **fields),  # type: ignore[arg-type]
            attempt,
            lambda: self.others,
            lambda: self.now,
        )

    def begin(self, threads: int, resumed_from: tuple[int, int] | None = None) -> None:
        """The trainer says with how many."""
        self.allotment.started(Started(environment={"threads": threads}, resumed_from=resumed_from))

    def after(self, seconds: float, *, others: bool | None) -> list[Wish]:
        """What is wished for within so many seconds."""
        self.others = others  # type: ignore[assignment]
        found = []
        for _ in range(int(seconds)):
            self.now += 1
            found.append(self.allotment.due())
        return [wish for wish in found if wish is not None]


@pytest.fixture
def stage(make_stage: Any) -> Any:
    return make_stage()


def test_one_that_is_alone_begins_on_all_cores_and_others_on_their_share(stage: Any) -> None:
    assert Scene(stage).allotment.first() == 4
    crowded = Scene(stage)
    crowded.others = True
    assert crowded.allotment.first() == 2
    unknown = Scene(stage)
    unknown.others = None  # type: ignore[assignment]
    assert unknown.allotment.first() == 2


@pytest.mark.parametrize(
    ("spec", "task", "threads"),
    [
        (CONVOLUTIONS, {"is_by_itself": False}, 2),
        ({"model": {"hidden": [8]}}, {}, 1),
        (CONVOLUTIONS, {"threads": 3}, 3),
        (CONVOLUTIONS, {"threads": 3, "is_by_itself": False}, 3),
        (CONVOLUTIONS, {"threads": 4, "is_by_itself": False}, 4),
        (CONVOLUTIONS, {"threads": 8, "is_by_itself": False}, 2),
    ],
    ids=[
        "of a study",
        "no convolutions",
        "as before",
        "as its original",
        "as one that was alone",
        "of a larger machine",
    ],
)
def test_what_is_compared_is_computed_alike(
    stage: Any, spec: dict[str, Any], task: dict[str, Any], threads: int
) -> None:
    scene = Scene(stage, spec, **task)
    assert scene.allotment.first() == threads
    scene.begin(threads)
    assert scene.after(500, others=True) == []


def test_a_young_one_begins_anew_when_others_stay(stage: Any) -> None:
    scene = Scene(stage)
    scene.begin(4)
    assert scene.after(20, others=False) == []
    assert scene.after(8, others=True) == []  # a short neighbor
    assert scene.after(20, others=False) == []
    assert scene.after(16, others=True) == [Wish.BEGIN_ANEW]


def test_an_older_one_gives_cores_back_and_takes_them_again_a_few_times(stage: Any) -> None:
    scene = Scene(stage)
    scene.begin(4)
    scene.after(100, others=False)
    assert scene.after(40, others=True) == [Wish.NARROW]
    assert scene.after(50, others=False) == []
    assert scene.after(40, others=False) == [Wish.WIDEN]
    assert scene.after(100, others=None) == []  # the database does not answer
    for _ in range(allotment.MOST_CHANGES - 2):
        scene.after(100, others=True)
        scene.after(100, others=False)
    assert scene.after(100, others=True) + scene.after(100, others=False) == []


def test_one_that_went_on_never_begins_anew(stage: Any) -> None:
    scene = Scene(stage, threads=4)
    assert scene.allotment.first() == 4
    scene.begin(4, resumed_from=(3, 0))
    assert scene.after(20, others=True) == [Wish.NARROW]


def test_one_that_has_begun_on_its_share_stays_there(stage: Any) -> None:
    scene = Scene(stage)
    scene.begin(2)
    assert scene.after(200, others=False) == []


def test_one_that_has_begun_anew_never_does_so_again(stage: Any) -> None:
    assert Scene(stage, attempt=2).allotment.first() == 2


def test_on_a_gpu_nothing_is_dealt_out(stage: Any) -> None:
    stage.slot.device = "cuda:0"
    scene = Scene(stage)
    assert scene.allotment.first() == 2
    scene.begin(4)
    assert scene.after(100, others=True) == []
