"""Estimate uncertainty: reject uncertain rows, detect rows of another kind, and predict intervals.

Probabilities and intervals are calibrated on the validation rows of early stopping. Epistemic uncertainty is the
disagreement of the sampled networks; it decreases with more training rows.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor


def reject_uncertain_rows() -> None:
    """Print the error rate on the digits after the most uncertain rows are rejected."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    parameters = {"max_iter": 30, "label_smoothing": 0.1, "random_state": 0}
    uncalibrated = RegularizedMLPClassifier(**parameters, calibrate=None).fit(X_train, y_train)
    classifier = RegularizedMLPClassifier(**parameters, calibrate="temperature").fit(X_train, y_train)
    before, after = (log_loss(y_test, fitted.predict_proba(X_test)) for fitted in (uncalibrated, classifier))
    print(f"Digits: log loss {before:.3f}, with a temperature of {classifier.temperature_:.2f} {after:.3f}.")

    errors = classifier.predict(X_test) != y_test
    uncertainty = classifier.predict_uncertainty(X_test, n_samples=40)
    order = np.argsort(uncertainty.total)
    print(f"Samples from {uncertainty.source}. Error rate after the most uncertain rows are rejected:")
    for share in (0.0, 0.05, 0.1, 0.2):
        kept = order[: round(len(order) * (1 - share))]
        print(f"  {share:4.0%} rejected: {errors[kept].mean():.4f}")

    shuffled = np.random.default_rng(0).permuted(X_test, axis=1)  # the same pixels in another order are no digits
    of_shuffled = classifier.predict_uncertainty(shuffled, n_samples=40)
    for name, values in (("digits", uncertainty), ("shuffled pixels", of_shuffled)):
        print(f"  {name:16} aleatoric {values.aleatoric.mean():.2f}, epistemic {values.epistemic.mean():.2f}")


def predict_intervals() -> None:
    """Print the coverage and the width of intervals for a target whose noise depends on a column."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, size=(3000, 3))
    y = np.sin(2 * X[:, 0]) + X[:, 1] + 0.5 * np.exp(X[:, 2] / 2) * rng.normal(size=3000)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
    low_noise, high_noise = X_test[:, 2] < -1, X_test[:, 2] > 1
    for name, parameters in (
        ("the mean", {}),
        ("quantiles", {"loss": "quantile", "quantile": [0.05, 0.5, 0.95]}),
    ):
        regressor = RegularizedMLPRegressor(**parameters, max_iter=30, random_state=0).fit(X_train, y_train)
        low, high = regressor.predict_interval(X_test, coverage=0.9).T
        inside, width = (low <= y_test) & (y_test <= high), high - low
        print(f"Intervals of 90 % from {name} have a coverage of {inside.mean():.3f}:")
        for noise, rows in (("low", low_noise), ("high", high_noise)):
            print(f"  {noise:4} noise: coverage {inside[rows].mean():.3f}, width {width[rows].mean():.2f}")


if __name__ == "__main__":
    reject_uncertain_rows()
    predict_intervals()
