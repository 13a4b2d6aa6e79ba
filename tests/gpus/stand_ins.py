"""A machine that seems to have NVIDIA GPUs: `nvidia-smi` in the PATH, and a driver's library that torch loads."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

DRIVER = Path(__file__).with_name("driver.c")
CUDA = Path(__file__).with_name("cuda.c")
LIBRARY = "libcuda.so.1"

TWO_GPUS = (
    "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa1111)",
    "GPU 1: Tesla T4 (UUID: GPU-bbbb2222)",
)
ROWS = ("0, GPU-aaaa1111, 81559", "1, GPU-bbbb2222, 15360")
DIVIDED = (
    "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa1111)",
    "  MIG 1g.10gb     Device  0: (UUID: MIG-cccc3333)",
    "  MIG 3g.40gb     Device  1: (UUID: MIG-dddd4444)",
)


def nvidia_smi(
    folder: Path,
    listed: Sequence[str] = TWO_GPUS[:1],
    rows: Sequence[str] = ROWS,
    end: str = "",
    mode: str = "Default",
) -> Path:
    """Write the tool into a folder for the PATH; `end` is shell that is done first, such as `exec sleep 60`."""
    folder.mkdir(exist_ok=True)
    tool = folder / "nvidia-smi"
    (folder / "listed").write_text("\n".join(listed) + "\n")
    (folder / "rows").write_text("\n".join(rows) + "\n")
    modes = (f"{row.rpartition(',')[0]}, {mode}" for row in rows)
    (folder / "modes").write_text("\n".join(modes) + "\n")
    tool.write_text(
        f'#!/bin/sh\n{end}\ncase "$1" in\n'
        f"  --list-gpus) cat '{folder}/listed' ;;\n"
        f"  --query-gpu=driver_version) echo 535.183.01 ;;\n"
        f"  --query-gpu=index,uuid,compute_mode) cat '{folder}/modes' ;;\n"
        f"  --query-gpu=index,uuid,memory.*) cat '{folder}/rows' ;;\n"
        '  *) echo "unknown: $*"; exit 2 ;;\nesac\n'
    )
    tool.chmod(0o755)
    return folder


def mps_control(folder: Path) -> Path:
    """Write NVIDIA's tool that starts and ends the MPS daemon, without a daemon, into a folder for the PATH."""
    folder.mkdir(exist_ok=True)
    tool = folder / "nvidia-cuda-mps-control"
    tool.write_text(
        '#!/bin/sh\ncontrol="$CUDA_MPS_PIPE_DIRECTORY/control"\n'
        'if [ "$1" = -d ]; then touch "$control"; else grep -q quit && rm "$control"; fi\n'
    )
    tool.chmod(0o755)
    return folder


def in_path(folder: Path) -> str:
    """A PATH with the folder first."""
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def driver_library(folder: Path) -> Path:
    """Compile the driver's library into a folder for LD_LIBRARY_PATH; skips the test without a C compiler."""
    _compiled(DRIVER, folder)
    return folder


def pretend_card(folder: Path) -> dict[str, str]:
    """Variables for a process in which `tests.gpus.pretend` can be used; skips the test where none can."""
    if torch.version.cuda is None:
        pytest.skip("the pretend card needs a PyTorch with CUDA, and this one is for the CPU alone")
    return {"LD_PRELOAD": str(_compiled(CUDA, folder)), "CUDA_VISIBLE_DEVICES": ""}


def _compiled(source: Path, folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip(f"a stand-in for NVIDIA's libraries ({source.name}) needs a C compiler")
    folder.mkdir(exist_ok=True)
    library = folder / LIBRARY
    options = ["-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}", "-o", str(library)]
    subprocess.run([compiler, *options, str(source), "-ldl"], check=True)
    return library
