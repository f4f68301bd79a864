"""Rules that decide which trials of a study count toward the requested number of trials.

Several processes create trials concurrently, and each may be killed between any two steps. No decision depends on which
process acts first: a trial is created together with the record of its process in one step, and every process derives
the same assignment of trials to slots from the list of all trials.

- An *original* is a trial that is not a retry. It gets a slot if fewer than ``total`` originals with lower numbers have
  one.
- A *retry* repeats a trial whose process died. Once that trial is marked as failed, the retry with the lowest number
  takes over its slot; other retries of the same trial get none. A retry can be retried in turn.
- An *orphan* is a trial that runs without a slot. It is withdrawn, which frees the slot for which it was created.

A trial never loses its slot while it runs, so a process can rely on the slots that it has seen for its trials.
"""

from collections.abc import Iterable

from optuna.trial import FrozenTrial

#: System attributes: the process running the trial, the trial it repeats, whether it is withdrawn, and its queue key.
PROCESS, RETRY_OF, WITHDRAWN, ENQUEUED = "skreg:process", "skreg:retry_of", "skreg:withdrawn", "skreg:enqueued"
#: User attribute of a failed trial that counts, because its evaluation failed and not its process.
COUNTED = "skreg:counted"


def is_counted(trial: FrozenTrial) -> bool:
    """Return whether a trial is complete, pruned, or failed because its evaluation failed."""
    return trial.state.is_finished() and not _is_lost(trial)


def _is_lost(trial: FrozenTrial) -> bool:
    return trial.state.name == "FAIL" and COUNTED not in trial.user_attrs


class TrialSlots:
    """Assignment of the trials of a study to slots.

    ``holders`` are the trials that hold a slot, in the order of the originals. There can be more trials than the search
    asked for until the processes that created them withdraw the surplus. ``enqueued`` are the keys of the enqueued
    parameters for which a trial exists.
    """

    def __init__(self, trials: Iterable[FrozenTrial]) -> None:
        self._trials = {trial.number: trial for trial in trials}
        self._retries: dict[int, int] = {}
        self.enqueued: set[str] = set()
        for number, trial in self._trials.items():
            if RETRY_OF in trial.system_attrs:
                self._retries.setdefault(trial.system_attrs[RETRY_OF], number)
        holders = map(self._find_holder, self._trials.values())
        self.holders = [holder for holder in holders if holder is not None]

    def _find_holder(self, original: FrozenTrial) -> FrozenTrial | None:
        """Return the trial that holds the slot of an original, or None if it has no slot."""
        attrs = original.system_attrs
        created_here = PROCESS in attrs or original.state.name == "WAITING" or self.has_retry(original)
        if RETRY_OF in attrs or not created_here:
            return None
        if ENQUEUED in attrs:
            if attrs[ENQUEUED] in self.enqueued:
                return None
            self.enqueued.add(attrs[ENQUEUED])
        holder = original
        while _is_lost(holder) and self.has_retry(holder):
            holder = self._trials[self._retries[holder.number]]
        return None if WITHDRAWN in holder.system_attrs and not is_counted(holder) else holder

    def has_retry(self, trial: FrozenTrial) -> bool:
        """Return whether a retry of a trial exists."""
        return trial.number in self._retries

    def counted(self, total: int | None = None) -> list[FrozenTrial]:
        """Return the trials that hold one of the first ``total`` slots and are finished, sorted by number."""
        return sorted(filter(is_counted, self.holders[:total]), key=lambda trial: trial.number)

    def unfinished(self, total: int) -> list[FrozenTrial]:
        """Return the trials that hold a slot and are running, waiting, or lost and not retried yet."""
        return [trial for trial in self.holders[:total] if not is_counted(trial)]

    def orphans(self, total: int) -> list[FrozenTrial]:
        """Return the trials that run without a slot and are not about to take one over as a retry."""
        expected = {trial.number for trial in self.holders[:total]}
        expected |= {self._retries[number] for number in expected if number in self._retries}
        return [
            trial
            for number, trial in self._trials.items()
            if trial.state.name == "RUNNING" and PROCESS in trial.system_attrs and number not in expected
        ]
