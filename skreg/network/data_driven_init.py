"""Data-driven initialization: scales the initial weights so that the pre-activations of each unit have variance 1.

It follows RealMLP [Holzmueller et al. 2024], except that biases are drawn from a normal distribution that approximates
a draw from the rows, so that a row of weight 2 is equivalent to two rows. Pre-activations have the shape
``(members, rows, units)``.
"""

import torch
from torch import Tensor

from ..data.batches import MemberRows
from .layers import Linear
from .network import Network

MAX_ROWS = 4096
MAX_ELEMENTS, MIN_ROWS = 1 << 26, 256  # largest number of inputs of all members, unless there are fewer rows
_MIN_STD = 1e-6


@torch.no_grad()
def data_driven_init(network: Network, rows: MemberRows) -> None:
    """Scale the weights and shift the biases of each unit by the statistics of its pre-activations.

    Layers in ``pretrained_names`` are not changed. If there are more than 4,096 training rows, only every k-th
    row is used, with the smallest k that leaves at most 4,096. If all members together have more than 16,384 inputs,
    fewer rows are used, but at least 256.
    """
    index, weight = rows.index_and_weight()
    most = max(MIN_ROWS, MAX_ELEMENTS // (network.n_members * max(1, network.inputs.width)))
    step = -(-index.shape[1] // min(MAX_ROWS, most))
    inputs, levels, _ = rows.prepared(network.prepare).take(index[:, ::step])
    weight = weight[:, ::step]
    share = (weight / weight.sum(1, keepdim=True)).unsqueeze(2)

    def rescale(linear: Linear, args: tuple[Tensor, ...]) -> None:
        x = linear.forward(*args)
        mean = (share * x).sum(1, keepdim=True)
        std = (share * (x - mean).square()).sum(1, keepdim=True).sqrt()
        factor = torch.where(std > _MIN_STD, 1 / std.clamp(min=_MIN_STD), 1.0)
        drawn = 0.0 if linear.bias is None else linear.bias
        linear.init_scale = torch.cat([factor, (mean - drawn) * factor], 1)
        _apply(linear, linear.init_scale)

    names = {id(parameter): name for name, parameter in network.named_parameters()}
    fresh = [linear for linear in network.linears if names[id(linear.weight)] not in network.pretrained_names]
    hooks = [linear.register_forward_pre_hook(rescale) for linear in fresh]
    try:
        network(inputs, levels, weight)
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def repeat_data_driven_init(network: Network, fitted: Network) -> None:
    """Apply the data-driven initialization of ``fitted`` to ``network``, drawn from the same seeds."""
    for linear, other in zip(network.linears, fitted.linears, strict=True):
        if other.init_scale is not None:
            _apply(linear, other.init_scale.to(linear.weight))


def _apply(linear: Linear, init_scale: Tensor) -> None:
    linear.weight.mul_(init_scale[:, :1])
    if linear.bias is not None:
        linear.bias.sub_(init_scale[:, 1:])
