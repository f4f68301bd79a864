#!/usr/bin/env python3
"""Measure the effect of each regularization method on a network that overfits small datasets.

    python benchmarks/regularization.py [--datasets diabetes ...] [--methods dropout ...] [--seeds 5]

The unregularized network has two layers of 128 relu units and is trained on a few hundred rows, with Adam at a constant
learning rate, until it fits them exactly. Each method adds the parameters in ``METHODS`` to it. Their values are taken
from the literature and are the same for all datasets. Each seed has other rows and other initial weights. The errors
are the log loss and the error rate in classification, and in regression the root mean squared error in standard
deviations of the target, for which predicting the mean gives 1.

A ratio is the test error divided by the test error of the unregularized network with the same rows and seed. The tables
show the geometric mean of the ratios over the seeds, the lowest and the highest. A method is marked as better (``+``)
if the mean is below 0.98 and the ratio of each seed is below 1, and as worse (``-``) if the mean is above 1 / 0.98 and
each ratio is above 1. The ratios of five seeds are on the same side by chance once in 16 cases.
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

UNREGULARIZED: dict[str, Any] = {
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

METHODS: dict[str, dict[str, Any]] = {
    "L2 0.001": {"alpha": 1e-3},
    "L2 0.01": {"alpha": 1e-2},
    "L1 0.0001": {"alpha": 1e-4, "l1_ratio": 1.0},
    "L1 0.001": {"alpha": 1e-3, "l1_ratio": 1.0},
    "L1 of layer 1": {"alpha": (1e-3, 0.0, 0.0), "l1_ratio": 1.0},
    "feature_alpha 0.05": {"feature_alpha": 0.05, "alpha": 1e-2},  # the L2 penalty bounds the other layers
    "weight_decay 0.01": {"weight_decay": 0.01},  # torch's default
    "weight_decay 1": {"weight_decay": 1.0},  # Loshchilov & Hutter's 0.05 / sqrt(steps) / rate for as few steps
    "dropout 0.2": {"dropout": 0.2},
    "dropout 0.5": {"dropout": 0.5},  # Srivastava et al.: half of the units, a fifth of the inputs, norms up to 3
    "input_dropout 0.2": {"input_dropout": 0.2},
    "max_norm 3": {"max_norm": 3.0},
    "max_norm 1": {"max_norm": 1.0},  # a unit has a norm of 1.4 after He initialization
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
    **{name: {"augmentation": name} for name in augmentations.__all__},  # 0.2, as in Zhang et al. for mixup
    **{name: {"numeric_embedding": name} for name in embeddings.__all__},
    **{name: {"learning_rate": name} for name in schedules.__all__ if name != UNREGULARIZED["learning_rate"]},
    "adaptive": {"learning_rate": "adaptive"},
    "solver adamw": {"solver": "adamw"},
    "solver sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "sgd, momentum 0": {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.0, "nesterovs_momentum": False},
    "solver lbfgs": {"solver": "lbfgs", "batch_size": "auto"},
}
"""Parameters that each method adds to ``UNREGULARIZED``; both estimators have them."""
CLASSIFIER_METHODS: dict[str, dict[str, Any]] = {
    "label_smoothing 0.1": {"label_smoothing": 0.1},
    "focal": {"loss": "focal"},
}
REGRESSOR_METHODS: dict[str, dict[str, Any]] = {
    "huber": {"loss": "huber"},
    "absolute_error": {"loss": "absolute_error"},
}
COMPLETE: dict[str, dict[str, Any]] = {
    **{f"recipe {name}": {**getattr(recipes, name), "device": "cpu"} for name in recipes.__all__},
    "defaults": {"device": "cpu"},
}
"""Methods that replace all parameters of ``UNREGULARIZED``."""
NAMES = [*METHODS, *CLASSIFIER_METHODS, *REGRESSOR_METHODS, *COMPLETE]

BETTER = 0.98

SplitRows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Estimator = type[RegularizedMLPClassifier] | type[RegularizedMLPRegressor]


class Dataset(NamedTuple):
    """A function from a seed to training rows, test rows and both targets, and the estimator for them."""

    split: Callable[[int], SplitRows]
    estimator: Estimator


def noisy_classes(seed: int) -> SplitRows:
    """Make two classes that depend on 5 of 30 columns, with random labels in a tenth of the rows."""
    X, y = make_classification(2_300, 30, n_informative=5, n_redundant=5, flip_y=0.1, random_state=seed)
    return tuple(train_test_split(X, y, train_size=300, stratify=y, random_state=seed))


def noisy_targets(seed: int) -> SplitRows:
    """Make Friedman's function of 5 of 30 columns, with noise of a fifth of its variance."""
    X, y = make_friedman1(2_300, 30, noise=2.2, random_state=seed)
    return tuple(train_test_split(X, y, train_size=300, random_state=seed))


def outliers(seed: int) -> SplitRows:
    """Make Friedman's function of 5 of 10 columns, with outliers in a tenth of the training targets."""
    X, y = make_friedman1(2_300, 10, noise=1.0, random_state=seed)
    X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=300, random_state=seed)
    y_train[:30] += np.random.RandomState(seed).normal(scale=10 * y.std(), size=30)
    return X_train, X_test, y_train, y_test


def real_data(load: Callable[..., Any], n_rows: int, stratified: bool) -> Callable[[int], SplitRows]:
    """Return a function from a seed to ``n_rows`` training rows and the other rows of a dataset of scikit-learn."""

    def split(seed: int) -> SplitRows:
        X, y = load(return_X_y=True)
        return tuple(train_test_split(X, y, train_size=n_rows, stratify=y if stratified else None, random_state=seed))

    return split


DATASETS = {
    "noisy classes": Dataset(noisy_classes, RegularizedMLPClassifier),
    "breast_cancer": Dataset(real_data(load_breast_cancer, 200, True), RegularizedMLPClassifier),
    "wine": Dataset(real_data(load_wine, 60, True), RegularizedMLPClassifier),
    "digits": Dataset(real_data(load_digits, 200, True), RegularizedMLPClassifier),
    "noisy targets": Dataset(noisy_targets, RegularizedMLPRegressor),
    "outliers": Dataset(outliers, RegularizedMLPRegressor),
    "diabetes": Dataset(real_data(load_diabetes, 220, False), RegularizedMLPRegressor),
}


class Run(NamedTuple):
    """Losses, error rates, weights and seconds of a fit; the error rates of a regressor are NaN."""

    train_loss: float
    test_loss: float
    train_error: float
    test_error: float
    zeros: float
    rms: float
    max_norm: float
    seconds: float


def run(dataset: Dataset, parameters: dict[str, Any], seed: int) -> Run:
    """Fit a network and measure it."""
    X_train, X_test, y_train, y_test = dataset.split(seed)
    start = time.perf_counter()
    fitted = dataset.estimator(**parameters, random_state=seed).fit(X_train, y_train)
    seconds = time.perf_counter() - start
    train_loss, train_error = losses(fitted, X_train, y_train)
    test_loss, test_error = losses(fitted, X_test, y_test)
    module = fitted.net_.module_
    weights = torch.cat([weight.detach().flatten() for weight in module.weights()])
    max_norm = max(linear.weight.detach().norm(dim=1).max().item() for linear in module.linears)
    zeros, rms = (weights == 0).double().mean().item(), weights.square().mean().sqrt().item()
    return Run(train_loss, test_loss, train_error, test_error, zeros, rms, max_norm, seconds)


def losses(fitted: Any, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the log loss and the error rate, or the root mean squared error and NaN."""
    if is_classifier(fitted):
        return log_loss(y, fitted.predict_proba(X), labels=fitted.classes_), zero_one_loss(y, fitted.predict(X))
    return root_mean_squared_error(y, fitted.predict(X)) / y.std(), np.nan


def selected_methods(dataset: Dataset, selected: list[str] | None) -> dict[str, dict[str, Any]]:
    """Return the parameters of the unregularized network, and then of each selected method."""
    own = CLASSIFIER_METHODS if dataset.estimator is RegularizedMLPClassifier else REGRESSOR_METHODS
    methods = {name: UNREGULARIZED | added for name, added in (METHODS | own).items()} | COMPLETE
    return {"unregularized": UNREGULARIZED} | {
        name: parameters for name, parameters in methods.items() if not selected or name in selected
    }


class Ratio(NamedTuple):
    """Test errors of a method relative to the unregularized network: geometric mean over the seeds, lowest, highest."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, errors: list[float], unregularized: list[float]) -> "Ratio":
        """Compute the ratio from the errors of each seed; errors below 0.001 count as 0.001."""
        ratio = np.maximum(errors, 1e-3) / np.maximum(unregularized, 1e-3)
        return cls(float(np.exp(np.log(ratio).mean())), float(ratio.min()), float(ratio.max()))

    @property
    def mark(self) -> str:
        """``+`` for better, ``-`` for worse, and a space if the difference can be chance."""
        better, worse = self.mean < BETTER and self.high < 1, self.mean > 1 / BETTER and self.low > 1
        return "+" if better else "-" if worse else " "


def measure(dataset: Dataset, selected: list[str] | None, n_seeds: int) -> dict[str, list[Run]]:
    """Return the runs of each method with each seed."""
    return {
        name: [run(dataset, parameters, seed) for seed in range(n_seeds)]
        for name, parameters in selected_methods(dataset, selected).items()
    }


def ratios_of(runs: dict[str, list[Run]]) -> dict[str, list[Ratio]]:
    """Return the ratio of the loss, and in classification of the error rate, for each method."""
    unregularized = runs["unregularized"]
    fields = ["test_loss"] if np.isnan(unregularized[0].test_error) else ["test_loss", "test_error"]
    return {
        name: [Ratio.of([getattr(r, f) for r in of_method], [getattr(r, f) for r in unregularized]) for f in fields]
        for name, of_method in runs.items()
    }


def show(name: str, runs: dict[str, list[Run]]) -> None:
    """Print the means over the seeds for each method on a dataset."""
    metrics = ["rmse"] if np.isnan(runs["unregularized"][0].test_error) else ["log loss", "error rate"]
    print(f"\n{name}: {' and '.join(metrics)}, means over the seeds")
    titles = "".join(f"{f'{m} train, test':>24}{'gap':>8}{'ratio (low-high)':>19}  " for m in metrics)
    print(f"{'':27}{titles}{'zeros':>6} {'rms':>6} {'max norm':>8} {'s':>6}")
    for method, ratios in ratios_of(runs).items():
        train_loss, test_loss, train_error, test_error, zeros, rms, max_norm, seconds = np.mean(runs[method], axis=0)
        pairs = [(train_loss, test_loss), (train_error, test_error)]
        cells = "".join(
            f"{train:17.3f}{test:7.3f}{test - train:8.3f}{f'{r.mean:.2f} ({r.low:.2f}-{r.high:.2f})':>19}{r.mark:>2}"
            for (train, test), r in zip(pairs, ratios, strict=False)
        )
        print(f"{method:27}{cells}{zeros:6.0%} {rms:6.3f} {max_norm:8.2f} {seconds:6.2f}", flush=True)


def summarize(ratios: dict[str, dict[str, list[Ratio]]]) -> None:
    """Print the ratios of all datasets side by side, and the methods that improve no dataset."""
    columns = [
        (dataset, i, metric)
        for dataset, of_method in ratios.items()
        for i, metric in enumerate(["loss", "error"] if len(of_method["unregularized"]) == 2 else ["rmse"])
    ]
    print("\ntest error relative to the unregularized network; + better, - worse with every seed")
    first_line = [dataset.removeprefix("noisy ").removesuffix("_cancer") for dataset, _, _ in columns]
    for titles in (first_line, [metric for _, _, metric in columns]):
        print(f"{'':27}" + "".join(f"{title:>9}" for title in titles))
    without_effect = []
    for name in (name for name in NAMES if any(name in of_method for of_method in ratios.values())):
        cells = [ratios[dataset][name][i] if name in ratios[dataset] else None for dataset, i, _ in columns]
        print(f"{name:27}" + "".join(" " * 9 if cell is None else f"{cell.mean:8.2f}{cell.mark}" for cell in cells))
        if all(cell is None or cell.mark != "+" for cell in cells):
            without_effect.append(name)
    print(f"\nimproved no dataset: {', '.join(without_effect) or 'none'}")


def main() -> None:
    """Measure each dataset in turn, print its results, and then all ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", choices=list(DATASETS), default=list(DATASETS), metavar="DATASET")
    parser.add_argument("--methods", nargs="+", choices=NAMES, metavar="METHOD", help=", ".join(NAMES))
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*(watches only|validation rows)", category=UserWarning)
    ratios = {}
    for name in args.datasets:
        runs = measure(DATASETS[name], args.methods, args.seeds)
        show(name, runs)
        ratios[name] = ratios_of(runs)
    summarize(ratios)


if __name__ == "__main__":
    main()
