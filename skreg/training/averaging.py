"""Averages of the weights over training, which replace the weights in validation and prediction."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor

from .._utils.per_member import PerMemberFloat, broadcast


@contextmanager
def replaced(tensors: list[Tensor], values: list[Tensor]) -> Iterator[None]:
    """Replace the values of detached tensors inside a ``with`` block."""
    before = [tensor.clone() for tensor in tensors]
    torch._foreach_copy_(tensors, values)
    try:
        yield
    finally:
        torch._foreach_copy_(tensors, before)


class WeightAverage:
    """Base class of the averages of weights, which have the members on axis 0."""

    recomputes_statistics: bool
    """Whether batch normalization statistics are computed with the averaged weights instead of being averaged."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self._tensors = [tensor.detach() for tensor in tensors]
        self._averages = [tensor.clone() for tensor in self._tensors]
        self._count = 0

    @property
    def has_started(self) -> bool:
        """Whether anything has been averaged, so that the average can replace the weights."""
        return self._count > 0

    def start(self) -> None:
        """Initialize the average with the current weights if nothing has been averaged yet."""
        if not self.has_started:
            torch._foreach_copy_(self._averages, self._tensors)

    def after_step(self) -> None:
        """Update the average after a training step."""

    def after_epoch(self, progress: float) -> None:
        """Update the average after an epoch that ends at ``progress`` in [0, 1]."""

    def swapped_in(self) -> AbstractContextManager[None]:
        """Replace the weights by the averages inside a ``with`` block."""
        return replaced(self._tensors, self._averages)

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and the number of steps or epochs in them."""
        return {"averages": self._averages, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of ``state_dict``."""
        torch._foreach_copy_(self._averages, state["averages"])
        self._count = state["count"]


class ExponentialMovingAverage(WeightAverage):
    """Exponential moving average over the steps [Polyak & Juditsky 1992; Tarvainen & Valpola 2017].

    Each step multiplies the average by ``decay`` and adds ``1 - decay`` times the weights. The decay of step s is at
    most ``(1 + s) / (10 + s)``, so that the influence of the initial weights soon vanishes.
    """

    recomputes_statistics = False

    def __init__(self, tensors: list[Tensor], decay: PerMemberFloat) -> None:
        super().__init__(tensors)
        self._decay = decay

    def after_step(self) -> None:
        """Move the average toward the weights."""
        max_decay = (1 + self._count) / (10 + self._count)
        self._count += 1
        if not isinstance(self._decay, Tensor):
            torch._foreach_lerp_(self._averages, self._tensors, 1 - min(self._decay, max_decay))
            return
        share = 1 - self._decay.clamp(max=max_decay)
        for average, tensor in zip(self._averages, self._tensors, strict=True):
            average.lerp_(tensor, broadcast(share, average))


class StochasticWeightAverage(WeightAverage):
    """Mean of the weights at the ends of the epochs after the progress ``start`` [Izmailov et al. 2018].

    The mean over all steps would require a pass over the weights in every step but would differ little, because the
    weights of consecutive steps are almost equal.
    """

    recomputes_statistics = True

    def __init__(self, tensors: list[Tensor], start: float) -> None:
        super().__init__(tensors)
        self._start = start

    def after_epoch(self, progress: float) -> None:
        """Add the weights to the mean."""
        if progress > self._start:
            self._count += 1
            torch._foreach_lerp_(self._averages, self._tensors, 1 / self._count)
