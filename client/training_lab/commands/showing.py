"""`lab show`: an experiment, a study or a run on one page of the terminal."""

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from training_lab.commands import output
from training_lab.commands.command_line import EXIT_DONE, add_service_command, elsewhere
from training_lab.commands.ids import RUN, WRITTEN, whole_id
from training_lab.commands.output import NUMBER, TEXT
from training_lab.commands.page_parts import (
    beside,
    errors,
    fact_table,
    head,
    moment_text,
    section,
    times,
    warnings,
)
from training_lab.commands.requesting import Service, address, is_study
from training_lab.commands.spec_words import asked_text, training_text
from training_lab.lab import Lab
from training_lab.summaries import Summary

if TYPE_CHECKING:
    from rich.console import RenderableType

SPLITS = ("train", "val", "test", "gap")
RUN_COLUMNS = (
    ("seed", NUMBER),
    ("run", TEXT),
    ("status", TEXT),
    ("epoch", TEXT),
    ("best epoch", NUMBER),
    ("val accuracy", NUMBER),
    ("test accuracy", NUMBER),
    ("why", TEXT),
)
RUN_SPARE = ("best epoch", "val accuracy")
"""What a narrow terminal does without."""
CELL_COLUMNS = (
    ("cell", TEXT),
    ("title", TEXT),
    ("status", TEXT),
    ("done", TEXT),
    ("experiment", TEXT),
)
ATTEMPT_COLUMNS = (("attempt", NUMBER), ("worker", TEXT), ("began", TEXT), ("ended as", TEXT))


def add_parser(commands: Any) -> None:
    """Add `lab show`."""
    parser = add_service_command(
        commands,
        "show",
        "how an experiment, a study or a run stands: status and why, spec in short, results, errors",
        "lab show @last",
        _show,
    )
    parser.add_argument("id", metavar="ID", help=f"{WRITTEN}, or run_…")
    parser.add_argument("--json", action="store_true", help="the record in JSON, with all it has")


def _show(lab: Lab, options: argparse.Namespace) -> int:
    found = whole_id(lab, options.id)
    service = Service(lab)
    record = lab.run(found).raw if found.startswith(RUN) else service.get(address(found))
    if options.json:
        output.show_json(record)
    elif found.startswith(RUN):
        output.show(*_run(record, lab.url, elsewhere(options)))
    elif is_study(found):
        output.show(*_study(record, lab.url, elsewhere(options)))
    else:
        rows = lab.experiments(ids=found, archived="any", limit=1)
        row = next(iter(rows), None)
        output.show(*_experiment(record, {} if row is None else row.raw, lab.url))
    return EXIT_DONE


def _experiment(
    record: Mapping[str, Any], row: Mapping[str, Any], url: str
) -> "Iterator[RenderableType]":
    """`row` is the same as lists have it, with network and data in words."""
    yield from head(record)
    estimate = record.get("estimate") or {}
    parameters = estimate.get("parameters")
    network = str(row.get("network") or "")
    seeds = [str(run["seed"]) for run in record["runs"]]
    facts = {
        "network": network
        if parameters is None
        else f"{network}, {output.count(parameters, 'parameter')}",
        "data": str(row.get("dataset") or ""),
        "training": training_text(record["spec"]),
        "seeds": ", ".join(seeds) if len(seeds) <= 20 else f"{len(seeds)}",
        "asked for": asked_text(record.get("submitted") or {}),
        **beside(record),
        "page": f"{url}/ui/experiments/{record['id']}",
    }
    yield fact_table(facts)
    results = record.get("results") or {}
    names = list(dict.fromkeys(name for split in SPLITS for name in results.get(split) or {}))
    if names:
        columns = (("", TEXT), *((split, NUMBER) for split in SPLITS))
        rows = [(name, *(_score(results.get(split), name) for split in SPLITS)) for name in names]
        yield from section("Results, mean ± half the 95 % interval", output.table(columns, rows))
    yield from section(
        "Runs", output.table(RUN_COLUMNS, [_run_row(run) for run in record["runs"]], RUN_SPARE)
    )
    yield from errors(
        (f"seed {run['seed']}", run["error"]) for run in record["runs"] if run.get("error")
    )
    yield from warnings(record)


def _study(record: Mapping[str, Any], url: str, where: str) -> "Iterator[RenderableType]":
    yield from head(record)
    recipe = record.get("recipe")
    facts = {
        "question": str(record.get("question") or ""),
        "recipe": f"{recipe}, {record.get('scale')} scale" if recipe else "",
        "seeds": ", ".join(map(str, record.get("seeds") or ())),
        "taken over": output.count(record["progress"]["num_reused"], "run")
        if record["progress"].get("num_reused")
        else "",
        **beside(record),
        "page": f"{url}/ui/studies/{record['id']}",
        "report": f"{url}{record['links']['report']}",
        "table": f"lab table {record['id']}{where}",
    }
    yield fact_table(facts)
    rows = [
        (
            str(cell["key"]),
            str(cell["title"]),
            str(cell.get("status") or ""),
            f"{cell['num_succeeded']} of {cell['num_runs']}",
            str((cell.get("same_as") and f"as {cell['same_as']}") or cell["experiment_id"]),
        )
        for cell in record["cells"]
    ]
    yield from section("Cells", output.table(CELL_COLUMNS, rows))
    yield from errors(
        (f"{error['cell']}, seed {error['seed']}", error) for error in record["errors"]
    )
    yield from warnings(record)


def _run(record: Mapping[str, Any], url: str, where: str) -> "Iterator[RenderableType]":
    yield from head({**record, "name": f"seed {record['seed']}"})
    progress = record.get("progress") or {}
    best, experiment = record.get("best") or {}, record["experiment_id"]
    facts = {
        "experiment": experiment,
        "epoch": f"{progress.get('epoch', 0)} of {progress.get('epochs', 0)}",
        "best epoch": str(best.get("epoch") or ""),
        "stopped by": str(record.get("stop_reason") or ""),
        "taken from": str(record.get("reused_from") or ""),
        **times(record),
        "log": f"lab logs {record['id']}{where}" if record.get("attempt") else "",
        "page": f"{url}/ui/experiments/{experiment}",
    }
    yield fact_table(facts)
    splits = {"train": record.get("train"), "val": best.get("val"), "test": record.get("test")}
    names = list(dict.fromkeys(name for scores in splits.values() for name in scores or {}))
    if names:
        columns = (("", TEXT), *((split, NUMBER) for split in splits))
        rows = [(name, *(_number((s or {}).get(name)) for s in splits.values())) for name in names]
        yield from section("Results", output.table(columns, rows))
    attempts = [
        (
            str(one.get("number") or one.get("attempt") or ""),
            str(one.get("worker_id") or one.get("worker") or ""),
            moment_text(one.get("started_at")),
            str(one.get("reason") or one.get("status") or ""),
        )
        for one in record.get("attempts") or ()
    ]
    if attempts:
        yield from section("Attempts", output.table(ATTEMPT_COLUMNS, attempts))
    yield from errors([("", record["error"])] if record.get("error") else [])


def _run_row(run: Mapping[str, Any]) -> tuple[str, ...]:
    progress, best, test = run.get("progress") or {}, run.get("best") or {}, run.get("test") or {}
    val = best.get("val") or best
    why = "" if run["status"] == "succeeded" else str(run.get("status_reason") or "")
    if run.get("reused_from"):
        why = f"as {run['reused_from']}"
    return (
        str(run["seed"]),
        str(run["id"]),
        str(run["status"]),
        f"{progress.get('epoch', 0)} of {progress.get('epochs', 0)}",
        str(best.get("epoch") or ""),
        _number(val.get("accuracy")),
        _number(test.get("accuracy")),
        str(run.get("stop_reason") or why),
    )


def _score(scores: Mapping[str, Any] | None, name: str) -> str:
    score = (scores or {}).get(name)
    return "" if score is None else str(Summary.of(score))


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
