"""A penalty is what a weight costs: a value, the gradient of its smooth part, and a proximal step for the rest."""

import torch
from torch import Tensor

__all__ = ["ElasticNet"]


class ElasticNet:
    """``alpha * (l1_ratio * |w| + (1 - l1_ratio) / 2 * w**2)``, summed over the weights of a member.

    The squared part enters the gradient, the absolute part is a proximal step, so zeros are exact. In
    scikit-learn's ``ElasticNet`` the same formula stands beside half the mean squared error.

    Parameters
    ----------
    alpha : float
        Strength, at least 0.
    l1_ratio : float
        Share of the absolute value, in [0, 1].

    References
    ----------
    Zou & Hastie 2005, "Regularization and variable selection via the elastic net".
    """

    def __init__(self, alpha: float, l1_ratio: float) -> None:
        self.l1 = alpha * l1_ratio
        self.l2 = alpha * (1 - l1_ratio)

    def value(self, weight: Tensor) -> Tensor:
        """Cost of ``weight`` ``(members, fan_in, fan_out)`` for each member: ``(members,)``."""
        return (self.l1 * weight.abs() + self.l2 / 2 * weight.square()).flatten(1).sum(1)

    def add_gradient_(self, gradient: Tensor, weight: Tensor) -> None:
        """Add the gradient of the smooth part to ``gradient``, in place."""
        gradient.add_(weight, alpha=self.l2)

    def proximal_(self, weight: Tensor, step: Tensor | float) -> None:
        """Replace w by the v that minimises ``l1 |v| + (v - w)**2 / (2 step)``, in place.

        ``step`` is the optimiser's step for each weight, so that the fixed point of a preconditioned optimiser is
        the minimum of the objective and not of another one.
        """
        threshold = self.l1 * step
        weight.copy_(torch.sign(weight) * (weight.abs() - threshold).clamp_(min=0))
