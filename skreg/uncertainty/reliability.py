"""Reliability is whether predictions come true as often as they say; and how unsure they are of the rows they miss."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length, column_or_1d

NORMAL_95 = 1.96
ENTROPY_BINS = 20


def reliability(y_true: ArrayLike, y_prob: ArrayLike, classes: ArrayLike | None, n_bins: int) -> dict[str, Any]:
    """The record of probabilities: how often they come true, and their entropy where they are right and wrong.

    Parameters
    ----------
    y_true : array-like of shape (rows,) or (rows, labels)
        Labels, or a 0/1 matrix of several labels.
    y_prob : array-like of shape (rows,), (rows, classes), (rows, labels), or with samples before them
        Probabilities.
    classes : array-like or None
        In the order of the probabilities; None are those in ``y_true``, sorted.
    n_bins : int
        Bins of probability.
    """
    truth, samples, binary = _checked(y_true, y_prob, classes)
    mean = samples.mean(0)
    named = mean.argmax(1)
    right = named == truth
    if binary:
        said, true = mean[:, 1], truth == 1
    else:
        said, true = mean.max(1), right
    record = _bins(said, true, n_bins)
    edges = np.linspace(0, 1, ENTROPY_BINS + 1)
    unit = np.log(mean.shape[1])
    total = _entropy(mean) / unit
    record |= {"entropy_edges": edges, **_split("entropy", total, right, edges), "confidence": not binary}
    if len(samples) > 1:
        apart = np.clip(total - _entropy(samples).mean(0) / unit, 0, 1)
        finer = edges * max(apart.max(), 1e-6)
        record |= {"disagreement_edges": finer, **_split("disagreement", apart, right, finer)}
    return record


def interval_reliability(y_true: ArrayLike, lower: ArrayLike, upper: ArrayLike, coverage: ArrayLike) -> dict[str, Any]:
    """The record of intervals: how many rows they hold, and how wide they are.

    Parameters
    ----------
    y_true : array-like of shape (rows,)
        Numbers.
    lower, upper : array-like of shape (levels, rows), or (rows,) for a single level
        Ends of the intervals.
    coverage : array-like of shape (levels,), or float
        What share of the rows each level promises to hold.
    """
    truth, nominal = column_or_1d(y_true), np.atleast_1d(np.asarray(coverage, dtype=float))
    low, high = (np.atleast_2d(np.asarray(ends, dtype=float)) for ends in (lower, upper))
    if not low.shape == high.shape == (len(nominal), len(truth)):
        raise ValueError(
            f"Intervals have the shape (levels, rows), here {(len(nominal), len(truth))}. Got {low.shape} for 'lower' "
            f"and {high.shape} for 'upper'."
        )
    order = np.argsort(nominal)
    inside = (low <= truth) & (truth <= high)
    share = inside.mean(1)[order]
    below, above = _wilson(share, np.full(len(nominal), len(truth)))
    return {
        "nominal": nominal[order],
        "coverage": share,
        "coverage_low": below,
        "coverage_high": above,
        "width": (high - low).mean(1)[order],
    }


def _checked(y_true: ArrayLike, y_prob: ArrayLike, classes: ArrayLike | None) -> tuple[np.ndarray, np.ndarray, bool]:
    """Numbers of the classes ``(rows,)``, probabilities ``(samples, rows, classes)``, and whether yes or no is asked.

    Several labels are as many rows of yes and no.
    """
    labels, prob = np.asarray(y_true), np.asarray(y_prob, dtype=float)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    several = labels.ndim == 2
    known = np.array([0, 1]) if several else np.unique(labels) if classes is None else np.asarray(classes)
    if several:
        labels, prob = labels.ravel(), prob.reshape(*prob.shape[:-2], -1)
    if prob.ndim == 1 or several:
        prob = np.stack([1 - prob, prob], -1)
    prob = prob[None] if prob.ndim == 2 else prob
    if prob.ndim != 3 or prob.shape[2] != len(known):
        raise ValueError(
            f"'y_prob' has the shape (rows, classes), or (samples, rows, classes), with one column for each of the "
            f"{len(known)} classes. Got {np.shape(y_prob)}: pass the classes in the order of the columns as 'classes'."
        )
    check_consistent_length(labels, prob[0])
    if not (prob.min() >= 0 and prob.max() <= 1):
        raise ValueError(f"'y_prob' holds probabilities in [0, 1]. Got {prob.min():.4g} to {prob.max():.4g} instead.")
    place = {label: number for number, label in enumerate(known.tolist())}
    unknown = [label for label in np.unique(labels).tolist() if label not in place]
    if unknown:
        raise ValueError(f"'y_true' has labels that are not among the classes: {unknown[:5]}.")
    return np.array([place[label] for label in labels.tolist()]), prob, len(known) == 2


def _bins(said: np.ndarray, true: np.ndarray, n_bins: int) -> dict[str, Any]:
    """What was said and what came true in bins of equal width; empty ones are left out."""
    number = np.minimum((said * n_bins).astype(int), n_bins - 1)
    count = np.bincount(number, minlength=n_bins)
    kept = count > 0
    count = count[kept]
    pred = np.bincount(number, said, n_bins)[kept] / count
    share = np.bincount(number, true, n_bins)[kept] / count
    low, high = _wilson(share, count)
    error = float((count * np.abs(share - pred)).sum() / count.sum())
    return {
        "prob_pred": pred,
        "prob_true": share,
        "prob_low": low,
        "prob_high": high,
        "counts": count,
        "calibration_error": error,
    }


def _wilson(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval for a share of ``count`` rows [Wilson 1927]."""
    square = NORMAL_95**2
    center = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL_95 / (1 + square / count) * np.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return np.minimum(center - half, share), np.maximum(center + half, share)


def _entropy(prob: np.ndarray) -> np.ndarray:
    """Entropy over the last axis, in nats."""
    return -(prob * np.log(np.where(prob > 0, prob, 1))).sum(-1)


def _split(name: str, values: np.ndarray, right: np.ndarray, edges: np.ndarray) -> dict[str, np.ndarray]:
    """Rows in each bin, of those predicted right and of those predicted wrong."""
    values = np.clip(values, edges[0], edges[-1])
    groups = {"right": right, "wrong": ~right}
    return {f"{name}_{group}": np.histogram(values[rows], edges)[0] for group, rows in groups.items()}
