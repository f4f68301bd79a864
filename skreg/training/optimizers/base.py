"""Base classes of the optimizers, which update the parameters of all members from their gradients.

The optimizers call torch's kernels on stacked tensors, without ``torch.optim``: in a small network, its Python code
accounts for three quarters of the update time, and its first use imports the compiler, which takes longer than many
fits.

A learning rate is a tensor with one value per member, or a number if all members share it, which is cheaper.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from ..._utils.per_member import PerMemberFloat, broadcast

Rate: TypeAlias = PerMemberFloat


def gradients_of(parameters: list[Tensor]) -> list[Tensor]:
    """Return the gradients after a backward pass that has given every parameter a gradient."""
    return [p.grad for p in parameters if p.grad is not None]


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are updated with the same factor on the learning rate and the same weight decay.

    Weight decay is decoupled: each step multiplies the parameters by ``1 - lr * decay`` [Loshchilov & Hutter 2019].
    """

    parameters: list[Tensor]
    decay: Rate = 0.0
    factor: float = 1.0

    def step_(self, directions: list[Tensor], lr: Rate) -> None:
        """Apply the weight decay, then a step against ``directions``."""
        rate = lr * self.factor
        if isinstance(rate, Tensor) or isinstance(self.decay, Tensor):
            kept = 1 - rate * self.decay
            for parameter, direction in zip(self.parameters, directions, strict=True):
                parameter.mul_(broadcast(kept, parameter)).sub_(direction * broadcast(rate, parameter))
            return
        if self.decay:
            torch._foreach_mul_(self.parameters, 1 - rate * self.decay)
        torch._foreach_add_(self.parameters, directions, alpha=-rate)


class Optimizer:
    """Base class of the optimizers.

    The class attributes state the capabilities of an optimizer. All other code reads these attributes instead of solver
    names.
    """

    takes_learning_rate: ClassVar[bool] = True  # whether the learning rate determines the length of a step
    supports_l1: ClassVar[bool] = True  # whether proximal steps for nonsmooth penalties can follow a step
    supports_members: ClassVar[bool] = True  # whether several members can be trained side by side
    full_batch: ClassVar[bool] = False  # whether each step needs all rows, and the same loss for the same weights
    scale_invariant: ClassVar[bool] = True  # whether a constant factor on the loss does not change the steps
    settings: ClassVar[tuple[str, ...]] = ()  # hyperparameters of the constructor in addition to ``groups``

    def __init__(self, groups: list[ParameterGroup]) -> None:
        self.groups = groups
        self.parameters = [parameter for group in groups for parameter in group.parameters]
        # callbacks expect torch's interface
        self.param_groups: list[dict[str, Any]] = [{"params": self.parameters, "lr": 0.0}]


class FirstOrderOptimizer(Optimizer, ABC):
    """Base class of the optimizers that compute a step from one gradient."""

    moments: ClassVar[tuple[str, ...]]  # names of the attributes that contain moments and counts, lists of tensors

    def __init__(self, groups: list[ParameterGroup]) -> None:
        super().__init__(groups)
        self._factors = [group.factor for group in groups for _ in group.parameters]
        bounds = accumulate((len(group.parameters) for group in groups), initial=0)
        self._slices = [slice(start, stop) for start, stop in pairwise(bounds)]

    @abstractmethod
    def update(self, lr: Rate) -> None:
        """Make a step from the gradients of the parameters."""

    @abstractmethod
    def step_size(self, i: int, lr: Rate) -> Rate:
        """Return the step size of parameter ``i`` in the optimizer's metric: its step per unit of constant gradient."""

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return the moments and counts."""
        return {name: getattr(self, name) for name in self.moments}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Restore the result of ``state_dict``."""
        for name, values in state.items():
            torch._foreach_copy_(getattr(self, name), values)

    def _rate(self, i: int, lr: Rate) -> Rate:
        """Return the learning rate of parameter ``i``, shaped to multiply it."""
        return broadcast(lr, self.parameters[i]) * self._factors[i]

    def _zeros(self) -> list[Tensor]:
        return [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
