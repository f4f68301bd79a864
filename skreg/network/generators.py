"""Random numbers of a fit: one generator per member, and offsets into a fixed pool of random numbers.

No global generator is used, and the numbers of a member do not depend on the other members. Tensors have the shapes
``(members, count)`` or ``(steps, per_step, members)``.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, wraps

import numpy as np
import torch
from torch import Generator, Tensor

POOL_SIZE = 1 << 20
"""Number of random numbers in a pool, unless a member needs windows longer than a quarter of it."""


def member_seeds(seed: int, n_members: int, generation: int = 0) -> list[tuple[int, int]]:
    """Return two seeds for each member: one for its initial weights and one for its generator.

    The seeds of a member do not depend on ``n_members``. Each further fine-tuning of a network has its own
    ``generation``. Otherwise, with the same ``seed``, the new head would equal the one with which the copied layers
    were trained.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(generation,) if generation else ())
    words = sequence.generate_state(2 * n_members, np.uint64) >> np.uint64(1)
    return [(int(a), int(b)) for a, b in words.reshape(n_members, 2)]


class MemberGenerators:
    """One generator per member, for permutations of rows, dropout and augmentation."""

    def __init__(self, seeds: Sequence[int | Generator]) -> None:
        self.generators = [s if isinstance(s, Generator) else Generator().manual_seed(s) for s in seeds]

    def permutations(self, lengths: Sequence[int]) -> Tensor:
        """Draw a permutation of the first ``lengths[m]`` positions of member m: ``(members, max(lengths))``."""
        longest = max(lengths)
        orders = torch.zeros(len(lengths), longest, dtype=torch.int32 if longest < 1 << 31 else torch.int64)
        for order, length, generator in zip(orders, lengths, self.generators, strict=True):
            torch.randperm(length, generator=generator, out=order[:length])
        return orders

    def integers(self, highs: Sequence[int], n_steps: int, needed: Tensor) -> Tensor:
        """Draw integers ``(n_steps, per_step, members)`` below ``highs[m]`` for member m.

        ``needed`` ``(members, per_step)`` marks the integers of a step that a member draws; the others are 0.
        """
        drawn = torch.zeros(n_steps, *needed.T.shape, dtype=torch.int64)
        for member, (high, columns, generator) in enumerate(zip(highs, needed, self.generators, strict=True)):
            count = int(columns.sum())
            own = torch.randint(high, (n_steps * count,), generator=generator)
            drawn[:, columns, member] = own.view(n_steps, count)
        return drawn

    def state_dict(self) -> list[Tensor]:
        """Return the state of each generator."""
        return [generator.get_state() for generator in self.generators]

    def load_state_dict(self, states: list[Tensor]) -> None:
        """Restore the state of each generator."""
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state)


def pool_sizes(longest: Sequence[int]) -> list[int]:
    """Return the size of the pool from which each member takes windows of at most ``longest[m]`` numbers.

    A member's windows start in the first half of its own pool, whose size does not depend on the other members. All
    pools are the beginning of the largest one.
    """
    return [max(POOL_SIZE, 4 * length) for length in longest]


def cache_small_pools(make_pool: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Decorate a function of a size and other arguments so that pools of at most ``POOL_SIZE`` numbers are cached.

    Larger pools are freed with the fit that uses them.
    """
    cached = lru_cache(maxsize=4)(make_pool)

    @wraps(make_pool)
    def pool(size: int, *others: object) -> Tensor:
        return (cached if size <= POOL_SIZE else make_pool)(size, *others)

    pool.cache_clear = cached.cache_clear  # type: ignore[attr-defined]  # functions accept attributes
    return pool


@cache_small_pools
def uniform_pool(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return uniform random numbers ``(size,)`` that are the same in every fit; members choose offsets into them.

    A smaller pool is the beginning of a larger one.
    """
    return torch.rand(size, generator=Generator().manual_seed(0), dtype=torch.float32, device="cpu").to(device, dtype)


@cache_small_pools
def _normal_pool(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return ``uniform_pool`` transformed to standard normal numbers."""
    epsilon = torch.finfo(torch.float32).eps
    normal: Tensor = torch.special.ndtri(uniform_pool(size, dtype, device).clamp(epsilon / 4, 1 - epsilon))
    return normal


def pool_windows(pool: Tensor, length: int) -> Tensor:
    """Return a view of all windows that start in the first half of a pool, ``(windows, length)``."""
    return pool.as_strided((pool.numel() // 2, length), (1, 1))


class NoisePool:
    """Random numbers of training steps: windows of a fixed pool at offsets that the members draw.

    ``per_step`` is the largest number of windows in a step, and ``longest[m]`` the length of the longest window of
    member m without padding.
    """

    def __init__(
        self,
        generators: MemberGenerators,
        per_step: int,
        longest: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._generators = generators
        self._needed = torch.ones(len(generators.generators), per_step, dtype=torch.bool)
        self._sizes = pool_sizes(longest)
        self._pool = max(self._sizes), dtype, device

    @cached_property
    def _uniform(self) -> Tensor:
        return uniform_pool(*self._pool)

    @cached_property
    def _normal(self) -> Tensor:
        return _normal_pool(*self._pool)

    def begin_epoch(self, n_steps: int) -> None:
        """Draw the offsets of ``n_steps`` steps, which do not depend on the lengths of the windows."""
        highs = [size // 2 for size in self._sizes]
        self._offsets = self._generators.integers(highs, n_steps, self._needed).to(self._pool[2])

    def begin_step(self, step: int) -> None:
        """Switch to the offsets of ``step``."""
        self._remaining = iter(self._offsets[step])

    def uniform(self, count: int) -> Tensor:
        """Return uniform numbers in [0, 1), ``(members, count)``."""
        return self._window(self._uniform, count)

    def normal(self, count: int) -> Tensor:
        """Return standard normal numbers, ``(members, count)``."""
        return self._window(self._normal, count)

    def _window(self, pool: Tensor, count: int) -> Tensor:
        return pool_windows(pool, count).index_select(0, next(self._remaining))
