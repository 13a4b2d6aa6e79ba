"""The page of the claims, from the archives alone: tables in the sources' shape, verdicts, seeds and hours."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlmodel import Session

from app.services.analyses.comparisons import Evidence
from app.services.analyses.scores import read_metric
from app.services.analyses.studies.columns import caption_of, columns_of
from app.services.analyses.studies.tables import table_of
from app.services.analyses.studies.verdicts import verdicts_of
from app.services.experiments.metrics import seconds_of_training
from app.services.studies import studies
from app.services.studies.studies import WholeStudy
from app.settings import Settings
from app.storage.db import open_database
from app.storage.files.places import file_store
from app.storage.tables import Study
from app.tabulation import markdown_text, to_markdown
from benchmarks.claims import archive

HEAD = """# The labs' claims

Written by `python -m benchmarks.claims page` from the archives in `benchmarks/claims/data`, which hold specs, seeds,
metrics and environment of every run; tables and verdicts are worked out from them anew. The number of seeds is the one
that the recipe had at the revision named, so it was fixed before the first run
([how differences are judged](statistics.md)).
"""


def page(archives: Sequence[Path]) -> str:
    """Markdown; each archive is a section."""
    return "\n".join([HEAD, *(section(path) for path in archives)])


def section(path: Path) -> str:
    """What one archived study shows."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), database_url="", _env_file=None)
        database = open_database(settings)
        try:
            with database.writing() as session:
                study_id = archive.put_in(session, archive.read(path)).id
            with database.reading() as session:
                return "\n".join(_lines(session, settings, studies.get(session, study_id)))
        finally:
            database.close()


def _lines(session: Session, settings: Settings, study: Study) -> Iterator[str]:
    whole, metric = studies.whole(session, study), read_metric("test.accuracy")
    evidence = Evidence(session, file_store(settings), whole.runs)
    table, verdicts = (
        table_of(evidence.scores, whole, metric),
        verdicts_of(evidence, whole, metric),
    )
    yield f"## {markdown_text(study.name)}\n"
    yield f"{markdown_text(whole.design.question)} {_made(session, whole)}\n"
    yield to_markdown(columns_of(table), table.rows)
    yield f"{caption_of(table)}\n"
    for answered in verdicts.claims:
        said = f'"{answered.claim.text}" ({answered.claim.source})'
        yield f"- {markdown_text(said)}: {markdown_text(answered.result.sentence)}"
    for contrast in verdicts.contrasts:
        yield f"- {markdown_text(contrast.title)}: {markdown_text(contrast.judgement.sentence)}"
    yield ""
    for caution in verdicts.cautions:
        yield f"{markdown_text(caution)}\n"


def _made(session: Session, whole: WholeStudy) -> str:
    """Seeds, hours and what it was made with, in a sentence."""
    seconds = sum(seconds_of_training(session, [run.id for run in whole.runs]).values())
    day = min(run.created_at for run in whole.runs).date()
    seeds = whole.design.seeds
    made = dict.fromkeys(
        f"{environment['device']}, torch {environment['torch']}, revision {environment['git']}"
        for run in whole.runs
        if (environment := run.environment) is not None
    )
    return (
        f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]}), {len(whole.runs)} runs, {seconds / 3600:.2f} hours of"
        f" training, {day}; {'; '.join(made)}."
    )
