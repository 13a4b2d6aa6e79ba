"""Which version this is: the service's, with which it is released."""

from typing import Final

VERSION: Final = "0.1.0"
