#!/usr/bin/env python3
"""Comparison of tuned models: a search of 50 trials for the network, for LightGBM and for CatBoost, on the same folds.

    python benchmarks/tuned.py [--csv table.csv target ...] [--trials 50] [--folds 3] [--most-rows 3000] [--jobs 2]

For each table, the script fits the network with its defaults, runs `OptunaSearchCV` for the network over the default
space, and then for each installed library of boosted trees, on the same folds, with the same number of trials and at
most the time that the search of the network took. The first trial of the network has the default values, which the
ranges of the trees contain as well. The searches minimize the log loss or the mean squared error. The error is the
error rate or the root mean squared error on a fifth of the rows, which no search uses. Ratios are relative to the
searched network; 0.002 is added to error rates.
"""

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import optuna
import pandas as pd
from defaults import ADDED_TO_ERROR_RATE, included_datasets, is_classification_target, read_csv
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from sklearn.metrics import log_loss, root_mean_squared_error, zero_one_loss
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split
from sklearn.preprocessing import LabelEncoder

from skreg import OptunaSearchCV, RegularizedMLPClassifier, RegularizedMLPRegressor

optuna.logging.set_verbosity(optuna.logging.ERROR)

Space = dict[str, BaseDistribution]

LIGHTGBM: Space = {
    "learning_rate": FloatDistribution(0.01, 0.3, log=True),
    "n_estimators": IntDistribution(50, 1000, log=True),
    "num_leaves": IntDistribution(4, 256, log=True),
    "min_child_samples": IntDistribution(2, 100, log=True),
    "subsample": FloatDistribution(0.5, 1.0),
    "colsample_bytree": FloatDistribution(0.5, 1.0),
    "reg_lambda": FloatDistribution(0.0, 10.0),
}
CATBOOST: Space = {
    "learning_rate": FloatDistribution(0.01, 0.3, log=True),
    "iterations": IntDistribution(100, 1000, log=True),
    "depth": IntDistribution(3, 9),
    "l2_leaf_reg": FloatDistribution(0.5, 30.0, log=True),
    "bagging_temperature": FloatDistribution(0.0, 1.0),
    "random_strength": FloatDistribution(0.1, 10.0, log=True),
}


METHODS = ("network", "searched network", "lightgbm", "catboost")


def network(classes: bool, X: pd.DataFrame) -> tuple[Any, Space | None]:
    """Return the network, with its default search space."""
    return (RegularizedMLPClassifier if classes else RegularizedMLPRegressor)(random_state=0), None


def lightgbm(classes: bool, X: pd.DataFrame) -> tuple[Any, Space]:
    """Return LightGBM and its search space."""
    import lightgbm as package

    kind = package.LGBMClassifier if classes else package.LGBMRegressor
    return kind(random_state=0, n_jobs=1, verbose=-1, subsample_freq=1), LIGHTGBM


def catboost(classes: bool, X: pd.DataFrame) -> tuple[Any, Space]:
    """Return CatBoost, which receives the categorical columns in ``fit``, and its search space."""
    import catboost as package

    class CatBoost(package.CatBoostClassifier if classes else package.CatBoostRegressor):
        def fit(self, X, y):
            return super().fit(X, y, cat_features=list(X.select_dtypes("category")))

    return CatBoost(random_seed=0, thread_count=1, verbose=0, allow_writing_files=False), CATBOOST


TREES: dict[str, Callable[[bool, pd.DataFrame], tuple[Any, Space]]] = {"lightgbm": lightgbm, "catboost": catboost}


def error(model: Any, X: pd.DataFrame, y: np.ndarray, classes: bool) -> dict[str, float]:
    """Return the error of a fitted model, and the log loss of a classifier."""
    if not classes:
        return {"error": root_mean_squared_error(y, np.ravel(model.predict(X)))}
    probability = model.predict_proba(X)
    wrong = zero_one_loss(y, np.ravel(model.predict(X)))
    return {"error": wrong + ADDED_TO_ERROR_RATE, "log loss": log_loss(y, probability, labels=np.unique(y))}


def search(model: Any, space: Space | None, classes: bool, chosen: argparse.Namespace, seconds: float | None) -> Any:
    """Return a search for a model."""
    folds = StratifiedKFold if classes else KFold
    return OptunaSearchCV(
        model,
        space,
        n_trials=chosen.trials,
        timeout=seconds,
        scoring="neg_log_loss" if classes else "neg_mean_squared_error",
        cv=folds(chosen.folds, shuffle=True, random_state=0),
        n_jobs=chosen.jobs,
        random_state=0,
    )


def measure(name: str, X: pd.DataFrame, y: np.ndarray, chosen: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the error, the number of trials and the seconds of each method on one table."""
    classes = is_classification_target(y)
    target = LabelEncoder().fit_transform(y) if classes else y.astype(float)
    text = X.select_dtypes("category").columns
    X = X.assign(
        **{column: X[column].astype(object).fillna("missing").astype(str).astype("category") for column in text}
    )
    rows = train_test_split(X, target, test_size=0.2, stratify=target if classes else None, random_state=0)
    X_train, X_test, y_train, y_test = rows
    if len(y_train) > chosen.most_rows:
        strata = y_train if classes else None
        X_train, _, y_train, _ = train_test_split(
            X_train, y_train, train_size=chosen.most_rows, stratify=strata, random_state=0
        )
    model, space = network(classes, X)
    found = {"network": error(model.fit(X_train, y_train), X_test, y_test, classes)}
    seconds = None
    for method in ("searched network", *(tree for tree in TREES if find_spec(tree))):
        if method in TREES:
            model, space = TREES[method](classes, X)
        began = time.perf_counter()
        tuned = search(model, space, classes, chosen, seconds).fit(X_train, y_train)
        spent = time.perf_counter() - began
        seconds = seconds or spent
        trials = len(tuned.cv_results_["params"])
        found[method] = error(tuned, X_test, y_test, classes) | {"trials": trials, "seconds": spent}
        print(f"{name:20} {method:17}", *(f"{k} {v:.4g}" for k, v in found[method].items()), flush=True)
    return found


def show(found: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print the errors of each table, and geometric means of the ratios to the searched network."""
    methods = [method for method in METHODS if method in next(iter(found.values()))]
    print(f"\n{'error':20}" + "".join(f"{method:>18}" for method in methods))
    for table, cells in found.items():
        print(f"{table:20}" + "".join(f"{cells[method]['error']:18.4g}" for method in methods))
    for what in ("error", "log loss"):
        print(f"{f'{what}, x searched':20}", end="")
        for method in methods:
            ratios = [c[method][what] / c["searched network"][what] for c in found.values() if what in c[method]]
            print(f"{np.exp(np.mean(np.log(ratios))) if ratios else np.nan:18.3f}", end="")
        print()
    print(f"{'searched is better':20}", end="")
    for method in methods:
        better = sum(cells["searched network"]["error"] < cells[method]["error"] for cells in found.values())
        print(f"{f'{better} of {len(found)}':>18}", end="")
    print()


def main() -> None:
    """Measure all tables, and print the results as they arrive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", nargs=2, action="append", metavar=("FILE", "TARGET"), help="a table")
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--most-rows", type=int, default=3000)
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    tables = [read_csv(*given) for given in chosen.csv] if chosen.csv else included_datasets()
    show({name: measure(name, X, y, chosen) for name, X, y in tables})


if __name__ == "__main__":
    main()
