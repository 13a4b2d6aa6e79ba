"""A parameter's gradient over the steps over HTTP: what runs have kept, as JSON and as a picture."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from starlette.testclient import TestClient

from app.main import create_app
from app.plots.drawing import draw
from app.plots.figures.experiments import LayerGradientFigure
from app.settings import Settings
from lab_models.training.layer_metrics import LAYER_GRADIENTS_NAME, MAGNITUDES
from tests.app.pictures import words
from tests.app.test_predict import SMALL, Service

pytestmark = pytest.mark.sqlite  # one process trains and answers

FIRST, HEAD = "hidden.0.linear.weight", "head.bias"
ASKED = {"layers": [FIRST, HEAD], "every_steps": 10, "histograms": True}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = Settings(home=tmp_path_factory.mktemp("service"), log_level="ERROR", _env_file=None)
    app = create_app(settings)
    with TestClient(app, raise_server_exceptions=False) as api:
        yield Service(api, app.state.database, settings)


@pytest.fixture(scope="module")
def record(service: Service) -> dict[str, Any]:
    """An experiment with two seeds that has kept gradients, finished."""
    run = service.trained({**SMALL, "name": "kept", "seeds": 2, "layer_gradients": ASKED})
    experiment = service.api.get(f"/runs/{run}").json()["experiment_id"]
    found: dict[str, Any] = service.api.get(f"/experiments/{experiment}").json()
    return found


def gradient_of(service: Service, record: dict[str, Any], query: str = "") -> Any:
    return service.api.get(f"/experiments/{record['id']}/layer-gradient.json{query}")


def test_the_numbers_are_those_that_each_run_has_published(
    service: Service, record: dict[str, Any]
) -> None:
    answer = gradient_of(service, record, f"?layer={HEAD}").json()
    assert (answer["layer"], answer["layers"]) == (HEAD, [FIRST, HEAD])
    assert (answer["every_steps"], answer["num_runs"]) == (10, 2)
    kept = [load_file(service.artifact(run["id"], LAYER_GRADIENTS_NAME)) for run in record["runs"]]
    for run, tensors in zip(answer["runs"], kept, strict=True):
        assert run["steps"] == tensors["steps"].tolist()
        assert run["steps"][:3] == [1, 11, 21]
        for place, name in enumerate(("l2", "mean_abs", "max_abs")):
            assert run[name] == tensors["statistics"][:, 1, place].tolist()
    summed = kept[0]["counts"][:, 1] + kept[1]["counts"][:, 1]
    assert answer["histogram"]["counts"] == summed.tolist()
    assert len(answer["histogram"]["counts"][0]) == len(answer["histogram"]["magnitudes"]) + 1


def test_without_a_name_it_is_the_first_and_another_is_refused(
    service: Service, record: dict[str, Any]
) -> None:
    assert gradient_of(service, record).json()["layer"] == FIRST
    for kind in ("json", "png"):
        refused = service.api.get(
            f"/experiments/{record['id']}/layer-gradient.{kind}?layer=head.bais"
        )
        assert refused.status_code == 422
        assert refused.json()["errors"] == [
            {
                "pointer": "/layer",
                "message": "the gradient of 'head.bais' was not measured",
                "hint": f"did you mean '{HEAD}'?",
            }
        ]


def test_the_record_leads_to_the_picture_which_is_not_sent_twice(
    service: Service, record: dict[str, Any]
) -> None:
    picture = service.api.get(record["links"]["layer_gradient"] + f"?layer={HEAD}")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    again = service.api.get(
        record["links"]["layer_gradient"] + f"?layer={HEAD}",
        headers={"If-None-Match": picture.headers["etag"]},
    )
    assert again.status_code == 304
    svg = service.api.get(f"/experiments/{record['id']}/layer-gradient.svg").content
    texts = " | ".join(words(svg))
    assert f"kept: gradient of {FIRST}" in texts
    assert "geometric mean and range of 2 runs" in texts
    assert "Magnitude of its elements" in texts


def test_an_experiment_that_asks_for_none_says_how_to(service: Service) -> None:
    record = service.api.post("/experiments", json=SMALL).json()
    assert "layer_gradient" not in record["links"]
    missing = gradient_of(service, record)
    assert missing.status_code == 404
    assert '"layer_gradients": {"layers": ["head.weight"]}' in missing.json()["detail"]


def test_before_a_run_has_succeeded_there_is_nothing_and_the_picture_says_so(
    service: Service,
) -> None:
    body = {**SMALL, "epochs": 3, "layer_gradients": ASKED}
    record = service.api.post("/experiments", json=body).json()
    answer = gradient_of(service, record).json()
    assert (answer["runs"], answer["histogram"], answer["steps_per_epoch"]) == ([], None, None)
    svg = service.api.get(f"/experiments/{record['id']}/layer-gradient.svg").content
    assert any("kept when a run has succeeded" in text for text in words(svg))


def test_a_parameter_that_the_network_lacks_is_refused_when_it_is_sent(service: Service) -> None:
    answer = service.api.post(
        "/experiments", json={**SMALL, "layer_gradients": {"layers": ["hidden.0.lniear.weight"]}}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/layer_gradients/layers/0"
    assert answer.json()["errors"][0]["hint"] == f"did you mean '{FIRST}'?"


def test_a_damaged_file_is_said_to_be(service: Service, record: dict[str, Any]) -> None:
    path = service.artifact(record["runs"][0]["id"], LAYER_GRADIENTS_NAME)
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        answer = gradient_of(service, record)
    finally:
        path.write_bytes(content)
    assert answer.status_code == 404
    assert "damaged" in answer.json()["detail"]


def figure(**differing: Any) -> LayerGradientFigure:
    steps = np.arange(1, 100, 7)
    usual = {
        "title": "a title",
        "subtitle": "a subtitle",
        "steps": steps,
        "norms": np.full((2, len(steps)), 0.5),
        "steps_per_epoch": 10,
        "magnitudes": np.array(MAGNITUDES),
        "counts": np.ones((len(steps), len(MAGNITUDES) + 1), dtype=np.int64),
    }
    return LayerGradientFigure(**{**usual, **differing})


@pytest.mark.parametrize(
    ("differing", "said"),
    [
        ({"norms": np.zeros((2, 15))}, "exactly 0 at every step"),
        ({"norms": np.full((1, 15), np.nan)}, "frozen: it has no gradient"),
        ({"counts": None}, "Step (10 steps an epoch)"),
        ({"counts": np.zeros((15, 50), dtype=np.int64)}, "Magnitude of its elements"),
        ({"steps": np.array([1]), "norms": np.ones((1, 1)), "counts": None}, "a title"),
        ({"norms": 10.0 ** np.linspace(-30, 3, 15)[None]}, "10⁻"),
    ],
    ids=["zero", "frozen", "no histogram", "empty histogram", "one step", "33 decades"],
)
@pytest.mark.filterwarnings("error")
def test_whatever_was_measured_is_drawn(differing: dict[str, Any], said: str) -> None:
    svg = draw(figure(**differing), "svg")
    assert any(said in text for text in words(svg)), words(svg)
