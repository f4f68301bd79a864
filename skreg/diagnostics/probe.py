"""Record the activations, gradients and weights of each layer of a fitted network.

The recording uses a copy of the network, so the fitted estimator and all random generators stay as they are.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._utils.threads import torch_threads
from ..data.batches import MemberRows
from ..data.statistics import ONE_HOT_MAX
from ..data.table import check_table
from ..estimators.fitting import encode, network_config_of
from ..network.data_driven_init import repeat_data_driven_init
from ..network.generators import member_seeds
from ..network.network import Network
from ..network.pretrained import PretrainedSource

_Activation = Callable[[Tensor], Tensor]
_When = Literal["now", "initial"]

# Shares of the activation's largest slope below which a unit passes no gradient, or is saturated.
DEAD_SLOPE, SATURATED_SLOPE = 0.005, 0.05

_SLOPE_RANGE = 30.0


@dataclass(frozen=True)
class LayerRecord:
    """Recorded values of one layer; gradients are None without a target."""

    name: str  # "hidden 1" and so on, or "head"
    before: np.ndarray  # (members, rows, units), input of the activation; the raw output in the head
    after: np.ndarray  # (members, rows, units), output of the activation; the raw output in the head
    gradient: np.ndarray | None  # (members, rows, units), of each row's loss with respect to `before`
    weight: np.ndarray  # (members, fan_in, units)
    weight_gradient: np.ndarray | None  # (members, fan_in, units), of the mean loss, without penalties
    dead: np.ndarray  # (members, units), whether a unit passes no gradient for any row
    saturated: np.ndarray  # (members, units), share of the rows for which a bounded activation is nearly flat


@dataclass(frozen=True)
class Probe:
    """Recorded values of all layers for one set of weights."""

    when: _When
    epoch: np.ndarray  # (members,), epoch of each member's weights; 0 for the initial weights
    rows: np.ndarray  # indices of the recorded rows
    loss: np.ndarray | None  # (members,), mean loss of these rows; None without a target
    layers: tuple[LayerRecord, ...]  # the hidden layers in order, then the head

    @property
    def hidden_layers(self) -> tuple[LayerRecord, ...]:
        """The layers without the head."""
        return self.layers[:-1]


def probe(estimator: Any, X: Any, y: Any = None, when: _When = "now", max_rows: int = 1000) -> Probe:
    """Record one forward pass, and with a target one backward pass, through a fitted network.

    The network is in training mode, so batch normalization uses the statistics of the recorded rows, but without
    dropout and augmentation. ``when`` selects the weights: "now" are those used for prediction, and "initial" are
    drawn again from the seeds of the fit. At most ``max_rows`` rows are recorded, drawn with a fixed seed.

    Raises
    ------
    ValueError
        If ``when`` is unknown, or if the initial weights cannot be drawn because the parameters have been changed.
    """
    check_is_fitted(estimator)
    rows, X, y = _sample(X, y, max_rows)
    with torch_threads(estimator.n_threads), torch.inference_mode(False), torch.enable_grad():
        network, epoch = _network(estimator, when)
        network.requires_grad_(True).set_matmul_dtype(network.inputs.dtype)
        data = _member_rows(estimator, network, X, y)
        layers, loss = _record(network, data, None if y is None else estimator.net_.criterion_.in_training)
    return Probe(when, epoch, rows, loss, layers)


def _sample(X: Any, y: Any, max_rows: int) -> tuple[np.ndarray, Any, Any]:
    """Draw at most ``max_rows`` rows; return their indices in order and the rows."""
    X = check_table(X)
    check_consistent_length(X, y)
    n_rows = len(X) if not hasattr(X, "shape") else X.shape[0]
    if n_rows <= max_rows:
        return np.arange(n_rows), X, y
    rows = np.sort(np.random.RandomState(0).choice(n_rows, max_rows, replace=False))
    return rows, _safe_indexing(X, rows), None if y is None else _safe_indexing(y, rows)


def _network(estimator: Any, when: str) -> tuple[Network, np.ndarray]:
    """Copy the network with the requested weights; return it with the epoch of each member's weights."""
    net = estimator.net_
    best_epoch = net.stopping_.best_epoch.numpy().copy()
    if when == "initial":
        return _initial_network(estimator).to(net.device), np.zeros_like(best_epoch)
    if when != "now":
        raise ValueError(f"The 'when' parameter must be one of 'initial', 'now'. Got {when!r} instead.")
    return copy.deepcopy(net.module_), best_epoch


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
    return network


def _member_rows(estimator: Any, network: Network, X: Any, y: Any) -> MemberRows:
    """Encode the rows for the network, the same for all members; without ``y`` the target is 0."""
    data = encode(estimator, X, y)
    index, dtype, device = [np.arange(len(data))] * network.n_members, network.inputs.dtype, network.head.weight.device
    return MemberRows(data.numbers, data.levels, data.target, index, data.loss_weight, dtype, device)


def _record(
    network: Network, data: MemberRows, loss: Callable[[Tensor, Tensor, Tensor], Tensor] | None
) -> tuple[tuple[LayerRecord, ...], np.ndarray | None]:
    """Run the rows forward, and with a loss backward; return the layers and each member's mean loss."""
    recorder = _RecordingActivation(network.activation)
    network.activation = recorder
    indices, weight = data.index_and_weight()
    inputs, levels, target = network.prepare(*data.take(indices))
    raw = network(inputs, levels, weight)
    recorder.calls.append((raw, raw))
    mean_loss = None
    if loss is not None:
        for before, _ in recorder.calls:
            before.retain_grad()
        total = loss(raw, target, weight)
        torch.autograd.backward(total.sum())
        mean_loss = _array(total) / len(data)
    names = [*(f"hidden {number}" for number in range(1, len(network.linears))), "head"]
    layers = tuple(
        _layer_record(name, linear.weight, *call, recorder.activation if name != "head" else None)
        for name, linear, call in zip(names, network.linears, recorder.calls, strict=True)
    )
    return layers, mean_loss


class _RecordingActivation:
    """An activation that records its inputs and outputs."""

    def __init__(self, activation: _Activation) -> None:
        self.activation = activation
        self.calls: list[tuple[Tensor, Tensor]] = []

    def __call__(self, x: Tensor) -> Tensor:
        after = self.activation(x.clone())  # a callable of the user may work in place
        self.calls.append((x, after))
        return after


def _layer_record(
    name: str, weight: Tensor, before: Tensor, after: Tensor, activation: _Activation | None
) -> LayerRecord:
    gradient = _array(before.grad) if before.retains_grad and before.grad is not None else None
    dead, saturated = _flat_units(activation, before.detach())
    weight_gradient = None if weight.grad is None else _array(weight.grad) / before.shape[1]
    return LayerRecord(name, _array(before), _array(after), gradient, _array(weight), weight_gradient, dead, saturated)


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
    (slope,) = torch.autograd.grad(activation(x).sum(), x)
    return torch.nan_to_num(slope).abs()


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()
