"""Who has a part of a GPU that several workers share, who has all of it, and how large a part is."""

from pathlib import Path

import pytest
import torch

from app.devices import deal
from lab_models.running.environment import limit_memory
from tests.gpus.stand_ins import in_path, nvidia_smi
from worker.card import CONTEXT_BYTES, CONTEXTS_PER_WORKER, Card
from worker.identity import identify

pytestmark = pytest.mark.sqlite  # no database at all


def goes_on() -> bool:
    return False


def gives_up() -> bool:
    return True


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Card]:
    """Of four workers on one GPU of 81,559 MiB."""
    monkeypatch.setenv("PATH", in_path(nvidia_smi(tmp_path / "bin")))
    return [Card("cuda:0", tmp_path / "cards", 4, is_first=slot == 0) for slot in range(4)]


def test_parts_and_contexts_are_together_no_more_than_the_card(cards: list[Card]) -> None:
    total = 81559 * 2**20
    shares = [card.share_bytes or 0 for card in cards]
    assert len(set(shares)) == 1
    assert 0.99 * total < sum(shares) + 4 * CONTEXTS_PER_WORKER * CONTEXT_BYTES <= total
    assert cards[0].fraction == pytest.approx(shares[0] / total)


def test_who_needs_all_of_it_waits_for_those_under_way_and_nobody_begins_meanwhile(
    cards: list[Card],
) -> None:
    large, trains, comes, other = cards
    with large.held(goes_on) as has_part, trains.held(goes_on) as beside:
        assert has_part
        assert beside
        assert not large.try_alone(), "another trains"
        with comes.held(gives_up) as begins:
            assert not begins, "one waits for all of it"
        assert not large.try_alone()
        assert not other.try_alone(), "another waits for the same"
        trains._leave()
        assert large.try_alone()
        assert large.fraction is None
        assert not other.try_alone()
        with comes.held(gives_up) as begins:
            assert not begins, "one has all of it"
    with comes.held(gives_up) as begins:
        assert not begins, "the other waits for all of it still"
    assert other.try_alone()
    other._leave()
    with comes.held(gives_up) as begins:
        assert begins
        assert comes.fraction is not None


def test_a_run_that_did_not_fit_into_a_part_is_known_to_all_workers(cards: list[Card]) -> None:
    first, other, *_ = cards
    share = first.share_bytes or 0
    assert not first.must_be_alone("exp_1", share)
    assert first.must_be_alone("exp_1", share + 1)
    assert other.remember("exp_1")
    assert first.must_be_alone("exp_1", 0)
    assert not first.must_be_alone("exp_2", 0)


def test_a_worker_with_a_card_of_its_own_is_limited_by_nothing(tmp_path: Path) -> None:
    for card in (Card("cuda:0", tmp_path / "cards"), Card("cpu", tmp_path / "cards", 4)):
        with card.held(gives_up) as has_room:
            assert has_room
            assert (card.fraction, card.share_bytes) == (None, None)
            assert not card.must_be_alone("exp_1", 2**50)
    assert not (tmp_path / "cards").exists()


def test_where_nobody_says_how_much_there_is_parts_leave_a_fifth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    card = Card("cuda:MIG-1a2b/3", tmp_path / "cards", 2)
    assert (card.fraction, card.share_bytes) == (0.4, None)


def test_workers_on_one_device_are_counted_and_one_of_each_is_the_first() -> None:
    dealt = deal("cuda:0,cuda:1")
    found = []
    for slot in range(4):
        device = dealt.of_slot(slot)
        together = tuple(one for one in range(4) if dealt.of_slot(one) == device)
        found.append(identify(device, 1, slot, on_device=together))
    assert [(one.device, one.sharers, one.is_first_on_device) for one in found] == [
        ("cuda:0", 2, True),
        ("cuda:1", 2, True),
        ("cuda:0", 2, False),
        ("cuda:1", 2, False),
    ]
    assert (identify("cpu", 1, 0).sharers, identify("cpu", 1, 0).is_first_on_device) == (1, True)


def test_a_trainer_keeps_to_its_part_of_a_card(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[tuple[float, torch.device]] = []
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda *how: said.append(how)
    )
    card = torch.device("cuda:0")
    limit_memory(torch.device("cpu"), 0.2)
    limit_memory(card, 0.2)
    limit_memory(card, None)
    assert said == [(0.2, card)]
