"""A sign is what a check saw of an illness: how surely, in which numbers, and what helps against it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import erf, sqrt
from typing import Any

import numpy as np

from ._case import Case

DOUBT = 0.6
"""Certainty that an oddity keeps which does the predictions no harm that could be told."""

MISSED = 0.1
WORSE, SLIGHT = 1.25, 0.01
"""How many times the loss of a plain model a network has that falls short of it, and by which share of a constant's
it must be more."""

LITTLE = 0.25
"""Share of the baseline below which what was learned is so little that none of it can be said to be lost."""


@dataclass(frozen=True)
class Sign:
    """What a check saw.

    Attributes
    ----------
    certainty : float
        Probability that what was measured is beyond the line at which the illness begins, in [0, 1].
    evidence : str
        The numbers, in a sentence.
    remedy : dict
        Parameters that help.
    columns : tuple of str
        Columns of the table that are to blame.
    """

    certainty: float
    evidence: str
    remedy: dict[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()


Check = Callable[[Case], Sign | None]


def beyond(measured: float, line: float, spread: float) -> float:
    """Probability that what was measured with a normal error of ``spread`` is greater than ``line``."""
    if not np.isfinite(measured):
        return float(measured > 0)
    return 0.5 * (1 + erf((measured - line) / max(spread, 1e-12) / sqrt(2)))


def error_of_mean(values: np.ndarray) -> float:
    """Standard error of the mean of rows; of fewer than two there is none to tell."""
    return float(values.std(ddof=1) / sqrt(len(values))) if len(values) > 1 else np.inf


def learned(case: Case) -> float:
    """By how much the training rows are predicted better than by a constant."""
    return float((case.train.baseline - case.train.loss).mean())


def lost(case: Case) -> tuple[float, float]:
    """Share of what was learned from the training rows that does not hold for others, and its standard error.

    Where little was learned, nothing of it is.
    """
    if case.held is None:
        return 0.0, 1.0
    scale = learned(case)
    if scale <= LITTLE * abs(case.train.baseline.mean()):
        return 0.0, 0.0
    gap = case.held.loss.mean() - case.train.loss.mean()
    error = np.hypot(error_of_mean(case.held.loss), error_of_mean(case.train.loss))
    return float(gap / scale), float(error / scale)


def shortfall(case: Case, line: float = MISSED) -> float:
    """Probability that the network misses more than a share of what a plain model learns from the columns.

    Where there is no plain model to compare with: that it learned less than this share of the baseline.
    """
    found = case.comparison
    if found is None:
        short = line * case.train.baseline - (case.train.baseline - case.train.loss)
        return beyond(float(short.mean()), 0.0, error_of_mean(short))
    missed = found.network - found.plain - line * (found.constant - found.plain)
    return beyond(float(missed.mean()), 0.0, error_of_mean(missed))


def worse(case: Case) -> float:
    """Probability that the network has many times the loss of a plain model; 0 where there is none."""
    found = case.comparison
    if found is None:
        return 0.0
    more = found.network - WORSE * found.plain - SLIGHT * found.constant
    return beyond(float(more.mean()), 0.0, error_of_mean(more))


def harmful(case: Case, certainty: float) -> float:
    """The certainty of a sign that is an illness only if the network predicts worse for it."""
    return min(certainty, max(DOUBT, shortfall(case), worse(case))) if certainty > DOUBT else certainty


def averaging(parameters: dict[str, Any], rate: float) -> dict[str, Any]:
    """More members, of which each trains on more rows, and dropout: what one learns by heart, others do not."""
    dropout, remedy = parameters["dropout"], {"n_members": max(8, 2 * parameters["n_members"])}
    if np.ndim(dropout) == 0 and dropout < rate:
        remedy["dropout"] = rate
    return remedy


def in_words(case: Case) -> str:
    """How far the network falls short, for a sentence."""
    found = case.comparison
    if found is None:
        return f"the loss is {case.train.loss.mean():.3g}, and that of a constant {case.train.baseline.mean():.3g}"
    return (
        f"the loss is {found.network.mean():.3g}, that of {found.name} {found.plain.mean():.3g} and that of a constant "
        f"{found.constant.mean():.3g} on the same {len(found.plain)} rows"
    )
