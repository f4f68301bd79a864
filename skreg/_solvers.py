"""A solver makes one step of the weights: penalty, clipping, the optimiser, proximal step, constraint."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .constraints import MaxNorm
from .penalties import ElasticNet

SOLVERS = ("adam", "adamw", "sgd")
MOMENTUM = 0.9


def make_optimizer(name: str, weights: list[Tensor], others: list[Tensor], lr: float, decay: float) -> Any:
    """The torch optimiser of a solver; penalised and decayed weights are its first group.

    ``"adamw"`` has betas (0.9, 0.95), ``"adam"`` scikit-learn's (0.9, 0.999), ``"sgd"`` Nesterov momentum 0.9.
    Decay is decoupled [Loshchilov & Hutter 2019]: AdamW's own, or for sgd the solver's.
    """
    adaptive = name != "sgd"
    groups = [{"params": weights, "weight_decay": decay if adaptive else 0.0}, {"params": others, "weight_decay": 0.0}]
    if adaptive:
        return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95 if name == "adamw" else 0.999), fused=True)
    return torch.optim.SGD(groups, lr=lr, momentum=MOMENTUM, nesterov=True, fused=True)


class Solver:
    """One step of all members.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        As ``make_optimizer`` makes it.
    constrained : list of Tensor
        Weights on which the constraint acts.
    decay : float
        Decoupled weight decay.
    penalty : ElasticNet or None
        Acts on the weights of the first group.
    constraint : MaxNorm or None
        Projection after every step.
    clip_norm : float or None
        Largest norm of a member's gradient [Pascanu et al. 2013].
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        constrained: list[Tensor],
        decay: float,
        penalty: ElasticNet | None,
        constraint: MaxNorm | None,
        clip_norm: float | None,
    ) -> None:
        self.optimizer = optimizer
        self._weights: list[Tensor] = optimizer.param_groups[0]["params"]
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._constrained = constrained
        self._adaptive = isinstance(optimizer, torch.optim.AdamW)
        self._decay = 0.0 if self._adaptive else decay
        self._penalty, self._constraint, self._clip_norm = penalty, constraint, clip_norm
        self._known_moments: list[tuple[list[Tensor], ...]] | None = None

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One step at learning rate ``lr``, from the gradients in place."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if self._penalty is not None and self._penalty.l2:
            for weight in self._weights:
                self._penalty.add_gradient_(weight.grad, weight)
        if self._clip_norm is not None:
            self._clip()
        if self._decay:
            torch._foreach_mul_(self._weights, 1 - lr * self._decay)
        self._advance()
        if self._penalty is not None and self._penalty.l1:
            for weight, step in zip(self._weights, self._steps(lr), strict=True):
                self._penalty.proximal_(weight, step)
        if self._constraint is not None:
            for weight in self._constrained:
                self._constraint.project_(weight)

    def _advance(self) -> None:
        """The optimiser's own step.

        ``optimizer.step()`` spends three quarters of its time on a small network in Python (36 of 45 us, measured for
        four tensors in two groups), so after the first step, which makes the state, its kernel is called directly.
        """
        if not self._adaptive or not self.optimizer.state:
            self.optimizer.step()
            return
        for group, moments in zip(self.optimizer.param_groups, self._moments(), strict=True):
            means, squares, steps = moments
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                group["params"],
                [p.grad for p in group["params"]],
                means,
                squares,
                [],
                steps,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )

    def _moments(self) -> list[tuple[list[Tensor], ...]]:
        """Means, squares and step counts of each group, looked up once."""
        if self._known_moments is None:
            states = [[self.optimizer.state[p] for p in group["params"]] for group in self.optimizer.param_groups]
            names = ("exp_avg", "exp_avg_sq", "step")
            self._known_moments = [tuple([state[name] for state in group] for name in names) for group in states]
        return self._known_moments

    def _clip(self) -> None:
        """Scale the gradient of each member that is too long, down to the norm allowed."""
        gradients = [p.grad for p in self._parameters]
        squares = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0)
        factor = (self._clip_norm / squares.sqrt().clamp(min=1e-30)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))

    def _steps(self, lr: float) -> Iterator[Tensor | float]:
        """How far a unit of gradient moves each weight: the optimiser's metric.

        Momentum repeats a constant gradient 1 / (1 - momentum) times.
        """
        group = self.optimizer.param_groups[0]
        for weight in self._weights:
            if not self._adaptive:
                yield lr / (1 - MOMENTUM)
                continue
            state = self.optimizer.state[weight]
            correction = 1 - group["betas"][1] ** state["step"]
            yield lr / ((state["exp_avg_sq"] / correction).sqrt_() + group["eps"])
