"""What a dry run of a study says, for people."""

from collections.abc import Iterator
from typing import Any

from training_lab.commands.output import NUMBER, TEXT, count, show, table
from training_lab.commands.requesting import say_warnings
from training_lab.commands.terminal import duration

DRY_RUN_COLUMNS = (
    ("cell", TEXT),
    ("title", TEXT),
    ("runs", NUMBER),
    ("parameters", NUMBER),
    ("MACs", NUMBER),
    ("seconds a run", NUMBER),
)


def show_plan(plan: dict[str, Any]) -> int:
    """The cells, what all takes, and what of it is there already; the exit status."""
    say_warnings(plan)
    cells = plan["cells"]
    rows = [
        (
            c["key"],
            c["title"],
            str(len(c["seeds"])) if c["same_as"] is None else "-",
            f"{c['parameters']:,}",
            f"{c['macs_per_sample']:,}",
            f"{c['seconds']:,.{1 if c['seconds'] >= 1 else 2}f}",
        )
        for c in cells
    ]
    same = sum(c["same_as"] is not None for c in cells)
    total = (
        f"{count(len(cells), 'cell')}{f' ({same} the same as others)' if same else ''},"
        f" {count(plan['num_runs'], 'run')}, {duration(plan['seconds'])}, one run after the other:"
        f" {plan['based_on']}."
    )
    if plan["nominal_seconds"] != plan["seconds"]:
        total += f" Without them {duration(plan['nominal_seconds'])}."
    notes = [line for note in plan["notes"] for line in (note, "")]
    show(
        plan["title"],
        "",
        table(DRY_RUN_COLUMNS, rows),
        "",
        *_drawn(plan["sample"]),
        *notes,
        f"{total} {_taken_over(plan)} Nothing was stored.",
    )
    return 0


def _taken_over(plan: dict[str, Any]) -> str:
    equal = plan.get("num_equal")  # an earlier version does not say
    if not equal:
        return "Runs that equal finished ones cost nothing."
    whole = "All" if equal == plan["num_runs"] else f"{equal:,}"
    return f"{whole} of them equal finished ones, are taken over and cost nothing."


def _drawn(sample: dict[str, Any] | None) -> Iterator[str]:
    if sample is not None:
        factors = "; ".join(f"{name} {words}" for name, words in sample["factors"].items())
        yield f"Drawn with seed {sample['seed']}: {factors}."
        yield ""
