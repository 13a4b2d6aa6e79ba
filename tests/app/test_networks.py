"""The network of an experiment, as its layers and drawn: by the API, on a page of its own, and beside the form."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from app.api.schemas import PartAnswer
from app.pages.networks import rows_of
from app.settings import Settings
from app.storage.db import Database
from tests.app.studies import finish
from tests.app.test_pages import text_of

pytestmark = pytest.mark.sqlite  # what it reads is the same on both databases

X = "\N{MULTIPLICATION SIGN}"
OWN: dict[str, Any] = {
    "arch": "layers",
    "layers": [
        {"conv": 8},
        "batch_norm",
        "relu",
        {"repeat": 3, "layers": [{"residual": [{"conv": 8}, "relu", {"conv": 8}]}, "relu"]},
        {"residual": [{"conv": 12, "stride": 2}, "batch_norm"]},
        "flatten",
    ],
}


def network_of(api: TestClient, **body: Any) -> tuple[str, dict[str, Any]]:
    made = api.post("/experiments", json={"dataset": "digits", **body}).json()
    assert made["links"]["network"] == f"/experiments/{made['id']}/network"
    return made["id"], api.get(made["links"]["network"]).json()


def test_an_experiments_network_is_that_of_its_dry_run(api: TestClient) -> None:
    made, found = network_of(api, model=OWN)
    dry = api.post("/experiments?dry_run=true", json={"dataset": "digits", "model": OWN}).json()
    assert found["table"] == dry["estimate"]["layers"]
    assert found["parts"] == dry["estimate"]["parts"]
    assert found["parameters"] == sum(part["parameters"] for part in found["parts"])
    assert (found["experiment_id"], found["dataset"], found["num_classes"]) == (made, "digits", 10)
    assert found["input_shape"] == [1, 8, 8]
    assert found["description"] == "own residual network conv 7x8-12"
    assert found["model"]["layers"] == OWN["layers"]


def test_of_a_student_it_is_the_student_and_of_a_transfer_the_source_with_a_new_head(
    api: TestClient,
) -> None:
    teacher = {"spec": {"dataset": "digits", "model": OWN, "epochs": 1}}
    body = {"kind": "distill", "teacher": teacher, "student": {"hidden": [4]}, "epochs": 1}
    _, student = network_of(api, **body)
    assert student["description"] == "mlp 1 x 4"
    _, tuned = network_of(api, kind="transfer", source=teacher, epochs=1)
    assert tuned["description"] == "own residual network conv 7x8-12"
    assert tuned["parts"][-1]["output_shape"] == [10]


def test_the_page_draws_what_the_api_says(api: TestClient) -> None:
    made, found = network_of(api, model=OWN, name="<b>mine</b>")
    page = api.get(f"/ui/experiments/{made}/network")
    said = text_of(page.text)
    assert "<b>mine" not in page.text
    assert f"an image of digits 1 {X} 8 {X} 8 3x3 conv, 8 batch norm" in said
    assert f"3 {X} each with weights of its own 3,504 parameters in all" in said
    assert "+ what came in relu" in said
    assert "+ 1x1 conv, 12, stride 2, then batch norm flatten 120 parameters" in said
    assert f"{found['parameters']:,} parameters" in said
    assert f'href="/experiments/{made}/network"' in page.text
    whole = api.get(f"/ui/experiments/{made}").text
    assert f'hx-get="/ui/experiments/{made}/network"' in whole
    assert api.get("/ui/experiments/exp_none/network").status_code == 404


def test_the_form_draws_it_while_one_writes(api: TestClient) -> None:
    form = {"dataset.name": "digits", "more": '{"model": {"layers": [{"conv": 5}, "max_pool"]}}'}
    plan = text_of(api.post("/ui/new/plan", data=form).text)
    assert "The network, layer by layer" in plan
    assert f"3x3 conv, 5 layers.0 gives 5 {X} 8 {X} 8 50 parameters max pool 2x2" in plan


def test_what_follows_a_layer_stands_in_its_box_and_what_follows_a_repetition_does_not() -> None:
    def part(kind: Any, text: str, **more: Any) -> PartAnswer:
        plain = {"name": None, "output_shape": (4,), "parameters": 1, "macs": 0, "times": 1}
        return PartAnswer(kind=kind, text=text, **{**plain, "parts": [], "shortcut": [], **more})

    linear, norm, relu = part("linear", "linear"), part("norm", "norm"), part("activation", "relu")
    rows = rows_of(
        [relu, linear, norm, relu, part("repeat", "2 times", times=2, parts=[linear, norm]), relu]
    )
    assert [(row.part.text, row.after, row.parameters) for row in rows] == [
        ("relu", [], 1),
        ("linear", ["norm", "relu"], 3),
        ("2 times", [], 1),
        ("relu", [], 1),
    ]
    assert [(row.part.text, row.after) for row in rows[2].rows] == [("linear", ["norm"])]


def test_a_data_set_that_is_gone_is_said(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = network_of(api, model=OWN)
    monkeypatch.setattr("app.services.datasets.datasets.Catalog.get", lambda _, __: None)
    gone = api.get(f"/experiments/{made}/network")
    assert gone.status_code == 404
    assert "there is no data set 'digits'" in gone.json()["detail"]


def test_a_changed_layer_is_one_change_in_records_comparisons_and_studies(
    api: TestClient, database: Database, settings: Settings
) -> None:
    one = api.post("/experiments", json={"dataset": "digits", "model": OWN}).json()
    changes = {"model.layers.4.residual.0.kernel": 5, "model.layers.2": "gelu"}
    other = api.post("/experiments", json={"like": one["id"], "set": changes}).json()
    assert other["changed"] == {
        "model.layers.2": ["relu", "gelu"],
        "model.layers.4.residual.0.kernel": [3, 5],
    }
    page = text_of(api.get(f"/ui/compare?e={one['id']},{other['id']}").text)
    assert "model.layers.4.residual.0.kernel 3 5" in page
    spec = {"dataset": "digits", "model": OWN, "epochs": 1}
    vary = {"model.layers.4.residual.0.kernel": [3, 5], "model.layers.2": ["relu", "gelu"]}
    study = api.post("/studies", json={"spec": spec, "vary": vary, "seeds": 1}).json()
    assert study["factors"] == ["kernel", "layers.2"]
    assert study["name"] == "study of kernel, layers.2"
    assert [cell["title"] for cell in study["cells"]][:2] == [
        "kernel 3, layers.2 relu",
        "kernel 3, layers.2 gelu",
    ]
    for waits in (one, other):
        api.post(f"/experiments/{waits['id']}/cancel")
    finish(database, settings, study["id"], {})
    ids = [cell["experiment_id"] for cell in study["cells"]]
    address = "/comparisons?experiments={},{}&factor={}"
    wider, function = "layers.4.residual.0.kernel", "layers.2"
    compared = api.get(address.format(ids[0], ids[2], wider)).json()
    assert [one["path"] for one in compared["differs"]] == [f"model.{wider}"]
    assert compared["warnings"] == [], "it is what was meant to differ, and sets the size"
    compared = api.get(address.format(ids[0], ids[3], function)).json()
    assert f"the two differ in more than model.{function}: model.{wider}" in compared["warnings"][0]


def test_a_hostile_list_is_refused_where_it_stands(api: TestClient) -> None:
    for layers, place, words in (
        (["flatten", *[{"linear": 16384}] * 300], "/model", "LAB_MAX_PARAMETERS"),
        ([{"repeat": 200, "layers": [{"repeat": 200, "layers": ["relu"]}]}], "/model", "2,000"),
        ([{"conv": 10**400}], "/model/layers/0/conv", "4096"),
        (["relu"] * 501, "/model/layers", "500 entries"),
    ):
        refused = api.post("/experiments", json={"dataset": "digits", "model": {"layers": layers}})
        (error,) = refused.json()["errors"]
        assert (refused.status_code, error["pointer"]) == (422, place)
        assert words in error["message"]
