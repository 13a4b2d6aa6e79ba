"""What the installed PyTorch says of a device and does on it, step by step, for `python -m worker.probe`."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from lab_models.running.environment import device_name, make_deterministic
from lab_models.running.fitness import (
    LEAST_BFLOAT16,
    NoKernels,
    caution_of,
    driver_version,
    installed_build,
    require_kernels,
    unfit,
)

STEPS = 20
IMAGES = 32
"""Of 3 channels, 16 pixels a side, in 10 classes."""


def findings(name: str, threads: int) -> Iterator[dict[str, Any]]:
    """One after the other as `{"level", "what", "found", "do"}`; `level` is `ok`, `warn` or `FAIL`."""
    device = torch.device(name)
    build = installed_build()
    needs = (
        f", needs driver {build.least_driver} or newer, cards {build.cards}" if build.cuda else ""
    )
    yield _finding("ok", "torch", f"{build.torch}, CUDA {build.cuda or 'none'}{needs}")
    if device.type == "cuda":
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        yield _finding("ok", "cuDNN", str(cudnn))
        version = driver_version()
        is_known = version is not None and build.least_driver is not None
        is_old = is_known and int(str(version).partition(".")[0]) < (build.least_driver or 0)
        yield _finding(
            "FAIL" if is_old else "ok" if version else "warn",
            "driver",
            f"{version or 'not known'}, needed {build.least_driver or 'not known'}",
            "update the driver (docs/machines.md#gpus)" if is_old else "",
        )
    try:
        require_kernels(device)
        yield _finding("ok", "device", _described(device))
        make_deterministic(threads)
        yield from _numbers(device)
        for what, make in (("MLP", _mlp), ("CNN", _cnn)):
            _train(make, device, 1)
            yield _finding(
                "ok", f"one step of an {what}" if what == "MLP" else "one step of a CNN", "done"
            )
        yield from _sameness(device)
    except (RuntimeError, AssertionError, OSError, NoKernels) as error:
        yield _finding("FAIL", f"train on {name}", unfit(error).reason)


def _described(device: torch.device) -> str:
    if device.type != "cuda":
        return device_name(device)
    major, minor = torch.cuda.get_device_capability(device)
    free, total = torch.cuda.mem_get_info(device)
    return f"{device_name(device)}, capability {major}.{minor}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"


def _numbers(device: torch.device) -> Iterator[dict[str, Any]]:
    """After `make_deterministic`, as in a run."""
    tf32 = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    yield _finding(
        "warn" if tf32 else "ok",
        "TF32",
        "on" if tf32 else "off: float32 is IEEE's in matrices and convolutions",
    )
    caution = caution_of(device)
    if caution is not None:
        yield _finding("warn", "bfloat16", caution, "say precision float32")
    elif device.type == "cuda":
        yield _finding(
            "ok", "bfloat16", f"of the card's own (capability {LEAST_BFLOAT16[0]}.0 or higher)"
        )


def _sameness(device: torch.device) -> Iterator[dict[str, Any]]:
    """The promise that the same run gives the same bits."""
    for what, make in (("MLP", _mlp), ("CNN", _cnn)):
        first, second = (_sha256(_train(make, device, STEPS)) for _ in range(2))
        is_same = first == second
        yield _finding(
            "ok" if is_same else "FAIL",
            f"{STEPS} steps twice, {what}",
            f"SHA-256 {first[:16]}" if is_same else f"SHA-256 {first[:16]} and {second[:16]}",
            "" if is_same else "results are not reproducible here: report it with this output",
        )


def _train(make: Callable[[], nn.Module], device: torch.device, steps: int) -> nn.Module:
    torch.manual_seed(0)
    model = make().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, fused=True)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(IMAGES, 3, 16, 16, generator=generator).to(device)
    labels = torch.randint(0, 10, (IMAGES,), generator=generator).to(device)
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 128), nn.ReLU(), nn.Linear(128, 10))


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def _sha256(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _finding(level: str, what: str, found: str, do: str = "") -> dict[str, Any]:
    return {"level": level, "what": what, "found": found, "do": do}
