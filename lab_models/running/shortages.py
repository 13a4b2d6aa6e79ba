"""Memory or disk that runs out, called by its name whoever noticed it: Python, the kernel, PyTorch or NVIDIA's
libraries.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lab_models.common.errors import LabError, OutOfMemory, StorageFull
from lab_models.common.files import FULL_DISK
from lab_models.specs import AnySpec

OUT_OF_MEMORY_WORDS = (
    "can't allocate memory",
    "could not create a primitive",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What PyTorch's allocator on the CPU, oneDNN without room for its code or scratchpad, and NVIDIA's libraries say in a
plain RuntimeError.
"""
OUT_OF_MEMORY_HINT = "lower batch_size, or the model's width or depth"
HALVING_HINT = '; or allow "on_out_of_memory": "halve_batch"'


@contextmanager
def named_shortages(spec: AnySpec) -> Iterator[None]:
    """Raises OutOfMemory and StorageFull where the block has run out of one or the other; any other error stays what it
    is.
    """
    try:
        yield
    except LabError:
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _out_of_memory(error, spec) from error
    except OSError as error:
        if error.errno in FULL_DISK:
            raise StorageFull(
                f"writing {error.filename or 'a file'} failed: {error.strerror}",
                hint="free disk space under LAB_HOME, then send the experiment again",
            ) from error
        raise
    except RuntimeError as error:
        if any(words in str(error) for words in OUT_OF_MEMORY_WORDS):
            raise _out_of_memory(error, spec) from error
        raise


def _out_of_memory(error: Exception, spec: AnySpec) -> OutOfMemory:
    is_allowed = spec.on_out_of_memory == "halve_batch"
    return OutOfMemory(
        str(error) or "out of memory",
        hint=OUT_OF_MEMORY_HINT + ("" if is_allowed else HALVING_HINT),
    )
