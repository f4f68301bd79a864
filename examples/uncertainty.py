"""A network that knows when it is unsure: refuse some rows, give intervals for others, and notice a foreign one.

Probabilities are calibrated on the rows that early stopping has held out anyway, and so are the intervals. What single
networks disagree about is what more rows to learn from would settle.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor


def refuse_rows() -> None:
    """Digits: leave the most uncertain ones to a person, and see what of the error goes with them."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    settings = {"max_iter": 30, "label_smoothing": 0.1, "random_state": 0}
    plain = RegularizedMLPClassifier(**settings).fit(X_train, y_train)
    classifier = RegularizedMLPClassifier(**settings, calibrate="temperature").fit(X_train, y_train)
    before, after = (log_loss(y_test, each.predict_proba(X_test)) for each in (plain, classifier))
    print(f"Digits: log loss {before:.3f}, at a temperature of {classifier.temperature_:.2f} {after:.3f}.")

    wrong = classifier.predict(X_test) != y_test
    unsure = classifier.predict_uncertainty(X_test, n_samples=40)
    order = np.argsort(unsure.total)
    print(f"Samples of {unsure.source}. Wrong labels when the most uncertain rows are refused:")
    for share in (0.0, 0.05, 0.1, 0.2):
        kept = order[: round(len(order) * (1 - share))]
        print(f"  {share:4.0%} refused: {wrong[kept].mean():.4f}")

    noise = np.random.default_rng(0).permuted(X_test, axis=1)  # the same pixels, and no digit
    foreign = classifier.predict_uncertainty(noise, n_samples=40)
    for name, rows in (("digits", unsure), ("shuffled pixels", foreign)):
        print(f"  {name:16} aleatoric {rows.aleatoric.mean():.2f}, epistemic {rows.epistemic.mean():.2f}")


def intervals() -> None:
    """Numbers whose noise depends on a column: intervals as wide as they must be."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, size=(3000, 3))
    y = np.sin(2 * X[:, 0]) + X[:, 1] + 0.5 * np.exp(X[:, 2] / 2) * rng.normal(size=3000)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
    quiet, loud = X_test[:, 2] < -1, X_test[:, 2] > 1
    for name, settings in (
        ("the mean", {}),
        ("quantiles", {"loss": "quantile", "quantile": [0.05, 0.5, 0.95]}),
    ):
        regressor = RegularizedMLPRegressor(**settings, max_iter=30, random_state=0).fit(X_train, y_train)
        low, high = regressor.predict_interval(X_test, coverage=0.9).T
        inside, width = (low <= y_test) & (y_test <= high), high - low
        print(f"Intervals of 0.9 around {name} hold {inside.mean():.3f} of the numbers:")
        for place, rows in (("little", quiet), ("much", loud)):
            print(f"  where there is {place:6} noise {inside[rows].mean():.3f}, {width[rows].mean():.2f} wide")


if __name__ == "__main__":
    refuse_rows()
    intervals()
