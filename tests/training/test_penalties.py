"""Tests of the values, gradients and proximal steps of every penalty."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from skreg import RegularizedMLPRegressor, penalties
from tests.helpers import plain_regressor

GROUPS = [[0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 0, 1, 1, 2], [0, 0, 0, 0, 0, 0, 0]]
PENALTIES = {
    "ElasticNet": [(penalties.ElasticNet, ratio) for ratio in (0.0, 0.3, 1.0)],
    "GroupLasso": [(penalties.GroupLasso, torch.tensor(groups)) for groups in GROUPS],
}
EXAMPLES = [example for name in penalties.__all__ for example in PENALTIES[name]]
F64 = torch.float64
WEIGHT = torch.randn(3, 7, 4, dtype=F64, generator=torch.Generator().manual_seed(0))

few = settings(derandomize=True, max_examples=60, deadline=None)


@pytest.mark.parametrize(("penalty", "ratio"), EXAMPLES)
def test_value_is_zero_at_zero_and_positive_elsewhere(penalty, ratio):
    assert torch.equal(penalty(0.7, ratio).value(torch.zeros(3, 7, 4)), torch.zeros(3))
    assert (penalty(0.7, ratio).value(WEIGHT) > 0).all()
    assert torch.equal(penalty(0.0, ratio).value(WEIGHT), torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize(("penalty", "ratio"), EXAMPLES)
def test_value_is_linear_in_alpha(penalty, ratio):
    torch.testing.assert_close(penalty(0.6, ratio).value(WEIGHT), 3 * penalty(0.2, ratio).value(WEIGHT))


@pytest.mark.parametrize(("penalty", "ratio"), EXAMPLES)
def test_the_value_of_a_member_does_not_depend_on_other_members(penalty, ratio):
    alone = torch.cat([penalty(0.5, ratio).value(WEIGHT[m : m + 1]) for m in range(3)])
    torch.testing.assert_close(penalty(0.5, ratio).value(WEIGHT), alone)


@pytest.mark.parametrize(("penalty", "ratio"), EXAMPLES)
def test_gradients_are_finite_at_zero(penalty, ratio):
    weight = torch.zeros(2, 7, 4, requires_grad=True)
    penalty(0.5, ratio).value(weight).sum().backward()
    assert torch.isfinite(weight.grad).all()


def test_the_smooth_term_has_no_gradient_at_zero():
    smooth = torch.zeros(2, 3, 4)
    penalties.ElasticNet(0.5, 0.3).add_gradient_(smooth, torch.zeros(2, 3, 4))
    assert torch.equal(smooth, torch.zeros(2, 3, 4))


@pytest.mark.parametrize(("penalty", "ratio"), EXAMPLES)
@pytest.mark.parametrize("spread", [None, 1, 6])
def test_the_proximal_step_minimizes_the_proximal_objective(penalty, ratio, spread):
    """With one step size or one per weight, compared with points nearby and on the line to the weight."""
    generator = torch.Generator().manual_seed(0)
    step = 0.5 if spread is None else 10 ** (spread * (torch.rand(3, 7, 4, dtype=F64, generator=generator) - 0.5))
    instance = penalty(0.4, ratio)
    nonsmooth = penalties.ElasticNet(instance.l1, 1.0) if penalty is penalties.ElasticNet else instance
    found = WEIGHT.clone()
    instance.proximal_(found, step)

    def cost(v):
        return nonsmooth.value(v) + ((v - WEIGHT).square() / (2 * step)).flatten(1).sum(1)

    least = cost(found)
    for size in (1e-6, 1e-4, 1e-2, 1.0):
        for _ in range(20):
            other = found + size * torch.randn(3, 7, 4, dtype=F64, generator=generator)
            assert (cost(other) >= least - 1e-13 * least.abs()).all()
    for share in (0.0, 0.5, 0.99, 1.01):
        assert (cost(share * found) >= least - 1e-13 * least.abs()).all()
        assert (cost(found + share * (WEIGHT - found)) >= least - 1e-13 * least.abs()).all()


def test_elastic_net_value_equals_its_formula():
    weight = torch.tensor([[[3.0], [-2.0]]])
    value = penalties.ElasticNet(0.5, 0.4).value(weight)
    assert value.item() == pytest.approx(0.5 * (0.4 * 5 + 0.6 / 2 * 13))


@few
@given(st.floats(-5, 5), st.floats(0, 2), st.floats(0, 1))
def test_gradient_and_proximal_step_cover_the_value(w, alpha, ratio):
    """The gradient belongs to the squared part, and the proximal step to the absolute part."""
    penalty = penalties.ElasticNet(alpha, ratio)
    weight = torch.full((1, 1, 1), w, dtype=torch.float64)
    gradient = torch.ones_like(weight)
    penalty.add_gradient_(gradient, weight)
    absolute = penalty.value(weight).item() - (gradient.item() - 1) * w / 2
    assert absolute == pytest.approx(alpha * ratio * abs(w), abs=1e-12)


@few
@given(st.floats(-3, 3), st.floats(0, 2), st.floats(0, 1), st.sampled_from([1e-3, 0.1, 1.0, 10.0]))
def test_soft_thresholding_minimizes_the_proximal_objective(w, alpha, ratio, step):
    l1 = alpha * ratio
    stepped = torch.full((1, 1, 1), w, dtype=torch.float64)
    penalties.ElasticNet(alpha, ratio).proximal_(stepped, step)

    def cost(v):
        return l1 * abs(v) + (v - w) ** 2 / (2 * step)

    best = minimize_scalar(cost, bounds=(-4, 4), method="bounded", options={"xatol": 1e-10})
    assert stepped.item() == pytest.approx(best.x, abs=1e-4)
    assert cost(stepped.item()) <= best.fun + 1e-12


def test_step_sizes_can_differ_between_weights():
    steps = torch.rand(3, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    together = WEIGHT.clone()
    penalty = penalties.ElasticNet(0.8, 1.0)
    penalty.proximal_(together, steps)
    for position in np.ndindex(3, 7, 4):
        one = WEIGHT[position].reshape(1, 1, 1).clone()
        penalty.proximal_(one, steps[position].item())
        assert together[position].item() == pytest.approx(one.item())


# groups


def group_norms(weight, step, groups):
    """Return the norm of ``weight / step`` in each group, which decides whether the group becomes zero."""
    squares = (weight / step).square().sum(2)
    return torch.zeros(len(weight), int(groups.max()) + 1, dtype=F64).index_add_(1, groups, squares).sqrt()


@few
@given(st.integers(0, 1000), st.sampled_from([1e-4, 0.1, 1.0, 30.0]), st.sampled_from([0, 1, 4, 8]))
def test_a_group_is_zero_or_solves_its_equation(seed, alpha, decades):
    """For weights and step sizes of different orders of magnitude, in both precisions."""
    generator = torch.Generator().manual_seed(seed)
    groups = torch.tensor(GROUPS[1])

    def spread(*shape):
        return 10 ** (decades * (torch.rand(*shape, dtype=F64, generator=generator) - 0.5))

    weight = torch.randn(3, 7, 4, dtype=F64, generator=generator) * spread(3, 7, 4)
    step = 0.1 * spread(3, 7, 4)
    group_alpha = alpha * torch.bincount(groups).double().sqrt()
    for dtype, digits in ((F64, 1e-12), (torch.float32, 1e-5)):
        found = weight.to(dtype, copy=True)
        penalties.GroupLasso(alpha, groups).proximal_(found, step.to(dtype))
        found = found.double()
        norms = group_norms(found, torch.ones(1, dtype=F64), groups)
        stays = group_norms(weight, step, groups) / group_alpha
        clear = (stays - 1).abs() > 1e-5
        assert torch.equal((norms > 0)[clear], (stays > 1)[clear])
        t = norms[:, groups].unsqueeze(2)
        expected = torch.where(t > 0, weight * t / (t + group_alpha[groups].unsqueeze(1) * step), 0)
        torch.testing.assert_close(found, expected, rtol=digits, atol=0)


def test_the_group_step_after_soft_thresholding_is_the_step_of_both_penalties():
    """The result satisfies the optimality conditions of the sparse-group lasso in any diagonal metric."""
    generator = torch.Generator().manual_seed(2)
    step = torch.rand(3, 7, 4, dtype=F64, generator=generator) + 0.01
    groups, found = torch.tensor(GROUPS[1]), WEIGHT.clone()
    elastic, lasso = penalties.ElasticNet(0.5, 1.0), penalties.GroupLasso(5.0, groups)
    elastic.proximal_(found, step)
    lasso.proximal_(found, step)
    norms = group_norms(found, torch.ones(1, dtype=F64), groups)[:, groups].unsqueeze(2)
    left = (WEIGHT - found) / step  # the sum of the subgradients of both penalties
    group_alpha = lasso.group_alphas[groups].view(1, -1, 1)
    used = (norms > 0).expand_as(found)
    both = 0.5 * found.sign() + group_alpha * found / norms
    torch.testing.assert_close(left[found != 0], both[found != 0], rtol=1e-10, atol=1e-10)
    assert (left[used & (found == 0)].abs() <= 0.5).all()
    rest = (left.abs() - 0.5).clamp(min=0)
    away = group_norms(torch.where(used, 0, rest), torch.ones(1, dtype=F64), groups)
    assert (away <= lasso.group_alphas + 1e-12).all()
    assert (norms == 0).any()
    assert (used & (found == 0)).any()


def test_nan_in_a_group_does_not_change_other_groups():
    lasso, usual, broken = penalties.GroupLasso(0.3, torch.tensor(GROUPS[1])), WEIGHT.clone(), WEIGHT.clone()
    broken[1, 0, 0] = torch.nan
    for weight in (usual, broken):
        lasso.proximal_(weight, 0.5)
    others = torch.ones(3, 7, dtype=torch.bool)
    others[1, [0, 3]] = False
    assert torch.equal(broken[others], usual[others])
    assert torch.isnan(broken[1, [0, 3]]).all()


@pytest.mark.parametrize("step", [0.0, torch.zeros(3, 7, 4, dtype=F64)])
def test_a_step_size_of_zero_changes_nothing(step):
    weight = WEIGHT.clone()
    penalties.GroupLasso(0.3, torch.tensor(GROUPS[1])).proximal_(weight, step)
    assert torch.equal(weight, WEIGHT)


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
def test_zeros_are_exact_and_biases_and_norms_are_not_penalized(solver):
    rng = np.random.RandomState(0)
    X = rng.randn(200, 6)
    y = X[:, 0] + 5
    estimator = plain_regressor(
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
def test_a_huge_penalty_yields_the_mean(solver):
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
