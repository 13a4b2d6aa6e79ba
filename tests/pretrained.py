"""A stand-in for torchvision's published weights: its own network with random ones, in a file that is named by its hash
as the real one is.
"""

from pathlib import Path

import torch
from torchvision import models

from lab_models.building_on.pretrained import PublishedFile
from lab_models.common.files import sha256_of

NOWHERE = "http://127.0.0.1:9/models"
"""Nobody listens on the discard port, so a download fails at once."""


def random_resnet18() -> models.ResNet:
    """torchvision's network as training on something may leave it: batch norm's statistics are others than at the
    beginning.
    """
    torch.manual_seed(18)
    network = models.resnet18(weights=None)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            tensor.normal_(0.0, 0.2)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
    return network.eval()


def publish(content: object, folder: Path, address: str = NOWHERE) -> PublishedFile:
    """Save it into the folder under a name that ends in the beginning of its SHA-256, as torch.hub names its files."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        (folder / "new.pth").write_bytes(content)
    else:
        torch.save(content, folder / "new.pth")
    published = PublishedFile(
        "ResNet-18 from ImageNet", f"{address}/resnet18-{sha256_of(folder / 'new.pth')[:8]}.pth"
    )
    (folder / "new.pth").rename(folder / published.file)
    return published


def published_resnet18(folder: Path) -> PublishedFile:
    """The stand-in's file; like the older ones that torchvision has published, it lacks batch norm's counters."""
    weights = random_resnet18().state_dict()
    return publish(
        {
            name: tensor
            for name, tensor in weights.items()
            if not name.endswith("num_batches_tracked")
        },
        folder,
    )
