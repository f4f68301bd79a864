"""One update of the weights: penalty gradients, clipping, optimizer, proximal steps and constraints."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .._utils.per_member import broadcast
from .constraints import MaxNorm
from .optimizers.base import FirstOrderOptimizer, Rate, gradients_of
from .optimizers.lbfgs import Lbfgs
from .optimizers.registry import SolverOptimizer
from .penalties import Penalty


class UpdateStep:
    """Update the parameters of all members.

    Each penalty or constraint is paired with the weights that it applies to. Proximal steps are applied in the order of
    ``penalties``. ``clip_norm`` limits the norm of each member's gradient [Pascanu et al. 2013].
    """

    def __init__(
        self,
        optimizer: SolverOptimizer,
        penalties: Sequence[tuple[Tensor, Penalty]],
        constraints: Sequence[tuple[Tensor, MaxNorm]],
        clip_norm: Rate | None,
    ) -> None:
        self.optimizer, self._constraints, self._clip_norm = optimizer, constraints, clip_norm
        index = {id(parameter): i for i, parameter in enumerate(optimizer.parameters)}
        self._smooth = [(weight, penalty) for weight, penalty in penalties if penalty.smooth]
        self._nonsmooth = [(index[id(weight)], weight, penalty) for weight, penalty in penalties if penalty.nonsmooth]

    def zero_grad(self) -> None:
        """Delete the gradients."""
        for parameter in self.optimizer.parameters:
            parameter.grad = None

    def step(self, lr: Rate, evaluate: Callable[[], Tensor]) -> Tensor:
        """Make a step and return the losses ``(members,)`` before it.

        ``evaluate`` returns the losses and computes their gradients. A line search calls it several times and ignores
        the learning rate.
        """
        if isinstance(self.optimizer, Lbfgs):
            return self._line_search(self.optimizer, evaluate)
        loss = evaluate()
        self._first_order_step(self.optimizer, lr)
        return loss

    def _line_search(self, optimizer: Lbfgs, evaluate: Callable[[], Tensor]) -> Tensor:
        losses: list[Tensor] = []

        def objective() -> Tensor:
            """Return the penalized loss, and add the gradients of the penalties."""
            loss = evaluate().detach()
            losses.append(loss)
            for parameter in optimizer.parameters:
                parameter.grad = None if parameter.grad is None else parameter.grad.contiguous()
            for weight, penalty in self._smooth:
                penalty.add_gradient_(gradients_of([weight])[0], weight.detach())
                loss = loss + penalty.value(weight.detach())
            return loss

        optimizer.search(objective)
        return losses[0]

    @torch.no_grad()
    def _first_order_step(self, optimizer: FirstOrderOptimizer, lr: Rate) -> None:
        optimizer.param_groups[0]["lr"] = lr
        for weight, penalty in self._smooth:
            penalty.add_gradient_(gradients_of([weight])[0], weight)
        if self._clip_norm is not None:
            _clip(gradients_of(optimizer.parameters), self._clip_norm)
        optimizer.update(lr)
        for i, weight, penalty in self._nonsmooth:
            penalty.proximal_(weight, optimizer.step_size(i, lr))
        for weight, constraint in self._constraints:
            constraint.project_(weight)


def _clip(gradients: list[Tensor], limit: Rate) -> None:
    """Scale down the gradient of each member whose norm exceeds ``limit``."""
    squares = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0)
    factor = (limit / squares.sqrt().clamp(min=1e-30)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(broadcast(factor, gradient))
