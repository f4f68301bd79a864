"""An activation is an elementwise function from tensor to tensor of the same shape.

Every name in ``__all__`` is a value of the ``activation`` parameter. An activation may carry ``init``, the name of
the initialiser that keeps the spread of its layers, which is what ``init="auto"`` reads; without one it gets He's. And
it may carry ``floor``, the value it saturates at from below, to which dropout then sets what it drops; and
``by_input``, if its derivative is computed from its input, so that what it returns may be changed in place.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["elu", "gelu", "identity", "leaky_relu", "logistic", "mish", "relu", "selu", "silu", "tanh"]

DEFAULT_INIT = "he_normal"


def _wants(init: str, floor: float = 0.0) -> Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]]:
    def mark(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        function.init, function.floor = init, floor  # type: ignore[attr-defined]  # functions do take attributes
        return function

    return mark


def _by_input(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    function.by_input = True  # type: ignore[attr-defined]  # functions do take attributes
    return function


def relu(x: Tensor) -> Tensor:
    """Rectifier, max(0, x) [Nair & Hinton 2010]."""
    return F.relu(x)


@_by_input
def leaky_relu(x: Tensor) -> Tensor:
    """Rectifier with slope 0.01 below zero, so that no unit dies [Maas et al. 2013]."""
    return F.leaky_relu(x, 0.01)


def elu(x: Tensor) -> Tensor:
    """Exponential linear unit: exp(x) - 1 below zero [Clevert et al. 2016]."""
    return F.elu(x)


@_wants("lecun_normal", floor=-1.0507009873554805 * 1.6732632423543772)
def selu(x: Tensor) -> Tensor:
    """Scaled exponential linear unit, self-normalising under LeCun's initialisation [Klambauer et al. 2017]."""
    return F.selu(x)


@_by_input
def gelu(x: Tensor) -> Tensor:
    """Gaussian error linear unit, x times the normal distribution function [Hendrycks & Gimpel 2016]."""
    return F.gelu(x)


@_by_input
def silu(x: Tensor) -> Tensor:
    """Sigmoid-weighted linear unit, x times the logistic function; also called swish [Elfwing et al. 2018]."""
    return F.silu(x)


@_by_input
def mish(x: Tensor) -> Tensor:
    """X tanh(softplus(x)) [Misra 2020]. Not vectorised on CPU: several times the cost of ``silu``."""
    return F.mish(x)


@_wants("xavier_normal")
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent [LeCun et al. 1998]."""
    return torch.tanh(x)


@_wants("xavier_normal")
def logistic(x: Tensor) -> Tensor:
    """Logistic sigmoid, 1 / (1 + exp(-x)); saturates, and deep stacks of it learn slowly [Glorot & Bengio 2010]."""
    return torch.sigmoid(x)


@_wants("xavier_normal")
def identity(x: Tensor) -> Tensor:
    """No activation: however deep, the network stays a linear model."""
    return x
