"""What layers are called: bare names, names with a number, and what other libraries call them."""

from typing import Any, Final

ACTIVATIONS: Final[tuple[str, ...]] = ("relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid")
SHORT: Final[dict[str, dict[str, Any]]] = {
    **{name: {"activation": name} for name in ACTIVATIONS},
    "batch_norm": {"norm": "batch"},
    "layer_norm": {"norm": "layer"},
    "max_pool": {"pool": "max"},
    "average_pool": {"pool": "average"},
    "global_average_pool": {"pool": "global_average"},
    "flatten": {"flatten": True},
}
"""What a bare name stands for."""
SHORT_KEYS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "max_pool": ({"pool": "max"}, "kernel"),
    "average_pool": ({"pool": "average"}, "kernel"),
    "group_norm": ({"norm": "group"}, "groups"),
}
"""What a name with a number stands for, and the field that the number is."""


def name_elsewhere(name: str) -> str | None:
    """What to write for a layer as another library calls it; None for a name that is none."""
    plain = name.lower().removeprefix("nn.").rstrip("12d").replace("_", "")
    return next((hint for known, hint in _THEIRS.items() if plain == known), None)


_THEIRS: Final = {
    "conv": 'write {"conv": 32, "kernel": 3}, with as many channels as it shall give',
    "linear": 'write {"linear": 128}, with as many units as it shall have',
    "dense": 'write {"linear": 128}, with as many units as it shall have',
    "dropout": 'write {"dropout": 0.2}',
    "batchnorm": 'write "batch_norm"',
    "layernorm": 'write "layer_norm"',
    "groupnorm": 'write {"group_norm": 8}',
    "maxpool": 'write "max_pool" or {"max_pool": 2}',
    "avgpool": 'write "average_pool" or {"average_pool": 2}',
    "globalavgpool": 'write "global_average_pool"',
    "softmax": "leave it out: the loss works on logits",
}
