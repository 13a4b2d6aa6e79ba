"""A table as a source printed it, and what of a study's cells stands in each of its places."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lab_models.specs.base import Frozen

TEST_ACCURACY = "test.accuracy"


class PrintedDifference(Frozen):
    """A column that a source has worked out from two others; the linter works it out again."""

    column: str
    """Heading of the differences."""
    treatment: str
    """Heading of what is subtracted from."""
    control: str
    """Heading of what is subtracted."""


class RowName(Frozen):
    """What names the row, as printed."""

    kind: Literal["name"] = "name"
    """What stands in the column."""


class Scored(Frozen):
    """A score of a cell: mean over its seeds, with its interval."""

    kind: Literal["score"] = "score"
    """What stands in the column."""
    arm: str = ""
    """Which cell of the row; empty: the row's own."""
    metric: str = TEST_ACCURACY
    """What was measured, by our names."""
    shown_as: Literal["level", "error", "errors"] = "level"
    """An accuracy as it is, as the share that is wrong, or as the number of test images that are wrong."""


class Improved(Frozen):
    """The difference of two cells of the row, paired by seed."""

    kind: Literal["difference"] = "difference"
    """What stands in the column."""
    treatment: str
    """The arm that is subtracted from."""
    control: str
    """The arm that is subtracted."""
    metric: str = TEST_ACCURACY
    """What was measured, by our names."""


class Sized(Frozen):
    """How large a cell's network is."""

    kind: Literal["size"] = "size"
    """What stands in the column."""
    size: Literal["parameters", "stages", "blocks", "conv_layers"]
    """What is counted. Blocks are of two convs; conv layers count the stem's and those of shortcuts."""
    arm: str = ""
    """Which cell of the row; empty: the row's own."""


Measure = Annotated[RowName | Scored | Improved | Sized, Field(discriminator="kind")]


class AddedColumn(Frozen):
    """A column that the source does not have."""

    heading: str
    """What people read above it."""
    measure: Measure
    """What stands in it."""


class PublishedTable(Frozen):
    """A table as a source printed it. Texts are kept as they stand; `measures` say what of ours belongs beside them."""

    title: str = ""
    """What the table shows, in a few words."""
    columns: tuple[str, ...]
    """Headings."""
    rows: tuple[tuple[str, ...], ...]
    """Cells, as printed."""
    split: str
    """What the source calls the images that were scored; empty where it does not say."""
    num_images: tuple[int, ...]
    """Sizes that the scored split can have had, by what the source says of it, the likeliest first."""
    other_splits: dict[str, int] = {}
    """Splits that may have been scored instead, and their sizes."""
    accuracy_columns: tuple[str, ...] = ()
    """Headings of the columns that hold accuracies in percent."""
    differences: tuple[PrintedDifference, ...] = ()
    """Columns that follow from others."""
    parameter_column: str | None = None
    """Heading of the column that holds numbers of parameters; null: there is none."""
    row_cells: tuple[str | None, ...] = ()
    """For each row, the key of the recipe's cell whose network it describes; empty: rows are not matched."""
    row_arms: tuple[dict[str, str], ...] = ()
    """For each row, the keys of its cells by what the measures call them, where it has several."""
    row_metrics: tuple[str, ...] = ()
    """For each row, the metric of its scores, where a row is one score; empty: the columns say it."""
    measures: tuple[Measure, ...] = ()
    """What stands in each column; empty: the table cannot be filled with what is measured."""
    added: tuple[AddedColumn, ...] = ()
    """Columns of ours to the right of the source's."""
    note: str = ""
    """What a reader of the filled table must know of its columns."""

    @model_validator(mode="after")
    def _every_place_is_known(self) -> Self:
        width, height = len(self.columns), len(self.rows)
        for name, part, size in (
            ("measures", self.measures, width),
            ("row_cells", self.row_cells, height),
            ("row_arms", self.row_arms, height),
            ("row_metrics", self.row_metrics, height),
        ):
            if part and len(part) != size:
                raise ValueError(f"{name!r} has {len(part)} entries, and the table {size}")
        return self

    def arms(self, row: int) -> dict[str, str]:
        """Keys of the cells that a row is about, by what the measures call them; empty: the row's own."""
        own = self.row_cells[row] if self.row_cells else None
        return {
            **({} if own is None else {"": own}),
            **(self.row_arms[row] if self.row_arms else {}),
        }
