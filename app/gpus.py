"""NVIDIA GPUs as the driver's tool lists them, and which of them CUDA_VISIBLE_DEVICES leaves; without torch."""

import os
import re
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MPS_FOLDER: Final = "/tmp/nvidia-mps"  # noqa: S108 - the daemon's own default
ANSWER_SECONDS: Final = 10.0
"""How long the driver's tool may take: it wakes every GPU of a machine that keeps none awake."""

_GPU = re.compile(r"GPU (\d+): (.*) \(UUID: (GPU-[^)]+)\)")
_SLICE = re.compile(r"\s+MIG (\S+)\s+Device\s+\d+: \(UUID: (MIG-[^)]+)\)")
_GIGABYTES = re.compile(r"(\d+)gb")


@dataclass(frozen=True)
class MigSlice:
    """A part of a GPU that a process sees as a whole one; `profile` is as in `1g.10gb`."""

    uuid: str
    profile: str

    @property
    def memory_bytes(self) -> int | None:
        """What its profile's name says."""
        found = _GIGABYTES.search(self.profile)
        return int(found[1]) * 10**9 if found else None


@dataclass(frozen=True)
class Gpu:
    """A card; `index` is the tool's, in the order of the PCI bus."""

    index: int
    name: str
    uuid: str
    slices: tuple[MigSlice, ...] = ()


@dataclass(frozen=True)
class Listing:
    """What the driver's tool says: its GPUs, or in one line why it says nothing. Without the tool there are none, and
    no fault either.
    """

    gpus: tuple[Gpu, ...] = ()
    fault: str | None = None


class NoAnswer(Exception):
    """The driver's tool is there and does not answer; the message says how, in one line."""


class NoSuchGpu(Exception):
    """A device that is named is not among those that this process may use."""


def list_gpus() -> Listing:
    """Every GPU of this machine, whatever CUDA_VISIBLE_DEVICES says."""
    try:
        lines = nvidia_smi("--list-gpus")
    except FileNotFoundError:
        return Listing()
    except NoAnswer as error:
        return Listing(fault=str(error))
    gpus: list[Gpu] = []
    slices: dict[int, list[MigSlice]] = {}
    for line in lines:
        if found := _GPU.match(line):
            gpus.append(Gpu(int(found[1]), found[2], found[3]))
        elif gpus and (found := _SLICE.match(line)):
            slices.setdefault(gpus[-1].index, []).append(MigSlice(found[2], found[1]))
    if not gpus:
        return Listing(fault=f"nvidia-smi lists no GPU: {_one_line(lines) or 'it says nothing'}")
    return Listing(
        tuple(Gpu(gpu.index, gpu.name, gpu.uuid, tuple(slices.get(gpu.index, ()))) for gpu in gpus)
    )


def visible_entries() -> list[str] | None:
    """The entries of CUDA_VISIBLE_DEVICES; None where it is not set and all are visible. CUDA takes none after one that
    is no device: https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables.
    """
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is None:
        return None
    entries = []
    for entry in (part.strip() for part in said.split(",")):
        if not (entry.isdecimal() or entry.startswith(("GPU-", "MIG-"))):
            break
        entries.append(entry)
    return entries


def visible_devices(listing: Listing) -> list[str]:
    """Names of the devices that trainers of this process may use: `cuda:0` and so on as CUDA counts what is visible,
    and `cuda:MIG-…` for each slice of a GPU that is divided.
    """
    entries = visible_entries()
    if entries is None:
        entries = [str(gpu.index) for gpu in listing.gpus]
    names: list[str] = []
    for number, entry in enumerate(entries):
        found = find(listing, entry)
        if found is None:
            break
        is_divided = isinstance(found, Gpu) and found.slices
        names += (
            [f"cuda:{one.uuid}" for one in found.slices]
            if isinstance(found, Gpu) and is_divided
            else [f"cuda:{number}"]
        )
    return names


def visible_entry(device: str) -> str:
    """What CUDA_VISIBLE_DEVICES must be for a process that is to see this device alone: `cuda:1` is the second that is
    visible here, `cuda:GPU-…` and `cuda:MIG-…` name one. Raises NoSuchGpu.
    """
    name = device.partition(":")[2] or "0"
    entries = visible_entries()
    if not name.isdecimal():
        if entries is not None and entries and all(not one.isdecimal() for one in entries):
            if not any(_is(one, name) for one in entries):
                raise NoSuchGpu(
                    f"there is no {name} here: CUDA_VISIBLE_DEVICES is {','.join(entries)}"
                )
        elif entries == []:
            raise NoSuchGpu(f"there is no {name} here: CUDA_VISIBLE_DEVICES hides every GPU")
        return name
    if entries is None:
        return name
    if int(name) >= len(entries):
        left = ",".join(entries)
        raise NoSuchGpu(
            f"there is no {device} here: CUDA_VISIBLE_DEVICES={left} leaves {len(entries)}, counted from cuda:0"
            if entries
            else f"there is no {device} here: CUDA_VISIBLE_DEVICES hides every GPU"
        )
    return entries[int(name)]


def memory_of_gpu(device: str, field: str) -> int | None:
    """Bytes of the card or slice, `field` is `total` or `free`; None where nobody says. Of a slice all that it has: the
    tool does not say what is free.
    """
    try:
        entry = visible_entry(device)
    except NoSuchGpu:
        return None
    if entry.startswith("MIG-"):
        found = find(list_gpus(), entry)
        return found.memory_bytes if isinstance(found, MigSlice) else None
    mebibytes = _told_of(entry, f"memory.{field}") or ""
    return int(mebibytes) * 2**20 if mebibytes.isdecimal() else None


def is_exclusive(device: str) -> bool:
    """Whether one process at a time may use the card (compute mode EXCLUSIVE_PROCESS, usual under batch systems), so
    that no other can be warmed up beside the one that trains. With MPS several may: they are one to the driver.
    """
    if device == "cpu" or mps_runs():
        return False
    try:
        mode = _told_of(visible_entry(device), "compute_mode")
    except NoSuchGpu:
        return False
    return (mode or "").startswith("Exclusive")


def mps_runs() -> bool:
    """Whether there is a daemon of NVIDIA's Multi-Process Service that processes of this environment speak to."""
    return (Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", MPS_FOLDER)) / "control").exists()


def find(listing: Listing, entry: str) -> Gpu | MigSlice | None:
    """What an entry of CUDA_VISIBLE_DEVICES means: an index, a UUID or the beginning of one."""
    for gpu in listing.gpus:
        if entry == str(gpu.index) or _is(entry, gpu.uuid):
            return gpu
        for one in gpu.slices:
            if _is(entry, one.uuid):
                return one
    return None


def nvidia_smi(*arguments: str) -> list[str]:
    """Its answer's lines. Raises FileNotFoundError without the tool, and NoAnswer where it fails or hangs: it is killed
    then and not waited for, since who hangs in a driver cannot be killed.
    """
    command = ["nvidia-smi", *arguments]
    try:
        process = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except FileNotFoundError:
        raise
    except OSError as error:
        raise NoAnswer(f"nvidia-smi cannot be started: {error.strerror}") from error
    try:
        said, _ = process.communicate(timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        threading.Thread(target=process.wait, name="nvidia-smi", daemon=True).start()
        if process.stdout is not None:
            process.stdout.close()
        raise NoAnswer(
            f"nvidia-smi did not answer within {ANSWER_SECONDS:g} s: the driver hangs; `dmesg | grep -i nvrm` may say"
            " why"
        ) from None
    if process.returncode:
        raise NoAnswer(
            f"nvidia-smi ended with status {process.returncode}: {_one_line(said.splitlines()) or 'it says nothing'}"
        )
    return said.splitlines()


def _told_of(entry: str, field: str) -> str | None:
    """What the tool says of a card; None where it does not."""
    try:
        rows = nvidia_smi(f"--query-gpu=index,uuid,{field}", "--format=csv,noheader,nounits")
    except (FileNotFoundError, NoAnswer):
        return None
    for row in rows:
        index, uuid, value = ([part.strip() for part in row.split(",")] + ["", "", ""])[:3]
        if entry == index or _is(entry, uuid):
            return value
    return None


def _is(entry: str, uuid: str) -> bool:
    """CUDA takes as much of a UUID as tells it from the others."""
    return entry.startswith(("GPU-", "MIG-")) and uuid.startswith(entry)


def _one_line(lines: list[str]) -> str:
    return next((line.strip() for line in lines if line.strip()), "")
