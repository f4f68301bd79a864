"""Quick scores are the common ones of scikit-learn's scorers without their checks, for a fit watched at every epoch.

A scorer checks and converts anew what it is given, which for a few hundred rows takes ten times as long as the score.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score, root_mean_squared_error

QuickScore = Callable[[Any, Any, np.ndarray], float]


def quick_score(scorer: Any, estimator: Any, y: Any) -> QuickScore | None:
    """A function ``(view, X, y)`` that gives what ``scorer`` does, for a target with one column; None for none.

    Parameters
    ----------
    scorer : callable
        scikit-learn's, from a name or ``make_scorer``, or the one that calls ``estimator.score``.
    estimator : RegularizedMLP
        What is scored; it knows its classes.
    y : array-like
        The target.
    """
    if np.ndim(y) != 1 or getattr(scorer, "_kwargs", None):
        return None
    if type(scorer).__name__ == "_PassthroughScorer":
        return _accuracy if is_classifier(estimator) else _r2
    known: dict[tuple[Any, Any], QuickScore] = {
        (accuracy_score, 1): _accuracy,
        (log_loss, -1): _log_likelihood,
        (r2_score, 1): _r2,
        (mean_squared_error, -1): lambda view, X, y: -_mean_square(view, X, y),
        (root_mean_squared_error, -1): lambda view, X, y: -float(np.sqrt(_mean_square(view, X, y))),
    }
    return known.get((getattr(scorer, "_score_func", None), getattr(scorer, "_sign", None)))


def _accuracy(view: Any, X: Any, y: np.ndarray) -> float:
    return float(np.mean(view.predict(X) == np.asarray(y)))


def _log_likelihood(view: Any, X: Any, y: np.ndarray) -> float:
    probabilities = view.predict_proba(X)
    own = probabilities[np.arange(len(probabilities)), np.searchsorted(view.classes_, np.asarray(y))]
    return float(np.log(own.clip(np.finfo(own.dtype).eps, 1)).mean())


def _mean_square(view: Any, X: Any, y: np.ndarray) -> float:
    return float(np.square(np.asarray(y) - view.predict(X)).mean())


def _r2(view: Any, X: Any, y: np.ndarray) -> float:
    spread = float(np.var(np.asarray(y, dtype=np.float64)))
    return 1 - _mean_square(view, X, y) / spread if spread else np.nan
