"""`lab recipes`: the tables that a service can run as studies, as a list or one by one, over HTTP."""

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rich.console import RenderableType
from rich.text import Text

from app.commands import client
from app.commands.terminal import NUMBER, TEXT, bullet, duration, heading, indented, show, table

if TYPE_CHECKING:
    from lab_models.recipes.recipe import Factor

LIST_COLUMNS = (
    ("name", TEXT),
    ("question", TEXT),
    ("cells", NUMBER),
    ("smoke, here", TEXT),
    ("full, here", TEXT),
)
TIMES = (
    "Times are of all runs, one after the other: by runs like them that finished here lately, nominally before there"
    " are three. `lab recipes NAME` says which, and what they took on other machines."
)
CONTRAST_COLUMNS = (("cells", TEXT), ("what differs", TEXT), ("family", TEXT))


def add_commands(commands: Any) -> list[argparse.ArgumentParser]:
    """Add `recipes` to the command line; returns the parsers that speak to a service and still need its `--url`."""
    recipes = commands.add_parser(
        "recipes", help="a table of all recipes, or one recipe in full: what `lab study` can run"
    )
    recipes.add_argument(
        "name",
        nargs="?",
        help="show this one with its cells, the source's numbers, contrasts, claims, costs and findings",
    )
    recipes.set_defaults(run=_recipes)
    return [recipes]


def _recipes(options: argparse.Namespace) -> int:
    with client.Service(options.url) as service:
        if options.name is None:
            recipes = service.get("/recipes")["data"]
            show(table(LIST_COLUMNS, map(_row, recipes)), "", TIMES)
        else:
            show(*_page(service.get(f"/recipes/{quote(options.name, safe='')}")))
    return 0


def _row(recipe: dict[str, Any]) -> tuple[str, ...]:
    smoke, full = (_time(recipe["scales"][scale]) for scale in ("smoke", "full"))
    return recipe["name"], recipe["question"], str(recipe["num_cells"]), smoke, full


def _page(recipe: dict[str, Any]) -> Iterator[RenderableType]:
    yield heading(f"{recipe['name']}: {recipe['title']}")
    yield from map(
        Text, ("", f"Question: {recipe['question']}", f"Reproduces: {recipe['reproduces']}", "")
    )
    yield from _section(
        "Cells", [table(_cell_columns(recipe), (_cell(recipe, cell) for cell in recipe["cells"]))]
    )
    contrasts = [
        (f"{c['treatment']} against {c['control']}", c["factor"], c["family"])
        for c in recipe["contrasts"]
    ]
    yield from _section(
        "Contrasts",
        [table(CONTRAST_COLUMNS, contrasts), Text(_margin(recipe["margin_points"]))]
        if contrasts
        else [],
    )
    yield from _section("Claims", map(bullet, map(_claim, recipe["claims"])))
    yield from _section(
        "Scales", [bullet(_scale(name, scale)) for name, scale in recipe["scales"].items()]
    )
    yield from _section(
        "Findings in the source's tables and in the design",
        map(bullet, map(_finding, recipe["findings"])),
    )
    yield from _section("Notes", map(bullet, recipe["notes"]))
    yield Text(f"Run it: lab study {recipe['name']} --scale smoke --wait")


def _section(title: str, parts: Iterable[RenderableType]) -> Iterator[RenderableType]:
    """Nothing where there are no parts."""
    below: list[RenderableType] = [indented(part) for part in parts]
    if below:
        yield from (heading(title), *below, Text(""))


def _margin(points: float) -> str:
    return f"Differences smaller than {points:g} percentage point{'' if points == 1 else 's'} count as none."


def _cell_columns(recipe: dict[str, Any]) -> list[tuple[str, str]]:
    factors = [(name, TEXT) for name in recipe["factors"]]
    return [
        ("cell", TEXT),
        ("title", TEXT),
        *factors,
        ("source", NUMBER),
        ("one run at full scale", NUMBER),
        ("seeds", TEXT),
    ]


def _cell(recipe: dict[str, Any], cell: dict[str, Any]) -> list[str]:
    """Texts of `_cell_columns`."""
    from lab_models.studies.design import factor_text  # late: it loads every kind of spec

    factors: dict[str, Factor] = cell["factors"]
    seeds = "" if cell["num_seeds"] is None else f"at most {cell['num_seeds']}"
    return [
        cell["key"],
        cell["title"],
        *(factor_text(factors.get(name)) for name in recipe["factors"]),
        _published(cell["published"]),
        _expected(cell["expected"]),
        seeds,
    ]


def _published(published: dict[str, Any] | None) -> str:
    if published is None:
        return ""
    return (published["printed"] or _level(published["value"], published["metric"])) + _of(
        published["metric"]
    )


def _expected(expected: dict[str, Any] | None) -> str:
    if expected is None:
        return ""
    low, high = (_level(expected[end], expected["metric"]) for end in ("low", "high"))
    return f"{low.removesuffix(' %')} to {high}{_of(expected['metric'])}"


def _level(value: float, metric: str) -> str:
    return f"{100 * value:.2f} %" if metric.endswith("accuracy") else f"{value:g}"


def _of(metric: str) -> str:
    from lab_models.recipes.published_tables import TEST_ACCURACY

    return "" if metric == TEST_ACCURACY else f" ({metric})"


def _claim(claim: dict[str, Any]) -> str:
    note = f" {claim['note']}" if claim["note"] else ""
    return f'"{claim["text"]}" ({claim["source"]}). Decided by {_test(claim["test"])}.{note}'


def _test(test: dict[str, Any]) -> str:
    match test["kind"]:
        case "better":
            return f"{_metric(test)} of " + ", ".join(
                f"{treatment} against {control}" for treatment, control in test["contrasts"]
            )
        case "trend":
            return (
                f"whether {_metric(test)} {'rises' if test['rises'] else 'falls'} along "
                + ", ".join(test["cells"])
            )
        case "not_monotone":
            return f"whether {_metric(test)} falls anywhere along " + ", ".join(test["cells"])
        case "reaches":
            return f"whether {_metric(test)} of {test['cell']} reaches {_level(test['value'], test['metric'])}"
        case other:  # a newer service
            return str(other)


def _metric(test: dict[str, Any]) -> str:
    return str(test["metric"])


def _scale(name: str, scale: dict[str, Any]) -> str:
    seeds = f"{scale['seeds']} seed" + ("s" if scale["seeds"] > 1 else "")
    size = f"{name}: {scale['description']} {scale['num_runs']} runs with {seeds}."
    basis = f" ({scale['based_on']})" if scale["based_on"] else ""
    return (
        f"{size} Here {_time(scale)}{basis}. On the machines of docs/results.md: two CPU cores {scale['cost_cpu']}; one"
        f" data-center GPU {scale['cost_gpu']}."
    )


def _time(scale: dict[str, Any]) -> str:
    return "not allowed" if scale["seconds"] is None else duration(scale["seconds"])


def _finding(finding: dict[str, Any]) -> str:
    suggestion = f"; {finding['suggestion']}" if finding["suggestion"] else ""
    return f"{finding['where']}: {finding['message']}{suggestion} ({finding['code']})"
