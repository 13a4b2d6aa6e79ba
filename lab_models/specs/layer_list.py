"""The layers of a network of one's own, as people write them and as they are kept."""

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_serializer, model_validator

from lab_models.common.validation import TAG_OF_LAYERS
from lab_models.specs.base import Frozen, UnknownName
from lab_models.specs.layer_names import SHORT, SHORT_KEYS, name_elsewhere

MAX_CHANNELS, MAX_WIDTH, MAX_KERNEL = 4096, 16384, 64

Activation = Literal["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"]


class LayerEntry(Frozen):
    """Base of every entry. What is kept and compared is the shortest form: a bare name where there is one, else what
    differs from the defaults.
    """

    key: ClassVar[str]
    """The field that says which kind of layer this is."""

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, data: Any) -> Any:
        unknown = [name for name in data if name not in cls.model_fields] if _is_dict(data) else []
        if unknown:
            raise UnknownName("field", unknown[0], list(cls.model_fields))
        return data

    @model_serializer(mode="plain")
    def _shortest(self) -> Any:
        said = {
            name: _shortest_of(getattr(self, name))
            for name, field in type(self).model_fields.items()
            if name == self.key or getattr(self, name) != field.default
        }
        return next((name for name, meant in SHORT.items() if meant == said), said)


class ConvEntry(LayerEntry):
    """A square conv."""

    key: ClassVar[str] = "conv"

    conv: int = Field(ge=1, le=MAX_CHANNELS)
    """Channels that it gives."""
    kernel: int = Field(default=3, ge=1, le=MAX_KERNEL)
    """Side of its kernel."""
    stride: int = Field(default=1, ge=1, le=MAX_KERNEL)
    """Pixels from one place of the kernel to the next."""
    padding: int | None = Field(default=None, ge=0, le=MAX_KERNEL)
    """Rows and columns of zeros on each side; null: as many as keep the size of the map."""
    dilation: int = Field(default=1, ge=1, le=MAX_KERNEL)
    """Pixels from one weight of the kernel to the next."""
    groups: int = Field(default=1, ge=1, le=MAX_CHANNELS)
    """Parts that the channels are divided into, each for itself."""
    bias: bool | None = None
    """Whether a number is added per channel; null: where no batch norm comes next, which would take it away again."""


class LinearEntry(LayerEntry):
    """A linear layer on a vector."""

    key: ClassVar[str] = "linear"

    linear: int = Field(ge=1, le=MAX_WIDTH)
    """Units."""
    bias: bool = True
    """Whether a number is added per unit."""


class NormEntry(LayerEntry):
    """A norm with scale and shift per channel."""

    key: ClassVar[str] = "norm"

    norm: Literal["batch", "layer", "group"]
    """Over the batch; of each image over all its channels and pixels; or over those of each group of channels."""
    groups: int = Field(default=1, ge=1, le=MAX_CHANNELS)
    """Groups of a group norm."""

    @model_validator(mode="after")
    def _only_groups_are_counted(self) -> "NormEntry":
        if self.norm != "group" and self.groups != 1:
            raise ValueError('\'groups\' is for "norm": "group"')
        return self


class ActivationEntry(LayerEntry):
    """A function of every number."""

    key: ClassVar[str] = "activation"

    activation: Activation
    """Which one."""


class PoolEntry(LayerEntry):
    """A pool over squares of the map, or over all of it."""

    key: ClassVar[str] = "pool"

    pool: Literal["max", "average", "global_average"]
    """The largest number or the mean; `global_average` gives one number per channel, a vector."""
    kernel: int = Field(default=2, ge=1, le=MAX_KERNEL)
    """Side of the squares."""
    stride: int | None = Field(default=None, ge=1, le=MAX_KERNEL)
    """Pixels from one square to the next; null: the side of the squares."""
    padding: int = Field(default=0, ge=0, le=MAX_KERNEL // 2)
    """Rows and columns of zeros on each side, at most half a square."""

    @model_validator(mode="after")
    def _fields_agree(self) -> "PoolEntry":
        squares = (self.kernel, self.stride, self.padding)
        if self.pool == "global_average" and squares != (2, None, 0):
            raise ValueError("a global average is over the whole map: it has no squares")
        if self.padding > self.kernel // 2:
            raise ValueError(f"padding {self.padding} is more than half of kernel {self.kernel}")
        return self


class FlattenEntry(LayerEntry):
    """The map as one vector."""

    key: ClassVar[str] = "flatten"

    flatten: Literal[True]
    """Nothing else."""


class DropoutEntry(LayerEntry):
    """Zeros for some of the numbers while training."""

    key: ClassVar[str] = "dropout"

    dropout: float = Field(ge=0.0, lt=1.0)
    """Probability."""
    of: Literal["units", "channels"] = "units"
    """What is dropped: single numbers, or whole channels of a map."""


class ResidualEntry(LayerEntry):
    """Layers with a shortcut around them, which is added to what they give."""

    key: ClassVar[str] = "residual"

    residual: "Annotated[tuple[AnyLayer, ...], Field(min_length=1, strict=False)]"
    """The layers."""
    shortcut: Literal["auto", "identity", "padded", "projection"] = "auto"
    """The input itself; with every so many pixels and zeros for channels that are more; or a 1x1 conv, with batch norm
    where the layers have one. `auto`: the input where shapes agree, else a projection.
    """


class RepeatEntry(LayerEntry):
    """The same layers several times, each time with weights of their own."""

    key: ClassVar[str] = "repeat"

    repeat: int = Field(ge=1, le=200)
    """How often."""
    layers: "Annotated[tuple[AnyLayer, ...], Field(min_length=1, strict=False)]"
    """The layers."""


ENTRIES: Final[tuple[type[LayerEntry], ...]] = (
    ConvEntry,
    LinearEntry,
    NormEntry,
    ActivationEntry,
    PoolEntry,
    FlattenEntry,
    DropoutEntry,
    ResidualEntry,
    RepeatEntry,
)
KEYS: Final = tuple(entry.key for entry in ENTRIES)


def expand_entry(value: Any) -> Any:
    """The object that a bare name or a short form stands for; raises ValueError for what is no layer."""
    if isinstance(value, LayerEntry):
        return value
    if isinstance(value, str):
        if value.lower() not in SHORT:
            known = [*SHORT, *KEYS]
            raise UnknownName("layer", value, known, name_elsewhere(value))
        return dict(SHORT[value.lower()])
    if not isinstance(value, dict):
        raise ValueError('a layer is a name such as "relu", or an object such as {"conv": 32}')
    for short, (meant, field) in SHORT_KEYS.items():
        if short in value:
            others = {name: item for name, item in value.items() if name != short}
            return {**meant, field: value[short], **others}
    kinds = [key for key in KEYS if key in value]
    if len(kinds) != 1:
        said = f"says {' and '.join(kinds)} at once" if kinds else "says no kind of layer"
        raise UnknownKind(f"this {said}", f"one of: {', '.join([*KEYS, *SHORT_KEYS])}")
    return value


class UnknownKind(ValueError):
    """An object that is no layer, or several."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def _tag(value: Any) -> str | None:
    if isinstance(value, LayerEntry):
        return TAG_OF_LAYERS + value.key
    return (
        next((TAG_OF_LAYERS + key for key in KEYS if key in value), None)
        if _is_dict(value)
        else None
    )


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _shortest_of(value: Any) -> Any:
    return [entry.model_dump() for entry in value] if isinstance(value, tuple) else value


AnyLayer = Annotated[
    Annotated[ConvEntry, Tag(TAG_OF_LAYERS + "conv")]
    | Annotated[LinearEntry, Tag(TAG_OF_LAYERS + "linear")]
    | Annotated[NormEntry, Tag(TAG_OF_LAYERS + "norm")]
    | Annotated[ActivationEntry, Tag(TAG_OF_LAYERS + "activation")]
    | Annotated[PoolEntry, Tag(TAG_OF_LAYERS + "pool")]
    | Annotated[FlattenEntry, Tag(TAG_OF_LAYERS + "flatten")]
    | Annotated[DropoutEntry, Tag(TAG_OF_LAYERS + "dropout")]
    | Annotated[ResidualEntry, Tag(TAG_OF_LAYERS + "residual")]
    | Annotated[RepeatEntry, Tag(TAG_OF_LAYERS + "repeat")],
    Discriminator(_tag),
    BeforeValidator(expand_entry, json_schema_input_type=dict[str, Any] | str),
]
ResidualEntry.model_rebuild()
RepeatEntry.model_rebuild()
