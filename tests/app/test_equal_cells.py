"""Cells that train the same are one experiment, which is trained once, stands in each row, and is not compared with
itself.
"""

from typing import Any

import pytest
from sqlmodel import col, select
from starlette.testclient import TestClient

from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Experiment
from tests.app.pictures import words
from tests.app.studies import fail_next, finish, grid, runs_by_cell, send

PLAIN, RESIDUAL = "model.depth=1,model.residual=false", "model.depth=1,model.residual=true"
DEEP, DEEP_RESIDUAL = "model.depth=3,model.residual=false", "model.depth=3,model.residual=true"
SCORES = {
    (key, seed): base + seed / 100
    for key, base in ((PLAIN, 0.8), (DEEP, 0.85), (DEEP_RESIDUAL, 0.9))
    for seed in (0, 1)
}


def body(**more: Any) -> dict[str, Any]:
    return grid(vary={"model.depth": [1, 3], "model.residual": [False, True]}, **more)


def rows_of(api: TestClient, study: str, query: str = "") -> dict[str, Any]:
    rows = api.get(f"/studies/{study}/table{query}").json()["rows"]
    return {row["cell"]: row for row in rows}


def test_what_trains_the_same_is_said_before_anything_is_trained_and_costs_nothing(
    api: TestClient, database: Database
) -> None:
    plan = api.post("/studies?dry_run=true", json=body(seeds=5)).json()
    assert [cell["same_as"] for cell in plan["cells"]] == [None, PLAIN, None, None]
    assert plan["num_runs"] == 15
    own = [cell["nominal_seconds"] for cell in plan["cells"] if cell["same_as"] is None]
    assert plan["nominal_seconds"] == pytest.approx(5 * sum(own), abs=0.06)
    assert sum(own) > 0
    assert plan["notes"][0].startswith("depth 1, residual no = depth 1, residual yes: nothing that")
    with database.reading() as session:
        assert not session.exec(select(Experiment)).all()


def test_both_rows_have_the_one_experiment_and_its_runs_are_counted_once(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, **body())
    assert record["progress"]["num_runs"] == 6
    first, same, deep, _ = record["cells"]
    assert (first["same_as"], same["same_as"], deep["same_as"]) == (None, PLAIN, None)
    assert first["experiment_id"] == same["experiment_id"] != deep["experiment_id"]
    assert any("= depth 1, residual yes" in note for note in record["notes"])
    with database.reading() as session:
        cells = session.exec(
            select(Experiment.cell).where(col(Experiment.study_id) == record["id"])
        ).all()
    assert sorted(map(str, cells)) == [PLAIN, DEEP, DEEP_RESIDUAL]
    assert finish(database, settings, record["id"], SCORES) == 6
    done = api.get(f"/studies/{record['id']}").json()
    assert (done["status"], done["progress"]["runs"]) == ("succeeded", {"succeeded": 6})
    assert api.get("/studies").json()["data"][0]["progress"] == done["progress"]
    rows = rows_of(api, record["id"])
    assert rows[PLAIN]["score"] == rows[RESIDUAL]["score"]
    assert rows[RESIDUAL]["factors"] == {"depth": 1, "residual": True}
    assert (rows[PLAIN]["same_as"], rows[RESIDUAL]["same_as"]) == (None, PLAIN)


def test_a_contrast_between_them_is_not_measured_and_asks_for_no_seeds(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, **body())
    finish(database, settings, record["id"], SCORES)
    verdicts = api.get(f"/studies/{record['id']}/verdicts").json()
    found = {(one["treatment"], one["control"]): one for one in verdicts["contrasts"]}
    one = found[RESIDUAL, PLAIN]
    assert (one["verdict"], one["comparison"]) == ("not_measured", None)
    assert "nothing that is trained differs between the two" in one["sentence"]
    assert "seeds" not in one["sentence"]
    # the others of its family are corrected as if it were not there
    other = found[DEEP_RESIDUAL, DEEP]["comparison"]
    assert other["p_holm"] == other["p_t"]
    assert found[DEEP_RESIDUAL, RESIDUAL]["comparison"]["mean"] == pytest.approx(10.0)


def test_two_experiments_that_train_the_same_are_not_compared_either(
    api: TestClient, database: Database, settings: Settings
) -> None:
    ids = []
    for residual in (False, True):
        model = {"depth": 1, "width": 16, "residual": residual}
        record = send(api, specs=[{"name": "a", "model": model, "epochs": 2}], seeds=2)
        ids.append(record["cells"][0]["experiment_id"])
        finish(database, settings, record["id"], {})
    answer = api.get(f"/comparisons?experiments={','.join(ids)}").json()
    assert answer["verdict"] == "not_measured"
    assert answer["more_seeds"] is None
    assert "equal with every seed" in answer["sentence"]
    assert [one["path"] for one in answer["differs"]] == ["model.residual"]


def test_the_table_says_it_in_every_form_and_a_map_has_no_hole(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, **body(seeds=2))
    finish(database, settings, record["id"], SCORES)
    base = f"/studies/{record['id']}"
    said = "depth 1, residual yes is the same as depth 1, residual no"
    assert said in api.get(f"{base}/table?format=md").text
    assert said in api.get(f"{base}/table?format=latex").text
    lines = api.get(f"{base}/table?format=csv").text.splitlines()
    assert lines[0].endswith(",same_as")
    assert lines[2].endswith(f',"{PLAIN}"')
    heat = api.get(f"{base}/heat-map.svg").text
    assert heat.count(">80.50") == 2
    assert "1 the same as another" in heat
    curves = " ".join(words(api.get(f"{base}/curves.svg").text))
    assert "depth 1, residual no = depth 1, residual yes" in curves
    differences = api.get(f"{base}/differences.svg").text
    assert ">the same</text>" in differences
    report = api.get(f"{base}/report.html").text
    assert "the same as depth 1, residual no" in report
    assert "nothing that is trained differs" in report


def test_extending_cancelling_retrying_and_deleting_act_on_the_one_experiment(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, **body(seeds=1))
    address = f"/studies/{record['id']}"
    failed = fail_next(database)
    shown = api.get(address).json()
    assert [error["run_id"] for error in shown["errors"]] == [failed]
    assert [cell["status"] for cell in shown["cells"][:2]] == [shown["cells"][0]["status"]] * 2
    page = api.get(f"{address}/report.html").text
    assert "1 run failed with diverged: depth 1, residual no." in page
    assert api.post(f"{address}/retry").json()["progress"]["runs"] == {"queued": 3}
    finish(database, settings, record["id"], SCORES)
    grown = api.post(f"{address}/extend", json={"seeds": 1}).json()
    assert grown["progress"]["num_runs"] == 6
    assert [cell["num_runs"] for cell in grown["cells"]] == [2, 2, 2, 2]
    assert api.post(f"{address}/cancel").json()["is_terminal"]
    assert api.delete(address).status_code == 204


def test_a_student_of_either_waits_for_the_one_teacher(api: TestClient, database: Database) -> None:
    teachers = [
        {"name": name, "model": {"depth": 1, "width": 8, "residual": residual}, "epochs": 1}
        for name, residual in (("first", False), ("second", True))
    ]
    students = [
        {
            "name": f"student of the {name}",
            "kind": "distill",
            "teacher": {"cell": name},
            "student": {"hidden": [8]},
            "temperature": temperature,
            "epochs": 1,
        }
        for name, temperature in (("first", 2.0), ("second", 2.0), ("second", 3.0))
    ]
    students[2]["name"] = "a warmer one"
    record = send(api, specs=[*teachers, *students], seeds=1)
    assert [cell["same_as"] for cell in record["cells"]] == [
        None,
        "first",
        None,
        "student of the first",
        None,
    ]
    runs = runs_by_cell(database, record["id"])
    assert set(runs) == {("first", 0), ("student of the first", 0), ("a warmer one", 0)}
    assert runs["a warmer one", 0].needs == runs["first", 0].id


def test_a_recipe_whose_cells_are_made_the_same_claims_nothing_about_them(
    api: TestClient, database: Database, settings: Settings
) -> None:
    changed = {"dataset.name": "digits", "model.depth": 1, "epochs": 1}
    record = send(api, recipe="mlp-residual", scale="smoke", seeds=2, overrides=changed)
    assert record["progress"]["num_runs"] == 2
    finish(database, settings, record["id"], {})
    verdicts = api.get(f"/studies/{record['id']}/verdicts").json()
    assert {claim["verdict"] for claim in verdicts["claims"]} == {"not_measured"}
    assert {one["verdict"] for one in verdicts["contrasts"]} == {"not_measured"}


def test_a_claim_about_cells_of_which_some_are_the_same_counts_them_once(
    api: TestClient, database: Database, settings: Settings
) -> None:
    whole = api.get("/recipes/mlp-depth").json()
    keys = [cell["key"] for cell in whole["cells"]]
    record = send(
        api,
        recipe="mlp-depth",
        scale="smoke",
        seeds=2,
        overrides={"dataset.name": "digits", "epochs": 1},
        cell_overrides={keys[1]: {"model.depth": 2}},
    )
    finish(database, settings, record["id"], {(keys[4], 0): 0.5, (keys[4], 1): 0.55})
    claims = api.get(f"/studies/{record['id']}/verdicts").json()["claims"]
    lines = [line for claim in claims for line in claim["evidence"]]
    assert any("trains the same as an earlier setting, left out" in line for line in lines)


def test_cells_that_differ_stay_apart_and_equal_specs_are_one(api: TestClient) -> None:
    record = send(api, **grid())
    assert {cell["same_as"] for cell in record["cells"]} == {None}
    assert (record["notes"], record["sample"]) == ([], None)
    equal = send(api, specs=[{"name": "a"}, {"name": "b"}], seeds=1)
    assert [cell["same_as"] for cell in equal["cells"]] == [None, "a"]


def test_a_verdict_at_smoke_scale_has_no_color_and_says_its_scale(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(
        api, recipe="mlp-depth", scale="smoke", seeds=3, overrides={"dataset.name": "digits"}
    )
    scores = {
        (cell["key"], seed): 0.9 - 0.1 * place + 0.001 * seed
        for place, cell in enumerate(record["cells"])
        for seed in range(3)
    }
    finish(database, settings, record["id"], scores)
    page = api.get(f"/studies/{record['id']}/report.html").text
    assert "at smoke scale</span>" in page
    assert 'class="verdict at_another_scale"' in page
    assert 'class="verdict supported"' not in page
    assert 'class="verdict contradicted"' not in page
    own = send(api, **grid())
    finish(database, settings, own["id"], {})
    assert "at smoke scale" not in api.get(f"/studies/{own['id']}/report.html").text
    differences = words(api.get(f"/studies/{record['id']}/differences.svg").text)
    assert "at smoke scale" in " ".join(differences)
