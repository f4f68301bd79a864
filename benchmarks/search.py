#!/usr/bin/env python3
"""Candidates per second of a search: side by side, fold by fold, and with scikit-learn's MLP and skorch.

    python benchmarks/search.py [--workers 2] [--repeats 3] [--cases small medium large]

All searches evaluate the same random candidates (learning rate and L2 penalty) on the same folds for the same number of
epochs: relu, Adam, the same batch size, no dropout, no early stopping, no final fit. The worker processes of joblib are
started before the measurement. The searches alternate; the table shows medians over the repeats of the seconds, and of
the ratio to the candidates trained side by side in the same repeat. "Pruned" uses successive halving with the rungs of
this package. The best score is the same unless the best candidate was pruned: without early stopping, candidates that
lead at first may overfit in the end.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--workers", type=int, default=2)
PARSER.add_argument("--repeats", type=int, default=3, help="turns, of which the median is taken")
PARSER.add_argument("--cases", nargs="+", default=["small", "medium", "large"])
ARGS = PARSER.parse_args()
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import optuna
import torch
from joblib import Parallel, delayed
from scipy.stats import loguniform
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ParameterSampler, RandomizedSearchCV, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetClassifier
from torch import nn

from skreg import OptunaSearchCV, RegularizedMLPClassifier

torch.set_num_threads(1)
optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=ConvergenceWarning)
os.environ["PYTHONWARNINGS"] = "ignore"

RATE = "learning_rate_init"
FOLDS = StratifiedKFold(5, shuffle=True, random_state=0)


class Case(NamedTuple):
    """A table, a network and the length of its training."""

    rows: int
    columns: int
    hidden: tuple[int, ...]
    batch_size: int
    epochs: int
    candidates: int


CASES = {
    "small": Case(1_000, 20, (100,), 32, 20, 20),
    "medium": Case(5_000, 20, (128, 128), 128, 20, 10),
    "large": Case(20_000, 30, (256, 256), 256, 10, 10),
}


class Listed(optuna.samplers.RandomSampler):
    """Suggests the candidates of a list, by number."""

    def __init__(self, candidates: list[dict[str, float]]) -> None:
        super().__init__(0)
        self._candidates = candidates

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        """Return the value of the trial's candidate."""
        return self._candidates[trial.number][param_name]


def network(columns: int, hidden: tuple[int, ...]) -> nn.Module:
    """The network as a torch module."""
    widths = [columns, *hidden]
    layers = [layer for a, b in zip(widths, hidden, strict=False) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], 2))


class _Module(nn.Module):
    """The network with skorch."""

    def __init__(self, columns: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = network(columns, hidden)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.layers(X)


def of_skreg(case: Case, candidates: list[dict[str, float]], **params: Any) -> Callable[..., float]:
    """Return a search of this package."""
    estimator = RegularizedMLPClassifier(
        case.hidden,
        activation="relu",
        solver="adam",
        dropout=0.0,
        weight_decay=0.0,
        learning_rate="constant",
        init="auto",
        parametrization="standard",
        scale_layer=False,
        label_smoothing=0.0,
        calibrate=None,
        batch_size=case.batch_size,
        early_stopping=False,
        max_iter=case.epochs,
        n_members=1,
        random_state=0,
    )
    space = {"learning_rate_init": loguniform(1e-4, 1e-2), "alpha": loguniform(1e-7, 1e-2)}
    search = OptunaSearchCV(
        estimator,
        space,
        n_trials=case.candidates,
        cv=FOLDS,
        scoring="neg_log_loss",
        refit=False,
        sampler=Listed(candidates),
        n_jobs=ARGS.workers,
        **params,
    )
    return lambda X, y: float(search.fit(X, y).best_score_)


def of_peer(estimator: Any, candidates: list[dict[str, float]], names: dict[str, str]) -> Callable[..., float]:
    """Return a random search of scikit-learn over the same candidates."""
    listed = [{names[name]: [value] for name, value in candidate.items() if name in names} for candidate in candidates]
    search = RandomizedSearchCV(
        estimator, listed, n_iter=len(listed), cv=FOLDS, scoring="neg_log_loss", refit=False, n_jobs=ARGS.workers
    )
    return lambda X, y: float(search.fit(X, y).best_score_)


def methods(case: Case, candidates: list[dict[str, float]]) -> dict[str, Callable[..., float]]:
    """Return the compared searches; the first one is the reference."""
    mlp = MLPClassifier(
        case.hidden,
        batch_size=case.batch_size,
        max_iter=case.epochs,
        tol=0,
        n_iter_no_change=case.epochs,
        random_state=0,
    )
    net = NeuralNetClassifier(
        _Module,
        module__columns=case.columns,
        module__hidden=case.hidden,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        batch_size=case.batch_size,
        max_epochs=case.epochs,
        train_split=None,
        verbose=0,
    )
    never = optuna.pruners.NopPruner()
    return {
        "side by side": of_skreg(case, candidates, pruner=never),
        "side by side, pruned": of_skreg(case, candidates),
        "fold by fold": of_skreg(case, candidates, pruner=never, vectorize=False),
        "scikit-learn's MLP": of_peer(mlp, candidates, {"learning_rate_init": "learning_rate_init", "alpha": "alpha"}),
        "skorch as it comes": of_peer(
            net, candidates, {"learning_rate_init": "lr", "alpha": "optimizer__weight_decay"}
        ),
    }


def compare(name: str, case: Case) -> None:
    """Print the results of one setting."""
    X, y = make_classification(case.rows, case.columns, n_informative=case.columns // 2, flip_y=0.1, random_state=0)
    X = X.astype(np.float32)
    space = {"learning_rate_init": loguniform(1e-4, 1e-2), "alpha": loguniform(1e-7, 1e-2)}
    candidates = list(ParameterSampler(space, case.candidates, random_state=0))
    seconds: dict[str, list[float]] = {}
    best: dict[str, float] = {}
    for _ in range(ARGS.repeats):
        for method, search in methods(case, candidates).items():
            began = time.perf_counter()
            best[method] = search(X, y)
            seconds.setdefault(method, []).append(time.perf_counter() - began)
    print(f"\n{name}: {case.rows:,} x {case.columns}, hidden {case.hidden}, batch {case.batch_size}, ", end="")
    print(f"{case.epochs} epochs, {case.candidates} candidates on 5 folds, {ARGS.workers} workers")
    print(f"{'':22}{'seconds':>9}{'x side by side':>16}{'x pruned':>10}{'best log loss':>15}")
    for method, taken in seconds.items():
        ratios = [
            median(a / b for a, b in zip(taken, seconds[reference], strict=True))
            for reference in ("side by side", "side by side, pruned")
        ]
        print(f"{method:22}{median(taken):9.2f}{ratios[0]:16.2f}{ratios[1]:10.2f}{-best[method]:15.4f}", flush=True)


if __name__ == "__main__":
    Parallel(n_jobs=ARGS.workers)(delayed(__import__)("skreg") for _ in range(8 * ARGS.workers))
    for chosen in ARGS.cases:
        compare(chosen, CASES[chosen])
