"""Seeds, streams and masks: no member's numbers depend on its neighbours, and no global generator is touched."""

import numpy as np
import pytest
import torch

from skreg.network.generators import Dropout, MemberGenerators, _uniform_pool, member_seeds

CPU = torch.device("cpu")
X = torch.ones(2, 300, 50)


def make_noise(seeds=(1, 2), layers=1, largest=300 * 50, n_steps=3):
    noise = Dropout(
        MemberGenerators(list(seeds)), torch.ones(len(seeds), layers, dtype=torch.bool), largest, torch.float32, CPU
    )
    noise.begin_epoch(n_steps)
    return noise


def test_more_members_change_no_seed():
    assert member_seeds(7, 3) == member_seeds(7, 12)[:3]
    assert member_seeds(7, 3) != member_seeds(8, 3)


def test_all_seeds_differ():
    seeds = [seed for pair in member_seeds(0, 200) for seed in pair]
    assert len(set(seeds)) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_permutations_are_the_members_own():
    together = MemberGenerators([5, 6, 7]).permutations([10, 8, 10])
    assert together.shape == (3, 10)
    for order, seed, length in zip(together, (5, 6, 7), (10, 8, 10), strict=True):
        assert torch.equal(order[:length], MemberGenerators([seed]).permutations([length])[0])
        assert sorted(order[:length].tolist()) == list(range(length))
    assert not torch.equal(together[0], together[2])


def test_integers_are_the_members_own():
    together = MemberGenerators([5, 6]).integers(1000, 20)
    assert together.shape == (20, 2)
    assert torch.equal(together[:, 1:], MemberGenerators([6]).integers(1000, 20))
    assert not torch.equal(together[:, 0], together[:, 1])


def test_a_stream_goes_on_where_its_state_says():
    streams = MemberGenerators([1, 2])
    streams.permutations([9, 9])
    state = streams.state_dict()
    expected = [streams.permutations([9, 9]), streams.integers(50, 4)]
    other = MemberGenerators([3, 4])
    other.load_state_dict(state)
    assert torch.equal(other.permutations([9, 9]), expected[0])
    assert torch.equal(other.integers(50, 4), expected[1])


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.9])
def test_the_share_zeroed_is_the_rate_and_the_mean_is_kept(rate):
    dropped = make_noise().drop(X, rate)
    share = (dropped == 0).float().mean((1, 2)).numpy()
    np.testing.assert_allclose(share, rate, atol=0.02)
    np.testing.assert_allclose(dropped.mean((1, 2)).numpy(), 1, atol=0.02 / (1 - rate))
    kept = dropped[dropped != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - rate)))


def test_masks_of_members_steps_and_layers_differ():
    noise = make_noise(layers=2)
    masks = [noise.drop(X, 0.5) == 0 for _ in range(6)]
    for i, mask in enumerate(masks):
        agreement = (mask[0] == mask[1]).float().mean().item()
        assert agreement == pytest.approx(0.5, abs=0.03)
        for other in masks[:i]:
            assert (mask == other).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_masks_of_a_member_do_not_depend_on_its_neighbours():
    together = make_noise(seeds=(1, 2)).drop(X, 0.4)
    alone = make_noise(seeds=(2,)).drop(X[1:], 0.4)
    assert torch.equal(together[1:], alone)


def test_the_gradient_passes_through_what_was_kept():
    x = X.clone().requires_grad_()
    dropped = make_noise().drop(x, 0.5)
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped.detach())


def test_no_global_generator_is_touched():
    torch_state = torch.random.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002  # the generator that must not be touched
    member_seeds(0, 3)
    streams = MemberGenerators([1])
    streams.permutations([5])
    _uniform_pool.cache_clear()
    make_noise().drop(X, 0.5)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002  # as above


def test_the_pool_does_not_depend_on_the_default_dtype():
    _uniform_pool.cache_clear()
    usual = make_noise().drop(X, 0.5)
    _uniform_pool.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        other = make_noise().drop(X, 0.5)
    finally:
        torch.set_default_dtype(torch.float32)
        _uniform_pool.cache_clear()
    assert torch.equal(usual, other)


def test_alpha_dropout_keeps_mean_and_variance_and_drops_to_the_floor():
    noise = Dropout(
        MemberGenerators([0, 1]), torch.ones(2, 1, dtype=torch.bool), 400 * 500, torch.float64, torch.device("cpu")
    )
    noise.begin_epoch(1)
    x = torch.randn(2, 400, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    dropped = noise.drop(x, 0.3, floor=-1.758)
    assert dropped.mean().item() == pytest.approx(0, abs=0.02)
    assert dropped.var().item() == pytest.approx(1, abs=0.02)
    counts = dropped.round(decimals=9).unique(return_counts=True)[1]
    assert counts.max().item() / dropped.numel() == pytest.approx(0.3, abs=0.01)


def test_a_member_draws_only_for_the_masks_that_it_takes():
    """What a member does not take costs it no random numbers, so its neighbours' masks do not change its own."""
    takes = torch.tensor([[True, False], [True, True]])
    some = MemberGenerators([3, 4]).integers_of_some(1000, 5, takes)
    alone = MemberGenerators([3]).integers(1000, 5)
    assert some.shape == (5, 2, 2)
    assert torch.equal(some[:, 0, 0], alone[:, 0])
    assert not some[:, 1, 0].any()
    assert torch.equal(some[:, :, 1].flatten(), MemberGenerators([4]).integers(1000, 10)[:, 0])


def test_dropout_at_a_rate_of_each_member_is_that_of_its_own():
    x = torch.ones(2, 50, 20)
    takes, rates = torch.ones(2, 1, dtype=torch.bool), torch.tensor([0.2, 0.5])
    noise = Dropout(MemberGenerators([1, 2]), takes, 1000, torch.float32, CPU)
    noise.begin_epoch(1)
    both = noise.drop(x, rates)
    for member, rate in enumerate((0.2, 0.5)):
        alone = Dropout(MemberGenerators([1 + member]), takes[:1], 1000, torch.float32, CPU)
        alone.begin_epoch(1)
        torch.testing.assert_close(both[member : member + 1], alone.drop(x[:1], rate))
