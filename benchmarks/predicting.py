#!/usr/bin/env python3
"""Measure the time of predictions of one row and of many rows, compared with scikit-learn's network.

    python benchmarks/predicting.py [--repeats 40] [--rows 100000]

Both classifiers are fitted with their default parameters, and a second time with hidden layers of the same sizes. The
data are an array of 20 float columns, and a pandas data frame of 15 numeric and 5 categorical columns, for which
scikit-learn's network needs a pipeline of imputation, scaling and one-hot encoding. The classifiers are timed
alternately, and the table shows the processor time of one thread in the fastest repetition. A ratio above 1 means that
skreg takes longer.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skreg import RegularizedMLPClassifier

N_TRAIN, N_EPOCHS = 2000, 7


def make_array(n_rows: int) -> np.ndarray:
    """Make an array of 20 columns."""
    return np.random.default_rng(0).normal(size=(n_rows, 20))


def make_frame(n_rows: int) -> pd.DataFrame:
    """Make a data frame of 15 numeric and 5 categorical columns."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n_rows, 15)), columns=[f"number{j}" for j in range(15)])
    for j in range(5):
        levels = [f"level {k}" for k in range(3 + 3 * j)]
        frame[f"category{j}"] = pd.Categorical.from_codes(rng.integers(0, len(levels), n_rows), levels)
    return frame


def sklearn_network(hidden: tuple[int, ...], has_categories: bool) -> Any:
    """Return scikit-learn's network, in a pipeline if there are categorical columns."""
    network = MLPClassifier(hidden, max_iter=N_EPOCHS, random_state=0)
    if not has_categories:
        return network
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, network)


def fastest_times(
    first: Callable[[], Any], second: Callable[[], Any], n_repeats: int, n_calls: int
) -> tuple[float, float]:
    """Return the processor seconds of a call of each function, measured alternately."""
    best = [np.inf, np.inf]
    for _ in range(n_repeats):
        for i, function in enumerate((first, second)):
            start = time.process_time()
            for _ in range(n_calls):
                function()
            best[i] = min(best[i], (time.process_time() - start) / n_calls)
    return best[0], best[1]


def main() -> None:
    """Print a line for each kind of data, number of rows and size of the networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40, help="number of repetitions, of which the fastest counts")
    parser.add_argument("--rows", type=int, default=100_000, help="number of rows of the large predictions")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    default = RegularizedMLPClassifier().hidden_layer_sizes
    print(f"{'data':6} {'rows':>8} {'networks':24} {'skreg us':>12} {'sklearn us':>12} {'ratio':>6}")
    for kind, make in (("array", make_array), ("frame", make_frame)):
        X, X_large = make(N_TRAIN), make(args.rows)
        y = (X[:, 0] > 0 if kind == "array" else X["number0"] > 0).astype(int)
        ours = RegularizedMLPClassifier(max_iter=N_EPOCHS, random_state=0, device="cpu").fit(X, y)
        for name, hidden in (("defaults", (100,)), (f"both {default}", default)):
            theirs = sklearn_network(hidden, kind == "frame").fit(X, y)
            for rows, n_repeats, n_calls in ((X_large[:1], args.repeats, 20), (X_large, max(2, args.repeats // 10), 1)):
                predictions = partial(ours.predict_proba, rows), partial(theirs.predict_proba, rows)
                seconds = fastest_times(*predictions, n_repeats, n_calls)
                shown = " ".join(f"{1e6 * value:12,.0f}" for value in seconds)
                print(f"{kind:6} {len(rows):8,} {name:24} {shown} {seconds[0] / seconds[1]:6.2f}", flush=True)


if __name__ == "__main__":
    main()
