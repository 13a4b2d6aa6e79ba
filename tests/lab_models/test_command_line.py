"""`python -m lab_models run`: what people see, what lies in the folder afterwards, and Ctrl-C followed by the same
command.
"""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from lab_models.__main__ import main
from lab_models.common.files import sha256_of
from lab_models.datasets.batches import ImageSplit
from lab_models.running.run_folder import RunFolder
from lab_models.specs import ExperimentRequest, fingerprint
from tests.lab_models.conftest import PROJECT, TINY, files_below

ON_ONE_THREAD = ("--device", "cpu", "--threads", "1")


@pytest.fixture(autouse=True)
def home(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_HOME", str(lab_home))
    monkeypatch.delenv("LAB_DATA_DIR", raising=False)


def spec_file(folder: Path, document: Any) -> Path:
    path = folder / "spec.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def run(folder: Path, document: Any, out: str = "out") -> int:
    return main(
        ["run", str(spec_file(folder, document)), "--out", str(folder / out), *ON_ONE_THREAD]
    )


def epochs_in(metrics: Path) -> list[str]:
    with metrics.open(newline="") as file:
        return [row["epoch"] for row in csv.DictReader(file)]


def test_a_run_prints_its_result_and_leaves_its_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, TINY) == 0
    printed = json.loads(capfd.readouterr().out)
    assert files_below(tmp_path / "out") == [
        "seed-0/attempt-1/checkpoint-00002-000000.pt",
        "seed-0/attempt-1/checkpoint-00003-000000.pt",
        "seed-0/attempt-1/evaluation.json",
        "seed-0/attempt-1/predictions.safetensors",
        "seed-0/attempt-1/spec.json",
        "seed-0/attempt-1/weights-last.safetensors",
        "seed-0/attempt-1/weights.safetensors",
        "seed-0/checkpoints.json",
        "seed-0/metrics.csv",
        "seed-0/result.json",
    ]
    assert json.loads((tmp_path / "out" / "seed-0" / "result.json").read_bytes()) == printed
    assert printed["fingerprint"] == fingerprint(ExperimentRequest.model_validate(TINY).spec)
    assert (printed["seed"], printed["parameters"]) == (
        0,
        64 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10,
    )
    assert 0 < printed["test"]["accuracy"] < 1
    assert epochs_in(tmp_path / "out" / "seed-0" / "metrics.csv") == ["1", "2", "3"]


def test_the_same_command_after_the_end_trains_no_more_and_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for _ in range(2):
        assert run(tmp_path, TINY) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1]
    assert epochs_in(tmp_path / "out" / "seed-0" / "metrics.csv") == ["1", "2", "3"]


def test_several_seeds_give_a_list_below_a_folder_named_by_the_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        main(
            ["run", str(spec_file(tmp_path, TINY | {"seeds": [3, 1], "epochs": 1})), *ON_ONE_THREAD]
        )
        == 0
    )
    results = json.loads(capsys.readouterr().out)
    assert [result["seed"] for result in results] == [3, 1]
    assert results[0]["fingerprint"] == results[1]["fingerprint"]
    folder = tmp_path / "runs" / results[0]["fingerprint"][:12]
    assert sorted(path.name for path in folder.iterdir()) == ["seed-1", "seed-3"]


@pytest.mark.parametrize(
    ("document", "complaints"),
    [
        (
            {"model": {"widht": 3}, "optimizer": "adm"},
            [
                "/model/widht: unknown field (did you mean 'width'?)",
                "/optimizer: must be",
                "did you mean 'adam'?",
            ],
        ),
        ({"dataset": "minst"}, ["there is no data set 'minst'", "did you mean 'mnist'?"]),
        ({"model": {"arch": "vgg", "widths": [8, 8, 8, 8]}}, ["/model: on digits:"]),
        ({"epochs": 0}, ["/epochs: input should be greater than or equal to 1"]),
        ([], ["/: must be an object"]),
        ("{'epochs': 1}", ["is not JSON", "line 1, column 2"]),
        ('{"epochs": 1, "epochs": 2}', ["the key 'epochs' stands twice"]),
    ],
    ids=str,
)
def test_a_wrong_spec_is_explained_and_ends_with_2(
    document: Any, complaints: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, document) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert all(complaint in told.err for complaint in complaints)
    assert not (tmp_path / "out").exists()


def test_flags_train_what_the_file_that_they_print_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--depth 2 --width 16 --batch-size 48 --epochs 1 --set dataset.train_limit=200 --lr 0.1 --num-workers 2"
    assert main(["train", *flags.split(), "--print"]) == 0
    printed = capsys.readouterr().out
    assert run(tmp_path, printed) == 0
    by_file = capsys.readouterr()
    assert main(["train", *flags.split(), "--out", str(tmp_path / "flags"), *ON_ONE_THREAD]) == 0
    by_flags = capsys.readouterr()
    first, second = json.loads(by_file.out), json.loads(by_flags.out)
    assert {name: first[name] for name in ("fingerprint", "test", "best")} == {
        name: second[name] for name in ("fingerprint", "test", "best")
    }
    assert "warning: Adam seldom learns at a learning rate of 0.1" in by_file.err
    assert "so --num-workers has no effect" in by_flags.err


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("--model vgg --set model.widths=[8,8,8,8]", "what the flags say: --model, --set model.wi"),
        (
            "--model resnet18 --depth 4",
            "  --depth: unknown field (it belongs to 'mlp' or 'henet'; ",
        ),
        ("--dataset minst", "what the flags say: there is no data set 'minst'\ndid you mean 'mni"),
        ("--as three-modles", "there is no recipe 'three-modles'; did you mean 'three-models'?"),
        ("--as three-models", "3 cells of three-models fit: mlp (MLP 512-512), cnn"),
    ],
    ids=str,
)
def test_wrong_flags_are_explained_and_end_with_2(
    flags: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *flags.split(), "--out", str(tmp_path / "out"), *ON_ONE_THREAD]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert complaint in told.err
    assert not (tmp_path / "out").exists()


def test_what_a_worker_starts_loads_nothing_of_the_client() -> None:
    """The contracts say that the flags' own module alone may."""
    program = "import sys; from lab_models.__main__ import _parser; _parser(); print(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", program], check=True, cwd=PROJECT, capture_output=True, text=True
    )
    assert not {"training_lab", "httpx", "torch"} & set(said.stdout.split())


def test_without_the_client_flags_are_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "lab_models.running.from_flags", raising=False)
    for name in ("training_lab", "training_lab.errors"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["train", "--epochs", "1"]) == 2
    assert "training-lab-client, which is not installed here: pip inst" in capsys.readouterr().err


def test_a_file_that_is_not_there_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tmp_path / "nothing.json")]) == 2
    assert "nothing.json: No such file or directory" in capsys.readouterr().err


def test_training_that_fails_says_why_and_what_to_do_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, TINY | {"optimizer": {"name": "sgd", "learning_rate": 1e6}}) == 1
    told = capsys.readouterr()
    assert "diverged: the training loss is not finite at step" in told.err
    assert "hint: lower the learning rate" in told.err
    assert told.out == ""


def test_where_memory_runs_out_it_goes_on_with_fewer_images_at_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ImageSplit.batch

    def batch(split: ImageSplit, rows: torch.Tensor, *rest: Any) -> Any:
        if len(rows) > 12:
            raise MemoryError("more than 12 images")
        return whole(split, rows, *rest)

    monkeypatch.setattr(ImageSplit, "batch", batch)
    assert run(tmp_path, TINY | {"batch_size": 48, "on_out_of_memory": "halve_batch"}) == 0
    told = capsys.readouterr()
    assert "going on with 24 images at a time" in told.err
    assert json.loads(told.out)["micro_batches"] == 4
    assert run(tmp_path, TINY | {"batch_size": 48}, "refused") == 1
    assert '"on_out_of_memory": "halve_batch"' in capsys.readouterr().err


class PowerCut(BaseException):
    """What no code of the program expects."""


@pytest.mark.parametrize("place", ["write_epoch", "keep"])
def test_dying_between_two_files_loses_no_epoch_of_the_metrics(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = getattr(RunFolder, place), 0

    def die_at_the_second(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise PowerCut
        return original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, place, die_at_the_second)
        with pytest.raises(PowerCut):
            run(tmp_path, TINY)
    assert run(tmp_path, TINY) == 0
    assert epochs_in(tmp_path / "out" / "seed-0" / "metrics.csv") == ["1", "2", "3"]


def test_after_ctrl_c_the_same_command_resumes_and_ends_with_the_same_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = TINY | {
        "epochs": 60,
        "model": {"depth": 2, "width": 16, "dropout": 0.2, "norm": "batch"},
    }
    assert run(tmp_path, document, out="reference") == 0
    reference, expected = tmp_path / "reference" / "seed-0", json.loads(capsys.readouterr().out)

    arguments = ["run", str(tmp_path / "spec.json"), "--out", str(tmp_path / "out"), *ON_ONE_THREAD]
    folder = tmp_path / "out" / "seed-0"
    with subprocess.Popen(
        [sys.executable, "-m", "lab_models", *arguments],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for(folder / "attempt-1" / "checkpoint-00003-000000.pt", process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "interrupted; the same command resumes where this one stopped" in err
    assert not (folder / "result.json").exists()
    assert 3 <= len(epochs_in(folder / "metrics.csv")) < 60

    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["best"], result["test"]) == (expected["best"], expected["test"])
    for name in ("weights.safetensors", "weights-last.safetensors"):
        assert sha256_of(folder / "attempt-1" / name) == sha256_of(reference / "attempt-1" / name)
    assert epochs_in(folder / "metrics.csv") == [str(epoch) for epoch in range(1, 61)]


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, "the program ended before it could be interrupted"
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_student_is_trained_after_its_teacher_and_a_second_call_finds_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = {
        **TINY,
        "kind": "distill",
        "teacher": {"spec": {**TINY, "epochs": 2}},
        "student": {"depth": 1, "width": 8},
    }
    student.pop("model")
    assert run(tmp_path, student) == 0
    first = json.loads(capsys.readouterr().out)
    assert 0 <= first["test"]["teacher_agreement"] <= 1
    assert first["parameters"] == 64 * 8 + 8 + 8 * 10 + 10
    teacher = tmp_path / "out" / "before" / "result.json"
    written = teacher.stat().st_mtime_ns
    assert run(tmp_path, student) == 0
    assert json.loads(capsys.readouterr().out)["test"] == first["test"]
    assert teacher.stat().st_mtime_ns == written


def test_each_student_has_the_teacher_of_its_own_seed_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = {
        **TINY,
        "kind": "distill",
        "teacher": {"spec": {**TINY, "epochs": 1}, "seed": "own"},
        "student": {"depth": 1, "width": 8},
        "epochs": 1,
        "seeds": [2, 5],
    }
    student.pop("model")
    assert run(tmp_path, student) == 0
    results = json.loads(capsys.readouterr().out)
    teachers = [
        json.loads((tmp_path / "out" / "before" / f"seed-{seed}" / "result.json").read_text())
        for seed in (2, 5)
    ]
    assert [one["seed"] for one in teachers] == [2, 5]
    for result, teacher in zip(results, teachers, strict=True):
        built_on = result["environment"]["built_on"]
        assert built_on["seed"] == result["seed"] == teacher["seed"]
        assert built_on["weights_sha256"] == sha256_of(Path(teacher["weights"]))
        assert built_on["dataset_sha256"] == result["environment"]["dataset_sha256"]
    assert len({one["environment"]["built_on"]["weights_sha256"] for one in results}) == 2


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"dataset": "cifar10"}, "/source: it has learned digits, images of 1x8x8"),
        ({"strategy": "features", "stage": "hiden.0"}, "did you mean 'hidden.0'?"),
    ],
)
def test_a_source_that_does_not_fit_is_refused_before_it_is_trained(
    change: dict[str, object], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, {"kind": "transfer", "source": {"spec": TINY}, **change}) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"teacher": "run_1"},
            "/teacher: without a service there are no experiments and runs to name",
        ),
        ({"baseline": True}, "/baseline: without a service the control is a file of its own"),
        ({"teacher": {"spec": {"dataset": "mnist"}}}, "give both one data set"),
        ({"kind": "distil"}, "did you mean 'distill'?"),
    ],
)
def test_what_only_a_service_can_do_is_said(
    change: dict[str, object], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, {"kind": "distill", "teacher": {"spec": {}}, **change}) == 2
    assert complaint in capsys.readouterr().err


def test_a_folder_with_the_results_of_another_spec_is_left_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, TINY) == 0
    weights = sha256_of(tmp_path / "out" / "seed-0" / "attempt-1" / "weights.safetensors")
    capfd.readouterr()
    assert run(tmp_path, {**TINY, "batch_size": 7}) == 2
    assert "seed-0 holds the results of another spec" in capfd.readouterr().err
    assert sha256_of(tmp_path / "out" / "seed-0" / "attempt-1" / "weights.safetensors") == weights


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("foo", "there is no device 'foo': name auto, cpu, cuda or cuda:0\n"),
        ("cuda:99", "there is no device 'cuda:99': PyTorch sees "),
    ],
)
def test_a_device_that_there_is_not_is_one_line(
    device: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(spec_file(tmp_path, TINY)), "--device", device]) == 2
    assert capfd.readouterr().err.startswith(said)


def test_threads_and_a_folder_that_cannot_be_are_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = str(spec_file(tmp_path, TINY))
    with pytest.raises(SystemExit, match="2"):
        main(["run", spec, "--threads", "0"])
    assert "must be a number of at least 1, not '0'" in capfd.readouterr().err
    assert main(["run", spec, "--out", "/proc/x", *ON_ONE_THREAD]) == 1
    assert "\n/proc/x: " in capfd.readouterr().err
