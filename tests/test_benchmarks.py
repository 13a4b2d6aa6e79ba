"""What `make bench` would run is there: mypy says whether it fits, this whether it starts."""

import subprocess
import sys

import pytest

MODULES = ("history", "latency", "pages", "replicates", "together")


@pytest.mark.sqlite
def test_every_benchmark_can_be_loaded() -> None:
    loaded = "; ".join(f"import benchmarks.{name}" for name in MODULES)
    subprocess.run([sys.executable, "-c", loaded], check=True, timeout=60)


@pytest.mark.sqlite
def test_one_of_two_at_a_time_says_how_fast_it_is() -> None:
    code = "import benchmarks.together as t; t.SECONDS = 0.0; t.BATCH = 2; t._steps('student', 'bfloat16', 1)"
    done = subprocess.run(
        [sys.executable, "-c", code], input="go\n", capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[0] == "ready", done.stderr
    assert float(done.stdout.splitlines()[1]) >= 0
