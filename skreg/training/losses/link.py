"""Links that stay finite: an exponential that goes on as a straight line, and means over members."""

from functools import reduce

import torch
from torch import Tensor

LEAST, MOST = -100.0, 30.0
"""Raw outputs beyond which the exponential is no more the exponential."""


def exponential(raw: Tensor) -> Tensor:
    """The exponential of ``raw``, which from 30 on, 1e13, goes on as a straight line."""
    return raw.clamp(LEAST, MOST).exp() * (1 + (raw - MOST).clamp(min=0))


def mean_of_members(each: Tensor) -> Tensor:
    """Mean over axis 0, added up in order: torch's order, of five and more, depends on the rows beside a row."""
    return reduce(torch.add, each.unbind()) / len(each)


def log_mean_of_members(log_each: Tensor) -> Tensor:
    """Logarithm of the mean over axis 0 of what ``log_each`` are the logarithms of, added up in order."""
    most = log_each.amax(0).clamp(min=torch.finfo(log_each.dtype).min)
    return most + mean_of_members((log_each - most).exp()).log()
