"""The state of a training between two calls of ``partial_fit``, on the CPU."""

from collections.abc import Iterable

import torch
from torch import Tensor

from .averaging import WeightAverage
from .optimizers.base import Optimizer


class TrainingState:
    """A copy of every tensor that a step changes: weights and running statistics, moments and averages."""

    def __init__(self, trained: list[Tensor], optimizer: Optimizer, average: WeightAverage | None) -> None:
        self.trained = _copy(trained)
        self.moments = {name: _copy(tensors) for name, tensors in optimizer.state_dict().items()}
        state = {} if average is None else average.state_dict()
        self.averages, self.count = _copy(state.get("averages", [])), state.get("count", 0)

    def member_tensors(self) -> list[Tensor]:
        """Return the tensors that have the members on axis 0."""
        moments = [tensor for tensors in self.moments.values() for tensor in tensors]
        return [tensor for tensor in (*self.trained, *self.averages, *moments) if tensor.dim() > 1]

    def reset_members(self, members: Tensor, earlier: "TrainingState") -> None:
        """Replace the values of ``members`` by those of an ``earlier`` state."""
        for now, then in zip(self.member_tensors(), earlier.member_tensors(), strict=True):
            now[members] = then[members]

    @torch.no_grad()
    def load(self, trained: list[Tensor], optimizer: Optimizer | None, average: WeightAverage | None) -> None:
        """Copy the state into weights, optimizer and average; without an optimizer its moments start anew."""
        torch._foreach_copy_(trained, self.trained)
        if optimizer is not None:
            optimizer.load_state_dict(self.moments)
        if average is not None and self.averages:
            average.load_state_dict({"averages": self.averages, "count": self.count})


def _copy(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor.detach().to("cpu", copy=True) for tensor in tensors]
