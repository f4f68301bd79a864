#!/usr/bin/env python3
"""How far to trust what a network says of itself: probabilities, intervals, and which rows it is unsure of.

    python benchmarks/uncertainty.py [--seeds 5] [--tables digits ...]

scikit-learn's bundled tables and its generators; half of the rows train and half test. Each seed draws other rows and
other weights, and the tables show means over the seeds. Everything else is the estimators' defaults.

Classes: accuracy, log loss, and expected calibration error (ECE): the mean distance of the highest probability from the
share of right labels, over ten bins of as many rows. "plain" is what ``predict_proba`` says, "drawn" the mean of 100
samples thinned by dropout; "best" is the log loss at the temperature that the test rows themselves would choose.

Numbers: the root mean squared error in standard deviations of the target, plain and drawn; the share of rows inside
intervals of 0.8, 0.9 and 0.95, and their mean width in those deviations; the root mean square of the error over
``return_std``, which is 1 where that is right.

"X_val" are members that hold out the same third of the training rows, and not a fold each.

Refusals: the error of the rows that are left when the 10, 20 and 50 % that are most uncertain are refused, by the total
uncertainty, and by the epistemic one.
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

REFUSED = (0.0, 0.1, 0.2, 0.5)
COVERAGES = (0.8, 0.9, 0.95)
Table = tuple[np.ndarray, np.ndarray]


def noisy_classes(n_classes: int, n_informative: int) -> Callable[[int], Table]:
    """Make 1,500 rows of twenty columns, a tenth of whose labels are drawn anew."""
    return lambda seed: make_classification(
        1500, 20, n_informative=n_informative, n_classes=n_classes, flip_y=0.1, random_state=seed
    )


def uneven_noise(seed: int) -> Table:
    """Make 1,500 rows whose noise grows with the third column."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(1500, 6))
    return X, X[:, 0] + np.sin(2 * X[:, 1]) + np.exp(X[:, 2] / 2) / 2 * rng.normal(size=1500)


CLASSES: dict[str, Callable[[int], Table]] = {
    "breast cancer": lambda seed: load_breast_cancer(return_X_y=True),
    "digits": lambda seed: load_digits(return_X_y=True),
    "wine": lambda seed: load_wine(return_X_y=True),
    "2 noisy classes": noisy_classes(2, 5),
    "5 noisy classes": noisy_classes(5, 8),
}
NUMBERS: dict[str, Callable[[int], Table]] = {
    "diabetes": lambda seed: load_diabetes(return_X_y=True),
    "friedman1": lambda seed: make_friedman1(1500, noise=1.0, random_state=seed),
    "friedman2": lambda seed: make_friedman2(1500, noise=100.0, random_state=seed),
    "friedman3": lambda seed: make_friedman3(1500, noise=0.1, random_state=seed),
    "uneven noise": uneven_noise,
}

BARE: dict[str, Any] = {"label_smoothing": 0.0, "calibrate": None}
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "1 member": {**BARE, "n_members": 1},
    "1, dropout 0.3": {**BARE, "n_members": 1, "dropout": 0.3},
    "1, calibrated": {**BARE, "n_members": 1, "calibrate": "auto"},
    "1, by default": {"n_members": 1},
    "4 members": BARE,
    "4, calibrated": {**BARE, "calibrate": "auto"},
    "4, smoothed": {**BARE, "label_smoothing": 0.1},
    "4, by default": {},
}
QUANTILES: dict[str, Any] = {"loss": "quantile", "quantile": (0.025, 0.05, 0.1, 0.5, 0.9, 0.95, 0.975)}
REGRESSORS: dict[str, dict[str, Any]] = {
    "1 member": {"n_members": 1},
    "8 members": {},
    "quantiles": QUANTILES,
    "quantiles, X_val": {**QUANTILES, "X_val": True},
}


def calibration_error(probability: np.ndarray, y: np.ndarray) -> float:
    """Mean distance of the highest probability from the share of right labels, in ten bins of as many rows."""
    sure, right = probability.max(1), probability.argmax(1) == y
    bins = np.array_split(np.argsort(sure, kind="stable"), 10)
    return float(sum(len(rows) * abs(sure[rows].mean() - right[rows].mean()) for rows in bins) / len(y))


def of_probabilities(probability: np.ndarray, y: np.ndarray) -> list[float]:
    """Accuracy, log loss and calibration error."""
    accuracy = float((probability.argmax(1) == y).mean())
    return [accuracy, float(log_loss(y, probability)), calibration_error(probability, y)]


def kept(error: np.ndarray, unsure: np.ndarray) -> list[float]:
    """Mean error of the rows that are left when the most uncertain are refused."""
    order = np.argsort(unsure, kind="stable")
    return [float(error[order[: round(len(order) * (1 - share))]].mean()) for share in REFUSED]


def split(table: Table, seed: int, stratify: bool) -> list[np.ndarray]:
    """Halves of a table."""
    X, y = table
    return train_test_split(X, y, test_size=0.5, random_state=seed, stratify=y if stratify else None)


def classify(make: Callable[[int], Table], settings: dict[str, Any], seed: int) -> list[float]:
    """Scores of the plain probabilities and of the drawn ones; errors by total and by epistemic uncertainty."""
    X_train, X_test, y_train, y_test = split(make(seed), seed, True)
    fitted = RegularizedMLPClassifier(random_state=seed, device="cpu", **settings).fit(X_train, y_train)
    unsure = fitted.predict_uncertainty(X_test)
    error = (fitted.predict(X_test) != y_test).astype(float)
    scores = [*of_probabilities(fitted.predict_proba(X_test), y_test), *of_probabilities(unsure.mean, y_test)]
    refusals = [*kept(error, unsure.total), *kept(error, unsure.epistemic)]
    return [*scores, best_log_loss(fitted, X_test, y_test), *refusals]


def best_log_loss(fitted: RegularizedMLPClassifier, X_test: np.ndarray, y_test: np.ndarray) -> float:
    """Log loss at the best of a grid of temperatures."""
    losses = []
    for temperature in np.exp(np.linspace(-1.5, 2.5, 41)):
        fitted.net_.temperature = temperature
        losses.append(log_loss(y_test, fitted.predict_proba(X_test)))
    return min(losses)


def regress(make: Callable[[int], Table], settings: dict[str, Any], seed: int) -> list[float]:
    """Root mean squared errors plain and drawn, coverages, widths, errors over std; errors by both uncertainties."""
    X_train, X_test, y_train, y_test = split(make(seed), seed, False)
    settings, held = {"early_stopping": True, **settings}, {}  # of 221 rows a quarter suffices to be watched
    if settings.pop("X_val", False):
        n = len(X_train) // 3
        held, X_train, y_train = {"X_val": X_train[:n], "y_val": y_train[:n]}, X_train[n:], y_train[n:]
    fitted = RegularizedMLPRegressor(random_state=seed, device="cpu", **settings).fit(X_train, y_train, **held)
    prediction, std = fitted.predict(X_test, return_std=True)
    middle = fitted.target_encoder_.middle(prediction)
    unsure = fitted.predict_uncertainty(X_test)
    unit, square = y_test.std(), (y_test - middle) ** 2
    scores = [np.sqrt(square.mean()) / unit, np.sqrt(((y_test - unsure.mean) ** 2).mean()) / unit]
    for coverage in COVERAGES:
        low, high = fitted.predict_interval(X_test, coverage).T
        scores += [((low <= y_test) & (y_test <= high)).mean(), (high - low).mean() / unit]
    refusals = [np.sqrt(kept(square, by)) / unit for by in (unsure.total, unsure.epistemic)]
    return [*scores, np.sqrt((square / std**2).mean()), *np.concatenate(refusals)]


def show(title: str, columns: list[str], rows: dict[str, list[float]]) -> None:
    """Print a table."""
    print(f"\n{title}\n{'':40}" + "".join(f"{column:>11}" for column in columns))
    for name, values in rows.items():
        print(f"{name:40}" + "".join(f"{value:11.3f}" for value in values), flush=True)


def run(
    measure: Callable[..., list[float]], tables: dict[str, Any], kinds: dict[str, Any], seeds: int
) -> dict[str, list[float]]:
    """Means over the seeds of what is measured, of each table and setting; then of each setting over the tables."""
    found = {
        (table, kind): np.mean([measure(make, settings, seed) for seed in range(seeds)], axis=0)
        for table, make in tables.items()
        for kind, settings in kinds.items()
    }
    rows = {f"{table}: {kind}": list(values) for (table, kind), values in found.items()}
    for kind in kinds:
        rows[f"mean: {kind}"] = list(np.mean([found[table, kind] for table in tables], axis=0))
    return rows


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tables", nargs="+", default=[*CLASSES, *NUMBERS], choices=[*CLASSES, *NUMBERS])
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*watches only", category=UserWarning)
    left = [f"-{share:.0%}" for share in REFUSED]
    if tables := {name: make for name, make in CLASSES.items() if name in args.tables}:
        rows = run(classify, tables, CLASSIFIERS, args.seeds)
        scores = ["accuracy", "log loss", "ECE"]
        columns = [*scores * 2, "best"]
        show("Classes: plain, then drawn", columns, {name: values[:7] for name, values in rows.items()})
        show("Error rate, refused by total, then epistemic", left * 2, {name: v[7:] for name, v in rows.items()})
    if tables := {name: make for name, make in NUMBERS.items() if name in args.tables}:
        rows = run(regress, tables, REGRESSORS, args.seeds)
        columns = ["plain", "drawn", *(f"{name} {c:g}" for c in COVERAGES for name in ("in", "width")), "error/std"]
        show("Numbers: error, intervals, std", columns, {name: values[:9] for name, values in rows.items()})
        show("Error, refused by total, then epistemic", left * 2, {name: v[9:] for name, v in rows.items()})


if __name__ == "__main__":
    main()
