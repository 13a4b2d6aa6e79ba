"""What a card was asked for, told apart by the names of torch's operations."""

import linecache
import re
import sys
from collections import Counter
from dataclasses import dataclass, field

PROJECT = "/lab_models/"

FREE = re.compile(
    "view|_unsafe_view|t|transpose|permute|expand|slice|select|unsqueeze|squeeze|detach|alias|split|split_with_sizes"
    "|as_strided|as_strided_|unbind|_reshape_alias|tensor_split|diagonal|view_as_real|lift_fresh"
    "|empty|empty_like|empty_strided|new_empty|new_empty_strided"
)
"""What launches no kernel: views, and memory as it is."""
WAITING = re.compile(
    "_local_scalar_dense|nonzero|masked_select|_unique2|unique_consecutive|unique_dim|equal|bincount"
)
"""What comes back when the card has done all that was asked of it before: a size or the answer hangs on it."""
INDEXING = re.compile("index|index_put|index_put_|_index_put_impl_|_unsafe_index")
UNORDERED = re.compile(
    "_adaptive_avg_pool2d_backward|adaptive_max_pool2d_backward|upsample_bilinear2d_backward"
    "|upsample_nearest2d_backward|grid_sampler_2d_backward|nll_loss2d_forward|scatter_add|scatter_add_|put_|histc"
    "|kthvalue|reflection_pad2d_backward|replication_pad2d_backward|embedding_bag_backward"
)
"""What torch has no deterministic form of on CUDA:
https://pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html.
"""


@dataclass
class Counts:
    """What the card was asked for; `faults` are what it would have refused or done in any order."""

    kernels: int = 0
    waits: int = 0
    copies: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    waited_at: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def now(self) -> tuple[int, int, int]:
        """Kernels, waits and copies until now."""
        return self.kernels, self.waits, self.copies

    def clear(self) -> None:
        """Begin anew."""
        self.kernels = self.waits = self.copies = 0
        for counter in (self.operations, self.waited_at, self.faults):
            counter.clear()

    def launch(self, name: str) -> None:
        self.kernels += 1
        self.operations[name] += 1

    def wait(self, name: str) -> None:
        self.waits += 1
        self.waited_at[f"{name} at {_place()}"] += 1

    def fault(self, what: str) -> None:
        self.faults[f"{what} at {_place()}"] += 1


def _place() -> str:
    """The line of the project that asked for it; in a backward pass there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if PROJECT in path:
            line = linecache.getline(path, frame.f_lineno).strip()
            return f"{path.partition(PROJECT)[2]}: {line}"
        frame = frame.f_back  # type: ignore[assignment]
    return "a backward pass"
