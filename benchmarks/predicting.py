#!/usr/bin/env python3
"""Time of predictions next to scikit-learn's network: one row, and many.

    python benchmarks/predicting.py [--turns 40] [--rows 100000]

Both classifiers are fitted with no parameter set but the seed, and once more with hidden layers of one size; on an
array of 20 float columns, and on a pandas frame of 15 numbers and 5 categories, before which scikit-learn's network
needs a pipeline of imputation, scaling and one-hot encoding. Processor time of one thread, in turns, of which the
fastest counts. A ratio above 1 means that skreg takes longer.
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

TRAINED_ON, EPOCHS = 2000, 7


def array(n_rows: int) -> np.ndarray:
    """Twenty numbers."""
    return np.random.default_rng(0).normal(size=(n_rows, 20))


def frame(n_rows: int) -> pd.DataFrame:
    """Fifteen numbers and five categories."""
    rng = np.random.default_rng(0)
    numbers = pd.DataFrame(rng.normal(size=(n_rows, 15)), columns=[f"number{j}" for j in range(15)])
    for j in range(5):
        levels = [f"level {k}" for k in range(3 + 3 * j)]
        numbers[f"category{j}"] = pd.Categorical.from_codes(rng.integers(0, len(levels), n_rows), levels)
    return numbers


def scikit_learns(hidden: tuple[int, ...], mixed: bool) -> Any:
    """scikit-learn's network, behind a pipeline if the columns are mixed."""
    network = MLPClassifier(hidden, max_iter=EPOCHS, random_state=0)
    if not mixed:
        return network
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, network)


def fastest(ours: Callable[[], Any], theirs: Callable[[], Any], turns: int, calls: int) -> tuple[float, float]:
    """Seconds of a call of each, taken in turns."""
    best = [np.inf, np.inf]
    for _ in range(turns):
        for place, function in enumerate((ours, theirs)):
            start = time.process_time()
            for _ in range(calls):
                function()
            best[place] = min(best[place], (time.process_time() - start) / calls)
    return best[0], best[1]


def main() -> None:
    """Print a line for each table, each number of rows and each size of the networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--rows", type=int, default=100_000)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    default = RegularizedMLPClassifier().hidden_layer_sizes
    print(f"{'table':6} {'rows':>8} {'networks':24} {'skreg us':>12} {'sklearn us':>12} {'ratio':>6}")
    for kind, make in (("array", array), ("frame", frame)):
        X, many = make(TRAINED_ON), make(args.rows)
        y = (X[:, 0] > 0 if kind == "array" else X["number0"] > 0).astype(int)
        ours = RegularizedMLPClassifier(max_iter=EPOCHS, random_state=0, device="cpu").fit(X, y)
        for name, hidden in (("defaults", (100,)), (f"both {default}", default)):
            theirs = scikit_learns(hidden, kind == "frame").fit(X, y)
            for rows, turns, calls in ((many[:1], args.turns, 20), (many, max(2, args.turns // 10), 1)):
                both = fastest(partial(ours.predict_proba, rows), partial(theirs.predict_proba, rows), turns, calls)
                shown = " ".join(f"{1e6 * seconds:12,.0f}" for seconds in both)
                print(f"{kind:6} {len(rows):8,} {name:24} {shown} {both[0] / both[1]:6.2f}", flush=True)


if __name__ == "__main__":
    main()
