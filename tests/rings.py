"""Which tests `make fast` leaves to `make quick`: those that took longest when they were last measured.

`python -m tests.rings REPORT` writes `tests/thorough.txt` anew from a report of pytest (`--junitxml`). A test that is
not measured yet belongs to both rings.
"""

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

LISTED = Path(__file__).with_name("thorough.txt")
LEAST_SECONDS = 0.15
"""Of a function with all its cases, on a quiet machine."""


def thorough() -> frozenset[str]:
    """The functions listed, as `path::name` or `path::Class::name`."""
    return frozenset(LISTED.read_text().split())


def measured(report: Path) -> list[str]:
    """Functions that took `LEAST_SECONDS` or more, by name."""
    seconds: dict[str, float] = defaultdict(float)
    for case in ElementTree.parse(report).iter("testcase"):
        module, name = case.attrib["classname"], case.attrib["name"].partition("[")[0]
        package, _, inner = module.rpartition(".")
        where = f"{package}::{inner}" if inner[:1].isupper() else module
        path, *classes = where.split("::")
        function = "::".join([path.replace(".", "/") + ".py", *classes, name])
        seconds[function] += float(case.attrib["time"])
    return sorted(function for function, taken in seconds.items() if taken >= LEAST_SECONDS)


if __name__ == "__main__":
    LISTED.write_text("".join(f"{function}\n" for function in measured(Path(sys.argv[1]))))
