"""Class folders for images that lie in none. Nothing here opens a file."""

from lab_models.datasets.folders import as_read
from lab_models.datasets.refusals import ImportRefused, printable


class ClassFolders:
    """A folder for each class by its name; no two classes have one that reads alike."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}
        self._classes: dict[str, str] = {}

    def of(self, name: str) -> str:
        """The folder of a class; raises ImportRefused for a name that is none or reads as another's."""
        found = self._folders.get(name)
        if found is not None:
            return found
        folder = as_read(name.replace("/", "-").replace("\0", "?"))
        if folder in ("", ".", ".."):
            raise ImportRefused(f"{printable(name)!r} is no name for a class")
        if folder in self._classes:
            raise ImportRefused(
                f"the classes {printable(self._classes[folder])!r} and {printable(name)!r} read alike",
                hint="write each class in one way",
            )
        self._folders[name], self._classes[folder] = folder, name
        return folder
