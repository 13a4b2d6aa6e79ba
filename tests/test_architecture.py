"""The house: what no import contract can say."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import training_lab
from app.storage.tables import Run
from tests import rings

ROOT = Path(__file__).parent.parent
PACKAGES = ("app", "worker", "lab_models", "migrations")
CLIENT = ROOT / "client"
LONGEST_MODULE = 300
MOST_CPU_SECONDS = 0.8
"""Of a command, to its end: 0.2 to 0.3 on a quiet machine, and three times that is no reason to fail on a busy one. The
server alone takes 2.4.
"""


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]


def sources_with_the_client() -> list[Path]:
    return [*sources(), *(CLIENT / "training_lab").rglob("*.py")]


def test_neither_api_nor_worker_loads_torch() -> None:
    program = (
        "import app.main, app.serving.processes, worker.tasks, worker.__main__, sys; assert not {'torch', 'sklearn'} &"
        " set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


SERVER = {
    "fastapi",
    "starlette",
    "uvicorn",
    "sqlalchemy",
    "sqlmodel",
    "pydantic_settings",
    "celery",
    "kombu",
    "redis",
    "numpy",
    "scipy",
    "matplotlib",
    "PIL",
}


@pytest.mark.parametrize(
    "command",
    [
        "--version",
        "--help",
        "keys --help",
        "show exp_a",
        "submit BODY",
        "study BODY",
        "data list",
        "cancel exp_a",
        "ls",
        "watch exp_4k7z",
        "train --help",
        "train --lr 0.1 --print",
        "completion bash",
    ],
)
def test_what_speaks_to_a_service_loads_nothing_of_it_and_is_there_at_once(
    command: str, tmp_path: Path
) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"specs": [{}]}' if command.startswith("study") else "{}")
    arguments = [str(body) if word == "BODY" else word for word in command.split()]
    program = (
        "import atexit, os, sys; from app.commands.__main__ import main\natexit.register(lambda: print('loaded',"
        f" *{{name.partition('.')[0] for name in sys.modules}}, sum(os.times()[:2])))\nsys.argv[1:] = {arguments!r};"
        " sys.exit(main())"
    )
    unreachable = {**os.environ, "LAB_URL": "http://127.0.0.1:9"}
    for _ in range(3):
        said = subprocess.run(
            [sys.executable, "-c", program],
            check=False,
            cwd=ROOT,
            env=unreachable,
            capture_output=True,
            text=True,
        ).stdout
        *loaded, cpu_seconds = said.splitlines()[-1].split()
        assert not SERVER & set(loaded)
        if float(cpu_seconds) < MOST_CPU_SECONDS:
            return
    pytest.fail(f"three times more than {MOST_CPU_SECONDS} s of CPU, the last time {cpu_seconds}")


@pytest.mark.parametrize(
    ("package", "edges"),
    [
        ("app", {"app/plots/__main__.py", "app/pages/rendering.py"}),
        ("worker", {"worker/attempt.py"}),
        ("lab_models", {"lab_models/running/trainer.py"}),
    ],
)
def test_everything_is_caught_at_the_edges_only(package: str, edges: set[str]) -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"except (Exception|BaseException)\b", path.read_text())
    }
    # these raise again, or end a fork
    allowed = edges | {"lab_models/common/files.py", "lab_models/running/forkserver.py"}
    assert found <= allowed


def test_the_api_does_not_load_matplotlib_and_what_draws_knows_no_service() -> None:
    for program in (
        "import app.main, sys; assert 'matplotlib' not in sys.modules",
        (
            "import app.plots.__main__, sys; from app.plots.drawing import warm_up; warm_up(); assert not {'torch',"
            " 'sqlalchemy', 'fastapi'} & set(sys.modules)"
        ),
    ):
        subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def writes_of_runs(source: str) -> list[str]:
    """What in a module makes a run or changes one: statements on their table, rows, attributes of `run`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name("Run")):
                found.append(ast.unparse(node))
            case ast.Call(
                func=ast.Name(verb) | ast.Attribute(attr=verb), args=[ast.Name("Run"), *_]
            ):
                found += [ast.unparse(node)] if verb.startswith(("update", "insert")) else []
            case ast.Subscript(value=ast.Attribute(attr="tables"), slice=ast.Constant("run")):
                found.append(ast.unparse(node))
            case ast.Attribute(ast.Name("run"), column, ast.Store()) if column in Run.model_fields:
                found.append(ast.unparse(node))
            case _:
                pass
    return found


def test_runs_are_made_and_changed_in_one_place() -> None:
    for path in sources():
        if path.parent.name != "lifecycle" and "versions" not in path.parts:
            assert writes_of_runs(path.read_text()) == [], path


@pytest.mark.parametrize(
    "line",
    [
        "session.execute(update(Run).where(col(Run.id) == run_id).values(priority=1))",
        "session.execute(insert(Run), rows)",
        "session.add(Run(id='run_1', status='succeeded'))",
        "run.step = 0",
        "metadata().tables['run'].update()",
    ],
)
def test_a_second_writer_of_runs_is_seen(line: str) -> None:
    assert len(writes_of_runs(f"def injected(session, run, run_id, rows):\n    {line}\n")) == 1


def test_modules_stay_readable() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in sources_with_the_client()
        if "versions" not in path.parts
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_every_module_opens_with_what_it_is_for() -> None:
    for path in sources_with_the_client():
        assert path.read_text().startswith('"""'), path


@pytest.mark.parametrize("house", ["service", "client"])
def test_no_class_name_has_two_meanings(house: str) -> None:
    """Of the client's its users see what the service's words mean: its experiment is the service's, from outside."""
    found: dict[str, list[str]] = {}
    for path in sources() if house == "service" else CLIENT.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


INJECTED = {
    # a service that asks a command, two services in a circle, an objective that calls the executor
    "app/services/disk.py": "from app.commands import homes",
    "app/services/owners/keys.py": "from app.services.owners import limits",
    "lab_models/training/objectives.py": "from lab_models.running import execution",
}
BROKEN_BY_THEM = {"an import only falls", "no circle anywhere", "rooms of the lab"}


def test_contracts_see_what_must_not_be(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, line in INJECTED.items():
        with (tmp_path / name).open("a") as file:
            file.write(f"\n\ndef injected() -> None:\n    {line}\n")
    program = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    said = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 1, said.stdout
    assert set(re.findall(r"^(.*) BROKEN$", said.stdout, re.MULTILINE)) >= BROKEN_BY_THEM


def test_the_contract_of_the_client_sees_what_must_not_be(tmp_path: Path) -> None:
    shutil.copytree(CLIENT / "training_lab", tmp_path / "training_lab")
    shutil.copy(CLIENT / "pyproject.toml", tmp_path)
    program = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    for line, status in (("", 0), ("from app.errors import ServiceError\n", 1)):
        with (tmp_path / "training_lab" / "errors.py").open("a") as file:
            file.write(line)
        said = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert said.returncode == status, said.stdout
    assert "the client knows nothing of the service BROKEN" in said.stdout


def test_the_client_has_the_services_version() -> None:
    """They are released together."""
    versions = {
        tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"]
        for folder in (ROOT, CLIENT)
    }
    assert versions == {training_lab.__version__}


def test_what_the_fast_ring_leaves_out_exists() -> None:
    """Where this fails, a test was renamed: rename it in tests/thorough.txt too."""
    for listed in rings.thorough():
        path, *names = listed.split("::")
        text = (ROOT / path).read_text()
        for name in set(names) - {"runTest"}:  # of a state machine
            assert re.search(
                rf"^( *(async )?(def|class) {name}\b|{name} = )", text, re.MULTILINE
            ), listed
