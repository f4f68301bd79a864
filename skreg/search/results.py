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


class SearchResults:
    """The finished trials of a study as scikit-learn's results.

    Parameters
    ----------
    trials : list of FrozenTrial
        Finished trials with a record, by number.
    params : list of dict
        Their parameters.
    n_splits : int
        Number of folds.
    error_score : float or "raise"
        Score of a fold whose fit failed.
    """

    def __init__(
        self, trials: list[FrozenTrial], params: list[dict[str, Any]], n_splits: int, error_score: Any
    ) -> None:
        self._trials, self._params, self._n_splits, self._error_score = trials, params, n_splits, error_score
        self._folds = [self._folds_of(trial) for trial in trials]
        names = next((sorted(fold["test_scores"]) for fold in self._flat() if _is_multimetric(fold)), None)
        self.multimetric = _is_multimetric(self._folds[0][0]) or names is not None
        for fold in self._flat() if names else []:
            for kind in {"test_scores", "train_scores"} & set(fold):
                if not isinstance(fold[kind], dict):
                    fold[kind] = dict.fromkeys(names or [], fold[kind])

    def _flat(self) -> list[dict[str, Any]]:
        return [fold for folds in self._folds for fold in folds]

    def _folds_of(self, trial: FrozenTrial) -> list[dict[str, Any]]:
        """Scores and times of each fold; the scores of a pruned trial are NaN."""
        record: dict[str, list[Any]] = trial.user_attrs[RECORD]
        folds = [dict(zip(record, values, strict=True)) for values in zip(*record.values(), strict=True)]
        if _is_pruned(trial):
            unknown = {name: np.nan for name in record if name.endswith("_scores")}
            missing = {**unknown, "fit_time": 0.0, "score_time": 0.0, "fit_error": None}
            folds = [{**fold, **unknown} for fold in folds]
            folds += [dict(missing) for _ in range(self._n_splits - len(folds))]
        return folds

    def to_dict(self, format_results: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        """Return ``cv_results_``; pruned trials do not cause a warning about scores that are not finite."""
        with warnings.catch_warnings():
            evaluated = [folds for trial, folds in zip(self._trials, self._folds, strict=True) if not _is_pruned(trial)]
            if all(np.isfinite(score) for folds in evaluated for fold in folds for score in _all_scores(fold)):
                warnings.filterwarnings("ignore", "One or more of the (test|train) scores are non-finite")
            return format_results(self._params, self._n_splits, self._flat())

    def warn_about_failures(self) -> None:
        """Warn about fits that failed, or raise if all of them did or if all candidates were pruned."""
        if all(map(_is_pruned, self._trials)):
            raise ValueError(
                "All candidates were pruned, so there is no best candidate. Set pruner to a pruner that keeps more "
                "candidates, or to optuna.pruners.NopPruner()."
            )
        errors = [error for trial in self._trials for error in trial.user_attrs[RECORD]["fit_error"]]
        _warn_or_raise_about_fit_failures([{"fit_error": error} for error in errors], self._error_score)


def _is_pruned(trial: FrozenTrial) -> bool:
    return trial.state.name == "PRUNED"


def _is_multimetric(fold: dict[str, Any]) -> bool:
    return isinstance(fold["test_scores"], dict)


def _all_scores(fold: dict[str, Any]) -> list[float]:
    kinds = [fold[name] for name in ("test_scores", "train_scores") if name in fold]
    return [score for scores in kinds for score in (scores.values() if isinstance(scores, dict) else [scores])]
