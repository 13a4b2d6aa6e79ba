"""The sessions of docs/client.md as a type checker sees them; nothing here is run."""

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


def first_day(lab: Lab) -> None:
    experiment = lab.submit(model="mlp", dataset="digits", seeds=3)
    assert_type(experiment, Experiment)
    assert_type(experiment.wait(), Experiment)
    assert_type(experiment.results["test"]["accuracy"], Summary)
    assert_type(experiment.best_run, Run)
    assert_type(experiment.best_run.predict(Path("digit.png")), Prediction)


def notebook(lab: Lab) -> None:
    a, b = (lab.submit(model={"residual": residual}) for residual in (False, True))
    assert_type(lab.compare(a, b), Comparison)
    assert_type(lab.compare(a, b).sentence, str)
    assert_type(lab.metrics([a, b]), Metrics)
    assert_type(a.curves(), Picture)


def paper(lab: Lab) -> None:
    study = lab.study_of(spec={"dataset": "cifar10"}, vary={"model.depth": [20, 56]}, seeds=5)
    assert_type(study, Study)
    assert_type(study.wait().table(), Table)
    assert_type(study.table().latex, str)
    assert_type(study.factor().save("depth.pdf"), Path)


async def watch() -> None:
    async with AsyncLab() as lab:
        assert_type(await lab.submit(), AsyncExperiment)
        assert_type(await lab.study_of("mlp-depth"), AsyncStudy)
        async for event in lab.events(label="week:3"):
            assert_type(event, Event)
            assert_type(event.owner, str | None)
        async for one in lab.experiments():
            assert_type(one, AsyncExperiment)
            assert_type(await one.refresh(), AsyncExperiment)
    with Lab() as waiting:
        for other in waiting.experiments():
            assert_type(other, Experiment)
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
