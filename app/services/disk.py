"""What a full disk says, as the service says it."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import DiskFull
from lab_models.common import errors as lab_errors
from lab_models.common.files import FULL_DISK


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Raises StorageFull where there was no room for something in the block, or too little would have stayed free."""
    try:
        yield
    except lab_errors.StorageFull as error:
        raise DiskFull(error.sentence) from error
    except OSError as error:
        if error.errno in FULL_DISK:
            raise DiskFull(f"{what} could not be kept: {error.strerror}") from error
        raise
