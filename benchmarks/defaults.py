#!/usr/bin/env python3
"""Compare methods with their default parameters on the same splits of the same datasets.

    python benchmarks/defaults.py [--csv table.csv target ...] [--methods skreg hgb ...] [--seeds 3] [--against skreg]

The datasets are those of scikit-learn, two generated ones, or CSV files. A target of strings, or of at most 20 distinct
integers, is treated as classification. Each split keeps a fifth of the rows for the test and at most 10,000 rows for
training, stratified in classification. The error is the error rate or the root mean squared error. A ratio is the error
of a method divided by the error of the reference method, where 0.002 is added to error rates. The last table has the
geometric means of these ratios over the datasets, and the same for the log loss and the time of a fit. Everything runs
in one process with one thread. Methods whose package is not installed are left out: lightgbm, xgboost, catboost, and
pytabkit for RealMLP. Two seeds of a method differ by about 5 % on one dataset, so compare the means.
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

ADDED_TO_ERROR_RATE = 0.002
MAX_TRAIN_ROWS = 10_000
MAX_CLASSES_OF_INTEGERS = 20

MakeModel = Callable[[bool, int], Any]


def with_preprocessing(model: Any) -> Any:
    """Return a pipeline of imputation, scaling, one-hot encoding and the model."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, model)


def sklearn_mlp(is_classification: bool, seed: int) -> Any:
    """Make scikit-learn's network, with a standardized target in regression."""
    if is_classification:
        return with_preprocessing(MLPClassifier(random_state=seed))
    return TransformedTargetRegressor(with_preprocessing(MLPRegressor(random_state=seed)), transformer=StandardScaler())


def skreg(is_classification: bool, seed: int) -> Any:
    """Make the estimator of this package."""
    return (RegularizedMLPClassifier if is_classification else RegularizedMLPRegressor)(random_state=seed)


def hist_gradient_boosting(is_classification: bool, seed: int) -> Any:
    """Make scikit-learn's boosted trees."""
    return (HistGradientBoostingClassifier if is_classification else HistGradientBoostingRegressor)(random_state=seed)


def lightgbm(is_classification: bool, seed: int) -> Any:
    """Make LightGBM's estimator."""
    import lightgbm as package

    Estimator = package.LGBMClassifier if is_classification else package.LGBMRegressor
    return Estimator(random_state=seed, n_jobs=1, verbose=-1)


def xgboost(is_classification: bool, seed: int) -> Any:
    """Make XGBoost's estimator."""
    import xgboost as package

    Estimator = package.XGBClassifier if is_classification else package.XGBRegressor
    return Estimator(random_state=seed, n_jobs=1, enable_categorical=True)


def catboost(is_classification: bool, seed: int) -> Any:
    """Make CatBoost's estimator, with one-hot encoded categories."""
    import catboost as package

    Estimator = package.CatBoostClassifier if is_classification else package.CatBoostRegressor
    return with_preprocessing(Estimator(random_seed=seed, thread_count=1, verbose=0, allow_writing_files=False))


def realmlp(is_classification: bool, seed: int) -> Any:
    """Make RealMLP with its tuned defaults."""
    import pytabkit as package

    Estimator = package.RealMLP_TD_Classifier if is_classification else package.RealMLP_TD_Regressor
    return Estimator(random_state=seed, device="cpu", n_threads=1)


METHODS: dict[str, tuple[MakeModel, str]] = {
    "skreg": (skreg, "skreg"),
    "hgb": (hist_gradient_boosting, "sklearn"),
    "sk_mlp": (sklearn_mlp, "sklearn"),
    "lightgbm": (lightgbm, "lightgbm"),
    "xgboost": (xgboost, "xgboost"),
    "catboost": (catboost, "catboost"),
    "realmlp": (realmlp, "pytabkit"),
}
"""Functions that make the methods, and the packages that they need."""


def included_datasets() -> Iterator[tuple[str, pd.DataFrame, np.ndarray]]:
    """Yield the datasets of scikit-learn and two generated ones."""
    for name in ("breast_cancer", "diabetes", "digits", "wine"):
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True, as_frame=True)
        yield name, X, y.to_numpy()
    generated = {
        "classification": datasets.make_classification(4_000, 20, n_informative=8, n_classes=3, random_state=0),
        "regression": datasets.make_friedman1(4_000, 10, noise=1.0, random_state=0),
    }
    for name, (X, y) in generated.items():
        yield name, pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])]), y


def read_csv(path: str, target: str) -> tuple[str, pd.DataFrame, np.ndarray]:
    """Read a CSV file, convert columns of strings to categories, and drop rows without a target."""
    frame = pd.read_csv(path).dropna(subset=[target])
    X = frame.drop(columns=target)
    text = X.select_dtypes(exclude="number").columns
    return os.path.basename(path), X.astype(dict.fromkeys(text, "category")), frame[target].to_numpy()


def is_classification_target(y: np.ndarray) -> bool:
    """Return whether the target consists of class labels."""
    return y.dtype.kind not in "fiu" or (y.dtype.kind in "iu" and len(np.unique(y)) <= MAX_CLASSES_OF_INTEGERS)


def measure(make: MakeModel, X: pd.DataFrame, y: np.ndarray, is_classification: bool, seed: int) -> dict[str, float]:
    """Return the error, the log loss and the seconds of a fit."""
    rows = train_test_split(X, y, test_size=0.2, stratify=y if is_classification else None, random_state=seed)
    X_train, X_test, y_train, y_test = rows
    if len(y_train) > MAX_TRAIN_ROWS:
        strata = y_train if is_classification else None
        X_train, _, y_train, _ = train_test_split(
            X_train, y_train, train_size=MAX_TRAIN_ROWS, stratify=strata, random_state=seed
        )
    model, start = make(is_classification, seed), time.perf_counter()
    model.fit(X_train, y_train)
    seconds = time.perf_counter() - start
    prediction = np.ravel(model.predict(X_test))
    if not is_classification:
        return {"error": root_mean_squared_error(y_test, prediction), "seconds": seconds}
    proba = model.predict_proba(X_test)
    loss = log_loss(y_test, proba / proba.sum(1, keepdims=True), labels=np.unique(y))
    return {"error": zero_one_loss(y_test, prediction) + ADDED_TO_ERROR_RATE, "log loss": loss, "seconds": seconds}


def show(results: dict[str, dict[str, dict[str, float]]], reference: str) -> None:
    """Print the errors of each dataset, and the geometric means of the ratios to the reference method."""
    print(f"\n{'error':16}" + "".join(f"{method:>10}" for method in results))
    for dataset in results[reference]:
        print(f"{dataset:16}" + "".join(f"{of_method[dataset]['error']:10.4g}" for of_method in results.values()))
    print(f"\nagainst {reference:8}{'error':>10}{'log loss':>10}{'seconds':>10}{'better on':>12}")
    for method, of_method in results.items():
        cells = []
        for metric in ("error", "log loss", "seconds"):
            ratios = [
                values[metric] / results[reference][dataset][metric]
                for dataset, values in of_method.items()
                if metric in values
            ]
            cells.append(f"{np.exp(np.mean(np.log(ratios))):10.3f}" if ratios else " " * 10)
        better = sum(values["error"] < results[reference][dataset]["error"] for dataset, values in of_method.items())
        print(f"{method:16}" + "".join(cells) + f"{f'{better} of {len(of_method)}':>12}")


def main() -> None:
    """Measure and print each dataset and method, and then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", nargs=2, action="append", metavar=("FILE", "TARGET"), help="your own dataset")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="default: those that are installed")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--against", choices=METHODS, default="skreg", help="reference method")
    args = parser.parse_args()
    methods = args.methods or [name for name, (_, package) in METHODS.items() if find_spec(package)]
    all_datasets = [read_csv(*given) for given in args.csv] if args.csv else included_datasets()
    results: dict[str, dict[str, dict[str, float]]] = {method: {} for method in dict.fromkeys([args.against, *methods])}
    for name, X, y in all_datasets:
        is_classification = is_classification_target(y)
        target = LabelEncoder().fit_transform(y) if is_classification else y.astype(float)
        for method, of_method in results.items():
            runs = [measure(METHODS[method][0], X, target, is_classification, seed) for seed in range(args.seeds)]
            means = {metric: float(np.mean([run[metric] for run in runs])) for metric in runs[0]}
            of_method[name] = means
            print(f"{name:16} {method:10}", *(f"{metric} {value:.4g}" for metric, value in means.items()), flush=True)
    show(results, args.against)


if __name__ == "__main__":
    main()
