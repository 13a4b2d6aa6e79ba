"""What else decides the bits of a result: versions, the device and its kernels, and how deterministic they are made."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

from lab_models.common.revision import RESULTS_VERSION, package_version, source_revision
from lab_models.datasets.facts import kept_facts
from lab_models.datasets.preparation import PreparedDataset
from lab_models.running.fitness import driver_version
from lab_models.specs import ModelSpec
from lab_models.training.precision import is_multiplied_in_tf32
from lab_models.training.protocol import FoundationFiles


def make_deterministic(threads: int) -> None:
    """Same machine, same thread count, same bits: https://pytorch.org/docs/stable/notes/randomness.html. cuBLAS reads
    its variable when it is first used: https://docs.nvidia.com/cuda/cublas/#results-reproducibility.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")  # of matrices alone
    torch.backends.cudnn.allow_tf32 = False  # float32 is IEEE's in convolutions too


def limit_memory(device: torch.device, fraction: float | None) -> None:
    """At most so much of a card's memory is this process's; more is out of memory, though the card may have it."""
    if device.type == "cuda" and fraction is not None:
        torch.cuda.set_per_process_memory_fraction(fraction, device)


def best_memory_format(model: ModelSpec) -> torch.memory_format:
    """Channels last for convolutions: kernels of GPU and CPU want it so (docs/results.md); flattened pixels do not
    care.
    """
    return torch.channels_last if model.has_maps else torch.contiguous_format


def resolve_device(wanted: str) -> str:
    """`auto` becomes the first CUDA device when there is one, else the CPU; anything else that is there stays. Raises
    ValueError for what is not.
    """
    if wanted == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    kind, _, index = wanted.partition(":")
    if wanted == "cpu":
        return wanted
    if kind != "cuda" or (index and not index.isdecimal()):
        raise ValueError(f"there is no device {wanted!r}: name auto, cpu, cuda or cuda:0")
    count = torch.cuda.device_count()
    if int(index or 0) >= count:
        raise ValueError(f"there is no device {wanted!r}: PyTorch sees {count} CUDA devices here")
    return wanted


def environment(
    dataset: PreparedDataset,
    device: torch.device,
    threads: int,
    micro_batches: int = 1,
    foundation: FoundationFiles | None = None,
    *,
    precision: str = "float32",
) -> dict[str, Any]:
    """What else decides the bits of a result, for the run's record, and what its network needs of the data set to
    answer without it. The SHA-256 of a foundation's weights stands for all that those were made of.
    """
    return {
        "version": package_version(),
        "git": source_revision(),
        "results_version": RESULTS_VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device_name(device),
        **_libraries(device, precision),
        "threads": threads,
        "micro_batches": micro_batches,
        "dataset_sha256": dataset.sha256,
        "dataset": kept_facts(dataset.info),
        "built_on": None
        if foundation is None
        else {
            "run": foundation.run_id,
            "seed": foundation.seed,
            "weights_sha256": foundation.sha256,
            "dataset_sha256": foundation.dataset_sha256,
        },
    }


def device_name(device: torch.device) -> str:
    """`cuda: NVIDIA H200` or `cpu: <model>`."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"cpu: {_cpu_model()}"


def _libraries(device: torch.device, precision: str) -> dict[str, str]:
    """What of a GPU and what drives it bits hang on, beside its name: kernels are chosen by its compute capability and
    by cuDNN, random numbers are dealt out by its multiprocessors, and TF32 rounds what it multiplies. Nothing of a CPU.
    """
    if device.type != "cuda":
        return {}
    card = torch.cuda.get_device_properties(device)
    return {
        "driver": driver_version() or "unknown",
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "capability": f"{card.major}.{card.minor}",
        "multiprocessors": str(card.multi_processor_count),
        "tf32": "on" if is_multiplied_in_tf32(precision, device) else "off",
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
