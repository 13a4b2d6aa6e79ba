"""What a study shows over the API: table, verdicts, claims, pictures, report; and two experiments compared."""

import base64
import csv
import io
import json
import re
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from starlette.testclient import TestClient

from app.services.experiments import artifacts
from app.settings import Settings
from app.storage.db import Database
from lab_models.training.protocol import SavedArtifact
from tests.app.studies import finish, grid, runs_by_cell, send

PLAIN, RESIDUAL = "model.depth=2,model.residual=false", "model.depth=2,model.residual=true"
DEEP = "model.depth=3,model.residual=false"


@pytest.fixture
def study(api: TestClient, database: Database, settings: Settings) -> dict[str, Any]:
    """Depth 2: residual is better by 1.0, 1.05, 0.95 points; depth 3: nothing differs but by chance."""
    record = send(api, **grid(seeds=3, name="depth & shortcuts"))
    plain, gain = (0.90, 0.91, 0.92), (0.0100, 0.0105, 0.0095)
    scores = {(PLAIN, seed): plain[seed] for seed in range(3)} | {
        (RESIDUAL, seed): plain[seed] + gain[seed] for seed in range(3)
    }
    finish(database, settings, record["id"], scores | {(DEEP, 1): 0.93, (DEEP, 2): 0.88})
    return record


def contrast(verdicts: dict[str, Any], treatment: str, control: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        one
        for one in verdicts["contrasts"]
        if (one["treatment"], one["control"]) == (treatment, control)
    )
    return found


def test_the_table_has_a_row_per_cell_with_mean_interval_size_and_epochs(
    api: TestClient, study: dict[str, Any]
) -> None:
    table = api.get(f"/studies/{study['id']}/table").json()
    row = table["rows"][0]
    assert (row["cell"], row["factors"], row["num_runs"], row["num_failed"]) == (
        PLAIN,
        {"depth": 2, "residual": False},
        3,
        0,
    )
    assert row["score"]["values"] == [0.90, 0.91, 0.92]
    assert row["score"]["mean"] == pytest.approx(0.91)
    assert row["score"]["ci95"] == pytest.approx(
        [0.91 - 4.302653 * 0.01 / 3**0.5, 0.91 + 4.302653 * 0.01 / 3**0.5]
    )
    assert (row["seconds"], row["chosen_epoch"], row["last_epoch"]) == (5.0, 2.0, 2.0)
    assert row["parameters"] == 64 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10
    assert (row["val"]["mean"], row["published"], row["expected"]) == (
        pytest.approx(0.91),
        None,
        None,
    )


def test_the_table_is_markdown_csv_and_latex_as_well(
    api: TestClient, study: dict[str, Any]
) -> None:
    address = f"/studies/{study['id']}/table?format="
    markdown = api.get(address + "md")
    assert markdown.headers["content-type"].startswith("text/markdown")
    assert "## depth & shortcuts" in markdown.text
    assert (
        "| 2 | no | 1,482 | 1,440 | 3 | 91.00 ± 1.00 | 91.00 ± 1.00 | 88.52 to 93.48 | 5 | 2 | 2 |"
        in markdown.text
    )
    rows = api.get(address + "csv").text.splitlines()
    assert rows[0].startswith("cell,experiment_id,depth,residual,network,parameters")
    assert rows[1].startswith(f'"{PLAIN}",')
    assert len(rows) == 5
    latex = api.get(address + "latex").text
    assert r"\caption{depth \& shortcuts. Test accuracy in \%" in latex
    score = r"\begin{tabular}[t]{@{}r@{}}91.00 \\ (88.52 to 93.48)\end{tabular}"
    assert rf"2 & no & 3 & {score} & {score} & 1,482 & 5 \\\addlinespace" in latex
    assert latex.count("addlinespace\n") == 4


def test_names_of_cells_are_neither_formulas_nor_markup_in_a_table(api: TestClient) -> None:
    names = [
        '=HYPERLINK("http://evil.example","x")',
        "+1-1@x",
        "<script>alert(1)</script> | [x](y)",
    ]
    record = send(
        api,
        specs=[{"name": name, "epochs": epochs} for epochs, name in enumerate(names, 1)],
        seeds=1,
        name="=1+1 <b>",
    )
    address = f"/studies/{record['id']}/table?format="
    rows = list(csv.reader(io.StringIO(api.get(address + "csv").text, newline="")))[1:]
    assert [row[0] for row in rows] == ["'" + names[0], "'" + names[1], names[2]]
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row)
    markdown = api.get(address + "md").text
    assert r"## =1+1 \<b\>" in markdown
    assert r"\<script\>alert(1)\</script\> \| \[x\](y) |" in markdown
    assert "<script>" not in markdown


def test_a_table_of_transfer_strategies_says_how_much_each_of_them_trains(api: TestClient) -> None:
    """A source of 64-16-16-10; with a staged or whole fine-tuning everything is trained, with one stage below the head
    that and the head.
    """
    spec = {
        "kind": "transfer",
        "source": {"spec": {"model": {"depth": 2, "width": 16}, "epochs": 1}},
        "epochs": 2,
    }
    record = send(
        api,
        spec=spec,
        vary={"strategy": ["features", "linear_probe", "fine_tune", "staged"]},
        seeds=1,
    )
    table = api.get(f"/studies/{record['id']}/table").json()
    whole = 64 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10
    shown = {
        row["factors"].get("strategy"): (row["trainable_parameters"], row["parameters"])
        for row in table["rows"]
    }
    assert {name: shown[name] for name in ("features", "linear_probe", "fine_tune", "staged")} == {
        "features": (0, whole),
        "linear_probe": (16 * 10 + 10, whole),
        "fine_tune": (whole, whole),
        "staged": (whole, whole),
    }
    markdown = api.get(f"/studies/{record['id']}/table?format=md").text
    assert "| parameters | trained | MACs |" in markdown
    assert "| linear_probe | 1,482 | 170 |" in markdown
    assert (
        "trainable_parameters"
        in api.get(f"/studies/{record['id']}/table?format=csv").text.splitlines()[0]
    )
    assert not any(
        "every seed" in caution
        for caution in api.get(f"/studies/{record['id']}/verdicts").json()["cautions"]
    )
    repeated = send(api, spec=spec, vary={"strategy": ["features", "linear_probe"]}, seeds=2)
    cautions = api.get(f"/studies/{repeated['id']}/verdicts").json()["cautions"]
    assert any(
        "strategy features counts as one run (n = 1), which says nothing about chance" in caution
        for caution in cautions
    )


def test_another_metric_can_be_asked_for_and_an_unknown_one_is_refused(
    api: TestClient, study: dict[str, Any]
) -> None:
    row = api.get(f"/studies/{study['id']}/table?metric=seconds").json()["rows"][0]
    assert row["score"]["values"] == [5.0, 5.0, 5.0]
    mean = api.get(f"/studies/{study['id']}/table?metric=val.mean_accuracy").json()["rows"][0][
        "score"
    ]["values"][0]
    assert mean == pytest.approx(0.90 - 0.1 * (1 + 1 / 2) / 2)
    refused = api.get(f"/studies/{study['id']}/table?metric=accuracy")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/metric")
    assert "test.accuracy" in refused.json()["errors"][0]["hint"]


def test_contrasts_are_paired_by_seed_and_corrected_by_holm_over_the_page(
    api: TestClient, study: dict[str, Any]
) -> None:
    verdicts = api.get(f"/studies/{study['id']}/verdicts").json()
    assert verdicts["complete"] is True
    gain = contrast(verdicts, RESIDUAL, PLAIN)
    comparison = gain["comparison"]
    assert comparison["differences"] == pytest.approx([1.0, 1.05, 0.95])
    assert comparison["ci95"] == pytest.approx(
        [1 - 4.302653 * 0.05 / 3**0.5, 1 + 4.302653 * 0.05 / 3**0.5]
    )
    assert comparison["p_t"] == pytest.approx(0.000832, abs=1e-6)
    assert comparison["p_holm"] == pytest.approx(4 * comparison["p_t"])
    assert (gain["level"], comparison["level"], comparison["look"]) == (0.04, 0.04, "planned")
    assert "family" not in gain
    assert (gain["verdict"], comparison["margin"], comparison["warnings"]) == (
        "better",
        0.15,
        [],
    )
    assert gain["sentence"].startswith(
        "Better: +1.00 percentage points, 95 % interval +0.88 to +1.12 over 3 paired seeds, p = 0.0033 (Holm; level"
        " 4 %)"
    )
    assert comparison["differs"] == [
        {"path": "model.residual", "treatment": True, "control": False}
    ]
    unclear = contrast(verdicts, DEEP, PLAIN)
    assert unclear["verdict"] == "open"
    assert unclear["comparison"]["more_seeds"] is None
    assert "takes more than 1,000 seeds at this spread" in unclear["sentence"]


def test_verdicts_come_with_what_to_keep_in_mind(
    api: TestClient, database: Database, settings: Settings, study: dict[str, Any]
) -> None:
    assert api.get(f"/studies/{study['id']}/verdicts").json()["cautions"] == []
    api.post(f"/studies/{study['id']}/extend", json={"seeds": 2})
    said = api.get(f"/studies/{study['id']}/verdicts").json()["cautions"]
    assert said[0].startswith(
        "8 of 20 runs have not succeeded: numbers and verdicts are those of the others."
    )
    assert said[1].startswith(
        "Seeds were added after results could be seen (3, then 5): the look that was planned, at 3, is decided at 4 %,"
        " and all others share 1 %."
    )
    assert "(3, then 5)" in api.get(f"/studies/{study['id']}/report.html").text
    smoke = send(api, recipe="mlp-depth", scale="smoke", seeds=1)
    said = api.get(f"/studies/{smoke['id']}/verdicts").json()["cautions"]
    assert said[0].startswith("This is not the recipe at full scale")
    assert said[-1].startswith("One seed gives no interval")


def test_a_study_without_results_says_so_everywhere(api: TestClient) -> None:
    record = send(api, **grid())
    base = f"/studies/{record['id']}"
    verdicts = api.get(f"{base}/verdicts").json()
    assert {one["verdict"] for one in verdicts["contrasts"]} == {"not_measured"}
    assert api.get(f"{base}/table").json()["rows"][0]["score"] is None
    for picture in ("curves", "factor", "differences", "heat-map", "distillation", "tradeoff"):
        assert api.get(f"{base}/{picture}.png").status_code == 200, picture
    flow = api.get(f"{base}/gradient-flow.png")
    assert flow.status_code == 404
    assert '"probes": ["gradient_flow"]' in flow.json()["detail"]
    assert api.get(f"{base}/report.html").status_code == 200


@pytest.mark.parametrize(
    ("extension", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
@pytest.mark.parametrize(
    "picture", ["curves", "factor", "differences", "heat-map", "distillation", "tradeoff"]
)
def test_every_picture_comes_in_three_formats_and_is_not_sent_twice(
    api: TestClient, study: dict[str, Any], picture: str, extension: str, begins: bytes
) -> None:
    address = f"/studies/{study['id']}/{picture}.{extension}"
    answer = api.get(address)
    assert answer.status_code == 200
    assert answer.content.startswith(begins)
    assert api.get(address, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_the_picture_of_a_factor_names_its_groups(api: TestClient, study: dict[str, Any]) -> None:
    svg = api.get(f"/studies/{study['id']}/factor.svg").text
    assert ">plain</text>" in svg
    assert ">residual</text>" in svg
    unknown = api.get(f"/studies/{study['id']}/factor.svg?factor=width")
    assert unknown.status_code == 404
    assert "it varies depth, residual" in unknown.json()["detail"]


def test_cells_of_two_data_sets_stand_in_two_panels(api: TestClient) -> None:
    vary = {"dataset": ["mnist", "digits"], "model.depth": [2, 4]}
    record = send(api, spec={"model": {"arch": "mlp"}}, vary=vary, seeds=1)
    svg = api.get(f"/studies/{record['id']}/factor.svg").text
    said = ("MNIST", "digits", "depth (hidden layers)")
    assert [svg.count(f">{text}</text>") for text in said] == [1, 1, 1]
    by_set = api.get(f"/studies/{record['id']}/factor.svg?factor=dataset").text
    assert ">mnist</text>" in by_set
    assert by_set.count(">Test accuracy</text>") == 1, "the sets themselves share an axis"


def test_the_report_is_one_page_that_needs_no_network(
    api: TestClient, study: dict[str, Any]
) -> None:
    answer = api.get(f"/studies/{study['id']}/report.html")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = answer.text
    assert "<h1>depth &amp; shortcuts</h1>" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert not re.search(r"url\(|@import|<link|<script(?! type=\"application/json\")", page)
    pictures = re.findall(r'data:image/svg\+xml;base64,([^"]+)" width="(\d+)" height="\d+"', page)
    assert len(pictures) == 6, "three for a page and for a phone, with the room that they need"
    for number, (picture, width) in enumerate(pictures):
        svg = base64.b64decode(picture)
        assert b"@media (prefers-color-scheme:dark)" in svg
        assert int(width) <= (520 if number % 2 == 0 else 1040)
    assert "@media (prefers-color-scheme: dark)" in page
    data = json.loads(
        re.search(
            r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL
        ).group(1)
    )  # type: ignore[union-attr]
    assert data["table"]["rows"][0]["score"]["mean"] == pytest.approx(0.91)
    assert data["submitted"] == study["submitted"]


def test_a_name_cannot_break_out_of_the_report(api: TestClient) -> None:
    record = send(api, **grid(name="</script><script>alert(1)</script> $x^2$"))
    page = api.get(f"/studies/{record['id']}/report.html").text
    assert "<script>alert" not in page
    assert page.count("</script>") == 1


def test_two_experiments_are_compared_and_what_differs_is_listed(
    api: TestClient, study: dict[str, Any]
) -> None:
    plain, residual, deep, deep_residual = (cell["experiment_id"] for cell in study["cells"])
    alone = api.get(f"/comparisons?experiments={plain},{residual}").json()
    assert (alone["verdict"], alone["p_holm"], alone["mean"]) == (
        "better",
        None,
        pytest.approx(1.0),
    )
    assert alone["treatment"]["experiment_id"] == residual
    reverse = api.get(f"/comparisons?experiments={residual},{plain}").json()
    assert (reverse["verdict"], reverse["mean"]) == ("worse", pytest.approx(-1.0))
    two = api.get(f"/comparisons?experiments={plain},{deep_residual}").json()
    assert [difference["path"] for difference in two["differs"]] == [
        "model.depth",
        "model.residual",
    ]
    assert (
        "the two differ in 2 fields: model.depth (3 against 2), model.residual (true against false)"
        in two["warnings"][0]
    )
    named = api.get(
        f"/comparisons?experiments={plain},{deep_residual}&factor=model.residual"
    ).json()
    assert "differ in more than model.residual: model.depth (3 against 2)" in named["warnings"][0]
    wrong = api.get(f"/comparisons?experiments={plain},{deep}&factor=model.residual").json()
    assert "the two do not differ in model.residual" in wrong["warnings"]
    same = api.get(f"/comparisons?experiments={plain},{plain}").json()
    assert "compares an experiment with itself" in same["warnings"][0]


def test_a_wide_margin_makes_small_differences_equivalent(
    api: TestClient, study: dict[str, Any]
) -> None:
    plain, residual = (cell["experiment_id"] for cell in study["cells"][:2])
    wide = api.get(f"/comparisons?experiments={plain},{residual}&margin=2").json()
    assert (wide["verdict"], wide["margin"]) == ("equivalent", 2.0)
    assert "real but smaller than the margin" in wide["sentence"]
    loss = api.get(f"/comparisons?experiments={plain},{residual}&metric=val.loss").json()
    assert (loss["unit"], loss["margin"]) == ("nats", None)


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("experiments=exp_nobody,exp_nobody", 404, "there is no experiment"),
        ("experiments=one", 422, "1 experiments are named, and 2 are wanted"),
        ("experiments={0},{1},{2}", 422, "3 experiments are named"),
        ("experiments={0},{1}&margin=-1", 422, "greater than 0"),
        ("experiments={0},{1}&metric=nonsense", 422, "there is no metric"),
        ("", 422, "required"),
    ],
)
def test_a_comparison_of_nothing_is_refused(
    api: TestClient, study: dict[str, Any], query: str, status: int, said: str
) -> None:
    answer = api.get(
        "/comparisons?" + query.format(*(cell["experiment_id"] for cell in study["cells"]))
    )
    assert answer.status_code == status
    assert said in answer.text


def test_experiments_on_different_images_are_not_compared(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(
        api,
        specs=[{"name": "a", "epochs": 1}, {"name": "b", "epochs": 1, "dataset": "mnist"}],
        seeds=1,
    )
    ids = ",".join(cell["experiment_id"] for cell in record["cells"])
    answer = api.get(f"/comparisons?experiments={ids}")
    assert answer.status_code == 409
    assert "accuracies on different images cannot be compared" in answer.json()["detail"]
    verdict = api.get(f"/studies/{record['id']}/verdicts").json()["contrasts"][0]
    assert (verdict["verdict"], verdict["comparison"]) == ("not_measured", None)
    assert "different images" in verdict["sentence"]


def test_each_seeds_checkpoints_are_compared_by_mcnemars_test(
    api: TestClient, database: Database, settings: Settings, study: dict[str, Any]
) -> None:
    runs = runs_by_cell(database, study["id"])
    labels = np.zeros(100, dtype=np.int64)
    for key, wrong in ((PLAIN, slice(0, 12)), (RESIDUAL, slice(10, 13))):
        predictions = labels.copy()
        predictions[wrong] = 1
        path = settings.runs_folder / runs[key, 0].id / "attempt-1" / "predictions.safetensors"
        save_file({"predictions": predictions, "labels": labels}, path)
        with database.writing() as session:
            file = SavedArtifact(
                name=path.name,
                media_type="application/octet-stream",
                path=f"attempt-1/{path.name}",
                sha256="0" * 64,
                size_bytes=path.stat().st_size,
            )
            artifacts.publish(session, runs[key, 0].id, [file])
    found = contrast(api.get(f"/studies/{study['id']}/verdicts").json(), RESIDUAL, PLAIN)[
        "comparison"
    ]["mcnemar"]
    assert found == [
        {
            "seed": 0,
            "only_treatment_right": 10,
            "only_control_right": 1,
            "p": pytest.approx(2 * 12 / 2**11),
        }
    ]
