"""Configuration of a network, derived from the parameters of an estimator and validated before any work."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import is_regressor
from torch import Tensor

from .._utils.validation import layer_sizes, rate_per_layer
from . import activations, embeddings, initializers
from .layers import BatchNorm, Initializer, LayerNorm

_DATA_DRIVEN = "data_driven"
_AUTO: dict[str, tuple[Any, Any]] = {"numeric_embedding": ("piecewise_linear", None), "residual": (True, False)}
"""Meaning of "auto" in regression and in classification."""

_FIRST_LAYER_BOUNDS = ("alpha", "feature_alpha", "max_norm")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Structure and initialization of a network."""

    hidden_layer_sizes: tuple[int, ...]
    activation: Callable[[Tensor], Tensor] = activations.relu
    norm: type[BatchNorm] | type[LayerNorm] | None = None  # applied before each activation
    residual: bool = False  # whether a hidden layer's input is added to its output if both have the same width
    dropout: tuple[float, ...] = ()  # rate of each hidden layer
    input_dropout: float = 0.0
    numeric_embedding: Callable[..., embeddings.NumericEmbedding] | None = None  # creates the module
    embedding_width: int = 8  # length of the embedding vectors of categories
    scale_layer: bool = False  # whether each input of the first layer has a learned factor
    init: Initializer = initializers.he_normal
    head_init: Initializer = initializers.he_normal
    data_driven_init: bool = False  # whether the initial weights are fitted to the rows

    @classmethod
    def from_estimator(cls, estimator: Any, scale_invariant_solver: bool, continues: bool = False) -> Self:
        """Create the configuration from the parameters of an estimator.

        Mutually exclusive parameters raise an error. With a ``scale_invariant_solver``, a constant factor on the loss
        does not change the steps. If training ``continues`` the last fit, its choices for "auto" are kept.
        """
        hidden = layer_sizes(estimator, estimator.hidden_layer_sizes)
        if estimator.batch_norm and estimator.layer_norm:
            raise ValueError("batch_norm=True and layer_norm=True cannot be combined. Set one of them to False.")
        norm = BatchNorm if estimator.batch_norm else LayerNorm if estimator.layer_norm else None
        activation = _activation(estimator)
        init = head_init = estimator.init
        if init in ("auto", _DATA_DRIVEN):
            init = _init_of(activation)
            head_init = init if hidden else "normal"
        # a first layer that selects features needs all inputs of each feature, and gradient descent may diverge
        plain = not hidden or bool(estimator.feature_alpha) or not scale_invariant_solver
        auto = {name: values[0 if is_regressor(estimator) and not plain else 1] for name, values in _AUTO.items()}
        # the network whose training continues, or the pretrained network, has decided
        fitted = estimator if continues else getattr(estimator.pretrained, "estimator", None)
        known = getattr(getattr(getattr(fitted, "net_", None), "module_", None), "config", None)
        if known is not None:
            auto = {"numeric_embedding": known.numeric_embedding, "residual": known.residual}
        residual, embedding = (
            auto[name] if getattr(estimator, name) == "auto" else getattr(estimator, name)
            for name in ("residual", "numeric_embedding")
        )
        return cls(
            hidden_layer_sizes=hidden,
            activation=activation,
            norm=norm,
            residual=residual,
            dropout=rate_per_layer(estimator, "dropout", estimator.dropout, len(hidden)),
            input_dropout=float(estimator.input_dropout),
            numeric_embedding=getattr(embeddings, embedding) if isinstance(embedding, str) else embedding,
            scale_layer=_scale_layer(estimator, hidden),
            init=getattr(initializers, init),
            head_init=getattr(initializers, head_init),
            data_driven_init=estimator.init == _DATA_DRIVEN and bool(hidden) and norm is None,
        )

    @property
    def n_bins(self) -> int:
        """Number of bins of each numeric column that the embedding requires."""
        return getattr(self.numeric_embedding, "n_bins", 0)


def structure_decided_by_values(estimator: Any) -> tuple[bool, bool]:
    """Return the properties of hyperparameter values that determine an "auto" structure.

    The properties are whether the weights of the first layer are bounded and whether features are selected.
    """
    return bool(_first_layer_bounds(estimator)), bool(estimator.feature_alpha)


def _scale_layer(estimator: Any, hidden: tuple[int, ...]) -> bool:
    """Return whether the inputs have factors; "auto" means no factors if the weights that they multiply are bounded."""
    bounds = _first_layer_bounds(estimator)
    if estimator.scale_layer == "auto":
        return bool(hidden) and not bounds
    if estimator.scale_layer and hidden and bounds:
        name = bounds[0]
        raise ValueError(
            f"scale_layer=True cannot be combined with {name}={getattr(estimator, name)!r} on the first layer, which "
            "would not apply to the factors on the inputs. Set scale_layer='auto' or False."
        )
    return bool(estimator.scale_layer and hidden)


def _first_layer_bounds(estimator: Any) -> list[str]:
    """Return the names of the parameters that bound the weights of the first layer."""
    values = {name: np.ravel(np.array(getattr(estimator, name), dtype=object))[:1] for name in _FIRST_LAYER_BOUNDS}
    return [name for name, first in values.items() if any(isinstance(value, Real) and value for value in first)]


def _activation(estimator: Any) -> Callable[[Tensor], Tensor]:
    given = estimator.activation
    activation: Callable[[Tensor], Tensor] = getattr(activations, given) if isinstance(given, str) else given
    probe = torch.linspace(-1, 1, 6).view(1, 2, 3)
    try:
        apply_activation(activation, probe)
    except ValueError:  # it may support only float64; the type of the network is not known yet
        apply_activation(activation, probe.double())
    limit = getattr(activation, "negative_limit", 0.0)
    if not isinstance(limit, Real) or not isfinite(limit):
        raise ValueError(
            "The attribute 'negative_limit' of the callable given as 'activation' must be a finite number. Got "
            f"{limit!r} instead."
        )
    return activation


def apply_activation(activation: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return ``activation(x)``; an error of a user-defined activation names the parameter and the remedy."""
    try:
        result = activation(x)
        if isinstance(result, Tensor) and (result.shape, result.dtype, result.device) == (x.shape, x.dtype, x.device):
            return result
    except Exception as error:  # user-defined activations can raise anything
        if _is_named(activation):
            raise
        raise _activation_error(x, f"failed on {_described(x)}: {error}") from error
    got = _described(result) if isinstance(result, Tensor) else repr(result)
    raise _activation_error(x, f"returned {got} for {_described(x)}")


def check_derivative(activation: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Raise an error if an activation cannot be applied or differentiated for the type and device of ``x``."""
    if _is_named(activation):
        return
    x = x.detach().clone().requires_grad_()
    result = apply_activation(activation, x.clone())  # it may work in place
    if getattr(activation, "inplace_safe", False):
        result.mul_(1)
    try:
        torch.autograd.grad(result.sum(), x)
    except Exception as error:
        raise _activation_error(x, f"cannot be differentiated for {_described(x)}: {error}") from error


def _is_named(activation: Callable[[Tensor], Tensor]) -> bool:
    return getattr(activation, "__module__", None) == activations.__name__


def _described(x: Tensor) -> str:
    return f"a tensor of shape {tuple(x.shape)} and type {x.dtype} on the device {str(x.device)!r}"


def _activation_error(x: Tensor, problem: str) -> ValueError:
    name = str(x.dtype).removeprefix("torch.")
    return ValueError(
        f"The callable given as 'activation' {problem.rstrip('.')}. It must return a tensor of the same shape, type "
        "and device as its argument, computed by differentiable operations. If it supports only one type, set "
        f"'precision' accordingly; a torch module can also be converted with .to(torch.{name})."
    )


def _init_of(activation: Callable[[Tensor], Tensor]) -> str:
    """Return the name of the initializer that suits an activation."""
    init = getattr(activation, "init", None)
    if not isinstance(init, str):  # torch's PReLU has a number of this name
        return activations.DEFAULT_INIT
    if init not in initializers.__all__:
        raise ValueError(
            "The attribute 'init' of the callable given as 'activation' must be the name of an initializer: one of "
            f"{', '.join(map(repr, initializers.__all__))}. Got {init!r} instead."
        )
    return init
