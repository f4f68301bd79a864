"""L-BFGS: torch's, on an objective with its penalty, continued exactly, and what it cannot go with."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.training.optimizers.base import Group
from skreg.training.optimizers.lbfgs import SETTINGS
from skreg.training.penalties import ElasticNet
from skreg.training.update_step import UpdateStep, make_optimizer

F64 = torch.float64
RNG = np.random.RandomState(0)
X = RNG.randn(150, 4)
Y = X[:, 0] * X[:, 1] + 0.2 * RNG.randn(150)
ALONE = {"solver": "lbfgs", "n_members": 1, "dropout": 0.0, "weight_decay": 0.0, "random_state": 0}


class Rosenbrock:
    """A curved valley, and a solver that walks down it."""

    def __init__(self, alpha):
        self.weight = nn.Parameter(torch.tensor([[[-1.2, 1.0]]], dtype=F64))
        penalty = ElasticNet(alpha, 0.0)
        self.solver = UpdateStep(make_optimizer("lbfgs", [Group([self.weight])]), [(self.weight, penalty)], [], None)

    def value(self):
        a, b = self.weight.flatten(1).unbind(1)
        return (1 - a).square() + 100 * (b - a.square()).square()

    def evaluate(self):
        self.weight.grad = None
        value = self.value()
        value.sum().backward()
        return value

    def steps(self, n):
        return [self.solver.step(1e-9, self.evaluate).item() for _ in range(n)]


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_is_torchs_on_the_penalised_objective(alpha):
    ours, theirs = Rosenbrock(alpha), Rosenbrock(alpha)
    reference = torch.optim.LBFGS([theirs.weight], **SETTINGS)

    def closure():
        reference.zero_grad()
        objective = theirs.value().sum() + alpha / 2 * theirs.weight.square().sum()
        objective.backward()
        return objective

    for _ in range(15):
        (loss,) = ours.steps(1)
        assert loss == pytest.approx(theirs.value().item(), rel=1e-9)
        reference.step(closure)
        torch.testing.assert_close(ours.weight.detach(), theirs.weight.detach(), rtol=1e-9, atol=1e-12)


def test_goes_to_the_minimum_and_stays():
    problem = Rosenbrock(0.0)
    problem.steps(60)
    torch.testing.assert_close(problem.weight.detach(), torch.ones(1, 1, 2, dtype=F64), rtol=1e-5, atol=0)
    assert problem.steps(3)[-1] < 1e-10


def test_continues_exactly_from_its_state():
    whole, half, fresh = (Rosenbrock(0.1) for _ in range(3))
    whole.steps(12)
    half.steps(5)
    state = pickle.loads(pickle.dumps(copy.deepcopy(half.solver.optimizer.state_dict())))
    fresh.weight.data.copy_(half.weight.data)
    fresh.solver.optimizer.load_state_dict(state)
    fresh.steps(7)
    assert torch.equal(fresh.weight, whole.weight)


@pytest.mark.parametrize("settings", [{}, {"layer_norm": True, "residual": True, "numeric_embedding": "periodic"}])
def test_fits_a_network_in_fewer_epochs_than_full_batch_steps(settings):
    shape = {"hidden_layer_sizes": (16, 16), "max_iter": 100, "early_stopping": False, "alpha": 1e-4, **settings}
    searched = RegularizedMLPRegressor(**shape, **ALONE).fit(X, Y)
    stepped = RegularizedMLPRegressor(**shape, **{**ALONE, "solver": "adamw"}, batch_size=150).fit(X, Y)
    assert searched.net_.module_.head.weight.dtype == F64
    assert searched.loss_curve_[-1] < 0.7 * stepped.loss_curve_[-1]
    assert (np.diff(searched.loss_curve_) < 1e-3).all()


def test_stops_early_warm_starts_and_pickles():
    searched = RegularizedMLPClassifier((8,), **ALONE, warm_start=True, patience=5).fit(X, Y > 0)
    assert searched.validation_curve_.min() == pytest.approx(searched.validation_curve_[searched.best_iter_ - 1])
    again = pickle.loads(pickle.dumps(searched))
    before = searched.loss_curve_
    assert again.fit(X, Y > 0).loss_curve_[0] < before[0]


def test_what_it_cannot_go_with_is_refused_in_one_sentence():
    with pytest.raises(ValueError) as caught:
        RegularizedMLPRegressor(solver="lbfgs").fit(X, Y)
    assert str(caught.value) == (
        "solver='lbfgs' cannot go with n_members=8, "
        "dropout=0.1 and weight_decay=0.1: set n_members=1, dropout=0.0 and weight_decay=0.0, or another solver."
    )


@pytest.mark.parametrize(
    "setting",
    [
        {"n_members": 2},
        {"batch_size": 150},
        {"dropout": (0.0, 0.1)},
        {"input_dropout": 0.1},
        {"augmentation": "mixup"},
        {"augmentation": lambda inputs, generator: inputs},
        {"weight_decay": 0.1},
        {"l1_ratio": 0.5, "alpha": 1e-5},
        {"max_norm": 1.0},
        {"max_norm": (None, None, 1.0)},
        {"clip_norm": 1.0},
        {"ema_decay": 0.9},
        {"batch_norm": True},
    ],
)
def test_each_of_these_is_refused_by_name(setting):
    name = next(iter(setting))
    with pytest.raises(ValueError, match=rf"cannot go with {name}=.*: set {name}="):
        RegularizedMLPRegressor((8, 8), **{**ALONE, **setting}).fit(X, Y)


def test_what_has_no_effect_may_stay():
    idle = {"dropout": 0.3, "l1_ratio": 1.0, "alpha": 0.0, "augmentation": "mixup", "augmentation_strength": 0.0}
    RegularizedMLPRegressor((), **{**ALONE, **idle, "max_norm": [None]}, max_iter=2).fit(X, Y)
