"""Seeds and generators: the numbers of a member do not depend on other members, and no global generator is used."""

import numpy as np
import torch

from skreg.network.generators import MemberGenerators, member_seeds


def integers(seeds, n_steps, high=1000):
    """Draw one integer per step: ``(n_steps, members)``."""
    return MemberGenerators(seeds).integers([high] * len(seeds), n_steps, torch.ones(len(seeds), 1, dtype=torch.bool))[
        :, 0
    ]


def test_seeds_of_a_member_do_not_depend_on_the_number_of_members():
    assert member_seeds(7, 3) == member_seeds(7, 12)[:3]
    assert member_seeds(7, 3) != member_seeds(8, 3)


def test_all_seeds_differ():
    seeds = [seed for pair in member_seeds(0, 200) for seed in pair]
    assert len(set(seeds)) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_permutations_of_a_member_depend_on_its_own_seed_only():
    together = MemberGenerators([5, 6, 7]).permutations([10, 8, 10])
    assert together.shape == (3, 10)
    for order, seed, length in zip(together, (5, 6, 7), (10, 8, 10), strict=True):
        assert torch.equal(order[:length], MemberGenerators([seed]).permutations([length])[0])
        assert sorted(order[:length].tolist()) == list(range(length))
    assert not torch.equal(together[0], together[2])


def test_integers_of_a_member_depend_on_its_own_seed_only():
    together = integers([5, 6], 20)
    assert together.shape == (20, 2)
    assert torch.equal(together[:, 1:], integers([6], 20))
    assert not torch.equal(together[:, 0], together[:, 1])


def test_generators_continue_from_their_state():
    generators, needed = MemberGenerators([1, 2]), torch.ones(2, 1, dtype=torch.bool)
    generators.permutations([9, 9])
    state = generators.state_dict()
    expected = [generators.permutations([9, 9]), generators.integers([50, 50], 4, needed)]
    other = MemberGenerators([3, 4])
    other.load_state_dict(state)
    assert torch.equal(other.permutations([9, 9]), expected[0])
    assert torch.equal(other.integers([50, 50], 4, needed), expected[1])


def test_no_global_generator_is_used():
    torch_state = torch.random.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002  # the generator that must not be used
    member_seeds(0, 3)
    MemberGenerators([1]).permutations([5])
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002  # as above


def test_member_draws_only_the_integers_that_it_needs():
    """Integers that a member does not need do not advance its generator, so other members' dropout has no effect."""
    needed = torch.tensor([[True, False], [True, True]])
    drawn = MemberGenerators([3, 4]).integers([1000, 1000], 5, needed)
    assert drawn.shape == (5, 2, 2)
    assert torch.equal(drawn[:, 0, 0], integers([3], 5)[:, 0])
    assert not drawn[:, 1, 0].any()
    assert torch.equal(drawn[:, :, 1].flatten(), integers([4], 10)[:, 0])
