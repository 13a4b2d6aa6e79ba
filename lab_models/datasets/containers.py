"""Files that hold many images each, seen as image files in class folders: NumPy arrays, Parquet, tables of pixels.
Nothing here loads torch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab_models.datasets.archives import ImageFiles, StoredFiles
from lab_models.datasets.folders import is_image
from lab_models.datasets.member_names import is_array, is_idx, is_parquet, is_table
from lab_models.datasets.refusals import ImportLimits


@contextmanager
def images_in(files: StoredFiles, limits: ImportLimits, scratch: Path) -> Iterator[ImageFiles]:
    """The image files that the files are or stand for; what these unpack to lies in the folder `scratch` meanwhile.
    Raises ImportRefused, and StorageFull where that has no room.
    """
    # each loads a library that most imports do without
    if files.names and all(map(is_array, files.names)):
        from lab_models.datasets.npz import array_files

        with array_files(files, limits, scratch) as images:
            yield images
    elif any(map(is_image, files.names)):
        yield files
    elif any(map(is_idx, files.names)):
        from lab_models.datasets.idx_files import idx_files

        with idx_files(files, limits, scratch) as images:
            yield images
    elif any(map(is_parquet, files.names)):
        from lab_models.datasets.parquet_files import parquet_files

        with parquet_files(files, limits, scratch) as packed:
            yield packed
    elif any(map(is_table, files.names)):
        from lab_models.datasets.pixel_tables import pixel_files

        with pixel_files(files, limits, scratch) as packed:
            yield packed
    else:
        yield files
