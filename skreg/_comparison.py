"""A comparison holds the losses of a network against those of plain models: what could be learned from the rows."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOREST = {"n_estimators": 60, "min_samples_leaf": 3, "random_state": 0}
LEAST_SHARE = 1e-3
SUREST = 0.25


@dataclass(frozen=True)
class Comparison:
    """Losses of the same rows: log loss, or half the squared error in variances of the target, summed over outputs.

    Attributes
    ----------
    network, plain, constant : ndarray of shape (rows,)
        Of the network, of the better of two plain models (linear, and randomised trees), and of the best constant.
    name : str
        Which plain model that is.
    surely_wrong : bool ndarray or None
        Of classes: which of the rows about which the plain model is surest, a quarter of all, are labelled otherwise.
    """

    network: np.ndarray
    plain: np.ndarray
    constant: np.ndarray
    name: str
    surely_wrong: np.ndarray | None = None

    @classmethod
    def of(cls, network: np.ndarray, plain: dict[str, np.ndarray], constant: np.ndarray) -> "Comparison":
        """With the best of several plain models."""
        name = min(plain, key=lambda each: plain[each].mean())
        return cls(network, plain[name], constant, name)


def surely_wrong(proba: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Of the rows with the surest predictions, which are labelled otherwise; probabilities may be logarithms."""
    sure = proba.max(1)
    return (proba.argmax(1) != code)[sure >= np.quantile(sure, 1 - SUREST)]


def compare_classes(
    X_learn: np.ndarray, X: np.ndarray, y_learn: np.ndarray, y: np.ndarray, log_proba: np.ndarray, classes: np.ndarray
) -> Comparison:
    """Fit plain classifiers on some rows, and compare them on others with the network's log probabilities."""
    code, known = np.searchsorted(classes, y), np.unique(y_learn)
    row = np.arange(len(y))
    plain, wrong = {}, {}
    for name, model in _models(ExtraTreesClassifier(**FOREST), LogisticRegression(max_iter=200)).items():
        proba = np.full((len(y), len(classes)), LEAST_SHARE)
        proba[:, np.searchsorted(classes, known)] = model.fit(X_learn, y_learn).predict_proba(X)
        plain[name] = -np.log(proba[row, code].clip(LEAST_SHARE))
        wrong[name] = surely_wrong(proba, code)
    share = np.bincount(np.searchsorted(classes, y_learn), minlength=len(classes)) / len(y_learn)
    found = Comparison.of(-log_proba[row, code], plain, -np.log(share[code].clip(LEAST_SHARE)))
    return replace(found, surely_wrong=wrong[found.name])


def compare_numbers(
    X_learn: np.ndarray, X: np.ndarray, y_learn: np.ndarray, y: np.ndarray, prediction: np.ndarray
) -> Comparison:
    """Fit plain regressors on some rows, and compare them on others with the network's predictions."""
    center, scale = y_learn.mean(0), np.maximum(y_learn.std(0), 1e-300)

    def loss(predicted: Any) -> np.ndarray:
        return 0.5 * np.square((y - predicted) / scale).reshape(len(y), -1).sum(1)

    models = _models(ExtraTreesRegressor(**FOREST), Ridge())
    plain = {name: loss(model.fit(X_learn, y_learn).predict(X)) for name, model in models.items()}
    return Comparison.of(loss(prediction), plain, loss(center))


def _models(trees: Any, linear: Any) -> dict[str, Any]:
    return {"randomised trees": trees, "a linear model": make_pipeline(StandardScaler(), linear)}
