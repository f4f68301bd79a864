"""Common scores for a target of one dimension, without the validation of scikit-learn's scorers.

For a few hundred rows, the validation takes ten times as long as the score itself, which matters if scores are computed
after every epoch. If a score could differ from that of the scorer, or the scorer could raise an error, it is not
computed here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score, root_mean_squared_error
from sklearn.metrics._scorer import _PassthroughScorer, _Scorer


def quick_score(scorer: Any, estimator: Any, X: Any, y: Any) -> float | None:
    """Return the value of ``scorer(estimator, X, y)``, or None if only the scorer can compute it."""
    if type(scorer) is _PassthroughScorer:
        key: Any = (accuracy_score if is_classifier(estimator) else r2_score, 1, "predict")
    elif type(scorer) is _Scorer and not scorer._kwargs:  # noqa: SLF001  # scorers have no public attributes
        key = (scorer._score_func, scorer._sign, scorer._response_method)  # noqa: SLF001
    else:
        return None
    metric = METRICS.get(key)
    if metric is None or not isinstance(getattr(y, "dtype", None), np.dtype) or np.ndim(y) != 1:
        return None
    with np.errstate(all="ignore"):
        score = metric(estimator, X, np.asarray(y))
    return score if score is not None and np.isfinite(score) else None


def _accuracy(estimator: Any, X: Any, y: np.ndarray) -> float | None:
    return float(np.mean(estimator.predict(X) == y)) if _has_labels(estimator, y) else None


def _log_likelihood(estimator: Any, X: Any, y: np.ndarray) -> float | None:
    if not _has_labels(estimator, y) or not np.array_equal(np.unique(y), estimator.classes_):
        return None
    proba = estimator.predict_proba(X)
    if proba.shape[1] == 2:  # as the scorer, which passes the second column
        proba[:, 0] = 1 - proba[:, 1]
    own = proba[np.arange(len(proba)), np.searchsorted(estimator.classes_, y)]
    eps = np.finfo(own.dtype).eps
    return float(np.log(own.clip(eps, 1 - eps)).mean())


def _has_labels(estimator: Any, y: np.ndarray) -> bool:
    """Whether the labels can be compared with those of the estimator, which is not a matter of several labels."""
    return y.dtype.kind in "biuU" and is_classifier(estimator) and y.dtype.kind == estimator.classes_.dtype.kind


def _r2(estimator: Any, X: Any, y: np.ndarray) -> float | None:
    square = _mean_square(estimator, X, y)
    if square is None or not (variance := np.var(y, dtype=np.float64)):
        return None
    return float(1 - square / variance)


def _mean_square(estimator: Any, X: Any, y: np.ndarray) -> float | None:
    """Return the mean squared error unless scikit-learn computes it in float32, because no array is float64."""
    prediction = estimator.predict(X)
    dtypes = y.dtype, prediction.dtype
    if prediction.shape != y.shape or any(d.kind not in "iuf" for d in dtypes) or np.float64 not in dtypes:
        return None
    return float(np.square(y.astype(np.float64, copy=False) - prediction).mean())


def _negative_mean_square(estimator: Any, X: Any, y: np.ndarray) -> float | None:
    square = _mean_square(estimator, X, y)
    return None if square is None else -square


def _negative_root(estimator: Any, X: Any, y: np.ndarray) -> float | None:
    square = _mean_square(estimator, X, y)
    return None if square is None else -float(np.sqrt(square))


METRICS: dict[Any, Callable[[Any, Any, np.ndarray], float | None]] = {
    (accuracy_score, 1, "predict"): _accuracy,
    (log_loss, -1, "predict_proba"): _log_likelihood,
    (r2_score, 1, "predict"): _r2,
    (mean_squared_error, -1, "predict"): _negative_mean_square,
    (root_mean_squared_error, -1, "predict"): _negative_root,
}
"""Functions for metric, factor and response method of a scorer."""
