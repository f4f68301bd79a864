#!/usr/bin/env python3
"""What each cure does to a network that overfits: small tables, a wide network, one cure at a time.

    python benchmarks/cures.py [--tables diabetes ...] [--cures dropout ...] [--seeds 5]

The network without a cure has two layers of 128 relu units and trains on a few hundred rows, with Adam at a constant
rate, until it knows them by heart. A cure adds to that what ``CURES`` says; its strength is that of the literature, the
same for every table. Each seed draws other rows and other weights. Errors are the log loss and the share of wrong
labels, or the root mean squared error in standard deviations of the target, at which 1 is the mean. A ratio is the test
error divided by that without a cure of the same rows and seed: its geometric mean over the seeds, and the lowest and
highest. A cure makes a table better if that mean is below 0.98 and each seed's ratio below 1, worse if above 1 / 0.98
and 1. Of five seeds, all fall on one side by chance once in 16.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import is_classifier
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_classification,
    make_friedman1,
)
from sklearn.metrics import log_loss, root_mean_squared_error, zero_one_loss
from sklearn.model_selection import train_test_split

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, augmentations, embeddings, recipes, schedules

NO_CURE: dict[str, Any] = {
    "hidden_layer_sizes": (128, 128),
    "activation": "relu",
    "dropout": 0.0,
    "alpha": 0.0,
    "weight_decay": 0.0,
    "early_stopping": False,
    "solver": "adam",
    "learning_rate": "constant",
    "learning_rate_init": 1e-3,
    "batch_size": 32,
    "max_iter": 150,
    "n_members": 1,
    "numeric_scaling": "standard",
    "numeric_embedding": None,
    "parametrization": "standard",
    "init": "auto",
    "scale_layer": False,
    "residual": False,
    "patience": 20,
    "device": "cpu",
}

# name -> what is added to NO_CURE. A new cure is a line here, or in one of the two below if only one estimator has it.
CURES: dict[str, dict[str, Any]] = {
    "L2 0.001": {"alpha": 1e-3},
    "L2 0.01": {"alpha": 1e-2},
    "L1 0.0001": {"alpha": 1e-4, "l1_ratio": 1.0},
    "L1 0.001": {"alpha": 1e-3, "l1_ratio": 1.0},
    "L1 of layer 1": {"alpha": (1e-3, 0.0, 0.0), "l1_ratio": 1.0},
    "feature_alpha 0.05": {"feature_alpha": 0.05, "alpha": 1e-2},  # with the L2 that holds the other layers
    "weight_decay 0.01": {"weight_decay": 0.01},  # torch's default
    "weight_decay 1": {"weight_decay": 1.0},  # that of Loshchilov & Hutter for as few steps, 0.05 / sqrt(steps) / rate
    "dropout 0.2": {"dropout": 0.2},
    "dropout 0.5": {"dropout": 0.5},  # Srivastava et al.: half of the units, a fifth of the inputs, norms up to 3
    "input_dropout 0.2": {"input_dropout": 0.2},
    "max_norm 3": {"max_norm": 3.0},
    "max_norm 1": {"max_norm": 1.0},  # a unit drawn by He has a norm of 1.4
    "batch_norm": {"batch_norm": True},
    "layer_norm": {"layer_norm": True},
    "selu": {"activation": "selu"},
    "residual": {"residual": True},
    "narrow": {"hidden_layer_sizes": (16,)},
    "early_stopping": {"early_stopping": True},
    "ema_decay 0.99": {"ema_decay": 0.99},
    "swa_start 0.75": {"swa_start": 0.75},  # Izmailov et al.
    "clip_norm 1": {"clip_norm": 1.0},
    "n_members 4": {"n_members": 4},
    "scaling robust": {"numeric_scaling": "robust"},
    "scaling quantile": {"numeric_scaling": "quantile"},
    **{name: {"augmentation": name} for name in augmentations.__all__},  # 0.2, as Zhang et al. for mixup
    **{name: {"numeric_embedding": name} for name in embeddings.__all__},
    **{name: {"learning_rate": name} for name in schedules.__all__ if name != NO_CURE["learning_rate"]},
    "adaptive": {"learning_rate": "adaptive"},
    "solver adamw": {"solver": "adamw"},
    "solver sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "sgd, momentum 0": {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.0, "nesterovs_momentum": False},
}
OF_CLASSES: dict[str, dict[str, Any]] = {"label_smoothing 0.1": {"label_smoothing": 0.1}, "focal": {"loss": "focal"}}
OF_NUMBERS: dict[str, dict[str, Any]] = {"huber": {"loss": "huber"}, "absolute_error": {"loss": "absolute_error"}}
ALONE: dict[str, dict[str, Any]] = {"solver lbfgs": {"solver": "lbfgs", "batch_size": "auto"}}  # without members
RECIPES = {f"recipe {name}": {**getattr(recipes, name), "device": "cpu"} for name in recipes.__all__}
DEFAULTS: dict[str, Any] = {"device": "cpu"}  # all that skreg does by itself, of which little is in NO_CURE
NAMES = [*CURES, *ALONE, *OF_CLASSES, *OF_NUMBERS, *RECIPES, "the defaults"]

BETTER = 0.98

MemberRows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Estimator = type[RegularizedMLPClassifier] | type[RegularizedMLPRegressor]


class Table(NamedTuple):
    """A function from a seed to rows (to train on, to test on, targets of both), and the estimator for them."""

    rows: Callable[[int], MemberRows]
    estimator: Estimator


def noisy_classes(seed: int) -> MemberRows:
    """Two classes, 5 of 30 columns that tell them apart, and a label in ten drawn anew."""
    X, y = make_classification(2_300, 30, n_informative=5, n_redundant=5, flip_y=0.1, random_state=seed)
    return tuple(train_test_split(X, y, train_size=300, stratify=y, random_state=seed))


def noisy_numbers(seed: int) -> MemberRows:
    """Friedman's function of 5 of 30 columns, and noise with a fifth of its variance."""
    X, y = make_friedman1(2_300, 30, noise=2.2, random_state=seed)
    return tuple(train_test_split(X, y, train_size=300, random_state=seed))


def outlying_numbers(seed: int) -> MemberRows:
    """The same with less noise; one target in ten of the training rows is far off."""
    X, y = make_friedman1(2_300, 10, noise=1.0, random_state=seed)
    X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=300, random_state=seed)
    y_train[:30] += np.random.RandomState(seed).normal(scale=10 * y.std(), size=30)
    return X_train, X_test, y_train, y_test


def real(load: Callable[..., Any], n_rows: int, stratified: bool) -> Callable[[int], MemberRows]:
    """A function from a seed to ``n_rows`` of scikit-learn's rows, and the others."""

    def rows(seed: int) -> MemberRows:
        X, y = load(return_X_y=True)
        return tuple(train_test_split(X, y, train_size=n_rows, stratify=y if stratified else None, random_state=seed))

    return rows


TABLES = {
    "noisy classes": Table(noisy_classes, RegularizedMLPClassifier),
    "breast_cancer": Table(real(load_breast_cancer, 200, True), RegularizedMLPClassifier),
    "wine": Table(real(load_wine, 60, True), RegularizedMLPClassifier),
    "digits": Table(real(load_digits, 200, True), RegularizedMLPClassifier),
    "noisy numbers": Table(noisy_numbers, RegularizedMLPRegressor),
    "outliers": Table(outlying_numbers, RegularizedMLPRegressor),
    "diabetes": Table(real(load_diabetes, 220, False), RegularizedMLPRegressor),
}


class Run(NamedTuple):
    """One fit: errors, weights, seconds. ``error`` is the share of wrong labels, NaN for numbers."""

    train: float
    test: float
    train_error: float
    test_error: float
    zeros: float
    rms: float
    longest: float
    seconds: float


def run(table: Table, parameters: dict[str, Any], seed: int) -> Run:
    """Fit and measure."""
    X_train, X_test, y_train, y_test = table.rows(seed)
    start = time.perf_counter()
    fitted = table.estimator(**parameters, random_state=seed).fit(X_train, y_train)
    seconds = time.perf_counter() - start
    (train, train_error), (test, test_error) = (errors(fitted, X, y) for X, y in ((X_train, y_train), (X_test, y_test)))
    module = fitted.net_.module_
    weights = torch.cat([weight.detach().flatten() for weight in module.weights()])
    longest = max(linear.weight.detach().norm(dim=1).max().item() for linear in module.linears)
    zeros, rms = (weights == 0).double().mean().item(), weights.square().mean().sqrt().item()
    return Run(train, test, train_error, test_error, zeros, rms, longest, seconds)


def errors(fitted: Any, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The log loss and the share of wrong labels, or the root mean squared error and NaN."""
    if is_classifier(fitted):
        return log_loss(y, fitted.predict_proba(X), labels=fitted.classes_), zero_one_loss(y, fitted.predict(X))
    return root_mean_squared_error(y, fitted.predict(X)) / y.std(), np.nan


def methods(table: Table, chosen: list[str] | None) -> dict[str, dict[str, Any]]:
    """The cures that the table's estimator has, by name, no cure first."""
    own = OF_CLASSES if table.estimator is RegularizedMLPClassifier else OF_NUMBERS
    cures = {name: NO_CURE | cure for name, cure in (CURES | ALONE | own).items()}
    cures |= RECIPES | {"the defaults": DEFAULTS}
    return {"no cure": NO_CURE} | {name: cures[name] for name in cures if not chosen or name in chosen}


class Ratio(NamedTuple):
    """Test errors of a cure next to those of no cure: the geometric mean over the seeds, the lowest, the highest."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, ours: list[float], theirs: list[float]) -> "Ratio":
        """Of pairs of errors; for an error of 0, which no ratio can be taken of, stands 0.001."""
        ratio = np.maximum(ours, 1e-3) / np.maximum(theirs, 1e-3)
        return cls(float(np.exp(np.log(ratio).mean())), float(ratio.min()), float(ratio.max()))

    @property
    def verdict(self) -> str:
        """``+`` better, ``-`` worse, or nothing that can be told from luck."""
        better, worse = self.mean < BETTER and self.high < 1, self.mean > 1 / BETTER and self.low > 1
        return "+" if better else "-" if worse else " "


def measure(table: Table, chosen: list[str] | None, n_seeds: int) -> dict[str, list[Run]]:
    """The runs of each method, over the seeds."""
    return {
        name: [run(table, parameters, seed) for seed in range(n_seeds)]
        for name, parameters in methods(table, chosen).items()
    }


def ratios(runs: dict[str, list[Run]]) -> dict[str, list[Ratio]]:
    """Of each method those of the loss and, for classes, of the wrong labels."""
    plain = runs["no cure"]
    fields = ("test",) if np.isnan(plain[0].test_error) else ("test", "test_error")
    return {
        name: [Ratio.of([getattr(r, f) for r in of_cure], [getattr(r, f) for r in plain]) for f in fields]
        for name, of_cure in runs.items()
    }


def show(name: str, runs: dict[str, list[Run]]) -> None:
    """Print a table's figures, means over the seeds."""
    measures = ["rmse"] if np.isnan(runs["no cure"][0].test_error) else ["log loss", "wrong"]
    print(f"\n{name}: {' and '.join(measures)}, means over the seeds")
    heads = "".join(
        f"{head:>22}{'gap':>8}{'ratio (low-high)':>19}  " for head in (f"{m} train, test" for m in measures)
    )
    print(f"{'':27}{heads}{'zeros':>6} {'rms':>6} {'longest':>8} {'s':>6}")
    for cure, compared in ratios(runs).items():
        train, test, train_error, test_error, zeros, rms, longest, seconds = np.mean(runs[cure], axis=0)
        pairs = [(train, test), (train_error, test_error)]
        cells = "".join(
            f"{a:15.3f}{b:7.3f}{b - a:8.3f}{f'{r.mean:.2f} ({r.low:.2f}-{r.high:.2f})':>19}{r.verdict:>2}"
            for (a, b), r in zip(pairs, compared, strict=False)
        )
        print(f"{cure:27}{cells}{zeros:6.0%} {rms:6.3f} {longest:8.2f} {seconds:6.2f}", flush=True)


def summarise(compared: dict[str, dict[str, list[Ratio]]]) -> None:
    """Print the ratios of all tables side by side, and which cures made nothing better."""
    columns = [
        (table, i, kind)
        for table, of_cure in compared.items()
        for i, kind in enumerate(["loss", "wrong"] if len(of_cure["no cure"]) == 2 else ["rmse"])
    ]
    print("\nratio of the test error to that without a cure; + better, - worse, in every seed")
    for heads in zip(*(f"{table.split('_')[0]} {kind}".rsplit(" ", 1) for table, _, kind in columns), strict=True):
        print(f"{'':27}" + "".join(f"{head.split()[-1]:>9}" for head in heads))
    idle = []
    for name in (name for name in NAMES if any(name in of_cure for of_cure in compared.values())):
        cells = [compared[table][name][i] if name in compared[table] else None for table, i, _ in columns]
        print(f"{name:27}" + "".join(" " * 9 if c is None else f"{c.mean:8.2f}{c.verdict}" for c in cells))
        idle += [name] * all(cell is None or cell.verdict != "+" for cell in cells)
    print(f"\nmade nothing better: {', '.join(idle) or 'none'}")


def main() -> None:
    """Measure each table in turn, print its figures, and then all ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES), metavar="TABLE")
    parser.add_argument("--cures", nargs="+", choices=NAMES, metavar="CURE", help=", ".join(NAMES))
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*watches only", category=UserWarning)
    compared = {}
    for name in args.tables:
        runs = measure(TABLES[name], args.cures, args.seeds)
        show(name, runs)
        compared[name] = ratios(runs)
    summarise(compared)


if __name__ == "__main__":
    main()
