"""Memory or disk that runs out and devices that fail, called by their names whoever noticed it: Python, the kernel,
PyTorch or NVIDIA's libraries.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lab_models.common.errors import DeviceFault, LabError, OutOfMemory, StorageFull
from lab_models.common.files import FULL_DISK
from lab_models.specs import AnySpec

OUT_OF_MEMORY_WORDS = (
    "can't allocate memory",
    "could not create a primitive",
    "CUDA error: out of memory",
    "Error 2: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "unable to find an engine to execute this computation",
    "No execution plans support the graph",
)
"""What PyTorch's allocator on the CPU, oneDNN without room for its code or scratchpad, and NVIDIA's driver and
libraries say in a RuntimeError or a child of it. Where a context, a graph or a library's handle gets no memory, the
words are the driver's; cuBLAS without room for its handle is "not initialized", and cuDNN finds no plan whose workspace
fits.
"""
DEVICE_FAULT_WORDS = (
    "CUDA error:",
    "CUDA driver error:",
    "cuDNN error:",
    "cudaGetDeviceCount()",
    "CUDNN_STATUS_EXECUTION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR",
    "NVML_SUCCESS == r INTERNAL ASSERT FAILED",
)
"""What else NVIDIA's driver and libraries say, PyTorch in the middle: memory that has flipped, a launch that failed, a
card that is busy or has fallen off the bus.
"""
OF_THE_PROGRAM = (
    "device-side assert triggered",
    "CUDNN_STATUS_BAD_PARAM",
    "CUBLAS_STATUS_INVALID_VALUE",
)
"""What a kernel or a library refuses: the same again however often it is tried, and on every card."""
OUT_OF_MEMORY_HINT = "lower batch_size, or the model's width or depth"
HALVING_HINT = '; or allow "on_out_of_memory": "halve_batch"'


@contextmanager
def named_shortages(spec: AnySpec) -> Iterator[None]:
    """Raises OutOfMemory and StorageFull where the block has run out of one or the other, and DeviceFault where device
    or driver have failed; any other error stays what it is.
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
        if _says(error, OUT_OF_MEMORY_WORDS):
            raise _out_of_memory(error, spec) from error
        if not _says(error, OF_THE_PROGRAM) and (
            isinstance(error, torch.AcceleratorError) or _says(error, DEVICE_FAULT_WORDS)
        ):
            first, *_ = str(error).splitlines()
            raise DeviceFault(first) from error
        raise


def _says(error: Exception, words: tuple[str, ...]) -> bool:
    return any(one in str(error) for one in words)


def _out_of_memory(error: Exception, spec: AnySpec) -> OutOfMemory:
    is_allowed = spec.on_out_of_memory == "halve_batch"
    return OutOfMemory(
        str(error) or "out of memory",
        hint=OUT_OF_MEMORY_HINT + ("" if is_allowed else HALVING_HINT),
    )
