"""An initialiser draws the weights of one layer of one member, shape ``(fan_in, fan_out)``, from a generator.

Every name in ``__all__`` is a value of the ``init`` parameter. Each states the variance of its weights, a function of
the fans, which the tests hold it to.
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
    """Zero-mean weights of a stated variance.

    Parameters
    ----------
    variance : callable (fan_in, fan_out) -> float
        Variance of one weight.
    source : str
        Where the scheme comes from.
    """

    def __init__(self, variance: Callable[[int, int], float], source: str) -> None:
        self.variance = variance
        self.source = source

    @abstractmethod
    def __call__(self, fan_in: int, fan_out: int, generator: Generator) -> Tensor:
        """Weights ``(fan_in, fan_out)`` in float64, so that every precision starts from the same numbers."""


class Normal(Initializer):
    """Independent normal weights."""

    def __call__(self, fan_in: int, fan_out: int, generator: Generator) -> Tensor:
        """Draw ``(fan_in, fan_out)`` normal weights."""
        weights = torch.randn(fan_in, fan_out, generator=generator, dtype=torch.float64)
        return weights * sqrt(self.variance(fan_in, fan_out))


class Uniform(Initializer):
    """Independent weights, uniform on the symmetric interval that has the stated variance."""

    def __call__(self, fan_in: int, fan_out: int, generator: Generator) -> Tensor:
        """Draw ``(fan_in, fan_out)`` uniform weights."""
        unit = torch.rand(fan_in, fan_out, generator=generator, dtype=torch.float64)
        return (2 * unit - 1) * sqrt(3 * self.variance(fan_in, fan_out))


class Orthogonal(Initializer):
    """Orthonormal rows or columns, whichever are fewer."""

    def __call__(self, fan_in: int, fan_out: int, generator: Generator) -> Tensor:
        """Draw ``(fan_in, fan_out)`` orthogonal weights."""
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


def _naive(fan_in: int, fan_out: int) -> float:
    return 0.01**2


he_normal = Normal(_he, "He et al. 2015")
he_uniform = Uniform(_he, "He et al. 2015")
xavier_normal = Normal(_xavier, "Glorot & Bengio 2010")
xavier_uniform = Uniform(_xavier, "Glorot & Bengio 2010")
lecun_normal = Normal(_lecun, "LeCun et al. 1998")
lecun_uniform = Uniform(_lecun, "LeCun et al. 1998")
orthogonal = Orthogonal(_orthonormal, "Saxe et al. 2014")
normal = Normal(_naive, "the naive choice, standard deviation 0.01: deep stacks collapse")
