"""Interrupt searches with two workers at random moments, and check what they leave behind.

``python -m tests.search.study.interrupt_searches --moments 60`` does so for a search in which candidates train side by
side and for one fold by fold, in SQLite and in the journal. The interrupt reaches the process alone, or the process and
its workers, as it does in a terminal. The tests in ``test_study_run.py`` do it a few times.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress

import optuna
import psutil

from skreg.search.scoring import RECORD
from skreg.search.study.storage import open_storage

NAME, SECONDS = "interrupted", 15
CODE = """if True:
    import sys
    from optuna.distributions import FloatDistribution
    from sklearn.datasets import make_classification
    from skreg import OptunaSearchCV, RegularizedMLPClassifier

    X, y = make_classification(400, 10, random_state=0)
    network = RegularizedMLPClassifier((32,), max_iter=20, n_members=1, random_state=0)
    space = {"learning_rate_init": FloatDistribution(1e-4, 1e-2, log=True)}
    search = OptunaSearchCV(network, space, n_trials=10_000, cv=3, n_jobs=2, random_state=0, refit=False)
    search.set_params(storage=sys.argv[1], study_name=sys.argv[2], vectorize=sys.argv[3] == "vectorize" and "auto")
    print("ready", flush=True)
    try:
        search.fit(X, y)
    except KeyboardInterrupt:
        print(len(search.cv_results_["params"]) if hasattr(search, "cv_results_") else 0, flush=True)
"""


def started(storage, mode):
    """Start a process that is about to search, in its own group of processes."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CODE, storage, NAME, mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def of_session(pid):
    """Return the live processes of the session that a process leads."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_until(condition, pause, seconds=60):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(pause)


def interrupt(storage, mode, seconds, to_group, after):
    """Interrupt a search once, and return the problems found and a description."""
    process = started(storage, mode)
    try:
        if after == "the first worker":
            wait_until(psutil.Process(process.pid).children, 0.002)
        elif after == "the first scores":
            wait_until(lambda: states_of(storage)[1], 0.1)
        time.sleep(seconds)
        (os.killpg if to_group else os.kill)(process.pid, signal.SIGINT)
        began, problems = time.monotonic(), []
        try:
            output, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return ["hangs"], {}
        took = time.monotonic() - began
        while (left := of_session(process.pid)) and time.monotonic() - began < SECONDS:
            time.sleep(0.05)
        if left:
            problems.append(f"leaves {[one.cmdline() for one in left]}")
        states, n_scored = states_of(storage)
        if states["RUNNING"]:
            problems.append(f"leaves {states['RUNNING']} running trials")
        if process.returncode != 0 or not output.strip().isdigit():
            problems.append(f"exits with {process.returncode} and {output!r}: {errors[-2000:]}")
        elif int(output) != n_scored:
            problems.append(f"keeps {int(output)} of {n_scored} finished trials")
        return problems, {"seconds": round(took, 1), "finished": n_scored, **states}
    finally:
        for one in of_session(process.pid):
            with suppress(psutil.Error):
                one.kill()
        process.wait()


def states_of(storage):
    """Return the numbers of trials by state, and how many have scores."""
    try:
        trials = optuna.load_study(study_name=NAME, storage=open_storage(storage)).trials
    except (KeyError, OSError):  # interrupted before the study was created
        return Counter(), 0
    scored = [trial for trial in trials if trial.state.is_finished() and RECORD in trial.user_attrs]
    return Counter(trial.state.name for trial in trials), len(scored)


def interrupt_at_random(moments, seed, most_seconds=4.0):
    """Interrupt searches at random moments, and return the problems found."""
    rng, found = random.Random(seed), []
    for number in range(moments):
        mode, kind = rng.choice(["vectorize", "fold by fold"]), rng.choice(["study.db", "study.journal"])
        to_group, after = rng.random() < 0.5, rng.choice(["the start", "the first worker", "the first scores"])
        seconds = rng.uniform(0.0, 0.5 if after == "the first worker" else most_seconds)
        with tempfile.TemporaryDirectory() as folder:
            moment = f"{mode}, {kind}, {'group' if to_group else 'process'}, {seconds:.3f} s after {after}"
            problems, description = interrupt(f"{folder}/{kind}", mode, seconds, to_group, after)
        print(number, moment, dict(description), *problems, flush=True)
        found += [f"{moment}: {problem}" for problem in problems]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problems = interrupt_at_random(options.moments, options.seed)
    print(f"{len(problems)} problems at {options.moments} moments")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
