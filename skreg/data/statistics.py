"""Statistics of the columns and of the target, learned by each member from its own training rows.

A row belongs to a member's training rows if its weight for this member is positive, so one pass over a sorted column
serves all members.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

ONE_HOT_MAX = 8
CLIP = 3.0
N_KNOTS = 256
NORMAL_RANGE = 1.349  # interquartile range of the standard normal distribution
_QUARTILES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])

_Scaling = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Statistics:
    """Statistics of the columns, one row per member.

    ``fill``, ``center`` and ``scale`` have the shape ``(members, n_numbers)``. A missing number becomes ``fill``; a
    number x becomes ``(x - center) * scale``.
    """

    fill: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    knots: np.ndarray | None  # quantiles (members, n_numbers, n_knots), for scaling="quantile"
    clip: bool  # whether scaled numbers are clipped smoothly
    known: list[np.ndarray] = field(default_factory=list)
    """For each category, whether a member's rows contain a level ``(members, n_levels + 1)``; never for code 0."""
    indicators: list[int] = field(default_factory=list)  # numeric columns with missing values, which get an indicator
    edges: np.ndarray | None = None  # quantiles (members, n_bins + 1, n_numbers) that cut each column into bins


def learn_statistics(
    numbers: Any, levels: np.ndarray, n_levels: list[int], weight: np.ndarray, scaling: str | None, n_bins: int = 0
) -> Statistics:
    """Learn the statistics of the numbers and levels of an ``EncodedTable``.

    ``n_levels`` is the number of levels of each category. ``weight`` ``(members, rows)`` is the weight of each row for
    each member, or 0 if the member does not train on the row. Equal weights are passed as bools, which take an eighth
    of the memory. ``scaling`` is a value of ``numeric_scaling``. ``n_bins`` is the number of bins of equal weight of
    each numeric column; with 0, no edges are learned.
    """
    n_members, n_numbers = len(weight), numbers.shape[1]
    fill, center, scale = learned = np.zeros((3, n_members, n_numbers))
    n_knots = N_KNOTS if scaling == "quantile" else 0
    knots = np.zeros((n_members, n_numbers, n_knots))
    edges = np.zeros((n_members, n_bins + 1, n_numbers))
    indicators = []
    for j, (values, w, rows, missing) in enumerate(_columns(numbers, weight)):
        if missing:
            indicators.append(j)
        if len(values):
            column = _SortedColumn(values, w, rows)
            learned[:, :, j] = _SCALINGS[scaling](column)
            if n_knots:
                knots[:, j] = column.quantiles(np.linspace(0, 1, n_knots))
            if n_bins:
                edges[:, :, j] = column.quantiles(np.linspace(0, 1, n_bins + 1))
    return Statistics(
        fill,
        center,
        scale,
        knots if n_knots else None,
        scaling == "robust",
        [_known_levels(codes, n, weight) for codes, n in zip(levels.T, n_levels, strict=True)],
        indicators,
        edges if n_bins else None,
    )


class _SortedColumn:
    """Sorted values of a column, and the weight of each value for each member."""

    def __init__(self, values: np.ndarray, weight: np.ndarray, rows: np.ndarray | None = None) -> None:
        order = np.argsort(values)
        weight = moderate(weight)
        self.values = values[order].astype(np.float64)
        self.weight = weight[:, order if rows is None else rows[order]]
        self.total = self.weight.sum(1)

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return weighted quantiles ``(members, len(probabilities))``; a weight of 2 counts as two equal values.

        The quantiles are the inverse of the distribution function, averaged where this function is flat, and do not
        depend on the scale of the weights (Hyndman & Fan 1996, definition 2). The quantiles of a member without values
        are 0.
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
        """Return the weighted mean of each member; 0 for a member without values."""
        sums = np.stack([weight.astype(np.float64) @ self.values for weight in self.weight])
        return sums / np.where(self.total > 0, self.total, 1)

    def std(self, mean: np.ndarray) -> np.ndarray:
        """Return the weighted population standard deviation of each member."""
        largest = float(max(np.abs(self.values).max(), 1e-300))
        pairs = zip(self.weight, mean, strict=True)
        squares = np.stack(
            [weight.astype(np.float64) @ np.square((self.values - center) / largest) for weight, center in pairs]
        )
        return largest * np.sqrt(squares / np.where(self.total > 0, self.total, 1))


def _robust(column: _SortedColumn) -> _Scaling:
    """Use the median and the interquartile range, or half the range if that is 0 (Holzmueller et al. 2024, RealMLP)."""
    low, q25, median, q75, high = column.quantiles(_QUARTILES).T
    return median, median, _inverse(np.where(q75 > q25, q75 - q25, (high - low) / 2))


def _standard(column: _SortedColumn) -> _Scaling:
    mean = column.mean()
    std = column.std(mean)
    return mean, mean, _inverse(np.where(std > _rounding_error(mean), std, 0))


def _quantile(column: _SortedColumn) -> _Scaling:
    (median,) = column.quantiles(np.array([0.5])).T
    return median, np.zeros_like(median), np.ones_like(median)


def _unscaled(column: _SortedColumn) -> _Scaling:
    mean = column.mean()
    return mean, np.zeros_like(mean), np.ones_like(mean)


_SCALINGS: dict[str | None, Callable[[_SortedColumn], _Scaling]] = {
    "robust": _robust,
    "standard": _standard,
    "quantile": _quantile,
    None: _unscaled,
}


def target_statistics(target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and standard deviation ``(members, outputs)`` of a target; the latter is 1 for a constant."""
    mean, _, scale = np.stack([_standard(_SortedColumn(column, weight)) for column in target.T], axis=-1)
    return mean, np.where(scale > 0, _inverse(scale), 1.0)


def quantile_statistics(
    target: np.ndarray, weight: np.ndarray, quantiles: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a quantile of each column of ``target`` in turn, and a standard deviation robust to outliers.

    The latter is the interquartile range divided by that of the standard normal distribution, or the standard deviation
    itself if the range is 0.
    """
    _, scale = target_statistics(target, weight)
    center = np.zeros_like(scale)
    for j, column in enumerate(target.T):
        probabilities = np.array([0.25, quantiles[j % len(quantiles)], 0.75])
        low, center[:, j], high = _SortedColumn(column, weight).quantiles(probabilities).T
        varies = high - low > _rounding_error(center[:, j])
        scale[:, j] = np.where(varies, (high - low) / NORMAL_RANGE, scale[:, j])
    return center, scale


def mean_statistics(target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return 0 and the mean ``(members, outputs)`` of a nonnegative target ``(rows, outputs)``; 1 if all are 0."""
    mean = np.stack([_SortedColumn(column, weight).mean() for column in target.T], axis=-1)
    return np.zeros_like(mean), np.where(mean > 0, mean, 1.0)


def _rounding_error(center: np.ndarray) -> np.ndarray:
    return abs(center) * (10 * float(np.finfo(np.float64).eps))


def _inverse(width: np.ndarray) -> np.ndarray:
    """Return ``1 / width``, or 0 where ``width`` is 0 or so small that no float64 holds the result."""
    out = np.zeros_like(width)
    np.divide(1.0, width, out=out, where=width > 1 / np.finfo(np.float64).max)
    return out


def moderate(weight: np.ndarray) -> np.ndarray:
    """Multiply very large or small weights by a power of two, so that their products with values do not overflow.

    Weighted means do not change.
    """
    largest = float(weight.max(initial=0))
    if weight.dtype == bool or not largest or 1e-100 < largest < 1e100:
        return weight
    scaled: np.ndarray = np.ldexp(weight, -int(np.frexp(largest)[1]))
    return scaled


def _columns(numbers: Any, weight: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None, bool]]:
    """Yield each column's present values, their weights, their rows (None for all), and whether any value is missing.

    The zeros of a sparse column are combined into one value.
    """
    if not sparse.issparse(numbers):
        for values in numbers.T:
            present = ~np.isnan(values)
            if present.all():
                yield values, weight, None, False
            else:
                yield values[present], weight, np.flatnonzero(present), True
        return
    columns = numbers.tocsc()
    total = weight.sum(1, keepdims=True)
    for j in range(columns.shape[1]):
        stored = slice(columns.indptr[j], columns.indptr[j + 1])
        values, w = columns.data[stored], weight[:, columns.indices[stored]]
        zeros = np.maximum(total - w.sum(1, keepdims=True), 0)
        if columns.shape[0] == len(values):
            zeros[:] = 0
        present = ~np.isnan(values)
        yield np.append(values[present], 0), np.hstack([w[:, present], zeros]), None, not present.all()


def _known_levels(codes: np.ndarray, n_levels: int, weight: np.ndarray) -> np.ndarray:
    known = np.stack([np.bincount(codes, weights=w, minlength=n_levels + 1) > 0 for w in weight])
    known[:, 0] = False
    return known
