"""Networks by name: the labs' own, and what a bare name or a changed preset stands for."""

from typing import Any

from lab_models.specs.base import UnknownName
from lab_models.specs.model import ARCHITECTURES
from lab_models.specs.network_hints import nearest_network

ARCHITECTURE_NAMES = tuple(spec.model_fields["arch"].default for spec in ARCHITECTURES)
PRESETS: dict[str, dict[str, Any]] = {
    "mlp-small": {"arch": "mlp", "hidden": [128, 64], "dropout": 0.2, "dropout_at": "last_hidden"},
    "mlp-ascoded": {
        "arch": "mlp",
        "depth": 2,
        "width": 512,
        "block": "inverted_bottleneck",
        "norm": "batch",
        "dropout": 0.2,
        "init": "kaiming_fan_out",
    },
    "three-models-mlp": {"arch": "mlp", "hidden": [512, 512]},
    "three-models-cnn": {
        "arch": "vgg",
        "widths": [64, 128, 256],
        "convs_per_stage": 2,
        "hidden": 256,
    },
    "cnn-blocks-1": {"arch": "cnn", "stages": 1, "width": 64, "dropout": 0.2},
    "cnn-blocks-5": {"arch": "cnn", "stages": 5, "width": 64, "dropout": 0.2},
    "cnn-blocks-10": {"arch": "cnn", "stages": 10, "width": 64, "dropout": 0.2},
    "teacher": {"arch": "cnn", "stages": 4, "width": 64, "residual": True, "dropout": 0.2},
    "student": {"arch": "cnn", "stages": 3, "width": 32, "residual": True, "dropout": 0.2},
    "resnet20": {"arch": "henet", "depth": 20},
    "resnet32": {"arch": "henet", "depth": 32},
    "resnet44": {"arch": "henet", "depth": 44},
    "resnet56": {"arch": "henet", "depth": 56},
    "resnet110": {"arch": "henet", "depth": 110},
}
"""Networks of the labs by name; `{"preset": "student", "residual": false}` changes what it names."""


def expand_preset(value: Any) -> Any:
    """The object that a bare name or a `preset` stands for: an architecture with its defaults, or a network of the
    labs.
    """
    if isinstance(value, str):
        if value.lower() in ARCHITECTURE_NAMES:
            return {"arch": value.lower()}
        value = {"preset": value}
    if not isinstance(value, dict):
        return value
    if "preset" not in value:
        arch = value.get("arch", "layers" if isinstance(value.get("layers"), list) else "mlp")
        if not isinstance(arch, str):
            return value
        if arch.lower() in PRESETS:
            raise UnknownName("architecture", arch, (), f'write "preset": "{arch.lower()}"')
        meant = None if arch.lower() in ARCHITECTURE_NAMES else nearest_network(arch)
        if meant is not None:
            raise UnknownName("architecture", arch, (), meant)
        return {**value, "arch": arch.lower()}
    given = value["preset"]
    preset = given.lower() if isinstance(given, str) else ""
    if preset not in PRESETS:
        meant = nearest_network(given) if isinstance(given, str) else None
        raise UnknownName("network", given, [*ARCHITECTURE_NAMES, *PRESETS], meant)
    changes = {key: item for key, item in value.items() if key != "preset"}
    return {**_without_rivals(PRESETS[preset], changes), **changes}


def _without_rivals(preset: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The preset without what the changes say in another way: widths one by one take the place of a number and a width,
    and the reverse.
    """
    rivals = {
        "hidden": ("depth", "width"),
        "widths": ("stages", "width"),
        "depth": ("hidden",),
        "stages": ("widths",),
        "width": ("hidden", "widths"),
    }
    replaced = {
        rival
        for key in changes
        if preset["arch"] in ("mlp", "cnn")
        for rival in rivals.get(key, ())
    }
    return {key: item for key, item in preset.items() if key not in replaced}
