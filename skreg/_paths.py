"""A regularisation path is what scores and columns do while one parameter goes through a range."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import indexable

from ._candidates import Candidate, Scoring, SearchProgress
from ._plotting import column_names, fitted_network
from ._race import Race
from .estimators.inspection import feature_norms

NOBODY: Any = None


@dataclass(frozen=True)
class RegularizationPath:
    """What cross-validation says of each value of a parameter.

    Attributes
    ----------
    param_name : str
        The parameter.
    param_range : ndarray of shape (n_values,)
        Its values.
    train_scores, test_scores : ndarray of shape (n_values, n_folds)
        Scores on the rows of training, and on those left out; greater is better.
    feature_norms : ndarray of shape (n_values, n_folds, n_features)
        Norm of each column's weights in the first layer, the members' mean; exactly 0 if none is left.
    feature_names : ndarray of shape (n_features,)
        Names of the columns.
    """

    param_name: str
    param_range: np.ndarray
    train_scores: np.ndarray
    test_scores: np.ndarray
    feature_norms: np.ndarray
    feature_names: np.ndarray


class _Evaluation(Scoring):
    """A scoring of candidates that belong to no study."""

    def tell(self, run: Any, candidate: Candidate) -> None:
        """Nobody asks."""


def regularization_path(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    param_name: str,
    param_range: Sequence[float],
    cv: Any = None,
    scoring: Any = None,
    n_jobs: int | None = None,
) -> RegularizationPath:
    """Cross-validate an estimator with each value of a parameter, on the same folds.

    Fits that differ in strengths only, as ``alpha``, ``feature_alpha`` and ``dropout``, are members of one net, and
    come out as if each had been alone.

    Parameters
    ----------
    estimator : estimator
        One of skreg's, or a ``Pipeline`` that ends with one; it is cloned.
    X, y : array-like
        The table and its target.
    param_name : str
        A parameter whose values are numbers, ``"mlp__alpha"`` of a pipeline's step.
    param_range : sequence of float
        Its values.
    cv, scoring, n_jobs
        As in ``cross_validate``.

    Returns
    -------
    RegularizationPath
        The record.
    """
    X, y = indexable(X, y)
    splits = list(check_cv(cv, y, classifier=is_classifier(estimator)).split(X, y))
    scorer = check_scoring(estimator, scoring)
    settings = {"scorer": scorer, "fit_params": {}, "score_params": {}, "verbose": 0, "error_score": "raise"}
    settings |= dict.fromkeys(("return_train_score", "return_times", "return_estimator"), True)
    progress = SearchProgress(None, X, y, None, 0)
    evaluation = _Evaluation(clone(estimator), X, y, splits, settings, float, n_jobs, progress)
    candidates = [Candidate(NOBODY, {param_name: value}) for value in np.asarray(param_range).tolist()]
    with warnings.catch_warnings():
        # a path goes on until no column is left
        warnings.filterwarnings("ignore", "feature_alpha=.* has let go of every column", ConvergenceWarning)
        Race(evaluation, NOBODY, None, False, lambda epoch: False, lambda: True).score(candidates)
    fitted = [[fitted_network(fold["estimator"])[0] for fold in candidate.folds] for candidate in candidates]
    if len({network.n_features_in_ for of_value in fitted for network in of_value}) > 1:
        raise ValueError(
            "The steps before the network give it other columns in some folds than in others, so that no column has a "
            "path: leave categories to the network, or name all of them to the encoder."
        )
    return RegularizationPath(
        param_name,
        np.asarray(param_range, dtype=float),
        np.array([[fold["train_scores"] for fold in candidate.folds] for candidate in candidates]),
        np.array([[fold["test_scores"] for fold in candidate.folds] for candidate in candidates]),
        np.array([[feature_norms(network) for network in of_value] for of_value in fitted]),
        column_names(fitted[0][0]),
    )
