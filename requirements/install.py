"""What make installs: says what and how large, whether there is room, and how far it is.

Run by the Python that .venv is made of, on a bare machine: it needs the standard library alone.
"""

import argparse
import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

VENV = Path(".venv")
PYTHON = VENV / "bin" / "python"
LISTS = Path("requirements")
LOG = VENV / "install.log"
CHOICE = VENV / "torch-backend"
"""Which build of PyTorch .venv is for: whatever is installed later keeps to it."""
PIP = (str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off")
OWN = (".", "./client")
"""What lies here: the service, and the client that needs nothing of it. One after the other, for the script `lab` was
once the service's: in one go pip would write the client's, and then take it away with the old service.
"""
CUDA = re.compile(r"(?:torch|torchvision|triton|nvidia-.*|cuda-.*)")
"""What PyTorch's CPU build replaces or does without."""
SECONDS_BETWEEN_LINES = {True: 0.5, False: 10.0}
"""On a terminal, where one line is written over, and elsewhere."""
GB = 10**9


class Size(NamedTuple):
    """Bytes to download, and of .venv when all is there."""

    download: int
    installed: int


WITHOUT_TORCH = Size(210_000_000, 951_000_000)
TOOLS = Size(150_000_000, 500_000_000)
TORCH = {
    "cuda": Size(3_010_000_000, 5_600_000_000),
    "cpu": Size(220_000_000, 820_000_000),
}


class Refusal(Exception):
    """It cannot be installed here; the message says why and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 when all of a list is in .venv."""
    parser = argparse.ArgumentParser(description="what make installs")
    parser.add_argument("list", choices=("worker", "dev", "bench", "supply"))
    parser.add_argument("--cpu", choices=("", "0", "1"), default="", help="PyTorch without CUDA")
    parser.add_argument("--anyway", action="store_true", help="do not ask what machine this is")
    asked = parser.parse_args(arguments)
    began = time.monotonic()
    backend = {"0": "cuda", "1": "cpu", "": _backend()}[asked.cpu]
    try:
        if not asked.anyway:
            check_platform(platform.system())
        _check_venv()
        if not _has("torch") and asked.list != "supply":
            size = size_of(asked.list, backend)
            _say(announcement(asked.list, backend, size))
            if not asked.anyway:
                check_room(size)
        install(asked.list, backend)
    except Refusal as refusal:
        _say(str(refusal))
        return 1
    except KeyboardInterrupt:
        _say("Stopped. The same command goes on from there.")
        return 130
    _say(f"Installed after {_minutes(time.monotonic() - began)}.")
    return 0


def check_platform(system: str) -> None:
    """Raises Refusal where trainers could outlive their worker."""
    if system != "Linux":
        raise Refusal(
            f"This is {system}, and the service needs Linux, which ends a trainer with its worker. On Windows work in"
            " WSL 2; elsewhere take the containers (docs/containers.md). Untested, but not forbidden: the same"
            " command with ANYWAY=1."
        )


def _check_venv() -> None:
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        version = "{}.{}".format(*sys.version_info)
        raise Refusal(
            f"{sys.executable} comes without {error.name}, which makes .venv. On Debian and Ubuntu:"
            f" sudo apt-get install python{version}-venv"
        ) from error


def size_of(name: str, backend: str) -> Size:
    """Measured on x86-64 with Python 3.11; elsewhere about."""
    parts = [WITHOUT_TORCH, TORCH[backend], *([TOOLS] if name != "worker" else [])]
    return Size(sum(part.download for part in parts), sum(part.installed for part in parts))


def announcement(name: str, backend: str, size: Size) -> str:
    """What is about to happen."""
    what = "the service and PyTorch" + ("" if name == "worker" else ", and the tests' tools")
    lines = [
        f"Installing {what} into {VENV.absolute()}, by Python {platform.python_version()}:",
        f"about {_gb(size.download)} to download, {_gb(size.installed)} on disk; minutes on a fast line.",
    ]
    if backend == "cuda":
        small = size_of(name, "cpu")
        lines.append(
            "This is PyTorch's CUDA build, which runs on CPU and GPU alike. Without an NVIDIA GPU `make install CPU=1`"
            f" is enough: {_gb(small.download)} and {_gb(small.installed)}."
        )
    return "\n".join(lines)


def check_room(size: Size) -> None:
    """Raises Refusal where the disk would be full before the end: wheels lie beside what they are unpacked to."""
    free, need = shutil.disk_usage(".").free, size.download + size.installed
    if free < need:
        raise Refusal(
            f"The disk of {Path.cwd()} has {_gb(free)} free, and this needs {_gb(need)} until it is done. Make room,"
            " or take the smaller build: make install CPU=1. To try all the same: ANYWAY=1."
        )


def install(name: str, backend: str) -> None:
    """Raises Refusal with what failed; what was there before is not installed again."""
    if not PYTHON.exists():  # or it leads to a Python that is gone
        _run(
            [sys.executable, "-m", "venv", *(["--clear"] if PYTHON.is_symlink() else []), str(VENV)]
        )
    elif subprocess.run([PYTHON, "-c", "import pip"], check=False, capture_output=True).returncode:
        _run([sys.executable, "-m", "venv", str(VENV)])
    fresh = not _has("torch")
    if _backend() != backend and not fresh:
        _run([str(PYTHON), "-m", "pip", "uninstall", "--quiet", "--yes", *_parts_of_torch()])
    CHOICE.write_text(backend + "\n")
    for left in VENV.glob("download-*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=VENV, prefix="download-") as folder:
        for command in commands(name, backend, Path(folder)):
            if command[0] == str(PYTHON):
                _pip(command, Path(folder), size_of(name, backend) if fresh else Size(0, 0))
            else:
                _run(command)


def commands(name: str, backend: str, folder: Path) -> list[list[str]]:
    """All by version and hash but the project itself with its client, and PyTorch's CPU build, of which no list names
    hashes.
    """
    lists = [LISTS / f"{name}.txt", *([LISTS / "build.txt"] if name == "worker" else [])]
    checked = [*PIP, "--require-hashes"]
    project = [[*PIP, "--no-deps", "--no-build-isolation", "--editable", path] for path in OWN]
    if name == "supply" or backend == "cuda":
        steps = [[*checked, *(f"--requirement={path}" for path in lists)]]
    else:
        rows = [row for path in lists for row in requirements(path)]
        rows += [row for row in requirements(LISTS / "supply.txt") if row.startswith("uv==")]
        kept = folder / "without-torch.txt"
        kept.write_text("\n".join(row for row in rows if not CUDA.fullmatch(_name(row))) + "\n")
        torch = [row.split()[0] for row in rows if _name(row) in {"torch", "torchvision"}]
        uv = [str(VENV / "bin" / "uv"), "pip", "install", "--python", str(PYTHON), "--no-deps"]
        steps = [
            [*checked, "--no-deps", f"--requirement={kept}"],
            [*uv, "--torch-backend", "cpu", *torch],
        ]
    return [*steps, *(project if name in {"worker", "dev"} else [])]


def requirements(path: Path) -> list[str]:
    """The rows of a list, each with its hashes on one line."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    return [" ".join(row.split()) for row in text.replace("\\\n", " ").splitlines() if row.strip()]


def _name(row: str) -> str:
    return row.split("==")[0]


def _parts_of_torch() -> list[str]:
    names = {row for path in LISTS.glob("*.txt") for row in map(_name, requirements(path))}
    return sorted(filter(CUDA.fullmatch, names))


def _backend() -> str:
    """As it was chosen; a .venv that somebody made by hand shows what it is for."""
    if CHOICE.exists():
        return CHOICE.read_text().strip()
    return "cpu" if _has("torch-*+cpu.dist-info") else "cuda"


def _has(pattern: str) -> bool:
    return any(VENV.glob(f"lib/python3*/site-packages/{pattern}"))


def _pip(command: list[str], folder: Path, most: Size) -> None:
    """Pip's warnings and errors are shown, its other words go to the log; it unpacks in `folder`."""
    there = _count_packages()
    began = said = time.monotonic()
    shown = SECONDS_BETWEEN_LINES[sys.stderr.isatty()]
    environment = {**os.environ, "TMPDIR": str(folder.absolute())}
    if shutil.disk_usage(".").free < most.installed + 2 * most.download:
        # else pip keeps what it has downloaded for another time
        environment["PIP_NO_CACHE_DIR"] = "1"
    with LOG.open("a") as log:
        process = subprocess.Popen(command, stdout=log, env=environment)
        try:
            while process.poll() is None:
                try:
                    process.wait(timeout=0.2)
                except subprocess.TimeoutExpired:
                    if time.monotonic() - said >= shown:
                        said = time.monotonic()
                        far = _how_far(folder, most.download, there)
                        _show(f"{far}, {_minutes(said - began)}")
        finally:
            process.wait()
    _show("")
    if process.returncode:
        raise Refusal(
            f"pip failed, and said why above; all it did stands in {LOG}. The same command goes on from there."
        )


def _how_far(folder: Path, most: int, there: int) -> str:
    installed = _count_packages() - there
    if installed > 0:
        return f"installed {installed} package{'s' * (installed > 1)}"
    wheels = []
    for path in folder.glob("pip-*/*.whl"):
        with contextlib.suppress(FileNotFoundError):  # pip moves them
            wheels.append((path.stat().st_mtime, path.stat().st_size, path.name))
    if not wheels:
        return "looking at what is there"
    *_, name = max(wheels)
    of = f" of about {_gb(most)}" if most else ""
    done = _gb(sum(size for _, size, _ in wheels))
    return f"downloaded {done}{of}, now {' '.join(name.split('-')[:2])}"


def _count_packages() -> int:
    return sum(1 for _ in VENV.glob("lib/python3*/site-packages/*.dist-info"))


def _show(line: str) -> None:
    """On a terminal over the line before, so that the bar stays one line."""
    if sys.stderr.isatty():
        print(
            f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}",
            end="",
            file=sys.stderr,
            flush=True,
        )
    elif line:
        _say(f"  {line}")


def _run(command: list[str]) -> None:
    if subprocess.run(command, check=False).returncode:
        raise Refusal(
            f"That was `{' '.join(command)}`, which failed. The same command goes on from there."
        )


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / GB:.1f} GB" if num_bytes >= GB else f"{num_bytes / 1e6:.0f} MB"


def _minutes(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
