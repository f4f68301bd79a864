"""A weight average follows the weights at a distance, and stands in for them when they are judged."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .._utils.per_member import PerMemberFloat, broadcast


class WeightAverage(ABC):
    """Averages of the weights over the training.

    Parameters
    ----------
    tensors : list of Tensor
        The weights, members on axis 0; each member's average is its own.

    Attributes
    ----------
    exact : bool
        Whether batch norm's statistics are those of the averaged weights, and have to be taken anew from the rows;
        else they are averaged as the weights are.
    """

    exact: bool

    def __init__(self, tensors: list[Tensor]) -> None:
        self._tensors = [tensor.detach() for tensor in tensors]
        self._averages = [tensor.clone() for tensor in self._tensors]
        self._count = 0

    @property
    @abstractmethod
    def begun(self) -> bool:
        """Whether there is an average that stands for the weights."""

    def begin(self) -> None:
        """Where nothing has been averaged yet, start from the weights as they are now."""
        if not self._count:
            torch._foreach_copy_(self._averages, self._tensors)

    @abstractmethod
    def after_step(self) -> None:
        """Look at the weights of a step."""

    @abstractmethod
    def after_epoch(self, progress: float) -> None:
        """Look at the weights at the end of an epoch, when ``progress`` of the training is done."""

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the averages stand in the place of the weights for a ``with`` block."""
        weights = [tensor.clone() for tensor in self._tensors]
        torch._foreach_copy_(self._tensors, self._averages)
        try:
            yield
        finally:
            torch._foreach_copy_(self._tensors, weights)

    def state_dict(self) -> dict[str, Any]:
        """The averages, and of how many steps or epochs they are."""
        return {"averages": self._averages, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        torch._foreach_copy_(self._averages, state["averages"])
        self._count = state["count"]


class MovingAverage(WeightAverage):
    """Exponential moving average of the weights over the steps [Polyak & Juditsky 1992; Tarvainen & Valpola 2017].

    The decay grows to its value over the first steps, as ``(1 + steps) / (10 + steps)``, so that the initial weights
    are soon forgotten.

    Parameters
    ----------
    tensors
        See ``WeightAverage``.
    decay : float or Tensor of shape (members,)
        In [0, 1): how much of the average a step keeps; 0 averages nothing.
    """

    exact, begun = False, True

    def __init__(self, tensors: list[Tensor], decay: PerMemberFloat) -> None:
        super().__init__(tensors)
        self._decay = decay

    def after_step(self) -> None:
        """Keep a share of the average, and take the rest from the weights."""
        most = (1 + self._count) / (10 + self._count)
        self._count += 1
        if not isinstance(self._decay, Tensor):
            torch._foreach_lerp_(self._averages, self._tensors, 1 - min(self._decay, most))
            return
        taken = 1 - self._decay.clamp(max=most)
        for average, tensor in zip(self._averages, self._tensors, strict=True):
            average.lerp_(tensor, broadcast(taken, average))

    def after_epoch(self, progress: float) -> None:
        """Nothing: every step is in the average already."""


class LateMean(WeightAverage):
    """Stochastic weight averaging: plain mean of the weights at the ends of the last epochs [Izmailov et al. 2018].

    The source averages once a cycle, and under a constant rate once an epoch. The mean of each step's weights would
    cost a pass over them in every step and differ little: weights of neighbouring steps are nearly the same.

    Parameters
    ----------
    tensors
        See ``WeightAverage``.
    start : float
        In (0, 1): epochs that end after this progress are averaged; the last one is.
    """

    exact = True

    def __init__(self, tensors: list[Tensor], start: float) -> None:
        super().__init__(tensors)
        self._start = start

    @property
    def begun(self) -> bool:
        """Whether an epoch has ended in the part that is averaged."""
        return self._count > 0

    def after_step(self) -> None:
        """Nothing: epochs count."""

    def after_epoch(self, progress: float) -> None:
        """Take the epoch into the mean."""
        if progress > self._start:
            self._count += 1
            torch._foreach_lerp_(self._averages, self._tensors, 1 / self._count)
