#!/usr/bin/env python3
"""Measure how the time of a fit grows with the number of rows, columns and members.

    python benchmarks/scaling.py [--full] [--repeats 2] [--plot scaling.png]

Each fit is one epoch of a network with one hidden layer of 64 units and without numeric embedding, on float32 columns
in batches of 1,024 rows. The time includes encoding, statistics and initialization. There are up to 10^6 rows (5 x 10^6
with ``--full``) of 20 columns with one member, up to 2,000 columns with 5,000 rows and one member, and up to 64 members
with 20,000 rows of 20 columns. The time is the processor time of one thread in the fastest repetition. The exponent is
the slope of the logarithm of the time over the logarithm of the size, once for all sizes and once for the last two: 1
is linear, and less than 1 means that the time per row, column or member falls.
"""

import argparse
import os
import time

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np

from skreg import RegularizedMLPClassifier

SIZES = {
    "rows": ([10_000, 100_000, 1_000_000], [5_000_000]),
    "columns": ([10, 50, 200, 800, 2_000], []),
    "members": ([1, 4, 16, 64], []),
}
FIXED = {
    "rows": {"columns": 20, "members": 1},
    "columns": {"rows": 5_000, "members": 1},
    "members": {"rows": 20_000, "columns": 20},
}


def fit_time(rows: int, columns: int, members: int) -> float:
    """Return the processor seconds of a fit."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, columns), dtype=np.float32)
    y = (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(int)
    classifier = RegularizedMLPClassifier(
        (64,),
        numeric_embedding=None,
        early_stopping=False,
        batch_size=1024,
        max_iter=1,
        n_members=members,
        random_state=0,
        device="cpu",
    )
    start = time.process_time()
    classifier.fit(X, y)
    return time.process_time() - start


def exponent(sizes: list[int], times: list[float]) -> float:
    """Return the slope of the logarithm of the times over the logarithm of the sizes."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def draw(measured: dict[str, tuple[list[int], list[float]]], path: str) -> None:
    """Save a figure with logarithmic axes and a linear reference for each kind of size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for axes, (name, (sizes, times)) in zip(figure.subplots(1, len(measured)), measured.items(), strict=True):
        axes.loglog(sizes, times, "o-", label=f"exponent {exponent(sizes, times):.2f}")
        axes.loglog(sizes, [times[-1] * size / sizes[-1] for size in sizes], ":", color="gray", label="linear")
        axes.set(xlabel=name, ylabel="seconds")
        axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print a line for each size, and the exponents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="measure 5 x 10^6 rows too")
    parser.add_argument("--repeats", type=int, default=2, help="number of repetitions, of which the fastest counts")
    parser.add_argument("--plot", metavar="FILE", help="PNG file for a figure")
    args = parser.parse_args()
    fit_time(1_000, 10, 1)  # the first fit loads libraries
    measured = {}
    for name, (usual_sizes, large_sizes) in SIZES.items():
        sizes = [*usual_sizes, *(large_sizes if args.full else [])]
        times = [min(fit_time(**{**FIXED[name], name: size}) for _ in range(args.repeats)) for size in sizes]
        for size, seconds in zip(sizes, times, strict=True):
            print(f"{name:8} {size:10,} {seconds:9.3f} s {1e6 * seconds / size:10.1f} us each", flush=True)
        last = exponent(sizes[-2:], times[-2:])
        print(f"{name:8} exponent {exponent(sizes, times):.2f}, between the last two {last:.2f}\n", flush=True)
        measured[name] = sizes, times
    if args.plot:
        draw(measured, args.plot)


if __name__ == "__main__":
    main()
