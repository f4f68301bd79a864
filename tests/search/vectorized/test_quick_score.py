"""Scores without validation equal those of scikit-learn's scorers, or are left to them."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import check_scoring, get_scorer, get_scorer_names, make_scorer, mean_squared_error

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.search.vectorized.quick_score import METRICS, quick_score

QUICK = ("accuracy", "neg_log_loss", "r2", "neg_mean_squared_error", "neg_root_mean_squared_error")


class Fitted(BaseEstimator):
    def fit(self, X, y):
        return self

    def __sklearn_is_fitted__(self):
        return True


class Classifier(ClassifierMixin, Fitted):
    """Predicts given probabilities."""

    def __init__(self, classes, proba):
        self.classes_, self.proba = np.asarray(classes), proba

    def predict_proba(self, X):
        return self.proba.copy()

    def predict(self, X):
        return self.classes_.take(self.proba.argmax(1))


class Regressor(RegressorMixin, Fitted):
    """Predicts given numbers."""

    def __init__(self, prediction):
        self.prediction = prediction

    def predict(self, X):
        return self.prediction.copy()


def probabilities(rng, n_rows, n_classes, dtype):
    """Some of them are 0, 1, or differ from these by rounding."""
    raw = rng.normal(size=(n_rows, n_classes)) * rng.choice([0.1, 1, 10, 60, 1000], size=(n_rows, 1))
    proba = np.exp(raw - raw.max(1, keepdims=True))
    return (proba / proba.sum(1, keepdims=True)).astype(dtype)


LABELS = {
    "bools": [False, True],
    "two integers": [-1, 7],
    "integers": [0, 1, 2, 5],
    "text": ["a", "bb", "c"],
    "unsigned": np.array([1, 2, 3], np.uint8),
    "floats": [0.0, 1.0],
    "objects": np.array(["a", "b"], object),
    "a class that the rows lack": [0, 1, 9],
    "a class that the estimator lacks": [0, 1],
    "other types": [0, 1],
}


def classifications():
    for name, classes in LABELS.items():
        for n_rows in (1, 2, 7, 120):
            for dtype in (np.float32, np.float64):
                rng = np.random.default_rng(n_rows)
                estimator = Classifier(classes, probabilities(rng, n_rows, len(classes), dtype))
                lacks = "the rows lack" in name
                y = np.asarray(classes)[rng.integers(len(classes) - lacks, size=n_rows)]
                if "the estimator lacks" in name:
                    y[0] = 5
                if name == "other types":
                    y = np.where(y == 1, "1", "0")
                yield name, estimator, y
                yield name, estimator, pd.Series(y)
                yield name, estimator, y.tolist()
                yield name, estimator, y[:, None]


def regressions():
    for n_rows in (1, 2, 7, 120):
        for dtype in (np.float32, np.float64):
            rng = np.random.default_rng(n_rows)
            y = rng.normal(size=n_rows)
            prediction = (y + rng.normal(size=n_rows)).astype(dtype)
            quantiles = np.sort(rng.normal(size=(n_rows, 3)), axis=1).astype(dtype)
            for name, values in {
                "numbers": y,
                "integers": np.round(5 * y).astype(int),
                "float32": y.astype(np.float32),
                "large": 1e12 + y,
                "huge": 1e200 * y,
                "tiny": 1e-200 * y,
                "constant": np.full(n_rows, 0.1),
                "equal": prediction.astype(float),
                "nan": np.where(np.arange(n_rows) == 0, np.nan, y),
                "text": y.astype(str),
                "frame": pd.Series(y),
                "nullable": pd.Series(y, dtype="Float64"),
                "two outputs": np.column_stack([y, y]),
            }.items():
                yield name, Regressor(prediction), values
                yield name, Regressor(quantiles), values
                yield name, Regressor(np.where(prediction > 0, np.inf, prediction)), values


def value_of(scorer, estimator, y):
    """Score, or None after an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return scorer(estimator, np.zeros((len(y), 1)), y)
        except Exception:
            return None


@pytest.mark.parametrize("scoring", [*QUICK, None])
@pytest.mark.parametrize("inputs", [classifications, regressions])
def test_quick_scores_are_those_of_the_scorer(scoring, inputs):
    n_quick = 0
    for name, estimator, y in inputs():
        scorer = check_scoring(estimator, scoring)
        quick = quick_score(scorer, estimator, np.zeros((len(y), 1)), y)
        if quick is not None:
            n_quick += 1
            expected = value_of(scorer, estimator, y)
            assert expected is not None, name
            assert quick == pytest.approx(expected, rel=1e-6 if scoring == "neg_log_loss" else 1e-12, abs=1e-15), name
    fits = scoring is None or (scoring in QUICK[:2]) == (inputs is classifications)
    assert n_quick > 20 if fits else True


def test_other_scorers_are_not_quick():
    """Other metrics, arguments, signs and response methods are left to the scorer."""
    y = np.array([0, 1, 1, 0])
    estimator = Classifier([0, 1], probabilities(np.random.default_rng(0), 4, 2, float))
    for name in set(get_scorer_names()) - set(QUICK):
        assert quick_score(get_scorer(name), estimator, None, y) is None
    assert len(METRICS) == len(QUICK)
    scorers = [
        make_scorer(mean_squared_error),
        make_scorer(mean_squared_error, greater_is_better=False, sample_weight=[1, 2, 3, 4]),
        lambda e, X, y: 0.5,
    ]
    for scorer in scorers:
        assert quick_score(scorer, Regressor(y + 0.5), None, y) is None


@pytest.mark.parametrize("target", ["binary", "classes", "labels", "numbers", "outputs", "quantiles", "float32"])
def test_quick_scores_of_networks(target):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)).astype(np.float32 if target == "float32" else np.float64)
    given = {"hidden_layer_sizes": (4,), "max_iter": 2, "n_members": 2, "random_state": 0}
    y = {
        "binary": rng.integers(2, size=60),
        "classes": rng.choice(["a", "b", "c"], 60),
        "labels": rng.integers(2, size=(60, 2)),
        "outputs": rng.normal(size=(60, 2)),
    }.get(target, X[:, 0] + rng.normal(size=60))
    if target in ("binary", "classes", "labels"):
        network, scorings = RegularizedMLPClassifier(**given), [None, *QUICK[:2]]
    else:
        quantiles = {"loss": "quantile", "quantile": [0.2, 0.5, 0.8]} if target == "quantiles" else {}
        network, scorings = RegularizedMLPRegressor(**given, **quantiles), [None, *QUICK[2:]]
    network.fit(X, y)
    for scoring in scorings:
        scorer = check_scoring(network, scoring)
        quick = quick_score(scorer, network, X, y)
        assert (quick is None) == (target in ("labels", "outputs", "quantiles"))
        if quick is not None:
            assert quick == pytest.approx(scorer(network, X, y), rel=1e-6, abs=1e-15)
