#!/usr/bin/env python3
"""Default against default: each method is fitted with no parameter set, on the same splits of the same tables.

    python benchmarks/defaults.py [--csv table.csv target ...] [--methods skreg hgb ...] [--seeds 3] [--against skreg]

Tables are scikit-learn's own, two that it makes, and any CSV file (a target of text or of up to 20 whole numbers is
classes). A split keeps a fifth of the rows for the test and at most 10,000 for training, stratified for classes. The
error is the share of wrong labels, or the root mean squared error; a ratio is a method's error divided by that of the
one it is compared with, both raised by 0.002 if they are shares, and its geometric mean over the tables counts. Log
loss and seconds of a fit likewise. One process, one thread. Left out are peers that are not installed: lightgbm,
xgboost, catboost, and pytabkit for RealMLP. Two seeds of a method differ by about 5 % on one table: look at the means.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import pandas as pd
import torch
from sklearn import datasets
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss, root_mean_squared_error, zero_one_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, OneHotEncoder, StandardScaler

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor

torch.set_num_threads(1)
warnings.filterwarnings("ignore")

FLOOR = 0.002
MOST_ROWS = 10_000
FEW_VALUES = 20

Make = Callable[[bool, int], Any]


def one_hot_and_scaled(model: Any) -> Any:
    """A model behind scikit-learn's usual steps for a mixed table."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, model)


def scikit_mlp(classes: bool, seed: int) -> Any:
    """scikit-learn's network, on a standardised target."""
    if classes:
        return one_hot_and_scaled(MLPClassifier(random_state=seed))
    return TransformedTargetRegressor(one_hot_and_scaled(MLPRegressor(random_state=seed)), transformer=StandardScaler())


def skreg(classes: bool, seed: int) -> Any:
    """This package's."""
    return (RegularizedMLPClassifier if classes else RegularizedMLPRegressor)(random_state=seed)


def hgb(classes: bool, seed: int) -> Any:
    """scikit-learn's boosted trees."""
    return (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(random_state=seed)


def lightgbm(classes: bool, seed: int) -> Any:
    """LightGBM."""
    import lightgbm as package

    return (package.LGBMClassifier if classes else package.LGBMRegressor)(random_state=seed, n_jobs=1, verbose=-1)


def xgboost(classes: bool, seed: int) -> Any:
    """XGBoost."""
    import xgboost as package

    kind = package.XGBClassifier if classes else package.XGBRegressor
    return kind(random_state=seed, n_jobs=1, enable_categorical=True)


def catboost(classes: bool, seed: int) -> Any:
    """CatBoost, categories one-hot encoded before it."""
    import catboost as package

    kind = package.CatBoostClassifier if classes else package.CatBoostRegressor
    return one_hot_and_scaled(kind(random_seed=seed, thread_count=1, verbose=0, allow_writing_files=False))


def realmlp(classes: bool, seed: int) -> Any:
    """RealMLP with its tuned defaults."""
    import pytabkit as package

    kind = package.RealMLP_TD_Classifier if classes else package.RealMLP_TD_Regressor
    return kind(random_state=seed, device="cpu", n_threads=1)


METHODS: dict[str, tuple[Make, str]] = {
    "skreg": (skreg, "skreg"),
    "hgb": (hgb, "sklearn"),
    "sk_mlp": (scikit_mlp, "sklearn"),
    "lightgbm": (lightgbm, "lightgbm"),
    "xgboost": (xgboost, "xgboost"),
    "catboost": (catboost, "catboost"),
    "realmlp": (realmlp, "pytabkit"),
}
"""What makes a method, and the package that it needs."""


def bundled() -> Iterator[tuple[str, pd.DataFrame, np.ndarray]]:
    """scikit-learn's tables, and two that are made."""
    for name in ("breast_cancer", "diabetes", "digits", "wine"):
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True, as_frame=True)
        yield name, X, y.to_numpy()
    made = {
        "made classes": datasets.make_classification(4_000, 20, n_informative=8, n_classes=3, random_state=0),
        "made numbers": datasets.make_friedman1(4_000, 10, noise=1.0, random_state=0),
    }
    for name, (X, y) in made.items():
        yield name, pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])]), y


def of_file(path: str, target: str) -> tuple[str, pd.DataFrame, np.ndarray]:
    """A CSV file; text becomes categories, and rows without a target go."""
    frame = pd.read_csv(path).dropna(subset=[target])
    X = frame.drop(columns=target)
    text = X.select_dtypes(exclude="number").columns
    return os.path.basename(path), X.astype(dict.fromkeys(text, "category")), frame[target].to_numpy()


def are_classes(y: np.ndarray) -> bool:
    """Whether a target is one of labels."""
    return y.dtype.kind not in "fiu" or (y.dtype.kind in "iu" and len(np.unique(y)) <= FEW_VALUES)


def measure(make: Make, X: pd.DataFrame, y: np.ndarray, classes: bool, seed: int) -> dict[str, float]:
    """Error, log loss and seconds of one fit."""
    rows = train_test_split(X, y, test_size=0.2, stratify=y if classes else None, random_state=seed)
    X_train, X_test, y_train, y_test = rows
    if len(y_train) > MOST_ROWS:
        strata = y_train if classes else None
        X_train, _, y_train, _ = train_test_split(
            X_train, y_train, train_size=MOST_ROWS, stratify=strata, random_state=seed
        )
    model, began = make(classes, seed), time.perf_counter()
    model.fit(X_train, y_train)
    seconds = time.perf_counter() - began
    if not classes:
        return {"error": root_mean_squared_error(y_test, np.ravel(model.predict(X_test))), "seconds": seconds}
    wrong, probability = zero_one_loss(y_test, np.ravel(model.predict(X_test))), model.predict_proba(X_test)
    loss = log_loss(y_test, probability / probability.sum(1, keepdims=True), labels=np.unique(y))
    return {"error": wrong + FLOOR, "log loss": loss, "seconds": seconds}


def show(found: dict[str, dict[str, dict[str, float]]], against: str) -> None:
    """Errors of each table, and geometric means of ratios."""
    print(f"\n{'error':16}" + "".join(f"{method:>10}" for method in found))
    for table in found[against]:
        print(f"{table:16}" + "".join(f"{of_tables[table]['error']:10.4g}" for of_tables in found.values()))
    print(f"\nagainst {against:8}{'error':>10}{'log loss':>10}{'seconds':>10}{'better on':>12}")
    for method, of_tables in found.items():
        cells = []
        for what in ("error", "log loss", "seconds"):
            pairs = [(cell[what], found[against][table][what]) for table, cell in of_tables.items() if what in cell]
            cells.append(f"{np.exp(np.mean([np.log(a / b) for a, b in pairs])):10.3f}" if pairs else " " * 10)
        better = sum(cell["error"] < found[against][table]["error"] for table, cell in of_tables.items())
        print(f"{method:16}" + "".join(cells) + f"{f'{better} of {len(of_tables)}':>12}")


def main() -> None:
    """Measure, and print as it goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", nargs=2, action="append", metavar=("FILE", "TARGET"), help="a table of yours")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="default: those that are installed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--against", choices=METHODS, default="skreg")
    chosen = parser.parse_args()
    methods = chosen.methods or [name for name, (_, package) in METHODS.items() if find_spec(package)]
    tables = [of_file(*given) for given in chosen.csv] if chosen.csv else bundled()
    found: dict[str, dict[str, dict[str, float]]] = {method: {} for method in dict.fromkeys([chosen.against, *methods])}
    for name, X, y in tables:
        classes = are_classes(y)
        target = LabelEncoder().fit_transform(y) if classes else y.astype(float)
        for method, cells in found.items():
            runs = [measure(METHODS[method][0], X, target, classes, seed) for seed in range(chosen.seeds)]
            cells[name] = {what: float(np.mean([run[what] for run in runs])) for what in runs[0]}
            print(f"{name:16} {method:10}", *(f"{what} {value:.4g}" for what, value in cells[name].items()), flush=True)
    show(found, chosen.against)


if __name__ == "__main__":
    main()
