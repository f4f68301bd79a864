"""Prediction intervals and noise variance of a regressor, from the residuals of held-out rows."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import ndtri

from ..training.losses import RegressionLoss

MIN_NOISE_SHARE = 0.5


def conformal_quantile(scores: np.ndarray, weight: np.ndarray, coverage: float) -> float:
    """Return the smallest score not exceeded by a share ``coverage`` of the rows together with a new row.

    The result is infinite if there is no such score. This is the finite-sample rule of split conformal prediction: for
    n equal weights, it selects the score with rank ``ceil(coverage * (n + 1))`` (Vovk et al. 2005, "Algorithmic
    learning in a random world"; Lei et al. 2018, "Distribution-free predictive inference for regression"). Weights have
    mean 1, which is the weight of the new row.
    """
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weight[order]) >= coverage * (len(scores) + 1) * (1 - 1e-12)
    return float(scores[order][reached.argmax()]) if reached.any() else np.inf


@dataclass(frozen=True)
class Residuals:
    """Residuals of held-out rows.

    ``scaled`` ``(rows, outputs, columns)`` contains the residuals, divided by the standard deviation of the prediction
    in the distribution that the loss assumes, up to a constant factor. Each column belongs to a quantile; losses
    without quantiles have one column. ``weight`` ``(rows,)`` has mean 1. ``noise`` ``(outputs,)`` is the variance of
    the target without the epistemic uncertainty, in the square of the same unit.
    """

    loss: RegressionLoss
    scaled: np.ndarray
    weight: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(
        cls,
        loss: RegressionLoss,
        y: np.ndarray,
        predictions: np.ndarray,
        member: np.ndarray | None,
        weight: np.ndarray | None,
    ) -> Self:
        """Compute the residuals of predictions ``(members, rows, ...)``.

        ``member`` ``(rows,)`` is the member that held out each row. If it is None, all members held out all rows, and
        their mean is the prediction. The squared residuals of a member contain the noise and the variance between
        members. This variance is subtracted, but at most half of the squared residuals.
        """
        n_members = len(predictions)
        each = predictions.reshape(*predictions.shape[:2], -1, loss.n_columns if loss.multi_quantile else 1)
        prediction = each.mean(0) if member is None else each[member, np.arange(len(y))]
        weights = np.ones(len(y)) if weight is None else weight / weight.mean()
        residual = y.reshape(len(y), -1, 1) - prediction
        variance = _median_column(loss, each).var(0, ddof=1) if n_members > 1 else np.zeros(residual.shape[:2])
        squares = np.average(_median_column(loss, residual) ** 2, axis=0, weights=weights)
        known = np.average(variance, axis=0, weights=weights) / (n_members if member is None else 1)
        noise = np.maximum(squares - known, MIN_NOISE_SHARE * squares)
        unit = np.average(_spread(loss, prediction) ** 2, axis=0, weights=weights)
        per_unit = np.divide(noise, unit, out=np.zeros_like(noise), where=unit > 0)
        units = _unit(loss, prediction)
        scaled = np.divide(residual, units, out=np.zeros_like(residual), where=units > 0)
        return cls(loss, scaled, weights, per_unit)

    def variance(self, prediction: np.ndarray) -> np.ndarray:
        """Return the variance ``(rows, outputs)`` of the target around predictions ``(rows, outputs, columns)``."""
        variance: np.ndarray = self.noise * _spread(self.loss, prediction) ** 2
        return variance

    def interval(self, prediction: np.ndarray, coverage: float) -> np.ndarray:
        """Return intervals ``(rows, outputs, 2)`` around predictions ``(rows, outputs, columns)``.

        Intervals around a single number are symmetric. With several quantiles, the two quantiles nearest to the ends
        are moved outward or inward by the same amount (Romano et al. 2019, "Conformalized quantile regression").
        """
        low, high = (_nearest_column(self.loss, end) for end in ((1 - coverage) / 2, (1 + coverage) / 2))
        scores = np.maximum(-self.scaled[..., low], self.scaled[..., high])
        half_width = np.array([conformal_quantile(column, self.weight, coverage) for column in scores.T])
        if not np.isfinite(half_width).all():
            raise ValueError(
                f"coverage={coverage!r} needs at least {int(np.ceil(coverage / (1 - coverage) - 1e-9))} held-out rows, "
                f"but there are only {len(scores)}. Decrease coverage, or hold out more rows."
            )
        unit = _unit(self.loss, prediction)
        lower = prediction[..., low] - half_width * unit[..., low]
        upper = prediction[..., high] + half_width * unit[..., high]
        middle = (prediction[..., low] + prediction[..., high]) / 2  # a negative half-width must not swap the ends
        interval = np.stack([np.minimum(lower, middle), np.maximum(upper, middle)], -1)
        return interval.clip(min=0) if self.loss.log_link else interval


def _median_column(loss: RegressionLoss, values: np.ndarray) -> np.ndarray:
    """Return the column of the quantile that is nearest to the median, or the only column."""
    return values[..., _nearest_column(loss, 0.5)]


def _spread(loss: RegressionLoss, prediction: np.ndarray) -> np.ndarray:
    """Standard deviation ``(..., outputs)`` implied by predictions ``(..., outputs, columns)``, up to a factor.

    For several quantiles, it is that of a normal distribution with the same distance between the outermost quantiles.
    """
    quantiles = loss.quantiles or ()
    if loss.multi_quantile and len(set(quantiles)) > 1:
        low, high = np.argmin(quantiles), np.argmax(quantiles)
        normal = ndtri(quantiles)
        spread: np.ndarray = (prediction[..., high] - prediction[..., low]) / (normal[high] - normal[low])
        return spread
    return _median_column(loss, _unit(loss, prediction))


def _unit(loss: RegressionLoss, prediction: np.ndarray) -> np.ndarray:
    return prediction**loss.power if loss.power else np.ones_like(prediction)


def _nearest_column(loss: RegressionLoss, probability: float) -> int:
    """Return the column of the quantile that is nearest to a probability, or 0 if there is one column."""
    return int(np.argmin(np.abs(np.array(loss.quantiles) - probability))) if loss.multi_quantile else 0
