"""Residuals are how far off the predictions of held-out rows are: what an interval is made of, and a spread."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.special import ndtri

from ..training.losses import RegressionLoss

LEAST_NOISE = 0.5


def conformal_quantile(scores: np.ndarray, weight: np.ndarray, coverage: float) -> float:
    """The smallest score that a share ``coverage`` of the rows and a new one do not exceed; infinity if there is none.

    The finite-sample rule of split conformal prediction: of n equal weights the score of rank
    ``ceil(coverage * (n + 1))`` (Vovk et al. 2005, "Algorithmic learning in a random world"; Lei et al. 2018,
    "Distribution-free predictive inference for regression").

    Parameters
    ----------
    scores, weight : ndarray of shape (rows,)
        Weights have mean 1, which is what the new row has.
    coverage : float
        In (0, 1).
    """
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weight[order]) >= coverage * (len(scores) + 1) * (1 - 1e-12)
    return float(scores[order][reached.argmax()]) if reached.any() else np.inf


@dataclass(frozen=True)
class Residuals:
    """Target less prediction of held-out rows.

    Attributes
    ----------
    loss : RegressionLoss
        Of the network.
    scaled : ndarray of shape (rows, outputs, columns)
        Residual from each raw output of a target, in units of the spread that the loss takes the prediction to have.
    weight : ndarray of shape (rows,)
        Weights, of mean 1.
    noise : ndarray of shape (outputs,)
        Variance of the target that is no uncertainty of the network, in squares of that unit.
    """

    loss: RegressionLoss
    scaled: np.ndarray
    weight: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(cls, loss: RegressionLoss, y: np.ndarray, each: np.ndarray, holder: np.ndarray | None, weight: Any) -> Self:
        """Residuals of held-out rows.

        The squared residuals of a member are noise and what another member would have said; the latter, the members'
        variance, is taken off, but no more than half.

        Parameters
        ----------
        loss : RegressionLoss
            Of the network.
        y : ndarray of shape (rows,) or (rows, outputs)
            The target.
        each : ndarray of shape (members, rows, ...)
            Predictions of all members.
        holder : int ndarray of shape (rows,) or None
            Member that held out a row; None where all did, and their mean predicts.
        weight : ndarray of shape (rows,) or None
            Weights of the rows.
        """
        each = each.reshape(*each.shape[:2], -1, loss.n_columns if loss.multi_quantile else 1)
        prediction = each.mean(0) if holder is None else each[holder, np.arange(len(y))]
        weights = np.ones(len(y)) if weight is None else weight / weight.mean()
        residual = y.reshape(len(y), -1, 1) - prediction
        members = len(each)
        apart = middle_of(loss, each).var(0, ddof=1) if members > 1 else np.zeros(residual.shape[:2])
        squares = np.average(middle_of(loss, residual) ** 2, axis=0, weights=weights)
        known = np.average(apart, axis=0, weights=weights) / (members if holder is None else 1)
        noise = np.maximum(squares - known, LEAST_NOISE * squares)
        unit = np.average(spread_of(loss, prediction) ** 2, axis=0, weights=weights)
        per_unit = np.divide(noise, unit, out=np.zeros_like(noise), where=unit > 0)
        return cls(loss, residual / _unit(loss, prediction), weights, per_unit)

    def variance(self, prediction: np.ndarray) -> np.ndarray:
        """Variance ``(rows, outputs)`` of the target around predictions ``(rows, outputs, columns)``."""
        return self.noise * spread_of(self.loss, prediction) ** 2

    def interval(self, prediction: np.ndarray, coverage: float) -> np.ndarray:
        """Intervals ``(rows, outputs, 2)`` around predictions ``(rows, outputs, columns)``.

        From one number it goes as far up as down; from several quantiles, as far beyond the two that are nearest to the
        ends (Romano et al. 2019, "Conformalized quantile regression").
        """
        low, high = _ends(self.loss, coverage)
        scores = np.maximum(-self.scaled[..., low], self.scaled[..., high])
        far = np.array([conformal_quantile(column, self.weight, coverage) for column in scores.T])
        if not np.isfinite(far).all():
            raise ValueError(
                f"coverage={coverage!r} needs at least {int(np.ceil(coverage / (1 - coverage) - 1e-9))} held-out rows, "
                f"and there are {len(scores)}. Lower it, or hold out more rows."
            )
        unit = _unit(self.loss, prediction)
        ends = [prediction[..., low] - far * unit[..., low], prediction[..., high] + far * unit[..., high]]
        middle = (prediction[..., low] + prediction[..., high]) / 2
        interval = np.stack([np.minimum(ends[0], middle), np.maximum(ends[1], middle)], -1)
        return interval.clip(min=0) if self.loss.log_link else interval


def middle_of(loss: RegressionLoss, values: np.ndarray) -> np.ndarray:
    """Of values with one column for each quantile those of the one nearest to the median."""
    return values[..., np.argmin(np.abs(np.array(loss.quantiles) - 0.5)) if loss.multi_quantile else 0]


def spread_of(loss: RegressionLoss, prediction: np.ndarray) -> np.ndarray:
    """Spread ``(..., outputs)`` that predictions ``(..., outputs, columns)`` speak of, up to a factor.

    Of several quantiles it is the distance of the outermost in those of a normal distribution.
    """
    quantiles = loss.quantiles or ()
    if loss.multi_quantile and len(set(quantiles)) > 1:
        low, high = np.argmin(quantiles), np.argmax(quantiles)
        normal = ndtri(quantiles)
        return (prediction[..., high] - prediction[..., low]) / (normal[high] - normal[low])
    return middle_of(loss, _unit(loss, prediction))


def _unit(loss: RegressionLoss, prediction: np.ndarray) -> np.ndarray:
    return prediction**loss.power if loss.power else np.ones_like(prediction)


def _ends(loss: RegressionLoss, coverage: float) -> tuple[int, int]:
    """Columns of the quantiles that are nearest to the ends of an interval; both 0 where there is one number."""
    if not loss.multi_quantile:
        return 0, 0
    quantiles = np.array(loss.quantiles)
    low, high = (int(np.argmin(np.abs(quantiles - end))) for end in ((1 - coverage) / 2, (1 + coverage) / 2))
    return low, high
