"""What a student can be given of its teacher beyond the logits: where it looks, or what its layers say."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from lab_models.specs.base import Frozen, named

StageName = Annotated[str, Field(min_length=1, max_length=60)]


def _no_pair_twice(pairs: "tuple[tuple[str, str], ...]") -> "tuple[tuple[str, str], ...]":
    if len(set(pairs)) != len(pairs):
        raise ValueError("a pair is named twice; a larger 'weight' says that it counts more")
    return pairs


StagePairs = Annotated[
    tuple[Annotated[tuple[StageName, StageName], Field(strict=False)], ...],
    Field(min_length=1, max_length=100, strict=False),
    AfterValidator(_no_pair_twice),
]
Weight = Annotated[float, Field(ge=0.0, le=1e9)]


class AttentionSpec(Frozen):
    """Attention transfer (Zagoruyko and Komodakis 2017, arXiv:1612.03928, equation 2): the student's stages look where
    the teacher's look.

    A stage's attention is the mean over its channels of the squared outputs, one map per image, divided by its L2 norm;
    the loss of a pair is the mean over images and pixels of the squared difference, and pairs are summed.
    """

    name: Literal["attention"] = "attention"
    """What is matched: maps of where a stage's outputs are large."""
    weight: Weight = 500.0
    """What the loss is multiplied by before it is added to that of the logits: beta / 2 of the paper, whose beta is
    1000 over a map's pixels and the images.
    """
    stages: StagePairs | None = None
    """Pairs [teacher's stage, student's stage]; a larger map is averaged down to the other's size. null: from the top
    down, stages with maps of one size.
    """


class HintSpec(Frozen):
    """Hints (FitNets, Romero et al. 2015, arXiv:1412.6550, equation 3): a regressor learns to tell the teacher's stage
    from the student's.

    A regressor is a linear layer for vectors and a 1x1 conv for maps. It is trained with the student, and no part of
    it. The loss of a pair is the mean squared error over everything, and pairs are summed. The paper trains by hints
    first and by logits after; here both at once.
    """

    name: Literal["hint"] = "hint"
    """What is matched: the outputs of stages themselves, through a learned regressor."""
    weight: Weight = 1.0
    """What the loss is multiplied by before it is added to that of the logits; the paper needs none, because it trains
    by hints alone at first.
    """
    stages: StagePairs | None = None
    """Pairs [teacher's stage, student's stage]; a larger map is averaged down to the other's size. null: from the top
    down, stages with outputs of one size.
    """


FeatureSpec = Annotated[AttentionSpec | HintSpec, Field(discriminator="name")]
NamedFeatures = Annotated[
    FeatureSpec | None,
    BeforeValidator(named("name", "attention"), json_schema_input_type=FeatureSpec | str | None),
]
