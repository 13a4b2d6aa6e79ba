"""Begin from a trained network: take its backbone's weights, give a new head, freeze what is not to be trained."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from lab_models.architectures.sizes import ModelSize
from lab_models.architectures.stages import stage_of, stages_of, trained_stages
from lab_models.errors import TeacherUnusable
from lab_models.protocol import TeacherFiles
from lab_models.published import published_weights
from lab_models.specs import TransferSpec


def take_backbone(model: nn.Module, files: TeacherFiles, size: ModelSize) -> None:
    """Give the model the source's weights in every stage but the head, which keeps its initial ones.

    Raises TeacherUnusable when the file is damaged or holds another network's weights.
    """
    weights = published_weights(files)
    head = stages_of(size)[-1]
    own = model.state_dict()
    backbone = {name: tensor for name, tensor in weights.items() if stage_of(name) != head}
    missing = {name for name in own if stage_of(name) != head} ^ set(backbone)
    unlike = [name for name in backbone if name in own and own[name].shape != backbone[name].shape]
    if missing or unlike:
        raise TeacherUnusable(f"run {files.run_id} has another network: {', '.join(sorted([*missing, *unlike])[:3])} do not fit")
    model.load_state_dict(own | backbone)


@dataclass(frozen=True)
class Freezer:
    """Which of a model's stages are trained in which epoch."""

    model: nn.Module
    spec: TransferSpec
    size: ModelSize

    def begin_epoch(self, epoch: int) -> list[nn.Module]:
        """Stop the gradients of the stages that are not trained in this epoch; returns their modules, which belong in evaluation mode.

        A frozen batch norm that went on averaging would no longer be the source's.
        """
        trained = trained_stages(self.size, self.spec, epoch)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(stage_of(name) in trained)
        frozen = set(stages_of(self.size)) - set(trained)
        return [module for name, module in self.model.named_modules() if stage_of(name) in frozen]


def parameter_groups(model: nn.Module, spec: TransferSpec, size: ModelSize) -> list[dict[str, Any]]:
    """The trained parameters by stage, the head's first, each with the `scale` of its learning rate: 1, d, d², … from the head down."""
    trained = trained_stages(size, spec)
    groups = []
    for depth, stage in enumerate(reversed(trained)):
        parameters = [parameter for name, parameter in model.named_parameters() if stage_of(name) == stage]
        groups.append({"params": parameters, "scale": spec.layer_decay**depth})
    return groups
