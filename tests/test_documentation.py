"""The documentation is true: its tables are the code's, its commands run as they stand."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.commands.reference import SECTIONS, updated
from app.main import create_app
from app.settings import Settings
from app.storage.states import REASON_MEANINGS, StatusReason
from lab_models.specs import read_request
from lab_models.studies.design import cell_request
from lab_models.studies.request import design_of, read_study_request
from tests.e2e.service import Service

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
GENERATED = {
    "README.md": ("settings", "reasons"),
    "docs/spec.md": ("presets", "spec"),
    "docs/studies.md": ("recipes",),
}
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_generated_table_stands_somewhere() -> None:
    assert {section for sections in GENERATED.values() for section in sections} == set(SECTIONS)


@pytest.mark.parametrize("document", GENERATED)
def test_generated_tables_are_up_to_date(document: str) -> None:
    text = (ROOT / document).read_text()
    assert all(f"<!-- {name}: generated -->" in text for name in GENERATED[document])
    assert updated(text) == text, "run `make docs`"


def test_every_status_reason_is_explained() -> None:
    assert set(REASON_MEANINGS) == set(StatusReason)


def test_every_route_is_in_the_readme(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path, log_level="ERROR", _env_file=None))
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            assert re.search(rf"^\| `{method.upper()} {re.escape(path)}", README, re.MULTILINE), (
                f"{method.upper()} {path}"
            )


def test_every_json_body_of_the_documents_is_valid() -> None:
    text = README + "".join(
        (ROOT / "docs" / name).read_text() for name in ("spec.md", "studies.md")
    )
    bodies = re.findall(r"--json '(\{.*?\})'", text, re.DOTALL) + [
        block for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL) if '"dataset"' in block
    ]
    assert len(bodies) >= 3
    for body in bodies:
        document = json.loads(body)
        if {"recipe", "vary", "specs"} & set(document):
            design = design_of(read_study_request(document))
            assert all(cell_request(design, cell) for cell in design.cells)
        elif "not_a_field" not in body:
            read_request(document)


def test_every_relative_link_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!http|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_first_screen_shows_what_it_is_the_demo_a_curl_and_a_picture() -> None:
    first = "\n".join(README.splitlines()[:40])
    for needed in ("make demo", "curl --json", "curves.png", "![", "REST"):
        assert needed in first, needed


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.timeout(500)
def test_every_curl_of_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    """All ```bash blocks under "A curl for each verb" in one shell, against a service of our own port."""
    section = README.split("## A curl for each verb")[1].split("\n## ")[0]
    script = "\n".join(re.findall(r"```bash\n(.*?)```", section, re.DOTALL))
    assert script.count("curl") >= 10
    service = Service(tmp_path / "home")
    try:
        service.serve()
        text = "set -euo pipefail\n" + script.replace("localhost:8000", f"127.0.0.1:{service.port}")
        result = subprocess.run(
            ["bash", "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=400
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")
        assert (tmp_path / "metrics.csv").read_text().startswith("run_id,seed,epoch")
        assert len((tmp_path / "weights.safetensors").read_bytes()) > 1000
        assert "did you mean 'depth'?" in result.stdout
    finally:
        service.stop()
