"""Adapters make several networks of one: each scales the inputs in its own way, and has a head of its own.

TabM-mini [Gorishniy et al. 2025], after BatchEnsemble [Wen et al. 2020]: all networks of a member have the same hidden
layers, and what they predict differs because they see the features at other scales and signs. The whole of TabM scales
inputs and outputs of every layer, which makes a step on a CPU half as long again and gains less than a hundredth there.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from .layers import Draw, Linear, affine, affine_by_row


class Adapters(nn.Module):
    """A factor on each input, for each network of a member.

    Parameters
    ----------
    members, n_adapters : int
        Members, and networks of each.
    owners : int Tensor of shape (fan_in,)
        Feature of each column: a feature's columns start with one factor.
    normal : bool
        Whether the factors start standard normal, else as random signs.
    dtype : torch.dtype
        Of the factors.
    """

    owners: Tensor

    def __init__(self, members: int, n_adapters: int, owners: Tensor, normal: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.normal = normal
        self.weight = nn.Parameter(torch.ones(members, n_adapters, 1, len(owners), dtype=dtype))
        self.register_buffer("owners", owners, persistent=False)

    def draw(self, generators: Sequence[Generator]) -> None:
        """Draw the factors of each member from its generator."""
        shape = self.weight.shape[1], 1, 1 + int(self.owners.max()) if len(self.owners) else 0
        for weight, generator in zip(self.weight, generators, strict=True):
            factors = torch.randn(shape, generator=generator, dtype=torch.float64)
            weight.copy_((factors if self.normal else factors.sign())[..., self.owners])

    def forward(self, x: Tensor) -> Tensor:
        """``(members, rows, fan_in)`` to ``(members, networks * rows, fan_in)``, one network's rows after another's."""
        return (x.unsqueeze(1) * self.weight).flatten(1, 2)


class Heads(Linear):
    """A linear head for each network of a member; their columns stand side by side.

    Parameters
    ----------
    members, n_adapters, fan_in, n_raw : int
        ``weight`` has shape ``(members, fan_in, n_adapters * n_raw)``.
    dtype : torch.dtype
        Of weight and bias.
    """

    def __init__(self, members: int, n_adapters: int, fan_in: int, n_raw: int, dtype: torch.dtype) -> None:
        super().__init__(members, fan_in, n_adapters * n_raw, dtype)
        self.n_adapters = n_adapters

    def draw(self, init: Draw, generators: Sequence[Generator]) -> None:
        """Draw head by head, each as the only one of a network would be."""
        for weight, generator in zip(self.weight, generators, strict=True):
            for head in weight.chunk(self.n_adapters, dim=1):
                head.copy_(init(head.shape[0], head.shape[1], generator))

    def forward(self, x: Tensor, factors: Tensor | None = None) -> Tensor:
        """``(members, networks * rows, fan_in)`` to ``(members, networks, rows, n_raw)``."""
        return self._each(affine, x, self.times(factors))

    def predict(self, x: Tensor) -> Tensor:
        """The same, a row's bits not depending on the rows beside it."""
        return self._each(affine_by_row, x, self.weight)

    def _each(self, product: Callable[[Tensor, Tensor, Tensor | None], Tensor], x: Tensor, weight: Tensor) -> Tensor:
        networks, bias = self.n_adapters, None if self.bias is None else self._split(self.bias)
        rows = x.unflatten(1, (networks, -1)).flatten(0, 1)
        return product(rows, self._split(weight), bias).unflatten(0, (-1, networks))

    def _split(self, columns: Tensor) -> Tensor:
        """``(members, ., networks * n_raw)`` to ``(members * networks, ., n_raw)``."""
        return columns.unflatten(2, (self.n_adapters, -1)).transpose(1, 2).flatten(0, 1)


def mean_of_each(
    criterion: Callable[[Tensor, Tensor, Tensor], Tensor], raw: Tensor, target: Tensor, weight: Tensor
) -> Tensor:
    """Mean over the networks of a member of each one's own loss: ``(members,)``.

    The loss of their mean would let one network make up for another; so each learns to predict alone.

    Parameters
    ----------
    criterion : callable (raw, target, weight) -> Tensor
        The loss.
    raw : Tensor of shape (members, networks, rows, outputs)
        Raw output.
    target, weight : Tensor of shape (members, rows, ...)
        The same for all networks of a member.
    """
    networks = raw.shape[1]
    repeated = (part.repeat_interleave(networks, 0) for part in (target, weight))
    return criterion(raw.flatten(0, 1), *repeated).unflatten(0, (-1, networks)).mean(1)
