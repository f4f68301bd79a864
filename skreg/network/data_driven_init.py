"""Settling fits initial weights to the rows: what each unit computes has spread 1 over them, and its kink among them.

Data-driven initialisation as in RealMLP [Holzmueller et al. 2024], but that biases are not drawn from rows: they are
normal around the mean as such a draw would be, so that a row of weight 2 is still two rows.
"""

from typing import Any

import torch
from torch import Tensor

from ..data.batches import MemberRows
from .network import Network

SETTLING_ROWS = 4096
_TINY = 1e-6


@torch.no_grad()
def data_driven_init(network: Network, rows: MemberRows) -> None:
    """Scale the weights of each unit, and move its bias, by what its inputs are on the members' rows.

    Parameters
    ----------
    network : Network
        Weights drawn, and biases around 0; layers in its ``old`` stay as they are.
    rows : Rows
        What each member trains on; of more than 4,096 every second, third ...
    """
    index, weight = rows.index_and_weight()
    step = -(-index.shape[1] // SETTLING_ROWS)
    inputs, levels, _ = network.prepare(*rows.take(index[:, ::step]))
    weight = weight[:, ::step]

    def fit(linear: Any, args: tuple[Any, ...]) -> None:
        center, spread = _moments(linear.forward(*args), weight)
        factor = torch.where(spread > _TINY, 1 / spread.clamp(min=_TINY), 1.0)
        drawn = 0.0 if linear.bias is None else linear.bias
        linear.settled = torch.cat([factor, (center - drawn) * factor], 1)
        _apply(linear, linear.settled)

    names = {id(parameter): name for name, parameter in network.named_parameters()}
    fresh = [linear for linear in network.linears if names[id(linear.weight)] not in network.old]
    hooks = [linear.register_forward_pre_hook(fit) for linear in fresh]
    try:
        network(inputs, levels, weight)
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def settle_again(network: Network, known: Network) -> None:
    """Do to the weights of ``network``, drawn from the same seeds, what was once done to those of ``known``."""
    for linear, other in zip(network.linears, known.linears, strict=True):
        if other.settled is not None:
            _apply(linear, other.settled.to(linear.weight))


def _apply(linear: Any, settled: Tensor) -> None:
    linear.weight.mul_(settled[:, :1])
    if linear.bias is not None:
        linear.bias.sub_(settled[:, 1:])


def _moments(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and spread ``(members, 1, units)`` over rows, of ``x`` of one network of a member or of several."""
    share = (weight / weight.sum(1, keepdim=True)).unsqueeze(2)
    if x.dim() > 3:
        share = share.unsqueeze(1)
    elif times := x.shape[1] // weight.shape[1] - 1:
        share = share.repeat(1, times + 1, 1) / (times + 1)
    mean = (share * x).sum(-2, keepdim=True)
    spread = (share * (x - mean).square()).sum(-2, keepdim=True).sqrt()
    return mean.reshape(len(x), 1, -1), spread.reshape(len(x), 1, -1)
