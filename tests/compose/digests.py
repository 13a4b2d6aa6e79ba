"""`python -m tests.compose.digests`: name every image of others by its digest too, so that what its tag means tomorrow
changes nothing.

Writes into Dockerfile and docker-compose.yml, which are then committed; again, it takes what the tags mean now. All or
nothing.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FILES = ("Dockerfile", "docker-compose.yml")
IMAGE = re.compile(
    r"^(?P<before>FROM |\s+image: )(?P<name>[\w./-]+:[\w.-]+)(?:@sha256:[0-9a-f]{64})?(?=\s|$)",
    re.MULTILINE,
)
"""An image of others has a tag; the project's own stages and images have none."""

SECONDS = 600


class NoDigest(Exception):
    """The engine or the registry did not say."""


def main(arguments: list[str] | None = None) -> int:
    """0: both files name digests; 1: nothing was changed, and why."""
    parser = argparse.ArgumentParser(prog="python -m tests.compose.digests")
    parser.add_argument(
        "--folder", type=Path, default=ROOT, help="where Dockerfile and docker-compose.yml are"
    )
    folder = parser.parse_args(arguments).folder
    texts = {name: (folder / name).read_text() for name in FILES}
    try:
        digests = {
            name: digest_of(name)
            for name in sorted(
                {match["name"] for text in texts.values() for match in IMAGE.finditer(text)}
            )
        }
    except NoDigest as error:
        print(f"nothing was changed: {error}")
        return 1
    for name, text in texts.items():
        (folder / name).write_text(
            IMAGE.sub(
                lambda match: f"{match['before']}{match['name']}@{digests[match['name']]}", text
            )
        )
    for name, digest in digests.items():
        print(f"{name}@{digest}")
    return 0


def digest_of(name: str) -> str:
    """What this tag means now, by pulling it. Raises NoDigest."""
    _docker("pull", "--quiet", name)
    named: list[str] = (
        json.loads(_docker("image", "inspect", "--format", "{{json .RepoDigests}}", name)) or []
    )
    found = [
        digest
        for one in named
        if (digest := one.partition("@")[2])
        and one.partition("@")[0].removeprefix("docker.io/").removeprefix("library/")
        == name.rpartition(":")[0]
    ]
    if len(found) != 1 or not re.fullmatch(r"sha256:[0-9a-f]{64}", found[0]):
        raise NoDigest(f"Docker names no single digest of {name}, but {named}")
    return found[0]


def _docker(*arguments: str) -> str:
    command = " ".join(("docker", *arguments[:2]))
    try:
        answer = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoDigest(f"`{command}`: {error}") from error
    if answer.returncode != 0:
        raise NoDigest(f"`{command}` of {arguments[-1]} failed: {answer.stderr.strip()}")
    return answer.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
