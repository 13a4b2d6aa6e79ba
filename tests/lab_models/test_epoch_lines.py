"""An epoch as a line on the console: what it says, and that the command line leaves one for each."""

import json
import re
from pathlib import Path

import pytest

from lab_models.__main__ import main
from lab_models.training.epoch_lines import BestSoFar, epoch_line
from tests.lab_models.conftest import TINY

NUMBERS = {
    "train": {"loss": 0.312, "accuracy": 0.9012, "learning_rate": 0.001, "seconds": 1.8},
    "val": {"loss": 0.221, "accuracy": 0.934, "seconds": 0.3},
}
LINE = re.compile(
    r"(seed \d+  )?epoch (\d)/3  train loss \d\.\d{4} acc \d+\.\d\d %  val loss \d\.\d{4} acc \d+\.\d\d %  \d+\.\d s"
    r"  lr 0\.001(  \*)?"
)


def test_a_line_says_losses_accuracies_seconds_rate_and_whether_it_is_the_best() -> None:
    line = epoch_line(3, 50, NUMBERS, is_best=True)
    assert line == (
        "epoch  3/50  train loss 0.3120 acc 90.12 %  val loss 0.2210 acc 93.40 %  2.1 s  lr 0.001  *"
    )
    other = epoch_line(12, 50, NUMBERS, is_best=False, before="seed 4")
    assert other == "seed 4  epoch 12/50" + line.removeprefix("epoch  3/50").removesuffix("  *")


def test_what_was_not_finite_is_a_dash() -> None:
    line = epoch_line(1, 9, {"train": {"loss": None, "accuracy": 0.1}, "val": {}}, is_best=False)
    assert line == "epoch 1/9  train loss - acc 10.00 %  val loss - acc - %  0.0 s  lr -"


@pytest.mark.parametrize(
    ("best_by", "stars"),
    [("loss", [True, False, True, False]), ("accuracy", [True, True, False, True])],
)
def test_the_star_is_of_what_the_spec_chooses_by(best_by: str, stars: list[bool]) -> None:
    epochs = [(0.5, 0.7), (0.6, 0.8), (0.4, 0.8 - 1e-9), (0.4, 0.9)]
    best = BestSoFar(best_by)
    said = [
        best.is_best({"val": {"loss": loss, "accuracy": accuracy}}) for loss, accuracy in epochs
    ]
    assert said == stars
    assert not best.is_best({"val": {"loss": None, "accuracy": None}})


@pytest.mark.parametrize("seeds", [[0], [0, 5]], ids=["one seed", "two seeds"])
def test_the_command_line_leaves_a_line_for_each_epoch_on_standard_error(
    seeds: list[int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(TINY | {"seeds": seeds}))
    assert main(["run", str(file), "--out", str(tmp_path / "out"), "--threads", "1"]) == 0
    printed = capfd.readouterr()
    lines = [line for line in printed.err.splitlines() if " train loss " in line]
    assert all(LINE.fullmatch(line) for line in lines), lines
    assert [LINE.fullmatch(line)[2] for line in lines] == ["1", "2", "3"] * len(seeds)  # type: ignore[index]
    whose = [f"seed {seed}  " if len(seeds) > 1 else "" for seed in seeds for _ in range(3)]
    assert all(line.startswith(f"{owner}epoch") for line, owner in zip(lines, whose, strict=True))
    assert not any("\x1b" in line for line in lines), "plain where nobody sees a terminal"
    results = json.loads(printed.out)
    for number, result in enumerate(results if len(seeds) > 1 else [results]):
        own = lines[3 * number : 3 * number + 3]
        last_star = max(place for place, line in enumerate(own, 1) if line.endswith("*"))
        assert last_star == result["best"]["epoch"]
