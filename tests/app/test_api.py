"""The API's contract: defaults, shorthands, lists, errors with pointers, and nothing stored by halves."""

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.api.openapi.openapi import EXAMPLES
from app.doorbell import BrokerDoorbell
from app.main import create_app
from app.services.experiments import artifacts, experiments
from app.services.experiments.results import summarise
from app.settings import Settings
from app.storage.db import Database
from app.storage.files.places import file_store
from app.storage.tables import Artifact, utc_now
from lab_models.specs import ExperimentRequest

PROBLEM = "application/problem+json"


def post(api: TestClient, body: Any, **query: Any) -> Any:
    return api.post(
        "/experiments",
        content=body if isinstance(body, str | bytes) else json.dumps(body),
        params=query,
    )


def require_problem(answer: Any, status: int, code: str) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert set(problem) == {"type", "title", "status", "detail", "code", "errors"}
    return problem


GREY_ON_COLOR = (
    "on digits: the network is made for color images and these are grey images; set 'input_channels' to null, or choose"
    " another data set"
)


def test_an_empty_object_is_a_complete_experiment(api: TestClient) -> None:
    answer = post(api, {})
    assert answer.status_code == 201
    record = answer.json()
    assert answer.headers["location"] == f"/experiments/{record['id']}"
    assert record["spec"]["model"] == {
        "arch": "mlp", "input_channels": None, "depth": 2, "width": 512, "hidden": None, "residual": False,
        "shortcut_layers": 1, "block": "layer",
        "norm": "none", "dropout": 0.0, "dropout_at": "every_hidden", "init": "torch",
    }  # fmt: skip
    assert record["submitted"] == {}
    assert (record["status"], record["status_reason"]) == ("queued", "no_worker_online")
    assert api.get(answer.headers["location"]).json()["id"] == record["id"]


def test_a_bare_name_stands_for_its_defaults(api: TestClient) -> None:
    short = post(
        api, {"model": "mlp", "dataset": "mnist", "optimizer": "sgd", "schedule": "constant"}
    ).json()
    long = post(
        api,
        {
            "model": {"arch": "mlp"},
            "dataset": {"name": "mnist"},
            "optimizer": {"name": "sgd"},
            "schedule": {"name": "constant"},
        },
    ).json()
    assert short["spec"] == long["spec"]
    assert short["fingerprint"] == long["fingerprint"]


def test_a_number_of_seeds_counts_from_zero(api: TestClient) -> None:
    assert [run["seed"] for run in post(api, {"seeds": 3}).json()["runs"]] == [0, 1, 2]
    assert [run["seed"] for run in post(api, {"seeds": [7, 3]}).json()["runs"]] == [7, 3]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain", "application/x-www-form-urlencoded", "image/png"],
)
def test_the_body_is_json_whatever_its_content_type_says(
    api: TestClient, content_type: str
) -> None:
    assert (
        api.post(
            "/experiments", content='{"epochs": 3}', headers={"Content-Type": content_type}
        ).status_code
        == 201
    )


def test_a_record_begins_with_how_it_stands_and_what_came_out(api: TestClient) -> None:
    experiment = post(api, {"name": "first"}).json()
    assert list(experiment)[:6] == ["id", "name", "status", "status_message", "results", "error"]
    assert list(api.get("/experiments").json()["data"][0])[:3] == ["id", "name", "status"]
    body = b'{"specs": [{"name": "a", "epochs": 1}, {"name": "b", "epochs": 2}], "seeds": 1}'
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    study = api.post("/studies", content=body, headers=form)
    assert study.status_code == 201
    assert list(study.json())[:4] == ["id", "name", "status", "status_message"]
    assert list(study.json())[-2:] == ["cells", "submitted"]


def test_a_dry_run_prices_the_spec_and_stores_nothing(api: TestClient) -> None:
    answer = post(api, {"dataset": "mnist", "model": {"depth": 10}, "seeds": 2}, dry_run="true")
    assert answer.status_code == 200
    assert answer.json()["valid"] is True
    assert answer.json()["seeds"] == [0, 1]
    assert answer.json()["estimate"]["parameters"] == 2_770_954
    assert answer.json()["estimate"]["steps"] == 10 * 48_000 // 64
    assert answer.json()["estimate"]["seconds"] > 10
    # whether MNIST is here depends on what the tests are given: tests/app/test_obstacles.py asks for that
    assert [said for said in answer.json()["warnings"] if "not here yet" not in said] == []
    assert api.get("/experiments").json()["data"] == []


@pytest.mark.parametrize(
    ("optimizer", "kept"),
    [
        ("sgd", 0),
        ({"name": "sgd", "momentum": 0.9}, 1),
        ("adam", 2),
        ("adamw", 2),
        ("rmsprop", 1),
        ({"name": "rmsprop", "momentum": 0.9}, 2),
        ({"name": "rmsprop", "momentum": 0.9, "centered": True}, 3),
    ],
    ids=str,
)
def test_a_dry_run_counts_what_the_optimizer_keeps_per_weight(
    api: TestClient, optimizer: Any, kept: int
) -> None:
    least, asked = (
        api.post("/experiments?dry_run=true", json={"optimizer": one}).json()["estimate"]
        for one in ("sgd", optimizer)
    )
    assert asked["memory_bytes"] - least["memory_bytes"] == 4 * kept * least["parameters"]


def test_a_dry_run_warns_of_what_is_probably_not_meant(api: TestClient) -> None:
    warnings = post(
        api,
        {"batch_size": 5000, "dataset": {"val_fraction": 0.01, "train_limit": 5}},
        dry_run="true",
    ).json()["warnings"]
    assert len(warnings) == 3
    assert any("batch_size 5000 is more than" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("body", "pointer", "message", "hint"),
    [
        ({"modle": "mlp"}, "/modle", "unknown field", "did you mean 'model'?"),
        ({"model": {"dept": 3}}, "/model/dept", "unknown field", "did you mean 'depth'?"),
        ({"model": "mpl"}, "/model", "there is no network 'mpl'", "did you mean 'mlp'?"),
        ({"dataset": "mnits"}, "/dataset", "there is no data set 'mnits'", "did you mean 'mnist'?"),
        (
            {"dataset": {"name": "mnits"}},
            "/dataset/name",
            "there is no data set 'mnits'",
            "did you mean 'mnist'?",
        ),
        (
            {"optimizer": {"name": "sgd", "momentm": 0.9}},
            "/optimizer/momentm",
            "unknown field",
            "did you mean 'momentum'?",
        ),
        (
            {"optimizer": {"learning_rate": -1}},
            "/optimizer/learning_rate",
            "input should be greater than 0",
            None,
        ),
        ({"epochs": "10"}, "/epochs", "input should be a valid integer", "remove the quotes: 10"),
        ({"epochs": True}, "/epochs", "input should be a valid integer", None),
        ({"seeds": [1, -1]}, "/seeds/1", "input should be greater than or equal to 0", None),
        (
            {"model": {"hidden": [8, 0]}},
            "/model/hidden/1",
            "input should be greater than or equal to 1",
            None,
        ),
        ({"labels": {"a": []}}, "/labels/a", "input should be a valid string", None),
        ({"model": {"arch": "cnn", "input_channels": 3}}, "/model", GREY_ON_COLOR, None),
        (
            {"epochs": 20_000},
            "/epochs",
            "20000 epochs are more than this service's 10000 (LAB_MAX_EPOCHS)",
            None,
        ),
        (
            {"seeds": 101},
            "/seeds",
            "101 seeds are more than this service's 100 (LAB_MAX_SEEDS)",
            None,
        ),
        ([], "", "must be an object", "one object is one request: send each alone"),
    ],
)
def test_a_bad_field_is_named_by_a_pointer_and_nothing_is_stored(
    api: TestClient, body: Any, pointer: str, message: str, hint: str | None
) -> None:
    problem = require_problem(post(api, body), 422, "invalid_request")
    expected = {"pointer": pointer, "message": message} | ({"hint": hint} if hint else {})
    assert problem["errors"] == [expected]
    assert api.get("/experiments").json()["data"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"nonsense", b'{"epochs": NaN}', b'{"epochs": Infinity}', b'{"name": "\\ud800"}',
        b"\xff\xfe", b'{"epochs": 1, "epochs": 2}',
        b'{"a":' * 50 + b"1" + b"}" * 50, b"[" * 100_000, b'{"epochs": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_a_body_that_is_no_json_is_400(api: TestClient, body: bytes) -> None:
    require_problem(post(api, body), 400, "bad_json")


def test_a_body_over_the_limit_is_413_however_it_comes(api: TestClient) -> None:
    require_problem(post(api, b" " * 1_000_001), 413, "body_too_large")
    require_problem(
        api.post("/experiments", content=(b" " * 10_000 for _ in range(200))), 413, "body_too_large"
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["model", "name", "arch", "hidden", "depth", "dataset", "seeds", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    body=st.dictionaries(
        st.sampled_from([*ExperimentRequest.model_fields, "modell"]), json_values, max_size=4
    )
    | json_values
)
def test_no_body_makes_a_server_error(api: TestClient, body: Any) -> None:
    answer = post(api, json.dumps(body), dry_run="true")
    assert answer.status_code in (200, 400, 422), answer.text


def test_what_is_not_there_is_a_problem_too(api: TestClient) -> None:
    require_problem(api.get("/experiments/exp_none"), 404, "not_found")
    require_problem(api.get("/experiments/exp_none/curves.png"), 404, "not_found")
    require_problem(api.get("/runs/run_none/artifacts"), 404, "not_found")
    require_problem(api.get("/nowhere"), 404, "not_found")
    require_problem(api.put("/experiments"), 405, "method_not_allowed")


@pytest.mark.parametrize(
    ("query", "pointer", "hint"),
    [
        ("stauts=queued", "/stauts", "did you mean 'status'?"),
        ("status=quued", "/status", None),
        ("limit=0", "/limit", None),
        ("cursor=abc", "/cursor", None),
        ("cursor=bm90IGpzb24=", "/cursor", None),
        ("label=nocolon", "/label", None),
    ],
)
def test_a_bad_query_parameter_is_refused_and_never_ignored(
    api: TestClient, query: str, pointer: str, hint: str | None
) -> None:
    problem = require_problem(api.get(f"/experiments?{query}"), 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == pointer
    assert problem["errors"][0].get("hint") == hint


def test_an_unknown_metric_of_a_plot_is_refused_with_a_suggestion(api: TestClient) -> None:
    experiment = post(api, {}).json()
    problem = require_problem(
        api.get(f"/experiments/{experiment['id']}/curves.png?metric=acuracy"),
        422,
        "invalid_request",
    )
    assert problem["errors"][0]["hint"] == "did you mean 'accuracy'?"


def test_lists_are_filtered_by_status_and_labels_and_come_in_pages(api: TestClient) -> None:
    ids = [
        post(api, {"labels": {"exercise": str(number % 2), "who": "a:b"}}).json()["id"]
        for number in range(5)
    ]
    api.post(f"/experiments/{ids[0]}/cancel")
    assert [row["id"] for row in api.get("/experiments?status=cancelled").json()["data"]] == [
        ids[0]
    ]
    assert [
        row["id"] for row in api.get("/experiments?label=exercise:1&label=who:a:b").json()["data"]
    ] == [
        ids[3],
        ids[1],
    ]
    first = api.get("/experiments?limit=2").json()
    assert [row["id"] for row in first["data"]] == [ids[4], ids[3]]
    assert first["has_more"] is True
    second = api.get("/experiments", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [row["id"] for row in second["data"]] == [ids[2], ids[1], ids[0]]
    assert (second["has_more"], second["next_cursor"]) == (False, None)


def test_queue_positions_count_what_is_ahead(api: TestClient) -> None:
    first, second = post(api, {"seeds": 2}).json(), post(api, {}).json()
    assert second["queue"] == {"position": 3, "ahead": 2, "starts_at": None}
    urgent = post(api, {"priority": 1}).json()
    assert urgent["queue"]["position"] == 1
    assert api.get(f"/experiments/{first['id']}").json()["queue"]["position"] == 2


def test_cancelling_twice_is_no_error_and_a_finished_experiment_is_409(
    api: TestClient, database: Database
) -> None:
    experiment = post(api, {"seeds": 2}).json()
    for _ in range(2):
        answer = api.post(f"/experiments/{experiment['id']}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    done = post(api, {}).json()
    with database.writing() as session:
        experiments.get_run(session, done["runs"][0]["id"]).status = "succeeded"
    require_problem(api.post(f"/experiments/{done['id']}/cancel"), 409, "already_finished")


def test_an_idempotency_key_brings_back_the_first_experiment_and_refuses_another_body(
    api: TestClient,
) -> None:
    headers = {"Idempotency-Key": "mine"}
    first = api.post("/experiments", json={"epochs": 3}, headers=headers)
    again = api.post("/experiments", json={"epochs": 3}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    require_problem(
        api.post("/experiments", json={"epochs": 4}, headers=headers), 409, "idempotency_key_reused"
    )
    assert len(api.get("/experiments").json()["data"]) == 1


def test_an_idempotency_key_still_brings_it_back_when_its_teacher_can_no_longer_be_one(
    api: TestClient,
) -> None:
    headers = {"Idempotency-Key": "a student"}
    teacher = post(api, {}).json()
    body = {"kind": "distill", "teacher": teacher["id"]}
    first = api.post("/experiments", json=body, headers=headers)
    assert first.status_code == 201
    api.post(f"/experiments/{teacher['id']}/cancel")
    again = api.post("/experiments", json=body, headers=headers)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert again.json()["status_reason"] == "teacher_failed"
    require_problem(api.post("/experiments", json=body), 422, "invalid_request")


def publish(database: Database, run_id: str, path: str) -> None:
    with database.writing() as session:
        session.add(
            Artifact(
                run_id=run_id,
                name="it",
                media_type="text/plain",
                path=path,
                sha256="0" * 64,
                size_bytes=1,
                created_at=utc_now(),
            )
        )


def test_a_download_cannot_leave_its_runs_folder(
    api: TestClient, settings: Settings, database: Database
) -> None:
    run_id = post(api, {}).json()["runs"][0]["id"]
    secret = settings.home / "secret.txt"
    secret.write_text("secret")
    folder = settings.runs_folder / run_id
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(secret)
    publish(database, run_id, "link")
    require_problem(api.get(f"/runs/{run_id}/artifacts/it"), 404, "not_found")
    for name in ("..%2f..%2fsecret.txt", "%2e%2e/secret.txt", "secret.txt", "it%00"):
        assert api.get(f"/runs/{run_id}/artifacts/{name}").status_code == 404
    with database.reading() as session, pytest.raises(Exception, match="no artifact"):
        artifacts.artifact_path(session, file_store(settings), run_id, "../link")


def test_health_readiness_and_catalogs_answer(api: TestClient) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    ready = api.get("/readyz").json()
    assert ready["status"] == "ready"
    checks = ready["checks"]
    assert checks.pop("free_bytes") > 0
    assert checks == {
        "database": "ok",
        "storage": "ok",
        "broker": "embedded",
        "workers": "none is online",
        "workers_online": 0,
        "runs_queued": 0,
        "oldest_wait_seconds": 0,
    }
    assert [row["name"] for row in api.get("/datasets").json()["data"]] == [
        *("digits", "mnist", "cifar10", "cifar100", "fashion_mnist", "kmnist"),
        *("emnist_balanced", "emnist_letters", "emnist_digits", "svhn", "stl10"),
    ]
    mlp = api.get("/architectures").json()["data"][0]
    assert [example["parameters"] for example in mlp["examples"]][:3] == [
        669_706,
        2_770_954,
        109_386,
    ]
    assert api.get("/version").json()["version"]
    assert api.get("/workers").json() == {"data": []}


def test_every_example_of_the_openapi_document_is_a_valid_request(api: TestClient) -> None:
    document = api.get("/openapi.json").json()
    shown = document["paths"]["/experiments"]["post"]["requestBody"]["content"]["application/json"][
        "examples"
    ]
    assert shown == EXAMPLES
    like = post(api, {}).json()["id"]
    for example in shown.values():
        body = example["value"] | ({"like": like} if "like" in example["value"] else {})
        assert post(api, body, dry_run="true").status_code == 200


def test_every_reference_of_the_openapi_document_resolves(api: TestClient) -> None:
    text = api.get("/openapi.json").text
    known = json.loads(text)["components"]["schemas"]
    used = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert used <= set(known)
    assert "HTTPValidationError" not in known


def test_a_broker_that_is_down_delays_no_answer(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path, broker_url="redis://127.0.0.1:9/0", log_level="ERROR", _env_file=None
    )
    with TestClient(create_app(settings)) as api:
        assert isinstance(api.app.state.doorbell, BrokerDoorbell)  # type: ignore[attr-defined]
        began = time.monotonic()
        assert [post(api, {}).status_code for _ in range(5)] == [201] * 5
        assert time.monotonic() - began < 2.0


@pytest.mark.parametrize(
    ("values", "half_width"),
    # t(0.975, df) of any table of Student's distribution: df 1 12.706, df 2 4.303, df 4 2.776
    [
        ([0.97, 0.98], 12.706 * math.sqrt(0.00005) / math.sqrt(2)),
        ([1.0, 2.0, 3.0], 4.303 / math.sqrt(3)),
        ([1.0, 1.0, 1.0, 1.0, 6.0], 2.776 * math.sqrt(5.0) / math.sqrt(5)),
    ],
)
def test_the_interval_is_students_t_over_seeds(values: list[float], half_width: float) -> None:
    summary = summarise(values)
    assert summary.ci95 is not None
    assert summary.ci95[1] - summary.mean == pytest.approx(half_width, rel=1e-3)
    assert summary.mean - summary.ci95[0] == pytest.approx(half_width, rel=1e-3)


def test_one_value_has_no_interval() -> None:
    summary = summarise([0.5])
    assert (summary.mean, summary.std, summary.n, summary.ci95) == (0.5, None, 1, None)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_spec_as_windows_editors_save_it_is_read(api: TestClient, encoding: str) -> None:
    answer = api.post("/experiments?dry_run=true", content='{"epochs": 3}\r\n'.encode(encoding))
    assert answer.status_code == 200
    assert answer.json()["spec"]["epochs"] == 3
