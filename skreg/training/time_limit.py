"""A pace is how far each epoch takes the training: evenly to its end, or sooner to an end where time is short.

A training that may not take longer than some seconds measures what its epochs cost. It goes at its own pace to the last
end of a cycle of the learning rate that it can reach in time, or, where there are no cycles or none can be reached,
faster, so that the learning rate still falls as it should.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter as clock
from typing import Any

HURRY = 1.25
_FIRST_STEPS = 4
_CLOSE = 1e-9
_ROUNDING = 1e-9
_AFTER = 3.0
"""Validations that what comes after the training takes, about: temperature and out-of-fold rows."""


class TimeBudget:
    """How far each epoch takes the training.

    Parameters
    ----------
    max_epochs : int
        Epochs of a training that has the time.
    valleys : sequence of float
        Progress at which cycles of the learning rate end; none for a single one.

    Attributes
    ----------
    stops : frozenset of int
        Epochs at whose ends cycles end, of a training at its own pace; none for a single cycle.
    deadline : float or None
        When the training shall be over, by ``clock``; None is never.
    """

    deadline: float | None = None

    def __init__(self, max_epochs: int, valleys: Sequence[float]) -> None:
        self._max_epochs = max_epochs
        self.stops = frozenset(valley_epochs(valleys, max_epochs))
        self._ends = [epoch / max_epochs for epoch in sorted(self.stops or {max_epochs})]
        self._progress = 0.0
        self._hurried = False
        self._costs: list[float] = []
        self._judging = 0.0

    def span(self, epoch: int) -> tuple[float, float] | None:
        """Progress at which the epoch after ``epoch`` begins and ends; None if the training ends here."""
        natural = epoch / self._max_epochs, (epoch + 1) / self._max_epochs
        if self.deadline is None:
            return natural
        first = self._progress if self._hurried else natural[0]
        left = self._epochs_left()
        end = self._target(first, left)
        if end is None:
            return None
        self._hurried |= (end - first) * self._max_epochs > left + _CLOSE
        last = min(first + (end - first) / max(1, int(left)), end) if self._hurried else natural[1]
        self._begin(last)
        return first, last

    def _target(self, first: float, left: float) -> float | None:
        """The end to go to from ``first`` in ``left`` epochs; None at an end beyond which no other can be reached."""
        ahead = [end for end in self._ends if end > first + _CLOSE]
        reached = [end for end in ahead if (end - first) * self._max_epochs <= left * HURRY]
        if reached:
            return reached[-1]
        here = first > 0 and any(abs(end - first) < _CLOSE for end in self._ends)
        return ahead[0] if ahead and not here and (left > 0 or first == 0) else None

    def _epochs_left(self) -> float:
        """How many epochs there is time for, going by those before."""
        if not self._costs:
            return float("inf")
        return self._time_left() / (sum(self._costs) / len(self._costs))

    def _time_left(self) -> float:
        """Seconds of training that are left, what comes after it not counted."""
        assert self.deadline is not None
        left = self.deadline - clock()
        return left - _AFTER * self._judging if self._costs else 0.85 * left

    def _begin(self, last: float) -> None:
        self._last, self._share = last, 0.0
        self._began, self._seconds = clock(), self._time_left()

    def share(self, step: int, n_steps: int) -> float | None:
        """How much of an epoch is through after ``step`` of its steps, where time is short; 1 if there is none left."""
        if self.deadline is None or step == 0:
            return None
        elapsed = clock() - self._began
        if elapsed >= self._seconds or (step >= _FIRST_STEPS and elapsed * n_steps / step > self._seconds):
            self._share = max(self._share, step / n_steps, min(1.0, elapsed / max(self._seconds, _CLOSE)))
        return max(self._share, step / n_steps) if self._share else None

    @contextmanager
    def judging(self) -> Iterator[None]:
        """A ``with`` block that judges an epoch, which ends with it."""
        from_then = clock()
        yield
        if self.deadline is not None:
            now = clock()
            self._progress, self._judging = self._last, now - from_then
            self._costs.append(now - self._began)

    def may_stop(self, epoch: int) -> bool:
        """Whether early stopping may end the training after ``epoch``: anywhere, or at the end of a cycle."""
        if not self._hurried:
            return not self.stops or epoch in self.stops
        return not self.stops or any(abs(end - self._last) < _CLOSE for end in self._ends)


def valley_epochs(valleys: Sequence[float], max_epochs: int) -> list[int]:
    """The last epoch that ends in each cycle, where a schedule's cycles end at ``valleys``; at least 1."""
    return sorted({max(1, int(valley * max_epochs + _ROUNDING)) for valley in valleys})


def deadline_of(estimator: Any) -> float | None:
    """When a fit of ``estimator`` that begins now shall be over, by ``clock``."""
    return None if estimator.time_limit is None else clock() + estimator.time_limit
