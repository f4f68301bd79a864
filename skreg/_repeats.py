"""Repeats are candidates with the parameters of an earlier one: the same folds and seeds give the same scores.

In a space of few values a sampler proposes the same again and again, and a search that goes on does too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

from ._candidates import RECORD, Candidate, Scoring
from ._lanes import plain

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from ._studies import StudyRun

Evaluate = Callable[[list[Candidate]], None]


class Repeats:
    """What has been scored in a study, so that it is not fitted again.

    Parameters
    ----------
    run : StudyRun
        A process's share in the study.
    scoring : Scoring
        How candidates are scored.
    params : callable (trial) -> dict
        The parameters that a trial stands for.
    """

    def __init__(self, run: StudyRun, scoring: Scoring, params: Callable[[FrozenTrial], dict[str, Any]]) -> None:
        self._run, self._scoring, self._params = run, scoring, params
        self._seen: set[int] = set()
        # parameters stand beside their key, which may be made of what they are in memory
        self._known: dict[tuple[Any, ...], tuple[dict[str, Any], FrozenTrial]] = {}

    def score(self, batch: list[Candidate], evaluate: Evaluate, within: Callable[[], bool]) -> None:
        """Score a batch, of candidates that are alike the first; a second is fitted if the first has no score."""
        first: dict[Any, Candidate] = {}
        for candidate in (new := self._answer(batch)):
            first.setdefault(plain(candidate.params) if self._is_seeded(candidate) else id(candidate), candidate)
        once = list(first.values())
        left = [candidate for candidate in new if not any(candidate is one for one in once)]
        try:
            if once:
                evaluate(once)
        except KeyboardInterrupt:
            self._answer(left)
            raise
        if left and within() and (again := self._answer(left)):
            evaluate(again)

    def _answer(self, candidates: list[Candidate]) -> list[Candidate]:
        """Tell the study of those that are known; the others are given back."""
        self._learn()
        return [candidate for candidate in candidates if not (self._is_seeded(candidate) and self._repeat(candidate))]

    def _learn(self) -> None:
        """Look at what has ended since; a fit that failed is tried again."""
        for trial in self._run.finished():
            if trial.number in self._seen:
                continue
            self._seen.add(trial.number)
            record = trial.user_attrs.get(RECORD)
            if trial.state.name == "COMPLETE" and record is not None and not any(record["fit_error"]):
                params = self._params(trial)
                self._known.setdefault(plain(params), (params, trial))

    def _repeat(self, candidate: Candidate) -> bool:
        """Tell the study what is known of a candidate, if anything is."""
        known = self._known.get(plain(candidate.params))
        if known is None:
            return False
        _, earlier = known
        self._run.tell(candidate.trial, earlier.value, attrs={RECORD: earlier.user_attrs[RECORD]})
        keeper = self._scoring.keeper
        if keeper is not None and earlier.value is not None:
            keeper.add(candidate.trial.number, earlier.value, keeper.get(earlier.number))
        return True

    def _is_seeded(self, candidate: Candidate) -> bool:
        return _is_seeded({**self._scoring.estimator.get_params(), **candidate.params})


def _is_seeded(params: Mapping[str, Any]) -> bool:
    """Whether all that draws by chance, here and in what is nested, does so from a number."""
    for name, value in params.items():
        if name.rpartition("__")[2] == "random_state" and not isinstance(value, Integral):
            return False
        if hasattr(value, "get_params") and not isinstance(value, type) and not _is_seeded(value.get_params()):
            return False
    return True
