"""Each line of docs/labs-lines.md trains, with a real service and on few images."""

import json
import re
import shlex
from pathlib import Path

import pytest

from app.commands.__main__ import main
from tests.e2e.service import Service
from training_lab import Lab

PAGE = (Path(__file__).parent.parent.parent / "docs" / "labs-lines.md").read_text()
SPANS = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", PAGE)]
LINES = list(dict.fromkeys(span for span in SPANS if re.match(r"lab (train|study) ", span)))
FEW = "--set dataset.name=digits --set dataset.train_limit=48 --set batch_size=24 --set epochs=1 --set probes=[]"
SMALL = {"train": f"{FEW} --quiet", "study": f"{FEW} --seeds 1"}
NARROW = {
    "lab train --as cnn-blocks --model cnn-blocks-5 --no-residual": "--width 8",
    "lab study cnn-blocks": "--scale smoke",
}
"""Networks of up to 67 million parameters; the others' studies take over what single lines have trained."""


def test_there_is_a_line_for_each_of_the_labs() -> None:
    for name in ("depths", "residual", "all", "teacher"):
        assert f"`python experiments/experiment_cnn.py --experiment {name}` | `lab " in PAGE
    assert "experiment_distillation.py --run-all` | `lab study distill-as-coded`" in PAGE
    for model in ("mlp", "cnn", "resnet18"):
        flags = f"--model {model} --epochs 50 --batch-size 128 --lr 0.1 --num-workers 2"
        line = f"`lab train --as three-models {flags} --log`"
        assert f"`python main.py {flags} --log` | {line}" in PAGE
    assert len(LINES) >= 12


@pytest.mark.slow
def test_every_line_trains(
    service: Service,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    url = f"http://127.0.0.1:{service.port}"
    studies: list[str] = []
    for line in sorted(LINES, key=lambda line: line.startswith("lab study")):
        verb = line.split()[1]
        more = [*SMALL[verb].split(), *NARROW.get(line, "").split(), "--url", url]
        status = main([*shlex.split(line)[1:], *more])
        out, err = capsys.readouterr()
        assert status == 0, (line, err)
        if verb == "train":
            assert re.match(r"exp_\w+ succeeded: .* test accuracy 0\.", out), (line, out)
        studies += [json.loads(out)["id"]] if verb == "study" else []
    with Lab(url) as lab:
        for study in studies:
            lab.study(study).wait()
        rows = list(lab.experiments())
    assert len(rows) > len(LINES)
    assert {row.status for row in rows} == {"succeeded"}
    logged = [line for line in LINES if line.endswith("--log")]
    folders = [path for name in ("wandb", "tensorboard") for path in tmp_path.glob(f"{name}/*")]
    assert len(folders) >= len(logged) == 3
