"""The parametrisation "ntk" is a division of each layer's sums, done as rates of the effective weights."""

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch.nn.functional import silu

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.training.config import TrainingConfig
from skreg.training.learning_rates import BASE_WIDTH, BIASES
from skreg.training.optimizers.base import EPS

RNG = np.random.RandomState(0)
X = RNG.randn(60, 3)
Y = X[:, 0] - X[:, 1] ** 2
SETTINGS = {
    "hidden_layer_sizes": (16, 8),
    "numeric_scaling": None,
    "numeric_embedding": None,
    "init": "he_normal",
    "scale_layer": False,
    "parametrization": "ntk",
    "early_stopping": False,
    "dropout": 0.0,
    "alpha": 0.0,
    "weight_decay": 0.1,
    "n_members": 1,
    "learning_rate": "constant",
    "learning_rate_init": 0.01,
    "batch_size": len(X),
    "max_iter": 15,
    "random_state": 0,
}


def fitted(**changes):
    return RegularizedMLPRegressor(**{**SETTINGS, **changes}).fit(X, Y)


def initial():
    """The network before its first step."""
    return fitted(learning_rate=lambda progress: 0.0).net_.module_


def network_that_divides(steps):
    """Weights and biases after training a network that computes ``x W / sqrt(fan_in / 32)``, by torch's AdamW."""
    weights, biases = [], []
    for linear in initial().linears:
        root = (linear.weight.shape[1] / BASE_WIDTH) ** 0.5
        weights.append((root, (linear.weight[0].detach() * root).requires_grad_()))
        biases.append(linear.bias[0].detach().clone().requires_grad_())
    rate, decay = SETTINGS["learning_rate_init"], SETTINGS["weight_decay"]
    groups = [
        *({"params": [weight], "lr": rate, "weight_decay": decay, "eps": EPS / root} for root, weight in weights),
        {"params": biases, "lr": rate * BIASES, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=EPS)
    target = torch.tensor((Y - Y.mean()) / Y.std())
    for _ in range(steps):
        x = torch.tensor(X)
        for (root, weight), bias in zip(weights, biases, strict=True):
            before = x @ weight / root + bias
            x = silu(before)
        optimizer.zero_grad()
        (0.5 * (before[:, 0] - target).square().mean()).backward()
        optimizer.step()
    return [weight / root for root, weight in weights], biases


def test_is_a_network_that_divides_its_sums():
    weights, biases = network_that_divides(SETTINGS["max_iter"])
    ours = fitted().net_.module_
    for linear, weight, bias in zip(ours.linears, weights, biases, strict=True):
        np.testing.assert_allclose(linear.weight[0].detach(), weight.detach(), atol=1e-4)
        np.testing.assert_allclose(linear.bias[0].detach(), bias.detach(), atol=1e-4)


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
def test_the_decay_of_a_step_is_that_of_the_rate(solver):
    estimator = RegularizedMLPRegressor(**{**SETTINGS, "solver": solver})
    module = initial()
    training_config = TrainingConfig.of(estimator)
    decayed = [group for group in training_config.groups(module) if group.decay]
    assert sum(len(group.parameters) for group in decayed) == len(module.weights())
    for group in decayed:
        assert group.decay * group.factor == pytest.approx(0.1)


@pytest.mark.parametrize("settings", [{"hidden_layer_sizes": ()}, {"solver": "sgd"}], ids=["linear", "sgd"])
def test_linear_models_and_gradient_descent_are_the_same_under_both(settings):
    ntk, standard = (fitted(**settings, parametrization=name) for name in ("ntk", "standard"))
    assert ntk.predict(X).tobytes() == standard.predict(X).tobytes()


def test_a_layer_of_32_inputs_moves_as_under_standard():
    module = RegularizedMLPRegressor(**{**SETTINGS, "hidden_layer_sizes": (32, 4)}).fit(X, Y).net_.module_
    training_config = TrainingConfig.of(RegularizedMLPRegressor(**SETTINGS))
    factor = {id(p): group.factor for group in training_config.groups(module) for p in group.parameters}
    assert [factor[id(linear.weight)] for linear in module.linears] == [(32 / 3) ** 0.5, 1.0, 8**0.5]


# the factors on the inputs


@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_the_factors_on_the_inputs_are_in_the_weights_shown(Estimator):
    y = Y if Estimator is RegularizedMLPRegressor else (Y > -0.5).astype(int)
    fit = Estimator(**{**SETTINGS, "scale_layer": True}).fit(X, y)
    scale = fit.net_.module_.scale.weight[0, 0].detach().numpy()
    assert np.abs(scale - 1).max() > 0.05
    x = X
    for weight, bias in zip(fit.coefs_, fit.intercepts_, strict=True):
        before = x @ weight + bias
        x = silu(torch.tensor(before)).numpy()
    shown = fit.predict(X) if Estimator is RegularizedMLPRegressor else fit.decision_function(X)
    np.testing.assert_allclose(before[:, 0], shown, rtol=1e-6, atol=1e-8)
    norms = np.linalg.norm(fit.coefs_[0], axis=1)
    np.testing.assert_allclose(fit.feature_importances_, norms / norms.sum())


def test_a_linear_model_has_no_factors_on_its_inputs():
    assert fitted(hidden_layer_sizes=(), scale_layer=True).net_.module_.scale is None


@pytest.mark.parametrize("bound", [{"alpha": (0.1, 0, 0)}, {"feature_alpha": 0.1}, {"max_norm": 1.0}])
def test_factors_by_themselves_are_only_where_nothing_bounds_the_first_layer(bound):
    assert fitted(scale_layer="auto", max_iter=1).net_.module_.scale is not None
    assert fitted(scale_layer="auto", max_iter=1, **bound).net_.module_.scale is None
    with pytest.raises(ValueError, match="scale_layer=True gives the inputs factors that"):
        fitted(scale_layer=True, **bound)


def test_bounds_of_the_other_layers_leave_the_factors():
    assert fitted(scale_layer="auto", max_iter=1, alpha=(0, 1, 1), max_norm=(None, 1, 1)).net_.module_.scale is not None


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True), (True, True)])
def test_factors_are_handed_on(before, after):
    source = fitted(scale_layer=before)
    still = {"learning_rate": lambda progress: 0.0, "pretrained": FrozenEstimator(source), "scale_layer": after}
    np.testing.assert_allclose(fitted(**still).predict(X), source.predict(X), rtol=1e-6)
