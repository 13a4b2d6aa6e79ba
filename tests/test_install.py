"""`make install` on a bare machine: what it says, what it refuses, what it installs, with wheels of a few lines."""

import base64
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from requirements import install

ROOT = Path(__file__).parent.parent
BUILDER = """
import base64, hashlib, zipfile
from pathlib import Path
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = {"client": "tiny_client"}.get(Path.cwd().name, "tiny")
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(Path(folder) / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return f"{name}-1.0-py3-none-any.whl"
"""
UV = """#!python
import subprocess, sys
from pathlib import Path
with Path("uv.log").open("a") as log:
    print(*sys.argv[1:], file=log)
python, packages = sys.argv[sys.argv.index("--python") + 1], sys.argv[-2:]
pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--find-links", "cpu", *packages]
sys.exit(subprocess.run(pip).returncode)
"""
"""In place of uv, which asks PyTorch's own index: it takes the wheels of the folder `cpu`."""


def wheel(folder: Path, name: str, version: str, file: str = "", content: str = "") -> str:
    """Make a wheel; its row in a list."""
    stem = f"{name.replace('-', '_')}-{version}"
    files = {
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        (file or f"{name.replace('-', '_')}/__init__.py"): content,
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},"
        f"{len(text)}\n"
        for path, text in files.items()
    )
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in {**files, f"{stem}.dist-info/RECORD": record}.items():
            entry = zipfile.ZipInfo(inner)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, text)
    return (
        f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with our Makefile and lists of packages of a few lines."""
    folder = tmp_path / "project"
    lists = folder / "requirements"
    for made in (lists, folder / "wheels", folder / "cpu"):
        made.mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "requirements" / "install.py", lists)
    wheels = folder / "wheels"
    worker = "".join(
        wheel(wheels, name, "2.0") for name in ("base", "nvidia-cublas", "torch", "torchvision")
    )
    builder = wheel(wheels, "builder", "1.0", "builder.py", BUILDER)
    (lists / "worker.txt").write_text("# locked\n" + worker)
    (lists / "build.txt").write_text(builder)
    (lists / "dev.txt").write_text(worker + builder + wheel(wheels, "tester", "1.0"))
    (lists / "supply.txt").write_text(
        wheel(wheels, "auditor", "1.0") + wheel(wheels, "uv", "1.0", "uv-1.0.data/scripts/uv", UV)
    )
    for part in ("torch", "torchvision"):
        wheel(folder / "cpu", part, "2.0+cpu")
    (folder / "client").mkdir()
    for own in (folder, folder / "client"):
        (own / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["builder"]\nbuild-backend = "builder"\n'
        )
    return folder


def make(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "UV_", "PYTHON", "MAKE", "MFLAGS", "COV_"))
    }
    offline = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(project / "wheels"),
    }
    return subprocess.run(
        ["make", f"PYTHON={sys.executable}", *arguments],
        check=False,
        cwd=project,
        env={**clean, **offline, **environment},
        capture_output=True,
        text=True,
    )


def installed(project: Path) -> set[str]:
    found = (project / ".venv").glob("lib/python3*/site-packages/*.dist-info")
    return {path.name.removesuffix(".dist-info") for path in found}


@pytest.mark.costly
def test_a_venv_goes_on_after_a_failure_gets_the_tools_with_the_first_test_and_keeps_to_its_build(
    project: Path,
) -> None:
    bad = project / "wheels" / "torch-2.0-py3-none-any.whl"
    content = bad.read_bytes()
    bad.write_bytes(b"not what was locked")
    failed = make(project, "install")
    assert failed.returncode != 0
    assert "to download" in failed.stderr
    assert "`make install CPU=1` is enough" in failed.stderr
    assert "pip failed, and said why above; all it did stands in .venv/install.log" in failed.stderr
    assert "torch" in failed.stderr
    assert not (project / ".venv" / ".installed").exists()

    bad.write_bytes(content)
    first = make(project, "install")
    assert first.returncode == 0, first.stderr
    assert "Installed after" in first.stderr
    there = installed(project)
    assert {
        "base-2.0",
        "torch-2.0",
        "nvidia_cublas-2.0",
        "builder-1.0",
        "tiny-1.0",
        "tiny_client-1.0",
    } <= there
    assert "tester-1.0" not in there
    assert not list((project / ".venv").glob("download-*"))
    assert make(project, "install").stderr == ""

    tools = make(project, ".venv/.dev")
    assert tools.returncode == 0, tools.stderr
    assert "to download" not in tools.stderr
    assert "tester-1.0" in installed(project)

    small = make(project, "install", "CPU=1")
    assert small.returncode == 0, small.stderr
    there = installed(project)
    assert {"torch-2.0+cpu", "torchvision-2.0+cpu", "base-2.0", "tester-1.0"} <= there
    assert not {"torch-2.0", "torchvision-2.0", "nvidia_cublas-2.0"} & there

    os.utime(project / "pyproject.toml")
    for target in (".venv/.dev", "install"):
        later = make(project, "--always-make", target)
        assert later.returncode == 0, later.stderr
        assert there <= installed(project)
        assert "nvidia_cublas-2.0" not in installed(project)
    asked = (project / "uv.log").read_text().splitlines()
    assert len(asked) == 3
    assert set(asked) == {
        "pip install --python .venv/bin/python --no-deps --torch-backend cpu torch==2.0 torchvision==2.0"
    }

    large = make(project, "install", "CPU=0")
    assert large.returncode == 0, large.stderr
    assert {"torch-2.0", "nvidia_cublas-2.0"} <= installed(project)
    assert "torch-2.0+cpu" not in installed(project)


def test_what_is_said_of_the_build_is_heard_and_a_variable_of_another_meaning_is_not(
    project: Path,
) -> None:
    for said, heard in {"1": "--cpu 1", "yes": "--cpu 1", "0": "--cpu 0", "no": "--cpu 0"}.items():
        assert heard in make(project, "--dry-run", "install", f"CPU={said}").stdout
    assert "--cpu 1" in make(project, "--dry-run", "install", CPU="1").stdout
    assert "--cpu" not in make(project, "--dry-run", "install", CPU="x86_64").stdout
    assert "--anyway" in make(project, "--dry-run", "install", "ANYWAY=1").stdout


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_python_that_is_not_there_is_not_called_old(project: Path) -> None:
    said = make(project, "demo", "PYTHON=nopython")
    assert said.returncode != 0
    assert "nopython is not there: install Python 3.11 or newer" in said.stderr
    assert "make PYTHON=python3.12 demo" in said.stderr
    assert "older" not in said.stderr
    assert not (project / ".venv").exists()


def test_a_python_that_is_too_old_is_told_its_version(project: Path) -> None:
    old = script(
        project / "python3.9",
        f'exec {sys.executable} -c "import sys; sys.version_info = (3, 9, 2); exec(sys.argv[1])" "$2"',
    )
    said = make(project, f"PYTHON={old}", "install")
    assert said.returncode != 0
    assert f"{old} is Python 3.9, and 3.11 or newer is needed" in said.stderr
    assert not (project / ".venv").exists()


@pytest.mark.parametrize("part", ["venv", "ensurepip"])
def test_a_python_that_cannot_make_an_environment_is_told_which_package_can(
    project: Path, part: str
) -> None:
    """Debian and Ubuntu keep them in a package of its own."""
    poison = project / "poison"
    poison.mkdir()
    (poison / f"{part}.py").write_text(f"raise ImportError('none here', name='{part}')\n")
    said = make(project, "install", PYTHONPATH=str(poison))
    assert said.returncode != 0
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"comes without {part}, which makes .venv" in said.stderr
    assert f"sudo apt-get install python{version}-venv" in said.stderr
    assert not (project / ".venv").exists()


def test_another_system_is_told_what_to_take_and_linux_is_not() -> None:
    install.check_platform("Linux")
    for system in ("Darwin", "Windows", "FreeBSD"):
        with pytest.raises(
            install.Refusal, match=rf"{system}.*WSL 2.*docs/containers\.md.*ANYWAY=1"
        ):
            install.check_platform(system)


def test_too_small_a_disk_is_told_before_anything_is_downloaded() -> None:
    with pytest.raises(install.Refusal, match=r"GB free, and this needs .*CPU=1.*ANYWAY=1"):
        install.check_room(install.Size(1 << 60, 1 << 60))
    install.check_room(install.Size(1, 1))


def test_the_sizes_that_are_told_are_those_of_what_is_installed() -> None:
    """What the lists install into the environment of these tests, by its own records, without compiled files."""
    rows = [
        Requirement(row.split(" --hash")[0])
        for row in install.requirements(ROOT / "requirements" / "worker.txt")
    ]
    names = [row.name for row in rows if row.marker is None or row.marker.evaluate()]
    assert len(names) > 60
    sizes = {
        name: sum(file.size or 0 for file in importlib.metadata.distribution(name).files or ())
        for name in names
    }
    backend = "cpu" if "+cpu" in importlib.metadata.version("torch") else "cuda"
    told = install.size_of("worker", backend).installed
    assert 0.75 * told < sum(sizes.values()) < 1.05 * told
