"""Tests of the context manager that sets the number of threads."""

import ast
import os
import signal
import threading
import warnings
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

import skreg
from skreg import RegularizedMLPRegressor, diagnose
from skreg._utils import threads
from skreg._utils.threads import torch_threads


@pytest.fixture(params=[1, 2])
def before(request):
    usual = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(usual)


class Thread:
    """A thread that calls functions one after the other."""

    def __init__(self):
        self._todo, self._done = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            self._todo.acquire()
            self._result = self._function()
            self._done.release()

    def __call__(self, function):
        self._function = function
        self._todo.release()
        assert self._done.acquire(timeout=30)
        return self._result


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_the_number_of_threads_is_set_inside_the_block_and_restored_after_it(before, n_threads):
    with torch_threads(n_threads):
        assert torch.get_num_threads() == n_threads
    assert torch.get_num_threads() == before


def test_the_number_of_threads_is_restored_after_an_error(before):
    with pytest.raises(RuntimeError, match="stop"), torch_threads(3):
        raise RuntimeError("stop")
    assert torch.get_num_threads() == before


def test_none_keeps_the_current_setting(before):
    with torch_threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_a_method_that_raises_an_error_restores_the_number_of_threads(before):
    """The traceback keeps a generator alive, so a block inside one would end only when the error is forgotten."""
    X = np.random.default_rng(0).normal(size=(12, 2))
    net = RegularizedMLPRegressor((3,), max_iter=1, n_threads=3, early_stopping=False, random_state=0)
    fitted = net.fit(X, X[:, 0])
    calls = [
        lambda: fitted.predict_uncertainty(X),
        lambda: fitted.predict_uncertainty(X[:, :1]),
        lambda: fitted.sample_predictions(X, random_state="text"),
        lambda: fitted.sample_predictions(X[:, :1]),
        lambda: fitted.predict(X[:, :1]),
        lambda: fitted.predict(X, return_std=True),
        lambda: fitted.predict_interval(X),
        lambda: fitted.fit(X, ["text"] * 12),
        lambda: fitted.partial_fit(X[:, :1], X[:, 0]),
        lambda: diagnose(fitted, X[:, :1], X[:, 0]),
    ]
    for call in calls:
        with pytest.raises((ValueError, TypeError)) as error:
            call()
        assert torch.get_num_threads() == before, error.value


def test_no_generator_sets_the_number_of_threads():
    found = [
        f"{file.name}: {function.name}"
        for file in Path(skreg.__file__).parent.rglob("*.py")
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        for block in ast.walk(function)
        if isinstance(block, ast.With) and any("torch_settings" in ast.unparse(item) for item in block.items)
        if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(block))
    ]
    assert found == []


def test_without_functions_for_a_single_thread_torch_sets_the_number(before, monkeypatch):
    monkeypatch.setattr(threads, "_set_openmp", None)
    with torch_threads(3), torch_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


needs_own_numbers = pytest.mark.skipif(threads._set_openmp is None, reason="the libraries of torch were not found")


@needs_own_numbers
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_other_threads_keep_their_number_whenever_they_begin(before, n_threads):
    others = [Thread() for _ in range(3)]  # the first uses torch before the block, the others in it and after it
    assert others[0](torch.get_num_threads) == before
    with torch_threads(n_threads):
        assert [other(torch.get_num_threads) for other in others[:2]] == [before, before]
    assert [other(torch.get_num_threads) for other in others] == [before] * 3


@needs_own_numbers
def test_blocks_of_several_threads_may_overlap(before):
    first, second, third = (Thread() for _ in range(3))
    stacks = [ExitStack() for _ in range(3)]
    first(lambda: stacks[0].enter_context(torch_threads(1)))
    second(lambda: stacks[1].enter_context(torch_threads(3)))
    third(lambda: stacks[2].enter_context(torch_threads(2)))
    assert [thread(torch.get_num_threads) for thread in (first, second, third)] == [1, 3, 2]
    first(stacks[0].close)
    assert [thread(torch.get_num_threads) for thread in (first, second, third)] == [before, 3, 2]
    third(stacks[2].close)
    second(stacks[1].close)
    assert [thread(torch.get_num_threads) for thread in (first, second, third, Thread())] == [before] * 4
    assert torch.get_num_threads() == before


def test_products_of_matrices_use_the_number_of_the_block():
    """MKL has its own number for each thread, which the block must set, too; one thread gives the same bits."""
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 300, 300, generator=generator)
    usual = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            before = n_started()
            with torch_threads(1):
                results.append(one @ other)
            assert n_started() == before
    finally:
        torch.set_num_threads(usual)
    assert all(torch.equal(result, results[0]) for result in results)


def n_started():
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("n_threads", [1, 2, None])
def test_a_forked_process_uses_one_thread_and_warns_once_about_an_explicit_number(n_threads):
    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    values = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    values.exp()  # starts the threads for which a forked process would wait
    expected = [n_threads] if n_threads == 2 else []

    def compute(n_forks):
        """Compute in this forked process, and in another one that it forks, and exit with 0 if both warn correctly."""
        signal.alarm(20)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                with torch_threads(n_threads):
                    values.exp()
        messages = [str(one.message) for one in caught if one.category is RuntimeWarning]
        right = len(messages) == len(expected) and all("Set n_threads=1" in text for text in messages)
        child = os.fork() if n_forks else None
        if child == 0:
            compute(n_forks - 1)
        os._exit(0 if right and (child is None or os.waitpid(child, 0)[1] == 0) else 1)

    child = os.fork()
    if child == 0:
        compute(n_forks=1)
    torch.set_num_threads(usual)
    assert os.waitpid(child, 0)[1] == 0
