"""Record the activations, gradients and weights of each layer of a fitted network.

A copy of the network is recorded, so the fitted estimator and all random generators are unchanged.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._utils.torch_settings import torch_settings
from .._utils.validation import check_lengths
from ..data.batches import MemberRows
from ..data.containers import check_table, remove_void_rows
from ..data.statistics import ONE_HOT_MAX
from ..data.table import EncodedTable
from ..estimators.fitting import encode, network_config_of
from ..network.data_driven_init import repeat_data_driven_init
from ..network.generators import member_seeds
from ..network.network import Network
from ..network.pretrained import PretrainedSource

_Activation = Callable[[Tensor], Tensor]
When = Literal["now", "initial"]

# Shares of the activation's largest slope below which a unit passes no gradient, or is saturated.
DEAD_SLOPE, SATURATED_SLOPE = 0.005, 0.05
_SLOPE_RANGE = 30.0


@dataclass(frozen=True)
class LayerRecord:
    """Recorded values of one layer; gradients are None without a target."""

    name: str  # "hidden 1" and so on, or "head"
    after: np.ndarray  # (members, rows, units), output of the activation; the raw output in the head
    gradient: (
        np.ndarray | None
    )  # (members, rows, units), of each row's loss with respect to the input of the activation
    weight: np.ndarray  # (members, fan_in, units)
    weight_gradient: np.ndarray | None  # (members, fan_in, units), of the mean loss, without penalties
    dead: np.ndarray  # (members, units), whether a unit passes no gradient for any row
    saturated: np.ndarray  # (members, units), share of the rows for which a bounded activation is nearly flat


@dataclass(frozen=True)
class Probe:
    """Recorded values of all layers for one set of weights."""

    when: When
    loss: np.ndarray | None  # (members,), mean loss of these rows; None without a target
    layers: tuple[LayerRecord, ...]  # the hidden layers in order, then the head

    @property
    def hidden_layers(self) -> tuple[LayerRecord, ...]:
        """The layers without the head."""
        return self.layers[:-1]


def probe(
    estimator: Any, X: Any, y: Any = None, when: When = "now", max_rows: int = 1000, sample_weight: Any = None
) -> Probe:
    """Record one forward pass and, with a target, one backward pass through a fitted network.

    The network is in training mode, so batch normalization uses the statistics of the recorded rows, but dropout and
    augmentation are disabled. ``when`` selects the weights: "now" uses those for prediction, and "initial" draws the
    initial weights again from the seeds of the fit. At most ``max_rows`` rows are recorded, drawn with a fixed seed.
    If the parameters have been changed since the fit, the initial weights cannot be drawn and a ValueError is raised.
    Rows of weight 0 are removed.
    """
    check_is_fitted(estimator)
    if when not in get_args(When):
        raise ValueError(f"The 'when' parameter must be one of 'initial', 'now'. Got {when!r} instead.")
    X, y, weight, _ = remove_void_rows(X, y, sample_weight)
    X = check_table(X)
    check_lengths(X=X, y=y)
    n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
    if n_rows > max_rows:
        chosen = sample(np.arange(n_rows), max_rows)
        X, y = _safe_indexing(X, chosen), None if y is None else _safe_indexing(y, chosen)
        weight = None if weight is None else weight[chosen]
    with torch_settings(estimator.n_threads):
        network = _initial_network(estimator) if when == "initial" else copy.deepcopy(estimator.net_.module_)
        network.requires_grad_(True).set_matmul_dtype(network.inputs.dtype)
        data = encode(estimator, X, y, weight)
        rows = member_rows(network, data, [data.weighted()] * network.n_members)
        layers, loss = _record(network, rows, None if y is None else estimator.net_.criterion_.in_training)
    return Probe(when, loss, layers)


def sample(rows: np.ndarray, limit: int) -> np.ndarray:
    """Draw at most ``limit`` of the rows, in order."""
    return rows if len(rows) <= limit else np.sort(np.random.RandomState(0).choice(rows, limit, replace=False))


def _initial_network(estimator: Any) -> Network:
    """Draw the initial weights again from the seeds, or copy them from ``pretrained``."""
    fitted, network_config = estimator.net_.module_, network_config_of(estimator, continues=True)
    source = PretrainedSource.from_estimator(estimator, network_config)
    widths = tuple(linear.weight.shape[2] for linear in fitted.linears[:-1])
    if (network_config.hidden_layer_sizes, estimator.n_members) != (widths, fitted.n_members):
        raise ValueError(
            f"The initial weights cannot be drawn again: the network was fitted with hidden_layer_sizes={widths} and "
            f"n_members={fitted.n_members}, but the parameters are now {network_config.hidden_layer_sizes} and "
            f"{estimator.n_members}. Restore these parameters or fit again."
        )
    inputs, target_statistics = fitted.copy_statistics(fitted.inputs.dtype)
    sizes = [len(levels) for levels in estimator.encoder_.levels_ if len(levels) > ONE_HOT_MAX]
    seeds = member_seeds(estimator.seed_, fitted.n_members, 0 if source is None else source.generation)
    n_raw = estimator.target_encoder_.n_raw_
    network = Network(network_config, inputs.cpu(), n_raw, [weights for weights, _ in seeds], sizes, target_statistics)
    if source is not None:
        source.copy_into(network, estimator.target_encoder_)
    repeat_data_driven_init(network, fitted)
    return network.to(estimator.net_.device)


def member_rows(network: Network, data: EncodedTable, index: list[np.ndarray]) -> MemberRows:
    """Return the rows ``index[m]`` of each member m as tensors for the network."""
    dtype, device = network.inputs.dtype, network.head.weight.device
    return MemberRows(data.numbers, data.levels, data.target, index, data.loss_weight, dtype, device)


def _record(
    network: Network, data: MemberRows, loss: Callable[[Tensor, Tensor, Tensor], Tensor] | None
) -> tuple[tuple[LayerRecord, ...], np.ndarray | None]:
    """Run the rows forward and, with a loss, backward; return the layers and each member's mean loss."""
    activation, calls = network.activation, []

    def recording_activation(before: Tensor) -> Tensor:
        after = activation(before.clone())  # a user-defined callable may work in place
        calls.append((before, after))
        return after

    network.activation = recording_activation
    indices, weight = data.index_and_weight()
    inputs, levels, target = network.prepare(*data.take(indices))
    raw = network(inputs, levels, weight)
    calls.append((raw, raw))
    mean_loss = None
    if loss is not None:
        for before, _ in calls:
            before.retain_grad()
        total = loss(raw, target, weight)
        torch.autograd.backward(total.sum())
        mean_loss = _array(total) / len(data)
    layers = []
    for number, (linear, (before, after)) in enumerate(zip(network.linears, calls, strict=True), start=1):
        is_head = number == len(calls)
        gradient = None if loss is None or before.grad is None else _array(before.grad)
        weight_gradient = None if linear.weight.grad is None else _array(linear.weight.grad) / before.shape[1]
        flat = _flat_units(None if is_head else activation, before.detach())
        name = "head" if is_head else f"hidden {number}"
        layers.append(LayerRecord(name, _array(after), gradient, _array(linear.weight), weight_gradient, *flat))
    return tuple(layers), mean_loss


def _flat_units(activation: _Activation | None, before: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Find dead units, and the share of the rows for which each unit of a bounded activation is saturated."""
    members, n_rows, units = before.shape
    if activation is None or not n_rows:
        return np.zeros((members, units), dtype=bool), np.zeros((members, units))
    grid = torch.linspace(-_SLOPE_RANGE, _SLOPE_RANGE, 1201, dtype=before.dtype, device=before.device).view(1, -1, 1)
    grid_slope = _slope(activation, grid).flatten()
    slope = _slope(activation, before) / grid_slope.max().clamp(min=1e-30)
    dead = (slope < DEAD_SLOPE).all(1)
    bounded = bool((grid_slope[[0, -1]] < SATURATED_SLOPE * grid_slope.max()).all())
    saturated = (slope < SATURATED_SLOPE).to(before.dtype).mean(1) if bounded else torch.zeros_like(before[:, 0])
    return dead.cpu().numpy(), saturated.double().cpu().numpy()


def _slope(activation: _Activation, x: Tensor) -> Tensor:
    """Magnitude of the activation's derivative."""
    x = x.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(activation(x.clone()).sum(), x)  # it may work in place
    return torch.nan_to_num(slope).abs()


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()
