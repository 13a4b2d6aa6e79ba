"""Which stages of a network are trained, in which epoch and at which learning rate, and which stand still."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from lab_models.architectures.sizes import ModelSize
from lab_models.architectures.stages import stage_of, stages_of, trained_stages
from lab_models.specs import TransferSpec


@dataclass(frozen=True)
class Freezer:
    """Which of a model's stages are trained in which epoch."""

    model: nn.Module
    spec: TransferSpec
    size: ModelSize

    def begin_epoch(self, epoch: int) -> list[nn.Module]:
        """Stop the gradients of the stages that are not trained in this epoch; returns their modules, which belong in
        evaluation mode.

        A frozen batch norm that went on averaging would no longer be the source's.
        """
        trained = trained_stages(self.size, self.spec, epoch)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(stage_of(name) in trained)
        frozen = set(stages_of(self.size)) - set(trained)
        return [module for name, module in self.model.named_modules() if stage_of(name) in frozen]


def parameter_groups(model: nn.Module, spec: TransferSpec, size: ModelSize) -> list[dict[str, Any]]:
    """The trained parameters by stage, the head's first, each with the `scale` of its learning rate: 1, d, d², … from
    the head down.
    """
    trained = trained_stages(size, spec)
    groups = []
    for depth, stage in enumerate(reversed(trained)):
        parameters = [
            parameter for name, parameter in model.named_parameters() if stage_of(name) == stage
        ]
        groups.append({"params": parameters, "scale": spec.layer_decay**depth})
    return groups
