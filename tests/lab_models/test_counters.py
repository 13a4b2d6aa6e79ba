"""Batch norms' counters, all at once: what torch's own counting comes to, and nothing lost where a pass fails."""

import copy

import pytest
import torch
from torch import nn

from lab_models.training.counters import BatchCounters


def network() -> nn.Sequential:
    """Of two counters that are taken together, one that torch counts itself, and a norm without one."""
    return nn.Sequential(
        nn.BatchNorm1d(4),
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
        nn.BatchNorm1d(4, momentum=None),
        nn.BatchNorm1d(4, track_running_stats=False),
    )


def test_they_come_to_what_torch_counts() -> None:
    ours = network()
    theirs = copy.deepcopy(ours)
    counters = BatchCounters(ours)
    for step in range(3):
        inputs = torch.randn(8, 4)
        for model in (ours, theirs):
            model[1].train(mode=step != 1)  # as a frozen stage
        with counters.together():
            given = ours(inputs)
        assert torch.equal(given, theirs(inputs))
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())
    assert [ours[0].num_batches_tracked, ours[1][1].num_batches_tracked] == [3, 2]


def test_they_are_there_again_when_a_pass_fails() -> None:
    model = network()
    with pytest.raises(RuntimeError), BatchCounters(model).together():
        model(torch.randn(8, 5))
    assert "0.num_batches_tracked" in model.state_dict()
    assert model[0].num_batches_tracked == 0


def test_a_network_without_norms_has_nothing_to_count() -> None:
    with BatchCounters(nn.Linear(2, 2)).together():
        pass
