"""Fine-tuning: a table of few rows borrows from a related one of many, and it is shown where that does not help.

Three pairs of tables. In the first, one measurement is to be predicted from sixty rows; eight other ones, which depend
on the same hidden quantities, are known for thousands. In the second, the same measurement was taken at another place
and comes out somewhat differently. In the third, a network that has learned the digits 0 to 4 is to learn 5 to 9.
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
SOURCE_WEIGHTS, OWN_WEIGHTS = RNG.normal(size=(5, 8)), RNG.normal(size=5)

Table = tuple[np.ndarray, np.ndarray]


def measured(n_rows: int, weights: np.ndarray, rng: np.random.Generator) -> Table:
    """Eight columns, and what depends on five waves in them, with some noise."""
    X = rng.normal(size=(n_rows, 8))
    y = np.sin(2 * X @ PROJECTION) @ weights
    return X, y + 0.3 * rng.normal(size=y.shape)


def few_and_many(weights: np.ndarray) -> Iterator[tuple[Table, Table]]:
    """For each seed sixty rows to learn from, and others to test on."""
    for seed in SEEDS:
        rng = np.random.default_rng(1000 + seed)
        yield measured(60, weights, rng), measured(2000, weights, rng)


def few_digits(X: np.ndarray, y: np.ndarray) -> Iterator[tuple[Table, Table]]:
    """For each seed thirty rows to learn from, and the others to test on."""
    for seed in SEEDS:
        X_few, X_rest, y_few, y_rest = train_test_split(X, y, train_size=30, stratify=y, random_state=seed)
        yield (X_few, y_few), (X_rest, y_rest)


def compare(title: str, make: Callable[..., BaseEstimator], source: BaseEstimator, pairs: list) -> None:
    """Print the score from nothing and with each way of fine-tuning."""
    old = {"pretrained": FrozenEstimator(source)}  # frozen, so that clone and searches keep it fitted
    ways = {
        "from nothing": {},
        "fine-tuned, old layers at the full rate": {**old, "pretrained_lr_factor": 1.0},
        "fine-tuned, at 0.3 of it": {**old, "pretrained_lr_factor": 0.3},
        "fine-tuned, at 0.1 of it (the default)": old,
        "first layer frozen": {**old, "freeze_layers": 1},
        "both hidden layers frozen": {**old, "freeze_layers": 2},
    }
    print(f"\n{title}")
    for name, settings in ways.items():
        scores = [
            make(**NETWORK, **settings, random_state=seed).fit(*few).score(*many)
            for seed, (few, many) in enumerate(pairs)
        ]
        print(f"   {name:<40} {np.mean(scores):6.3f} +- {np.std(scores):.3f}")


def main() -> None:
    """Fit the three sources, and compare on the three targets."""
    started = time.perf_counter()
    print(f"Mean score and its standard deviation over {len(SEEDS)} seeds: R2 for numbers, accuracy for digits.")

    eight = RegularizedMLPRegressor(**NETWORK, random_state=0).fit(*measured(5000, SOURCE_WEIGHTS, RNG))
    pairs = list(few_and_many(OWN_WEIGHTS))
    compare("1. Sixty rows; the source knows eight other targets, 5,000 rows", RegularizedMLPRegressor, eight, pairs)

    elsewhere = SOURCE_WEIGHTS[:, 0]
    one = RegularizedMLPRegressor(**NETWORK, random_state=0).fit(*measured(5000, elsewhere, RNG))
    pairs = list(few_and_many(elsewhere + 0.4 * OWN_WEIGHTS))
    compare("2. Sixty rows; the source knows the target elsewhere, 5,000 rows", RegularizedMLPRegressor, one, pairs)

    X, y = load_digits(return_X_y=True)
    low = RegularizedMLPClassifier(**NETWORK, random_state=0).fit(X[y < 5], y[y < 5])
    pairs = list(few_digits(X[y >= 5], y[y >= 5]))
    compare("3. Thirty digits 5 to 9; the source knows 0 to 4, 901 rows", RegularizedMLPClassifier, low, pairs)

    print(
        "\nThe more two tables share, the more is gained by moving little of what was learned. Where they share little,"
    )
    print("as the digits do, old layers hold the network back: compare, as here, on rows of the target table.")
    print(f"Done in {time.perf_counter() - started:.0f} seconds.")


if __name__ == "__main__":
    main()
