"""What a person sends to start a study: a recipe's name, a list of specs, or a spec and what to vary in it, by listed
values or by drawn ones.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from lab_models.common.naming import Name
from lab_models.common.validation import validate
from lab_models.recipes.recipe import Contrast
from lab_models.specs import Frozen
from lab_models.specs.request import DeviceKind, Labels, Seeds
from lab_models.studies.sampling import Distribution, Sample

MOST_CELLS = 1000
MOST_LEVELS = 100
LONGEST_KEY = 100

OF_THE_STUDY = ("seeds", "labels", "priority", "device", "name")
"""Fields of an experiment's body that a study sets by itself."""

Overrides = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=200)], Any], Field(max_length=100)
]


def _listed_or_drawn(value: Any) -> Any:
    """What is drawn is read when its path is known: `axes.distributions_of`."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        raise ValueError(
            'must be a list of values, or what they are drawn from, such as {"log": [0.0001, 0.1]}'
        )
    if not 1 <= len(value) <= MOST_LEVELS:
        raise ValueError(f"must have 1 to {MOST_LEVELS} values, not {len(value)}")
    return value


Listed = Annotated[list[Any], Field(min_length=1, max_length=MOST_LEVELS)]
Levels = Annotated[
    Any, BeforeValidator(_listed_or_drawn, json_schema_input_type=Listed | Distribution)
]


class StudyRequest(Frozen):
    """A study: give `recipe`, or `specs`, or `spec` and `vary`."""

    recipe: str | None = Field(default=None, max_length=100)
    """A recipe's name; `GET /recipes` lists them."""
    scale: Literal["smoke", "full"] = "full"
    """How much of the recipe: `smoke` ends in minutes on two cores, `full` is what the source did."""
    specs: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST_CELLS)] | None = None
    """Bodies as for POST /experiments, without seeds; their `name` is the cell's."""
    spec: dict[str, Any] | None = None
    """One such body, to be varied."""
    vary: (
        Annotated[
            dict[Annotated[str, Field(min_length=1, max_length=200)], Levels],
            Field(min_length=1, max_length=10),
        ]
        | None
    ) = None
    """Dotted paths of `spec` and the values that each takes, listed or drawn; every combination is a cell. What is
    drawn without `n` is drawn together, as the points of `sample`.
    """
    sample: Sample | None = None
    """How many points are drawn of what `vary` draws together, and from which seed."""
    seeds: Seeds | None = None
    """Replicates of each cell: a list, or how many to count from 0; null: the recipe's own number, or 3."""
    overrides: Overrides = {}
    """Dotted paths and values, put into every cell's body, such as `{"dataset.name": "digits", "epochs": 2}`."""
    cell_overrides: Annotated[dict[str, Overrides], Field(max_length=MOST_CELLS)] = {}
    """The same for single cells, by their keys."""
    contrasts: Annotated[list[Contrast], Field(max_length=1000)] | None = None
    """Pairs of cells to compare; null: the recipe's, or each level of a varied field against the first."""
    margin_points: float | None = Field(default=None, gt=0.0, le=100.0)
    """Differences smaller than this many percentage points count as none; null: 0.15 on MNIST and digits, 0.5 on
    CIFAR-10, 1 on CIFAR-100 and others.
    """
    final: bool = False
    """Decide once, when all seeds have ended, at the whole 5 %. Until then every verdict is open, and no seeds can be
    added; false: the look at these seeds is decided at 4 %, and all other looks share 1 %.
    """
    reuse: bool = True
    """Take over the results of equal runs that have finished, instead of training them again."""
    name: Name | None = None
    """What the study is called; null: the recipe's title."""
    labels: Labels = {}
    """Your own keys and values, put on every experiment as well."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Higher starts first."""
    device: DeviceKind = "auto"
    """As of an experiment: `auto` trains all cells on one kind of device."""

    @model_validator(mode="after")
    def _one_kind_of_study(self) -> Self:
        given = [name for name in ("recipe", "specs", "spec") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(repr(name) for name in given) or "none of them"
            raise ValueError(f"give one of 'recipe', 'specs' or 'spec' with 'vary', not {found}")
        if (self.spec is None) != (self.vary is None):
            raise ValueError("'spec' and 'vary' go together")
        if self.sample is not None and self.vary is None:
            raise ValueError("'sample' goes with 'vary', which says what is drawn")
        return self


def read_study_request(document: Any) -> StudyRequest:
    """A parsed document as a request; raises InvalidDocument."""
    return validate(StudyRequest, document)
