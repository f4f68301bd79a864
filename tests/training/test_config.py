"""Tests of hyperparameters that differ between layers, settings of the solver, and refused combinations."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.helpers import plain_regressor

RNG = np.random.RandomState(0)
X = pd.DataFrame(RNG.randn(160, 4), columns=list("abcd")).assign(e=[f"level {i}" for i in RNG.randint(0, 12, 160)])
Y = X["a"] * X["b"] + 0.3 * RNG.randn(160)
SMALL = {"hidden_layer_sizes": (8, 6), "max_iter": 6, "random_state": 0, "numeric_embedding": "periodic"}


def fitted(**settings):
    return plain_regressor(**{**SMALL, **settings}).fit(X, Y)


@pytest.mark.parametrize("solver", ["adamw", "sgd"])
def test_equal_values_for_all_layers_equal_a_number(solver):
    plain = fitted(solver=solver, alpha=0.01, l1_ratio=0.5, max_norm=1.0)
    listed = fitted(solver=solver, alpha=[0.01] * 3, l1_ratio=0.5, max_norm=np.array([1.0] * 3))
    assert plain.predict(X).tobytes() == listed.predict(X).tobytes()


def test_a_layer_without_penalty_or_constraint_is_left_out():
    """Embeddings belong to the first layer."""
    module = fitted(alpha=(0.0, 0.1, 0.0)).net_.module_
    training_config = fitted(alpha=(0.0, 0.1, 0.0), max_norm=(None, None, 2.0)).net_.training_config
    assert [weight is module.hidden[1].weight for weight, _ in training_config.penalties(module)] == [True]
    assert [(weight is module.head.weight, c.limit) for weight, c in training_config.constraints(module)] == [
        (True, 2.0)
    ]
    first = fitted(alpha=(0.1, 0.0, 0.0)).net_.training_config.penalties(module)
    expected = {module.embeddings.weight, module.numeric.weight, module.hidden[0].weight}
    assert {weight for weight, _ in first} == expected


def test_a_large_penalty_empties_only_its_layer():
    module = fitted(alpha=(0.0, 5.0, 0.0), l1_ratio=1.0, max_iter=40, n_members=2).net_.module_
    assert (module.hidden[1].weight == 0).all()
    assert (module.hidden[0].weight != 0).all()


def test_max_norm_holds_only_in_its_layer():
    norms = [
        torch.linalg.vector_norm(linear.weight, dim=1).max().item()
        for linear in fitted(max_norm=(None, 0.3, None)).net_.module_.linears
    ]
    assert norms[1] <= 0.3 * (1 + 1e-6)
    assert min(norms[0], norms[2]) > 0.4


def test_errors_name_the_number_of_layers():
    with pytest.raises(ValueError, match="a sequence of 3, one for each of the 2 hidden layers and one for the head"):
        fitted(alpha=(0.1, 0.1))
    with pytest.raises(ValueError, match=r"a float or None in the range \(0.0, inf\), or a sequence of 3 such"):
        fitted(max_norm=(0.1, None, -1.0))


def test_momentum_affects_only_sgd():
    plain, heavy, other = (
        fitted(solver="sgd", momentum=m, nesterovs_momentum=n) for m, n in ((0.9, True), (0.5, True), (0.9, False))
    )
    assert not np.allclose(plain.predict(X), heavy.predict(X))
    assert not np.allclose(plain.predict(X), other.predict(X))
    assert fitted(momentum=0.3).predict(X).tobytes() == fitted().predict(X).tobytes()


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), "a"])
def test_invalid_factors_of_a_schedule_are_refused_during_training(wrong):
    X = np.random.RandomState(0).randn(64, 2)

    def schedule(progress):
        return wrong if 0.1 < progress < 0.4 else 1.0

    with pytest.raises(
        ValueError, match=r"'learning_rate' parameter must be .* a callable that returns finite factors"
    ):
        plain_regressor(max_iter=10, random_state=0, learning_rate=schedule).fit(X, X[:, 0])


def test_errors_of_a_schedule_are_reported():
    with pytest.raises(ValueError, match="The callable given as 'learning_rate' failed"):
        plain_regressor(learning_rate=lambda: 1.0).fit([[0.0], [1.0]], [0.0, 1.0])


def test_a_weight_decay_above_one_per_step_is_refused():
    with pytest.raises(ValueError, match=r"weight_decay=150 times learning_rate_init=0.01 is above 1"):
        plain_regressor(weight_decay=150).fit([[0.0], [1.0]], [0.0, 1.0])
