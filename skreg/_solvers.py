"""A solver makes one step of the weights: penalty, clipping, the optimiser, proximal step, constraint.

The optimisers are torch's own kernels on stacked tensors, without ``torch.optim``: on a small network its Python takes
three quarters of a step's update, and its first use imports the compiler, which takes longer than many a fit.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from .constraints import MaxNorm
from .penalties import ElasticNet


def gradients_of(parameters: list[Tensor]) -> list[Tensor]:
    """The gradients, which a backward pass has left in all of them."""
    return [p.grad for p in parameters if p.grad is not None]


class Optimizer(ABC):
    """Update of the parameters from their gradients, with decoupled decay [Loshchilov & Hutter 2019].

    Parameters
    ----------
    weights, others : list of Tensor
        Parameters with decay, and without.
    decay : float
        Each step multiplies the weights by ``1 - lr * decay``.

    Attributes
    ----------
    param_groups : list of dict
        ``params`` and ``lr``, for callbacks that look for them where torch's optimisers have them.
    """

    def __init__(self, weights: list[Tensor], others: list[Tensor], decay: float) -> None:
        self.weights, self.decay = weights, decay
        self.parameters = [*weights, *others]
        self.param_groups: list[dict[str, Any]] = [{"params": self.parameters, "lr": 0.0}]

    @abstractmethod
    def update(self, lr: float) -> None:
        """One step from the gradients in place."""

    @abstractmethod
    def reach(self, i: int, lr: float) -> Tensor | float:
        """How far a lasting unit of gradient moves weight ``i`` in a step: the optimiser's metric."""

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
    weights, others, decay
        See ``Optimizer``.
    beta2 : float
        Forgetting of the squared gradients.
    """

    beta1, eps = 0.9, 1e-8

    def __init__(self, weights: list[Tensor], others: list[Tensor], decay: float, beta2: float) -> None:
        super().__init__(weights, others, decay)
        self.beta2 = beta2
        self.means = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.squares = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.count = [torch.zeros((), dtype=torch.float32, device=self.parameters[0].device)]

    def update(self, lr: float) -> None:
        """One step of the fused kernel for the weights, one for the others."""
        self.count[0] += 1
        n = len(self.weights)
        for part, decay in ((slice(0, n), self.decay), (slice(n, None), 0.0)):
            parameters = self.parameters[part]
            torch._fused_adamw_(
                parameters,
                gradients_of(parameters),
                self.means[part],
                self.squares[part],
                [],
                self.count * len(parameters),
                lr=lr,
                beta1=self.beta1,
                beta2=self.beta2,
                weight_decay=decay,
                eps=self.eps,
                amsgrad=False,
                maximize=False,
            )

    def reach(self, i: int, lr: float) -> Tensor:
        """The rate over the root of the corrected second moment."""
        return lr / ((self.squares[i] / (1 - self.beta2 ** self.count[0])).sqrt_() + self.eps)

    def state_dict(self) -> dict[str, Any]:
        """First and second moments and the count of steps."""
        return {"means": self.means, "squares": self.squares, "count": self.count}


class Sgd(Optimizer):
    """Gradient descent with Nesterov momentum [Sutskever et al. 2013].

    Parameters
    ----------
    weights, others, decay
        See ``Optimizer``.
    """

    momentum = 0.9

    def __init__(self, weights: list[Tensor], others: list[Tensor], decay: float) -> None:
        super().__init__(weights, others, decay)
        self.velocities = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]

    def update(self, lr: float) -> None:
        """Decay, then a step along gradient and momentum."""
        gradients = gradients_of(self.parameters)
        if self.decay:
            torch._foreach_mul_(self.weights, 1 - lr * self.decay)
        torch._foreach_mul_(self.velocities, self.momentum)
        torch._foreach_add_(self.velocities, gradients)
        torch._foreach_add_(gradients, self.velocities, alpha=self.momentum)
        torch._foreach_add_(self.parameters, gradients, alpha=-lr)

    def reach(self, i: int, lr: float) -> float:
        """Momentum repeats a lasting gradient ``1 / (1 - momentum)`` times."""
        return lr / (1 - self.momentum)

    def state_dict(self) -> dict[str, Any]:
        """The velocities."""
        return {"velocities": self.velocities}


def make_optimizer(name: str, weights: list[Tensor], others: list[Tensor], decay: float) -> Optimizer:
    """The optimiser of a solver: "adamw" has betas (0.9, 0.95), "adam" scikit-learn's (0.9, 0.999)."""
    if name == "sgd":
        return Sgd(weights, others, decay)
    return Adam(weights, others, decay, beta2={"adamw": 0.95, "adam": 0.999}[name])


SOLVERS = ("adam", "adamw", "sgd")


class Solver:
    """One step of all members.

    Parameters
    ----------
    optimizer : Optimizer
        Updates the parameters.
    constrained : list of Tensor
        Weights on which the constraint acts.
    penalty : ElasticNet or None
        Acts on the optimiser's weights.
    constraint : MaxNorm or None
        Projection after every step.
    clip_norm : float or None
        Largest norm of a member's gradient [Pascanu et al. 2013].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        constrained: list[Tensor],
        penalty: ElasticNet | None,
        constraint: MaxNorm | None,
        clip_norm: float | None,
    ) -> None:
        self.optimizer, self._constrained = optimizer, constrained
        self._penalty, self._constraint, self._clip_norm = penalty, constraint, clip_norm

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.optimizer.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One step at learning rate ``lr``, from the gradients in place."""
        optimizer, penalty = self.optimizer, self._penalty
        optimizer.param_groups[0]["lr"] = lr
        if penalty is not None and penalty.l2:
            for gradient, weight in zip(gradients_of(optimizer.weights), optimizer.weights, strict=True):
                penalty.add_gradient_(gradient, weight)
        if self._clip_norm is not None:
            _clip(gradients_of(optimizer.parameters), self._clip_norm)
        optimizer.update(lr)
        if penalty is not None and penalty.l1:
            for i, weight in enumerate(optimizer.weights):
                penalty.proximal_(weight, optimizer.reach(i, lr))
        if self._constraint is not None:
            for weight in self._constrained:
                self._constraint.project_(weight)


def _clip(gradients: list[Tensor], limit: float) -> None:
    """Scale the gradient of each member that is longer than ``limit`` down to it."""
    squares = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0)
    factor = (limit / squares.sqrt().clamp(min=1e-30)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))
