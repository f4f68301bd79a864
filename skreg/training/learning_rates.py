"""A parametrisation says how fast each parameter moves: factors on the learning rate, and none on the weights.

Under "ntk" [Jacot et al. 2018] a layer computes ``x W / sqrt(fan_in)``, so that one learning rate suits layers of every
width. Adam's steps do not depend on the gradient's size, so that this is the same as a rate of ``1 / sqrt(fan_in)`` on
the effective weight. That is how it is done here: weights, penalties, constraints and what the estimator shows are
always the effective ones. Rates are in units of a layer of 32 inputs, which moves as under "standard".
"""

from ..network.network import Network
from .optimizers.base import Optimizer

BASE_WIDTH = 32
_ROOT = BASE_WIDTH**0.5
BIASES = 0.1 * _ROOT
NUMERIC = 0.1 * _ROOT
VECTORS = _ROOT
SCALES = 6.0 * _ROOT
"""Factors of what has no inputs to sum over: those of RealMLP [Holzmueller et al. 2024, table A.1]."""


def rate_factors(module: Network, name: str, optimizer: type[Optimizer]) -> dict[int, float]:
    """Factor on the learning rate of each parameter, by ``id``; what is not in it has 1.

    Parameters
    ----------
    module : Network
        The networks; one without hidden layers is a linear model, and moves as under "standard".
    name : {"ntk", "standard"}
        The parametrisation.
    optimizer : type of Optimizer
        Whose steps they are; without a learning rate, or if the steps scale with the loss, there are no factors.
    """
    scaled = optimizer.takes_learning_rate and optimizer.scale_invariant
    if name == "standard" or not module.hidden or not scaled:
        return {}
    factors: dict[int, float] = {}
    for linear in module.linears:
        factors[id(linear.weight)] = (BASE_WIDTH / max(linear.weight.shape[1], 1)) ** 0.5
        if linear.bias is not None:
            factors[id(linear.bias)] = BIASES
    if module.embeddings is not None:
        factors[id(module.embeddings.weight)] = VECTORS
    if module.numeric is not None:
        factors |= {id(parameter): NUMERIC for parameter in module.numeric.parameters()}
    if module.scale is not None:
        factors[id(module.scale.weight)] = SCALES
    return factors
