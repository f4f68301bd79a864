"""A position is where a training stands between two calls: weights, moments and averages, on the CPU."""

from typing import Any

import torch
from torch import Tensor

from .averaging import WeightAverage
from .optimizers.base import Optimizer


class TrainingState:
    """A copy of every tensor that a step changes.

    Parameters
    ----------
    trained : list of Tensor
        Weights and running statistics, members on axis 0.
    optimizer : Optimizer
        Has moments, likewise, and counts.
    average : WeightAverage or None
        Follows the weights.
    """

    def __init__(self, trained: list[Tensor], optimizer: Optimizer, average: WeightAverage | None) -> None:
        self.trained = [_copied(tensor) for tensor in trained]
        self.moments = {name: [_copied(t) for t in tensors] for name, tensors in optimizer.state_dict().items()}
        state: dict[str, Any] = {} if average is None else average.state_dict()
        self.averages, self.count = [_copied(t) for t in state.get("averages", [])], state.get("count", 0)

    def undo(self, before: "TrainingState", members: Tensor) -> None:
        """Give ``members`` back what they had ``before``."""
        if not bool(members.any()):
            return
        for now, then in zip(self._of_members(), before._of_members(), strict=True):
            now[members] = then[members]

    def _of_members(self) -> list[Tensor]:
        moments = [tensor for tensors in self.moments.values() for tensor in tensors]
        return [tensor for tensor in (*self.trained, *self.averages, *moments) if tensor.dim() > 1]

    @torch.no_grad()
    def load(self, trained: list[Tensor], optimizer: Optimizer | None, average: WeightAverage | None) -> None:
        """Put everything back; without an optimiser moments start anew, and so does an average where there was none."""
        for tensor, kept in zip(trained, self.trained, strict=True):
            tensor.copy_(kept)
        if optimizer is not None:
            optimizer.load_state_dict(self.moments)
        if average is not None and self.averages:
            average.load_state_dict({"averages": self.averages, "count": self.count})


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)
