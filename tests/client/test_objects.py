"""What the client sends and how it reads answers, against the service and against services of other versions."""

import asyncio
import inspect
import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.settings import Settings
from app.storage.db import Database
from tests.app.test_retry import begin, fail, finish_epoch, resume, succeed
from training_lab import (
    AsyncExperiment,
    AsyncLab,
    AsyncRun,
    AsyncStudy,
    Conflict,
    Experiment,
    Lab,
    LabError,
    NotFound,
    Picture,
    Refused,
    Run,
    RunFailed,
    Study,
    Summary,
    Table,
    TimedOut,
    Unusable,
)
from training_lab.pictures import image_bytes

pytestmark = pytest.mark.sqlite

DIGITS = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 4}


def trained(lab: Lab, database: Database, settings: Settings, **fields: Any) -> Experiment:
    """An experiment whose runs have succeeded, each after two epochs."""
    made = lab.submit(DIGITS, **fields)
    for _ in made.runs:
        lease = begin(database)
        resume(database, lease, settings)
        for epoch in (1, 2):
            finish_epoch(database, lease, epoch)
        succeed(database, lease)
    return made.refresh()


# What is sent


def test_keyword_fields_are_the_specs_fields(lab: Lab) -> None:
    made = lab.submit(
        model="mlp",
        dataset="digits",
        epochs=5,
        optimizer__name="sgd",
        optimizer__learning_rate=0.1,
        seeds=3,
        name="a <b>",
        labels={"week": 3},
        priority=2,
    )
    assert made.spec["optimizer"]["learning_rate"] == 0.1
    assert made.spec["optimizer"]["name"] == "sgd"
    assert made.spec["dataset"]["name"] == "digits"
    assert (made.name, made.labels, made.status) == ("a <b>", {"week": "3"}, "queued")
    assert [run.seed for run in made.runs] == [0, 1, 2]
    other = made.clone(epochs=7, optimizer__learning_rate=0.01)
    assert made.diff(other) == {"epochs": (5, 7), "optimizer.learning_rate": (0.1, 0.01)}
    assert other.labels == {"week": "3"}


def test_a_spec_is_an_object_or_a_file_and_fields_go_over_it(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('\ufeff{"dataset": "digits", "epochs": 2}')
    (tmp_path / "spec.yaml").write_text(
        "dataset: digits\nepochs: 2\noptimizer: {name: sgd, learning_rate: 1e-3}\n"
    )
    assert lab.dry_run(tmp_path / "spec.json", epochs=3).spec["epochs"] == 3
    plan = lab.dry_run(str(tmp_path / "spec.yaml"), model={"hidden": [8]})
    assert plan.spec["optimizer"]["learning_rate"] == 0.001
    assert plan.parameters == 64 * 8 + 8 + 8 * 10 + 10
    assert plan.macs == 64 * 8 + 8 * 10
    assert plan.seconds > 0
    assert plan.memory_bytes > 0
    assert next(lab.experiments(), None) is None


def test_labels_and_names_of_a_file_are_texts_as_they_are_written(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(
        "dataset: digits\nepochs: 1\nname: 2024-01-05\nlabels: {version: 1.10, week: 03, on: yes}\n"
    )
    made = lab.submit(path)
    assert (made.name, made.labels) == (
        "2024-01-05",
        {"version": "1.10", "week": "03", "on": "yes"},
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", '{"epochs": 1, "epochs": 2}', "the key 'epochs' stands twice"),
        ("a.json", '{"epochs": NaN}', "NaN is no number of JSON"),
        ("a.json", "[]", "holds no object"),
        ("a.yaml", "a: [", "not YAML"),
        ("a.yaml", "a: 1\na: 2", "the key 'a' stands twice"),
        ("mlp", None, "No such file or directory; the short form of a network is model="),
    ],
)
def test_a_file_that_is_no_spec_is_told_why(
    lab: Lab, tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(Unusable, match=re.escape(said)):
        lab.submit(tmp_path / name)


def test_what_json_has_not_is_refused_before_it_is_sent(lab: Lab) -> None:
    assert lab.dry_run(DIGITS, batch_size=np.int64(32)).spec["batch_size"] == 32
    for wrong in (float("nan"), object()):
        with pytest.raises(Unusable, match="cannot be sent as JSON"):
            lab.submit(DIGITS, epochs=wrong)


def test_a_refusal_names_fields_with_hints_and_has_them_as_values(lab: Lab) -> None:
    with pytest.raises(Refused) as refused:
        lab.submit(modl="mlp", epochs=-1)
    assert refused.value.status == 422
    assert refused.value.code == "invalid_request"
    assert {fault.pointer: fault.hint for fault in refused.value.errors} == {
        "/epochs": None,
        "/modl": "did you mean 'model'?",
    }
    assert "  /modl: unknown field (did you mean 'model'?)" in str(refused.value)
    with pytest.raises(NotFound):
        lab.experiment("exp_nothing/../x")
    with pytest.raises(NotFound, match="submit"):
        lab.latest()


@pytest.mark.parametrize("key", ["two words", "naïve", "a\nb"])
def test_what_can_be_no_key_or_address_is_told_at_once(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unusable, match="lab keys create"):
        Lab(key=key)
    monkeypatch.setenv("LAB_API_KEY", key)
    with pytest.raises(Unusable, match="LAB_API_KEY holds no key"):
        Lab()
    with pytest.raises(Unusable, match="http://HOST:PORT"):
        Lab("localhost:8000", key="lab_a")


def test_url_and_key_come_from_the_environment_unless_they_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"data": []})

    monkeypatch.setenv("LAB_URL", "http://gpu-box:8000/lab/")
    monkeypatch.setenv("LAB_API_KEY", " lab_environment\n")
    for given in ({}, {"url": "http://other", "key": "lab_given"}):
        with Lab(**given, transport=httpx.MockTransport(answer)) as lab:
            lab.workers()
    assert [str(request.url) for request in seen] == [
        "http://gpu-box:8000/lab/workers",
        "http://other/workers",
    ]
    assert [request.headers["authorization"] for request in seen] == [
        "Bearer lab_environment",
        "Bearer lab_given",
    ]
    assert seen[0].headers["user-agent"].startswith("training-lab-client/")


# What is read


def test_lists_are_read_page_by_page_as_they_are_asked_for(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [lab.submit(DIGITS, labels={"n": number}).id for number in range(7)]
    monkeypatch.setattr("training_lab.lab_plans.PAGE_ROWS", 3)
    assert [one.id for one in lab.experiments()] == made[::-1]
    assert [one.id for one in lab.experiments(limit=4, sort="created_at")] == made[:4]
    assert [one.id for one in lab.experiments(label=["n:2"])] == [made[2]]
    assert [one.id for one in lab.experiments(status=["failed", "running"])] == []
    assert lab.latest().id == made[-1]
    row = next(lab.experiments())
    with pytest.raises(Unusable, match=r"refresh\(\)"):
        _ = row.runs
    assert row.refresh().runs
    with pytest.raises(Refused, match="unknown"):
        next(lab.experiments(statu="failed"))


def test_results_predictions_and_every_number_of_what_has_succeeded(
    lab: Lab, database: Database, settings: Settings, tmp_path: Path
) -> None:
    made = trained(lab, database, settings, seeds=2)
    assert made.wait(timeout=20).status == "succeeded"
    assert made.results["test"]["accuracy"] == Summary(0.9, 2, 0.0, None, (0.9, 0.9))
    assert next(lab.experiments()).results["test"]["accuracy"].mean == 0.9
    assert made.best_run.id in {run.id for run in made.runs}
    numbers = lab.metrics([made, made.id])
    assert repr(numbers) == "<Metrics of 2 experiments, 4 runs, 8 epochs>"
    assert numbers.names == ["train.accuracy", "train.loss", "val.accuracy", "val.loss"]
    rows = list(made.metrics().rows())
    assert [(row["epoch"], row["val.loss"]) for row in rows] == [(1, 1.0), (2, 0.5)] * 2
    assert made.runs[1].metrics(["loss"]).names == ["train.loss", "val.loss"]
    table = made.metrics().arrow()
    assert table.column("val.loss").to_pylist() == [1.0, 0.5, 1.0, 0.5]
    lines = made.metrics().to_csv(tmp_path / "numbers.csv").read_text().splitlines()
    assert lines[0] == "experiment,run,seed,epoch,train.accuracy,train.loss,val.accuracy,val.loss"
    assert len(lines) == 5
    assert len(lab.metrics(dataset="digits")) == 4
    with pytest.raises(Unusable, match="of which experiments"):
        lab.metrics()


@pytest.mark.parametrize("package", ["pandas", "polars", "pyarrow"])
def test_a_frame_that_is_not_installed_is_told_how_to_get(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training_lab import Metrics

    monkeypatch.setitem(__import__("sys").modules, package, None)
    read = {"pandas": "frame", "polars": "polars", "pyarrow": "arrow"}[package]
    with pytest.raises(Unusable, match=f"pip install {package}"):
        getattr(Metrics([]), read)()


def test_frames_have_every_row_and_means_can_be_taken_of_them() -> None:
    import pandas
    import polars

    from training_lab import Metrics

    run = {"run_id": "run_a", "seed": 0, "epochs": [1, 2], "val": {"loss": [1.0, None]}}
    numbers = Metrics([{"experiment_id": "exp_a", "runs": [run]}])
    means = numbers.frame().groupby(["experiment", "epoch"]).mean()
    assert means["val.loss"].iloc[0] == 1.0
    assert pandas.isna(means["val.loss"].iloc[1])
    assert numbers.polars()["val.loss"].to_list() == [1.0, None]
    assert numbers.polars().schema["val.loss"] == polars.Float64


def test_what_fails_raises_its_error_and_what_takes_too_long_goes_on(
    lab: Lab, database: Database
) -> None:
    made = lab.submit(DIGITS)
    with pytest.raises(TimedOut, match="it goes on"):
        made.wait(timeout=0.2)
    fail(database, begin(database))
    with pytest.raises(RunFailed, match="has ended as failed") as failed:
        made.wait()
    assert failed.value.error is not None
    assert failed.value.error["code"] == "diverged"
    assert made.wait(raise_on_failure=False).error == failed.value.error
    with pytest.raises(Conflict) as conflict:
        made.cancel()
    assert conflict.value.code == "already_finished"
    assert made.retry().status == "queued"
    assert made.pause().status == "paused"
    assert made.resume().status == "queued"
    assert made.edit(name="x", labels={"a": "b"}, notes="*n*", priority=3).name == "x"
    assert made.edit(name="", labels={"a": None}).name is None
    assert made.labels == {}
    assert [run.experiment_id for run in lab.queue()] == [made.id]
    made.cancel().delete()
    with pytest.raises(NotFound):
        made.refresh()


def test_pictures_tables_and_verdicts(
    lab: Lab, database: Database, settings: Settings, tmp_path: Path
) -> None:
    made = trained(lab, database, settings, name="<script>alert(1)</script>")
    picture = made.curves("loss")
    assert bytes(picture).startswith(b"<?xml")
    assert picture._repr_svg_() is not None
    assert picture._repr_png_() is None
    assert made.curves(format="png")._repr_png_() is not None
    assert picture.save(tmp_path / "curves") == tmp_path / "curves.svg"
    for ending, begins in {"pdf": b"%PDF", "PNG": b"\x89PNG", "tex": b"\\documentclass"}.items():
        assert picture.save(tmp_path / f"curves.{ending}").read_bytes().startswith(begins)
    with pytest.raises(
        Unusable, match=r"a\.gif: a picture's name ends in \.svg, \.png, \.pdf, \.tex"
    ):
        picture.save(tmp_path / "a.gif")
    with pytest.raises(Unusable, match=r"curves\.svg cannot be written: Not a directory"):
        picture.save(tmp_path / "curves.svg" / "curves.svg")
    html = made._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "data:image/svg+xml;base64," in html
    study = lab.study_of(
        spec={**DIGITS, "epochs": 1},
        vary={"optimizer.learning_rate": [0.1, 0.2]},
        seeds=2,
        name="<i>s</i>",
    )
    for _ in range(4):
        lease = begin(database)
        resume(database, lease, settings)
        finish_epoch(database, lease, 1)
        succeed(database, lease)
    assert study.wait().status == "succeeded"
    table = study.table()
    assert [row["title"] for row in table.rows] == ["learning rate 0.1", "learning rate 0.2"]
    assert "| learning_rate |" in table.markdown
    assert "\\begin{tabular}" in table.latex
    assert table.csv.splitlines()[0].startswith("cell,")
    assert "<i>" not in table._repr_html_()
    assert "<i>" not in study._repr_html_()
    assert len(study.verdicts().contrasts) == 1
    assert study.factor("learning_rate").format == "svg"
    assert study.differences(format="png").content.startswith(b"\x89PNG")
    assert lab.dry_run_study("mlp-depth", scale="smoke").num_runs > 0
    first, second = (cell["experiment_id"] for cell in study.cells)
    compared = lab.compare(first, second, margin=0.5)
    assert compared.sentence
    assert compared.difference == 0
    assert compared.differs == {"optimizer.learning_rate": (0.1, 0.2)}
    assert study.extend(1).progress.fraction < 1


def test_an_image_is_a_path_an_array_or_a_file_and_nothing_else(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for shape in ((5, 7), (5, 7, 1), (5, 7, 3)):
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        (tmp_path / "a.png").write_bytes(image_bytes(pixels))
        with Image.open(tmp_path / "a.png") as image:
            assert np.array_equal(np.asarray(image), pixels.reshape(shape).squeeze())
        assert image_bytes(str(tmp_path / "a.png")) == image_bytes(pixels)
        with Image.open(tmp_path / "a.png") as image:
            assert image_bytes(image).startswith(b"\x89PNG")
    # one whose bytes do not lie in order
    turned = rng.integers(0, 256, (7, 5), dtype=np.uint8).T
    assert image_bytes(turned) == image_bytes(np.ascontiguousarray(turned))
    head = image_bytes(turned)
    assert struct.unpack(">II", head[16:24]) == (7, 5)
    assert struct.unpack(">I", head[29:33])[0] == zlib.crc32(head[12:29])
    for wrong in (np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 2), np.uint8), 3):
        with pytest.raises(Unusable):
            image_bytes(wrong)
    with pytest.raises(Unusable, match="No such file"):
        image_bytes(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (Summary(0.9741, 3, ci95=(0.9701, 0.9781)), "0.974 ± 0.004 (n = 3)"),
        (Summary(0.9741, 3, ci95=(0.97408, 0.97412)), "0.97410 ± 0.00002 (n = 3)"),
        (Summary(0.5, 1), "0.500 (n = 1)"),
        (Summary(0.5, 2, ci95=(0.5, 0.5)), "0.500 ± 0.000 (n = 2)"),
        (Summary(0.69, 2, ci95=(-0.6066, 1.9866)), "0.690 (n = 2)"),
        (Summary(12.0, 2, ci95=(1.0, 23.0)), "12.000 ± 11.000 (n = 2)"),
    ],
)
def test_a_summary_shows_as_many_digits_as_its_interval_has(summary: Summary, said: str) -> None:
    assert str(summary) == said
    assert float(summary) == summary.mean


# Other versions, and both clients


def foreign(document: Any) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(200, json=document)


def test_a_newer_services_fields_and_statuses_and_an_older_ones_gaps_break_nothing() -> None:
    newer = {
        "id": "exp_a",
        "name": None,
        "status": "hibernating",
        "status_reason": "moon",
        "status_message": "Asleep.",
        "is_terminal": True,
        "progress": {"fraction": 0.5, "epoch": 1, "epochs": 2, "layer": 3},
        "results": {"drift": {"energy": {"mean": 1.0, "n": 1, "quantiles": [1]}}},
        "runs": [{"id": "run_a", "seed": 0, "status": "hibernating", "moons": 2}],
        "spec": {"kind": "dream"},
        "horoscope": {"sign": "leo"},
    }
    with Lab("http://other", transport=httpx.MockTransport(foreign(newer))) as lab:
        made = lab.experiment("exp_a")
        with pytest.raises(RunFailed, match="hibernating: Asleep"):
            made.wait()
        assert made.results["drift"]["energy"].mean == 1
        assert made.runs[0].status == "hibernating"
        assert made.raw["horoscope"] == {"sign": "leo"}
        assert "hibernating" in made._html(None)
        assert repr(made)
    older = {"id": "exp_a", "status": "queued"}
    with Lab("http://other", transport=httpx.MockTransport(foreign(older))) as lab:
        made = lab.experiment("exp_a")
        assert (made.name, made.labels, made.results, made.warnings) == (
            None,
            {},
            {"test": {}, "val": {}},
            [],
        )
        assert (made.progress.fraction, made.queue, made.error, made.owner) == (0, {}, None, None)
        assert made._html(None)


def test_what_is_no_service_of_this_kind_is_told_so() -> None:
    pages = httpx.MockTransport(lambda _: httpx.Response(200, html="<h1>Login</h1>"))
    for ask in (Lab.workers, lambda lab: Experiment(lab._driver, {"id": "exp_a"}).wait()):
        with Lab("http://other", transport=pages) as lab, pytest.raises(LabError, match="no JSON"):
            ask(lab)
    broken = httpx.MockTransport(lambda _: httpx.Response(418, text="no"))
    with Lab("http://other", transport=broken) as lab, pytest.raises(Refused) as refused:
        lab.workers()
    assert str(refused.value).startswith("418 I'm a teapot, which is no answer of a training-lab")
    assert "look whether http://other is its address" in str(refused.value)
    proxy = httpx.MockTransport(lambda _: httpx.Response(502, html="<h1>Bad Gateway</h1>"))
    with Lab("http://other", retries=0, transport=proxy) as lab, pytest.raises(Refused) as refused:
        lab.workers()
    assert str(refused.value) == "502 Bad Gateway", "what stands before it, and passes"


@pytest.mark.parametrize(
    ("one", "other"),
    [(Lab, AsyncLab), (Experiment, AsyncExperiment), (Run, AsyncRun), (Study, AsyncStudy)],
)
def test_both_clients_have_the_same_names_with_the_same_parameters(one: type, other: type) -> None:
    def named(cls: type) -> dict[str, inspect.Signature]:
        found = inspect.getmembers(cls, inspect.isfunction)
        return {name: inspect.signature(it) for name, it in found if not name.startswith("_")}

    assert named(one) == named(other)
    assert len(named(one)) > 5
    for name in named(one):
        assert (inspect.getdoc(getattr(one, name)) or "").strip(), name


def test_the_asynchronous_client_does_the_same(url: str) -> None:
    async def work() -> None:
        async with AsyncLab(url) as lab:
            made = await lab.submit(DIGITS, labels={"week": 3})
            assert isinstance(made, AsyncExperiment)
            assert [one.id async for one in lab.experiments(label="week:3")] == [made.id]
            with pytest.raises(TimedOut):
                await made.wait(timeout=0.1)
            assert (await made.cancel()).status == "cancelled"
            assert isinstance(made.runs[0], AsyncRun)
            assert len(await lab.metrics(made)) == 0
            (event, *_) = [event async for event in made.stream()]
            assert event.type == "run"
            picture = await made.curves()
            assert isinstance(picture, Picture)
            with pytest.raises(Unusable, match="ask for it with format='pdf'"):
                picture.save("curves.pdf")  # nobody has awaited it as such
            with pytest.raises(Refused):
                await lab.submit(epochs=-1)

    asyncio.run(work())


def test_a_folder_is_imported_as_a_data_set(lab: Lab, tmp_path: Path) -> None:
    pixels = np.zeros((8, 8), np.uint8)
    for split, count in (("train", 6), ("test", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels[number, :] += 7
                (folder / f"{number}.png").write_bytes(image_bytes(pixels))
    made = lab.import_dataset("pets", tmp_path / "pets", size=8)
    assert (made.name, made.shape, made.class_names) == ("pets", (1, 8, 8), ["cat", "dog"])
    assert (made.num_train, made.num_test, made.here) == (12, 4, "yes")
    assert "pets" in {one.name for one in lab.datasets()}
    with pytest.raises(Conflict):
        lab.import_dataset("pets", tmp_path / "pets")
    with pytest.raises(Unusable, match="no such file or folder"):
        lab.import_dataset("x", tmp_path / "none")


def test_a_table_shows_no_markup_of_others() -> None:
    rows = [
        {"title": "<img src=x>", "score": {"mean": 0.5, "n": 2, "ci95": [0.4, 0.6]}, "val": None}
    ]
    table = Table({"title": "<b>", "metric": "test.<u>", "rows": rows}, "", "", "")
    html = table._repr_html_()
    assert "<img" not in html
    assert "<b>" not in html
    assert "<u>" not in html
    assert "0.500 ± 0.100" in html
    assert json.loads(json.dumps(table.raw)) == table.raw


def test_a_frame_has_texts_as_they_were_written() -> None:
    pytest.importorskip("pandas")
    rows = "cell,mean\n'=1+1,-0.5\n''=x,0.25\nNA,\n'quoted',1\n"
    frame = Table({}, "", rows, "").frame()
    assert list(frame["cell"]) == ["=1+1", "'=x", "NA", "'quoted'"]
    assert list(frame["mean"])[:2] == [-0.5, 0.25]
