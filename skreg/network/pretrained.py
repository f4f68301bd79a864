"""A source is a fitted estimator from which the network of another one starts: fine-tuning."""

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
from .config import NetworkConfig
from .input_layer import InputLayer
from .layers import BatchNorm, LayerNorm
from .network import Network

ITS_OWN = {"categorical_features": "from_dtype", "numeric_scaling": "robust"}


@dataclass(frozen=True)
class PretrainedSource:
    """What a network starts from.

    Layers are copied from the first on, up to the first that does not fit: what comes after a layer that starts afresh
    gets other inputs than it was trained on, so its weights would mean no more than drawn ones.

    Attributes
    ----------
    fitted : estimator
        Where the layers come from; it is only read.
    n_layers : int
        Hidden layers that are copied.
    whole : bool
        Whether these are all, of both networks, so that the head fits if the task is the same.
    n_frozen : int
        Hidden layers that stay as they are.
    """

    fitted: Any
    n_layers: int
    whole: bool
    n_frozen: int

    @classmethod
    def of(cls, estimator: Any, network_config: NetworkConfig) -> Self | None:
        """The source that an estimator names; one from which nothing can be taken is refused."""
        frozen = estimator.freeze_layers
        if estimator.pretrained is None:
            if frozen:
                raise ValueError(f"freeze_layers={frozen} freezes layers of pretrained, and pretrained is None.")
            return None
        fitted = _fitted(estimator)
        network, hidden = fitted.net_.module_, network_config.hidden
        widths = _widths(network)
        n_layers = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(hidden, widths, strict=False)))
        _refuse_other_kind(fitted, network, network_config, n_layers)
        _refuse_own_columns(estimator, fitted)
        if not n_layers and (hidden or widths):
            raise ValueError(
                f"No hidden layer of pretrained fits: its widths are {widths}, and hidden_layer_sizes is {hidden}. "
                "Give the first layer, or more of them, the width that it has there."
            )
        if frozen > n_layers:
            raise ValueError(
                f"freeze_layers={frozen}, but {n_layers} hidden layer(s) come from pretrained. Freeze no more than "
                "these."
            )
        return cls(fitted, n_layers, hidden == widths, frozen)

    @property
    def generation(self) -> int:
        """How many networks one after the other the layers have been trained in."""
        fitted, count = self.fitted, 1
        while fitted.pretrained is not None:
            fitted, count = fitted.pretrained.estimator, count + 1
        return count

    def gives_head(self, target_encoder: Any) -> bool:
        """Whether the head is copied: it says what the encoded target says, after the same layers."""
        known = self.fitted.target_encoder_
        return self.whole and type(known) is type(target_encoder) and known.task == target_encoder.task

    def encoder(self, estimator: Any) -> TableEncoder:
        """The source's table encoder for the columns of an estimator: matched by name where both have names."""
        names, known = (getattr(each, "feature_names_in_", None) for each in (estimator, self.fitted))
        n, n_known = estimator.n_features_in_, self.fitted.n_features_in_
        encoder = copy.deepcopy(self.fitted.encoder_)
        if names is None or known is None:
            if n != n_known:
                raise ValueError(
                    f"X has {n} features, and pretrained was fitted with {n_known}. Give those, in the same order; or "
                    "frames to both, whose columns are matched by name."
                )
            return encoder
        _refuse_other_columns(list(names), list(known))
        place = {name: j for j, name in enumerate(names)}
        encoder.numeric_ = [place[known[j]] for j in encoder.numeric_]
        encoder.categorical_ = [place[known[j]] for j in encoder.categorical_]
        return encoder

    def statistics(self, n_members: int, dtype: torch.dtype) -> tuple[InputLayer, Any]:
        """What the source's members know of the columns, and of the target."""
        return self._members(n_members).known_statistics(dtype)

    def give(self, network: Network, target_encoder: Any) -> None:
        """Copy into ``network`` what fits, say in ``network.old`` what that is, and freeze the first layers."""
        known, head = self._members(network.n_members), self.gives_head(target_encoder)
        if not (self.n_layers or head):
            raise ValueError(
                "pretrained has no hidden layer, and its output layer does not fit another kind of target: there is "
                "nothing to start from. Give a source with hidden layers, or pretrained=None."
            )
        known.scale_as(network)
        given, old = ([*_parts(each, self.n_layers), *([each.head] if head else [])] for each in (known, network))
        for part, source in zip(old, given, strict=True):
            part.load_state_dict(source.state_dict())
        taken = {id(parameter) for part in old for parameter in part.parameters()}
        network.old = frozenset(name for name, parameter in network.named_parameters() if id(parameter) in taken)
        freeze(network, self.n_frozen)

    def _members(self, n_members: int) -> Network:
        """The source's members one after the other, again from the first until there are ``n_members``."""
        network = self.fitted.net_.module_
        return network.of_members([m % network.n_members for m in range(n_members)]).cpu()


def freeze(network: Network, n_layers: int) -> None:
    """Keep the first ``n_layers`` hidden layers as they are, and what is before them; norms keep their statistics."""
    for part in _parts(network, n_layers) if n_layers else []:
        part.requires_grad_(False)
        if isinstance(part, BatchNorm):
            part.frozen = True


def _parts(network: Network, n_layers: int) -> list[nn.Module]:
    """The parts of a network up to a hidden layer: embeddings, affine layers, norms."""
    before = [part for part in (network.embeddings, network.numeric, network.scale) if part is not None]
    return [*before, *network.hidden[:n_layers], *network.norms[:n_layers]]


def _fitted(estimator: Any) -> Any:
    """The estimator inside of ``pretrained``."""
    frozen = estimator.pretrained
    source = frozen.estimator if isinstance(frozen, FrozenEstimator) else None
    if not isinstance(getattr(getattr(source, "net_", None), "module_", None), Network):
        must = (
            "None, or sklearn.frozen.FrozenEstimator(source) of a RegularizedMLPClassifier or RegularizedMLPRegressor "
            "on which source.fit(X, y) was called"
        )
        raise parameter_error(estimator, "pretrained", must, frozen)
    return source


def _widths(network: Network) -> tuple[int, ...]:
    return tuple(linear.weight.shape[2] for linear in network.linears[:-1])


def _refuse_other_kind(fitted: Any, network: Network, network_config: NetworkConfig, n_layers: int) -> None:
    """Refuse layers that would be followed, or normed, by something else than what they were trained with."""
    widths = [network.linears[0].weight.shape[1], *network_config.hidden]
    adds = [network_config.residual and a == b for a, b in pairwise(widths)]
    norm = type(network.norms[0]) if len(network.norms) else None
    normed = bool(n_layers)
    differs = {
        "activation": bool(n_layers) and not _alike(network_config.activation, network.activation),
        "batch_norm": normed and (network_config.norm is BatchNorm) != (norm is BatchNorm),
        "layer_norm": normed and (network_config.norm is LayerNorm) != (norm is LayerNorm),
        "residual": adds[:n_layers] != network.adds[:n_layers],
        "numeric_embedding": _numeric_kind(network_config, network) is not type(network.numeric),
    }
    if names := [name for name, other in differs.items() if other]:
        wanted = ", ".join(f"{name}={getattr(fitted, name)!r}" for name in names)
        raise ValueError(
            f"pretrained was fitted with {wanted}, and its layers fit a network of the same kind only. Give this "
            "estimator the same."
        )


def _alike(one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor]) -> bool:
    """Whether two activations are the same function, which copies of a callable are."""
    probe = torch.linspace(-4, 4, 24).view(2, 3, 4)
    return one is other or torch.equal(one(probe), other(probe))


def _numeric_kind(network_config: NetworkConfig, network: Network) -> type:
    """Type of what embeds the numbers, which a table without numbers does not have."""
    make = network_config.numeric_embedding
    if make is None or not network.inputs.n_numbers:
        return type(None)
    return type(make(1, 1, torch.zeros(1, 1, 2), torch.float32))


def _refuse_own_columns(estimator: Any, fitted: Any) -> None:
    """Refuse parameters of columns that would be ignored, as the source's statistics stay."""
    for name, default in ITS_OWN.items():
        value = getattr(estimator, name)
        if not _same(value, default) and not _same(value, getattr(fitted, name)):
            raise ValueError(
                f"{name}={value!r} cannot be had with pretrained, whose columns are read as it was fitted, with "
                f"{name}={getattr(fitted, name)!r}. Leave {name}={default!r}."
            )


def _same(one: Any, other: Any) -> bool:
    """Whether two values of a parameter say the same, arrays and sequences alike."""
    one, other = (value if value is None or isinstance(value, str) else np.asarray(value) for value in (one, other))
    return type(one) is type(other) and np.array_equal(one, other)


def _refuse_other_columns(names: list[str], known: list[str]) -> None:
    """Refuse columns that only one of the tables has."""
    if lacking := [name for name in known if name not in set(names)]:
        raise ValueError(
            f"X lacks the column(s) {listed(lacking)}, with which pretrained was fitted. Add them, as missing values "
            "if they are not known."
        )
    if extra := [name for name in names if name not in set(known)]:
        raise ValueError(
            f"X has the column(s) {listed(extra)}, without which pretrained was fitted. Drop them, or fit the source "
            "with such columns too."
        )
