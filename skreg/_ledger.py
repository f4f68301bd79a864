"""The ledger of a study: which of its trials have a place among those that the search asked for.

Several processes make trials at once, and may be killed between any two steps. So nothing is decided by who was first
to look: a trial is made, with its owner, in one step, and everybody reads from all trials which of them have a place.

- A *root* is a trial that nobody had before. It has a place if fewer than ``total`` roots of lower number have one.
- A trial that was lost with its owner is tried again by another one that names it. The *retry* of the lowest number
  takes its place, once it is marked as failed, and any other retry has none. A retry may be lost and retried in turn.
- A root that failed without having been released or scored has given its place up.

A place, once had, is never taken away, so that what a process reads of its own trial stays true.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

#: Attributes of the system: who has the trial, whose place it takes, that it was let go, which of the enqueued it is.
OWNER, RETRY_OF, RELEASED, ENQUEUED = "skreg:owner", "skreg:retry_of", "skreg:released", "skreg:enqueued"
#: Attribute of the user: the trial failed, and counts all the same.
COUNTS = "skreg:counts"


def scored(trial: FrozenTrial) -> bool:
    """Whether a trial ended in a way that counts: complete, pruned, or failed by its own fault."""
    return trial.state.is_finished() and (trial.state.name != "FAIL" or COUNTS in trial.user_attrs)


class Ledger:
    """Places of a study's trials, as they were when it was read.

    Parameters
    ----------
    trials : iterable of FrozenTrial
        All of the study, by number.

    Attributes
    ----------
    places : list of FrozenTrial
        Who has each place, the place of the lowest root first; more than the search asked for while somebody has not
        seen yet that there is none left.
    enqueued : set of str
        Which of the enqueued have been made.
    """

    def __init__(self, trials: Iterable[FrozenTrial]) -> None:
        self._trials = {trial.number: trial for trial in trials}
        self._retry: dict[int, int] = {}
        self.enqueued: set[str] = set()
        self.places: list[FrozenTrial] = []
        for number, trial in self._trials.items():
            if RETRY_OF in trial.system_attrs:
                self._retry.setdefault(trial.system_attrs[RETRY_OF], number)
        for trial in self._trials.values():
            holder = self._holder(trial)
            if holder is not None:
                self.places.append(holder)

    def _holder(self, root: FrozenTrial) -> FrozenTrial | None:
        """Who has the place of a root: the last of its retries; None where it has none."""
        marks = root.system_attrs
        ours = OWNER in marks or root.state.name == "WAITING" or root.number in self._retry
        if RETRY_OF in marks or not ours:
            return None
        if ENQUEUED in marks:
            if marks[ENQUEUED] in self.enqueued:
                return None
            self.enqueued.add(marks[ENQUEUED])
        last = root
        while self._gone(last) and last.number in self._retry:
            last = self._trials[self._retry[last.number]]
        return last if not self._gone(last) or RELEASED in last.system_attrs else None

    @staticmethod
    def _gone(trial: FrozenTrial) -> bool:
        return trial.state.name == "FAIL" and COUNTS not in trial.user_attrs

    def retried(self, trial: FrozenTrial) -> bool:
        """Whether somebody has made a retry of a trial already."""
        return trial.number in self._retry

    def scored(self, total: int) -> list[FrozenTrial]:
        """Trials that have a place and ended, by number."""
        return sorted((t for t in self.places[:total] if scored(t)), key=lambda trial: trial.number)

    def open(self, total: int) -> list[FrozenTrial]:
        """Trials that have a place and did not end: running, released or waiting."""
        return [trial for trial in self.places[:total] if not scored(trial)]

    def strays(self, total: int) -> list[FrozenTrial]:
        """Trials that run without a place, and without being the next in line for one."""
        placed = {trial.number for trial in self.places[:total]}
        placed |= {self._retry[number] for number in placed if number in self._retry}
        return [
            trial
            for number, trial in self._trials.items()
            if trial.state.name == "RUNNING" and OWNER in trial.system_attrs and number not in placed
        ]
