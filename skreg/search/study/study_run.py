"""Participation of one process in an Optuna study.

Any number of processes can share a study, and each can be killed at any time. `trial_slots` defines which trials count,
`heartbeat` detects dead processes, and `storage` opens the storage.
"""

import copy
import json
import math
import os
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, Self

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from .heartbeat import HeartbeatThread, LivenessMonitor, describe_process, open_runs, release_trials
from .identity import default_sampler, join_study
from .storage import close_connections, open_storage
from .trial_slots import COUNTED, ENQUEUED, PROCESS, RETRY_OF, WITHDRAWN, TrialSlots


class StudyRun:
    """Participation of this process in a study, which is created, or joined if one with the same fingerprint exists.

    The fingerprint covers everything that the trials depend on. If no name is given, it is derived from the
    fingerprint. By default, each trial has its own TPE sampler, seeded by ``seed`` and the number of the trial, and no
    trial is pruned.
    """

    def __init__(
        self,
        storage: str | os.PathLike[str] | BaseStorage | None,
        study_name: str | None,
        *,
        direction: Literal["minimize", "maximize"] = "maximize",
        sampler: BaseSampler | None = None,
        pruner: BasePruner | None = None,
        seed: int,
        fingerprint: Mapping[str, str],
    ) -> None:
        self._storage = storage = open_storage(storage)
        self._seed = None if sampler else seed
        try:
            self.study = study = join_study(
                storage, study_name, direction, sampler or default_sampler(seed, 0), pruner, fingerprint
            )
        except BaseException:
            close_connections(storage)
            raise
        self._study_id = storage.get_study_id_from_name(study.study_name)
        self._run_id, self._pid = uuid.uuid4().hex, os.getpid()
        self._lock = threading.RLock()
        self._queue: dict[str, dict[str, Any]] = {}
        self._claimed: dict[int, int] = {}  # IDs of trials by their numbers
        self._is_exhausted = False
        self._monitor = LivenessMonitor(study, storage)
        release = partial(release_trials, storage, self._study_id, self._run_id)
        self._thread = HeartbeatThread(self._monitor.record, self._claimed, release)
        self._is_shared = not isinstance(storage, InMemoryStorage)
        open_runs.add(self._run_id)
        end = self._thread.stop if self._is_shared else release
        self._end = weakref.finalize(self, _end_run, self._pid, self._run_id, end)
        if self._is_shared:
            self._thread.start()

    def enqueue(self, params: dict[str, Any]) -> None:
        """Use the given parameters for the first trial, unless the study already has other trials."""
        self._check_process()
        if all(ENQUEUED in t.system_attrs or RETRY_OF in t.system_attrs for t in self.study.get_trials(deepcopy=False)):
            self._queue[json.dumps(params, sort_keys=True, default=repr)] = params

    def ask(self, total: int) -> optuna.Trial | None:
        """Claim a trial: the retry of a trial whose process died, or a new trial.

        ``total`` is the number of trials of the whole study, over all processes. The result is None if no trials are
        left to claim, although other processes may still be running trials.
        """
        self._check_process()
        with self._lock:
            while not self._is_exhausted:
                slots = self._slots()
                number = self._retry_lost(slots, total)
                if number is None and (number := self._create_new(slots, total)) is None:
                    break
                if not any(trial.number == number for trial in self._slots().holders[:total]):
                    self._withdraw(number)
                    continue
                with self._unless_finished(number):
                    return self._start(number)
        return None

    def share(self, most: int, total: int) -> int:
        """Return how many trials to ask for, at most ``most``.

        If several processes share the study, the number is an equal share of the remaining trials, so that no process
        has a large batch near the end while the others have none.
        """
        if not self._is_shared:
            return most
        slots = self._slots()
        by_run = {t.system_attrs[PROCESS]["run"]: t for t in slots.unfinished(total) if PROCESS in t.system_attrs}
        others = [run for run, trial in by_run.items() if run != self._run_id and not self._is_lost(trial)]
        return max(1, min(most, math.ceil((total - len(slots.holders)) / (1 + len(others)))))

    def report(self, trial: optuna.Trial, step: int, value: float) -> None:
        """Report an intermediate value, unless another process has taken over the trial."""
        with self._unless_finished(trial.number):
            trial.report(value, step)

    def tell(
        self, trial: optuna.Trial, value: float | None, *, pruned: bool = False, attrs: Mapping[str, Any] | None = None
    ) -> bool:
        """Report the result of a trial, and return whether it was stored.

        The result is not stored if another process has taken over the trial. A trial has failed if its value is None or
        nan and it was not pruned. Failed trials count as well; otherwise, a search whose trials all fail would never
        end. ``attrs`` are user attributes, which JSON can represent.
        """
        self._check_process()
        failed = not pruned and (value is None or np.isnan(value))
        state = TrialState.PRUNED if pruned else TrialState.FAIL if failed else TrialState.COMPLETE
        stored = False
        with self._unless_finished(trial.number):
            for name, attr in {**(attrs or {}), **({COUNTED: True} if failed else {})}.items():
                trial.set_user_attr(name, attr)
            try:
                self.study.tell(trial, None if pruned or failed else value, state=state)
                stored = True
            except ValueError:  # Optuna's error for a trial that has already finished
                if not self._is_finished(trial.number):
                    raise
            except RuntimeError as error:  # a sampler without further suggestions calls Study.stop after storing it
                if "Study.stop" not in str(error):
                    raise
                stored = self._is_exhausted = True
        with self._lock:
            self._claimed.pop(trial.number, None)
        return stored

    def finished(self) -> list[FrozenTrial]:
        """Return the trials that count, sorted by number: complete, pruned, or failed in their evaluation."""
        return self._slots().counted()

    def wait(self, total: int, timeout: float | None = None) -> bool:
        """Wait for trials of other processes, and return whether all trials of the study have finished.

        Return False after the timeout, or as soon as :meth:`ask` can claim a trial.
        """
        self._check_process()
        end = time.monotonic() + (np.inf if timeout is None else timeout)
        pause = 0.01
        while True:
            slots = self._slots()
            if len(slots.counted(total)) >= total:
                self._withdraw_lost(slots.orphans(total))
                return True
            unfinished = slots.unfinished(total)
            if self._is_exhausted and not unfinished:
                return True
            can_claim = len(slots.holders) < total or any(map(self._is_lost, unfinished))
            if (can_claim and not self._is_exhausted) or time.monotonic() >= end:
                return False
            time.sleep(max(0.0, min(pause, end - time.monotonic())))
            pause = min(1.0, 1.5 * pause)

    def close(self) -> None:
        """Release the claimed trials, which other processes or a later run can retry, and stop the heartbeat."""
        self._end()
        if os.getpid() == self._pid:
            close_connections(self._storage)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _slots(self) -> TrialSlots:
        return TrialSlots(self.study.get_trials(deepcopy=False))

    def _is_lost(self, trial: FrozenTrial) -> bool:
        """Return whether no live process runs an unfinished trial."""
        return trial.state.name != "RUNNING" or PROCESS not in trial.system_attrs or not self._monitor.is_alive(trial)

    def _retry_lost(self, slots: TrialSlots, total: int) -> int | None:
        """Mark lost trials as failed until one of them can be retried, and return the number of its retry."""
        self._withdraw_lost(slots.orphans(total))
        for trial in filter(self._is_lost, slots.unfinished(total)):
            retry = None
            if COUNTED not in trial.user_attrs and not slots.has_retry(trial):
                params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
                retry = self._create({RETRY_OF: trial.number, "fixed_params": params})
            self._fail(trial.number)
            if retry is not None:
                return retry
        return None

    def _create_new(self, slots: TrialSlots, total: int) -> int | None:
        """Create a trial if there seems to be a free slot, with the enqueued parameters first."""
        if len(slots.holders) >= total:
            return None
        for key, params in self._queue.items():
            if key not in slots.enqueued:
                return self._create({ENQUEUED: key, "fixed_params": params})
        return self._create({})

    def _create(self, attrs: Mapping[str, Any]) -> int:
        """Create a running trial that has the record of its process from the beginning."""
        attrs = {**attrs, PROCESS: describe_process(self._run_id)}
        template = create_trial(state=TrialState.RUNNING, system_attrs=attrs)
        trial_id = self._storage.create_new_trial(self._study_id, template_trial=template)
        return self._storage.get_trial_number_from_id(trial_id)

    def _withdraw_lost(self, orphans: Sequence[FrozenTrial]) -> None:
        """Withdraw orphans whose process is dead; other processes withdraw their own."""
        for trial in orphans:
            if self._is_lost(trial):
                self._withdraw(trial.number)

    def _withdraw(self, number: int) -> None:
        """Mark a trial as permanently failed, so that it is not retried."""
        with self._unless_finished(number):
            self._storage.set_trial_system_attr(self._trial_id(number), WITHDRAWN, True)
        self._fail(number)

    def _fail(self, number: int) -> None:
        with self._unless_finished(number):
            self._storage.set_trial_state_values(self._trial_id(number), state=TrialState.FAIL)

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _is_finished(self, number: int) -> bool:
        return self._storage.get_trial(self._trial_id(number)).state.is_finished()

    @contextmanager
    def _unless_finished(self, number: int) -> Iterator[None]:
        """Ignore the error that a storage raises for changes to a trial that another process has finished."""
        try:
            yield
        except RuntimeError:
            if not self._is_finished(number):
                raise

    def _start(self, number: int) -> optuna.Trial:
        """Return a trial with its own sampler, so that the suggestions do not depend on which process asks."""
        study, trial_id = copy.copy(self.study), self._trial_id(number)
        if self._seed is not None:
            study.sampler = default_sampler(self._seed, number)
        self._claimed[number] = trial_id
        return optuna.Trial(study, trial_id)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("A StudyRun cannot be used in a forked process. Open another one there.")


def _end_run(pid: int, run_id: str, release: Callable[[], None]) -> None:
    """End a run that is closed or deleted; in a forked process, the parent's run is not ended."""
    if os.getpid() == pid:
        open_runs.discard(run_id)
        release()
