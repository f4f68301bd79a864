"""Measurements, remedies and sentences that several checks share."""

from math import sqrt
from typing import Any

import numpy as np
from scipy.special import ndtr

from ..context import DiagnosticContext

UNHARMFUL_CERTAINTY = 0.6  # maximum certainty of an anomaly without a measurable effect on the predictions
SHORTFALL = 0.1  # share of what a baseline learns that a network with a shortfall misses
# A loss is much higher than a baseline's if it exceeds this multiple of it plus this share of a constant's loss.
LOSS_RATIO, LOSS_MARGIN = 1.25, 0.01
MIN_LEARNED = 0.25  # share of the constant's loss that must be learned before a generalization gap is meaningful
RATIO_ERROR = 0.15  # assumed standard error, in powers of ten, of a ratio without a measured one


def probability_above(value: float, threshold: float, error: float) -> float:
    """Probability that a quantity exceeds a threshold, given its measured value with a normally distributed error."""
    if not np.isfinite(value):
        return float(value > 0)
    return float(ndtr((value - threshold) / max(error, 1e-12)))


def ratio_above(ratio: float, threshold: float) -> float:
    """Probability that a ratio of uncertain measurements exceeds a threshold."""
    return probability_above(np.log10(max(ratio, 1e-30)), np.log10(threshold), RATIO_ERROR)


def ratio_below(ratio: float, threshold: float) -> float:
    """Probability that a ratio of uncertain measurements is below a threshold."""
    return probability_above(-np.log10(max(ratio, 1e-30)), -np.log10(threshold), RATIO_ERROR)


def standard_error(values: np.ndarray) -> float:
    """Standard error of the mean; infinite for fewer than two values."""
    return float(values.std(ddof=1) / sqrt(len(values))) if len(values) > 1 else np.inf


def standard_error_of_rate(rate: float, n: int) -> float:
    """Standard error of a relative frequency, with a correction for small counts."""
    return sqrt((rate * (1 - rate) + 1 / n) / n)


def generalization_gap(context: DiagnosticContext) -> tuple[float, float]:
    """Share of the learned loss reduction that is absent on held-out rows, and the standard error of this share."""
    train, held_out = context.train, context.held_out
    if held_out is None:
        return 0.0, 1.0
    learned = (train.constant_loss - train.loss).mean()
    if learned <= MIN_LEARNED * abs(train.constant_loss.mean()):
        return 0.0, 0.0
    gap = held_out.loss.mean() - train.loss.mean()
    error = np.hypot(standard_error(held_out.loss), standard_error(train.loss))
    return float(gap / learned), float(error / learned)


def shortfall(context: DiagnosticContext, share: float = SHORTFALL) -> float:
    """Probability that the network misses more than a share of what a baseline learns.

    Without a baseline, this is the probability that the network reduced the constant's loss by less than this share.
    """
    comparison, train = context.comparison, context.train
    if comparison is None:
        missed = share * train.constant_loss - (train.constant_loss - train.loss)
    else:
        missed = comparison.network - comparison.baseline - share * (comparison.constant - comparison.baseline)
    return probability_above(float(missed.mean()), 0.0, standard_error(missed))


def much_higher_loss(context: DiagnosticContext) -> float:
    """Probability that the network's loss is much higher than a baseline's; 0 without a baseline."""
    comparison = context.comparison
    if comparison is None:
        return 0.0
    excess = comparison.network - LOSS_RATIO * comparison.baseline - LOSS_MARGIN * comparison.constant
    return probability_above(float(excess.mean()), 0.0, standard_error(excess))


def limit_unless_harmful(context: DiagnosticContext, certainty: float) -> float:
    """Limit the certainty of an anomaly unless the network predicts worse than a baseline."""
    return min(certainty, max(UNHARMFUL_CERTAINTY, shortfall(context), much_higher_loss(context)))


def averaging_remedy(parameters: dict[str, Any], dropout: float) -> dict[str, Any]:
    """More members, each trained on more rows, and at least this dropout rate: errors of single members average out."""
    current, remedy = parameters["dropout"], {"n_members": max(8, 2 * parameters["n_members"])}
    return remedy | ({"dropout": dropout} if np.ndim(current) == 0 and current < dropout else {})


def describe_loss(context: DiagnosticContext) -> str:
    """Return a clause that compares the network's loss with those of the baselines."""
    comparison, train = context.comparison, context.train
    if comparison is None:
        return f"the loss is {train.loss.mean():.3g}, and {train.constant_loss.mean():.3g} for a constant prediction"
    return (
        f"the loss is {comparison.network.mean():.3g}, compared with {comparison.baseline.mean():.3g} for "
        f"{comparison.name} and {comparison.constant.mean():.3g} for a constant prediction on the same "
        f"{len(comparison.network)} rows"
    )
