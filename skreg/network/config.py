"""A blueprint is the structure of a network as an estimator's parameters say it, checked before any work."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import is_regressor
from torch import Tensor

from .._utils.validation import layer_sizes, parameter_error, rate_per_layer
from . import activations, embeddings, initializers
from .input_layer import InputLayer
from .layers import BatchNorm, LayerNorm
from .network import Network

EMBEDDING_WIDTH = 8
DATA_DRIVEN = "data_driven"
_AUTO: dict[str, tuple[Any, Any]] = {"numeric_embedding": ("piecewise_linear", None), "residual": (True, False)}
"""What "auto" is for numbers, and for classes."""

_BOUND_THE_FIRST_LAYER = ("alpha", "feature_alpha", "max_norm")
BIAS_SPREAD = 3**-0.5
"""Spread of the mean of five rows' pre-activations of spread 1, with weights of a random share each."""


@dataclass(frozen=True)
class NetworkConfig:
    """Structure of a network.

    Attributes
    ----------
    hidden : tuple of int
        Widths of the hidden layers.
    dropout : tuple of float
        Rate after each.
    input_dropout : float
        Rate on the inputs.
    norm : type or None
        ``BatchNorm`` or ``LayerNorm``, before each activation.
    residual : bool
        Whether a hidden layer that keeps the width adds its input.
    activation : callable
        Function of a tensor.
    init, head_init : Initializer
        Draw the weights of the hidden layers, and of the head.
    numeric_embedding : callable or None
        Makes what embeds the numbers.
    scaled : bool
        Whether each input of the first layer has a learned factor.
    settles : bool
        Whether the initial weights are fitted to the rows, see ``skreg.network.data_driven_init``.
    """

    hidden: tuple[int, ...]
    dropout: tuple[float, ...]
    input_dropout: float
    norm: type[BatchNorm] | type[LayerNorm] | None
    residual: bool
    activation: Callable[[Tensor], Tensor]
    init: initializers.Initializer
    head_init: initializers.Initializer
    numeric_embedding: Callable[..., embeddings.NumericEmbedding] | None
    scaled: bool = False
    settles: bool = False

    @classmethod
    def of(cls, estimator: Any, continues: bool = False) -> Self:
        """The blueprint of an estimator's parameters; what hangs together wrongly is refused.

        Where a fit ``continues`` an earlier one, "auto" stays what it was.
        """
        hidden = layer_sizes(estimator, estimator.hidden_layer_sizes)
        activation = _activation(estimator)
        init = head_init = estimator.init
        if init in ("auto", DATA_DRIVEN):
            init = getattr(activation, "init", activations.DEFAULT_INIT)
            head_init = init if hidden else "normal"
        return cls(
            hidden,
            rate_per_layer(estimator, "dropout", estimator.dropout, len(hidden)),
            estimator.input_dropout,
            _norm(estimator),
            _chosen(estimator, "residual", continues),
            activation,
            getattr(initializers, init),
            getattr(initializers, head_init),
            _numeric_embedding(estimator, continues),
            _scaled(estimator, hidden),
            estimator.init == DATA_DRIVEN and bool(hidden) and _norm(estimator) is None,
        )

    @property
    def n_bins(self) -> int:
        """Into how many bins the embedding wants each numeric column cut."""
        return getattr(self.numeric_embedding, "bins", 0)

    def network(
        self,
        inputs: InputLayer,
        embedding_sizes: list[int],
        n_raw: int,
        target_statistics: tuple[np.ndarray, np.ndarray] | None,
        seeds: list[int],
    ) -> Network:
        """The network, its weights drawn.

        Parameters
        ----------
        inputs : Inputs
            The members' view of the table.
        embedding_sizes : list of int
            Levels of the categories with an embedding.
        n_raw : int
            Raw outputs.
        target_statistics : pair of ndarray of shape (members, n_raw), or None
            Mean and spread of a target that is standardised.
        seeds : list of int
            A seed for the weights of each member.
        """
        center, scale = target_statistics or (None, None)
        network = Network(
            inputs,
            embedding_sizes,
            EMBEDDING_WIDTH,
            self.hidden,
            n_raw,
            self.activation,
            self.norm,
            self.residual,
            self.dropout,
            self.input_dropout,
            center,
            scale,
            self.numeric_embedding,
            self.scaled,
        )
        network.draw(self.init, self.head_init, seeds, BIAS_SPREAD if self.settles else 0.0)
        return network


def _norm(estimator: Any) -> type[BatchNorm] | type[LayerNorm] | None:
    if estimator.batch_norm and estimator.layer_norm:
        raise ValueError("batch_norm=True and layer_norm=True exclude each other: a layer has one norm.")
    return BatchNorm if estimator.batch_norm else LayerNorm if estimator.layer_norm else None


def _chosen(estimator: Any, name: str, continues: bool = False) -> Any:
    """A parameter of the structure; "auto" goes by the source, else by whether numbers or classes are predicted.

    A linear model stays one; a first layer that is to let go of columns has them as they are, and nothing past it; and
    plain gradient descent, which the steepest parts make diverge, has no embedding.
    """
    value = getattr(estimator, name)
    if value != "auto":
        return value
    if continues:
        return estimator.chosen_[name]
    source = getattr(estimator.pretrained, "estimator", None)
    if hasattr(source, name):
        return _chosen(source, name)
    linear = not layer_sizes(estimator, estimator.hidden_layer_sizes)
    plain = linear or estimator.feature_alpha or not estimator._has_scale_invariant_solver
    return _AUTO[name][0 if is_regressor(estimator) and not plain else 1]


def _scaled(estimator: Any, hidden: tuple[int, ...]) -> bool:
    """Whether the inputs have factors: by itself where nothing bounds the weights that they are multiplied with."""
    acting = _bounds(estimator)
    if estimator.scale_layer == "auto":
        return bool(hidden) and not acting
    if estimator.scale_layer and hidden and acting:
        name = acting[0]
        raise ValueError(
            f"scale_layer=True gives the inputs factors that {name}={getattr(estimator, name)!r} on the first layer's "
            "weights would not see. Leave scale_layer='auto', which has none then."
        )
    return bool(estimator.scale_layer and hidden)


def _bounds(estimator: Any) -> list[str]:
    """What acts on the first layer's weights."""
    strengths = {name: np.ravel(np.array(getattr(estimator, name), dtype=object)) for name in _BOUND_THE_FIRST_LAYER}
    return [name for name, of_layers in strengths.items() if len(of_layers) and of_layers[0]]


def structure_decided_by_values(estimator: Any) -> tuple[bool, bool]:
    """What strengths say of the structure where that is "auto": whether bounds act, and whether columns are chosen."""
    return bool(_bounds(estimator)), bool(estimator.feature_alpha)


def _numeric_embedding(estimator: Any, continues: bool) -> Callable[..., embeddings.NumericEmbedding] | None:
    name = _chosen(estimator, "numeric_embedding", continues)
    return getattr(embeddings, name) if name else None


def _activation(estimator: Any) -> Callable[[Tensor], Tensor]:
    activation = estimator.activation
    if isinstance(activation, str):
        return getattr(activations, activation)
    probe = torch.linspace(-1, 1, 6).view(1, 2, 3)
    try:
        kept = isinstance(result := activation(probe), Tensor) and result.shape == probe.shape
    except Exception as error:
        raise ValueError(f"The callable given as 'activation' failed on a tensor: {error}") from error
    if not kept:
        raise parameter_error(
            estimator, "activation", "a name, or a callable that keeps the shape of its tensor", activation
        )
    return activation
