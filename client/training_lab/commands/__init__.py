"""The commands of `lab` that need nothing but a service: each a module with the parser it adds and what it does.

They stand on `training_lab` alone. What draws tables is loaded when a table is drawn.
"""

from typing import Any

from training_lab.commands import (
    cloning,
    comparing,
    completion,
    curves,
    data,
    doctor,
    exporting,
    layers,
    listing,
    login,
    logs,
    numbers,
    opening,
    owners,
    predicting,
    recipes,
    showing,
    steering,
    studies,
    study_tables,
    submitting,
    syncing,
    training,
    watching,
)

COMMANDS = (
    training,
    submitting,
    recipes,
    layers,
    studies,
    study_tables,
    showing,
    opening,
    steering,
    *(listing, watching, logs, curves, numbers, comparing, cloning),
    *(predicting, exporting, syncing),
    data,
    owners,
    doctor,
    *(login, completion),
)
"""In the order of `lab --help`."""


def add_commands(commands: Any) -> None:
    """Add every command to a command line."""
    for module in COMMANDS:
        module.add_parser(commands)
