"""Stochastic gradient descent with momentum."""

import torch

from .base import FirstOrderOptimizer, ParameterGroup, Rate, gradients_of


class Sgd(FirstOrderOptimizer):
    """Gradient descent with momentum [Polyak 1964], by default Nesterov's [Sutskever et al. 2013]."""

    scale_invariant = False
    settings, moments = ("momentum", "nesterov"), ("velocities",)

    def __init__(self, groups: list[ParameterGroup], momentum: float = 0.9, nesterov: bool = True) -> None:
        super().__init__(groups)
        self.momentum, self.nesterov = momentum, nesterov
        self.velocities = self._zeros()

    def update(self, lr: Rate) -> None:
        """Apply the weight decay, then a step along the velocity."""
        gradients = gradients_of(self.parameters)
        torch._foreach_mul_(self.velocities, self.momentum)
        torch._foreach_add_(self.velocities, gradients)
        if self.nesterov:
            torch._foreach_add_(gradients, self.velocities, alpha=self.momentum)
        directions = gradients if self.nesterov else self.velocities
        for group, its in zip(self.groups, self._slices, strict=True):
            group.step_(directions[its], lr)

    def step_size(self, i: int, lr: Rate) -> Rate:
        """Return the learning rate divided by ``1 - momentum``, for both kinds of momentum."""
        return self._rate(i, lr) / (1 - self.momentum)
