"""A network in a few words, for plots and lists."""

from itertools import groupby
from typing import assert_never

from lab_models.specs import (
    CNNSpec,
    HeNetSpec,
    LayersSpec,
    MLPSpec,
    ModelSpec,
    ResNet18Spec,
    VGGSpec,
)
from lab_models.specs.layer_list import AnyLayer, ConvEntry, LinearEntry, RepeatEntry, ResidualEntry
from lab_models.specs.layer_walk import entries_within

MOST_WIDTHS = 8
"""That a title has room for."""


def describe(model: ModelSpec) -> str:
    """Such as `residual mlp 6 x 512`, `plain henet-20` or `vgg 64-128-256`."""
    match model:
        case MLPSpec():
            return _describe_mlp(model)
        case CNNSpec():
            return _describe_cnn(model)
        case HeNetSpec():
            wide = "" if model.width == 16 else f" from {model.width} channels"
            return f"{_form(model.residual)} henet-{model.depth}{wide}"
        case ResNet18Spec():
            side = "" if model.image_size is None else f", {model.image_size}x{model.image_size}"
            return f"resnet18 ({model.stem} stem{side})"
        case VGGSpec():
            return f"vgg {_dashed(model.widths)}"
        case LayersSpec():
            return _describe_layers(model)
        case _:
            assert_never(model)


def _describe_mlp(model: MLPSpec) -> str:
    widths = model.widths
    shape = f"{len(widths)} x {widths[0]}" if len(set(widths)) == 1 else _dashed(widths)
    blocks = (
        " in blocks"
        if model.block == "inverted_bottleneck"
        else " in pairs"
        if model.shortcut_layers == 2
        else ""
    )
    return f"{'residual ' if model.residual else ''}mlp {shape}{blocks}"


def _describe_cnn(model: CNNSpec) -> str:
    stages = len(model.stage_widths)
    blocks = (
        ""
        if model.blocks_per_stage == 2
        else f" of {model.blocks_per_stage} block{'s' if model.blocks_per_stage > 1 else ''}"
    )
    plural = "s" if stages > 1 else ""
    return (
        f"{_form(model.residual)} cnn {stages} stage{plural}{blocks} {_dashed(model.stage_widths)}"
    )


def _describe_layers(model: LayersSpec) -> str:
    """`own residual network conv 32-64, linear 128`: its widths."""
    convs = _widths_of(model.layers, ConvEntry)
    linear = _widths_of(model.layers, LinearEntry)
    said = [
        f"{name} {_dashed(widths)}"
        for name, widths in (("conv", convs), ("linear", linear))
        if widths
    ]
    is_residual = any(isinstance(entry, ResidualEntry) for entry in entries_within(model.layers))
    form = "own residual network" if is_residual else "own network"
    return f"{form} {', '.join(said) or f'of {len(model.layers)} layers'}"


def _widths_of(
    entries: tuple[AnyLayer, ...], kind: type[ConvEntry | LinearEntry]
) -> tuple[int, ...]:
    """Of all layers of a kind, repeats written out."""
    found: tuple[int, ...] = ()
    for entry in entries:
        if isinstance(entry, RepeatEntry):
            found += _widths_of(entry.layers, kind) * entry.repeat
        elif isinstance(entry, ResidualEntry):
            found += _widths_of(entry.residual, kind)
        elif isinstance(entry, kind):
            found += (entry.conv if isinstance(entry, ConvEntry) else entry.linear,)
    return found


def _form(residual: bool) -> str:
    return "residual" if residual else "plain"


def _dashed(widths: tuple[int, ...]) -> str:
    """`64-128-256-7x512`: three equal widths and more are counted, of many the middle is left out."""
    said = [
        f"{count}x{width}" if count > 2 else "-".join([str(width)] * count)
        for width, count in ((width, len(list(run))) for width, run in groupby(widths))
    ]
    half = MOST_WIDTHS // 2
    return "-".join(said if len(said) <= MOST_WIDTHS else [*said[:half], "...", *said[-half:]])
