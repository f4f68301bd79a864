"""Cache of scores, so that a candidate with the parameters of an earlier one is not fitted again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

from .scoring import RECORD, Candidate, params_key

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from .distributions import Space
    from .study import StudyRun


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
        """Evaluate a batch, but candidates with equal parameters only once."""
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
                # A key contains ids of objects; the space keeps the parameters, and thereby these objects, alive.
                self._known.setdefault(params_key(self._space.params(trial)), trial)

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
