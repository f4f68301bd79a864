"""Tests of early stopping on given scores, and of the monitors."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import get_scorer

from skreg import RegularizedMLPRegressor, schedules
from skreg.training.early_stopping import EarlyStopping, LossMonitor, ScorerMonitor

FINITE = torch.ones(2, dtype=torch.bool)


def run_early_stopping(scores, patience=2, min_delta=0.0, finite=None):
    """Update an ``EarlyStopping`` with one row of scores per epoch until all members stop; weights of epoch e are e."""
    scores = torch.tensor(scores, dtype=torch.float64)
    members = scores.shape[1]
    stopping = EarlyStopping(members, patience, min_delta)
    weights = [torch.zeros(members, 2), torch.zeros(members, 1, 3)]
    stopped_at = np.zeros(members, int)
    for epoch, score in enumerate(scores, start=1):
        if not stopping.active.any():
            break
        for weight in weights:
            weight.fill_(epoch)
        good = torch.ones(members, dtype=torch.bool) if finite is None else torch.tensor(finite[epoch - 1])
        stopping.update(epoch, score, good, weights)
        stopped_at[(stopped_at == 0) & ~stopping.active.numpy()] = epoch
    stopping.restore(weights)
    return stopping, weights[0][:, 0].tolist(), stopped_at.tolist()


def test_each_member_keeps_its_own_best_epoch():
    scores = [[1, 5], [2, 4], [3, 6], [2, 5], [1, 9], [9, 8], [9, 7]]
    stopping, kept, stopped_at = run_early_stopping(scores)
    assert stopping.best_epoch.tolist() == kept == [3, 5]
    assert stopping.best.tolist() == [3, 9]
    assert stopped_at == [5, 7]


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_a_member_stops_after_patience_epochs_without_improvement(patience):
    scores = [[0.0]] + [[-1.0]] * 10
    _, kept, stopped_at = run_early_stopping(scores, patience)
    assert kept == [1]
    assert stopped_at == [1 + patience]


def test_a_member_without_patience_continues_until_it_may_stop():
    stopping, weights = EarlyStopping(2, 2, 0.0), [torch.zeros(2, 1)]
    for epoch, score in enumerate([[1, 1], [0, 2], [0, 1], [0, 1], [0, 3]], start=1):
        weights[0].fill_(epoch)
        assert stopping.active.all()
        stopping.update(epoch, torch.tensor(score, dtype=torch.float64), FINITE, weights, may_stop=epoch == 5)
    assert stopping.active.tolist() == [False, True]
    assert stopping.best_epoch.tolist() == [1, 5]


@pytest.mark.parametrize(("schedule", "max_iter", "ends"), [("coslog", 30, {2, 6, 14, 30}), ("cosine", 30, {2})])
def test_a_cyclic_schedule_stops_at_the_end_of_a_cycle(schedule, max_iter, ends):
    """A factor of 0 yields no improvement after the first epoch."""
    cyclic = getattr(schedules, schedule)

    def zero(progress):
        return 0.0

    if hasattr(cyclic, "cycle_ends"):
        zero.cycle_ends = cyclic.cycle_ends
    X = np.random.RandomState(0).randn(150, 2)
    for patience in (1, 5, 6):
        settings = {"learning_rate": zero, "patience": patience, "max_iter": max_iter, "random_state": 0}
        stopped = RegularizedMLPRegressor((4,), **settings).fit(X, X[:, 0]).n_iter_
        assert stopped == (min(end for end in ends if end > patience) if len(ends) > 1 else 1 + patience)


@pytest.mark.parametrize("cycle_ends", [(), 0.5, ("end",), (0.5, 0.5), (0.0, 1.0), (0.5, 1.5)])
def test_invalid_cycle_ends_are_refused(cycle_ends):
    def schedule(progress):
        return 1.0

    schedule.cycle_ends = cycle_ends
    with pytest.raises(ValueError, match=r"'cycle_ends' of .* must contain increasing numbers in the range \(0"):
        RegularizedMLPRegressor(learning_rate=schedule).fit([[0.0], [1.0]], [0.0, 1.0])


def test_an_equal_score_is_not_an_improvement():
    _, kept, stopped_at = run_early_stopping([[1.0], [1.0], [1.0], [1.0]])
    assert (kept, stopped_at) == ([1], [3])


def test_an_improvement_must_exceed_min_delta():
    scores = [[0.0], [0.5], [0.9], [1.5], [1.6], [1.7], [1.8]]
    _, kept, stopped_at = run_early_stopping(scores, patience=3, min_delta=1.0)
    assert kept == [4]
    assert stopped_at == [7]


def test_negative_scores_are_compared_like_positive_ones():
    _, kept, _ = run_early_stopping([[-3.0], [-2.0], [-2.5], [-2.6]])
    assert kept == [2]


def test_nan_is_not_an_improvement_except_in_the_first_epoch():
    stopping, kept, stopped_at = run_early_stopping([[torch.nan], [torch.nan], [1.0], [0.5], [0.4]])
    assert kept == [3]
    assert stopped_at == [5]
    assert not stopping.diverged.any()


def test_a_nonfinite_member_stops_immediately_with_its_best_weights():
    finite = [[True, True], [True, True], [False, True], [True, True]]
    stopping, kept, stopped_at = run_early_stopping([[1, 1], [2, 2], [3, 3], [4, 4]], finite=finite)
    assert kept == [2, 4]
    assert stopping.diverged.tolist() == [True, False]
    assert stopped_at[0] == 3


def test_without_patience_weights_are_kept_after_a_finite_loss():
    stopping = EarlyStopping(2, None, 0.0)
    weights = [torch.zeros(2, 1)]
    for epoch in (1, 2, 3):
        weights[0].fill_(epoch)
        stopping.update(epoch, None, torch.tensor([True, epoch < 3]), weights)
    stopping.confirm(torch.tensor([True, False]))
    stopping.restore(weights)
    assert weights[0].tolist() == [[3.0], [1.0]]
    assert stopping.active.tolist() == [True, False]
    assert stopping.best_epoch.tolist() == [3, 1]
    assert stopping.diverged.tolist() == [False, True]


def test_restore_before_the_first_epoch_does_not_change_weights():
    weights = [torch.ones(2, 1)]
    EarlyStopping(2, 3, 0.0).restore(weights)
    assert weights[0].tolist() == [[1.0], [1.0]]


def test_the_kept_weights_are_a_copy():
    stopping, weights = EarlyStopping(2, 3, 0.0), [torch.ones(2, 1)]
    stopping.update(1, torch.tensor([1.0, 1.0]), FINITE, weights)
    weights[0].fill_(7)
    stopping.restore(weights)
    assert weights[0].tolist() == [[1.0], [1.0]]


# monitors

RAW = torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [0.0]]])
BOTH_ACTIVE = torch.tensor([True, True])
VALIDATION_SETS = [("X0", np.array([1.0, 2, 5]), None), ("X1", np.array([4.0, 7]), np.array([1.0, 3]))]


class RawRegressor(RegressorMixin, BaseEstimator):
    """An estimator that predicts the given raw output."""

    def __init__(self, member, raw, X):
        self.member, self.raw, self.X = member, raw, X

    def fit(self, X, y):
        return self

    def predict(self, X):
        assert X == self.X == f"X{self.member}"
        return self.raw[:, 0].numpy()


def test_loss_monitor_returns_the_negative_loss():
    monitor = LossMonitor()
    assert monitor(RAW, torch.tensor([1.0, 2.0]), BOTH_ACTIVE).tolist() == [-1, -2]
    assert not monitor.greater_is_better


def test_a_scorer_receives_the_rows_and_weights_of_each_member():
    scores = ScorerMonitor(get_scorer("neg_mean_squared_error"), RawRegressor, VALIDATION_SETS)(
        RAW, torch.zeros(2), BOTH_ACTIVE
    )
    assert scores.tolist() == [-(2**2) / 3, -(3 * 2**2) / 4]


def test_a_callable_receives_estimator_rows_and_target():
    calls = []

    def scorer(estimator, X, y):
        calls.append((estimator.member, X, y.tolist()))
        return len(y)

    assert ScorerMonitor(scorer, RawRegressor, VALIDATION_SETS)(RAW, torch.zeros(2), BOTH_ACTIVE).tolist() == [3, 2]
    assert calls == [(0, "X0", [1, 2, 5]), (1, "X1", [4, 7])]


@pytest.mark.parametrize("bad", [None, "good", [1.0]])
def test_a_score_that_is_not_a_number_is_refused(bad):
    with pytest.raises(TypeError, match="must return a number"):
        ScorerMonitor(lambda estimator, X, y: bad, RawRegressor, VALIDATION_SETS)(RAW, torch.zeros(2), BOTH_ACTIVE)


def test_stopped_and_nonfinite_members_are_not_scored():
    scores = ScorerMonitor(get_scorer("neg_mean_squared_error"), RawRegressor, VALIDATION_SETS)
    broken = RAW.clone()
    broken[0, 1] = torch.nan
    assert scores(broken, torch.zeros(2), BOTH_ACTIVE).isnan().tolist() == [True, False]
    assert scores(RAW, torch.zeros(2), torch.tensor([True, False])).isnan().tolist() == [False, True]
