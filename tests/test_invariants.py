"""Properties that hold for every fit, whatever the parameters are; see docs/invariants.rst."""

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

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.data.split import assign_folds
from skreg.network.generators import member_seeds
from skreg.network.inference import predict_raw

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
STOPPED_EARLY = {"early_stopping": True, "patience": 3}


def prediction(estimator, X):
    """Log probabilities or predicted numbers of ``X``."""
    return estimator.predict_log_proba(X) if hasattr(estimator, "predict_log_proba") else estimator.predict(X)


def assert_same_bits(one, other, X=X):
    assert prediction(one, X).tobytes() == prediction(other, X).tobytes()
    np.testing.assert_array_equal(one.loss_curve_, other.loss_curve_)


def statistics(estimator):
    """Statistics that the members of a fitted estimator learned, by name."""
    module = estimator.net_.module_
    found = {name: buffer.numpy() for name, buffer in module.inputs.named_buffers()}
    if module.target_center is not None:
        found |= {"target_center": module.target_center.numpy(), "target_scale": module.target_scale.numpy()}
    return found


# linear models


def elastic_net(alpha, l1_ratio, spread):
    """scikit-learn's estimator for a target that the network standardizes by dividing by ``spread``."""
    l1, l2 = alpha * l1_ratio * spread, alpha * (1 - l1_ratio)
    return ElasticNet(alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-12, max_iter=100_000)


@pytest.mark.parametrize("solver", SMOOTH)
@pytest.mark.parametrize("alpha", [0.01, 0.3])
def test_equals_ridge(solver, alpha):
    ours = RegularizedMLPRegressor(solver=solver, alpha=alpha, **LINEAR, **SMOOTH[solver]).fit(X, Y)
    theirs = Ridge(alpha=N * alpha).fit(X, Y)
    np.testing.assert_allclose(ours.coefs_[0][:, 0], theirs.coef_, atol=1e-3)
    np.testing.assert_allclose(ours.intercepts_[0], theirs.intercept_, atol=1e-3)


@pytest.mark.parametrize("solver", SMOOTH)
def test_equals_ridge_with_weights_and_several_outputs(solver):
    targets = np.column_stack([Y, -100 * Y + X[:, 4], X[:, 3] ** 2])
    weight = np.random.RandomState(1).rand(N) * 3
    ours = RegularizedMLPRegressor(solver=solver, alpha=0.1, **LINEAR, **SMOOTH[solver])
    ours.fit(X, targets, sample_weight=weight)
    theirs = Ridge(alpha=0.1 * weight.sum()).fit(X, targets, sample_weight=weight)
    np.testing.assert_allclose(ours.coefs_[0].T, theirs.coef_, atol=1e-3, rtol=1e-4)
    np.testing.assert_allclose(ours.intercepts_[0], theirs.intercept_, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("alpha", "l1_ratio"), [(0.05, 0.5), (0.2, 0.9), (0.1, 1.0)])
def test_equals_elastic_net_including_zeros(solver, alpha, l1_ratio):
    ours = RegularizedMLPRegressor(solver=solver, alpha=alpha, l1_ratio=l1_ratio, **LINEAR, **SOLVERS[solver])
    theirs = elastic_net(alpha, l1_ratio, Y.std()).fit(X, Y)
    coef = ours.fit(X, Y).coefs_[0][:, 0]
    np.testing.assert_allclose(coef, theirs.coef_, atol=1e-3)
    np.testing.assert_array_equal(coef == 0, theirs.coef_ == 0)
    assert (coef == 0).any()
    np.testing.assert_allclose(ours.intercepts_[0], theirs.intercept_, atol=1e-3)


@pytest.mark.parametrize("solver", SMOOTH)
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two classes", "three classes"])
def test_equals_logistic_regression(solver, y):
    ours = RegularizedMLPClassifier(solver=solver, alpha=0.05, **LINEAR, **SMOOTH[solver]).fit(X, y)
    theirs = LogisticRegression(C=1 / (N * 0.05), tol=1e-10, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(ours.coefs_[0].T, theirs.coef_, atol=1e-3)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-3)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two classes", "three classes"])
def test_equals_sparse_logistic_regression_including_zeros(solver, l1_ratio, y):
    ours = RegularizedMLPClassifier(solver=solver, alpha=0.1, l1_ratio=l1_ratio, **LINEAR, **SOLVERS[solver])
    older = {} if parse_version(sklearn.__version__) >= parse_version("1.8") else {"penalty": "elasticnet"}
    theirs = LogisticRegression(
        C=1 / (N * 0.1), l1_ratio=l1_ratio, solver="saga", tol=1e-9, max_iter=100_000, random_state=0, **older
    ).fit(X, y)
    coef = ours.fit(X, y).coefs_[0].T
    np.testing.assert_allclose(coef, theirs.coef_, atol=1e-3)
    np.testing.assert_array_equal(coef == 0, theirs.coef_ == 0)
    assert (coef == 0).any()


# noise in training only


@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_predictions_are_deterministic(estimator, y):
    noisy = estimator(**SMALL, **EVERYTHING).fit(X, y)
    assert prediction(noisy, X).tobytes() == prediction(noisy, X).tobytes()


@pytest.mark.parametrize("batch_size", [32, N])
@pytest.mark.parametrize("hidden", [(), (12, 8), (32,)])
@pytest.mark.parametrize(("estimator", "y"), [*BOTH, (RegularizedMLPClassifier, TWO)])
def test_predictions_do_not_depend_on_the_other_rows(estimator, y, hidden, batch_size):
    net = estimator(**{**SMALL, "max_iter": 2, "hidden_layer_sizes": hidden}, batch_size=batch_size).fit(X, y)
    for rows in (slice(0, 1), slice(0, 7), slice(5, 38), slice(10, 110)):
        np.testing.assert_allclose(prediction(net, X[rows]), prediction(net, X)[rows], rtol=1e-12, err_msg=str(rows))


@pytest.mark.parametrize("parameter", ["dropout", "input_dropout"])
def test_dropout_does_not_reach_the_validation_rows(parameter):
    held_out = {"X_val": X[:40], "y_val": TWO[:40]}
    net = RegularizedMLPClassifier(**{**SMALL, "max_iter": 1, "learning_rate_init": 1e-12, parameter: 0.9}, patience=1)
    loss = net.fit(X, TWO, **held_out).validation_curve_[0]
    assert loss == pytest.approx(np.mean([_member_loss(net, m) for m in range(4)]), rel=1e-5)


def _member_loss(estimator, member):
    raw = predict_raw(estimator.net_.module_, torch.from_numpy(X[:40]), None)[member, :, 0]
    return log_loss(TWO[:40], torch.sigmoid(raw.double()).numpy())


# same seed, same bits


@pytest.mark.parametrize(("estimator", "y"), BOTH)
@pytest.mark.parametrize("settings", [{}, {**EVERYTHING, **STOPPED_EARLY}, {"solver": "sgd", "n_members": 1}])
def test_the_same_seed_gives_the_same_bits(estimator, y, settings):
    net = estimator(**SMALL, **settings).fit(X, y)
    assert_same_bits(net, clone(net).fit(X, y))
    assert_same_bits(net, pickle.loads(pickle.dumps(net)))
    assert_same_bits(net, pickle.loads(pickle.dumps(clone(net))).fit(X, y))
    assert_same_bits(net, net.fit(X, y))
    other = clone(net).set_params(random_state=1).fit(X, y)
    assert not np.array_equal(prediction(other, X), prediction(net, X))


def test_a_random_state_advances_and_an_integer_seed_does_not():
    net = RegularizedMLPRegressor(**{**SMALL, "random_state": np.random.RandomState(0)})
    first, second = net.fit(X, Y).predict(X), net.fit(X, Y).predict(X)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, RegularizedMLPRegressor(**SMALL).fit(X, Y).predict(X))


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.slow
def test_predictions_do_not_depend_on_n_jobs(backend):
    net = RegularizedMLPClassifier(**SMALL, **EVERYTHING)
    with parallel_config(backend=backend):
        one, two = (cross_val_predict(net, X, TWO, cv=4, n_jobs=n, method="predict_proba") for n in (1, 2))
        grids = [GridSearchCV(net, {"dropout": [0.0, 0.5]}, cv=2, n_jobs=n).fit(X, TWO) for n in (1, 2)]
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(*(grid.cv_results_["mean_test_score"] for grid in grids))
    assert_same_bits(grids[0].best_estimator_, grids[1].best_estimator_)


def test_predictions_do_not_depend_on_the_global_thread_count():
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
def test_predictions_do_not_depend_on_the_default_dtype(batch_size):
    net = RegularizedMLPRegressor(**SMALL, **EVERYTHING, batch_size=batch_size)
    expected = clone(net).fit(X, Y)
    torch.set_default_dtype(torch.float64)
    try:
        other = clone(net).fit(X, Y)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same_bits(expected, other)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_predictions_do_not_depend_on_the_gradient_mode(mode):
    net = RegularizedMLPRegressor(**SMALL)
    expected = clone(net).fit(X, Y)
    with mode():
        enabled = torch.is_grad_enabled()
        other = clone(net).fit(X, Y)
        assert torch.is_grad_enabled() == enabled
    assert_same_bits(expected, other)


def test_initial_weights_are_reproduced_from_the_seed():
    settings = {**SMALL, "random_state": None, "init": "he_normal", "learning_rate": lambda progress: 0.0}
    net = RegularizedMLPRegressor(**settings).fit(X, Y)
    seeds = [of_weights for of_weights, _ in member_seeds(net.seed_, net.n_members)]
    again = pickle.loads(pickle.dumps(net.net_.module_))
    again.init_weights([0] * net.n_members)
    assert not torch.equal(again.head.weight, net.net_.module_.head.weight)
    again.init_weights(seeds)
    for ours, theirs in zip(again.linears, net.net_.module_.linears, strict=True):
        assert torch.equal(ours.weight, theirs.weight)


# no side effects


class Failure(Callback):
    """Fails in the second epoch."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise RuntimeError("failed on purpose")


@contextlib.contextmanager
def unchanged_global_state():
    """Check that a block leaves the global state as it was."""

    def global_state():
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

    before = global_state()
    yield
    assert global_state() == before


@pytest.mark.parametrize(("estimator", "y"), BOTH)
@pytest.mark.parametrize("n_threads", [None, 1, 2])
def test_a_fit_does_not_change_global_state(estimator, y, n_threads):
    with unchanged_global_state():
        net = estimator(
            **{**SMALL, "max_iter": 2, "random_state": 3}, **EVERYTHING, **STOPPED_EARLY, n_threads=n_threads
        )
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
def test_a_fit_that_raises_does_not_change_global_state(settings, error):
    net = RegularizedMLPRegressor(**SMALL, n_threads=2, n_members=2).set_params(**settings)
    with unchanged_global_state(), pytest.raises(error):
        net.fit(X, Y)


# statistics of training rows only


@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
def test_held_out_rows_do_not_change_the_statistics_of_their_member(scaling):
    net = RegularizedMLPRegressor(
        **SMALL, **STOPPED_EARLY, n_members=2, numeric_scaling=scaling, batch_size=32, categorical_features=[5]
    )
    table, y = np.column_stack([X, RNG.randint(0, 3, N)]), Y.copy()
    before = statistics(net.fit(table, y))
    held = assign_folds(np.zeros(N, int), 4, np.random.RandomState(net.seed_)) == 0
    table[held, :5] = 50 * table[held, :5] - 3
    table[held, 5] = 1
    y[held] = 9 - 5 * y[held]
    changed = statistics(clone(net).fit(table, y))
    members = [name for name, found in before.items() if found.ndim > 1 and len(found) == 2]
    assert {"fill", "center", "scale", "target_center", "target_scale"} <= set(members)
    for name in members:
        np.testing.assert_allclose(changed[name][0], before[name][0], rtol=1e-12, atol=1e-12, err_msg=name)
    assert not np.allclose(changed["fill"][1], before["fill"][1])
    assert not np.allclose(changed["target_scale"][1], before["target_scale"][1])


@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_validation_rows_of_the_user_do_not_change_statistics(estimator, y):
    net = estimator(**SMALL)
    before = statistics(net.fit(X, y, X_val=X[:60], y_val=y[:60]))
    levels = net.encoder_.levels_
    changed = statistics(net.fit(X, y, X_val=1e3 * X[:60], y_val=y[:60][::-1]))
    assert net.encoder_.levels_ == levels
    assert before.keys() == changed.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], changed[name], err_msg=name)


@pytest.mark.parametrize("n_levels", [3, 12])
def test_a_category_of_held_out_rows_only_is_unknown_to_their_member(n_levels):
    """With three categories it is one-hot encoded, with twelve it has an embedding."""
    net = RegularizedMLPRegressor(**SMALL, **STOPPED_EARLY, n_members=2)
    held = assign_folds(np.zeros(N, int), 4, np.random.RandomState(net.fit(X, Y).seed_)) == 0
    color = np.array([f"color {i % n_levels}" for i in range(N)], dtype=object)
    color[held] = "rare"
    frame = pd.DataFrame({"number": X[:, 0], "color": color})
    net.fit(frame, Y)
    code = net.encoder_.levels_[0]["rare"]
    numbers = torch.zeros(2, 2, 1, dtype=torch.float64)
    inputs, embedded = net.net_.module_.inputs(numbers, torch.tensor([[[code], [0]]] * 2))
    encoded = inputs[..., 1:] if embedded is None else embedded
    assert torch.equal(encoded[0, 0], encoded[0, 1])
    assert not torch.equal(encoded[1, 0], encoded[1, 1])


# sample weights


MIXED = pd.DataFrame(X, columns=list("abcde")).assign(
    few=np.array(list("xyz"))[RNG.randint(0, 3, N)], many=[f"level {i}" for i in RNG.randint(0, 12, N)]
)
MIXED.loc[::9, "b"] = np.nan
COUNTS = RNG.randint(0, 3, N)
WITHOUT_NOISE = dict(**SMALL, batch_size=10_000, dropout=0.0, early_stopping=False)


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
def test_weight_zero_removes_a_row_and_weight_two_repeats_it(estimator, y, settings):
    weighted = estimator(**WITHOUT_NOISE).set_params(**settings).fit(MIXED, y, sample_weight=COUNTS)
    rows = np.repeat(np.arange(N), COUNTS)
    repeated = clone(weighted).fit(MIXED.iloc[rows], y[rows])
    np.testing.assert_allclose(prediction(weighted, MIXED), prediction(repeated, MIXED), rtol=1e-7, atol=1e-7)
    plain = clone(weighted).fit(MIXED, y)
    assert not np.allclose(prediction(weighted, MIXED), prediction(plain, MIXED), atol=1e-3)


@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
def test_weight_two_repeats_a_row_of_a_longer_table(scaling):
    rng = np.random.RandomState(0)
    long = rng.randn(400, 2)
    weight = rng.randint(1, 3, 400)
    net = RegularizedMLPRegressor(**WITHOUT_NOISE, numeric_scaling=scaling)
    rows = np.repeat(np.arange(400), weight)
    weighted = clone(net).fit(long, long[:, 0], sample_weight=weight)
    repeated = clone(net).fit(long[rows], long[rows, 0])
    np.testing.assert_allclose(weighted.predict(long), repeated.predict(long), atol=1e-7)


@pytest.mark.parametrize(("estimator", "y"), BOTH)
@pytest.mark.parametrize("factor", [1e-3, 1 / 3, 1000])
def test_the_scale_of_the_weights_has_no_effect(estimator, y, factor):
    net = estimator(**SMALL, **EVERYTHING, batch_size=32)
    one, other = (clone(net).fit(MIXED, y, sample_weight=w) for w in (COUNTS, factor * COUNTS))
    np.testing.assert_allclose(prediction(one, MIXED), prediction(other, MIXED), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-4)


@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_equal_weights_have_no_effect(estimator, y):
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


def monitor_value(net, monitor, X, y):
    """Value of ``monitor`` for a fitted estimator."""
    if callable(monitor):
        return monitor(net, X, y)
    if monitor != "loss":
        return get_scorer(monitor)(net, X, y)
    if hasattr(net, "predict_proba"):
        return log_loss(y, net.predict_proba(X))
    return np.mean((net.predict(X) - y) ** 2) / 2 / net.net_.module_.target_scale.item() ** 2


@pytest.mark.parametrize(("estimator", "y", "monitor"), MONITORS)
def test_the_weights_of_the_best_epoch_are_restored(estimator, y, monitor):
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
    value = monitor_value(net, monitor, X[60:], y[60:])
    assert value == pytest.approx(curve.max() if monitor != "loss" else -curve.max(), rel=1e-6)
    assert net.n_iter_ in (40, net.best_iter_ + 5)
    assert curve.max() > curve[0]


def test_training_stops_after_patience_epochs():
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


def test_a_gain_below_min_delta_does_not_count():
    settings = {"hidden_layer_sizes": (8,), "max_iter": 30, "n_members": 1, "patience": 3, "random_state": 0}
    settings["learning_rate"] = "cosine"
    net = RegularizedMLPRegressor(min_delta=1e6, **settings).fit(X[:60], Y[:60], X_val=X[60:], y_val=Y[60:])
    assert (net.best_iter_, net.n_iter_) == (1, 4)


def test_sample_weight_val_weights_the_monitor():
    weight = np.r_[np.zeros(30), np.full(30, 3.0)]
    for monitor in ("loss", "neg_mean_squared_error"):
        net = RegularizedMLPRegressor(**SMALL, monitor=monitor, n_members=1)
        weighted = clone(net).fit(X[:60], Y[:60], X_val=X[60:], y_val=Y[60:], sample_weight_val=weight)
        fewer = clone(net).fit(X[:60], Y[:60], X_val=X[90:], y_val=Y[90:])
        np.testing.assert_allclose(weighted.validation_curve_, fewer.validation_curve_, rtol=1e-6, err_msg=monitor)


def test_balanced_class_weights_work_if_validation_rows_lack_a_class():
    net = RegularizedMLPClassifier(**SMALL, class_weight="balanced")
    kept = THREE[60:] < 2
    net.fit(X[:60], THREE[:60], X_val=X[60:][kept], y_val=THREE[60:][kept])
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
def test_the_bits_of_a_prediction_do_not_depend_on_the_other_rows(Estimator, target, n_members):
    net = Estimator((16,), max_iter=2, n_members=n_members, random_state=0).fit(X, target)
    predict = net.predict if Estimator is RegularizedMLPRegressor else net.predict_proba
    for n in (1, 7, 33, 100):
        assert np.concatenate([predict(X[:n]), predict(X[n:])]).tobytes() == predict(X).tobytes()


def test_too_few_validation_rows_warn():
    net = RegularizedMLPRegressor(**SMALL, n_members=4, early_stopping=True)
    with pytest.warns(UserWarning, match="uses only 10 validation rows"):
        net.fit(X[:40], Y[:40])
    with pytest.warns(UserWarning, match="uses only 12 validation rows"):
        net.fit(X, Y, X_val=X[:12], y_val=Y[:12])


@pytest.mark.parametrize("n_members", [4, 8])
def test_early_stopping_auto_needs_folds_of_enough_rows(n_members):
    """30 rows, or 15 with eight members."""
    net = RegularizedMLPRegressor(**SMALL, n_members=n_members)
    assert net.fit(X[:120], Y[:120]).validation_curve_ is not None
    assert net.fit(X[:119], Y[:119]).validation_curve_ is None
    assert net.set_params(early_stopping=False).fit(X, Y).validation_curve_ is None


def folds_of(net, strata):
    n_folds = max(net.n_members, round(1 / net.validation_fraction))
    return assign_folds(strata, n_folds, np.random.RandomState(net.seed_))


@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_out_of_fold_predictions_come_from_the_member_that_held_the_row_out(estimator, y):
    net = estimator(**SMALL, **STOPPED_EARLY, n_members=4).fit(X, y)
    folds = folds_of(net, np.zeros(N, int) if y is Y else y)
    assert sorted(np.bincount(folds)) == [30] * 4
    with torch.no_grad():
        raw = predict_raw(net.net_.module_, torch.from_numpy(X), None).double()
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


def test_a_member_does_not_train_on_the_rows_that_it_holds_out():
    """Changing the targets of the held-out rows does not change the weights if the member does not stop early."""
    settings = {**SMALL, "early_stopping": True, "patience": 100, "monitor": lambda estimator, X, y: 0.0}
    net = RegularizedMLPRegressor(**settings, n_members=4).fit(X, Y)
    changed = Y.copy()
    changed[folds_of(net, np.zeros(N, int)) == 2] += 10
    other = clone(net).fit(X, changed)
    for ours, theirs in zip(net.net_.module_.linears, other.net_.module_.linears, strict=True):
        torch.testing.assert_close(ours.weight[2], theirs.weight[2], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("n_members", [1, 3])
def test_no_out_of_fold_predictions_if_the_folds_do_not_cover_the_rows(n_members):
    net = RegularizedMLPRegressor(**SMALL, **STOPPED_EARLY, n_members=4).fit(X, Y)
    assert hasattr(net, "oof_score_")
    net.set_params(n_members=n_members).fit(X, Y)
    assert not hasattr(net, "oof_score_")
    assert not hasattr(net, "oof_prediction_")


def test_rows_of_weight_zero_have_no_out_of_fold_prediction():
    weight = np.ones(N + 20)
    weight[::7] = 0
    table, y = np.vstack([X, X[:20]]), np.r_[Y, Y[:20]]
    net = RegularizedMLPRegressor(**SMALL, **STOPPED_EARLY).fit(table, y, sample_weight=weight)
    np.testing.assert_array_equal(np.isnan(net.oof_prediction_), weight == 0)


# divergence


def explodes(progress):
    return 1.0 if progress < 0.5 else 1e30


@pytest.mark.parametrize("early_stopping", [True, False])
def test_divergence_in_the_first_epoch_raises_with_advice(early_stopping):
    net = RegularizedMLPRegressor(
        **SMALL, solver="sgd", weight_decay=0.0, learning_rate_init=1e20, numeric_scaling="standard"
    )
    with pytest.raises(ValueError, match=r"diverged.*Decrease learning_rate_init"):
        net.set_params(early_stopping=early_stopping).fit(X, Y)


SCORERS = {RegularizedMLPRegressor: "neg_mean_squared_error", RegularizedMLPClassifier: "neg_log_loss"}
EARLY_STOPPING = [
    {"early_stopping": False},
    {**STOPPED_EARLY, "monitor": "loss"},
    {**STOPPED_EARLY, "monitor": "scorer"},
]


def diverging_late(estimator, batch_size, early_stopping):
    net = estimator(**SMALL, solver="sgd", numeric_scaling="standard", learning_rate_init=0.01, n_members=2)
    net.set_params(learning_rate=explodes, max_iter=20, batch_size=batch_size, **early_stopping)
    return net.set_params(monitor=SCORERS[estimator]) if net.monitor == "scorer" else net


@pytest.mark.parametrize(("estimator", "y"), BOTH)
@pytest.mark.parametrize("early_stopping", EARLY_STOPPING)
def test_late_divergence_restores_finite_weights(estimator, y, early_stopping):
    net = diverging_late(estimator, 32, early_stopping)
    with pytest.warns(ConvergenceWarning, match="weights of epoch .* were restored"):
        net.fit(X, y)
    converged = clone(net).set_params(learning_rate="constant", max_iter=10).fit(X, y)
    assert np.isfinite(prediction(net, X)).all()
    assert net.score(X, y) > converged.score(X, y) - 0.1


@pytest.mark.filterwarnings("ignore:The training diverged:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("estimator", "y"), BOTH)
@pytest.mark.parametrize("early_stopping", EARLY_STOPPING)
def test_predictions_are_finite_after_divergence_in_full_batches(estimator, y, early_stopping):
    """If an epoch has one step, its loss is that of the weights before the step."""
    net = diverging_late(estimator, N, early_stopping).fit(X, y)
    assert np.isfinite(prediction(net, X)).all()
    if net.early_stopping:
        converged = clone(net).set_params(learning_rate="constant", max_iter=10).fit(X, y)
        assert net.score(X, y) > converged.score(X, y) - 0.1


def test_predict_raises_after_a_fit_that_diverged():
    net = RegularizedMLPRegressor(
        **SMALL, solver="sgd", weight_decay=0.0, learning_rate_init=1e20, numeric_scaling="standard"
    )
    with pytest.raises(ValueError, match="diverged"):
        net.fit(X, Y)
    with pytest.raises(ValueError, match=r"not fitted|not finite"):
        net.predict(X)


def test_a_warm_start_works_after_a_fit_that_diverged():
    net = RegularizedMLPRegressor(**SMALL, warm_start=True).fit(X, Y)
    rate = net.learning_rate_init
    with pytest.raises(ValueError, match="diverged"):
        net.set_params(solver="sgd", weight_decay=0.0, learning_rate_init=1e20, clip_norm=None).fit(1e3 * X, Y)
    net.set_params(solver="adamw", learning_rate_init=rate).fit(X, Y)
    assert np.isfinite(net.predict(X)).all()


# sparse matrices


@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_sparse_matrices_equal_dense_arrays(estimator, y, scaling):
    dense = np.where(RNG.rand(N, 6) < 0.4, RNG.randn(N, 6), 0)
    dense[:, 0] += X[:, 0]
    net = estimator(**SMALL, **STOPPED_EARLY, numeric_scaling=scaling, batch_size=32)
    of_dense = clone(net).fit(dense, y)
    of_sparse = clone(net).fit(sparse.csr_array(dense), y)
    for name, found in statistics(of_dense).items():
        np.testing.assert_allclose(statistics(of_sparse)[name], found, rtol=1e-10, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(prediction(of_sparse, sparse.csc_array(dense)), prediction(of_dense, dense), atol=1e-5)
