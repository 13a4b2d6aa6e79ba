"""Ids as people write them: whole, by a beginning that fits one alone, or the newest."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from training_lab.errors import NotFound, Unusable
from training_lab.experiment import Experiment
from training_lab.lab import Lab
from training_lab.run import Run
from training_lab.study import Study

EXPERIMENT, STUDY, RUN = "exp_", "stu_", "run_"
LAST, LAST_STUDY = "@last", "@last-study"
KINDS: Final = {EXPERIMENT: "an experiment", STUDY: "a study", RUN: "a run"}
FEWEST: Final = 4
"""Characters after the kind that a beginning has."""
WHOLE: Final = 13
"""Characters after the kind that an id has, or more."""
MOST_NAMED: Final = 5
"""Of those that a beginning fits."""
PAGE_ROWS: Final = 500
WRITTEN = "exp_… or stu_…, its first characters, @last or @last-study"
"""For `--help`."""


def may_be_short(text: str) -> bool:
    """Whether a service can be asked which one is meant."""
    return text in (LAST, LAST_STUDY) or (
        text[:4] in (EXPERIMENT, STUDY) and FEWEST <= len(text) - 4 < WHOLE
    )


def whole_id(lab: Lab, text: str, *kinds: str) -> str:
    """The id that is meant, of one of these kinds, or of any. A whole one is not looked up. Raises Unusable for what is
    none or too short, NotFound where nothing or more than one thing fits.
    """
    found = _meant(lab, text)
    kind = found[:4]
    if kinds and kind not in kinds:
        wanted = " or ".join(f"{KINDS[one]} ({one}…)" for one in kinds)
        raise Unusable(f"{text} is {KINDS[kind]}, and {wanted} is wanted")
    return found


def experiment_of(lab: Lab, text: str) -> Experiment:
    """The experiment that is meant."""
    return lab.experiment(whole_id(lab, text, EXPERIMENT))


def job_of(lab: Lab, text: str) -> Experiment | Study:
    """The experiment or study that is meant."""
    found = whole_id(lab, text, EXPERIMENT, STUDY)
    return lab.study(found) if found.startswith(STUDY) else lab.experiment(found)


def run_of(lab: Lab, text: str, seed: int | None) -> Run:
    """The run that is meant: by its own id, or an experiment's with that seed, which may be left out where there is one
    alone.
    """
    found = whole_id(lab, text, EXPERIMENT, RUN)
    if found.startswith(RUN):
        run = lab.run(found)
        if seed is not None and run.seed != seed:
            raise Unusable(f"{found} has seed {run.seed}, not {seed}")
        return run
    runs = lab.experiment(found).runs
    fitting = [run for run in runs if seed is None or run.seed == seed]
    if len(fitting) == 1:
        return fitting[0]
    seeds = ", ".join(str(run.seed) for run in runs)
    if not fitting:
        raise Unusable(f"{found} has no seed {seed}; it has {seeds}")
    raise Unusable(f"{found} has {len(runs)} runs: say which by --seed, one of {seeds}")


def _meant(lab: Lab, text: str) -> str:
    if text in (LAST, LAST_STUDY):
        return _newest(lab, "/studies" if text == LAST_STUDY else "/experiments", text)
    kind, rest = text[:4], text[4:]
    if kind not in KINDS or not re.fullmatch(r"[0-9A-Za-z]*", rest):
        raise Unusable(f"{text!r} is no id: write {WRITTEN}")
    if len(rest) >= WHOLE:
        return text
    if kind == RUN:
        raise Unusable(f"write the whole id of a run, or its experiment's and --seed, not {text}")
    if len(rest) < FEWEST:
        raise Unusable(f"{text} is too short: write at least {FEWEST} characters after {kind}")
    beginning = text.lower()
    rows = _studies(lab) if kind == STUDY else _experiments(lab, beginning)
    return _only(text, (row for row in rows if str(row["id"]).startswith(beginning)))


def _newest(lab: Lab, path: str, text: str) -> str:
    """One's own: who sees all does not steer others' by it."""
    me = lab.get("/me")["owner"]["name"]
    rows = lab.get(path, owner=me, limit=1)["data"]
    if not rows:
        raise NotFound(f"{text}: there is none yet of {me}'s", status=404)
    return str(rows[0]["id"])


def _experiments(lab: Lab, beginning: str) -> Iterator[dict[str, Any]]:
    for found in lab.experiments(q=beginning, archived="any"):
        yield found.raw


def _studies(lab: Lab) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        page = lab.get("/studies", limit=PAGE_ROWS, cursor=cursor)
        yield from page["data"]
        cursor = page.get("next_cursor")
        if cursor is None:
            return


def _only(text: str, rows: Iterable[dict[str, Any]]) -> str:
    found: list[str] = []
    named: list[str] = []
    for row in rows:
        found.append(str(row["id"]))
        named.append(f"{row['id']} ({row['name']})" if row.get("name") else str(row["id"]))
        if len(found) > MOST_NAMED:
            break
    if len(found) == 1:
        return found[0]
    if not found:
        noun = KINDS[text[:4]].split()[1]
        raise NotFound(f"there is no {noun} {text!r}, and none that begins so", status=404)
    more = " and more" if len(found) > MOST_NAMED else ""
    raise NotFound(
        f"{text} fits {', '.join(named[:MOST_NAMED])}{more}: write more of it", status=404
    )
