"""Cursors of lists that show the newest first: where a page ended, as text that a client hands back."""

import base64
import json
from datetime import UTC, datetime

from app.errors import InvalidRequest
from lab_models.common.validation import FieldError


def write_cursor(created_at: datetime, row_id: str) -> str:
    """The place after this row."""
    return base64.urlsafe_b64encode(json.dumps([created_at.isoformat(), row_id]).encode()).decode()


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """The row that a page ended with; raises InvalidRequest for what is no cursor."""
    try:
        created_at, row_id = json.loads(
            base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
        )
        if not isinstance(row_id, str):
            raise ValueError("not a cursor of this service")
        return read_moment(created_at), row_id
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidRequest(
            "the cursor is not one that this service gave out",
            [FieldError("/cursor", "not a cursor from `next_cursor`")],
        ) from error


def read_moment(text: str) -> datetime:
    """A cursor's time; raises ValueError without a zone, OverflowError where UTC has no such year."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC)
