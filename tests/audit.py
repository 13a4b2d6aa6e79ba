"""`python -m tests.audit LIST…`: has anything that these lists name a known vulnerability? Not among the tests that
pytest collects: it asks an index.

pip-audit ends well when an index carries no advisories at all: what it finds nothing about, it skips. So it is first
asked about a release that everybody knows to be vulnerable, and where nothing is said of that, this says that nothing
was checked.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

KNOWN_TO_BE_VULNERABLE = "jinja2==2.4.1"
PIP_AUDIT = (
    sys.executable,
    "-m",
    "pip_audit",
    "--disable-pip",
    "--format",
    "json",
    "--progress-spinner",
    "off",
)
SECONDS = 900

CLEAN, VULNERABLE, NOT_CHECKED = 0, 1, 2


class NoAnswer(Exception):
    """pip-audit could not ask."""


def main(arguments: list[str] | None = None, command: tuple[str, ...] = PIP_AUDIT) -> int:
    """0: nothing is known; 1: something is, and printed; 2: not everything could be checked, which is said."""
    parser = argparse.ArgumentParser(prog="python -m tests.audit")
    parser.add_argument("lists", nargs="+", type=Path, help="requirements with hashes")
    lists = parser.parse_args(arguments).lists
    try:
        if not _advisories_are_carried(command):
            print(
                "nothing was checked: the index that pip-audit asks carries no advisories, it knows none of"
                f" {KNOWN_TO_BE_VULNERABLE}"
            )
            return NOT_CHECKED
        found = _audited(
            command,
            [
                "--require-hashes",
                *(part for path in lists for part in ("--requirement", str(path))),
            ],
        )
    except NoAnswer as error:
        print(f"nothing was checked: the advisories could not be read: {error}")
        return NOT_CHECKED
    return _report(found)


def _report(found: list[dict[str, Any]]) -> int:
    vulnerable = [package for package in found if package.get("vulns")]
    skipped = [package for package in found if "skip_reason" in package]
    for package in vulnerable:
        for advisory in package["vulns"]:
            mended = ", ".join(advisory.get("fix_versions", [])) or "no release yet"
            print(f"{package['name']} {package['version']}: {advisory['id']}, mended in {mended}")
    for package in skipped:
        print(f"{package['name']}: not checked: {package['skip_reason']}")
    print(
        f"{len(found)} packages: {len(vulnerable)} with known vulnerabilities, {len(skipped)} not checked"
    )
    return VULNERABLE if vulnerable else NOT_CHECKED if skipped else CLEAN


def _advisories_are_carried(command: tuple[str, ...]) -> bool:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(KNOWN_TO_BE_VULNERABLE + "\n")
        file.flush()
        return any(
            package.get("vulns")
            for package in _audited(command, ["--no-deps", "--requirement", file.name])
        )


def _audited(command: tuple[str, ...], arguments: list[str]) -> list[dict[str, Any]]:
    """pip-audit ends with 1 where it finds something and where it fails; only the former prints JSON."""
    try:
        answer = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        packages: list[dict[str, Any]] = json.loads(answer.stdout)["dependencies"]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoAnswer(str(error)) from error
    except (ValueError, KeyError) as error:
        raise NoAnswer(
            answer.stderr.strip().splitlines()[-1]
            if answer.stderr.strip()
            else f"pip-audit ended with {answer.returncode} and said nothing"
        ) from error
    return packages


if __name__ == "__main__":
    sys.exit(main())
