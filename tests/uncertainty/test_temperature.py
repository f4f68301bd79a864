"""Calibration: the temperature of a classifier, from rows that were held out."""

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
from skreg.uncertainty.temperature import HeldOut, _minimise
from tests.helpers import make_mixed_table

SMALL = {"hidden_layer_sizes": (16,), "max_iter": 10, "random_state": 0, "learning_rate": "cosine", "init": "auto"}
SMALL |= {"parametrization": "standard", "scale_layer": False, "patience": 20, "learning_rate_init": 0.01}
SMALL |= {"label_smoothing": 0.0}
EAGER = {**SMALL, "hidden_layer_sizes": (64, 64), "dropout": 0.0, "weight_decay": 0.0, "monitor": "accuracy"}
EAGER |= {"max_iter": 40, "patience": 40, "learning_rate_init": 0.03, "numeric_scaling": "standard"}
GRID = np.exp(np.linspace(np.log(0.1), np.log(20), 4001))


def noisy(n_rows=600, n_classes=3, seed=0):
    return make_classification(
        n_rows, 10, n_informative=5, n_classes=n_classes, flip_y=0.2, class_sep=0.8, random_state=seed
    )


def test_the_temperature_of_one_member_is_the_best_on_a_grid():
    rng = np.random.default_rng(0)
    raw, y, weight = 3 * rng.normal(size=(400, 4)), rng.integers(4, size=400), rng.integers(1, 4, 400)
    raw[np.arange(400), y] += 3

    def loss(temperature):
        probability = log_softmax(raw / temperature, axis=1)
        truth = np.eye(4)[y] * 400 / 401 + 1 / (4 * 401)
        return -np.average((truth * probability).sum(1), weights=weight)

    link = lambda tensor: torch.log_softmax(tensor, -1)  # noqa: E731
    held_out = HeldOut(link, torch.from_numpy(raw)[None, None], torch.from_numpy(y), torch.from_numpy(weight), None)
    assert held_out.loss(1.7) == pytest.approx(loss(1.7))
    best = GRID[np.argmin([loss(t) for t in GRID])]
    assert _minimise(held_out.loss, 0.01, 100.0) == pytest.approx(best, rel=2e-3)


def test_the_loss_of_the_mean_is_the_members_less_what_averaging_gains():
    rng = np.random.default_rng(1)
    raw, y, holder = rng.normal(size=(2, 3, 90, 4)), rng.integers(4, size=90), np.repeat([0, 1, 2], 30)

    def by_hand(temperature):
        of_networks = log_softmax(raw / temperature, axis=-1)
        of_member = logsumexp(of_networks, axis=0) - np.log(2)
        own = of_member[holder, np.arange(90)]
        smoothed = own[np.arange(90), y] * 90 / 91 + own.mean(1) / 91
        of_truth = of_member[:, np.arange(90), y]
        gain = logsumexp(of_truth, axis=0) - np.log(3) - of_truth.mean(0)
        return -smoothed.mean() - gain.mean()

    held_out = HeldOut(
        lambda tensor: torch.log_softmax(tensor, -1), torch.from_numpy(raw), torch.from_numpy(y), torch.ones(90), holder
    )
    for temperature in (0.5, 1.0, 3.0):
        assert held_out.loss_of_mean(temperature) == pytest.approx(by_hand(temperature))


def test_rows_held_out_by_all_have_the_mean_itself():
    rng = np.random.default_rng(2)
    raw, y = rng.normal(size=(1, 3, 50)), rng.integers(2, size=(50, 1))

    def link(tensor):
        return torch.stack([torch.nn.functional.logsigmoid(-tensor), torch.nn.functional.logsigmoid(tensor)], -1)

    held_out = HeldOut(link, torch.from_numpy(raw)[..., None], torch.from_numpy(y), torch.ones(50), None)
    mean = expit(raw[0] / 1.3).mean(0)
    assert_allclose(held_out.loss(1.3), log_loss(y[:, 0] * 50 / 51 + 1 / 102 > 0.5, mean), rtol=0.05)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("n_members", [1, 4])
def test_a_network_becomes_as_sure_as_it_may_be(n_members, smoothing):
    """Trained to the end it is too sure, and trained on smoothed labels not sure enough."""
    X, y = make_classification(1600, 12, n_informative=6, n_classes=3, flip_y=0.02, class_sep=1.2, random_state=0)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
    plain, cooled = (
        RegularizedMLPClassifier(**{**EAGER, "label_smoothing": smoothing}, n_members=n_members, calibrate=how).fit(
            X_train, y_train
        )
        for how in (None, "temperature")
    )
    assert plain.temperature_ == 1.0
    assert cooled.temperature_ > 1.3 if not smoothing else cooled.temperature_ < 0.9
    before, after = (log_loss(y_test, each.predict_proba(X_test)) for each in (plain, cooled))
    assert after < 0.97 * before
    assert abs(plain.score(X_test, y_test) - cooled.score(X_test, y_test)) < 0.01
    possible = [log_loss(y_test, _at(cooled, t).predict_proba(X_test)) for t in GRID[::40]]
    assert after < 1.05 * min(possible)


def _at(estimator, temperature):
    changed = pickle.loads(pickle.dumps(estimator))
    changed.net_.temperature = temperature
    return changed


@pytest.mark.parametrize("n_classes", [2, 3])
def test_labels_and_ranks_of_a_single_member_stay(n_classes):
    X, y = noisy(400, n_classes)
    plain, cooled = (
        RegularizedMLPClassifier(**SMALL, n_members=1, early_stopping=True, calibrate=how).fit(X, y)
        for how in (None, "temperature")
    )
    assert_array_equal(plain.predict(X), cooled.predict(X))
    one, other = plain.predict_proba(X), cooled.predict_proba(X)
    assert_array_equal(one.argsort(1), other.argsort(1))
    assert_allclose(log_softmax(np.log(one) / cooled.temperature_, axis=1), np.log(other), atol=1e-9)
    assert_allclose(cooled.predict_log_proba(X), np.log(other))
    assert_allclose(other.sum(1), 1)


def test_the_rest_of_the_fit_is_the_same_bits():
    X, y = noisy()
    plain, cooled = (
        RegularizedMLPClassifier(**SMALL, calibrate=how, monitor="neg_log_loss", warm_start=True).fit(X, y).fit(X, y)
        for how in (None, "temperature")
    )
    assert_array_equal(plain.validation_curve_, cooled.validation_curve_)
    states = [each.net_.module_.state_dict() for each in (plain, cooled)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_out_of_fold_predictions_are_calibrated_too():
    X, y = noisy()
    plain, cooled = (RegularizedMLPClassifier(**SMALL, calibrate=how).fit(X, y) for how in (None, "temperature"))
    scaled = log_softmax(np.log(plain.oof_prediction_) / cooled.temperature_, axis=1)
    assert_allclose(np.log(cooled.oof_prediction_), scaled, atol=1e-9)
    assert cooled.oof_score_ == plain.oof_score_


@pytest.mark.parametrize(
    "options",
    [
        {"numeric_embedding": "periodic", "class_weight": "balanced"},
        {"loss": "focal", "batch_norm": True, "ema_decay": 0.9},
        {"solver": "lbfgs", "n_members": 1, "dropout": 0.0, "weight_decay": 0.0},
    ],
)
def test_it_goes_with(options):
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


def test_several_labels_have_one_temperature():
    X, y = make_multilabel_classification(600, random_state=0)
    plain, cooled = (
        RegularizedMLPClassifier(**SMALL, n_members=1, early_stopping=True, calibrate=how).fit(X, y)
        for how in (None, "temperature")
    )
    odds = [np.log(p) - np.log1p(-p) for p in (each.predict_proba(X) for each in (plain, cooled))]
    assert_allclose(odds[0] / cooled.temperature_, odds[1], atol=1e-6)
    assert_array_equal(plain.predict(X), cooled.predict(X))


def test_own_validation_rows_set_it():
    """On them it is the mean itself that is calibrated."""
    X, y = noisy(1000)
    fitted = RegularizedMLPClassifier(**EAGER, calibrate="temperature")
    fitted.fit(X[:500], y[:500], X_val=X[500:], y_val=y[500:])
    losses = [log_loss(y[500:], _at(fitted, t).predict_proba(X[500:])) for t in GRID[::20]]
    assert fitted.temperature_ == pytest.approx(GRID[::20][np.argmin(losses)], rel=0.05)


def test_rows_that_are_all_predicted_well_leave_some_doubt():
    X, y = make_blobs(400, centers=3, cluster_std=0.3, random_state=0)
    fitted = RegularizedMLPClassifier(**SMALL, calibrate="temperature").fit(X, y)
    assert fitted.oof_score_ == 1
    assert 1e-5 < 1 - fitted.predict_proba(X).max(1).mean() < 0.02


def test_it_is_refused_where_no_rows_are_held_out():
    X, y = noisy(100)
    for given in ({"early_stopping": False}, {}):
        with pytest.raises(ValueError, match=r"needs held-out rows, and none are: early_stopping=.* 100 rows"):
            RegularizedMLPClassifier(**SMALL, calibrate="temperature", **given).fit(X, y)
        left = RegularizedMLPClassifier(**SMALL, calibrate="auto", **given).fit(X, y)
        without = RegularizedMLPClassifier(**SMALL, **given).fit(X, y)
        assert left.temperature_ == 1
        assert_array_equal(left.predict_proba(X), without.predict_proba(X))
    with pytest.raises(AttributeError, match="after fit"):
        _ = RegularizedMLPClassifier().temperature_


def test_a_stream_keeps_that_of_the_fit_before():
    X, y = noisy()
    fitted = RegularizedMLPClassifier(**SMALL, calibrate="temperature")
    with pytest.raises(ValueError, match="partial_fit holds out none"):
        fitted.partial_fit(X, y, classes=[0, 1, 2])
    temperature = fitted.fit(X, y).temperature_
    assert fitted.partial_fit(X, y).partial_fit(X, y).temperature_ == temperature != 1
    stream = RegularizedMLPClassifier(**SMALL, calibrate="auto").partial_fit(X, y, classes=[0, 1, 2])
    assert stream.partial_fit(X, y).temperature_ == 1


def test_many_rows_are_thinned(monkeypatch):
    X, y = noisy(3000)
    setting = {"hidden_layer_sizes": (), "max_iter": 2, "calibrate": "temperature", "random_state": 0}
    whole = RegularizedMLPClassifier(**setting).fit(X, y)
    monkeypatch.setattr("skreg.uncertainty.temperature.MOST_ROWS", 1000)
    thinned = RegularizedMLPClassifier(**setting).fit(X, y)
    assert thinned.temperature_ != whole.temperature_
    assert thinned.temperature_ == pytest.approx(whole.temperature_, rel=0.2)


@pytest.mark.skipif(parse_version(sklearn.__version__) < parse_version("1.8"), reason="1.8 brought the temperature")
def test_scikit_learns_calibration_goes_round_it():
    X, y = noisy(900)
    inner = RegularizedMLPClassifier(**EAGER, n_members=2)
    calibrated = CalibratedClassifierCV(inner, method="temperature", cv=2).fit(X[:600], y[:600])
    alone = clone(inner).fit(X[:600], y[:600])
    assert log_loss(y[600:], calibrated.predict_proba(X[600:])) < log_loss(y[600:], alone.predict_proba(X[600:]))
    frozen = CalibratedClassifierCV(FrozenEstimator(alone), method="temperature").fit(X[600:], y[600:])
    assert_array_equal(frozen.predict(X), alone.predict(X))
