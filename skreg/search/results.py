"""Results of a search: the finished trials of a study as ``cv_results_``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection._validation import _warn_or_raise_about_fit_failures

from .scoring import RECORD

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SCORES = ("test_scores", "train_scores")


class SearchResults:
    """The finished trials of a study, sorted by number, in the form of scikit-learn's search results."""

    def __init__(self, trials: list[FrozenTrial], n_splits: int) -> None:
        self._trials, self._n_splits = trials, n_splits
        self._pruned = [trial.state.name == "PRUNED" for trial in trials]
        self._folds = [fold for trial in trials for fold in self._folds_of(trial)]
        names = next(
            (sorted(fold["test_scores"]) for fold in self._folds if isinstance(fold["test_scores"], dict)), None
        )
        self.multimetric = names is not None
        for fold in self._folds:
            for kind in SCORES:
                if names is not None and not isinstance(fold.get(kind, {}), dict):
                    fold[kind] = dict.fromkeys(names, fold[kind])

    def _folds_of(self, trial: FrozenTrial) -> list[dict[str, Any]]:
        """Scores and times of each fold; the scores of a pruned trial are NaN."""
        record: dict[str, list[Any]] = trial.user_attrs[RECORD]
        folds = [dict(zip(record, values, strict=True)) for values in zip(*record.values(), strict=True)]
        if trial.state.name == "PRUNED":
            unknown = {name: np.nan for name in record if name in SCORES}
            folds += [{"fit_time": 0.0, "score_time": 0.0, "fit_error": None}] * (self._n_splits - len(folds))
            folds = [{**fold, **unknown} for fold in folds]
        return folds

    def to_dict(self, format_results: Callable[..., dict[str, Any]], params: list[dict[str, Any]]) -> dict[str, Any]:
        """Return ``cv_results_``; pruned trials do not cause a warning about scores that are not finite."""
        with warnings.catch_warnings():
            evaluated = [
                fold
                for fold, pruned in zip(self._folds, np.repeat(self._pruned, self._n_splits), strict=True)
                if not pruned
            ]
            if all(np.isfinite(score) for fold in evaluated for score in _scores_of(fold)):
                warnings.filterwarnings("ignore", "One or more of the (test|train) scores are non-finite")
            return format_results(params, self._n_splits, self._folds)

    def warn_about_failures(self, error_score: Any) -> None:
        """Warn about failed fits; raise an error if all of them failed or if all candidates were pruned."""
        if all(self._pruned):
            raise ValueError(
                "All candidates were pruned, so there is no best candidate. Set pruner to a pruner that keeps more "
                "candidates, or to optuna.pruners.NopPruner()."
            )
        errors = [error for trial in self._trials for error in trial.user_attrs[RECORD]["fit_error"]]
        _warn_or_raise_about_fit_failures([{"fit_error": error} for error in errors], error_score)


def _scores_of(fold: dict[str, Any]) -> list[float]:
    kinds = [fold[kind] for kind in SCORES if kind in fold]
    return [score for scores in kinds for score in (scores.values() if isinstance(scores, dict) else [scores])]
