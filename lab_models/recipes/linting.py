"""What is wrong with published tables and with designs, found by arithmetic. Nothing here is typed in: every number is
computed.
"""

from collections.abc import Mapping

from lab_models.recipes.cell_checks import check_cells, effective_specs, sizes_of
from lab_models.recipes.findings import Finding
from lab_models.recipes.published_tables import PublishedTable
from lab_models.recipes.recipe import Recipe
from lab_models.recipes.table_checks import check_table


def lint(table: PublishedTable, parameters: Mapping[str, int] | None = None) -> list[Finding]:
    """What a printed table says that cannot be, or does not say; `parameters` are the true numbers by key of the cells
    that its rows describe.
    """
    return list(check_table(table, parameters or {}))


def lint_recipe(recipe: Recipe) -> list[Finding]:
    """Findings of all the recipe's published tables, then of its cells and contrasts at full scale."""
    specs = effective_specs(recipe)
    sizes = sizes_of(specs)
    parameters = {key: size.parameters for key, size in sizes.items()}
    printed = [finding for table in recipe.published_tables for finding in lint(table, parameters)]
    return [*printed, *check_cells(recipe, specs, sizes)]
