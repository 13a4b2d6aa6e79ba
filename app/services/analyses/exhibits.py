"""What runs show, told apart before it is read: whoever has the current one already costs one small query."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Shown = TypeVar("Shown", covariant=True)


@dataclass(frozen=True)
class Exhibit(Generic[Shown]):
    """A figure or a table: `kind` and `asked` say which one, `revision` changes whenever the rows that it is made of do
    (`app.services.experiments.revisions`), and `read` makes it, in the pass that has asked for it.
    """

    kind: str
    asked: tuple[str | int | float | None, ...]
    revision: str
    read: Callable[[], Shown]

    def fingerprint(self) -> str:
        """Equal for what shows the same: of everything that it depends on, read or not."""
        described = json.dumps([self.kind, self.asked, self.revision])
        return hashlib.sha256(described.encode()).hexdigest()
