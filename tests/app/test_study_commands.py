"""`lab recipes`, `lab study` and the commands that take a study's id, against an API in a process of its own, its runs
ended as a worker would.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from app.commands.__main__ import main
from app.settings import Settings
from app.storage.db import Database, open_database
from app.storage.tables import Study
from lab_models.recipes.catalog import RECIPES
from tests.app.studies import fail_next, finish_all
from tests.e2e.service import CLOSED_PORT, Service
from training_lab.commands import job_waiting
from training_lab.commands.terminal import duration

pytestmark = pytest.mark.sqlite  # the command line talks to a service in a process of its own

Lab = Callable[..., tuple[int, str, str]]
GRID = {"spec": {"model": {"width": 16}, "epochs": 2}, "vary": {"model.depth": [1, 2]}, "seeds": 2}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("home"))
    running.api()
    yield running
    running.stop()


@pytest.fixture
def lab(service: Service, capsys: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    """`lab …` in this process: exit status, standard output and error. Afterwards nothing is left in the queue."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([*map(str, arguments), "--url", f"http://127.0.0.1:{service.port}"])
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err, "no terminal, no control characters"
        return status, out, err

    yield run
    for study in service.get("/studies?limit=500")["data"]:
        if not study["is_terminal"]:
            service.post(f"/studies/{study['id']}/cancel")


@pytest.fixture
def settings(service: Service) -> Settings:
    return Settings(home=service.home, log_level="ERROR", _env_file=None)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = open_database(settings)
    yield database
    database.close()


@pytest.fixture
def while_waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """What happens when the command line next waits."""

    def set_event(event: Callable[[], object]) -> None:
        monkeypatch.setattr(job_waiting.time, "sleep", lambda _seconds: event())

    return set_event


def written(path: Path, document: object) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_network_of_the_lab_is_shown_and_given_as_layers(lab: Lab) -> None:
    status, out, _ = lab("layers", "resnet20")
    said, header, first, *_ = out.splitlines()
    assert (status, said) == (
        0,
        "resnet20 on cifar10: 269,722 parameters, 40.6 M multiply-accumulates",
    )
    assert header.split()[:3] == ["layer", "kind", "gives"]
    assert first.split() == ["layers.0", "conv", "16x32x32", "432", "442,368"]
    status, out, _ = lab("layers", "mlp-small", "--dataset", "mnist", "--json")
    assert status == 0
    assert json.loads(out)["layers"][:3] == ["flatten", {"linear": 128}, "relu"]


def test_so_is_the_network_of_an_experiment(lab: Lab, tmp_path: Path) -> None:
    own = {"dataset": "digits", "model": {"layers": [{"conv": 4}, "max_pool"]}}
    lab("submit", str(written(tmp_path / "own.json", own)))
    status, out, _ = lab("layers", "@last")
    said, _, first, *_ = out.splitlines()
    assert (status, said) == (
        0,
        "own network conv 4 on digits: 90 parameters, 0.0 M multiply-accumulates",
    )
    assert first.split() == ["layers.0", "conv", "4x8x8", "40", "2,304"]


def test_recipes_are_listed_one_a_line_with_cells_and_costs(lab: Lab) -> None:
    status, out, _ = lab("recipes")
    lines = out.splitlines()
    *lines, empty, times = lines
    assert (status, len(lines), empty) == (0, len(RECIPES) + 1, "")
    assert times.startswith("Times are of all runs, one after the other: by runs like them")
    assert [line.split()[0] for line in lines] == ["name", *RECIPES]
    depth = next(line for line in lines if line.startswith("mlp-depth "))
    *said, smoke, full = [part.strip() for part in depth.split("  ") if part]
    assert said == ["mlp-depth", "Do plain MLPs on MNIST get better with depth?", "5"]
    assert all(re.fullmatch(r"[\d.]+ (second|minute|hour|day)s?", time) for time in (smoke, full))


def test_a_recipe_is_shown_in_full(lab: Lab) -> None:
    status, out, _ = lab("recipes", "mlp-depth")
    page = RECIPES["mlp-depth"]
    expected = page.cells[-1].expected
    assert (status, expected is not None) == (0, True)
    assert [
        "depth-10",
        "10 hidden layers",
        "10",
        "98.82 %",
        f"{100 * expected.low:.2f} to {100 * expected.high:.2f} %",
    ] in [[part.strip() for part in line.split("  ") if part] for line in out.splitlines()]
    assert out.startswith(f"mlp-depth: {page.title}\n")
    for said in (
        f"Question: {page.question}",
        f"Reproduces: {page.reproduces}",
        "depth-4 against depth-2   model.depth",
        "Differences smaller than 0.15 percentage points count as none.",
        (
            f'- "{page.claims[0].text}" ({page.claims[0].source}). Decided by whether test.accuracy falls anywhere'
            " along depth-2, depth-4"
        ),
        "50 runs with 10 seeds. Here ",
        f"two CPU cores {page.scales['full'].cost_cpu}; one data-center GPU {page.scales['full'].cost_gpu}.",
        "cannot come from 6,000 images",
        f"- {page.notes[0]}",
        "Run it: lab study mlp-depth --scale smoke --wait",
    ):
        assert said in out


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_page_with_all_its_cells(lab: Lab, name: str) -> None:
    status, out, _ = lab("recipes", name)
    assert status == 0
    assert all(f"\n  {cell.key} " in out for cell in RECIPES[name].cells)


@pytest.mark.parametrize("command", ["recipes", "study"])
def test_a_misspelled_recipe_is_refused_with_what_was_meant(lab: Lab, command: str) -> None:
    status, out, err = lab(command, "mlp-dpth")
    assert (status, out) == (1, "")
    assert "there is no recipe 'mlp-dpth'" in err
    assert "did you mean 'mlp-depth'?" in err


def test_a_misspelled_path_is_refused_where_it_is_wrong(lab: Lab) -> None:
    status, _, err = lab("study", "mlp-depth", "--set", "model.widht=3")
    assert status == 1
    assert "/model/widht: unknown field (did you mean 'width'?)" in err


def test_a_dry_run_shows_cells_runs_and_cost_and_stores_nothing(lab: Lab, service: Service) -> None:
    before = service.get("/studies")["data"]
    status, out, _ = lab(
        "study",
        "mlp-depth",
        "--scale",
        "smoke",
        "--seeds",
        2,
        "--set",
        "dataset.name=digits",
        "--dry-run",
    )
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "MLP depth on digits, as the README says (smoke scale, changed)"
    assert lines[2].split() == [
        "cell",
        "title",
        "runs",
        "parameters",
        "MACs",
        "seconds",
        "a",
        "run",
    ]
    assert lines[3].split()[:7] == ["depth-2", "2", "hidden", "layers", "2", "301,066", "300,032"]
    assert re.match(
        r"5 cells, 10 runs, [^,]+, one run after the other: (nominal|by \d+ runs)", lines[-1]
    )
    assert lines[-1].endswith("Nothing was stored.")
    assert service.get("/studies")["data"] == before


def test_a_dry_run_says_what_is_drawn_and_which_cells_are_the_same(
    lab: Lab, tmp_path: Path
) -> None:
    body = {
        "spec": {"model": {"depth": 1}},
        "vary": {
            "optimizer.learning_rate": {"log": [0.0001, 0.1], "n": 2},
            "model.residual": [False, True],
        },
        "seeds": 3,
    }
    status, out, _ = lab("study", written(tmp_path / "search.json", body), "--dry-run")
    assert status == 0
    said = " ".join(out.split())
    assert "Drawn with seed 0: learning_rate log-uniform from 0.0001 to 0.1." in said
    assert "residual no = learning rate" in said
    assert "4 cells (2 the same as others), 6 runs" in said


def test_options_become_the_body(lab: Lab) -> None:
    options = [
        "--scale",
        "smoke",
        "--seeds",
        1,
        "--name",
        "mine",
        "--no-reuse",
        "--set",
        "epochs=2",
        "--set",
        "dataset.name=digits",
    ]
    status, out, err = lab("study", "mlp-depth", *options)
    record = json.loads(out)
    assert (status, record["status"], record["name"]) == (0, "queued", "mine")
    assert record["submitted"] == {
        "recipe": "mlp-depth",
        "scale": "smoke",
        "seeds": 1,
        "name": "mine",
        "reuse": False,
        "overrides": {"epochs": 2, "dataset.name": "digits"},
    }
    assert err.startswith(
        f"{record['id']}: 5 cells, 5 runs (5 queued). Its report, at any time: http://127.0.0.1:"
    )


def test_a_value_is_json_or_else_a_string(lab: Lab, service: Service, tmp_path: Path) -> None:
    body = {"specs": [{"name": "a", "epochs": 2}]}
    options = [
        "--set",
        "optimizer.learning_rate=2e-3",
        "--set",
        'dataset={"name": "digits", "train_limit": 200}',
        "--set",
        "schedule.name=cosine",
    ]
    status, out, _ = lab("study", written(tmp_path / "own.json", body), *options)
    assert status == 0
    spec = service.get(f"/experiments/{json.loads(out)['cells'][0]['experiment_id']}")["spec"]
    assert (
        spec["optimizer"]["learning_rate"],
        spec["dataset"]["train_limit"],
        spec["schedule"]["name"],
    ) == (0.002, 200, "cosine")


def test_a_file_is_sent_with_what_the_options_change(lab: Lab, tmp_path: Path) -> None:
    text = "spec: {model: {width: 16}}\nvary: {model.depth: [1, 2]}\nseeds: 2\noverrides: {epochs: 5, batch_size: 32}\n"
    status, out, _ = lab(
        "study", written(tmp_path / "own.yaml", text), "--seeds", 3, "--set", "epochs=2"
    )
    submitted = json.loads(out)["submitted"]
    assert status == 0
    assert submitted == {
        "spec": {"model": {"width": 16}},
        "vary": {"model.depth": [1, 2]},
        "seeds": 3,
        "overrides": {"epochs": 2, "batch_size": 32},
    }


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("none.json", None, [], "none.json: No such file or directory"),
        (
            "broken.json",
            '{"spec":',
            [],
            "broken.json is not JSON: Expecting value at line 1, column 9",
        ),
        ("broken.yaml", "a: [", [], "broken.yaml is not YAML that can become JSON"),
        (
            "experiment.json",
            {"epochs": 1},
            [],
            (
                "holds no study, which has 'recipe', 'specs', or 'spec' with 'vary', or several under 'studies'; an"
                " experiment is sent with `lab submit"
            ),
        ),
        ("list.json", [1], [], "holds no study"),
        (
            "odd.json",
            {**GRID, "overrides": 3},
            ["--set", "epochs=1"],
            "'overrides' must be an object",
        ),
        (
            "grid.json",
            GRID,
            ["--report", "/no/such/folder/r.html"],
            "there is no folder /no/such/folder",
        ),
        ("grid.json", GRID, ["--report", "."], "is a folder; name a file for the report"),
        (
            "grid.json",
            GRID,
            ["--report", "r.html", "--dry-run"],
            "leave one of --dry-run and --report out",
        ),
    ],
)
def test_what_cannot_be_sent_is_said_before_anything_is_sent(
    lab: Lab,
    service: Service,
    tmp_path: Path,
    name: str,
    content: object,
    options: list[str],
    said: str,
) -> None:
    before = service.get("/studies")["data"]
    path = tmp_path / name
    if content is not None:
        written(path, content)
    status, out, err = lab("study", path, *options)
    assert (status, out) == (2, "")
    assert said in err
    assert service.get("/studies")["data"] == before


def test_a_change_without_a_value_is_a_usage_error(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        lab("study", "mlp-depth", "--set", "epochs")
    assert (
        "write PATH=VALUE, such as epochs=2 or dataset.name=digits, not 'epochs'"
        in capsys.readouterr().err
    )


def test_submit_sends_a_study_elsewhere(lab: Lab, tmp_path: Path) -> None:
    path = written(tmp_path / "grid.json", GRID)
    assert lab("submit", path) == (
        2,
        "",
        f"{path} holds a study: send it with `lab study {path}`\n",
    )


def test_waiting_ends_with_table_verdicts_and_report(
    lab: Lab,
    tmp_path: Path,
    database: Database,
    settings: Settings,
    while_waiting: Callable[..., None],
) -> None:
    while_waiting(lambda: finish_all(database, settings, {0: 0.90, 1: 0.91}))
    report = tmp_path / "report.html"
    status, out, err = lab(
        "study",
        written(tmp_path / "grid.json", GRID),
        "--name",
        "waited for",
        "--no-reuse",
        "--final",
        "--report",
        report,
    )
    assert status == 0
    with database.reading() as session:
        sent = select(Study).where(col(Study.name) == "waited for")
        assert session.exec(sent).one().design["final"] is True
    assert out.startswith("## waited for\n\n| depth | parameters |")
    assert "| 1 | 1,210 | 1,184 | 2 | 90.50 ± 0.71 |" in out
    assert "### Contrasts\n\n- depth 2 against depth 1. " in out
    assert "100 %" in err
    assert "4 of 4 runs done" in err
    assert err.endswith(f"Report: {report}\n")
    assert report.read_text().startswith("<!doctype html>")

    while_waiting(interrupt)
    status, out, err = lab("study", tmp_path / "grid.json", "--wait")
    assert (status, "(4 succeeded; 4 taken over from equal runs)" in err) == (0, True)


def test_a_study_with_a_failed_run_ends_with_status_1_and_says_what_failed(
    lab: Lab,
    tmp_path: Path,
    database: Database,
    settings: Settings,
    while_waiting: Callable[..., None],
) -> None:
    def work() -> None:
        fail_next(database)
        finish_all(database, settings, {0: 0.90, 1: 0.91})

    while_waiting(work)
    status, out, err = lab("study", written(tmp_path / "grid.json", GRID), "--no-reuse", "--wait")
    assert status == 1
    assert out.startswith("## study of depth\n\n| depth |")
    assert "model.depth=1, seed 0: the loss is not finite (lower the learning rate)\n" in err
    assert "4 of 4 runs done, 1 failed" in err
    assert "4 runs (3 succeeded, 1 failed). `lab retry stu_" in err


def test_ctrl_c_leaves_the_study_alone_and_says_how_to_end_it(
    lab: Lab, service: Service, tmp_path: Path, while_waiting: Callable[..., None]
) -> None:
    while_waiting(interrupt)
    status, out, err = lab("study", written(tmp_path / "grid.json", GRID), "--no-reuse", "--wait")
    study = service.get("/studies?limit=1")["data"][0]
    where = f"--url http://127.0.0.1:{service.port}"
    assert (status, out, study["status"]) == (130, "", "queued")
    assert err.endswith(
        f"No longer waiting, but {study['id']} goes on: `lab watch {study['id']} {where}` tells how far it is, `lab"
        f" cancel {study['id']} {where}` ends it.\n"
    )

    status, out, err = lab("submit", written(tmp_path / "experiment.json", {"epochs": 1}), "--wait")
    assert (status, out) == (130, "")
    assert "but exp_" in err
    service.post(f"/experiments/{service.get('/experiments?limit=1')['data'][0]['id']}/cancel")


def test_show_extend_cancel_retry_and_delete_take_a_study(
    lab: Lab, service: Service, tmp_path: Path
) -> None:
    study = json.loads(lab("study", written(tmp_path / "grid.json", GRID), "--no-reuse")[1])["id"]
    assert json.loads(lab("show", study, "--json")[1])["id"] == study
    assert json.loads(lab("extend", study)[1])["seeds"] == [0, 1, 2]
    assert json.loads(lab("extend", study, "--seeds", 2)[1])["progress"]["num_runs"] == 10
    assert lab("delete", study)[0] == 1
    assert json.loads(lab("cancel", study, "--json")[1])["status"] == "cancelled"
    assert json.loads(lab("retry", study, "--json")[1])["status"] == "queued"
    lab("cancel", study)
    assert lab("delete", study) == (0, f"{study} is deleted.\n", "")
    status, _, err = lab("show", study)
    assert (status, f"there is no study '{study}'" in err) == (1, True)


def test_only_studies_are_extended(lab: Lab) -> None:
    assert lab("extend", "exp_" + 13 * "1") == (
        2,
        "",
        f"{'exp_' + 13 * '1'} is an experiment, and a study (stu_…) is wanted\n",
    )


def test_without_a_service_the_reader_learns_how_to_start_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["recipes", "--url", CLOSED_PORT]) == 3
    assert (
        "Start it with `lab serve`, or name another by `lab login URL`, --url, LAB_URL or url=."
        in capsys.readouterr().err
    )


def test_a_reader_that_goes_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-m", "app.commands", "settings"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 second"),
        (89, "89 seconds"),
        (91, "2 minutes"),
        (5000, "83 minutes"),
        (12_600, "3.5 hours"),
        (200_000, "2.3 days"),
    ],
)
def test_durations_are_said_in_the_unit_that_people_use(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_progress_message_tells_when_it_ends_and_what_failed() -> None:
    record: dict[str, Any] = {
        "progress": {
            "num_runs": 6,
            "runs": {"succeeded": 2, "failed": 1, "running": 1, "queued": 2},
        },
        "estimated_finish_at": "2001-02-03T12:00:00Z",
        "is_terminal": False,
    }
    assert job_waiting.study_message(record).startswith(
        "3 of 6 runs done, 1 failed, ends about 2001-02-0"
    )
    assert (
        job_waiting.study_message({**record, "estimated_finish_at": None})
        == "3 of 6 runs done, 1 failed"
    )


# Experiments


def test_a_file_and_what_is_set_make_an_experiment_and_again_another_with_one_change(
    lab: Lab, tmp_path: Path, database: Database, settings: Settings
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text("model: {width: 8}\nepochs: 2\nset: {batch_size: 32}\n")
    status, out, _ = lab("submit", path, "--set", "optimizer=sgd", "--set", "epochs=1")
    first = json.loads(out)
    assert status == 0
    assert (first["spec"]["optimizer"]["name"], first["spec"]["epochs"]) == ("sgd", 1)
    assert first["spec"]["batch_size"] == 32

    changes = ("--set", "optimizer.learning_rate=0.01", "--seeds", 2, "--name", "slower")
    status, out, err = lab("again", first["id"], *changes, "--dry-run")
    assert (status, json.loads(out)["changed"]) == (0, {"optimizer.learning_rate": [0.1, 0.01]})
    finish_all(database, settings, {0: 0.9})
    status, out, _ = lab("again", first["id"], "--go-on", 20, "--dry-run")
    assert (status, json.loads(out)["changed"]) == (0, {"epochs": [1, 20]})
    status, out, err = lab("again", first["id"], *changes)
    again = json.loads(out)
    assert (status, again["like"], again["name"]) == (0, first["id"], "slower")
    assert len(again["runs"]) == 2
    assert err == f"{again['id']}: optimizer.learning_rate 0.1 -> 0.01\n"
    lab("cancel", again["id"])


def test_what_again_cannot_mean_is_said_before_or_by_the_service(lab: Lab) -> None:
    status, _, err = lab("again", "stu_1")
    assert (status, "lab extend" in err) == (2, True)
    assert lab("again", "exp_none")[0] == 1
    status, _, err = lab("again", "exp_none", "--set", "epochs=2")
    assert "there is no experiment 'exp_none'" in err


LAB_FILE = """
shared: {seeds: 2, labels: {lab: one}, overrides: {epochs: 2}}
studies:
  - {name: first, spec: {model: {width: 16}}, vary: {model.depth: [1, 2]}}
  - {name: second, specs: [{name: a, model: {width: 16, depth: 2}}], labels: {part: "2"}}
"""


def test_a_file_of_several_studies_is_priced_as_a_whole_and_equal_runs_once(
    lab: Lab, service: Service, tmp_path: Path
) -> None:
    before = service.get("/studies?limit=500")["data"]
    status, out, _ = lab("study", written(tmp_path / "lab.yaml", LAB_FILE), "--dry-run")
    assert status == 0
    lines = [[part.strip() for part in line.split("  ") if part] for line in out.splitlines()]
    assert lines[0] == ["study", "title", "cells", "runs", "equal to earlier ones", "here"]
    assert lines[1][:4] == ["first", "first", "2", "4"]
    assert lines[2][:5] == ["second", "second", "1", "2", "2"]
    assert "2 studies, 6 runs. 2 of them equal runs of earlier studies" in out
    assert out.rstrip().endswith("Nothing was stored.")
    assert service.get("/studies?limit=500")["data"] == before


def test_a_file_of_several_studies_is_sent_in_its_order_with_what_is_shared(
    lab: Lab, tmp_path: Path
) -> None:
    path = written(tmp_path / "lab.yaml", LAB_FILE)
    status, out, err = lab("study", path, "--set", "batch_size=32", "--no-reuse")
    first, second = json.loads(out)
    assert (status, first["name"], second["name"]) == (0, "first", "second")
    assert first["submitted"] == {
        "name": "first",
        "spec": {"model": {"width": 16}},
        "vary": {"model.depth": [1, 2]},
        "seeds": 2,
        "labels": {"lab": "one"},
        "overrides": {"epochs": 2, "batch_size": 32},
        "reuse": False,
    }
    assert second["submitted"]["labels"] == {"lab": "one", "part": "2"}
    assert err.index(f"1 of 2: {first['id']}") < err.index(f"2 of 2: {second['id']}")
    assert "2 runs equal those of earlier studies here" in err


def test_waiting_each_study_is_sent_when_the_one_before_has_ended_and_takes_equal_runs_over(
    lab: Lab,
    tmp_path: Path,
    database: Database,
    settings: Settings,
    while_waiting: Callable[[Callable[[], object]], None],
) -> None:
    while_waiting(lambda: finish_all(database, settings, {0: 0.9, 1: 0.92}))
    status, out, err = lab("study", written(tmp_path / "lab.yaml", LAB_FILE), "--wait")
    assert status == 0
    assert out.index("## first") < out.index("## second")
    assert "equal those of earlier" not in err
    record = re.search(r"2 of 2: (stu_\w+)", err)
    assert record is not None
    status, shown, _ = lab("show", record[1], "--json")
    assert json.loads(shown)["progress"]["num_reused"] == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("studies: []", "/studies: must be a list of one study or more"),
        ("studies: {}", "/studies: must be a list of one study or more"),
        ("studies: [3]", "study 1: must be an object"),
        (
            "studies: [{recipe: mlp-depth}, {name: x}]",
            "study 2 (x): a study has 'recipe', 'specs', or",
        ),
        (
            "studys: 1\nstudies: [{recipe: mlp-depth}]",
            "has no field 'studys' (did you mean 'studies'?)",
        ),
        ("shared: 3\nstudies: [{recipe: mlp-depth}]", "/shared: must be an object"),
        (
            "shared: {labels: 3}\nstudies: [{recipe: mlp-depth}]",
            "study 1, /labels: must be an object",
        ),
    ],
)
def test_a_file_of_several_studies_that_cannot_be_meant_so_names_the_place(
    lab: Lab, tmp_path: Path, text: str, said: str
) -> None:
    path = written(tmp_path / "lab.yaml", text)
    status, out, err = lab("study", path)
    assert (status, out) == (2, "")
    assert f"{path}" in err
    assert said in err


def test_what_the_service_refuses_is_said_of_every_study_with_its_field_and_none_is_sent(
    lab: Lab, service: Service, tmp_path: Path
) -> None:
    before = len(service.get("/studies?limit=500")["data"])
    text = """
studies:
  - {name: good, recipe: mlp-depth, scale: smoke}
  - {name: bad, recipe: mlp-dpth}
  - {name: worse, spec: {}, vary: {model.widht: [1]}}
"""
    path = written(tmp_path / "lab.yaml", text)
    status, _, err = lab("study", path)
    assert status == 1
    assert f"{path}, study 2 (bad): " in err
    assert "/recipe: there is no recipe 'mlp-dpth' (did you mean 'mlp-depth'?)" in err
    assert f"{path}, study 3 (worse): " in err
    assert "/vary/model.widht: " in err
    assert len(service.get("/studies?limit=500")["data"]) == before


def test_all_recipes_are_one_lab(lab: Lab) -> None:
    status, out, err = lab("study", "--all", "--set", "seeds=1", "--dry-run")
    assert (status, out) == (1, "")
    assert "all recipes (mlp-depth): " in err
    assert "/overrides/seeds: in a study 'seeds' is the study's" in err
    status, out, _ = lab("study", "--all", "--scale", "smoke", "--seeds", 2, "--dry-run")
    assert status == 0
    rows = [line.split()[0] for line in out.splitlines()[1:] if line]
    assert rows[: len(RECIPES)] == list(RECIPES)
    assert re.search(rf"{len(RECIPES)} studies, \d+ runs", out)


@pytest.mark.parametrize(
    "arguments",
    [
        ["study"],
        ["study", "mlp-depth", "--all"],
        ["study", "--all", "--name", "x"],
        ["study", "--all", "--report", "x.html"],
    ],
)
def test_one_study_or_all_of_them(lab: Lab, arguments: list[str]) -> None:
    status, out, err = lab(*arguments)
    assert (status, out) == (2, "")
    assert "--all" in err or "these are several" in err


def test_the_labs_example_is_what_it_says(lab: Lab) -> None:
    path = Path(__file__).parents[2] / "examples" / "laboratory-1.yaml"
    status, out, _ = lab("study", path, "--dry-run")
    assert status == 0
    for title in ("1.1 depth", "1.2 shortcuts", "1.1 the small network", "ours: width"):
        assert title in out
    shortcuts = next(line for line in out.splitlines() if line.startswith("1.2 shortcuts"))
    assert [part.strip() for part in shortcuts.split("  ") if part][2:5] == ["6", "12", "6"]


def test_a_table_is_printed_or_written_in_the_sources_shape(lab: Lab, tmp_path: Path) -> None:
    _, out, _ = lab("study", "mlp-residual", "--scale", "smoke", "--seeds", 1)
    study = json.loads(out)["id"]
    status, out, _ = lab("table", study)
    assert (status, out.splitlines()[2].startswith("| depth | network |")) == (0, True)
    status, out, _ = lab("table", study, "--shape", "published")
    assert "| Depth | Acc MLP | Acc MLP Residual | Improvement |" in out
    path = tmp_path / "table.tex"
    status, out, _ = lab("table", study, "--shape", "published", "--format", "latex", "--out", path)
    assert (status, out) == (0, "")
    assert r"\toprule" in path.read_text()
    status, _, err = lab("table", "exp_" + 13 * "1")
    assert (status, "and a study (stu_…) is wanted" in err) == (2, True)
    status, _, err = lab("table", study, "--out", tmp_path)
    assert (status, str(tmp_path) in err) == (2, True)
