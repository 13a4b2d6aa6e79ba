"""The documentation is true: its tables are the code's, its commands run as they stand."""

import argparse
import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.commands.__main__ import _parser
from app.commands.reference.tables import SECTIONS, updated
from app.main import create_app
from app.settings import Settings
from app.storage.states import REASON_MEANINGS, StatusReason
from lab_models.studies.again import read_changed
from lab_models.studies.design import cell_request
from lab_models.studies.designing import design_of
from lab_models.studies.request import read_study_request

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MOST_BYTES_OF_THE_README = 10_000
GENERATED = {
    "api": ("routes", "errors", "reasons"),
    "commands": ("targets",),
    "settings": ("settings",),
    "spec": ("presets", "spec"),
    "studies": ("recipes",),
}
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def doc(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_every_generated_table_stands_somewhere() -> None:
    assert {section for sections in GENERATED.values() for section in sections} == set(SECTIONS)


@pytest.mark.parametrize("document", GENERATED)
def test_generated_tables_are_up_to_date(document: str) -> None:
    text = doc(document)
    assert all(f"<!-- {name}: generated -->" in text for name in GENERATED[document])
    assert updated(text) == text, "run `make docs`"


def test_every_status_reason_is_explained() -> None:
    assert set(REASON_MEANINGS) == set(StatusReason)


def test_every_route_is_described_in_words(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path, log_level="ERROR", _env_file=None))
    words = doc("api").split("## Parameters and answers")[0]
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            assert re.search(rf"^\| `{method.upper()} {re.escape(path)}`", words, re.MULTILINE), (
                f"{method.upper()} {path}"
            )


def test_every_code_that_a_problem_can_have_is_described() -> None:
    folder = ROOT / "app" / "api" / "http"
    codes = {
        call.args[1].value
        for path in folder.glob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "") == "problem"
        and isinstance(call.args[1], ast.Constant)
    }
    assert "database_moved" in codes
    assert all(f"`{code}`" in doc("api") for code in codes | {"method_not_allowed"})


def commands(
    parser: argparse.ArgumentParser, path: str = "lab"
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that does something, with its parser."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield path, parser
    for action in below:
        for name, child in action.choices.items():
            yield from commands(child, f"{path} {name}")


def test_every_command_and_every_option_is_described() -> None:
    text = doc("commands")
    found = dict(commands(_parser()))
    assert len(found) > 20
    for command, parser in found.items():
        rows = [line for line in text.splitlines() if re.search(rf"`{command}[` ]", line)]
        assert rows, command
        shown = [one for one in parser._actions if one.help != argparse.SUPPRESS]
        for action in shown:
            for option in set(action.option_strings) - {"-h", "--help", "--url", "--quiet"}:
                assert any(option in row for row in rows), f"{command} {option}"


def test_every_json_body_of_the_documents_is_valid() -> None:
    text = README + "".join(map(doc, ("tour", "spec", "studies", "data")))
    bodies = re.findall(r"-d '(\{.*?\})'", text, re.DOTALL) + [
        block for block in blocks(text, "json") if '"dataset"' in block
    ]
    assert len(bodies) >= 30
    for body in bodies:
        document = json.loads(body)
        if {"recipe", "vary", "specs"} & set(document):
            design = design_of(read_study_request(document))
            assert all(cell_request(design, cell) for cell in design.cells)
        elif "not_a_field" not in body and document.keys() not in ({"seeds"}, {"split", "row"}):
            read_changed(document)


def anchors(text: str) -> set[str]:
    """The headings as they are named in links."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


def test_every_relative_link_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for target, anchor in re.findall(
            r"\]\((?!http)([^)#\s]*)(?:#([^)]*))?\)", document.read_text()
        ):
            found = document.parent / target if target else document
            assert found.exists(), f"{document.name}: {target}"
            if anchor:
                assert anchor in anchors(found.read_text()), f"{document.name}: {target}#{anchor}"


def test_every_decision_has_a_status_a_date_and_its_row_in_the_index() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    rows = dict(
        re.findall(r"\((\d{4}-[^)]*\.md)\) \| ([^|]+ \| \d{4}-\d\d-\d\d) \|$", index, re.MULTILINE)
    )
    records = {path.name: path for path in (ROOT / "docs" / "decisions").glob("0*.md")}
    assert list(rows) == sorted(records)
    for name in sorted(records):
        number = int(name[:4])
        title, status = re.match(
            r"# \d+\. (.*)\n\n(Status: .*\.)\n", records[name].read_text()
        ).groups()
        assert f"| {number} | [{title}]({name}) |" in index
        said, date = rows[name].split(" | ")
        assert status == f"Status: {said}. Date: {date}."


def test_a_word_of_the_glossary_stands_there_once_and_says_where_it_lives() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in doc("glossary").splitlines()
        if re.match(r"\| (?!word )\w", line)
    ]
    words = [word.strip() for row in rows for word in row[0].split(",")]
    assert len(rows) >= 40
    assert len(set(words)) == len(words)
    assert all(len(row) == 3 and "`" in row[2] for row in rows)


def layers_of(container: str) -> list[set[str]]:
    """The floors of a package, from the top, as the contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(one["layers"] for one in contracts if one.get("containers") == [container])
    return [set(layer.split(" | ")) for layer in layers]


def test_the_drawing_of_the_house_is_the_contracts() -> None:
    drawing = blocks(doc("architecture").split("## Floors and rooms")[1], "")[0]
    service, lab = drawing.split("\nlab_models\n")
    floors = {
        "app": re.findall(r"^  (\w[^│\n]*?)(?:  |$)", service, re.MULTILINE),
        "app.api": re.findall(
            r"^    │  (.*?)(?:  |$)", service.split("  services")[0], re.MULTILINE
        ),
        "app.services": re.findall(
            r"^    │  (.*?)(?:  |$)", service.split("  services")[1], re.MULTILINE
        ),
        "lab_models": re.findall(r"^  (\w.*?)(?:  |$)", lab, re.MULTILINE),
    }
    for package, drawn in floors.items():
        said = [layer for layer in layers_of(package) if layer != {"__main__"}]
        assert [set(floor.split(" · ")) for floor in drawn] == said, package


def test_what_is_said_not_to_be_there_is_not_served(tmp_path: Path) -> None:
    section = doc("architecture").split("## What is not there yet")[1].split("\n## ")[0]
    words = {word.lower().rstrip("s") for word in re.findall(r"\w{3,}", section.split(".")[0])}
    paths = create_app(Settings(home=tmp_path, _env_file=None)).openapi()["paths"]
    served = {part.rstrip("s") for path in paths for part in re.split(r"[/.{}_-]", path) if part}
    assert {"module"} <= words
    assert words & served == set()


def test_the_first_screen_shows_what_it_is_the_demo_a_curl_and_a_picture() -> None:
    first = "\n".join(README.splitlines()[:40])
    for needed in ("make demo", "curl -s -d", "curves.png", "![", "REST"):
        assert needed in first, needed


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(README.encode()) <= MOST_BYTES_OF_THE_README
