"""A weight average: what it follows, and that it is what is watched, kept and predicted with."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg._averaging import WeightAverage

RNG = np.random.RandomState(0)
X = RNG.randn(240, 4)
Y = X[:, 0] * X[:, 1] + 0.5 * RNG.randn(240)
SMALL = {"hidden_layer_sizes": (16,), "max_iter": 12, "random_state": 0, "dropout": 0.1}


def test_follows_the_weights_and_forgets_the_first_ones():
    weight = torch.zeros(2, 3)
    average = WeightAverage([weight], 0.9)
    weight.fill_(1.0)
    expected = 0.0
    for step in range(60):
        average.update()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay)
    (averaged,) = average.state_dict()["averages"]
    torch.testing.assert_close(averaged, torch.full((2, 3), expected))
    assert expected > 0.99


def test_stands_in_for_a_while_only():
    weight = torch.full((2, 3), 5.0)
    average = WeightAverage([weight], 0.5)
    weight.fill_(7.0)
    with pytest.raises(RuntimeError, match="inside"), average.in_place():
        assert (weight == 5.0).all()
        raise RuntimeError("inside")
    assert (weight == 7.0).all()


class Recorder(Callback):
    """Keeps the last weights and the averaged ones."""

    def on_epoch_end(self, net, **kwargs):
        self.last = net.module_.head.weight.detach().clone()
        with net.average_.in_place():
            self.averaged = net.module_.head.weight.detach().clone()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_averaged_weights_are_those_that_predict(batch_norm):
    recorder = Recorder()
    settings = {**SMALL, "early_stopping": False, "batch_norm": batch_norm, "callbacks": [recorder]}
    fitted = RegularizedMLPRegressor(**settings, ema_decay=0.9).fit(X, Y)
    assert torch.equal(fitted.net_.module_.head.weight, recorder.averaged)
    assert not torch.allclose(recorder.last, recorder.averaged)


def test_early_stopping_watches_the_average():
    fitted = RegularizedMLPClassifier(**SMALL, n_members=1, ema_decay=0.95, patience=50, monitor="neg_log_loss")
    fitted.fit(X, Y > 0, X_val=X[:80], y_val=Y[:80] > 0)
    p = fitted.predict_proba(X[:80])[np.arange(80), (Y[:80] > 0).astype(int)]
    assert np.log(p).mean() == pytest.approx(fitted.validation_curve_.max(), abs=1e-6)


def roughness(decay, seed):
    """Mean jump of the validation curve from epoch to epoch, under a rate that never falls."""
    settings = {"learning_rate": "constant", "learning_rate_init": 0.02, "patience": 99, "max_iter": 60}
    fitted = RegularizedMLPRegressor((32,), **settings, ema_decay=decay, random_state=seed).fit(X, Y)
    return np.abs(np.diff(fitted.validation_curve_[10:])).mean()


def test_smooths_a_rate_that_never_falls():
    rough, smooth = (np.mean([roughness(decay, seed) for seed in range(3)]) for decay in (0.0, 0.98))
    assert smooth < 0.75 * rough


def test_no_average_costs_nothing_and_changes_no_bit():
    plain = RegularizedMLPRegressor(**SMALL).fit(X, Y)
    assert plain.net_.average_ is None
    again = RegularizedMLPRegressor(**SMALL, ema_decay=0.0).fit(X, Y)
    assert np.array_equal(plain.predict(X), again.predict(X))
