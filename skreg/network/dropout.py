"""Dropout of all members, with masks that are windows of a fixed pool of random numbers.

On a CPU, most of the cost of dropout is drawing a random number for each unit. Here, each step draws only one offset
for each member and layer. Inputs have the shape ``(members, rows, width)``.
"""

from collections.abc import Sequence
from functools import cache, cached_property, partial

import torch
from torch import Tensor

from .._utils.per_member import PerMemberFloat, broadcast
from .generators import MemberGenerators, cache_small_pools, pool_sizes, pool_windows, uniform_pool


@cache_small_pools
def _mask_pool(size: int, dtype: torch.dtype, device: torch.device, rate: float, scale: float) -> Tensor:
    """Return a mask made of ``uniform_pool``: 0 for numbers below ``rate``, otherwise ``scale``."""
    return (uniform_pool(size, dtype, device) >= rate).to(dtype).mul_(scale)


class Dropout:
    """Dropout in training: different units are dropped for each row.

    ``needed`` ``(members, masks)`` marks the masks of a step that a member uses; no offsets are drawn for the others.
    ``largest[m]`` is the number of elements of the largest mask of member m without padding, ``rows * width``.
    """

    def __init__(
        self,
        generators: MemberGenerators,
        needed: Tensor,
        largest: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._generators, self._needed = generators, needed
        self._sizes = pool_sizes(largest)
        self._pool = max(self._sizes), dtype, device
        self._mask_pool = cache(partial(_mask_pool, *self._pool))
        self._windows: dict[tuple[float, float, int], Tensor] = {}

    @cached_property
    def _uniform(self) -> Tensor:
        return uniform_pool(*self._pool)

    def begin_epoch(self, n_steps: int) -> None:
        """Draw the offsets of ``n_steps`` steps, which do not depend on the sizes of the masks."""
        offsets = self._generators.integers([size // 2 for size in self._sizes], n_steps, self._needed)
        self._offsets = iter(offsets.flatten(0, 1).to(self._pool[2]))

    def drop(self, x: Tensor, rate: PerMemberFloat, negative_limit: float = 0.0, in_place: bool = False) -> Tensor:
        """Drop elements of ``x`` with probability ``rate`` and rescale the others [Srivastava et al. 2014].

        ``negative_limit`` is the value of dropped elements. If it is not 0, ``x`` is shifted and scaled so that mean 0
        and variance 1 are preserved: alpha dropout [Klambauer et al. 2017, section 2]. With ``in_place``, ``x`` may be
        overwritten.
        """
        rate = broadcast(rate, x)
        keep = 1 - rate
        if negative_limit == 0:
            mask = self._mask(rate, 1 / keep, x)
            return x.mul_(mask) if in_place else x * mask
        scale = (keep + negative_limit**2 * keep * rate) ** -0.5
        return (x - negative_limit) * self._mask(rate, scale, x) + scale * negative_limit * keep

    def _mask(self, rate: PerMemberFloat, scale: PerMemberFloat, x: Tensor) -> Tensor:
        """Return the next mask, in the shape of ``x``."""
        return self._next_masks(rate, scale, x.shape[1] * x.shape[2]).view(x.shape)

    def _next_masks(self, rate: PerMemberFloat, scale: PerMemberFloat, size: int) -> Tensor:
        """Return the next masks ``(members, size)``: 0 with probability ``rate``, otherwise ``scale``."""
        offsets = next(self._offsets)
        if isinstance(rate, Tensor) or isinstance(scale, Tensor):  # a pool mask has a single rate
            rate, scale = (value.flatten(1) if isinstance(value, Tensor) else value for value in (rate, scale))
            return pool_windows(self._uniform, size).index_select(0, offsets).ge_(rate).mul_(scale)
        key = rate, scale, size
        if key not in self._windows:
            self._windows[key] = pool_windows(self._mask_pool(rate, scale), size)
        return self._windows[key].index_select(0, offsets)


class MonteCarloDropout(Dropout):
    """Dropout that drops the same units of a member for all rows, so that each prediction depends only on its row.

    ``largest[m]`` is the width of the widest layer.
    """

    def _mask(self, rate: PerMemberFloat, scale: PerMemberFloat, x: Tensor) -> Tensor:
        return self._next_masks(rate, scale, x.shape[2]).unsqueeze(1).expand(x.shape)
