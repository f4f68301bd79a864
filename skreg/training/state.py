"""State of a training that ``partial_fit`` continues."""

from collections.abc import Iterable

import torch
from torch import Tensor

from .averaging import WeightAverage
from .optimizers.base import FirstOrderOptimizer


def _copy_to_cpu(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor.detach().to("cpu", copy=True) for tensor in tensors]


class TrainingState:
    """CPU copies of all tensors that a step changes, from which the next ``partial_fit`` continues.

    The tensors are the weights, the running statistics, the moments and the averages.
    """

    def __init__(self, trained: list[Tensor], optimizer: FirstOrderOptimizer, average: WeightAverage | None) -> None:
        self.trained = _copy_to_cpu(trained)
        self.moments = {name: _copy_to_cpu(tensors) for name, tensors in optimizer.state_dict().items()}
        state = {} if average is None else average.state_dict()
        self.averages, self.count = _copy_to_cpu(state.get("averages", [])), state.get("count", 0)

    def member_tensors(self) -> list[Tensor]:
        """Return the tensors that have the members on axis 0."""
        moments = [tensor for tensors in self.moments.values() for tensor in tensors]
        return [tensor for tensor in (*self.trained, *self.averages, *moments) if tensor.dim() > 1]

    def reset_members(self, members: Tensor, earlier: "TrainingState") -> None:
        """Replace the values of ``members`` by those of an ``earlier`` state."""
        for now, then in zip(self.member_tensors(), earlier.member_tensors(), strict=True):
            now[members] = then[members]

    @torch.no_grad()
    def load(self, trained: list[Tensor], optimizer: FirstOrderOptimizer | None, average: WeightAverage | None) -> None:
        """Copy the state into the weights, optimizer and average; without an ``optimizer``, its moments start anew."""
        torch._foreach_copy_(trained, self.trained)
        if optimizer is not None:
            optimizer.load_state_dict(self.moments)
        if average is not None and self.averages:
            average.load_state_dict({"averages": self.averages, "count": self.count})
