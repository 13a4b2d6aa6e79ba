"""Studies that search: what is drawn is shown before it runs and kept, the best stands first by val, and nobody is told
that the best of many is as good as it looks.
"""

import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.settings import Settings
from app.storage.db import Database
from tests.app.studies import finish, runs_by_cell, send

RATE = "optimizer.learning_rate"


def search(**more: Any) -> dict[str, Any]:
    """A body: six points of a rate, a dropout and a width."""
    return {
        "spec": {"model": {"depth": 2}, "epochs": 1},
        "vary": {
            RATE: {"log": [1e-4, 1e-1]},
            "model.dropout": {"uniform": [0, 0.5]},
            "model.width": {"log": [8, 32]},
        },
        "sample": {"points": 6},
        "seeds": 2,
        **more,
    }


@pytest.fixture
def found(api: TestClient, database: Database, settings: Settings) -> dict[str, Any]:
    """A finished search; on val the third point is the best, on test the fifth."""
    record = send(api, **search(name="a search"))
    order = (0.5, 0.6, 0.9, 0.7, 0.8, 0.55)
    scores = {(f"point-{i}", seed): order[i] + seed / 50 for i in range(6) for seed in (0, 1)}
    finish(database, settings, record["id"], scores)
    runs = runs_by_cell(database, record["id"])
    with database.writing() as session:
        for (key, _), run in runs.items():
            row = session.merge(run)
            if key == "point-4":
                row.test = {**(row.test or {}), "accuracy": 0.99}
            session.add(row)
    return record


def cells_in(api: TestClient, study: dict[str, Any], query: str) -> list[str]:
    answer = api.get(f"/studies/{study['id']}/table{query}")
    assert answer.status_code == 200, answer.text
    return [row["cell"] for row in answer.json()["rows"]]


def test_a_dry_run_lists_and_prices_the_points_that_the_study_then_has(api: TestClient) -> None:
    plan = api.post("/studies?dry_run=true", json=search()).json()
    assert (len(plan["cells"]), plan["num_runs"], plan["contrasts"]) == (6, 12, [])
    assert plan["sample"] == {
        "points": 6,
        "seed": 0,
        "factors": {
            "learning_rate": "log-uniform from 0.0001 to 0.1",
            "dropout": "uniform from 0 to 0.5",
            "width": "log-uniform from 8 to 32",
        },
    }
    assert all(cell["parameters"] > 0 for cell in plan["cells"])
    record = send(api, **search())
    assert record["sample"] == plan["sample"]
    assert [cell["factors"] for cell in record["cells"]] == [
        cell["factors"] for cell in plan["cells"]
    ]
    for cell in record["cells"]:
        spec = api.get(f"/experiments/{cell['experiment_id']}").json()["spec"]
        assert cell["factors"] == {
            "learning_rate": spec["optimizer"]["learning_rate"],
            "dropout": spec["model"]["dropout"],
            "width": spec["model"]["width"],
        }
        assert cell["title"].startswith("learning rate 0.")


def test_more_points_train_only_what_is_new(
    api: TestClient, database: Database, settings: Settings
) -> None:
    finish(database, settings, send(api, **search())["id"], {})
    more = send(api, **search(sample={"points": 9}))
    assert more["progress"]["runs"] == {"succeeded": 12, "queued": 6}
    assert send(api, **search(sample={"points": 6, "seed": 1}))["progress"]["num_reused"] == 0


def test_the_best_comes_first_by_val_and_the_table_says_what_that_is_worth(
    api: TestClient, found: dict[str, Any]
) -> None:
    assert cells_in(api, found, "") == [f"point-{i}" for i in range(6)]
    best = ["point-2", "point-4", "point-3", "point-1", "point-5", "point-0"]
    assert cells_in(api, found, "?sort=best") == best
    assert cells_in(api, found, "?sort=best&metric=val.accuracy") == best
    losses = api.get(f"/studies/{found['id']}/table?sort=best&metric=seconds").json()
    assert losses["sort"] == "best"
    table = api.get(f"/studies/{found['id']}/table?sort=best").json()
    assert (table["sort"], table["rows"][0]["val"]["mean"]) == ("best", pytest.approx(0.91))
    assert "val chooses, test reports" in table["notes"][-1]
    assert "optimistic" in table["notes"][-1]
    markdown = api.get(f"/studies/{found['id']}/table?sort=best&format=md").text
    assert "| val accuracy, % | test accuracy, % |" in markdown
    assert "The first of 6 cells is there for its number on val" in markdown
    in_order = api.get(f"/studies/{found['id']}/table?format=md").text
    assert "| val accuracy, % | test accuracy, % |" in in_order
    assert "optimistic" not in in_order


def test_a_study_s_table_is_sorted_by_any_factor_under_either_name(
    api: TestClient, found: dict[str, Any]
) -> None:
    rates = {cell["key"]: cell["factors"]["learning_rate"] for cell in found["cells"]}
    rising = sorted(rates, key=lambda key: rates[key])
    assert cells_in(api, found, f"?sort={RATE}") == rising
    assert cells_in(api, found, "?sort=learning_rate") == rising
    answer = api.get(f"/studies/{found['id']}/table?sort=learning_rates")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/sort")
    assert answer.json()["errors"][0]["hint"] == "did you mean 'learning_rate'?"
    tags = {
        api.get(f"/studies/{found['id']}/table{query}").headers["etag"]
        for query in ("", "?sort=best", "?sort=width")
    }
    assert len(tags) == 3


def test_what_has_no_score_comes_last(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, **search(seeds=1))
    assert len(cells_in(api, record, "?sort=best")) == 6
    note = api.get(f"/studies/{record['id']}/table?sort=best").json()["notes"]
    assert not any("optimistic" in line for line in note)


def test_nothing_is_compared_and_the_best_of_many_is_called_optimistic(
    api: TestClient, found: dict[str, Any]
) -> None:
    verdicts = api.get(f"/studies/{found['id']}/verdicts").json()
    assert verdicts["contrasts"] == []
    assert any("best of 6 cells is in part the luckiest" in one for one in verdicts["cautions"])
    asked = {"treatment": "point-1", "control": "point-0", "factor": "learning_rate"}
    record = send(api, **search(contrasts=[asked]))
    named = api.get(f"/studies/{record['id']}/verdicts").json()["contrasts"]
    assert [(one["treatment"], one["control"]) for one in named] == [("point-1", "point-0")]


def test_each_factor_has_its_picture_and_a_map_says_that_there_is_no_grid(
    api: TestClient, found: dict[str, Any]
) -> None:
    base = f"/studies/{found['id']}"
    by_default = api.get(f"{base}/factor.svg").text
    assert ">learning rate (log scale)</text>" in by_default
    assert "differing in dropout, width too" in by_default
    assert ">dropout</text>" in api.get(f"{base}/factor.svg?factor=model.dropout").text
    refused = api.get(f"{base}/heat-map.png")
    assert (refused.status_code, "drawn, not a grid" in refused.json()["detail"]) == (404, True)
    page = api.get(f"{base}/report.html").text
    pictures = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)
    assert len(pictures) == len(set(pictures)) == 8, "four, each for a page and for a phone"
    assert page.index("0.00518") < page.index("0.0691"), "the best stands first"
    assert "drawn with seed 0 as 6 points (learning_rate log-uniform from 0.0001 to 0.1;" in page


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        (search(vary={RATE: {"log": [1, 1e-4]}}), f"/vary/{RATE}/log", "must lie below"),
        (
            search(vary={"model.dropout": {"uniform": [0, 2]}}),
            "/vary/model.dropout/uniform",
            "cell 'point-",
        ),
        (
            search(vary={"model.dpeth": {"uniform": [1, 2]}}),
            "/vary/model.dpeth/uniform",
            "unknown field",
        ),
        (search(vary={RATE: {"log": [1e-4, 0.1], "n": 2}}), "/sample/points", "its own 'n'"),
        (search(sample={"points": 2000}), "/sample/points", "less than or equal to 1000"),
        (search(sample={"point": 2}), "/sample/point", "unknown field"),
    ],
)
def test_what_cannot_be_searched_is_refused_where_it_is_said(
    api: TestClient, body: dict[str, Any], pointer: str, said: str
) -> None:
    answer = api.post("/studies", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer, answer.json()["errors"]
    assert said in answer.json()["errors"][0]["message"]


def test_factors_have_two_names_in_every_picture_and_comparison(
    api: TestClient, database: Database, settings: Settings
) -> None:
    vary = {"model.depth": [2, 3], "model.residual": [False, True]}
    record = send(api, spec={"epochs": 1}, vary=vary, seeds=2)
    finish(database, settings, record["id"], {})
    base = f"/studies/{record['id']}"
    short = api.get(f"{base}/heat-map.svg?x=depth&y=residual").content
    assert api.get(f"{base}/heat-map.svg?x=model.depth&y=model.residual").content == short
    assert api.get(f"{base}/heat-map.svg?x=model.depth&y=residual").content == short
    assert api.get(f"{base}/heat-map.svg?y=model.residual").status_code == 200
    both = api.get(f"{base}/heat-map.svg?x=model.depth&y=depth")
    assert (both.status_code, both.json()["errors"][0]["pointer"]) == (422, "/y")
    assert (
        api.get(f"{base}/factor.svg?factor=model.depth").content
        == api.get(f"{base}/factor.svg?factor=depth").content
    )
    unknown = api.get(f"{base}/factor.svg?factor=model.dept").json()["detail"]
    assert "did you mean 'model.depth'?" in unknown
    assert "it varies depth, residual" in unknown
    plain, residual = (cell["experiment_id"] for cell in record["cells"][:2])
    for name in ("residual", "model.residual"):
        compared = api.get(f"/comparisons?experiments={plain},{residual}&factor={name}").json()
        assert compared["warnings"] == [], name
    wrong = api.get(f"/comparisons?experiments={plain},{residual}&factor=residul").json()
    assert "do not differ in residul; did you mean 'residual'?" in wrong["warnings"][0]


def test_the_factors_of_a_recipe_have_their_paths_too(api: TestClient) -> None:
    record = send(api, recipe="mlp-residual", scale="smoke", overrides={"dataset.name": "digits"})
    base = f"/studies/{record['id']}"
    for name in ("depth", "model.depth"):
        assert api.get(f"{base}/factor.svg?factor={name}").status_code == 200, name
    assert api.get(f"{base}/factor.svg?factor=optimizer.depth").status_code == 404
    assert api.get(f"{base}/table?sort=model.residual").json()["sort"] == "network"
