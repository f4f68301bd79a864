"""`probe` records the layers for the requested weights and does not change the fitted estimator."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.diagnostics.probe import probe, sample

RNG = np.random.RandomState(0)
X = RNG.randn(150, 4)
Y = X[:, 0] * X[:, 1] + 0.3 * RNG.randn(150)
LABEL = np.where(Y > 0, "yes", "no")
SMALL = {"hidden_layer_sizes": (12, 8), "max_iter": 4, "random_state": 0, "n_members": 2, "batch_size": 32}
PARAMS = [
    {},
    {"batch_norm": True, "activation": "relu", "dropout": 0.3},
    {"layer_norm": True, "residual": True, "hidden_layer_sizes": (8, 8)},
    {"input_dropout": 0.2},
    {"hidden_layer_sizes": ()},
    {"numeric_embedding": "periodic"},
    {"numeric_embedding": "piecewise_linear", "early_stopping": True},
    {"learning_rate": "coslog", "early_stopping": False},
    {"ema_decay": 0.9, "augmentation": "mixup", "precision": "float32"},
]


class KeepInitialWeights(Callback):
    """Keeps the parameters at the start of the training."""

    def on_train_begin(self, net, **kwargs):
        self.kept = {name: value.clone() for name, value in net.module_.state_dict().items()}


def state_of(fitted):
    """Return all tensors of a fitted estimator, with gradients and generators, and its predictions."""
    net = fitted.net_
    tensors = [*net.module_.state_dict().values(), *(p.grad for p in net.module_.parameters() if p.grad is not None)]
    training = [*net.generators_.state_dict(), *(v for v in vars(net.stopping_).values() if torch.is_tensor(v))]
    return [*(t.clone() for t in (*tensors, *training)), torch.from_numpy(fitted.predict_proba(X))]


def weights_of(record):
    return [layer.weight for layer in record.layers]


@pytest.mark.parametrize("params", PARAMS, ids=lambda params: "-".join(params) or "plain")
def test_a_probe_records_each_layer_and_does_not_change_the_fit(params):
    fitted = RegularizedMLPClassifier(**SMALL | params).fit(X, LABEL)
    kept, numbers = state_of(fitted), (torch.get_rng_state(), pickle.dumps(np.random.mtrand._rand))
    hidden = fitted.get_params()["hidden_layer_sizes"]
    for when in ("initial", "now"):
        record = probe(fitted, X, LABEL, when)
        assert [layer.name for layer in record.layers] == [*(f"hidden {1 + i}" for i in range(len(hidden))), "head"]
        for layer, width in zip(record.layers, hidden, strict=False):
            assert layer.after.shape == layer.gradient.shape == (2, 150, width)
            assert layer.weight.shape == layer.weight_gradient.shape
            assert layer.dead.shape == layer.saturated.shape == (2, width)
            assert np.isfinite(layer.gradient).all()
            assert layer.gradient.any()
        assert record.loss.shape == (2,)
    assert all(map(torch.equal, state_of(fitted), kept))
    assert torch.equal(torch.get_rng_state(), numbers[0])
    assert pickle.dumps(np.random.mtrand._rand) == numbers[1]


@pytest.mark.parametrize("params", PARAMS, ids=lambda params: "-".join(params) or "plain")
def test_the_initial_weights_are_those_at_the_start_of_the_training(params):
    callback = KeepInitialWeights()
    fitted = RegularizedMLPRegressor(**SMALL | params, callbacks=[callback]).fit(X, Y)
    record = probe(fitted, X, when="initial")
    names = [*(f"hidden.{i}.weight" for i in range(len(record.layers) - 1)), "head.weight"]
    assert all(np.array_equal(w, callback.kept[n]) for w, n in zip(weights_of(record), names, strict=True))


def test_the_initial_weights_of_a_fine_tuned_network_are_the_pretrained_ones():
    source = RegularizedMLPRegressor(**SMALL).fit(X, Y)
    tuned = RegularizedMLPRegressor(**SMALL, pretrained=FrozenEstimator(source), freeze_layers=1).fit(X, Y)
    record = probe(tuned, X, Y, "initial")
    assert all(map(np.array_equal, weights_of(record), weights_of(probe(source, X))))
    assert record.layers[0].weight_gradient.any()


def test_now_uses_the_weights_of_the_predictions():
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
    for direction in (1, -1):
        moved = pickle.loads(pickle.dumps(fitted))
        with torch.no_grad():
            moved.net_.module_.hidden[0].weight[1, 2, 3] += direction * step
        losses.append(probe(moved, X, Y).loss)
    quotient = (losses[0] - losses[1]) / (2 * step)
    assert quotient[0] == 0
    assert quotient[1] == pytest.approx(layer.weight_gradient[1, 2, 3], rel=1e-4)


def test_an_unknown_set_of_weights_is_refused():
    fitted = RegularizedMLPRegressor(**SMALL).fit(X, Y)
    with pytest.raises(ValueError, match=r"'when' parameter must be one of 'initial', 'now'. Got 'best' instead"):
        probe(fitted, X, when="best")


def test_parameters_that_differ_from_the_fit_are_refused():
    fitted = RegularizedMLPRegressor(**SMALL).fit(X, Y).set_params(n_members=3)
    with pytest.raises(ValueError, match="initial weights cannot be drawn again"):
        probe(fitted, X, when="initial")


def test_large_tables_are_sampled():
    fitted = RegularizedMLPClassifier(**SMALL).fit(X, LABEL)
    record = probe(fitted, X, max_rows=40)
    assert record.layers[0].after.shape[1] == 40
    assert record.loss is record.layers[0].gradient is record.layers[0].weight_gradient is None
    rows = sample(np.arange(150), 40)
    assert len(np.unique(rows)) == 40
    assert np.allclose(record.layers[-1].after, probe(fitted, X[rows]).layers[-1].after, atol=1e-6)


def test_several_labels_and_several_outputs_are_recorded():
    labels = np.stack([Y > 0, X[:, 2] > 0], 1).astype(int)
    assert probe(RegularizedMLPClassifier(**SMALL).fit(X, labels), X, labels).layers[-1].after.shape == (2, 150, 2)
    three = np.arange(150) % 3
    assert probe(RegularizedMLPClassifier(**SMALL).fit(X, three), X, three).layers[-1].after.shape == (2, 150, 3)
    both = np.stack([Y, X[:, 2]], 1)
    assert probe(RegularizedMLPRegressor(**SMALL).fit(X, both), X, both).layers[-1].gradient.shape == (2, 150, 2)


def test_data_frames_with_categories_and_missing_values(mixed_table):
    table, label, _ = mixed_table
    fitted = RegularizedMLPClassifier(**SMALL, class_weight="balanced").fit(table, label)
    assert np.isfinite(probe(fitted, table, label, max_rows=100).loss).all()


def test_dead_and_saturated_units_are_recorded():
    def shifted(x):
        return torch.relu(x - 100)

    dead = RegularizedMLPRegressor(**SMALL, activation=shifted).fit(X, Y)
    assert probe(dead, X).layers[0].dead.all()
    steep = RegularizedMLPRegressor(**SMALL, activation=lambda x: torch.tanh(100 * x)).fit(X, Y)
    assert probe(steep, X).layers[0].saturated.mean() > 0.8
    record = probe(RegularizedMLPRegressor(**SMALL).fit(X, Y), X)
    assert not any(layer.dead.any() or layer.saturated.any() for layer in record.layers)
