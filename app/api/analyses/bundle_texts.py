"""What a bundle says of itself: its tables, the script that sends everything again, and what is what."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.api.experiments.list_schemas import ExperimentRow, MeanOverSeeds
from app.services.analyses.scores import ScoreKind
from app.tabulation import Column, markdown_text, to_csv, to_markdown
from lab_models.statistics.summary import is_vague

NOTHING: Final = "\N{EN DASH}"


@dataclass(frozen=True)
class Bundled:
    """An experiment of the bundle: the folder that has its files, and what a list shows of it."""

    folder: str
    row: ExperimentRow
    request: dict[str, Any]
    """A body of POST /experiments that makes an equal one."""
    missing: tuple[str, ...] = ()
    """Files that could not be made."""


AT_THE_TOP: Final = {
    "`table.md`, `table.csv`": "the table; as CSV with all digits",
    "`reproduce.sh`": (
        "sends everything again: `LAB_URL=http://… LAB_API_KEY=lab_… sh reproduce.sh`. A service that has trained it"
        " for the same owner takes over the results and trains nothing"
    ),
    "`reproduce-1.json` …": (
        "what it sends: studies whose cells are these experiments, those with the same seeds together;"
        " `lab study reproduce-1.json` does the same"
    ),
    "`SHA256SUMS`": "`sha256sum -c SHA256SUMS` says whether a file was changed",
}
IN_EACH_FOLDER: Final = {
    "`spec-as-sent.json`": "what was sent to the service",
    "`spec.json`": "the same with every default written out: what was trained",
    "`request.json`": (
        "a request that trains an equal experiment anew: `lab submit request.json`. One that builds on another's"
        " weights may name it by its id, which only the service that has it knows"
    ),
    "`results.json`": (
        "status, every run's scores, and over the runs mean, standard deviation and 95 % interval"
    ),
    "`metrics.csv`": "every number of every epoch, one to a row: run_id, seed, epoch, split, name, value",
    "`curves.svg`, `curves.pdf`": (
        "loss and accuracy over the epochs; with several seeds their mean and range"
    ),
    "`environment.json`": "versions, machine and hashes: of data and weights",
    "`notes.md`": "what was noted of it, if anything was",
}

MOST_CELLS: Final = 50
"""Of one study, so that a service's bounds let it in."""
NOT_A_CELLS: Final = ("seeds", "labels", "name")
"""What of a request a study says for all its cells, or names in its own way."""

SCRIPT: Final = """\
#!/bin/sh
# Sends every experiment of this bundle to a service, as studies: one that has trained them already, for the same
# owner, takes over their results and trains nothing.
#   LAB_URL=http://127.0.0.1:8000 LAB_API_KEY=lab_... sh reproduce.sh
# Needs curl. To run it twice makes nothing twice. Ends with 1 where a request was refused, and says why.
set -eu
cd "$(dirname "$0")"
url=${LAB_URL:-http://127.0.0.1:8000}
failed=0

key() {
    if [ -n "${LAB_API_KEY:-}" ]; then printf 'Authorization: Bearer %s' "$LAB_API_KEY"; fi
}

send() { # file, and what tells the service that it has it already
    answer=$(key | curl -sS -w '\\n%{http_code}' -H @- -H "Idempotency-Key: $2" --data-binary "@$1" "$url/studies") || {
        failed=1
        return 0
    }
    status=$(printf '%s\\n' "$answer" | tail -n 1)
    case $status in
        200 | 201) made=$(printf '%s\\n' "$answer" | grep -o '"id":"stu_[^"]*"' | head -n 1 | cut -d '"' -f 4)
            printf '%s\\n' "$1: $url/ui/studies/$made" ;;
        *) failed=1
            printf '%s\\n' "$1: refused with $status" "$answer" >&2 ;;
    esac
}

"""


def studies(title: str, bundled: Sequence[Bundled]) -> dict[str, bytes]:
    """By file name bodies of POST /studies, which take over what is trained already: experiments with the same seeds
    together, each a cell that is called as its folder.
    """
    by_seeds: dict[str, list[Bundled]] = {}
    for one in bundled:
        by_seeds.setdefault(json.dumps(one.request["seeds"]), []).append(one)
    parts = [
        together[first : first + MOST_CELLS]
        for together in by_seeds.values()
        for first in range(0, len(together), MOST_CELLS)
    ]
    return {
        f"reproduce-{number}.json": as_json(
            {
                "name": title,
                "seeds": part[0].request["seeds"],
                "specs": [_cell(one) for one in part],
                "contrasts": [],
            }
        )
        for number, part in enumerate(parts, 1)
    }


def script(files: dict[str, bytes]) -> str:
    """`reproduce.sh`, which sends them: for POSIX shells and the curl of 2020."""
    sent = "".join(
        f"send {name} reproduce-{hashlib.sha256(content).hexdigest()[:40]}\n"
        for name, content in files.items()
    )
    return f'{SCRIPT}{sent}exit "$failed"\n'


def as_json(document: Any) -> bytes:
    """For people as well."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _cell(one: Bundled) -> dict[str, Any]:
    body = {name: value for name, value in one.request.items() if name not in NOT_A_CELLS}
    return {"name": one.folder, **body}


def table_md(bundled: Sequence[Bundled]) -> str:
    """For people, and for a report."""
    columns = (
        Column[Bundled]("folder", lambda one: one.folder),
        Column[Bundled]("network", lambda one: one.row.network),
        Column[Bundled]("data set", lambda one: one.row.dataset),
        Column[Bundled]("parameters", lambda one: f"{one.row.parameters:,}", is_number=True),
        Column[Bundled]("seeds", lambda one: f"{one.row.seeds.done} of {one.row.seeds.all}"),
        Column[Bundled](
            "test accuracy, %", lambda one: _percent(one.row.test.get("accuracy")), is_number=True
        ),
        Column[Bundled]("status", lambda one: one.row.status.value),
    )
    return to_markdown(columns, bundled)


def table_csv(bundled: Sequence[Bundled]) -> str:
    """For programs and spreadsheets: full digits, and what a spreadsheet would compute is text."""
    return to_csv(
        {
            "folder": one.folder,
            "experiment_id": one.row.id,
            "owner": one.row.owner,
            "name": one.row.name,
            "labels": ", ".join(f"{key}:{value}" for key, value in one.row.labels.items()),
            "status": one.row.status.value,
            "kind": one.row.kind,
            "dataset": one.row.dataset,
            "network": one.row.network,
            "parameters": one.row.parameters,
            "seeds_done": one.row.seeds.done,
            "seeds": one.row.seeds.all,
            **_mean("test_accuracy", one.row.test.get("accuracy")),
            **_mean("val_accuracy", one.row.best_val.get("accuracy")),
            **_mean("val_loss", one.row.best_val.get("loss")),
            "created_at": one.row.created_at.isoformat(),
            "finished_at": one.row.finished_at and one.row.finished_at.isoformat(),
        }
        for one in bundled
    )


def readme(title: str, asked: str, bundled: Sequence[Bundled], version: str, gone: int) -> str:
    """What is what, and what is not there."""
    unfinished = [one for one in bundled if not one.row.is_terminal]
    notes = [
        *([f"{len(unfinished)} of them had not ended yet."] if unfinished else []),
        *([f"{gone} were deleted while this was made."] if gone else []),
        *(
            f"{one.folder} lacks {name}, which could not be drawn."
            for one in bundled
            for name in one.missing
        ),
    ]
    heading = f"{len(bundled)} experiment{'' if len(bundled) == 1 else 's'}, the oldest first"
    return "\n".join(
        (
            f"# {markdown_text(title)}",
            "",
            f"{heading}, of training-lab {version}: {markdown_text(asked)}.",
            *map(markdown_text, notes),
            "",
            table_md(bundled),
            "Test accuracy is the mean over the seeds that have succeeded, ± half of Student's 95 % interval of it"
            " where that is at most 25 points.",
            "",
            *_files(AT_THE_TOP),
            "",
            "In each folder:",
            "",
            *_files(IN_EACH_FOLDER),
            "",
        )
    )


def _files(files: dict[str, str]) -> list[str]:
    return ["| file | has |", "|---|---|", *(f"| {name} | {has} |" for name, has in files.items())]


def _percent(mean: MeanOverSeeds | None) -> str:
    if mean is None:
        return NOTHING
    if mean.ci95 is None or is_vague(mean.ci95):
        return f"{100 * mean.mean:.2f}"
    return f"{100 * mean.mean:.2f} ± {50 * (mean.ci95[1] - mean.ci95[0]):.2f}"


def _mean(name: str, mean: MeanOverSeeds | None) -> dict[str, float | int | None]:
    ends = None if mean is None else mean.ci95
    low, high = (None, None) if ends is None else ScoreKind(name.replace("_", ".")).cut(ends)
    return {
        name: None if mean is None else mean.mean,
        f"{name}_ci95_low": low,
        f"{name}_ci95_high": high,
        f"{name}_n": None if mean is None else mean.n,
    }
