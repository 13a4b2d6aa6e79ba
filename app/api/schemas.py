"""What every answer of the API is made of; which fields each has, its room says."""

from pydantic import BaseModel, ConfigDict

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
