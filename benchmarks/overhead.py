#!/usr/bin/env python3
"""Measure the overhead of a training step over its matrix products, and the shares of the time of a fit.

    python benchmarks/overhead.py [--repeats 15] [--batch 256 64] [--rows 1000 10000 50000]

The first table is about a training step of the default networks on 20 numeric columns: four members with three hidden
layers of 128 units for binary classification, and eight members with two hidden layers of 64 units for regression. It
shows the processor time of the step in microseconds, the time of its matrix products alone, the ratio of the two, and
the page faults of the step. The products are calls of `torch.baddbmm` and `torch.bmm` with the same shapes, for the
forward pass, both products of the backward pass, and the numeric embedding. Both times are measured alternately, and
the fastest repetition counts.

The second table shows the shares of the processor time of a fit with default parameters: training steps, validation,
and the rest, which consists of checks, encoding, statistics, initialization, temperature and out-of-fold predictions.

Everything runs in one process with one thread.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import torch

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.training.net import Net
from skreg.training.trainer import Trainer

N_STEPS, N_COLUMNS = 40, 20
ESTIMATORS = {"classifier": RegularizedMLPClassifier, "regressor": RegularizedMLPRegressor}


def make_table(kind: str, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Make numeric columns, and two classes or a number that depends on three of them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, N_COLUMNS)).astype(np.float32)
    y = X[:, 0] * X[:, 1] + X[:, 2] + 0.3 * rng.normal(size=n_rows)
    return X, (y > 0).astype(int) if kind == "classifier" else y


def processor_time(function: Callable[[], Any]) -> float:
    """Return the processor seconds of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start


# the time of a step


def training_epoch(kind: str, batch_size: int) -> tuple[Net, Callable[[], Any]]:
    """Return a net and a function that trains it for an epoch of ``N_STEPS`` steps."""
    X, y = make_table(kind, batch_size * N_STEPS * 4 // 3)
    train, calls = Trainer.train_epoch, []

    def recorded(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return train(*args, **kwargs)

    with replaced(Trainer, "train_epoch", recorded):
        estimator = ESTIMATORS[kind](batch_size=batch_size, max_iter=1, random_state=0, device="cpu").fit(X, y)
    ((args, kwargs),) = calls
    return estimator.net_, lambda: train(*args, **kwargs)


def matrix_products(net: Net, height: int) -> Callable[[], Any]:
    """Return a function that computes only the matrix products of ``N_STEPS`` steps."""
    module, todo = net.module_, []
    for layer, linear in enumerate(module.linears):
        members, a, b = linear.weight.shape
        needs_gradient = layer > 0 or module.numeric is not None or not module.scales_weights(height)
        todo.append((torch.randn(members, height, a), torch.randn(members, a, b), needs_gradient))
    if module.numeric is not None:
        members, columns, outputs, features = module.numeric.mixing_weight().shape
        # rows are the last axis there: the product is of weights and features, and only weights have a gradient
        todo.append((torch.randn(members * columns, outputs, features), torch.randn(features, height), None))
    shapes = [(x, w if w.dim() == 3 else w.expand(len(x), -1, -1).contiguous(), needs) for x, w, needs in todo]
    shapes = [
        (x, w, torch.zeros(len(x), 1, w.shape[2]), torch.randn(len(x), x.shape[1], w.shape[2]), n) for x, w, n in shapes
    ]

    def run() -> None:
        for _ in range(N_STEPS):
            for x, w, bias, gradient, needs in shapes:
                torch.baddbmm(bias, x, w)
                if needs is None:
                    torch.bmm(gradient, w.transpose(1, 2))
                    continue
                torch.bmm(x.transpose(1, 2), gradient)
                if needs:
                    torch.bmm(gradient, w.transpose(1, 2))

    return run


def page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def show_steps(batch_sizes: list[int], n_repeats: int) -> None:
    """Print a line for each estimator and batch size."""
    print(f"{'estimator':10} {'batch':>5} {'us/step':>8} {'products':>8} {'ratio':>6} {'page faults':>12}")
    for batch_size in batch_sizes:
        for kind in ESTIMATORS:
            net, train = training_epoch(kind, batch_size)
            multiply = matrix_products(net, batch_size)
            train()
            step = products = faults = np.inf
            for _ in range(n_repeats):
                before = page_faults()
                step = min(step, processor_time(train) / N_STEPS * 1e6)
                faults = min(faults, (page_faults() - before) / N_STEPS)
                products = min(products, processor_time(multiply) / N_STEPS * 1e6)
            ratio = step / products
            print(f"{kind:10} {batch_size:5} {step:8.0f} {products:8.0f} {ratio:6.2f} {faults:12.1f}", flush=True)


# the time of a fit


@contextmanager
def replaced(cls: type, method: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """Replace a method of a class temporarily."""
    original = getattr(cls, method)
    setattr(cls, method, replacement)
    try:
        yield
    finally:
        setattr(cls, method, original)


class Timer:
    """Counts the processor time of the calls of a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.seconds = 0.0

    def __get__(self, instance: Any, cls: type) -> Callable[..., Any]:
        return partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        try:
            return self.function(*args, **kwargs)
        finally:
            self.seconds += time.process_time() - start


def show_fits(sizes: list[int]) -> None:
    """Print a line for each estimator and number of rows."""
    print(f"\n{'estimator':10} {'rows':>7} {'epochs':>6} {'seconds':>8} {'steps':>6} {'validation':>10} {'rest':>6}")
    for n_rows in sizes:
        for kind, Estimator in ESTIMATORS.items():
            X, y = make_table(kind, n_rows)
            estimator = Estimator(random_state=0, device="cpu")
            train, validate = Timer(Trainer.train_epoch), Timer(Net._validate)
            with replaced(Trainer, "train_epoch", train), replaced(Net, "_validate", validate):
                total = processor_time(partial(estimator.fit, X, y))
            steps, validation = train.seconds / total, validate.seconds / total
            shares = f"{steps:6.1%} {validation:10.1%} {1 - steps - validation:6.1%}"
            print(f"{kind:10} {n_rows:7,} {estimator.n_iter_:6} {total:8.2f} {shares}", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="number of repetitions, of which the fastest counts")
    parser.add_argument("--batch", type=int, nargs="*", default=[256, 64], help="batch sizes of the first table")
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000, 10_000, 50_000], help="rows of the second table")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}\n")
    show_steps(args.batch, args.repeats)
    show_fits(args.rows)


if __name__ == "__main__":
    main()
