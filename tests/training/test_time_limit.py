"""Tests of the time limit, most of them with a clock that advances with each training step."""

from itertools import pairwise
from time import process_time

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from skreg import OptunaSearchCV, RegularizedMLPClassifier, RegularizedMLPRegressor, schedules
from skreg.training import time_limit
from skreg.training.net import Net
from skreg.training.trainer import Trainer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 4))
Y = X[:, 0] * X[:, 1] + X[:, 2]
SMALL = {"hidden_layer_sizes": (8,), "batch_size": 30, "n_members": 2, "validation_fraction": 0.5, "random_state": 0}
STEPS = 4
"""Steps of an epoch: 120 rows of each member in batches of 30."""


@pytest.fixture
def clock(monkeypatch):
    """A clock that only training steps advance, each by a second."""

    class Clock:
        now, step_time, rates = 0.0, 1.0, ()

    step, epoch = Trainer._step, Trainer.train_epoch

    def counted(self, lr, *args):
        Clock.now += Clock.step_time
        Clock.rates[-1].append(float(lr))
        return step(self, lr, *args)

    def epochs(self, *args):
        Clock.rates.append([])
        return epoch(self, *args)

    Clock.rates = []
    monkeypatch.setattr(time_limit, "clock", lambda: Clock.now)
    monkeypatch.setattr(Trainer, "_step", counted)
    monkeypatch.setattr(Trainer, "train_epoch", epochs)
    return Clock


def fit(limit, **params):
    return (
        RegularizedMLPRegressor(**SMALL, patience=1000, max_iter=127, time_limit=limit).set_params(**params).fit(X, Y)
    )


@pytest.mark.parametrize(("epochs", "ends"), [(127, 127), (126, 127), (110, 127), (90, 63), (40, 31), (7.2, 7), (2, 1)])
def test_training_ends_at_the_last_cycle_end_within_the_limit(clock, epochs, ends):
    """Epochs may be accelerated by up to a quarter."""
    net = fit(epochs * STEPS + 0.5)
    progress = net.net_.time_budget_._progress if net.net_.time_budget_._accelerated else net.n_iter_ / 127
    assert progress == pytest.approx(ends / 127)
    assert clock.now <= epochs * STEPS + 0.5 + clock.step_time
    assert np.isfinite(net.predict(X)).all()


@pytest.mark.parametrize("learning_rate", ["cosine", "one_cycle", "flat_cosine"])
@pytest.mark.parametrize("epochs", [3, 10])
def test_schedules_without_cycles_decay_to_the_end(clock, learning_rate, epochs):
    net = fit(epochs * STEPS + 0.5, learning_rate=learning_rate, learning_rate_init=0.01)
    assert clock.now <= epochs * STEPS + 0.5 + clock.step_time
    assert net.n_iter_ >= epochs - 1
    last = clock.rates[-1][-1]
    step = getattr(schedules, learning_rate)(1 - 2 / (epochs * STEPS))
    assert last <= 0.01 * step + 1e-9
    assert net.net_.time_budget_._progress == pytest.approx(1)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("limit", [1e-9, 1.0, 2.5])
def test_a_limit_below_one_epoch_shortens_the_epoch(clock, limit, early_stopping):
    net = fit(limit, early_stopping=early_stopping)
    assert net.n_iter_ == 1
    assert clock.now <= limit + clock.step_time
    assert np.isfinite(net.predict(X)).all()
    assert len(net.loss_curve_) == 1
    assert np.isfinite(net.loss_curve_).all()


def test_a_shortened_epoch_follows_the_whole_schedule(clock):
    """The learning rate has decayed when a hundredth of an epoch uses up the time."""
    clock.step_time = 1.0
    table, target = np.tile(X, (10, 1)), np.tile(Y, 10)
    RegularizedMLPRegressor(
        **SMALL, time_limit=20, early_stopping=False, learning_rate="cosine", learning_rate_init=0.01, max_iter=1
    ).fit(table, target)
    (rates,) = clock.rates
    assert 12 <= len(rates) <= 20
    assert rates[0] == 0.01
    assert rates[-1] < 0.0015
    assert all(b <= a for a, b in pairwise(rates))


RICH = {
    "batch_norm": True,
    "dropout": 0.2,
    "augmentation": "mixup",
    "ema_decay": 0.9,
    "l1_ratio": 0.5,
    "alpha": 0.01,
    "max_norm": 2.0,
    "clip_norm": 1.0,
}


@pytest.mark.parametrize(
    "params", [{}, {"early_stopping": False}, {"learning_rate": "cosine"}, {"swa_start": 0.5}, RICH, {"solver": "sgd"}]
)
@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_a_limit_that_is_not_reached_changes_nothing(Estimator, params):
    target = Y > 0 if Estimator is RegularizedMLPClassifier else Y
    free = Estimator(**{**SMALL, "max_iter": 15, **params}).fit(X, target)
    limited = clone(free).set_params(time_limit=3600).fit(X, target)
    assert free.loss_curve_.tolist() == limited.loss_curve_.tolist()
    assert free.predict(X).tolist() == limited.predict(X).tolist()


def test_a_slow_first_step_does_not_shorten_the_epoch(clock):
    clock.step_time = 1.0
    step = Trainer._step

    def slow_at_first(self, *args):
        clock.now += 3.0 if not clock.rates[:-1] and not clock.rates[-1] else 0.0
        return step(self, *args)

    Trainer._step = slow_at_first
    try:
        assert fit(1000, max_iter=7).n_iter_ == 7
    finally:
        Trainer._step = step
    free = RegularizedMLPRegressor(**SMALL, patience=1000, max_iter=7).fit(X, Y)
    assert len(clock.rates) == 14
    assert clock.rates[:7] == clock.rates[7:]
    assert free.n_iter_ == 7


def test_time_is_reserved_for_validation_and_calibration(clock, monkeypatch):
    """With validations of 2 seconds, an epoch takes 6, and 6 are reserved for what follows the training."""
    evaluate = Net._evaluate_epoch

    def slow(self, *args):
        clock.now += 2.0
        return evaluate(self, *args)

    monkeypatch.setattr(Net, "_evaluate_epoch", slow)
    net = fit(6 * 15 + 6, learning_rate="growing_cycles")
    assert net.n_iter_ == 15
    assert clock.now <= 6 * 15 + 1


@pytest.mark.parametrize("params", [{"solver": "lbfgs", "n_members": 1, "dropout": 0.0, "weight_decay": 0.0}])
def test_lbfgs_ends_in_time(clock, params):
    net = RegularizedMLPRegressor((8,), max_iter=100, random_state=0, time_limit=10, **params, patience=1000).fit(X, Y)
    assert 8 <= net.n_iter_ <= 11


def test_swa_reaches_the_end_of_the_schedule(clock):
    net = fit(12 * STEPS + 0.5, swa_start=0.5)
    assert 10 <= net.n_iter_ <= 13
    assert net.net_.time_budget_._progress == pytest.approx(1)


@pytest.mark.parametrize(
    ("cycle_ends", "max_iter", "epochs"),
    [
        (schedules.coslog.cycle_ends, 60, [4, 12, 28, 60]),
        (schedules.coslog.cycle_ends, 100, [6, 20, 46, 100]),
        (schedules.coslog.cycle_ends, 3, [1, 3]),
        (schedules.coslog.cycle_ends, 1, [1]),
        (schedules.cosine_restarts.cycle_ends, 7, [1, 3, 7]),
        (schedules.cosine_restarts.cycle_ends, 49, [7, 21, 49]),
        ((0.29, 0.58), 100, [29, 58]),
        ((), 10, []),
    ],
)
def test_a_cycle_ends_with_the_last_epoch_that_ends_in_it(cycle_ends, max_iter, epochs):
    assert time_limit.last_epochs_of_cycles(cycle_ends, max_iter) == epochs


def test_each_fit_of_a_warm_start_has_the_full_limit(clock):
    net = fit(7 * STEPS + 0.5, warm_start=True)
    assert net.n_iter_ == 7
    assert net.fit(X, Y).n_iter_ == 7
    assert clock.now <= 14 * STEPS + 1


def test_partial_fit_has_no_limit(clock):
    net = RegularizedMLPRegressor(**SMALL, time_limit=1e-9).partial_fit(X, Y)
    assert sum(map(len, clock.rates)) == -(-240 // 30)
    assert torch.isfinite(torch.as_tensor(net.predict(X))).all()


def test_training_ends_in_real_time():
    """The bound is generous, because the machine may be busy. Without a limit the fit takes a minute."""
    table = np.tile(X, (400, 1))
    net = RegularizedMLPRegressor((256, 256), random_state=0, time_limit=0.5).fit(table, np.tile(Y, 400))
    assert net.n_iter_ <= 7
    assert net.predict(X).std() > 0


@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_all_members_are_trained_under_the_shortest_limit(Estimator):
    target = Y > 0 if Estimator is RegularizedMLPClassifier else Y
    net = Estimator(**{**SMALL, "n_members": 8, "validation_fraction": 0.125}, time_limit=1e-9).fit(X, target)
    assert (net.n_iter_, net.net_.module_.n_members) == (1, 8)
    assert np.isfinite(net.oof_prediction_).all()
    assert np.isfinite(net.predict_uncertainty(X).epistemic).all()


def test_calibration_is_done_under_the_shortest_limit():
    settings = {**SMALL, "n_members": 8, "validation_fraction": 0.125, "early_stopping": "auto"}
    net = RegularizedMLPClassifier(**settings, calibrate="temperature", time_limit=1e-9).fit(X[:128], Y[:128] > 0)
    assert net.chosen_["early_stopping"]
    assert net.chosen_["calibrate"] == "temperature"


def test_fine_tuning_respects_the_limit(clock):
    source = fit(7 * STEPS + 0.5)
    clock.now, tuned = 0.0, fit(7 * STEPS + 0.5, pretrained=FrozenEstimator(source))
    assert tuned.n_iter_ == 7


def test_the_limit_works_with_sparse_and_weighted_rows_and_categories(clock):
    weights = RNG.uniform(0, 2, 240)
    weights[:10] = 0
    net = RegularizedMLPClassifier(**SMALL, time_limit=7 * STEPS, class_weight={False: 0.0, True: 1.0})
    table = sparse.csr_array(np.where(X > 0, X, 0))
    net.fit(table, Y > 0, sample_weight=weights)
    assert clock.now <= 7 * STEPS + 1
    assert np.isfinite(net.predict_proba(table)).all()
    levels = np.c_[RNG.integers(0, 20, 240).astype(str), RNG.integers(0, 3, 240).astype(str)]
    assert np.isfinite(RegularizedMLPRegressor(**SMALL, time_limit=7 * STEPS).fit(levels, Y).predict(levels)).all()


def test_candidates_of_a_search_respect_the_limit(clock):
    net = RegularizedMLPRegressor(**SMALL, max_iter=127, time_limit=7 * STEPS + 0.5)
    search = OptunaSearchCV(net, {"dropout": [0.0, 0.1]}, n_trials=2, cv=2, random_state=0).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.n_iter_ <= 8


@pytest.mark.parametrize("limit", [0.2, 3.0])
def test_a_large_table_ends_in_time(limit):
    """The bound is generous and in processor time. Seven epochs of eight members take about twenty seconds."""
    table = RNG.normal(size=(200_000, 8))
    target = table[:, 0] * table[:, 1]
    start = process_time()
    net = RegularizedMLPRegressor(random_state=0, time_limit=limit).fit(table, target)
    assert process_time() - start < limit + 3
    assert net.predict(table[:100]).std() > 0
