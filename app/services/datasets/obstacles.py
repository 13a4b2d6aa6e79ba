"""What will be in the way of a run, or of whoever reads its scores, said when it is submitted: data that is not here, a
disk that is nearly full, images that are not as they should be.
"""

import shutil
from collections.abc import Iterable

from app.settings import Settings
from lab_models.datasets.catalog import DatasetInfo, notes_on
from lab_models.datasets.presence import Presence, presence


def presence_of(settings: Settings, info: DatasetInfo) -> Presence:
    """Whether a data set's files are here; a handful of looks at names, no network."""
    return presence(
        info, settings.search_folders, settings.download_folder, settings.prepared_folder
    )


def obstacles(settings: Settings, needed: Iterable[DatasetInfo]) -> list[str]:
    """A sentence each. Workers elsewhere may have other data folders and disks: these are this machine's."""
    found = [(info, presence_of(settings, info)) for info in needed]
    said = [_absent(info, of) for info, of in found if of.here != "yes"]
    said += [f"data set {info.name}: {note}" for info, _ in found for note in notes_on(info)]
    wanted = sum(of.download_bytes for _, of in found)
    low = _low_on_disk(settings, wanted)
    return [*said, low] if low is not None else said


def _absent(info: DatasetInfo, of: Presence) -> str:
    size = f"{of.download_bytes / 1e6:,.0f} MB"
    if of.here == "download":
        return (
            f"{info.name} is not here yet: the first run that needs it downloads up to {size}; without a network it"
            " fails as dataset_unavailable"
        )
    return (
        f"{info.name} is not here, and could not be downloaded the last time ({of.reason}): connect to the network, or"
        " set LAB_DATA_DIR (in containers LAB_DATA) to a folder that holds it; 'digits' needs neither"
    )


def _low_on_disk(settings: Settings, wanted: int) -> str | None:
    try:
        free = shutil.disk_usage(settings.home).free
    except OSError:
        return None
    if not settings.min_free_bytes or free - wanted >= settings.min_free_bytes:
        return None
    for_it = f", and {wanted / 1e6:,.0f} MB are to be downloaded" if wanted else ""
    return (
        f"low on disk: {free / 1e6:,.0f} MB are free under LAB_HOME{for_it}, and"
        f" {settings.min_free_bytes / 1e6:,.0f} MB stay free (LAB_MIN_FREE_BYTES), so runs will fail as storage_full;"
        " `lab gc --dry-run` says what could go"
    )
