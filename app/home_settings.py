"""What a home says of the settings when it was found above the current folder."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource

from app.whereabouts import env_files, find_home


class FoundAbove(PydanticBaseSettingsSource):
    """What a home says that was found above the current folder, of settings that nobody else names: where it is, and
    its `.env`, in which relative folders are relative to that file.
    """

    def __init__(self, settings_cls: type[BaseSettings], *, reads_files: bool) -> None:
        super().__init__(settings_cls)
        self._reads_files = reads_files

    def get_field_value(
        self,
        field: FieldInfo,  # noqa: ARG002 - so the base class asks
        field_name: str,
    ) -> tuple[Any, str, bool]:
        """Of one setting; all of them are read together."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Nothing where the home is named already."""
        return {} if "home" in self.current_state else self._values

    @cached_property
    def _values(self) -> dict[str, Any]:
        found = find_home()
        if found.above is None:
            return {}
        values: dict[str, Any] = {"home": found.home}
        for path in env_files(found) if self._reads_files else ():
            if path.parent == found.above:
                values |= _within(found.above, DotEnvSettingsSource(self.settings_cls, path)())
        return values


def _within(folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The same with whole paths."""
    if "home" in values:
        values["home"] = folder / str(values["home"])
    if values.get("data_dir"):
        parts = str(values["data_dir"]).split(os.pathsep)
        values["data_dir"] = os.pathsep.join(str(folder / part) for part in parts if part)
    return values
