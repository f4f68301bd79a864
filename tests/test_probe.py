"""The probe: what it records, of which weights, and that the fit stays as it is."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback
from skreg._probe import probe, training_of

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor

RNG = np.random.RandomState(0)
X = RNG.randn(150, 4)
Y = X[:, 0] * X[:, 1] + 0.3 * RNG.randn(150)
LABEL = np.where(Y > 0, "yes", "no")
SMALL = {"hidden_layer_sizes": (12, 8), "max_iter": 4, "random_state": 0, "n_members": 2, "batch_size": 32}
WAYS = [
    {},
    {"batch_norm": True, "activation": "relu", "dropout": 0.3},
    {"layer_norm": True, "residual": True, "hidden_layer_sizes": (8, 8)},
    {"n_adapters": 3, "input_dropout": 0.2},
    {"hidden_layer_sizes": ()},
    {"numeric_embedding": "periodic"},
    {"numeric_embedding": "piecewise_linear", "early_stopping": True},
    {"learning_rate": "coslog", "snapshots": True, "early_stopping": False},
    {"ema_decay": 0.9, "augmentation": "mixup", "precision": "float32"},
]


class First(Callback):
    """Keeps the parameters that the training begins with."""

    def on_train_begin(self, net, **kwargs):
        self.kept = {name: value.clone() for name, value in net.module_.state_dict().items()}


def state_of(fitted):
    """All tensors of a fitted estimator, gradients and streams too, and what it predicts."""
    net = fitted.net_
    tensors = [*net.module_.state_dict().values(), *(p.grad for p in net.module_.parameters() if p.grad is not None)]
    training = [*net.generators_.state_dict(), *(v for v in vars(net.stopping_).values() if torch.is_tensor(v))]
    return [*(t.clone() for t in (*tensors, *training)), torch.from_numpy(fitted.predict_proba(X))]


def weights_of(record):
    return [layer.weight for layer in record.layers]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(way) or "plain")
def test_a_probe_records_each_layer_and_leaves_the_fit_alone(way):
    fitted = RegularizedMLPClassifier(**SMALL | way).fit(X, LABEL)
    kept, numbers = state_of(fitted), (torch.get_rng_state(), pickle.dumps(np.random.mtrand._rand))
    hidden = fitted.get_params()["hidden_layer_sizes"]
    for when in ("initial", "now"):
        record = probe(fitted, X, LABEL, when)
        assert [layer.name for layer in record.layers] == [*(f"hidden {1 + i}" for i in range(len(hidden))), "head"]
        for layer, width in zip(record.layers, hidden, strict=False):
            assert layer.before.shape == layer.after.shape == layer.gradient.shape
            assert layer.before.shape == (2, 150 * fitted.n_adapters, width)
            assert layer.weight.shape == layer.weight_gradient.shape
            assert layer.dead.shape == layer.saturated.shape == (2, width)
            assert np.isfinite(layer.gradient).all()
            assert layer.gradient.any()
        assert record.loss.shape == record.epoch.shape == (2,)
    assert all(map(torch.equal, state_of(fitted), kept))
    assert torch.equal(torch.get_rng_state(), numbers[0])
    assert pickle.dumps(np.random.mtrand._rand) == numbers[1]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(way) or "plain")
def test_the_initial_weights_are_those_that_the_training_began_with(way):
    first = First()
    fitted = RegularizedMLPRegressor(**SMALL | way, callbacks=[first]).fit(X, Y)
    record = probe(fitted, X, when="initial")
    names = [*(f"hidden.{i}.weight" for i in range(len(record.layers) - 1)), "head.weight"]
    assert record.epoch.tolist() == [0, 0]
    assert all(np.array_equal(w, first.kept[n]) for w, n in zip(weights_of(record), names, strict=True))


def test_a_network_that_started_from_another_one_has_that_ones_layers():
    source = RegularizedMLPRegressor(**SMALL).fit(X, Y)
    tuned = RegularizedMLPRegressor(**SMALL, pretrained=FrozenEstimator(source), freeze_layers=1).fit(X, Y)
    record = probe(tuned, X, Y, "initial")
    assert all(map(np.array_equal, weights_of(record), weights_of(probe(source, X))))
    assert record.layers[0].weight_gradient.any()


def test_now_is_what_predicts():
    fitted = RegularizedMLPRegressor(**SMALL | {"n_members": 1}, early_stopping=False).fit(X, Y)
    record = probe(fitted, X, Y)
    head = record.layers[-1].after[0, :, 0]
    assert np.allclose(head * Y.std() + Y.mean(), fitted.predict(X), atol=1e-4)
    assert record.loss[0] == pytest.approx(0.5 * np.mean((head - (Y - Y.mean()) / Y.std()) ** 2), rel=1e-4)
    assert np.allclose(record.layers[-1].gradient[0, :, 0], head - (Y - Y.mean()) / Y.std(), atol=1e-4)


def test_the_gradient_of_a_weight_is_the_difference_quotient_of_the_loss():
    fitted = RegularizedMLPRegressor(**SMALL, precision="float64", early_stopping=False, alpha=0.0).fit(X, Y)
    layer, step = probe(fitted, X, Y).layers[0], 1e-6
    losses = []
    for sign in (1, -1):
        moved = pickle.loads(pickle.dumps(fitted))
        with torch.no_grad():
            moved.net_.module_.hidden[0].weight[1, 2, 3] += sign * step
        losses.append(probe(moved, X, Y).loss)
    quotient = (losses[0] - losses[1]) / (2 * step)
    assert quotient[0] == 0
    assert quotient[1] == pytest.approx(layer.weight_gradient[1, 2, 3], rel=1e-4)


def test_the_last_epoch_is_there_only_if_it_is_kept():
    fitted = RegularizedMLPRegressor(**SMALL, early_stopping=False).fit(X, Y)
    assert probe(fitted, X, when="last").epoch.tolist() == [4, 4]
    stopped = RegularizedMLPRegressor(**SMALL | {"max_iter": 40, "learning_rate_init": 0.3, "patience": 2})
    stopped.set_params(early_stopping=True).fit(X, Y)
    with pytest.raises(ValueError, match=r"weights of the last epoch, .*, are not kept"):
        probe(stopped, X, when="last")
    with pytest.raises(ValueError, match="when must be one of 'initial', 'now', 'last'"):
        probe(stopped, X, when="best")


def test_other_parameters_than_those_of_the_fit_are_refused():
    fitted = RegularizedMLPRegressor(**SMALL).fit(X, Y).set_params(n_members=3)
    with pytest.raises(ValueError, match="initial weights cannot be drawn anew"):
        probe(fitted, X, when="initial")


def test_of_many_rows_some_are_looked_at():
    fitted = RegularizedMLPClassifier(**SMALL).fit(X, LABEL)
    record = probe(fitted, X, max_rows=40)
    assert len(record.rows) == record.layers[0].after.shape[1] == 40
    assert record.loss is record.layers[0].gradient is record.layers[0].weight_gradient is None
    part = probe(fitted, X[record.rows])
    assert np.allclose(record.layers[-1].after, part.layers[-1].after, atol=1e-6)


def test_several_labels_and_several_outputs_are_looked_at_too():
    labels = np.stack([Y > 0, X[:, 2] > 0], 1).astype(int)
    assert probe(RegularizedMLPClassifier(**SMALL).fit(X, labels), X, labels).layers[-1].after.shape == (2, 150, 2)
    three = np.arange(150) % 3
    assert probe(RegularizedMLPClassifier(**SMALL).fit(X, three), X, three).layers[-1].after.shape == (2, 150, 3)
    both = np.stack([Y, X[:, 2]], 1)
    assert probe(RegularizedMLPRegressor(**SMALL).fit(X, both), X, both).layers[-1].gradient.shape == (2, 150, 2)


def test_frames_with_categories_and_holes(mixed_table):
    table, label, _ = mixed_table
    fitted = RegularizedMLPClassifier(**SMALL, class_weight="balanced").fit(table, label)
    assert np.isfinite(probe(fitted, table, label, max_rows=100).loss).all()


def test_dead_and_saturated_units_are_told():
    def shifted(x):
        return torch.relu(x - 100)

    dead = RegularizedMLPRegressor(**SMALL, activation=shifted).fit(X, Y)
    assert probe(dead, X).layers[0].dead.all()
    steep = RegularizedMLPRegressor(**SMALL, activation=lambda x: torch.tanh(100 * x)).fit(X, Y)
    assert probe(steep, X).layers[0].saturated.mean() > 0.8
    sound = probe(RegularizedMLPRegressor(**SMALL).fit(X, Y), X)
    assert not any(layer.dead.any() or layer.saturated.any() for layer in sound.layers)


def test_the_course_of_a_training():
    fitted = RegularizedMLPClassifier(**SMALL | {"max_iter": 60, "learning_rate_init": 0.1}, early_stopping=True)
    training = training_of(fitted.set_params(patience=3).fit(X, LABEL))
    assert len(training.epoch) == len(training.rate) == fitted.n_iter_
    assert training.stopped.all()
    assert not training.diverged.any()
    assert np.array_equal(training.validation, fitted.validation_curve_)
    assert not training.greater_is_better
    assert training_of(fitted.set_params(monitor="accuracy").fit(X, LABEL)).greater_is_better
    assert training_of(fitted.set_params(monitor="loss", early_stopping=False).fit(X, LABEL)).validation is None
