"""What a trainer pays for before its order comes, so that no run's first step does."""

import torch
from torch import Tensor, nn

from lab_models.running.environment import make_deterministic
from lab_models.running.fitness import LEAST_BFLOAT16
from lab_models.specs import AdamSpec, SGDSpec
from lab_models.training.optimization import make_optimizer
from lab_models.training.precision import forward_context


def warm_up(device: torch.device, threads: int) -> None:
    """Pay for lazy libraries, thread pools and the device's context: one tiny training step, and on a GPU one of
    convolutions in each format that it calculates in, which loads cuDNN and the kernels that runs use. Raises what the
    device raises, also what it only says when it is waited for.
    """
    make_deterministic(threads)
    _step(nn.Linear(64, 64), torch.zeros(64, 64), device, "float32")
    if device.type != "cuda":
        return
    images = torch.zeros(8, 3, 32, 32).to(memory_format=torch.channels_last)
    has_bfloat16 = torch.cuda.get_device_capability(device) >= LEAST_BFLOAT16
    for precision in ("float32", "bfloat16") if has_bfloat16 else ("float32",):
        _step(_convolutions(), images, device, precision)
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()  # it waits beside others that train


def _convolutions() -> nn.Module:
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    return network.to(memory_format=torch.channels_last)


def _step(network: nn.Module, inputs: Tensor, device: torch.device, precision: str) -> None:
    """Every optimizer that is one kernel, on one gradient."""
    model = network.to(device)
    optimizers = [make_optimizer(one, model) for one in (AdamSpec(), SGDSpec(momentum=0.9))]
    with forward_context(precision, device)():
        logits = model(inputs.to(device)).float()
    labels = torch.zeros(len(inputs), dtype=torch.int64, device=device)
    nn.functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
    for optimizer in optimizers:
        optimizer.step()
