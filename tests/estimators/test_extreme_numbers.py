"""Finite fits of extreme but finite numbers are silent; weights whose sum overflows are refused."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.estimators.classifier import _log_odds

N = 60
RNG = np.random.RandomState(0)
PLAIN = RNG.normal(size=(N, 3))
SIDE = np.where(PLAIN[:, 0] > 0, 1.0, -1.0)
MAGNITUDES = [3e38, 1e38, 1e20, 1e-20, 1e-45, 1e-300, 5e-324]
COLUMNS = {
    **{f"{m:g}": PLAIN[:, 0] / 4 * m for m in MAGNITUDES},
    **{f"two values of {m:g}": SIDE * m for m in MAGNITUDES},
    "largest": np.where(SIDE > 0, 3.4e38, -3.4e38),
    "all magnitudes": 10.0 ** RNG.uniform(-300, 38, N) * SIDE,
    "one outlier": np.r_[3e38, np.zeros(N - 1)],
    "tiny differences": 1e38 + 1e22 * np.arange(N),
    "constant": np.full(N, 3e38),
    "constant tiny": np.full(N, 5e-324),
    "zeros": np.zeros(N),
    "negative zeros": np.where(SIDE > 0, 0.0, -0.0),
}
SMALL = {
    "hidden_layer_sizes": (8,),
    "max_iter": 2,
    "n_members": 2,
    "validation_fraction": 0.5,
    "batch_size": 16,
    "random_state": 0,
    "n_threads": 1,
}


def call(function, *args, **kwargs):
    """Call a function; None if it refuses the values in a ``ValueError``. Every warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="Early stopping uses only")
        try:
            return function(*args, **kwargs)
        except ValueError:
            return None


def check(estimator, X, y, weight=None, rows=None):
    """Fit and predict with every warning as an error; all predictions are finite."""
    if call(estimator.fit, X, y, weight) is None:
        return False
    for table in (X, PLAIN if rows is None else rows):
        for name in (
            "predict",
            "predict_proba",
            "decision_function",
            "predict_log_proba",
            "predict_interval",
            "sample_predictions",
        ):
            if hasattr(estimator, name):
                kwargs = {"predict_interval": {"coverage": 0.5}, "sample_predictions": {"n_samples": 3}}.get(name, {})
                found = call(getattr(estimator, name), table, **kwargs)
                assert found is None or np.isfinite(found).all() or name == "predict_log_proba", name
        if hasattr(estimator, "predict_interval"):
            found = call(estimator.predict, table, return_std=True)
            assert found is None or np.isfinite(found[1]).all()
        found = call(estimator.predict_uncertainty, table, 3)
        assert found is None or all(
            np.isfinite(array).all() for array in (found.mean, found.total, found.aleatoric, found.epistemic)
        )
        call(estimator.score, table, y)
    return True


SCALINGS = ["robust", *(pytest.param(scaling, marks=pytest.mark.slow) for scaling in ("standard", "quantile", None))]
LOSSES = [
    "squared_error",
    *(
        pytest.param(loss, marks=pytest.mark.slow)
        for loss in ("absolute_error", "huber", "quantile", "poisson", "gamma")
    ),
]
KINDS = [np.asarray, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (sparse.csr_array, pd.DataFrame))]
WEIGHTS = {
    **{f"all {m:g}": np.full(N, m) for m in (1e306, 1e150, 1e-150, 1e-300, 5e-324)},
    "all magnitudes": 10.0 ** RNG.uniform(-300, 300, N),
    "one huge": np.r_[np.ones(N - 1), 1e300],
    "one tiny": np.r_[np.ones(N - 1), 1e-300],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("name", COLUMNS)
def test_extreme_columns(name, scaling, kind):
    X = kind(np.column_stack([COLUMNS[name], PLAIN[:, 1:]]))
    fitted = check(RegularizedMLPRegressor(**SMALL, numeric_scaling=scaling), X, PLAIN[:, 0], rows=kind(PLAIN))
    assert fitted or scaling is None
    check(RegularizedMLPClassifier(**SMALL, numeric_scaling=scaling), X, SIDE, rows=kind(PLAIN))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", COLUMNS)
def test_extreme_targets(name, loss):
    y = np.abs(COLUMNS[name]) if loss in ("poisson", "gamma") else COLUMNS[name]
    quantile = (0.1, 0.9) if loss == "quantile" else 0.5
    for target in (y, np.column_stack([y, np.abs(PLAIN[:, 0]) + 1])):
        check(RegularizedMLPRegressor(**SMALL, loss=loss, quantile=quantile), PLAIN, target)


@pytest.mark.parametrize("column", ["3e+38", pytest.param("all magnitudes", marks=pytest.mark.slow)])
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("name", WEIGHTS)
def test_extreme_weights(name, scaling, column):
    X = np.column_stack([COLUMNS[column], PLAIN[:, 1:]])
    weight = WEIGHTS[name]
    check(RegularizedMLPRegressor(**SMALL, numeric_scaling=scaling), X, COLUMNS[column], weight)
    check(RegularizedMLPClassifier(**SMALL, numeric_scaling=scaling, class_weight="balanced"), X, SIDE, weight)


@pytest.mark.parametrize("name", ["sample_weight", "sample_weight_val"])
@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_weights_whose_sum_overflows_are_refused(Estimator, name):
    given = {"X_val": PLAIN, "y_val": SIDE} if name == "sample_weight_val" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=f"{name}.* sum"):
            Estimator(**SMALL).fit(PLAIN, SIDE, **given, **{name: np.full(N, 1e308)})


def test_decision_function_is_finite_for_probabilities_that_round_to_zero():
    log_odds = _log_odds(np.array([0.0, 5e-324, 1e-300, 0.5, 1 - 1.2e-16, 1.0]))
    assert np.isfinite(log_odds).all()
    assert (np.diff(log_odds) > 0).all()
