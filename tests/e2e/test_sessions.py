"""The sessions for which the client was made, with services that train: few epochs of small data."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.client import sessions
from tests.client.wandb_files import WandbFile
from tests.e2e.service import LAB, Service
from training_lab import Lab

SMALL = (
    " --set dataset.name=digits --set dataset.train_limit=48 --set batch_size=24 --set probes=[]"
)
SCRIPT = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m training_lab "$@"\n'
"""`lab`, as pip makes it of the client's entry point."""


@pytest.fixture
def lab(service: Service) -> Iterator[Lab]:
    with Lab(str(service.http.base_url)) as lab:
        yield lab


def test_the_first_day_is_six_lines(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_URL", str(service.http.base_url))
    exp = sessions.first_day(epochs=4)
    assert re.fullmatch(r"0\.\d+ ± 0\.\d+ \(n = 3\)", str(exp.results["test"]["accuracy"]))
    assert exp._repr_html_().count("<img") == 1
    exp._driver.http.close()  # which a student leaves to the end of the program


def test_a_notebook_asks_whether_residual_helps(lab: Lab) -> None:
    comparison, means = sessions.does_residual_help(lab, "digits", 2, 2)
    assert re.match(r".* 95 % interval .* over 2 paired seeds, p = 0\.", comparison.sentence)
    assert comparison.differs == {"model.residual": (False, True)}
    assert len(means) == 2 * 2
    assert {"train.loss", "val.accuracy"} <= set(means.columns)


def test_a_grid_goes_straight_into_a_paper(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    latex = sessions.straight_into_a_paper(lab, "digits", 1, (2, 3), 1)
    assert latex.count("\\\\") >= 1 + 4
    assert (tmp_path / "depth.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
@pytest.mark.parametrize("tracker", ["tensorboard", "wandb"])
def test_a_shell_has_all_from_the_login_to_the_tracker(
    make_service: Callable[..., Service], tmp_path: Path, tracker: str
) -> None:
    """With the client's own `lab`, a key that is piped in, and W&B offline."""
    if tracker == "wandb":
        pytest.importorskip("wandb", reason="wandb is not installed: `make trackers-test` has it")
    service = make_service()
    made = subprocess.run(
        [*LAB, "keys", "create", "ada"],
        env=service._environment,
        capture_output=True,
        text=True,
        check=True,
    )
    service.serve()
    front_end = tmp_path / "front-end"
    (front_end / "bin").mkdir(parents=True)
    (front_end / "bin" / "lab").write_text(SCRIPT)
    (front_end / "bin" / "lab").chmod(0o755)
    (front_end / "key.txt").write_text(made.stdout)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("LAB_", "XDG_"))
    }
    said = subprocess.run(
        [
            "sh",
            "-e",
            "-c",
            sessions.SHELL.format(url=service.http.base_url, epochs=1, more=SMALL, tracker=tracker),
        ],
        cwd=front_end,
        env=kept
        | {
            "HOME": str(front_end),
            "PATH": f"{front_end / 'bin'}{os.pathsep}{kept['PATH']}",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "WANDB_MODE": "offline",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert said.returncode == 0, said.stderr
    assert (front_end / "c.pdf").read_bytes().startswith(b"%PDF")
    assert "of ada, role submit. Stored in " in said.stderr
    assert re.match(r"exp_\w+ succeeded: .* test accuracy 0\.", said.stdout), said.stdout
    assert f"{tracker}" in said.stderr
    assert "3 epochs sent, 3 runs ended" in said.stderr
    key = made.stdout.strip()
    with Lab(str(service.http.base_url), key) as lab:
        (exp,) = lab.experiments(label="week:3", network="resnet18")
        exp.refresh()
        losses = {
            run["run_id"]: run["epochs"][0]["val"]["loss"]
            for run in lab.get(f"/experiments/{exp.id}/metrics")["runs"]
        }
    assert exp.owner == "ada"
    if tracker == "tensorboard":
        assert len(list(front_end.glob(f"tensorboard/*{exp.id}/seed-*/events.*"))) == 3
        return
    files = [WandbFile(path) for path in front_end.glob("wandb/*/*.wandb")]
    assert {one.run.run_id: one.history[1]["val/loss"] for one in files} == losses
    assert {one.run.run_group for one in files} == {exp.id}
    assert {tuple(one.run.tags) for one in files} == {("week:3",)}
    assert {one.exit_code for one in files} == {0}
