"""Dropout: rates, independence of members, and alpha dropout."""

import numpy as np
import pytest
import torch

from skreg.network.dropout import Dropout
from skreg.network.generators import MemberGenerators, uniform_pool

CPU = torch.device("cpu")
X = torch.ones(2, 300, 50)


def make_dropout(seeds=(1, 2), layers=1, largest=300 * 50, n_steps=3, dtype=torch.float32):
    needed = torch.ones(len(seeds), layers, dtype=torch.bool)
    dropout = Dropout(MemberGenerators(seeds), needed, [largest] * len(seeds), dtype, CPU)
    dropout.begin_epoch(n_steps)
    return dropout


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.9])
def test_share_of_zeros_equals_the_rate_and_the_mean_is_kept(rate):
    dropped = make_dropout().drop(X, rate)
    share = (dropped == 0).float().mean((1, 2)).numpy()
    np.testing.assert_allclose(share, rate, atol=0.02)
    np.testing.assert_allclose(dropped.mean((1, 2)).numpy(), 1, atol=0.02 / (1 - rate))
    kept = dropped[dropped != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - rate)))


def test_masks_of_members_steps_and_layers_differ():
    dropout = make_dropout(layers=2)
    masks = [dropout.drop(X, 0.5) == 0 for _ in range(6)]
    for i, mask in enumerate(masks):
        agreement = (mask[0] == mask[1]).float().mean().item()
        assert agreement == pytest.approx(0.5, abs=0.03)
        for other in masks[:i]:
            assert (mask == other).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_masks_of_a_member_do_not_depend_on_other_members():
    together = make_dropout(seeds=(1, 2)).drop(X, 0.4)
    alone = make_dropout(seeds=(2,)).drop(X[1:], 0.4)
    assert torch.equal(together[1:], alone)


def test_gradient_of_kept_elements_equals_their_scale():
    x = X.clone().requires_grad_()
    dropped = make_dropout().drop(x, 0.5)
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped.detach())


def test_global_generator_is_not_used():
    before = torch.random.get_rng_state()
    uniform_pool.cache_clear()
    make_dropout().drop(X, 0.5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_masks_do_not_depend_on_the_default_dtype():
    uniform_pool.cache_clear()
    expected = make_dropout().drop(X, 0.5)
    uniform_pool.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        other = make_dropout().drop(X, 0.5)
    finally:
        torch.set_default_dtype(torch.float32)
        uniform_pool.cache_clear()
    assert torch.equal(expected, other)


def test_alpha_dropout_keeps_mean_and_variance_and_drops_to_the_negative_limit():
    dropout = make_dropout(seeds=(0, 1), largest=400 * 500, n_steps=1, dtype=torch.float64)
    x = torch.randn(2, 400, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    dropped = dropout.drop(x, 0.3, negative_limit=-1.758)
    assert dropped.mean().item() == pytest.approx(0, abs=0.02)
    assert dropped.var().item() == pytest.approx(1, abs=0.02)
    counts = dropped.round(decimals=9).unique(return_counts=True)[1]
    assert counts.max().item() / dropped.numel() == pytest.approx(0.3, abs=0.01)


def test_rates_of_members_have_the_same_effect_as_in_separate_networks():
    x = torch.ones(2, 50, 20)
    both = make_dropout(largest=1000, n_steps=1).drop(x, torch.tensor([0.2, 0.5]))
    for member, rate in enumerate((0.2, 0.5)):
        alone = make_dropout(seeds=(1 + member,), largest=1000, n_steps=1)
        torch.testing.assert_close(both[member : member + 1], alone.drop(x[:1], rate))
