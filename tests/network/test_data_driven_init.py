"""Data-driven initialization: pre-activations have variance 1, and their sign differs between rows."""

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.network.data_driven_init import MAX_ROWS

RNG = np.random.RandomState(0)
X = RNG.randn(200, 6) * [1, 10, 100, 1, 1, 1] + [0, 0, 1e3, 5, 5, 5]
Y = X[:, 0] - X[:, 3] * X[:, 4]
CLASSES = Y.mean() < Y
SETTINGS = {
    "hidden_layer_sizes": (40, 30),
    "init": "data_driven",
    "learning_rate": lambda progress: 0.0,  # the initial weights are kept
    "max_iter": 1,
    "early_stopping": False,
    "n_members": 3,
    "random_state": 0,
}


def preactivations(fitted, rows=X):
    """Pre-activations ``(members, rows, units)`` of each layer."""
    recorded = []
    hooks = [
        linear.register_forward_hook(lambda layer, given, result: recorded.append(result.detach()))
        for linear in fitted.net_.module_.linears
    ]
    numbers = fitted.encoder_.transform(rows)[0]
    module = fitted.net_.module_
    inputs, _ = module.inputs(torch.from_numpy(np.ascontiguousarray(numbers)).expand(module.n_members, -1, -1), None)
    module(inputs, None, torch.ones(inputs.shape[:2]))
    for hook in hooks:
        hook.remove()
    return recorded


@pytest.mark.parametrize("changes", [{}, {"residual": True, "hidden_layer_sizes": (30, 30)}])
@pytest.mark.parametrize("embedding", [None, "periodic", "piecewise_linear"])
def test_preactivations_of_each_unit_have_variance_one(changes, embedding):
    fitted = RegularizedMLPRegressor(**{**SETTINGS, "numeric_embedding": embedding, **changes}).fit(X, Y)
    for before in preactivations(fitted):
        np.testing.assert_allclose(before.std(-2, correction=0), 1, rtol=1e-3)


def test_preactivations_of_most_units_are_positive_for_some_rows_and_negative_for_others():
    settings = {**SETTINGS, "hidden_layer_sizes": (400,), "n_members": 1}
    before = preactivations(RegularizedMLPRegressor(**settings).fit(X, Y))[0][0]
    mean = before.mean(0)
    assert mean.std() == pytest.approx(3**-0.5, rel=0.15)
    assert abs(mean.mean()) < 0.1
    assert (before > 0).any(0).logical_and((before < 0).any(0)).double().mean() > 0.95


def test_weight_two_equals_a_repeated_row_and_weight_zero_a_removed_row():
    weight = RNG.randint(3, size=len(X))
    settings = {**SETTINGS, "dropout": 0.0, "batch_size": 1000, "learning_rate": "constant", "max_iter": 3}
    weighted = RegularizedMLPRegressor(**settings).fit(X, Y, sample_weight=weight)
    repeated = RegularizedMLPRegressor(**settings).fit(X.repeat(weight, 0), Y.repeat(weight))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-9)


def test_each_member_uses_its_own_training_rows():
    settings = {**SETTINGS, "early_stopping": True, "learning_rate": "constant", "validation_fraction": 1 / 3}
    alone = RegularizedMLPClassifier(**{**settings, "n_members": 1}).fit(X, CLASSES)
    three = RegularizedMLPClassifier(**settings).fit(X, CLASSES)
    one, first = (fitted.net_.module_.linears[0].weight[0].detach() for fitted in (alone, three))
    np.testing.assert_allclose(one, first, atol=1e-5)


def test_pretrained_layers_are_not_changed():
    source = RegularizedMLPRegressor(**{**SETTINGS, "n_members": 1, "learning_rate": "constant"}).fit(X, Y)
    tuned = RegularizedMLPClassifier(**{**SETTINGS, "n_members": 1, "pretrained": FrozenEstimator(source)})
    tuned.fit(X, CLASSES)
    before = [linear.weight for linear in source.net_.module_.hidden]
    after = [linear.weight for linear in tuned.net_.module_.hidden]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    np.testing.assert_allclose(preactivations(tuned)[-1].std(1, correction=0), 1, rtol=1e-3)


def test_every_third_of_many_rows_is_used():
    n = 2 * MAX_ROWS + 1
    table = np.arange(n, dtype=float)[:, None]
    fitted = RegularizedMLPRegressor(**{**SETTINGS, "n_members": 1}).fit(table, table[:, 0])
    assert preactivations(fitted, table[::3])[0].std().item() == pytest.approx(1, abs=0.6)
    np.testing.assert_allclose(preactivations(fitted, table[::3])[1].std(1, correction=0), 1, rtol=1e-2)


@pytest.mark.parametrize("norm", ["batch_norm", "layer_norm"])
def test_networks_with_a_norm_are_initialized_as_with_auto(norm):
    auto, data_driven = (
        RegularizedMLPRegressor(**{**SETTINGS, norm: True, "init": init}).fit(X, Y) for init in ("auto", "data_driven")
    )
    assert auto.predict(X).tobytes() == data_driven.predict(X).tobytes()
