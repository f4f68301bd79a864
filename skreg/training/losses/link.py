"""Numerically safe link functions, and means over members."""

from functools import reduce

import torch
from torch import Tensor

MIN_RAW, MAX_RAW = -100.0, 30.0
"""Bounds of the raw outputs for which ``exponential`` equals the exponential function."""


def exponential(raw: Tensor) -> Tensor:
    """Return the exponential of ``raw``, extended linearly above 30, where it is about 1e13."""
    return raw.clamp(MIN_RAW, MAX_RAW).exp() * (1 + (raw - MAX_RAW).clamp(min=0))


def mean_of_members(values: Tensor) -> Tensor:
    """Return the mean over axis 0, added in order, so that the result for a row does not depend on other rows.

    The order in which torch adds five or more values depends on the shape.
    """
    return reduce(torch.add, values.unbind()) / len(values)


def log_mean_of_members(log_values: Tensor) -> Tensor:
    """Return the logarithm of the mean over axis 0 of values that are given by their logarithms."""
    largest = log_values.amax(0).clamp(min=torch.finfo(log_values.dtype).min)
    return largest + mean_of_members((log_values - largest).exp()).log()
