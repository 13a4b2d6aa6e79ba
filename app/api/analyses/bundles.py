"""Hand-ins over HTTP: what was selected as one zip, with everything that it takes to read, check and do it again."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlmodel import Session

from app.api.analyses.bundle_texts import (
    Bundled,
    as_json,
    readme,
    script,
    studies,
    table_csv,
    table_md,
)
from app.api.analyses.zip_stream import PROGRAM, ZipStream
from app.api.experiments import records
from app.api.experiments.filters import FilterQuery
from app.api.experiments.lists import rows_of
from app.api.http import passes
from app.api.http.deps import Reading, TheCaller, TheLocalWorkers, TheStanding
from app.api.http.drawings import Draw
from app.api.http.pictures import PictureFormat, drawings_of
from app.api.http.streams import in_a_pass, patiently
from app.api.http.traffic import has_left
from app.errors import InvalidRequest, NotFound
from app.plots.artists import DrawingFailed
from app.services.analyses import reproduction
from app.services.analyses.curves import experiment_curves
from app.services.experiments import counting, environments, experiments, exports
from app.services.experiments.artifacts import weights_of
from app.services.experiments.filtering import Filters
from app.services.experiments.standing import LatestStanding
from app.services.experiments.wholes import whole
from app.services.lifecycle.local_workers import LocalWorkers
from app.storage.states import RunStatus
from lab_models.common.naming import as_file_name
from lab_models.common.revision import package_version

router = passes.router(prefix="/bundles", tags=["experiments"])

MOST_EXPERIMENTS: Final = 200
"""Of one bundle: two pictures are drawn for each, a tenth of a second together."""
METRICS: Final = ("loss", "accuracy")
PICTURES: Final = (PictureFormat.SVG, PictureFormat.PDF)
RESULTS: Final = {
    "id",
    "owner",
    "name",
    "labels",
    "kind",
    "fingerprint",
    "status",
    "created_at",
    "started_at",
    "finished_at",
    "study_id",
    "like",
    "estimate",
    "results",
    "runs",
    "error",
}
"""What a record says of what came out; nothing that changes while nothing happens."""
OF_NO_USE_ELSEWHERE: Final = {"runs": {"__all__": {"links"}}}


@dataclass
class _Bundle:
    """One that is being made: what was asked for, and what is in it so far."""

    title: str
    asked: str
    chosen: list[tuple[str, datetime]]
    """Ids and when they were made, the oldest first."""
    standing: LatestStanding
    local_workers: LocalWorkers
    zip: ZipStream
    bundled: list[Bundled] = field(default_factory=list)


@dataclass(frozen=True)
class _Begun:
    """An experiment whose small files are packed."""

    bundled: Bundled
    runs: list[tuple[str, int]]
    draws: dict[PictureFormat, Draw]


@router.get(
    "",
    response_class=Response,
    responses={
        200: {"content": {"application/zip": {}}, "description": "The zip, made while it is sent"},
        404: {"description": "No experiment is like this"},
    },
)
def read_bundle(
    request: Request,
    session: Reading,
    caller: TheCaller,
    standing: TheStanding,
    local_workers: TheLocalWorkers,
    query: Annotated[FilterQuery, Query()],
) -> Any:
    """What the filters of the list let through as one zip: a table, and of each experiment its spec as it was sent and
    in full, results, numbers of every epoch, curves, versions; a script that sends everything again, and checksums.
    """
    title = _title(query)
    chosen = _chosen(session, query.filters(caller))
    said = [f"{key}={value}" for key, value in request.query_params.multi_items()]
    bundle = _Bundle(
        title=title,
        asked="all that there are" if not said else "those with " + ", ".join(said),
        chosen=chosen,
        standing=standing,
        local_workers=local_workers,
        zip=ZipStream(title),
    )
    ascii_name = re.sub(r"[^A-Za-z0-9._-]+", "-", title).strip("-")
    return StreamingResponse(
        _parts(request, bundle),
        media_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="{ascii_name}.zip"',
            "Cache-Control": "no-store",
        },
    )


def _chosen(session: Session, filters: Filters) -> list[tuple[str, datetime]]:
    """Raises NotFound where nothing is chosen, and InvalidRequest where too much is."""
    rows, more = experiments.page(session, filters, MOST_EXPERIMENTS, None)
    if not rows:
        raise NotFound(
            "no experiment that you may see is like this, so there is nothing to bundle; GET /experiments with the same"
            " filters lists what is"
        )
    if more is not None:
        total = counting.counts(session, filters).total
        raise InvalidRequest(
            f"{total:,} experiments are like this, and a bundle has at most {MOST_EXPERIMENTS}: narrow it down by"
            " owner, label, study or created_after"
        )
    return [(row.id, row.created_at) for row in reversed(rows)]


def _title(query: FilterQuery) -> str:
    """`bundle-ada-exercise-1.2`."""
    said = [query.owner, *query.label, query.study, query.dataset, query.network]
    words = [word.replace(":", "-") for word in said if word]
    return as_file_name("-".join(["bundle", *words]))


async def _parts(request: Request, bundle: _Bundle) -> AsyncIterator[bytes]:
    """The zip as it comes. Whatever is read is read, and whatever is packed is packed, in a pass; nothing is held
    between two.
    """
    digits = len(str(len(bundle.chosen)))
    for number, (experiment_id, made_at) in enumerate(bundle.chosen, 1):
        place = f"{number:0{digits}}"
        begun = await in_a_pass(request, partial(_begin, bundle, experiment_id, place))
        if begun is None:
            continue
        yield bundle.zip.take()
        folder, missing = begun.bundled.folder, []
        for extension, draw in begun.draws.items():
            try:
                picture = await drawn_for(request, draw)
            except DrawingFailed:
                missing.append(f"curves.{extension}")
                continue
            add = partial(bundle.zip.add, f"{folder}/curves.{extension}", picture, made_at)
            await in_a_pass(request, lambda _, add=add: add())  # type: ignore[misc]
            yield bundle.zip.take()
        pieces = await in_a_pass(request, partial(exports.tidy_pieces, runs=begun.runs))
        with bundle.zip.file(f"{folder}/metrics.csv", made_at) as file:
            for piece in pieces:
                await in_a_pass(
                    request,
                    lambda session, piece=piece, file=file: file.write(piece(session)),  # type: ignore[misc]
                )
                yield bundle.zip.take()
        bundle.bundled.append(replace(begun.bundled, missing=tuple(missing)))
    await in_a_pass(request, lambda _: _end(bundle))
    yield bundle.zip.take()


async def drawn_for(request: Request, draw: Draw) -> bytes:
    """A picture of a zip, drawn in the line of all pictures, unless it is kept."""
    drawings, client = passes.passes_of(request).drawings, passes.client_of(request)
    return await patiently(lambda: drawings.get(client, draw, partial(has_left, request.scope)))


def _begin(bundle: _Bundle, experiment_id: str, place: str, session: Session) -> _Begun | None:
    """Pack what is small of an experiment; None where it has been deleted since."""
    listed = experiments.listed_by_id(session, [experiment_id])
    if not listed:
        return None
    (row,) = rows_of(session, listed, bundle.standing, bundle.local_workers)
    found = whole(session, experiment_id)
    experiment, runs = found.experiment, found.runs
    folder = f"{place} {as_file_name(row.name or row.network, 80)}"
    shared, differs = environments.shared(runs)
    weights = weights_of(session, [run.id for run in runs if run.status == RunStatus.SUCCEEDED])
    record = records.experiment_record(found, bundle.local_workers)
    again = reproduction.request_of(session, experiment, runs)
    files = {
        "spec-as-sent.json": experiment.submitted,
        "spec.json": experiment.spec,
        "request.json": {**again, "labels": experiment.labels},
        "results.json": record.model_dump(
            mode="json", include=RESULTS, exclude=OF_NO_USE_ELSEWHERE
        ),
        "environment.json": {
            "environment": shared,
            "environment_differs": differs,
            "weights_sha256": {str(run.seed): weights.get(run.id) for run in runs},
        },
    }
    for name, document in files.items():
        bundle.zip.add(f"{folder}/{name}", as_json(document), experiment.created_at)
    if experiment.notes:
        bundle.zip.add(f"{folder}/notes.md", experiment.notes.encode(), experiment.created_at)
    return _Begun(
        bundled=Bundled(folder, row, again),
        runs=[(run.id, run.seed) for run in runs],
        draws=drawings_of(experiment_curves(session, experiment, METRICS), PICTURES),
    )


def _end(bundle: _Bundle) -> None:
    bundled, newest = bundle.bundled, bundle.chosen[-1][1]
    gone = len(bundle.chosen) - len(bundled)
    text = readme(bundle.title, bundle.asked, bundled, package_version() or "unknown", gone)
    bundle.zip.add("table.md", table_md(bundled).encode(), newest)
    bundle.zip.add("table.csv", table_csv(bundled).encode(), newest)
    sent = studies(bundle.title, bundled)
    for name, content in sent.items():
        bundle.zip.add(name, content, newest)
    bundle.zip.add("reproduce.sh", script(sent).encode(), newest, PROGRAM)
    bundle.zip.add("README.md", text.encode(), newest)
    bundle.zip.close(newest)
