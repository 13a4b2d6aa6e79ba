"""What phases that need a service have in common."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from benchmarks.gpu.checks import Setting
from tests.e2e.service import Service

MPS_CONTROL = "nvidia-cuda-mps-control"
MPS_SECONDS = 10.0
MLP = {"dataset": "digits", "model": {"depth": 2, "width": 64}, "epochs": 1}
WITH_DROPOUT = {
    "dataset": "digits",
    "model": {"depth": 4, "width": 128, "dropout": 0.2},
    "epochs": 60,
}
RESNET = {"dataset": "digits", "model": {"arch": "resnet18"}, "epochs": 20}


@contextmanager
def serving(
    setting: Setting, workers: int, name: str = "service", devices: str = ""
) -> Iterator[Service]:
    """With so many workers on the device; none are waited for where there are 0."""
    service = Service(
        setting.folder / name,
        devices=devices or setting.service_device,
        threads=0,
        data_dir=os.environ.get("LAB_DATA_DIR", ""),
    )
    try:
        if workers:
            service.serve(workers)
        yield service
    finally:
        service.stop()


@contextmanager
def mps(folder: Path) -> Iterator[str]:
    """While it lasts what is started speaks to an MPS daemon of its own; yields why there is none, else nothing:
    https://docs.nvidia.com/deploy/mps/.
    """
    if shutil.which(MPS_CONTROL) is None:
        yield f"{MPS_CONTROL} is not there"
        return
    pipes = {"CUDA_MPS_PIPE_DIRECTORY": folder / "pipe", "CUDA_MPS_LOG_DIRECTORY": folder / "log"}
    for path in pipes.values():
        path.mkdir(parents=True)
    with mock.patch.dict(os.environ, {name: str(path) for name, path in pipes.items()}):
        started = _mps_control("-d")
        if started:
            yield started
            return
        try:
            yield ""
        finally:
            _mps_control(said="quit\n")


def _mps_control(*options: str, said: str = "") -> str:
    """What went wrong; the daemon that it leaves behind must not hold its output open."""
    try:
        done = subprocess.run(
            [MPS_CONTROL, *options],
            input=said,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=MPS_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{MPS_CONTROL} did not answer within {MPS_SECONDS:g} s"
    return f"{MPS_CONTROL} ended with status {done.returncode}" if done.returncode else ""
