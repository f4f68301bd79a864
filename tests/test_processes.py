"""Tests of threads and forked processes: with one thread, no public function starts another."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from skreg._utils import threads
from tests.helpers import plain_regressor

X = np.random.RandomState(0).randn(60, 3)
Y = X[:, 0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.slow
def test_public_functions_start_no_threads_and_work_in_a_forked_process():
    """OPENBLAS_NUM_THREADS is set because NumPy's library starts its threads again in a forked process."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.call_in_forks"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 50
    assert [line for line in lines if not line.endswith(": 0 threads")] == [], done.stderr


class OtherThread(Callback):
    """Starts a thread in the second epoch, which uses torch at once and once more after the fit."""

    def on_epoch_end(self, net, **kwargs):
        if net.epoch_ == 2:
            self.seen, self.begun, self.fitted = [], threading.Event(), threading.Event()
            self.thread = threading.Thread(target=self.use_torch)
            self.thread.start()
            self.begun.wait(30)

    def use_torch(self):
        self.seen.append(torch.get_num_threads())
        self.begun.set()
        self.fitted.wait(30)
        self.seen.append(torch.get_num_threads())


@pytest.mark.skipif(threads._set_openmp is None, reason="the libraries of torch were not found")
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_fit_does_not_change_the_number_of_threads_of_a_thread_that_begins_meanwhile(n_threads):
    usual, other = torch.get_num_threads(), OtherThread()
    torch.set_num_threads(3)
    try:
        plain_regressor((4,), max_iter=3, early_stopping=False, callbacks=[other], n_threads=n_threads).fit(X, Y)
        other.fitted.set()
        other.thread.join()
        assert other.seen == [3, 3]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(usual)


@pytest.mark.skipif(threads._set_openmp is None, reason="the libraries of torch were not found")
def test_overlapping_fits_do_not_change_the_number_of_threads():
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    nets = [plain_regressor((4,), max_iter=6, n_threads=1 + number % 2, random_state=0) for number in range(4)]
    try:
        alone = [net.fit(X, Y).predict(X) for net in nets]
        fits = [threading.Thread(target=net.fit, args=(X, Y)) for net in nets]
        for fit in fits:
            fit.start()
        for fit in fits:
            fit.join()
        for net, prediction in zip(nets, alone, strict=True):
            np.testing.assert_array_equal(net.predict(X), prediction)
        seen = []
        late = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        late.start()
        late.join()
        assert [*seen, torch.get_num_threads()] == [3, 3]
    finally:
        torch.set_num_threads(usual)
