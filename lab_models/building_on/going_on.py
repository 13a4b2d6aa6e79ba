"""Go on with a trained network: its own weights, head included, are what another run begins with."""

from torch import nn

from lab_models.building_on.published import published_weights
from lab_models.common.errors import TeacherUnusable
from lab_models.training.protocol import FoundationFiles

ANEW = "the optimizer's moments, the learning-rate schedule and the count of epochs begin anew"


def take_weights(model: nn.Module, files: FoundationFiles | None) -> None:
    """Give the model the weights of the run whose `files` these are; raises TeacherUnusable when they are damaged, or
    another network's.
    """
    if files is None:
        raise TeacherUnusable("the order names no origin")
    weights, own = published_weights(files), model.state_dict()
    unfit = {*weights} ^ {*own} | {
        name for name in {*weights} & {*own} if weights[name].shape != own[name].shape
    }
    if unfit:
        raise TeacherUnusable(
            f"run {files.run_id} has another network: {', '.join(sorted(unfit)[:3])} do not fit"
        )
    model.load_state_dict(weights)


def beginning(files: FoundationFiles) -> str:
    """What the network begins with, in a sentence."""
    when = "" if files.epoch is None else f" after its epoch {files.epoch}"
    return f"begins with the weights that run {files.run_id} had{when}; {ANEW}"
