"""Tests of the detection of dead processes, by psutil on this host and by heartbeats on others."""

import subprocess
import sys
import time
import warnings
from functools import partial
from types import SimpleNamespace

import optuna
import psutil
import pytest
from optuna.storages import InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from skreg.search.study.heartbeat import (
    GRACE_SECONDS,
    RELEASE_SECONDS,
    HeartbeatThread,
    LivenessMonitor,
    describe_process,
    open_runs,
    process_start,
    release_trials,
)
from skreg.search.study.trial_slots import PROCESS

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


class FailingMonitor(LivenessMonitor):
    """A monitor that must not ask for heartbeats."""

    def __init__(self):
        storage = InMemoryStorage()
        super().__init__(optuna.create_study(storage=storage), storage)

    @property
    def _seen(self):
        raise AssertionError("a process of this host needs no heartbeat")

    @_seen.setter
    def _seen(self, value): ...


@pytest.fixture
def sleeping():
    process = subprocess.Popen(SLEEP)
    yield process
    process.kill()
    process.wait()


def make_trial(process):
    return create_trial(state=TrialState.RUNNING, system_attrs={PROCESS: process})


def test_a_run_of_this_process_is_alive_while_it_is_open():
    trial = make_trial(describe_process("mine"))
    assert not FailingMonitor().is_alive(trial)
    open_runs.add("mine")
    assert FailingMonitor().is_alive(trial)
    open_runs.discard("mine")
    assert not FailingMonitor().is_alive(trial)


def test_another_process_is_dead_if_it_was_killed_or_its_number_was_reused(sleeping):
    process = {**describe_process("other"), "pid": sleeping.pid, "start": process_start(sleeping.pid)}
    assert FailingMonitor().is_alive(make_trial(process))
    assert not FailingMonitor().is_alive(make_trial({**process, "start": process["start"] - 2.0}))
    sleeping.kill()
    while psutil.Process(sleeping.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.001)
    assert not FailingMonitor().is_alive(make_trial(process)), "a zombie counts as dead"
    sleeping.wait()
    assert not FailingMonitor().is_alive(make_trial(process))


def study_elsewhere(storage, field="host"):
    """Create a study with a running trial of a process elsewhere."""
    study = optuna.create_study(storage=storage)
    study.add_trial(make_trial({**describe_process("far"), field: "elsewhere"}))
    study_id = storage.get_study_id_from_name(study.study_name)
    return study, storage.get_trial_id_from_study_id_trial_number(study_id, 0)


@pytest.mark.parametrize("field", ["host", "boot", "namespace"])
def test_a_process_elsewhere_is_alive_while_its_counter_changes(field):
    """Independently of its clock. The same process number of another boot or container is another process."""
    storage = InMemoryStorage()
    study, trial_id = study_elsewhere(storage, field)
    monitor, remote = LivenessMonitor(study, storage, grace=0.1), LivenessMonitor(study, storage)
    for _ in range(2):
        assert monitor.is_alive(study.trials[0])
        time.sleep(0.15)
        remote.record(trial_id)
    assert monitor.is_alive(study.trials[0])
    time.sleep(0.15)
    assert not monitor.is_alive(study.trials[0])


@pytest.mark.parametrize("n_heartbeats", [0, 2])
@pytest.mark.slow
def test_optuna_fails_a_trial_elsewhere_whose_heartbeat_is_stale(n_heartbeats, tmp_path, monkeypatch):
    """Even if its process was killed before the first heartbeat."""
    monkeypatch.setattr("skreg.search.study.heartbeat.HEARTBEAT_SECONDS", 0.1)
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        storage = RDBStorage(f"sqlite:///{tmp_path}/study.db", heartbeat_interval=1, grace_period=2)
    study, trial_id = study_elsewhere(storage)
    monitor, remote = LivenessMonitor(study, storage), LivenessMonitor(study, storage)
    for _ in range(n_heartbeats):
        remote.record(trial_id)
        assert monitor.is_alive(study.trials[0])
        time.sleep(1.5)
        assert study.trials[0].state.name == "RUNNING"
    end = time.monotonic() + 10
    while study.trials[0].state.name == "RUNNING" and time.monotonic() < end:
        monitor.is_alive(study.trials[0])
        time.sleep(0.05)
    assert study.trials[0].state.name == "FAIL"


def test_the_thread_records_heartbeats_until_it_is_stopped_and_survives_errors():
    recorded = []

    def record(trial_id):
        recorded.append(trial_id)
        if len(recorded) == 2:
            raise OSError("the storage is not reachable")

    released = []
    thread = HeartbeatThread(record, {0: 7}, lambda: released.append(list(recorded)), seconds=0.005)
    thread.start()
    while len(recorded) < 4:
        time.sleep(0.001)
    thread.stop()
    assert set(recorded) == {7}
    n_recorded = len(recorded)
    time.sleep(0.03)
    assert len(recorded) == n_recorded
    assert released == [recorded], "the trials are released once, at the end"


@pytest.mark.parametrize("make", ["memory", "sqlite", "journal"])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_thread_ends_if_the_study_has_been_deleted(make, tmp_path):
    storages = {
        "memory": InMemoryStorage,
        "sqlite": lambda: RDBStorage(f"sqlite:///{tmp_path}/study.db"),
        "journal": lambda: JournalStorage(JournalFileBackend(f"{tmp_path}/study.journal")),
    }
    storage = storages[make]()
    study = optuna.create_study(storage=storage)
    study_id, trial_id = storage.get_study_id_from_name(study.study_name), study.ask()._trial_id
    monitor = LivenessMonitor(study, storage)
    thread = HeartbeatThread(monitor.record, {0: trial_id}, partial(release_trials, storage, study_id, "run"), 0.005)
    thread.start()
    optuna.delete_study(study_name=study.study_name, storage=storage)
    time.sleep(0.02)
    thread.stop()
    assert not thread.is_alive()


def test_the_thread_repeats_the_release_after_growing_intervals(monkeypatch):
    """They are bounded, and the trials are released as soon as the storage is reachable again."""
    slept = []
    monkeypatch.setattr("skreg.search.study.heartbeat.time", SimpleNamespace(sleep=slept.append))

    def release():
        if len(slept) < 20:
            raise OSError("the storage is not reachable")

    thread = HeartbeatThread(print, {}, release)
    thread.start()
    thread.stop()
    assert not thread.is_alive()
    assert slept == sorted(slept)
    assert (slept[0], slept[-1], len(slept)) == (RELEASE_SECONDS, GRACE_SECONDS, 20)
