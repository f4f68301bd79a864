"""Initializers: distributions from which the weights of a layer are drawn.

Every name in ``__all__`` is a value of the parameter ``init``. An initializer returns the weights of one layer of one
member, shape ``(fan_in, fan_out)``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
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


class Initializer(ABC):
    """Zero-mean distribution with a given variance.

    Parameters
    ----------
    variance : callable (fan_in, fan_out) -> float
        Variance of a weight.
    reference : str
        Publication that proposes the distribution.
    """

    def __init__(self, variance: Callable[[int, int], float], reference: str) -> None:
        self.variance = variance
        self.reference = reference

    @abstractmethod
    def __call__(self, fan_in: int, fan_out: int, generator: Generator) -> Tensor:
        """Draw weights ``(fan_in, fan_out)`` in float64, so that they are the same in every precision."""


class Normal(Initializer):
    """Independent weights with a normal distribution."""

    def __call__(self, fan_in: int, fan_out: int, generator: Generator) -> Tensor:
        """Draw weights ``(fan_in, fan_out)``."""
        weights = torch.randn(fan_in, fan_out, generator=generator, dtype=torch.float64)
        return weights * sqrt(self.variance(fan_in, fan_out))


class Uniform(Initializer):
    """Independent weights with a uniform distribution on a symmetric interval."""

    def __call__(self, fan_in: int, fan_out: int, generator: Generator) -> Tensor:
        """Draw weights ``(fan_in, fan_out)``."""
        unit = torch.rand(fan_in, fan_out, generator=generator, dtype=torch.float64)
        return (2 * unit - 1) * sqrt(3 * self.variance(fan_in, fan_out))


class Orthogonal(Initializer):
    """Matrix with orthonormal rows or columns, whichever are fewer."""

    def __call__(self, fan_in: int, fan_out: int, generator: Generator) -> Tensor:
        """Draw weights ``(fan_in, fan_out)``."""
        weights = torch.empty(fan_in, fan_out, dtype=torch.float64)
        return torch.nn.init.orthogonal_(weights, generator=generator)


def _he(fan_in: int, fan_out: int) -> float:
    return 2 / max(fan_in, 1)


def _lecun(fan_in: int, fan_out: int) -> float:
    return 1 / max(fan_in, 1)


def _xavier(fan_in: int, fan_out: int) -> float:
    return 2 / (fan_in + fan_out)


def _orthonormal(fan_in: int, fan_out: int) -> float:
    return 1 / max(fan_in, fan_out)


def _constant(fan_in: int, fan_out: int) -> float:
    return 0.01**2


he_normal = Normal(_he, "He et al. 2015")
he_uniform = Uniform(_he, "He et al. 2015")
xavier_normal = Normal(_xavier, "Glorot & Bengio 2010")
xavier_uniform = Uniform(_xavier, "Glorot & Bengio 2010")
lecun_normal = Normal(_lecun, "LeCun et al. 1998")
lecun_uniform = Uniform(_lecun, "LeCun et al. 1998")
orthogonal = Orthogonal(_orthonormal, "Saxe et al. 2014")
normal = Normal(_constant, "standard deviation 0.01, with which the activations of deep networks vanish")
