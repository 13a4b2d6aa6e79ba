"""Pictures as LaTeX source: their tables have the numbers of the CSV, and they compile."""

import csv
import io
import math
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.plots.appearance import Appearance, PictureSize, Theme
from app.plots.drawing import WRITTEN_BY, draw
from app.plots.figures.experiments import CurvesFigure
from app.settings import Settings
from app.storage.db import Database
from tests.app.gallery import figures
from tests.app.series import over_runs
from tests.app.studies import finish, grid, send
from tests.app.test_reads import long_experiment

READ = re.compile(
    r"\\pgfplotstableread\[row sep=\\\\\]\{\n(?P<rows>.*?)\n\}(?P<name>\\lab[A-Z]+)", re.DOTALL
)
ODD = (
    "50 % & more_$x^2$ #1 \\ {a} ~ 'q' -- \"d\" <b> [c] Übung é ŝ ± ≤ \N{GREEK SMALL LETTER ALPHA}"
)


def has_pgfplots() -> bool:
    """Whether TeX is here with what the sources need."""
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    return subprocess.run(["kpsewhich", "pgfplots.sty"], capture_output=True).returncode == 0


needs_pgfplots = pytest.mark.skipif(
    not has_pgfplots(), reason="pdflatex with pgfplots is not installed"
)


def tables(source: str) -> dict[str, list[dict[str, float]]]:
    """Rows of each table by the command that stands for it."""
    found = {}
    for read in READ.finditer(source):
        head, *rows = [line.removesuffix(r" \\").split() for line in read["rows"].split("\n")]
        found[read["name"]] = [dict(zip(head, map(float, row), strict=True)) for row in rows]
    return found


def named(source: str) -> dict[str, list[dict[str, float]]]:
    """The tables of curves by split and metric, as a comment before their lines says it."""
    said = dict(re.findall(r"% (\w+ \w+): (\\lab[A-Z]+)", source))
    return {name: tables(source)[command] for name, command in said.items()}


def test_the_curves_have_the_numbers_of_the_csv(api: TestClient, database: Database) -> None:
    made = long_experiment(database, epochs=20, seeds=3, gaps=0.1)
    rows = csv.DictReader(io.StringIO(api.get(f"/experiments/{made}/metrics?format=csv").text))
    of_epoch: dict[tuple[str, int], list[float]] = defaultdict(list)
    for row in rows:
        for column, value in row.items():
            split, _, name = column.partition(".")
            if name in ("loss", "accuracy") and value:
                of_epoch[f"{split} {name}", int(row["epoch"])].append(float(value))
    answer = api.get(f"/experiments/{made}/curves.tex")
    assert answer.headers["content-type"] == "application/x-tex"
    assert answer.headers["content-disposition"] == f'attachment; filename="{made}-curves.tex"'
    drawn = {
        (name, int(row["epoch"])): row for name, rows in named(answer.text).items() for row in rows
    }
    assert drawn.keys() == of_epoch.keys()
    for key, values in of_epoch.items():
        assert (drawn[key]["low"], drawn[key]["high"]) == (min(values), max(values))
        assert drawn[key]["mean"] == pytest.approx(math.fsum(values) / len(values), rel=1e-15)
    assert {row["runs"] for (name, epoch), row in drawn.items() if epoch > 10} == {2}
    assert drawn["train loss", 1]["runs"] == 3


def test_of_one_seed_every_number_is_that_of_the_csv(api: TestClient, database: Database) -> None:
    made = long_experiment(database, epochs=6, seeds=1)
    text = api.get(f"/experiments/{made}/metrics?format=csv").text
    wanted = {
        int(row["epoch"]): float(row["val.loss"]) for row in csv.DictReader(io.StringIO(text))
    }
    drawn = named(api.get(f"/experiments/{made}/curves.tex").text)["val loss"]
    assert {int(row["epoch"]): row["mean"] for row in drawn} == wanted


def test_the_factor_has_the_numbers_of_the_studys_table(
    api: TestClient, database: Database, settings: Settings
) -> None:
    study = send(api, **grid(seeds=3))["id"]
    cells = [cell["key"] for cell in api.get(f"/studies/{study}").json()["cells"]]
    scored = [(cell, seed) for cell in cells for seed in range(3)]
    accuracies = {pair: 0.9 + place**2 / 1997 for place, pair in enumerate(scored)}
    finish(database, settings, study, accuracies)
    rows = list(csv.DictReader(io.StringIO(api.get(f"/studies/{study}/table?format=csv").text)))
    answer = api.get(f"/studies/{study}/factor.tex?factor=model.depth")
    drawn = list(tables(answer.text).values())
    found = sorted(
        (row["value"], row["mean"], row["low"], row["high"])
        for table in drawn
        for row in table
        if "mean" in row
    )
    runs = [row["score"] for table in drawn for row in table if "score" in row]
    assert sorted(runs) == sorted(accuracies.values())
    names = ("depth", "mean", "ci95_low", "ci95_high")
    wanted = sorted(tuple(float(row[name]) for name in names) for row in rows)
    assert found == [pytest.approx(row, rel=1e-14) for row in wanted]
    assert len(found) == 4


def test_the_picture_alone_says_what_it_needs_and_has_the_theme(
    api: TestClient, database: Database
) -> None:
    made = long_experiment(database, epochs=3, seeds=2)
    address = f"/experiments/{made}/curves.tex"
    bare, whole = api.get(f"{address}?bare=true&theme=dark&title=").text, api.get(address).text
    assert bare.startswith("% needs \\usepackage{pgfplots}\n")
    assert bare.rstrip().endswith("\\end{tikzpicture}")
    assert "\\documentclass" not in bare
    assert "\\bfseries\\boldmath" in whole
    assert "\\bfseries\\boldmath" not in bare
    assert "\\definecolor{labblue}{HTML}{56A9E8}" in bare
    assert "\\definecolor{labblue}{HTML}{0072B2}" in whole
    assert whole.startswith("\\documentclass")
    tag = api.get(address).headers["etag"]
    assert api.get(address, headers={"If-None-Match": tag}).status_code == 304
    assert api.get(f"{address}?bare=true", headers={"If-None-Match": tag}).status_code == 200
    assert api.get(f"/experiments/{made}/curves.png").headers["content-type"] == "image/png"


def test_the_other_sources_are_there_too(
    api: TestClient, database: Database, settings: Settings
) -> None:
    study = send(api, **grid())["id"]
    finish(database, settings, study, {})
    ids = ",".join(cell["experiment_id"] for cell in api.get(f"/studies/{study}").json()["cells"])
    for address in (
        f"/studies/{study}/curves.tex",
        f"/studies/{study}/distillation.tex",
        f"/comparisons/curves.tex?experiments={ids}",
    ):
        assert "\\begin{groupplot}" in api.get(address).text, address


@pytest.mark.sqlite
@needs_pgfplots
@pytest.mark.costly
def test_sources_compile_alone_and_within_a_document(tmp_path: Path) -> None:
    """Every kind, of names with all that LaTeX takes for commands, of no numbers and of one."""
    chosen = {name: one for name, one in figures().items() if type(one) in WRITTEN_BY}
    one = over_runs({1: 0.5})
    chosen["odd"] = CurvesFigure(ODD, ODD, ["loss", "seconds"], {("val", "loss"): one}, 1, [1])
    chosen["nothing"] = CurvesFigure("", "", ["loss", "accuracy"], {}, 9)
    assert {type(figure) for figure in chosen.values()} == set(WRITTEN_BY)
    small = Appearance(Theme.DARK, PictureSize.SMALL)
    (tmp_path / "alone.tex").write_bytes(draw(chosen["odd"], "tex", small))
    for name, figure in chosen.items():
        (tmp_path / f"{name}.tex").write_bytes(draw(figure, "tikz"))
    needed = [
        line.removeprefix("% needs ")
        for line in (tmp_path / "odd.tex").read_text().split("\n")
        if line.startswith("% needs ")
    ]
    inputs = "\n".join(
        f"\\resizebox{{\\linewidth}}{{!}}{{\\input{{{name}}}}}\\clearpage" for name in chosen
    )
    document = ["\\documentclass{article}", *needed, "\\begin{document}", inputs, "\\end{document}"]
    (tmp_path / "paper.tex").write_text("\n".join(document))
    for name, pages in (("alone", 1), ("paper", len(chosen))):
        command = [
            "pdflatex",
            "-interaction=nonstopmode",
            "-halt-on-error",
            "-no-shell-escape",
            name,
        ]
        ran = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, errors="replace"
        )
        assert ran.returncode == 0, ran.stdout[-3000:]
        assert f"({pages} page" in " ".join(ran.stdout.split())
