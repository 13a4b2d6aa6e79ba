"""`lab recipes`: the tables that a service can run as studies, as a list or one by one, over HTTP."""

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from training_lab.commands.command_line import EXIT_DONE, add_service_command
from training_lab.commands.output import NUMBER, TEXT, show, show_json, table
from training_lab.commands.requesting import Service
from training_lab.commands.terminal import bullet, duration, heading, indented, line
from training_lab.lab import Lab

if TYPE_CHECKING:
    from rich.console import RenderableType

TEST_ACCURACY = "test.accuracy"

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


def add_parser(commands: Any) -> None:
    """Add `lab recipes`."""
    recipes = add_service_command(
        commands,
        "recipes",
        "a table of all recipes, or one recipe in full: what `lab study` can run",
        "lab recipes mlp-depth",
        _recipes,
    )
    recipes.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="show this one with its cells, the source's numbers, contrasts, claims, costs and findings",
    )
    recipes.add_argument("--json", action="store_true", help="as the service answers it")


def _recipes(lab: Lab, options: argparse.Namespace) -> int:
    service, name = Service(lab), options.name
    answer = service.get("/recipes" if name is None else f"/recipes/{quote(name, safe='')}")
    if options.json:
        show_json(answer if name is not None else answer["data"])
    elif name is None:
        rows = table(LIST_COLUMNS, map(_row, answer["data"]))
        show(rows, *([] if options.quiet else ["", TIMES]))
    else:
        show(*_page(answer))
    return EXIT_DONE


def _row(recipe: dict[str, Any]) -> tuple[str, ...]:
    smoke, full = (_time(recipe["scales"][scale]) for scale in ("smoke", "full"))
    return recipe["name"], recipe["question"], str(recipe["num_cells"]), smoke, full


def _page(recipe: dict[str, Any]) -> "Iterator[RenderableType]":
    yield heading(f"{recipe['name']}: {recipe['title']}")
    yield from map(
        line, ("", f"Question: {recipe['question']}", f"Reproduces: {recipe['reproduces']}", "")
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
        [table(CONTRAST_COLUMNS, contrasts), line(_margin(recipe["margin_points"]))]
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
    yield line(f"Run it: lab study {recipe['name']} --scale smoke --wait")


def _section(title: str, parts: "Iterable[RenderableType]") -> "Iterator[RenderableType]":
    """Nothing where there are no parts."""
    below: list[RenderableType] = [indented(part) for part in parts]
    if below:
        yield from (heading(title), *below, line(""))


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
    factors: dict[str, Any] = cell["factors"]
    seeds = "" if cell["num_seeds"] is None else f"at most {cell['num_seeds']}"
    return [
        cell["key"],
        cell["title"],
        *(_factor(factors.get(name)) for name in recipe["factors"]),
        _published(cell["published"]),
        _expected(cell["expected"]),
        seeds,
    ]


def _factor(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case None:
            return "none"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


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
