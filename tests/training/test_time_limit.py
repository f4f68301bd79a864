"""A training with a time limit, on a clock that goes by steps: where it ends, and that it ends at all."""

from itertools import pairwise
from time import process_time

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from skreg import OptunaSearchCV, RegularizedMLPClassifier, RegularizedMLPRegressor, schedules
from skreg.training import time_limit as pace
from skreg.training.net import Net
from skreg.training.trainer import Trainer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 4))
Y = X[:, 0] * X[:, 1] + X[:, 2]
SMALL = {"hidden_layer_sizes": (8,), "batch_size": 30, "n_members": 2, "validation_fraction": 0.5, "random_state": 0}
STEPS = 4
"""Of an epoch: 120 rows of each member in batches of 30."""


@pytest.fixture
def clock(monkeypatch):
    """A clock that a training step moves on by a second, and nothing else by anything."""

    class Clock:
        now, a_step, seen = 0.0, 1.0, ()

    step, epoch = Trainer._step, Trainer.epoch

    def counted(self, lr, *args):
        Clock.now += Clock.a_step
        Clock.seen[-1].append(float(lr))
        return step(self, lr, *args)

    def epochs(self, *args):
        Clock.seen.append([])
        return epoch(self, *args)

    Clock.seen = []
    monkeypatch.setattr(pace, "clock", lambda: Clock.now)
    monkeypatch.setattr(Trainer, "_step", counted)
    monkeypatch.setattr(Trainer, "epoch", epochs)
    return Clock


def fit(limit, **params):
    return (
        RegularizedMLPRegressor(**SMALL, patience=1000, max_iter=127, time_limit=limit).set_params(**params).fit(X, Y)
    )


@pytest.mark.parametrize(("epochs", "ends"), [(127, 127), (126, 127), (110, 127), (90, 63), (40, 31), (7.2, 7), (2, 1)])
def test_ends_at_the_last_valley_within_reach(clock, epochs, ends):
    """The first epoch counts in full, then as many as are left; up to a quarter faster."""
    net = fit(epochs * STEPS + 0.5)
    progress = net.net_.time_budget_._progress if net.net_.time_budget_._hurried else net.n_iter_ / 127
    assert progress == pytest.approx(ends / 127)
    assert clock.now <= epochs * STEPS + 0.5 + clock.a_step
    assert np.isfinite(net.predict(X)).all()


@pytest.mark.parametrize("learning_rate", ["cosine", "one_cycle", "flat_cosine"])
@pytest.mark.parametrize("epochs", [3, 10])
def test_the_learning_rate_still_falls_where_there_are_no_cycles(clock, learning_rate, epochs):
    net = fit(epochs * STEPS + 0.5, learning_rate=learning_rate, learning_rate_init=0.01)
    assert clock.now <= epochs * STEPS + 0.5 + clock.a_step
    assert net.n_iter_ >= epochs - 1
    last = clock.seen[-1][-1]
    step = getattr(schedules, learning_rate)(1 - 2 / (epochs * STEPS))
    assert last <= 0.01 * step + 1e-9
    assert net.net_.time_budget_._progress == pytest.approx(1)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("limit", [1e-9, 1.0, 2.5])
def test_less_time_than_an_epoch_takes_is_an_epoch_cut_short(clock, limit, early_stopping):
    net = fit(limit, early_stopping=early_stopping)
    assert net.n_iter_ == 1
    assert clock.now <= limit + clock.a_step
    assert np.isfinite(net.predict(X)).all()
    assert len(net.loss_curve_) == 1
    assert np.isfinite(net.loss_curve_).all()


def test_an_epoch_cut_short_goes_through_its_share_of_the_schedule(clock):
    """With a hundredth of the time that the rows of an epoch take, the rate is down when the time is over."""
    clock.a_step = 1.0
    table, target = np.tile(X, (10, 1)), np.tile(Y, 10)
    RegularizedMLPRegressor(
        **SMALL, time_limit=20, early_stopping=False, learning_rate="cosine", learning_rate_init=0.01, max_iter=1
    ).fit(table, target)
    (rates,) = clock.seen
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
def test_a_limit_that_does_not_come_into_play_changes_no_bit(Estimator, params):
    target = Y > 0 if Estimator is RegularizedMLPClassifier else Y
    free = Estimator(**{**SMALL, "max_iter": 15, **params}).fit(X, target)
    limited = clone(free).set_params(time_limit=3600).fit(X, target)
    assert free.loss_curve_.tolist() == limited.loss_curve_.tolist()
    assert free.predict(X).tolist() == limited.predict(X).tolist()


def test_a_slow_first_step_does_not_count_as_a_slow_epoch(clock):
    clock.a_step = 1.0
    step = Trainer._step

    def slow_at_first(self, *args):
        clock.now += 3.0 if not clock.seen[:-1] and not clock.seen[-1] else 0.0
        return step(self, *args)

    Trainer._step = slow_at_first
    try:
        assert fit(1000, max_iter=7).n_iter_ == 7
    finally:
        Trainer._step = step
    free = RegularizedMLPRegressor(**SMALL, patience=1000, max_iter=7).fit(X, Y)
    assert len(clock.seen) == 14
    assert clock.seen[:7] == clock.seen[7:]
    assert free.n_iter_ == 7


def test_time_for_validation_and_for_what_comes_after_is_left(clock, monkeypatch):
    """Validations of 2 seconds: an epoch takes 6, and about three validations come after the last."""
    judge = Net._evaluate_epoch

    def slow(self, *args):
        clock.now += 2.0
        return judge(self, *args)

    monkeypatch.setattr(Net, "_judge", slow)
    net = fit(6 * 15 + 6, learning_rate="growing_cycles")
    assert net.n_iter_ == 15
    assert clock.now <= 6 * 15 + 1


@pytest.mark.parametrize("params", [{"solver": "lbfgs", "n_members": 1, "dropout": 0.0, "weight_decay": 0.0}])
def test_a_line_search_ends_in_time(clock, params):
    net = RegularizedMLPRegressor((8,), max_iter=100, random_state=0, time_limit=10, **params, patience=1000).fit(X, Y)
    assert 8 <= net.n_iter_ <= 11


def test_swa_reaches_its_average(clock):
    net = fit(12 * STEPS + 0.5, swa_start=0.5)
    assert 10 <= net.n_iter_ <= 13
    assert net.net_.time_budget_._progress == pytest.approx(1)


@pytest.mark.parametrize(
    ("valleys", "max_iter", "epochs"),
    [
        (schedules.coslog.valleys, 60, [4, 12, 28, 60]),
        (schedules.coslog.valleys, 100, [6, 20, 46, 100]),
        (schedules.coslog.valleys, 3, [1, 3]),
        (schedules.coslog.valleys, 1, [1]),
        (schedules.cosine_restarts.valleys, 7, [1, 3, 7]),
        (schedules.cosine_restarts.valleys, 49, [7, 21, 49]),
        ((0.29, 0.58), 100, [29, 58]),
        ((), 10, []),
    ],
)
def test_a_cycle_ends_with_the_last_epoch_that_ends_in_it(valleys, max_iter, epochs):
    assert pace.valley_epochs(valleys, max_iter) == epochs


def test_each_fit_of_a_warm_start_has_its_own_limit(clock):
    net = fit(7 * STEPS + 0.5, warm_start=True)
    assert net.n_iter_ == 7
    assert net.fit(X, Y).n_iter_ == 7
    assert clock.now <= 14 * STEPS + 1


def test_a_stream_has_no_limit(clock):
    net = RegularizedMLPRegressor(**SMALL, time_limit=1e-9).partial_fit(X, Y)
    assert sum(map(len, clock.seen)) == -(-240 // 30)
    assert torch.isfinite(torch.as_tensor(net.predict(X))).all()


def test_real_time_ends_as_well():
    """Bounds are wide: the machine has other things to do. Without a limit this takes a minute."""
    table = np.tile(X, (400, 1))
    net = RegularizedMLPRegressor((256, 256), random_state=0, time_limit=0.5).fit(table, np.tile(Y, 400))
    assert net.n_iter_ <= 7
    assert net.predict(X).std() > 0


@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_all_members_are_trained_however_short_the_time_is(Estimator):
    target = Y > 0 if Estimator is RegularizedMLPClassifier else Y
    net = Estimator(**{**SMALL, "n_members": 8, "validation_fraction": 0.125}, time_limit=1e-9).fit(X, target)
    assert (net.n_iter_, net.net_.module_.n_members) == (1, 8)
    assert np.isfinite(net.oof_prediction_).all()
    assert np.isfinite(net.predict_uncertainty(X).epistemic).all()


def test_a_calibration_that_is_asked_for_is_had_in_no_time():
    settings = {**SMALL, "n_members": 8, "validation_fraction": 0.125, "early_stopping": "auto"}
    net = RegularizedMLPClassifier(**settings, calibrate="temperature", time_limit=1e-9).fit(X[:128], Y[:128] > 0)
    assert net.chosen_["early_stopping"]
    assert net.chosen_["calibrate"] == "temperature"


def test_fine_tuning_has_a_limit(clock):
    source = fit(7 * STEPS + 0.5)
    clock.now, tuned = 0.0, fit(7 * STEPS + 0.5, pretrained=FrozenEstimator(source))
    assert tuned.n_iter_ == 7


def test_sparse_and_weighted_rows_and_categories(clock):
    weights = RNG.uniform(0, 2, 240)
    weights[:10] = 0
    net = RegularizedMLPClassifier(**SMALL, time_limit=7 * STEPS, class_weight={False: 0.0, True: 1.0})
    table = sparse.csr_array(np.where(X > 0, X, 0))
    net.fit(table, Y > 0, sample_weight=weights)
    assert clock.now <= 7 * STEPS + 1
    assert np.isfinite(net.predict_proba(table)).all()
    levels = np.c_[RNG.integers(0, 20, 240).astype(str), RNG.integers(0, 3, 240).astype(str)]
    assert np.isfinite(RegularizedMLPRegressor(**SMALL, time_limit=7 * STEPS).fit(levels, Y).predict(levels)).all()


def test_candidates_of_a_search_with_a_limit(clock):
    net = RegularizedMLPRegressor(**SMALL, max_iter=127, time_limit=7 * STEPS + 0.5)
    search = OptunaSearchCV(net, {"dropout": [0.0, 0.1]}, n_trials=2, cv=2, random_state=0).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.n_iter_ <= 8


@pytest.mark.parametrize("limit", [0.2, 3.0])
def test_a_large_table_ends_in_time(limit):
    """Bounds are wide, and of processor time: eight members of seven epochs take about twenty seconds."""
    table = RNG.normal(size=(200_000, 8))
    target = table[:, 0] * table[:, 1]
    began = process_time()
    net = RegularizedMLPRegressor(random_state=0, time_limit=limit).fit(table, target)
    assert process_time() - began < limit + 3
    assert net.predict(table[:100]).std() > 0
