"""What an experiment trains, layer by layer, over HTTP."""

from typing import Any

from app.api.http import passes
from app.api.http.deps import TheExperiment, TheSettings
from app.api.schemas import Answer, LayerAnswer, PartAnswer, layers_of, part_answers
from app.errors import Conflict
from app.services.datasets import datasets
from lab_models.architectures.naming import describe
from lab_models.architectures.parts import parts_of
from lab_models.architectures.sizes import impossible, model_size
from lab_models.specs import read_spec

router = passes.router(tags=["experiments"])


class NetworkAnswer(Answer):
    """The network of an experiment, for the images of its data set."""

    experiment_id: str
    description: str
    """The network in a few words."""
    model: dict[str, Any]
    """Its spec."""
    dataset: str
    input_shape: tuple[int, int, int]
    """Channels, height and width of an image."""
    num_classes: int
    parameters: int
    macs_per_sample: int
    """Multiply-accumulates of one image's forward pass."""
    table: list[LayerAnswer]
    """Every layer with a name, in the order of the forward pass."""
    parts: list[PartAnswer]
    """The same as it is drawn: blocks with what stands in them, what comes several times in a row once."""


@router.get("/experiments/{experiment_id}/network")
def read_network(experiment: TheExperiment, settings: TheSettings) -> NetworkAnswer:
    """What it trains, layer by layer: of a student the student, of a transfer the source's network with its new head.
    409 where its data set is no longer what it was; 404 also where that has been removed.
    """
    spec = read_spec(experiment.spec)
    info = datasets.get(settings, spec.dataset.name)
    reason = impossible(spec.network, info.shape)
    if reason is not None:
        raise Conflict(f"{info.name} has other images than those that were learned: {reason}")
    size = model_size(spec.network, info.shape, info.num_classes)
    return NetworkAnswer(
        experiment_id=experiment.id,
        description=describe(spec.network),
        model=spec.network.model_dump(mode="json", exclude_none=True),
        dataset=info.name,
        input_shape=info.shape,
        num_classes=info.num_classes,
        parameters=size.parameters,
        macs_per_sample=size.macs_per_sample,
        table=layers_of(size),
        parts=part_answers(parts_of(size, info.num_classes)),
    )
