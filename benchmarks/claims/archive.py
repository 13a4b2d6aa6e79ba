"""A study as one small file: its rows without anybody's files, so that every number said of it can be worked out again.

The file is JSON, compressed (xz), the same bytes for the same rows.
"""

import json
import lzma
from pathlib import Path
from typing import Any

from sqlmodel import Session, SQLModel, col, select

from app.storage.tables import Experiment, Metric, Run, Study

FORMAT = 1

Document = dict[str, Any]


def written(session: Session, study: Study) -> bytes:
    """The study with its experiments, runs and metrics. Raises ValueError while a run has not ended: an archive is of
    what is over.
    """
    experiments = session.exec(
        select(Experiment)
        .where(col(Experiment.study_id) == study.id)
        .order_by(col(Experiment.created_at), col(Experiment.id))
    ).all()
    ids = [experiment.id for experiment in experiments]
    runs = session.exec(
        select(Run)
        .where(col(Run.experiment_id).in_(ids))
        .order_by(col(Run.created_at), col(Run.id))
    ).all()
    unfinished = [run.id for run in runs if run.finished_at is None]
    if unfinished:
        raise ValueError(f"{len(unfinished)} runs of {study.id} have not ended: {unfinished[0]}")
    document = {
        "format": FORMAT,
        "study": _plain(study),
        "experiments": [_plain(experiment) for experiment in experiments],
        # the worker's name tells the machine's
        "runs": [{**_plain(run), "worker_id": None} for run in runs],
        "metrics": _columns(session, [run.id for run in runs]),
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return lzma.compress(text.encode(), format=lzma.FORMAT_XZ, preset=9)


def read(path: Path) -> Document:
    """An archive's document; raises ValueError for one of another format."""
    document: Document = json.loads(lzma.decompress(path.read_bytes()))
    if document.get("format") != FORMAT:
        raise ValueError(f"{path} has format {document.get('format')}, not {FORMAT}")
    return document


def put_in(session: Session, document: Document) -> Study:
    """The archived rows as rows of a database that has none of them; returns the study."""
    study = Study.model_validate(document["study"])
    session.add(study)
    session.flush()
    _add(session, Experiment, document["experiments"])
    there = {run["id"] for run in document["runs"]}
    # what a run was built on may be no part of the study
    _add(
        session,
        Run,
        [
            {**run, "needs": run["needs"] if run["needs"] in there else None}
            for run in document["runs"]
        ],
    )
    for run_id, columns in document["metrics"].items():
        for key, numbers in columns.items():
            split, _, name = key.partition(".")
            session.add_all(
                Metric(run_id=run_id, epoch=int(epoch), split=split, name=name, value=value)
                for epoch, value in numbers.items()
            )
    session.flush()
    return study


def _add(session: Session, kind: type[SQLModel], rows: list[Document]) -> None:
    session.add_all(kind.model_validate(row) for row in rows)
    session.flush()


def _plain(row: SQLModel) -> Document:
    return row.model_dump(mode="json")


def _columns(session: Session, run_ids: list[str]) -> dict[str, dict[str, dict[int, float | None]]]:
    """By run, then `split.name`, then epoch."""
    found: dict[str, dict[str, dict[int, float | None]]] = {run_id: {} for run_id in run_ids}
    for metric in session.exec(select(Metric).where(col(Metric.run_id).in_(run_ids))):
        column = found[metric.run_id].setdefault(f"{metric.split}.{metric.name}", {})
        column[metric.epoch] = metric.value
    return found
