"""Tests of the learning rate schedules and of the training with them."""

import numpy as np
import pytest

from skreg import RegularizedMLPRegressor, schedules

PROGRESS = np.linspace(0, 1, 201)
X = np.random.RandomState(0).randn(100, 2)


@pytest.mark.parametrize("name", schedules.__all__)
def test_factors_are_finite_and_between_zero_and_one(name):
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


def test_a_callable_receives_the_progress_of_every_step():
    progresses = []

    def schedule(progress):
        progresses.append(progress)
        return 1 - progress

    estimator = fitted(schedule)
    np.testing.assert_allclose(progresses[-20:], np.arange(20) / 20)
    assert all(0 <= progress <= 1 for progress in progresses)
    last_steps = 1 - (np.arange(5) + 0.75) / 5
    np.testing.assert_allclose(estimator.net_.history[:, "lr"], 0.01 * last_steps)


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
def test_a_factor_of_zero_does_not_change_the_loss(solver):
    constant = fitted(lambda progress: 0.0, solver=solver, dropout=0.0, alpha=0.1, l1_ratio=0.5)
    np.testing.assert_allclose(constant.loss_curve_, constant.loss_curve_[0], rtol=1e-5)
    moving = fitted("constant", solver=solver, dropout=0.0)
    assert moving.loss_curve_[-1] < 0.999 * moving.loss_curve_[0]


def values(name, *progress):
    return [getattr(schedules, name)(p) for p in progress]


def test_values_of_the_schedules():
    assert values("coslog", 0, 1 / 15, 3 / 15, 7 / 15, 1) == pytest.approx([0] * 5, abs=1e-12)
    ends = [(2**k - 1) / 127 for k in range(8)]
    assert values("growing_cycles", *ends) == pytest.approx([0] * 8, abs=1e-12)
    assert values("growing_cycles", (2**6.5 - 1) / 127) == pytest.approx([1])
    assert values("cosine_restarts", 0, 1 / 7 + 1e-9, 3 / 7 + 1e-9) == pytest.approx([1] * 3, abs=1e-6)
    assert values("cosine_restarts", 1 / 7 - 1e-9, 3 / 7 - 1e-9, 1) == pytest.approx([0] * 3, abs=1e-6)
    assert values("cosine_restarts", 2 / 7, 5 / 7) == pytest.approx([0.5] * 2)
    assert values("flat_cosine", 0, 0.3, 0.5, 0.75, 1) == pytest.approx([1, 1, 1, 0.5, 0])
    assert values("one_cycle", 0, 0.3, 0.65, 1) == pytest.approx([0.04, 1, 0.5, 0])
    assert values("warmup", 0, 0.05, 0.1, 1) == pytest.approx([0, 0.5, 1, 0])
    assert values("inverse_scaling", 0, 1) == pytest.approx([1, 0.1])


@pytest.mark.parametrize("name", ["coslog", "cosine_restarts", "flat_cosine", "one_cycle", "warmup"])
def test_schedules_are_continuous_except_at_restarts(name):
    steps = np.abs(np.diff([getattr(schedules, name)(float(p)) for p in np.linspace(0, 1, 2001)]))
    assert (steps > 0.05).sum() == (2 if name == "cosine_restarts" else 0)


@pytest.mark.parametrize("name", schedules.__all__)
def test_every_schedule_trains(name):
    assert fitted(name, solver="adamw", dropout=0.0).loss_curve_[-1] < 0.999 * fitted(name, dropout=0.0).loss_curve_[0]


@pytest.mark.parametrize("name", ["coslog", "cosine_restarts", "growing_cycles"])
def test_the_factor_is_zero_at_the_end_of_a_cycle(name):
    schedule = getattr(schedules, name)
    for end in schedule.cycle_ends:
        assert schedule(end - 1e-9) == pytest.approx(0, abs=1e-6)
    assert schedule.cycle_ends[-1] == 1
