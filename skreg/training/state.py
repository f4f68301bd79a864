"""The state of a training between two calls of ``partial_fit``, on the CPU."""

from typing import Any

import torch
from torch import Tensor

from .averaging import WeightAverage
from .optimizers.base import Optimizer


class TrainingState:
    """A copy of every tensor that a step changes: weights and running statistics, moments and averages."""

    def __init__(self, trained: list[Tensor], optimizer: Optimizer, average: WeightAverage | None) -> None:
        self.trained = [_copy_to_cpu(tensor) for tensor in trained]
        self.moments = {name: [_copy_to_cpu(t) for t in tensors] for name, tensors in optimizer.state_dict().items()}
        state: dict[str, Any] = {} if average is None else average.state_dict()
        self.averages, self.count = [_copy_to_cpu(t) for t in state.get("averages", [])], state.get("count", 0)

    def reset_members(self, members: Tensor, earlier: "TrainingState") -> None:
        """Replace the values of ``members`` by those of an ``earlier`` state."""
        if bool(members.any()):
            for now, then in zip(self.member_tensors(), earlier.member_tensors(), strict=True):
                now[members] = then[members]

    def member_tensors(self) -> list[Tensor]:
        """Return the tensors that have the members on axis 0."""
        moments = [tensor for tensors in self.moments.values() for tensor in tensors]
        return [tensor for tensor in (*self.trained, *self.averages, *moments) if tensor.dim() > 1]

    @torch.no_grad()
    def load(self, trained: list[Tensor], optimizer: Optimizer | None, average: WeightAverage | None) -> None:
        """Copy the state into weights, optimizer and average; without an optimizer its moments start anew."""
        for tensor, saved in zip(trained, self.trained, strict=True):
            tensor.copy_(saved)
        if optimizer is not None:
            optimizer.load_state_dict(self.moments)
        if average is not None and self.averages:
            average.load_state_dict({"averages": self.averages, "count": self.count})


def _copy_to_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)
