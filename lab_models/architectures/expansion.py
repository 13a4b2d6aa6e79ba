"""From a model spec to the layers of its network: the one place that says what each architecture consists of."""

from typing import assert_never

from lab_models.architectures.listed import listed
from lab_models.architectures.plan import (
    Activation,
    Conv,
    Dropout,
    DroppedParts,
    Flatten,
    GlobalPool,
    Layer,
    Layers,
    Linear,
    NetworkPlan,
    Norm,
    Padded,
    Pool,
    Residual,
    Resize,
    StageEnd,
)
from lab_models.architectures.shapes import Shape
from lab_models.specs import (
    CNNSpec,
    HeNetSpec,
    LayersSpec,
    MLPSpec,
    ModelSpec,
    ResNet18Spec,
    VGGSpec,
)


def plan_of(model: ModelSpec, shape: Shape, num_classes: int) -> NetworkPlan:
    """The layers of the network for what has this shape, see `pixels.shape_within`. Weights keep the names of every
    version. Raises LayerFault for a list of layers that does not fit.
    """
    match model:
        case MLPSpec():
            return NetworkPlan(_mlp(model, num_classes), model.init)
        case CNNSpec():
            return NetworkPlan(_cnn(model, num_classes), "small_head")
        case HeNetSpec():
            return NetworkPlan(_henet(model, num_classes), "zero_biases")
        case VGGSpec():
            return NetworkPlan(_vgg(model, num_classes), "small_head")
        case ResNet18Spec():
            return NetworkPlan(_resnet18(model, num_classes), "torchvision")
        case LayersSpec():
            return NetworkPlan(listed(model, shape, num_classes), model.init)
        case _:
            assert_never(model)


def _mlp(model: MLPSpec, num_classes: int) -> Layers:
    """relu(norm(W h + b)), or relu(norm(W h + b) + h) with a shortcut, then dropout.

    The addition stands before the ReLU as in He et al. 2016 (arXiv:1512.03385, figure 2), so that the plain and the
    residual layer differ in one term. A shortcut of two layers goes around pairs after the first one, which is the
    building block of that paper.
    """
    layers: list[Layer] = [Flatten(), *_hidden(model, 0)]
    for i in range(1, len(model.widths), model.shortcut_layers):
        if model.block == "inverted_bottleneck":
            layers += _inverted_bottleneck(model, i)
        elif not model.residual:
            layers += _hidden(model, i)
        else:
            last = i + model.shortcut_layers - 1
            below = [layer for j in range(i, last) for layer in _hidden(model, j)]
            layers += (
                Residual((*below, *_linear(model, f"hidden.{last}", "", model.widths[last]))),
                *_after(model, last),
            )
    return (*layers, Linear("head", num_classes))


def _hidden(model: MLPSpec, i: int) -> Layers:
    """Hidden layer number i, counted from 0."""
    return (*_linear(model, f"hidden.{i}", "", model.widths[i]), *_after(model, i))


def _after(model: MLPSpec, i: int) -> Layers:
    return (Activation(), *_dropout_in(model, i), StageEnd(f"hidden.{i}"))


def _inverted_bottleneck(model: MLPSpec, i: int) -> Layers:
    """norm(W2 · dropout(relu(norm(W1 h)))) with 2·width units inside, plus h with a shortcut; nothing after the
    addition.

    The block of the lab's published code, where a nominal depth d stands for one hidden layer and d - 1 of these.
    """
    name, width = f"hidden.{i}", model.widths[i]
    body = (
        *_linear(model, name, "1", 2 * width),
        Activation(),
        *_dropout_in(model, i),
        *_linear(model, name, "2", width),
    )
    return (*((Residual(body),) if model.residual else body), StageEnd(name))


def _linear(model: MLPSpec, name: str, number: str, width: int) -> Layers:
    linear = Linear(f"{name}.linear{number}", width)
    return (linear,) if model.norm == "none" else (linear, Norm(f"{name}.norm{number}", model.norm))


def _dropout_in(model: MLPSpec, i: int) -> Layers:
    stands = model.dropout_at == "every_hidden" or i == len(model.widths) - 1
    return _dropout(f"hidden.{i}.dropout", model.dropout) if stands else ()


def _cnn(model: CNNSpec, num_classes: int) -> Layers:
    """Stages whose first blocks change width and size; where that is so a shortcut is a projection: option B of He et
    al. 2016 (arXiv:1512.03385, section 4.1).
    """
    before = model.stage_widths[0]
    layers: list[Layer] = list(_stem(before, kernel=7 if model.stem == "7x7" else 3))
    for i, (width, stage_stride) in enumerate(
        zip(model.stage_widths, model.stage_strides, strict=True)
    ):
        for j in range(model.blocks_per_stage):
            name, stride = f"stages.{i}.{j}", stage_stride if j == 0 else 1
            changes = stride != 1 or width != before
            around = (
                _projection(f"{name}.shortcut.conv", f"{name}.shortcut.norm", width, stride)
                if changes
                else ()
            )
            shortcut = around if model.residual else None
            layers += _block(name, width, stride, shortcut, dropout=model.dropout)
            before = width
        layers.append(StageEnd(f"stages.{i}"))
    return (*layers, GlobalPool("pool"), Flatten(), Linear("head", num_classes))


def _henet(model: HeNetSpec, num_classes: int) -> Layers:
    """3x3 stem, three stages of n blocks, global average pool, linear head (He et al. 2016, arXiv:1512.03385, section
    4.2).

    The paper says of the first weights only that they are those of He et al. 2015; the details, and that a shortcut's
    zeros come last, are of https://github.com/facebookarchive/fb.resnet.torch (models/resnet.lua): convs normal of
    variance 2 / fan_out, head uniform.
    """
    layers: list[Layer] = list(_stem(model.width, kernel=3))
    for i in range(3):
        width = model.width * 2**i
        for j in range(model.blocks_per_stage):
            name, halves = f"stages.{i}.{j}", i > 0 and j == 0
            around = (Padded(f"{name}.shortcut", 2, width // 2),) if halves else ()
            layers += _block(name, width, 2 if halves else 1, around if model.residual else None)
        layers.append(StageEnd(f"stages.{i}"))
    return (*layers, GlobalPool("pool"), Flatten(), Linear("head", num_classes))


def _resnet18(model: ResNet18Spec, num_classes: int) -> Layers:
    """Names and layers of torchvision's network; only the first conv and the max pool may differ.

    The `cifar` stem, a 3x3 conv of stride 1 and no pool, is that of https://github.com/kuangliu/pytorch-cifar.
    """
    small = model.stem == "cifar"
    layers: list[Layer] = [] if model.image_size is None else [Resize("resize", model.image_size)]
    layers += (
        _conv("conv1", 64, kernel=3 if small else 7, stride=1 if small else 2),
        Norm("bn1", "batch"),
        Activation(),
        *(() if small else (Pool("maxpool", "max", kernel=3, stride=2, padding=1),)),
        StageEnd("stem"),
    )
    for i, width in enumerate((64, 128, 256, 512), start=1):
        for j in range(2):
            name, halves = f"layer{i}.{j}", i > 1 and j == 0
            around = (
                _projection(f"{name}.downsample.0", f"{name}.downsample.1", width, 2)
                if halves
                else ()
            )
            layers += _block(name, width, 2 if halves else 1, around, norm="bn")
        layers.append(StageEnd(f"layer{i}"))
    return (*layers, GlobalPool("avgpool"), Flatten(), Linear("fc", num_classes))


def _vgg(model: VGGSpec, num_classes: int) -> Layers:
    """Simonyan and Zisserman 2015 (arXiv:1409.1556), with batch norm and one fully connected layer before the head."""
    layers: list[Layer] = []
    for i, width in enumerate(model.widths):
        for j in range(model.convs_per_stage):
            name = f"stages.{i}.{j}"
            layers += (
                _conv(f"{name}.conv", width, kernel=3),
                Norm(f"{name}.norm", "batch"),
                Activation(),
            )
        layers += (
            Pool(f"stages.{i}.pool", "max", kernel=2, stride=2),
            StageEnd(f"stages.{i}"),
        )
    return (
        *layers,
        Flatten(),
        Linear("hidden", model.hidden),
        Activation(),
        *_dropout("dropout", model.dropout),
        Linear("head", num_classes),
    )


def _stem(width: int, *, kernel: int) -> Layers:
    """What the stage gives has always been looked at before the ReLU."""
    return (
        _conv("stem.conv", width, kernel=kernel),
        Norm("stem.norm", "batch"),
        StageEnd("stem"),
        Activation(),
    )


def _block(
    name: str,
    width: int,
    stride: int,
    shortcut: Layers | None,
    *,
    norm: str = "norm",
    dropout: float = 0.0,
) -> Layers:
    """Conv, norm, ReLU, dropout of whole channels, conv, norm, plus the shortcut if there is one, ReLU."""
    body = (
        _conv(f"{name}.conv1", width, kernel=3, stride=stride),
        Norm(f"{name}.{norm}1", "batch"),
        Activation(),
        *_dropout(f"{name}.dropout", dropout, channels=True),
        _conv(f"{name}.conv2", width, kernel=3),
        Norm(f"{name}.{norm}2", "batch"),
    )
    return (*(body if shortcut is None else (Residual(body, shortcut),)), Activation())


def _projection(conv: str, norm: str, width: int, stride: int) -> Layers:
    return (_conv(conv, width, kernel=1, stride=stride), Norm(norm, "batch"))


def _conv(name: str, width: int, *, kernel: int, stride: int = 1) -> Conv:
    """Conv without bias that keeps the size but for its stride."""
    return Conv(name, width, kernel, stride, padding=kernel // 2)


def _dropout(name: str, probability: float, *, channels: bool = False) -> Layers:
    """Nothing where the probability is zero."""
    of: DroppedParts = "channels" if channels else "units"
    return (Dropout(name, probability, of),) if probability > 0 else ()
