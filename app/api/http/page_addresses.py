"""Where pages lie, as far as the gate and the headers must know."""

from typing import Final

PAGES: Final = "/ui"
STATIC: Final = "/static"
LOGIN: Final = f"{PAGES}/login"
SESSION: Final = f"{PAGES}/session"
SESSION_END: Final = f"{SESSION}/end"
SESSION_CODE: Final = f"{SESSION}/code"
OPEN_PAGES: Final = frozenset({"/", LOGIN, SESSION, SESSION_END})
"""What somebody without a key asks for to find the pages, to log in, or out: each looks at what it is given itself."""


def is_page(path: str) -> bool:
    """Whether this is asked for by people in a browser."""
    return path == PAGES or path.startswith(f"{PAGES}/")


def is_open(path: str) -> bool:
    """Whether it is served to everybody."""
    return path in OPEN_PAGES or path.startswith(f"{STATIC}/")
