"""Batch norms count their batches; here all of a network at once, which is one kernel on a GPU and not one for each."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

COUNTER = "num_batches_tracked"


class BatchCounters:
    """The counters of a network's batch norms whose momentum is fixed, so that nothing hangs on the count itself."""

    def __init__(self, model: nn.Module) -> None:
        self._norms = [
            module
            for module in model.modules()
            if isinstance(module, _BatchNorm)
            and module.momentum is not None
            and module.num_batches_tracked is not None
        ]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around a forward pass in which each norm is met once: those in training mode count it at its end."""
        # torch's own forward counts nothing where there is no counter
        norms = [norm for norm in self._norms if norm.training]
        counters = [one for norm in norms if (one := norm._buffers[COUNTER]) is not None]
        for norm in norms:
            norm._buffers[COUNTER] = None
        try:
            yield
        finally:
            for norm, counter in zip(norms, counters, strict=True):
                norm._buffers[COUNTER] = counter
        if counters:
            torch._foreach_add_(counters, 1)
