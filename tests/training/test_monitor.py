"""A monitor's scores: greater is better, each member on its own rows."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import get_scorer

from skreg.training.monitor import LossMonitor, ScorerMonitor

RAW = torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [0.0]]])
BOTH = torch.tensor([True, True])
PARTS = [("X0", np.array([1.0, 2, 5]), None), ("X1", np.array([4.0, 7]), np.array([1.0, 3]))]


class View(RegressorMixin, BaseEstimator):
    """Predicts the raw output it was given."""

    def __init__(self, member, raw, X):
        self.member, self.raw, self.X = member, raw, X

    def fit(self, X, y):
        return self

    def predict(self, X):
        assert X == self.X == f"X{self.member}"
        return self.raw[:, 0].numpy()


def test_the_loss_with_its_sign_turned():
    monitor = LossMonitor()
    assert monitor(RAW, torch.tensor([1.0, 2.0]), BOTH).tolist() == [-1, -2]
    assert monitor.sign == -1


def test_a_scorer_sees_each_members_rows_and_weights():
    scores = ScorerMonitor(get_scorer("neg_mean_squared_error"), View, PARTS)(RAW, torch.zeros(2), BOTH)
    assert scores.tolist() == [-(2**2) / 3, -(3 * 2**2) / 4]


def test_a_callable_is_called_with_estimator_rows_and_target():
    seen = []

    def scorer(estimator, X, y):
        seen.append((estimator.member, X, y.tolist()))
        return len(y)

    assert ScorerMonitor(scorer, View, PARTS)(RAW, torch.zeros(2), BOTH).tolist() == [3, 2]
    assert seen == [(0, "X0", [1, 2, 5]), (1, "X1", [4, 7])]


@pytest.mark.parametrize("bad", [None, "good", [1.0]])
def test_what_is_no_number_is_refused(bad):
    with pytest.raises(TypeError, match="must return a number"):
        ScorerMonitor(lambda estimator, X, y: bad, View, PARTS)(RAW, torch.zeros(2), BOTH)


def test_no_score_is_asked_for_members_that_stopped_or_are_not_finite():
    scores = ScorerMonitor(get_scorer("neg_mean_squared_error"), View, PARTS)
    broken = RAW.clone()
    broken[0, 1] = torch.nan
    assert scores(broken, torch.zeros(2), BOTH).isnan().tolist() == [True, False]
    assert scores(RAW, torch.zeros(2), torch.tensor([True, False])).isnan().tolist() == [False, True]
