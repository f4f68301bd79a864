"""Tests of hyperparameter values that differ between members."""

import torch

from skreg._utils.per_member import broadcast, is_nonzero, stack

LIKE = torch.zeros(1, dtype=torch.float32)


def test_stack_returns_a_number_for_equal_values():
    assert stack([0.5, 0.5], [1, 3], LIKE) == 0.5


def test_stack_repeats_the_value_of_each_net_for_its_members():
    stacked = stack([0.5, 2.0], [1, 2], LIKE)
    assert stacked.tolist() == [0.5, 2.0, 2.0]
    assert stacked.dtype == torch.float32


def test_broadcast_multiplies_along_the_first_axis():
    ones = torch.ones(3, 2, 4)
    assert (ones * broadcast(torch.tensor([1.0, 2.0, 3.0]), ones))[:, 0, 0].tolist() == [1.0, 2.0, 3.0]
    assert broadcast(0.5, ones) == 0.5


def test_is_nonzero_is_true_if_any_member_has_a_nonzero_value():
    assert is_nonzero(torch.tensor([0.0, 1.0]))
    assert not is_nonzero(torch.zeros(2))
    assert is_nonzero(0.1)
    assert not is_nonzero(0.0)
