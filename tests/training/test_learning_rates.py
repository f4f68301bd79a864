"""Tests of the parametrization "ntk", of the scale layer and of the reduction on a plateau."""

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch.nn.functional import silu

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.training.config import TrainingConfig
from skreg.training.learning_rates import BASE_WIDTH, BIAS_FACTOR, ReduceOnPlateau
from skreg.training.optimizers.adam import EPS
from tests.helpers import plain_regressor

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
    """Return the network before its first step."""
    return fitted(learning_rate=lambda progress: 0.0).net_.module_


def train_scaled_network(steps):
    """Return weights and biases of a network that computes ``x W / sqrt(fan_in / 32)``, trained by torch's AdamW."""
    weights, biases = [], []
    for linear in initial().linears:
        root = (linear.weight.shape[1] / BASE_WIDTH) ** 0.5
        weights.append((root, (linear.weight[0].detach() * root).requires_grad_()))
        biases.append(linear.bias[0].detach().clone().requires_grad_())
    rate, decay = SETTINGS["learning_rate_init"], SETTINGS["weight_decay"]
    groups = [
        *({"params": [weight], "lr": rate, "weight_decay": decay, "eps": EPS / root} for root, weight in weights),
        {"params": biases, "lr": rate * BIAS_FACTOR, "weight_decay": 0.0},
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


def test_ntk_equals_a_network_that_divides_by_the_root_of_the_fan_in():
    weights, biases = train_scaled_network(SETTINGS["max_iter"])
    ours = fitted().net_.module_
    for linear, weight, bias in zip(ours.linears, weights, biases, strict=True):
        np.testing.assert_allclose(linear.weight[0].detach(), weight.detach(), atol=1e-4)
        np.testing.assert_allclose(linear.bias[0].detach(), bias.detach(), atol=1e-4)


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
def test_weight_decay_does_not_depend_on_the_parametrization(solver):
    estimator = RegularizedMLPRegressor(**{**SETTINGS, "solver": solver})
    module = initial()
    training_config = TrainingConfig.from_estimator(estimator)
    decayed = [group for group in training_config.groups(module) if group.decay]
    assert sum(len(group.parameters) for group in decayed) == len(module.weights())
    for group in decayed:
        assert group.decay * group.factor == pytest.approx(0.1)


@pytest.mark.parametrize("settings", [{"hidden_layer_sizes": ()}, {"solver": "sgd"}], ids=["linear", "sgd"])
def test_linear_models_and_sgd_ignore_the_parametrization(settings):
    ntk, standard = (fitted(**settings, parametrization=name) for name in ("ntk", "standard"))
    assert ntk.predict(X).tobytes() == standard.predict(X).tobytes()


def test_a_layer_with_32_inputs_has_factor_one():
    module = RegularizedMLPRegressor(**{**SETTINGS, "hidden_layer_sizes": (32, 4)}).fit(X, Y).net_.module_
    training_config = TrainingConfig.from_estimator(RegularizedMLPRegressor(**SETTINGS))
    factor = {id(p): group.factor for group in training_config.groups(module) for p in group.parameters}
    assert [factor[id(linear.weight)] for linear in module.linears] == [(32 / 3) ** 0.5, 1.0, 8**0.5]


# scale layer


@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_coefs_include_the_scale_layer(Estimator):
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


def test_a_linear_model_has_no_scale_layer():
    assert fitted(hidden_layer_sizes=(), scale_layer=True).net_.module_.scale is None


@pytest.mark.parametrize("bound", [{"alpha": (0.1, 0, 0)}, {"feature_alpha": 0.1}, {"max_norm": 1.0}])
def test_auto_scale_layer_requires_an_unpenalized_first_layer(bound):
    assert fitted(scale_layer="auto", max_iter=1).net_.module_.scale is not None
    assert fitted(scale_layer="auto", max_iter=1, **bound).net_.module_.scale is None
    with pytest.raises(ValueError, match="scale_layer=True cannot be combined with"):
        fitted(scale_layer=True, **bound)


def test_penalties_of_other_layers_allow_a_scale_layer():
    assert fitted(scale_layer="auto", max_iter=1, alpha=(0, 1, 1), max_norm=(None, 1, 1)).net_.module_.scale is not None


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True), (True, True)])
def test_pretrained_predictions_do_not_depend_on_the_scale_layer(before, after):
    source = fitted(scale_layer=before)
    still = {"learning_rate": lambda progress: 0.0, "pretrained": FrozenEstimator(source), "scale_layer": after}
    np.testing.assert_allclose(fitted(**still).predict(X), source.predict(X), rtol=1e-6)


# reduction on a plateau

PLATEAU_RNG = np.random.RandomState(0)
X_PLATEAU = PLATEAU_RNG.randn(240, 4)
Y_PLATEAU = X_PLATEAU[:, 0] + PLATEAU_RNG.randn(240)
PLATEAU = {"hidden_layer_sizes": (16,), "learning_rate": "adaptive", "max_iter": 30, "n_members": 1, "random_state": 0}


def factors_after(scores, wait, min_delta=0.0):
    """Return the factors of one member after each of its scores."""
    plateau, factors = ReduceOnPlateau(1, wait, min_delta), []
    for score in scores:
        plateau.update(torch.tensor([score], dtype=torch.float64))
        factors.append(plateau.factors.item())
    return factors


def test_the_rate_is_reduced_after_patience_epochs_without_improvement():
    assert factors_after([1, 2, 3, 4], 2) == [1, 1, 1, 1]
    assert factors_after([1, 1, 0, 0, 0], 2) == pytest.approx([1, 1, 0.2, 0.2, 0.04])
    assert factors_after([1, 0, 2, 1, 3], 2) == [1] * 5
    assert factors_after([1, 1.1, 1.2], 1, min_delta=0.5) == pytest.approx([1, 0.2, 0.04])
    assert factors_after([float("nan"), 1, float("nan")], 2) == [1, 1, 1]


def test_rates_are_a_number_if_all_active_members_share_it():
    plateau, active = ReduceOnPlateau(3, 1, 0.0), torch.tensor([True, True, True])
    like = torch.zeros(3, 2, 2)
    for scores in ([0, 0, 0], [1, 0, 1]):
        plateau.update(torch.tensor(scores, dtype=torch.float64))
    torch.testing.assert_close(plateau.rate(0.1, active, like), torch.tensor([0.1, 0.02, 0.1]))
    assert plateau.rate(0.1, torch.tensor([True, False, True]), like) == 0.1
    assert plateau.rate(0.1, torch.tensor([False, True, False]), like) == pytest.approx(0.02)


@pytest.mark.parametrize(("patience", "wait"), [(20, 5), (8, 2), (1, 1)])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_the_history_contains_the_reduced_rates(patience, wait, early_stopping):
    net = plain_regressor(**PLATEAU, patience=patience, early_stopping=early_stopping).fit(X_PLATEAU, Y_PLATEAU)
    curve = net.validation_curve_ if early_stopping else net.loss_curve_
    expected = 0.01 * np.r_[1.0, factors_after(-curve, wait)][:-1]
    np.testing.assert_allclose(net.net_.history[:, "lr"], expected)


def test_reduction_stabilizes_a_rate_that_is_too_high():
    high = {
        **PLATEAU,
        "max_iter": 60,
        "learning_rate_init": 0.1,
        "early_stopping": False,
        "solver": "sgd",
        "dropout": 0.0,
    }
    cut = plain_regressor(**high, patience=8).fit(X_PLATEAU, Y_PLATEAU)
    left = plain_regressor(**{**high, "learning_rate": "constant"}).fit(X_PLATEAU, Y_PLATEAU)
    assert cut.net_.history[-1, "lr"] < 0.1
    assert np.abs(np.diff(cut.loss_curve_[-10:])).mean() < 0.5 * np.abs(np.diff(left.loss_curve_[-10:])).mean()
