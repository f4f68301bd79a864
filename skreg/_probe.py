"""A probe is a record of what passes through a fitted network: activations, gradients and weights of each layer.

It is taken on a copy, so that the fit, its random numbers and its predictions stay as they are, to the bit.
"""

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ._utils.threads import torch_threads
from .data.batches import MemberRows
from .data.statistics import ONE_HOT_MAX
from .data.table import check_table
from .estimators.fitting import encode
from .network.config import NetworkConfig
from .network.data_driven_init import settle_again
from .network.generators import member_seeds
from .network.network import Network
from .network.pretrained import PretrainedSource

WHEN = ("initial", "now", "last")
DEAD_SLOPE, SATURATED_SLOPE = 0.005, 0.05
"""Shares of an activation's largest slope below which a unit passes no gradient on, and below which little of it."""

_REACH = 30.0


@dataclass(frozen=True)
class Layer:
    """What was seen of one layer.

    Attributes
    ----------
    name : str
        "hidden 1" and so on, or "head".
    before, after : ndarray of shape (members, rows, units)
        Before and after the activation; norms stand before it. Of the head both are the raw output.
    gradient : ndarray of shape (members, rows, units), or None
        Of each row's own loss with respect to ``before``; None without a target.
    weight : ndarray of shape (members, fan_in, units)
        Weights.
    weight_gradient : ndarray of shape (members, fan_in, units), or None
        Of the mean loss of the rows; without penalties, dropout and augmentation.
    dead : bool ndarray of shape (members, units)
        Units that pass no gradient on for any row; none of the head.
    saturated : ndarray of shape (members, units)
        Share of the rows for which a bounded activation (tanh, logistic) is at its flat ends; else 0.
    """

    name: str
    before: np.ndarray
    after: np.ndarray
    gradient: np.ndarray | None
    weight: np.ndarray
    weight_gradient: np.ndarray | None
    dead: np.ndarray
    saturated: np.ndarray


@dataclass(frozen=True)
class Probe:
    """What was seen of all layers at one time.

    Attributes
    ----------
    when : {"initial", "now", "last"}
        Of which weights.
    epoch : int ndarray of shape (members,)
        Epoch of each member's weights; 0 are the initial ones.
    rows : int ndarray of shape (n_rows,)
        Which rows of the table were looked at.
    loss : ndarray of shape (members,), or None
        Mean loss of these rows; None without a target.
    layers : tuple of Layer
        The hidden layers in order, then the head.
    """

    when: str
    epoch: np.ndarray
    rows: np.ndarray
    loss: np.ndarray | None
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Training:
    """The course of a fit, epoch by epoch; curves are means over the members that still trained.

    Attributes
    ----------
    epoch : int ndarray of shape (epochs,)
        Numbers of the epochs.
    train_loss, rate : ndarray of shape (epochs,)
        Loss in training, under dropout and augmentation; learning rate at the end of each epoch.
    watched : ndarray of shape (epochs,), or None
        What early stopping watched; None without.
    greater_is_better : bool
        Whether that is a score, and not a loss.
    best_epoch : int ndarray of shape (members,)
        Epoch of the weights that each member has.
    stopped, diverged : bool ndarray of shape (members,)
        Members that were stopped for want of a gain before the last epoch, and those whose loss or weights were not
        finite.
    patience : int or None
        Epochs without a gain that were allowed; None without early stopping.
    max_iter : int
        Epochs that were allowed.
    valleys : int ndarray of shape (cycles,)
        Places of the epochs at whose end a cycle of the learning rate ends that is longer than an epoch; none where
        the rate has no cycles. Between them losses rise and fall with the rate, so these epochs are to be compared.
    """

    epoch: np.ndarray
    train_loss: np.ndarray
    rate: np.ndarray
    validation: np.ndarray | None
    greater_is_better: bool
    best_epoch: np.ndarray
    stopped: np.ndarray
    diverged: np.ndarray
    patience: int | None
    max_iter: int
    valleys: np.ndarray


def training_of(estimator: Any) -> Training:
    """The course of a fitted estimator's training."""
    check_is_fitted(estimator)
    net = estimator.net_
    history, stopping = net.history, net.stopping_
    epoch = np.array(history[:, "epoch"])
    return Training(
        epoch=epoch,
        train_loss=np.array(history[:, "train_loss"]),
        rate=np.array(history[:, "lr"]),
        validation=None if net.validation_name_ is None else np.array(history[:, net.validation_name_]),
        greater_is_better=net.validation_name_ is not None and net.validation_name_ != "valid_loss",
        best_epoch=stopping.best_epoch.numpy().copy(),
        stopped=(~stopping.active & ~stopping.diverged).numpy() & (net.epoch_ < net.max_epochs),
        diverged=stopping.diverged.numpy().copy(),
        patience=stopping.patience,
        max_iter=net.max_epochs,
        valleys=_valleys(epoch, net.time_budget_.stops),
    )


def _valleys(epoch: np.ndarray, ends: Collection[int]) -> np.ndarray:
    """Places of those of the ``ends`` of cycles that come more than an epoch after the one before."""
    known = np.array(sorted(ends), dtype=int)
    return np.flatnonzero(np.isin(epoch, known[np.diff(known, prepend=0) > 1]))


def probe(estimator: Any, X: Any, y: Any = None, when: str = "now", max_rows: int = 1000) -> Probe:
    """Look at one pass of some rows through the network, and with a target at one pass of gradients back.

    Rows pass as in training, normalised by the statistics of those looked at where there is batch norm, but without
    dropout and augmentation.

    Parameters
    ----------
    estimator : RegularizedMLPClassifier or RegularizedMLPRegressor
        A fitted one, its parameters as they were in the fit.
    X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
        A table.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
        Its target; None records no gradients.
    when : {"now", "initial", "last"}, default="now"
        "now" are the weights that predict, which with early stopping are those of the best epoch. "initial" are drawn
        anew from the seeds of the fit. "last" are those of the last epoch, which are there only if every member has
        kept them.
    max_rows : int, default=1000
        Most rows to look at, drawn from a generator of its own.

    Returns
    -------
    Probe
        The record.

    Raises
    ------
    ValueError
        If the last epoch's weights are not kept, or the parameters are not those of the fit.
    """
    check_is_fitted(estimator)
    rows, given = _draw(X, y, max_rows)
    with torch_threads(estimator.n_threads), torch.inference_mode(False), torch.enable_grad():
        network, epoch = _network(estimator, when)
        return _look(estimator, network, _rows_for(estimator, network, *given), given[1] is not None, when, epoch, rows)


def _draw(X: Any, y: Any, max_rows: int) -> tuple[np.ndarray, tuple[Any, Any]]:
    """Numbers of at most ``max_rows`` rows, in order, and these rows."""
    X = check_table(X)
    check_consistent_length(X, y)
    n_rows = len(X) if not hasattr(X, "shape") else X.shape[0]
    if n_rows <= max_rows:
        return np.arange(n_rows), (X, y)
    rows = np.sort(np.random.RandomState(0).choice(n_rows, max_rows, replace=False))
    return rows, (_safe_indexing(X, rows), None if y is None else _safe_indexing(y, rows))


def _network(estimator: Any, when: str) -> tuple[Network, np.ndarray]:
    """A copy of the members' own networks with the weights asked for, and the epoch of these."""
    if when not in WHEN:
        raise ValueError(f"when must be one of {', '.join(map(repr, WHEN))}. Got {when!r} instead.")
    net = estimator.net_
    best = net.stopping_.best_epoch.numpy().copy()
    if when == "initial":
        return _initial(estimator).to(net.device), np.zeros_like(best)
    if when == "last" and (best != net.epoch_).any():
        raise ValueError(
            f"The weights of the last epoch, {net.epoch_}, are not kept: the members went back to those of epoch(s) "
            f"{', '.join(map(str, np.unique(best)))}. Look at when='now', or fit with early_stopping=False."
        )
    return copy.deepcopy(net.module_), best


def _initial(estimator: Any) -> Network:
    """The network as the first epoch found it: drawn anew from the seeds, or what ``pretrained`` gave."""
    known, network_config = estimator.net_.module_, NetworkConfig.of(estimator)
    source = PretrainedSource.of(estimator, network_config)
    widths = tuple(linear.weight.shape[2] for linear in known.linears[:-1])
    if (network_config.hidden, estimator.n_members) != (widths, known.n_members):
        raise ValueError(
            f"The initial weights cannot be drawn anew: the network was fitted with hidden_layer_sizes={widths} and "
            f"n_members={known.n_members}, and the parameters now say {network_config.hidden} and {estimator.n_members}. "
            "Fit again, or set them back."
        )
    inputs, of_target = known.known_statistics(known.inputs.dtype)
    sizes = [len(levels) for levels in estimator.encoder_.levels_ if len(levels) > ONE_HOT_MAX]
    seeds = member_seeds(estimator.seed_, known.n_members, 0 if source is None else source.generation)
    n_raw = estimator.target_encoder_.n_raw_
    network = network_config.network(inputs.cpu(), sizes, n_raw, of_target, [weights for weights, _ in seeds])
    if source is not None:
        source.give(network, estimator.target_encoder_)
    settle_again(network, known)
    return network


def _rows_for(estimator: Any, network: Network, X: Any, y: Any) -> MemberRows:
    """Rows as the network takes them, the same for all members; without a target the first that comes to mind."""
    data = encode(estimator, X, y)
    index, dtype, device = [np.arange(len(data))] * network.n_members, network.inputs.dtype, network.head.weight.device
    return MemberRows(data.table.numbers, data.table.levels, data.target, index, data.cost, dtype, device)


def _look(
    estimator: Any, network: Network, seen: MemberRows, back: bool, when: str, epoch: np.ndarray, rows: np.ndarray
) -> Probe:
    """Take the rows through the network, and the gradients back."""
    network.requires_grad_(True).multiply_in(network.inputs.dtype)
    listener = _Listener(network.activation)
    network.activation = listener
    indices, weight = seen.everything()
    inputs, levels, target = network.prepare(*seen.take(indices))
    raw = network(inputs, levels, weight)
    listener.seen.append((raw, raw))
    loss = None
    if back:
        criterion = estimator.net_.criterion_.in_training
        for before, _ in listener.seen:
            before.retain_grad()
        each = criterion(raw, target, weight)
        each.sum().backward()
        loss = _array(each) / len(rows)
    layers = [
        _layer(name, linear.weight, *passed, listener.activation if name != "head" else None, len(rows))
        for name, linear, passed in zip(_names(network), network.linears, listener.seen, strict=True)
    ]
    return Probe(when, epoch, rows, loss, tuple(layers))


class _Listener:
    """An activation that remembers what it was given, and what it made of it."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        self.activation = activation
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, x: Tensor) -> Tensor:
        after = self.activation(x.clone())  # which a callable may write into
        self.seen.append((x, after))
        return after


def _names(network: Network) -> list[str]:
    return [*(f"hidden {number}" for number in range(1, len(network.linears))), "head"]


def _layer(
    name: str,
    weight: Tensor,
    before: Tensor,
    after: Tensor,
    activation: Callable[[Tensor], Tensor] | None,
    n_rows: int,
) -> Layer:
    """The record of one layer; the head has no activation."""
    shown = [part.detach().flatten(1, -2) for part in (before, after)]
    gradient = before.grad if before.retains_grad else None
    dead, saturated = _flatness(activation, shown[0])
    return Layer(
        name,
        _array(shown[0]),
        _array(shown[1]),
        None if gradient is None else _array(gradient.flatten(1, -2)),
        _array(weight),
        None if weight.grad is None else _array(weight.grad) / n_rows,
        dead,
        saturated,
    )


def _flatness(activation: Callable[[Tensor], Tensor] | None, before: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Which units are flat for all rows, and for which share of them a bounded activation is."""
    members, _, units = before.shape
    if activation is None or not before.shape[1]:
        return np.zeros((members, units), dtype=bool), np.zeros((members, units))
    grid = torch.linspace(-_REACH, _REACH, 1201, dtype=before.dtype, device=before.device).view(1, -1, 1)
    of_grid = _slope(activation, grid).flatten()
    slope = _slope(activation, before) / of_grid.max().clamp(min=1e-30)
    dead = (slope < DEAD_SLOPE).all(1)
    bounded = bool((of_grid[[0, -1]] < SATURATED_SLOPE * of_grid.max()).all())
    saturated = (slope < SATURATED_SLOPE).to(before.dtype).mean(1) if bounded else torch.zeros_like(before[:, 0])
    return dead.cpu().numpy(), saturated.double().cpu().numpy()


def _slope(activation: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """How steep the activation is, as a magnitude."""
    x = x.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(activation(x).sum(), x)
    return torch.nan_to_num(slope).abs()


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()
