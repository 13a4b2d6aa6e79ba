"""Which network: one frozen spec per architecture."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lab_models.specs.architecture import ArchitectureSpec, whole_numbers
from lab_models.specs.layers import LayersSpec
from lab_models.specs.mlp import MAX_WIDTH, MLPSpec

MAX_STAGES = 20
MAX_CHANNELS = 4096
DEFAULT_STAGES = 3
DEFAULT_CHANNELS = 32
WIDEST_DOUBLED = 512
"""Where the doubling of a CNN's width from stage to stage ends: min(64 · 2^i, 512) in the lab's `cnn-blocks`."""
SMALLEST_SIDE, LARGEST_SIDE = 8, 512
"""Of images that a network brings to a size of its own, in pixels."""

StageWidths = Annotated[
    tuple[Annotated[int, Field(ge=1, le=MAX_CHANNELS)], ...],
    Field(min_length=1, max_length=MAX_STAGES, strict=False),
]


class CNNSpec(ArchitectureSpec):
    """Stages of two-conv blocks: stem, conv-norm-ReLU-dropout-conv-norm per block, global average pool, linear head.
    Batch norm, no conv biases.

    The first block of every stage but the first has stride 2; with `residual`, a shortcut goes around each block, 1x1
    conv and norm where the shape changes.
    """

    has_maps: ClassVar[bool] = True
    counts_pixels: ClassVar[bool] = False
    hidden_in_head: ClassVar[bool] = False

    arch: Literal["cnn"] = "cnn"
    """Architecture."""
    input_channels: Literal[1, 3] | None = None
    """1 for a network of grey images, 3 for color: a data set of the other kind is refused; null: whatever the data set
    has.
    """
    stages: int | None = Field(default=None, ge=1, le=MAX_STAGES)
    """Number of stages; 3 when neither `stages` nor `widths` is given."""
    width: int | None = Field(default=None, ge=1, le=MAX_CHANNELS)
    """Channels of the first stage, doubling with each stage up to 512; 32 when neither `width` nor `widths` is given.
    """
    widths: StageWidths | None = None
    """Channels stage by stage, in place of `stages` and `width`."""
    blocks_per_stage: int = Field(default=2, ge=1, le=50)
    """Blocks of each stage."""
    residual: bool = False
    """Shortcut around every block."""
    stem: Literal["7x7", "3x3"] = "7x7"
    """Kernel of the first conv, stride 1."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability of dropping a whole channel within each block while training (Dropout2d)."""
    max_halvings: int | None = Field(default=None, ge=0, le=MAX_STAGES)
    """Most stages that halve the feature map; null: every stage but the first."""

    @model_validator(mode="before")
    @classmethod
    def _canonical_widths(cls, data: Any) -> Any:
        """Equal networks get equal specs: doubling widths become stages and width, and missing ones their defaults."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        widths = data.get("widths")
        if widths is not None:
            if data.get("stages") is not None or data.get("width") is not None:
                raise ValueError("give either 'widths', or 'stages' and 'width', not both")
            if whole_numbers(widths, MAX_STAGES, MAX_CHANNELS) and tuple(widths) == _doubling(
                len(widths), widths[0]
            ):
                data.update(stages=len(widths), width=widths[0], widths=None)
        else:
            data["stages"] = DEFAULT_STAGES if data.get("stages") is None else data["stages"]
            data["width"] = DEFAULT_CHANNELS if data.get("width") is None else data["width"]
        return data

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return (
            self.widths
            if self.widths is not None
            else _doubling(self.stages or DEFAULT_STAGES, self.width or DEFAULT_CHANNELS)
        )

    @property
    def stage_strides(self) -> tuple[int, ...]:
        """Stride of each stage's first block."""
        return tuple(
            2 if 1 <= i <= (MAX_STAGES if self.max_halvings is None else self.max_halvings) else 1
            for i in range(len(self.stage_widths))
        )


class HeNetSpec(ArchitectureSpec):
    """He et al.'s CIFAR networks (2015, section 4.2) of 6n + 2 layers: 3x3 stem, three stages of n two-conv blocks,
    global average pool, linear head.

    Shortcuts have no parameters (option A: stride 2 and zero channels), so the plain and the residual network have the
    same.
    """

    has_maps: ClassVar[bool] = True
    counts_pixels: ClassVar[bool] = False
    hidden_in_head: ClassVar[bool] = False

    arch: Literal["henet"] = "henet"
    """Architecture."""
    input_channels: Literal[1, 3] | None = None
    """1 for a network of grey images, 3 for color: a data set of the other kind is refused; null: whatever the data set
    has.
    """
    depth: int = Field(default=20, ge=8, le=1202)
    """Number of layers with weights, 6n + 2: 20, 32, 44, 56, 110 in the paper."""
    width: int = Field(default=16, ge=1, le=1024)
    """Channels of the first stage, doubled in the second and again in the third."""
    residual: bool = True
    """Shortcut around every block."""

    @model_validator(mode="after")
    def _depth_is_six_n_plus_two(self) -> Self:
        if (self.depth - 2) % 6:
            below = self.depth - (self.depth - 2) % 6
            raise ValueError(
                f"'depth' must be 6n + 2, such as {below} or {below + 6}, not {self.depth}"
            )
        return self

    @property
    def blocks_per_stage(self) -> int:
        """n of 6n + 2."""
        return (self.depth - 2) // 6


class ResNet18Spec(ArchitectureSpec):
    """ResNet-18 (He et al. 2015), torchvision's own, with the stem that suits the images."""

    has_maps: ClassVar[bool] = True
    counts_pixels: ClassVar[bool] = False
    hidden_in_head: ClassVar[bool] = False

    arch: Literal["resnet18"] = "resnet18"
    """Architecture."""
    input_channels: Literal[1, 3] | None = None
    """1 for a network of grey images, 3 for color: a data set of the other kind is refused; null: whatever the data set
    has.
    """
    stem: Literal["cifar", "imagenet"] = "cifar"
    """3x3 conv, stride 1, no pool for small images; or 7x7 conv, stride 2 and 3x3 max pool, stride 2."""
    image_size: int | None = Field(default=None, ge=SMALLEST_SIDE, le=LARGEST_SIDE)
    """Side in pixels of the square that every image is first brought to, bilinearly; the cost grows with its square.
    null: images stay as they are.
    """
    statistics: Literal["dataset", "imagenet"] = "dataset"
    """What pixels are normalized by: the data set's own mean and deviation, or ImageNet's, and then grey images become
    three equal channels.
    """

    @property
    def brought_to(self) -> int | None:
        """`image_size`."""
        return self.image_size

    def as_they_are(self) -> Self:
        """Without `image_size`."""
        return self.model_copy(update={"image_size": None})

    @property
    def normalized_by(self) -> Literal["dataset", "imagenet"]:
        """`statistics`."""
        return self.statistics


class VGGSpec(ArchitectureSpec):
    """Stages of 3x3 convs, each ended by 2x2 max pool, then fully connected layers (Simonyan and Zisserman 2015, with
    batch norm). No conv biases.
    """

    has_maps: ClassVar[bool] = True
    counts_pixels: ClassVar[bool] = True
    hidden_in_head: ClassVar[bool] = True

    arch: Literal["vgg"] = "vgg"
    """Architecture."""
    input_channels: Literal[1, 3] | None = None
    """1 for a network of grey images, 3 for color: a data set of the other kind is refused; null: whatever the data set
    has.
    """
    widths: StageWidths = (64, 128, 256)
    """Channels stage by stage."""
    convs_per_stage: int = Field(default=2, ge=1, le=20)
    """Convs of each stage."""
    hidden: int = Field(default=256, ge=1, le=MAX_WIDTH)
    """Units of the fully connected layer before the head."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability of dropping a unit of the fully connected layer while training."""

    @property
    def unpadded_pools(self) -> int:
        """One a stage."""
        return len(self.widths)


ModelSpec = Annotated[
    MLPSpec | CNNSpec | HeNetSpec | ResNet18Spec | VGGSpec | LayersSpec,
    Field(discriminator="arch"),
]

ARCHITECTURES: tuple[type[ArchitectureSpec], ...] = (
    MLPSpec,
    CNNSpec,
    HeNetSpec,
    ResNet18Spec,
    VGGSpec,
    LayersSpec,
)


def _doubling(stages: int, width: int) -> tuple[int, ...]:
    """min(width · 2^i, 512), or a constant width where the first is wider than that."""
    return tuple(min(width * 2**i, max(width, WIDEST_DOUBLED)) for i in range(stages))
