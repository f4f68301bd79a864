"""Reliability of probabilities and intervals: predicted against observed frequencies."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr
from sklearn.utils import column_or_1d

from .._utils.validation import check_lengths

NORMAL_95 = 1.96
ENTROPY_BINS = 20


def reliability(y_true: ArrayLike, y_prob: ArrayLike, classes: ArrayLike | None, n_bins: int) -> dict[str, Any]:
    """Compute a reliability curve and histograms of the entropy of correct and incorrect predictions.

    ``y_true`` contains classes ``(rows,)`` or a 0/1 matrix ``(rows, labels)``. ``y_prob`` has the shape ``(rows,)``,
    ``(rows, classes)`` or ``(rows, labels)``, optionally with a leading axis of samples. Its columns belong to
    ``classes``, by default the sorted classes in ``y_true``.
    """
    target, samples, binary = _check_probabilities(y_true, y_prob, classes)
    mean = samples.mean(0)
    correct = mean.argmax(1) == target
    if binary:
        predicted, observed = mean[:, 1], target == 1
    else:
        predicted, observed = mean.max(1), correct
    record = _reliability_curve(predicted, observed, n_bins)
    edges = np.linspace(0, 1, ENTROPY_BINS + 1)
    max_entropy = np.log(mean.shape[1])
    total = entr(mean).sum(-1) / max_entropy
    record |= {"entropy_edges": edges, **_histograms("entropy", total, correct, edges), "confidence": not binary}
    if len(samples) > 1:
        disagreement = np.clip(total - entr(samples).sum(-1).mean(0) / max_entropy, 0, 1)
        finer = edges * max(disagreement.max(), 1e-6)
        record |= {"disagreement_edges": finer, **_histograms("disagreement", disagreement, correct, finer)}
    return record


def interval_reliability(y_true: ArrayLike, lower: ArrayLike, upper: ArrayLike, coverage: ArrayLike) -> dict[str, Any]:
    """Compute the observed coverage and the mean width of intervals.

    The ends of the intervals have the shape ``(levels, rows)``, or ``(rows,)`` for a single level. ``coverage`` is the
    nominal coverage of each level.
    """
    target, nominal = column_or_1d(y_true), np.atleast_1d(np.asarray(coverage, dtype=float))
    low, high = (np.atleast_2d(np.asarray(ends, dtype=float)) for ends in (lower, upper))
    if not low.shape == high.shape == (len(nominal), len(target)):
        raise ValueError(
            f"'lower' and 'upper' must have the shape (levels, rows), here {(len(nominal), len(target))}. Got "
            f"{low.shape} and {high.shape} instead."
        )
    order = np.argsort(nominal)
    share = ((low <= target) & (target <= high)).mean(1)[order]
    below, above = _wilson_interval(share, np.full(len(nominal), len(target)))
    return {
        "nominal": nominal[order],
        "coverage": share,
        "coverage_low": below,
        "coverage_high": above,
        "width": (high - low).mean(1)[order],
    }


def _check_probabilities(
    y_true: ArrayLike, y_prob: ArrayLike, classes: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return class numbers ``(rows,)``, probabilities ``(samples, rows, classes)``, and whether they are binary.

    With several labels, each label becomes a separate row with two classes.
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
            f"'y_prob' must have the shape (rows, classes) or (samples, rows, classes), with a column for each of the "
            f"{len(known)} classes. Got {np.shape(y_prob)} instead. Pass 'classes' in the order of the columns."
        )
    check_lengths(y_true=labels, y_prob=prob[0])
    if not (prob.min() >= 0 and prob.max() <= 1):
        raise ValueError(
            f"'y_prob' must contain probabilities in [0, 1]. Got {prob.min():.4g} to {prob.max():.4g} instead."
        )
    number = {label: position for position, label in enumerate(known.tolist())}
    if unknown := [label for label in np.unique(labels).tolist() if label not in number]:
        raise ValueError(f"'y_true' contains labels that are not among the classes: {unknown[:5]}. Pass all 'classes'.")
    return np.array([number[label] for label in labels.tolist()]), prob, len(known) == 2


def _reliability_curve(predicted: np.ndarray, observed: np.ndarray, n_bins: int) -> dict[str, Any]:
    """Predicted and observed frequencies in bins of equal width, without empty bins."""
    n_bins = int(n_bins)  # NumPy refuses a bool
    number = np.minimum((predicted * n_bins).astype(int), n_bins - 1)
    count = np.bincount(number, minlength=n_bins)
    kept = count > 0
    count = count[kept]
    pred = np.bincount(number, predicted, n_bins)[kept] / count
    share = np.bincount(number, observed, n_bins)[kept] / count
    low, high = _wilson_interval(share, count)
    error = float((count * np.abs(share - pred)).sum() / count.sum())
    return {
        "prob_pred": pred,
        "prob_true": share,
        "prob_low": low,
        "prob_high": high,
        "counts": count,
        "calibration_error": error,
    }


def _wilson_interval(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % confidence interval for a share of ``count`` rows (Wilson 1927)."""
    square = NORMAL_95**2
    center = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL_95 / (1 + square / count) * np.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return np.minimum(center - half, share), np.maximum(center + half, share)


def _histograms(name: str, values: np.ndarray, correct: np.ndarray, edges: np.ndarray) -> dict[str, np.ndarray]:
    """Count the rows in each bin, separately for correct and incorrect predictions."""
    values = np.clip(values, edges[0], edges[-1])
    groups = {"right": correct, "wrong": ~correct}
    return {f"{name}_{group}": np.histogram(values[rows], edges)[0] for group, rows in groups.items()}
