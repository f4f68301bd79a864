"""An optimiser updates the parameters of all members from their gradients.

The optimisers are torch's own kernels on stacked tensors, without ``torch.optim``: on a small network its Python takes
three quarters of a step's update, and its first use imports the compiler, which takes longer than many a fit.

A learning rate is a number, or a tensor with one for each member; where all members have the same, it is a number, and
costs less.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._utils.per_member import PerMemberFloat as Rate
from ..._utils.per_member import broadcast

EPS = 1e-6
"""What is added to the root of a squared gradient before it divides. Rows that weigh next to nothing, in a loss of mean
weight 1, have gradients of less and move the weights by as little; at 1e-8 they moved them like all others."""

_FUSED_FROM = 1 << 14  # weights of the members that share a rate, from which a call of their own pays (measured)

Lasting = tuple[list[Tensor], list[Tensor], list[Tensor]]
"""Parameters, means and squares."""


def gradients_of(parameters: list[Tensor]) -> list[Tensor]:
    """The gradients, which a backward pass has left in all of them."""
    return [p.grad for p in parameters if p.grad is not None]


@dataclass(frozen=True)
class Group:
    """Parameters that are updated alike.

    Attributes
    ----------
    parameters : list of Tensor
        Members on axis 0.
    decay : float or Tensor of shape (members,)
        Each step multiplies them by ``1 - lr * decay`` [Loshchilov & Hutter 2019].
    factor : float
        On the learning rate.
    """

    parameters: list[Tensor]
    decay: Rate = 0.0
    factor: float = 1.0

    def move_(self, directions: list[Tensor], lr: Rate) -> None:
        """Apply the weight decay, then a step against ``directions``, which may be changed."""
        rate = lr * self.factor
        if isinstance(rate, Tensor) or isinstance(self.decay, Tensor):
            self._move_each_(directions, rate, 1 - rate * self.decay)
            return
        if self.decay:
            torch._foreach_mul_(self.parameters, 1 - rate * self.decay)
        torch._foreach_add_(self.parameters, directions, alpha=-rate)

    def _move_each_(self, directions: list[Tensor], rate: Rate, kept: Rate) -> None:
        """The same with rates or decays of each member."""
        for parameter, direction in zip(self.parameters, directions, strict=True):
            parameter.mul_(broadcast(kept, parameter)).sub_(direction * broadcast(rate, parameter))


class Optimizer(ABC):
    """Base class of the optimizers.

    The class attributes state the capabilities of an optimizer. All other code reads them instead of solver names.

    Parameters
    ----------
    groups : list of Group
        What is updated.

    Attributes
    ----------
    takes_learning_rate : bool
        Whether a step has the length that a learning rate gives it.
    supports_l1 : bool
        Whether proximal steps for non-smooth penalties can follow a step.
    supports_members : bool
        Whether several members can be trained side by side.
    full_batch : bool
        Whether each step needs the loss of all rows, and the same loss for the same weights.
    scale_invariant : bool
        Whether a constant factor on the loss leaves the steps as they are.
    settings : tuple of str
        Hyperparameters of the constructor, besides ``groups``.
    parameters : list of Tensor
        Those of all groups.
    param_groups : list of dict
        ``params`` and ``lr``, for callbacks that look for them where torch's optimisers have them.
    parts : list of (Group, slice)
        Each group, and where its parameters stand among all.
    """

    takes_learning_rate: ClassVar[bool] = True
    supports_l1: ClassVar[bool] = True
    supports_members: ClassVar[bool] = True
    full_batch: ClassVar[bool] = False
    scale_invariant: ClassVar[bool] = True
    settings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, groups: list[Group]) -> None:
        self.groups = groups
        self.parameters = [parameter for group in groups for parameter in group.parameters]
        self.param_groups: list[dict[str, Any]] = [{"params": self.parameters, "lr": 0.0}]
        ends = list(accumulate(len(group.parameters) for group in groups))
        self.parts = [(group, slice(end - len(group.parameters), end)) for group, end in zip(groups, ends, strict=True)]

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Moments and counts."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        for name, values in state.items():
            for tensor, known in zip(getattr(self, name), values, strict=True):
                tensor.copy_(known)


class FirstOrder(Optimizer):
    """Update from one gradient.

    Parameters
    ----------
    groups
        See ``Optimizer``.
    """

    def __init__(self, groups: list[Group]) -> None:
        super().__init__(groups)
        self._factors = [group.factor for group in groups for _ in group.parameters]

    @abstractmethod
    def update(self, lr: Rate) -> None:
        """One step from the gradients in place."""

    @abstractmethod
    def reach(self, i: int, lr: Rate) -> Rate:
        """How far a lasting unit of gradient moves parameter ``i`` in a step: the optimiser's metric."""

    def _rate(self, i: int, lr: Rate) -> Rate:
        """The learning rate of parameter ``i``, as it multiplies it."""
        return broadcast(lr, self.parameters[i]) * self._factors[i]

    def _move(self, directions: list[Tensor], lr: Rate) -> None:
        for group, part in self.parts:
            group.move_(directions[part], lr)

    def _zeros(self) -> list[Tensor]:
        return [torch.zeros_like(p, requires_grad=False) for p in self.parameters]


class Adam(FirstOrder):
    """Adam [Kingma & Ba 2015] with decoupled weight decay, and the betas of scikit-learn's "adam".

    Parameters
    ----------
    groups
        See ``Optimizer``.

    Attributes
    ----------
    betas : tuple of float
        Decay rates of the averages of the gradients and of their squares.
    """

    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)

    def __init__(self, groups: list[Group]) -> None:
        super().__init__(groups)
        self.means, self.squares = self._zeros(), self._zeros()
        self.count = [torch.zeros((), dtype=torch.float32, device=self.parameters[0].device)]
        self._cuts: dict[int, tuple[Any, list[Lasting]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_cuts": {}}

    def update(self, lr: Rate) -> None:
        """One step of the fused kernel for each group.

        It knows one rate only: members that share theirs take it together, where they have enough weights.
        """
        self.count[0].add_(1)
        for group, part in self.parts:
            gradients = gradients_of(group.parameters)
            runs = _runs(lr, group.decay, group.parameters[0].shape[0])
            if len(runs) > 1 and sum(p.numel() for p in group.parameters) < len(runs) * _FUSED_FROM:
                self._update_each(group, part, lr)
                continue
            for (members, rate, decay), lasting in zip(runs, self._cut(group, part, runs), strict=True):
                own = gradients if len(runs) == 1 else [gradient[members] for gradient in gradients]
                self._fused(own, *lasting, rate * group.factor, decay)

    def _cut(self, group: Group, part: slice, runs: Sequence[Any]) -> list[Lasting]:
        """Parameters and moments of each run; kept as long as they are where they are, for cutting costs as a step."""
        lasting = group.parameters, self.means[part], self.squares[part]
        if len(runs) == 1:
            return [lasting]
        key = [(members.start, members.stop) for members, _, _ in runs], [p.data_ptr() for p in group.parameters]
        if part.start not in self._cuts or self._cuts[part.start][0] != key:
            cuts = [_of_members(lasting, members) for members, _, _ in runs]
            self._cuts[part.start] = key, cuts
        return self._cuts[part.start][1]

    def _fused(
        self,
        gradients: list[Tensor],
        parameters: list[Tensor],
        means: list[Tensor],
        squares: list[Tensor],
        lr: float,
        decay: float,
    ) -> None:
        """A step of parameters by their gradients and moments."""
        torch._fused_adamw_(
            parameters,
            gradients,
            means,
            squares,
            [],
            self.count * len(parameters),
            lr=lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=decay,
            eps=EPS,
            amsgrad=False,
            maximize=False,
        )

    def _update_each(self, group: Group, part: slice, lr: Rate) -> None:
        """The same step with rates or decays of each member, in operations on all of them."""
        count, gradients, means = self.count[0].item(), gradients_of(group.parameters), self.means[part]
        beta1, beta2 = self.betas
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        _follow_squares(self.squares[part], gradients, beta2)
        directions = torch._foreach_div(means, 1 - beta1**count)
        torch._foreach_div_(directions, _roots(self.squares[part], 1 - beta2**count))
        group.move_(list(directions), lr)

    def reach(self, i: int, lr: Rate) -> Tensor:
        """The rate over the root of the corrected second moment."""
        return self._rate(i, lr) / ((self.squares[i] / (1 - self.betas[1] ** self.count[0])).sqrt_() + EPS)

    def state_dict(self) -> dict[str, Any]:
        """First and second moments and the count of steps."""
        return {"means": self.means, "squares": self.squares, "count": self.count}


class AdamW(Adam):
    """Adam whose average of squared gradients forgets faster."""

    betas = (0.9, 0.95)


class Sgd(FirstOrder):
    """Gradient descent with momentum [Polyak 1964], as a rule Nesterov's [Sutskever et al. 2013].

    Parameters
    ----------
    groups
        See ``Optimizer``.
    momentum : float
        What a step keeps of the velocity, in [0, 1).
    nesterov : bool
        Whether a step looks ahead along the momentum.
    """

    scale_invariant = False
    settings = ("momentum", "nesterov")

    def __init__(self, groups: list[Group], momentum: float = 0.9, nesterov: bool = True) -> None:
        super().__init__(groups)
        self.momentum, self.nesterov = momentum, nesterov
        self.velocities = self._zeros()

    def update(self, lr: Rate) -> None:
        """Decay, then a step along the momentum, and under Nesterov's along the gradient besides."""
        gradients = gradients_of(self.parameters)
        torch._foreach_mul_(self.velocities, self.momentum)
        torch._foreach_add_(self.velocities, gradients)
        if self.nesterov:
            torch._foreach_add_(gradients, self.velocities, alpha=self.momentum)
        self._move(gradients if self.nesterov else self.velocities, lr)

    def reach(self, i: int, lr: Rate) -> Rate:
        """Momentum of either kind repeats a lasting gradient ``1 / (1 - momentum)`` times."""
        return self._rate(i, lr) / (1 - self.momentum)

    def state_dict(self) -> dict[str, Any]:
        """The velocities."""
        return {"velocities": self.velocities}


def _of_members(lasting: Lasting, members: slice) -> Lasting:
    parameters, means, squares = ([tensor[members] for tensor in kind] for kind in lasting)
    return parameters, means, squares


def _runs(lr: Rate, decay: Rate, n_members: int) -> list[tuple[slice, float, float]]:
    """Members that follow one another and have the same rate and decay, with both."""
    if not isinstance(lr, Tensor) and not isinstance(decay, Tensor):
        return [(slice(None), lr, decay)]
    rates, decays = (each.tolist() if isinstance(each, Tensor) else [each] * n_members for each in (lr, decay))
    runs, start = [], 0
    for (rate, strength), same in groupby(zip(rates, decays, strict=True)):
        stop = start + len(list(same))
        runs.append((slice(start, stop), rate, strength))
        start = stop
    return runs


def _follow_squares(squares: list[Tensor], gradients: list[Tensor], kept: float) -> None:
    """Let running squares follow the gradients."""
    torch._foreach_mul_(squares, kept)
    torch._foreach_addcmul_(squares, gradients, gradients, 1 - kept)


def _roots(squares: list[Tensor], correction: float) -> list[Tensor]:
    """Roots of the corrected squares, kept from zero."""
    roots = list(torch._foreach_div(squares, correction))
    torch._foreach_sqrt_(roots)
    torch._foreach_add_(roots, EPS)
    return roots
