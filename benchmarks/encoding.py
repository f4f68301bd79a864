#!/usr/bin/env python3
"""Measure the time of the table encoder and the memory of a fit.

    python benchmarks/encoding.py [--rows 1000000] [--repeats 3] [--only time memory]

The table is a pandas data frame of 20 float64 columns with missing values, 5 columns of categories and 5 columns of
strings with the type object. The time is the processor time of one thread in the fastest repetition. The memory is the
peak of a process that fits a regressor for one epoch, minus its memory before the fit when the table exists, divided by
the size of 30 float32 columns. It is measured with the data frame, and with a float32 array of 30 columns.
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

N_COLUMNS = 30


def make_frame(n_rows: int) -> pd.DataFrame:
    """Make 20 numeric columns with missing values, 5 categorical columns and 5 columns of strings."""
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
        strings = np.array([*(f"text {k}" for k in range(4 + 40 * j)), None], dtype=object)
        columns[f"text{j}"] = pd.Series(strings[rng.integers(0, len(strings), n_rows)], dtype=object)
    return pd.DataFrame(columns)


def make_array(n_rows: int) -> np.ndarray:
    """Make 30 float32 columns."""
    return np.random.default_rng(0).normal(size=(n_rows, N_COLUMNS)).astype(np.float32)


def fastest_time(function: Callable[[], Any], repeats: int) -> float:
    """Return the processor seconds of the fastest call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def show_times(n_rows: int, repeats: int) -> None:
    """Print the time of the encoder."""
    X = make_frame(n_rows)
    encoder = TableEncoder().fit(X)
    check = fastest_time(lambda: check_table(X), repeats)
    fit = fastest_time(lambda: TableEncoder().fit(X), repeats)
    transform = fastest_time(lambda: encoder.transform(X), repeats)
    print(f"{n_rows:,} x {N_COLUMNS} mixed columns: check {check:.2f} s, fit {fit:.2f} s, transform {transform:.2f} s")


def peak_memory() -> int:
    """Return the peak memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def current_memory() -> int:
    """Return the memory of this process in bytes; only on Linux."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def print_memory_of_fit(kind: str, n_rows: int) -> None:
    """Print the additional memory of a fit in bytes; runs in its own process."""
    make = make_frame if kind == "frame" else make_array
    regressor = RegularizedMLPRegressor(max_iter=1, random_state=0, device="cpu")
    regressor.fit(make(500), np.arange(500.0))  # loads libraries and creates memory pools that are kept
    X, y = make(n_rows), np.random.default_rng(1).normal(size=n_rows)
    padding = np.ones(max(0, peak_memory() - current_memory()), dtype=np.uint8)  # a new peak then belongs to the fit
    before = current_memory()
    regressor.fit(X, y)
    print(peak_memory() - before)
    del padding  # it has to exist until the fit has ended


def show_memory(n_rows: int) -> None:
    """Print the additional memory of a fit for both kinds of data."""
    for kind in ("frame", "array"):
        command = [sys.executable, __file__, "--memory-of", kind, "--rows", str(n_rows)]
        additional = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        table = 4 * N_COLUMNS * n_rows
        print(
            f"a fit of {n_rows:,} x {N_COLUMNS} ({kind}) needs {additional / 2**20:,.0f} MB, {additional / table:.2f} "
            f"times the table in float32 ({table / 2**20:,.0f} MB)",
            flush=True,
        )


def main() -> None:
    """Print the time of the encoder and the memory of a fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3, help="number of repetitions, of which the fastest counts")
    parser.add_argument("--only", choices=["time", "memory"], nargs="+", default=["time", "memory"])
    parser.add_argument("--memory-of", choices=["frame", "array"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print_memory_of_fit(args.memory_of, args.rows)
        return
    if "time" in args.only:
        show_times(args.rows, args.repeats)
    if "memory" in args.only:
        show_memory(args.rows)


if __name__ == "__main__":
    main()
