"""What the command line reads and leaves, without a run: the plan of a spec file, and the files of a run's folder."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from lab_models.datasets.catalog import Catalog
from lab_models.running.reading import PlannedRuns, SpecRefused, read_plan
from lab_models.running.run_folder import RunFolder
from lab_models.training.protocol import SavedCheckpoint
from tests.lab_models.conftest import TINY, files_below


def plan_of(folder: Path, document: Any) -> PlannedRuns:
    path = folder / "spec.json"
    path.write_text(json.dumps(document))
    return read_plan(path, Catalog(folder / "imported"))


def test_a_plain_file_is_a_spec_with_its_seeds_and_its_data_set(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {**TINY, "seeds": 3, "name": "mine"})
    assert (plan.seeds, plan.info.name, plan.before) == ((0, 1, 2), "digits", None)
    assert plan.spec.kind == "train"


@pytest.mark.parametrize(("kind", "role"), [("distill", "teacher"), ("transfer", "source")])
def test_what_is_built_on_is_planned_before(kind: str, role: str, tmp_path: Path) -> None:
    document = {"kind": kind, "dataset": "digits", role: {"spec": TINY, "seed": 7}, "seeds": [1, 2]}
    plan = plan_of(tmp_path, document)
    assert plan.before is not None
    assert (plan.before.seeds, plan.before.spec) == ((7,), plan.spec.built_on.spec)
    assert plan.before.before is None


@pytest.mark.parametrize(
    ("document", "first_line"),
    [
        ({"dataset": "digist"}, "there is no data set 'digist'"),
        ({"epochs": 0}, "is not a valid spec:"),
        ({"kind": "transfer", "source": "run_1"}, "is not a valid spec:"),
        ({"kind": "transfer", "source": {"spec": TINY}, "from_scratch": True}, "is not a valid"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_with_lines_to_print(
    document: Any, first_line: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecRefused) as refused:
        plan_of(tmp_path, document)
    assert first_line in refused.value.lines[0]
    assert len(refused.value.lines) == 2


def measured(loss: float, **probes: dict[str, float]) -> dict[str, dict[str, float]]:
    return {"train": {"loss": loss}, "val": {"loss": loss}, **probes}


def saved(folder: Path, name: str, epoch: int) -> SavedCheckpoint:
    (folder / name).touch()
    return SavedCheckpoint(path=name, sha256="0" * 64, size_bytes=0, epoch=epoch, step=0)


def test_a_folder_that_is_opened_again_goes_on_where_the_last_checkpoint_is(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert (folder.resumable, folder.result()) == ((), None)
    for epoch in (1, 2, 3):
        folder.write_epoch(epoch, measured(1.0 / epoch))
        folder.keep(saved(tmp_path, f"checkpoint-{epoch}", epoch))
    folder.write_epoch(4, measured(0.1))  # then it died, before its checkpoint
    again = RunFolder(tmp_path)
    assert [checkpoint.epoch for checkpoint in again.resumable] == [3, 2]
    again.begin_after(3)
    again.write_epoch(4, measured(0.2))
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["val.loss"][:3]) for row in rows] == [
        ("1", "1.0"),
        ("2", "0.5"),
        ("3", "0.3"),
        ("4", "0.2"),
    ]
    assert files_below(tmp_path) == [
        "checkpoint-2",
        "checkpoint-3",
        "checkpoints.json",
        "metrics.csv",
    ]


def test_what_probes_find_goes_into_a_file_of_its_own_and_later_epochs_are_forgotten(
    tmp_path: Path,
) -> None:
    folder = RunFolder(tmp_path)
    folder.write_probes(0, measured(1.0))
    assert files_below(tmp_path) == [], "nothing was probed"
    for epoch in (0, 1, 2):
        folder.write_probes(epoch, measured(1.0, gradient={"layer": float(epoch)}))
    folder.write_probes(1, measured(1.0, gradient={"layer": 5.0}))
    assert json.loads((tmp_path / "probes.json").read_bytes()) == {
        "0": {"gradient": {"layer": 0.0}},
        "1": {"gradient": {"layer": 5.0}},
    }
