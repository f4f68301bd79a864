"""Every activation keeps the shape, is finite for large inputs, and equals its formula."""

import numpy as np
import pytest
import torch
from scipy.special import erf, expit

from skreg import RegularizedMLPRegressor, activations, initializers

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

FORMULAS = {
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "identity": lambda x: x,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "logistic": expit,
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "relu": lambda x: np.maximum(x, 0),
    "selu": lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "silu": lambda x: x * expit(x),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("name", activations.__all__)
def test_shape_and_dtype_are_kept(name):
    function = getattr(activations, name)
    for dtype in (torch.float32, torch.float64):
        x = torch.randn(3, 5, 7, dtype=dtype, generator=torch.Generator().manual_seed(0))
        assert function(x).shape == x.shape
        assert function(x).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", activations.__all__)
def test_value_and_gradient_are_finite_for_large_inputs(name, dtype):
    x = torch.tensor([-1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4], dtype=dtype, requires_grad=True)
    value = getattr(activations, name)(x)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", activations.__all__)
def test_value_equals_the_formula(name):
    x = np.linspace(-8, 8, 101)
    np.testing.assert_allclose(getattr(activations, name)(torch.from_numpy(x)).numpy(), FORMULAS[name](x), atol=1e-12)


@pytest.mark.parametrize("name", activations.__all__)
def test_init_is_the_name_of_an_initializer(name):
    assert getattr(getattr(activations, name), "init", activations.DEFAULT_INIT) in initializers.__all__


def test_callable_can_be_an_activation():
    X = np.random.RandomState(0).randn(60, 3)
    parameters = {"hidden_layer_sizes": (8,), "max_iter": 3, "early_stopping": False, "random_state": 0}
    by_name = RegularizedMLPRegressor(activation="relu", **parameters).fit(X, X[:, 0])
    by_function = RegularizedMLPRegressor(activation=torch.relu, **parameters).fit(X, X[:, 0])
    other = RegularizedMLPRegressor(activation=torch.sin, **parameters).fit(X, X[:, 0])
    np.testing.assert_array_equal(by_function.predict(X), by_name.predict(X))
    assert not np.allclose(other.predict(X), by_name.predict(X))
