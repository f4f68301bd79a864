"""Tests of the losses in the estimators, with all other parameters, and of refused values."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import GammaRegressor, PoissonRegressor, QuantileRegressor
from sklearn.metrics import make_scorer, r2_score, recall_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from skreg.training.losses import BinaryLoss, RegressionLoss
from tests.helpers import plain_classifier, plain_regressor

N = 120
RNG = np.random.RandomState(0)
X = RNG.randn(N, 4)
Y = 3 * (X @ [1, -2, 0, 0.3]) + 7 + 1.5 * RNG.standard_t(3, N)
COUNTS = RNG.poisson(np.exp(0.5 * X[:, 0] - 0.3 * X[:, 1] + 2)).astype(float)
AMOUNTS = 1e6 * RNG.gamma(2, np.exp(X[:, 0] - 0.3 * X[:, 1]))
THREE = np.digitize(Y, [4, 9])
LABELS = np.column_stack([Y > 7, X[:, 1] > 0]).astype(int)
SEVERAL = (0.9, 0.1, 0.5)

LINEAR = {
    "hidden_layer_sizes": (),
    "numeric_scaling": None,
    "early_stopping": False,
    "dropout": 0.0,
    "weight_decay": 0.0,
    "alpha": 0.0,
    "n_members": 1,
    "batch_size": N,
    "learning_rate_init": 0.1,
    "max_iter": 600,
    "random_state": 0,
}
CHECKED = {"max_iter": 20, "learning_rate_init": 0.1, "n_members": 1}
SMALL = {"hidden_layer_sizes": (12, 8), "max_iter": 8, "random_state": 0}
REGRESSION = [({"loss": name}, COUNTS + 1) for name in RegressionLoss.registered()]
REGRESSION.append(({"loss": "quantile", "quantile": SEVERAL}, COUNTS + 1))
CLASSIFICATION = [
    ({"loss": name, "label_smoothing": smoothing}, y)
    for name in BinaryLoss.registered()
    for smoothing in (0.0, 0.2)
    for y in (THREE, THREE > 0, LABELS)
]
ALL_LOSSES = [(plain_regressor, *each) for each in REGRESSION] + [(plain_classifier, *each) for each in CLASSIFICATION]


def predicted(estimator, X):
    """Return predicted numbers or probabilities."""
    return estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)


# equivalence to linear models


@pytest.mark.parametrize(("loss", "quantile"), [("absolute_error", 0.5), ("quantile", 0.5), ("quantile", 0.9)])
def test_linear_model_equals_quantile_regression(loss, quantile):
    ours = plain_regressor(loss=loss, quantile=quantile, solver="sgd", **LINEAR).fit(X, Y)
    reference = QuantileRegressor(quantile=quantile, alpha=0).fit(X, Y)
    np.testing.assert_allclose(ours.coefs_[0][:, 0], reference.coef_, atol=5e-3)
    np.testing.assert_allclose(ours.intercepts_[0], reference.intercept_, atol=5e-3)


def test_each_of_several_quantiles_equals_quantile_regression():
    ours = plain_regressor(loss="quantile", quantile=SEVERAL, solver="sgd", **LINEAR).fit(X, Y)
    reference = [QuantileRegressor(quantile=q, alpha=0).fit(X, Y) for q in SEVERAL]
    np.testing.assert_allclose(ours.coefs_[0], np.column_stack([each.coef_ for each in reference]), atol=1e-2)
    np.testing.assert_allclose(ours.intercepts_[0], [each.intercept_ for each in reference], atol=1e-2)
    np.testing.assert_allclose(ours.predict(X)[:, 2], reference[2].predict(X), atol=2e-2)


@pytest.mark.parametrize("solver", ["sgd", "adamw"])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize(
    ("loss", "y", "Reference"), [("poisson", COUNTS, PoissonRegressor), ("gamma", AMOUNTS, GammaRegressor)]
)
def test_linear_model_equals_the_generalized_linear_model(loss, y, Reference, alpha, solver):
    """The penalty is added to the deviance of the target divided by its mean, which scikit-learn gets as target."""
    weight = np.random.RandomState(1).rand(N) * 3
    ours = plain_regressor(loss=loss, solver=solver, **{**LINEAR, "alpha": alpha})
    ours.fit(X, y, sample_weight=weight)
    mean = np.average(y, weights=weight)
    reference = Reference(alpha=alpha, tol=1e-10, max_iter=10_000).fit(X, y / mean, sample_weight=weight)
    np.testing.assert_allclose(ours.coefs_[0][:, 0], reference.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.intercepts_[0], reference.intercept_ + np.log(mean), atol=1e-4)
    np.testing.assert_allclose(ours.predict(X), mean * reference.predict(X), rtol=1e-4)
    np.testing.assert_allclose(np.exp(X @ ours.coefs_[0] + ours.intercepts_[0])[:, 0], ours.predict(X))
    assert ours.score(X, y) == r2_score(y, ours.predict(X))


# every loss with other options


@pytest.mark.parametrize(("make_estimator", "settings", "y"), ALL_LOSSES)
def test_losses_work_with_members_weights_categories_and_early_stopping(make_estimator, settings, y, mixed_table):
    table = mixed_table.X[:N].assign(city=[f"c{i % 11}" for i in range(N)])
    weight = np.random.RandomState(1).rand(N) * (np.arange(N) % 9 > 0)
    estimator = make_estimator(early_stopping=True, n_members=3, **SMALL, **settings, batch_norm=True, alpha=1e-3)
    estimator.set_params(validation_fraction=1 / 3).fit(table, y, sample_weight=weight)
    prediction = predicted(estimator, table)
    assert np.isfinite(prediction).all()
    assert np.isfinite(estimator.validation_curve_).all()
    assert estimator.oof_prediction_.shape == prediction.shape
    assert np.isfinite(estimator.oof_score_)
    assert np.isfinite(estimator.score(table, y))
    np.testing.assert_array_equal(predicted(pickle.loads(pickle.dumps(estimator)), table), prediction)
    again = clone(estimator).fit(table[weight > 0], y[weight > 0], sample_weight=weight[weight > 0])
    np.testing.assert_array_equal(predicted(again, table), prediction)


@pytest.mark.parametrize(("make_estimator", "settings", "y"), ALL_LOSSES)
def test_losses_work_with_sparse_input_and_warm_start(make_estimator, settings, y):
    settings = {**SMALL, **settings, "early_stopping": False, "batch_size": 40}
    dense = make_estimator(**settings, numeric_scaling="standard").fit(X, y)
    np.testing.assert_allclose(
        predicted(clone(dense).fit(sparse.csr_array(X), y), X),
        predicted(dense, X),
        rtol=1e-3,
        atol=1e-4 * np.ptp(predicted(dense, X)),
    )
    resumed = dense.set_params(warm_start=True).fit(X, y).fit(X, y)
    assert resumed.loss_curve_[-1] < resumed.loss_curve_[0] * 1.05


@pytest.mark.parametrize(("make_estimator", "settings", "y"), ALL_LOSSES)
def test_a_weight_of_two_equals_a_repeated_row(make_estimator, settings, y):
    """Statistics such as quantiles and means agree up to rounding."""
    settings = {**SMALL, **settings, "dropout": 0.0, "early_stopping": False, "batch_size": 2 * N, "n_members": 1}
    repeated = [*range(N), *range(20)]
    weight = np.where(np.arange(N) < 20, 2.0, 1.0)
    one = predicted(make_estimator(**settings).fit(X, y, sample_weight=weight), X)
    two = predicted(make_estimator(**settings).fit(X[repeated], y[repeated]), X)
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4 * np.ptp(one))


NEGATIVE = (
    "The check passes a target with negative values, which this loss does not accept, although the tag positive_only "
    "is set."
)


def expected_failures(estimator):
    """Return the check that passes negative targets to every regressor."""
    return {"check_regressor_multioutput": NEGATIVE} if estimator.loss in ("poisson", "gamma") else {}


@parametrize_with_checks(
    [plain_regressor((), loss=loss, **CHECKED) for loss in RegressionLoss.registered() if loss != "squared_error"]
    + [plain_classifier((), loss="focal", label_smoothing=0.1, **CHECKED)],
    expected_failed_checks=expected_failures,
)
def test_check_estimator(estimator, check):
    check(estimator)


# estimated quantities


def test_quantiles_do_not_cross_and_cover_their_share():
    rng = np.random.RandomState(3)
    rows = rng.uniform(-1, 1, (600, 2))
    target = np.column_stack([rows[:, 0] + (1.1 + rows[:, 1]) * rng.randn(600), 100 + rng.randn(600)])
    levels = [0.5, 0.9, 0.45, 0.1, 0.55]
    model = plain_regressor((16,), loss="quantile", quantile=levels, max_iter=60, random_state=0)
    prediction = model.fit(rows, target).predict(rng.uniform(-3, 3, (500, 2)))
    assert prediction.shape == (500, 2, 5)
    assert (np.diff(prediction[..., np.argsort(levels)]) >= 0).all()
    assert (np.diff(model.oof_prediction_[..., np.argsort(levels)]) >= 0).all()
    covered = (target[..., None] <= model.oof_prediction_).mean((0, 1))
    np.testing.assert_allclose(covered, levels, atol=0.05)
    assert model.score(rows, target) == r2_score(target, model.predict(rows)[..., 0])
    assert model.oof_score_ == pytest.approx(r2_score(target, model.oof_prediction_[..., 0]))


@pytest.mark.parametrize(
    ("y", "quantile", "shape"),
    [
        (Y, 0.3, ()),
        (Y, [0.3], (1,)),
        (Y, SEVERAL, (3,)),
        (np.column_stack([Y, Y]), [0.3, 0.4], (2, 2)),
        (np.column_stack([Y, Y]), 0.3, (2,)),
        (Y[:, None], [0.3, 0.4], (2,)),
        (Y[:, None], 0.3, ()),
    ],
)
@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_shape_of_predicted_quantiles(y, quantile, shape):
    model = plain_regressor(loss="quantile", quantile=quantile, **SMALL).fit(X, y)
    assert model.predict(X).shape == (N, *shape)


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile"])
def test_robust_losses_ignore_outliers_in_the_target(loss):
    corrupted = Y + np.where(np.arange(N) % 20 == 0, 1e5, 0)
    settings = {"hidden_layer_sizes": (), "max_iter": 100, "early_stopping": False, "random_state": 0}
    robust = plain_regressor(loss=loss, **settings).fit(X, corrupted)
    plain = plain_regressor(**settings).fit(X, corrupted)
    assert r2_score(Y, robust.predict(X)) > 0.8
    assert r2_score(Y, plain.predict(X)) < 0


def test_focal_loss_predicts_less_confident_probabilities():
    settings = {"hidden_layer_sizes": (), "max_iter": 100, "early_stopping": False, "random_state": 0}
    for y in (THREE, THREE > 0):
        confident, focal = (
            plain_classifier(loss=loss, **settings).fit(X, y).predict_proba(X).max(1).mean()
            for loss in ("log_loss", "focal")
        )
        assert focal < confident - 0.02


@pytest.mark.parametrize("y", [THREE, THREE > 0, LABELS])
def test_label_smoothing_predicts_less_confident_probabilities(y):
    settings = {"hidden_layer_sizes": (64,), "max_iter": 60, "early_stopping": False, "dropout": 0.0, "random_state": 0}
    confident, smooth = (
        np.abs(plain_classifier(label_smoothing=smoothing, **settings).fit(X, y).predict_proba(X) - 0.5).mean()
        for smoothing in (0.0, 0.2)
    )
    assert smooth < confident - 0.05


@pytest.mark.parametrize(
    ("monitor", "smoothing"),
    [
        *[(name, 0.1) for name in ("accuracy", "balanced_accuracy", "f1", "f1_macro", "matthews_corrcoef")],
        *[(name, 0.0) for name in ("loss", "neg_log_loss", "roc_auc", "neg_brier_score", "average_precision")],
        (make_scorer(recall_score), 0.1),
        (lambda estimator, X, y: 1.0, 0.0),
    ],
)
def test_auto_label_smoothing_depends_on_the_monitor(monitor, smoothing):
    model = plain_classifier(label_smoothing="auto", monitor=monitor, early_stopping=True, **SMALL)
    assert model.fit(X, (THREE > 0).astype(int)).net_.criterion_.label_smoothing == smoothing


def test_the_validation_loss_has_no_label_smoothing():
    settings = {**SMALL, "n_members": 1, "dropout": 0.0, "learning_rate_init": 1e-12, "max_iter": 1}
    plain, smooth = (
        plain_classifier(label_smoothing=smoothing, early_stopping=True, **settings).fit(X, THREE)
        for smoothing in (0.0, 0.5)
    )
    np.testing.assert_allclose(smooth.validation_curve_, plain.validation_curve_, rtol=1e-5)
    assert abs(smooth.loss_curve_[0] - plain.loss_curve_[0]) > 1e-3


def test_setting_another_loss_after_fit_does_not_change_predictions():
    model = plain_regressor(loss="poisson", **SMALL).fit(X, COUNTS)
    before = model.predict(X)
    np.testing.assert_array_equal(model.set_params(loss="squared_error").predict(X), before)


# refused values


@pytest.mark.parametrize(("loss", "bad"), [("poisson", -0.5), ("gamma", 0.0), ("gamma", -3.0)])
def test_a_target_out_of_range_is_refused(loss, bad):
    corrupted = COUNTS + 1
    corrupted[5] = bad
    model = plain_regressor(loss=loss, **SMALL)
    with pytest.raises(ValueError, match=f"valid range of the loss '{loss}'.*{bad:g}"):
        model.fit(X, corrupted)
    with pytest.raises(ValueError, match=f"valid range of the loss '{loss}'"):
        model.fit(X, COUNTS + 1, X_val=X, y_val=corrupted)
    weight = np.where(np.arange(N) == 5, 0.0, 1.0)
    assert np.isfinite(model.fit(X, corrupted, sample_weight=weight).predict(X)).all()


def test_counts_that_are_all_zero_are_refused():
    with pytest.raises(ValueError, match="sum is positive"):
        plain_regressor(loss="poisson", **SMALL).fit(X, np.zeros(N))


@pytest.mark.parametrize("quantile", [[], [0.5, 1.0], [0.0], ["a"], [[0.1, 0.2]], 1.0, 0])
def test_invalid_quantiles_are_refused(quantile):
    with pytest.raises(ValueError, match="The 'quantile' parameter of RegularizedMLPRegressor must"):
        plain_regressor(loss="quantile", quantile=quantile).fit(X, Y)


def test_quantiles_require_the_quantile_loss_and_several_the_loss_monitor():
    for quantile in (0.9, [0.5, 0.6]):
        with pytest.raises(ValueError, match="requires loss='quantile', but loss='huber'"):
            plain_regressor(loss="huber", quantile=quantile).fit(X, Y)
    with pytest.raises(ValueError, match="monitor='r2' requires a single prediction per row"):
        plain_regressor(loss="quantile", quantile=SEVERAL, monitor="r2").fit(X, Y)


@pytest.mark.parametrize("change", [{"loss": "poisson"}, {"quantile": [0.5]}, {"quantile": [0.1, 0.9]}])
def test_a_warm_start_cannot_change_the_loss(change):
    model = plain_regressor(loss="quantile", warm_start=True, **SMALL).fit(X, COUNTS)
    before = model.predict(X)
    with pytest.raises(ValueError, match=r"warm_start=True cannot continue with loss=.*was fitted with loss"):
        model.set_params(**change).fit(X, COUNTS)
    np.testing.assert_array_equal(model.predict(X), before)


@pytest.mark.filterwarnings("ignore:Early stopping uses only")
@pytest.mark.parametrize(("make", "settings", "y"), ALL_LOSSES)
@pytest.mark.parametrize("height", [59, 7])
def test_out_of_fold_predictions_do_not_depend_on_the_size_of_blocks(make, settings, y, height, monkeypatch):
    """The last block of 59 rows has a row of the first of two members and none of the second."""
    settings = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0, "early_stopping": True, **settings}
    net = make(**settings).set_params(n_members=2, validation_fraction=0.5)
    expected = clone(net).fit(X[:119], y[:119])
    monkeypatch.setattr("skreg.estimators.base.OUT_OF_FOLD_ROWS", height)
    found = clone(net).fit(X[:119], y[:119])
    np.testing.assert_allclose(found.oof_prediction_, expected.oof_prediction_, rtol=1e-6)
    assert found.oof_score_ == pytest.approx(expected.oof_score_, rel=1e-6)
