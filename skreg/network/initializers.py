"""Initializers: functions that draw the weights of a layer.

Every name in ``__all__`` is a value of the parameter ``init``. An initializer returns the weights of one layer of one
member. They have mean 0 and are float64, so that they are the same in every precision.
"""

from math import sqrt

import torch
from torch import Generator, Tensor

__all__ = [
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "orthogonal",
    "xavier_normal",
    "xavier_uniform",
]

_PARAMETERS = """

Parameters
----------
fan_in, fan_out : int
    Number of inputs and of outputs of the layer.
generator : torch.Generator
    Generator of the random numbers.

Returns
-------
Tensor of shape (fan_in, fan_out)
    The weights.
"""


def _normal(fan_in: int, fan_out: int, variance: float, generator: Generator) -> Tensor:
    return torch.randn(fan_in, fan_out, generator=generator, dtype=torch.float64) * sqrt(variance)


def _uniform(fan_in: int, fan_out: int, variance: float, generator: Generator) -> Tensor:
    return (2 * torch.rand(fan_in, fan_out, generator=generator, dtype=torch.float64) - 1) * sqrt(3 * variance)


def he_normal(fan_in: int, fan_out: int, generator: Generator) -> Tensor:
    """Draw normal weights with variance ``2 / fan_in`` [He et al. 2015]."""
    return _normal(fan_in, fan_out, 2 / max(fan_in, 1), generator)


def he_uniform(fan_in: int, fan_out: int, generator: Generator) -> Tensor:
    """Draw uniform weights with variance ``2 / fan_in`` [He et al. 2015]."""
    return _uniform(fan_in, fan_out, 2 / max(fan_in, 1), generator)


def xavier_normal(fan_in: int, fan_out: int, generator: Generator) -> Tensor:
    """Draw normal weights with variance ``2 / (fan_in + fan_out)`` [Glorot & Bengio 2010]."""
    return _normal(fan_in, fan_out, 2 / (fan_in + fan_out), generator)


def xavier_uniform(fan_in: int, fan_out: int, generator: Generator) -> Tensor:
    """Draw uniform weights with variance ``2 / (fan_in + fan_out)`` [Glorot & Bengio 2010]."""
    return _uniform(fan_in, fan_out, 2 / (fan_in + fan_out), generator)


def lecun_normal(fan_in: int, fan_out: int, generator: Generator) -> Tensor:
    """Draw normal weights with variance ``1 / fan_in`` [LeCun et al. 1998]."""
    return _normal(fan_in, fan_out, 1 / max(fan_in, 1), generator)


def lecun_uniform(fan_in: int, fan_out: int, generator: Generator) -> Tensor:
    """Draw uniform weights with variance ``1 / fan_in`` [LeCun et al. 1998]."""
    return _uniform(fan_in, fan_out, 1 / max(fan_in, 1), generator)


def orthogonal(fan_in: int, fan_out: int, generator: Generator) -> Tensor:
    """Draw a matrix with orthonormal rows or columns, whichever are fewer [Saxe et al. 2014]."""
    return torch.nn.init.orthogonal_(torch.empty(fan_in, fan_out, dtype=torch.float64), generator=generator)


def normal(fan_in: int, fan_out: int, generator: Generator) -> Tensor:
    """Draw normal weights with standard deviation 0.01, which makes the activations of deep networks vanish."""
    return _normal(fan_in, fan_out, 0.01**2, generator)


for _name in __all__:
    globals()[_name].__doc__ = f"{globals()[_name].__doc__}{_PARAMETERS}"
