#!/usr/bin/env python3
"""Milliseconds of a training step: independent members beside as many networks that share one member's layers.

    python benchmarks/adapters.py [--repeats 5] [--threads 1] [--networks 1 4 16 32]

One process, one thread unless told otherwise. A step's time is the difference between a fit of 2 E epochs and one of E
epochs, divided by the steps between, so start-up does not count. Binary classification, 20 columns, the estimator's
defaults but for early stopping. The runs are taken in turns, and the table shows the median over the turns. With one
thread on the CPU it is the process's own time, which other work on the machine does not lengthen.
"""

import argparse
import os
import time
from statistics import median

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--repeats", type=int, default=5, help="turns, of which the median is taken")
PARSER.add_argument("--threads", type=int, default=1)
PARSER.add_argument("--networks", type=int, nargs="+", default=[1, 4, 16, 32])
PARSER.add_argument("--device", default="cpu")
ARGS = PARSER.parse_args()
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = str(ARGS.threads)

import numpy as np

from skreg import RegularizedMLPClassifier

STEPS = 10


def step_time(hidden: tuple[int, ...], batch_size: int, n_members: int, n_adapters: int) -> float:
    """Milliseconds of one step."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(STEPS * batch_size, 20)).astype(np.float32)
    y = X[:, 0] * X[:, 1] + X[:, 2] > 0
    epochs = max(1, round(40 / (n_members * n_adapters)))
    clock = time.process_time if ARGS.threads == 1 and ARGS.device == "cpu" else time.perf_counter
    times = []
    for length in (epochs, 2 * epochs):
        estimator = RegularizedMLPClassifier(
            hidden,
            n_members=n_members,
            n_adapters=n_adapters,
            batch_size=batch_size,
            max_iter=length,
            early_stopping=False,
            random_state=0,
            device=ARGS.device,
            n_threads=ARGS.threads,
        )
        start = clock()
        estimator.fit(X, y)
        times.append(clock() - start)
    return (times[1] - times[0]) / (epochs * STEPS) * 1e3


def main() -> None:
    """Measure, and print a table for each size."""
    for hidden, batch_size in (((128, 128, 128), 256), ((128, 128, 128), 64), ((256, 256, 256), 256)):
        turns = [
            [
                (step_time(hidden, batch_size, n, 1), step_time(hidden, batch_size, 1, n) if n > 1 else np.nan)
                for n in ARGS.networks
            ]
            for _ in range(ARGS.repeats)
        ]
        print(f"\nhidden {hidden}, batch {batch_size}, {ARGS.threads} thread(s)")
        print(f"{'networks':>8} {'members':>10} {'adapters':>10} {'adapters / members':>20}")
        for i, n in enumerate(ARGS.networks):
            members, adapters = (median(turn[i][kind] for turn in turns) for kind in (0, 1))
            ratio = median(turn[i][1] / turn[i][0] for turn in turns)
            print(f"{n:8} {members:10.2f} {adapters:10.2f} {ratio:20.2f}" if n > 1 else f"{n:8} {members:10.2f}")


if __name__ == "__main__":
    main()
