"""The spec of a multilayer perceptron."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lab_models.specs.architecture import ArchitectureSpec, whole_numbers

MAX_DEPTH = 200
MAX_WIDTH = 16384
DEFAULT_DEPTH = 2
DEFAULT_WIDTH = 512

Widths = Annotated[
    tuple[Annotated[int, Field(ge=1, le=MAX_WIDTH)], ...],
    Field(min_length=1, max_length=MAX_DEPTH, strict=False),
]


class MLPSpec(ArchitectureSpec):
    """A multilayer perceptron on flattened pixels: linear, norm, ReLU, dropout per hidden layer, then a linear head."""

    has_maps: ClassVar[bool] = False
    counts_pixels: ClassVar[bool] = True
    hidden_in_head: ClassVar[bool] = False

    arch: Literal["mlp"] = "mlp"
    """Architecture."""
    input_channels: Literal[1, 3] | None = None
    """1 for a network of grey images, 3 for color: a data set of the other kind is refused; null: whatever the data set
    has.
    """
    depth: int | None = Field(default=None, ge=1, le=MAX_DEPTH)
    """Number of hidden layers, the head not counted; 2 when neither `depth` nor `hidden` is given."""
    width: int | None = Field(default=None, ge=1, le=MAX_WIDTH)
    """Units of every hidden layer; 512 when neither `width` nor `hidden` is given."""
    hidden: Widths | None = None
    """Widths layer by layer, in place of `depth` and `width`."""
    residual: bool = False
    """Shortcuts without parameters around the hidden layers but the first: relu(F(h) + h). Needs equal widths."""
    shortcut_layers: Literal[1, 2] = 1
    """Hidden layers that one shortcut spans; with 2, `depth` must be odd: one layer, then pairs."""
    block: Literal["layer", "inverted_bottleneck"] = "layer"
    """What is stacked after the first hidden layer: single layers, or blocks width → 2·width → width with norm after
    both and no activation after the block.
    """
    norm: Literal["none", "batch", "layer"] = "none"
    """Normalisation between a hidden layer and its ReLU."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability of dropping a hidden unit while training."""
    dropout_at: Literal["every_hidden", "last_hidden"] = "every_hidden"
    """After which hidden layers dropout stands; a block has it after its inner layer."""
    init: Literal["torch", "kaiming_fan_out"] = "torch"
    """Initial weights: `torch.nn.Linear`'s own, or normal with variance 2 / fan_out and zero biases (He et al. 2015).
    """

    @model_validator(mode="before")
    @classmethod
    def _canonical_widths(cls, data: Any) -> Any:
        """Equal networks get equal specs: equal widths become depth and width, and missing ones their defaults."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        hidden = data.get("hidden")
        if hidden is not None:
            if data.get("depth") is not None or data.get("width") is not None:
                raise ValueError("give either 'hidden', or 'depth' and 'width', not both")
            if whole_numbers(hidden, MAX_DEPTH, MAX_WIDTH) and len(set(hidden)) == 1:
                data.update(depth=len(hidden), width=hidden[0], hidden=None)
        else:
            data["depth"] = DEFAULT_DEPTH if data.get("depth") is None else data["depth"]
            data["width"] = DEFAULT_WIDTH if data.get("width") is None else data["width"]
        return data

    @model_validator(mode="after")
    def _shapes_agree(self) -> Self:
        if self.residual and len(set(self.widths)) > 1:
            raise ValueError(
                "a residual MLP adds a layer's input to its output, so all widths must be equal, not"
                f" {list(self.widths)}"
            )
        if self.block == "inverted_bottleneck" and self.hidden is not None:
            raise ValueError("blocks have one width: give 'depth' and 'width', not 'hidden'")
        if self.shortcut_layers == 2:
            if not self.residual:
                raise ValueError("'shortcut_layers' 2 needs 'residual' true")
            if self.block != "layer":
                raise ValueError(
                    "a shortcut spans one whole block: 'shortcut_layers' 2 is for 'block' \"layer\""
                )
            if len(self.widths) % 2 == 0:
                raise ValueError(
                    f"shortcuts around two layers need an odd 'depth' (one layer, then pairs), not {len(self.widths)}"
                )
        return self

    @property
    def has_batch_norm(self) -> bool:
        """Only where it is asked for."""
        return self.norm == "batch"

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer, or after each block, input side first."""
        if self.hidden is not None:
            return self.hidden
        return (self.width or DEFAULT_WIDTH,) * (self.depth or DEFAULT_DEPTH)
