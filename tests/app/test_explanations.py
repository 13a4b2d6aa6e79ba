"""Explanations over HTTP: of a finished run, without torch, with the same answers as its predictions; what there is
none of is said.
"""

import base64
import io
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.api.analyses.explanations import ExplanationQuery
from app.main import create_app
from app.plots.figures.experiments import ExplainedImage, ExplanationFigure
from app.plots.pictures.experiments.explanations import draw_explanations
from app.services.analyses.predicting import explanations
from app.services.analyses.predicting.explanations import Explanations
from app.services.experiments import experiments
from app.settings import Settings
from lab_models.datasets.catalog import DIGITS
from lab_models.datasets.readers import open_dataset
from lab_models.datasets.splits import split_train_val
from lab_models.explanations.question import Show
from lab_models.explanations.single import overlaid
from tests.app.test_predict import Service, require_problem
from tests.lab_models.conftest import PROJECT, data_folders

pytestmark = pytest.mark.sqlite  # what is explained is read as by test_predict.py

CNN = {
    "name": "tiny CNN",
    "seeds": 2,
    "dataset": {"train_limit": 300},
    "model": {"arch": "cnn", "stages": 2, "width": 8, "stem": "3x3", "blocks_per_stage": 1},
    "optimizer": {"learning_rate": 0.02},
    "batch_size": 16,
    "epochs": 2,
}
VGG = {
    **CNN,
    "seeds": 1,
    "model": {"arch": "vgg", "widths": [4, 6], "convs_per_stage": 1, "hidden": 12},
    "epochs": 1,
}
STAGES = ["head", "stages.1", "stages.0", "stem"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = Settings(home=tmp_path_factory.mktemp("service"), log_level="ERROR", _env_file=None)
    app = create_app(settings)
    with TestClient(app, raise_server_exceptions=False) as api:
        yield Service(api, app.state.database, settings)


def experiment_of(service: Service, document: dict[str, Any]) -> str:
    run = service.trained(document)
    experiment_id: str = service.api.get(f"/runs/{run}").json()["experiment_id"]
    return experiment_id


@pytest.fixture(scope="module")
def experiment(service: Service) -> str:
    """A small CNN that has learned digits with two seeds."""
    return experiment_of(service, CNN)


@pytest.fixture(scope="module")
def vgg(service: Service) -> str:
    return experiment_of(service, VGG)


def ask(service: Service, experiment: str, query: str = "", extension: str = "json") -> Any:
    return service.api.get(f"/experiments/{experiment}/explanations.{extension}{query}")


def test_right_and_wrong_examples_are_what_the_run_predicts(
    service: Service, experiment: str
) -> None:
    answer = ask(service, experiment)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    runs = service.api.get(f"/experiments/{experiment}").json()["runs"]
    assert (
        found["experiment_id"],
        found["run_id"],
        found["seed"],
        found["method"],
        found["split"],
    ) == (experiment, runs[0]["id"], 0, "gradcam", "test")
    assert [example["right"] for example in found["examples"]] == [True] * 8 + [False] * 8
    for example in found["examples"]:
        said = service.api.post(
            f"/runs/{found['run_id']}/predict", json={"split": "test", "row": example["row"]}
        ).json()
        assert (example["predicted"], example["true"]) == (
            said["predicted"]["name"],
            str(said["label"]),
        )
        assert example["right"] == (example["predicted"] == example["true"])
        assert example["probability"] == pytest.approx(said["predicted"]["probability"], abs=1e-5)
        by_name = {part["name"]: part["probability"] for part in said["probabilities"]}
        assert example["true_probability"] == pytest.approx(by_name[example["true"]], abs=1e-5)
        values = np.array(example["map"])
        assert values.shape == (4, 4)
        assert values.min() >= 0
    assert found["stage"] == "stages.1"
    assert found["num_seen"] % 64 in (0, 360 % 64)
    assert 8 <= found["num_wrong"] < found["num_seen"]


def test_the_checks_are_numbers_with_intervals(service: Service, experiment: str) -> None:
    found = ask(service, experiment).json()
    faith = found["faithfulness"]
    assert faith["num_images"] == 100
    for areas in (faith["deletion"], faith["insertion"]):
        for order in ("map", "random", "center"):
            low, high = areas[order]["ci95"]
            assert 0 < low < areas[order]["mean"] < high < 1
            assert areas[order]["n"] == 100
        for other in ("random", "center"):
            low, high = areas[f"map_minus_{other}"]["ci95"]
            assert low < areas[f"map_minus_{other}"]["mean"] < high
            assert areas[f"map_minus_{other}"]["mean"] == pytest.approx(
                areas["map"]["mean"] - areas[other]["mean"]
            )
    assert faith["insertion"]["map_minus_random"]["ci95"][0] > 0, (
        "where the network looks says more than chance"
    )
    assert [step["stage"] for step in found["randomization"]] == STAGES
    for step in found["randomization"]:
        assert step["rank_correlation"]["n"] + step["undefined"] == 32
        assert abs(step["rank_correlation"]["mean"]) < 0.8
    deletion, insertion, randomization = found["summary"]
    assert deletion.startswith(
        f"Deletion (100 images, smaller is better): map {faith['deletion']['map']['mean']:.3f}, random "
    )
    assert insertion.count("better") >= 2
    assert randomization.startswith(
        "Randomization: rank correlation with the maps of the network with a new head "
    )


def test_cam_is_signed_and_its_positive_part_grad_cam(service: Service, experiment: str) -> None:
    cam, grad_cam, plus = (
        ask(service, experiment, f"?n=32&method={method}").json()["examples"]
        for method in ("cam", "gradcam", "gradcam%2B%2B")
    )
    for one, other, third in zip(cam, grad_cam, plus, strict=True):
        assert one["row"] == other["row"] == third["row"]
        np.testing.assert_allclose(
            np.maximum(one["map"], 0) / 16, other["map"], rtol=1e-4, atol=1e-9
        )
        assert np.array(third["map"]).min() >= 0
    assert min(np.min(example["map"]) for example in cam) < 0
    assert [example["map"] for example in plus] != [example["map"] for example in grad_cam]


def test_a_plus_sign_may_stand_in_the_address_as_curl_sends_it(
    service: Service, experiment: str
) -> None:
    plain = ask(service, experiment, "?n=2&method=gradcam++")
    assert plain.status_code == 200, plain.text
    assert plain.json() == ask(service, experiment, "?n=2&method=gradcam%2B%2B").json()


def test_val_images_are_those_of_the_run_s_cut(service: Service, experiment: str) -> None:
    digits = open_dataset(DIGITS, data_folders(service.settings.home))
    val = set(
        split_train_val(digits.train_labels, val_fraction=0.2, stratified=True, seed=0).val.tolist()
    )
    found = ask(service, experiment, "?split=val&n=64").json()
    assert found["split"] == "val"
    assert len(found["examples"]) > 32
    assert {example["row"] for example in found["examples"]} <= val
    first = found["examples"][0]
    said = service.api.post(
        f"/runs/{found['run_id']}/predict", json={"split": "train", "row": first["row"]}
    ).json()
    assert (said["predicted"]["name"], str(said["label"])) == (first["predicted"], first["true"])


def test_what_is_shown_can_be_chosen(service: Service, experiment: str) -> None:
    second = service.api.get(f"/experiments/{experiment}").json()["runs"][1]
    found = ask(service, experiment, f"?run={second['id']}&show=wrong&n=3").json()
    assert (found["run_id"], found["seed"]) == (second["id"], 1)
    assert [example["right"] for example in found["examples"]] == [False] * 3
    assert [
        example["right"]
        for example in ask(service, experiment, "?show=right&n=5").json()["examples"]
    ] == [True] * 5
    rows = [
        [
            example["row"]
            for example in ask(service, experiment, f"?n=6&seed={seed}").json()["examples"]
        ]
        for seed in (0, 0, 1)
    ]
    assert rows[0] == rows[1] != rows[2]


def test_a_vgg_has_gradients_but_no_cam(service: Service, vgg: str) -> None:
    found = ask(service, vgg, "?n=2").json()
    assert found["stage"] == "stages.1"
    assert np.array(found["examples"][0]["map"]).shape == (4, 4), "the maps before the last pool"
    assert [step["stage"] for step in found["randomization"]] == [
        "head",
        "hidden",
        "stages.1",
        "stages.0",
    ]
    require_problem(
        ask(service, vgg, "?method=cam"),
        409,
        "conflict",
        "CAM needs one linear layer behind averaged maps, and a VGG has a hidden layer between",
    )


# --- what is refused


def test_what_cannot_be_explained_says_why(service: Service, experiment: str) -> None:
    mlp = experiment_of(
        service, {"model": {"depth": 1, "width": 8}, "dataset": {"train_limit": 200}, "epochs": 1}
    )
    assert "explanations" not in service.api.get(f"/experiments/{mlp}").json()["links"]
    for extension in ("json", "png"):
        require_problem(
            ask(service, mlp, extension=extension), 409, "conflict", "an MLP has no feature maps"
        )
    queued = service.api.post("/experiments", json={**CNN, "seeds": [7]}).json()
    require_problem(
        ask(service, queued["id"]),
        409,
        "conflict",
        "the experiment has status queued: it can be explained once a run has succeeded",
    )
    run = queued["runs"][0]["id"]
    require_problem(
        ask(service, queued["id"], f"?run={run}"),
        409,
        "conflict",
        f"run {run} has status queued: it can be explained once it has succeeded",
    )
    service.api.post(f"/experiments/{queued['id']}/cancel")
    require_problem(
        ask(service, queued["id"]),
        409,
        "conflict",
        "the experiment has status cancelled: no run of it has succeeded",
    )
    require_problem(ask(service, "exp_none"), 404, "not_found", "there is no experiment 'exp_none'")
    require_problem(
        ask(service, experiment, f"?run={run}"),
        404,
        "not_found",
        f"experiment {experiment} has no run {run!r}",
    )


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("n=1", "/n"),
        ("n=65", "/n"),
        ("n=many", "/n"),
        ("method=gradients", "/method"),
        ("split=train", "/split"),
        ("show=all", "/show"),
        ("seed=-1", "/seed"),
    ],
)
def test_bad_parameters_are_named(
    query: str, pointer: str, service: Service, experiment: str
) -> None:
    answer = ask(service, experiment, f"?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


def test_an_unknown_parameter_gets_a_suggestion(service: Service, experiment: str) -> None:
    answer = ask(service, experiment, "?methods=cam")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {
            "pointer": "/methods",
            "message": "unknown query parameter",
            "hint": "did you mean 'method'?",
        }
    ]
    assert ask(service, experiment, extension="gif").status_code == 422


def test_without_the_images_nothing_is_explained(service: Service, experiment: str) -> None:
    folder = service.settings.prepared_folder / "digits"
    away = folder.with_name("elsewhere")
    folder.rename(away)
    try:
        require_problem(
            ask(service, experiment, "?seed=99"),
            409,
            "conflict",
            "data set 'digits' cannot be read, and without its images there is nothing",
        )
    finally:
        away.rename(folder)


def test_damaged_weights_are_said(service: Service, experiment: str) -> None:
    run = service.api.get(f"/experiments/{experiment}").json()["runs"][1]["id"]
    path = service.artifact(run)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        query = f"?seed=98&run={run}"
        require_problem(
            ask(service, experiment, query), 409, "conflict", "weights.safetensors is damaged"
        )
    finally:
        path.write_bytes(content)


# --- computed once, one at a time


def test_an_answer_is_kept_and_the_oldest_goes_first(
    service: Service, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(service, experiment, "?n=2&seed=5").json()
    computed: list[int] = []
    monkeypatch.setattr(
        explanations,
        "_explanation",
        lambda *arguments: computed.append(arguments[3].seed) or f"answer {arguments[3].seed}",
    )
    assert ask(service, experiment, "?n=2&seed=5").json() == first
    assert computed == []

    few = Explanations(most=2)
    explained, question = explained_and_question(service, experiment)
    for seed in (1, 2, 1, 3, 2, 1):
        assert few.get(service.settings, None, explained, question(seed)) == f"answer {seed}"  # type: ignore[arg-type, comparison-overlap]
    assert computed == [1, 2, 3, 1]


def test_who_waits_too_long_is_told_to_come_back(service: Service, experiment: str) -> None:
    kept: Explanations = service.api.app.state.explanations  # type: ignore[attr-defined]
    kept._patience = 0.01
    try:
        with kept._computing:
            require_problem(
                ask(service, experiment, "?seed=77"),
                503,
                "busy",
                "other explanations are being computed, one at a time",
            )
    finally:
        kept._patience = explanations.PATIENCE_SECONDS


def explained_and_question(service: Service, experiment: str) -> Any:
    with service.database.reading() as session:
        found = explanations.explained(
            session, service.settings, experiments.get(session, experiment), None, "test"
        )
    return found, lambda seed: ExplanationQuery(seed=seed).question


# --- the picture


def test_the_picture_has_three_formats_and_is_not_sent_twice(
    service: Service, experiment: str
) -> None:
    assert (
        service.api.get(f"/experiments/{experiment}").json()["links"]["explanations"]
        == f"/experiments/{experiment}/explanations.png"
    )
    png, svg, pdf = (
        ask(service, experiment, "?n=6", extension) for extension in ("png", "svg", "pdf")
    )
    assert [answer.headers["content-type"] for answer in (png, svg, pdf)] == [
        "image/png",
        "image/svg+xml",
        "application/pdf",
    ]
    assert png.content.startswith(b"\x89PNG")
    assert pdf.content.startswith(b"%PDF")
    ET.fromstring(svg.content)
    again = service.api.get(
        f"/experiments/{experiment}/explanations.png?n=6",
        headers={"If-None-Match": png.headers["etag"]},
    )
    assert (again.status_code, again.content) == (304, b"")
    tags = {
        ask(service, experiment, query, "png").headers["etag"]
        for query in ("?n=6", "?n=6&method=cam", "?n=7")
    }
    assert len(tags) == 3


def figure(**differing: Any) -> ExplanationFigure:
    generator = np.random.default_rng(0)
    pictures = [
        ExplainedImage(
            generator.integers(0, 256, (3, 12, 12), dtype=np.uint8),
            generator.random((3, 3)),
            "a " * 60,
            "b$_2$",
            share,
            right,
        )
        for share, right in ((0.5, True), (0.9999, True), (1.0, False))
    ]
    usual: dict[str, Any] = {
        "title": "t",
        "subtitle": "s",
        "show": Show.BOTH,
        "has_negative": False,
        "pictures": pictures,
        "notes": ["by -0.1, one-way."],
    }
    return ExplanationFigure(**{**usual, **differing})


def words(content: bytes) -> str:
    """What an SVG's comments say was written as glyphs."""
    return content.decode()


def test_the_picture_says_which_examples_are_right(tmp_path: Path) -> None:
    text = words(draw_explanations(figure(), "svg"))
    for said in (
        "✓ Right",
        "✗ Wrong",
        "b$_2$ (50 %)",
        "b$_2$ (&gt; 99 %)",
        "b$_2$ (100 %)",
        "by \N{MINUS SIGN}0.1, one-way.",
        "a a a",
    ):
        assert f">{said}" in text, said
    assert "none among the images looked at" not in text
    assert text.count("<image") == 2 * 3 + 1


@pytest.mark.parametrize("show", Show)
def test_blocks_without_examples_say_so(show: Show) -> None:
    text = words(draw_explanations(figure(show=show, pictures=[]), "svg"))
    assert ("✓ Right" in text, "✗ Wrong" in text) == (
        show is not Show.WRONG,
        show is not Show.RIGHT,
    )
    assert text.count(">none among the images looked at") == (2 if show is Show.BOTH else 1)


def test_grey_and_color_images_are_drawn_at_any_number(tmp_path: Path) -> None:
    one = figure().pictures[0]
    for count, channels in ((1, 1), (64, 3)):
        pictures = [
            ExplainedImage(
                one.pixels[:channels], one.map, "true", "predicted", 0.5, number % 2 == 0
            )
            for number in range(count)
        ]
        path = tmp_path / f"{count}.png"
        path.write_bytes(draw_explanations(figure(pictures=pictures), "png"))
        with Image.open(path) as image:
            width, height = image.size
        assert 600 < width <= 1400
        assert 300 < height < 3500


def test_explaining_loads_no_torch() -> None:
    """That the API loads neither torch nor onnx before it is asked for, others test."""
    program = "import sys, lab_models.explanations.explaining; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=PROJECT)


@pytest.mark.parametrize("method", ["cam", "gradcam", "gradcam++"])
def test_one_image_is_explained_beside_its_answer_as_among_the_examples(
    service: Service, experiment: str, method: str
) -> None:
    query = f"?method={method.replace('+', '%2B')}&n=4"
    found = ask(service, experiment, query).json()
    for example in found["examples"]:
        answer = service.api.post(
            f"/runs/{found['run_id']}/predict",
            params={"explain": method},
            json={"split": "test", "row": example["row"]},
        ).json()
        explanation = answer["explanation"]
        assert answer["predicted"]["name"] == example["predicted"]
        assert (explanation["method"], explanation["stage"]) == (method, found["stage"])
        assert np.array(explanation["map"]) == pytest.approx(
            np.array(example["map"]), rel=1e-4, abs=1e-7
        )
        picture = Image.open(io.BytesIO(base64.b64decode(explanation["picture"])))
        assert (picture.format, picture.size) == ("PNG", (192, 192))
    page = service.api.get(f"/ui/runs/{found['run_id']}").text
    assert f'data-predict="/runs/{found["run_id"]}/predict?top=5&amp;explain=gradcam"' in page
    without = service.api.post(f"/runs/{found['run_id']}/predict", json={"row": 0}).json()
    assert without["explanation"] is None


def test_the_picture_of_one_image_glows_where_the_map_is_high() -> None:
    pixels = np.full((1, 8, 8), 100, dtype=np.uint8)
    high_left = np.array([[1.0, 0.0], [0.0, 0.0]])
    picture = np.asarray(Image.open(io.BytesIO(overlaid(pixels, high_left)))).astype(int)
    assert picture.shape == (192, 192, 3)
    redness = picture[..., 0] - picture[..., 2]
    assert redness[0, 0] > 100
    assert redness[-1, -1] == 0
    plain = np.asarray(Image.open(io.BytesIO(overlaid(pixels, np.zeros((2, 2))))))
    assert (plain == 100).all()


def test_where_there_are_no_maps_one_image_is_answered_without_and_refused_with(
    service: Service,
) -> None:
    run = service.trained({"epochs": 1, "model": {"hidden": [8]}, "dataset": {"train_limit": 300}})
    body = {"row": 0}
    assert service.api.post(f"/runs/{run}/predict", json=body).status_code == 200
    refused = service.api.post(f"/runs/{run}/predict?explain=gradcam", json=body)
    require_problem(refused, 409, "conflict", "an MLP has no feature maps")
    assert service.api.post(f"/runs/{run}/predict?explain=camera", json=body).status_code == 422
    assert "explain=" not in service.api.get(f"/ui/runs/{run}").text
