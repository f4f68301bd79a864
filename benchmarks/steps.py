#!/usr/bin/env python3
"""Microseconds of a training step: a bare torch loop, skreg, skorch as it comes, and scikit-learn's MLP.

    python benchmarks/steps.py [--repeats 7] [--threads 1]

One process, one thread for all unless told otherwise. A step's time is the difference between a fit of 2 E epochs and
one of E epochs, divided by the steps between, so start-up does not count. All train the same binary classifier: relu,
Adam, the same batch size, no validation; skreg with its default scaling of the numbers, and without what its defaults
have besides: factors on the inputs and rates of their own for layers. The runs are taken in turns, and the table shows
the median over the turns of the time and of its ratio to the bare loop of the same turn.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from statistics import median

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--repeats", type=int, default=7, help="turns, of which the median is taken")
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
    """A float32 table and a binary target that depends on it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_columns)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] + X[:, 2] + 0.3 * rng.normal(size=n_rows) > 0).astype(np.int64)


def stack(n_columns: int, hidden: tuple[int, ...], n_out: int) -> nn.Sequential:
    """The network as torch spells it."""
    widths = [n_columns, *hidden]
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(widths[-1], n_out))


def bare_loop(hidden: tuple[int, ...], batch_size: int) -> Fit:
    """What one writes by hand: tensors, a permutation an epoch, slices."""

    def fit(X: np.ndarray, y: np.ndarray, epochs: int) -> None:
        net = stack(X.shape[1], hidden, 1)
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
        inputs, target = torch.from_numpy(X), torch.from_numpy(y).float()
        for _ in range(epochs):
            order = torch.randperm(len(inputs))
            shuffled, wanted = inputs[order], target[order]
            for start in range(0, len(inputs), batch_size):
                optimizer.zero_grad()
                raw = net(shuffled[start : start + batch_size])[:, 0]
                loss = nn.functional.binary_cross_entropy_with_logits(raw, wanted[start : start + batch_size])
                loss.backward()
                optimizer.step()

    return fit


def skreg(hidden: tuple[int, ...], batch_size: int, n_members: int) -> Fit:
    """This package."""

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


def skorch_as_it_comes(hidden: tuple[int, ...], batch_size: int) -> Fit:
    """skorch's classifier with its DataLoader, callbacks and history; no validation split, no printing."""

    def fit(X: np.ndarray, y: np.ndarray, epochs: int) -> None:
        NeuralNetClassifier(
            stack(X.shape[1], hidden, 2),
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
    """scikit-learn's MLPClassifier, made to run all its epochs."""

    def fit(X: np.ndarray, y: np.ndarray, epochs: int) -> None:
        MLPClassifier(hidden, batch_size=batch_size, max_iter=epochs, tol=0, n_iter_no_change=epochs + 1).fit(X, y)

    return fit


def step_time(fit: Fit, X: np.ndarray, y: np.ndarray, epochs: int, n_steps: int) -> float:
    """Microseconds of one step."""
    times = []
    for length in (epochs, 2 * epochs):
        start = time.perf_counter()
        fit(X, y, length)
        times.append(time.perf_counter() - start)
    return (times[1] - times[0]) / (epochs * n_steps) * 1e6


def main() -> None:
    """Measure both sizes and print a table for each."""
    sizes = [((1_000, 20), (100,), 32, 15), ((20_000, 30), (256, 256), 256, 2)]
    for (n_rows, n_columns), hidden, batch_size, epochs in sizes:
        X, y = make_table(n_rows, n_columns)
        methods: dict[str, tuple[Fit, int]] = {"bare torch loop": (bare_loop(hidden, batch_size), 1)}
        for n_members in ARGS.members:
            methods[f"skreg, {n_members} member{'s' * (n_members > 1)}"] = (
                skreg(hidden, batch_size, n_members),
                n_members,
            )
        methods["skorch as it comes"] = (skorch_as_it_comes(hidden, batch_size), 1)
        methods["scikit-learn's MLP"] = (sklearn_mlp(hidden, batch_size), 1)
        n_steps = -(-n_rows // batch_size)
        turns = [
            {name: step_time(fit, X, y, epochs, n_steps) for name, (fit, _) in methods.items()}
            for _ in range(ARGS.repeats)
        ]
        print(f"\n{n_rows:,} x {n_columns}, hidden {hidden}, batch {batch_size}, {ARGS.threads} thread(s)")
        print(f"{'':20} {'us/step':>9} {'us/member':>10} {'x bare':>8} {'x lone net, per member':>24}")
        lone = f"skreg, {min(ARGS.members)} member"
        for name, (_, n_members) in methods.items():
            times = [turn[name] for turn in turns]
            bare = median(turn[name] / turn["bare torch loop"] for turn in turns)
            share = median(turn[name] / n_members / turn[lone] for turn in turns) if lone in methods else float("nan")
            shown = f"{share:24.2f}" if name.startswith("skreg") else ""
            print(f"{name:20} {median(times):9.1f} {median(times) / n_members:10.1f} {bare:8.2f} {shown}")


if __name__ == "__main__":
    main()
