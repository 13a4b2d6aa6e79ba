"""How many runs at a time, and how much memory there is for one more."""

from pathlib import Path

import pytest

from app import devices
from app.devices import cpu_slots, deal, free_memory_of, memory_of, num_cores
from app.errors import Misconfigured
from app.services import lifecycle
from app.storage.db import Database
from lab_models.running.threads import share_of, useful_threads
from lab_models.specs import read_request
from tests.app import rows


@pytest.mark.parametrize(
    ("cores", "gigabytes", "slots"), [(1, 64, 1), (2, 64, 2), (16, 64, 4), (8, 6, 3), (8, 1, 1)]
)
def test_the_cpu_takes_a_run_per_core_as_far_as_memory_goes(
    monkeypatch: pytest.MonkeyPatch, cores: int, gigabytes: int, slots: int
) -> None:
    monkeypatch.setattr(devices, "num_cores", lambda: cores)
    monkeypatch.setattr(devices, "memory_of", lambda device: gigabytes * 2**30)
    assert cpu_slots() == deal("cpu").slots == slots


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8)],
)
def test_cores_are_those_that_the_container_pays_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, cores: int
) -> None:
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(devices, "CGROUP_CPU", tmp_path / "cpu.max")
    assert num_cores() == 8
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert num_cores() == cores


def test_each_listed_gpu_takes_one_run() -> None:
    assert deal("cuda:0, cuda:1,cuda:2").slots == 3
    with pytest.raises(Misconfigured, match="LAB_DEVICES"):
        deal("tpu")


def test_free_memory_is_what_the_kernel_says_and_no_more_than_the_container_has_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    information = tmp_path / "meminfo"
    information.write_text("MemTotal: 8000 kB\nMemAvailable: 5000 kB\n")
    monkeypatch.setattr(devices, "MEMORY_INFO", information)
    monkeypatch.setattr(devices, "CGROUP_LIMIT", tmp_path / "max")
    monkeypatch.setattr(devices, "CGROUP_USED", tmp_path / "current")
    assert free_memory_of("cpu") == 5000 * 1024
    (tmp_path / "max").write_text("3000000\n")
    (tmp_path / "current").write_text("1000000\n")
    assert free_memory_of("cpu") == 2_000_000
    information.write_text("")
    assert free_memory_of("cpu") is None
    assert (memory_of("cpu") or 0) > 0


def test_a_worker_that_shares_its_machine_leaves_what_does_not_fit_to_the_first(
    database: Database,
) -> None:
    with database.writing() as session:
        large = rows.create(session, {"model": {"width": 4096, "depth": 3}, "priority": 5})
        small = rows.create(session, {"model": {"width": 16}})
    assert (large.memory_bytes or 0) > 500_000_000 > (small.memory_bytes or 0) > 0
    with database.writing() as session:
        taken = lifecycle.claim(session, "second", 500_000_000)
        assert taken is not None
    with database.writing() as session:
        assert lifecycle.claim(session, "second", 500_000_000) is None
        last = lifecycle.claim(session, "first")
        assert last is not None
    assert last.run_id != taken.run_id


def test_an_mlp_gets_one_thread_and_convolutions_all() -> None:
    mlp, cnn = (read_request({"model": model}).spec for model in ("mlp", "student"))  # type: ignore[union-attr]
    assert (useful_threads(mlp, 8), useful_threads(cnn, 8)) == (1, 8)
    assert [share_of(8, slots) for slots in (1, 3, 4, 16)] == [8, 2, 2, 1]
