#!/usr/bin/env python3
"""Measure the calibration of probabilities and intervals, and errors after rejecting uncertain rows.

    python benchmarks/uncertainty.py [--seeds 5] [--datasets digits ...]

The datasets are those of scikit-learn and generated ones. Half of the rows are used for training and half for the test.
Each seed has other rows and other weights, and the tables show means over the seeds. All other parameters have their
defaults.

Classification: accuracy, log loss and expected calibration error (ECE), which is the mean distance between the highest
probability and the accuracy in ten bins of equal size. "plain" refers to ``predict_proba`` and "sampled" to the mean of
100 samples with Monte Carlo dropout. "best" is the log loss with the temperature that is best for the test rows.

Regression: the root mean squared error in standard deviations of the target, plain and sampled; the coverage of
intervals of 0.8, 0.9 and 0.95 and their mean width in standard deviations; and the root mean square of the error
divided by ``return_std``, which is 1 if the standard deviations are correct.

"X_val" means that all members are validated on the same third of the training rows instead of a fold each.

Rejection: the error of the remaining rows after the most uncertain 10, 20 and 50 % are rejected, by total uncertainty
and by epistemic uncertainty.
"""

import argparse
import os
import warnings
from collections.abc import Callable
from typing import Any

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_classification,
    make_friedman1,
    make_friedman2,
    make_friedman3,
)
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor

REJECTED = (0.0, 0.1, 0.2, 0.5)
COVERAGES = (0.8, 0.9, 0.95)
Dataset = tuple[np.ndarray, np.ndarray]


def noisy_classes(n_classes: int, n_informative: int) -> Callable[[int], Dataset]:
    """Return a function that makes 1,500 rows of twenty columns, with random labels in a tenth of the rows."""
    return lambda seed: make_classification(
        1500, 20, n_informative=n_informative, n_classes=n_classes, flip_y=0.1, random_state=seed
    )


def heteroscedastic(seed: int) -> Dataset:
    """Make 1,500 rows in which the noise grows with the third column."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(1500, 6))
    return X, X[:, 0] + np.sin(2 * X[:, 1]) + np.exp(X[:, 2] / 2) / 2 * rng.normal(size=1500)


CLASSIFICATION: dict[str, Callable[[int], Dataset]] = {
    "breast cancer": lambda seed: load_breast_cancer(return_X_y=True),
    "digits": lambda seed: load_digits(return_X_y=True),
    "wine": lambda seed: load_wine(return_X_y=True),
    "2 noisy classes": noisy_classes(2, 5),
    "5 noisy classes": noisy_classes(5, 8),
}
REGRESSION: dict[str, Callable[[int], Dataset]] = {
    "diabetes": lambda seed: load_diabetes(return_X_y=True),
    "friedman1": lambda seed: make_friedman1(1500, noise=1.0, random_state=seed),
    "friedman2": lambda seed: make_friedman2(1500, noise=100.0, random_state=seed),
    "friedman3": lambda seed: make_friedman3(1500, noise=0.1, random_state=seed),
    "heteroscedastic": heteroscedastic,
}

UNCALIBRATED: dict[str, Any] = {"label_smoothing": 0.0, "calibrate": None}
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "1 member": {**UNCALIBRATED, "n_members": 1},
    "1, dropout 0.3": {**UNCALIBRATED, "n_members": 1, "dropout": 0.3},
    "1, calibrated": {**UNCALIBRATED, "n_members": 1, "calibrate": "auto"},
    "1, defaults": {"n_members": 1},
    "4 members": UNCALIBRATED,
    "4, calibrated": {**UNCALIBRATED, "calibrate": "auto"},
    "4, smoothed": {**UNCALIBRATED, "label_smoothing": 0.1},
    "4, defaults": {},
}
QUANTILES: dict[str, Any] = {"loss": "quantile", "quantile": (0.025, 0.05, 0.1, 0.5, 0.9, 0.95, 0.975)}
REGRESSORS: dict[str, dict[str, Any]] = {
    "1 member": {"n_members": 1},
    "8 members": {},
    "quantiles": QUANTILES,
    "quantiles, X_val": {**QUANTILES, "X_val": True},
}


def calibration_error(proba: np.ndarray, y: np.ndarray) -> float:
    """Return the mean distance between the highest probability and the accuracy in ten bins of equal size."""
    confidence, correct = proba.max(1), proba.argmax(1) == y
    bins = np.array_split(np.argsort(confidence, kind="stable"), 10)
    return float(sum(len(rows) * abs(confidence[rows].mean() - correct[rows].mean()) for rows in bins) / len(y))


def probability_scores(proba: np.ndarray, y: np.ndarray) -> list[float]:
    """Return the accuracy, the log loss and the calibration error."""
    accuracy = float((proba.argmax(1) == y).mean())
    return [accuracy, float(log_loss(y, proba)), calibration_error(proba, y)]


def errors_after_rejection(error: np.ndarray, uncertainty: np.ndarray) -> list[float]:
    """Return the mean error of the remaining rows for each share of rejected rows."""
    order = np.argsort(uncertainty, kind="stable")
    return [float(error[order[: round(len(order) * (1 - share))]].mean()) for share in REJECTED]


def split(dataset: Dataset, seed: int, stratify: bool) -> list[np.ndarray]:
    """Split a dataset into halves."""
    X, y = dataset
    return train_test_split(X, y, test_size=0.5, random_state=seed, stratify=y if stratify else None)


def measure_classifier(make: Callable[[int], Dataset], parameters: dict[str, Any], seed: int) -> list[float]:
    """Return the scores of the plain and the sampled probabilities, and the errors after rejection."""
    X_train, X_test, y_train, y_test = split(make(seed), seed, True)
    fitted = RegularizedMLPClassifier(random_state=seed, device="cpu", **parameters).fit(X_train, y_train)
    uncertainty = fitted.predict_uncertainty(X_test)
    error = (fitted.predict(X_test) != y_test).astype(float)
    return [
        *probability_scores(fitted.predict_proba(X_test), y_test),
        *probability_scores(uncertainty.mean, y_test),
        best_log_loss(fitted, X_test, y_test),
        *errors_after_rejection(error, uncertainty.total),
        *errors_after_rejection(error, uncertainty.epistemic),
    ]


def best_log_loss(fitted: RegularizedMLPClassifier, X_test: np.ndarray, y_test: np.ndarray) -> float:
    """Return the log loss with the best of a grid of temperatures."""
    losses = []
    for temperature in np.exp(np.linspace(-1.5, 2.5, 41)):
        fitted.net_.temperature = temperature
        losses.append(log_loss(y_test, fitted.predict_proba(X_test)))
    return min(losses)


def measure_regressor(make: Callable[[int], Dataset], parameters: dict[str, Any], seed: int) -> list[float]:
    """Return the errors, the coverages and widths of the intervals, and the errors after rejection."""
    X_train, X_test, y_train, y_test = split(make(seed), seed, False)
    parameters = {"early_stopping": True, **parameters}  # a fold of diabetes has fewer rows than "auto" requires
    validation = {}
    if parameters.pop("X_val", False):
        n = len(X_train) // 3
        validation = {"X_val": X_train[:n], "y_val": y_train[:n]}
        X_train, y_train = X_train[n:], y_train[n:]
    fitted = RegularizedMLPRegressor(random_state=seed, device="cpu", **parameters)
    fitted.fit(X_train, y_train, **validation)
    prediction, std = fitted.predict(X_test, return_std=True)
    if prediction.ndim == 2:  # several quantiles: the error is that of the median
        prediction = prediction[:, prediction.shape[1] // 2]
    uncertainty = fitted.predict_uncertainty(X_test)
    unit, squared_error = y_test.std(), (y_test - prediction) ** 2
    scores = [np.sqrt(squared_error.mean()) / unit, np.sqrt(((y_test - uncertainty.mean) ** 2).mean()) / unit]
    for coverage in COVERAGES:
        low, high = fitted.predict_interval(X_test, coverage).T
        scores += [((low <= y_test) & (y_test <= high)).mean(), (high - low).mean() / unit]
    scores.append(np.sqrt((squared_error / std**2).mean()))
    for values in (uncertainty.total, uncertainty.epistemic):
        scores += list(np.sqrt(errors_after_rejection(squared_error, values)) / unit)
    return scores


def show(title: str, columns: list[str], rows: dict[str, list[float]]) -> None:
    """Print a table."""
    print(f"\n{title}\n{'':40}" + "".join(f"{column:>11}" for column in columns))
    for name, values in rows.items():
        print(f"{name:40}" + "".join(f"{value:11.3f}" for value in values), flush=True)


def run(
    measure: Callable[..., list[float]],
    datasets: dict[str, Callable[[int], Dataset]],
    methods: dict[str, dict[str, Any]],
    n_seeds: int,
) -> dict[str, list[float]]:
    """Return the means over the seeds for each dataset and method, and then the means over the datasets."""
    means = {
        (dataset, method): np.mean([measure(make, parameters, seed) for seed in range(n_seeds)], axis=0)
        for dataset, make in datasets.items()
        for method, parameters in methods.items()
    }
    rows = {f"{dataset}: {method}": list(values) for (dataset, method), values in means.items()}
    for method in methods:
        rows[f"mean: {method}"] = list(np.mean([means[dataset, method] for dataset in datasets], axis=0))
    return rows


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    names = [*CLASSIFICATION, *REGRESSION]
    parser.add_argument("--datasets", nargs="+", default=names, choices=names, metavar="DATASET")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*(watches only|validation rows)", category=UserWarning)
    rejected = [f"-{share:.0%}" for share in REJECTED] * 2
    title = "rejected by total, then by epistemic uncertainty"
    if datasets := {name: make for name, make in CLASSIFICATION.items() if name in args.datasets}:
        rows = run(measure_classifier, datasets, CLASSIFIERS, args.seeds)
        columns = ["accuracy", "log loss", "ECE"] * 2 + ["best"]
        show("Classification: plain, then sampled", columns, {name: values[:7] for name, values in rows.items()})
        show(f"Error rate, {title}", rejected, {name: values[7:] for name, values in rows.items()})
    if datasets := {name: make for name, make in REGRESSION.items() if name in args.datasets}:
        rows = run(measure_regressor, datasets, REGRESSORS, args.seeds)
        coverages = [f"{name} {coverage:g}" for coverage in COVERAGES for name in ("in", "width")]
        columns = ["plain", "sampled", *coverages, "error/std"]
        show("Regression: error, intervals, std", columns, {name: values[:9] for name, values in rows.items()})
        show(f"Error, {title}", rejected, {name: values[9:] for name, values in rows.items()})


if __name__ == "__main__":
    main()
