"""Recipes over HTTP: the labs' tables, ready to be run as studies."""

from functools import cache
from typing import Annotated, Any

from fastapi import Path

from app.api.http import passes
from app.api.http.deps import Reading, TheRecipeCosts, TheSpeeds
from app.api.schemas import Answer
from app.errors import NotFound
from app.services.studies.study_costs import Cost
from lab_models.recipes.catalog import RECIPES, recipe
from lab_models.recipes.findings import Code
from lab_models.recipes.linting import lint_recipe
from lab_models.recipes.published_tables import PublishedTable
from lab_models.recipes.recipe import Cell, Claim, Contrast, Picture, Recipe
from lab_models.specs.base import UnknownName

router = passes.router(prefix="/recipes", tags=["studies"])

Costs = dict[str, Cost | None]
"""By scale."""

RecipeName = Annotated[str, Path(description="A recipe's name", max_length=100)]


class ScaleSummary(Answer):
    """How much of a recipe is run, and what that costs."""

    description: str
    """What is smaller than in the source, if anything."""
    seeds: int
    """Seeds where the request names none."""
    num_runs: int
    """Runs of all cells with that many seeds."""
    seconds: float | None
    """What all runs take here, one after the other, as `POST /studies?dry_run=true` prices them; null where this
    service allows less than the recipe asks for.
    """
    based_on: str | None
    """On what that rests: runs like them that finished here lately; nominal, before there are three."""
    cost_cpu: str
    """What it took on the two CPU cores of docs/results.md, with its origin."""
    cost_gpu: str
    """What it took on the data-center GPU of docs/results.md, with its origin."""


class ScaleAnswer(ScaleSummary):
    """The same with what it changes."""

    overrides: dict[str, Any]
    """Dotted paths of every cell's request and their values."""
    cell_overrides: dict[str, dict[str, Any]]
    """The same for single cells, by key; these come after the others."""


class RecipeSummary(Answer):
    """A recipe in a list."""

    name: str
    title: str
    question: str
    """What its table answers."""
    reproduces: str
    """Which table of which source, and with whose settings."""
    num_cells: int
    scales: dict[str, ScaleSummary]
    """By name: `smoke` ends in minutes on two cores, `full` is what the source did."""
    links: dict[str, str]


class RecipeList(Answer):
    """The recipes this service knows, in the order of the labs' exercises."""

    data: list[RecipeSummary]


class FindingAnswer(Answer):
    """Something about the source's table, or about the design, that a reader must know."""

    code: Code
    where: str
    """Table and row, contrast or cell."""
    message: str
    suggestion: str
    """What may have been meant, or what to do; may be empty."""


class Post(Answer):
    """A request that is ready to be sent."""

    method: str = "POST"
    path: str
    body: dict[str, Any]


class RecipeAnswer(Answer):
    """A whole recipe: a study's design, what the source printed and says, and what is expected."""

    name: str
    title: str
    question: str
    reproduces: str
    factors: tuple[str, ...]
    """What varies, in the order of the table's columns."""
    num_cells: int
    cells: tuple[Cell, ...]
    """The table's rows, top to bottom; `request` is the body of POST /experiments at full scale, where `{"cell": key}`
    is an earlier cell's network.
    """
    contrasts: tuple[Contrast, ...]
    """Pairs that are compared."""
    claims: tuple[Claim, ...]
    """What the source says, and what decides it."""
    margin_points: float
    """Differences smaller than this, in percentage points, count as none."""
    scales: dict[str, ScaleAnswer]
    """By name: `smoke` and `full`."""
    pictures: tuple[Picture, ...]
    """Which pictures of a study say most."""
    published_tables: tuple[PublishedTable, ...]
    """The source's tables, as printed."""
    notes: tuple[str, ...]
    """What a reader of the table must know."""
    findings: list[FindingAnswer]
    """What a linter finds in the source's tables and in the design."""
    post: Post
    """How to run it."""
    links: dict[str, str]


@router.get("")
def list_recipes(session: Reading, speeds: TheSpeeds, costs: TheRecipeCosts) -> RecipeList:
    """The recipes: each is one of the labs' tables, to be run as a study by one POST."""
    lately = speeds(session)
    return RecipeList(
        data=[_summary(page, costs(session, lately, page.name)) for page in RECIPES.values()]
    )


@router.get("/{name}", responses={404: {"description": "No such recipe"}})
def read_recipe(
    session: Reading, speeds: TheSpeeds, costs: TheRecipeCosts, name: RecipeName
) -> RecipeAnswer:
    """One recipe with every cell's request, the source's own numbers, its claims, and what a linter finds in its
    tables.
    """
    try:
        recipe(name)
    except UnknownName as error:
        raise NotFound(f"{error}; {error.hint}") from error
    return _whole(recipe(name), costs(session, speeds(session), name))


def _whole(page: Recipe, costs: Costs) -> RecipeAnswer:
    return RecipeAnswer(
        name=page.name,
        title=page.title,
        question=page.question,
        reproduces=page.reproduces,
        factors=page.factors,
        num_cells=len(page.cells),
        cells=page.cells,
        contrasts=page.contrasts,
        claims=page.claims,
        margin_points=page.margin_points,
        scales={
            scale: ScaleAnswer(
                **_scale(page, scale, costs[scale]),
                overrides=of.overrides,
                cell_overrides=of.cell_overrides,
            )
            for scale, of in page.scales.items()
        },
        pictures=page.pictures,
        published_tables=page.published_tables,
        notes=page.notes,
        findings=_findings(page.name),
        post=Post(path="/studies", body={"recipe": page.name, "scale": "smoke"}),
        links=_links(page),
    )


@cache
def _findings(name: str) -> list[FindingAnswer]:
    return [FindingAnswer(**vars(finding)) for finding in lint_recipe(recipe(name))]


def _summary(page: Recipe, costs: Costs) -> RecipeSummary:
    return RecipeSummary(
        name=page.name,
        title=page.title,
        question=page.question,
        reproduces=page.reproduces,
        num_cells=len(page.cells),
        scales={scale: ScaleSummary(**_scale(page, scale, costs[scale])) for scale in page.scales},
        links=_links(page),
    )


def _scale(page: Recipe, name: str, cost: Cost | None) -> dict[str, Any]:
    scale = page.scales[name]
    return {
        "description": scale.description,
        "seeds": scale.seeds,
        "num_runs": sum(
            scale.seeds if cell.num_seeds is None else min(cell.num_seeds, scale.seeds)
            for cell in page.cells
        ),
        "seconds": None if cost is None else round(cost.seconds, 1),
        "based_on": None if cost is None else cost.based_on,
        "cost_cpu": scale.cost_cpu,
        "cost_gpu": scale.cost_gpu,
    }


def _links(page: Recipe) -> dict[str, str]:
    return {"self": f"/recipes/{page.name}", "studies": f"/studies?recipe={page.name}"}
