"""The laws of a fit: what must hold of the estimators whatever their parameters are."""

import contextlib
import pickle
import random
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from joblib import parallel_config
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.metrics import get_scorer, log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.utils.fixes import parse_version
from skorch.callbacks import Callback

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, initializers
from skreg.data.folds import assign_folds
from skreg.network.generators import member_seeds

N = 120
RNG = np.random.RandomState(0)
X = RNG.randn(N, 5)
Y = 3 * (X @ [1, -2, 0, 0.3, 0] + 0.5 * RNG.randn(N)) + 7
TWO = (Y > 7).astype(int)
THREE = np.digitize(Y, [4, 9])
BOTH = [(RegularizedMLPRegressor, Y), (RegularizedMLPClassifier, THREE)]

LINEAR = {
    "hidden_layer_sizes": (),
    "numeric_scaling": None,
    "early_stopping": False,
    "dropout": 0.0,
    "weight_decay": 0.0,
    "n_members": 1,
    "learning_rate": "cosine",
    "random_state": 0,
}
SOLVERS = {
    "sgd": {"learning_rate_init": 0.1, "max_iter": 400, "batch_size": N},
    "adamw": {"learning_rate_init": 0.1, "max_iter": 600, "batch_size": N},
    "adam": {"learning_rate_init": 0.1, "max_iter": 600, "batch_size": N},
}
SMOOTH = {**SOLVERS, "lbfgs": {"max_iter": 40}}
SMALL = {"hidden_layer_sizes": (12, 8), "max_iter": 8, "random_state": 0}
EVERYTHING = {
    "batch_norm": True,
    "dropout": 0.3,
    "input_dropout": 0.1,
    "alpha": 1e-3,
    "l1_ratio": 0.5,
    "max_norm": 3.0,
    "clip_norm": 1.0,
}
WATCHED = {"early_stopping": True, "patience": 3}


def decided(estimator, X):
    """What a fitted estimator says of ``X``, in full precision."""
    return estimator.predict_log_proba(X) if hasattr(estimator, "predict_log_proba") else estimator.predict(X)


def assert_same_bits(one, other, X=X):
    assert decided(one, X).tobytes() == decided(other, X).tobytes()
    np.testing.assert_array_equal(one.loss_curve_, other.loss_curve_)


def statistics(estimator):
    """Every statistic that a fitted estimator's members learned, by name."""
    module = estimator.net_.module_
    found = {name: buffer.numpy() for name, buffer in module.inputs.named_buffers()}
    if module.target_center is not None:
        found |= {"target_center": module.target_center.numpy(), "target_scale": module.target_scale.numpy()}
    return found


# no hidden layer: the linear models


def elastic_net(alpha, l1_ratio, spread):
    """scikit-learn's, in the units of a target that the network standardises by ``spread``."""
    l1, l2 = alpha * l1_ratio * spread, alpha * (1 - l1_ratio)
    return ElasticNet(alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-12, max_iter=100_000)


@pytest.mark.parametrize("solver", SMOOTH)
@pytest.mark.parametrize("alpha", [0.01, 0.3])
def test_is_ridge(solver, alpha):
    ours = RegularizedMLPRegressor(solver=solver, alpha=alpha, **LINEAR, **SMOOTH[solver]).fit(X, Y)
    theirs = Ridge(alpha=N * alpha).fit(X, Y)
    np.testing.assert_allclose(ours.coefs_[0][:, 0], theirs.coef_, atol=1e-3)
    np.testing.assert_allclose(ours.intercepts_[0], theirs.intercept_, atol=1e-3)


@pytest.mark.parametrize("solver", SMOOTH)
def test_is_ridge_with_weights_and_several_outputs(solver):
    targets = np.column_stack([Y, -100 * Y + X[:, 4], X[:, 3] ** 2])
    weight = np.random.RandomState(1).rand(N) * 3
    ours = RegularizedMLPRegressor(solver=solver, alpha=0.1, **LINEAR, **SMOOTH[solver])
    ours.fit(X, targets, sample_weight=weight)
    theirs = Ridge(alpha=0.1 * weight.sum()).fit(X, targets, sample_weight=weight)
    np.testing.assert_allclose(ours.coefs_[0].T, theirs.coef_, atol=1e-3, rtol=1e-4)
    np.testing.assert_allclose(ours.intercepts_[0], theirs.intercept_, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("alpha", "l1_ratio"), [(0.05, 0.5), (0.2, 0.9), (0.1, 1.0)])
def test_is_elastic_net_zeros_included(solver, alpha, l1_ratio):
    ours = RegularizedMLPRegressor(solver=solver, alpha=alpha, l1_ratio=l1_ratio, **LINEAR, **SOLVERS[solver])
    theirs = elastic_net(alpha, l1_ratio, Y.std()).fit(X, Y)
    found = ours.fit(X, Y).coefs_[0][:, 0]
    np.testing.assert_allclose(found, theirs.coef_, atol=1e-3)
    np.testing.assert_array_equal(found == 0, theirs.coef_ == 0)
    assert (found == 0).any()
    np.testing.assert_allclose(ours.intercepts_[0], theirs.intercept_, atol=1e-3)


@pytest.mark.parametrize("solver", SMOOTH)
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two classes", "three classes"])
def test_is_logistic_regression(solver, y):
    ours = RegularizedMLPClassifier(solver=solver, alpha=0.05, **LINEAR, **SMOOTH[solver]).fit(X, y)
    theirs = LogisticRegression(C=1 / (N * 0.05), tol=1e-10, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(ours.coefs_[0].T, theirs.coef_, atol=1e-3)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-3)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two classes", "three classes"])
def test_is_sparse_logistic_regression_zeros_included(solver, l1_ratio, y):
    ours = RegularizedMLPClassifier(solver=solver, alpha=0.1, l1_ratio=l1_ratio, **LINEAR, **SOLVERS[solver])
    older = {} if parse_version(sklearn.__version__) >= parse_version("1.8") else {"penalty": "elasticnet"}
    theirs = LogisticRegression(
        C=1 / (N * 0.1), l1_ratio=l1_ratio, solver="saga", tol=1e-9, max_iter=100_000, random_state=0, **older
    ).fit(X, y)
    found = ours.fit(X, y).coefs_[0].T
    np.testing.assert_allclose(found, theirs.coef_, atol=1e-3)
    np.testing.assert_array_equal(found == 0, theirs.coef_ == 0)
    assert (found == 0).any()


# noise is for training only


@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_predictions_are_deterministic(estimator, y):
    noisy = estimator(**SMALL, **EVERYTHING).fit(X, y)
    assert decided(noisy, X).tobytes() == decided(noisy, X).tobytes()


@pytest.mark.parametrize("batch_size", [32, N])
@pytest.mark.parametrize("hidden", [(), (12, 8), (32,)])
@pytest.mark.parametrize(("estimator", "y"), [*BOTH, (RegularizedMLPClassifier, TWO)])
def test_a_row_is_predicted_alike_in_any_company(estimator, y, hidden, batch_size):
    net = estimator(**{**SMALL, "max_iter": 2, "hidden_layer_sizes": hidden}, batch_size=batch_size).fit(X, y)
    for part in (slice(0, 1), slice(0, 7), slice(5, 38), slice(10, 110)):
        np.testing.assert_allclose(decided(net, X[part]), decided(net, X)[part], rtol=1e-12, err_msg=str(part))


@pytest.mark.parametrize("where", ["dropout", "input_dropout"])
def test_dropout_does_not_reach_the_validation_rows(where):
    held_out = {"X_val": X[:40], "y_val": TWO[:40]}
    net = RegularizedMLPClassifier(**{**SMALL, "max_iter": 1, "learning_rate_init": 1e-12, where: 0.9}, patience=1)
    loss = net.fit(X, TWO, **held_out).validation_curve_[0]
    assert loss == pytest.approx(np.mean([_member_loss(net, m) for m in range(4)]), rel=1e-5)


def _member_loss(estimator, member):
    raw = estimator.net_.predict_raw(torch.from_numpy(X[:40]), None)[member, :, 0]
    return log_loss(TWO[:40], torch.sigmoid(raw.double()).numpy())


# same seed, same bits


@pytest.mark.parametrize(("estimator", "y"), BOTH)
@pytest.mark.parametrize("settings", [{}, {**EVERYTHING, **WATCHED}, {"solver": "sgd", "n_members": 1}])
def test_same_seed_same_bits(estimator, y, settings):
    net = estimator(**SMALL, **settings).fit(X, y)
    assert_same_bits(net, clone(net).fit(X, y))
    assert_same_bits(net, pickle.loads(pickle.dumps(net)))
    assert_same_bits(net, pickle.loads(pickle.dumps(clone(net))).fit(X, y))
    assert_same_bits(net, net.fit(X, y))
    other = clone(net).set_params(random_state=1).fit(X, y)
    assert not np.array_equal(decided(other, X), decided(net, X))


def test_a_generator_is_drawn_from_and_an_int_is_not():
    net = RegularizedMLPRegressor(**{**SMALL, "random_state": np.random.RandomState(0)})
    first, second = net.fit(X, Y).predict(X), net.fit(X, Y).predict(X)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, RegularizedMLPRegressor(**SMALL).fit(X, Y).predict(X))


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_n_jobs_changes_no_bit(backend):
    net = RegularizedMLPClassifier(**SMALL, **EVERYTHING)
    with parallel_config(backend=backend):
        one, two = (cross_val_predict(net, X, TWO, cv=4, n_jobs=n, method="predict_proba") for n in (1, 2))
        grids = [GridSearchCV(net, {"dropout": [0.0, 0.5]}, cv=2, n_jobs=n).fit(X, TWO) for n in (1, 2)]
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(*(grid.cv_results_["mean_test_score"] for grid in grids))
    assert_same_bits(grids[0].best_estimator_, grids[1].best_estimator_)


def test_the_callers_threads_change_no_bit():
    net = RegularizedMLPRegressor(**SMALL, **EVERYTHING)
    before = torch.get_num_threads()
    try:
        fits = []
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            fits.append(clone(net).fit(X, Y))
            assert torch.get_num_threads() == n_threads
        assert_same_bits(*fits)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("batch_size", [30, N])
def test_the_callers_default_dtype_changes_no_bit(batch_size):
    net = RegularizedMLPRegressor(**SMALL, **EVERYTHING, batch_size=batch_size)
    usual = clone(net).fit(X, Y)
    torch.set_default_dtype(torch.float64)
    try:
        other = clone(net).fit(X, Y)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same_bits(usual, other)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_the_callers_gradient_mode_changes_no_bit(mode):
    net = RegularizedMLPRegressor(**SMALL)
    usual = clone(net).fit(X, Y)
    with mode():
        enabled = torch.is_grad_enabled()
        other = clone(net).fit(X, Y)
        assert torch.is_grad_enabled() == enabled
    assert_same_bits(usual, other)


def test_initial_weights_can_be_made_again():
    settings = {**SMALL, "random_state": None, "init": "he_normal", "learning_rate": lambda progress: 0.0}
    net = RegularizedMLPRegressor(**settings).fit(X, Y)
    seeds = [of_weights for of_weights, _ in member_seeds(net.seed_, net.n_members)]
    again = pickle.loads(pickle.dumps(net.net_.module_))
    again.draw(initializers.he_normal, initializers.he_normal, [0] * net.n_members)
    assert not torch.equal(again.head.weight, net.net_.module_.head.weight)
    again.draw(initializers.he_normal, initializers.he_normal, seeds)
    for ours, theirs in zip(again.linears, net.net_.module_.linears, strict=True):
        assert torch.equal(ours.weight, theirs.weight)


# a fit leaves no trace


class Failure(Callback):
    """Fails in the second epoch."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise RuntimeError("failed on purpose")


@contextlib.contextmanager
def no_trace():
    """Holds the block to leaving everything global as it was."""

    def world():
        return (
            torch.random.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002  # the generator that a fit must not touch
            random.getstate(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
            list(warnings.filters),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            np.geterr(),
        )

    before = world()
    yield
    assert world() == before


@pytest.mark.parametrize(("estimator", "y"), BOTH)
@pytest.mark.parametrize("n_threads", [None, 1, 2])
def test_a_fit_leaves_no_trace(estimator, y, n_threads):
    with no_trace():
        net = estimator(**{**SMALL, "max_iter": 2, "random_state": 3}, **EVERYTHING, **WATCHED, n_threads=n_threads)
        net.set_params(n_members=2).fit(X, y).score(X, y)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"callbacks": [Failure()]}, RuntimeError),
        ({"dropout": 1.5}, ValueError),
        ({"monitor": lambda estimator, X, y: "text", "early_stopping": True}, TypeError),
        ({"solver": "sgd", "learning_rate_init": 1e20, "weight_decay": 0.0, "numeric_scaling": "standard"}, ValueError),
    ],
)
def test_a_fit_that_raises_leaves_no_trace(settings, error):
    net = RegularizedMLPRegressor(**SMALL, n_threads=2, n_members=2).set_params(**settings)
    with no_trace(), pytest.raises(error):
        net.fit(X, Y)


# statistics come from training rows only


@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
def test_held_out_rows_change_no_statistic_of_their_member(scaling):
    net = RegularizedMLPRegressor(
        **SMALL, **WATCHED, n_members=2, numeric_scaling=scaling, batch_size=32, categorical_features=[5]
    )
    table, y = np.column_stack([X, RNG.randint(0, 3, N)]), Y.copy()
    usual = statistics(net.fit(table, y))
    held = assign_folds(np.zeros(N, int), 4, np.random.RandomState(net.seed_)) == 0
    table[held, :5] = 50 * table[held, :5] - 3
    table[held, 5] = 1
    y[held] = 9 - 5 * y[held]
    changed = statistics(clone(net).fit(table, y))
    members = [name for name, found in usual.items() if found.ndim > 1 and len(found) == 2]
    assert {"fill", "center", "scale", "target_center", "target_scale"} <= set(members)
    for name in members:
        np.testing.assert_allclose(changed[name][0], usual[name][0], rtol=1e-12, atol=1e-12, err_msg=name)
    assert not np.allclose(changed["fill"][1], usual["fill"][1])
    assert not np.allclose(changed["target_scale"][1], usual["target_scale"][1])


@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_the_users_validation_rows_change_no_statistic(estimator, y):
    net = estimator(**SMALL)
    usual = statistics(net.fit(X, y, X_val=X[:60], y_val=y[:60]))
    levels = net.encoder_.levels_
    changed = statistics(net.fit(X, y, X_val=1e3 * X[:60], y_val=y[:60][::-1]))
    assert net.encoder_.levels_ == levels
    assert usual.keys() == changed.keys()
    for name in usual:
        np.testing.assert_array_equal(usual[name], changed[name], err_msg=name)


@pytest.mark.parametrize("n_levels", [3, 12])
def test_a_category_that_only_held_out_rows_have_is_unknown_to_their_member(n_levels):
    """One-hot encoded as well as embedded."""
    net = RegularizedMLPRegressor(**SMALL, **WATCHED, n_members=2)
    held = assign_folds(np.zeros(N, int), 4, np.random.RandomState(net.fit(X, Y).seed_)) == 0
    colour = np.array([f"colour {i % n_levels}" for i in range(N)], dtype=object)
    colour[held] = "rare"
    frame = pd.DataFrame({"number": X[:, 0], "colour": colour})
    net.fit(frame, Y)
    code = net.encoder_.levels_[0]["rare"]
    numbers = torch.zeros(2, 2, 1, dtype=torch.float64)
    inputs, embedded = net.net_.module_.inputs(numbers, torch.tensor([[[code], [0]]] * 2))
    shown = inputs[..., 1:] if embedded is None else embedded
    assert torch.equal(shown[0, 0], shown[0, 1])
    assert not torch.equal(shown[1, 0], shown[1, 1])


# weights


MIXED = pd.DataFrame(X, columns=list("abcde")).assign(
    few=np.array(list("xyz"))[RNG.randint(0, 3, N)], many=[f"level {i}" for i in RNG.randint(0, 12, N)]
)
MIXED.loc[::9, "b"] = np.nan
COUNTS = RNG.randint(0, 3, N)
WEIGHED = dict(**SMALL, batch_size=10_000, dropout=0.0, early_stopping=False)


@pytest.mark.parametrize(
    ("estimator", "y", "settings"),
    [
        (RegularizedMLPRegressor, Y, {}),
        (RegularizedMLPRegressor, Y, {"numeric_scaling": "standard", "batch_norm": True}),
        (RegularizedMLPRegressor, Y, {"numeric_scaling": "quantile", "solver": "sgd", "alpha": 0.01}),
        (RegularizedMLPRegressor, np.column_stack([Y, X[:, 0]]), {"numeric_scaling": None, "n_members": 1}),
        (RegularizedMLPClassifier, TWO, {"class_weight": "balanced", "solver": "sgd", "alpha": 0.1, "l1_ratio": 0.5}),
        (RegularizedMLPClassifier, THREE, {"class_weight": "balanced", "batch_norm": True}),
        (RegularizedMLPClassifier, THREE, {"class_weight": {0: 1, 1: 5, 2: 0.5}, "clip_norm": 0.1}),
        (RegularizedMLPClassifier, np.column_stack([TWO, X[:, 0] > 0]).astype(int), {}),
    ],
)
def test_weight_zero_is_a_removed_row_and_weight_two_a_repeated_one(estimator, y, settings):
    weighted = estimator(**WEIGHED).set_params(**settings).fit(MIXED, y, sample_weight=COUNTS)
    rows = np.repeat(np.arange(N), COUNTS)
    repeated = clone(weighted).fit(MIXED.iloc[rows], y[rows])
    np.testing.assert_allclose(decided(weighted, MIXED), decided(repeated, MIXED), rtol=1e-7, atol=1e-7)
    plain = clone(weighted).fit(MIXED, y)
    assert not np.allclose(decided(weighted, MIXED), decided(plain, MIXED), atol=1e-3)


@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
def test_weight_two_is_a_repeated_row_in_a_longer_table(scaling):
    rng = np.random.RandomState(0)
    long = rng.randn(400, 2)
    weight = rng.randint(1, 3, 400)
    net = RegularizedMLPRegressor(**WEIGHED, numeric_scaling=scaling)
    rows = np.repeat(np.arange(400), weight)
    weighted = clone(net).fit(long, long[:, 0], sample_weight=weight)
    repeated = clone(net).fit(long[rows], long[rows, 0])
    np.testing.assert_allclose(weighted.predict(long), repeated.predict(long), atol=1e-7)


@pytest.mark.parametrize(("estimator", "y"), BOTH)
@pytest.mark.parametrize("factor", [1e-3, 1 / 3, 1000])
def test_scaling_all_weights_changes_nothing(estimator, y, factor):
    net = estimator(**SMALL, **EVERYTHING, batch_size=32)
    one, other = (clone(net).fit(MIXED, y, sample_weight=w) for w in (COUNTS, factor * COUNTS))
    np.testing.assert_allclose(decided(one, MIXED), decided(other, MIXED), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-4)


@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_equal_weights_are_no_weights(estimator, y):
    net = estimator(**SMALL, batch_size=32)
    assert_same_bits(clone(net).fit(X, y), clone(net).fit(X, y, sample_weight=np.full(N, 2.0)))


# early stopping


MONITORS = [
    (RegularizedMLPRegressor, Y, "loss"),
    (RegularizedMLPRegressor, Y, "neg_mean_squared_error"),
    (RegularizedMLPRegressor, Y, "r2"),
    (RegularizedMLPRegressor, Y, lambda estimator, X, y: -np.abs(estimator.predict(X) - y).max()),
    (RegularizedMLPClassifier, TWO, "loss"),
    (RegularizedMLPClassifier, TWO, "roc_auc"),
    (RegularizedMLPClassifier, TWO, "neg_brier_score"),
    (RegularizedMLPClassifier, THREE, "neg_log_loss"),
    (RegularizedMLPClassifier, THREE, "accuracy"),
    (RegularizedMLPClassifier, THREE, lambda estimator, X, y: estimator.score(X, y)),
]


def scored(net, monitor, X, y):
    """What ``monitor`` says of a fitted estimator; of the loss, its value."""
    if callable(monitor):
        return monitor(net, X, y)
    if monitor != "loss":
        return get_scorer(monitor)(net, X, y)
    if hasattr(net, "predict_proba"):
        return log_loss(y, net.predict_proba(X))
    return np.mean((net.predict(X) - y) ** 2) / 2 / net.net_.module_.target_scale.item() ** 2


@pytest.mark.parametrize(("estimator", "y", "monitor"), MONITORS)
def test_the_best_epochs_weights_are_restored(estimator, y, monitor):
    net = estimator(
        hidden_layer_sizes=(32,),
        monitor=monitor,
        patience=5,
        max_iter=40,
        learning_rate="cosine",
        learning_rate_init=0.05,
        n_members=1,
        dropout=0.0,
        random_state=0,
        **({"calibrate": None} if estimator is RegularizedMLPClassifier else {}),
    ).fit(X[:60], y[:60], X_val=X[60:], y_val=y[60:])
    curve = net.validation_curve_ if monitor != "loss" else -net.validation_curve_
    assert len(curve) == net.n_iter_
    assert net.best_iter_ == 1 + np.argmax(curve)
    found = scored(net, monitor, X[60:], y[60:])
    assert found == pytest.approx(curve.max() if monitor != "loss" else -curve.max(), rel=1e-6)
    assert net.n_iter_ in (40, net.best_iter_ + 5)
    assert curve.max() > curve[0]


def test_patience_is_kept_to():
    noise = np.random.RandomState(1).randn(N)
    settings = {
        "hidden_layer_sizes": (64,),
        "learning_rate": "cosine",
        "learning_rate_init": 0.03,
        "max_iter": 60,
        "n_members": 1,
        "random_state": 0,
    }
    for patience in (1, 4, 9):
        net = RegularizedMLPRegressor(patience=patience, **settings).fit(
            X[:60], noise[:60], X_val=X[60:], y_val=noise[60:]
        )
        assert net.n_iter_ == net.best_iter_ + patience < 60


def test_min_delta_is_the_gain_that_counts():
    settings = {"hidden_layer_sizes": (8,), "max_iter": 30, "n_members": 1, "patience": 3, "random_state": 0}
    settings["learning_rate"] = "cosine"
    net = RegularizedMLPRegressor(min_delta=1e6, **settings).fit(X[:60], Y[:60], X_val=X[60:], y_val=Y[60:])
    assert (net.best_iter_, net.n_iter_) == (1, 4)


def test_sample_weight_val_weighs_the_monitor():
    weight = np.r_[np.zeros(30), np.full(30, 3.0)]
    for monitor in ("loss", "neg_mean_squared_error"):
        net = RegularizedMLPRegressor(**SMALL, monitor=monitor, n_members=1)
        weighted = clone(net).fit(X[:60], Y[:60], X_val=X[60:], y_val=Y[60:], sample_weight_val=weight)
        fewer = clone(net).fit(X[:60], Y[:60], X_val=X[90:], y_val=Y[90:])
        np.testing.assert_allclose(weighted.validation_curve_, fewer.validation_curve_, rtol=1e-6, err_msg=monitor)


def test_balanced_classes_work_with_validation_rows_that_lack_one():
    net = RegularizedMLPClassifier(**SMALL, class_weight="balanced")
    there = THREE[60:] < 2
    net.fit(X[:60], THREE[:60], X_val=X[60:][there], y_val=THREE[60:][there])
    assert np.isfinite(net.validation_curve_).all()


@pytest.mark.parametrize("n_members", [4, 5, 8])
@pytest.mark.parametrize(
    ("Estimator", "target"),
    [
        (RegularizedMLPRegressor, Y),
        (RegularizedMLPClassifier, Y > 7),
        (RegularizedMLPClassifier, np.digitize(Y, [5, 9])),
    ],
    ids=["numbers", "two classes", "three classes"],
)
def test_the_bits_of_a_row_do_not_depend_on_those_beside_it(Estimator, target, n_members):
    net = Estimator((16,), max_iter=2, n_members=n_members, random_state=0).fit(X, target)
    predict = net.predict if Estimator is RegularizedMLPRegressor else net.predict_proba
    for n in (1, 7, 33, 100):
        assert np.concatenate([predict(X[:n]), predict(X[n:])]).tobytes() == predict(X).tobytes()


def test_too_few_validation_rows_warn():
    net = RegularizedMLPRegressor(**SMALL, n_members=4, early_stopping=True)
    with pytest.warns(UserWarning, match="watches only 10 validation rows"):
        net.fit(X[:40], Y[:40])
    with pytest.warns(UserWarning, match="watches only 12 validation rows"):
        net.fit(X, Y, X_val=X[:12], y_val=Y[:12])


@pytest.mark.parametrize("n_members", [4, 8])
def test_auto_stops_early_where_a_fold_is_large_enough(n_members):
    """Of 30 rows, or of 15 where there are eight."""
    net = RegularizedMLPRegressor(**SMALL, n_members=n_members)
    assert net.fit(X[:120], Y[:120]).validation_curve_ is not None
    assert net.fit(X[:119], Y[:119]).validation_curve_ is None
    assert net.set_params(early_stopping=False).fit(X, Y).validation_curve_ is None


def folds_of(net, strata):
    n_folds = max(net.n_members, round(1 / net.validation_fraction))
    return assign_folds(strata, n_folds, np.random.RandomState(net.seed_))


@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_out_of_fold_predictions_come_from_members_that_did_not_see_the_row(estimator, y):
    net = estimator(**SMALL, **WATCHED, n_members=4).fit(X, y)
    folds = folds_of(net, np.zeros(N, int) if y is Y else y)
    assert sorted(np.bincount(folds)) == [30] * 4
    with torch.no_grad():
        raw = net.net_.predict_raw(torch.from_numpy(X), None).double()
    own = raw[torch.from_numpy(folds), torch.arange(N)]
    if y is Y:
        module = net.net_.module_
        own = (own * module.target_scale[folds, 0] + module.target_center[folds, 0])[:, 0]
        score = 1 - ((y - own.numpy()) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    else:
        own = torch.softmax(own / net.temperature_, -1)
        score = (own.argmax(-1).numpy() == y).mean()
        assert all(np.ptp(np.bincount(folds[y == label])) <= 1 for label in np.unique(y))
    np.testing.assert_allclose(net.oof_prediction_, own.numpy(), atol=1e-4)
    assert net.oof_score_ == pytest.approx(score, abs=1e-5)


def test_a_row_is_not_trained_on_by_the_member_that_holds_it_out():
    """Changing a member's held-out target changes none of its weights, when it does not stop early."""
    settings = {**SMALL, "early_stopping": True, "patience": 100, "monitor": lambda estimator, X, y: 0.0}
    net = RegularizedMLPRegressor(**settings, n_members=4).fit(X, Y)
    changed = Y.copy()
    changed[folds_of(net, np.zeros(N, int)) == 2] += 10
    other = clone(net).fit(X, changed)
    for ours, theirs in zip(net.net_.module_.linears, other.net_.module_.linears, strict=True):
        torch.testing.assert_close(ours.weight[2], theirs.weight[2], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("n_members", [1, 3])
def test_no_out_of_fold_predictions_where_folds_do_not_cover(n_members):
    net = RegularizedMLPRegressor(**SMALL, **WATCHED, n_members=4).fit(X, Y)
    assert hasattr(net, "oof_score_")
    net.set_params(n_members=n_members).fit(X, Y)
    assert not hasattr(net, "oof_score_")
    assert not hasattr(net, "oof_prediction_")


def test_rows_of_weight_zero_have_no_out_of_fold_prediction():
    weight = np.ones(N + 20)
    weight[::7] = 0
    table, y = np.vstack([X, X[:20]]), np.r_[Y, Y[:20]]
    net = RegularizedMLPRegressor(**SMALL, **WATCHED).fit(table, y, sample_weight=weight)
    np.testing.assert_array_equal(np.isnan(net.oof_prediction_), weight == 0)


# divergence


def explodes(progress):
    return 1.0 if progress < 0.5 else 1e30


@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_diverging_fit_that_never_was_good_raises_with_advice(early_stopping):
    net = RegularizedMLPRegressor(
        **SMALL, solver="sgd", weight_decay=0.0, learning_rate_init=1e20, numeric_scaling="standard"
    )
    with pytest.raises(ValueError, match=r"diverged.*Decrease learning_rate_init"):
        net.set_params(early_stopping=early_stopping).fit(X, Y)


SCORERS = {RegularizedMLPRegressor: "neg_mean_squared_error", RegularizedMLPClassifier: "neg_log_loss"}
WATCHES = [{"early_stopping": False}, {**WATCHED, "monitor": "loss"}, {**WATCHED, "monitor": "scorer"}]


def late_to_diverge(estimator, batch_size, watch):
    net = estimator(**SMALL, solver="sgd", numeric_scaling="standard", learning_rate_init=0.01, n_members=2)
    net.set_params(learning_rate=explodes, max_iter=20, batch_size=batch_size, **watch)
    return net.set_params(monitor=SCORERS[estimator]) if net.monitor == "scorer" else net


@pytest.mark.parametrize(("estimator", "y"), BOTH)
@pytest.mark.parametrize("watch", WATCHES)
def test_a_fit_that_diverges_late_goes_back_to_good_weights(estimator, y, watch):
    net = late_to_diverge(estimator, 32, watch)
    with pytest.warns(ConvergenceWarning, match="went back to those of epoch"):
        net.fit(X, y)
    calm = clone(net).set_params(learning_rate="constant", max_iter=10).fit(X, y)
    assert np.isfinite(decided(net, X)).all()
    assert net.score(X, y) > calm.score(X, y) - 0.1


@pytest.mark.filterwarnings("ignore:The training diverged:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("estimator", "y"), BOTH)
@pytest.mark.parametrize("watch", WATCHES)
def test_a_fit_that_diverges_in_full_batches_predicts_finite_numbers(estimator, y, watch):
    """Where an epoch is one step, its loss is that of the weights before it."""
    net = late_to_diverge(estimator, N, watch).fit(X, y)
    assert np.isfinite(decided(net, X)).all()
    if net.early_stopping:
        calm = clone(net).set_params(learning_rate="constant", max_iter=10).fit(X, y)
        assert net.score(X, y) > calm.score(X, y) - 0.1


def test_a_failed_fit_leaves_nothing_that_predicts_nonsense():
    net = RegularizedMLPRegressor(
        **SMALL, solver="sgd", weight_decay=0.0, learning_rate_init=1e20, numeric_scaling="standard"
    )
    with pytest.raises(ValueError, match="diverged"):
        net.fit(X, Y)
    with pytest.raises(ValueError, match=r"not fitted|not finite"):
        net.predict(X)


def test_a_failed_fit_does_not_spoil_the_next_warm_start():
    net = RegularizedMLPRegressor(**SMALL, warm_start=True).fit(X, Y)
    rate = net.learning_rate_init
    with pytest.raises(ValueError, match="diverged"):
        net.set_params(solver="sgd", weight_decay=0.0, learning_rate_init=1e20, clip_norm=None).fit(1e3 * X, Y)
    net.set_params(solver="adamw", learning_rate_init=rate).fit(X, Y)
    assert np.isfinite(net.predict(X)).all()


# sparse tables


@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_sparse_is_dense(estimator, y, scaling):
    dense = np.where(RNG.rand(N, 6) < 0.4, RNG.randn(N, 6), 0)
    dense[:, 0] += X[:, 0]
    net = estimator(**SMALL, **WATCHED, numeric_scaling=scaling, batch_size=32)
    of_dense = clone(net).fit(dense, y)
    of_sparse = clone(net).fit(sparse.csr_array(dense), y)
    for name, found in statistics(of_dense).items():
        np.testing.assert_allclose(statistics(of_sparse)[name], found, rtol=1e-10, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(decided(of_sparse, sparse.csc_array(dense)), decided(of_dense, dense), atol=1e-5)
