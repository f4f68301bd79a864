"""Tests of an update: penalties, clipping, the steps of the optimizers, weight decay and constraints."""

import pytest
import torch
from torch import Generator, nn

from skreg.training.constraints import MaxNorm
from skreg.training.optimizers.adam import EPS
from skreg.training.optimizers.base import FirstOrderOptimizer, ParameterGroup
from skreg.training.optimizers.registry import SOLVERS, solvers_with
from skreg.training.penalties import ElasticNet
from skreg.training.update_step import UpdateStep

F64 = torch.float64
FIRST_ORDER = solvers_with("takes_learning_rate")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=F64)


class Problem:
    """A weight and a bias of two members, and an optimizer for them."""

    def __init__(
        self, name, decay=0.0, penalty=None, constraint=None, clip_norm=None, lr=0.1, member=slice(None), **settings
    ):
        self.weight = nn.Parameter(normal(2, 4, 3)[member])
        self.bias = nn.Parameter(normal(2, 1, 3, seed=1)[member])
        groups = [ParameterGroup([self.weight], decay), ParameterGroup([self.bias])]
        self.optimizer = SOLVERS[name](groups, **settings)
        self.lr = lr
        penalties = [] if penalty is None else [(self.weight, penalty)]
        constraints = [] if constraint is None else [(self.weight, constraint)]
        self.update = UpdateStep(self.optimizer, penalties, constraints, clip_norm)

    def step(self, of_weight, of_bias, lr=None):
        def evaluate():
            self.weight.grad, self.bias.grad = of_weight.clone(), of_bias.clone()
            return torch.zeros(len(of_weight))

        self.update.step(self.lr if lr is None else lr, evaluate)

    def step_without_gradient(self, lr=None):
        self.step(torch.zeros_like(self.weight), torch.zeros_like(self.bias), lr)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_weight_decay_shrinks_weights_exactly_and_not_biases(name):
    problem = Problem(name, decay=0.3)
    weight, bias = problem.weight.detach().clone(), problem.bias.detach().clone()
    for lr in (0.1, 0.05, 0.2):
        problem.step_without_gradient(lr)
        weight *= 1 - lr * 0.3
        torch.testing.assert_close(problem.weight.detach(), weight, rtol=1e-14, atol=0)
    assert torch.equal(problem.bias.detach(), bias)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_tiny_gradients_hardly_move_the_weights(name):
    """Such gradients belong to rows with almost no weight."""
    usual, tiny = Problem(name), Problem(name)
    before = usual.weight.detach().clone()
    for problem, size in ((usual, 1e-2), (tiny, 1e-9)):
        problem.step(torch.full_like(before, size), torch.zeros_like(problem.bias))
    assert ((usual.weight - before).abs() > 0.09).all()
    assert ((tiny.weight - before).abs() < 0.001).all()


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_a_group_has_its_own_learning_rate(name):
    """Steps, weight decay and proximal steps are those of an optimizer with this learning rate."""
    weights = [nn.Parameter(normal(2, 4, 3)) for _ in range(2)]
    biases = [nn.Parameter(normal(2, 1, 3))]
    penalty = ElasticNet(0.5, 0.5)
    groups = [ParameterGroup(weights[:1], 0.1, 0.25), ParameterGroup(weights[1:], 0.1), ParameterGroup(biases)]
    optimizer = SOLVERS[name](groups)
    update = UpdateStep(optimizer, [(weight, penalty) for weight in weights], [], None)
    alone = Problem(name, decay=0.1, penalty=penalty, lr=0.025)
    for step in range(4):
        for weight in weights:
            weight.grad = normal(2, 4, 3, seed=step + 2)
        biases[0].grad = torch.zeros_like(biases[0])
        alone.step(normal(2, 4, 3, seed=step + 2), torch.zeros_like(alone.bias))
        update.step(0.1, lambda: torch.zeros(2))
    torch.testing.assert_close(weights[0], alone.weight, rtol=1e-12, atol=1e-13)
    assert (weights[0] - weights[1]).abs().max() > 0.01


@pytest.mark.parametrize("name", FIRST_ORDER)
@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_penalties_do_not_change_biases(name, ratio):
    problem = Problem(name, penalty=ElasticNet(0.5, ratio), lr=0.02)
    weight, bias = problem.weight.detach().clone(), problem.bias.detach().clone()
    problem.step_without_gradient()
    assert (problem.weight.detach().abs() < weight.abs()).all()
    assert torch.equal(problem.bias.detach(), bias)


TORCH_OPTIMIZERS = {
    "adamw": ({}, lambda p: torch.optim.AdamW(p, betas=(0.9, 0.95), weight_decay=0.1, eps=EPS)),
    "adam": ({}, lambda p: torch.optim.AdamW(p, betas=(0.9, 0.999), weight_decay=0.1, eps=EPS)),
    "sgd": ({"decay": 0.0}, lambda p: torch.optim.SGD(p, momentum=0.9, nesterov=True)),
    "sgd with momentum": ({"decay": 0.0, "nesterov": False}, lambda p: torch.optim.SGD(p, momentum=0.9)),
    "sgd with less": (
        {"decay": 0.0, "momentum": 0.5},
        lambda p: torch.optim.SGD(p, momentum=0.5, nesterov=True),
    ),
    "sgd without": ({"decay": 0.0, "momentum": 0.0}, torch.optim.SGD),
}


@pytest.mark.parametrize("name", TORCH_OPTIMIZERS)
def test_optimizers_equal_those_of_torch(name):
    settings, reference = TORCH_OPTIMIZERS[name]
    problem = Problem(name.split()[0], **{"decay": 0.1, **settings})
    weight, bias = (nn.Parameter(p.detach().clone()) for p in (problem.weight, problem.bias))
    optimizers = [reference([weight]), reference([bias])]
    optimizers[1].param_groups[0]["weight_decay"] = 0.0
    for step in range(6):
        lr = 0.1 / (step + 1)
        weight.grad, bias.grad = normal(2, 4, 3, seed=step + 2), normal(2, 1, 3, seed=step + 20)
        problem.step(weight.grad, bias.grad, lr)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = lr
            optimizer.step()
    torch.testing.assert_close(problem.weight.detach(), weight.detach(), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(problem.bias.detach(), bias.detach(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_a_member_with_its_own_rate_equals_a_net_with_that_rate(name):
    """This includes weight decay and proximal steps; the weight decay can differ between members, too."""
    rates, decays = torch.tensor([0.1, 0.003], dtype=F64), torch.tensor([0.3, 0.05], dtype=F64)
    settings = {"penalty": ElasticNet(0.1, 0.5), "constraint": MaxNorm(2.0), "clip_norm": 2.0}
    together, constant = (Problem(name, decay=decays, **settings) for _ in range(2))
    alone = [Problem(name, decay=decays[m].item(), member=slice(m, m + 1), **settings) for m in range(2)]
    usual = [Problem(name, decay=decays[m].item(), member=slice(m, m + 1), **settings) for m in range(2)]
    for step in range(5):
        gradients = normal(2, 4, 3, seed=step + 2), normal(2, 1, 3, seed=step + 20)
        together.step(*gradients, rates / (step + 1))
        constant.step(*gradients, 0.1)
        for m in range(2):
            own = [g[m : m + 1] for g in gradients]
            alone[m].step(*own, rates[m].item() / (step + 1))
            usual[m].step(*own, 0.1)
    for both, singles in ((together, alone), (constant, usual)):
        for parameter in ("weight", "bias"):
            expected = torch.cat([getattr(single, parameter).detach() for single in singles])
            torch.testing.assert_close(getattr(both, parameter).detach(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_equal_rates_in_a_tensor_equal_a_number(name):
    one, other = (Problem(name, decay=0.1, penalty=ElasticNet(0.1, 0.0)) for _ in range(2))
    for step in range(5):
        gradients = normal(2, 4, 3, seed=step + 2), normal(2, 1, 3, seed=step + 20)
        one.step(*gradients, 0.05)
        other.step(*gradients, torch.full((2,), 0.05, dtype=F64))
    torch.testing.assert_close(one.weight.detach(), other.weight.detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.9, False), (0.5, True), (0.0, True), (0.0, False)])
def test_step_size_of_sgd_is_the_step_under_a_constant_gradient(momentum, nesterov):
    problem = Problem("sgd", momentum=momentum, nesterov=nesterov)
    ones = torch.ones_like(problem.weight), torch.zeros_like(problem.bias)
    for _ in range(200):
        problem.step(*ones)
    before = problem.weight.detach().clone()
    problem.step(*ones)
    moved = before - problem.weight.detach()
    torch.testing.assert_close(moved, torch.full_like(moved, problem.optimizer.step_size(0, 0.1)), rtol=1e-8, atol=0)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_step_size_is_the_step_under_a_constant_unit_gradient(name):
    problem = Problem(name)
    gradients = normal(2, 4, 3, seed=7), torch.zeros_like(problem.bias)
    for _ in range(3000):
        problem.step(*gradients, 0.01)
    before = problem.weight.detach().clone()
    problem.step(*gradients, 0.01)
    step_size = problem.optimizer.step_size(0, 0.01)
    torch.testing.assert_close(before - problem.weight.detach(), step_size * gradients[0], rtol=1e-2, atol=0)


@pytest.mark.parametrize("name", SOLVERS)
def test_optimizers_that_take_a_learning_rate_are_first_order(name):
    optimizer = SOLVERS[name]([ParameterGroup([nn.Parameter(normal(1, 4, 3))])])
    assert isinstance(optimizer, FirstOrderOptimizer) == optimizer.takes_learning_rate


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_a_scale_invariant_optimizer_ignores_a_factor_on_the_loss(name):
    usual, scaled = Problem(name), Problem(name)
    for step in range(4):
        gradients = normal(2, 4, 3, seed=step + 2), normal(2, 1, 3, seed=step + 20)
        usual.step(*gradients)
        scaled.step(*(1000 * gradient for gradient in gradients))
    same = torch.allclose(usual.weight, scaled.weight, rtol=1e-3, atol=1e-4)
    assert same == usual.optimizer.scale_invariant


@pytest.mark.parametrize(
    ("name", "settings"),
    [*((name, {}) for name in FIRST_ORDER), ("sgd", {"nesterov": False}), ("sgd", {"momentum": 0.0})],
)
def test_the_fixed_point_is_the_minimum_of_the_objective(name, settings):
    """Minimize half a squared distance with unequal curvatures plus an elastic net."""
    curvature, goal = normal(2, 4, 3, seed=5).exp(), normal(2, 4, 3, seed=6)
    alpha, ratio = 0.8, 0.6
    problem = Problem(name, penalty=ElasticNet(alpha, ratio), **settings)
    for step in range(1500):
        lr = 0.05 * (1 - step / 1500)
        problem.step(curvature * (problem.weight.detach() - goal), torch.zeros_like(problem.bias), lr)
    shrunk = (curvature * goal).abs() - alpha * ratio
    expected = torch.sign(goal) * shrunk.clamp(min=0) / (curvature + alpha * (1 - ratio))
    torch.testing.assert_close(problem.weight.detach(), expected, atol=2e-4, rtol=0)
    assert torch.equal(problem.weight == 0, expected == 0)
    assert (expected == 0).any()


def test_clipping_scales_each_member_independently():
    gradients = normal(2, 4, 3, seed=3), normal(2, 1, 3, seed=4)
    gradients[0][0] *= 100
    gradients[1][0] *= 100
    gradients[0][1] *= 0.01
    gradients[1][1] *= 0.01
    problem, free = Problem("sgd", clip_norm=1.0), Problem("sgd")
    problem.step(*gradients)
    free.step(*gradients)
    assert torch.equal(problem.weight[1], free.weight[1])
    assert torch.equal(problem.bias[1], free.bias[1])
    length = (gradients[0][0].square().sum() + gradients[1][0].square().sum()).sqrt()
    clipped = Problem("sgd")
    clipped.step(gradients[0] / length, gradients[1] / length)
    torch.testing.assert_close(problem.weight[0], clipped.weight[0])
    torch.testing.assert_close(problem.bias[0], clipped.bias[0])


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_a_clipped_or_nonfinite_member_does_not_change_others(name):
    gradients = normal(2, 4, 3, seed=3), normal(2, 1, 3, seed=4)
    settings = {"decay": 0.1, "penalty": ElasticNet(0.1, 0.5), "constraint": MaxNorm(1.0), "clip_norm": 0.5}
    usual, broken = Problem(name, **settings), Problem(name, **settings)
    for _ in range(3):
        usual.step(*gradients)
        nan = [g.clone() for g in gradients]
        nan[0][0] = torch.nan
        broken.step(*nan)
    assert torch.isnan(broken.weight[0]).all()
    assert torch.equal(broken.weight[1], usual.weight[1])
    assert torch.equal(broken.bias[1], usual.bias[1])


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_constraints_hold_after_a_step(name):
    problem = Problem(name, constraint=MaxNorm(0.5))
    problem.step(normal(2, 4, 3, seed=3), normal(2, 1, 3, seed=4))
    norms = torch.linalg.vector_norm(problem.weight.detach(), dim=1)
    assert norms.max() <= 0.5 + 1e-12
    assert (problem.bias.detach().abs() > 0.5).any()


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_zero_grad_deletes_the_gradients(name):
    problem = Problem(name)
    problem.step_without_gradient()
    problem.update.zero_grad()
    assert problem.weight.grad is None
    assert problem.bias.grad is None
