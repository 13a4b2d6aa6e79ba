"""How far a student's stages are from its teacher's: maps of attention, and hints with their learned regressors."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from lab_models.architectures.pairs import StagePair, stage_pairs
from lab_models.architectures.shapes import Shape
from lab_models.architectures.sizes import model_size
from lab_models.common.seeding import derived_seed
from lab_models.datasets.catalog import DatasetInfo
from lab_models.specs import AttentionSpec, DistillSpec, HintSpec, Spec


class Matcher(nn.Module):
    """The distance of paired stages, summed over pairs. Its parameters, if any, are trained with the student and are no
    part of it.
    """

    def __init__(self, pairs: Sequence[StagePair]) -> None:
        super().__init__()
        self.pairs = tuple(pairs)

    def forward(self, theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> Tensor:
        """Loss () from the outputs (B, C, h, w) or (B, D) of the teacher's and the student's stages, by name; a mean
        over images.
        """
        distances = [
            self.distance(number, theirs[pair.teacher].float(), ours[pair.student].float())
            for number, pair in enumerate(self.pairs)
        ]
        return torch.stack(distances).sum()

    @abstractmethod
    def distance(self, number: int, theirs: Tensor, ours: Tensor) -> Tensor:
        """That of one pair, ()."""


class Attention(Matcher):
    """Mean over images and pixels of |Q_S / ‖Q_S‖₂ - Q_T / ‖Q_T‖₂|², Q the mean over channels of the squared outputs.

    Zagoruyko and Komodakis 2017 (arXiv:1612.03928), equation 2 with p = 2 and squared distances, which section 4.1.1
    divides by the map's pixels and the images; so does their code (https://github.com/szagoruyko/attention-transfer,
    cifar.py).
    """

    def distance(self, number: int, theirs: Tensor, ours: Tensor) -> Tensor:
        """From outputs (B, C_T, h, w) and (B, C_S, h', w'); a larger map is averaged down to the other's size first."""
        size = self.pairs[number].size
        return functional.mse_loss(_attention(ours, size), _attention(theirs, size))


class Hints(Matcher):
    """Mean squared error between the teacher's outputs and what a regressor makes of the student's: 1x1 convs of maps,
    linear layers of vectors.

    Romero et al. 2015 (FitNets, arXiv:1412.6550), equation 3, whose regressor is a conv with a kernel that makes the
    sizes equal; here a larger map is averaged down instead.
    """

    def __init__(self, pairs: Sequence[StagePair], seed: int) -> None:
        super().__init__(pairs)
        torch.manual_seed(derived_seed(seed, "regressors"))
        self.regressors = nn.ModuleList(_regressor(pair) for pair in pairs)

    def distance(self, number: int, theirs: Tensor, ours: Tensor) -> Tensor:
        """From outputs (B, C_T, h, w) and (B, C_S, h', w'), or (B, D_T) and (B, D_S)."""
        size = self.pairs[number].size
        told = self.regressors[number](_averaged(ours, size))
        return functional.mse_loss(told.float(), _averaged(theirs, size))


def make_matcher(spec: Spec, info: DatasetInfo, seed: int, device: torch.device) -> Matcher | None:
    """What compares the stages of a student and its teacher on this data set, None where the spec compares none; seeds
    torch's generator.
    """
    if not isinstance(spec, DistillSpec) or spec.features is None:
        return None
    sizes = (
        model_size(network, info.shape, info.num_classes)
        for network in (spec.teacher.spec.network, spec.student)
    )
    pairs = stage_pairs(spec.features, *sizes)
    match spec.features:
        case AttentionSpec():
            return Attention(pairs)
        case HintSpec():
            return Hints(pairs, seed).to(device)
        case _:
            assert_never(spec.features)


@contextmanager
def caught(model: nn.Module, stages: set[str]) -> Iterator[dict[str, Tensor]]:
    """The outputs of the model's stages, by name, as it runs within the context."""
    outputs: dict[str, Tensor] = {}

    def keep(stage: str, output: Tensor) -> None:
        outputs[stage] = output

    with ExitStack() as hooks:
        for stage in stages:
            hooks.enter_context(
                model.get_submodule(stage).register_forward_hook(
                    lambda _module, _given, output, stage=stage: keep(stage, output)
                )
            )
        yield outputs


def shares(side: int, wanted: int, device: torch.device) -> Tensor:
    """Weights (wanted, side) float32 of a map's lines or columns; each row averages those that adaptive_avg_pool2d
    would.
    """
    place, pixel = torch.arange(wanted, device=device)[:, None], torch.arange(side, device=device)
    first, end = place * side // wanted, -(-(place + 1) * side // wanted)
    return ((pixel >= first) & (pixel < end)) / (end - first)


def _attention(outputs: Tensor, size: Shape) -> Tensor:
    """(B, C, h, w) -> (B, h' · w'), each row of L2 norm 1."""
    maps = outputs.square().mean(1, keepdim=True)
    return functional.normalize(_averaged(maps, size).flatten(1))


def _averaged(outputs: Tensor, size: Shape) -> Tensor:
    """Maps (B, C, h, w) averaged down to the size; vectors, and maps that have it, as they are."""
    sides = outputs.shape[2:]
    if tuple(sides) == size:
        return outputs
    if all(side % wanted == 0 for side, wanted in zip(sides, size, strict=True)):
        return functional.avg_pool2d(
            outputs, [side // wanted for side, wanted in zip(sides, size, strict=True)]
        )
    if outputs.device.type == "cpu":
        return functional.adaptive_avg_pool2d(outputs, (size[0], size[1]))
    # whose gradient is added up in any order on a GPU
    down, across = (
        shares(side, wanted, outputs.device) for side, wanted in zip(sides, size, strict=True)
    )
    with torch.autocast(outputs.device.type, enabled=False):
        return down @ outputs @ across.T


def _regressor(pair: StagePair) -> nn.Module:
    ours, theirs = pair.student_shape, pair.teacher_shape
    return (
        nn.Linear(ours[0], theirs[0])
        if len(ours) == 1
        else nn.Conv2d(ours[0], theirs[0], kernel_size=1)
    )
