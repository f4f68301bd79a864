"""Early stopping's bookkeeping, on scores made by hand."""

import numpy as np
import pytest
import torch

from skreg import RegularizedMLPRegressor, schedules
from skreg.training.early_stopping import Stopping

FINE = torch.ones(2, dtype=torch.bool)


def play(scores, patience=2, min_delta=0.0, finite=None):
    """Show a ``Stopping`` one score a member and epoch, until all have stopped; weights of epoch e are e."""
    scores = torch.tensor(scores, dtype=torch.float64)
    members = scores.shape[1]
    stopping = Stopping(members, patience, min_delta)
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
    stopping, kept, stopped_at = play(scores)
    assert stopping.best_epoch.tolist() == kept == [3, 5]
    assert stopping.best.tolist() == [3, 9]
    assert stopped_at == [5, 7]


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_is_the_epochs_without_a_gain(patience):
    scores = [[0.0]] + [[-1.0]] * 10
    _, kept, stopped_at = play(scores, patience)
    assert kept == [1]
    assert stopped_at == [1 + patience]


def test_who_is_out_of_patience_goes_on_until_it_may_stop():
    stopping, weights = Stopping(2, 2, 0.0), [torch.zeros(2, 1)]
    for epoch, score in enumerate([[1, 1], [0, 2], [0, 1], [0, 1], [0, 3]], start=1):
        weights[0].fill_(epoch)
        assert stopping.active.all()
        stopping.update(epoch, torch.tensor(score, dtype=torch.float64), FINE, weights, may_stop=epoch == 5)
    assert stopping.active.tolist() == [False, True]
    assert stopping.best_epoch.tolist() == [1, 5]


@pytest.mark.parametrize(("schedule", "max_iter", "ends"), [("coslog", 30, {2, 6, 14, 30}), ("cosine", 30, {2})])
def test_a_training_of_cycles_stops_at_the_end_of_one(schedule, max_iter, ends):
    """A factor of 0 gains nothing after the first epoch, so patience ends with the second."""
    waves = getattr(schedules, schedule)

    def still(progress):
        return 0.0

    if hasattr(waves, "valleys"):
        still.valleys = waves.valleys
    X = np.random.RandomState(0).randn(150, 2)
    for patience in (1, 5, 6):
        settings = {"learning_rate": still, "patience": patience, "max_iter": max_iter, "random_state": 0}
        stopped = RegularizedMLPRegressor((4,), **settings).fit(X, X[:, 0]).n_iter_
        assert stopped == (min(end for end in ends if end > patience) if len(ends) > 1 else 1 + patience)


@pytest.mark.parametrize("valleys", [(), 0.5, ("end",), (0.5, 0.5), (0.0, 1.0), (0.5, 1.5)])
def test_ends_of_cycles_that_do_not_increase_are_refused(valleys):
    def schedule(progress):
        return 1.0

    schedule.valleys = valleys
    with pytest.raises(ValueError, match=r"The 'valleys' of .* must increase within \(0, 1\]"):
        RegularizedMLPRegressor(learning_rate=schedule).fit([[0.0], [1.0]], [0.0, 1.0])


def test_an_equal_score_is_no_gain():
    _, kept, stopped_at = play([[1.0], [1.0], [1.0], [1.0]])
    assert (kept, stopped_at) == ([1], [3])


def test_a_gain_must_be_larger_than_min_delta():
    scores = [[0.0], [0.5], [0.9], [1.5], [1.6], [1.7], [1.8]]
    _, kept, stopped_at = play(scores, patience=3, min_delta=1.0)
    assert kept == [4]
    assert stopped_at == [7]


def test_negative_scores_are_compared_like_others():
    _, kept, _ = play([[-3.0], [-2.0], [-2.5], [-2.6]])
    assert kept == [2]


def test_nan_is_no_gain_but_the_first_epoch_is_kept():
    stopping, kept, stopped_at = play([[torch.nan], [torch.nan], [1.0], [0.5], [0.4]])
    assert kept == [3]
    assert stopped_at == [5]
    assert not stopping.diverged.any()


def test_a_member_that_is_not_finite_stops_at_once_with_its_last_good_weights():
    finite = [[True, True], [True, True], [False, True], [True, True]]
    stopping, kept, stopped_at = play([[1, 1], [2, 2], [3, 3], [4, 4]], finite=finite)
    assert kept == [2, 4]
    assert stopping.diverged.tolist() == [True, False]
    assert stopped_at[0] == 3


def test_without_patience_weights_are_kept_once_a_loss_with_them_was_finite():
    stopping = Stopping(2, None, 0.0)
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


def test_restore_before_any_epoch_leaves_the_weights():
    weights = [torch.ones(2, 1)]
    Stopping(2, 3, 0.0).restore(weights)
    assert weights[0].tolist() == [[1.0], [1.0]]


def test_the_kept_weights_are_a_copy():
    stopping, weights = Stopping(2, 3, 0.0), [torch.ones(2, 1)]
    stopping.update(1, torch.tensor([1.0, 1.0]), FINE, weights)
    weights[0].fill_(7)
    stopping.restore(weights)
    assert weights[0].tolist() == [[1.0], [1.0]]
