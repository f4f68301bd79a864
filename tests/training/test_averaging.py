"""Tests of the weight averages and of validation and prediction with them."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback

from skreg.network.layers import BatchNorm
from skreg.training.averaging import ExponentialMovingAverage, StochasticWeightAverage
from tests.helpers import plain_classifier, plain_regressor

RNG = np.random.RandomState(0)
X = RNG.randn(240, 4)
Y = X[:, 0] * X[:, 1] + 0.5 * RNG.randn(240)
SMALL = {"hidden_layer_sizes": (16,), "max_iter": 12, "random_state": 0, "dropout": 0.1}


def test_the_moving_average_forgets_the_initial_weights():
    weight = torch.zeros(2, 3)
    average = ExponentialMovingAverage([weight], 0.9)
    weight.fill_(1.0)
    expected = 0.0
    for step in range(60):
        average.after_step()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay)
    (averaged,) = average.state_dict()["averages"]
    torch.testing.assert_close(averaged, torch.full((2, 3), expected))
    assert expected > 0.99


def test_the_average_replaces_the_weights_only_inside_the_block():
    weight = torch.full((2, 3), 5.0)
    average = ExponentialMovingAverage([weight], 0.5)
    weight.fill_(7.0)

    def fail_inside():
        with average.swapped_in():
            assert (weight == 5.0).all()
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert (weight == 7.0).all()


class Recorder(Callback):
    """Record the last weights and the averaged ones."""

    def on_epoch_end(self, net, **kwargs):
        self.last = net.module_.head.weight.detach().clone()
        with net.average_.swapped_in():
            self.averaged = net.module_.head.weight.detach().clone()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_predictions_use_the_moving_average(batch_norm):
    recorder = Recorder()
    settings = {**SMALL, "early_stopping": False, "batch_norm": batch_norm, "callbacks": [recorder]}
    fitted = plain_regressor(**settings, ema_decay=0.9).fit(X, Y)
    assert torch.equal(fitted.net_.module_.head.weight, recorder.averaged)
    assert not torch.allclose(recorder.last, recorder.averaged)


@pytest.mark.parametrize("warm", [False, True])
def test_the_average_starts_at_the_first_weights_of_the_training(warm):
    """With a learning rate of almost 0, the average equals the data-driven weights, or those of the last fit."""
    frozen = {"learning_rate_init": 1e-12, "learning_rate": "constant"}
    settings = {**SMALL, "init": "data_driven", "early_stopping": False, "warm_start": True}
    net = plain_regressor(**settings).set_params(**({} if warm else frozen))
    start = net.fit(X, Y).net_.module_.head.weight.detach().clone()
    again = (net if warm else clone(net)).set_params(**frozen, ema_decay=0.9, max_iter=1).fit(X, Y)
    torch.testing.assert_close(again.net_.module_.head.weight, start, rtol=0, atol=1e-6)


def test_early_stopping_scores_the_moving_average():
    fitted = plain_classifier(**SMALL, n_members=1, ema_decay=0.95, patience=50, monitor="neg_log_loss")
    fitted.fit(X, Y > 0, X_val=X[:80], y_val=Y[:80] > 0)
    p = fitted.predict_proba(X[:80])[np.arange(80), (Y[:80] > 0).astype(int)]
    assert np.log(p).mean() == pytest.approx(fitted.validation_curve_.max(), abs=1e-6)


def roughness(decay, seed):
    """Return the mean difference of the validation curve between epochs, with a constant learning rate."""
    settings = {"learning_rate": "constant", "learning_rate_init": 0.02, "patience": 99, "max_iter": 60}
    fitted = plain_regressor((32,), **settings, ema_decay=decay, random_state=seed).fit(X, Y)
    return np.abs(np.diff(fitted.validation_curve_[10:])).mean()


def test_the_moving_average_smooths_the_validation_curve():
    rough, smooth = (np.mean([roughness(decay, seed) for seed in range(3)]) for decay in (0.0, 0.98))
    assert smooth < 0.75 * rough


def test_a_decay_of_zero_changes_nothing():
    plain = plain_regressor(**SMALL).fit(X, Y)
    assert plain.net_.average_ is None
    again = plain_regressor(**SMALL, ema_decay=0.0).fit(X, Y)
    assert np.array_equal(plain.predict(X), again.predict(X))


# stochastic weight averaging


def test_swa_is_the_mean_of_the_last_epochs():
    weight = torch.zeros(2, 3)
    average = StochasticWeightAverage([weight], 0.6)
    for epoch in range(1, 6):
        weight.fill_(float(epoch**2))
        average.after_step()
        average.after_epoch(epoch / 5)
        assert average.has_started == (epoch > 3)
    with average.swapped_in():
        torch.testing.assert_close(weight, torch.full((2, 3), (16 + 25) / 2))


def test_the_last_epoch_is_always_averaged():
    average = StochasticWeightAverage([torch.ones(1, 1)], 0.999)
    average.after_epoch(1.0)
    assert average.has_started


class HeadRecorder(Callback):
    """Record the weights of the head at the end of each epoch."""

    def __init__(self):
        self.heads = []

    def on_epoch_end(self, net, **kwargs):
        self.heads.append(net.module_.head.weight.detach().clone())


@pytest.mark.parametrize("solver", ["adamw", "sgd"])
def test_predictions_use_the_mean_of_the_last_epochs(solver):
    recorder = HeadRecorder()
    settings = {**SMALL, "early_stopping": False, "solver": solver, "callbacks": [recorder], "n_members": 2}
    fitted = plain_regressor(**settings, swa_start=0.75).fit(X, Y)
    torch.testing.assert_close(fitted.net_.module_.head.weight, torch.stack(recorder.heads[9:]).mean(0))
    plain = plain_regressor(**settings).fit(X, Y)
    assert np.array_equal(plain.loss_curve_, fitted.loss_curve_)
    assert not np.allclose(plain.predict(X), fitted.predict(X))


def weighted_moments(x, weight):
    mean = np.average(x, axis=0, weights=weight)
    return mean, np.average((x - mean) ** 2, axis=0, weights=weight)


def test_batch_norm_statistics_are_computed_with_the_averaged_weights():
    weight = RNG.randint(0, 3, 240).astype(float)
    settings = {**SMALL, "hidden_layer_sizes": (8, 5), "batch_norm": True, "early_stopping": False, "n_members": 1}
    fitted = plain_regressor(**settings, swa_start=0.5).fit(X, Y, sample_weight=weight)
    module = fitted.net_.module_
    with torch.no_grad():
        x, _ = module.inputs(torch.from_numpy(X)[None], None)
        for linear, norm in zip(module.hidden, module.norms, strict=True):
            x = linear(x)
            mean, variance = weighted_moments(x[0].double().numpy(), weight)
            np.testing.assert_allclose(norm.mean[0, 0], mean, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(norm.variance[0, 0], variance, rtol=1e-4, atol=1e-5)
            x = module.activation(norm(x, None))


def test_statistics_pooled_over_blocks_equal_those_of_all_rows():
    """Padding has no influence, even if a block contains nothing else."""
    norm = BatchNorm(2, 3, torch.float64)
    norm(torch.from_numpy(RNG.rand(2, 50, 3)), torch.ones(2, 50, dtype=torch.float64))
    x = torch.from_numpy(RNG.randn(2, 90, 3) * 3 + 2)
    weight = torch.from_numpy(RNG.randint(0, 3, (2, 90)).astype(float))
    weight[1, 60:] = 0
    norm.pooled_weight = torch.zeros(2, 1, 1, dtype=torch.float64)
    for block in (slice(0, 40), slice(40, 60), slice(60, 90)):
        norm(x[:, block], weight[:, block])
    for member in range(2):
        mean, variance = weighted_moments(x[member].numpy(), weight[member].numpy())
        np.testing.assert_allclose(norm.mean[member, 0], mean)
        np.testing.assert_allclose(norm.variance[member, 0], variance)


def test_patience_starts_with_the_averaging():
    settings = {**SMALL, "max_iter": 20, "patience": 1, "learning_rate": "constant", "learning_rate_init": 0.1}
    assert plain_regressor(**settings).fit(X, Y).n_iter_ < 10
    assert 12 < plain_regressor(**settings, swa_start=0.6).fit(X, Y).n_iter_ <= 20


@pytest.mark.parametrize("batch_norm", [False, True])
def test_early_stopping_scores_the_mean(batch_norm):
    settings = {**SMALL, "batch_norm": batch_norm, "n_members": 1, "learning_rate": "constant", "swa_start": 0.3}
    fitted = plain_classifier(**settings, monitor="neg_log_loss").fit(X, Y > 0, X_val=X[:80], y_val=Y[:80] > 0)
    assert fitted.best_iter_ > 4
    p = fitted.predict_proba(X[:80])[np.arange(80), (Y[:80] > 0).astype(int)]
    assert np.log(p).mean() == pytest.approx(fitted.validation_curve_.max(), abs=1e-6)


def test_swa_smooths_the_validation_curve():
    """The scores of the last epochs differ less from each other, and are not worse."""
    settings = {"learning_rate": "constant", "learning_rate_init": 0.02, "patience": 99, "max_iter": 40}
    curves = [
        plain_regressor((32,), **settings, swa_start=start, random_state=0).fit(X, Y).validation_curve_[-10:]
        for start in (None, 0.5)
    ]
    rough, smooth = (np.abs(np.diff(curve)).mean() for curve in curves)
    assert smooth < 0.5 * rough
    assert curves[1].mean() < curves[0].mean()


def test_two_averages_exclude_each_other():
    with pytest.raises(ValueError, match=r"swa_start=0\.5 and ema_decay=0\.9 exclude each other"):
        plain_regressor(swa_start=0.5, ema_decay=0.9).fit(X, Y)


@pytest.mark.parametrize("average", [{"swa_start": 0.5}, {"ema_decay": 0.9}])
def test_averages_work_with_all_other_options(average, mixed_table):
    """With members, categories, missing values, embeddings, weights, batch norm, warm start and early stopping."""
    settings = {**SMALL, **average, "batch_norm": True, "numeric_embedding": "periodic", "n_members": 3}
    fitted = plain_classifier(**settings, warm_start=True)
    weight = np.arange(240) % 3
    fitted.fit(mixed_table.X, mixed_table.label, sample_weight=weight)
    first = fitted.predict_proba(mixed_table.X)
    fitted.fit(mixed_table.X, mixed_table.label, sample_weight=weight)
    assert fitted.score(mixed_table.X, mixed_table.label) > 0.7
    assert not np.array_equal(first, fitted.predict_proba(mixed_table.X))
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(mixed_table.X), fitted.predict_proba(mixed_table.X))
