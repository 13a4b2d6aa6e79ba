"""The flags of `lab train` and `python -m lab_models train`: each is a field of the spec, and the documents are
understood.
"""

import argparse
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from app.commands.__main__ import _parser
from lab_models.__main__ import main as without_service
from lab_models.common.suggestions import models_in
from lab_models.recipes.catalog import RECIPES
from lab_models.running.from_flags import _parser as parser_without_service
from lab_models.specs import ExperimentRequest, read_request
from lab_models.specs.presets import ARCHITECTURE_NAMES
from training_lab import Unusable
from training_lab.path_changes import ARCHITECTURES, put
from training_lab.recipe_cells import chosen
from training_lab.train_flags import FLAGS, given_flags, request_of, said_at

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
WITHOUT_SERVICE = "python -P -m lab_models train "


def options_of(line: str) -> argparse.Namespace:
    return _parser().parse_args(["train", *shlex.split(line)])


def request(line: str, base: dict[str, Any] | None = None) -> dict[str, Any]:
    return request_of(options_of(line), base or {})


def test_every_flag_is_a_field_of_the_spec() -> None:
    assert ARCHITECTURES == ARCHITECTURE_NAMES
    for flag in FLAGS:
        models: list[Any] = [ExperimentRequest]
        for name in flag.path.split("."):
            having = [model for model in models if name in model.model_fields]
            assert having, flag
            models = [
                part for model in having for part in models_in(model.model_fields[name].annotation)
            ]


def test_flags_come_to_a_spec_as_a_person_would_write_it() -> None:
    assert request("--model cnn --dataset digits --epochs 3 --seeds 2 --name a --label week:3") == {
        "model": "cnn",
        "dataset": "digits",
        "epochs": 3,
        "seeds": 2,
        "name": "a",
        "labels": {"week": "3"},
    }
    whole = request(
        "--model mlp --hidden 128,64 --no-residual --dropout 0.1 --norm batch --dataset digits --val-fraction 0.3"
        " --augmentation none --batch-size 32 --optimizer sgd --lr 0.1 --momentum 0.9 --weight-decay 0.01"
        " --schedule cosine --set schedule.warmup_epochs=1 --patience 3 --min-delta 0.1 --delta-overfit 0.2"
        " --overfit-patience 4"
    )
    assert whole == {
        "model": {
            "arch": "mlp",
            "hidden": [128, 64],
            "residual": False,
            "dropout": 0.1,
            "norm": "batch",
        },
        "dataset": {"name": "digits", "val_fraction": 0.3, "augmentation": "none"},
        "batch_size": 32,
        "optimizer": {
            "name": "sgd",
            "learning_rate": 0.1,
            "momentum": 0.9,
            "weight_decay": 0.01,
        },
        "schedule": {"name": "cosine", "warmup_epochs": 1},
        "early_stopping": {
            "patience": 3,
            "min_delta": 0.1,
            "overfit_delta": 0.2,
            "overfit_patience": 4,
        },
    }
    assert read_request(whole).spec.model.widths == (128, 64)
    assert request("--model student --dropout 0") == {
        "model": {"preset": "student", "dropout": 0.0}
    }
    assert request("--model vgg --hidden 64")["model"] == {"arch": "vgg", "hidden": 64}
    assert request("--depth 4") == {"model": {"depth": 4}}
    assert request("") == {}


def test_flags_change_a_procedure_and_what_they_replace_is_gone() -> None:
    base = {
        "dataset": {"name": "cifar10", "augmentation": "crop_flip"},
        "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        "model": {"arch": "mlp", "depth": 2, "width": 512, "norm": "batch"},
    }
    assert request("--optimizer adam", base)["optimizer"] == "adam"
    assert request("--optimizer SGD --lr 1", base)["optimizer"] == base["optimizer"] | {
        "learning_rate": 1.0
    }
    assert request("--hidden 9,8", base)["model"] == {
        "arch": "mlp",
        "hidden": [9, 8],
        "norm": "batch",
    }
    assert request("--dataset digits", base)["dataset"] == base["dataset"] | {"name": "digits"}
    assert request("--model vgg", base)["model"] == "vgg"
    student = {"kind": "distill", "student": "student"}
    assert request("--dropout 0.5", student)["student"] == {"preset": "student", "dropout": 0.5}
    assert "model" not in request("--dropout 0.5", student)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--epochs many", "argument --epochs: must be a whole number, not 'many'"),
        ("--lr nan", "argument --lr: must be a finite number, not 'nan'"),
        (
            "--hidden 128,x",
            "must be whole numbers with commas between, such as 128,64, not '128,x'",
        ),
        ("--label week", "write KEY:VALUE, such as week:3, not 'week'"),
        ("--set epochs", "write PATH=VALUE, such as epochs=2"),
    ],
)
def test_a_value_that_is_none_is_told_by_its_flag(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        options_of(line)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_fault_is_told_by_the_flags_that_it_is_about() -> None:
    options = options_of("--model resnet18 --depth 4 --lr 1 --set schedule.q=1 --seeds 0")
    assert said_at("/model/depth", options) == "--depth"
    assert said_at("/student/depth", options) == "--depth"
    assert said_at("/model/arch", options) == "--model"
    assert said_at("/model", options) == "--model, --depth"
    assert said_at("/schedule/q", options) == "--set schedule.q"
    assert said_at("/seeds", options) == "--seeds"
    assert said_at("/early_stopping", options) == "/early_stopping"
    assert said_at("", options) == ""


def test_a_path_that_leads_nowhere_is_refused() -> None:
    for path, said in {
        "epochs.x": "'epochs' holds no fields here, so 'epochs.x' leads nowhere",
        "model..x": "'model..x' is no path",
    }.items():
        with pytest.raises(Unusable, match=re.escape(said)):
            put({"epochs": 3}, path, 1)


# Recipes


def as_json(name: str) -> dict[str, Any]:
    return RECIPES[name].model_dump(mode="json")


@pytest.mark.parametrize("name", RECIPES)
def test_every_cell_can_be_trained_alone_by_its_name(name: str) -> None:
    page = as_json(name)
    for cell in page["cells"]:
        found = chosen(page, cell["key"], {})
        read_request(found.request)
        assert '{"cell"' not in json.dumps(found.request)
        if cell["request"].get("kind", "train") == "train":
            assert found.request == cell["request"]


@pytest.mark.parametrize(
    ("recipe", "line", "key"),
    [
        ("three-models", "--model cnn", "cnn"),
        ("three-models", "--model ResNet18 --lr 0.5", "resnet18"),
        ("mlp-depth", "--depth 4", "depth-4"),
        ("mlp-depth", "--model mlp --depth 10", "depth-10"),
        ("mlp-residual", "--depth 6 --residual", "residual-6"),
        ("he-depth", "--model resnet20 --no-residual", "plain-20"),
        ("cnn-blocks", "--model cnn-blocks-5 --no-residual", "plain-5"),
        ("gradients", "--norm batch --depth 4 --residual", "residual-4-batch"),
        ("distill-as-coded", "--model teacher", "teacher"),
        ("distill-as-coded", "--model distilled", "distilled"),
        ("finetune", "--optimizer adamw", "full-adamw"),
    ],
)
def test_what_a_table_varies_chooses_the_cell(recipe: str, line: str, key: str) -> None:
    page, options = as_json(recipe), options_of(line)
    found = chosen(page, None, given_flags(options))
    assert found.request == chosen(page, key, {}).request
    made = request_of(options, found.request, found.chosen_by)
    rates = {"three-models": 0.5} if "--lr" in line else {}
    assert made["optimizer"]["learning_rate"] == rates.get(
        recipe, found.request["optimizer"]["learning_rate"]
    )
    assert made.get("model") == found.request.get("model")


@pytest.mark.parametrize(
    ("recipe", "line", "said"),
    [
        (
            "distill",
            "--model student",
            "2 cells of distill fit: baseline (student without a teacher), distilled (student, distilled); name one,"
            " such as --as distill/baseline",
        ),
        (
            "three-models",
            "--model lstm",
            "no cell of three-models has the model 'lstm'; there are mlp (MLP 512-512), cnn (CNN of six convs"
            " 64-128-256), resnet18 (ResNet-18, stem for small images). To change one, name it: --as three-models/mlp",
        ),
        ("mlp-depth", "--depth 5", "no cell of mlp-depth has the depth 5; there are depth-2 (2"),
        ("three-models", "", "3 cells of three-models fit: mlp (MLP 512-512), cnn"),
        ("distill-grid", "", "and 15 more; name one"),
    ],
)
def test_a_choice_that_is_none_or_several_names_the_choices(
    recipe: str, line: str, said: str
) -> None:
    with pytest.raises(Unusable, match=re.escape(said)):
        chosen(as_json(recipe), None, given_flags(options_of(line)))
    with pytest.raises(Unusable, match=r"three-models has no cell 'x'; it has mlp \(MLP"):
        chosen(as_json("three-models"), "x", {})


# Documents


def lines_of(beginning: str) -> list[str]:
    """What follows it in each code span and block of the documents."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text()
        blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        spans = re.findall(
            r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        )
        for code in [*(line for block in blocks for line in block.splitlines()), *spans]:
            before, sign, after = " ".join(code.split()).partition(beginning)
            if sign and "[" not in after and (not before or before.endswith((" ", "/"))):
                found.append(after.partition(" #")[0])
    return found


def test_every_line_of_the_documents_is_understood() -> None:
    with_service = lines_of("lab train ")
    assert len(with_service) >= 8
    for line in with_service:
        request_of(options_of(line), {})
    without = lines_of(WITHOUT_SERVICE)
    assert without
    for line in without:
        if line != "FLAGS":
            parser_without_service().parse_args(shlex.split(line))


def test_both_command_lines_come_to_the_same_spec(capsys: pytest.CaptureFixture[str]) -> None:
    line = "--as three-models/cnn --dataset digits --optimizer adam --lr 0.01 --set schedule.update=step"
    assert without_service(["train", *shlex.split(line), "--print"]) == 0
    printed = json.loads(capsys.readouterr().out)
    base = chosen(as_json("three-models"), "cnn", {}).request
    assert printed == request(line, base)
    assert printed["optimizer"] == {"name": "adam", "learning_rate": 0.01}
