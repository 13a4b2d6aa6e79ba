"""All recipes by name, in the order of the labs' exercises; and what must hold of each."""

from collections import Counter
from collections.abc import Iterator

from lab_models.recipes import (
    cnn_blocks,
    distill,
    distill_grid,
    finetune,
    gradients,
    he_depth,
    hinton_mnist,
    mlp_depth,
    mlp_residual,
    mlp_small,
    probe,
    three_models,
)
from lab_models.recipes.recipe import Better, Claim, NotMonotone, Reaches, Recipe, Trend
from lab_models.specs import ROLES
from lab_models.specs.base import UnknownName

RECIPES: dict[str, Recipe] = {
    page.name: page
    for page in (
        mlp_depth.LITERAL,
        mlp_depth.AS_CODED,
        mlp_depth.STRONG,
        mlp_residual.LITERAL,
        mlp_residual.AS_CODED,
        mlp_residual.DEEP_RECIPE,
        mlp_small.RECIPE,
        cnn_blocks.README,
        cnn_blocks.AS_CODED,
        cnn_blocks.CAPPED,
        he_depth.RECIPE,
        he_depth.SHORT,
        three_models.RECIPE,
        gradients.RECIPE,
        distill.CONVERGED,
        distill.AS_CODED,
        distill_grid.RECIPE,
        probe.RECIPE,
        finetune.RECIPE,
        hinton_mnist.RECIPE,
    )
}

SCALES = ("smoke", "full")


def recipe(name: str) -> Recipe:
    """The recipe of that name; raises UnknownName with what was probably meant."""
    if name not in RECIPES:
        raise UnknownName("recipe", name, list(RECIPES))
    return RECIPES[name]


def check(page: Recipe) -> list[str]:
    """What is wrong with a recipe's references, a sentence each; empty where keys are unique and everything named is
    there.
    """
    keys = [cell.key for cell in page.cells]
    twice = [f"two cells are called {key!r}" for key, count in Counter(keys).items() if count > 1]
    missing = [
        f"{where} names the cell {key!r}, which is none"
        for where, key in dict.fromkeys(_named(page))
        if key not in keys
    ]
    return [*twice, *missing, *_bad_factors(page), *_bad_scales(page), *_bad_references(page)]


def _named(page: Recipe) -> Iterator[tuple[str, str]]:
    """Every place that names a cell, with the cell's key."""
    for contrast in page.contrasts:
        for key in (contrast.treatment, contrast.control):
            yield f"contrast {contrast.treatment!r} against {contrast.control!r}", key
    for claim in page.claims:
        yield from ((f"claim {claim.key!r}", key) for key in _cells_of(claim))
    for name, scale in page.scales.items():
        yield from ((f"scale {name!r}", key) for key in scale.cell_overrides)
    for table in page.published_tables:
        yield from ((f"table {table.title!r}", key) for key in table.row_cells if key is not None)


def _cells_of(claim: Claim) -> tuple[str, ...]:
    match claim.test:
        case Better(contrasts=contrasts):
            return tuple(key for pair in contrasts for key in pair)
        case Trend(cells=cells) | NotMonotone(cells=cells):
            return cells
        case Reaches(cell=cell):
            return (cell,)


def _bad_factors(page: Recipe) -> Iterator[str]:
    for cell in page.cells:
        if tuple(cell.factors) != page.factors:
            yield f"cell {cell.key!r} has the factors {list(cell.factors)}, and the recipe {list(page.factors)}"


def _bad_scales(page: Recipe) -> Iterator[str]:
    if tuple(page.scales) != SCALES:
        yield f"the scales are {list(page.scales)}, not {list(SCALES)}"
    full = page.scales.get("full")
    if full is not None and (full.overrides or full.cell_overrides):
        yield "the full scale changes something: put it into the cells"


def _bad_references(page: Recipe) -> Iterator[str]:
    """A cell builds on an earlier one that builds on none itself: students of students are not trained in one study."""
    for place, cell in enumerate(page.cells):
        for field in ROLES.values():
            reference = cell.request.get(field)
            if reference is None:
                continue
            earlier = {other.key: other for other in page.cells[:place]}
            if reference.get("cell") not in earlier:
                yield f"cell {cell.key!r} builds on {reference.get('cell')!r}, which is no earlier cell"
            elif earlier[reference["cell"]].request.get("kind", "train") != "train":
                yield f"cell {cell.key!r} builds on {reference['cell']!r}, which builds on another itself"
