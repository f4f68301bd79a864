"""Quick scorers equal those of scikit-learn."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.metrics import get_scorer

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.search.vectorized.fold_fit import quick_scorer

X, Y = make_classification(200, 6, n_informative=4, random_state=0)
SMALL = {"hidden_layer_sizes": (16,), "max_iter": 8, "n_members": 2, "random_state": 0, "dropout": 0.0}
NET = RegularizedMLPClassifier(**SMALL, calibrate=None)


@pytest.mark.parametrize("name", ["accuracy", "neg_log_loss"])
def test_quick_scorers_of_classifiers_equal_scikit_learns(name):
    net = clone(NET).fit(X[:100], Y[:100])
    scorer = get_scorer(name)
    quick = quick_scorer(scorer, net, Y)
    assert quick(net, X, Y) == pytest.approx(scorer(net, X, Y), rel=1e-6)
    three, texts = np.arange(len(Y)) % 3, np.array(["c", "a", "b"])
    net = clone(NET).fit(X, texts[three])
    assert quick(net, X, texts[three]) == pytest.approx(scorer(net, X, texts[three]), rel=1e-6)


@pytest.mark.parametrize("name", ["r2", "neg_mean_squared_error", "neg_root_mean_squared_error"])
def test_quick_scorers_of_regressors_equal_scikit_learns(name):
    rows, target = make_regression(100, 4, noise=5, random_state=0)
    net = RegularizedMLPRegressor(**SMALL).fit(rows, target)
    scorer = get_scorer(name)
    assert quick_scorer(scorer, net, target)(net, rows, target) == pytest.approx(scorer(net, rows, target), rel=1e-6)


def test_other_scorers_have_no_quick_scorer():
    assert quick_scorer(get_scorer("roc_auc"), NET, Y) is None
    assert quick_scorer(get_scorer("f1"), NET, Y) is None
    assert quick_scorer(get_scorer("accuracy"), NET, np.c_[Y, Y]) is None
