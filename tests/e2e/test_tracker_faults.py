"""Whatever a tracker's code does while a service trains: the weights are the same to the bit."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.service import Service, wait_until

SPEC = {"dataset": "digits", "model": {"hidden": [16]}, "epochs": 6}
SINK = """
import os, time
from pathlib import Path
from training_lab.sync.sink import Tracker

HERE = Path(os.environ["ODD"])


class Odd:
    keeps_at_once = True

    def begin(self, run):
        pass

    def log(self, epoch, at, values):
        what = (HERE / "what").read_text()
        with (HERE / "done").open("a") as done:
            done.write(f"{what} {epoch}\\n")
        if what == "raise":
            raise RuntimeError("odd")
        if what == "exit":
            os._exit(7)
        while what in ("hang", "spin") and (HERE / "what").read_text() == what:
            time.sleep(0.05 if what == "hang" else 0.0)

    def end(self, status, summary, files):
        pass


def tracker(options):
    return Tracker("odd", "", Odd)
"""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with a tracker by entry point, whose folder says what it is to do and has done."""
    about = tmp_path / "site" / "odd_tracker-1.dist-info"
    about.mkdir(parents=True)
    (tmp_path / "site" / "odd_tracker.py").write_text(SINK)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-tracker\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[lab.sinks]\nodd = odd_tracker:tracker\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), *sys.path]))
    monkeypatch.setenv("ODD", str(tmp_path))
    (tmp_path / "what").write_text("work")
    (tmp_path / "done").touch()
    return tmp_path


@pytest.mark.slow
def test_a_tracker_that_raises_exits_spins_or_hangs_changes_no_bit_of_the_weights(
    make_service: Callable[..., Service], odd: Path
) -> None:
    alone = make_service()
    alone.serve()
    made = alone.wait_for(alone.submit(SPEC), "succeeded")
    wanted = alone.weights_sha256(made)
    assert wanted
    alone.stop()
    watched = make_service(trackers="odd")
    watched.serve()
    for what in ("raise", "exit", "spin", "hang"):
        (odd / "what").write_text(what)
        made = watched.wait_for(watched.submit(SPEC), "succeeded")
        assert watched.weights_sha256(made) == wanted, what
        wait_until(
            lambda what=what: f"{what} " in (odd / "done").read_text(),  # type: ignore[misc]
            60,
            f"the tracker has tried to {what}; the log:\n{watched.read_log()}",
        )
    assert "RuntimeError: odd" in watched.read_log()
    assert "tracker odd ended, with status 7" in watched.read_log()
