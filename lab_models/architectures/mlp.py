"""The multilayer perceptron of the lab: plain or residual by one flag."""

import math

import torch
from torch import Tensor, nn

from lab_models.specs import MLPSpec


class Hidden(nn.Module):
    """One hidden layer: relu(norm(W h + b)), or relu(norm(W h + b) + h) with a shortcut, then dropout.

    The addition stands before the ReLU as in He et al. 2016 (arXiv:1512.03385, figure 2), so that
    the plain and the residual layer differ in one term.
    """

    def __init__(
        self, fan_in: int, fan_out: int, *, norm: str, shortcut: bool, dropout: float
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(fan_in, fan_out)
        self.norm = _norm(norm, fan_out)
        self.shortcut = shortcut
        self.dropout = nn.Dropout(dropout) if dropout > 0 else None

    def forward(self, inputs: Tensor, skipped: Tensor | None = None) -> Tensor:
        """(B, fan_in) -> (B, fan_out). The shortcut adds `skipped`, and what the layer itself was given where there is
        none.
        """
        outputs: Tensor = self.linear(inputs)
        if self.norm is not None:
            outputs = self.norm(outputs)
        if self.shortcut:
            outputs = outputs + (inputs if skipped is None else skipped)
        outputs = torch.relu(outputs)
        return outputs if self.dropout is None else self.dropout(outputs)


class InvertedBottleneck(nn.Module):
    """norm(W2 · dropout(relu(norm(W1 h)))) with 2·width units inside, plus h with a shortcut; nothing after the
    addition.

    The block of the lab's published code, where a nominal depth d stands for one hidden layer and d - 1 of these.
    """

    def __init__(self, width: int, *, norm: str, shortcut: bool, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, 2 * width)
        self.norm1 = _norm(norm, 2 * width)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else None
        self.linear2 = nn.Linear(2 * width, width)
        self.norm2 = _norm(norm, width)
        self.shortcut = shortcut

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, width) -> (B, width)."""
        inner: Tensor = self.linear1(inputs)  # (B, width) -> (B, 2·width)
        if self.norm1 is not None:
            inner = self.norm1(inner)
        inner = torch.relu(inner)
        if self.dropout is not None:
            inner = self.dropout(inner)
        outputs: Tensor = self.linear2(inner)  # (B, 2·width) -> (B, width)
        if self.norm2 is not None:
            outputs = self.norm2(outputs)
        return outputs + inputs if self.shortcut else outputs


class MLP(nn.Module):
    """Flatten, hidden layers or blocks, linear head."""

    def __init__(self, spec: MLPSpec, input_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.shortcut_layers = spec.shortcut_layers
        self.hidden = nn.Sequential(
            *(_hidden(spec, i, math.prod(input_shape)) for i in range(len(spec.widths)))
        )
        self.head = nn.Linear(spec.widths[-1], num_classes)
        if spec.init == "kaiming_fan_out":
            _initialize_kaiming_fan_out(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_classes) logits."""
        inputs = images.flatten(1)
        hidden = self.hidden(inputs) if self.shortcut_layers == 1 else self._in_pairs(inputs)
        logits: Tensor = self.head(hidden)
        return logits

    def _in_pairs(self, inputs: Tensor) -> Tensor:
        """The first layer, then pairs: relu(norm(W2 · relu(norm(W1 h))) + h), the building block of He et al. 2016."""
        layers = iter(self.hidden)
        hidden: Tensor = next(layers)(inputs)
        for first, second in zip(layers, layers, strict=True):
            hidden = second(first(hidden), hidden)
        return hidden


def _hidden(spec: MLPSpec, i: int, num_inputs: int) -> nn.Module:
    """Hidden layer or block number i, counted from 0."""
    widths = spec.widths
    dropout = spec.dropout if spec.dropout_at == "every_hidden" or i == len(widths) - 1 else 0.0
    if i > 0 and spec.block == "inverted_bottleneck":
        return InvertedBottleneck(
            widths[i], norm=spec.norm, shortcut=spec.residual, dropout=dropout
        )
    fan_in = num_inputs if i == 0 else widths[i - 1]
    return Hidden(
        fan_in,
        widths[i],
        norm=spec.norm,
        shortcut=spec.residual and i > 0 and i % spec.shortcut_layers == 0,
        dropout=dropout,
    )


def _norm(name: str, width: int) -> nn.Module | None:
    match name:
        case "batch":
            return nn.BatchNorm1d(width)
        case "layer":
            return nn.LayerNorm(width)
        case _:
            return None


def _initialize_kaiming_fan_out(model: nn.Module) -> None:
    """Normal weights of variance 2 / fan_out (He et al. 2015, arXiv:1502.01852, equation 14) and zero biases, head
    included.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
