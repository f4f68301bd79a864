"""Activation functions: elementwise functions from a tensor to a tensor of the same shape.

Every name in ``__all__`` is a value of the parameter ``activation``. An activation may have these attributes:

- ``init``: name of the initializer that keeps the variance of its layers, used by ``init="auto"``. Default: He's.
- ``negative_limit``: its limit as the input approaches minus infinity, to which alpha dropout sets dropped units.
- ``inplace_safe``: whether its derivative is computed from its input, so its output may be modified in place.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["elu", "gelu", "identity", "leaky_relu", "logistic", "mish", "relu", "selu", "silu", "tanh"]

DEFAULT_INIT = "he_normal"

_Activation = TypeVar("_Activation", bound=Callable[[Tensor], Tensor])


def _with(**attributes: str | float | bool) -> Callable[[_Activation], _Activation]:
    """Set attributes of the decorated function."""

    def decorate(function: _Activation) -> _Activation:
        vars(function).update(attributes)
        return function

    return decorate


def relu(x: Tensor) -> Tensor:
    """Rectified linear unit, max(0, x) [Nair & Hinton 2010]."""
    return F.relu(x)


@_with(inplace_safe=True)
def leaky_relu(x: Tensor) -> Tensor:
    """Rectified linear unit with slope 0.01 below zero, which avoids dead units [Maas et al. 2013]."""
    return F.leaky_relu(x, 0.01)


def elu(x: Tensor) -> Tensor:
    """Exponential linear unit: exp(x) - 1 below zero [Clevert et al. 2016]."""
    return F.elu(x)


@_with(init="lecun_normal", negative_limit=-1.0507009873554805 * 1.6732632423543772)
def selu(x: Tensor) -> Tensor:
    """Scaled exponential linear unit, self-normalizing with LeCun's initialization [Klambauer et al. 2017]."""
    return F.selu(x)


@_with(inplace_safe=True)
def gelu(x: Tensor) -> Tensor:
    """Gaussian error linear unit, x times the normal distribution function [Hendrycks & Gimpel 2016]."""
    return F.gelu(x)


@_with(inplace_safe=True)
def silu(x: Tensor) -> Tensor:
    """Sigmoid-weighted linear unit, x times the logistic function; also called swish [Elfwing et al. 2018]."""
    return F.silu(x)


@_with(inplace_safe=True)
def mish(x: Tensor) -> Tensor:
    """Mish, x tanh(softplus(x)) [Misra 2020]. Not vectorized on CPUs, so several times slower than ``silu``."""
    return F.mish(x)


@_with(init="xavier_normal")
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent [LeCun et al. 1998]."""
    return torch.tanh(x)


@_with(init="xavier_normal")
def logistic(x: Tensor) -> Tensor:
    """Logistic sigmoid, 1 / (1 + exp(-x)). It saturates, so deep networks learn slowly [Glorot & Bengio 2010]."""
    return torch.sigmoid(x)


@_with(init="xavier_normal")
def identity(x: Tensor) -> Tensor:
    """Identity, which makes the network a linear model."""
    return x
