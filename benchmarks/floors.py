#!/usr/bin/env python3
"""How far a training step of the default network is from its matrix products alone, and what a fit costs besides.

    python benchmarks/floors.py [--turns 15] [--batch 256 64] [--rows 1000 10000 50000]

First table: microseconds of processor time of a step of the default networks on 20 numeric columns, for two classes
four members of three hidden layers of 128 units, for numbers eight of two of 64; its floor, which is `torch.baddbmm`
and `torch.bmm` of the same shapes, forward and both products of the backward pass, and of the embedding of numbers as
well; and the step divided by the floor. Step and floor are measured in turns, and of each the fastest counts. Page
faults are those of a step.

Second table: where the processor time of a whole fit goes, with no parameter set but the seed: training steps,
validation, and the rest, which is checks, encoding, statistics, initial weights, temperature and out-of-fold rows.

One process, one thread.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import torch

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.search.vectorized.fold_fit import FoldData, FoldFit
from skreg.training.net import Net
from skreg.training.trainer import Trainer

STEPS, COLUMNS = 40, 20
ESTIMATORS = {"classes": RegularizedMLPClassifier, "numbers": RegularizedMLPRegressor}


def table(kind: str, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Numeric columns, and two classes or a number that depend on three of them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, COLUMNS)).astype(np.float32)
    y = X[:, 0] * X[:, 1] + X[:, 2] + 0.3 * rng.normal(size=n_rows)
    return X, (y > 0).astype(int) if kind == "classes" else y


def seconds(function: Callable[[], Any]) -> float:
    """Processor time of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start


# a step


def training(kind: str, batch_size: int) -> tuple[Net, Callable[[], Any]]:
    """A net before its training, and what trains it for ``STEPS`` steps."""
    X, y = table(kind, batch_size * STEPS * 4 // 3)
    fit = FoldFit.prepare(ESTIMATORS[kind](batch_size=batch_size, random_state=0, device="cpu"), FoldData(X, y))
    trainer = fit.net.make_trainer(fit.train)
    return fit.net, lambda: trainer.train_epoch(fit.net.member_lr(), 0.1, 0.11, None)


def products(net: Net, height: int) -> Callable[[], Any]:
    """The matrix products of ``STEPS`` steps, and nothing else."""
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
        for _ in range(STEPS):
            for x, w, bias, gradient, needs in shapes:
                torch.baddbmm(bias, x, w)
                if needs is None:
                    torch.bmm(gradient, w.transpose(1, 2))
                    continue
                torch.bmm(x.transpose(1, 2), gradient)
                if needs:
                    torch.bmm(gradient, w.transpose(1, 2))

    return run


def show_steps(batches: list[int], turns: int) -> None:
    """Print a line for each kind of target and each size of a batch."""
    print(f"{'target':8} {'batch':>5} {'us/step':>8} {'floor':>7} {'ratio':>6} {'page faults':>12}")
    for batch_size in batches:
        for kind in ESTIMATORS:
            net, train = training(kind, batch_size)
            multiply = products(net, batch_size)
            train()
            best = {train: np.inf, multiply: np.inf}
            faults = np.inf
            for _ in range(turns):
                for function in best:
                    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
                    best[function] = min(best[function], seconds(function) / STEPS * 1e6)
                    if function is train:
                        after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
                        faults = min(faults, (after - before) / STEPS)
            step, floor = best[train], best[multiply]
            print(f"{kind:8} {batch_size:5} {step:8.0f} {floor:7.0f} {step / floor:6.2f} {faults:12.1f}", flush=True)


# a fit


class Clock:
    """Processor time that passes in some methods, by a name of ours."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextmanager
    def on(self, owner: type, method: str, name: str) -> Iterator[None]:
        """Count what passes in a method."""
        original = getattr(owner, method)

        def counted(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            try:
                return original(*args, **kwargs)
            finally:
                self.spent[name] = self.spent.get(name, 0.0) + time.process_time() - start

        setattr(owner, method, counted)
        try:
            yield
        finally:
            setattr(owner, method, original)


def show_fits(sizes: list[int]) -> None:
    """Print a line for each kind of target and each number of rows."""
    print(f"\n{'target':8} {'rows':>7} {'epochs':>6} {'seconds':>8} {'steps':>6} {'validation':>10} {'rest':>6}")
    for n_rows in sizes:
        for kind, estimator in ESTIMATORS.items():
            X, y = table(kind, n_rows)
            clock, net = Clock(), estimator(random_state=0, device="cpu")
            with clock.on(Trainer, "train_epoch", "steps"), clock.on(Net, "_validate", "validation"):
                total = seconds(lambda net=net, X=X, y=y: net.fit(X, y))
            steps, validation = (clock.spent[name] / total for name in ("steps", "validation"))
            shares = f"{steps:6.1%} {validation:10.1%} {1 - steps - validation:6.1%}"
            print(f"{kind:8} {n_rows:7,} {net.n_iter_:6} {total:8.2f} {shares}", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15, help="of which the fastest counts")
    parser.add_argument("--batch", type=int, nargs="*", default=[256, 64])
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000, 10_000, 50_000])
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}\n")
    show_steps(args.batch, args.turns)
    show_fits(args.rows)


if __name__ == "__main__":
    main()
