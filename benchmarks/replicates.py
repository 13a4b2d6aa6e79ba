"""What replicates cost: one seed, and five seeds of the same small MLP with as many runs at a time as `lab serve`
chooses, and one at a time.

The rounds are interleaved, so that a machine that is slow for a while is slow for all.
"""

import os
import statistics
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from app.devices import deal
from lab_models.common.errors import DatasetUnavailable
from lab_models.datasets.catalog import BUILT_IN
from lab_models.datasets.readers import DataFolders, open_dataset
from tests.e2e.service import Service

ROUNDS = 3
SEEDS = 5
MNIST = {
    "dataset": {"name": "mnist", "train_limit": 20_000},
    "model": {"depth": 2, "width": 512},
    "epochs": 3,
}
DIGITS = {"dataset": "digits", "model": {"depth": 2, "width": 512}, "epochs": 60}


def measure() -> dict[str, Any]:
    """Seconds from the first claim to the last result, medians over rounds; `of_five_times_one` is what five seeds cost
    as a share of five times one.
    """
    slots = deal("auto").slots
    with TemporaryDirectory() as folder:
        spec = MNIST if _has_mnist(Path(folder)) else DIGITS
        data_dir = os.environ.get("LAB_DATA_DIR", "")
        together, alone = (
            Service(Path(folder) / name, data_dir=data_dir, threads=0)
            for name in ("together", "alone")
        )
        samples: dict[str, list[float]] = {"one": [], "together": [], "one_at_a_time": []}
        try:
            together.serve(workers=slots)
            alone.serve(workers=1)
            for service in (together, alone):  # the first run prepares the data set
                service.wait_for(service.submit({**spec, "epochs": 1}), "succeeded")
            for _ in range(ROUNDS):
                samples["one"].append(_seconds(together, spec, 1))
                samples["together"].append(_seconds(together, spec, SEEDS))
                samples["one_at_a_time"].append(_seconds(alone, spec, SEEDS))
        finally:
            together.stop()
            alone.stop()
    medians = {name: statistics.median(values) for name, values in samples.items()}
    return {
        "spec": spec,
        "cores": os.cpu_count(),
        "slots": slots,
        "seeds": SEEDS,
        "rounds": ROUNDS,
        "seconds": medians,
        "of_five_times_one": medians["together"] / (SEEDS * medians["one"]),
        "of_one_at_a_time": medians["together"] / medians["one_at_a_time"],
    }


def _seconds(service: Service, spec: dict[str, Any], seeds: int) -> float:
    experiment = service.submit({**spec, "seeds": seeds})
    record = service.wait_for(experiment, "succeeded", 300)
    return (
        datetime.fromisoformat(record["finished_at"]) - datetime.fromisoformat(record["started_at"])
    ).total_seconds()


def _has_mnist(folder: Path) -> bool:
    search = tuple(
        Path(part).absolute()
        for part in os.environ.get("LAB_DATA_DIR", "").split(os.pathsep)
        if part
    )
    try:
        open_dataset(
            BUILT_IN["mnist"],
            DataFolders(search, folder / "downloads", folder / "prepared", folder / "imported"),
        )
    except DatasetUnavailable:
        return False
    return True
