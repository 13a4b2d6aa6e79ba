"""Whether the installed PyTorch can train on a device, and if not, why: one line that says what to do."""

import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from lab_models.running.shortages import OUT_OF_MEMORY_WORDS
from lab_models.training.protocol import Unfit

LEAST_DRIVERS: Final = {11: 450, 12: 525, 13: 580}
"""The oldest NVIDIA driver on Linux by CUDA's major version, whose minor ones it all runs:
https://docs.nvidia.com/deploy/cuda-compatibility/.
"""
LEAST_BFLOAT16: Final = (8, 0)
"""Compute capability from which bfloat16 is calculated by the card and not emulated:
https://docs.nvidia.com/cuda/cuda-c-programming-guide/#compute-capabilities.
"""
DRIVER_FILE: Final = Path("/proc/driver/nvidia/version")
QUERY_SECONDS: Final = 3.0
WHERE: Final = "docs/machines.md#gpus has the table of builds, drivers and cards"

_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)[a-z]?")
_FOUND_CUDA = re.compile(r"found version (\d+)")
_NUMBERED = re.compile(r"Error \d+: .*")
_VERSION = re.compile(r"\b(\d{3}\.\d+(?:\.\d+)?)\b")

OUT_OF_MEMORY: Final = ("out of memory", *OUT_OF_MEMORY_WORDS)
BUSY: Final = ("busy or unavailable", "exclusive")
MISMATCH: Final = ("unsupported display driver", "Driver/library version mismatch", "Error 803")


class NoKernels(Exception):
    """The installed build of PyTorch has no kernels for the card."""


@dataclass(frozen=True)
class Build:
    """The installed PyTorch: `cuda` is None in a build for the CPU alone; `architectures` are named as in
    `torch.cuda.get_arch_list`.
    """

    torch: str
    cuda: str | None
    architectures: tuple[str, ...]

    @property
    def least_driver(self) -> int | None:
        """The oldest NVIDIA driver that it runs on; None where it asks for none, or that is not known."""
        return None if self.cuda is None else LEAST_DRIVERS.get(int(self.cuda.partition(".")[0]))

    @property
    def cards(self) -> str:
        """The compute capabilities that it has kernels for, the lowest and the highest."""
        found = sorted(int(number) for _, number in map(_parsed, self.architectures))
        return f"{_capability(found[0])} to {_capability(found[-1])}" if found else "none"

    def has_kernels_for(self, capability: tuple[int, int]) -> bool:
        """A kernel runs on cards of its own generation that are no older, and what is only compiled halfway (PTX) on
        every newer card: https://docs.nvidia.com/cuda/blackwell-compatibility-guide/.
        """
        wanted = capability[0] * 10 + capability[1]
        return any(
            number <= wanted and (kind == "compute" or number // 10 == capability[0])
            for kind, number in map(_parsed, self.architectures)
        )


def installed_build() -> Build:
    """Of this process's torch; asks no device."""
    return Build(torch.__version__, torch.version.cuda, tuple(torch.cuda.get_arch_list()))


def builds_for(capability: tuple[int, int] | None, cuda: tuple[int, int] | None) -> list[str]:
    """CUDA versions of the published builds of this PyTorch that have kernels for a card, or run on a driver for this
    CUDA; as torch's own table has them.
    """
    table = getattr(torch.cuda, "PYTORCH_RELEASES_CODE_CC", {})
    key = "aarch64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    found = []
    for version, machines in table.items():
        kernels = Build("", version, tuple(f"sm_{number}" for number in machines.get(key, ())))
        if capability is not None and not kernels.has_kernels_for(capability):
            continue
        if cuda is not None and int(version.partition(".")[0]) > cuda[0]:
            continue
        found.append(version)
    return found


def require_kernels(device: torch.device) -> None:
    """Raises NoKernels for a card that the installed PyTorch has no kernels for; asks the driver, launches nothing."""
    if device.type != "cuda":
        return
    capability = torch.cuda.get_device_capability(device)
    build = installed_build()
    if not build.has_kernels_for(capability):
        raise NoKernels(
            f"{torch.cuda.get_device_name(device)} has compute capability {_dotted(capability)}, and PyTorch"
            f" {build.torch} has kernels for {build.cards} alone:"
            f" {_install(builds_for(capability, None), 'no published build of it has them')}"
        )


def caution_of(device: torch.device) -> str | None:
    """What is slow on a device that can be trained on; None where nothing is known."""
    if device.type != "cuda":
        return None
    capability = torch.cuda.get_device_capability(device)
    if capability >= LEAST_BFLOAT16:
        return None
    return (
        f"{torch.cuda.get_device_name(device)} (compute capability {_dotted(capability)}) only emulates bfloat16:"
        " precision bfloat16 is slower there than float32"
    )


def unfit(error: Exception) -> Unfit:
    """Why a device cannot be trained on, from what PyTorch raised when it was tried."""
    said = str(error).strip()
    first = said.splitlines()[0].strip() if said else type(error).__name__
    if "cudaGetDeviceCount()" in first and (number := _NUMBERED.search(first)):
        first = f"CUDA {number[0].lower()}"
    build = installed_build()
    name = f"PyTorch {build.torch}"
    if isinstance(error, NoKernels):
        return Unfit(reason=f"{first}; {WHERE}", lasting=True)
    if "too old" in said and "driver" in said:
        return Unfit(reason=_too_old(said, build), lasting=True)
    if "not compiled with CUDA" in said:
        reason = f"{name} is a build without CUDA: `make install CPU=0` brings the other one"
        return Unfit(reason=f"{reason}, LAB_DEVICES=cpu trains on the CPU", lasting=True)
    if "Found no NVIDIA driver" in said:
        needed = f", {build.least_driver} or newer," if build.least_driver else ""
        reason = f"Found no NVIDIA driver: {name} needs libcuda.so.1. Install the driver{needed} or, in a container"
        return Unfit(reason=f"{reason}, give it the GPU (docs/containers.md#gpu)", lasting=True)
    if "no kernel image" in said:
        builds = _install(builds_for(None, None), "no other build of it is published")
        reason = f"no kernel image for this card: {name} has kernels for {build.cards}: {builds}"
        return Unfit(reason=f"{reason}; {WHERE}", lasting=True)
    if any(words in said for words in MISMATCH):
        reason = f"{first}: parts of the driver are of two versions; restart the machine, or the container"
        return Unfit(reason=reason, lasting=True)
    return Unfit(reason=_passing(said, first), lasting=False)


def driver_version() -> str | None:
    """NVIDIA's driver as the kernel names it, or its tool; None where neither does."""
    try:
        return _first_version(DRIVER_FILE.read_text())
    except OSError:
        pass
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=QUERY_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return _first_version(asked.stdout)


def _passing(said: str, first: str) -> str:
    """What may be over without a change of the machine, with what to look at."""
    if any(words in said for words in OUT_OF_MEMORY):
        return f"{first}: other programs have the GPU's memory; `nvidia-smi` shows which"
    if any(words in said for words in BUSY):
        return (
            f"{first}: another program has the GPU for itself (compute mode EXCLUSIVE_PROCESS or PROHIBITED);"
            " `nvidia-smi -q -d COMPUTE` shows the mode, `nvidia-smi` the program"
        )
    if "No CUDA GPUs are available" in said or "invalid device ordinal" in said:
        return (
            f"{first}: PyTorch does not see this GPU; `nvidia-smi -L` shows whether the driver does"
        )
    if "CUDA unknown error" in said:
        return (
            "CUDA unknown error: the driver does not answer, as after a sleep or without its module nvidia_uvm;"
            " `sudo modprobe nvidia_uvm`, or restart the machine"
        )
    return f"{first}; `python -m worker.probe` looks closer"


def _too_old(said: str, build: Build) -> str:
    number = _FOUND_CUDA.search(said)
    cuda = (int(number[1]) // 1000, int(number[1]) % 1000 // 10) if number else None
    version = driver_version()
    found = " ".join(
        [
            *([f"it is {version}"] if version else []),
            *([f"for CUDA {_dotted(cuda)}"] if cuda else []),
        ]
    )
    needed = (
        f"{build.least_driver} or newer" if build.least_driver else f"one for CUDA {build.cuda}"
    )
    other = builds_for(None, cuda) if cuda else []
    instead = f", or {_install(other, '')}" if other else ""
    return (
        f"The NVIDIA driver on your system is too old{f' ({found})' if found else ''}: PyTorch {build.torch} needs"
        f" {needed}. Update the driver{instead}; {WHERE}"
    )


def _install(builds: list[str], otherwise: str) -> str:
    if not builds:
        return otherwise
    return f"install PyTorch's build for CUDA {' or '.join(builds)}"


def _parsed(architecture: str) -> tuple[str, int]:
    """`sm_90` and `compute_90` as kind and number; a kind that is not known has number 0."""
    found = _ARCHITECTURE.fullmatch(architecture)
    return (found[1], int(found[2])) if found else ("", 0)


def _capability(number: int) -> str:
    return f"{number // 10}.{number % 10}"


def _dotted(pair: tuple[int, int]) -> str:
    return f"{pair[0]}.{pair[1]}"


def _first_version(text: str) -> str | None:
    found = _VERSION.search(text)
    return found[1] if found else None
