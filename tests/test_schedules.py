"""Every schedule is a finite factor of at most 1, and the training follows it."""

import numpy as np
import pytest

from skreg import RegularizedMLPRegressor, schedules

PROGRESS = np.linspace(0, 1, 201)


@pytest.mark.parametrize("name", schedules.__all__)
def test_is_finite_and_at_most_one(name):
    factors = np.array([getattr(schedules, name)(float(p)) for p in PROGRESS])
    assert np.isfinite(factors).all()
    assert factors.max() <= 1
    assert factors.min() >= 0


def test_constant_is_one():
    assert {schedules.constant(float(p)) for p in PROGRESS} == {1.0}


def test_cosine_goes_from_one_to_zero():
    factors = np.array([schedules.cosine(float(p)) for p in PROGRESS])
    assert factors[0] == 1
    assert factors[-1] == pytest.approx(0, abs=1e-15)
    assert factors[100] == pytest.approx(0.5)
    assert (np.diff(factors) < 0).all()


def fitted(schedule, **parameters):
    X = np.random.RandomState(0).randn(100, 2)
    estimator = RegularizedMLPRegressor(
        hidden_layer_sizes=(4,),
        learning_rate=schedule,
        learning_rate_init=0.01,
        max_iter=5,
        batch_size=25,
        early_stopping=False,
        random_state=0,
        **parameters,
    )
    return estimator.fit(X, X[:, 0])


def test_a_callable_sees_the_progress_of_every_step():
    seen = []

    def schedule(progress):
        seen.append(progress)
        return 1 - progress

    estimator = fitted(schedule)
    np.testing.assert_allclose(seen[-20:], np.arange(20) / 20)
    assert all(0 <= progress <= 1 for progress in seen)
    last_steps = 1 - (np.arange(5) + 0.75) / 5
    np.testing.assert_allclose(estimator.net_.history[:, "lr"], 0.01 * last_steps)


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
def test_a_factor_of_zero_trains_nothing(solver):
    still = fitted(lambda progress: 0.0, solver=solver, dropout=0.0, alpha=0.1, l1_ratio=0.5)
    np.testing.assert_allclose(still.loss_curve_, still.loss_curve_[0], rtol=1e-5)
    moving = fitted("constant", solver=solver, dropout=0.0)
    assert moving.loss_curve_[-1] < 0.999 * moving.loss_curve_[0]
