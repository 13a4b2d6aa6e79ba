"""The multilayer perceptron of the lab: plain or residual by one flag."""

import torch
from torch import Tensor, nn

from lab_models.specs import MLPSpec


class Hidden(nn.Module):
    """One hidden layer: relu(norm(W h + b)), or relu(norm(W h + b) + h) with a shortcut, then dropout.

    The addition stands before the ReLU as in He et al. 2016 (arXiv:1512.03385, figure 2), so that
    the plain and the residual layer differ in one term.
    """

    def __init__(self, fan_in: int, fan_out: int, *, norm: str, shortcut: bool, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(fan_in, fan_out)
        self.norm = _norm(norm, fan_out)
        self.shortcut = shortcut
        self.dropout = nn.Dropout(dropout) if dropout > 0 else None

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, fan_in) -> (B, fan_out)."""
        outputs: Tensor = self.linear(inputs)
        if self.norm is not None:
            outputs = self.norm(outputs)
        if self.shortcut:
            outputs = outputs + inputs
        outputs = torch.relu(outputs)
        return outputs if self.dropout is None else self.dropout(outputs)


class MLP(nn.Module):
    """Flatten, hidden layers, linear head."""

    def __init__(self, spec: MLPSpec, num_inputs: int, num_classes: int) -> None:
        super().__init__()
        fan_ins = (num_inputs, *spec.widths)
        last = len(spec.widths) - 1
        self.hidden = nn.Sequential(
            *(
                Hidden(
                    fan_ins[i],
                    width,
                    norm=spec.norm,
                    shortcut=spec.residual and i > 0,
                    dropout=spec.dropout if spec.dropout_at == "every_hidden" or i == last else 0.0,
                )
                for i, width in enumerate(spec.widths)
            )
        )
        self.head = nn.Linear(spec.widths[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_classes) logits."""
        logits: Tensor = self.head(self.hidden(images.flatten(1)))
        return logits


def _norm(name: str, width: int) -> nn.Module | None:
    match name:
        case "batch":
            return nn.BatchNorm1d(width)
        case "layer":
            return nn.LayerNorm(width)
        case _:
            return None
