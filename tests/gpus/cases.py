"""What is trained on a card to see that it can be: every architecture, augmentation and objective, all of them tiny."""

from dataclasses import dataclass, field
from typing import Any

from lab_models.datasets.batches import RESIDENT_BYTES

DIGITS = {"name": "digits", "train_limit": 100}
SHORT = {"dataset": DIGITS, "batch_size": 24, "epochs": 1}
SGD = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}
CNN = {"arch": "cnn", "stages": 2, "width": 4, "stem": "3x3", "blocks_per_stage": 1}
TAUGHT = {"kind": "distill", "student": CNN, "teacher": {"spec": {**SHORT, "model": CNN}}}
LIVE = {**TAUGHT, "teacher_outputs": "live"}
TRANSFERRED = {"kind": "transfer", "source": {"spec": {**SHORT, "model": CNN}}}


@dataclass(frozen=True)
class Case:
    """A spec, but for what all have, with the most that a step of it may ask of a card. An epoch's first step is not
    meant: it brings the order and the views, and the very first makes the optimizer's state.

    `on` names the case whose network it builds on; `order` is what the order has beside,
    `resident_bytes` how much of images may lie on the card.
    """

    name: str
    spec: dict[str, Any]
    kernels: int
    copies: int = 0
    waits: int = 0
    on: str | None = None
    order: dict[str, Any] = field(default_factory=dict)
    resident_bytes: int = RESIDENT_BYTES
    resumed_after: int | None = None
    """Steps of the first epoch after which it is stopped and resumed as well."""
    differs_by: float = 0.0
    """How far the weights may be from the CPU's, in L2, as a share; 0 is the same bits."""

    def document(self) -> dict[str, Any]:
        """As `tests.gpus.comparing` reads it."""
        return {
            "name": self.name,
            "spec": {**SHORT, **self.spec},
            "order": self.order,
            "resident_bytes": self.resident_bytes,
            "resumed_after": self.resumed_after,
            **({} if self.on is None else {"on": self.on}),
        }


def images(**augmentation: Any) -> dict[str, Any]:
    """The data set with random views."""
    return {**DIGITS, "augmentation": augmentation}


CASES = (
    Case(
        "a list of layers",
        {
            "model": {
                "arch": "layers",
                "layers": [
                    {"conv": 4},
                    "batch_norm",
                    "relu",
                    {"residual": [{"conv": 8, "stride": 2}, "layer_norm", "gelu"]},
                    {"dropout": 0.1},
                    "flatten",
                ],
            }
        },
        38,
    ),
    Case("mlp", {"model": {"depth": 4, "width": 16}}, 41),
    Case(
        "mlp with everything",
        {
            "model": {"depth": 4, "width": 16, "residual": True, "norm": "batch", "dropout": 0.1},
            "ema_decay": 0.9,
            "gradient_clip": 1.0,
            "label_smoothing": 0.1,
            "probes": ["gradient_flow"],
        },
        136,
        resumed_after=3,
    ),
    Case(
        "mlp of bottlenecks, rmsprop, class weights, gradients of a layer",
        {
            "model": {
                "depth": 3,
                "width": 16,
                "block": "inverted_bottleneck",
                "norm": "layer",
                "residual": True,
            },
            "optimizer": {"name": "rmsprop", "momentum": 0.5, "centered": True},
            "class_weights": "balanced",
            "layer_gradients": {
                "layers": ["hidden.0.linear.weight"],
                "every_steps": 2,
                "histograms": True,
            },
        },
        278,
        waits=1,  # a histogram is counted every second step
    ),
    Case("cnn", {"model": CNN}, 54),
    Case("cnn, tf32", {"model": CNN, "precision": "tf32"}, 54),
    Case(
        "cnn, shifted, turned and cut, bfloat16",
        {
            "model": {**CNN, "dropout": 0.1},
            "dataset": images(shift=1, rotation=10.0, cutout=2),
            "optimizer": SGD,
            "precision": "bfloat16",
        },
        125,
    ),
    Case(
        "cnn, cropped and mirrored, stored views, adamw",
        {
            "model": {**CNN, "residual": True},
            "dataset": images(crop_padding=1, horizontal_flip=True, views=2),
            "optimizer": "adamw",
            "epochs": 3,
        },
        82,
    ),
    Case("henet", {"model": {"arch": "henet", "depth": 8, "width": 4}, "optimizer": SGD}, 80),
    Case(
        "resnet18, average, gradient flow",
        {
            "model": {"arch": "resnet18"},
            "optimizer": SGD,
            "ema_decay": 0.9,
            "label_smoothing": 0.1,
            "probes": ["gradient_flow"],
        },
        183,
    ),
    Case(
        "resnet18, bfloat16",
        {"model": {"arch": "resnet18"}, "optimizer": SGD, "precision": "bfloat16"},
        205,
    ),
    Case(
        "resnet18 for ImageNet, images made larger",
        {
            "model": {
                "arch": "resnet18",
                "stem": "imagenet",
                "statistics": "imagenet",
                "image_size": 32,
            },
            "optimizer": {"name": "sgd", "learning_rate": 0.001},
        },
        159,
    ),
    Case(
        "vgg",
        {
            "model": {"arch": "vgg", "widths": [4, 8], "hidden": 8, "dropout": 0.1},
            "optimizer": {**SGD, "nesterov": True},
        },
        56,
    ),
    Case(
        "parts of a batch, bfloat16",
        {"model": CNN, "precision": "bfloat16"},
        171,
        order={"micro_batches": 2},
    ),
    Case(
        "memory-mapped images",
        {"model": CNN, "dataset": images(shift=1)},
        72,
        copies=2,  # the rows' numbers and their images
        resident_bytes=0,
    ),
    Case("stored logits", TAUGHT, 79, on="cnn"),
    Case("permuted logits", {**TAUGHT, "permute_within_class": True}, 80, on="cnn"),
    Case(
        "logits of stored views",
        {**TAUGHT, "dataset": images(shift=1, views=2), "epochs": 2},
        96,
        on="cnn",
    ),
    Case(
        "attention, bfloat16",
        {**LIVE, "features": "attention", "precision": "bfloat16"},
        198,
        on="cnn",
    ),
    Case("hints", {**LIVE, "features": "hint"}, 110, on="cnn"),
    Case(
        "attention of maps that no whole number divides",
        {
            **LIVE,
            "student": {"arch": "resnet18", "image_size": 12},
            "optimizer": SGD,
            "features": {"name": "attention", "stages": [["stages.0", "layer1"]]},
        },
        306,
        on="cnn",
        differs_by=0.001,
    ),
    Case(
        "transfer stage by stage",
        {**TRANSFERRED, "strategy": "staged", "layer_decay": 0.7, "epochs": 2},
        46,
        on="cnn",
    ),
    Case("a new head", {**TRANSFERRED, "strategy": "linear_probe"}, 33, on="cnn"),
    Case("classifiers on features", {**TRANSFERRED, "strategy": "features"}, 0, on="cnn"),
)
