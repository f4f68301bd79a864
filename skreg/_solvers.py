"""A solver makes one step of the weights: penalty, clipping, the optimiser, proximal step, constraint.

The optimisers are torch's own kernels on stacked tensors, without ``torch.optim``: on a small network its Python takes
three quarters of a step's update, and its first use imports the compiler, which takes longer than many a fit.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .constraints import MaxNorm
from .penalties import ElasticNet


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
    decay : float
        Each step multiplies them by ``1 - lr * decay`` [Loshchilov & Hutter 2019].
    factor : float
        On the learning rate.
    """

    parameters: list[Tensor]
    decay: float = 0.0
    factor: float = 1.0


class Optimizer(ABC):
    """Update of the parameters from their gradients.

    Parameters
    ----------
    groups : list of Group
        What is updated.

    Attributes
    ----------
    parameters : list of Tensor
        Those of all groups.
    param_groups : list of dict
        ``params`` and ``lr``, for callbacks that look for them where torch's optimisers have them.
    """

    def __init__(self, groups: list[Group]) -> None:
        self.groups = groups
        self.parameters = [parameter for group in groups for parameter in group.parameters]
        self._factors = [group.factor for group in groups for _ in group.parameters]
        self.param_groups: list[dict[str, Any]] = [{"params": self.parameters, "lr": 0.0}]

    def parts(self) -> Iterator[tuple[Group, slice]]:
        """Each group, and where its parameters stand among all."""
        start = 0
        for group in self.groups:
            yield group, slice(start, start := start + len(group.parameters))

    @abstractmethod
    def update(self, lr: float, decay: float = 1.0) -> None:
        """One step from the gradients in place; ``decay`` is a factor on the groups' decay."""

    @abstractmethod
    def reach(self, i: int, lr: float) -> Tensor | float:
        """How far a lasting unit of gradient moves parameter ``i`` in a step: the optimiser's metric."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Moments and counts."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        for name, values in state.items():
            torch._foreach_copy_(getattr(self, name), values)


class Adam(Optimizer):
    """AdamW; without decay Adam [Kingma & Ba 2015].

    Parameters
    ----------
    groups
        See ``Optimizer``.
    beta2 : float
        Forgetting of the squared gradients.
    """

    beta1, eps = 0.9, 1e-8

    def __init__(self, groups: list[Group], beta2: float) -> None:
        super().__init__(groups)
        self.beta2 = beta2
        self.means = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.squares = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.count = [torch.zeros((), dtype=torch.float32, device=self.parameters[0].device)]

    def update(self, lr: float, decay: float = 1.0) -> None:
        """One step of the fused kernel for each group."""
        self.count[0] += 1
        for group, part in self.parts():
            torch._fused_adamw_(
                group.parameters,
                gradients_of(group.parameters),
                self.means[part],
                self.squares[part],
                [],
                self.count * len(group.parameters),
                lr=lr * group.factor,
                beta1=self.beta1,
                beta2=self.beta2,
                weight_decay=group.decay * decay,
                eps=self.eps,
                amsgrad=False,
                maximize=False,
            )

    def reach(self, i: int, lr: float) -> Tensor:
        """The rate over the root of the corrected second moment."""
        return lr * self._factors[i] / ((self.squares[i] / (1 - self.beta2 ** self.count[0])).sqrt_() + self.eps)

    def state_dict(self) -> dict[str, Any]:
        """First and second moments and the count of steps."""
        return {"means": self.means, "squares": self.squares, "count": self.count}


class Sgd(Optimizer):
    """Gradient descent with Nesterov momentum [Sutskever et al. 2013].

    Parameters
    ----------
    groups
        See ``Optimizer``.
    """

    momentum = 0.9

    def __init__(self, groups: list[Group]) -> None:
        super().__init__(groups)
        self.velocities = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]

    def update(self, lr: float, decay: float = 1.0) -> None:
        """Decay, then a step along gradient and momentum."""
        gradients = gradients_of(self.parameters)
        torch._foreach_mul_(self.velocities, self.momentum)
        torch._foreach_add_(self.velocities, gradients)
        torch._foreach_add_(gradients, self.velocities, alpha=self.momentum)
        for group, part in self.parts():
            if group.decay:
                torch._foreach_mul_(group.parameters, 1 - lr * group.factor * group.decay * decay)
            torch._foreach_add_(group.parameters, gradients[part], alpha=-lr * group.factor)

    def reach(self, i: int, lr: float) -> float:
        """Momentum repeats a lasting gradient ``1 / (1 - momentum)`` times."""
        return lr * self._factors[i] / (1 - self.momentum)

    def state_dict(self) -> dict[str, Any]:
        """The velocities."""
        return {"velocities": self.velocities}


def make_optimizer(name: str, groups: list[Group]) -> Optimizer:
    """The optimiser of a solver: "adamw" has betas (0.9, 0.95), "adam" scikit-learn's (0.9, 0.999)."""
    if name == "sgd":
        return Sgd(groups)
    return Adam(groups, beta2={"adamw": 0.95, "adam": 0.999}[name])


SOLVERS = ("adam", "adamw", "sgd")


class Solver:
    """One step of all members.

    Parameters
    ----------
    optimizer : Optimizer
        Updates the parameters.
    penalties : list of (Tensor, ElasticNet)
        Weights among the optimiser's parameters, and what each costs.
    constraints : list of (Tensor, MaxNorm)
        Weights, and what each may be: a projection after every step.
    clip_norm : float or None
        Largest norm of a member's gradient [Pascanu et al. 2013].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        penalties: list[tuple[Tensor, ElasticNet]],
        constraints: list[tuple[Tensor, MaxNorm]],
        clip_norm: float | None,
    ) -> None:
        self.optimizer, self._constraints, self._clip_norm = optimizer, constraints, clip_norm
        place = {id(parameter): i for i, parameter in enumerate(optimizer.parameters)}
        self._smooth = [(weight, penalty) for weight, penalty in penalties if penalty.l2]
        self._sharp = [(place[id(weight)], weight, penalty) for weight, penalty in penalties if penalty.l1]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.optimizer.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float, decay: float = 1.0) -> None:
        """One step at learning rate ``lr`` and with a factor on the decay, from the gradients in place."""
        optimizer = self.optimizer
        optimizer.param_groups[0]["lr"] = lr
        for weight, penalty in self._smooth:
            penalty.add_gradient_(gradients_of([weight])[0], weight)
        if self._clip_norm is not None:
            _clip(gradients_of(optimizer.parameters), self._clip_norm)
        optimizer.update(lr, decay)
        for i, weight, penalty in self._sharp:
            penalty.proximal_(weight, optimizer.reach(i, lr))
        for weight, constraint in self._constraints:
            constraint.project_(weight)


def _clip(gradients: list[Tensor], limit: float) -> None:
    """Scale the gradient of each member that is longer than ``limit`` down to it."""
    squares = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0)
    factor = (limit / squares.sqrt().clamp(min=1e-30)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))
