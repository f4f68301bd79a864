"""The random numbers of a fit: one stream per member, and masks cut from one constant pool.

Nothing here touches a global generator, and no member's numbers depend on its neighbours.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from torch import Generator, Tensor

from .._utils.per_member import PerMemberFloat, broadcast

POOL_SIZE = 1 << 20


def member_seeds(seed: int, n_members: int, generation: int = 0) -> list[tuple[int, int]]:
    """Two seeds for each member, one for its weights and one for its stream; more members change none of them.

    A network that starts from another one is of a later ``generation``. Drawn from the same seed as in the first, its
    new head would be the one that the copied layers were trained against.
    """
    source = np.random.SeedSequence(seed, spawn_key=(generation,) if generation else ())
    words = source.generate_state(2 * n_members, np.uint64) >> np.uint64(1)
    return [(int(a), int(b)) for a, b in words.reshape(n_members, 2)]


class MemberGenerators:
    """One generator per member, for shuffles and masks.

    Parameters
    ----------
    seeds : sequence of int
        A seed for each member.
    """

    def __init__(self, seeds: list[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    @classmethod
    def of(cls, generators: Sequence[Generator]) -> Self:
        """The streams that these generators are."""
        streams = cls([])
        streams.generators = list(generators)
        return streams

    def permutations(self, lengths: list[int]) -> Tensor:
        """A permutation of each member's first ``lengths[m]`` positions: ``(members, max(lengths))``."""
        longest = max(lengths)
        orders = torch.zeros(len(lengths), longest, dtype=torch.int32 if longest < 1 << 31 else torch.int64)
        for order, length, generator in zip(orders, lengths, self.generators, strict=True):
            torch.randperm(length, generator=generator, out=order[:length])
        return orders

    def integers(self, high: int, count: int) -> Tensor:
        """Integers below ``high``: ``(count, members)``."""
        return torch.stack([torch.randint(high, (count,), generator=g) for g in self.generators], dim=1)

    def integers_of_some(self, high: int, n_steps: int, takes: Tensor) -> Tensor:
        """The same for the steps of an epoch, of which member m draws for those that ``takes[m]`` names only.

        Parameters
        ----------
        high, n_steps : int
            What the integers are below, and steps.
        takes : bool Tensor of shape (members, per step)
            Which of a step's integers a member draws; the others are 0.

        Returns
        -------
        Tensor of shape (n_steps, per step, members)
        """
        drawn = torch.zeros(n_steps, *takes.T.shape, dtype=torch.int64)
        for member, (taken, generator) in enumerate(zip(takes, self.generators, strict=True)):
            count = int(taken.sum())
            own = torch.randint(high, (n_steps * count,), generator=generator)
            drawn[:, taken, member] = own.view(n_steps, count)
        return drawn

    def state_dict(self) -> list[Tensor]:
        """Where each stream stands."""
        return [generator.get_state() for generator in self.generators]

    def load_state_dict(self, state: list[Tensor]) -> None:
        """Put each stream where ``state`` says."""
        for generator, s in zip(self.generators, state, strict=True):
            generator.set_state(s)


@lru_cache(maxsize=4)
def _uniform_pool(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The same uniform numbers for every fit: what a member drops is decided by its offsets alone."""
    return torch.rand(size, generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(device, dtype)


@lru_cache(maxsize=4)
def _normal_pool(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The uniform pool as standard normal numbers."""
    tail = torch.finfo(torch.float32).eps / 4
    return torch.special.ndtri(_uniform_pool(size, dtype, device).clamp(tail, 1 - torch.finfo(torch.float32).eps))


@lru_cache(maxsize=4)
def _mask_pool(rate: float, scale: float, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The uniform pool as what dropout multiplies by: 0 below ``rate``, else ``scale``; kept for the next fit."""
    return (_uniform_pool(size, dtype, device) >= rate).to(dtype) * scale


class NoisePool:
    """Random numbers of the steps: windows of the constant pools, which begin where each member's stream says.

    Parameters
    ----------
    streams : Streams
        Where the offsets come from.
    per_step : int
        Most windows of a step.
    largest : int
        Numbers of the largest window of one member.
    dtype, device : torch.dtype, torch.device
        Of the numbers.
    """

    def __init__(
        self, streams: MemberGenerators, per_step: int, largest: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._streams, self._per_step = streams, per_step
        self._pool = max(POOL_SIZE, 4 * largest), dtype, device

    def begin_epoch(self, n_steps: int) -> None:
        """Draw the offsets of ``n_steps`` steps; where a window begins does not depend on its length."""
        size, _, device = self._pool
        offsets = self._streams.integers(size // 2, n_steps * self._per_step).to(device)
        self._offsets = offsets.unflatten(0, (n_steps, self._per_step))

    def begin_step(self, step: int) -> None:
        """Go to the offsets of a step."""
        self._left = iter(self._offsets[step])

    def uniform(self, count: int) -> Tensor:
        """Numbers in [0, 1): ``(members, count)``."""
        return self._window(_uniform_pool(*self._pool), count)

    def normal(self, count: int) -> Tensor:
        """Standard normal numbers: ``(members, count)``."""
        return self._window(_normal_pool(*self._pool), count)

    def _window(self, pool: Tensor, count: int) -> Tensor:
        every_window = pool.as_strided((pool.numel() // 2, count), (1, 1))
        return every_window.index_select(0, next(self._left))


class Dropout:
    """What a batch suffers in training: dropout, with masks sliced out of a constant pool.

    Drawing a number for each unit is most of what dropout costs on a CPU; here a step draws one offset per
    layer and member.

    Parameters
    ----------
    streams : Streams
        Where the offsets come from.
    takes : bool Tensor of shape (members, masks)
        Which of the masks of a step each member takes; what it does not take costs it no random numbers.
    largest : int
        Units of the largest mask of one member, ``rows * width``.
    dtype, device : torch.dtype, torch.device
        Of the masks.
    """

    def __init__(
        self, streams: MemberGenerators, takes: Tensor, largest: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._streams = streams
        self._takes, self._alike = takes, bool(takes.all())
        self._pool = _uniform_pool(max(POOL_SIZE, 4 * largest), dtype, device)
        self._windows: dict[tuple[float, float, int], Tensor] = {}

    def begin_epoch(self, n_steps: int) -> None:
        """Draw the offsets of ``n_steps`` steps; where a mask begins does not depend on its size."""
        high = self._pool.numel() // 2
        if self._alike:
            offsets = self._streams.integers(high, n_steps * self._takes.shape[1])
        else:
            offsets = self._streams.integers_of_some(high, n_steps, self._takes).flatten(0, 1)
        self._offsets = iter(offsets.to(self._pool.device))

    def drop(self, x: Tensor, rate: PerMemberFloat, floor: float = 0.0, in_place: bool = False) -> Tensor:
        """Zero a share ``rate`` of ``x`` ``(members, rows, width)`` and scale the rest up [Srivastava et al. 2014].

        With a ``floor`` what is dropped takes that value, and everything is shifted and scaled so that mean 0 and
        variance 1 stay: alpha dropout [Klambauer et al. 2017, section 2]. ``in_place`` says that ``x`` may be changed,
        which without a floor it then is.
        """
        rate = broadcast(rate, x)
        keep = 1 - rate
        scale = 1 / keep if floor == 0 else (keep + floor**2 * keep * rate) ** -0.5
        factor = self._factor(x, rate, scale)
        if floor == 0:
            return x.mul_(factor) if in_place else x * factor
        return (x - floor) * factor + scale * floor * keep

    def _factor(self, x: Tensor, rate: PerMemberFloat, scale: PerMemberFloat) -> Tensor:
        """What ``x`` is multiplied by."""
        return self._cut(rate, scale, x.shape[1] * x.shape[2]).view(x.shape)

    def _cut(self, rate: PerMemberFloat, scale: PerMemberFloat, size: int) -> Tensor:
        """The next masks ``(members, size)``: out of a mask of the whole pool where there is one rate, else made anew.

        Rates that differ between members have none.
        """
        if not isinstance(rate, Tensor) and not isinstance(scale, Tensor):
            windows = self._windows.get((rate, scale, size))
            if windows is None:
                pool = self._pool
                mask = _mask_pool(rate, scale, pool.numel(), pool.dtype, pool.device)
                windows = self._windows[rate, scale, size] = self._every_window(mask, size)
            return torch.index_select(windows, 0, next(self._offsets))
        rate, scale = (each.flatten(1) if isinstance(each, Tensor) else each for each in (rate, scale))
        windows = self._every_window(self._pool, size)
        return torch.index_select(windows, 0, next(self._offsets)).ge_(rate).mul_(scale)

    def _every_window(self, source: Tensor, size: int) -> Tensor:
        """Each window of ``size`` numbers that a member's may be, ``(windows, size)``, nothing copied."""
        return source.as_strided((self._pool.numel() // 2, size), (1, 1))


class MonteCarloDropout(Dropout):
    """Dropout that thins each network in one way for all rows, so that what it makes of a row is a function of it.

    Parameters
    ----------
    streams, takes, dtype, device
        As of ``Dropout``.
    largest : int
        Units of the widest layer.
    """

    def _factor(self, x: Tensor, rate: PerMemberFloat, scale: PerMemberFloat) -> Tensor:
        """The same for all rows of a member."""
        return self._cut(rate, scale, x.shape[2]).unsqueeze(1).expand(x.shape)
