"""Hyperparameter values that may differ between members.

A value is a float if all members share it, which is cheaper, and a tensor of shape ``(members,)`` otherwise.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

PerMemberFloat = float | Tensor


def broadcast(value: PerMemberFloat, tensor: Tensor) -> PerMemberFloat:
    """Reshape a value so that it broadcasts to ``tensor``, whose first axis is that of the members."""
    return value.view(-1, *[1] * (tensor.dim() - 1)) if isinstance(value, Tensor) else value


def is_nonzero(value: PerMemberFloat) -> bool:
    """Return whether the value of any member is not 0."""
    return bool(value.any()) if isinstance(value, Tensor) else bool(value)


def stack(values: Sequence[Any], counts: Sequence[int], like: Tensor) -> PerMemberFloat:
    """Combine the values of several nets, ``values[i]`` for ``counts[i]`` members, with the type of ``like``."""
    if len(set(values)) == 1:
        return float(values[0])
    repeated = torch.tensor(list(values), dtype=torch.float64).repeat_interleave(torch.tensor(counts))
    return repeated.to(like.device, like.dtype)
