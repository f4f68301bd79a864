"""A solver makes one step of the weights: penalty, clipping, the optimiser, proximal step, constraint."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .constraints import MaxNorm
from .optimizers.base import Adam, AdamW, FirstOrder, Group, Rate, Sgd, gradients_of
from .optimizers.lbfgs import Lbfgs
from .penalties import ElasticNet, GroupLasso

SolverOptimizer = FirstOrder | Lbfgs

SOLVERS: dict[str, type[SolverOptimizer]] = {"adam": Adam, "adamw": AdamW, "lbfgs": Lbfgs, "sgd": Sgd}
"""Values of the ``solver`` parameter and their optimizer classes."""


def solvers_with(capability: str) -> list[str]:
    """Names of the solvers whose optimizer class has a capability, see ``Optimizer``."""
    return [name for name, optimizer in SOLVERS.items() if getattr(optimizer, capability)]


def make_optimizer(name: str, groups: list[Group], **settings: Any) -> SolverOptimizer:
    """Construct the optimizer of a solver."""
    return SOLVERS[name](groups, **settings)


class UpdateStep:
    """One step of all members.

    Parameters
    ----------
    optimizer : FirstOrder or Lbfgs
        Updates the parameters.
    penalties : list of (Tensor, ElasticNet)
        Weights among the optimiser's parameters, and what each costs.
    constraints : list of (Tensor, MaxNorm)
        Weights, and what each may be: a projection after every step.
    clip_norm : float, Tensor of shape (members,) or None
        Largest norm of a member's gradient [Pascanu et al. 2013].
    group_penalties : sequence of (Tensor, GroupLasso)
        Weights among the optimiser's parameters, and what groups of their rows cost.
    """

    def __init__(
        self,
        optimizer: SolverOptimizer,
        penalties: list[tuple[Tensor, ElasticNet]],
        constraints: list[tuple[Tensor, MaxNorm]],
        clip_norm: Rate | None,
        group_penalties: Sequence[tuple[Tensor, GroupLasso]] = (),
    ) -> None:
        self.optimizer, self._constraints, self._clip_norm = optimizer, constraints, clip_norm
        place = {id(parameter): i for i, parameter in enumerate(optimizer.parameters)}
        self._smooth = [(weight, penalty) for weight, penalty in penalties if penalty.smooth]
        # the order matters: first each weight, then its group
        sharp: list[tuple[Tensor, ElasticNet | GroupLasso]] = [
            *((weight, penalty) for weight, penalty in penalties if penalty.sharp),
            *group_penalties,
        ]
        self._sharp = [(place[id(weight)], weight, penalty) for weight, penalty in sharp]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.optimizer.parameters:
            parameter.grad = None

    def step(self, lr: Rate, evaluate: Callable[[], Tensor]) -> Tensor:
        """One step, and the members' losses before it.

        Parameters
        ----------
        lr : float or Tensor of shape (members,)
            Learning rate; a line search takes none.
        evaluate : callable () -> Tensor of shape (members,)
            Computes the losses, and leaves their gradients. A line search calls it several times.
        """
        if isinstance(self.optimizer, Lbfgs):
            return self._search(self.optimizer, evaluate)
        loss = evaluate()
        self._follow(self.optimizer, lr)
        return loss

    def _search(self, optimizer: Lbfgs, evaluate: Callable[[], Tensor]) -> Tensor:
        losses: list[Tensor] = []

        def objective() -> Tensor:
            losses.append(evaluate().detach())
            return self._penalised(losses[-1])

        optimizer.search(objective)
        return losses[0]

    @torch.no_grad()
    def _follow(self, optimizer: FirstOrder, lr: Rate) -> None:
        """A step from the gradients in place."""
        optimizer.param_groups[0]["lr"] = lr
        for weight, penalty in self._smooth:
            penalty.add_gradient_(gradients_of([weight])[0], weight)
        if self._clip_norm is not None:
            _clip(gradients_of(optimizer.parameters), self._clip_norm)
        optimizer.update(lr)
        for i, weight, sharp in self._sharp:
            sharp.proximal_(weight, optimizer.reach(i, lr))
        for weight, constraint in self._constraints:
            constraint.project_(weight)

    @torch.no_grad()
    def _penalised(self, loss: Tensor) -> Tensor:
        """The loss and what the weights cost, in the gradients as well."""
        for parameter in self.optimizer.parameters:
            parameter.grad = None if parameter.grad is None else parameter.grad.contiguous()
        for weight, penalty in self._smooth:
            penalty.add_gradient_(gradients_of([weight])[0], weight)
            loss = loss + penalty.value(weight)
        return loss


def _clip(gradients: list[Tensor], limit: Rate) -> None:
    """Scale the gradient of each member that is longer than ``limit`` down to it."""
    squares = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0)
    factor = (limit / squares.sqrt().clamp(min=1e-30)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))
