"""A training with a time limit, on a clock that goes by steps: where it ends, and that it ends at all."""

import pickle
from itertools import pairwise
from time import process_time

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from skreg import OptunaSearchCV, RegularizedMLPClassifier, RegularizedMLPRegressor, diagnose, schedules
from skreg.diagnostics.context import DiagnosticContext
from skreg.diagnostics.probe import probe
from skreg.plots import TrainingCurveDisplay
from skreg.training import rehearsal as rehearsal
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


@pytest.mark.parametrize("params", [{}, {"early_stopping": False}, {"learning_rate": "cosine"}, {"swa_start": 0.5}])
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


def test_snapshots_that_were_not_reached_are_the_last_weights(clock):
    net = fit(9 * STEPS + 0.5, snapshots=True, max_iter=15, learning_rate="coslog")
    assert net.n_iter_ == 7
    assert np.isfinite(net.predict(X)).all()


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


# members

ALIKE = {**SMALL, "hidden_layer_sizes": (4,), "n_members": 8, "validation_fraction": 0.125, "max_iter": 15}
EPOCH = rehearsal.BESIDE * 7 * (1 + 1 / 3 / 7)
"""Steps that an epoch of these is taken for: 210 rows of each member in batches of 30, and 30 that it is watched on."""


@pytest.fixture
def rehearsed(clock, monkeypatch):
    """The clock, which a step moves on by a second for each member, rehearsed or not; the first by ten."""
    step, rehearse = Trainer._step, Trainer.rehearse

    def counted(self, *args):
        clock.a_step = self._module.n_members
        return step(self, *args)

    def slow_at_first(self):
        clock.now += self._module.n_members * (1 if clock.rehearsals else 10)
        clock.rehearsals += 1
        return rehearse(self)

    clock.rehearsals = 0
    monkeypatch.setattr(Trainer, "_step", counted)
    monkeypatch.setattr(Trainer, "rehearse", slow_at_first)
    return clock


def rows_for(Estimator):
    return (X, Y > 0) if Estimator is RegularizedMLPClassifier else (X, Y)


def members_of(estimator):
    return estimator.chosen_["n_members"]


def limit_for(members, epochs=7):
    """Seconds after the rehearsal, of two steps, in which so many members go through so many epochs."""
    return 8 * 11 + members * epochs * EPOCH


BOTH = pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])


@BOTH
@pytest.mark.parametrize(("members", "left"), [(8.01, 8), (7.99, 7), (5.5, 5), (3.01, 3), (1.01, 1), (0.3, 1)])
def test_members_are_as_many_as_there_is_time_for(rehearsed, Estimator, members, left):
    net = Estimator(**ALIKE, time_limit=limit_for(members)).fit(*rows_for(Estimator))
    assert members_of(net) == net.net_.module_.n_members == len(net.net_.stopping_.best_epoch) == left
    assert rehearsed.now <= net.time_limit + left
    assert net.n_iter_ >= (7 if members > 1 else 1)
    assert np.isfinite(net.predict(X)).all()


@pytest.mark.parametrize(("max_iter", "epochs"), [(15, 7), (7, 7), (3, 3), (1, 1)])
def test_no_more_epochs_are_asked_for_than_there_are(rehearsed, max_iter, epochs):
    for members, left in ((8.01, 8), (4.01, 4)):
        rehearsed.rehearsals = rehearsed.now = 0
        net = RegularizedMLPRegressor(**{**ALIKE, "max_iter": max_iter}, time_limit=limit_for(members, epochs))
        assert members_of(net.fit(X, Y)) == left


def test_a_first_step_that_is_fast_enough_is_the_only_one(rehearsed):
    RegularizedMLPRegressor(**ALIKE, time_limit=10 * limit_for(8)).fit(X, Y)
    assert rehearsed.rehearsals == 1


def test_one_member_is_not_rehearsed(rehearsed):
    net = RegularizedMLPRegressor(**{**ALIKE, "n_members": 1}, time_limit=1e-9).fit(X, Y)
    assert (rehearsed.rehearsals, members_of(net)) == (0, 1)


def test_nothing_is_rehearsed_without_a_limit_or_when_the_time_is_over(rehearsed, monkeypatch):
    assert members_of(RegularizedMLPRegressor(**ALIKE).fit(X, Y)) == 8
    split = RegularizedMLPRegressor._split

    def slow(self, *args):
        rehearsed.now += 10
        return split(self, *args)

    monkeypatch.setattr(RegularizedMLPRegressor, "_split", slow)
    assert members_of(RegularizedMLPRegressor(**ALIKE, time_limit=10).fit(X, Y)) == 1
    assert rehearsed.rehearsals == 0


RICH = {
    "batch_norm": True,
    "dropout": 0.2,
    "augmentation": "mixup",
    "ema_decay": 0.9,
    "n_adapters": 2,
    "l1_ratio": 0.5,
    "alpha": 0.01,
    "max_norm": 2.0,
    "clip_norm": 1.0,
}


@BOTH
@pytest.mark.parametrize("params", [{}, RICH, {"solver": "muon"}, {"solver": "sgd", "learning_rate_init": 0.01}])
def test_a_rehearsal_changes_no_bit(Estimator, params):
    """Not of the training that follows: weights, statistics of norms, random numbers of the members and of torch."""
    free = Estimator(**{**ALIKE, "max_iter": 4, **params}).fit(*rows_for(Estimator))
    torch.manual_seed(3)
    limited = clone(free).set_params(time_limit=3600).fit(*rows_for(Estimator))
    drawn = torch.rand(1)
    assert torch.equal(drawn, torch.rand(1, generator=torch.Generator().manual_seed(3)))
    assert free.loss_curve_.tolist() == limited.loss_curve_.tolist()
    assert free.predict(X).tolist() == limited.predict(X).tolist()
    assert free.oof_prediction_.tolist() == limited.oof_prediction_.tolist()


def fewer(Estimator, members=3, **params):
    """An estimator that has the time for so many of its members, and for all epochs of theirs."""
    return Estimator(**{**ALIKE, "max_iter": 7, **params}, time_limit=limit_for(members + 0.01))


@BOTH
@pytest.mark.parametrize("params", [{}, RICH, {"snapshots": True, "learning_rate": "coslog"}, {"monitor": "loss"}])
@pytest.mark.parametrize("slow", [1e-6, 1e9])
def test_those_that_are_left_are_the_first_as_if_fewer_had_been_asked_for(
    rehearsed, Estimator, params, slow, monkeypatch
):
    """To the bit: same seeds, same folds, same statistics; also where one member was looked at first."""
    monkeypatch.setattr(rehearsal, "SLOW", slow)
    net = fewer(Estimator, **params)
    alone = 11 + 2 * 8 - 8 * 11  # two steps of one member, of which the first is the slow one, and then of eight
    net.set_params(time_limit=net.time_limit + alone * (slow > 1)).fit(*rows_for(Estimator))
    asked = clone(net).set_params(n_members=3, time_limit=None).fit(*rows_for(Estimator))
    assert (members_of(net), net.n_iter_) == (3, 7)
    assert net.loss_curve_.tolist() == asked.loss_curve_.tolist()
    assert net.predict(X).tolist() == asked.predict(X).tolist()
    assert pickle.loads(pickle.dumps(net)).predict(X).tolist() == asked.predict(X).tolist()


def test_where_there_is_no_time_even_for_one_no_other_is_looked_at(rehearsed, monkeypatch):
    monkeypatch.setattr(rehearsal, "SLOW", 1e9)
    learned, statistics = [], RegularizedMLPRegressor._statistics

    def seen(self, split, *args):
        learned.append(split.n_members)
        return statistics(self, split, *args)

    monkeypatch.setattr(RegularizedMLPRegressor, "_statistics", seen)
    net = RegularizedMLPRegressor(**ALIKE, time_limit=6 * EPOCH).fit(X, Y)
    assert learned == [members_of(net)] == [1]
    assert np.isfinite(net.predict(X)).all()


@BOTH
def test_fewer_members_predict_as_others_do(rehearsed, Estimator):
    rows, target = rows_for(Estimator)
    net = fewer(Estimator).fit(rows, target)
    assert not hasattr(net, "oof_prediction_")
    assert net.score(rows, target) > 0.2
    assert net.sample_predictions(rows, 6).shape[0] == 6
    assert np.isfinite(net.predict_uncertainty(rows).epistemic).all()
    if Estimator is RegularizedMLPRegressor:
        low, high = net.predict_interval(rows).T
        assert (low < high).all()
    else:
        assert net.temperature_ != 1
    rehearsed.rehearsals = rehearsed.now = 0
    one = fewer(Estimator, members=1).fit(rows, target)
    assert one.coefs_[0].shape[1] == 4
    with pytest.raises(AttributeError, match="this estimator has 3"):
        _ = net.coefs_


@BOTH
def test_the_doctor_knows_the_members_that_there_are(rehearsed, Estimator, monkeypatch):
    rows, target = rows_for(Estimator)
    trained_on, train = [], Net.partial_fit

    def seen(self, *args, **kwargs):
        trained_on.append(
            [index[:length] for index, length in zip(kwargs["train"].index, kwargs["train"].lengths, strict=True)]
        )
        return train(self, *args, **kwargs)

    monkeypatch.setattr(Net, "partial_fit", seen)
    net = fewer(Estimator, validation_fraction=0.25).fit(rows, target)
    context = DiagnosticContext(net, rows, target, None, None)
    assert [index.tolist() for index in context.trained_rows] == [index.tolist() for index in trained_on[0]]
    assert [len(index) for index in context.held_out_rows] == [30, 30, 30]
    net = fewer(Estimator)
    rehearsed.rehearsals = rehearsed.now = 0
    net.fit(rows, target)
    asked = clone(net).set_params(n_members=3, time_limit=None).fit(rows, target)
    assert diagnose(net, rows, target).findings == diagnose(asked, rows, target).findings
    before = probe(net, rows, target, "initial"), probe(asked, rows, target, "initial")
    assert np.array_equal(*(each.layers[0].weight for each in before))
    assert TrainingCurveDisplay.from_estimator(net).validation_members.shape == (7, 3)


@BOTH
def test_fewer_members_are_watched_on_rows_of_the_users_own(rehearsed, Estimator):
    rows, target = rows_for(Estimator)
    limit = 8 * 11 + 3.01 * 7 * rehearsal.BESIDE * 6 * (1 + 60 / 180 / 3)
    net = Estimator(**{**ALIKE, "max_iter": 7}, time_limit=limit)
    net.fit(rows[:180], target[:180], X_val=rows[180:], y_val=target[180:])
    assert members_of(net) == 3
    assert np.isfinite(net.predict(rows)).all()
    assert len(net.validation_curve_) == 7


@BOTH
def test_what_goes_on_from_fewer_members_has_as_many(rehearsed, Estimator):
    rows, target = rows_for(Estimator)
    net = fewer(Estimator, warm_start=True).fit(rows, target)
    rehearsed.now, before = 0.0, rehearsed.rehearsals
    again = net.fit(rows, target)
    assert (members_of(again), rehearsed.rehearsals) == (3, before)
    assert members_of(pickle.loads(pickle.dumps(again)).set_params(time_limit=None).fit(rows, target)) == 3
    assert members_of(again.partial_fit(rows, target)) == 3
    assert members_of(clone(again).set_params(time_limit=None).fit(rows, target)) == 8
    with pytest.raises(ValueError, match="n_members and n_adapters as they were"):
        again.set_params(n_members=4).fit(rows, target)
    assert members_of(again.set_params(n_members=3).fit(rows, target)) == 3


def test_a_fit_without_warm_start_begins_with_all_members_again(rehearsed):
    net = fewer(RegularizedMLPRegressor).fit(X, Y)
    assert members_of(net) == 3
    assert members_of(net.set_params(time_limit=None).fit(X, Y)) == 8


@BOTH
def test_fewer_members_start_from_a_fitted_estimator_and_are_one(rehearsed, Estimator):
    rows, target = rows_for(Estimator)
    source = fewer(Estimator).fit(rows, target)
    rehearsed.rehearsals = rehearsed.now = 0
    tuned = fewer(Estimator, 2, pretrained=FrozenEstimator(source)).fit(rows, target)
    assert members_of(tuned) == 2
    asked = clone(tuned).set_params(n_members=2, time_limit=None).fit(rows, target)
    assert tuned.predict(rows).tolist() == asked.predict(rows).tolist()


def test_a_calibration_that_is_asked_for_is_had_with_one_member():
    """On so few rows it takes the eight that are asked for to hold out rows at all, and those go by what was asked."""
    rows, target = X[:128], Y[:128] > 0
    net = RegularizedMLPClassifier(
        **{**ALIKE, "n_members": 8}, early_stopping="auto", calibrate="temperature", time_limit=1e-9
    ).fit(rows, target)
    assert members_of(net) == 1
    assert net.chosen_["early_stopping"]


def test_sparse_and_weighted_rows_and_categories(rehearsed):
    weights = RNG.uniform(0, 2, 240)
    weights[:10] = 0
    net = RegularizedMLPClassifier(**ALIKE, time_limit=limit_for(3), class_weight={False: 0.0, True: 1.0})
    table = sparse.csr_array(np.where(X > 0, X, 0))
    assert members_of(net.fit(table, Y > 0, sample_weight=weights)) < 8
    assert np.isfinite(net.predict_proba(table)).all()
    levels = np.c_[RNG.integers(0, 20, 240).astype(str), RNG.integers(0, 3, 240).astype(str)]
    rehearsed.rehearsals = rehearsed.now = 0
    assert members_of(fewer(RegularizedMLPRegressor).fit(levels, Y)) == 3


def test_candidates_of_a_search_with_a_limit(rehearsed):
    search = OptunaSearchCV(
        fewer(RegularizedMLPRegressor), {"dropout": [0.0, 0.1]}, n_trials=2, cv=2, random_state=0
    ).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert 1 <= members_of(search.best_estimator_) < 8


@pytest.mark.parametrize("limit", [0.2, 3.0])
def test_a_large_table_ends_in_time(limit):
    """Bounds are wide, and of processor time: eight members of seven epochs take about twenty seconds."""
    table = RNG.normal(size=(200_000, 8))
    target = table[:, 0] * table[:, 1]
    began = process_time()
    net = RegularizedMLPRegressor(random_state=0, time_limit=limit).fit(table, target)
    assert process_time() - began < limit + 3
    assert 1 <= members_of(net) < 8
    assert net.predict(table[:100]).std() > 0
