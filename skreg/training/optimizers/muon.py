"""Muon makes the steps of the weights between hidden layers orthogonal; AdamW takes the other parameters."""

from math import sqrt
from typing import Any

import torch
from torch import Tensor

from .base import Adam, FirstOrder, Group, Rate, gradients_of


class Muon(FirstOrder):
    """Momentum, orthogonalised by Newton-Schulz iterations [Jordan et al. 2024, "Muon"], with torch's constants.

    As its authors advise, for weights from a hidden layer to a hidden layer only. A step is scaled so that its entries
    are as large as AdamW's use to be [Liu et al. 2025, "Muon is scalable for LLM training"], and one learning rate fits
    both. It is computed in the precision of the weights, where torch's is in bfloat16: so a member does not depend on
    the others.

    Parameters
    ----------
    groups
        See ``Optimizer``.
    beta2 : float
        Of AdamW.
    """

    momentum, size = 0.95, 0.2

    def __init__(self, groups: list[Group], beta2: float) -> None:
        super().__init__(groups)
        self._hidden = [group for group in groups if group.matrices]
        self._adam = Adam([group for group in groups if not group.matrices], beta2)
        place = {id(parameter): j for j, parameter in enumerate(self._adam.parameters)}
        self._of_adam = [place.get(id(parameter)) for parameter in self.parameters]
        self.means, self.squares, self.count = self._adam.means, self._adam.squares, self._adam.count
        self.momenta = [torch.zeros_like(p, requires_grad=False) for group in self._hidden for p in group.parameters]

    def update(self, lr: Rate, decay: float = 1.0) -> None:
        """One step of each kind."""
        self._adam.update(lr, decay)
        momenta = iter(self.momenta)
        for group in self._hidden:
            group.move_([self._direction(g, next(momenta)) for g in gradients_of(group.parameters)], lr, decay)

    def _direction(self, gradient: Tensor, momentum: Tensor) -> Tensor:
        """Nesterov's momentum of all members' matrices, made orthogonal."""
        momentum.lerp_(gradient, 1 - self.momentum)
        return orthogonal(gradient.lerp(momentum, self.momentum)) * (self.size * sqrt(max(gradient.shape[1:])))

    def reach(self, i: int, lr: Rate) -> Rate:
        """AdamW's; refused for the matrices, where the step of a weight depends on the whole."""
        j = self._of_adam[i]
        if j is None:
            raise ValueError("Muon takes no L1 penalty: it has no step size of a single weight to shrink it by.")
        return self._adam.reach(j, lr)

    def state_dict(self) -> dict[str, Any]:
        """The momenta, and AdamW's moments."""
        return {**self._adam.state_dict(), "momenta": self.momenta}


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices ``(members, a, b)``, their singular values moved to about one: in (0.7, 1.2) if not tiny.

    Five steps of the quintic Newton-Schulz iteration whose coefficients raise small singular values fastest.
    """
    a, b, c = 3.4445, -4.775, 2.0315
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
