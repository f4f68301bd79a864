"""A strength is a hyperparameter that is a number, or a tensor with one for each member.

Where all members have the same it is a number, which costs less.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Strength = float | Tensor


def broadcast(strength: Strength, tensor: Tensor) -> Strength:
    """A strength as it multiplies ``tensor``: those of the members lie along axis 0."""
    return strength.view(-1, *[1] * (tensor.dim() - 1)) if isinstance(strength, Tensor) else strength


def along_networks(strength: Strength, target: Tensor) -> Strength:
    """A strength as it multiplies a target ``(members * networks, rows, outputs)``; a member's networks share it."""
    if not isinstance(strength, Tensor):
        return strength
    return strength.repeat_interleave(len(target) // len(strength)).view(-1, 1, 1)


def is_nonzero(strength: Strength) -> bool:
    """Whether a strength is not 0 for all members."""
    return bool(strength.any()) if isinstance(strength, Tensor) else bool(strength)


def stack(values: Sequence[Any], counts: Sequence[int], like: Tensor) -> Strength:
    """The strength of members that follow one another, ``counts[i]`` of them with ``values[i]``, as ``like`` is.

    It is a number if they all have the same.
    """
    if len(set(values)) == 1:
        return values[0]
    every = torch.tensor(list(values), dtype=torch.float64).repeat_interleave(torch.tensor(counts))
    return every.to(like.device, like.dtype)
