"""Cache of scores, so that a candidate with the parameters of an earlier one is not fitted again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

from .scoring import RECORD, Candidate, params_key

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from .study import StudyRun


class ScoreCache:
    """Reuses the scores of earlier trials of a study.

    The same parameters give the same scores on the same folds if every ``random_state`` is an integer; other candidates
    are always fitted.

    Parameters
    ----------
    run : StudyRun
        The study.
    estimator : estimator
        The estimator whose parameters are searched.
    params_of : callable (trial) -> dict
        Returns the parameters of a finished trial.
    """

    def __init__(self, run: StudyRun, estimator: Any, params_of: Callable[[FrozenTrial], dict[str, Any]]) -> None:
        self._run, self._estimator, self._params_of = run, estimator, params_of
        self._seen: set[int] = set()
        # The parameters are stored with the trial: a key contains ids of objects, which must stay alive.
        self._known: dict[tuple[Any, ...], tuple[dict[str, Any], FrozenTrial]] = {}

    def evaluate(self, batch: list[Candidate], evaluate: Callable[[list[Candidate]], None], deadline: float) -> None:
        """Evaluate a batch, but candidates with equal parameters only once."""
        first: dict[Any, Candidate] = {}
        remaining = self._tell_known(batch)
        for candidate in remaining:
            first.setdefault(params_key(candidate.params) if self._is_seeded(candidate) else id(candidate), candidate)
        unique = list(first.values())
        repeated = [candidate for candidate in remaining if not any(candidate is one for one in unique)]
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
        return [one for one in candidates if not (self._is_seeded(one) and self._tell_if_known(one))]

    def _update(self) -> None:
        """Add the trials that have finished since the last call; a trial with a failed fit is not reused."""
        for trial in self._run.finished():
            if trial.number in self._seen:
                continue
            self._seen.add(trial.number)
            record = trial.user_attrs.get(RECORD)
            if trial.state.name == "COMPLETE" and record is not None and not any(record["fit_error"]):
                params = self._params_of(trial)
                self._known.setdefault(params_key(params), (params, trial))

    def _tell_if_known(self, candidate: Candidate) -> bool:
        known = self._known.get(params_key(candidate.params))
        if known is None:
            return False
        _, earlier = known
        self._run.tell(candidate.trial, earlier.value, attrs={RECORD: earlier.user_attrs[RECORD]})
        return True

    def _is_seeded(self, candidate: Candidate) -> bool:
        return _is_seeded({**self._estimator.get_params(), **candidate.params})


def _is_seeded(params: Mapping[str, Any]) -> bool:
    """Whether every ``random_state``, also of nested estimators, is an integer."""
    for name, value in params.items():
        if name.rpartition("__")[2] == "random_state" and not isinstance(value, Integral):
            return False
        if hasattr(value, "get_params") and not isinstance(value, type) and not _is_seeded(value.get_params()):
            return False
    return True
