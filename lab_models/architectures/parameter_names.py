"""The names of a network's parameters, as in its file of weights, without torch; and what of a spec names none."""

from collections.abc import Iterator

from lab_models.architectures.sizes import ModelSize, model_size
from lab_models.common.validation import FieldError, did_you_mean
from lab_models.datasets.catalog import DatasetInfo
from lab_models.datasets.splits import num_rows_as_asked, steps_per_epoch
from lab_models.specs import MOST_POINTS, AnySpec, TransferSpec

PARAMETERS = {"linear": ("weight", "bias"), "conv": ("weight",), "norm": ("weight", "bias")}
"""By kind of layer; the others have none."""
MOST_LISTED = 12


def parameter_names(size: ModelSize) -> list[str]:
    """Every trainable parameter of the network, input side first: `stem.conv.weight`, …, `head.bias`."""
    return [
        f"{layer.name}.{name}" for layer in size.layers for name in PARAMETERS.get(layer.kind, ())
    ]


def layer_gradient_faults(spec: AnySpec, info: DatasetInfo) -> Iterator[FieldError]:
    """What of `layer_gradients` cannot be measured while the network is trained on this data set; nothing where all
    can. The network must be possible.
    """
    asked = spec.layer_gradients
    if asked is None:
        return
    if isinstance(spec, TransferSpec) and spec.strategy == "features":
        yield FieldError("/layer_gradients", "strategy 'features' trains nothing, so there is none")
        return
    known = parameter_names(model_size(spec.network, info.shape, info.num_classes))
    for place, name in enumerate(asked.layers):
        if name not in known:
            yield FieldError(
                f"/layer_gradients/layers/{place}",
                f"this network has no parameter {name!r}",
                _meant(name, known),
            )
    num_train, _ = num_rows_as_asked(spec.dataset, info)
    num_steps = spec.planned_epochs * steps_per_epoch(num_train, spec.batch_size)
    points = -(-num_steps // asked.every_steps)
    if points > MOST_POINTS:
        yield FieldError(
            "/layer_gradients/every_steps",
            f"{points:,} of {num_steps:,} steps would be measured, and at most {MOST_POINTS:,} can be",
            f"set every_steps to {-(-num_steps // MOST_POINTS)} or more",
        )


def _meant(name: str, known: list[str]) -> str:
    near = did_you_mean(name, known) or ""
    if near.startswith("did"):
        return near
    listed = ", ".join(known[:MOST_LISTED])
    if len(known) <= MOST_LISTED:
        return f"it has {listed}"
    return f"it has {len(known)}, named as the layers of a dry run are: {listed}, …"
