#!/usr/bin/env python3
"""Seconds that the table encoder takes, and the memory of a fit.

    python benchmarks/encoding.py [--rows 1000000] [--repeats 3] [--only time memory]

A pandas frame of 20 float64 columns with missing values, 5 categories and 5 columns of strings (objects). Times are
processor time of one thread, the fastest of the repeats. Memory is the peak of a process that fits a regressor for one
epoch, less what the process had with the table already made, by the size of the table's 30 columns in float32; once
with the frame, and once with a float32 array of 30 numbers.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import pandas as pd

from skreg import RegularizedMLPRegressor
from skreg.data.table import TableEncoder, check_table

COLUMNS = 30


def frame(n_rows: int) -> pd.DataFrame:
    """Twenty numbers with holes, five categories, five texts."""
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {}
    for j in range(20):
        numbers = rng.normal(size=n_rows)
        numbers[rng.random(n_rows) < 0.05] = np.nan
        columns[f"number{j}"] = numbers
    for j in range(5):
        columns[f"category{j}"] = pd.Categorical.from_codes(
            rng.integers(-1, 4 + 40 * j, n_rows), [f"level {k}" for k in range(4 + 40 * j)]
        )
    for j in range(5):
        words = np.array([*(f"text {k}" for k in range(4 + 40 * j)), None], dtype=object)
        columns[f"text{j}"] = pd.Series(words[rng.integers(0, len(words), n_rows)], dtype=object)
    return pd.DataFrame(columns)


def array(n_rows: int) -> np.ndarray:
    """Thirty numbers in float32."""
    return np.random.default_rng(0).normal(size=(n_rows, COLUMNS)).astype(np.float32)


def fastest(function: Callable[[], Any], repeats: int) -> float:
    """Seconds of processor time."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def show_times(n_rows: int, repeats: int) -> None:
    """Print how long the encoder takes."""
    X = frame(n_rows)
    encoder = TableEncoder().fit(X)
    checked = fastest(lambda: check_table(X), repeats)
    fit, transform = fastest(lambda: TableEncoder().fit(X), repeats), fastest(lambda: encoder.transform(X), repeats)
    print(f"{n_rows:,} x {COLUMNS} mixed columns: check {checked:.2f} s, fit {fit:.2f} s, transform {transform:.2f} s")


def peak() -> int:
    """Most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident() -> int:
    """Memory that this process has now, in bytes; Linux."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fit_alone(kind: str, n_rows: int) -> None:
    """In a process of its own: fit, and print the memory that it took besides the table's."""
    few = frame(500) if kind == "frame" else array(500)
    net = RegularizedMLPRegressor(max_iter=1, random_state=0, device="cpu")
    net.fit(few, np.arange(500.0))  # loads the libraries, and makes the pools that are kept
    X, y = frame(n_rows) if kind == "frame" else array(n_rows), np.random.default_rng(1).normal(size=n_rows)
    ballast = np.ones(max(0, peak() - resident()), dtype=np.uint8)  # so that a new peak is the fit's
    before = resident()
    net.fit(X, y)
    print(peak() - before)
    del ballast  # which is held until here


def show_memory(n_rows: int) -> None:
    """Print how much memory a fit takes."""
    for kind in ("frame", "array"):
        command = [sys.executable, __file__, "--alone", kind, "--rows", str(n_rows)]
        grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        table = 4 * COLUMNS * n_rows
        print(
            f"a fit of {n_rows:,} x {COLUMNS} ({kind}) took {grown / 2**20:,.0f} MB, {grown / table:.2f} times the "
            f"table in float32 ({table / 2**20:,.0f} MB)",
            flush=True,
        )


def main() -> None:
    """Print times and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["time", "memory"], nargs="+", default=["time", "memory"])
    parser.add_argument("--alone", choices=["frame", "array"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        fit_alone(args.alone, args.rows)
        return
    if "time" in args.only:
        show_times(args.rows, args.repeats)
    if "memory" in args.only:
        show_memory(args.rows)


if __name__ == "__main__":
    main()
