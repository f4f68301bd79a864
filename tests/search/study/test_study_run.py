"""Tests of processes that share a study and are killed; ``kill_studies.py`` does this for longer."""

import contextlib
import copy
import functools
import gc
import os
import pickle
import threading
import time

import optuna
import pytest
from optuna.distributions import FloatDistribution

from skreg.search.study import StudyRun, identity
from skreg.search.study.heartbeat import describe_process, open_runs
from skreg.search.study.storage import open_storage
from skreg.search.study.trial_slots import COUNTED, PROCESS, RETRY_OF
from tests.search.study.interrupt_searches import interrupt_at_random
from tests.search.study.kill_studies import (
    FIRST,
    NAME,
    Workers,
    any_postgresql,
    ask,
    check,
    open_run,
    search,
    search_side_by_side,
    survive,
    work,
)


@pytest.fixture(scope="module")
def server():
    with any_postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "journal", "postgresql"])
def storage(request, tmp_path):
    """A persistent storage without a study."""
    if request.param != "postgresql":
        return str(tmp_path / {"sqlite": "study.db", "journal": "study.journal"}[request.param])
    url = request.getfixturevalue("server")
    if url is None:
        pytest.skip("no PostgreSQL server can be started here")
    with contextlib.suppress(KeyError):
        optuna.delete_study(study_name=NAME, storage=open_storage(url))
    return url


def finish(run, total, n=1):
    while not run.wait(total, timeout=5):
        for trial in ask(run, n, total):
            run.tell(trial, trial.params["x"])


def abandon(run):
    """Leave a run as a kill would, seen from another run of this process."""
    open_runs.discard(run._run_id)


@pytest.mark.slow
def test_two_processes_share_a_study_and_survive_kills(storage):
    assert survive(storage, moments=4, total=40, seed=0, at_once=2) >= 3
    check(storage, 40)


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.slow
def test_an_interrupt_at_a_random_moment_ends_a_search_and_leaves_nothing():
    assert interrupt_at_random(moments=6, seed=0) == []


@pytest.mark.slow
def test_many_processes_start_at_once_and_retry_the_same_lost_trials(storage):
    """They create the tables, the study and the first trial, and nothing twice."""
    gone = {**describe_process("gone"), "start": -1000.0}
    with open_run(storage) as dead:
        dead.enqueue(FIRST)
        claimed = ask(dead, 6, 12)
        for trial in claimed:
            dead._storage.set_trial_system_attr(dead._trial_id(trial.number), PROCESS, gone)
        dead._claimed.clear()
    workers = Workers(storage, 12, 0.01)
    for _ in range(5):
        workers.start()
    assert workers.join() == [0] * 5
    check(storage, 12)
    with open_run(storage) as run:
        params = [trial.params for trial in run.finished()]
        assert sum(RETRY_OF in trial.system_attrs for trial in run.finished()) == 6
    assert all(params.count(trial.params) == 1 for trial in claimed)


@pytest.mark.parametrize(
    ("search", "delays"),
    [(search, (0.5, 0.9, 0.7)), (search_side_by_side, (0.6, 1.0, 0.8))],
    ids=["alone", "side by side"],
)
@pytest.mark.slow
def test_a_killed_search_resumes_and_completes_its_trials(search, delays, tmp_path):
    """Its results have every candidate once, and a finished search starts no new trials."""
    storage, n_killed = str(tmp_path / "study.db"), 0
    workers = Workers(storage, 16, target=search)
    for delay in delays:
        workers.start()
        workers.alive[0].join(delay)
        n_killed += workers.alive[0].exitcode is None
        workers.kill(workers.alive[0])
    found = search(storage, 16)
    assert n_killed >= 2
    assert len({tuple(params.values()) for params in found.cv_results_["params"]}) == 16
    assert not {trial.state.name for trial in found.study_.trials} & {"RUNNING", "WAITING"}
    n_trials = len(found.study_.trials)
    again = search(storage, 16)
    assert again.best_params_ == found.best_params_
    assert len(again.study_.trials) == n_trials


def test_the_total_is_the_number_of_trials_of_the_study():
    run = open_run(None)
    first = ask(run, 3, 5)
    assert [trial.number for trial in first] == [0, 1, 2]
    second = ask(run, 9, 5)
    assert [trial.number for trial in second] == [3, 4]
    assert ask(run, 1, 5) == []
    assert not run.wait(5, timeout=0)
    for trial in first + second:
        run.tell(trial, trial.params["x"], attrs={"scores": [1, 2]})
    assert run.wait(5)
    assert [trial.user_attrs["scores"] for trial in run.finished()] == [[1, 2]] * 5
    finish(run, 7)
    assert [trial.number for trial in run.finished()] == list(range(7))


def test_suggestions_depend_only_on_the_seed_and_the_number_of_the_trial(tmp_path):
    """They do not depend on the storage or on how often the process is restarted, and are not repeated."""

    def params(storage, pieces, seed=0):
        for total in pieces:
            with open_run(storage, seed) as run:
                finish(run, total)
        return [trial.params for trial in run.finished()]

    whole = params(None, [15])
    assert params(f"{tmp_path}/study.db", [4, 11, 15]) == whole == params(f"{tmp_path}/study.log", [15])
    assert len({tuple(p.values()) for p in whole}) == 15
    assert params(None, [15], seed=1)[0] != whole[0]


def test_a_sampler_of_the_user_is_used_unchanged():
    sampler = optuna.samplers.GridSampler({"x": [0.0, 0.5, 1.0]}, seed=0)
    run = StudyRun(None, None, sampler=sampler, seed=0, fingerprint={})
    while not run.wait(10):
        for trial in ask(run, 1, 10, {"x": FloatDistribution(0, 1)}):
            assert trial.study.sampler is sampler
            run.tell(trial, 0.0)
    assert sorted(trial.params["x"] for trial in run.finished()) == [0.0, 0.5, 1.0]


def test_trials_end_complete_pruned_or_failed():
    run = open_run(None)
    trials = ask(run, 4, 4)
    run.report(trials[0], 0, 0.5)
    assert not trials[0].should_prune()
    assert run.tell(trials[0], None, pruned=True)
    assert run.tell(trials[1], None, attrs={"why": "it diverged"})
    assert run.tell(trials[2], float("nan"))
    assert run.tell(trials[3], 1.0)
    assert [trial.state.name for trial in run.finished()] == ["PRUNED", "FAIL", "FAIL", "COMPLETE"]
    assert run.wait(4)


def test_enqueued_parameters_are_tried_first_and_once():
    memory = optuna.storages.InMemoryStorage()
    runs = [open_run(memory), open_run(memory)]
    for run in runs:
        run.enqueue({"x": 0.5})
        run.enqueue({"x": 0.75, "y": 0.0})
    numbers = [trial.number for run in runs for trial in ask(run, 3, 9)]
    assert numbers == list(range(6))
    params = [trial.params for trial in runs[0].study.trials]
    assert [p["x"] for p in params[:2]] == [0.5, 0.75]
    assert not {0.5, 0.75} & {p["x"] for p in params[2:]}
    late = open_run(memory)
    late.enqueue({"x": 0.25})
    assert ask(late, 1, 9)[0].params["x"] != 0.25, "the study has trials already"


def test_a_trial_that_the_user_enqueued_is_claimed():
    memory = optuna.storages.InMemoryStorage()
    run = open_run(memory)
    run.study.enqueue_trial({"x": 0.125})
    finish(run, 3)
    assert [trial.params["x"] for trial in run.finished()].count(0.125) == 1
    assert len(run.finished()) == 3


def test_close_releases_unfinished_trials():
    memory = optuna.storages.InMemoryStorage()
    with open_run(memory) as run:
        lost = [trial.params for trial in ask(run, 3, 4)]
    assert {trial.state.name for trial in run.study.trials} == {"FAIL"}
    with open_run(memory) as other:
        again = ask(other, 9, 4)
        assert [trial.params for trial in again[:3]] == lost
        assert len(again) == 4


class Interrupted:
    """A storage whose n-th call is interrupted, before it is made or after it."""

    def __init__(self, storage, n, after):
        self._storage, self._left, self._after = storage, n, after

    def __getattr__(self, name):
        attribute = getattr(self._storage, name)
        return functools.partial(self._call, attribute) if callable(attribute) else attribute

    def _call(self, function, *args, **kwargs):
        if threading.current_thread() is not threading.main_thread():  # an interrupt reaches the main thread only
            return function(*args, **kwargs)
        self._left -= 1
        if self._left or self._after:
            with contextlib.suppress(*(Exception,) if self._left == 0 else ()):
                result = function(*args, **kwargs)
        if self._left == 0:
            raise KeyboardInterrupt
        return result


def states(run):
    return [trial.state.name for trial in run.study.get_trials(deepcopy=False)]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["memory", pytest.param("sqlite", marks=pytest.mark.slow), "journal"])
def test_no_trial_is_running_after_an_interrupt_of_any_call_of_the_storage(kind, after, tmp_path):
    """Neither after an interrupt between the creation of a trial and its registration."""
    path = {"memory": None, "sqlite": tmp_path / "study.db", "journal": tmp_path / "study.journal"}[kind]
    storage, interrupted = open_storage(path), []
    with open_run(storage) as lost:
        ask(lost, 2, 100)  # are retried
    for n in range(1, 60, 1 if kind == "memory" else 7):
        with open_run(storage) as run:
            run._storage = Interrupted(storage, n, after)
            try:
                run.tell(ask(run, 3, 100)[0], 1.0)
                run._withdraw(run.ask(100).number)
            except KeyboardInterrupt:
                interrupted.append(n)
        assert "RUNNING" not in states(run)
    assert 1 < len(interrupted) < n, "the last numbers are beyond the last call"


def test_trials_are_released_when_the_storage_is_reachable_again(tmp_path, monkeypatch):
    """After an outage that has ended a search, although its process lives on."""
    monkeypatch.setattr("skreg.search.study.heartbeat.RELEASE_SECONDS", 0.05)
    storage = open_storage(tmp_path / "study.db")
    is_out = threading.Event()
    original = type(storage).set_trial_state_values

    def set_trial_state_values(*args, **kwargs):
        if is_out.is_set():
            raise optuna.exceptions.StorageInternalError("the database is not reachable")
        return original(*args, **kwargs)

    monkeypatch.setattr(type(storage), "set_trial_state_values", set_trial_state_values)
    monkeypatch.setattr(threading.Thread, "join", lambda thread, timeout=None: None)  # it waits for five seconds
    run = open_run(storage)
    (trial,) = ask(run, 1, 2)
    is_out.set()
    with pytest.raises(optuna.exceptions.StorageInternalError), run:
        run.tell(trial, 1.0)
    assert states(run) == ["RUNNING"]
    is_out.clear()
    end = time.monotonic() + 20
    while states(run) == ["RUNNING"] and time.monotonic() < end:
        time.sleep(0.01)
    assert states(run) == ["FAIL"]


def test_a_run_that_is_dropped_without_being_closed_releases_its_trials():
    storage = optuna.storages.InMemoryStorage()
    run = open_run(storage)
    study = run.study
    trials = [trial.number for trial in ask(run, 2, 2)]
    del run
    gc.collect()
    assert [trial.state.name for trial in study.trials] == ["FAIL"] * len(trials)


def ask_in_between(run, other, total):
    """Let another run ask after a run has read the trials and before it creates one."""
    create, asked = run._create, []

    def create_late(attrs):
        if not asked:
            asked.append(None)
            asked.extend(ask(other, 9, total))
        return create(attrs)

    run._create = create_late
    return asked


@pytest.mark.parametrize("n_lost", [0, 2])
def test_two_runs_do_not_claim_the_same_slot(n_lost):
    """Neither for a new trial nor for a lost one, and the late run leaves no trial running."""
    memory = optuna.storages.InMemoryStorage()
    dead, slow, fast = (open_run(memory) for _ in range(3))
    lost = ask(dead, n_lost, 3)
    abandon(dead)
    asked = ask_in_between(slow, fast, 3)
    assert ask(slow, 3, 3) == []
    assert [trial.params for trial in asked[1 : 1 + n_lost]] == [trial.params for trial in lost]
    assert len(asked) == 1 + 3
    assert sum(trial.state.name == "RUNNING" for trial in slow.study.trials) == 3
    for trial in asked[1:]:
        assert fast.tell(trial, trial.params["x"])
    assert slow.wait(3, timeout=0)
    assert len(slow.finished()) == len(fast.finished()) == 3


def test_a_lost_trial_is_retried_and_its_late_result_is_ignored(storage):
    run = open_run(storage)
    (trial,) = ask(run, 1, 2)
    abandon(run)
    with open_run(storage) as other:
        finish(other, 2)
        assert not run.tell(trial, 0.0), "the other run has taken it over"
        run.report(trial, 3, 0.0)
        assert len(other.finished()) == 2
        assert other.finished()[0].params == trial.params
        assert other.wait(2)
    run.close()


def test_a_failed_trial_counts_if_its_process_dies_while_reporting_it():
    memory = optuna.storages.InMemoryStorage()
    run, other = open_run(memory), open_run(memory)
    (trial,) = ask(run, 1, 1)
    trial.set_user_attr(COUNTED, True)
    abandon(run)
    assert ask(other, 1, 1) == []
    assert [trial.number for trial in other.finished()] == [0]


def test_a_smaller_total_leaves_no_trial_running():
    memory = optuna.storages.InMemoryStorage()
    run, other = open_run(memory), open_run(memory)
    run.tell(ask(run, 4, 4)[0], 0.0)
    abandon(run)
    assert other.wait(1)
    assert ask(other, 1, 1) == []
    assert {trial.state.name for trial in other.study.trials} == {"COMPLETE", "FAIL"}


def test_wait_ends_when_other_runs_have_reported():
    memory = optuna.storages.InMemoryStorage()
    run, other = open_run(memory), open_run(memory)
    (trial,) = ask(run, 1, 1)
    began = time.monotonic()
    assert not other.wait(1, timeout=0.1)
    assert time.monotonic() - began >= 0.1
    threading.Timer(0.1, run.tell, (trial, 1.0)).start()
    assert other.wait(1, timeout=10)


def test_a_study_of_another_search_is_refused_with_the_differences(storage):
    def opened(direction="maximize", **fingerprint):
        return StudyRun(storage, NAME, direction=direction, seed=0, fingerprint=fingerprint)

    opened(data="a", space="b").close()
    opened(data="a", space="b").close()
    with pytest.raises(ValueError, match=r"study 'killed' belongs to another search with different data, so that its"):
        opened(data="other", space="b")
    with pytest.raises(ValueError, match=r"with different space and direction, .* Pass another 'study_name'"):
        opened(direction="minimize", data="a", space="c")


def test_a_study_with_trials_that_no_search_created_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "JOIN_SECONDS", 0.01)
    url = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(storage=url, study_name=NAME, direction="minimize")
    open_run(url).close()
    other = optuna.create_study(storage=url, study_name="other")
    other.optimize(lambda trial: 0.0, 1)
    with pytest.raises(ValueError, match=r"'other' has trials that were not created by .* Pass another 'study_name'"):
        StudyRun(url, "other", direction="minimize", seed=0, fingerprint={})
    assert study.trials == []


def test_without_a_name_the_same_search_finds_its_study(tmp_path):
    def name(data):
        with StudyRun(tmp_path / "study.db", None, seed=0, fingerprint={"data": data}) as run:
            return run.study.study_name

    assert name("a") == name("a") != name("b")


def test_a_study_can_be_pickled_and_copied(tmp_path):
    for storage in (None, f"{tmp_path}/study.db", f"{tmp_path}/study.log"):
        with open_run(storage) as run:
            finish(run, 2)
        for other in (pickle.loads(pickle.dumps(run.study)), copy.deepcopy(run.study)):
            assert [trial.params for trial in other.trials] == [trial.params for trial in run.study.trials]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_cannot_use_the_run(tmp_path):
    """It does not end the run when it exits, and it can open its own."""
    run = open_run(f"{tmp_path}/study.db")
    (trial,) = ask(run, 1, 3)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ask(run, 1, 3)
        except RuntimeError:
            run.close()
            with open_run(f"{tmp_path}/study.db") as own:
                (other,) = ask(own, 1, 3)
                own.tell(other, 0.5)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert run.tell(trial, 0.25)
    assert [trial.value for trial in run.finished()] == [0.25, 0.5]
    run.close()


def test_one_process_finishes_a_study_alone(storage):
    work(storage, 5, 0.0)
    check(storage, 5)


@pytest.mark.slow
def test_a_trial_of_a_dead_process_on_another_host_is_retried(storage, monkeypatch):
    """Its heartbeat becomes stale, which takes the grace period."""
    monkeypatch.setattr("skreg.search.study.heartbeat.HEARTBEAT_SECONDS", 0.5)
    monkeypatch.setattr("skreg.search.study.storage.GRACE_SECONDS", 2)
    run = open_run(storage)
    (trial,) = ask(run, 1, 2)
    trial_id = run._trial_id(trial.number)
    run._storage.set_trial_system_attr(trial_id, PROCESS, {**describe_process("far"), "host": "elsewhere"})
    run._thread.stop()
    with open_run(storage) as other:
        other._monitor._grace = 2
        (second,) = ask(other, 1, 2)
        other.tell(second, 0.0)
        assert not other.wait(2, timeout=1.0)
        assert ask(other, 1, 2) == [], "its grace period is not over"
        assert not other.wait(2, timeout=20)
        (retry,) = ask(other, 1, 2)
        assert retry.params == trial.params
        assert other.tell(retry, 0.0)
        assert not run.tell(trial, 0.0)
        assert other.wait(2, timeout=0)
