"""Detection of dead processes: with psutil on the same host, and with heartbeats on other hosts.

A process that ends its run but lives on must release its trials, because others on the same host would wait for it.
"""

import itertools
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.storages import BaseStorage, RDBStorage, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from .identity import quiet
from .trial_slots import PROCESS

HEARTBEAT_SECONDS, GRACE_SECONDS, RELEASE_SECONDS = 10, 120, 1
COUNTER = "skreg:heartbeat"

#: Open runs of this process. A run that was dropped without being closed is dead, although its process is alive.
open_runs: set[str] = set()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=open_runs.clear)


@lru_cache(maxsize=1)
def _process_table() -> dict[str, str]:
    """Identify the process table in which a process ID is unique.

    The boot ID distinguishes hosts with the same name, and the namespace distinguishes the containers of a host.
    """
    boot, namespace = "", ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
    return {"host": socket.gethostname(), "boot": boot, "namespace": namespace}


def process_start(pid: int) -> float | None:
    """Return the start time of a process on this host in seconds since boot, or None if the process is dead.

    Zombie processes count as dead. A change of the system clock shifts the start time and the boot time alike, so their
    difference is stable.
    """
    try:
        boot, process = psutil.boot_time(), psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return float(process.create_time() - boot)
    except psutil.NoSuchProcess:
        return None


def describe_process(run_id: str) -> dict[str, Any]:
    """Describe this process and one of its runs, for the records of the trials that it creates."""
    return {**_process_table(), "pid": os.getpid(), "start": process_start(os.getpid()), "run": run_id}


class LivenessMonitor:
    """Decides whether the process of a running trial is alive.

    Processes on this host are looked up with psutil. On other hosts, or in other containers, a process is alive while
    it records heartbeats. These are Optuna's heartbeats if the storage is a database that has them enabled. Optuna has
    none for other storages, such as the journal. For these, the heartbeat is a counter in an attribute of the trial. It
    is stale if it does not change during the grace period on the observer's clock, because the clocks of different
    hosts differ.
    """

    def __init__(self, study: optuna.Study, storage: BaseStorage, grace: float = GRACE_SECONDS) -> None:
        self._study, self._storage, self._grace = study, storage, grace
        self._database: RDBStorage | None = None
        if isinstance(storage, RDBStorage) and storage.get_heartbeat_interval() is not None:
            self._database = storage
        self._counter = itertools.count(1)
        self._seen: dict[int, tuple[int, float]] = {}
        self._next_check = 0.0

    def record(self, trial_id: int) -> None:
        """Record a heartbeat of a trial."""
        if self._database is not None:
            self._database.record_heartbeat(trial_id)
        else:
            self._storage.set_trial_system_attr(trial_id, COUNTER, next(self._counter))

    def is_alive(self, trial: FrozenTrial) -> bool:
        """Return whether the process of a running trial is alive, as far as this process can tell."""
        process = trial.system_attrs[PROCESS]
        if all(process.get(name) == value for name, value in _process_table().items()):
            with suppress(psutil.AccessDenied):
                start = process_start(process["pid"])
                if start is None or abs(start - process["start"]) > 1.0:  # the process ID was reused
                    return False
                return process["pid"] != os.getpid() or process["run"] in open_runs
        if self._database is not None:
            self._fail_stale_trials(self._database, trial.number)
            return True  # otherwise, the trial is no longer running when it is read again
        count, now = trial.system_attrs.get(COUNTER, 0), time.monotonic()
        if self._seen.setdefault(trial.number, (count, now))[0] != count:
            self._seen[trial.number] = count, now
        return now - self._seen[trial.number][1] < self._grace

    def _fail_stale_trials(self, database: RDBStorage, number: int) -> None:
        """Let Optuna mark trials as failed if their heartbeats are older than the grace period."""
        now, is_new = time.monotonic(), number not in self._seen
        if is_new or now >= self._next_check:
            with quiet():
                fail_stale_trials(self._study)
            self._next_check = now + HEARTBEAT_SECONDS
        if is_new:
            # Optuna ignores trials without any heartbeats, so a process that was killed before its first one would seem
            # alive forever. This heartbeat starts the grace period.
            self._seen[number] = 0, now
            study_id = database.get_study_id_from_name(self._study.study_name)
            self.record(database.get_trial_id_from_study_id_trial_number(study_id, number))


def release_trials(storage: BaseStorage, study_id: int, run_id: str) -> None:
    """Mark the running trials of a run as failed, so that others can retry them.

    The trials are read from the storage, because an interrupt may have prevented the run from registering the last one.
    """
    for trial in storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.system_attrs.get(PROCESS, {}).get("run") == run_id:
            trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
            try:
                storage.set_trial_state_values(trial_id, state=TrialState.FAIL)
            except RuntimeError:  # the storage's error for a trial that another process has finished
                if not storage.get_trial(trial_id).state.is_finished():
                    raise


class HeartbeatThread(threading.Thread):
    """Thread that records heartbeats of trials, given by their IDs, until it is stopped, and then calls ``release``.

    An interrupt reaches the main thread only, so it cannot prevent this call. If the storage is currently unreachable,
    the call is repeated, after intervals that grow up to ``GRACE_SECONDS``. It is not repeated if the study or a trial
    has been deleted.
    """

    def __init__(
        self,
        record: Callable[[int], None],
        trial_ids: dict[int, int],
        release: Callable[[], None],
        seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        super().__init__(name="skreg-heartbeat", daemon=True)
        self._record, self._trial_ids, self._release, self._seconds = record, trial_ids, release, seconds
        self._stop_event = threading.Event()

    def run(self) -> None:
        """Record heartbeats, and call ``release`` at the end."""
        while not self._stop_event.wait(self._seconds):
            for trial_id in self._trial_ids.copy().values():
                with suppress(Exception):  # the trial has just ended, or the storage is currently unreachable
                    self._record(trial_id)
        seconds: float = RELEASE_SECONDS
        while True:
            try:
                return self._release()
            except KeyError:  # Optuna's error if the study or the trial does not exist
                return None
            except Exception:  # the storage is currently unreachable
                time.sleep(seconds)
                seconds = min(2 * seconds, GRACE_SECONDS)

    def stop(self) -> None:
        """Stop the thread and wait for it to end, unless a storage does not respond."""
        self._stop_event.set()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(timeout=5)
