import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import VarianceThreshold
from sklearn.model_selection import KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.plots import RegularizationPathDisplay
from skreg.search.vectorized.stacked_net import StackedNet
from tests.plots.helpers import LABEL, NUMBER, SMALL, X, lines


def test_path_equals_cross_validation():
    estimator, folds = RegularizedMLPRegressor(**SMALL), KFold(3)
    values = [0.001, 0.1, 10.0]
    display = RegularizationPathDisplay.from_estimator(estimator, X, NUMBER, param_range=values, cv=folds, scoring="r2")
    for row, value in enumerate(values):
        expected = cross_validate(
            clone(estimator).set_params(alpha=value),
            X,
            NUMBER,
            cv=folds,
            return_train_score=True,
            return_estimator=True,
        )
        assert_allclose(display.test_scores[row], expected["test_score"], atol=1e-5)
        assert_allclose(display.train_scores[row], expected["train_score"], atol=1e-5)
        norms = [fitted.net_.module_.feature_norms().mean(0) for fitted in expected["estimator"]]
        assert_allclose(display.feature_norms[row], norms, atol=1e-4)
    drawn = lines(display.ax_)
    assert_array_equal(drawn["Held-out"], [values, display.test_scores.mean(1)])
    assert_array_equal(drawn["Training"], [values, display.train_scores.mean(1)])
    paths = np.array([line.get_ydata() for line in display.axes_[1].get_lines() if len(line.get_xdata()) == 3])
    assert len(paths) == 6
    assert_allclose(sorted(paths.tolist()), sorted(display.feature_norms.mean(1).T.tolist()))
    assert len(lines(display.axes_[1])) == 4, "four columns are named"
    assert display.ax_.get_xscale() == "log"


def test_fits_of_a_path_train_side_by_side(monkeypatch):
    sizes, stack = [], StackedNet.stack
    monkeypatch.setattr(StackedNet, "stack", lambda fits: sizes.append(len(fits)) or stack(fits))
    one = RegularizedMLPRegressor(n_members=1, **SMALL)
    RegularizationPathDisplay.from_estimator(one, X, NUMBER, param_range=[0.001, 0.1, 10.0], cv=3)
    assert sizes == [9]


def test_invalid_value_raises_the_error_of_the_estimator():
    with pytest.raises(ValueError, match=r"'dropout' parameter .* Got 2\.0 instead"):
        RegularizationPathDisplay.from_estimator(
            RegularizedMLPRegressor(**SMALL), X, NUMBER, param_name="dropout", param_range=[0.1, 2.0], cv=2
        )


def test_norms_become_zero_with_a_strong_penalty():
    linear = RegularizedMLPRegressor((), n_members=1, early_stopping=False, max_iter=30, random_state=0)
    path = {"param_name": "feature_alpha", "param_range": [0.0, 0.3, 50.0], "cv": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        display = RegularizationPathDisplay.from_estimator(linear, X, NUMBER, **path)
    n_used = (display.feature_norms > 0).all(1).sum(1)
    assert n_used[0] == 6
    assert n_used[-1] == 0
    assert display.ax_.get_xscale() == "linear", "0 cannot be drawn on a logarithmic axis"


def test_integer_parameter_stays_an_integer():
    path = {"param_name": "n_members", "param_range": [1, 2], "cv": 2}
    display = RegularizationPathDisplay.from_estimator(RegularizedMLPClassifier(**SMALL), X, LABEL, **path)
    assert_array_equal(display.param_range, [1, 2])


def test_path_of_a_pipeline_names_the_columns(mixed_table):
    numbers = mixed_table.X[["number", "count"]]
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), RegularizedMLPRegressor(**SMALL))
    path = {"param_name": "regularizedmlpregressor__alpha", "param_range": [0.01, 1.0], "cv": 2}
    display = RegularizationPathDisplay.from_estimator(pipeline, numbers, mixed_table.number, **path)
    assert list(display.feature_names) == ["number", "count"]


def test_different_columns_in_the_folds_are_rejected():
    class Selector(VarianceThreshold):
        def _get_support_mask(self):
            return np.arange(6) < 3 + (self.variances_[0] > np.median(X[:, 0] ** 2))

    pipeline = make_pipeline(Selector(), RegularizedMLPRegressor(**SMALL))
    path = {"param_name": "regularizedmlpregressor__alpha", "param_range": [0.01]}
    first_half = np.arange(240) < 120
    rows = X.copy()
    rows[first_half, 0] *= 0.001
    folds = [(np.flatnonzero(train), np.flatnonzero(~train)) for train in (~first_half, first_half)]
    with pytest.raises(ValueError, match="columns cannot be compared"):
        RegularizationPathDisplay.from_estimator(pipeline, rows, NUMBER, cv=folds, **path)


@pytest.mark.parametrize("option", [{"cv": True}, {"cv": 0}, {"scoring": [None]}, {"scoring": "none"}])
def test_errors_of_scikit_learn_name_the_option(option):
    (name,) = option
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        RegularizationPathDisplay.from_estimator(
            RegularizedMLPRegressor(**SMALL), X, NUMBER, param_range=[0.1], **option
        )
