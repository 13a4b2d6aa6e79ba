"""Modules that are loaded when something of them is first used, so that what needs none of it begins at once."""

from importlib import import_module
from typing import Any


class Late:
    """Stands for a module."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)
