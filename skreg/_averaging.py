"""A weight average follows the weights at a distance, and stands in for them when they are judged."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class WeightAverage:
    """Exponential moving average of weights over the steps [Polyak & Juditsky 1992; Tarvainen & Valpola 2017].

    The decay grows to its value over the first steps, as ``(1 + steps) / (10 + steps)``, so that the initial weights
    are soon forgotten.

    Parameters
    ----------
    tensors : list of Tensor
        The weights, members on axis 0; each member's average is its own.
    decay : float
        In (0, 1): how much of the average a step keeps.
    """

    def __init__(self, tensors: list[Tensor], decay: float) -> None:
        self._tensors, self._decay = [tensor.detach() for tensor in tensors], decay
        self._averages = [tensor.clone() for tensor in self._tensors]
        self._steps = 0

    def update(self) -> None:
        """Follow the weights one step."""
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        self._steps += 1
        torch._foreach_lerp_(self._averages, self._tensors, 1 - decay)

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
        """The averages and the count of steps."""
        return {"averages": self._averages, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        torch._foreach_copy_(self._averages, state["averages"])
        self._steps = state["steps"]
