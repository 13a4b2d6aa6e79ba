"""What the service is made of: every package by version and hash, images by digest once asked for, advisories looked up
where there are any.
"""

import importlib.metadata
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements import install
from tests import audit
from tests.compose import digests

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
GROUPS: dict[str, list[str]] = PROJECT["dependency-groups"]
SERVICE = [*GROUPS["service"], *EXTRAS["postgres"], *EXTRAS["s3"]]
ASKED_FOR = {
    "service": SERVICE,
    "worker": [*SERVICE, *EXTRAS["lab"]],
    "dev": [*SERVICE, *EXTRAS["lab"], *EXTRAS["dev"], *GROUPS["build"]],
    "bench": [*SERVICE, *EXTRAS["lab"], *EXTRAS["dev"], *EXTRAS["bench"], *GROUPS["build"]],
    "build": GROUPS["build"],
    "supply": GROUPS["supply"],
}
PYTHON = {
    "python_full_version": "3.11.7",
    "python_version": "3.11",
    "sys_platform": "linux",
    "platform_machine": "x86_64",
}


def locked(name: str) -> list[tuple[Requirement, list[str]]]:
    """Each requirement of a list with its hashes."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    lines = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return [
        (
            Requirement(line.partition(" --hash")[0]),
            re.findall(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)", line),
        )
        for line in lines
    ]


def versions(name: str) -> dict[str, str]:
    """What a list installs on Python 3.11 on Linux."""
    rows = [row for row, _ in locked(name) if row.marker is None or row.marker.evaluate(PYTHON)]
    return {canonicalize_name(row.name): str(row.specifier).removeprefix("==") for row in rows}


@pytest.mark.parametrize("name", ASKED_FOR)
def test_every_package_is_named_by_version_and_hash_and_no_index_is(name: str) -> None:
    rows = locked(name)
    assert rows
    for row, hashes in rows:
        assert [specifier.operator for specifier in row.specifier] == ["=="], row
        assert hashes, row
        assert row.url is None
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash)", text, re.MULTILINE)


@pytest.mark.parametrize("name", ASKED_FOR)
def test_the_lists_hold_what_the_project_asks_for(name: str) -> None:
    """Where this fails, pyproject.toml was changed without `make lock`."""
    there = versions(name)
    for asked in map(Requirement, ASKED_FOR[name]):
        assert asked.specifier.contains(there[canonicalize_name(asked.name)]), (
            f"{asked}: run `make lock`"
        )


def test_a_package_has_one_version_wherever_it_is_installed() -> None:
    everything = versions("bench")
    for name in ASKED_FOR:
        there = versions(name)
        assert {
            package: version
            for package, version in there.items()
            if everything.get(package, version) != version
        } == {}, name
    assert (
        versions("service").items()
        <= versions("worker").items()
        <= versions("dev").items()
        <= everything.items()
    )


def test_the_containers_of_the_service_hold_no_torch_and_none_of_the_tests_tools() -> None:
    assert (
        not {"torch", "torchvision", "scikit-learn", "pytest", "ruff", "uv"}
        & versions("service").keys()
    )
    assert not {"pytest", "ruff", "schemathesis", "uv"} & versions("worker").keys()


def test_what_an_image_installs_is_checked_against_hashes_or_is_the_project_itself() -> None:
    installs = re.findall(
        r"^.*pip (?:install|wheel).*$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    assert len(installs) >= 4
    for line in installs:
        assert ("--require-hashes" in line and "--requirement" in line) or "--no-deps" in line, line


@pytest.mark.parametrize("backend", ["cuda", "cpu"])
@pytest.mark.parametrize("name", ["worker", "dev", "bench", "supply"])
def test_what_make_installs_is_checked_against_hashes_or_is_the_project_or_the_cpu_build(
    name: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    commands = install.commands(name, backend, tmp_path)
    for command in commands:
        match command:
            case [_, "-m", "pip", "install", *rest] if "--require-hashes" in rest:
                files = [word.split("=", 1)[1] for word in rest if word.startswith("--requirement")]
                rows = [row for file in files for row in install.requirements(Path(file))]
                assert all(" --hash=sha256:" in row for row in rows)
                assert ("--no-deps" in rest) == (backend == "cpu" and name != "supply")
            case [_, "-m", "pip", "install", *rest]:
                assert rest[-4:-1] == ["--no-deps", "--no-build-isolation", "--editable"]
                assert rest[-1] in (".", "./client")
            case [uv, *rest]:
                assert uv.endswith("/uv")
                assert backend == "cpu"
                assert {"--no-deps", "--torch-backend"} <= set(rest)
                there = versions("worker")
                assert rest[-2:] == [f"{part}=={there[part]}" for part in ("torch", "torchvision")]
    assert ("--editable" in commands[-1]) == (name in {"worker", "dev"})
    installing = [
        line for line in (ROOT / "Makefile").read_text().splitlines() if "pip install" in line
    ]
    assert all("--require-hashes" in line for line in installing)


def test_the_cpu_build_leaves_out_what_pytorch_needs_for_cuda_and_nothing_else() -> None:
    out = {name for name in versions("worker") if install.CUDA.fullmatch(name)}
    assert {"torch", "nvidia-cublas", "triton", "cuda-toolkit"} <= out
    for package in sorted(versions("worker").keys() - out):
        asked = map(Requirement, importlib.metadata.requires(package) or ())
        needs = {canonicalize_name(row.name) for row in asked if row.marker is None}
        assert not needs & (out - {"torch", "torchvision"}), package


def test_what_the_api_leans_on_and_what_rounds_has_an_upper_end() -> None:
    ends = {
        Requirement(line).name: str(Requirement(line).specifier)
        for line in [*GROUPS["service"], *EXTRAS["lab"]]
    }
    for name in ("fastapi", "starlette", "uvicorn", "celery", "torch", "torchvision"):
        assert "<" in ends[name], name


@pytest.fixture
def pip_audit(tmp_path: Path) -> Any:
    """A stand-in that says of the canary and of the lists what it is told to, or fails."""

    def make(
        of_the_canary: list[dict[str, Any]] | None, of_the_lists: list[dict[str, Any]] | None = None
    ) -> tuple[str, ...]:
        program = tmp_path / "pip_audit.py"
        program.write_text(
            "import json, sys\nsaid ="
            f" json.loads({json.dumps(json.dumps([of_the_canary, of_the_lists]))})['--require-hashes' in sys.argv]\nif"
            " said is None:\n    sys.exit('WARNING: trying\\nERROR: no route to the"
            " advisories')\nprint(json.dumps({'dependencies': said, 'fixes':"
            " []}))\nsys.exit(any(package.get('vulns') for package in said))\n"
        )
        return (sys.executable, str(program))

    return make


CANARY = [
    {"name": "jinja2", "version": "2.4.1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.8.1"]}]}
]
FINE = {"name": "rich", "version": "15.0.0", "vulns": []}
LIST = [str(ROOT / "requirements" / "build.txt")]


def test_an_audit_says_what_is_vulnerable_and_where_it_is_mended(
    pip_audit: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {
        "name": "pillow",
        "version": "1.0",
        "vulns": [
            {"id": "CVE-1", "fix_versions": ["1.1", "2.0"]},
            {"id": "CVE-2", "fix_versions": []},
        ],
    }
    assert audit.main(LIST, pip_audit(CANARY, [FINE, bad])) == audit.VULNERABLE
    out = capsys.readouterr().out
    assert (
        "pillow 1.0: CVE-1, mended in 1.1, 2.0\npillow 1.0: CVE-2, mended in no release yet\n"
        in out
    )
    assert "2 packages: 1 with known vulnerabilities, 0 not checked" in out


def test_an_audit_that_finds_nothing_says_of_how_many(
    pip_audit: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main(LIST, pip_audit(CANARY, [FINE])) == audit.CLEAN
    assert capsys.readouterr().out == "1 packages: 0 with known vulnerabilities, 0 not checked\n"


@pytest.mark.parametrize(
    ("canary", "lists", "said"),
    [
        (
            [{"name": "jinja2", "skip_reason": "not found"}],
            [FINE],
            "nothing was checked: the index that pip-audit asks carries no advisories",
        ),
        (None, None, "nothing was checked: the advisories could not be read: ERROR: no route"),
        (CANARY, None, "nothing was checked: the advisories could not be read: ERROR: no route"),
        (
            CANARY,
            [FINE, {"name": "torch", "skip_reason": "not found"}],
            "torch: not checked: not found",
        ),
    ],
)
def test_an_audit_that_could_not_ask_never_says_that_all_is_well(
    pip_audit: Any, capsys: pytest.CaptureFixture[str], canary: Any, lists: Any, said: str
) -> None:
    assert audit.main(LIST, pip_audit(canary, lists)) == audit.NOT_CHECKED
    assert said in capsys.readouterr().out


def test_an_audit_without_pip_audit_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(LIST, ("/nowhere/pip-audit",)) == audit.NOT_CHECKED
    assert "could not be read" in capsys.readouterr().out


@pytest.fixture
def containers(tmp_path: Path) -> Path:
    """A copy of the two files, to be changed."""
    for name in digests.FILES:
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def fake_docker(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "bin" / "docker"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        f"#!{sys.executable}\nimport hashlib, json, sys\nname = sys.argv[-1]\nrepository ="
        f" name.rpartition(':')[0]\n{script}"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


SAYS_DIGESTS = """
if sys.argv[1] == "pull":
    print(name)
else:
    digest = hashlib.sha256((name + SALT).encode()).hexdigest()
    print(json.dumps([f"elsewhere.example/{repository}@sha256:{'0' * 64}", f"{repository}@sha256:{digest}"]))
"""


def test_digests_are_written_beside_the_tags_and_renewed(
    containers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: (containers / name).read_text() for name in digests.FILES}
    images = {match["name"] for text in before.values() for match in digests.IMAGE.finditer(text)}
    assert images == {"python:3.11-slim-bookworm", "redis:7-bookworm", "postgres:15-bookworm"}
    written = []
    for salt in ("first", "second"):
        fake_docker(containers, monkeypatch, SAYS_DIGESTS.replace("SALT", repr(salt)))
        assert digests.main(["--folder", str(containers)]) == 0
        written.append({name: (containers / name).read_text() for name in digests.FILES})
    for texts in written:
        assert len(re.findall(r"@sha256:[0-9a-f]{64}(?=\s)", "\n".join(texts.values()))) == len(
            images
        )
        assert {
            name: re.sub(r"@sha256:[0-9a-f]{64}", "", text) for name, text in texts.items()
        } == {name: re.sub(r"@sha256:[0-9a-f]{64}", "", text) for name, text in before.items()}
    assert written[0] != written[1]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("sys.exit('no such host')", "no such host"),
        ("print('[]' if sys.argv[1] == 'image' else name)", "no single digest"),
        (
            "print('[\"redis@sha256:short\"]' if sys.argv[1] == 'image' else name)",
            "no single digest",
        ),
    ],
)
def test_where_one_digest_cannot_be_had_no_file_is_changed(
    containers: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    said: str,
) -> None:
    before = {name: (containers / name).read_text() for name in digests.FILES}
    fake_docker(containers, monkeypatch, script)
    assert digests.main(["--folder", str(containers)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("nothing was changed: ")
    assert said in out
    assert {name: (containers / name).read_text() for name in digests.FILES} == before


def test_without_docker_no_file_is_changed(
    containers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(containers))
    assert digests.main(["--folder", str(containers)]) == 1
    assert capsys.readouterr().out.startswith("nothing was changed: `docker pull")
