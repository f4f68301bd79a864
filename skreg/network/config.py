"""Configuration of a network, derived from the parameters of an estimator and validated before any work."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import is_regressor
from torch import Tensor

from .._utils.validation import layer_sizes, parameter_error, rate_per_layer
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
            init = getattr(activation, "init", None)
            if not isinstance(init, str):  # torch's PReLU has a number of this name
                init = activations.DEFAULT_INIT
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
        result = activation(probe)
    except Exception as error:
        raise ValueError(f"The callable given as 'activation' failed on a tensor: {error}") from error
    if not isinstance(result, Tensor) or result.shape != probe.shape:
        must = "a name, or a callable that returns a tensor of the shape of its argument"
        raise parameter_error(estimator, "activation", must, activation)
    return activation
