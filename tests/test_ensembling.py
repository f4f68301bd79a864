"""The ensemble of a search: who is kept, how the choice is made, what is reported of it, and what it goes with."""

import pickle
import warnings

import numpy as np
import optuna
import pytest
import sklearn
from joblib import parallel_backend
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skreg import (
    OptunaSearchCV,
    RegularizedMLPClassifier,
    RegularizedMLPRegressor,
    _ensembling,
)
from skreg._ensembling import Contender, Keeper, best_of, greedy

X, Y = load_iris(return_X_y=True)
SPACE = {
    "max_depth": stats.randint(1, 12),
    "min_samples_leaf": stats.randint(1, 30),
    "max_features": stats.uniform(0.1, 0.9),
}
TINY = {"hidden_layer_sizes": (4,), "max_iter": 3, "n_members": 1, "random_state": 0}
GOOD = np.random.default_rng(0).permutation(150)


def search_of(estimator=None, distributions=SPACE, **params):
    given = {"n_trials": 8, "cv": StratifiedKFold(3, shuffle=True, random_state=0), "random_state": 0, **params}
    tree = DecisionTreeClassifier(random_state=0) if estimator is None else estimator
    return OptunaSearchCV(tree, distributions, refit="ensemble", **given)


# the choice


def test_the_keeper_keeps_the_best():
    keeper = Keeper(most=2)
    for number, score in enumerate([0.5, 0.7, 0.5, np.nan, 0.9, 0.7]):
        keeper.add(number, score, [f"estimator {number}"])
    keeper.add(6, 2.0, None)
    assert [number for number in range(7) if keeper.get(number)] == [1, 4]
    assert keeper.get(4) == ["estimator 4"]
    assert keeper.wants(0.8)
    assert not keeper.wants(0.6)
    assert not keeper.wants(np.nan)


def test_the_best_of_equal_ones_are_the_first():
    some = [Contender(number, {}, score) for number, score in [(3, 0.5), (1, 0.7), (2, 0.5), (0, 0.5)]]
    assert [one.number for one in best_of(some, 3)] == [1, 0, 2]


def test_the_greedy_choice_finds_the_mean_of_two_that_err_apart():
    """Two that err in different directions, one that adds nothing, and many that do badly."""
    truth = np.zeros(2)
    said = np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], *[[3.0, 3.0]] * 20])
    counts = greedy(lambda counts: -np.abs(counts @ said / counts.sum() - truth).sum(), len(said))
    assert_array_equal(counts, [1, 1, *[0] * 21])


def test_the_greedy_choice_takes_fewer_of_equal_ones():
    assert_array_equal(greedy(lambda counts: 1.0, 9), [1, *[0] * 8])
    assert_array_equal(greedy(lambda counts: -abs(counts[1] / counts.sum() - 0.75), 2), [1, 3])


# what is reported


@pytest.mark.parametrize(
    "cv", [KFold(5), KFold(5, shuffle=True), StratifiedKFold(5), GroupKFold(5), TimeSeriesSplit(5)], ids=type
)
def test_random_labels_score_at_chance(cv):
    rng = np.random.default_rng(1)
    rows, labels, groups = rng.normal(size=(400, 5)), rng.integers(0, 2, 400), rng.integers(0, 20, 400)
    sampler = optuna.samplers.RandomSampler(seed=1)
    search = search_of(cv=cv, n_trials=10, sampler=sampler)
    search.fit(rows, labels, groups=groups if isinstance(cv, GroupKFold) else None)
    assert 0.42 < search.ensemble_score_ < 0.58  # 3 standard errors of 400 labels


def test_it_is_better_than_the_best_candidate():
    """By its own score, and on rows that nobody has seen."""
    rows, labels = load_breast_cancer(return_X_y=True)
    search = search_of(scoring="neg_log_loss", n_trials=12).fit(rows[:350], labels[:350])
    assert search.ensemble_score_ > search.best_score_
    alone = clone_of_best(search).fit(rows[:350], labels[:350])
    assert search.score(rows[350:], labels[350:]) > search.scorer_(alone, rows[350:], labels[350:])
    rows, numbers = load_diabetes(return_X_y=True)
    search = search_of(DecisionTreeRegressor(random_state=0), cv=5, n_trials=15).fit(rows[:300], numbers[:300])
    assert isinstance(search.best_estimator_, VotingRegressor)
    assert search.ensemble_score_ > search.best_score_
    alone = clone_of_best(search).fit(rows[:300], numbers[:300])
    assert search.score(rows[300:], numbers[300:]) > alone.score(rows[300:], numbers[300:])


def clone_of_best(search):
    return type(search.estimator)(random_state=0, **search.best_params_)


def test_the_score_is_of_weights_that_other_folds_chose(monkeypatch):
    """Whose rows are never among those on which they are chosen, also where splits overlap."""
    chosen_on, judged = [], []
    score = _ensembling.EncodedTable.score

    def validation(part, counts):
        (judged if validation.choosing is None else validation.choosing).append(part._X[:, 0])
        return score(part, counts)

    def choose(judge, n):
        validation.choosing = []
        counts = greedy(judge, n)
        chosen_on.append(np.unique(np.concatenate(validation.choosing)))
        validation.choosing = None
        return counts

    validation.choosing = None
    monkeypatch.setattr(_ensembling.EncodedTable, "score", validation)
    monkeypatch.setattr(_ensembling, "greedy", choose)
    rows = np.column_stack([np.arange(150.0), X])  # numbered
    for cv in (KFold(3, shuffle=True), RepeatedKFold(n_splits=3, n_repeats=2), ShuffleSplit(3)):
        chosen_on.clear(), judged.clear()
        search_of(cv=cv, n_trials=3).fit(rows, Y)
        assert len(judged) == len(chosen_on) - 1 == cv.get_n_splits()
        for own, others in zip(judged, chosen_on[1:], strict=True):
            assert len(own)
            assert len(others)
            assert not set(own) & set(others)


def test_one_split_has_no_such_score():
    search = search_of(cv=ShuffleSplit(1, random_state=0)).fit(X, Y)
    assert np.isnan(search.ensemble_score_)
    assert search.score(X, Y) > 0.9


def test_attributes():
    search = search_of(n_trials=10).fit(X[GOOD], Y[GOOD])
    weights = search.ensemble_weights_
    assert weights.shape == (10,)
    assert weights.sum() == pytest.approx(1)
    assert search.best_score_ == search.cv_results_["mean_test_score"].max() == search.study_.best_value
    assert search.best_params_ == search.cv_results_["params"][search.best_index_]
    voting = search.best_estimator_
    assert isinstance(voting, VotingClassifier)
    names = [f"trial{number}_fold{fold}" for number in np.flatnonzero(weights) for fold in range(3)]
    assert sorted(name for name, _ in voting.estimators) == sorted(names)
    of_trials = {name: weight for (name, _), weight in zip(voting.estimators, voting.weights, strict=True)}
    assert_allclose([of_trials[name] for name in names], np.repeat(weights[weights > 0], 3) / 3)
    assert_array_equal(search.classes_, [0, 1, 2])
    assert search.n_features_in_ == 4
    assert search.refit_time_ > 0
    assert_array_equal(pickle.loads(pickle.dumps(search)).predict(X), search.predict(X))
    assert not hasattr(search.set_params(refit=True).fit(X, Y), "ensemble_score_")


def test_in_cross_validation():
    assert cross_val_score(search_of(n_trials=3), X, Y, cv=2).min() > 0.85


# kills, workers


def test_a_study_that_went_on_has_the_same_ensemble(tmp_path):
    """Candidates of an earlier run, or of other processes, are fitted again; so are those of a search without."""
    whole = search_of().fit(X, Y)
    stored = {"storage": str(tmp_path / "study.db"), "study_name": "one"}
    search_of(n_trials=3, **stored).fit(X, Y)
    search_of(n_trials=6, **stored).set_params(refit=True).fit(X, Y)
    gone_on = search_of(**stored).fit(X, Y)
    over = search_of(**stored).fit(X, Y)
    for other in (gone_on, over):
        assert_array_equal(other.ensemble_weights_, whole.ensemble_weights_)
        assert other.ensemble_score_ == whole.ensemble_score_
        assert_array_equal(other.predict_proba(X), whole.predict_proba(X))


def test_few_are_kept(monkeypatch):
    """And the same as without a keeper."""
    monkeypatch.setattr(_ensembling.Keeper.__init__, "__defaults__", (3,))
    monkeypatch.setattr(_ensembling.best_of, "__defaults__", (3,))
    search = search_of().fit(X, Y)
    monkeypatch.setattr(_ensembling.Keeper, "get", lambda keeper, number: None)
    again = search_of().fit(X, Y)
    assert np.count_nonzero(search.ensemble_weights_) <= 3
    assert_array_equal(search.ensemble_weights_, again.ensemble_weights_)
    assert_array_equal(search.predict_proba(X), again.predict_proba(X))


def test_workers_and_a_pruner():
    alone, two = (search_of(n_jobs=jobs, n_trials=8).fit(X, Y) for jobs in (None, 2))
    with parallel_backend("threading"):
        threads = search_of(n_jobs=2, n_trials=8).fit(X, Y)
    assert_array_equal(alone.ensemble_weights_, two.ensemble_weights_)
    for other in (two, threads):
        assert_array_equal(alone.predict_proba(X), other.predict_proba(X))
    pruned = search_of(pruner=optuna.pruners.MedianPruner(2), n_trials=12).fit(X, Y)
    lost = np.array([trial.state.name == "PRUNED" for trial in pruned.study_.trials])
    assert lost.any()
    assert not pruned.ensemble_weights_[lost].any()


def test_networks_of_workers():
    given = {"n_trials": 4, "scoring": "neg_log_loss"}
    network = RegularizedMLPClassifier(**TINY)
    alone, two = (
        search_of(network, {"learning_rate_init": [0.01, 0.1, 0.2, 0.5]}, n_jobs=jobs, **given).fit(X, Y)
        for jobs in (None, 2)
    )
    assert_array_equal(alone.ensemble_weights_, two.ensemble_weights_)
    assert_array_equal(alone.predict_proba(X), two.predict_proba(X))
    assert two.ensemble_score_ == alone.ensemble_score_


# estimators


def test_pipelines_of_ours():
    network = RegularizedMLPClassifier(**TINY)
    space = {"regularizedmlpclassifier__dropout": stats.uniform(0, 0.5)}
    search = search_of(make_pipeline(StandardScaler(), network), space, n_trials=3, scoring="roc_auc_ovr").fit(X, Y)
    assert search.predict_proba(X).shape == (150, 3)
    assert_array_equal(pickle.loads(pickle.dumps(search)).predict_proba(X), search.predict_proba(X))


def test_several_quantiles():
    network = RegularizedMLPRegressor(**TINY, loss="quantile", quantile=[0.1, 0.5, 0.9])
    search = search_of(network, {"dropout": stats.uniform(0, 0.5)}, n_trials=3, cv=3).fit(X, X[:, 0])
    assert search.predict(X).shape == (150, 3)
    assert np.isfinite(search.ensemble_score_)
    assert np.isfinite(search.score(X, X[:, 0]))


def test_several_labels():
    labels = np.column_stack([Y > 0, Y > 1, Y == 1]).astype(int)
    search = search_of(cv=KFold(3, shuffle=True, random_state=0), n_trials=4).fit(X, labels)
    assert search.score(X, labels) > 0.9
    network = RegularizedMLPClassifier(**TINY)
    space = {"dropout": stats.uniform(0, 0.5)}
    ours = search_of(network, space, cv=3, n_trials=2, scoring="average_precision").fit(X[GOOD], labels[GOOD])
    assert set(np.unique(ours.predict(X))) <= {0, 1}


def test_a_fold_that_lacks_a_class():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = search_of(cv=KFold(3), n_trials=4).fit(X, Y)  # rows are sorted by class
    assert_array_equal(search.classes_, [0, 1, 2])
    assert all(len(tree.classes_) == 2 for tree in search.best_estimator_.estimators_)
    assert set(search.predict(X)) == {0, 1, 2}


def test_classifiers_without_probabilities_vote_with_labels():
    search = search_of(RidgeClassifier(), {"alpha": stats.loguniform(1e-3, 10)}, n_trials=4).fit(X, Y)
    assert search.score(X, Y) > 0.8
    assert not hasattr(search, "predict_proba")
    with pytest.raises(AttributeError, match="VotingClassifier has none of the following attributes"):
        search.set_params(scoring="roc_auc").fit(X, Y > 0)


def test_weights_go_to_the_scorer():
    """Rows that do not count for the score do not count for the ensemble's."""
    wrong = Y.copy()
    wrong[::3] = 0
    weight = np.ones(150)
    weight[::3] = 0
    with sklearn.config_context(enable_metadata_routing=True):
        tree = DecisionTreeClassifier(random_state=0)
        tree.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = search_of(tree, n_trials=4).fit(X, wrong, sample_weight=weight)
    assert search.ensemble_score_ > 0.85


def test_failures_are_not_in_it():
    space = {"C": [-1.0, 1.0, 2.0, 3.0]}
    with pytest.warns(FitFailedWarning):
        search = search_of(LogisticRegression(max_iter=500), space, n_trials=10, error_score=2.0).fit(X, Y)
    failed = np.array([params["C"] < 0 for params in search.cv_results_["params"]])
    assert failed.any()
    assert not search.ensemble_weights_[failed].any()


def test_an_interrupt_leaves_no_ensemble():
    def space(trial):
        if trial.number == 3:
            raise KeyboardInterrupt
        return {"max_depth": trial.suggest_int("max_depth", 1, 9)}

    search = search_of(distributions=space, cv=20)
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, Y)
    assert len(search.cv_results_["params"]) == 3
    with pytest.raises(NotFittedError):
        search.predict(X)


@pytest.mark.parametrize(
    ("search", "says"),
    [
        (search_of(KMeans(), {"n_clusters": [2, 3]}), "KMeans is neither. Take refit=True"),
        (search_of(scoring=["accuracy", "neg_log_loss"]), "for a single metric, by which the ensemble is chosen"),
        (
            search_of(scoring=lambda tree, rows, labels: tree.score(rows[:9], labels[:9])),
            "predictions of other rows than it is given",
        ),
        (search_of(Ridge(), {"alpha": [1.0]}, scoring=lambda *_: {"a": 1.0, "b": 1.0}), "for a single metric"),
    ],
)
def test_what_it_refuses(search, says):
    with pytest.raises(ValueError, match=says):
        search.fit(X, Y)
