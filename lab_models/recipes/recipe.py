"""What a recipe is: one table of a lab as data, with the source's own numbers, the claims it makes and what is expected
of them.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from lab_models.datasets.catalog import spoken_name
from lab_models.recipes.published_tables import TEST_ACCURACY, PublishedTable
from lab_models.specs import ROLES
from lab_models.specs.base import Frozen

Factor = str | int | float | bool | None


class PublishedNumber(Frozen):
    """A number that the source printed. Accuracies are fractions."""

    value: float
    """As a fraction where the source printed percent."""
    metric: str = TEST_ACCURACY
    """What was measured, by our names: `<split>.<score>`."""
    printed: str | None = None
    """As the source wrote it, such as `98.26 %`."""


class Expected(Frozen):
    """Where one run's score lies at full scale; a smoke scale is not held to it."""

    low: float
    """Lower end, a fraction."""
    high: float
    """Upper end, a fraction."""
    metric: str = TEST_ACCURACY
    """What is expected."""
    source: str
    """Where it is from: `measured` with date, seeds and hardware, `literature` with the paper, or `estimate`."""


class Cell(Frozen):
    """An experiment's place in a table."""

    key: Annotated[str, Field(min_length=1, max_length=100)]
    """Names the cell in contrasts, claims and addresses; unique within a table."""
    title: str
    """What people read."""
    request: dict[str, Any]
    """Body of POST /experiments without seeds, name and labels. `teacher` and `source` may be `{"cell": key}`: an
    earlier cell's network.
    """
    factors: dict[str, Factor] = {}
    """The cell's value of each factor that the table varies."""
    num_seeds: int | None = None
    """Fewer seeds than the study's, for a teacher that all students share; null: the study's."""
    published: PublishedNumber | None = None
    """What the source printed for this cell."""
    expected: Expected | None = None
    """What one run is expected to reach at full scale."""


class Contrast(Frozen):
    """Two cells that should differ in one thing alone; compared as treatment minus control, paired by seed."""

    treatment: str
    """Key of the cell that is expected to be better."""
    control: str
    """Key of the cell that it is compared with."""
    factor: str
    """The one thing that differs, as a dotted path of the spec, such as `model.residual`; several are separated by
    commas.
    """
    title: str = ""
    """What people read; empty: made from the cells' titles."""
    family: str = ""
    """Means nothing any more: all contrasts and claims on one metric share Holm's correction."""


class Better(Frozen):
    """The claim that treatments beat their controls: tested by the mean difference over all the contrasts, seed by
    seed.
    """

    kind: Literal["better"] = "better"
    """How the claim is tested."""
    contrasts: tuple[tuple[str, str], ...]
    """Pairs (treatment, control) of cell keys."""
    metric: str = TEST_ACCURACY
    """What is compared."""


class Trend(Frozen):
    """The claim that a score rises, or falls, along an order of cells: tested by each seed's least-squares slope over
    the places 0, 1, 2…
    """

    kind: Literal["trend"] = "trend"
    """How the claim is tested."""
    cells: tuple[str, ...]
    """Cell keys in the claimed order."""
    rises: bool = True
    """Whether the score is claimed to rise along the cells."""
    metric: str = TEST_ACCURACY
    """What is compared."""


class NotMonotone(Frozen):
    """The claim that more is not always better: some later cell is worse than an earlier one. Tested over all pairs."""

    kind: Literal["not_monotone"] = "not_monotone"
    """How the claim is tested."""
    cells: tuple[str, ...]
    """Cell keys in the order in which the score would be expected to rise."""
    metric: str = TEST_ACCURACY
    """What is compared."""


class Reaches(Frozen):
    """The claim that a cell reaches a value, or stays below it where lower is better: tested by the interval of the
    cell's mean.
    """

    kind: Literal["reaches"] = "reaches"
    """How the claim is tested."""
    cell: str
    """The cell's key."""
    value: float
    """What is claimed to be reached; accuracies as fractions."""
    metric: str = TEST_ACCURACY
    """What is compared."""


class Claim(Frozen):
    """Something that a source says, and how a study answers it."""

    key: str
    """Names the claim."""
    text: str
    """In the source's words, or near them."""
    source: str
    """Where it is said."""
    test: Annotated[Better | Trend | NotMonotone | Reaches, Field(discriminator="kind")]
    """What decides it."""
    note: str = ""
    """What a reader must know about the claim's own evidence."""


class Scale(Frozen):
    """How much of a recipe is run."""

    description: str
    """What is smaller than in the source, if anything."""
    seeds: int = 3
    """How many seeds are planned: the look at so many is the one that decides. Used where the caller names none."""
    overrides: dict[str, Any] = {}
    """Dotted paths of every cell's request and their values, such as `{"dataset.train_limit": 2000, "epochs": 2}`."""
    cell_overrides: dict[str, dict[str, Any]] = {}
    """The same for single cells, by key; these come after the others."""
    cost_cpu: str
    """On two CPU cores, with its origin: measured or estimated."""
    cost_gpu: str
    """On one data-centre GPU, with its origin."""


Picture = Literal[
    "curves", "factor", "differences", "heat_map", "gradient_flow", "distillation", "tradeoff"
]


class Recipe(Frozen):
    """The code that writes a study: cells, their design and what the source says about them."""

    name: str
    """What POST /studies calls it."""
    title_template: str
    """What people read; `{dataset}` stands for what the cells learn, `{source}` for what the networks that they build
    on have learned.
    """
    question_template: str
    """What the table answers, as one sentence, with the same places."""
    reproduces: str
    """Which table of which source, and with whose settings: as written, or as coded."""
    factors: tuple[str, ...]
    """Names of what varies, in the order of the table's columns."""
    cells: tuple[Cell, ...]
    """The table's rows, top to bottom; a cell that another builds on comes before it."""
    contrasts: tuple[Contrast, ...] = ()
    """Pairs that are compared."""
    claims: tuple[Claim, ...] = ()
    """What the source says."""
    margin_points: float
    """Differences smaller than this, in percentage points, count as none: 0.15 on MNIST, 0.5 on CIFAR-10, 1 on
    CIFAR-100.
    """
    scales: dict[str, Scale]
    """`smoke` ends in minutes on two cores; `full` is what the source did."""
    pictures: tuple[Picture, ...] = ("curves",)
    """Which pictures say most, the first being the most important."""
    published_tables: tuple[PublishedTable, ...] = ()
    """The source's tables."""
    notes: tuple[str, ...] = ()
    """What a reader of the table must know."""

    @property
    def title(self) -> str:
        """What people read of the recipe's own cells."""
        return self.on_their_data(self.title_template, self.cells)

    @property
    def question(self) -> str:
        """What the table of the recipe's own cells answers."""
        return self.on_their_data(self.question_template, self.cells)

    @staticmethod
    def on_their_data(template: str, cells: Sequence[Cell]) -> str:
        """A template with the data sets of these cells, whatever the recipe's own are."""
        below = [cell for cell in cells if cell.key in _built_on(cells)]
        above = [cell for cell in cells if cell not in below] or below
        return template.replace("{dataset}", _data_of(above)).replace("{source}", _data_of(below))


def dataset_of(cell: Cell) -> str:
    """The name of the data set that the cell's request asks for."""
    said = cell.request.get("dataset", {})
    return str(said.get("name", "digits") if isinstance(said, dict) else said)


def _data_of(cells: Sequence[Cell]) -> str:
    *most, last = dict.fromkeys(spoken_name(dataset_of(cell)) for cell in cells) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _built_on(cells: Sequence[Cell]) -> set[str]:
    """Keys of the cells whose networks others build on."""
    said = [cell.request.get(role) for cell in cells for role in ROLES.values()]
    named = [part.get("cell") for part in said if isinstance(part, dict)]
    return {
        cell for cell in named if isinstance(cell, str)
    }  # what a person has put there may be anything
