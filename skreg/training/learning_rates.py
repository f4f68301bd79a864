"""Learning rates of parameters and members: the parametrization, and the reduction on plateaus.

With ``parametrization="ntk"`` [Jacot et al. 2018] a layer computes ``x W / sqrt(fan_in)``, so that one learning rate
suits layers of every width. Adam's steps do not depend on the scale of the gradient, so this is equivalent to a
learning rate divided by ``sqrt(fan_in)`` for the effective weight. This package uses the second form, so weights,
penalties, constraints and estimator attributes always refer to effective weights. The factors are relative to a layer
with 32 inputs, which has factor 1.
"""

import torch
from torch import Tensor

from ..network.network import Network
from .optimizers.base import Optimizer, Rate

ADAPTIVE = "adaptive"
"""Value of the ``learning_rate`` parameter that selects ``ReduceOnPlateau``."""
REDUCTION = 0.2

BASE_WIDTH = 32
_ROOT = BASE_WIDTH**0.5
BIAS_FACTOR, NUMERIC_FACTOR, EMBEDDING_FACTOR, SCALE_FACTOR = 0.1 * _ROOT, 0.1 * _ROOT, _ROOT, 6.0 * _ROOT
"""Factors of parameters without a fan-in, from RealMLP [Holzmueller et al. 2024, table A.1]."""


def rate_factors(module: Network, name: str, optimizer: type[Optimizer]) -> dict[int, float]:
    """Return the learning rate factor of each parameter, keyed by ``id``; parameters that are not listed have factor 1.

    No parameters are listed for linear models, nor for optimizers that ignore the learning rate or whose steps scale
    with the loss.
    """
    scaled = optimizer.takes_learning_rate and optimizer.scale_invariant
    if name == "standard" or not module.hidden or not scaled:
        return {}
    factors: dict[int, float] = {}
    for linear in module.linears:
        factors[id(linear.weight)] = (BASE_WIDTH / max(linear.weight.shape[1], 1)) ** 0.5
        if linear.bias is not None:
            factors[id(linear.bias)] = BIAS_FACTOR
    if module.embeddings is not None:
        factors[id(module.embeddings.weight)] = EMBEDDING_FACTOR
    if module.numeric is not None:
        factors |= {id(parameter): NUMERIC_FACTOR for parameter in module.numeric.parameters()}
    if module.scale is not None:
        factors[id(module.scale.weight)] = SCALE_FACTOR
    return factors


class ReduceOnPlateau:
    """Divide the learning rate of a member by 5 after ``patience`` epochs without improvement, as in scikit-learn."""

    def __init__(self, n_members: int, patience: float, min_delta: float) -> None:
        self._patience, self._min_delta = patience, min_delta
        self.best = torch.full((n_members,), -torch.inf, dtype=torch.float64)
        self.waited = torch.zeros(n_members, dtype=torch.int64)
        self.factors = torch.ones(n_members, dtype=torch.float64)

    def update(self, score: Tensor) -> None:
        """Process the scores ``(members,)`` of an epoch; greater is better, and NaN is not an improvement."""
        improved = score > self.best + self._min_delta
        self.best = torch.where(improved, score, self.best)
        self.waited = torch.where(improved, 0, self.waited + 1)
        reduced = self.waited >= self._patience
        self.factors[reduced] *= REDUCTION
        self.waited[reduced] = 0

    def rate(self, lr: Rate, active: Tensor, like: Tensor) -> Rate:
        """Return the learning rates: a number if all active members share it, or ``(members,)`` like ``like``."""
        factors: set[float] = set(self.factors[active].tolist())
        if len(factors) == 1:
            return lr * factors.pop()
        return (self.factors * (lr.cpu() if isinstance(lr, Tensor) else lr)).to(like)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the best scores, the epochs since then and the factors."""
        return {"best": self.best, "waited": self.waited, "factors": self.factors}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the result of ``state_dict``."""
        vars(self).update(state)
