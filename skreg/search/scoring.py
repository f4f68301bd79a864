"""Cross-validation of candidates, fold by fold, and a cache of their scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import isfinite
from numbers import Integral
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import clone
from sklearn.model_selection._split import _CVIterableWrapper
from sklearn.model_selection._validation import _fit_and_score
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples

from .._utils.validation import naming

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from .distributions import Space
    from .progress import SearchProgress
    from .study import StudyRun

RECORD = "folds"
"""User attribute of a trial with the scores and times of its folds."""


@dataclass(eq=False)
class Candidate:
    """A trial that is being evaluated."""

    trial: Any  # an optuna.Trial; None outside of a study
    params: dict[str, Any]
    folds: list[dict[str, Any]] = field(default_factory=list)  # results of _fit_and_score
    contexts: dict[int, dict[str, Any]] = field(default_factory=dict)  # for each fold, arguments for the callbacks

    def record(self) -> dict[str, list[Any]]:
        """Return the scores and times of the folds in a form that can be stored as JSON."""
        names = ("fit_time", "score_time", "test_scores", "train_scores", "fit_error")
        return {name: [_to_json(fold[name]) for fold in self.folds] for name in names if name in self.folds[0]}


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: float(score) for name, score in value.items()}
    return value if value is None or isinstance(value, str) else float(value)


def list_splits(splitter: Any, X: Any, y: Any, **params: Any) -> list[tuple[Any, Any]]:
    """Return the splits of a cross-validation splitter; raise an error unless each is a pair of arrays of rows."""
    with naming("cv"):
        given = splitter.cv if isinstance(splitter, _CVIterableWrapper) else splitter.split(X, y, **params)
        splits, n_rows = list(given), _num_samples(X)
    if not splits:
        raise ValueError("No fits were performed. Was the CV iterator empty? Were there no candidates?")
    for split in splits:
        if not (
            isinstance(split, Sequence | np.ndarray) and len(split) == 2 and all(_are_rows(s, n_rows) for s in split)
        ):
            raise ValueError(
                "The 'cv' parameter must yield pairs (train, test) of arrays of row indices, with at least one row "
                f"in each and indices below {n_rows}. Got {split!r} instead."
            )
    return splits


def _are_rows(rows: Any, n_rows: int) -> bool:
    """Return whether ``rows`` contains indices of rows, or is a mask of them."""
    try:
        array = np.asarray(rows)
    except ValueError:
        return False
    if array.dtype.kind == "b":
        return array.shape == (n_rows,) and bool(array.any())
    valid = array.ndim == 1 and array.size > 0 and array.dtype.kind in "iu"
    return valid and bool(array.min() >= -n_rows and array.max() < n_rows)


@dataclass
class SharedInputs:
    """Inputs that all fits of a search have in common."""

    estimator: Any  # cloned for each fit
    X: Any
    y: Any
    splits: list[tuple[Any, Any]]
    settings: dict[str, Any]  # further arguments of _fit_and_score

    def fit_and_score(
        self, estimator: Any, fold: int, params: dict[str, Any] | None, context: dict[str, Any]
    ) -> dict[str, Any]:
        """Fit and score ``estimator`` on one fold as scikit-learn does; ``context`` is that of ``SearchProgress``."""
        if "caller" in context:
            context = {**context, "caller": context["caller"].search}
        train, test = self.splits[fold]
        result: dict[str, Any] = _fit_and_score(
            estimator,
            self.X,
            self.y,
            train=train,
            test=test,
            parameters=params,
            split_progress=(fold, len(self.splits)),
            **self.settings,
            **context,
        )
        return result


@dataclass
class FoldEvaluator:
    """Evaluates candidates fold by fold."""

    inputs: SharedInputs
    run: StudyRun
    objective: Callable[[Any], float]  # value to maximize, given the scores of one fold
    n_jobs: int | None
    progress: SearchProgress
    deadline: float  # time, as given by ``time.time``, after which no further candidate is evaluated

    def evaluate(self, batch: list[Candidate], prunes: bool = False) -> None:
        """Evaluate candidates and report them to the study in order.

        With a pruner, all candidates finish one fold before any of them begins the next, so that the pruner makes the
        same decisions for any number of workers.
        """
        one_by_one = not prunes and effective_n_jobs(self.n_jobs) == 1
        with Parallel(n_jobs=self.n_jobs) as parallel:
            for candidates in [[candidate] for candidate in batch] if one_by_one else [batch]:
                if prunes:
                    candidates = self._evaluate_with_pruner(candidates, parallel)
                else:
                    fit_folds(self.inputs, candidates, range(len(self.inputs.splits)), parallel, self.progress)
                for candidate in candidates:
                    self.tell(candidate)
                if time.time() >= self.deadline:
                    return

    def _evaluate_with_pruner(self, candidates: list[Candidate], parallel: Parallel) -> list[Candidate]:
        """Fit fold by fold and return the candidates that the pruner kept; failed candidates are not reported to it."""
        from optuna.pruners import WilcoxonPruner

        compares_folds = isinstance(self.run.study.pruner, WilcoxonPruner)  # others compare the means over folds
        for fold in range(len(self.inputs.splits)):
            fit_folds(self.inputs, candidates, [fold], parallel, self.progress)
            if fold + 1 == len(self.inputs.splits) or not candidates:
                break
            scored = [candidate for candidate in candidates if all(map(isfinite, self._values(candidate)))]
            for candidate in scored:
                values = self._values(candidate)
                self.run.report(candidate.trial, fold, values[-1] if compares_folds else fmean(values))
            pruned = [candidate for candidate in scored if candidate.trial.should_prune()]
            for candidate in pruned:
                self.tell(candidate, pruned=True)
            candidates = [candidate for candidate in candidates if candidate not in pruned]
        return candidates

    def _values(self, candidate: Candidate) -> list[float]:
        return [self.objective(fold["test_scores"]) for fold in candidate.folds]

    def tell(self, candidate: Candidate, pruned: bool = False) -> None:
        """Report a candidate that was pruned or evaluated on all folds; a candidate without a score has failed."""
        value, attrs = fmean(self._values(candidate)), {RECORD: candidate.record()}
        self.run.tell(candidate.trial, value, pruned=pruned, attrs=attrs)


def fit_folds(
    inputs: SharedInputs, candidates: Sequence[Candidate], folds: Sequence[int], parallel: Parallel, progress: Any
) -> None:
    """Fit and score candidates on some folds, and append the results to ``candidate.folds``."""
    jobs = list(product(candidates, folds))
    results = parallel(
        delayed(inputs.fit_and_score)(
            clone(inputs.estimator), fold, candidate.params, progress.context(candidate, fold)
        )
        for candidate, fold in jobs
    )
    for (candidate, _), result in zip(jobs, results, strict=True):
        candidate.folds.append(result)


def params_key(params: dict[str, Any]) -> tuple[Any, ...]:
    """Hashable form of parameters; numbers and strings are compared by value, other objects by identity."""
    return tuple(sorted((name, _value_key(value)) for name, value in params.items()))


def _value_key(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({','.join(map(_value_key, value))})"
    simple = value is None or isinstance(value, bool | int | float | str | np.generic)
    return f"{type(value).__name__} {value!r}" if simple else f"object {id(value)}"


class ScoreCache:
    """Reuses the scores of earlier trials of a study.

    The same parameters give the same scores on the same folds if every ``random_state`` is an integer; other candidates
    are always fitted.
    """

    def __init__(self, run: StudyRun, estimator: Any, space: Space) -> None:
        self._run, self._estimator, self._space = run, estimator, space
        self._seen: set[int] = set()
        self._known: dict[tuple[Any, ...], FrozenTrial] = {}

    def evaluate(self, batch: list[Candidate], evaluate: Callable[[list[Candidate]], None], deadline: float) -> None:
        """Evaluate a batch; candidates with equal parameters are evaluated only once."""
        first: dict[Any, Candidate] = {}
        remaining = self._tell_known(batch)
        for candidate in remaining:
            first.setdefault(params_key(candidate.params) if self._is_seeded(candidate) else candidate, candidate)
        unique = list(first.values())
        repeated = [candidate for candidate in remaining if candidate not in unique]
        try:
            if unique:
                evaluate(unique)
        except KeyboardInterrupt:
            self._tell_known(repeated)
            raise
        if repeated and time.time() < deadline and (again := self._tell_known(repeated)):
            evaluate(again)

    def _tell_known(self, candidates: list[Candidate]) -> list[Candidate]:
        """Report the candidates whose scores are known, and return the others."""
        self._update()
        unknown = []
        for candidate in candidates:
            earlier = self._known.get(params_key(candidate.params)) if self._is_seeded(candidate) else None
            if earlier is None:
                unknown.append(candidate)
            else:
                self._run.tell(candidate.trial, earlier.value, attrs={RECORD: earlier.user_attrs[RECORD]})
        return unknown

    def _update(self) -> None:
        """Add the trials that have finished since the last call; a trial with a failed fit is not reused."""
        for trial in self._run.finished():
            if trial.number in self._seen:
                continue
            self._seen.add(trial.number)
            record = trial.user_attrs.get(RECORD)
            if trial.state.name == "COMPLETE" and record is not None and not any(record["fit_error"]):
                # Keys contain ids of objects; the space holds references to the parameters, so these ids are not
                # reused.
                self._known.setdefault(params_key(self._space.params(trial)), trial)

    def _is_seeded(self, candidate: Candidate) -> bool:
        return _is_seeded({**self._estimator.get_params(), **candidate.params})


def _is_seeded(params: Mapping[str, Any]) -> bool:
    """Whether every ``random_state``, including those of nested estimators, is an integer."""
    for name, value in params.items():
        if name.rpartition("__")[2] == "random_state" and not isinstance(value, Integral):
            return False
        if hasattr(value, "get_params") and not isinstance(value, type) and not _is_seeded(value.get_params()):
            return False
    return True
