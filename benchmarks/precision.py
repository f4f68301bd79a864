#!/usr/bin/env python3
"""Time of a training step with products in bfloat16 (or in float64), as a ratio to float32 in the same run.

    python benchmarks/precision.py [--repeats 5] [--threads 1] [--members 1 4] [--precision bfloat16]

A step's time is that of passes over the same rows by ``partial_fit``, what a pass costs besides subtracted: the
difference between passes of 6 steps and of 2. Three hidden layers of one width, silu, no dropout, 30 columns. The runs
are taken in turns, and the table shows the median of the ratios. Whether this processor has instructions for bfloat16
stands in the first line; without them it is slower than float32.
"""

import argparse
import os
import time
from statistics import median

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--repeats", type=int, default=5, help="turns, of which the median is taken")
PARSER.add_argument("--threads", type=int, default=1)
PARSER.add_argument("--members", type=int, nargs="+", default=[1, 4])
PARSER.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
PARSER.add_argument("--rows", type=int, nargs="+", default=[64, 256, 512], help="rows of a step")
PARSER.add_argument("--precision", choices=["bfloat16", "float64"], default="bfloat16")
PARSER.add_argument("--device", default="cpu")
ARGS = PARSER.parse_args()
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = str(ARGS.threads)

import numpy as np
import torch

from skreg import RegularizedMLPRegressor
from skreg._utils.device import has_bfloat16

SHORT, LONG = 2, 6


def passes(width: int, n_rows: int, n_members: int, precision: str) -> RegularizedMLPRegressor:
    """An estimator that has seen its first rows."""
    net = RegularizedMLPRegressor(
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
    return net.partial_fit(*table(SHORT * n_rows))


def table(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and a target that depends on them."""
    X = np.random.default_rng(0).normal(size=(n_rows, 30)).astype(np.float32)
    return X, X[:, 0] * X[:, 1] + X[:, 2]


def step_time(net: RegularizedMLPRegressor, n_rows: int) -> float:
    """Microseconds of a step."""
    times = []
    for n_steps in (SHORT, LONG):
        X, y = table(n_steps * n_rows)
        start = time.perf_counter()
        net.partial_fit(X, y)
        times.append(time.perf_counter() - start)
    return (times[1] - times[0]) / (LONG - SHORT) * 1e6


def main() -> None:
    """Measure each size and print a line for it."""
    capability = torch.backends.cpu.get_cpu_capability()
    here = "has" if has_bfloat16(torch.device(ARGS.device)) else "has no"
    print(f"torch {torch.__version__}, {capability}, {ARGS.device} {here} bfloat16, {ARGS.threads} thread(s)\n")
    print(f"{'members':>7} {'width':>6} {'rows':>5} {'float32 us':>11} {ARGS.precision + ' us':>12} {'ratio':>6}")
    for n_members in ARGS.members:
        for width in ARGS.widths:
            for n_rows in ARGS.rows:
                nets = {name: passes(width, n_rows, n_members, name) for name in ("float32", ARGS.precision)}
                turns = [[step_time(net, n_rows) for net in nets.values()] for _ in range(ARGS.repeats)]
                ratio = median(other / plain for plain, other in turns)
                plain, other = (median(times) for times in zip(*turns, strict=True))
                print(f"{n_members:7} {width:6} {n_rows:5} {plain:11.0f} {other:12.0f} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
