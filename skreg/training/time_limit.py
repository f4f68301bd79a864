"""Time limit of training: which interval of the learning rate schedule each epoch covers.

Without a limit, all intervals are equal. With a limit, the duration of the epochs is measured, and training ends with
the last learning rate cycle that it can complete in time. If the schedule has no cycles or none can be completed, the
intervals become larger, so that the learning rate still decays as intended.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf
from time import perf_counter as clock
from typing import Any

MAX_SPEEDUP = 1.25
"""Factor by which epochs may cover more of the schedule in order to reach the end of a cycle."""
_MIN_TIMED_STEPS = 4
_TOLERANCE = 1e-9
_FIRST_EPOCH_SHARE = 0.85
_VALIDATIONS_AFTERWARDS = 3.0
"""Smallest time reserved for the steps after training, in units of one validation with its score."""


class TimeBudget:
    """Decide how far each epoch advances in the schedule, given the time that is left.

    ``cycle_ends`` contains the progress values at which learning rate cycles end, and ``cycle_end_epochs`` the last
    epochs of the cycles without a time limit. Both are empty without cycles.
    """

    deadline: float | None = None  # time on ``clock`` by which training must be finished
    evaluations_afterwards = 0.0  # time for the steps after training, in units of an evaluation of the validation rows

    def __init__(self, max_epochs: int, cycle_ends: Sequence[float]) -> None:
        self._max_epochs = max_epochs
        self.cycle_end_epochs = frozenset(last_epochs_of_cycles(cycle_ends, max_epochs))
        self._ends = [epoch / max_epochs for epoch in sorted(self.cycle_end_epochs or {max_epochs})]
        self._progress = 0.0
        self._accelerated = False
        self._durations: list[float] = []
        self._validation_time = self._evaluation_time = 0.0

    def next_span(self, epoch: int) -> tuple[float, float] | None:
        """Return the progress at the start and end of the epoch after ``epoch``, or None to end training."""
        self._epoch_start = clock()
        natural = epoch / self._max_epochs, (epoch + 1) / self._max_epochs
        if self.deadline is None:
            return natural
        start = self._progress if self._accelerated else natural[0]
        epochs_left = self._epochs_left()
        target = self._target(start, epochs_left)
        if target is None:
            return None
        self._accelerated |= (target - start) * self._max_epochs > epochs_left + _TOLERANCE
        stop = min(start + (target - start) / max(1, int(epochs_left)), target) if self._accelerated else natural[1]
        self._stop, self._share = stop, 0.0
        self._epoch_time = self._time_left()
        return start, stop

    def _target(self, start: float, epochs_left: float) -> float | None:
        """Return the cycle end to train to, or None if ``start`` is a cycle end and no later one can be reached."""
        ahead = [end for end in self._ends if end > start + _TOLERANCE]
        reachable = [end for end in ahead if (end - start) * self._max_epochs <= epochs_left * MAX_SPEEDUP]
        if reachable:
            return reachable[-1]
        at_end = start > 0 and any(abs(end - start) < _TOLERANCE for end in self._ends)
        return ahead[0] if ahead and not at_end and (epochs_left > 0 or start == 0) else None

    def _epochs_left(self) -> float:
        return self._time_left() * len(self._durations) / sum(self._durations) if self._durations else inf

    def _time_left(self) -> float:
        """Return the seconds left for training, excluding the time for the steps after it."""
        assert self.deadline is not None
        left = self.deadline - clock()
        if not self._durations:
            return _FIRST_EPOCH_SHARE * left
        afterwards = self.evaluations_afterwards * self._evaluation_time
        return left - max(afterwards, _VALIDATIONS_AFTERWARDS * self._validation_time)

    def epoch_seconds(self) -> float:
        """Return the seconds since the start of the epoch."""
        return clock() - self._epoch_start

    def epoch_share(self, step: int, n_steps: int) -> float | None:
        """Return the completed share of the epoch after ``step`` steps; 1 ends it, None means ``step / n_steps``."""
        if self.deadline is None or step == 0:
            return None
        elapsed = self.epoch_seconds()
        too_slow = step >= _MIN_TIMED_STEPS and elapsed * n_steps / step > self._epoch_time
        if elapsed >= self._epoch_time or too_slow:
            self._share = max(self._share, step / n_steps, min(1.0, elapsed / max(self._epoch_time, _TOLERANCE)))
        return max(self._share, step / n_steps) if self._share else None

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Measure the time to compute the raw output of the validation rows and its loss, in a ``with`` block."""
        start = clock()
        yield
        self._evaluation_time = clock() - start

    @contextmanager
    def validation(self) -> Iterator[None]:
        """Measure the time of the validation that ends an epoch, in a ``with`` block."""
        start = clock()
        yield
        if self.deadline is not None:
            self._progress, self._validation_time = self._stop, clock() - start
            self._durations.append(self.epoch_seconds())

    def may_stop(self, epoch: int) -> bool:
        """Return whether members may stop after ``epoch``: if there are cycles, only at the end of one."""
        if self.cycle_end_epochs and self._accelerated:
            return any(abs(end - self._stop) < _TOLERANCE for end in self._ends)
        return not self.cycle_end_epochs or epoch in self.cycle_end_epochs


def last_epochs_of_cycles(cycle_ends: Sequence[float], max_epochs: int) -> list[int]:
    """Return the last epoch that ends within each cycle, at least 1."""
    return sorted({max(1, int(end * max_epochs + _TOLERANCE)) for end in cycle_ends})


def deadline_of(estimator: Any) -> float | None:
    """Return the time on ``clock`` by which a fit that starts now must be finished."""
    return None if estimator.time_limit is None else clock() + estimator.time_limit
