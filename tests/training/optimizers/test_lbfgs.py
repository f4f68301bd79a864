"""Tests of L-BFGS and of the parameters that it does not support."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.training.optimizers.base import ParameterGroup
from skreg.training.optimizers.lbfgs import SETTINGS, Lbfgs
from skreg.training.penalties import ElasticNet
from skreg.training.update_step import UpdateStep

F64 = torch.float64
RNG = np.random.RandomState(0)
X = RNG.randn(150, 4)
Y = X[:, 0] * X[:, 1] + 0.2 * RNG.randn(150)
SINGLE = {"solver": "lbfgs", "n_members": 1, "dropout": 0.0, "weight_decay": 0.0, "random_state": 0}


class Rosenbrock:
    """Rosenbrock's function and an optimizer for it."""

    def __init__(self, alpha):
        self.weight = nn.Parameter(torch.tensor([[[-1.2, 1.0]]], dtype=F64))
        penalty = ElasticNet(alpha, 0.0)
        self.update = UpdateStep(Lbfgs([ParameterGroup([self.weight])]), [(self.weight, penalty)], [], None)

    def value(self):
        a, b = self.weight.flatten(1).unbind(1)
        return (1 - a).square() + 100 * (b - a.square()).square()

    def evaluate(self):
        self.weight.grad = None
        value = self.value()
        value.sum().backward()
        return value

    def steps(self, n):
        return [self.update.step(1e-9, self.evaluate).item() for _ in range(n)]


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_steps_equal_those_of_torch_on_the_penalized_objective(alpha):
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


def test_converges_to_the_minimum_and_stays():
    problem = Rosenbrock(0.0)
    problem.steps(60)
    torch.testing.assert_close(problem.weight.detach(), torch.ones(1, 1, 2, dtype=F64), rtol=1e-5, atol=0)
    assert problem.steps(3)[-1] < 1e-10


def test_continues_exactly_from_its_state():
    whole, half, fresh = (Rosenbrock(0.1) for _ in range(3))
    whole.steps(12)
    half.steps(5)
    state = pickle.loads(pickle.dumps(copy.deepcopy(half.update.optimizer.state_dict())))
    fresh.weight.data.copy_(half.weight.data)
    fresh.update.optimizer.load_state_dict(state)
    fresh.steps(7)
    assert torch.equal(fresh.weight, whole.weight)


@pytest.mark.parametrize("settings", [{}, {"layer_norm": True, "residual": True, "numeric_embedding": "periodic"}])
def test_lbfgs_needs_fewer_epochs_than_full_batch_adamw(settings):
    shape = {"hidden_layer_sizes": (16, 16), "max_iter": 100, "early_stopping": False, "alpha": 1e-4, **settings}
    lbfgs = RegularizedMLPRegressor(**shape, **SINGLE).fit(X, Y)
    adamw = RegularizedMLPRegressor(**shape, **{**SINGLE, "solver": "adamw"}, batch_size=150).fit(X, Y)
    assert lbfgs.net_.module_.head.weight.dtype == F64
    assert lbfgs.loss_curve_[-1] < 0.7 * adamw.loss_curve_[-1]
    assert (np.diff(lbfgs.loss_curve_) < 1e-3).all()


def test_lbfgs_supports_early_stopping_warm_start_and_pickling():
    lbfgs = RegularizedMLPClassifier((8,), **SINGLE, warm_start=True, patience=5).fit(X, Y > 0)
    assert lbfgs.validation_curve_.min() == pytest.approx(lbfgs.validation_curve_[lbfgs.best_iter_ - 1])
    again = pickle.loads(pickle.dumps(lbfgs))
    before = lbfgs.loss_curve_
    assert again.fit(X, Y > 0).loss_curve_[0] < before[0]


def test_the_error_names_all_unsupported_parameters():
    message = (
        "solver='lbfgs' does not support n_members=8, dropout=0.1 and weight_decay=0.1. Set n_members=1, dropout=0.0 "
        "and weight_decay=0.0, or choose another solver."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RegularizedMLPRegressor(solver="lbfgs").fit(X, Y)


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
def test_unsupported_parameters_are_refused(setting):
    name = next(iter(setting))
    with pytest.raises(ValueError, match=rf"does not support {name}=.*Set {name}="):
        RegularizedMLPRegressor((8, 8), **{**SINGLE, **setting}).fit(X, Y)


def test_parameters_without_effect_are_accepted():
    idle = {"dropout": 0.3, "l1_ratio": 1.0, "alpha": 0.0, "augmentation": "mixup", "augmentation_strength": 0.0}
    RegularizedMLPRegressor((), **{**SINGLE, **idle, "max_norm": [None]}, max_iter=2).fit(X, Y)
