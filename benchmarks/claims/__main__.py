"""`python -m benchmarks.claims run`: the claims at full scale, through a service of its own, each kept as an archive
when it has ended; `page` writes docs/claims.md from the archives.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.services.studies import studies
from app.settings import Settings
from app.storage.db import open_database
from benchmarks.claims import archive
from benchmarks.claims.page import page

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
PAGE = ROOT / "docs" / "claims.md"
CLAIMS = ("mlp-small", "gradients", "mlp-depth", "mlp-residual", "mlp-depth-strong")
"""Recipes in the order in which they are run: the cheapest first, and what can take over runs of another after it."""

PORT = 8765
START_SECONDS = 60
LOOK_SECONDS = 5


def main() -> int:
    """Exit status 1 when a study did not succeed as a whole."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="verb")
    run = verbs.add_parser("run", help="train, and write an archive for each recipe")
    run.add_argument("recipes", nargs="*", default=list(CLAIMS), metavar="recipe")
    run.add_argument("--home", type=Path, required=True, help="goes on there after an interruption")
    run.add_argument("--workers", type=int, default=2, help="runs at a time (default: 2)")
    run.add_argument("--scale", choices=("full", "smoke"), default="full")
    run.add_argument("--out", type=Path, default=DATA, help="where the archives go")
    run.set_defaults(act=_run)
    write = verbs.add_parser("page", help="write docs/claims.md from the archives")
    write.set_defaults(act=_page)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the service is stopped
    status: int = options.act(options)
    return status


def archives(folder: Path = DATA) -> list[Path]:
    """Those that are there, in the order of the claims."""
    return [path for name in CLAIMS if (path := folder / f"{name}.json.xz").is_file()]


def _page(_options: argparse.Namespace) -> int:
    PAGE.write_text(page(archives()))
    print(f"written to {PAGE}")
    return 0


def _run(options: argparse.Namespace) -> int:
    options.out.mkdir(parents=True, exist_ok=True)
    succeeded = True
    with _service(options.home, options.workers) as http:
        ids = {name: _submit(http, name, options.scale) for name in options.recipes}
        for name, study_id in ids.items():
            if _wait(http, name, study_id) == "succeeded":
                _keep(options.home, study_id, options.out / f"{name}.json.xz")
            else:
                succeeded = False
    return 0 if succeeded else 1


@contextmanager
def _service(home: Path, workers: int) -> Iterator[httpx.Client]:
    home.mkdir(parents=True, exist_ok=True)
    command = ["-m", "app.commands", "serve", "--port", str(PORT), "--workers", str(workers)]
    with (home / "service.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env={**os.environ, "LAB_HOME": str(home), "LAB_DATABASE_URL": "", "LAB_BROKER_URL": ""},
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as http:
                _await(http, process)
                yield http
        finally:
            process.terminate()
            process.wait(60)


def _await(http: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(START_SECONDS * 10):
        try:
            if http.get("/healthz").is_success and process.poll() is None:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None:
            raise SystemExit("the service did not start: see service.log in its home")
        time.sleep(0.1)
    raise SystemExit("the service did not answer within a minute")


def _submit(http: httpx.Client, recipe: str, scale: str) -> str:
    """The study's id; the same one when it was asked for before in this home."""
    body = {"recipe": recipe, "scale": scale, "final": True}
    answer = http.post(
        "/studies", json=body, headers={"Idempotency-Key": f"claims-{recipe}-{scale}"}
    )
    if answer.is_error:
        raise SystemExit(f"{recipe}: {answer.text}")
    study_id: str = answer.json()["id"]
    print(f"{recipe}: {study_id}", flush=True)
    return study_id


def _wait(http: httpx.Client, recipe: str, study_id: str) -> str:
    while True:
        record = http.get(f"/studies/{study_id}").raise_for_status().json()
        status: str = record["status"]
        if status in ("succeeded", "failed", "cancelled"):
            print(f"{recipe}: {status}", flush=True)
            return status
        time.sleep(LOOK_SECONDS)


def _keep(home: Path, study_id: str, path: Path) -> None:
    database = open_database(Settings(home=home, database_url="", broker_url=""))
    try:
        with database.reading() as session:
            path.write_bytes(archive.written(session, studies.get(session, study_id)))
    finally:
        database.close()
    print(f"written to {path}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
