"""Regression losses."""

from abc import abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Loss
from .link import exponential

__all__ = ["AbsoluteError", "HalfGammaDeviance", "HalfPoissonDeviance", "HalfSquaredError", "HuberLoss", "PinballLoss"]


class RegressionLoss(Loss):
    """Base class of the regression losses.

    Without a log link, the target is standardized with its mean and standard deviation or, if ``quantiles`` is set,
    with these quantiles and the interquartile range. With a log link it is divided by its mean. Its shape is
    ``(members, rows, outputs)``.
    """

    quantiles: tuple[float, ...] | None = None
    """Quantiles at which the raw outputs of a target start. None means one raw output, which starts at the mean."""
    multi_quantile: bool = False  # whether predictions have an additional axis for quantiles
    power: ClassVar[float] = 0.0  # power such that the spread of the target is proportional to ``prediction ** power``
    bound: ClassVar[str | None] = None  # ">=" or ">" if the target must be at least 0 or greater

    @property
    def n_columns(self) -> int:
        """Number of raw outputs for each target."""
        return 1 if self.quantiles is None else len(self.quantiles)

    @abstractmethod
    def elementwise(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each output of each row, in the shape of ``raw``."""

    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted loss of each member, summed over rows and outputs."""
        return (self.elementwise(raw, target) * weight.unsqueeze(-1)).sum((1, 2))

    def inverse_link(self, raw: Tensor) -> Tensor:
        """Return the prediction in units of the standardized target."""
        return exponential(raw) if self.log_link else raw

    def sort_quantiles(self, prediction: Tensor) -> Tensor:
        """Sort the predictions ``(..., outputs)`` of several quantiles; return other predictions unchanged."""
        return prediction

    def check(self, y: np.ndarray) -> None:
        """Raise a ``ValueError`` if values are outside the range of the loss."""
        if (self.bound and (y < 0).any()) or (self.bound == ">" and (y == 0).any()):
            raise ValueError(
                f"Some value(s) of y are out of the valid range of the loss {self.name!r}, y {self.bound} 0. The "
                f"smallest is {y.min():.6g}. Use another loss, or remove these rows."
            )

    def check_training(self, y: np.ndarray) -> None:
        """Raise a ``ValueError`` if the loss cannot be trained on the values."""
        self.check(y)


class HalfSquaredError(RegressionLoss):
    """Half the squared error of the standardized target, with the identity link. Estimates the mean."""

    name = "squared_error"

    def elementwise(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return half the squared difference."""
        return F.mse_loss(raw, target, reduction="none") / 2


class AbsoluteError(RegressionLoss):
    """Absolute error of the standardized target, with the identity link. Estimates the median."""

    name = "absolute_error"
    quantiles = (0.5,)

    def elementwise(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the absolute difference."""
        return (raw - target).abs()


class HuberLoss(RegressionLoss):
    """Huber loss of the standardized target with ``delta`` = 1.345 and the identity link.

    With this ``delta``, the estimate is 95 % as efficient as the mean if the errors are normal [Huber 1964, "Robust
    estimation of a location parameter"].
    """

    name = "huber"
    quantiles = (0.5,)
    delta = 1.345

    def elementwise(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return Huber's function of the difference."""
        return F.huber_loss(raw, target, reduction="none", delta=self.delta)


class PinballLoss(RegressionLoss):
    """Pinball loss with the identity link. Estimates quantiles.

    The loss is ``quantile`` times the shortfall of the raw output, or ``1 - quantile`` times its excess [Koenker &
    Bassett 1978, "Regression quantiles"]. The raw outputs of several quantiles are trained independently. Predictions
    are sorted so that quantiles do not cross; sorting never increases the error [Chernozhukov et al. 2010, "Quantile
    and probability curves without crossing"]. The target contains each value once per quantile.

    Parameters
    ----------
    quantile : float or sequence of float
        In (0, 1).
    """

    name = "quantile"

    def __init__(self, quantile: float | Sequence[float] = 0.5) -> None:
        self.quantiles: tuple[float, ...] = tuple(float(q) for q in np.ravel(quantile))
        self.multi_quantile = not isinstance(quantile, Real)

    def elementwise(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the pinball loss of the difference."""
        shortfall = target - raw
        quantile = raw.new_tensor(self.quantiles).repeat(raw.shape[-1] // self.n_columns)
        return torch.where(shortfall > 0, quantile, quantile - 1) * shortfall

    def sort_quantiles(self, prediction: Tensor) -> Tensor:
        """Sort the predictions of each target in the order of the quantiles."""
        by_target = prediction.reshape(*prediction.shape[:-1], -1, self.n_columns)
        ranks = torch.tensor(np.argsort(np.argsort(self.quantiles, kind="stable")), device=prediction.device)
        return by_target.sort(-1).values[..., ranks].flatten(-2)


class HalfPoissonDeviance(RegressionLoss):
    """Half the Poisson deviance with a log link, for counts and rates of at least 0. Estimates the mean."""

    name, log_link, power, bound = "poisson", True, 0.5, ">="

    def elementwise(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return ``exp(raw) - target * raw`` plus the constant that makes it 0 at the target."""
        return exponential(raw) - target * raw + (torch.xlogy(target, target) - target)

    def check_training(self, y: np.ndarray) -> None:
        """Raise a ``ValueError`` for negative values, and if all values are 0."""
        self.check(y)
        if not (y.sum(0) > 0).all():
            raise ValueError("The loss 'poisson' requires a y whose sum is positive. Every value of y is 0.")


class HalfGammaDeviance(RegressionLoss):
    """Half the gamma deviance with a log link, for positive amounts. Estimates the mean."""

    name, log_link, power, bound = "gamma", True, 1.0, ">"

    def elementwise(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return ``exp(log(target) - raw) + raw`` plus the constant that makes it 0 at the target."""
        difference = target.clamp(min=torch.finfo(target.dtype).tiny).log() - raw
        return exponential(difference) - difference - 1
