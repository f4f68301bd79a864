"""Finite fits of extreme but finite numbers are silent; weights whose sum overflows are refused."""

import re
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.estimators.classifier import _log_odds
from skreg.estimators.parameters import CONSTRAINTS
from tests.helpers import plain_regressor

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


NUMBERS = [
    10**400,
    -(10**400),
    2**63,
    1e308,
    -1e308,
    5e-324,
    -0.0,
    np.inf,
    np.nan,
    True,
    Fraction(1, 2),
    Decimal("0.5"),
]
NUMBERS += [np.float32(0.5), np.float16(0.5), np.float64(1e308), np.int8(1), np.uint64(2**64 - 1), np.bool_(True)]
NUMBERS += [np.longdouble("1e4000"), np.longdouble("1e-4000"), Decimal("sNaN")]
NUMERIC = [name for name, rules in CONSTRAINTS.items() if "Interval" in str([type(rule) for rule in rules])]


@pytest.mark.filterwarnings("error::RuntimeWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", [*NUMERIC, "learning_rate_init and weight_decay", "label_smoothing", "quantile"])
def test_a_number_is_used_or_refused_with_the_name_of_the_parameter(name):
    estimator = RegularizedMLPRegressor if name == "quantile" else RegularizedMLPClassifier
    names = name.split(" and ")
    for number in NUMBERS:
        loss = {"loss": "quantile"} if name == "quantile" else {}
        net = estimator((2,), max_iter=1, n_members=1, random_state=0, **loss).set_params(
            **dict.fromkeys(names, number)
        )
        try:
            predicted = net.fit(PLAIN[:20], SIDE[:20]).predict(PLAIN)
        except (ValueError, TypeError) as error:
            if not re.search("|".join([*names, "diverged"]), str(error)):
                raise
        else:
            assert np.isfinite(predicted).all()


SCALES = [1e306, 1e200, 1.0, 1e-200, 1e-310, 5e-324]
CLASS_WEIGHTS = [{-1: 1e10, 1: 1e308}, {-1: 2.0, 1: 1.0}, {-1: 1e-300, 1: 2e-300}, {-1: 5e-324, 1: 5e-324}, "balanced"]


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("class_weight", CLASS_WEIGHTS, ids=str)
def test_the_scale_of_weights_and_class_weights_has_no_effect(class_weight):
    """Their product overflows or is 0 in floating-point numbers."""
    y = SIDE.astype(int)
    for weight in SCALES:
        fitted = RegularizedMLPClassifier(**SMALL, class_weight=class_weight)
        proba = fitted.fit(PLAIN, y, sample_weight=np.full(N, weight)).predict_proba(PLAIN)
        expected = RegularizedMLPClassifier(**SMALL, class_weight=class_weight).fit(PLAIN, y).predict_proba(PLAIN)
        np.testing.assert_allclose(proba, expected, atol=1e-6)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("estimator", [RegularizedMLPClassifier(**SMALL), RegularizedMLPRegressor(**SMALL)])
def test_the_scale_of_weights_has_no_effect_on_scores(estimator, scale):
    estimator.fit(PLAIN, SIDE)
    weight = 2.0 ** (np.arange(N) % 2) if scale > 5e-324 else np.ones(N)
    expected = estimator.score(PLAIN, SIDE, sample_weight=weight)
    assert estimator.score(PLAIN, SIDE, sample_weight=weight * scale) == pytest.approx(expected, rel=1e-12)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan, 1e300, 10**400])
@pytest.mark.parametrize("estimator", [RegularizedMLPClassifier(**SMALL), RegularizedMLPRegressor(**SMALL)])
def test_extreme_targets_are_refused_by_score(estimator, wrong):
    with pytest.raises((ValueError, TypeError), match=r"\by\b"):
        estimator.fit(PLAIN, SIDE).score(PLAIN, [*SIDE[1:].tolist(), wrong])


@pytest.mark.parametrize("name", ["alpha", "weight_decay", "learning_rate_init", "max_norm", "min_delta"])
def test_numbers_that_float32_cannot_represent_are_refused(name):
    with pytest.raises(ValueError, match=f"'{name}' parameter .* must not contain numbers that float32 cannot"):
        plain_regressor(max_iter=1, **{name: 1e300}).fit(np.eye(4), np.arange(4.0))


def test_a_huge_l1_penalty_sets_all_weights_to_zero():
    fitted = plain_regressor((3,), max_iter=2, alpha=3e38, l1_ratio=1.0, learning_rate_init=100.0, n_members=1)
    fitted.fit(np.eye(4), np.arange(4.0))
    assert not any(weight.any() for weight in fitted.coefs_)
