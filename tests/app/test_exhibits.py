"""Figures and tables: told apart by one fingerprint before they are read, asked for by one parser, and a baseline is
what others are compared with.
"""

import dataclasses
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.services.analyses.exhibits import Exhibit
from app.services.analyses.scores import Scores, read_metric
from app.services.analyses.studies import heat_maps, tables
from app.services.analyses.studies.tradeoffs import CostKind, tradeoff_figure
from app.services.studies import studies
from app.services.studies.studies import WholeStudy
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Study
from lab_models.statistics.summary import summarise
from tests.app.studies import finish, grid, send


def unread() -> None:
    raise AssertionError("nobody has asked for it")


def test_a_fingerprint_is_of_what_is_asked_for_and_of_its_revision_and_reads_nothing() -> None:
    usual = Exhibit("curves", ("loss", 1), "a", unread)
    others = [
        Exhibit("confusion-matrix", ("loss", 1), "a", unread),
        Exhibit("curves", ("loss,1",), "a", unread),
        Exhibit("curves", ("1", "loss"), "a", unread),
        Exhibit("curves", ("loss", None), "a", unread),
        Exhibit("curves", ("loss", 1), "b", unread),
    ]
    found = {one.fingerprint() for one in (usual, *others)}
    assert len(found) == 1 + len(others)
    assert Exhibit("curves", ("loss", 1), "a", unread).fingerprint() == usual.fingerprint()


@pytest.fixture
def study(api: TestClient, database: Database, settings: Settings) -> dict[str, Any]:
    record = send(api, **grid(name="a study"))
    finish(database, settings, record["id"], {})
    return record


def test_whatever_is_shown_has_an_etag_of_its_own_in_each_form_and_is_not_sent_twice(
    api: TestClient, study: dict[str, Any]
) -> None:
    base = f"/studies/{study['id']}"
    first, second = (cell["experiment_id"] for cell in study["cells"][:2])
    addresses = [
        *(f"{base}/{name}.svg" for name in ("curves", "factor", "differences", "heat-map")),
        *(f"{base}/table?format={form}" for form in ("json", "md", "csv", "latex")),
        *(f"{base}/{name}" for name in ("distillation.svg", "verdicts", "report.html")),
        *(f"{base}/curves.{form}" for form in ("png", "pdf")),
        f"{base}/factor.svg?factor=residual",
        f"{base}/table?metric=val.accuracy",
        f"{base}/heat-map.svg?x=residual&y=depth",
        *(f"/experiments/{one}/curves.svg" for one in (first, second)),
        f"/experiments/{first}/curves.svg?metric=loss",
        f"/comparisons/curves.svg?experiments={first},{second}",
        f"/comparisons/curves.svg?experiments={second},{first}",
    ]
    tags = {}
    for address in addresses:
        answer = api.get(address)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache"), address
        tags[address] = answer.headers["etag"]
        unchanged = api.get(address, headers={"If-None-Match": tags[address]})
        assert (unchanged.status_code, unchanged.content) == (304, b""), address
        assert unchanged.headers["etag"] == tags[address]
    assert len(set(tags.values())) == len(addresses)


def test_the_metrics_of_curves_are_read_by_one_parser(
    api: TestClient, study: dict[str, Any]
) -> None:
    first = study["cells"][0]["experiment_id"]
    pictures = [
        f"/experiments/{first}/curves.svg?",
        f"/studies/{study['id']}/curves.svg?",
        f"/comparisons/curves.svg?experiments={first}&",
    ]
    for listed in ("accuracies", ",", "loss,sorrow"):
        answers = [api.get(f"{address}metric={listed}") for address in pictures]
        assert {answer.status_code for answer in answers} == {422}
        problems = [(one.json()["detail"], one.json()["errors"]) for one in answers]
        assert problems[0] == problems[1] == problems[2]
    for address in pictures:
        said = [
            api.get(f"{address}metric={one}") for one in ("loss,seconds", " loss , seconds,loss")
        ]
        assert said[0].headers["etag"] == said[1].headers["etag"]


@pytest.fixture
def distillations(api: TestClient, database: Database, settings: Settings) -> str:
    """A study of students by temperature and alpha, each compared with a baseline, which scored 0.5; the teacher's
    cell is none.
    """
    record = send(api, recipe="distill-grid", scale="smoke", seeds=1)
    finish(database, settings, record["id"], {("baseline", 0): 0.5, ("teacher", 0): 0.7})
    return str(record["id"])


def renamed(whole: WholeStudy, old: str, new: str) -> WholeStudy:
    cells = [
        dataclasses.replace(
            cell,
            cell=cell.cell.model_copy(
                update={"key": new if cell.cell.key == old else cell.cell.key}
            ),
        )
        for cell in whole.cells
    ]
    contrasts = tuple(
        contrast.model_copy(update={"control": new}) if contrast.control == old else contrast
        for contrast in whole.design.contrasts
    )
    return dataclasses.replace(
        whole, cells=cells, design=whole.design.model_copy(update={"contrasts": contrasts})
    )


@pytest.mark.parametrize(
    ("old", "new"), [("teacher", "no-baseline"), ("baseline", "alone"), ("teacher", "teacher")]
)
def test_a_baseline_is_what_the_cells_of_a_map_are_compared_with_whatever_its_name(
    database: Database, distillations: str, old: str, new: str
) -> None:
    with database.reading() as session:
        whole = renamed(studies.whole(session, session.get_one(Study, distillations)), old, new)
        table = tables.table_of(Scores(session, whole.runs), whole, read_metric("test.accuracy"))
        assert heat_maps.heat_map_figure(table, None, None).baseline == 0.5


def test_of_gradients_the_best_is_nearest_to_what_neither_grows_nor_falls(
    database: Database, distillations: str
) -> None:
    with database.reading() as session:
        whole = studies.whole(session, session.get_one(Study, distillations))
        table = tables.table_of(Scores(session, whole.runs), whole, read_metric("test.accuracy"))
    slopes = (-2.0, 0.1, 1.0)
    rows = tuple(
        dataclasses.replace(row, score=summarise([slope]), val=None)
        for row, slope in zip(table.rows, slopes, strict=False)
    )
    measured = dataclasses.replace(table, metric=read_metric("gradient_flow.slope"), rows=rows)
    ordered = [row.score.mean for row in tables.in_order(measured, "best").rows if row.score]
    assert ordered == [0.1, 1.0, -2.0]
    assert tradeoff_figure(measured, CostKind.PARAMETERS).front == []
