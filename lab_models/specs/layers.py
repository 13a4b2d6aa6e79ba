"""The spec of a network of one's own: a list of layers."""

from itertools import dropwhile, islice
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from lab_models.specs.architecture import ArchitectureSpec
from lab_models.specs.layer_list import (
    ActivationEntry,
    AnyLayer,
    ConvEntry,
    DropoutEntry,
    FlattenEntry,
    LayerEntry,
    NormEntry,
    PoolEntry,
    RepeatEntry,
)
from lab_models.specs.layer_walk import MOST_LAYERS, count_layers, entries_within, require_readable

SMALL: tuple[AnyLayer, ...] = (
    ConvEntry(conv=32),
    NormEntry(norm="batch"),
    ActivationEntry(activation="relu"),
    PoolEntry(pool="max"),
    ConvEntry(conv=64),
    NormEntry(norm="batch"),
    ActivationEntry(activation="relu"),
)


class LayersSpec(ArchitectureSpec):
    """A network of your own, layer by layer. The head, a linear layer with a unit per class, is added by itself, after
    a global average where maps are left.
    """

    arch: Literal["layers"] = "layers"
    """Architecture."""
    input_channels: Literal[1, 3] | None = None
    """1 for a network of grey images, 3 for color: a data set of the other kind is refused; null: whatever the data set
    has.
    """
    layers: Annotated[
        tuple[AnyLayer, ...],
        Field(min_length=1, strict=False),
        BeforeValidator(require_readable, json_schema_input_type=list[dict[str, Any] | str]),
    ] = SMALL
    """The layers from the image on, without the head: docs/layers.md."""
    init: Literal["torch", "kaiming_fan_out", "small_head", "zero_biases", "torchvision"] = "torch"
    """Initial weights: PyTorch's own. Or convs normal with variance 2 / fan_out (He et al. 2015), with linear layers
    likewise, or normal with deviation 0.01, or PyTorch's own with zero biases or whole, in torchvision's order.
    """

    @model_validator(mode="after")
    def _can_be_written_out(self) -> Self:
        count = count_layers(self.layers)
        if count > MOST_LAYERS:
            raise ValueError(f"written out these are {count:,} layers, more than {MOST_LAYERS:,}")
        if self.init == "torchvision" and not self.has_maps:
            raise ValueError("'init' \"torchvision\" begins with a conv, and this network has none")
        return self

    @property
    def has_maps(self) -> bool:  # type: ignore[override]  # the list says it, of the others their kind
        """Whether there is a conv."""
        return any(isinstance(entry, ConvEntry) for entry in entries_within(self.layers))

    @property
    def counts_pixels(self) -> bool:  # type: ignore[override]
        """Whether maps are flattened and not averaged."""
        first = next(filter(_gives_vector, entries_within(self.layers)), None)
        return isinstance(first, FlattenEntry)

    @property
    def hidden_in_head(self) -> bool:  # type: ignore[override]
        """Whether there are convs, and something that computes stands behind the vector of their maps."""
        behind = dropwhile(lambda entry: not _gives_vector(entry), entries_within(self.layers))
        idle = FlattenEntry | DropoutEntry | RepeatEntry
        return self.has_maps and any(
            not isinstance(entry, idle) for entry in islice(behind, 1, None)
        )

    @property
    def has_batch_norm(self) -> bool:
        """Only where the list has one."""
        return any(
            isinstance(entry, NormEntry) and entry.norm == "batch"
            for entry in entries_within(self.layers)
        )


def _gives_vector(entry: LayerEntry) -> bool:
    """Whether maps become a vector here."""
    return isinstance(entry, FlattenEntry) or (
        isinstance(entry, PoolEntry) and entry.pool == "global_average"
    )
