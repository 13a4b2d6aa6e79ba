"""Studies with a real service and real training: a grid with a cell that fails, a second study that trains nothing,
more seeds, a verification.
"""

from typing import Any

import pytest

from tests.e2e.service import Service, wait_until


def ended(service: Service, study: dict[str, Any], seconds: float = 90.0) -> dict[str, Any]:
    def over() -> Any:
        record = service.get(f"/studies/{study['id']}")
        return record["is_terminal"] and record

    found: dict[str, Any] = wait_until(
        over, seconds, f"{study['id']} has ended; the log:\n{service.read_log()}"
    )
    return found


def test_a_study_runs_is_extended_reused_and_verified(service: Service) -> None:
    diverging = {"name": "sgd", "learning_rate": 1000000.0}
    body = {
        "spec": {"model": {"width": 16}, "epochs": 2, "probes": ["gradient_flow"]},
        "vary": {
            "model.depth": [1, 3],
            "optimizer": [{"name": "adam", "learning_rate": 0.002}, diverging],
        },
        "seeds": 2,
    }
    first = service.post("/studies", body)
    record = ended(service, first)
    healthy = [cell["key"] for cell in record["cells"] if "adam" in cell["key"]]
    assert {cell["key"]: cell["status"] for cell in record["cells"]} == {
        cell["key"]: "succeeded" if cell["key"] in healthy else "failed" for cell in record["cells"]
    }
    assert record["status"] == "failed"
    assert {error["code"] for error in record["errors"]} == {"diverged"}
    table = {row["cell"]: row for row in service.get(f"/studies/{first['id']}/table")["rows"]}
    assert all(
        table[key]["score"]["n"] == 2 and 0.3 < table[key]["score"]["mean"] <= 1 for key in healthy
    )
    assert service.http.get(f"/studies/{first['id']}/gradient-flow.png").content.startswith(
        b"\x89PNG"
    )
    assert service.http.get(f"/studies/{first['id']}/report.html").is_success

    good = {**body, "vary": {**body["vary"], "optimizer": body["vary"]["optimizer"][:1]}}
    again = service.post("/studies", good)
    assert (again["status"], again["progress"]["num_reused"]) == ("succeeded", 4)
    grown = ended(service, service.post(f"/studies/{again['id']}/extend", {"seeds": 1}))
    assert (grown["status"], grown["seeds"], grown["progress"]["num_reused"]) == (
        "succeeded",
        [0, 1, 2],
        4,
    )
    contrast = service.get(f"/studies/{again['id']}/verdicts")["contrasts"][0]
    assert contrast["comparison"]["n"] == 3
    assert len(contrast["comparison"]["mcnemar"]) == 3

    cell = again["cells"][0]["experiment_id"]
    repeated = service.post(f"/experiments/{cell}/verify")
    service.wait_for(repeated, "succeeded")
    verification = service.get(f"/experiments/{repeated['id']}/verification")
    assert verification["agreement"] == "bit_equal", verification
    assert [run["seed"] for run in verification["runs"]] == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["distill", "probe", "gradients"])
def test_a_recipe_runs_from_one_call(service: Service, name: str) -> None:
    small = {"dataset.name": "digits", "dataset.train_limit": 200, "epochs": 1}
    study = service.post(
        "/studies", {"recipe": name, "scale": "smoke", "seeds": 1, "overrides": small}
    )
    record = ended(service, study)
    assert record["status"] == "succeeded", record["errors"]
    verdicts = service.get(f"/studies/{study['id']}/verdicts")
    assert verdicts["complete"] is True
    assert service.http.get(f"/studies/{study['id']}/report.html").is_success
