"""The number format of the forward and backward pass."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

import torch

LEAST_TF32: Final = (8, 0)
"""Compute capability from which a card multiplies in TF32; below, cuBLAS and cuDNN compute float32:
https://docs.nvidia.com/cuda/cuda-c-programming-guide/#compute-capabilities.
"""

ForwardContext = Callable[[], AbstractContextManager[object]]


def forward_context(precision: str, device: torch.device) -> ForwardContext:
    """What a forward pass runs under: nothing for float32; autocast for bfloat16, which keeps weights and gradients
    float32; for tf32 as `multiplied_in`.
    """
    if precision == "bfloat16":
        return lambda: torch.autocast(device.type, dtype=torch.bfloat16)
    return lambda: multiplied_in(precision, device)


def multiplied_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """What forward and backward pass run under together: with tf32 a GPU rounds what it multiplies, and only here; a
    teacher of another precision keeps its own within.
    """
    if device.type != "cuda" or _rounds() == (wanted := precision == "tf32", wanted):
        return nullcontext()
    return _rounding(wanted)


def is_multiplied_in_tf32(precision: str, device: torch.device) -> bool:
    """Whether this device does what `tf32` allows it."""
    return (
        precision == "tf32"
        and device.type == "cuda"
        and torch.cuda.get_device_capability(device) >= LEAST_TF32
    )


def notes_of_precision(precision: str, device: torch.device) -> list[str]:
    """What is to be said where another format is computed in than was asked for."""
    if precision != "tf32" or is_multiplied_in_tf32(precision, device):
        return []
    where = "a CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
    return [f"precision tf32: {where} has no TF32, so this is float32"]


@contextmanager
def _rounding(wanted: bool) -> Iterator[None]:
    matrices, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = _rounds()
    matrices.allow_tf32 = convolutions.allow_tf32 = wanted
    try:
        yield
    finally:
        matrices.allow_tf32, convolutions.allow_tf32 = before


def _rounds() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
