"""Explanations over HTTP: where in its images a succeeded run's network finds its answers, and whether that is so, as
numbers and as a picture.
"""

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Query, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.api.http import passes
from app.api.http.deps import Reading, TheExperiment
from app.api.http.parameters import Given
from app.api.http.pictures import (
    PICTURE_RESPONSES,
    IfNoneMatch,
    PictureFormat,
    TheAppearance,
    picture,
)
from app.api.schemas import Answer
from app.services.analyses.predicting import explanations
from app.services.analyses.predicting.explanations import Explained, Explaining, Split
from lab_models.explanations.question import Method, Question, Show
from lab_models.explanations.wording import sentences
from lab_models.specs import MAX_SEED
from lab_models.statistics.summary import Summary

if TYPE_CHECKING:
    from lab_models.explanations.explaining import Explanation
    from lab_models.explanations.faithfulness import Areas
    from lab_models.explanations.maps import Floats

router = passes.router(prefix="/experiments", tags=["plots"])

DIGITS = 6


def _with_its_plus_signs(value: Any) -> Any:
    """In an address a plus sign means a space, unless it is written %2B."""
    return value.replace(" ", "+") if isinstance(value, str) else value


MethodName = Annotated[Method, BeforeValidator(_with_its_plus_signs)]


class ExplanationQuery(BaseModel):
    """Which network is explained how, by which images."""

    model_config = ConfigDict(use_attribute_docstrings=True)  # unknown names: see `StrictRoute`

    method: MethodName = Method.GRAD_CAM
    """`cam` for networks of averaged maps and one linear layer, `gradcam` and `gradcam++` for all with convolutions."""
    split: Split = "test"
    """Where the images are from."""
    n: int = Field(default=16, ge=2, le=64)
    """How many images are shown."""
    show: Show = Show.BOTH
    """`both`: half of them right, half wrong; or only those that are `right` or `wrong`."""
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    """Of the images' choice and the checks' random numbers."""
    run: str | None = Field(default=None, max_length=100)
    """A run of the experiment; without one the first seed that has succeeded."""

    @property
    def question(self) -> Question:
        """What is to be computed."""
        return Question(self.method, self.n, self.show, self.seed)


class MeanAnswer(Answer):
    """A mean over images with Student's t interval, which needs two."""

    mean: float
    ci95: tuple[float, float] | None
    n: int


class AreasAnswer(Answer):
    """Areas under the curve of the predicted class's probability, by the order in which pixels were changed."""

    map: MeanAnswer
    """By the map, its highest values first."""
    random: MeanAnswer
    center: MeanAnswer
    """By a Gaussian at the center of the image."""
    map_minus_random: MeanAnswer
    """The difference, image by image; so is the next."""
    map_minus_center: MeanAnswer


class FaithfulnessAnswer(Answer):
    """Deletion and insertion (Petsiuk et al. 2018) of images drawn at random, right or wrong."""

    num_images: int
    deletion: AreasAnswer
    """Pixels become the data set's mean color: the smaller, the better."""
    insertion: AreasAnswer
    """Pixels come into the blurred image: the larger, the better."""


class RandomizationAnswer(Answer):
    """Maps of the network whose layers from the head down to this stage were drawn anew (Adebayo et al. 2018)."""

    stage: str
    rank_correlation: MeanAnswer | None
    """Spearman's, with the trained network's map of the same class; near 0 if the map depends on what was learned.
    null: no image has one.
    """
    undefined: int
    """Images without one: a map with the same value everywhere."""


class ExampleAnswer(Answer):
    """An image with the map of its predicted class."""

    row: int
    """Of the split's file; of val in train, as `POST /runs/{run_id}/predict` counts."""
    right: bool
    true: str
    predicted: str
    probability: float
    """Of the predicted class."""
    true_probability: float
    map: list[list[float]]
    """At the feature maps' resolution, on a scale of its own; with `cam` negative where the maps speak against the
    class.
    """


class ExplanationAnswer(Answer):
    """Where a network finds its answers, and whether that is so."""

    experiment_id: str
    run_id: str
    seed: int
    """The run's."""
    method: Method
    split: Split
    stage: str
    """Of the network, whose feature maps were weighed: its last one with convolutions."""
    num_seen: int
    """Images looked at, in random order, for the examples."""
    num_wrong: int
    """Of them taken for another class."""
    examples: list[ExampleAnswer]
    """The right ones first."""
    faithfulness: FaithfulnessAnswer
    randomization: list[RandomizationAnswer]
    """The head alone first, in the end the whole network."""
    summary: list[str]
    """The checks in words."""


TheExplaining = Annotated[
    Explaining,
    Given(
        lambda request: Explaining(
            request.app.state.settings, request.app.state.predictors, request.app.state.explanations
        )
    ),
]
TheQuery = Annotated[ExplanationQuery, Query()]


@router.get("/{experiment_id}/explanations.json", response_model=ExplanationAnswer)
def read_explanations(
    session: Reading, experiment: TheExperiment, explaining: TheExplaining, query: TheQuery
) -> Any:
    """Class activation maps of right and wrong examples, deletion and insertion against two baselines, and the
    randomization check.

    Computed when asked for, from the run's weights and the data set's images. 409 until a run has succeeded, and for
    networks without feature maps.
    """
    explained = explanations.explained(
        session, explaining.settings, experiment, query.run, query.split
    )
    return passes.Compute(
        lambda: _answer(explained, query, explaining.explain(explained, query.question))
    )


def _answer(
    explained: Explained, query: ExplanationQuery, found: "Explanation"
) -> ExplanationAnswer:
    names = explained.run.network.dataset.class_names
    return ExplanationAnswer(
        experiment_id=explained.experiment_id,
        run_id=explained.run.run_id,
        seed=explained.seed,
        method=query.method,
        split=query.split,
        stage=found.stage,
        num_seen=found.num_seen,
        num_wrong=found.num_wrong,
        examples=_examples(found, names),
        faithfulness=FaithfulnessAnswer(
            num_images=found.faithfulness.num_images,
            deletion=_areas(found.faithfulness.deletion),
            insertion=_areas(found.faithfulness.insertion),
        ),
        randomization=[
            RandomizationAnswer(
                stage=step.stage,
                rank_correlation=None if step.correlation is None else _mean(step.correlation),
                undefined=step.undefined,
            )
            for step in found.randomization
        ],
        summary=sentences(found),
    )


@router.get(
    "/{experiment_id}/explanations.{extension}",
    response_class=Response,
    responses=PICTURE_RESPONSES,
)
def draw_experiment_explanations(
    session: Reading,
    experiment: TheExperiment,
    explaining: TheExplaining,
    query: TheQuery,
    extension: PictureFormat,
    appearance: TheAppearance,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Right and wrong examples side by side, each with its map laid over it, true and predicted class and probability;
    the checks' numbers below.
    """
    explained = explanations.explained(
        session, explaining.settings, experiment, query.run, query.split
    )
    exhibit = explanations.explained_images(explaining, explained, query.question)
    return picture(exhibit, extension, appearance, if_none_match, is_computed=True)


def _examples(found: "Explanation", names: tuple[str, ...]) -> list[ExampleAnswer]:
    return [
        ExampleAnswer(
            row=example.row,
            right=example.is_right,
            true=names[example.label],
            predicted=names[example.predicted],
            probability=round(example.probability, DIGITS),
            true_probability=round(example.label_probability, DIGITS),
            map=rounded_map(example.map),
        )
        for example in found.examples
    ]


def rounded_map(found: "Floats") -> list[list[float]]:
    """A map (h, w) as it is answered."""
    return [[float(f"{value:.{DIGITS}g}") for value in row] for row in found.tolist()]


def _areas(areas: "Areas") -> AreasAnswer:
    return AreasAnswer(
        map=_mean(areas.by_map),
        random=_mean(areas.random),
        center=_mean(areas.center),
        map_minus_random=_mean(areas.map_minus_random),
        map_minus_center=_mean(areas.map_minus_center),
    )


def _mean(summary: Summary) -> MeanAnswer:
    return MeanAnswer(mean=summary.mean, ci95=summary.ci95, n=summary.n)
