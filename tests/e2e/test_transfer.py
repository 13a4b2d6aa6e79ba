"""Transfer over the API: a source first, then its backbone under a new head."""

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load

from tests.e2e.service import Service, wait_until

CNN = {"arch": "cnn", "stages": 2, "width": 8, "stem": "3x3", "residual": True}
SOURCE = {"model": CNN, "epochs": 3, "optimizer": {"learning_rate": 0.01}}


@pytest.fixture(scope="module")
def stripes(service: Service) -> str:
    """A small data set of people's own: 8x8 grey images of three kinds of stripes."""
    random, content = np.random.default_rng(0), io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number in range(180):
            kind = number % 3
            wave = np.sin(np.arange(8) * (1.0 + kind) + random.uniform(0, 6))
            pixels = (
                (127 + 100 * np.tile(wave, (8, 1)) + random.normal(0, 20, (8, 8)))
                .clip(0, 255)
                .astype(np.uint8)
            )
            image = io.BytesIO()
            Image.fromarray(pixels).save(image, "PNG")
            archive.writestr(f"train/{'abc'[kind]}/{number}.png", image.getvalue())
    assert service.http.put("/datasets/stripes", content=content.getvalue()).status_code == 201
    return "stripes"


def body(dataset: str, **differing: Any) -> dict[str, Any]:
    return {
        "kind": "transfer",
        "source": {"spec": SOURCE},
        "dataset": dataset,
        "epochs": 4,
        "batch_size": 16,
        "optimizer": {"learning_rate": 0.01},
        **differing,
    }


@pytest.mark.parametrize(
    ("tuning", "trained"),
    [
        ({"strategy": "linear_probe"}, 16 * 3 + 3),
        (
            {"strategy": "fine_tune", "last_stages": 1, "layer_decay": 0.5},
            16 * 3 + 3 + 8 * 16 * 9 + 16 * 16 * 9 * 3 + 8 * 16 + 2 * 16 * 5,
        ),
        ({"strategy": "fine_tune", "from_scratch": True}, None),
    ],
)
def test_a_backbone_learns_another_data_set(
    service: Service, stripes: str, tuning: dict[str, Any], trained: int | None
) -> None:
    priced = service.post("/experiments?dry_run=true", body(stripes, **tuning))["estimate"]
    assert priced["trainable_parameters"] == (priced["parameters"] if trained is None else trained)
    record = service.submit(body(stripes, **tuning))
    assert record["kind"] == "transfer"
    record = service.wait_for(record, "succeeded")
    assert record["results"]["test"]["accuracy"]["mean"] > 0.5
    assert service.record({"id": record["related"]["source_experiment"]})["status"] == "succeeded"
    if "from_scratch" in tuning:
        control = service.wait_for({"id": record["related"]["from_scratch"]}, "succeeded")
        assert control["estimate"]["parameters"] == record["estimate"]["parameters"]


def test_classical_classifiers_on_frozen_features_are_a_table_in_the_record(
    service: Service, stripes: str
) -> None:
    record = service.wait_for(
        service.submit(body(stripes, strategy="features", stage="stages.0", seeds=2)), "succeeded"
    )
    test = record["results"]["test"]
    for name in ("linear_svm", "logistic_regression", "knn", "gaussian_nb", "lda", "nearest_mean"):
        assert (
            test[f"{name}_accuracy"]["n"] == 1
        )  # no seed changes what is fitted to the same features
    assert test["accuracy"]["mean"] > 0.5
    assert record["runs"][0]["progress"]["fraction"] == 1.0
    table = service.get(f"/runs/{record['runs'][0]['id']}/artifacts/classifiers.json")
    assert table["dimensions"] == 8
    refused = service.http.post(
        "/experiments", json=body(stripes, strategy="features", stage="stage.1")
    )
    assert refused.json()["errors"] == [
        {
            "pointer": "/stage",
            "message": "this network has no stage 'stage.1'",
            "hint": "did you mean 'stages.1'?",
        }
    ]
    assert service.http.get(f"/experiments/{record['id']}/curves.png").status_code == 200
    assert service.http.get(f"/experiments/{record['id']}/confusion-matrix.png").status_code == 404


def test_the_source_is_trained_once_for_all(service: Service, stripes: str) -> None:
    records = [
        service.submit(body(stripes, strategy="linear_probe", seeds=[seed])) for seed in (3, 4)
    ]
    assert len({record["related"]["source_run"] for record in records}) == 1


def test_a_source_of_other_images_under_the_same_name_is_not_taken(service: Service) -> None:
    def submitted() -> Any:
        spec = {"model": {"hidden": [8]}, "dataset": "dots", "epochs": 2}
        return service.wait_for(
            service.submit(body("dots", source={"spec": spec}, strategy="linear_probe", seeds=1)),
            "succeeded",
        )

    sources = []
    for seed in (0, 1):
        assert service.http.put("/datasets/dots", content=dots(seed)).status_code == 201
        sources += [submitted()["related"]["source_run"], submitted()["related"]["source_run"]]
        assert service.http.delete("/datasets/dots").status_code == 200
    assert sources[0] == sources[1] != sources[2] == sources[3]


def test_a_study_takes_nothing_over_whose_source_has_learned_other_images(
    service: Service, stripes: str
) -> None:
    """The spec, the seed and the own images of probe and features are the same; what lies below them is not."""
    on_it = {"kind": "transfer", "source": {"cell": "source"}, "dataset": stripes, "epochs": 2}
    study = {
        "specs": [
            {"name": "source", "model": {"hidden": [8]}, "dataset": "dots", "epochs": 3},
            {"name": "probe", **on_it, "strategy": "linear_probe"},
            {"name": "features", **on_it, "strategy": "features", "classifiers": ["nearest_mean"]},
        ],
        "seeds": 2,
    }

    def results(**more: Any) -> tuple[int, dict[str, list[float]]]:
        sent = service.post("/studies", {**study, **more})
        record = wait_until(
            lambda: (found := service.get(f"/studies/{sent['id']}"))["is_terminal"] and found,
            90.0,
            f"{sent['id']} has ended; the log:\n{service.read_log()}",
        )
        assert record["status"] == "succeeded", record["errors"]
        cells = (service.record({"id": cell["experiment_id"]}) for cell in record["cells"])
        accuracies = {cell["cell"]: cell["results"]["test"]["accuracy"]["values"] for cell in cells}
        return record["progress"]["num_reused"], accuracies

    assert service.http.put("/datasets/dots", content=dots(2)).status_code == 201
    first = results()
    assert first[0] == 0
    assert results() == (6, first[1])
    assert service.http.delete("/datasets/dots").status_code == 200
    assert service.http.put("/datasets/dots", content=dots(3)).status_code == 201
    reused, other = results()
    assert reused == 0
    assert (0, other) == results(reuse=False), "what training gives"
    assert service.http.delete("/datasets/dots").status_code == 200


def dots(seed: int) -> bytes:
    """A zip of small grey images of noise, in two classes of different brightness."""
    random, content = np.random.default_rng(seed), io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number in range(60):
            image = io.BytesIO()
            Image.fromarray(
                (random.integers(0, 128, (8, 8)) + 127 * (number % 2)).astype(np.uint8)
            ).save(image, "PNG")
            archive.writestr(f"train/{'ab'[number % 2]}/{number}.png", image.getvalue())
    return content.getvalue()


def test_a_source_whose_first_layer_does_not_fit_is_refused(service: Service) -> None:
    answer = service.http.post("/experiments", json=body("cifar10", source={"spec": SOURCE}))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/source"
    assert "images of 1x8x8" in answer.json()["errors"][0]["message"]


def test_a_probe_has_no_stages(service: Service, stripes: str) -> None:
    answer = service.http.post(
        "/experiments", json=body(stripes, strategy="linear_probe", last_stages=1)
    )
    assert answer.status_code == 422
    assert "nothing below the head is trained here" in answer.json()["errors"][0]["message"]


def test_published_weights_that_are_nowhere_are_named_with_what_to_do(
    service: Service, stripes: str
) -> None:
    record = service.submit(
        body(stripes, source={"pretrained": "resnet18", "image_size": 32}, strategy="linear_probe")
    )
    assert record["related"] == {"from_scratch": None}
    (run,) = service.wait_for(record, "failed")["runs"]
    assert (run["error"]["code"], run["attempt"]) == ("dataset_unavailable", 1), (
        "another try would meet the same"
    )
    assert "resnet18-f37072fd.pth is in none of the data folders" in run["error"]["message"]
    assert run["error"]["hint"] == (
        "connect to the network once, or fetch https://download.pytorch.org/models/resnet18-f37072fd.pth elsewhere "
        f"and put it into {service.home / 'datasets' / 'weights'}, or into a folder of LAB_DATA_DIR"
    )


def test_finished_networks_go_on_from_their_own_weights_and_are_like_any_other(
    service: Service,
) -> None:
    first = service.wait_for(service.submit({**SOURCE, "seeds": [4, 2]}), "succeeded")
    body = {"like": first["id"], "go_on": {"epochs": 2}, "set": {"optimizer.learning_rate": 1e-12}}
    further = service.wait_for(service.submit(body), "succeeded")
    # which moves nothing that can be seen but batch norm's averages: each seed goes on from its own weights
    for own, origin in zip(further["runs"], first["runs"], strict=True):
        assert (own["seed"], own["needs"]) == (origin["seed"], origin["id"])
        before, after = (
            load(service.http.get(f"/runs/{run['id']}/artifacts/weights.safetensors").content)
            for run in (origin, own)
        )
        moved = [name for name in before if not np.allclose(before[name], after[name], atol=1e-9)]
        assert all("running" in name or "num_batches" in name for name in moved), moved

    run = further["runs"][1]["id"]
    (attempt,) = service.get(f"/runs/{run}")["attempts"]
    assert f"run {further['runs'][1]['needs']} had after its epoch" in attempt["notes"][0]
    predicted = service.http.post(f"/runs/{run}/predict", json={"split": "test", "row": 0})
    assert predicted.status_code == 200
    for path in (f"/runs/{run}/model.onnx", f"/experiments/{further['id']}/explanations.png?n=2"):
        assert service.http.get(path).status_code == 200
    assert [row["kind"] for row in service.get("/experiments?kind=continue")["data"]] == [
        "continue"
    ]
