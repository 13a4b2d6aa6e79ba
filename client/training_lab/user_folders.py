"""Where what belongs to a user lies: by the specification of base folders (XDG), or in the home folder."""

import os
from pathlib import Path

from training_lab.errors import Unusable


def user_folder(variable: str, *below: str) -> Path:
    """The folder that the variable names, else that one below the home folder. Raises Unusable where neither is known,
    as in a container of an unknown user.
    """
    said = os.environ.get(variable, "")
    # the specification asks to ignore what is relative
    if Path(said).is_absolute():
        return Path(said)
    try:
        return Path.home().joinpath(*below)
    except RuntimeError:
        raise Unusable(f"your home folder is not known: set HOME, or {variable}") from None
