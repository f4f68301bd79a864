"""Fine-tuning: the initial layers of a network are copied from a fitted estimator.

The copied tensors have the shapes of ``skreg.network.layers``, with the members on axis 0.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Any, Self

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from torch import Tensor, nn

from .._utils.validation import listed, parameter_error
from ..data.table import TableEncoder
from .config import NetworkConfig, apply_activation
from .input_layer import InputLayer
from .layers import BatchNorm, LayerNorm
from .network import Network

COLUMN_DEFAULTS = {"categorical_features": "from_dtype", "numeric_scaling": "robust"}
"""Defaults of the parameters that have no effect with a pretrained network, whose statistics are kept."""


@dataclass(frozen=True)
class PretrainedSource:
    """Fitted estimator whose layers another network starts from.

    The layers before the first one whose width differs are copied. The layers after a new layer receive
    different inputs from those that they were trained on, so their weights would be no better than random ones.
    """

    fitted: Any  # the fitted estimator, which is not modified
    n_layers: int  # number of hidden layers that are copied
    all_layers: bool  # whether these are all the hidden layers of both networks
    n_frozen: int  # number of hidden layers that are not trained

    @classmethod
    def from_estimator(cls, estimator: Any, config: NetworkConfig) -> Self | None:
        """Return the source given by ``estimator.pretrained``, or None.

        A source that is not a fitted estimator, or whose layers do not fit ``config``, raises a ValueError.
        """
        frozen = estimator.freeze_layers
        if estimator.pretrained is None:
            if frozen:
                raise ValueError(
                    f"freeze_layers={frozen} requires a pretrained network, but pretrained is None. Set it to 0."
                )
            return None
        fitted = _fitted(estimator)
        known, hidden = fitted.net_.module_, config.hidden_layer_sizes
        widths = known.config.hidden_layer_sizes
        n_layers = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(hidden, widths, strict=False)))
        _check_structure(fitted, known, config, n_layers)
        _check_column_parameters(estimator, fitted)
        if not n_layers and (hidden or widths):
            raise ValueError(
                f"No hidden layer of pretrained fits: its widths are {widths}, and hidden_layer_sizes is {hidden}. "
                "Set at least the first width to that of pretrained."
            )
        if frozen > n_layers:
            raise ValueError(
                f"freeze_layers={frozen}, but only {n_layers} hidden layer(s) are copied from pretrained. Set "
                f"freeze_layers to at most {n_layers}."
            )
        return cls(fitted, n_layers, hidden == widths, frozen)

    @property
    def generation(self) -> int:
        """Number of successive fits in which the copied layers were trained."""
        fitted, count = self.fitted, 1
        while fitted.pretrained is not None:
            fitted, count = fitted.pretrained.estimator, count + 1
        return count

    def copies_head(self, target_encoder: Any) -> bool:
        """Return whether the output layer is copied, which requires the same task and the same hidden layers."""
        known = self.fitted.target_encoder_
        return self.all_layers and type(known) is type(target_encoder) and bool(known.task == target_encoder.task)

    def table_encoder(self, estimator: Any) -> TableEncoder:
        """Return the table encoder of the source for an estimator, whose columns are matched by name if possible."""
        names, known = (getattr(each, "feature_names_in_", None) for each in (estimator, self.fitted))
        n, n_known = estimator.n_features_in_, self.fitted.n_features_in_
        encoder: TableEncoder = copy.deepcopy(self.fitted.encoder_)
        if names is None or known is None:
            if n != n_known:
                raise ValueError(
                    f"X has {n} features, but pretrained was fitted with {n_known}. Pass the same columns in the same "
                    "order, or data frames to both, whose columns are matched by name."
                )
            return encoder
        _check_columns(list(names), list(known))
        position = {name: j for j, name in enumerate(names)}
        encoder.numeric_ = [position[known[j]] for j in encoder.numeric_]
        encoder.categorical_ = [position[known[j]] for j in encoder.categorical_]
        return encoder

    def statistics(self, n_members: int, dtype: torch.dtype) -> tuple[InputLayer, tuple[np.ndarray, np.ndarray] | None]:
        """Return the input layer and the target statistics of the source for ``n_members`` members."""
        return self._select_members(n_members).copy_statistics(dtype)

    def copy_into(self, network: Network, target_encoder: Any) -> None:
        """Copy the matching layers into ``network``, set its ``pretrained_names``, and freeze the first layers."""
        source, head = self._select_members(network.n_members), self.copies_head(target_encoder)
        if not (self.n_layers or head):
            raise ValueError(
                "pretrained has no hidden layer, and its output layer does not fit another kind of target. Use a "
                "pretrained network with hidden layers, or set pretrained=None."
            )
        source.match_input_scale(network)
        copied, layers = (
            [*_first_layers(each, self.n_layers), *([each.head] if head else [])] for each in (source, network)
        )
        for layer, known in zip(layers, copied, strict=True):
            layer.load_state_dict(known.state_dict())
        ids = {id(parameter) for layer in layers for parameter in layer.parameters()}
        network.pretrained_names = frozenset(name for name, p in network.named_parameters() if id(p) in ids)
        freeze(network, self.n_frozen)

    def _select_members(self, n_members: int) -> Network:
        """Return the network of the source with ``n_members`` members, repeated in order if there are fewer."""
        network: Network = self.fitted.net_.module_
        return network.select_members([m % network.n_members for m in range(n_members)]).cpu()


def freeze(network: Network, n_layers: int) -> None:
    """Freeze the first ``n_layers`` hidden layers, the embeddings, and the statistics of batch normalization."""
    for layer in _first_layers(network, n_layers) if n_layers else []:
        layer.requires_grad_(False)
        if isinstance(layer, BatchNorm):
            layer.frozen = True


def _first_layers(network: Network, n_layers: int) -> list[nn.Module]:
    """Return the embeddings, and the affine layers and norms of the first ``n_layers`` hidden layers."""
    first = [layer for layer in (network.embeddings, network.numeric, network.scale) if layer is not None]
    return [*first, *network.hidden[:n_layers], *network.norms[:n_layers]]


def _fitted(estimator: Any) -> Any:
    """Return the fitted estimator in ``pretrained``."""
    frozen = estimator.pretrained
    source = frozen.estimator if isinstance(frozen, FrozenEstimator) else None
    if not isinstance(getattr(getattr(source, "net_", None), "module_", None), Network):
        must = (
            "None, or sklearn.frozen.FrozenEstimator(source) of a RegularizedMLPClassifier or RegularizedMLPRegressor "
            "on which source.fit(X, y) was called"
        )
        raise parameter_error(estimator, "pretrained", must, frozen)
    return source


def _check_structure(fitted: Any, known: Network, config: NetworkConfig, n_layers: int) -> None:
    """Raise an error if copied layers would be combined with functions that they were not trained with."""
    first = known.linears[0].weight.shape[1]
    widths = (first, *config.hidden_layer_sizes)[: n_layers + 1]
    has_skip = [config.residual and a == b for a, b in pairwise(widths)]
    copied, numeric = n_layers > 0, bool(known.inputs.n_numbers)
    differs = {
        "activation": copied and not _same_function(config.activation, known.activation, known.inputs.dtype),
        "batch_norm": copied and (config.norm is BatchNorm) != (known.config.norm is BatchNorm),
        "layer_norm": copied and (config.norm is LayerNorm) != (known.config.norm is LayerNorm),
        "residual": has_skip != known.has_skip[:n_layers],
        "numeric_embedding": numeric and config.numeric_embedding is not known.config.numeric_embedding,
    }
    if names := [name for name, other in differs.items() if other]:
        required = ", ".join(f"{name}={getattr(fitted, name)!r}" for name in names)
        raise ValueError(
            f"pretrained was fitted with {required}, which must be the same in this estimator. Set {required}."
        )


def _same_function(one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor], dtype: torch.dtype) -> bool:
    """Return whether two activations are equal; copies of a callable object count as equal."""
    probe = torch.linspace(-4, 4, 24, dtype=dtype).view(2, 3, 4)
    return one is other or torch.equal(apply_activation(one, probe), apply_activation(other, probe))


def _check_column_parameters(estimator: Any, fitted: Any) -> None:
    """Raise an error if column parameters differ both from their defaults and from those of the source."""
    for name, default in COLUMN_DEFAULTS.items():
        value, known = getattr(estimator, name), getattr(fitted, name)
        if not _same_value(value, default) and not _same_value(value, known):
            raise ValueError(
                f"{name}={value!r} cannot be combined with pretrained, which was fitted with {name}={known!r} and "
                f"whose statistics of the columns are kept. Set {name}={default!r}."
            )


def _same_value(one: Any, other: Any) -> bool:
    """Return whether two values of a parameter are equal; they may be arrays or sequences."""
    one, other = (value if value is None or isinstance(value, str) else np.asarray(value) for value in (one, other))
    return type(one) is type(other) and np.array_equal(one, other)


def _check_columns(names: list[str], known: list[str]) -> None:
    """Raise an error if a column is missing or is unknown to the source."""
    given, expected = set(names), set(known)
    if missing := [name for name in known if name not in given]:
        raise ValueError(
            f"X has no column(s) {listed(missing)}, with which pretrained was fitted. Add them, with missing values if "
            "they are unknown."
        )
    if unknown := [name for name in names if name not in expected]:
        raise ValueError(
            f"X has the column(s) {listed(unknown)}, without which pretrained was fitted. Drop them, or fit pretrained "
            "with these columns."
        )
