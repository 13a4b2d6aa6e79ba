"""Predictions over HTTP: what a run has found for a test image is what it says of it again; and no bytes get more than
a refusal.
"""

import io
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file, save_file
from starlette.testclient import TestClient

from app.main import create_app
from app.services import lifecycle
from app.services.analyses.predicting import predictions
from app.services.analyses.predicting.onnx_files import OnnxFiles, onnx_file
from app.services.analyses.predicting.predictions import Predictors
from app.services.experiments import experiments, progress, tasks
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Artifact, Run
from lab_models.common.files import sha256_of
from lab_models.datasets.catalog import DIGITS
from lab_models.datasets.decoding import Size, decode
from lab_models.datasets.preparation import PreparedDataset
from lab_models.datasets.readers import open_dataset
from lab_models.running.execution import Execution
from lab_models.training.protocol import Completed, Failed, Started
from tests.lab_models.conftest import EXAMPLES, PROJECT, data_folders, order_in

pytestmark = pytest.mark.sqlite  # a forecast reads rows that other tests have written on both

SMALL = {
    "model": {"depth": 1, "width": 24, "norm": "batch"},
    "optimizer": {"learning_rate": 0.01},
    "epochs": 2,
}
TEACHER = {
    "model": {"arch": "mlp", "depth": 2, "width": 20},
    "dataset": {"train_limit": 300},
    "epochs": 1,
}


@dataclass(frozen=True)
class Service:
    """An API and what stands behind it, with a worker's hands."""

    api: TestClient
    database: Database
    settings: Settings

    def trained(self, document: dict[str, Any]) -> str:
        """The id of a run of this request, carried out in this process as a worker would."""
        answer = self.api.post("/experiments", json=document)
        assert answer.status_code == 201, answer.text
        while self._carry_out_next():
            pass
        run_id: str = answer.json()["runs"][0]["id"]
        assert self.api.get(f"/runs/{run_id}").json()["status"] == "succeeded"
        return run_id

    def artifact(self, run_id: str, name: str = "weights.safetensors") -> Path:
        with self.database.reading() as session:
            artifact = session.get_one(Artifact, (run_id, name))
            return self.settings.runs_folder / run_id / artifact.path

    def replace_weights(self, run_id: str, factor: float) -> None:
        """Publish the run's weights anew, each multiplied."""
        path = self.artifact(run_id)
        save_file(
            {name: (array * factor).astype(array.dtype) for name, array in load_file(path).items()},
            path,
        )
        with self.database.writing() as session:
            session.get_one(Artifact, (run_id, "weights.safetensors")).sha256 = sha256_of(path)

    def _carry_out_next(self) -> bool:
        with self.database.writing() as session:
            lease = lifecycle.claim(session, "worker-1")
            if lease is None:
                return False
            task = tasks.load_task(session, lease, self.settings.runs_folder)
        differing = {
            "seed": task.seed,
            "attempt": lease.attempt,
            "foundation": task.foundation,
            "run_folder": str(self.settings.runs_folder / lease.run_id),
        }
        for event in Execution(
            order_in(self.settings.home, task.spec.model_dump(mode="json"), **differing)
        ).events():
            with self.database.writing() as session:
                match event:
                    case Started():
                        progress.record_started(session, lease, event)
                    case Completed():
                        progress.record_completed(session, lease, event)
        return True


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = Settings(home=tmp_path_factory.mktemp("service"), log_level="ERROR", _env_file=None)
    app = create_app(settings)
    with TestClient(app, raise_server_exceptions=False) as api:
        yield Service(api, app.state.database, settings)


@pytest.fixture(scope="module")
def run_id(service: Service) -> str:
    """A small MLP that has learned digits."""
    return service.trained(SMALL)


@pytest.fixture(scope="module")
def digits(service: Service, run_id: str) -> PreparedDataset:
    """The images that it was trained on."""
    return open_dataset(DIGITS, data_folders(service.settings.home))


def encoded(pixels: Any, kind: str = "PNG", **options: Any) -> bytes:
    """An image file with these pixels, (C, H, W) uint8."""
    plane = np.asarray(pixels)
    file = io.BytesIO()
    Image.fromarray(plane[0] if len(plane) == 1 else np.moveaxis(plane, 0, 2)).save(
        file, kind, **options
    )
    return file.getvalue()


def ask(
    service: Service, run_id: str, body: bytes | dict[str, Any], query: str = "", **headers: str
) -> Any:
    address = f"/runs/{run_id}/predict{query}"
    return (
        service.api.post(address, json=body)
        if isinstance(body, dict)
        else service.api.post(address, content=body, headers=headers)
    )


def require_problem(answer: Any, status: int, code: str, sentence: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), answer.text
    assert answer.json()["code"] == code
    assert sentence in answer.json()["detail"], answer.json()["detail"]


def probabilities_of(answer: Any) -> list[float]:
    """By class."""
    return [
        part["probability"]
        for part in sorted(answer.json()["probabilities"], key=lambda part: part["label"])
    ]


def softmax(logits: Any) -> Any:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


# --- what is answered


def test_every_test_row_gets_the_run_s_own_prediction(service: Service, run_id: str) -> None:
    kept = load_file(service.artifact(run_id, "predictions.safetensors"))
    record = service.api.get(f"/runs/{run_id}").json()
    hits = 0
    for row, (label, prediction) in enumerate(
        zip(kept["labels"], kept["predictions"], strict=True)
    ):
        answer = ask(service, run_id, {"split": "test", "row": row})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["label"], answer.json()["predicted"]["label"]) == (label, prediction)
        np.testing.assert_allclose(
            probabilities_of(answer), softmax(kept["logits"][row]), rtol=0, atol=1e-5
        )
        hits += answer.json()["predicted"]["label"] == answer.json()["label"]
    assert hits / len(kept["labels"]) == record["test"]["accuracy"] > 0.8


def test_an_answer_has_the_classes_in_order_with_their_names(service: Service, run_id: str) -> None:
    answer = ask(service, run_id, {"row": 17}).json()
    fields = {"run_id", "predicted", "probabilities", "label", "input_shape", "explanation"}
    assert set(answer) == fields
    assert (answer["run_id"], answer["input_shape"]) == (run_id, [1, 8, 8])
    ranked = answer["probabilities"]
    assert answer["predicted"] == ranked[0]
    assert sorted(part["label"] for part in ranked) == list(range(10))
    assert [part["probability"] for part in ranked] == sorted(
        (part["probability"] for part in ranked), reverse=True
    )
    assert sum(part["probability"] for part in ranked) == pytest.approx(1, abs=1e-5)
    assert all(part["name"] == str(part["label"]) for part in ranked)
    assert ask(service, run_id, {"row": 17}, "?top=3").json()["probabilities"] == ranked[:3]
    assert ask(service, run_id, {"row": 17}, "?top=1000").json()["probabilities"] == ranked
    assert ask(service, run_id, {"split": "test", "row": 17}).json() == answer, (
        "test is the default"
    )


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("BMP", {}), ("GIF", {}), ("WEBP", {"lossless": True})]
)
def test_an_image_that_is_sent_is_answered_like_the_row_it_was_taken_from(
    kind: str,
    options: dict[str, Any],
    service: Service,
    run_id: str,
    digits: PreparedDataset,
) -> None:
    sent = ask(service, run_id, encoded(digits.test_images[5], kind, **options)).json()
    row = ask(service, run_id, {"row": 5}).json()
    assert sent["label"] is None
    assert {**sent, "label": row["label"]} == row
    of_train = ask(service, run_id, encoded(digits.train_images[5], kind, **options)).json()
    assert (
        of_train["probabilities"]
        == ask(service, run_id, {"split": "train", "row": 5}).json()["probabilities"]
    )


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "image/png",
        "application/x-www-form-urlencoded",
        "application/json",
        "text/plain; charset=utf-8",
    ],
)
def test_the_content_type_does_not_matter(
    content_type: str, service: Service, run_id: str, digits: PreparedDataset
) -> None:
    image = ask(service, run_id, encoded(digits.test_images[5]), **{"content-type": content_type})
    named = ask(service, run_id, b' \n{"row": 5}', **{"content-type": content_type})
    assert image.json()["probabilities"] == named.json()["probabilities"]


def test_a_photograph_is_brought_to_the_network_s_form_as_an_import_does_it(
    service: Service, run_id: str
) -> None:
    photo = encoded(
        np.random.default_rng(0).integers(0, 256, (3, 200, 310), dtype=np.uint8), "JPEG"
    )
    answer = ask(service, run_id, photo)
    same = ask(service, run_id, encoded(decode(photo, channels=1, size=Size(8, 8))))
    assert answer.json()["input_shape"] == [1, 8, 8]
    assert answer.json() == same.json()


def test_a_distilled_student_answers_not_its_teacher(service: Service) -> None:
    teacher = service.trained(TEACHER)
    student = {
        "kind": "distill",
        "teacher": {"run": teacher},
        "student": {"arch": "mlp", "depth": 1, "width": 9},
    }
    run = service.trained({**student, "dataset": {"train_limit": 300}, "epochs": 1})
    kept = load_file(service.artifact(run, "predictions.safetensors"))
    for row in range(20):
        answer = ask(service, run, {"row": row})
        np.testing.assert_allclose(
            probabilities_of(answer), softmax(kept["logits"][row]), rtol=0, atol=1e-5
        )
    assert (
        ask(service, teacher, {"row": 0}).json()["probabilities"]
        != ask(service, run, {"row": 0}).json()["probabilities"]
    )


# --- what is refused


def test_a_run_that_has_not_succeeded_says_so(service: Service) -> None:
    record = service.api.post("/experiments", json={"seeds": 2}).json()
    queued, other = (run["id"] for run in record["runs"])
    for answer in (
        ask(service, queued, {"row": 0}),
        ask(service, queued, b""),
        service.api.get(f"/runs/{queued}/model.onnx"),
    ):
        require_problem(
            answer,
            409,
            "conflict",
            f"run {queued} has status queued: it can predict once it has succeeded",
        )
    with service.database.writing() as session:
        lease = lifecycle.claim(session, "worker-1")
        assert lease is not None
        assert lease.run_id == queued
    require_problem(
        ask(service, queued, {"row": 0}), 409, "conflict", "has status running: it can predict once"
    )
    with service.database.writing() as session:
        progress.record_failed(session, lease, Failed(code="diverged", message="it diverged"))
    require_problem(
        ask(service, queued, {"row": 0}),
        409,
        "conflict",
        "has status failed: only a run that has succeeded can predict",
    )
    service.api.post(f"/experiments/{record['id']}/cancel")
    require_problem(
        ask(service, other, {"row": 0}),
        409,
        "conflict",
        "has status cancelled: only a run that has succeeded can predict",
    )
    require_problem(
        ask(service, "run_none", {"row": 0}), 404, "not_found", "there is no run 'run_none'"
    )
    assert set(service.api.get(f"/runs/{other}").json()["links"]) == {
        "self",
        "metrics",
        "artifacts",
    }


@pytest.mark.parametrize(
    ("body", "status", "code", "sentence"),
    [
        (b"", 422, "unusable_image", "the body is empty: send an image, or"),
        (b"GIF89a", 422, "unusable_image", "cannot be read as an image"),
        (
            b"%PDF-1.4",
            422,
            "unusable_image",
            "not an image of the formats PNG, JPEG, BMP, GIF, WEBP",
        ),
        (b"17", 422, "unusable_image", "not an image of the formats"),
        (b"{", 400, "bad_json", "line 1"),
        (b'{"row": NaN}', 400, "bad_json", "NaN"),
        (b"[17]", 422, "invalid_request", "must be an object"),
        (b"{}", 422, "invalid_request", "/row: required field is missing"),
        (b'{"row": -1}', 422, "invalid_request", "/row: "),
        (b'{"row": "17"}', 422, "invalid_request", "/row: "),
        (b'{"row": true}', 422, "invalid_request", "/row: "),
        (b'{"row": 1.5}', 422, "invalid_request", "/row: "),
        (
            b'{"row": 0, "split": "val"}',
            422,
            "invalid_request",
            "/split: must be 'train' or 'test'",
        ),
        (b'{"rows": 0}', 422, "invalid_request", "/rows: unknown field"),
        (
            b'{"row": 360}',
            422,
            "invalid_request",
            "must be below 360: the test split of 'digits' has 360 images, counted from 0",
        ),
        (b'{"row": 1437, "split": "train"}', 422, "invalid_request", "must be below 1,437"),
        (b'{"row": 99999999999999999999999999}', 422, "invalid_request", "must be below 360"),
    ],
)
def test_a_bad_body_is_named(
    body: bytes, status: int, code: str, sentence: str, service: Service, run_id: str
) -> None:
    answer = ask(service, run_id, body)
    require_problem(answer, status, code, sentence)
    if code == "invalid_request":
        assert answer.json()["errors"]


def test_a_form_and_a_bad_top_are_refused(service: Service, run_id: str) -> None:
    answer = service.api.post(f"/runs/{run_id}/predict", files={"file": b"x"})
    require_problem(answer, 422, "unusable_image", "curl --data-binary @FILE")
    for top in ("0", "-1", "many"):
        assert (
            ask(service, run_id, {"row": 0}, f"?top={top}").json()["errors"][0]["pointer"] == "/top"
        )


def test_an_image_is_limited_in_bytes_and_in_pixels(service: Service, run_id: str) -> None:
    vast = bytearray(encoded(np.zeros((1, 1, 1), np.uint8), "BMP"))
    vast[18:26] = struct.pack("<ii", 60_000, 60_000)  # BMP's header: width and height
    require_problem(
        ask(service, run_id, bytes(vast)), 422, "unusable_image", "more than 65,000,000"
    )
    small = create_app(service.settings.model_copy(update={"max_image_bytes": 1000}))
    with TestClient(small, raise_server_exceptions=False) as api:
        assert api.post(f"/runs/{run_id}/predict", content=b"{" + b" " * 999).status_code == 400
        answer = api.post(f"/runs/{run_id}/predict", content=b"{" + b" " * 1000)
    require_problem(answer, 413, "body_too_large", "larger than 1,000 bytes (LAB_MAX_IMAGE_BYTES)")


FILES = [
    encoded(np.random.default_rng(0).integers(0, 256, (channels, 9, 7), dtype=np.uint8), kind)
    for channels, kind in ((1, "PNG"), (3, "JPEG"), (3, "GIF"))
]
CUT = st.sampled_from(FILES).flatmap(
    lambda file: st.integers(0, len(file) - 1).map(lambda end: file[:end])
)
CHANGED = st.tuples(
    st.sampled_from(FILES),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=5),
).map(lambda drawn: bytes(_with_changes(bytearray(drawn[0]), drawn[1])))


def _with_changes(content: bytearray, changes: list[tuple[int, int]]) -> bytearray:
    for place, value in changes:
        content[place % len(content)] = value
    return content


# Pillow's word on odd files, which does not matter
@pytest.mark.filterwarnings("ignore::UserWarning")
@EXAMPLES
@given(
    st.binary(max_size=300)
    | CUT
    | CHANGED
    | st.text(max_size=40).map(lambda text: ("{" + text).encode())
)
def test_no_bytes_do_more_than_be_refused(service: Service, run_id: str, body: bytes) -> None:
    answer = ask(service, run_id, body)
    assert answer.status_code in (200, 400, 422)
    if answer.status_code != 200:
        assert answer.json()["code"] in ("bad_json", "unusable_image", "invalid_request")


def test_logits_that_are_not_finite_are_no_answer(service: Service) -> None:
    run = service.trained(TEACHER)
    service.replace_weights(run, 1e30)
    require_problem(ask(service, run, {"row": 0}), 409, "conflict", "is not finite")


def test_damaged_and_missing_weights_are_said_and_no_server_error(service: Service) -> None:
    run = service.trained({**TEACHER, "seeds": [5]})
    path = service.artifact(run)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for answer in (ask(service, run, {"row": 0}), service.api.get(f"/runs/{run}/model.onnx")):
        require_problem(
            answer,
            409,
            "conflict",
            "weights.safetensors is damaged: its SHA-256 is not the recorded one",
        )
    path.unlink()
    require_problem(ask(service, run, {"row": 0}), 404, "not_found", "is gone from the disk")
    path.write_bytes(content)
    assert ask(service, run, {"row": 0}).status_code == 200


def test_without_the_run_s_images_here_an_image_that_is_sent_is_answered_still(
    service: Service, run_id: str, digits: PreparedDataset
) -> None:
    folder = service.settings.prepared_folder / "digits"
    away = folder.with_name("elsewhere")
    folder.rename(away)
    try:
        sentence = (
            "data set 'digits' cannot be read by its rows: "
            "it is not prepared on this machine; send the image itself"
        )
        require_problem(ask(service, run_id, {"row": 0}), 409, "conflict", sentence)
        assert ask(service, run_id, encoded(digits.test_images[0])).status_code == 200
        folder.mkdir()
        (folder / "manifest.json").write_text(
            (away / "manifest.json").read_text().replace(digits.sha256, "0" * 64)
        )
        require_problem(
            ask(service, run_id, {"row": 0}),
            409,
            "conflict",
            "it has other images here than those that the run was trained on",
        )
        (folder / "manifest.json").unlink()
        folder.rmdir()
    finally:
        away.rename(folder)
    assert ask(service, run_id, {"row": 0}).status_code == 200


def test_a_network_outlives_the_images_of_somebody_s_own_that_it_has_learned(
    service: Service,
) -> None:
    def imported(seed: int, called: str = "shades") -> None:
        generator, archive = np.random.default_rng(seed), io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            for name, low in (("dark", 0), ("light", 156)):
                for number in range(8):
                    file.writestr(
                        f"{name}/{number}.png",
                        encoded(generator.integers(low, low + 100, (3, 6, 5), dtype=np.uint8)),
                    )
        answer = service.api.put(f"/datasets/{called}", content=archive.getvalue())
        assert answer.status_code == 201, answer.text

    imported(0)
    run = service.trained(
        {
            "dataset": "shades",
            "model": {"depth": 1, "width": 8},
            "optimizer": {"learning_rate": 0.05},
            "batch_size": 8,
            "epochs": 8,
        }
    )
    dark, light = (encoded(np.full((3, 40, 40), level, np.uint8)) for level in (50, 206))
    assert [ask(service, run, image).json()["predicted"]["name"] for image in (dark, light)] == [
        "dark",
        "light",
    ]
    row = ask(service, run, {"row": 0}).json()
    assert (row["label"], row["input_shape"]) == (0, [3, 6, 5])
    before = [ask(service, run, image).json() for image in (dark, light)]
    network = service.api.get(f"/runs/{run}/model.onnx")
    left = service.api.delete("/datasets/shades").json()
    assert (left["trained_experiments"], left["cannot_predict"]) == (1, 0)
    assert left["notes"][0].startswith("1 experiment was trained on it and stays: results,")
    predictors = service.api.app.state.predictors  # type: ignore[attr-defined]
    predictors._ready.clear()
    assert [ask(service, run, image).json() for image in (dark, light)] == before
    assert service.api.get(f"/runs/{run}/model.onnx").content == network.content
    answers = service.api.get(f"/runs/{run}/predictions").json()
    assert answers["class_names"] == ["dark", "light"]
    assert answers["data"][0]["name"] in ("dark", "light")
    removed = (
        "data set 'shades' cannot be read by its rows: it was removed since the run was trained;"
        " send the image itself"
    )
    require_problem(ask(service, run, {"row": 0}), 409, "conflict", removed)
    imported(1, "tones")
    probe = {"kind": "transfer", "source": run, "strategy": "linear_probe", "dataset": "tones"}
    assert ask(service, service.trained({**probe, "epochs": 1}), dark).status_code == 200
    imported(1)
    assert [ask(service, run, image).json() for image in (dark, light)] == before
    other = "it has other images here than those that the run was trained on"
    require_problem(ask(service, run, {"row": 0}), 409, "conflict", other)
    service.api.delete("/datasets/shades")
    imported(0)
    assert ask(service, run, {"row": 0}).json() == row, "the same images are the same data set"

    # a run of an older version has kept nothing of its data set
    with service.database.writing() as session:
        found = session.get_one(Run, run)
        found.environment = {
            name: value for name, value in (found.environment or {}).items() if name != "dataset"
        }
    assert [ask(service, run, image).json() for image in (dark, light)] == before
    left = service.api.delete("/datasets/shades").json()
    assert (left["trained_experiments"], left["cannot_predict"], len(left["notes"])) == (1, 1, 2)
    removed = "data set 'shades' was removed since the run was trained"
    require_problem(ask(service, run, dark), 409, "conflict", removed)
    imported(1)
    replaced = "another one imported under its name since the run was trained"
    require_problem(ask(service, run, dark), 409, "conflict", replaced)
    service.api.delete("/datasets/shades")


# --- the ONNX file


def test_the_network_itself_is_a_file_that_needs_nothing_beside_it(
    service: Service, run_id: str, digits: PreparedDataset
) -> None:
    links = service.api.get(f"/runs/{run_id}").json()["links"]
    assert links["predict"] == f"/runs/{run_id}/predict"
    answer = service.api.get(links["model"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
    assert answer.headers["content-disposition"] == f'attachment; filename="{run_id}.onnx"'
    onnx.checker.check_model(onnx.load_from_string(answer.content), full_check=True)
    session = onnxruntime.InferenceSession(answer.content, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": digits.test_images})
    np.testing.assert_allclose(
        logits,
        load_file(service.artifact(run_id, "predictions.safetensors"))["logits"],
        rtol=0,
        atol=1e-4,
    )


def test_an_unchanged_file_is_not_sent_again(service: Service, run_id: str) -> None:
    address = f"/runs/{run_id}/model.onnx"
    answer = service.api.get(address)
    tag = answer.headers["etag"]
    for known in (tag, f'W/{tag}, "other"'):
        again = service.api.get(address, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
    assert service.api.get(address, headers={"If-None-Match": '"other"'}).content == answer.content
    other = service.trained({**TEACHER, "seeds": [7]})
    assert service.api.get(f"/runs/{other}/model.onnx").headers["etag"] != tag


def test_a_file_is_made_once_and_read_to_its_end_when_others_have_taken_its_place(
    service: Service, run_id: str, tmp_path: Path
) -> None:
    network = network_of(service, run_id)
    size = len(onnx_file(network))
    files = OnnxFiles(tmp_path, 0, most_bytes=2 * size + size // 2)
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(lambda _: files.open(network), range(8)))
    assert len({os.fstat(file.fileno()).st_ino for file in opened}) == 1
    for number in range(3):
        files.open(replace(network, dataset=replace(network.dataset, mean=(number / 10,)))).close()
    assert len(list(tmp_path.glob("*.onnx"))) == 2
    assert not (tmp_path / f"{network.digest}.onnx").exists()
    for file in opened:
        with file:
            assert file.read() == onnx_file(network)
    with OnnxFiles(tmp_path, 0, most_bytes=1).open(network) as file:
        assert file.read() == onnx_file(network), "one is kept, however large"
    assert [path.name for path in tmp_path.glob("*.onnx")] == [f"{network.digest}.onnx"]


def test_a_file_for_which_there_is_no_room_is_507_and_predictions_go_on(
    service: Service, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app: Any = service.api.app
    monkeypatch.setattr(
        app.state, "onnx_files", OnnxFiles(service.settings.onnx_folder / "full", 1 << 60)
    )
    refused = service.api.get(f"/runs/{run_id}/model.onnx")
    assert (refused.status_code, refused.json()["code"]) == (507, "storage_full")
    assert "LAB_MIN_FREE_BYTES" in refused.json()["detail"]
    assert ask(service, run_id, {"row": 0}).status_code == 200


# --- networks kept ready


def network_of(service: Service, run_id: str) -> Any:
    with service.database.reading() as session:
        return predictions.trained_run(
            session, service.settings, experiments.get_run(session, run_id)
        ).network


def test_a_network_is_made_ready_once_however_many_ask_at_the_same_time(
    service: Service, run_id: str
) -> None:
    predictors, network = Predictors(), network_of(service, run_id)
    with ThreadPoolExecutor(8) as threads:
        ready = list(threads.map(lambda _: predictors.get(network), range(24)))
    assert len(set(map(id, ready))) == 1
    assert len(predictors) == 1


def test_the_networks_asked_least_recently_make_room(service: Service, run_id: str) -> None:
    network = network_of(service, run_id)
    first, second, third = (
        replace(network, dataset=replace(network.dataset, mean=(mean,))) for mean in (0.1, 0.2, 0.3)
    )
    few = Predictors(most=2)
    kept = few.get(first)
    few.get(second)
    assert few.get(first) is kept
    few.get(third)
    assert len(few) == 2
    assert few.get(first) is kept, "the second one had to go: the first one was asked after it"

    size = kept.size_bytes
    tight = Predictors(most_bytes=2 * size + size // 2)
    for one in (first, second, third):
        tight.get(one)
    assert len(tight) == 2
    tiny = Predictors(most_bytes=1)
    assert tiny.get(first) is tiny.get(first), "one is kept, however large"
    tiny.get(second)
    assert len(tiny) == 1


# --- the service


def test_a_service_that_is_asked_for_no_prediction_loads_neither_onnx_nor_its_runtime(
    tmp_path: Path,
) -> None:
    program = (
        "import sys; from pathlib import Path; from app.main import create_app; from app.settings import Settings;"
        f"create_app(Settings(home=Path({str(tmp_path)!r}), _env_file=None));"
        "assert not sys.modules.keys() & {'onnx', 'onnxruntime', 'torch'}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=PROJECT)


def test_both_addresses_are_described_in_the_openapi_document(service: Service) -> None:
    paths = service.api.get("/openapi.json").json()["paths"]
    asked = paths["/runs/{run_id}/predict"]["post"]
    assert {"image/png", "image/jpeg", "application/json"} <= set(asked["requestBody"]["content"])
    assert set(asked["requestBody"]["content"]["application/json"]["schema"]["properties"]) == {
        "split",
        "row",
    }
    assert asked["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "/PredictionAnswer"
    )
    assert {"404", "409", "413", "422"} <= set(asked["responses"])
    assert "304" in paths["/runs/{run_id}/model.onnx"]["get"]["responses"]


def test_answers_on_test_are_found_by_class_and_confidence(service: Service, run_id: str) -> None:
    """Each page against a brute-force reading of what the run has published."""
    saved = load_file(service.artifact(run_id, "predictions.safetensors"))
    logits, labels, predicted = saved["logits"], saved["labels"], saved["predictions"]
    odds = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    surest = sorted(np.flatnonzero(labels != predicted), key=lambda row: -odds[row].max())
    answer = service.api.get(f"/runs/{run_id}/predictions?wrong=true&limit=500").json()
    assert answer["num_images"] == len(labels)
    assert answer["num_found"] == len(surest) > 3
    assert [one["row"] for one in answer["data"]] == [int(row) for row in surest]
    first = answer["data"][0]
    row = first["row"]
    assert (first["label"], first["predicted"]) == (labels[row], predicted[row])
    assert first["confidence"] == pytest.approx(odds[row].max())
    assert first["probability"] == pytest.approx(odds[row, labels[row]])

    second = service.api.get(f"/runs/{run_id}/predictions?wrong=true&limit=1&offset=1").json()
    assert second["data"] == answer["data"][1:2]
    cell = f"label={first['label']}&predicted={first['predicted']}"
    of_cell = service.api.get(f"/runs/{run_id}/predictions?{cell}&sort=confidence").json()["data"]
    wanted = np.flatnonzero((labels == first["label"]) & (predicted == first["predicted"]))
    assert sorted(one["row"] for one in of_cell) == wanted.tolist()
    assert of_cell[-1]["row"] == row
    refused = service.api.get(f"/runs/{run_id}/predictions?label=10")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/label")
    page = service.api.get(f"/ui/runs/{run_id}/predictions?label=&wrong=true")
    assert page.text.count("<figure>") == min(50, len(surest))


def test_an_image_of_the_data_set_is_a_picture(
    service: Service, run_id: str, digits: PreparedDataset
) -> None:
    answer = service.api.get(f"/runs/{run_id}/images/test/17.png")
    shown = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert answer.headers["content-type"] == "image/png"
    assert np.array_equal(shown, digits.test_images[17][0])
    again = {"If-None-Match": answer.headers["etag"]}
    assert service.api.get(f"/runs/{run_id}/images/test/17.png", headers=again).status_code == 304
    assert service.api.get(f"/runs/{run_id}/images/test/360.png").status_code == 422
    assert service.api.get(f"/runs/{run_id}/images/val/0.png").status_code == 422
