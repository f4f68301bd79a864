"""Training of one group of candidates side by side in one process.

The fits of candidates that differ only in hyperparameters of the members are trained as one net (``stacked_net.py``).
All candidates of a group are trained epoch by epoch, so that a pruner can compare them.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, inf, isfinite
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import clone

from ..._utils.torch_settings import torch_settings
from ...estimators.base import RegularizedMLP
from ..scoring import SharedInputs
from .fold_fit import FoldData, FoldFit, depends_on_predictions, last_step
from .stacked_net import StackedNet

if TYPE_CHECKING:
    from optuna import Trial

MAX_MEMBERS_OF_NET, MAX_WEIGHTS = 32, 100_000
"""Largest number of members of a net, and of their weights if there is more than one member.

Milliseconds per epoch and member, measured with one thread, by the number of members. 1,000 rows, 20 columns, one layer
of 100, batches of 32: 5.1 (1 member), 3.0 (5), 1.8 (12), 1.2 (25). 5,000 rows, 20 columns, two layers of 128, batches
of 128: 16 (1), 17 (2), 13 (5), 13 (10). 20,000 rows, 30 columns, two layers of 256, batches of 256: 112 (1), 124 (2),
125 (4), 127 (8), because the matrix products of wide layers take nearly all of the time.
"""
BYTES = 1 << 30
"""Memory that the candidates of a group may take at the same time. Further candidates wait."""

Status = Literal["complete", "pruned", "stopped", "failed"]
"""The deadline ended the training of a "stopped" candidate; a "failed" one must be evaluated fold by fold."""


@dataclass
class Pruning:
    """Scores and epochs by which a pruner compares the candidates of a group."""

    scorer: Any
    metric: Any  # name of the score, if the scorer returns several
    first_rung: int | None  # decisions after this epoch times each power of two; None means every epoch

    def value(self, scores: Any) -> float:
        """Return the score that the pruner compares; NaN if it is missing, which the search reports."""
        return float(scores.get(self.metric, np.nan) if isinstance(scores, dict) else scores)

    def decides(self, epoch: int) -> bool:
        """Whether the pruner decides after an epoch."""
        rung = self.first_rung
        return rung is None or (epoch % rung == 0 and (epoch // rung).bit_count() == 1)


@dataclass
class CandidateState:
    """A candidate during its training."""

    number: int  # position in the batch
    estimator: Any  # with the parameters of the candidate
    key: tuple[Any, ...]  # equal for candidates whose fits can be members of one net
    preceding_key: tuple[Any, ...]  # equal for candidates with the same steps before the network
    contexts: dict[int, dict[str, Any]] = field(default_factory=dict)  # see Candidate
    trial: Trial | None = None  # of a study in memory with the pruner of the search
    fits: list[FoldFit] = field(default_factory=list)
    curve: dict[int, float] = field(default_factory=dict)  # mean score over the folds after each epoch
    decisions: list[int] = field(default_factory=list)  # epochs after which the pruner was asked
    is_due: bool = False  # whether the pruner is asked as soon as there is a score
    score_error: str | None = None  # why a score could not be computed; the pruner is then not asked any more

    @property
    def network(self) -> RegularizedMLP:
        """The estimator, or the last step of a Pipeline."""
        network: RegularizedMLP = last_step(self.estimator)[1]
        return network

    def report(self, score: float, epoch: int) -> bool:
        """Report a score to the pruner if it is finite, and return whether it is."""
        if isfinite(score) and self.trial is not None:
            self.curve[epoch] = score
            self.trial.report(score, epoch)
        return isfinite(score)


@dataclass
class CandidateResult:
    """Result of the training of a candidate."""

    number: int  # position in the batch
    status: Status
    folds: list[dict[str, Any]] = field(default_factory=list)  # of _fit_and_score; of a pruned candidate only the times
    curve: dict[int, float] = field(default_factory=dict)
    decisions: list[int] = field(default_factory=list)
    score_error: str | None = None


class GroupTrainer:
    """Trains groups of candidates, the candidates of a group side by side.

    At the ``deadline``, as given by ``time.time``, training stops after the current epoch. Candidates that are still
    waiting for memory then have no result.
    """

    def __init__(self, inputs: SharedInputs, pruning: Pruning | None = None, deadline: float = inf) -> None:
        self._inputs, self._pruning, self._deadline = inputs, pruning, deadline
        score_params = inputs.settings["score_params"]
        self._transforms_test = pruning is not None and depends_on_predictions(pruning.scorer, score_params)

    def results(self, group: list[CandidateState]) -> list[CandidateResult]:
        """Train a group, and return the results of its candidates."""
        return list(self.iter_results(group))

    def iter_results(self, group: list[CandidateState]) -> Iterator[CandidateResult]:
        """Train a group, and yield the result of each candidate as soon as it has ended."""
        parent = os.getppid()
        while group:
            n_begun, failed = self._prepare(group)
            yield from failed
            yield from self._train([state for state in group[:n_begun] if state.fits], parent)
            group = group[n_begun:]
            if time.time() >= self._deadline:
                return

    def _prepare(self, group: list[CandidateState]) -> tuple[int, list[CandidateResult]]:
        """Prepare the fits of as many candidates as memory allows; return their number and those that failed."""
        failed, n_begun, n_bytes = [], 0, 0
        data: dict[Any, FoldData] = {}
        templates: dict[Any, FoldFit] = {}
        for state in group:
            n_begun += 1
            try:
                with torch_settings():
                    state.fits = [self._prepare_fit(state, f, data, templates) for f in range(len(self._inputs.splits))]
            except Exception:  # the fit fold by fold reports the error
                failed.append(CandidateResult(state.number, "failed"))
            n_bytes += sum(fit.n_bytes for fit in state.fits)
            if n_bytes > BYTES:
                break
        return n_begun, failed

    def _prepare_fit(
        self, state: CandidateState, fold: int, data: dict[Any, FoldData], templates: dict[Any, FoldFit]
    ) -> FoldFit:
        """Prepare a fit; anything that depends only on the rows is shared with earlier fits on the same fold."""
        estimator = clone(state.estimator)
        data_key, template_key = (state.preceding_key, fold), (state.key, fold)
        if data_key not in data:
            data[data_key] = FoldData.of_fold(self._inputs, estimator, fold, self._transforms_test)
        template = templates.get(template_key)
        fit = FoldFit.prepare(estimator, data[data_key], template, self._pruning and self._pruning.scorer)
        templates.setdefault(template_key, fit)
        return fit

    def _train(self, states: list[CandidateState], parent: int) -> Iterator[CandidateResult]:
        """Train prepared candidates, and yield the result of each as soon as it has ended."""
        nets, epoch = _stack_nets(states), 0
        while states and os.getppid() == parent:  # a worker must not outlive the process of the search
            epoch += 1
            statuses = _statuses(states, self._train_epoch(nets))
            if time.time() >= self._deadline:
                for net in nets:
                    with torch_settings(net.fits[0].prepared.estimator.n_threads):
                        net.stop()
                statuses = {state.number: statuses.get(state.number, "stopped") for state in states}
            for state in states:
                if state.number in statuses:
                    yield self._result(state, statuses[state.number], epoch)
            states = [state for state in states if state.number not in statuses]
            pruned = self._prune(states, nets, epoch)
            for state in pruned:
                yield self._result(state, "pruned", epoch)
            states = [state for state in states if state not in pruned]

    def _train_epoch(self, nets: list[StackedNet]) -> set[FoldFit]:
        """Train all nets for an epoch, and return the fits of those that failed."""
        failed: set[FoldFit] = set()
        for net in nets:
            try:
                with torch_settings(net.fits[0].prepared.estimator.n_threads):
                    net.train_epoch()
            except Exception:  # the fit fold by fold reports the error
                failed |= set(net.fits)
                for fit in net.fits:
                    fit.ended = True
        return failed

    def _prune(self, states: list[CandidateState], nets: list[StackedNet], epoch: int) -> list[CandidateState]:
        """Report the scores of candidates that are being trained to the pruner, and return those that it prunes."""
        if self._pruning is None:
            return []
        for state in states:
            state.is_due |= self._pruning.decides(epoch)
        due = [state for state in states if state.is_due and state.score_error is None]
        if due:
            for net in nets:
                with torch_settings(net.fits[0].prepared.estimator.n_threads):
                    net.update_nets()
        scores = [self._score(state, epoch) for state in due]
        return _ask_pruner(
            [state for state, score in zip(due, scores, strict=True) if state.report(score, epoch)], epoch
        )

    def _score(self, state: CandidateState, epoch: int) -> float:
        """Return the score of a candidate if training ended now; after an error, the candidate is not pruned."""
        assert self._pruning is not None
        try:
            return fmean([self._pruning.value(fit.score(self._pruning.scorer)) for fit in state.fits])
        except Exception as error:  # the search warns about it
            state.score_error = f"after epoch {epoch}: {type(error).__name__}: {error}"
            return np.nan

    def _result(self, state: CandidateState, status: Status, epoch: int) -> CandidateResult:
        """Finish and score the fits of a candidate that has ended with an epoch, and release them."""
        fits, state.fits = state.fits, []
        folds: list[dict[str, Any]] = []
        if status == "pruned":
            kinds = ["test_scores", "train_scores"][: 1 + self._inputs.settings["return_train_score"]]
            unknown = {"score_time": 0.0, **dict.fromkeys(kinds, np.nan), "fit_error": None}
            folds = [{"fit_time": fit.seconds, **unknown} for fit in fits]
        elif status != "failed":
            try:
                estimators = [fit.finish() for fit in fits]
            except Exception:  # the fit fold by fold reports the error
                return CandidateResult(state.number, "failed")
            for fold, (fit, estimator) in enumerate(zip(fits, estimators, strict=True)):
                context = state.contexts.get(fold, {})
                result = self._inputs.fit_and_score(skipping_next_fit(estimator), fold, None, context)
                result["fit_time"] += fit.seconds
                folds.append(result)
            if self._pruning is not None:
                state.report(fmean(self._pruning.value(fold["test_scores"]) for fold in folds), epoch)
        for fit in fits:
            fit.ended = True
        return CandidateResult(state.number, status, folds, state.curve, state.decisions, state.score_error)


def skipping_next_fit(estimator: Any) -> Any:
    """Let the next call of ``fit`` of a fitted estimator do nothing, and return the estimator.

    ``_fit_and_score`` of scikit-learn fits before it scores. The scorer receives the estimator itself, unchanged.
    """

    def skip(*_args: Any, **_kwargs: Any) -> Any:
        del estimator.fit
        return estimator

    estimator.fit = skip
    return estimator


def _statuses(states: list[CandidateState], failed_fits: set[FoldFit]) -> dict[int, Status]:
    """Return the status of each candidate that has failed or completed its training."""
    statuses: dict[int, Status] = {}
    for state in states:
        if not failed_fits.isdisjoint(state.fits):
            statuses[state.number] = "failed"
        elif all(fit.ended for fit in state.fits):
            statuses[state.number] = "complete"
    return statuses


def _ask_pruner(asked: list[CandidateState], epoch: int) -> list[CandidateState]:
    """Ask the pruner about each candidate, and return those that it prunes.

    Successive halving compares a candidate with those that it was asked about earlier. If the better half comes first,
    ordered from worst to best, exactly the worse half is pruned.
    """
    ranked = sorted(asked, key=lambda state: -state.curve[epoch])
    half = ceil(len(ranked) / 2)
    pruned = []
    for state in [*reversed(ranked[:half]), *ranked[half:]]:
        assert state.trial is not None
        state.is_due = False
        state.decisions.append(epoch)
        if state.trial.should_prune():
            pruned.append(state)
    return pruned


def _stack_nets(states: list[CandidateState]) -> list[StackedNet]:
    """Stack fits that can be members of one net, as many as ``MAX_MEMBERS_OF_NET`` and ``MAX_WEIGHTS`` allow."""
    alike: dict[Any, list[FoldFit]] = defaultdict(list)
    for state in states:
        for fit in state.fits:
            alike[state.key, *fit.stack_key].append(fit)
    nets = []
    for fits in alike.values():
        n_members = sum(fit.n_members for fit in fits)
        n_nets = min(len(fits), ceil(n_members / max_members(fits[0].n_weights)))
        ends = [round(len(fits) * number / n_nets) for number in range(n_nets + 1)]
        with torch_settings(fits[0].prepared.estimator.n_threads):
            nets += [StackedNet.stack(fits[start:end]) for start, end in pairwise(ends)]
    return nets


def max_members(n_weights: int) -> int:
    """Return the largest number of members of a net with ``n_weights`` weights each."""
    return min(max(MAX_WEIGHTS // max(1, n_weights), 1), MAX_MEMBERS_OF_NET)
