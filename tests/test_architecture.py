"""The house: what no import contract can say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("app", "worker", "lab_models", "migrations")
LONGEST_MODULE = 330


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]


def test_neither_api_nor_worker_loads_torch() -> None:
    program = "import app.main, app.cli, worker.tasks, worker.__main__, sys; assert 'torch' not in sys.modules; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("package", "edges"), [("app", {"app/plots/__main__.py"}), ("worker", {"worker/attempt.py"}), ("lab_models", {"lab_models/trainer.py"})]
)
def test_everything_is_caught_at_the_edges_only(package: str, edges: set[str]) -> None:
    found = {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py") if re.search(r"except (Exception|BaseException)\b", path.read_text())}
    allowed = edges | {"lab_models/files.py", "lab_models/forkserver.py"}  # these raise again, or end a fork
    assert found <= allowed


def test_the_api_does_not_load_matplotlib_and_what_draws_knows_no_service() -> None:
    for program in (
        "import app.main, sys; assert 'matplotlib' not in sys.modules",
        "import app.plots.__main__, sys; from app.plots.drawing import warm_up; warm_up(); assert not {'torch', 'sqlalchemy', 'fastapi'} & set(sys.modules)",
    ):
        subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_run_status_is_written_in_one_place() -> None:
    for path in sources():
        if path.parent.name != "lifecycle" and "services" in path.parts:
            assert not re.search(r"\.values\([^)]*\bstatus=", path.read_text()), path


def test_modules_stay_readable() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources() if "versions" not in path.parts}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_every_module_opens_with_what_it_is_for() -> None:
    for path in sources():
        assert path.read_text().startswith('"""'), path
