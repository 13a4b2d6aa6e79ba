"""What every answer of the API is made of; which fields each has, its room says."""

from pydantic import BaseModel, ConfigDict

from lab_models.architectures.parts import DrawnPart, PartKind
from lab_models.architectures.sizes import ModelSize


class Answer(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class LayerAnswer(Answer):
    """One layer of the network, in the order of the forward pass."""

    name: str
    """Its name in the weights' file."""
    kind: str
    output_shape: tuple[int, ...]
    """Of one image: channels, height, width; or units."""
    parameters: int
    macs: int
    receptive_field: int
    """Pixels along one side of the input that one output depends on."""


class PartAnswer(Answer):
    """A part of a network as it is drawn."""

    kind: PartKind
    text: str
    """In a few words: `3x3 conv, 64, stride 2`."""
    name: str | None
    """Of its first weights; null where there are none."""
    output_shape: tuple[int, ...]
    """Of one image."""
    parameters: int
    """Of all that is in it, all times."""
    macs: int
    times: int
    """How many times in a row what `parts` has comes, each with weights of its own; 1 of all but a `repeat`."""
    parts: list["PartAnswer"]
    """What a `residual` adds its shortcut to, or what a `repeat` repeats."""
    shortcut: list["PartAnswer"]
    """What stands in the shortcut of a `residual`; none where that is the signal itself."""


def part_answers(parts: tuple[DrawnPart, ...]) -> list[PartAnswer]:
    """A network's parts as they are answered."""
    return [
        PartAnswer(
            kind=part.kind,
            text=part.text,
            name=part.name,
            output_shape=part.output_shape,
            parameters=part.parameters,
            macs=part.macs,
            times=part.times,
            parts=part_answers(part.parts),
            shortcut=part_answers(part.shortcut),
        )
        for part in parts
    ]


def layers_of(size: ModelSize) -> list[LayerAnswer]:
    """A network's layers as they are answered."""
    return [
        LayerAnswer(
            name=layer.name,
            kind=layer.kind,
            output_shape=layer.output_shape,
            parameters=layer.parameters,
            macs=layer.macs,
            receptive_field=layer.receptive_field,
        )
        for layer in size.layers
    ]
