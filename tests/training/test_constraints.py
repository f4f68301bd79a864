"""Tests that every constraint is a projection and holds after every step."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skorch.callbacks import Callback

from skreg import RegularizedMLPClassifier, constraints

CONSTRAINTS = {"MaxNorm": lambda: constraints.MaxNorm(1.5)}

few = settings(derandomize=True, max_examples=40, deadline=None)


def weights(seed, spread, dtype=torch.float64):
    return spread * torch.randn(3, 6, 5, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", constraints.__all__)
@few
@given(seed=st.integers(0, 1000), spread=st.sampled_from([1e-3, 0.5, 1.0, 30.0, 1e6]))
def test_projection_is_idempotent(name, seed, spread):
    once = weights(seed, spread)
    CONSTRAINTS[name]().project_(once)
    twice = once.clone()
    CONSTRAINTS[name]().project_(twice)
    torch.testing.assert_close(twice, once, rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", constraints.__all__)
@few
@given(seed=st.integers(0, 1000))
def test_feasible_weights_do_not_change(name, dtype, seed):
    inside = weights(seed, 0.1, dtype)
    projected = inside.clone()
    CONSTRAINTS[name]().project_(projected)
    assert torch.equal(projected, inside)


@few
@given(seed=st.integers(0, 1000), spread=st.sampled_from([0.3, 1.0, 100.0]))
def test_max_norm_projects_to_the_nearest_point_of_the_ball(seed, spread):
    weight = weights(seed, spread)
    projected = weight.clone()
    constraints.MaxNorm(1.5).project_(projected)
    norm = np.linalg.norm(weight.numpy(), axis=1, keepdims=True)
    np.testing.assert_allclose(projected.numpy(), weight.numpy() * np.minimum(1, 1.5 / norm), rtol=1e-12)


def test_max_norm_keeps_a_unit_of_zeros():
    weight = torch.zeros(1, 4, 2)
    constraints.MaxNorm(1.0).project_(weight)
    assert torch.equal(weight, torch.zeros(1, 4, 2))


class NormRecorder(Callback):
    """Record the largest norm of a unit's incoming weights after each step."""

    def __init__(self):
        self.largest = []

    def on_batch_end(self, net, **kwargs):
        norms = [torch.linalg.vector_norm(linear.weight.detach(), dim=1).max() for linear in net.module_.linears]
        self.largest.append(max(norms).item())


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_max_norm_holds_after_every_step(solver, batch_norm):
    rng = np.random.RandomState(0)
    X = rng.randn(120, 4)
    norms = {}
    for max_norm in (0.3, None):
        recorder = NormRecorder()
        RegularizedMLPClassifier(
            hidden_layer_sizes=(8, 8),
            max_norm=max_norm,
            batch_norm=batch_norm,
            solver=solver,
            learning_rate_init=0.05,
            max_iter=6,
            batch_size=30,
            early_stopping=False,
            n_members=2,
            callbacks=[recorder],
            random_state=0,
        ).fit(X, X[:, 0] > 0)
        norms[max_norm] = np.array(recorder.largest)
    assert len(norms[0.3]) == 24
    assert norms[0.3].max() <= 0.3 * (1 + 1e-6)
    assert norms[0.3].max() > 0.29
    assert norms[None].max() > 1
