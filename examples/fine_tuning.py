"""Fine-tuning: start from a network that was fitted to a large related table.

The example compares training from scratch with several ways of fine-tuning, for three pairs of tables. In the first
pair, sixty rows have one target, and thousands of rows have eight other targets that depend on the same features. In
the second pair, both tables have the same target, but it depends on the features a bit differently. In the third pair,
a network that was fitted to the digits 0 to 4 is fine-tuned to the digits 5 to 9, where it has less effect.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor

SEEDS = range(5)
NETWORK = {"hidden_layer_sizes": (64, 64), "n_members": 2, "max_iter": 60}
RNG = np.random.default_rng(0)
PROJECTION = RNG.normal(size=(8, 5)) * 0.5
SOURCE_WEIGHTS, TARGET_WEIGHTS = RNG.normal(size=(5, 8)), RNG.normal(size=5)

Table = tuple[np.ndarray, np.ndarray]


def make_table(n_rows: int, weights: np.ndarray, rng: np.random.Generator) -> Table:
    """Make eight columns, and targets that are noisy weighted sums of five sine waves."""
    X = rng.normal(size=(n_rows, 8))
    y = np.sin(2 * X @ PROJECTION) @ weights
    return X, y + 0.3 * rng.normal(size=y.shape)


def small_tables(weights: np.ndarray) -> Iterator[tuple[Table, Table]]:
    """Yield sixty training rows and 2,000 test rows for each seed."""
    for seed in SEEDS:
        rng = np.random.default_rng(1000 + seed)
        yield make_table(60, weights, rng), make_table(2000, weights, rng)


def small_digits(X: np.ndarray, y: np.ndarray) -> Iterator[tuple[Table, Table]]:
    """Yield thirty training rows, and the other rows for the test, for each seed."""
    for seed in SEEDS:
        X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=30, stratify=y, random_state=seed)
        yield (X_train, y_train), (X_test, y_test)


def compare(title: str, make: Callable[..., BaseEstimator], source: BaseEstimator, pairs: list) -> None:
    """Print the score of training from scratch and of each way of fine-tuning."""
    pretrained = {"pretrained": FrozenEstimator(source)}  # clone and searches keep a FrozenEstimator fitted
    methods = {
        "from scratch": {},
        "fine-tuned, copied layers at full rate": {**pretrained, "pretrained_lr_factor": 1.0},
        "fine-tuned, at 0.3 of the rate": {**pretrained, "pretrained_lr_factor": 0.3},
        "fine-tuned, at 0.1 of the rate (default)": pretrained,
        "first layer frozen": {**pretrained, "freeze_layers": 1},
        "both hidden layers frozen": {**pretrained, "freeze_layers": 2},
    }
    print(f"\n{title}")
    for name, parameters in methods.items():
        scores = [
            make(**NETWORK, **parameters, random_state=seed).fit(*train).score(*test)
            for seed, (train, test) in enumerate(pairs)
        ]
        print(f"   {name:<40} {np.mean(scores):6.3f} +- {np.std(scores):.3f}")


def main() -> None:
    """Fit the three source networks, and compare the methods on the three small tables."""
    started = time.perf_counter()
    print(f"Mean and standard deviation of the score over {len(SEEDS)} seeds: R2 in regression, accuracy for digits.")

    source = RegularizedMLPRegressor(**NETWORK, random_state=0).fit(*make_table(5000, SOURCE_WEIGHTS, RNG))
    pairs = list(small_tables(TARGET_WEIGHTS))
    compare("1. Sixty rows; the source has 5,000 rows of eight other targets", RegularizedMLPRegressor, source, pairs)

    weights = SOURCE_WEIGHTS[:, 0]
    source = RegularizedMLPRegressor(**NETWORK, random_state=0).fit(*make_table(5000, weights, RNG))
    pairs = list(small_tables(weights + 0.4 * TARGET_WEIGHTS))
    compare("2. Sixty rows; the source has 5,000 rows of a similar target", RegularizedMLPRegressor, source, pairs)

    X, y = load_digits(return_X_y=True)
    source = RegularizedMLPClassifier(**NETWORK, random_state=0).fit(X[y < 5], y[y < 5])
    pairs = list(small_digits(X[y >= 5], y[y >= 5]))
    title = "3. Thirty rows of the digits 5 to 9; the source has 901 rows of the digits 0 to 4"
    compare(title, RegularizedMLPClassifier, source, pairs)

    print("\nThe more similar the tables are, the better it is to change the copied layers little. If they have little")
    print("in common, as the digits, frozen layers reduce the score. Compare the methods on rows of the small table.")
    print(f"Done in {time.perf_counter() - started:.0f} seconds.")


if __name__ == "__main__":
    main()
