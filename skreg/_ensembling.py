"""Ensembling keeps the fold estimators of a search's best candidates, and finds how much each counts in their vote.

The choice is Caruana's [Caruana et al. 2004, "Ensemble selection from libraries of models"; Caruana et al. 2006,
"Getting the most out of ensemble selection"]: from the mean of the best few, greedily and with replacement, whoever
makes the mean score best on rows that its fold estimators have not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.model_selection._validation import _fit_and_score, _score
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_method_params

if TYPE_CHECKING:
    from ._candidates import Scoring

BaseVoting = Any

#: Candidates whose fold estimators are kept, and the most that the choice starts from.
KEPT, FIRST = 25, 5
#: Most steps of the choice, how many in a row may gain nothing, and how many candidates each tries.
STEPS, PATIENCE, TRIED = 40, 10, 5


class Keeper:
    """Fold estimators of the best candidates that this process has fitted so far.

    Parameters
    ----------
    most : int
        So many candidates are kept.
    """

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._kept: dict[int, tuple[float, list[Any]]] = {}

    def wants(self, score: float) -> bool:
        """Whether a candidate of this score would be kept, so that its estimators need to be made at all."""
        scores = [kept for kept, _ in self._kept.values()]
        return not np.isnan(score) and (len(scores) < self._most or score >= min(scores))

    def add(self, number: int, score: float, fold_estimators: Sequence[Any] | None) -> None:
        """Keep a candidate, if it is one of the best; its trial's number, mean score, fold by fold its estimators.

        None for estimators, where a fit failed, keeps none.
        """
        if fold_estimators is None or not self.wants(score):
            return
        self._kept[number] = (score, list(fold_estimators))
        if len(self._kept) > self._most:
            del self._kept[min(self._kept, key=lambda one: (self._kept[one][0], -one))]

    def get(self, number: int) -> list[Any] | None:
        """The fold estimators of a candidate, if they are here."""
        return self._kept[number][1] if number in self._kept else None


@dataclass
class Contender:
    """A candidate that may vote.

    Attributes
    ----------
    number : int
        Its trial's.
    params : dict
        The parameters of the estimator.
    score : float
        The mean score over the folds.
    """

    number: int
    params: dict[str, Any]
    score: float


def best_of(contenders: Sequence[Contender], most: int = KEPT) -> list[Contender]:
    """The best, which are the same in every process: the first of equal scores."""
    return sorted(contenders, key=lambda one: (-one.score, one.number))[:most]


def fold_estimators(contenders: Sequence[Contender], scoring: Scoring) -> list[list[Any]]:
    """The estimators ``(candidates, folds)``; those of other processes, or of an earlier run, are fitted again."""
    known = {one.number: scoring.keeper.get(one.number) for one in contenders}
    jobs = list(product([one for one in contenders if known[one.number] is None], range(len(scoring.splits))))
    settings = {**scoring.settings, "return_estimator": True, "return_train_score": False, "error_score": "raise"}
    done = Parallel(n_jobs=scoring.n_jobs)(
        delayed(_fit_and_score)(
            clone(scoring.estimator),
            scoring.X,
            scoring.y,
            train=scoring.splits[fold][0],
            test=scoring.splits[fold][1],
            parameters=one.params,
            **settings,
        )
        for one, fold in jobs
    )
    again = iter([result["estimator"] for result in done])
    return [known[one.number] or [next(again) for _ in scoring.splits] for one in contenders]


class EncodedTable:
    """Some rows of a fold, and what every candidate's estimator of that fold says of them.

    Parameters
    ----------
    voting : VotingClassifier or VotingRegressor
        The vote of all, whose mean is replaced by that of some.
    votes : ndarray of shape (candidates, rows, ...)
        What they say.
    X
        The rows.
    judge : callable (estimator) -> float
        The score on them.
    """

    def __init__(self, voting: BaseVoting, votes: np.ndarray, X: Any, judge: Callable[[Any], float]) -> None:
        self._view, self._votes, self._X, self._judge = copy(voting), votes, X, judge
        self._known: dict[tuple[int, ...], float] = {}

    def score(self, counts: np.ndarray) -> float:
        """Score of the candidates' mean, each counted so often."""
        key = tuple(counts // np.gcd.reduce(counts))
        if key not in self._known:
            mean = np.tensordot(counts / counts.sum(), self._votes, axes=1)
            self._view._mean = partial(_given, self._X, mean)  # of this copy only
            self._known[key] = self._judge(self._view)
        return self._known[key]


def _given(known: Any, mean: np.ndarray, asked: Any) -> np.ndarray:
    """The mean of rows that are known."""
    if asked is not known:
        raise ValueError(
            "scoring asks for predictions of other rows than it is given, and refit='ensemble' has those of each "
            "fold's rows only. Take another scoring, or refit=True."
        )
    return mean


def greedy(score: Callable[[np.ndarray], float], n_candidates: int) -> np.ndarray:
    """How often each candidate counts.

    Parameters
    ----------
    score : callable (counts) -> float
        The score of a mean.
    n_candidates : int
        Candidates.

    Returns
    -------
    counts : int ndarray of shape (n_candidates,)
        The first best on the way.

    Notes
    -----
    Scores are what the choice costs. After its first step, each tries only the few that did best when they were last
    tried: a sixth of the scores, and ensembles as good on rows that were held out, measured on trees for four tables.
    There bags of candidates [Caruana et al. 2006] did not do better either.
    """
    one = np.eye(n_candidates, dtype=int)
    order = np.argsort([-score(each) for each in one], kind="stable")
    few = [one[order[:n]].sum(0) for n in range(1, min(FIRST, n_candidates) + 1)]
    hopes: dict[int, float] = {}
    best, counts = max(zip(map(score, few), few, strict=True), key=lambda found: found[0])
    chosen, since = counts, 0
    while counts.sum() < STEPS and since < PATIENCE:
        tried = sorted(hopes, key=lambda i: -hopes[i])[:TRIED] if hopes else order
        steps = {i: score(counts + one[i]) for i in tried}
        hopes |= steps
        taken = max(steps, key=lambda i: (steps[i], counts[i] > 0))  # of equal ones the first
        counts, since = counts + one[taken], since + 1
        if steps[taken] > best:
            best, chosen, since = steps[taken], counts, 0
    return chosen


class Choice:
    """How much each candidate counts, chosen on all folds, and what such a choice is worth.

    Parameters
    ----------
    contenders : list of Contender
        Who may vote.
    estimators : list of list of estimator
        Theirs, ``(candidates, folds)``.
    scoring : Scoring
        The rows, the folds, the score.

    Attributes
    ----------
    shares : ndarray of shape (candidates,)
        The weights; they sum to 1.
    score : float
        The mean over the folds of what a fold's rows score under the weights that the other folds choose, without the
        rows that are this fold's too. It is nan where nothing is left to choose on.
    """

    def __init__(self, contenders: Sequence[Contender], estimators: list[list[Any]], scoring: Scoring) -> None:
        self._contenders, self._estimators, self._scoring = contenders, estimators, scoring
        self._rows = [_numbers(test) for _, test in scoring.splits]
        self._all = self._vote(np.ones(len(contenders)))
        self._whole = [self._part(fold) for fold in range(len(self._rows))]
        counts = self._counts(self._whole)
        self.shares = counts / counts.sum()
        self.score = float(np.mean([self._worth(fold) for fold in range(len(self._rows))]))

    def voting(self) -> BaseVoting:
        """The vote of those that have a weight, shared evenly by the estimators of the folds."""
        return self._vote(self.shares)

    def _vote(self, shares: np.ndarray) -> BaseVoting:
        kind = VotingClassifier if is_classifier(self._estimators[0][0]) else VotingRegressor
        entered = [(c, fold) for c in np.flatnonzero(shares).tolist() for fold in range(len(self._rows))]
        names = [f"trial{self._contenders[c].number}_fold{fold}" for c, fold in entered]
        fitted = [self._estimators[c][fold] for c, fold in entered]
        weights = [float(shares[c]) / len(self._rows) for c, _ in entered]
        return kind.from_fitted(list(zip(names, fitted, strict=True)), weights=weights)

    def _counts(self, parts: Sequence[EncodedTable]) -> np.ndarray:
        return greedy(lambda counts: _mean([part.score(counts) for part in parts]), len(self._contenders))

    def _worth(self, fold: int) -> float:
        """Score of a fold under the weights that the others choose."""
        others = [self._without(other, self._rows[fold]) for other in range(len(self._rows)) if other != fold]
        parts = [part for part in others if part is not None]
        return self._whole[fold].score(self._counts(parts)) if parts else np.nan

    def _without(self, fold: int, rows: np.ndarray) -> EncodedTable | None:
        """A fold without the rows that another has too, as with repeated or shuffled splits."""
        kept = ~np.isin(self._rows[fold], rows)
        if kept.all():
            return self._whole[fold]
        return self._part(fold, kept) if kept.any() else None

    def _part(self, fold: int, kept: Any = slice(None)) -> EncodedTable:
        """What everyone says of some of a fold's rows, all by default."""
        scoring, rows = self._scoring, self._rows[fold][kept]
        X, y = _safe_split(scoring.estimator, scoring.X, scoring.y, rows, scoring.splits[fold][0])
        view = copy(self._all)
        if isinstance(view, VotingClassifier):
            view._several = view._has_several_labels(X)
        votes = np.stack([view._votes(each[fold], X) for each in self._estimators])
        settings = scoring.settings
        params = _check_method_params(scoring.X, params=settings["score_params"], indices=rows)
        return EncodedTable(
            view, votes, X, lambda one: scoring.objective(_score(one, X, y, settings["scorer"], params))
        )


def _numbers(test: Any) -> np.ndarray:
    """Rows of a fold by number; a splitter may have marked them."""
    rows = np.asarray(test)
    return np.flatnonzero(rows) if rows.dtype == bool else rows


def _mean(scores: Sequence[float]) -> float:
    """Of the folds that have a score; a part of one may have a single class, for example."""
    known = [score for score in scores if not np.isnan(score)]
    return float(np.mean(known)) if known else -np.inf
