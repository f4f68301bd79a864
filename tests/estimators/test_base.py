"""Fit and its fitted attributes: weights, curves, warm starts, callbacks, and the values chosen for "auto"."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy.special import logit
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss, r2_score
from sklearn.utils import get_tags
from skorch.callbacks import Callback, EpochTimer

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, diagnose
from skreg.estimators.classifier import _log_odds
from skreg.network.inference import predict_raw
from skreg.training.callbacks import REFUSED, SUPPORTED

N = 160
RNG = np.random.RandomState(0)
X = RNG.randn(N, 4)
Y = 5 * np.tanh(X[:, 0] * X[:, 1]) + X[:, 2] + 0.3 * RNG.randn(N) + 2
THREE = np.digitize(Y, [0.5, 3])
TWO = np.where(Y > 2, "yes", "no")
BOTH = [(RegularizedMLPRegressor, Y), (RegularizedMLPClassifier, THREE)]
SMALL = {"hidden_layer_sizes": (12, 8), "max_iter": 6, "random_state": 0}
SINGLE = dict(**SMALL, n_members=1, activation="relu", numeric_scaling=None, residual=False, numeric_embedding=None)


def predictions_of(estimator, X):
    return estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)


# weights


def forward(estimator, X):
    """Forward pass of a ReLU network in NumPy."""
    h = X
    for weight, bias in zip(estimator.coefs_[:-1], estimator.intercepts_[:-1], strict=True):
        h = np.maximum(h @ weight + bias, 0)
    return h @ estimator.coefs_[-1] + estimator.intercepts_[-1]


@pytest.mark.parametrize("hidden", [(), (12,), (12, 8)])
def test_coefs_and_intercepts_reproduce_regressor_predictions(hidden):
    net = RegularizedMLPRegressor(**{**SINGLE, "hidden_layer_sizes": hidden}).fit(X, Y)
    assert [w.shape for w in net.coefs_] == list(zip([4, *hidden], [*hidden, 1], strict=True))
    assert [b.shape for b in net.intercepts_] == [(width,) for width in (*hidden, 1)]
    np.testing.assert_allclose(net.predict(X), forward(net, X)[:, 0], rtol=1e-5, atol=1e-5)
    both = clone(net).fit(X, np.column_stack([Y, 10 - 3 * Y]))
    np.testing.assert_allclose(both.predict(X), forward(both, X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("hidden", [(), (12, 8)])
def test_coefs_and_intercepts_reproduce_classifier_predictions(hidden):
    net = RegularizedMLPClassifier(**{**SINGLE, "hidden_layer_sizes": hidden}).fit(X, THREE)
    raw = forward(net, X)
    odds = np.exp(raw - raw.max(1, keepdims=True))
    np.testing.assert_allclose(net.predict_proba(X), odds / odds.sum(1, keepdims=True), atol=1e-5)
    two = clone(net).fit(X, TWO)
    assert two.coefs_[-1].shape[1] == 1
    np.testing.assert_allclose(two.decision_function(X), forward(two, X)[:, 0], atol=1e-5)


@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_coefs_and_intercepts_require_a_single_member(name):
    net = RegularizedMLPRegressor(**SMALL)
    assert not hasattr(net, name)
    net.fit(X, Y)
    with pytest.raises(AttributeError, match=f"{name} is only available with n_members=1"):
        getattr(net, name)


@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_predictions_are_averaged_over_the_members(estimator, y):
    net = estimator(**SMALL, n_members=3).fit(X, y)
    with torch.no_grad():
        raw = predict_raw(net.net_.module_, torch.from_numpy(X), None).double()
    if y is Y:
        each = (raw * net.net_.module_.target_scale + net.net_.module_.target_center)[..., 0]
    else:
        each = torch.softmax(raw / net.temperature_, -1)
    np.testing.assert_allclose(predictions_of(net, X), each.mean(0).numpy(), atol=1e-6)


@pytest.mark.parametrize("y", [TWO, THREE, np.column_stack([Y > 1, Y > 3]).astype(int)])
def test_prediction_methods_of_the_classifier_agree(y):
    net = RegularizedMLPClassifier(**SMALL).fit(X, y)
    probability, decision = net.predict_proba(X), net.decision_function(X)
    np.testing.assert_allclose(np.exp(net.predict_log_proba(X)), probability)
    if y.ndim == 2:
        np.testing.assert_array_equal(net.predict(X), probability > 0.5)
        np.testing.assert_array_equal(net.predict(X), decision > 0)
        return
    np.testing.assert_allclose(probability.sum(1), 1)
    np.testing.assert_array_equal(net.predict(X), net.classes_[probability.argmax(1)])
    if decision.ndim == 1:
        np.testing.assert_array_equal(net.predict(X), net.classes_[(decision > 0).astype(int)])
        np.testing.assert_allclose(1 / (1 + np.exp(-decision)), probability[:, 1])
    else:
        np.testing.assert_array_equal(decision.argmax(1), probability.argmax(1))


# curves


@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_curves_have_one_value_per_epoch(estimator, y):
    net = estimator(**SMALL, early_stopping=False).fit(X, y)
    assert (net.n_iter_, net.best_iter_) == (6, 6)
    assert net.loss_curve_.shape == (6,)
    assert net.loss_curve_[-1] < net.loss_curve_[0]
    assert net.validation_curve_ is None
    net.set_params(early_stopping=True).fit(X, y)
    assert net.validation_curve_.shape == (net.n_iter_,)


def test_loss_curve_contains_the_mean_loss_of_each_epoch():
    """With a learning rate of 0, it equals the loss of the predictions."""
    still = dict(**SMALL, dropout=0.0, early_stopping=False, n_members=1, learning_rate=lambda progress: 0.0)
    classifier = RegularizedMLPClassifier(**still, batch_size=N).fit(X, THREE)
    np.testing.assert_allclose(classifier.loss_curve_, log_loss(THREE, classifier.predict_proba(X)))
    regressor = RegularizedMLPRegressor(**still, batch_size=N).fit(X, Y)
    np.testing.assert_allclose(regressor.loss_curve_, (1 - r2_score(Y, regressor.predict(X))) / 2)


@pytest.mark.parametrize(
    ("monitor", "direction"), [("loss", 1), ("neg_mean_squared_error", -1), ("r2", None), (lambda e, X, y: -3.5, -1)]
)
def test_validation_curve_is_negative_for_a_negated_scorer(monitor, direction):
    net = RegularizedMLPRegressor(**SMALL, monitor=monitor).fit(X, Y, X_val=X[:40], y_val=Y[:40])
    assert direction is None or (np.sign(net.validation_curve_) == direction).all()


# warm starts


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_warm_start_continues_the_previous_fit(estimator, y, solver):
    settings = {
        "learning_rate": "constant",
        "learning_rate_init": 0.003,
        "dropout": 0.0,
        "early_stopping": False,
        "batch_size": 32,
    }
    whole = estimator(**{**SMALL, "max_iter": 12}, **settings, solver=solver).fit(X, y)
    resumed = estimator(**SMALL, **settings, solver=solver, warm_start=True).fit(X, y)
    first = resumed.loss_curve_
    resumed.fit(X, y)
    assert resumed.n_iter_ == 6
    np.testing.assert_allclose(np.r_[first, resumed.loss_curve_], whole.loss_curve_, rtol=1e-5)
    np.testing.assert_allclose(predictions_of(resumed, X), predictions_of(whole, X), rtol=1e-4, atol=1e-5)


def test_warm_start_keeps_encoders_and_statistics():
    frame = pd.DataFrame({"number": X[:, 0], "color": np.array(list("abcd"))[np.arange(N) % 4]})
    net = RegularizedMLPRegressor(**SMALL, warm_start=True).fit(frame, Y)
    before = pickle.loads(pickle.dumps(dict(net.net_.module_.named_buffers())))
    moved = frame.assign(number=100 * frame["number"] - 7).replace({"color": {"a": "new"}})
    net.fit(moved, 3 * Y + 100)
    assert net.encoder_.levels_ == [{"a": 1, "b": 2, "c": 3, "d": 4}]
    for name, buffer in net.net_.module_.named_buffers():
        assert torch.equal(buffer, before[name]), name


@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_fit_without_warm_start_discards_the_previous_fit(estimator, y):
    net = estimator(**SMALL, warm_start=True).fit(X, y).fit(X, y)
    net.set_params(warm_start=False).fit(100 * X, y)
    fresh = estimator(**SMALL).fit(100 * X, y)
    np.testing.assert_array_equal(predictions_of(net, 100 * X), predictions_of(fresh, 100 * X))


def test_warm_start_after_pickling_gives_the_same_result():
    net = RegularizedMLPRegressor(**SMALL, warm_start=True).fit(X, Y)
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(net.fit(X, Y).predict(X), again.fit(X, Y).predict(X))


@pytest.mark.parametrize("changes", [{"hidden_layer_sizes": (5,)}, {"n_members": 2}, {"batch_norm": True}])
def test_warm_start_raises_if_the_shape_of_the_network_changed(changes):
    net = RegularizedMLPRegressor(**SMALL, warm_start=True, n_members=3).fit(X, Y)
    with pytest.raises(ValueError, match="Training cannot continue"):
        net.set_params(**changes).fit(X, Y)


# dropout


def test_dropout_accepts_one_rate_per_layer():
    settings = dict(**SMALL, early_stopping=False)
    same, listed, first, last = (
        RegularizedMLPRegressor(**settings, dropout=rate).fit(X, Y).predict(X)
        for rate in (0.4, [0.4, 0.4], (0.4, 0.0), (0.0, 0.4))
    )
    np.testing.assert_array_equal(same, listed)
    assert not np.allclose(first, last)
    assert not np.allclose(first, same)


def test_dropout_increases_the_training_loss():
    losses = [
        RegularizedMLPRegressor(
            hidden_layer_sizes=(64,), dropout=rate, early_stopping=False, max_iter=60, n_members=1, random_state=0
        )
        .fit(X, Y)
        .loss_curve_[-1]
        for rate in (0.0, 0.3, 0.8)
    ]
    assert losses[0] < losses[1] < losses[2]


# callbacks


class RecordingCallback(Callback):
    """Records the events of a fit."""

    def __init__(self, interrupt_at=None):
        self.interrupt_at, self.seen = interrupt_at, []

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.seen.append(("train", len(X), len(y)))

    def on_epoch_end(self, net, **kwargs):
        self.seen.append(net.history[-1, "epoch"])
        if len(net.history) == self.interrupt_at:
            raise KeyboardInterrupt


def test_callback_is_notified_of_training_and_epochs():
    callback = RecordingCallback()
    net = RegularizedMLPRegressor(**SMALL, callbacks=[callback, ("timer", EpochTimer())], early_stopping=False).fit(
        X, Y
    )
    assert callback.seen == [("train", N, N), 1, 2, 3, 4, 5, 6]
    assert len(net.net_.history[:, "dur"]) == 6


@pytest.mark.parametrize(("estimator", "y"), BOTH)
def test_interrupt_keeps_the_best_weights_and_is_raised(estimator, y):
    held_out = {"X_val": X[:40], "y_val": y[:40]}
    net = estimator(**SMALL, callbacks=[RecordingCallback(interrupt_at=3)])
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, **held_out)
    assert net.n_iter_ == 3
    assert len(net.validation_curve_) == 3
    assert np.isfinite(predictions_of(net, X)).all()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_unsupported_skorch_callback_raises_with_the_remedy(name):
    kind = getattr(__import__("skorch.callbacks", fromlist=[name]), name)
    with pytest.raises(ValueError, match=f"skorch callback {name} is not supported") as error:
        RegularizedMLPRegressor(**SMALL, callbacks=[kind.__new__(kind)]).fit(X, Y)
    assert REFUSED[name] in str(error.value)


def test_no_callback_is_both_supported_and_unsupported():
    assert not set(SUPPORTED) & set(REFUSED)


def test_verbose_prints_one_line_per_epoch(capsys):
    RegularizedMLPRegressor(**SMALL, verbose=1, early_stopping=False).fit(X, Y)
    printed = capsys.readouterr().out
    assert "train_loss" in printed
    assert len([line for line in printed.splitlines() if line.strip()[:1].isdigit()]) == 6
    RegularizedMLPRegressor(**SMALL).fit(X, Y)
    assert capsys.readouterr().out == ""


# monitor


def test_monitor_receives_an_estimator_and_the_original_rows():
    frame = pd.DataFrame(X, columns=list("abcd"))
    seen = []

    def monitor(estimator, X, y):
        assert list(X.columns) == list("abcd")
        assert set(np.unique(y)) <= {"no", "yes"}
        proba = estimator.predict_proba(X)
        np.testing.assert_allclose(estimator.predict_proba(X.copy()), proba, atol=1e-5)
        assert list(estimator.classes_) == ["no", "yes"]
        assert estimator.get_params()["max_iter"] == 6
        seen.append(len(X))
        return estimator.score(X, y)

    net = RegularizedMLPClassifier(**SMALL, monitor=monitor, n_members=2).fit(frame, TWO)
    assert len(seen) == 2 * net.n_iter_
    assert set(seen) == {40}


# size


def test_pickle_of_a_fitted_estimator_is_small():
    net = RegularizedMLPRegressor(**SMALL, n_members=2).fit(np.tile(X, (50, 1)), np.tile(Y, 50))
    held_out = len(pickle.dumps(net.net_.residuals))  # one number for each of at most 20,000 rows
    assert len(pickle.dumps(net)) - held_out < 60_000


def test_single_member():
    net = RegularizedMLPRegressor(**SMALL, n_members=1).fit(X, Y)
    assert net.net_.module_.n_members == 1
    assert net.predict(X).shape == (N,)
    assert net.predict(X[:1]).shape == (1,)


# values of "auto"


def test_chosen_contains_the_values_of_auto():
    rows = np.random.RandomState(0).randn(60, 3)
    numbers = RegularizedMLPRegressor((8, 8), max_iter=1).fit(rows, rows[:, 0])
    classes = RegularizedMLPClassifier((8, 8), max_iter=1).fit(rows, rows[:, 0] > 0)
    assert numbers.chosen_ == {
        "batch_size": 64,
        "device": numbers.net_.device,
        "early_stopping": False,
        "numeric_embedding": "piecewise_linear",
        "precision": "float64",
        "residual": True,
        "scale_layer": True,
    }
    assert classes.chosen_ == {
        **numbers.chosen_,
        "numeric_embedding": None,
        "residual": False,
        "label_smoothing": 0.0,
        "calibrate": None,
    }


def test_auto_keeps_linear_models_linear_and_columns_selectable():
    rows = np.random.RandomState(0).randn(60, 3)
    linear = RegularizedMLPRegressor((), max_iter=1).fit(rows, rows[:, 0]).chosen_
    assert (linear["numeric_embedding"], linear["residual"], linear["scale_layer"]) == (None, False, False)
    selected = RegularizedMLPRegressor((12, 12), feature_alpha=0.1, max_iter=1).fit(rows, rows[:, 0]).chosen_
    assert (selected["numeric_embedding"], selected["residual"], selected["scale_layer"]) == (None, False, False)


def test_auto_smooths_labels_if_probabilities_are_calibrated():
    def chosen(**settings):
        fitted = RegularizedMLPClassifier((8,), max_iter=2, **settings).fit(X, TWO)
        return fitted.chosen_["label_smoothing"], fitted.chosen_["calibrate"]

    assert chosen(early_stopping=True) == (0.1, "temperature")
    assert chosen(early_stopping=False) == chosen(early_stopping=True, calibrate=None) == (0.0, None)
    assert chosen(early_stopping=True, label_smoothing=0.0) == (0.0, "temperature")


def test_chosen_is_not_available_before_fit():
    with pytest.raises(AttributeError, match="chosen_ is only available after fit"):
        _ = RegularizedMLPClassifier().chosen_


def test_auto_follows_the_pretrained_estimator():
    source = RegularizedMLPRegressor((8, 8), max_iter=2, n_members=1).fit(X, Y)
    tuned = RegularizedMLPClassifier((8, 8), max_iter=2, n_members=1, pretrained=FrozenEstimator(source)).fit(X, TWO)
    assert (tuned.chosen_["numeric_embedding"], tuned.chosen_["residual"]) == ("piecewise_linear", True)


def test_decision_function_and_probability_rank_equally_close_to_one():
    """This includes the two largest numbers below 1, which occur in scikit-learn's check with some seeds."""
    eps = np.finfo(np.float64).epsneg
    proba = np.array([0.2, 1 - 3 * eps, 1 - 2 * eps, 1 - eps, 1 - eps, 1.0, 1.0])
    decision = _log_odds(proba)
    assert_array_equal(rankdata(decision), rankdata(proba))
    assert np.isfinite(decision).all()
    assert decision[0] == logit(0.2)


METHODS = ["predict", "predict_log_proba", "predict_proba", "decision_function", "predict_interval"]
METHODS += ["predict_uncertainty", "sample_predictions"]


@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_every_method_of_an_unfitted_estimator_raises_not_fitted_error(Estimator):
    rows, y = [[0.0], [1.0]], [0, 1]
    calls = [getattr(Estimator(), name) for name in METHODS if hasattr(Estimator, name)]
    for call in [*calls, lambda rows: Estimator().score(rows, y), lambda rows: Estimator().score(rows, y, y)]:
        with pytest.raises(NotFittedError, match="not fitted yet"):
            call(rows)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        diagnose(Estimator(), rows, y)


@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
@pytest.mark.parametrize("value", [[], {}, "unknown", np.zeros(2), np.nan, 10**400], ids=str)
def test_tags_and_available_methods_can_be_read_with_any_invalid_parameter(Estimator, value):
    for name in Estimator._get_param_names():
        invalid = Estimator(**{name: value})
        get_tags(invalid)
        assert isinstance(hasattr(invalid, "partial_fit"), bool)
