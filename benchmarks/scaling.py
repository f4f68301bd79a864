#!/usr/bin/env python3
"""How the time of a fit grows with rows, columns and members, all else the same.

    python benchmarks/scaling.py [--full] [--repeats 2] [--plot scaling.png]

Each fit is one epoch of a network of one hidden layer of 64 units without an embedding of numbers, in batches of 1,024
rows, on numeric float32 columns; encoding, statistics and initial weights are in its time. Rows go to 10^6 with 20
columns and one member, and with `--full` to 5 x 10^6; columns to 2,000 with 5,000 rows and one member; members to 64
with 20,000 rows of 20 columns. Processor time of one thread, the fastest of the repeats. The exponent is the slope of
the logarithm of the time over that of the size, of all sizes and of the last two: 1 is linear, and less means that
larger ones cost less for each row, column or member.
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
USUAL = {
    "rows": {"columns": 20, "members": 1},
    "columns": {"rows": 5_000, "members": 1},
    "members": {"rows": 20_000, "columns": 20},
}


def seconds(rows: int, columns: int, members: int) -> float:
    """Processor time of a fit."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, columns), dtype=np.float32)
    y = (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(int)
    net = RegularizedMLPClassifier(
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
    net.fit(X, y)
    return time.process_time() - start


def exponent(sizes: list[int], times: list[float]) -> float:
    """Slope of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def draw(measured: dict[str, tuple[list[int], list[float]]], path: str) -> None:
    """A panel for each size, both axes logarithmic, beside a straight line."""
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
    parser.add_argument("--full", action="store_true", help="up to 5 x 10^6 rows")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--plot", metavar="FILE", help="where to save a plot, as PNG")
    args = parser.parse_args()
    seconds(1_000, 10, 1)  # loads what a first fit loads
    measured = {}
    for name, (usual, more) in SIZES.items():
        sizes = [*usual, *(more if args.full else [])]
        times = [min(seconds(**{**USUAL[name], name: size}) for _ in range(args.repeats)) for size in sizes]
        for size, taken in zip(sizes, times, strict=True):
            print(f"{name:8} {size:10,} {taken:9.3f} s {1e6 * taken / size:10.1f} us each", flush=True)
        last = exponent(sizes[-2:], times[-2:])
        print(f"{name:8} exponent {exponent(sizes, times):.2f}, of the last two {last:.2f}\n", flush=True)
        measured[name] = sizes, times
    if args.plot:
        draw(measured, args.plot)


if __name__ == "__main__":
    main()
