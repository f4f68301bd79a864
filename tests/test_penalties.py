"""Every penalty is zero at zero, never negative, linear in strength, and its proximal step is its definition's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from skreg import RegularizedMLPRegressor, penalties

PENALTIES = {"ElasticNet": [(penalties.ElasticNet, ratio) for ratio in (0.0, 0.3, 1.0)]}
CASES = [case for name in penalties.__all__ for case in PENALTIES[name]]
WEIGHT = torch.randn(3, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

few = settings(derandomize=True, max_examples=60, deadline=None)


@pytest.mark.parametrize(("penalty", "ratio"), CASES)
def test_is_zero_at_zero_and_never_negative(penalty, ratio):
    assert torch.equal(penalty(0.7, ratio).value(torch.zeros(3, 7, 4)), torch.zeros(3))
    assert (penalty(0.7, ratio).value(WEIGHT) > 0).all()
    assert torch.equal(penalty(0.0, ratio).value(WEIGHT), torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize(("penalty", "ratio"), CASES)
def test_is_linear_in_its_strength(penalty, ratio):
    torch.testing.assert_close(penalty(0.6, ratio).value(WEIGHT), 3 * penalty(0.2, ratio).value(WEIGHT))


@pytest.mark.parametrize(("penalty", "ratio"), CASES)
def test_each_member_pays_for_itself(penalty, ratio):
    alone = torch.cat([penalty(0.5, ratio).value(WEIGHT[m : m + 1]) for m in range(3)])
    torch.testing.assert_close(penalty(0.5, ratio).value(WEIGHT), alone)


@pytest.mark.parametrize(("penalty", "ratio"), CASES)
def test_gradients_are_finite_at_zero(penalty, ratio):
    weight = torch.zeros(2, 3, 4, requires_grad=True)
    penalty(0.5, ratio).value(weight).sum().backward()
    smooth = torch.zeros(2, 3, 4)
    penalty(0.5, ratio).add_gradient_(smooth, weight.detach())
    assert torch.isfinite(weight.grad).all()
    assert torch.equal(smooth, torch.zeros(2, 3, 4))


def test_the_value_is_the_formula():
    weight = torch.tensor([[[3.0], [-2.0]]])
    value = penalties.ElasticNet(0.5, 0.4).value(weight)
    assert value.item() == pytest.approx(0.5 * (0.4 * 5 + 0.6 / 2 * 13))


@few
@given(st.floats(-5, 5), st.floats(0, 2), st.floats(0, 1))
def test_gradient_and_proximal_step_share_out_the_value(w, alpha, ratio):
    """The gradient is that of the squared part; what is left of the value is the absolute part."""
    penalty = penalties.ElasticNet(alpha, ratio)
    weight = torch.full((1, 1, 1), w, dtype=torch.float64)
    gradient = torch.ones_like(weight)
    penalty.add_gradient_(gradient, weight)
    absolute = penalty.value(weight).item() - (gradient.item() - 1) * w / 2
    assert absolute == pytest.approx(alpha * ratio * abs(w), abs=1e-12)


@few
@given(st.floats(-3, 3), st.floats(0, 2), st.floats(0, 1), st.sampled_from([1e-3, 0.1, 1.0, 10.0]))
def test_the_proximal_step_minimises_its_definition(w, alpha, ratio, step):
    l1 = alpha * ratio
    stepped = torch.full((1, 1, 1), w, dtype=torch.float64)
    penalties.ElasticNet(alpha, ratio).proximal_(stepped, step)

    def cost(v):
        return l1 * abs(v) + (v - w) ** 2 / (2 * step)

    best = minimize_scalar(cost, bounds=(-4, 4), method="bounded", options={"xatol": 1e-10})
    assert stepped.item() == pytest.approx(best.x, abs=1e-4)
    assert cost(stepped.item()) <= best.fun + 1e-12


def test_every_weight_may_have_its_own_step():
    steps = torch.rand(3, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    together = WEIGHT.clone()
    penalty = penalties.ElasticNet(0.8, 1.0)
    penalty.proximal_(together, steps)
    for position in np.ndindex(3, 7, 4):
        one = WEIGHT[position].reshape(1, 1, 1).clone()
        penalty.proximal_(one, steps[position].item())
        assert together[position].item() == pytest.approx(one.item())


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
def test_the_zeros_are_exact_and_biases_and_norms_are_exempt(solver):
    rng = np.random.RandomState(0)
    X = rng.randn(200, 6)
    y = X[:, 0] + 5
    estimator = RegularizedMLPRegressor(
        hidden_layer_sizes=(12,),
        activation="relu",
        batch_norm=True,
        alpha=0.05,
        l1_ratio=1.0,
        weight_decay=0.0,
        dropout=0.0,
        solver=solver,
        learning_rate_init=0.02,
        max_iter=60,
        early_stopping=False,
        n_members=1,
        random_state=0,
    ).fit(X, y)
    first = estimator.coefs_[0]
    assert (first[1:] == 0).mean() > 0.6
    assert (first[0] != 0).any()
    module = estimator.net_.module_
    for exempt in (module.norms[0].scale, module.norms[0].shift, module.head.bias):
        assert (exempt != 0).any()


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
def test_a_huge_penalty_leaves_the_mean(solver):
    rng = np.random.RandomState(0)
    X = rng.randn(60, 3)
    y = X[:, 0] + 5
    estimator = RegularizedMLPRegressor(
        hidden_layer_sizes=(),
        numeric_scaling=None,
        alpha=10.0,
        l1_ratio=1.0,
        solver=solver,
        learning_rate_init=0.01,
        max_iter=300,
        batch_size=60,
        early_stopping=False,
        weight_decay=0.0,
        n_members=1,
        random_state=0,
    ).fit(X, y)
    assert estimator.intercepts_[0][0] == pytest.approx(y.mean(), abs=0.02)
    np.testing.assert_array_equal(estimator.coefs_[0], 0)
