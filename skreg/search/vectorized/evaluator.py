"""Evaluation of a batch of candidates that are trained side by side.

A batch is divided into groups, which ``joblib`` runs. Neither the groups nor any bit of the results depends on the
number of workers.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from joblib import effective_n_jobs
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.parallel import Parallel, delayed

from ...estimators.base import RegularizedMLP, check_parameters
from ...network.config import structure_decided_by_values
from ...training.optimizers.registry import solvers_with
from ..progress import SearchProgress
from ..scoring import Candidate, FoldEvaluator, SharedInputs, fit_folds, params_key
from ..workers import stop_workers_on_interrupt
from .fold_fit import last_step, reproducible_network
from .worker import CandidateResult, CandidateState, GroupTrainer, Pruning

TWO_GROUPS, FOUR_GROUPS = 24, 96
"""Numbers of members from which a batch is divided into two and into four groups.

The time per member hardly decreases beyond 24 members per net. More groups would keep more workers busy but leave the
pruner fewer candidates to compare.
"""

MEMBER_PARAMS = {
    *("alpha", "augmentation_strength", "clip_norm", "dropout", "ema_decay", "feature_alpha", "input_dropout"),
    *("l1_ratio", "label_smoothing", "learning_rate_init", "max_norm", "weight_decay"),
}
"""Parameters whose values can differ between the members of one net."""


class BatchEvaluator:
    """Evaluates batches of candidates side by side; ``fold_evaluator`` evaluates those for which this is impossible."""

    def __init__(self, fold_evaluator: FoldEvaluator, pruning: Pruning | None) -> None:
        self._fold_evaluator, self._pruning = fold_evaluator, pruning
        self._run, self._inputs = fold_evaluator.run, fold_evaluator.inputs
        self._has_warned = False

    def evaluate(self, batch: list[Candidate]) -> None:
        """Evaluate candidates, and report them to the study as soon as their group has ended."""
        deadline = self._fold_evaluator.deadline
        states = _states(self._inputs, batch, self._fold_evaluator.progress)
        groups = make_groups(states, len(self._inputs.splits))
        if self._pruning is not None:
            self._add_trials(groups, batch)
        others = set(range(len(batch))) - {state.number for state in states}
        stopped, score_errors = [], []
        trainer = GroupTrainer(self._inputs, self._pruning, deadline)
        for result in run_groups(trainer, groups, self._fold_evaluator.n_jobs):
            score_errors.append(result.score_error)
            if result.status == "failed":
                others.add(result.number)
            elif result.status == "stopped":
                stopped.append(result)
            else:
                self._tell(batch[result.number], result)
        self._warn_about_scores([error for error in score_errors if error is not None])
        if not any(trial.state.name == "COMPLETE" for trial in self._run.finished()):
            for result in stopped:
                self._tell(batch[result.number], result)
        if others and (not states or time.time() < deadline):
            self._fold_evaluator.evaluate([batch[number] for number in sorted(others)])

    def _add_trials(self, groups: list[list[CandidateState]], batch: list[Candidate]) -> None:
        """Assign trials to each group's candidates, from an in-memory study with the same pruner and finished trials.

        The trials have the same numbers as in the original study, and the study has the same name, because some pruners
        depend on them.
        """
        import optuna

        from ..study.identity import quiet

        study = self._run.study
        finished = {trial.number: trial for trial in self._run.finished()}
        n_trials = max([*finished, *(candidate.trial.number for candidate in batch)]) + 1
        unfinished = optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL)
        direction, name, sampler = study.direction, study.study_name, optuna.samplers.RandomSampler()
        for group in groups:
            own = {batch[state.number].trial.number: state for state in group}
            with quiet():
                pruner = copy.deepcopy(study.pruner)
                copied = optuna.create_study(direction=direction, study_name=name, sampler=sampler, pruner=pruner)
            for number in range(n_trials):
                if number in own:
                    own[number].trial = copied.ask()
                else:
                    copied.add_trial(finished.get(number, unfinished))

    def _warn_about_scores(self, errors: list[str]) -> None:
        """Warn once in a search about candidates that cannot be pruned because their scores cannot be computed."""
        if not errors or self._has_warned:
            return
        self._has_warned = True
        warnings.warn(
            "A candidate cannot be pruned, because the scorer raised an error for the estimator during training, "
            f"{errors[0]}. Such candidates are trained to the end. Pass a 'scoring' that works at any epoch, "
            "or set pruner=optuna.pruners.NopPruner().",
            UserWarning,
            stacklevel=2,
        )

    def _tell(self, candidate: Candidate, result: CandidateResult) -> None:
        """Report the curve and the result of a candidate to the study.

        The pruner is asked again because successive halving writes its own records into the study when it is asked; the
        group has already made the decision.
        """
        for epoch, score in result.curve.items():
            self._run.report(candidate.trial, epoch, score)
            if epoch in result.decisions:
                candidate.trial.should_prune()
        candidate.folds = result.folds
        self._fold_evaluator.tell(candidate, pruned=result.status == "pruned")


def cross_validate(
    inputs: SharedInputs, params: list[dict[str, Any]], n_jobs: int | None
) -> list[list[dict[str, Any]]]:
    """Return the results of ``_fit_and_score`` for each parameter setting and each fold, without a study."""
    candidates, progress = [Candidate(None, one) for one in params], SearchProgress()
    groups = make_groups(_states(inputs, candidates, progress), len(inputs.splits))
    with stop_workers_on_interrupt():
        for result in run_groups(GroupTrainer(inputs), groups, n_jobs):
            candidates[result.number].folds = result.folds
        others = [candidate for candidate in candidates if not candidate.folds]
        if others:
            fit_folds(inputs, others, range(len(inputs.splits)), Parallel(n_jobs=n_jobs), progress)
    return [candidate.folds for candidate in candidates]


def run_groups(
    trainer: GroupTrainer, groups: list[list[CandidateState]], n_jobs: int | None
) -> Iterator[CandidateResult]:
    """Train groups, and yield the results of each as soon as it has ended."""
    if effective_n_jobs(n_jobs) == 1 or len(groups) == 1:
        for group in groups:
            yield from trainer.iter_results(group)
        return
    parallel = Parallel(n_jobs=n_jobs, batch_size=1, pre_dispatch="all", return_as="generator_unordered")
    with closing(parallel(delayed(trainer.results)(group) for group in groups)) as results:
        for result in results:
            yield from result


def make_groups(states: list[CandidateState], n_folds: int) -> list[list[CandidateState]]:
    """Divide candidates into groups with the same number of epochs and roughly equal work."""
    groups = []
    for alike in _partition(states, lambda state: state.network.max_iter):
        n_members = n_folds * sum(state.network.n_members for state in alike)
        n_groups = min(len(alike), 1 if n_members < TWO_GROUPS else 2 if n_members < FOUR_GROUPS else 4)
        ordered = [state for same_net in _partition(alike, lambda state: state.key) for state in same_net]
        groups += [ordered[number::n_groups] for number in range(n_groups)]
    return groups


def _partition(states: list[CandidateState], key: Callable[[CandidateState], Any]) -> list[list[CandidateState]]:
    alike: dict[Any, list[CandidateState]] = {}
    for state in states:
        alike.setdefault(key(state), []).append(state)
    return list(alike.values())


def _states(inputs: SharedInputs, batch: list[Candidate], progress: SearchProgress) -> list[CandidateState]:
    """Return the states of the candidates that can be trained side by side."""
    states = []
    for number, params in enumerate(candidate.params for candidate in batch):
        try:
            estimator = clone(inputs.estimator).set_params(**clone(params, safe=False))
            step, network = last_step(estimator)[0], reproducible_network(estimator)
            if network is None or not _is_stackable(estimator, network, step, inputs.settings["fit_params"]):
                continue
            check_parameters(network)
            if isinstance(estimator, Pipeline):
                estimator._validate_params()  # noqa: SLF001  # scikit-learn's interface
                estimator._validate_steps()  # noqa: SLF001  # the check of Pipeline.fit
        except Exception:  # the fold-by-fold evaluation reports the error
            continue
        before = {name: value for name, value in params.items() if step and not name.startswith(f"{step}__")}
        contexts = {fold: progress.context(batch[number], fold) for fold in range(len(inputs.splits))}
        key = _stack_key(network, step, params)
        states.append(CandidateState(number, estimator, key, params_key(before), contexts))
    return states


def _is_stackable(estimator: Any, network: RegularizedMLP, step: str | None, fit_params: dict[str, Any] | None) -> bool:
    """Whether a network can be trained with others; besides X and y, ``fit`` may only receive sample weights."""
    steps = [one for _, one in estimator.steps] if isinstance(estimator, Pipeline) else []
    incompatible = (
        steps and (estimator.verbose or estimator.transform_input is not None),
        network.solver in solvers_with("full_batch"),
        network.swa_start is not None,
        network.time_limit is not None,
        network.pretrained is not None,
        network.warm_start,
        network.callbacks,
        network.verbose,
        any(getattr(one, "_skl_callbacks", None) for one in (estimator, *steps)),
        set(fit_params or {}) - {"sample_weight" if step is None else f"{step}__sample_weight"},
    )
    return not any(incompatible)


def _stack_key(network: Any, step: str | None, params: dict[str, Any]) -> tuple[Any, ...]:
    """Everything that the candidates of a net must share: other parameters, and what ``MEMBER_PARAMS`` determine."""
    of_members = {name if step is None else f"{step}__{name}" for name in MEMBER_PARAMS}
    others = {name: value for name, value in params.items() if name not in of_members}
    augments = network.augmentation is not None and bool(network.augmentation_strength)
    return (*params_key(others), augments, *structure_decided_by_values(network))
