"""What the list and a comparison cost: CPU of the service, bytes, requests, and in Chromium when the page is there, how
much of it moves and how long it takes to answer. `python -m benchmarks.pages`; needs Chromium.

Bounds are those of docs/pages.md. Times of a browser mean something on an idle machine alone.
"""

import gzip
import math
import random
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Page, sync_playwright
from sqlalchemy import insert
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from app.storage.db import open_database
from app.storage.states import RunStatus, StatusReason
from app.storage.tables import Experiment, Metric, Run
from lab_models.specs import read_request
from tests.e2e.service import Service

LISTED, COMPARED = 5000, 12
ROUNDS = 20
OBSERVED = """
() => {
  const found = globalThis.observed = { cls: 0, lcp: 0, slowest: 0 };
  const watch = (type, add) => new PerformanceObserver((list) => list.getEntries().forEach(add))
    .observe({ type, buffered: true, durationThreshold: 16 });
  watch("layout-shift", (one) => { if (!one.hadRecentInput) found.cls += one.value; });
  watch("largest-contentful-paint", (one) => { found.lcp = Math.max(found.lcp, one.startTime); });
  watch("event", (one) => { if (one.interactionId) found.slowest = Math.max(found.slowest, one.duration); });
}
"""


def main() -> None:
    """Fills two stores, measures, and prints what was found and what it may be."""
    with TemporaryDirectory() as folder:
        many, few = Path(folder) / "many", Path(folder) / "few"
        fill(many, LISTED, seeds=3, epochs=40)
        ids = fill(few, COMPARED, seeds=5, epochs=300)
        for name, found, most in (*_on_the_server(many), *_in_chromium(many, few, ids)):
            print(f"{name:<58}{found:>10.3f}{most:>10.3f}{'' if found <= most else '  too much'}")


def fill(home: Path, experiments: int, seeds: int, epochs: int) -> list[str]:
    """A home whose experiments have all been trained, one in ten with a seed that failed; returns their ids."""
    home.mkdir(mode=0o700)
    database = open_database(Settings(home=home, log_level="ERROR", _env_file=None))
    spec = read_request({"dataset": "digits"}).spec_with(None).model_dump(mode="json")
    draw, now, ids = random.Random(1), datetime.now(UTC), []
    for begin in range(0, experiments, 250):
        rows: dict[Any, list[dict[str, Any]]] = {Experiment: [], Run: [], Metric: []}
        for number in range(begin, min(begin + 250, experiments)):
            made = now - timedelta(minutes=experiments - number)
            ids.append(f"exp_{number:06}")
            rows[Experiment].append(
                {
                    "id": ids[-1],
                    "created_at": made,
                    "name": f"number {number} of a sweep",
                    "labels": {"week": str(number % 12)},
                    "kind": "train",
                    "fingerprint": "one",
                    "submitted": {},
                    "spec": spec,
                    "arch": "mlp",
                    "dataset": "digits",
                    "parameters": 109_386,
                    "macs_per_sample": 109_000,
                    "request_hash": "",
                }
            )
            for seed in range(seeds):
                rows[Run].append(_run(ids[-1], seed, epochs, made, draw))
                rows[Metric] += _numbers(rows[Run][-1]["id"], epochs, draw)
        with database.engine.begin() as connection:
            for table, its in rows.items():
                connection.execute(insert(table), its)
    database.close()
    return ids


def _run(
    experiment: str, seed: int, epochs: int, made: datetime, draw: random.Random
) -> dict[str, Any]:
    has_failed = seed == 0 and draw.random() < 0.1
    accuracy = 0.95 + 0.04 * draw.random()
    return {
        "id": f"run{experiment[3:]}_{seed}",
        "experiment_id": experiment,
        "seed": seed,
        "position": seed,
        "created_at": made,
        "started_at": made,
        "finished_at": made + timedelta(seconds=40),
        "status": RunStatus.FAILED if has_failed else RunStatus.SUCCEEDED,
        "status_reason": StatusReason.TRAINING_FAILED if has_failed else StatusReason.COMPLETED,
        "epochs": epochs,
        "epochs_done": epochs,
        "step": epochs,
        "num_steps": epochs,
        "attempt": 1,
        "best": {"epoch": epochs, "val": {"loss": 0.1, "accuracy": accuracy}},
        "test": {"loss": 0.1, "accuracy": accuracy},
        "error": {"code": "training_failed", "message": "it failed"} if has_failed else None,
    }


def _numbers(run_id: str, epochs: int, draw: random.Random) -> Iterator[dict[str, Any]]:
    for epoch in range(1, epochs + 1):
        for split in ("train", "val"):
            loss = 2 * math.exp(-6 * epoch / epochs) + 0.1 + 0.05 * draw.random()
            for name, value in (("loss", loss), ("accuracy", 1 - loss / 3)):
                yield {
                    "run_id": run_id,
                    "epoch": epoch,
                    "split": split,
                    "name": name,
                    "value": value,
                }


def _on_the_server(home: Path) -> Iterator[tuple[str, float, float]]:
    app = create_app(Settings(home=home, log_level="ERROR", _env_file=None))
    with TestClient(app) as client:
        for name, address in (("list", "/ui/experiments"), ("counts", "/experiments/counts")):
            answer = client.get(address)
            assert answer.status_code == 200
            if name == "list":
                yield "list, kB compressed", len(gzip.compress(answer.content, 4)) / 1000, 35
            took = []
            for _ in range(ROUNDS):
                began = time.process_time()
                client.get(address)
                took.append(1000 * (time.process_time() - began))
            yield f"{name}, ms of CPU, median of {ROUNDS}", statistics.median(took), 100


def _in_chromium(many: Path, few: Path, ids: list[str]) -> Iterator[tuple[str, float, float]]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        with _served(many) as base:
            page = chromium.new_page(base_url=base, viewport={"width": 1280, "height": 900})
            page.goto("/ui/experiments")  # files are kept from here on
            yield from _visit(page, "list", "/ui/experiments")
            loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
            yield "list, ms until load", loaded, 400
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            for there in (100, 150, 200):
                page.locator(".more a").click()
                page.locator(f"#rows tbody tr:nth-child({there})").wait_for()
            yield "list, requests until row 200", float(len(asked)), 4
            page.locator("input[name=pick]").first.check()
            page.wait_for_timeout(500)
            yield from _observed(page, "list of 200, ticked")
        with _served(few) as base:
            page = chromium.new_page(base_url=base, viewport={"width": 1280, "height": 900})
            page.route(
                "**/confusion*", lambda route: route.abort()
            )  # of files, which there are none of
            for name, address in (
                ("experiment", f"/ui/experiments/{ids[0]}"),
                (f"{COMPARED} compared", f"/ui/compare?e={','.join(ids)}"),
            ):
                yield from _visit(page, name, address)
                page.locator("canvas").first.wait_for()
                page.wait_for_timeout(500)
                page.locator(".panels").scroll_into_view_if_needed()
                busy = [_press(page, key) for key in "lb]lb]lb]"]
                yield f"{name}, ms of CPU for the dearest of {len(busy)} keys", max(busy), 200
                yield from _observed(page, f"{name}, after keys")
        chromium.close()


@contextmanager
def _served(home: Path) -> Iterator[str]:
    service = Service(home)
    service.api()
    try:
        yield f"http://127.0.0.1:{service.port}"
    finally:
        service.stop()


def _press(page: Page, key: str) -> float:
    """Milliseconds that the page's own thread has worked for it, however busy the machine is."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def worked() -> float:
        metrics = {
            one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]
        }
        return float(metrics["TaskDuration"])

    before = worked()
    page.keyboard.press(key)
    page.wait_for_timeout(600)
    found = 1000 * (worked() - before)
    session.detach()
    return found


def _visit(page: Page, name: str, address: str) -> Iterator[tuple[str, float, float]]:
    page.goto(address)
    page.evaluate(OBSERVED)
    page.wait_for_timeout(1500)
    found = page.evaluate("observed")
    yield f"{name}, s until its largest part is there", found["lcp"] / 1000, 0.8
    yield f"{name}, layout shift", found["cls"], 0.02


def _observed(page: Page, name: str) -> Iterator[tuple[str, float, float]]:
    found = page.evaluate("observed")
    yield f"{name}, layout shift", found["cls"], 0.02
    yield f"{name}, ms of the slowest answer", found["slowest"], 200


if __name__ == "__main__":
    main()
