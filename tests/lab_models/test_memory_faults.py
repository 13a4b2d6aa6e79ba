"""A GPU without memory, or one that fails, as far as they can be had without a GPU: the words of driver and libraries,
at the place where they come.
"""

import pytest
import torch

from lab_models.common.errors import DeviceFault, OutOfMemory
from lab_models.running import preparing
from lab_models.running.shortages import named_shortages
from lab_models.specs import read_request
from tests.lab_models.conftest import TINY, OrderMaker, train

SPEC = read_request(TINY).spec


def test_a_gpu_without_memory_is_called_so_and_says_what_to_lower(
    make_order: OrderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(preparing, "build_model", no_memory)
    with pytest.raises(OutOfMemory, match="Tried to allocate") as caught:
        train(make_order(TINY))
    assert caught.value.code == "out_of_memory"
    assert "batch_size" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'"),
        RuntimeError(
            "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError(
            "cuDNN Frontend error: [cudnn_frontend] Error: No execution plans support the graph."
        ),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("Unexpected error from cudaGetDeviceCount(). Error 2: out of memory"),
    ],
    ids=lambda error: str(error)[:40],
)
def test_whoever_has_no_memory_on_a_gpu_is_out_of_memory(error: RuntimeError) -> None:
    with pytest.raises(OutOfMemory), named_shortages(SPEC):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered\nmore"),
        torch.AcceleratorError("CUDA error: unspecified launch failure"),
        torch.AcceleratorError("CUDA error: all CUDA-capable devices are busy or unavailable"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("Unexpected error from cudaGetDeviceCount(). Error 802: system not ready"),
    ],
    ids=lambda error: str(error)[:40],
)
def test_a_gpu_that_fails_says_nothing_of_the_spec(error: RuntimeError) -> None:
    with pytest.raises(DeviceFault) as caught, named_shortages(SPEC):
        raise error
    assert str(caught.value) == str(error).splitlines()[0]


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: device-side assert triggered"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (64x10 and 64x64)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm`"),
    ],
    ids=lambda error: str(error)[:40],
)
def test_what_would_fail_again_on_every_gpu_stays_what_it_is(error: RuntimeError) -> None:
    with pytest.raises(type(error)) as caught, named_shortages(SPEC):
        raise error
    assert caught.value is error
