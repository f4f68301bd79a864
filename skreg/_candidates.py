"""A candidate is a setting of parameters: how one is scored fold by fold, and the table of all that have been."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score, _warn_or_raise_about_fit_failures
from sklearn.utils.parallel import Parallel, delayed

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

    from ._studies import StudyRun

RECORD = "folds"
PRE_DISPATCH = "2*n_jobs"


@dataclass
class Candidate:
    """A trial under way.

    Attributes
    ----------
    trial : Trial
        Optuna's.
    params : dict
        The parameters of the estimator.
    folds : list of dict
        What scikit-learn says of each fold's fit so far.
    contexts : dict of dict
        What each fold's fit is told of scikit-learn's callbacks.
    """

    trial: Trial
    params: dict[str, Any]
    folds: list[dict[str, Any]] = field(default_factory=list)
    contexts: dict[int, dict[str, Any]] = field(default_factory=dict)

    def record(self) -> dict[str, list[Any]]:
        """What the table of results needs, as JSON."""
        kept = ("fit_time", "score_time", "test_scores", "train_scores", "fit_error")
        return {name: [_plain(fold[name]) for fold in self.folds] for name in kept if name in self.folds[0]}

    def estimators(self) -> list[Any] | None:
        """The folds' estimators, if they were asked for and all are fitted."""
        return None if any(fold["fit_error"] for fold in self.folds) else [fold["estimator"] for fold in self.folds]


def _plain(value: Any) -> Any:
    """A score, or one for each metric, as Python numbers."""
    if isinstance(value, dict):
        return {name: float(score) for name, score in value.items()}
    return value if value is None or isinstance(value, str) else float(value)


@dataclass
class Scoring:
    """How a candidate is fitted and scored, the same for all of them.

    Attributes
    ----------
    estimator : estimator
        Cloned for each fit.
    X, y
        The rows.
    splits : list of (train, test)
        The folds, listed once.
    settings : dict
        What ``_fit_and_score`` is told besides.
    objective : callable (scores) -> float
        The score that is maximised, of one fold's scores.
    n_jobs : int or None
        joblib's.
    progress : SearchProgress
        Who is told of each fit.
    keeper : Keeper or None
        Who keeps the fold estimators of the best candidates, if they are kept.
    """

    estimator: Any
    X: Any
    y: Any
    splits: list[tuple[Any, Any]]
    settings: dict[str, Any]
    objective: Callable[[Any], float]
    n_jobs: int | None
    progress: SearchProgress
    keeper: Any = None

    def fit(self, candidates: Sequence[Candidate], folds: Sequence[int], parallel: Any) -> None:
        """Fit candidates on some folds, each on all of them in order."""
        jobs = list(product(candidates, folds))
        done = parallel(
            delayed(_fit_and_score)(
                clone(self.estimator),
                self.X,
                self.y,
                train=self.splits[fold][0],
                test=self.splits[fold][1],
                parameters=candidate.params,
                split_progress=(fold, len(self.splits)),
                **self.settings,
                **self.progress.context(candidate, fold),
            )
            for candidate, fold in jobs
        )
        for (candidate, _), result in zip(jobs, done, strict=True):
            candidate.folds.append(result)

    def values(self, candidate: Candidate) -> list[float]:
        """The objective on each fold so far."""
        return [self.objective(fold["test_scores"]) for fold in candidate.folds]

    def score(self, run: StudyRun, batch: list[Candidate], pruned: bool, within: Callable[[], bool]) -> None:
        """Score a batch of candidates and tell the study, in order; what is not begun within the time is left.

        Without pruning one worker takes candidate by candidate, several take all fits of the batch. With it the
        candidates go through the folds side by side, whatever the number of workers, so that the study's course is the
        same with any.
        """
        parallel = Parallel(n_jobs=self.n_jobs, pre_dispatch=PRE_DISPATCH)
        with parallel:
            alone = not pruned and parallel.n_jobs == 1
            for group in [[candidate] for candidate in batch] if alone else [batch]:
                if pruned:
                    self._race(run, group, parallel)
                else:
                    self.fit(group, range(len(self.splits)), parallel)
                    for candidate in group:
                        self.tell(run, candidate)
                if not within():
                    return

    def _race(self, run: StudyRun, batch: list[Candidate], parallel: Any) -> None:
        """Fold by fold; after each the pruner says who goes on. It is not asked about one that failed."""
        going, of_folds = list(batch), _compares_folds(run.study.pruner)
        for fold in range(len(self.splits)):
            self.fit(going, [fold], parallel)
            if fold + 1 == len(self.splits):
                break
            values = {candidate.trial.number: self.values(candidate) for candidate in going}
            validation = [candidate for candidate in going if np.isfinite(values[candidate.trial.number]).all()]
            for candidate in validation:
                *_, last = so_far = values[candidate.trial.number]
                run.report(candidate.trial, fold, last if of_folds else float(np.mean(so_far)))
            lost = {candidate.trial.number for candidate in validation if run.should_prune(candidate.trial)}
            for candidate in going:
                if candidate.trial.number in lost:
                    run.tell(candidate.trial, state="pruned", attrs={RECORD: candidate.record()})
            going = [candidate for candidate in going if candidate.trial.number not in lost]
            if not going:
                return
        for candidate in going:
            self.tell(run, candidate)

    def tell(self, run: StudyRun, candidate: Candidate) -> None:
        """A candidate that has been on all folds; one without a score has failed."""
        value, attrs = float(np.mean(self.values(candidate))), {RECORD: candidate.record()}
        if np.isnan(value):
            run.tell(candidate.trial, state="failed", attrs=attrs)
        else:
            run.tell(candidate.trial, value, attrs=attrs)
            if self.keeper is not None:
                self.keeper.add(candidate.trial.number, value, candidate.estimators())


def _compares_folds(pruner: Any) -> bool:
    """Whether a pruner wants each fold's own score, to compare fold with fold; others get the mean so far."""
    from optuna.pruners import WilcoxonPruner

    return isinstance(pruner, WilcoxonPruner)


class SearchProgress:
    """Tells scikit-learn's callbacks (1.9) of a search, of each fit in it and of the last one.

    Parameters
    ----------
    search : estimator
        The search.
    X, y, sample_weight
        What its ``fit`` was given.
    max_fits : int
        Most fits of folds.
    """

    def __init__(self, search: Any, X: Any, y: Any, sample_weight: Any, max_fits: int) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._told = {"estimator": search, "X": X, "y": y, "metadata": metadata}
        self._root = self._search = self._caller = None
        if hasattr(search, "_init_callback_context"):
            self._root = search._init_callback_context(max_subtasks=1 + (search.refit is not False))
            self._root.call_on_fit_task_begin(**self._told)
            self._search = self._root.subcontext(task_name="search", max_subtasks=max_fits, sequential_subtasks=False)
            self._search.call_on_fit_task_begin(estimator=search)
            self._caller = copy(search)  # goes to the workers, and the study does not
            self._caller.set_params(storage=None, sampler=None, pruner=None)
        self._begun = 0

    def context(self, candidate: Candidate, fold: int) -> dict[str, Any]:
        """What ``_fit_and_score`` is told of the callbacks in a candidate's fit of a fold, however often it begins."""
        if self._search is None:
            return {}
        if fold not in candidate.contexts:
            context = self._search.subcontext(task_name="candidate-split-evaluation", task_id=self._begun)
            candidate.contexts[fold] = {"caller": self._caller, "callback_ctx": context}
            self._begun += 1
        return candidate.contexts[fold]

    def searched(self) -> None:
        """The candidates are done."""
        if self._search is not None:
            self._search.call_on_fit_task_end(estimator=self._told["estimator"])

    @contextmanager
    def refitting(self, estimator: Any) -> Iterator[None]:
        """The last fit is under way; None is an ensemble, of which only the making is told."""
        if self._root is None:
            yield
            return
        context = self._root.subcontext(task_name="refit-with-best-params")
        with nullcontext() if estimator is None else context.propagate_callback_context(estimator):
            context.call_on_fit_task_begin(**self._told)
            yield
        context.call_on_fit_task_end(**self._told)

    def close(self) -> None:
        """The search is done."""
        if self._root is not None:
            self._root.call_on_fit_task_end(**self._told)


# the table


@dataclass
class Table:
    """The finished trials of a study as scikit-learn's results.

    Parameters
    ----------
    trials : list of FrozenTrial
        Those with a record, by number.
    params : list of dict
        Their parameters.
    n_splits : int
        Folds.
    error_score : float
        The score of a fold whose fit failed.
    """

    trials: list[FrozenTrial]
    params: list[dict[str, Any]]
    n_splits: int
    error_score: Any

    def __post_init__(self) -> None:
        self.folds = [self._folds(trial) for trial in self.trials]
        kinds = [set(fold["test_scores"]) for fold in self._flat() if isinstance(fold["test_scores"], dict)]
        for fold in self._flat() if kinds else []:
            for name in {"test_scores", "train_scores"} & set(fold):
                if not isinstance(fold[name], dict):
                    fold[name] = dict.fromkeys(sorted(kinds[0]), fold[name])

    @property
    def multimetric(self) -> bool:
        """Whether a fold has several scores."""
        return isinstance(self.folds[0][0]["test_scores"], dict)

    def _flat(self) -> list[dict[str, Any]]:
        return [fold for folds in self.folds for fold in folds]

    def _folds(self, trial: FrozenTrial) -> list[dict[str, Any]]:
        """What is known of each fold; of a pruned trial only how long it took."""
        record: dict[str, list[Any]] = trial.user_attrs[RECORD]
        known = [dict(zip(record, values, strict=True)) for values in zip(*record.values(), strict=True)]
        if self._pruned(trial):
            unknown = {name: np.nan for name in record if name.endswith("_scores")}
            missing = {**unknown, "fit_time": 0.0, "score_time": 0.0, "fit_error": None}
            known = [{**fold, **unknown} for fold in known] + [dict(missing)] * (self.n_splits - len(known))
        return [dict(fold) for fold in known]

    @staticmethod
    def _pruned(trial: FrozenTrial) -> bool:
        return trial.state.name == "PRUNED"

    def results(self, format_results: Callable) -> dict[str, Any]:
        """``cv_results_``; scikit-learn's warnings tell of scores that are not finite, not of pruning."""
        done = [folds for trial, folds in zip(self.trials, self.folds, strict=True) if not self._pruned(trial)]
        flat = [fold for folds in done for fold in folds]
        with warnings.catch_warnings():
            if all(np.isfinite(score) for fold in flat for score in _scores(fold)):
                warnings.filterwarnings("ignore", "One or more of the (test|train) scores are non-finite")
            return format_results(self.params, self.n_splits, self._flat())

    def fitted(self) -> list[tuple[FrozenTrial, dict[str, Any], float]]:
        """Trials that were fitted on all folds, their parameters and scores."""
        pairs = zip(self.trials, self.params, strict=True)
        complete = [(trial, params, trial.value) for trial, params in pairs if trial.state.name == "COMPLETE"]
        whole = [one for one in complete if not any(one[0].user_attrs[RECORD]["fit_error"])]
        return [(trial, params, value) for trial, params, value in whole if value is not None]

    def warn_of_failures(self) -> None:
        """Warn of fits that failed, or raise where all did, in scikit-learn's sentences; or where none got through."""
        if all(map(self._pruned, self.trials)):
            raise ValueError("All candidates were pruned, so that none is the best. Take a milder pruner, or none.")
        errors = [error for trial in self.trials for error in trial.user_attrs[RECORD]["fit_error"]]
        _warn_or_raise_about_fit_failures([{"fit_error": error} for error in errors], self.error_score)


def _scores(fold: dict[str, Any]) -> list[float]:
    """All scores of a fold."""
    of_kinds = [fold[name] for name in ("test_scores", "train_scores") if name in fold]
    return [score for scores in of_kinds for score in (scores.values() if isinstance(scores, dict) else [scores])]
