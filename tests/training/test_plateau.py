"""A plateau cuts the rate of the members that do not gain, and of no other."""

import numpy as np
import pytest
import torch

from skreg import RegularizedMLPRegressor
from skreg.training.plateau import ReduceOnPlateau

pytestmark = pytest.mark.usefixtures("plain_training")

RNG = np.random.RandomState(0)
X = RNG.randn(240, 4)
Y = X[:, 0] + RNG.randn(240)
SMALL = {"hidden_layer_sizes": (16,), "learning_rate": "adaptive", "max_iter": 30, "n_members": 1, "random_state": 0}


def cuts(scores, wait, min_delta=0.0):
    """Factors after each of the scores of one member."""
    plateau, seen = ReduceOnPlateau(1, wait, min_delta), []
    for score in scores:
        plateau.update(torch.tensor([score], dtype=torch.float64))
        seen.append(plateau.factors.item())
    return seen


def test_waits_for_a_gain_and_then_again():
    assert cuts([1, 2, 3, 4], 2) == [1, 1, 1, 1]
    assert cuts([1, 1, 0, 0, 0], 2) == pytest.approx([1, 1, 0.2, 0.2, 0.04])
    assert cuts([1, 0, 2, 1, 3], 2) == [1] * 5
    assert cuts([1, 1.1, 1.2], 1, min_delta=0.5) == pytest.approx([1, 0.2, 0.04])
    assert cuts([float("nan"), 1, float("nan")], 2) == [1, 1, 1]


def test_members_have_rates_of_their_own_and_equal_ones_are_a_number():
    plateau, active = ReduceOnPlateau(3, 1, 0.0), torch.tensor([True, True, True])
    like = torch.zeros(3, 2, 2)
    for scores in ([0, 0, 0], [1, 0, 1]):
        plateau.update(torch.tensor(scores, dtype=torch.float64))
    torch.testing.assert_close(plateau.rate(0.1, active, like), torch.tensor([0.1, 0.02, 0.1]))
    assert plateau.rate(0.1, torch.tensor([True, False, True]), like) == 0.1
    assert plateau.rate(0.1, torch.tensor([False, True, False]), like) == pytest.approx(0.02)


@pytest.mark.parametrize(("patience", "wait"), [(20, 5), (8, 2), (1, 1)])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_the_history_shows_the_rate_that_the_curve_explains(patience, wait, early_stopping):
    net = RegularizedMLPRegressor(**SMALL, patience=patience, early_stopping=early_stopping).fit(X, Y)
    curve = net.validation_curve_ if early_stopping else net.loss_curve_
    expected = 0.01 * np.r_[1.0, cuts(-curve, wait)][:-1]
    np.testing.assert_allclose(net.net_.history[:, "lr"], expected)


def test_settles_a_rate_that_is_too_high():
    high = {
        **SMALL,
        "max_iter": 60,
        "learning_rate_init": 0.1,
        "early_stopping": False,
        "solver": "sgd",
        "dropout": 0.0,
    }
    cut = RegularizedMLPRegressor(**high, patience=8).fit(X, Y)
    left = RegularizedMLPRegressor(**{**high, "learning_rate": "constant"}).fit(X, Y)
    assert cut.net_.history[-1, "lr"] < 0.1
    assert np.abs(np.diff(cut.loss_curve_[-10:])).mean() < 0.5 * np.abs(np.diff(left.loss_curve_[-10:])).mean()
