#!/usr/bin/env python3
"""Measure the time of a training step of a plain torch loop, skreg, skorch and scikit-learn's MLP.

    python benchmarks/steps.py [--repeats 7] [--threads 1]

All methods run in one process, with one thread unless ``--threads`` is given. The time of a step is the difference
between a fit of 2 E epochs and a fit of E epochs, divided by the difference in the number of steps, so that the fixed
cost of a fit cancels. All methods train the same binary classifier with relu, Adam, the same batch size and no
validation. skreg uses its default scaling of numeric columns, but no factors on the inputs and the same learning rate
for all layers. The methods are timed alternately. The table shows the median of the time over the repetitions, and the
median of its ratio to the plain loop of the same repetition.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from statistics import median

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--repeats", type=int, default=7, help="number of repetitions, of which the median is shown")
PARSER.add_argument("--threads", type=int, default=1)
PARSER.add_argument("--members", type=int, nargs="+", default=[1, 4, 16])
ARGS = PARSER.parse_args()
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = str(ARGS.threads)

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetClassifier
from torch import nn

from skreg import RegularizedMLPClassifier

torch.set_num_threads(ARGS.threads)
warnings.filterwarnings("ignore", category=ConvergenceWarning)

Fit = Callable[[np.ndarray, np.ndarray, int], None]


def make_table(n_rows: int, n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Make a float32 table and a binary target that depends on three columns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_columns)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] + X[:, 2] + 0.3 * rng.normal(size=n_rows) > 0).astype(np.int64)


def make_module(n_columns: int, hidden: tuple[int, ...], n_out: int) -> nn.Sequential:
    """Make the network with torch's layers."""
    widths = [n_columns, *hidden]
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(widths[-1], n_out))


def plain_loop(hidden: tuple[int, ...], batch_size: int) -> Fit:
    """Return a hand-written training loop over slices of tensors that are shuffled in each epoch."""

    def fit(X: np.ndarray, y: np.ndarray, epochs: int) -> None:
        module = make_module(X.shape[1], hidden, 1)
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, fused=True)
        inputs, target = torch.from_numpy(X), torch.from_numpy(y).float()
        for _ in range(epochs):
            order = torch.randperm(len(inputs))
            shuffled_inputs, shuffled_target = inputs[order], target[order]
            for start in range(0, len(inputs), batch_size):
                optimizer.zero_grad()
                rows = slice(start, start + batch_size)
                logits = module(shuffled_inputs[rows])[:, 0]
                loss = nn.functional.binary_cross_entropy_with_logits(logits, shuffled_target[rows])
                loss.backward()
                optimizer.step()

    return fit


def skreg(hidden: tuple[int, ...], batch_size: int, n_members: int) -> Fit:
    """Return a fit of skreg."""

    def fit(X: np.ndarray, y: np.ndarray, epochs: int) -> None:
        RegularizedMLPClassifier(
            hidden,
            activation="relu",
            init="auto",
            parametrization="standard",
            scale_layer=False,
            label_smoothing=0.0,
            dropout=0.0,
            early_stopping=False,
            learning_rate="constant",
            learning_rate_init=1e-3,
            batch_size=batch_size,
            max_iter=epochs,
            n_members=n_members,
            random_state=0,
            device="cpu",
            n_threads=ARGS.threads,
        ).fit(X, y)

    return fit


def skorch(hidden: tuple[int, ...], batch_size: int) -> Fit:
    """Return a fit of skorch with its DataLoader, callbacks and history, without validation and printing."""

    def fit(X: np.ndarray, y: np.ndarray, epochs: int) -> None:
        NeuralNetClassifier(
            make_module(X.shape[1], hidden, 2),
            criterion=nn.CrossEntropyLoss,
            optimizer=torch.optim.AdamW,
            lr=1e-3,
            max_epochs=epochs,
            batch_size=batch_size,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
        ).fit(X, y)

    return fit


def sklearn_mlp(hidden: tuple[int, ...], batch_size: int) -> Fit:
    """Return a fit of scikit-learn's MLPClassifier that runs all epochs."""

    def fit(X: np.ndarray, y: np.ndarray, epochs: int) -> None:
        MLPClassifier(hidden, batch_size=batch_size, max_iter=epochs, tol=0, n_iter_no_change=epochs + 1).fit(X, y)

    return fit


def step_time(fit: Fit, X: np.ndarray, y: np.ndarray, epochs: int, n_steps: int) -> float:
    """Return the microseconds of a step."""
    times = []
    for n_epochs in (epochs, 2 * epochs):
        start = time.perf_counter()
        fit(X, y, n_epochs)
        times.append(time.perf_counter() - start)
    return (times[1] - times[0]) / (epochs * n_steps) * 1e6


def main() -> None:
    """Measure both sizes and print a table for each."""
    sizes = [((1_000, 20), (100,), 32, 15), ((20_000, 30), (256, 256), 256, 2)]
    for (n_rows, n_columns), hidden, batch_size, epochs in sizes:
        X, y = make_table(n_rows, n_columns)
        methods: dict[str, tuple[Fit, int]] = {"plain torch loop": (plain_loop(hidden, batch_size), 1)}
        for n_members in ARGS.members:
            methods[f"skreg, {n_members} member{'s' * (n_members > 1)}"] = (
                skreg(hidden, batch_size, n_members),
                n_members,
            )
        methods["skorch"] = (skorch(hidden, batch_size), 1)
        methods["scikit-learn's MLP"] = (sklearn_mlp(hidden, batch_size), 1)
        n_steps = -(-n_rows // batch_size)
        repetitions = [
            {name: step_time(fit, X, y, epochs, n_steps) for name, (fit, _) in methods.items()}
            for _ in range(ARGS.repeats)
        ]
        print(f"\n{n_rows:,} x {n_columns}, hidden {hidden}, batch {batch_size}, {ARGS.threads} thread(s)")
        print(f"{'':20} {'us/step':>9} {'us/member':>10} {'x plain':>8} {'per member x 1 member':>24}")
        single = "skreg, 1 member"
        for name, (_, n_members) in methods.items():
            step = median(times[name] for times in repetitions)
            ratio = median(times[name] / times["plain torch loop"] for times in repetitions)
            to_single = ""
            if name.startswith("skreg") and single in methods:
                to_single = f"{median(times[name] / n_members / times[single] for times in repetitions):24.2f}"
            print(f"{name:20} {step:9.1f} {step / n_members:10.1f} {ratio:8.2f} {to_single}")


if __name__ == "__main__":
    main()
