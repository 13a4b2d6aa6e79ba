"""The number format of the forward pass."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

ForwardContext = Callable[[], AbstractContextManager[object]]


def forward_context(precision: str, device: torch.device) -> ForwardContext:
    """What a forward pass runs under: nothing for float32; autocast for bfloat16, which keeps weights and gradients
    float32.
    """
    if precision == "float32":
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16)
