#!/usr/bin/env python3
"""Measure the time of a training step in bfloat16 or float64, relative to float32 in the same run.

    python benchmarks/precision.py [--repeats 5] [--threads 1] [--members 1 4] [--precision bfloat16]

The time of a step is a quarter of the difference between calls of ``partial_fit`` with 6 steps and with 2 steps, so
that the fixed cost of a call cancels. The networks have three hidden layers of the same width, silu, no dropout, and 30
columns. The precisions are timed alternately, and the table shows the median of the ratios. The first line says whether
the processor has instructions for bfloat16; without them, bfloat16 is slower than float32.
"""

import argparse
import os
import time
from statistics import median

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--repeats", type=int, default=5, help="number of repetitions, of which the median is shown")
PARSER.add_argument("--threads", type=int, default=1)
PARSER.add_argument("--members", type=int, nargs="+", default=[1, 4])
PARSER.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
PARSER.add_argument("--rows", type=int, nargs="+", default=[64, 256, 512], help="number of rows of a step")
PARSER.add_argument("--precision", choices=["bfloat16", "float64"], default="bfloat16")
PARSER.add_argument("--device", default="cpu")
ARGS = PARSER.parse_args()
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = str(ARGS.threads)

import numpy as np
import torch

from skreg import RegularizedMLPRegressor
from skreg._utils.device import has_bfloat16

FEW_STEPS, MANY_STEPS = 2, 6


def make_table(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Make 30 columns and a target that depends on three of them."""
    X = np.random.default_rng(0).normal(size=(n_rows, 30)).astype(np.float32)
    return X, X[:, 0] * X[:, 1] + X[:, 2]


def fit_first_rows(width: int, n_rows: int, n_members: int, precision: str) -> RegularizedMLPRegressor:
    """Return an estimator after its first call of ``partial_fit``."""
    regressor = RegularizedMLPRegressor(
        (width,) * 3,
        dropout=0.0,
        batch_size=n_rows,
        n_members=n_members,
        learning_rate_init=1e-4,
        random_state=0,
        device=ARGS.device,
        precision=precision,
        n_threads=ARGS.threads,
    )
    return regressor.partial_fit(*make_table(FEW_STEPS * n_rows))


def step_time(regressor: RegularizedMLPRegressor, n_rows: int) -> float:
    """Return the microseconds of a step of ``n_rows`` rows."""
    times = []
    for n_steps in (FEW_STEPS, MANY_STEPS):
        X, y = make_table(n_steps * n_rows)
        start = time.perf_counter()
        regressor.partial_fit(X, y)
        times.append(time.perf_counter() - start)
    return (times[1] - times[0]) / (MANY_STEPS - FEW_STEPS) * 1e6


def main() -> None:
    """Measure each size and print a line."""
    capability = torch.backends.cpu.get_cpu_capability()
    support = "with" if has_bfloat16(torch.device(ARGS.device)) else "without"
    print(f"torch {torch.__version__}, {capability}, {ARGS.device} {support} bfloat16, {ARGS.threads} thread(s)\n")
    print(f"{'members':>7} {'width':>6} {'rows':>5} {'float32 us':>11} {ARGS.precision + ' us':>12} {'ratio':>6}")
    for n_members in ARGS.members:
        for width in ARGS.widths:
            for n_rows in ARGS.rows:
                precisions = ("float32", ARGS.precision)
                regressors = [fit_first_rows(width, n_rows, n_members, precision) for precision in precisions]
                times = [[step_time(regressor, n_rows) for regressor in regressors] for _ in range(ARGS.repeats)]
                ratio = median(other / float32 for float32, other in times)
                float32, other = (median(values) for values in zip(*times, strict=True))
                print(f"{n_members:7} {width:6} {n_rows:5} {float32:11.0f} {other:12.0f} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
