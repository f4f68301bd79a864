"""Votes: what they say beside scikit-learn's, what fitted estimators they take, scikit-learn's checks and manners."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, RidgeClassifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, WeightedVotingClassifier, WeightedVotingRegressor

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
TWO = [("nb", GaussianNB()), ("tree", DecisionTreeClassifier(max_depth=2, random_state=0))]
TINY = {"hidden_layer_sizes": (4,), "max_iter": 2, "n_members": 1, "random_state": 0}


@parametrize_with_checks(
    [
        WeightedVotingClassifier(TWO, weights=[2, 1]),
        WeightedVotingClassifier([("a", RidgeClassifier()), ("b", RidgeClassifier(alpha=3.0))]),
        WeightedVotingRegressor([("a", Ridge()), ("b", DecisionTreeRegressor(random_state=0))]),
    ]
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("weights", [None, [3, 1]])
def test_it_says_what_scikit_learns_vote_says(weights):
    ours, theirs = (kind(TWO, weights=weights) for kind in (WeightedVotingClassifier, VotingClassifier))
    ours.fit(X, NAMES)
    theirs.set_params(voting="soft").fit(X, NAMES)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X))
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.score(X, NAMES) == theirs.score(X, NAMES)
    pair = [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=2, random_state=0))]
    ours, theirs = (kind(pair, weights=weights).fit(X, X[:, 0]) for kind in (WeightedVotingRegressor, VotingRegressor))
    assert_allclose(ours.predict(X), theirs.predict(X))
    assert ours.score(X, X[:, 0]) == theirs.score(X, X[:, 0])


def test_labels_vote_where_one_has_no_probabilities():
    three = [*TWO, ("ridge", RidgeClassifier())]
    ours = WeightedVotingClassifier(three, weights=[2, 2, 1]).fit(X, NAMES)
    theirs = VotingClassifier(three, weights=[2, 2, 1]).fit(X, NAMES)
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert not hasattr(ours, "predict_proba")
    assert hasattr(WeightedVotingClassifier(TWO), "predict_proba")


def test_fitted_ones_are_kept_as_they_are_and_may_know_different_classes():
    bayes = GaussianNB().fit(X, NAMES)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[50:], NAMES[50:])
    voting = WeightedVotingClassifier.from_fitted([("nb", bayes), ("lr", pipeline)], weights=[3, 1])
    assert voting.estimators_[1] is pipeline
    assert_array_equal(voting.classes_, np.unique(NAMES))
    expected = 0.75 * bayes.predict_proba(X)
    expected[:, 1:] += 0.25 * pipeline.predict_proba(X)
    assert_allclose(voting.predict_proba(X), expected)
    labels = WeightedVotingClassifier.from_fitted([("lr", pipeline), ("r", RidgeClassifier().fit(X, NAMES))])
    assert set(labels.predict(X)) == set(NAMES)
    again = pickle.loads(pickle.dumps(voting))
    assert_array_equal(again.predict_proba(X), voting.predict_proba(X))


def test_a_clone_is_not_fitted_and_fits_clones():
    voting = WeightedVotingClassifier.from_fitted([("nb", GaussianNB().fit(X[:100], Y[:100]))])
    other = clone(voting)
    check_is_fitted(voting)
    with pytest.raises(NotFittedError):
        other.predict(X)
    assert_array_equal(other.fit(X, Y).classes_, [0, 1, 2])
    assert_array_equal(voting.classes_, [0, 1])
    assert cross_val_score(voting, X, Y).min() > 0.9
    assert is_classifier(voting)
    assert is_regressor(WeightedVotingRegressor([("ridge", Ridge())]))
    assert other.set_params(nb__var_smoothing=0.1).estimators[0][1].var_smoothing == 0.1


def test_names_of_columns():
    frame = pd.DataFrame(X, columns=list("abcd"))
    voting = WeightedVotingClassifier(TWO).fit(frame, Y)
    assert list(voting.feature_names_in_) == list("abcd")
    assert voting.n_features_in_ == 4
    assert not hasattr(voting.fit(X, Y), "feature_names_in_")
    assert not hasattr(WeightedVotingClassifier(TWO), "n_features_in_")


def test_several_labels():
    rows, labels = make_multilabel_classification(80, 5, n_classes=3, random_state=0)
    network = RegularizedMLPClassifier(**TINY).fit(rows, labels)
    voting = WeightedVotingClassifier.from_fitted([("a", network), ("b", network)], weights=[1, 2])
    assert_allclose(voting.predict_proba(rows), network.predict_proba(rows))
    assert_array_equal(voting.predict(rows), network.predict(rows))
    ridge = WeightedVotingClassifier([("a", RidgeClassifier()), ("b", RidgeClassifier(alpha=9.0))]).fit(rows, labels)
    assert_array_equal(np.unique(ridge.predict(rows)), [0, 1])
    assert ridge.predict(rows).shape == labels.shape


def test_several_outputs():
    both = np.column_stack([Y, Y > 0])
    trees = [("a", DecisionTreeClassifier(max_depth=1)), ("b", DecisionTreeClassifier(max_depth=2))]
    voting = WeightedVotingClassifier(trees).fit(X, both)
    assert [part.shape for part in voting.predict_proba(X)] == [(150, 3), (150, 2)]
    assert_array_equal(voting.predict(X)[:, 1], Y > 0)
    few = DecisionTreeClassifier().fit(X[:100], both[:100])
    mixed = WeightedVotingClassifier.from_fitted([("few", few), ("all", voting.estimators_[1])], weights=[1, 3])
    assert_array_equal(mixed.predict(X)[:50], both[:50])
    rows, numbers = make_regression(60, 4, n_targets=2, random_state=0)
    regressors = WeightedVotingRegressor([("ridge", Ridge()), ("tree", DecisionTreeRegressor())]).fit(rows, numbers)
    assert regressors.predict(rows).shape == (60, 2)


def test_the_score_is_the_estimators_own():
    """Several quantiles are scored by the middle one, and what does not ask for predictions says nothing of a vote."""
    target = X[:, 0]
    quantiles = RegularizedMLPRegressor(**TINY, loss="quantile", quantile=[0.1, 0.5, 0.9]).fit(X, target)
    voting = WeightedVotingRegressor.from_fitted([("a", quantiles), ("b", make_pipeline(quantiles))])
    assert voting.score(X, target) == pytest.approx(quantiles.score(X, target))
    weight = np.linspace(0, 1, 150)
    ridge = WeightedVotingRegressor([("a", Ridge())]).fit(X, target, sample_weight=weight)
    assert ridge.score(X, target, weight) == r2_score(target, ridge.predict(X), sample_weight=weight)
    trees = WeightedVotingClassifier(TWO).fit(X, Y)
    assert trees.score(X, Y, weight) == accuracy_score(Y, trees.predict(X), sample_weight=weight)
    with pytest.raises(TypeError, match="score method of PoissonRegressor does not score what predict returns"):
        WeightedVotingRegressor([("a", PoissonRegressor())]).fit(X, target).score(X, target)


def test_weights_of_rows_with_and_without_routing():
    weight = np.repeat([0.0, 1.0, 1.0], 50)
    without = WeightedVotingClassifier(TWO).fit(X, Y, sample_weight=weight)
    assert set(without.predict(X)) == {1, 2}
    with sklearn.config_context(enable_metadata_routing=True):
        asking = [(name, one.set_fit_request(sample_weight=name == "nb")) for name, one in clone(TWO, safe=False)]
        routed = WeightedVotingClassifier(asking).fit(X, Y, sample_weight=weight)
    assert_allclose(routed.estimators_[0].class_prior_, without.estimators_[0].class_prior_)
    assert 0 in routed.estimators_[1].predict(X)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"weights": [1]}, "must be a finite number of at least 0 for each of its 2 estimators"),
        ({"weights": [1, -1]}, "not 0 for all. Got"),
        ({"weights": [0, 0]}, "not 0 for all. Got"),
        ({"weights": [1, np.inf]}, "must be a finite number"),
        ({"weights": 3}, "'weights' parameter of WeightedVotingClassifier must be an array-like"),
        ({"estimators": []}, "non-empty list"),
        ({"estimators": [("a", Ridge())]}, "should be a classifier"),
        ({"estimators": [("a", "drop"), *TWO[:1]]}, "not to vote a weight of 0"),
    ],
)
def test_what_it_refuses(params, says):
    with pytest.raises(ValueError, match=says):
        WeightedVotingClassifier(TWO).set_params(**params).fit(X, Y)


def test_what_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError):
        WeightedVotingClassifier.from_fitted(TWO)
    with pytest.raises(ValueError, match="each of its 1 estimators"):
        WeightedVotingRegressor.from_fitted([("a", Ridge().fit(X, Y))], weights=[1, 2])
