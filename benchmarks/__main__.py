"""Run the benchmarks, print a table, write `benchmarks/latest.json`."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.latency import measure

OUT = Path(__file__).parent / "latest.json"


def main() -> None:
    """Everything takes about a minute on two cores."""
    rows = measure()
    print(f"{'from POST (or from starting a process), seconds':<58}{'median':>8}{'min':>8}{'max':>8}{'n':>4}")
    for row in rows:
        print(f"{row['what']:<58}{row['median']:>8.3f}{row['min']:>8.3f}{row['max']:>8.3f}{row['n']:>4}")
    document = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": platform.platform(), "cores": os.cpu_count(), "latency": rows}
    OUT.write_text(json.dumps(document, indent=2) + "\n")
    print(f"written to {OUT}")


if __name__ == "__main__":
    main()
