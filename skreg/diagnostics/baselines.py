"""Compare a network's losses with those of simple models on the same rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_TREES: dict[str, Any] = {"n_estimators": 60, "min_samples_leaf": 3, "random_state": 0}
_MIN_PROBABILITY = 1e-3
_CONFIDENT_SHARE = 0.25


@dataclass(frozen=True)
class BaselineComparison:
    """Losses of a network and of simpler models on the same rows.

    The loss is the log loss, or half the squared error divided by the target's variance, summed over outputs.
    """

    network: np.ndarray  # (n_rows,)
    baseline: np.ndarray  # (n_rows,), of a linear model or randomized trees, whichever is better
    constant: np.ndarray  # (n_rows,), of the best constant prediction
    name: str  # of the better baseline
    confident_errors: np.ndarray | None = None  # see `confident_errors`, of the better baseline; None in regression


def confident_errors(probability: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Whether each prediction in the most confident quarter is wrong, from probabilities or their logarithms."""
    confidence = probability.max(1)
    wrong: np.ndarray = (probability.argmax(1) != code)[confidence >= np.quantile(confidence, 1 - _CONFIDENT_SHARE)]
    return wrong


def compare_classifiers(
    X_fit: np.ndarray, y_fit: np.ndarray, X: np.ndarray, y: np.ndarray, log_probability: np.ndarray, classes: np.ndarray
) -> BaselineComparison:
    """Fit baselines on ``X_fit`` and compare them on ``X`` with the network's log probabilities."""
    code, known_classes = np.searchsorted(classes, y), np.unique(y_fit)
    row = np.arange(len(y))
    losses, errors = {}, {}
    for name, model in _baselines(ExtraTreesClassifier(**_TREES), LogisticRegression(max_iter=200)).items():
        probability = np.full((len(y), len(classes)), _MIN_PROBABILITY)
        probability[:, np.searchsorted(classes, known_classes)] = model.fit(X_fit, y_fit).predict_proba(X)
        losses[name] = -np.log(probability[row, code].clip(_MIN_PROBABILITY))
        errors[name] = confident_errors(probability, code)
    share = np.bincount(np.searchsorted(classes, y_fit), minlength=len(classes)) / len(y_fit)
    constant = -np.log(share[code].clip(_MIN_PROBABILITY))
    best = min(losses, key=lambda name: float(losses[name].mean()))
    return BaselineComparison(-log_probability[row, code], losses[best], constant, best, errors[best])


def compare_regressors(
    X_fit: np.ndarray, y_fit: np.ndarray, X: np.ndarray, y: np.ndarray, prediction: np.ndarray
) -> BaselineComparison:
    """Fit baselines on ``X_fit`` and compare them on ``X`` with the network's predictions."""
    center, scale = y_fit.mean(0), np.maximum(y_fit.std(0), 1e-300)

    def loss(predicted: np.ndarray) -> np.ndarray:
        return np.asarray(0.5 * np.square((y - predicted) / scale).reshape(len(y), -1).sum(1))

    models = _baselines(ExtraTreesRegressor(**_TREES), Ridge())
    losses = {name: loss(model.fit(X_fit, y_fit).predict(X)) for name, model in models.items()}
    best = min(losses, key=lambda name: float(losses[name].mean()))
    return BaselineComparison(loss(prediction), losses[best], loss(center), best)


def _baselines(trees: Any, linear: Any) -> dict[str, Any]:
    return {"randomized trees": trees, "a linear model": make_pipeline(StandardScaler(), linear)}
