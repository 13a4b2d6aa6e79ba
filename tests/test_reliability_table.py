"""The table of faults in docs/reliability.md names tests that exist, and leaves no fault out."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "reliability.md").read_text().splitlines()
    if re.match(r"\| \d+ \|", line)
]
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
WITHOUT_TEST = {40}
"""Random faults for minutes are a command of their own."""


def functions_of(path: Path) -> set[str]:
    return {
        node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)
    }


def test_every_fault_has_its_row_with_what_happens_a_test_and_a_dated_result() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, len(ROWS) + 1))
    for number, fault, happens, tests, result in ROWS:
        assert fault
        assert happens
        if int(number) not in WITHOUT_TEST:
            assert NAMED.search(tests), f"row {number} names no test"
            assert re.search(r"20\d\d-\d\d-\d\d$", result), f"row {number}: a result needs its date"


def test_every_test_that_the_table_names_exists() -> None:
    named = [match for row in ROWS for match in NAMED.findall(row[3])]
    assert len(named) >= 60
    for file, name in named:
        assert name in functions_of(ROOT / "tests" / file), f"{file} has no {name}"


def test_every_test_of_the_fault_files_is_in_the_table() -> None:
    """A fault that is tested is a promise, and promises are written down."""
    named = set(NAMED.findall((ROOT / "docs" / "reliability.md").read_text()))
    for file in (
        "e2e/test_process_faults.py",
        "e2e/test_broker_faults.py",
        "e2e/test_storage_faults.py",
        "worker/test_device_faults.py",
    ):
        missing = {
            name for name in functions_of(ROOT / "tests" / file) if name.startswith("test_")
        } - {name for where, name in named if where == file}
        assert not missing, f"{file}: {missing} are not in docs/reliability.md"
