"""A solver's step: penalty, clipping of each member, the optimiser's own step, decay, proximal step, constraint."""

import pytest
import torch
from torch import Generator, nn

from skreg._solvers import SOLVERS, Group, Solver, make_optimizer
from skreg.constraints import MaxNorm
from skreg.penalties import ElasticNet

F64 = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=F64)


class Problem:
    """A weight and a bias of two members, and a solver for them."""

    def __init__(self, name, decay=0.0, penalty=None, constraint=None, clip_norm=None, lr=0.1, members=2):
        self.weight = nn.Parameter(normal(members, 4, 3))
        self.bias = nn.Parameter(normal(members, 1, 3, seed=1))
        self.optimizer = make_optimizer(name, [Group([self.weight], decay), Group([self.bias])])
        self.lr = lr
        penalties = [] if penalty is None else [(self.weight, penalty)]
        constraints = [] if constraint is None else [(self.weight, constraint)]
        self.solver = Solver(self.optimizer, penalties, constraints, clip_norm)

    def step(self, of_weight, of_bias, lr=None):
        self.weight.grad, self.bias.grad = of_weight.clone(), of_bias.clone()
        self.solver.step(self.lr if lr is None else lr)

    def still(self, lr=None):
        self.step(torch.zeros_like(self.weight), torch.zeros_like(self.bias), lr)


@pytest.mark.parametrize("name", SOLVERS)
def test_decay_shrinks_weights_exactly_and_leaves_biases(name):
    problem = Problem(name, decay=0.3)
    weight, bias = problem.weight.detach().clone(), problem.bias.detach().clone()
    for lr in (0.1, 0.05, 0.2):
        problem.still(lr)
        weight *= 1 - lr * 0.3
        torch.testing.assert_close(problem.weight.detach(), weight, rtol=1e-14, atol=0)
    assert torch.equal(problem.bias.detach(), bias)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_factor_on_the_decay_is_a_smaller_decay(name):
    problem, smaller = Problem(name, decay=0.4), Problem(name, decay=0.1)
    for seed in range(3):
        for solver, factor in ((problem, 0.25), (smaller, 1.0)):
            solver.weight.grad, solver.bias.grad = normal(2, 4, 3, seed=seed), torch.zeros_like(solver.bias)
            solver.solver.step(0.1, factor)
    assert torch.equal(problem.weight, smaller.weight)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_group_has_a_rate_of_its_own(name):
    """Its steps, its decay and its proximal steps are those of an optimiser at that rate."""
    weights = [nn.Parameter(normal(2, 4, 3)) for _ in range(2)]
    penalty = ElasticNet(0.5, 0.5)
    optimizer = make_optimizer(name, [Group(weights[:1], 0.1, 0.25), Group(weights[1:], 0.1)])
    solver = Solver(optimizer, [(weight, penalty) for weight in weights], [], None)
    alone = Problem(name, decay=0.1, penalty=penalty, lr=0.025)
    for step in range(4):
        for weight in weights:
            weight.grad = normal(2, 4, 3, seed=step + 2)
        alone.step(normal(2, 4, 3, seed=step + 2), torch.zeros_like(alone.bias))
        solver.step(0.1)
    torch.testing.assert_close(weights[0], alone.weight, rtol=1e-12, atol=1e-13)
    assert (weights[0] - weights[1]).abs().max() > 0.01


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_penalties_leave_biases(name, ratio):
    problem = Problem(name, penalty=ElasticNet(0.5, ratio))
    weight, bias = problem.weight.detach().clone(), problem.bias.detach().clone()
    problem.still()
    assert (problem.weight.detach().abs() < weight.abs()).all()
    assert torch.equal(problem.bias.detach(), bias)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.9, 0.95), weight_decay=0.0)),
        ("adam", lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.9, 0.999))),
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
    ],
)
def test_is_the_textbook_optimiser(name, reference):
    problem = Problem(name)
    weight, bias = (nn.Parameter(p.detach().clone()) for p in (problem.weight, problem.bias))
    optimizer = reference([weight, bias])
    for step in range(6):
        lr = 0.1 / (step + 1)
        optimizer.param_groups[0]["lr"] = lr
        weight.grad, bias.grad = normal(2, 4, 3, seed=step + 2), normal(2, 1, 3, seed=step + 20)
        problem.step(weight.grad, bias.grad, lr)
        optimizer.step()
    torch.testing.assert_close(problem.weight.detach(), weight.detach(), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(problem.bias.detach(), bias.detach(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_fixed_point_is_the_minimum_of_the_objective(name):
    """Minimise half a squared distance, its coordinates of unequal curvature, plus an elastic net."""
    curvature, goal = normal(2, 4, 3, seed=5).exp(), normal(2, 4, 3, seed=6)
    alpha, ratio = 0.8, 0.6
    problem = Problem(name, penalty=ElasticNet(alpha, ratio))
    for step in range(1500):
        lr = 0.05 * (1 - step / 1500)
        problem.step(curvature * (problem.weight.detach() - goal), torch.zeros_like(problem.bias), lr)
    shrunk = (curvature * goal).abs() - alpha * ratio
    expected = torch.sign(goal) * shrunk.clamp(min=0) / (curvature + alpha * (1 - ratio))
    torch.testing.assert_close(problem.weight.detach(), expected, atol=2e-4, rtol=0)
    assert torch.equal(problem.weight == 0, expected == 0)
    assert (expected == 0).any()


def test_clipping_scales_each_member_by_itself():
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


@pytest.mark.parametrize("name", SOLVERS)
def test_a_member_that_is_clipped_or_broken_changes_no_neighbour(name):
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


@pytest.mark.parametrize("name", SOLVERS)
def test_the_constraint_holds_after_a_step(name):
    problem = Problem(name, constraint=MaxNorm(0.5))
    problem.step(normal(2, 4, 3, seed=3), normal(2, 1, 3, seed=4))
    norms = torch.linalg.vector_norm(problem.weight.detach(), dim=1)
    assert norms.max() <= 0.5 + 1e-12
    assert (problem.bias.detach().abs() > 0.5).any()


@pytest.mark.parametrize("name", SOLVERS)
def test_zero_grad_forgets(name):
    problem = Problem(name)
    problem.still()
    problem.solver.zero_grad()
    assert problem.weight.grad is None
    assert problem.bias.grad is None
