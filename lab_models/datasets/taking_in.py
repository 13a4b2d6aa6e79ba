"""From files that are laid out to arrays and the sentences that belong with them: what is left out, under which ground
the images lie, what is odd about them. Nothing here loads torch.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lab_models.datasets.archives import ImageFiles
from lab_models.datasets.decoding import Rendition, Size
from lab_models.datasets.layout import Layout
from lab_models.datasets.name_letters import doubtful
from lab_models.datasets.noticing import (
    MOST_NAMED,
    ImageContents,
    contents_of,
    empty_folders,
    notices,
)
from lab_models.datasets.refusals import MOST_ERRORS, BadFile, ImportRefused, refuse_bad_files
from lab_models.datasets.sizing import ImageSizes, Wanted, chosen, own_sizes
from lab_models.datasets.unpacking import Form, highest_peak, write_splits

SKIPPED_OF = 100
"""One bad file of so many may be left out: more of them are no accident."""


@dataclass(frozen=True)
class LookedThrough:
    """What the headers say: the files that have one, their sizes, the size that they get, and those left out."""

    layout: Layout
    own: ImageSizes
    size: Size
    left_out: tuple[BadFile, ...]


@dataclass(frozen=True)
class TakenIn:
    """What was written, and a sentence on everything that somebody must know of it."""

    layout: Layout
    rendition: Rendition
    notices: tuple[str, ...]


def look_through(files: ImageFiles, layout: Layout, wanted: Wanted) -> LookedThrough:
    """Read every header. Raises ImportRefused for bad files, unless they are to be left out and few."""
    own = own_sizes(files, layout, _most_bad(layout, wanted))
    left_out: tuple[BadFile, ...] = ()
    if wanted.skip_bad and own.bad:
        left_out, own.bad = tuple(own.bad), []
        layout = _without(layout, left_out, wanted)
    return LookedThrough(layout, own, chosen(wanted, own), left_out)


def take_in(files: ImageFiles, seen: LookedThrough, folder: Path, wanted: Wanted) -> TakenIn:
    """Write the arrays. Raises ImportRefused for bad files, as `look_through`, and where no image has any content."""
    peak = highest_peak(files, seen.layout) if wanted.stretch else 1.0
    form = Form(seen.size, wanted.channels, Rendition(wanted.background or "black", peak))
    layout, left_out = _written(files, seen, folder, form, wanted)
    contents, on_white = contents_of(folder), None
    if wanted.background is None and _num_constant(contents) * 2 > len(contents.digests):
        form, contents, on_white = _on_better_ground(files, layout, folder, form, contents)
    found = (
        _of_left_out(left_out),
        on_white,
        seen.own.shrunk(seen.size) if wanted.size is None else None,
        empty_folders(files.folders, files.names, layout),
        doubtful(layout.class_names, files.guessed),
        *notices(layout, contents),
    )
    return TakenIn(layout, form.rendition, tuple(one for one in found if one is not None))


def _written(
    files: ImageFiles, seen: LookedThrough, folder: Path, form: Form, wanted: Wanted
) -> tuple[Layout, tuple[BadFile, ...]]:
    """The layout without what was left out, in arrays."""
    bad = write_splits(files, seen.layout, folder, form, _most_bad(seen.layout, wanted))
    if not bad:
        return seen.layout, seen.left_out
    if not wanted.skip_bad:
        refuse_bad_files([one.error for one in bad])
    left_out = (*seen.left_out, *bad)
    layout = _without(seen.layout, left_out, wanted)
    refuse_bad_files([one.error for one in write_splits(files, layout, folder, form, MOST_ERRORS)])
    return layout, left_out


def _without(layout: Layout, bad: tuple[BadFile, ...], wanted: Wanted) -> Layout:
    most = _most_bad(layout, wanted)
    if len(bad) > most:
        raise ImportRefused(
            f"more than {most:,} of {_count(layout):,} files cannot be read, which is more than one in {SKIPPED_OF}",
            [one.error for one in bad[:MOST_ERRORS]],
            hint="that many are no accident: look at them, or leave them out yourself",
        )
    return layout.without({one.name for one in bad})


def _most_bad(layout: Layout, wanted: Wanted) -> int:
    return max(1, _count(layout) // SKIPPED_OF) if wanted.skip_bad else MOST_ERRORS


def _count(layout: Layout) -> int:
    return len(layout.train) + len(layout.test)


def _on_better_ground(
    files: ImageFiles, layout: Layout, folder: Path, form: Form, contents: ImageContents
) -> tuple[Form, ImageContents, str | None]:
    """Transparent drawings in black ink have nothing to see on black: white is tried for all images, and kept if more
    of them have content then.
    """
    other = replace(form, rendition=replace(form.rendition, ground="white"))
    refuse_bad_files([one.error for one in write_splits(files, layout, folder, other, MOST_ERRORS)])
    found = contents_of(folder)
    if _num_constant(found) < _num_constant(contents):
        said = (
            "transparent images were laid on white, since on black most of them show nothing; `background=black`"
            " (lab data import --background) lays them on black all the same"
        )
        return other, found, said
    if not np.array_equal(found.digests, contents.digests):
        write_splits(files, layout, folder, form, MOST_ERRORS)
    return form, contents, None


def _num_constant(contents: ImageContents) -> int:
    return int(contents.is_constant.sum())


def _of_left_out(left_out: tuple[BadFile, ...]) -> str | None:
    if not left_out:
        return None
    shown = ", ".join(f"{one.error.pointer} ({one.why})" for one in left_out[:MOST_NAMED])
    more = f" and {len(left_out) - MOST_NAMED:,} more" if len(left_out) > MOST_NAMED else ""
    were = (
        "files could not be read and were"
        if len(left_out) > 1
        else "file could not be read and was"
    )
    return f"{len(left_out):,} {were} left out: {shown}{more}"
