"""The catalog of architectures over HTTP."""

import pytest
from starlette.testclient import TestClient

from lab_models.specs import ARCHITECTURES, PRESETS

pytestmark = pytest.mark.sqlite  # no rows


def test_every_architecture_is_listed_with_title_schema_and_sizes(api: TestClient) -> None:
    listed = api.get("/architectures").json()["data"]
    assert [row["name"] for row in listed] == [
        spec.model_fields["arch"].default for spec in ARCHITECTURES
    ]
    for row, spec in zip(listed, ARCHITECTURES, strict=True):
        assert row["title"]
        assert row["json_schema"] == spec.model_json_schema()
        assert row["examples"]
        for example in row["examples"]:
            assert example["model"]["arch"] == row["name"]
            assert example["parameters"] > 0
            assert example["macs_per_sample"] > 0
    mlp, cnn, henet, resnet18, _, own = (row["examples"] for row in listed)
    assert [example["parameters"] for example in mlp][:4] == [669_706, 2_770_954, 109_386, 136_300]
    assert cnn[1]["parameters"] == resnet18[0]["parameters"] == 11_173_962
    assert {example["dataset"] for example in (*cnn, *henet)} == {"cifar10", "mnist"}
    assert own[1]["parameters"] == 61_706, "LeNet-5"


def test_presets_are_listed_with_the_spec_they_stand_for(api: TestClient) -> None:
    presets = {row["name"]: row for row in api.get("/architectures").json()["presets"]}
    assert list(presets) == list(PRESETS)
    student = presets["student"]
    assert (student["parameters"], student["description"], student["dataset"]) == (
        700_458,
        "residual cnn 3 stages 32-64-128",
        "cifar10",
    )
    assert student["model"] == {
        "arch": "cnn", "stages": 3, "width": 32, "blocks_per_stage": 2, "residual": True, "stem": "7x7", "dropout": 0.2,
    }  # fmt: skip
    assert (presets["mlp-small"]["parameters"], presets["mlp-small"]["dataset"]) == (
        109_386,
        "mnist",
    )
    assert (presets["teacher"]["parameters"], presets["teacher"]["macs_per_sample"] // 100_000) == (
        11_181_642,
        5_632,
    )


@pytest.mark.parametrize("of", ["examples", "presets"])
def test_what_is_shown_can_be_sent_back(api: TestClient, of: str) -> None:
    answer = api.get("/architectures").json()
    shown = (
        answer["presets"]
        if of == "presets"
        else [example for row in answer["data"] for example in row["examples"]]
    )
    for row in shown:
        sent = api.post(
            "/experiments",
            params={"dry_run": "true"},
            json={"model": row["model"], "dataset": row["dataset"]},
        )
        assert sent.status_code == 200, sent.text
        assert sent.json()["estimate"]["parameters"] == row["parameters"]


@pytest.mark.parametrize("name", ["student", "resnet20", "mlp-small", "vgg", "resnet18", "layers"])
def test_a_network_of_the_lab_is_given_as_layers_that_can_be_sent_back(
    api: TestClient, name: str
) -> None:
    found = api.get(f"/architectures/{name}/layers", params={"dataset": "mnist"}).json()
    assert (found["name"], found["dataset"], found["model"]["arch"]) == (name, "mnist", "layers")
    assert sum(layer["parameters"] for layer in found["table"]) == found["parameters"]
    body = {"dataset": "mnist", "epochs": 1, "seeds": 1}
    dry = [
        api.post("/experiments?dry_run=true", json={**body, "model": model}).json()["estimate"]
        for model in (found["model"], name)
    ]
    assert dry[0]["parameters"] == dry[1]["parameters"] == found["parameters"]
    assert dry[0]["memory_bytes"] == dry[1]["memory_bytes"]


def test_a_name_that_is_none_is_answered_with_what_was_meant(api: TestClient) -> None:
    for path, words in (
        ("/architectures/studnet/layers", "did you mean 'student'?"),
        ("/architectures/student/layers?dataset=mnits", "there is no data set 'mnits'"),
    ):
        refused = api.get(path)
        assert refused.status_code == 404
        assert words in refused.json()["detail"]


def test_a_layer_that_does_not_fit_is_named_with_what_it_gets(api: TestClient) -> None:
    model = {
        "arch": "layers",
        "layers": ["relu", {"residual": [{"conv": 4}, {"conv": 4, "kernel": 40, "padding": 0}]}],
    }
    refused = api.post("/experiments?dry_run=true", json={"dataset": "mnist", "model": model})
    assert refused.status_code == 422
    assert [(error["pointer"], error["message"]) for error in refused.json()["errors"]] == [
        (
            "/model/layers/1/residual/1",
            "on mnist: the 28x28 map with padding 0 is smaller than kernel 40",
        )
    ]
