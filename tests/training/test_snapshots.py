"""Snapshots: at which epochs they are taken, whose weights they are, and that they predict as members do."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, schedules
from skreg.training.snapshots import Snapshots

RNG = np.random.RandomState(0)
X = RNG.randn(240, 4)
Y = X[:, 0] * X[:, 1] + 0.5 * RNG.randn(240)
SMALL = {
    "hidden_layer_sizes": (12,),
    "max_iter": 15,
    "random_state": 0,
    "n_members": 2,
    "learning_rate": "coslog",
    "learning_rate_init": 0.05,
    "batch_norm": True,
}
TO_THE_END = {**SMALL, "early_stopping": False}


@pytest.mark.parametrize(
    ("valleys", "max_iter", "epochs"),
    [
        (schedules.coslog.valleys, 60, (4, 12, 28)),
        (schedules.coslog.valleys, 100, (6, 20, 46)),
        (schedules.coslog.valleys, 3, (1,)),
        (schedules.coslog.valleys, 1, ()),
        (schedules.cosine_restarts.valleys, 7, (1, 3)),
        (schedules.cosine_restarts.valleys, 49, (7, 21)),
        ((0.29, 0.58), 100, (29, 58)),
        ((), 10, ()),
    ],
)
def test_a_cycle_ends_with_the_last_epoch_that_ends_in_it(valleys, max_iter, epochs):
    assert Snapshots.of(valleys, max_iter).epochs == epochs


def test_of_an_epoch_after_the_best_one_the_best_one_is_kept():
    weight = torch.zeros(2, 1, 1)
    snapshots = Snapshots([1, 3])
    for epoch in range(1, 4):
        weight.fill_(epoch)
        snapshots.update(epoch, [weight])
    own = torch.tensor([[[2.0]], [[5.0]]])
    networks = own.repeat(3, 1, 1)
    snapshots.fill([networks], torch.tensor([2, 5]))
    assert networks[:, 0, 0].tolist() == [1, 1, 2, 3, 2, 5]


class Epochs(Callback):
    """Keeps the weights of the head at the end of each epoch."""

    def __init__(self):
        self.heads = []

    def on_epoch_end(self, net, **kwargs):
        self.heads.append(net.module_.head.weight.detach().clone())


def test_the_weights_at_the_ends_of_the_cycles_predict():
    epochs = Epochs()
    fitted = RegularizedMLPRegressor(**TO_THE_END, snapshots=True, callbacks=[epochs]).fit(X, Y)
    expected = torch.cat([epochs.heads[epoch - 1] for epoch in (1, 3, 7, 15)])
    assert torch.equal(fitted.net_.module_.head.weight, expected)


def head_of(net, part=slice(None)):
    return net.net_.module_.head.weight[part]


@pytest.mark.parametrize("settings", [SMALL, TO_THE_END])
def test_the_last_are_the_members_own(settings):
    plain = RegularizedMLPRegressor(**settings).fit(X, Y)
    several = RegularizedMLPRegressor(**settings, snapshots=True).fit(X, Y)
    assert torch.equal(head_of(several, slice(-2, None)), head_of(plain))
    assert not np.allclose(plain.predict(X), several.predict(X))
    assert (plain.n_iter_, plain.best_iter_) == (several.n_iter_, several.best_iter_)


def test_a_prediction_is_the_mean_over_all_networks():
    fitted = RegularizedMLPRegressor(**TO_THE_END, snapshots=True).fit(X, Y)
    raw = fitted.net_.predict_raw(torch.from_numpy(X), None)
    each = [fitted._decode(raw[i : i + 1], slice(i, i + 1)) for i in range(8)]
    np.testing.assert_allclose(fitted.predict(X), np.mean(each, axis=0))


def test_a_member_has_as_many_snapshots_when_it_stops_early():
    settings = {**SMALL, "max_iter": 60, "patience": 1, "random_state": 9}
    stopped = RegularizedMLPRegressor(**settings, snapshots=True).fit(X, Y)
    assert stopped.n_iter_ == 28
    assert torch.equal(head_of(stopped, slice(4, 6)), head_of(stopped, slice(6, 8)))
    assert stopped.net_.module_.n_members == 8


def test_out_of_fold_predictions_are_those_of_the_members_own_snapshots():
    settings = {**SMALL, "n_members": 4}
    fitted = RegularizedMLPRegressor(**settings, snapshots=True).fit(X, Y)
    raw = fitted.net_.predict_raw(torch.from_numpy(X), None)
    each = np.stack([fitted._decode(raw[m::4], slice(m, None, 4)) for m in range(4)])
    closest = np.abs(each - fitted.oof_prediction_).min(axis=0)
    assert closest.max() < 1e-6
    assert fitted.oof_score_ < fitted.score(X, Y)


def test_a_warm_start_goes_on_from_the_members_own_weights():
    runs = []
    for snapshots in (False, True):
        net = RegularizedMLPRegressor(**TO_THE_END, snapshots=snapshots, warm_start=True)
        runs.append(head_of(net.fit(X, Y).fit(X, Y), slice(-2, None)))
    assert torch.equal(*runs)
    with pytest.raises(ValueError, match="n_members as they were"):
        net.set_params(n_members=8).fit(X, Y)
    assert net.set_params(n_members=2, snapshots=False).fit(X, Y).net_.module_.n_members == 2


class Ended(Callback):
    """Predicts in every epoch as if the fit ended there."""

    def __init__(self):
        self.networks = []

    def on_epoch_end(self, net, **kwargs):
        ended = net.snapshot()
        self.networks.append(ended.predict_raw(torch.from_numpy(X), None).flatten(1).unique(dim=0).shape[0])


def test_a_fit_that_ended_sooner_has_the_snapshots_taken_until_then():
    ended = Ended()
    RegularizedMLPRegressor(**{**TO_THE_END, "n_members": 1}, snapshots=True, callbacks=[ended]).fit(X, Y)
    assert ended.networks == [1, 2, 2, 3, 3, 3, 3, *[4] * 8]


@pytest.mark.parametrize("average", [{}, {"ema_decay": 0.9}, {"swa_start": 0.3}])
def test_snapshots_compose(mixed_table, average):
    """With categories, missing values, weights, embeddings, early stopping by a scorer, averages and pickle."""
    settings = {**SMALL, **average, "n_members": 4, "monitor": "accuracy", "numeric_embedding": "periodic"}
    fitted = RegularizedMLPClassifier(**settings, snapshots=True)
    fitted.fit(mixed_table.X, mixed_table.label, sample_weight=np.arange(240) % 3)
    probability = fitted.predict_proba(mixed_table.X)
    np.testing.assert_allclose(probability.sum(1), 1)
    assert fitted.score(mixed_table.X, mixed_table.label) > 0.7
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(mixed_table.X), probability)
    twin = clone(fitted).fit(mixed_table.X, mixed_table.label, sample_weight=np.arange(240) % 3)
    assert np.array_equal(twin.predict_proba(mixed_table.X), probability)


def test_a_fit_that_diverges_keeps_what_was_good():
    def explodes(progress):
        return 1e30 if progress > 0.5 else 1.0

    explodes.valleys = np.array([0.2, 0.4, 0.8, 1.0])
    net = RegularizedMLPRegressor(**{**TO_THE_END, "learning_rate": explodes, "batch_norm": False}, snapshots=True)
    with pytest.warns(UserWarning, match="diverged"):
        net.fit(X, Y)
    assert np.isfinite(net.predict(X)).all()
    assert torch.equal(head_of(net, slice(4, 6)), head_of(net, slice(6, 8)))


def test_weights_of_one_network_only_are_known():
    net = RegularizedMLPRegressor(**{**TO_THE_END, "n_members": 1}, snapshots=True).fit(X, Y)
    with pytest.raises(AttributeError, match="known for a single member; this estimator has 1, with snapshots 4 netw"):
        _ = net.coefs_


@pytest.mark.parametrize("schedule", ["cosine", "constant", lambda progress: 1.0])
def test_a_schedule_without_cycles_is_refused(schedule):
    net = RegularizedMLPRegressor(snapshots=True, learning_rate=schedule)
    with pytest.raises(ValueError, match=r"snapshots=True needs .*'cosine_restarts', 'coslog', 'growing_cycles', or a"):
        net.fit(X, Y)


@pytest.mark.parametrize("valleys", [(), 0.5, ("end",), (0.5, 0.5), (0.0, 1.0), (0.5, 1.5)])
def test_valleys_that_do_not_increase_are_refused(valleys):
    def schedule(progress):
        return 1.0

    schedule.valleys = valleys
    with pytest.raises(ValueError, match=r"The 'valleys' of .* must increase within \(0, 1\]"):
        RegularizedMLPRegressor(snapshots=True, learning_rate=schedule).fit(X, Y)
