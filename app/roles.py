"""What keys allow."""

from enum import StrEnum


class Role(StrEnum):
    """What a key allows: `read` sees everything and changes nothing, `submit` sees and changes its owner's things,
    `admin` everything.
    """

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"
