"""Whatever happens to a request on its way, a submit makes one experiment, and what is not safe is sent once."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlmodel import func, select

from app.storage.db import Database
from app.storage.tables import Experiment, Study
from tests.client.faults import FAULTS, PATIENCE, Fault, FaultyProxy
from training_lab import AsyncLab, Lab, Refused, TooMany, Unreachable, documents, retrying

pytestmark = pytest.mark.sqlite

SPEC = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 1}
BAD = [fault for fault in FAULTS if fault != "pass"]
NEVER_SENT_AGAIN = {"drop before", "drop after", "cut", "slow", "502"}


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of each pause, so that tests wait for nothing."""
    monkeypatch.setattr(retrying, "FIRST_SECONDS", 0.01)
    parsed = retrying.retry_after

    def soon(headers: object) -> float | None:
        found = parsed(headers)  # type: ignore[arg-type]
        return None if found is None else found / 100

    monkeypatch.setattr(retrying, "retry_after", soon)


def count(database: Database, table: type[Experiment] | type[Study]) -> int:
    with database.reading() as session:
        return session.exec(select(func.count()).select_from(table)).one()


def test_a_submit_makes_one_experiment_whatever_happens_to_it_twice(
    proxy: FaultyProxy, database: Database
) -> None:
    quick: list[Fault] = [fault for fault in BAD if fault != "slow"]
    with Lab(proxy.url) as lab:
        for number, faults in enumerate(itertools.product(quick, quick), 1):
            proxy.asked.clear()
            proxy.faults += faults
            made = lab.submit(SPEC)
            assert proxy.done == [*faults, "pass"]
            assert made.id == lab.latest().id
            assert count(database, Experiment) == number, faults


def test_a_submit_that_takes_too_long_is_asked_for_again_and_not_made_again(
    proxy: FaultyProxy, database: Database
) -> None:
    with Lab(proxy.url, timeout=PATIENCE, retries=4) as lab, impatient():
        proxy.faults += ["slow", "drop after"]
        made = lab.submit(SPEC)
        assert proxy.done[:2] == ["slow", "drop after"]
        assert made.id == lab.latest().id
    assert count(database, Experiment) == 1


@contextmanager
def impatient() -> Iterator[None]:
    """Who sends waits no longer than for any other answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "LONG_PATIENCE", 0.0)
        yield


def test_so_does_an_asynchronous_one_and_a_study_is_made_once(
    proxy: FaultyProxy, database: Database
) -> None:
    quick = [fault for fault in BAD if fault != "slow"]

    async def work() -> None:
        async with AsyncLab(proxy.url) as lab:
            for first, second in zip(quick, reversed(quick), strict=True):
                proxy.faults += [first, second]
                await lab.submit(SPEC)
            proxy.faults += ["drop after", "503"]
            await lab.study_of(spec=SPEC, vary={"epochs": [1, 2]})

    asyncio.run(work())
    assert count(database, Experiment) == len(quick) + 2
    assert count(database, Study) == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_verb_is_sent_again_only_where_nothing_was_done(fault: Fault, proxy: FaultyProxy) -> None:
    with Lab(proxy.url, timeout=PATIENCE if fault == "slow" else 30.0) as lab, impatient():
        made = lab.submit(SPEC)
        proxy.asked.clear()
        proxy.faults.append(fault)
        if fault in NEVER_SENT_AGAIN:
            with pytest.raises((Unreachable, Refused)) as raised:
                made.cancel()
            assert len(proxy.asked) == 1
            if fault != "502":
                assert "It may have been carried out: look before you send it again." in str(
                    raised.value
                )
        else:
            assert made.cancel().status == "cancelled"
        made.refresh()


def test_a_read_is_sent_again_and_gives_up_after_its_retries(proxy: FaultyProxy) -> None:
    with Lab(proxy.url, retries=3) as lab:
        proxy.faults += ["cut", "502", "drop after"]
        assert lab.datasets()
        proxy.faults += ["503"] * 4
        with pytest.raises(Refused) as refused:
            lab.datasets()
        assert refused.value.status == 503
        assert len(proxy.asked) == 8
        proxy.faults += ["429"] * 4
        with pytest.raises(TooMany) as many:
            lab.queue()
        assert many.value.retry_after == 0.01


def test_without_a_key_a_submit_that_may_have_arrived_is_not_sent_again(
    proxy: FaultyProxy, database: Database
) -> None:
    with Lab(proxy.url) as lab:
        proxy.faults.append("drop after")
        with pytest.raises(Unreachable):
            lab.submit(SPEC, idempotency_key=None)
        assert len(proxy.asked) == 1
        first = lab.submit(SPEC, idempotency_key="tuesday")
        assert lab.submit(SPEC, idempotency_key="tuesday").id == first.id
    assert count(database, Experiment) == 2


def test_where_nothing_listens_it_says_so_and_what_to_do() -> None:
    with Lab("http://127.0.0.1:9", retries=1) as lab, pytest.raises(Unreachable) as raised:
        lab.submit(SPEC)
    assert str(raised.value).startswith("no answer from http://127.0.0.1:9: ")
    assert "lab serve" in str(raised.value)


def test_a_download_that_is_cut_leaves_nothing_of_it(proxy: FaultyProxy, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    with Lab(proxy.url, retries=0) as lab:
        study = lab.study_of(spec=SPEC, vary={"epochs": [1, 2]})
        proxy.faults.append("cut")
        with pytest.raises(Unreachable):
            study.report(folder)
        assert list(folder.iterdir()) == []
        assert study.report(folder).read_bytes().rstrip().endswith(b"</html>")
        assert [path.name for path in folder.iterdir()] == [f"{study.id}.html"]
