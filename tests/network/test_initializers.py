"""Every initializer has its stated variance, and suitable ones keep the scale of the activations of deep networks."""

import numpy as np
import pytest
import torch
from torch import Generator

from skreg import RegularizedMLPRegressor, activations, initializers
from skreg.network.layers import Linear

VARIANCES = {
    "he": lambda fan_in, fan_out: 2 / fan_in,
    "lecun": lambda fan_in, fan_out: 1 / fan_in,
    "normal": lambda fan_in, fan_out: 0.01**2,
    "orthogonal": lambda fan_in, fan_out: 1 / max(fan_in, fan_out),
    "xavier": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
}
FANS = [(40, 250), (250, 40), (120, 120)]
AUTO = {"selu": "lecun_normal", "tanh": "xavier_normal", "logistic": "xavier_normal", "identity": "xavier_normal"}
DEPTH, WIDTH, ROWS = 10, 300, 400


def draw(name, fan_in, fan_out, seed=0):
    return getattr(initializers, name)(fan_in, fan_out, Generator().manual_seed(seed))


def variance(name, fan_in, fan_out):
    return VARIANCES[name.split("_")[0]](fan_in, fan_out)


def activation_scales(init, activation):
    """Root mean square of the activations after each of ten layers, for standard normal inputs."""
    generator = Generator().manual_seed(0)
    x = torch.randn(1, ROWS, WIDTH, generator=generator, dtype=torch.float64)
    layers = [Linear(1, WIDTH, WIDTH, torch.float64) for _ in range(DEPTH)]
    scales = []
    with torch.no_grad():
        for layer in layers:
            layer.init_weights(getattr(initializers, init), [generator])
            x = getattr(activations, activation)(layer(x))
            scales.append(x.square().mean().sqrt().item())
    return np.array(scales)


@pytest.mark.parametrize(("fan_in", "fan_out"), FANS)
@pytest.mark.parametrize("name", initializers.__all__)
def test_variance_equals_the_stated_one(name, fan_in, fan_out):
    weights = torch.stack([draw(name, fan_in, fan_out, seed) for seed in range(10)])
    stated = variance(name, fan_in, fan_out)
    assert weights.square().mean().item() == pytest.approx(stated, rel=0.03)
    assert abs(weights.mean().item()) < 4 * np.sqrt(stated / weights.numel())


@pytest.mark.parametrize("name", initializers.__all__)
def test_weights_depend_on_the_seed_only(name):
    assert torch.equal(draw(name, 9, 5, seed=3), draw(name, 9, 5, seed=3))
    assert not torch.equal(draw(name, 9, 5, seed=3), draw(name, 9, 5, seed=4))


@pytest.mark.parametrize("name", initializers.__all__)
def test_shape_and_dtype(name):
    weights = draw(name, 6, 4)
    assert weights.shape == (6, 4)
    assert weights.dtype == torch.float64


@pytest.mark.parametrize("name", initializers.__all__)
def test_global_generator_is_not_used(name):
    before = torch.random.get_rng_state()
    draw(name, 6, 4)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", [name for name in initializers.__all__ if name.endswith("_uniform")])
def test_uniform_weights_are_within_their_interval(name):
    weights = draw(name, 50, 70)
    bound = np.sqrt(3 * variance(name, 50, 70))
    assert 0.98 * bound < weights.abs().max().item() <= bound


@pytest.mark.parametrize(("fan_in", "fan_out"), [(12, 30), (30, 12), (20, 20)])
def test_orthogonal_weights_are_orthonormal(fan_in, fan_out):
    weights = draw("orthogonal", fan_in, fan_out)
    product = weights.T @ weights if fan_in >= fan_out else weights @ weights.T
    torch.testing.assert_close(product, torch.eye(min(fan_in, fan_out), dtype=torch.float64))


@pytest.mark.parametrize(
    ("init", "activation", "low", "high"),
    [
        ("he_normal", "relu", 0.6, 1.7),
        ("he_uniform", "relu", 0.6, 1.7),
        ("xavier_normal", "tanh", 0.15, 1.0),
        ("xavier_uniform", "tanh", 0.15, 1.0),
        ("lecun_normal", "selu", 0.85, 1.15),
        ("lecun_uniform", "selu", 0.85, 1.15),
        ("orthogonal", "identity", 0.95, 1.05),
    ],
)
def test_scale_of_activations_is_kept_over_ten_layers(init, activation, low, high):
    scales = activation_scales(init, activation)
    assert low < scales.min()
    assert scales.max() < high


@pytest.mark.parametrize("activation", ["relu", "tanh", "selu"])
def test_activations_vanish_with_small_normal_weights(activation):
    scales = activation_scales("normal", activation)
    assert scales[-1] < 1e-6
    assert (np.diff(scales) < 0).all()


@pytest.mark.parametrize("activation", activations.__all__)
def test_auto_selects_the_documented_initializer(activation):
    X = np.random.RandomState(0).randn(40, 3)
    parameters = {
        "hidden_layer_sizes": (6,),
        "activation": activation,
        "max_iter": 1,
        "early_stopping": False,
        "random_state": 0,
    }
    auto = RegularizedMLPRegressor(init="auto", **parameters).fit(X, X[:, 0])
    named = RegularizedMLPRegressor(init=AUTO.get(activation, "he_normal"), **parameters).fit(X, X[:, 0])
    np.testing.assert_array_equal(auto.predict(X), named.predict(X))
