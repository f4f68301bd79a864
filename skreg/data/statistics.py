"""The statistics of a table: what each member knows of its columns, from its own training rows only.

A row is in a member's training set where its weight is above 0, so one pass over a sorted column serves all members.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

ONE_HOT_MAX = 8
CLIP = 3.0
N_KNOTS = 256
NORMAL_RANGE = 1.349
_QUARTILES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])


@dataclass(frozen=True)
class Statistics:
    """Statistics of the columns, one row per member.

    Attributes
    ----------
    fill, center, scale : ndarray of shape (members, n_numbers)
        A missing number becomes ``fill``; a number x becomes ``(x - center) * scale``.
    knots : ndarray of shape (members, n_numbers, n_knots) or None
        Quantiles, for ``scaling="quantile"``.
    clip : bool
        Whether scaled numbers are clipped smoothly.
    known : list of bool ndarray of shape (members, n_levels + 1)
        For each categorical column, the levels that a member has seen; code 0 is never known.
    indicators : list of int
        Numeric columns with missing values, which get a missing-value indicator.
    edges : ndarray of shape (members, n_bins + 1, n_numbers) or None
        Quantiles that cut each column into bins.
    """

    fill: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    knots: np.ndarray | None
    clip: bool
    known: list[np.ndarray] = field(default_factory=list)
    indicators: list[int] = field(default_factory=list)
    edges: np.ndarray | None = None


def learn_statistics(
    numbers: Any, levels: np.ndarray, n_levels: list[int], weight: np.ndarray, scaling: str | None, n_bins: int = 0
) -> Statistics:
    """Learn the statistics of a table.

    Parameters
    ----------
    numbers : ndarray or csr_array of shape (rows, n_numbers)
        Numeric columns, NaN where missing.
    levels : int ndarray of shape (rows, n_categories)
        Codes, 0 where missing.
    n_levels : list of int
        Levels of each category.
    weight : ndarray of shape (members, rows)
        Weight of each row for each member, 0 where it does not train on it; bools, an eighth of the memory, where all
        weigh alike.
    scaling : {"robust", "standard", "quantile", None}
        How numbers are scaled.
    n_bins : int
        Into how many bins of equal weight the columns are cut; 0 learns no edges.
    """
    n_members, n_numbers = len(weight), numbers.shape[1]
    fill, center, scale = learned = np.zeros((3, n_members, n_numbers))
    n_knots = N_KNOTS if scaling == "quantile" else 0
    knots = np.zeros((n_members, n_numbers, n_knots))
    edges = np.zeros((n_members, n_bins + 1, n_numbers))
    learn = _LEARNERS[scaling]
    indicators = []
    for j, (values, w, rows, missing) in enumerate(_columns(numbers, weight)):
        if missing:
            indicators.append(j)
        if len(values):
            column = _Sorted(values, w, rows)
            learned[:, :, j] = learn(column)
            if n_knots:
                knots[:, j] = column.quantiles(np.linspace(0, 1, n_knots))
            if n_bins:
                edges[:, :, j] = column.quantiles(np.linspace(0, 1, n_bins + 1))
    known = [_seen(codes, n, weight) for codes, n in zip(levels.T, n_levels, strict=True)]
    return Statistics(
        fill,
        center,
        scale,
        knots if n_knots else None,
        scaling == "robust",
        known,
        indicators,
        edges if n_bins else None,
    )


class _Sorted:
    """A column in order, with the weight of each value for each member; values may be of some ``rows`` only."""

    def __init__(self, values: np.ndarray, weight: np.ndarray, rows: np.ndarray | None = None) -> None:
        order = np.argsort(values)
        self.values = values[order].astype(np.float64)
        self.weight = weight[:, order if rows is None else rows[order]]
        self.total = self.weight.sum(1)

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Weighted quantiles ``(members, len(probabilities))``; a weight of 2 counts as the value twice.

        The inverse of the distribution function, averaged where it is flat, so that scaling all weights changes
        nothing (Hyndman & Fan 1996, definition 2). 0 for a member that has no value.
        """
        out = np.zeros((len(self.weight), len(probabilities)))
        for row, weight, total in zip(out, self.weight, self.total, strict=True):
            if total > 0:
                sums = np.cumsum(weight, dtype=np.float64)
                slack = 1e-9 * sums[-1]
                target = probabilities * sums[-1]
                lower = np.searchsorted(sums, np.maximum(target - slack, slack * 1e-3))
                upper = np.minimum(np.searchsorted(sums, target + slack, side="right"), np.searchsorted(sums, sums[-1]))
                row[:] = self.values[lower] / 2 + self.values[np.maximum(lower, upper)] / 2
        return out

    def mean(self) -> np.ndarray:
        """Weighted mean of each member, 0 for one that has no value."""
        sums = np.stack([weight.astype(np.float64) @ self.values for weight in self.weight])
        return sums / np.where(self.total > 0, self.total, 1)

    def spread(self, mean: np.ndarray) -> np.ndarray:
        """Weighted standard deviation of each member, the population's."""
        largest = max(np.abs(self.values).max(), 1e-300)
        pairs = zip(self.weight, mean, strict=True)
        squares = np.stack(
            [weight.astype(np.float64) @ np.square((self.values - center) / largest) for weight, center in pairs]
        )
        return largest * np.sqrt(squares / np.where(self.total > 0, self.total, 1))


def _robust(column: _Sorted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median and interquartile range; half the range where that is 0 (Holzmueller et al. 2024, RealMLP)."""
    low, q25, median, q75, high = column.quantiles(_QUARTILES).T
    return median, median, _inverse(np.where(q75 > q25, q75 - q25, (high - low) / 2))


def _standard(column: _Sorted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean = column.mean()
    spread = column.spread(mean)
    rounding = 10 * np.finfo(np.float64).eps * np.abs(mean)
    return mean, mean, _inverse(np.where(spread > rounding, spread, 0))


def _quantile(column: _Sorted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    (median,) = column.quantiles(np.array([0.5])).T
    return median, np.zeros_like(median), np.ones_like(median)


def _as_it_is(column: _Sorted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean = column.mean()
    return mean, np.zeros_like(mean), np.ones_like(mean)


_LEARNERS: dict[str | None, Callable[[_Sorted], tuple[np.ndarray, np.ndarray, np.ndarray]]] = {
    "robust": _robust,
    "standard": _standard,
    "quantile": _quantile,
    None: _as_it_is,
}


def target_statistics(target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation ``(members, outputs)`` of a target ``(rows, outputs)``; 1 for a constant."""
    mean, _, scale = np.stack([_standard(_Sorted(column, weight)) for column in target.T], axis=-1)
    return mean, np.where(scale > 0, _inverse(scale), 1.0)


def quantile_statistics(
    target: np.ndarray, weight: np.ndarray, quantiles: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """A quantile of each column of ``target`` ``(rows, outputs)``, in turn, and its interquartile range / 1.349.

    That is a standard deviation of normal numbers which outliers do not move; where the range is 0 the standard
    deviation itself.
    """
    _, scale = target_statistics(target, weight)
    center = np.zeros_like(scale)
    for j, column in enumerate(target.T):
        low, center[:, j], high = (
            _Sorted(column, weight).quantiles(np.array([0.25, quantiles[j % len(quantiles)], 0.75])).T
        )
        rounding = 10 * np.finfo(np.float64).eps * np.abs(center[:, j])
        scale[:, j] = np.where(high - low > rounding, (high - low) / NORMAL_RANGE, scale[:, j])
    return center, scale


def mean_statistics(target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zero, and the mean of each column of ``target`` ``(rows, outputs)`` of numbers of at least 0; 1 if all are 0."""
    mean = np.stack([_Sorted(column, weight).mean() for column in target.T], axis=-1)
    return np.zeros_like(mean), np.where(mean > 0, mean, 1.0)


def _inverse(width: np.ndarray) -> np.ndarray:
    return np.divide(1.0, width, out=np.zeros_like(width), where=width > 0)


def _columns(numbers: Any, weight: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None, bool]]:
    """Values, weights, rows they are of (None for all) and whether any is missing, for each column.

    The zeros of a sparse column are a single value.
    """
    if not sparse.issparse(numbers):
        for values in numbers.T:
            here = ~np.isnan(values)
            yield (values, weight, None, False) if here.all() else (values[here], weight, np.flatnonzero(here), True)
        return
    columns = numbers.tocsc()
    total = weight.sum(1, keepdims=True)
    for j in range(columns.shape[1]):
        part = slice(columns.indptr[j], columns.indptr[j + 1])
        values, w = columns.data[part], weight[:, columns.indices[part]]
        zeros = np.maximum(total - w.sum(1, keepdims=True), 0)
        if columns.shape[0] == len(values):
            zeros[:] = 0
        here = ~np.isnan(values)
        yield np.append(values[here], 0), np.hstack([w[:, here], zeros]), None, not here.all()


def _seen(codes: np.ndarray, n_levels: int, weight: np.ndarray) -> np.ndarray:
    known = np.stack([np.bincount(codes, weights=w, minlength=n_levels + 1) > 0 for w in weight])
    known[:, 0] = False
    return known
