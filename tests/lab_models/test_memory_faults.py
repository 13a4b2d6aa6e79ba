"""A GPU without memory, as far as it can be had without a GPU: the driver's own exception, at the place where it
comes.
"""

import pytest
import torch

from lab_models.common.errors import OutOfMemory
from lab_models.running import preparing
from tests.lab_models.conftest import TINY, OrderMaker, train


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
