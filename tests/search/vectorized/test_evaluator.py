"""Candidates that are trained side by side score as alone, and are given up by their curves."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from joblib import Parallel, delayed, parallel_backend
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from skreg._crew import _shares, workers_of
from skreg._heat import Start
from skreg._quick_scores import quick_score

from skreg import OptunaSearchCV, RegularizedMLPClassifier, RegularizedMLPRegressor, _heat, _joint, _race

X, Y = make_classification(200, 6, n_informative=4, random_state=0)
SMALL = {"hidden_layer_sizes": (16,), "max_iter": 8, "n_members": 2, "random_state": 0, "dropout": 0.0}
NET = RegularizedMLPClassifier(**SMALL, calibrate=None)
RATES = {"learning_rate_init": stats.loguniform(1e-3, 0.1)}
NONE = optuna.pruners.NopPruner()


def search_of(estimator=NET, distributions=RATES, **params):
    """A search in which the candidates do not depend on the scores."""
    given = {"n_trials": 6, "cv": 3, "pruner": NONE, "sampler": optuna.samplers.RandomSampler(0), "refit": False}
    return OptunaSearchCV(estimator, distributions, **{**given, "scoring": "neg_log_loss", **params})


def scores_of(search):
    results = search.cv_results_
    splits = [name for name in results if name.startswith("split")]
    return np.stack([results[name] for name in sorted(splits)])


class Joints:
    """Counts the nets and their members."""

    def __init__(self, monkeypatch):
        self.members = []
        original = _joint.JointNet.of

        def of(entrants):
            joint = original(entrants)
            self.members.append(joint.module_.n_members)
            return joint

        monkeypatch.setattr(_joint.JointNet, "of", of)


@pytest.fixture
def joints(monkeypatch):
    """All that can be members of one net are."""
    monkeypatch.setattr(_race, "MEMBERS_APART", 1000)
    monkeypatch.setattr(_heat, "MEMBERS_AT_ONCE", 1000)
    return Joints(monkeypatch)


# the law: it is no other algorithm


@pytest.mark.parametrize(
    ("estimator", "space", "n_nets"),
    [
        (NET, RATES, 1),
        (NET, {"alpha": stats.loguniform(1e-6, 0.1), "l1_ratio": stats.uniform(0, 1), "max_norm": [None, 0.5]}, 1),
        (NET, {"hidden_layer_sizes": [(8,), (8, 8)], "weight_decay": stats.uniform(0, 1)}, 2),
        (NET, {"activation": ["relu", "tanh"], "max_iter": [4, 8], "alpha": stats.uniform(0, 0.01)}, 3),
        (clone(NET).set_params(early_stopping=False, n_members=1), RATES, 1),
        (make_pipeline(StandardScaler(), NET), {"regularizedmlpclassifier__ema_decay": [0.0, 0.9]}, 1),
    ],
)
def test_a_candidate_scores_as_alone(estimator, space, n_nets, joints):
    beside = search_of(estimator, space, return_train_score=True).fit(X, Y)
    assert len(joints.members) == n_nets
    alone = search_of(estimator, space, return_train_score=True, vectorize=False).fit(X, Y)
    assert len(joints.members) == n_nets
    assert beside.cv_results_["params"] == alone.cv_results_["params"]
    assert set(beside.cv_results_) == set(alone.cv_results_)
    assert_allclose(scores_of(beside), scores_of(alone), atol=1e-4)
    assert (beside.cv_results_["mean_fit_time"] > 0).all()


def test_numbers_score_as_alone():
    rows, target = make_regression(200, 5, noise=10, random_state=0)
    space = {"learning_rate_init": stats.loguniform(1e-3, 0.1), "label": ["x"]}
    del space["label"]
    net = RegularizedMLPRegressor(**SMALL)
    beside, alone = (
        search_of(net, space, scoring=None, vectorize=vectorize).fit(rows, target) for vectorize in (True, False)
    )
    assert_allclose(scores_of(beside), scores_of(alone), atol=1e-4)


def test_folds_of_another_layout_are_another_net(joints):
    frame = pd.DataFrame(X[:, :3], columns=list("abc"))
    frame["rare"] = np.where(np.arange(len(X)) < 3, "rare", np.where(X[:, 3] > 0, "x", "y"))
    given = {"cv": KFold(4), "n_trials": 3}
    beside = search_of(**given).fit(frame, Y)
    assert sorted(joints.members) == [6, 18], "the first fold has seen two levels, the others three"
    alone = search_of(vectorize=False, **given).fit(frame, Y)
    assert_allclose(scores_of(beside), scores_of(alone), atol=1e-4)


def test_weights_of_the_rows():
    weight = np.random.default_rng(0).uniform(0.5, 2, len(Y))
    beside, alone = (search_of(vectorize=v).fit(X, Y, sample_weight=weight) for v in ("auto", False))
    assert_allclose(scores_of(beside), scores_of(alone), atol=1e-4)
    plain = search_of().fit(X, Y)
    assert not np.allclose(scores_of(plain), scores_of(beside), atol=1e-4)


@pytest.mark.parametrize("pruner", [NONE, optuna.pruners.SuccessiveHalvingPruner(1, 2), optuna.pruners.MedianPruner(2)])
def test_the_bits_do_not_depend_on_the_workers(pruner):
    """Nor who is given up, nor what the sampler makes of it."""
    space = {"activation": ["relu", "tanh"], **RATES}
    given = {"pruner": pruner, "sampler": None, "random_state": 0, "n_trials": 14}
    alone, two = (search_of(NET, space, n_jobs=jobs, **given).fit(X, Y) for jobs in (None, 2))
    assert two.cv_results_["params"] == alone.cv_results_["params"]
    assert_array_equal(scores_of(two), scores_of(alone))
    curves = [[trial.intermediate_values for trial in search.study_.trials] for search in (alone, two)]
    assert curves[0] == curves[1]


def test_how_many_nets():
    """One, or as many as keep two workers alike busy; of wide layers each member is its own."""
    assert [_race._n_parts(members, 32) for members in (5, 23, 24, 50, 64, 65, 160)] == [1, 1, 2, 2, 2, 4, 6]
    assert [_race._n_parts(50, room) for room in (5, 1)] == [10, 50]
    assert [_heat.members_at_once(weights) for weights in (0, 2300, 19_000, 74_000, 10**6)] == [32, 32, 5, 1, 1]


def test_workers_have_alike_to_do_also_when_half_are_given_up():
    parts = {number: {fold: (5 * number + fold) % 10 for fold in range(5)} for number in range(10)}
    starts = [Start(number, None, 0, 0, parts[number], {}) for number in range(10)]
    shares = _shares(starts, dict.fromkeys(range(10), 1.0), 2)
    for gone in (set(), {0, 2, 4, 6, 8}, {0, 1, 2, 3, 4}):
        loads = [sum(len(start.parts) for start in share if start.number not in gone) for share in shares]
        assert abs(loads[0] - loads[1]) <= 5
        assert sum(loads) == 50 - 5 * len(gone)
    unequal = _shares([Start(0, None, 0, 0, {0: 0, 1: 1, 2: 2}, {})], {0: 3.0, 1: 1.0, 2: 1.5}, 2)
    assert [[list(start.parts) for start in share] for share in unequal] == [[[0]], [[1, 2]]]


def test_what_has_no_room_waits(monkeypatch, joints):
    many = search_of().fit(X, Y)
    monkeypatch.setattr(_heat, "MEMBERS_AT_ONCE", 18)
    some = search_of().fit(X, Y)
    monkeypatch.setattr(_heat, "MEMBERS_AT_ONCE", 1000)
    for module in (_race, _heat):
        monkeypatch.setattr(module, "BYTES", 1)
    one = search_of().fit(X, Y)
    assert joints.members == [36, 18, 18, *[6] * 6]
    assert_allclose(scores_of(some), scores_of(many), atol=1e-6)
    assert_allclose(scores_of(one), scores_of(many), atol=1e-6)


class Counting(TransformerMixin, BaseEstimator):
    fits = 0

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y=None):
        Counting.fits += 1
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.asarray(X) * self.factor


def test_the_steps_before_are_fitted_once_per_fold():
    Counting.fits = 0
    pipeline = Pipeline([("before", Counting()), ("net", NET)])
    search_of(pipeline, {"net__alpha": stats.loguniform(1e-6, 0.1)}, refit=True).fit(X, Y)
    assert Counting.fits == 3 + 1, "and once for the last fit"
    Counting.fits = 0
    search = search_of(pipeline, {"net__alpha": [1e-3], "before__factor": [1.0, 2.0]}, refit=True).fit(X, Y)
    values = [params["before__factor"] for params in search.cv_results_["params"]]
    assert set(values) == {1.0, 2.0}
    assert Counting.fits == 3 * 2 + 1, "and a repeated candidate is not fitted again"


def test_folds_whose_outputs_differ_in_width(joints):
    rows = np.c_[X, np.arange(len(X)) < 10]  # constant in all training rows but of the folds that have these
    pipeline = make_pipeline(VarianceThreshold(), SelectKBest(k="all"), NET)
    space = {"regularizedmlpclassifier__alpha": stats.loguniform(1e-6, 0.1)}
    given = {"cv": KFold(4), "n_trials": 2}
    beside, alone = (search_of(pipeline, space, vectorize=v, **given).fit(rows, Y) for v in (True, False))
    assert len(joints.members) == 2
    assert_allclose(scores_of(beside), scores_of(alone), atol=1e-4)


# pruning


@pytest.mark.parametrize("scoring", ["neg_log_loss", None, "roc_auc"])
def test_the_curve_is_the_score_of_each_epoch(scoring):
    never = optuna.pruners.ThresholdPruner(lower=-1e9)
    search = search_of(pruner=never, scoring=scoring, n_trials=4).fit(X, Y)
    for trial, score in zip(search.study_.trials, search.cv_results_["mean_test_score"], strict=True):
        curve = trial.intermediate_values
        assert list(curve) == list(range(1, 9))
        assert curve[8] == pytest.approx(score, abs=1e-4)
        assert len(set(curve.values())) > 1


def test_by_itself_it_prunes_by_successive_halving():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        search = search_of(clone(NET).set_params(max_iter=30), n_trials=24, pruner=None, scoring=None).fit(X, Y)
    states = [trial.state.name for trial in search.study_.trials]
    pruned = np.array([state == "PRUNED" for state in states])
    assert 4 < pruned.sum() < 24
    assert set(states) == {"PRUNED", "COMPLETE"}
    results = search.cv_results_
    assert_array_equal(np.isnan(results["mean_test_score"]), pruned)
    assert set(results["rank_test_score"][pruned]) == {results["rank_test_score"].max()}
    assert {max(t.intermediate_values) for t in search.study_.trials if t.state.name == "PRUNED"} <= {6, 12, 24}
    assert search.best_score_ == np.nanmax(results["mean_test_score"])


def test_who_is_left_is_not_disturbed():
    whole = search_of(n_trials=12).fit(X, Y)
    pruned = search_of(n_trials=12, pruner=optuna.pruners.SuccessiveHalvingPruner(1, 3)).fit(X, Y)
    left = np.isfinite(pruned.cv_results_["mean_test_score"])
    assert 0 < left.sum() < 12
    assert_allclose(scores_of(pruned)[:, left], scores_of(whole)[:, left], atol=1e-4)


@pytest.mark.parametrize("pruner", [None, NONE])
@pytest.mark.parametrize(
    "cv",
    [KFold(4), KFold(4, shuffle=True), StratifiedKFold(4), GroupKFold(4), TimeSeriesSplit(4)],
    ids=["KFold", "shuffled", "stratified", "groups", "time"],
)
def test_random_labels_score_at_chance(cv, pruner):
    rng = np.random.default_rng(0)
    rows, labels, groups = rng.normal(size=(400, 5)), rng.integers(0, 2, 400), rng.integers(0, 20, 400)
    net = RegularizedMLPClassifier((16,), max_iter=12, n_members=1, random_state=0)
    space = {"learning_rate_init": stats.loguniform(1e-3, 0.1), "alpha": stats.loguniform(1e-6, 0.1)}
    search = search_of(net, space, cv=cv, pruner=pruner, n_trials=25, scoring=None)
    search.fit(rows, labels, groups=groups if isinstance(cv, GroupKFold) else None)
    assert 0.4 < search.best_score_ < 0.61  # 3 standard errors of 400 labels, and the best of 25


# manners


def test_what_cannot_train_beside_others_goes_alone(joints):
    space = {"solver": ["adamw", "lbfgs"], "alpha": stats.loguniform(1e-3, 1e-2)}
    net = clone(NET).set_params(n_members=1, weight_decay=0.0)
    search = search_of(net, space, n_trials=8).fit(X, Y)
    solvers = [params["solver"] for params in search.cv_results_["params"]]
    assert sum(joints.members) == 3 * solvers.count("adamw")
    assert solvers.count("lbfgs") > 0
    alone = search_of(net, space, n_trials=8, vectorize=False).fit(X, Y)
    assert_allclose(scores_of(search), scores_of(alone), atol=1e-4)


def test_other_estimators_are_refused_or_go_fold_by_fold(joints):
    space = {"C": stats.loguniform(1e-3, 10)}
    search_of(LogisticRegression(), space).fit(X, Y)
    with pytest.raises(ValueError, match="vectorize=True trains candidates as members of one net"):
        search_of(LogisticRegression(), space, vectorize=True).fit(X, Y)
    with pytest.raises(ValueError, match="The 'vectorize' parameter"):
        search_of(vectorize="yes").fit(X, Y)
    assert not joints.members


@pytest.mark.parametrize("bad", [{"alpha": -1}, {"hidden_layer_sizes": "x"}, {"batch_norm": True, "layer_norm": True}])
def test_a_candidate_that_fails_counts_and_disturbs_nobody(bad):
    fails = [{"alpha": 1e-3, **(bad if number == 1 else {})} for number in range(4)]
    given = {"n_trials": 4, "scoring": "neg_log_loss"}
    with pytest.warns(FitFailedWarning, match="3 fits failed"):
        search = search_of(NET, lambda trial: fails[trial.number], **given).fit(X, Y)
    assert_array_equal(np.isnan(search.cv_results_["mean_test_score"]), [False, True, False, False])
    assert search.study_.trials[1].state.name == "FAIL"
    with pytest.raises((ValueError, TypeError)):
        search_of(NET, lambda trial: fails[trial.number], error_score="raise", **given).fit(X, Y)


def test_one_that_diverges_disturbs_nobody():
    net = clone(NET).set_params(solver="sgd", weight_decay=0.0)
    rates = [0.01, 1e25, 0.02]
    given = {"n_trials": 3, "scoring": "neg_log_loss"}

    def space(wild):
        return lambda trial: {"learning_rate_init": rates[trial.number] if wild else min(rates[trial.number], 0.01)}

    with pytest.warns((FitFailedWarning, ConvergenceWarning), match="3 fits failed|diverged"):
        wild = search_of(net, space(True), **given).fit(X, Y)
    alone = search_of(net, {"learning_rate_init": [0.01]}, n_trials=1).fit(X, Y)
    assert np.isnan(wild.cv_results_["mean_test_score"][1])
    assert_allclose(scores_of(wild)[:, 0], scores_of(alone)[:, 0], atol=1e-4)
    assert np.isfinite(wild.cv_results_["mean_test_score"][2])


def test_an_error_on_the_way_is_the_fit_s_own():
    def broken(inputs, generator):
        raise RuntimeError("an augmentation that fails")

    space = [{"augmentation": broken}, {"alpha": 0.01}, {"alpha": 0.02}]
    with pytest.warns(FitFailedWarning, match="an augmentation that fails"):
        search = search_of(NET, lambda trial: space[trial.number], n_trials=3).fit(X, Y)
    assert_array_equal(np.isnan(search.cv_results_["mean_test_score"]), [True, False, False])


def test_the_time_is_respected_within_an_epoch():
    """What is under way when the time is over ends where it stands if there is no other result."""
    net = clone(NET).set_params(max_iter=100_000, early_stopping=False)
    began = time.perf_counter()
    search = search_of(net, timeout=1.0, n_trials=1000).fit(X, Y)
    assert time.perf_counter() - began < 6
    assert np.isfinite(search.best_score_)
    assert len(search.cv_results_["params"]) == 10
    assert len(search_of(timeout=0).fit(X, Y).cv_results_["params"]) == 6


def test_what_is_under_way_when_the_time_is_over_is_let_go():
    def space(trial):
        return {"max_iter": 2 if trial.number == 0 else 100_000, "early_stopping": False}

    search = search_of(NET, space, timeout=1.0, n_trials=4).fit(X, Y)
    assert [params["max_iter"] for params in search.cv_results_["params"]] == [2]
    assert [trial.state.name for trial in search.study_.trials] == ["COMPLETE", "FAIL", "FAIL", "FAIL"]


def test_an_interrupt_keeps_what_is_there(monkeypatch):
    def space(trial):
        return {"max_iter": 2 if trial.number < 2 else 50}

    original, epochs = _joint.JointNet.train_epoch, []

    def train_epoch(joint):
        epochs.append(joint)
        if joint.epoch_ == 5:
            raise KeyboardInterrupt
        original(joint)

    monkeypatch.setattr(_joint.JointNet, "train_epoch", train_epoch)
    search = search_of(NET, space, n_trials=4)
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, Y)
    assert [params["max_iter"] for params in search.cv_results_["params"]] == [2, 2]
    assert np.isfinite(search.best_score_)
    assert "RUNNING" not in {trial.state.name for trial in search.study_.trials}


def test_several_metrics():
    scoring = ["accuracy", "neg_log_loss"]
    given = {"scoring": scoring, "refit": "neg_log_loss", "n_trials": 12}
    search = search_of(pruner=optuna.pruners.SuccessiveHalvingPruner(1, 3), **given).fit(X, Y)
    assert search.best_score_ == np.nanmax(search.cv_results_["mean_test_neg_log_loss"])
    assert np.isnan(search.cv_results_["mean_test_accuracy"]).sum() > 0
    assert min(min(trial.intermediate_values.values()) for trial in search.study_.trials) < 0, "of the log loss"


def test_the_cocktail_side_by_side(joints):
    search = OptunaSearchCV(NET, n_trials=6, cv=3, random_state=0).fit(X, Y)
    assert search.cv_results_["params"][0] == {
        name: value for name, value in search.cv_results_["params"][0].items() if value == getattr(NET, name)
    }
    assert len(joints.members) > 1
    assert search.predict(X).shape == Y.shape


def test_nested_in_cross_validation():
    search = search_of(clone(NET).set_params(max_iter=4), refit=True, n_trials=3)
    assert cross_val_predict(search, X, Y, cv=2).shape == Y.shape


# quick scores


@pytest.mark.parametrize("name", ["accuracy", "neg_log_loss"])
def test_quick_scores_of_labels_are_scikit_learns(name):
    net = clone(NET).fit(X[:100], Y[:100])
    scorer = get_scorer(name)
    quick = quick_score(scorer, net, Y)
    assert quick(net, X, Y) == pytest.approx(scorer(net, X, Y), rel=1e-6)
    three, texts = np.arange(len(Y)) % 3, np.array(["c", "a", "b"])
    net = clone(NET).fit(X, texts[three])
    assert quick(net, X, texts[three]) == pytest.approx(scorer(net, X, texts[three]), rel=1e-6)


@pytest.mark.parametrize("name", ["r2", "neg_mean_squared_error", "neg_root_mean_squared_error"])
def test_quick_scores_of_numbers_are_scikit_learns(name):
    rows, target = make_regression(100, 4, noise=5, random_state=0)
    net = RegularizedMLPRegressor(**SMALL).fit(rows, target)
    scorer = get_scorer(name)
    assert quick_score(scorer, net, target)(net, rows, target) == pytest.approx(scorer(net, rows, target), rel=1e-6)


def test_other_scores_are_not_quick():
    assert quick_score(get_scorer("roc_auc"), NET, Y) is None
    assert quick_score(get_scorer("f1"), NET, Y) is None
    assert quick_score(get_scorer("accuracy"), NET, np.c_[Y, Y]) is None


# workers


def test_where_joblib_begins_no_processes_there_is_one_worker():
    assert workers_of(3) == 3
    with parallel_backend("threading"):
        assert workers_of(3) == 1
    assert Parallel(n_jobs=2)(delayed(workers_of)(3) for _ in range(2)) == [1, 1]
    found = []
    thread = threading.Thread(target=lambda: found.append(workers_of(3)))
    thread.start()
    thread.join()
    assert found == [1]


def forever(**params):
    """A search that no one waits for."""
    net = clone(NET).set_params(max_iter=10**6, early_stopping=False)
    return search_of(net, n_jobs=2, n_trials=1000, **params)


def of_workers(search, n_trials=8, **params):
    return search.set_params(n_jobs=2, n_trials=n_trials, **params)


def test_several_metrics_of_workers():
    scoring = ["accuracy", "neg_log_loss", "roc_auc"]
    given = {"scoring": scoring, "refit": "roc_auc", "return_train_score": True, "n_trials": 8}
    alone, two = (search_of(n_jobs=jobs, **given).fit(X, Y) for jobs in (None, 2))
    for name in (name for name in alone.cv_results_ if name.endswith("_score") or "test_" in name or "train_" in name):
        assert_array_equal(two.cv_results_[name], alone.cv_results_[name], err_msg=name)
    assert two.best_index_ == alone.best_index_
    assert_array_equal(two.predict_proba(X), alone.predict_proba(X))


@pytest.mark.parametrize("pruner", [NONE, optuna.pruners.ThresholdPruner(lower=-1e9)])
def test_the_time_is_respected_by_workers(pruner):
    of_workers(search_of()).fit(X, Y)  # they are there
    began = time.perf_counter()
    search = forever(pruner=pruner, timeout=1.0).fit(X, Y)
    assert time.perf_counter() - began < 8
    assert len(search.cv_results_["params"]) == 10
    assert np.isfinite(search.best_score_)


def test_failures_and_errors_of_workers():
    fails = [{"alpha": 1e-3, **({"alpha": -1} if number == 1 else {})} for number in range(8)]
    with pytest.warns(FitFailedWarning, match="3 fits failed"):
        search = of_workers(search_of(NET, lambda trial: fails[trial.number])).fit(X, Y)
    assert np.isnan(search.cv_results_["mean_test_score"]).sum() == 1

    def scorer(estimator, X, y):
        raise ValueError("a scorer that fails")

    with pytest.raises(ValueError, match="a scorer that fails"):
        of_workers(search_of(scoring=scorer), error_score="raise").fit(X, Y)

    def broken(inputs, generator):
        raise RuntimeError("an augmentation that fails")

    space = [{"augmentation": broken}, *({"alpha": 0.01 * number} for number in range(1, 8))]
    with pytest.warns(FitFailedWarning, match="an augmentation that fails"):
        search = of_workers(search_of(NET, lambda trial: space[trial.number])).fit(X, Y)
    assert_array_equal(np.isnan(search.cv_results_["mean_test_score"]), [True, *[False] * 7])


def pids(seconds=0.5):
    """The processes that joblib has for two workers."""
    return set(Parallel(n_jobs=2)(delayed(own_pid)(seconds) for _ in range(2)))


def own_pid(seconds):
    time.sleep(seconds)
    return os.getpid()


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_worker_that_is_killed_ends_the_search_and_not_the_study():
    storage = optuna.storages.InMemoryStorage()
    given = {"storage": storage, "study_name": "killed", "pruner": optuna.pruners.ThresholdPruner(lower=-1e9)}
    net = clone(NET).set_params(max_iter=300, early_stopping=False)
    workers = pids()
    threading.Timer(0.7, os.kill, (min(workers), signal.SIGKILL)).start()
    with pytest.raises(RuntimeError, match="terminat"):
        of_workers(search_of(net, **given)).fit(X, Y)
    search = of_workers(search_of(net.set_params(max_iter=300), **given)).fit(X, Y)
    assert len(search.cv_results_["params"]) == 8
    assert {trial.state.name for trial in search.study_.trials} == {"COMPLETE", "FAIL"}


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts as POSIX does")
def test_an_interrupt_of_workers_keeps_what_is_there():
    """First of the process, then of its workers too, as a terminal does it."""
    code = """if True:
        from test_race import *

        def space(trial):
            return {"max_iter": 2 if trial.number < 6 else 10**6, "early_stopping": False, "alpha": 0.01 * trial.number}

        pids()
        for interrupt in (os.kill, os.killpg):
            search = search_of(NET, space, n_jobs=2, n_trials=10)
            threading.Timer(4, interrupt, (os.getpid(), signal.SIGINT)).start()
            try:
                search.fit(X, Y)
            except KeyboardInterrupt:
                print(len(search.cv_results_["params"]), *sorted({trial.state.name for trial in search.study_.trials}))
        print(len(search_of(n_jobs=2).fit(X, Y).cv_results_["params"]))
    """
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=120,
        check=True,
    )
    assert found.stdout.split() == [*["6", "COMPLETE", "FAIL"] * 2, "6"]


def busy(pid):
    """Ticks of the processor that a process has had; None once it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return sum(map(int, stat.rpartition(")")[2].split()[11:13]))


def idle(workers):
    before = [busy(pid) for pid in workers]
    time.sleep(0.5)
    return all(now is None or now - was <= 2 for was, now in zip(before, map(busy, workers), strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how busy a process is")
def test_no_worker_trains_for_a_parent_that_is_no_more():
    code = "from test_race import *; print(*pids(), flush=True); forever().fit(X, Y)"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    wait_for(lambda: not idle(workers) and not idle(workers))
    process.kill()
    process.wait(timeout=30)
    wait_for(lambda: idle(workers) and idle(workers))
    for pid in workers:  # joblib would keep them for some minutes
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
