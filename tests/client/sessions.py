"""The sessions for which the client was made, as people write them: a type checker reads them
(`test_package.py`), and services of the tests run them (`test_sessions.py`, `tests/e2e/test_sessions.py`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, assert_type

from training_lab import (
    AsyncExperiment,
    AsyncLab,
    AsyncStudy,
    Comparison,
    Event,
    Experiment,
    Lab,
    Metrics,
    Picture,
    Prediction,
    Run,
    Study,
    Summary,
    Table,
)


def first_day(**more: Any) -> Experiment:
    """A student's; `more` are fields that make it small."""
    lab = Lab()
    exp = lab.submit(model="mlp", dataset="digits", seeds=3, **more)
    exp.wait()
    assert_type(exp, Experiment)
    assert_type(exp.results["test"]["accuracy"], Summary)
    return exp


def does_residual_help(
    lab: Lab, dataset: str = "mnist", epochs: int = 10, seeds: int = 5
) -> tuple[Comparison, Any]:
    """A notebook's: the comparison, and means over the seeds, epoch by epoch, as a frame of pandas."""
    a, b = (
        lab.submit(
            dataset=dataset, epochs=epochs, seeds=seeds, model={"depth": 10, "residual": residual}
        )
        for residual in (False, True)
    )
    assert_type(a.wait(), Experiment)
    b.wait()
    comparison = lab.compare(a, b)
    assert_type(comparison, Comparison)
    assert_type(comparison.sentence, str)
    assert_type(lab.metrics([a, b]), Metrics)
    return comparison, lab.metrics([a, b]).frame().groupby(["experiment", "epoch"]).mean()


def straight_into_a_paper(
    lab: Lab,
    dataset: str = "cifar10",
    epochs: int = 30,
    depths: Sequence[int] = (20, 56),
    seeds: int = 5,
) -> str:
    """A researcher's: a grid's table for LaTeX; `depth.pdf` is in the working folder."""
    stu = lab.study_of(
        spec={"dataset": dataset, "epochs": epochs},
        vary={"model.depth": list(depths), "model.residual": [False, True]},
        seeds=seeds,
    )
    assert_type(stu, Study)
    stu.wait()
    assert_type(stu.table(), Table)
    assert_type(stu.factor(), Picture)
    assert_type(stu.factor().save("depth.pdf"), Path)
    return stu.table().latex


async def watch_forty(most: int) -> list[tuple[str | None, str]]:
    """An instructor's: who failed and why, until so many have."""
    failed = []
    async with AsyncLab() as lab:
        async for event in lab.events(label="week:3"):
            assert_type(event, Event)
            if event.type == "run" and event.status == "failed":
                failed.append((event.owner, event.reason))
                if len(failed) == most:
                    break
    return failed


SHELL = """
lab login {url} < key.txt && \\
lab train --as three-models --model resnet18 --epochs {epochs} --seeds 3 --label week:3{more} && \\
lab curves @last -o c.pdf && lab sync {tracker} @last
"""
"""On a cluster's front end, where the client alone is installed."""


async def not_run() -> None:
    """What the types of the awaited twins are."""
    async with AsyncLab() as lab:
        assert_type(await lab.submit(), AsyncExperiment)
        assert_type(await lab.study_of("mlp-depth"), AsyncStudy)
        async for one in lab.experiments():
            assert_type(one, AsyncExperiment)
            assert_type(await one.refresh(), AsyncExperiment)
    with Lab() as waiting:
        for other in waiting.experiments():
            assert_type(other, Experiment)
            assert_type(other.curves(), Picture)
            assert_type(other.best_run, Run)
            assert_type(other.best_run.predict(Path("digit.png")), Prediction)
    anything: Any = waiting.get("/version")
    print(anything)


def wrong(lab: Lab) -> None:
    """Each line has an error, or mypy would call its comment unused."""
    lab.submit(seeds="three")  # type: ignore[arg-type]
    lab.submit(3)  # type: ignore[arg-type]
    lab.submit().curves(format="gif")  # type: ignore[arg-type]
    lab.submit().wait(timeot=3)  # type: ignore[call-arg]
    lab.compare("exp_a")  # type: ignore[call-arg]
    lab.experiments().wait()  # type: ignore[attr-defined]
