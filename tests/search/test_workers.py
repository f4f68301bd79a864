"""Tests of interrupts while joblib's workers start."""

import sys
from contextlib import suppress

import psutil
import pytest
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import ProcessPoolExecutor
from optuna.distributions import FloatDistribution
from sklearn.linear_model import Ridge

from skreg import OptunaSearchCV
from skreg.search.workers import stop_workers_on_interrupt
from tests.helpers import plain_regressor
from tests.test_processes import X, Y

RIDGE = Ridge(), {"alpha": FloatDistribution(0.1, 1.0)}
NETWORK = plain_regressor((4,), max_iter=2, n_members=4), {"weight_decay": FloatDistribution(1e-4, 1e-2)}


def search_with_workers(estimator, space):
    return OptunaSearchCV(estimator, space, n_trials=4, cv=6, n_jobs=2, random_state=0, refit=False)


def workers():
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # it has just ended, or is a zombie
            if any("popen_loky" in word for word in process.cmdline()):
                found.append(process)
    return found


def interrupted_after(monkeypatch, module, name):
    """Let a function be interrupted when it ends."""
    original = getattr(module, name)

    def interrupted(*args, **kwargs):
        original(*args, **kwargs)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, name, interrupted)


def interrupted_before(monkeypatch, module, name):
    """Let a function be interrupted when it begins."""

    def interrupted(*args, **kwargs):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, name, interrupted)


@pytest.fixture(params=["worker", "workers", "manager"])
def interrupt_at_start(request, monkeypatch):
    """Interrupt the start of the workers: when the first is running, when both are, and when their manager starts."""
    from joblib.externals.loky import get_reusable_executor, process_executor
    from joblib.externals.loky.backend.process import LokyProcess

    get_reusable_executor(kill_workers=True).shutdown(kill_workers=True)
    if request.param == "worker":
        interrupted_after(monkeypatch, LokyProcess, "start")
    elif request.param == "workers":
        interrupted_before(monkeypatch, ProcessPoolExecutor, "_start_executor_manager_thread")
    else:
        interrupted_before(monkeypatch, process_executor._ExecutorManagerThread, "start")


@pytest.mark.skipif(sys.platform == "win32", reason="workers are recognized by their command line")
@pytest.mark.parametrize("searched", [RIDGE, NETWORK], ids=["fold by fold", "side by side"])
def test_an_interrupt_while_workers_start_leaves_no_process_and_no_running_trial(searched, interrupt_at_start):
    search = search_with_workers(*searched)
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, Y)
    assert workers() == []
    assert {trial.state.name for trial in search.study_.trials} == {"FAIL"}


@pytest.mark.slow
def test_a_search_works_after_an_interrupted_one(monkeypatch):
    interrupted_before(monkeypatch, ProcessPoolExecutor, "_start_executor_manager_thread")
    with pytest.raises(KeyboardInterrupt):
        search_with_workers(*RIDGE).fit(X, Y)
    assert len(search_with_workers(*RIDGE).fit(X, Y).cv_results_["params"]) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="workers are recognized by their command line")
def test_an_interrupt_does_not_stop_the_executor_of_the_user():
    """The workers that joblib reuses are stopped, and so are those that start in the block."""
    executor, started = ProcessPoolExecutor(1, timeout=60), ProcessPoolExecutor(1, timeout=60)
    try:
        assert executor.submit(abs, -1).result(timeout=60) == 1
        Parallel(n_jobs=2)(delayed(abs)(n) for n in range(4))
        before = set(workers())
        assert len(before) == 3

        def interrupted():
            started.submit(abs, -1).result(timeout=60)
            assert len(workers()) == 4
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), stop_workers_on_interrupt():
            interrupted()
        assert len(workers()) == 1
        assert set(workers()) < before
        assert executor.submit(abs, -2).result(timeout=60) == 2
    finally:
        for one in (executor, started):
            one.shutdown(wait=False, kill_workers=True)


def test_the_search_of_worker_processes_needs_no_psutil(monkeypatch):
    monkeypatch.setattr("skreg.search.workers.psutil", None)
    with stop_workers_on_interrupt():
        pass
    with pytest.raises(ValueError, match="abc"), stop_workers_on_interrupt():
        raise ValueError("abc")
