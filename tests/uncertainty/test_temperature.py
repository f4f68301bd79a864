"""Tests of the temperature of a classifier."""

import pickle

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, log_softmax, logsumexp
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_blobs, make_classification, make_multilabel_classification
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.utils.fixes import parse_version

from skreg import RegularizedMLPClassifier
from skreg.uncertainty.temperature import HeldOutLoss, HeldOutOutputs, _minimize
from tests.helpers import make_mixed_table

SMALL = {"hidden_layer_sizes": (16,), "max_iter": 10, "random_state": 0, "learning_rate": "cosine", "init": "auto"}
SMALL |= {"parametrization": "standard", "scale_layer": False, "patience": 20, "learning_rate_init": 0.01}
SMALL |= {"label_smoothing": 0.0}
OVERFITTING = {**SMALL, "hidden_layer_sizes": (64, 64), "dropout": 0.0, "weight_decay": 0.0, "monitor": "accuracy"}
OVERFITTING |= {"max_iter": 40, "patience": 40, "learning_rate_init": 0.03, "numeric_scaling": "standard"}
GRID = np.exp(np.linspace(np.log(0.1), np.log(20), 4001))


def noisy(n_rows=600, n_classes=3, seed=0):
    return make_classification(
        n_rows, 10, n_informative=5, n_classes=n_classes, flip_y=0.2, class_sep=0.8, random_state=seed
    )


def log_softmax_of(tensor):
    return torch.log_softmax(tensor, -1)


def held_out_loss(raw, y, weight, member=None, log_probability=log_softmax_of):
    outputs = HeldOutOutputs(np.arange(len(y)), *map(torch.from_numpy, (raw, y, weight)), member)
    return HeldOutLoss(log_probability, outputs)


def test_the_temperature_of_one_member_minimizes_the_loss_on_a_grid():
    rng = np.random.default_rng(0)
    raw, y, weight = 3 * rng.normal(size=(400, 4)), rng.integers(4, size=400), rng.integers(1, 4, 400)
    raw[np.arange(400), y] += 3

    def loss(temperature):
        probability = log_softmax(raw / temperature, axis=1)
        truth = np.eye(4)[y] * 400 / 401 + 1 / (4 * 401)
        return -np.average((truth * probability).sum(1), weights=weight)

    held_out = held_out_loss(raw[None], y, weight)
    assert held_out.of_members(1.7) == pytest.approx(loss(1.7))
    best = GRID[np.argmin([loss(t) for t in GRID])]
    assert _minimize(held_out.of_members, 0.01, 100.0) == pytest.approx(best, rel=2e-3)


def test_the_loss_of_the_mean_is_that_of_the_members_minus_the_gain_from_averaging():
    rng = np.random.default_rng(1)
    raw, y, member = rng.normal(size=(3, 90, 4)), rng.integers(4, size=90), np.repeat([0, 1, 2], 30)

    def by_hand(temperature):
        of_member = log_softmax(raw / temperature, axis=-1)
        own = of_member[member, np.arange(90)]
        smoothed = own[np.arange(90), y] * 90 / 91 + own.mean(1) / 91
        of_target = of_member[:, np.arange(90), y]
        gain = logsumexp(of_target, axis=0) - np.log(3) - of_target.mean(0)
        return -smoothed.mean() - gain.mean()

    held_out = held_out_loss(raw, y, np.ones(90), member)
    for temperature in (0.5, 1.0, 3.0):
        assert held_out.of_mean(temperature) == pytest.approx(by_hand(temperature))


def test_rows_held_out_by_all_members_use_their_mean():
    rng = np.random.default_rng(2)
    raw, y = rng.normal(size=(3, 50, 1)), rng.integers(2, size=(50, 1))

    def log_probability(tensor):
        return torch.stack([torch.nn.functional.logsigmoid(-tensor), torch.nn.functional.logsigmoid(tensor)], -1)

    held_out = held_out_loss(raw, y, np.ones(50), None, log_probability)
    mean = expit(raw[..., 0] / 1.3).mean(0)
    assert_allclose(held_out.of_members(1.3), log_loss(y[:, 0] * 50 / 51 + 1 / 102 > 0.5, mean), rtol=0.05)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("n_members", [1, 4])
@pytest.mark.slow
def test_the_temperature_reduces_the_log_loss_of_overconfident_and_smoothed_networks(n_members, smoothing):
    X, y = make_classification(1600, 12, n_informative=6, n_classes=3, flip_y=0.02, class_sep=1.2, random_state=0)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
    plain, calibrated = (
        RegularizedMLPClassifier(
            **{**OVERFITTING, "label_smoothing": smoothing}, n_members=n_members, calibrate=how
        ).fit(X_train, y_train)
        for how in (None, "temperature")
    )
    assert plain.temperature_ == 1.0
    assert calibrated.temperature_ > 1.3 if not smoothing else calibrated.temperature_ < 0.9
    before, after = (log_loss(y_test, each.predict_proba(X_test)) for each in (plain, calibrated))
    assert after < 0.97 * before
    assert abs(plain.score(X_test, y_test) - calibrated.score(X_test, y_test)) < 0.01
    losses = [log_loss(y_test, with_temperature(calibrated, t).predict_proba(X_test)) for t in GRID[::40]]
    assert after < 1.05 * min(losses)


def with_temperature(estimator, temperature):
    changed = pickle.loads(pickle.dumps(estimator))
    changed.net_.temperature = temperature
    return changed


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_temperature_keeps_labels_and_ranks_of_a_single_member(n_classes):
    X, y = noisy(400, n_classes)
    plain, calibrated = (
        RegularizedMLPClassifier(**SMALL, n_members=1, early_stopping=True, calibrate=how).fit(X, y)
        for how in (None, "temperature")
    )
    assert_array_equal(plain.predict(X), calibrated.predict(X))
    one, other = plain.predict_proba(X), calibrated.predict_proba(X)
    assert_array_equal(one.argsort(1), other.argsort(1))
    assert_allclose(log_softmax(np.log(one) / calibrated.temperature_, axis=1), np.log(other), atol=1e-9)
    assert_allclose(calibrated.predict_log_proba(X), np.log(other))
    assert_allclose(other.sum(1), 1)


def test_calibration_does_not_change_the_training():
    X, y = noisy()
    plain, calibrated = (
        RegularizedMLPClassifier(**SMALL, calibrate=how, monitor="neg_log_loss", warm_start=True).fit(X, y).fit(X, y)
        for how in (None, "temperature")
    )
    assert_array_equal(plain.validation_curve_, calibrated.validation_curve_)
    states = [each.net_.module_.state_dict() for each in (plain, calibrated)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_out_of_fold_predictions_are_calibrated():
    X, y = noisy()
    plain, calibrated = (RegularizedMLPClassifier(**SMALL, calibrate=how).fit(X, y) for how in (None, "temperature"))
    scaled = log_softmax(np.log(plain.oof_prediction_) / calibrated.temperature_, axis=1)
    assert_allclose(np.log(calibrated.oof_prediction_), scaled, atol=1e-9)
    assert calibrated.oof_score_ == plain.oof_score_


@pytest.mark.parametrize(
    "options",
    [
        {"numeric_embedding": "periodic", "class_weight": "balanced"},
        {"loss": "focal", "batch_norm": True, "ema_decay": 0.9},
        {"solver": "lbfgs", "n_members": 1, "dropout": 0.0, "weight_decay": 0.0},
    ],
)
def test_calibration_is_reproducible_with(options):
    table = make_mixed_table(300)
    weight = np.random.default_rng(0).integers(0, 3, 300) / 2
    settings = {**SMALL, "calibrate": "temperature", **options}
    fitted = RegularizedMLPClassifier(**settings).fit(table.X, table.label, sample_weight=weight)
    assert 0.01 < fitted.temperature_ < 100
    assert fitted.temperature_ != 1
    again = clone(fitted).fit(table.X, table.label, sample_weight=weight)
    for other in (again, pickle.loads(pickle.dumps(fitted))):
        assert other.temperature_ == fitted.temperature_
        assert_array_equal(other.predict_proba(table.X), fitted.predict_proba(table.X))
    assert_allclose(fitted.predict_proba(table.X).sum(1), 1)


def test_several_labels_share_one_temperature():
    X, y = make_multilabel_classification(600, random_state=0)
    plain, calibrated = (
        RegularizedMLPClassifier(**SMALL, n_members=1, early_stopping=True, calibrate=how).fit(X, y)
        for how in (None, "temperature")
    )
    odds = [np.log(p) - np.log1p(-p) for p in (each.predict_proba(X) for each in (plain, calibrated))]
    assert_allclose(odds[0] / calibrated.temperature_, odds[1], atol=1e-6)
    assert_array_equal(plain.predict(X), calibrated.predict(X))


def test_a_validation_set_calibrates_the_mean_of_the_members():
    X, y = noisy(1000)
    fitted = RegularizedMLPClassifier(**OVERFITTING, calibrate="temperature")
    fitted.fit(X[:500], y[:500], X_val=X[500:], y_val=y[500:])
    losses = [log_loss(y[500:], with_temperature(fitted, t).predict_proba(X[500:])) for t in GRID[::20]]
    assert fitted.temperature_ == pytest.approx(GRID[::20][np.argmin(losses)], rel=0.05)


def test_probabilities_stay_below_one_if_all_rows_are_predicted_well():
    X, y = make_blobs(400, centers=3, cluster_std=0.3, random_state=0)
    fitted = RegularizedMLPClassifier(**SMALL, calibrate="temperature").fit(X, y)
    assert fitted.oof_score_ == 1
    assert 1e-5 < 1 - fitted.predict_proba(X).max(1).mean() < 0.02


def test_calibration_without_held_out_rows_raises_an_error():
    X, y = noisy(100)
    for given in ({"early_stopping": False}, {}):
        with pytest.raises(ValueError, match=r"needs held-out rows, but early_stopping=.* holds out none of 100 rows"):
            RegularizedMLPClassifier(**SMALL, calibrate="temperature", **given).fit(X, y)
        automatic = RegularizedMLPClassifier(**SMALL, calibrate="auto", **given).fit(X, y)
        without = RegularizedMLPClassifier(**SMALL, **given).fit(X, y)
        assert automatic.temperature_ == 1
        assert_array_equal(automatic.predict_proba(X), without.predict_proba(X))
    with pytest.raises(AttributeError, match="after fit"):
        _ = RegularizedMLPClassifier().temperature_


def test_partial_fit_keeps_the_temperature_of_an_earlier_fit():
    X, y = noisy()
    fitted = RegularizedMLPClassifier(**SMALL, calibrate="temperature")
    with pytest.raises(ValueError, match="partial_fit holds out none"):
        fitted.partial_fit(X, y, classes=[0, 1, 2])
    temperature = fitted.fit(X, y).temperature_
    assert fitted.partial_fit(X, y).partial_fit(X, y).temperature_ == temperature != 1
    stream = RegularizedMLPClassifier(**SMALL, calibrate="auto").partial_fit(X, y, classes=[0, 1, 2])
    assert stream.partial_fit(X, y).temperature_ == 1


def test_a_subset_of_many_held_out_rows_is_used(monkeypatch):
    X, y = noisy(3000)
    setting = {"hidden_layer_sizes": (), "max_iter": 2, "calibrate": "temperature", "random_state": 0}
    whole = RegularizedMLPClassifier(**setting).fit(X, y)
    monkeypatch.setattr("skreg.uncertainty.temperature.MAX_ROWS", 1000)
    subset = RegularizedMLPClassifier(**setting).fit(X, y)
    assert subset.temperature_ != whole.temperature_
    assert subset.temperature_ == pytest.approx(whole.temperature_, rel=0.2)


@pytest.mark.skipif(parse_version(sklearn.__version__) < parse_version("1.8"), reason="needs scikit-learn 1.8")
def test_scikit_learn_can_calibrate_the_estimator():
    X, y = noisy(900)
    inner = RegularizedMLPClassifier(**OVERFITTING, n_members=2)
    calibrated = CalibratedClassifierCV(inner, method="temperature", cv=2).fit(X[:600], y[:600])
    alone = clone(inner).fit(X[:600], y[:600])
    assert log_loss(y[600:], calibrated.predict_proba(X[600:])) < log_loss(y[600:], alone.predict_proba(X[600:]))
    frozen = CalibratedClassifierCV(FrozenEstimator(alone), method="temperature").fit(X[600:], y[600:])
    assert_array_equal(frozen.predict(X), alone.predict(X))


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("factor", [0.001, 0.3, 1.0, 3.0, 100.0])
@pytest.mark.parametrize("ratio", [0.5, 0.9, 1.0, 1.05, 1.3, 20.0])
def test_temperatures_do_not_depend_on_the_starting_values(n_members, factor, ratio):
    """This includes temperatures at the bounds of their interval."""
    rng = np.random.default_rng(n_members)
    y = rng.integers(3, size=200)
    raw = rng.normal(size=(n_members, 200, 3)) + 2 * np.eye(3)[y]
    member = rng.integers(n_members, size=200) if n_members > 1 else None
    loss = held_out_loss(factor * raw, y, np.ones(200), member)
    expected = loss.temperatures()
    assert len(expected) == (1 if n_members == 1 else 2)
    found = loss.temperatures(tuple(ratio * temperature for temperature in expected))
    assert found == pytest.approx(expected, rel=2e-3)
    near = (float(np.clip(ratio * expected[0], 0.01, 100.0)),) * len(expected)
    assert loss.temperatures(near) == pytest.approx(expected, rel=2e-3)
