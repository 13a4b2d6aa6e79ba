"""What the service adds to the client's `lab`, which finds it by an entry point."""

from typing import Any

from app.commands import codes, demo, keys, local_findings, maintenance, serving
from app.errors import Misconfigured

USAGE_ERRORS: tuple[type[Exception], ...] = (Misconfigured,)
"""What is set up wrongly, in a sentence for whoever called: status 2."""


def add_commands(commands: Any) -> None:
    """Add the service's own commands, and options to those of the client."""
    serving.add_commands(commands)
    keys.add_commands(commands)
    maintenance.add_commands(commands)
    demo.add_commands(commands)
    codes.add_options(commands)
    local_findings.add_options(commands)
