"""Candidates that are trained side by side score as they do alone, and are pruned by their scores."""

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
from joblib import Parallel, delayed, parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skreg import OptunaSearchCV, RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.search.vectorized import evaluator, worker
from skreg.search.vectorized.stacked_net import StackedNet

X, Y = make_classification(200, 6, n_informative=4, random_state=0)
SMALL = {"hidden_layer_sizes": (16,), "max_iter": 8, "n_members": 2, "random_state": 0, "dropout": 0.0}
NET = RegularizedMLPClassifier(**SMALL, calibrate=None)
RATES = {"learning_rate_init": stats.loguniform(1e-3, 0.1)}
NO_PRUNING = optuna.pruners.NopPruner()
ROOT = Path(__file__).parents[3]


def search_of(estimator=NET, distributions=RATES, **params):
    """A search in which the candidates do not depend on the scores."""
    given = {"n_trials": 6, "cv": 3, "pruner": NO_PRUNING, "sampler": optuna.samplers.RandomSampler(0), "refit": False}
    return OptunaSearchCV(estimator, distributions, **{**given, "scoring": "neg_log_loss", **params})


def scores_of(search):
    results = search.cv_results_
    splits = [name for name in results if name.startswith("split")]
    return np.stack([results[name] for name in sorted(splits)])


class StackedNets:
    """Records the number of members of each stacked net."""

    def __init__(self, monkeypatch):
        self.members = []
        original = StackedNet.stack

        def stack(fits):
            net = original(fits)
            self.members.append(net.module_.n_members)
            return net

        monkeypatch.setattr(StackedNet, "stack", stack)


@pytest.fixture
def stacked_nets(monkeypatch):
    """Stack everything that can be members of one net."""
    monkeypatch.setattr(evaluator, "TWO_GROUPS", 1000)
    monkeypatch.setattr(worker, "MAX_MEMBERS_OF_NET", 1000)
    return StackedNets(monkeypatch)


# equality with fits that are trained alone


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
def test_candidates_score_as_fold_by_fold(estimator, space, n_nets, stacked_nets):
    stacked = search_of(estimator, space, return_train_score=True).fit(X, Y)
    assert len(stacked_nets.members) == n_nets
    alone = search_of(estimator, space, return_train_score=True, vectorize=False).fit(X, Y)
    assert len(stacked_nets.members) == n_nets
    assert stacked.cv_results_["params"] == alone.cv_results_["params"]
    assert set(stacked.cv_results_) == set(alone.cv_results_)
    assert_allclose(scores_of(stacked), scores_of(alone), atol=1e-4)
    assert (stacked.cv_results_["mean_fit_time"] > 0).all()


def test_regressor_scores_as_fold_by_fold():
    rows, target = make_regression(200, 5, noise=10, random_state=0)
    net = RegularizedMLPRegressor(**SMALL)
    stacked, alone = (
        search_of(net, scoring=None, vectorize=vectorize).fit(rows, target) for vectorize in (True, False)
    )
    assert_allclose(scores_of(stacked), scores_of(alone), atol=1e-4)


def test_folds_with_other_categories_are_another_net(stacked_nets):
    frame = pd.DataFrame(X[:, :3], columns=list("abc"))
    frame["rare"] = np.where(np.arange(len(X)) < 3, "rare", np.where(X[:, 3] > 0, "x", "y"))
    given = {"cv": KFold(4), "n_trials": 3}
    stacked = search_of(**given).fit(frame, Y)
    assert sorted(stacked_nets.members) == [6, 18]  # the first fold has two categories, the others three
    alone = search_of(vectorize=False, **given).fit(frame, Y)
    assert_allclose(scores_of(stacked), scores_of(alone), atol=1e-4)


def test_sample_weight():
    weight = np.random.default_rng(0).uniform(0.5, 2, len(Y))
    stacked, alone = (search_of(vectorize=v).fit(X, Y, sample_weight=weight) for v in ("auto", False))
    assert_allclose(scores_of(stacked), scores_of(alone), atol=1e-4)
    plain = search_of().fit(X, Y)
    assert not np.allclose(scores_of(plain), scores_of(stacked), atol=1e-4)


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize(
    "pruner",
    [
        NO_PRUNING,
        None,
        optuna.pruners.SuccessiveHalvingPruner(1, 2),
        optuna.pruners.MedianPruner(2),
        optuna.pruners.HyperbandPruner(1, 8, 3),
    ],
)
def test_results_do_not_depend_on_n_jobs_and_backend(pruner, backend):
    """Scores and curves have the same bits, the same candidates are pruned, and the sampler chooses the same ones."""
    space = {"activation": ["relu", "tanh"], **RATES}
    given = {"pruner": pruner, "sampler": None, "random_state": 0, "n_trials": 14, "study_name": "one"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        serial = search_of(NET, space, **given).fit(X, Y)
        with parallel_config(backend):
            parallel = search_of(NET, space, n_jobs=2, **given).fit(X, Y)
    assert parallel.cv_results_["params"] == serial.cv_results_["params"]
    assert_array_equal(scores_of(parallel), scores_of(serial))
    for one, other in zip(parallel.study_.trials, serial.study_.trials, strict=True):
        assert one.intermediate_values == other.intermediate_values
        assert one.state == other.state


def test_number_of_members_of_a_net_is_limited():
    assert [worker.max_members(weights) for weights in (0, 2300, 19_000, 74_000, 10**6)] == [32, 32, 5, 1, 1]


@pytest.mark.parametrize(
    ("n_members", "sizes"), [(1, [10]), (2, [5, 5]), (4, [5, 5]), (5, [3, 3, 2, 2]), (30, [3, 3, 2, 2])]
)
def test_a_batch_is_divided_into_groups_by_its_members(n_members, sizes):
    net = clone(NET).set_params(n_members=n_members)
    states = [worker.CandidateState(number, net, (), ()) for number in range(10)]
    assert [len(group) for group in evaluator.make_groups(states, 2)] == sizes


def test_groups_have_equal_shares_of_each_net_and_the_same_number_of_epochs():
    epochs, keys = [4, 8, 8, 8, 8, 4], ["a", "a", "b", "a", "b", "a"]
    states = [
        worker.CandidateState(number, clone(NET).set_params(max_iter=max_iter, n_members=8), (key,), ())
        for number, (max_iter, key) in enumerate(zip(epochs, keys, strict=True))
    ]
    groups = evaluator.make_groups(states, 2)
    assert [[state.number for state in group] for group in groups] == [[0], [5], [1, 2], [3, 4]]


def test_candidates_beyond_the_memory_limit_wait(monkeypatch, stacked_nets):
    many = search_of().fit(X, Y)
    monkeypatch.setattr(worker, "MAX_MEMBERS_OF_NET", 18)
    some = search_of().fit(X, Y)
    monkeypatch.setattr(worker, "MAX_MEMBERS_OF_NET", 1000)
    monkeypatch.setattr(worker, "BYTES", 1)
    one = search_of().fit(X, Y)
    assert stacked_nets.members == [36, 18, 18, *[6] * 6]
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


def test_preceding_steps_are_fitted_once_for_each_fold(stacked_nets):
    Counting.fits = 0
    pipeline = Pipeline([("before", Counting()), ("net", NET)])
    search_of(pipeline, {"net__alpha": stats.loguniform(1e-6, 0.1)}, refit=True).fit(X, Y)
    assert Counting.fits == 3 + 1  # three folds and the final fit
    Counting.fits = 0
    search = search_of(pipeline, {"net__alpha": [1e-3], "before__factor": [1.0, 2.0]}, refit=True).fit(X, Y)
    values = [params["before__factor"] for params in search.cv_results_["params"]]
    assert set(values) == {1.0, 2.0}
    assert Counting.fits == 3 * 2 + 1  # a repeated candidate is not fitted again


def test_folds_with_other_numbers_of_columns_are_another_net(stacked_nets):
    rows = np.c_[X, np.arange(len(X)) < 10]  # constant in the training rows of one fold
    pipeline = make_pipeline(VarianceThreshold(), SelectKBest(k="all"), NET)
    space = {"regularizedmlpclassifier__alpha": stats.loguniform(1e-6, 0.1)}
    given = {"cv": KFold(4), "n_trials": 2}
    stacked, alone = (search_of(pipeline, space, vectorize=v, **given).fit(rows, Y) for v in (True, False))
    assert len(stacked_nets.members) == 2
    assert_allclose(scores_of(stacked), scores_of(alone), atol=1e-4)


# pruning


@pytest.mark.parametrize("scoring", ["neg_log_loss", None, "roc_auc"])
def test_intermediate_values_are_the_scores_of_each_epoch(scoring):
    never = optuna.pruners.ThresholdPruner(lower=-1e9)
    search = search_of(pruner=never, scoring=scoring, n_trials=4).fit(X, Y)
    for trial, score in zip(search.study_.trials, search.cv_results_["mean_test_score"], strict=True):
        curve = trial.intermediate_values
        assert list(curve) == list(range(1, 9))
        assert curve[8] == pytest.approx(score, abs=1e-4)
        assert len(set(curve.values())) > 1


def test_default_pruner_is_successive_halving():
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


def test_pruning_does_not_change_the_scores_of_the_others():
    whole = search_of(n_trials=12).fit(X, Y)
    pruned = search_of(n_trials=12, pruner=optuna.pruners.SuccessiveHalvingPruner(1, 3)).fit(X, Y)
    left = np.isfinite(pruned.cv_results_["mean_test_score"])
    assert 0 < left.sum() < 12
    assert_allclose(scores_of(pruned)[:, left], scores_of(whole)[:, left], atol=1e-4)


@pytest.mark.parametrize("pruner", [None, NO_PRUNING])
@pytest.mark.parametrize(
    "cv",
    [KFold(4), KFold(4, shuffle=True, random_state=0), StratifiedKFold(4), GroupKFold(4), TimeSeriesSplit(4)],
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


# failures, limits and interrupts


def test_lbfgs_is_evaluated_fold_by_fold(stacked_nets):
    space = {"solver": ["adamw", "lbfgs"], "alpha": stats.loguniform(1e-3, 1e-2)}
    net = clone(NET).set_params(n_members=1, weight_decay=0.0)
    search = search_of(net, space, n_trials=8).fit(X, Y)
    solvers = [params["solver"] for params in search.cv_results_["params"]]
    assert sum(stacked_nets.members) == 3 * solvers.count("adamw")
    assert solvers.count("lbfgs") > 0
    alone = search_of(net, space, n_trials=8, vectorize=False).fit(X, Y)
    assert_allclose(scores_of(search), scores_of(alone), atol=1e-4)


def test_other_estimators_are_evaluated_fold_by_fold(stacked_nets):
    space = {"C": stats.loguniform(1e-3, 10)}
    search_of(LogisticRegression(), space).fit(X, Y)
    with pytest.raises(ValueError, match="vectorize=True trains candidates as members of one net"):
        search_of(LogisticRegression(), space, vectorize=True).fit(X, Y)
    with pytest.raises(ValueError, match="The 'vectorize' parameter"):
        search_of(vectorize="yes").fit(X, Y)
    assert not stacked_nets.members


@pytest.mark.parametrize("bad", [{"alpha": -1}, {"hidden_layer_sizes": "x"}, {"batch_norm": True, "layer_norm": True}])
def test_failed_candidate_counts_and_does_not_affect_the_others(bad):
    fails = [{"alpha": 1e-3, **(bad if number == 1 else {})} for number in range(4)]
    given = {"n_trials": 4, "scoring": "neg_log_loss"}
    with pytest.warns(FitFailedWarning, match="3 fits failed"):
        search = search_of(NET, lambda trial: fails[trial.number], **given).fit(X, Y)
    assert_array_equal(np.isnan(search.cv_results_["mean_test_score"]), [False, True, False, False])
    assert search.study_.trials[1].state.name == "FAIL"
    with pytest.raises((ValueError, TypeError)):
        search_of(NET, lambda trial: fails[trial.number], error_score="raise", **given).fit(X, Y)


def test_diverging_candidate_does_not_affect_the_others():
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


def test_error_during_training_fails_one_candidate():
    def broken(inputs, generator):
        raise RuntimeError("an augmentation that fails")

    space = [{"augmentation": broken}, {"alpha": 0.01}, {"alpha": 0.02}]
    with pytest.warns(FitFailedWarning, match="an augmentation that fails"):
        search = search_of(NET, lambda trial: space[trial.number], n_trials=3).fit(X, Y)
    assert_array_equal(np.isnan(search.cv_results_["mean_test_score"]), [True, False, False])


def test_timeout_stops_the_training():
    """Candidates that are being trained are scored as they are if there is no other result."""
    net = clone(NET).set_params(max_iter=100_000, early_stopping=False)
    began = time.perf_counter()
    search = search_of(net, timeout=1.0, n_trials=1000).fit(X, Y)
    assert time.perf_counter() - began < 6
    assert np.isfinite(search.best_score_)
    assert len(search.cv_results_["params"]) == 10
    assert len(search_of(timeout=0).fit(X, Y).cv_results_["params"]) == 6


def test_timeout_drops_unfinished_candidates_if_others_are_complete():
    def space(trial):
        return {"max_iter": 2 if trial.number == 0 else 100_000, "early_stopping": False}

    search = search_of(NET, space, timeout=1.0, n_trials=4).fit(X, Y)
    assert [params["max_iter"] for params in search.cv_results_["params"]] == [2]
    assert [trial.state.name for trial in search.study_.trials] == ["COMPLETE", "FAIL", "FAIL", "FAIL"]


def test_interrupt_keeps_finished_candidates(monkeypatch):
    def space(trial):
        return {"max_iter": 2 if trial.number < 2 else 50}

    original = StackedNet.train_epoch

    def train_epoch(net):
        if net.epoch_ == 5:
            raise KeyboardInterrupt
        original(net)

    monkeypatch.setattr(StackedNet, "train_epoch", train_epoch)
    search = search_of(NET, space, n_trials=4)
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, Y)
    assert [params["max_iter"] for params in search.cv_results_["params"]] == [2, 2]
    assert np.isfinite(search.best_score_)
    assert "RUNNING" not in {trial.state.name for trial in search.study_.trials}


def test_pruner_compares_the_metric_of_refit():
    scoring = ["accuracy", "neg_log_loss"]
    given = {"scoring": scoring, "refit": "neg_log_loss", "n_trials": 12}
    search = search_of(pruner=optuna.pruners.SuccessiveHalvingPruner(1, 3), **given).fit(X, Y)
    assert search.best_score_ == np.nanmax(search.cv_results_["mean_test_neg_log_loss"])
    assert np.isnan(search.cv_results_["mean_test_accuracy"]).sum() > 0
    assert min(min(trial.intermediate_values.values()) for trial in search.study_.trials) < 0  # the negative log loss


def test_default_space_side_by_side(stacked_nets):
    search = OptunaSearchCV(NET, n_trials=6, cv=3, random_state=0).fit(X, Y)
    assert search.cv_results_["params"][0] == {
        name: value for name, value in search.cv_results_["params"][0].items() if value == getattr(NET, name)
    }
    assert len(stacked_nets.members) > 1
    assert search.predict(X).shape == Y.shape


def test_nested_in_cross_validation():
    search = search_of(clone(NET).set_params(max_iter=4), refit=True, n_trials=3)
    assert cross_val_predict(search, X, Y, cv=2).shape == Y.shape


# workers


def test_search_inside_of_a_worker_and_of_a_thread():
    expected = scores_of(search_of().fit(X, Y))
    assert_array_equal(Parallel(n_jobs=2)(delayed(nested_scores)() for _ in range(2)), [expected] * 2)
    found = []
    thread = threading.Thread(target=lambda: found.append(nested_scores()))
    thread.start()
    thread.join()
    assert_array_equal(found, [expected])


def nested_scores():
    return scores_of(search_of(n_jobs=2).fit(X, Y))


def forever(**params):
    """A search that trains far longer than any test."""
    net = clone(NET).set_params(max_iter=10**6, early_stopping=False)
    return search_of(net, n_jobs=2, n_trials=1000, **params)


def with_workers(search, n_trials=8, **params):
    return search.set_params(n_jobs=2, n_trials=n_trials, **params)


def test_several_metrics_with_workers():
    scoring = ["accuracy", "neg_log_loss", "roc_auc"]
    given = {"scoring": scoring, "refit": "roc_auc", "return_train_score": True, "n_trials": 8}
    alone, two = (search_of(n_jobs=jobs, **given).fit(X, Y) for jobs in (None, 2))
    for name in (name for name in alone.cv_results_ if name.endswith("_score") or "test_" in name or "train_" in name):
        assert_array_equal(two.cv_results_[name], alone.cv_results_[name], err_msg=name)
    assert two.best_index_ == alone.best_index_
    assert_array_equal(two.predict_proba(X), alone.predict_proba(X))


@pytest.mark.parametrize("pruner", [NO_PRUNING, optuna.pruners.ThresholdPruner(lower=-1e9)])
def test_timeout_with_workers(pruner):
    with_workers(search_of()).fit(X, Y)  # starts the workers
    began = time.perf_counter()
    search = forever(pruner=pruner, timeout=1.0).fit(X, Y)
    assert time.perf_counter() - began < 8
    assert len(search.cv_results_["params"]) == 10
    assert np.isfinite(search.best_score_)


@pytest.mark.slow
def test_failures_and_errors_with_workers():
    fails = [{"alpha": 1e-3, **({"alpha": -1} if number == 1 else {})} for number in range(8)]
    with pytest.warns(FitFailedWarning, match="3 fits failed"):
        search = with_workers(search_of(NET, lambda trial: fails[trial.number])).fit(X, Y)
    assert np.isnan(search.cv_results_["mean_test_score"]).sum() == 1

    def scorer(estimator, X, y):
        raise ValueError("a scorer that fails")

    with pytest.raises(ValueError, match="a scorer that fails"):
        with_workers(search_of(scoring=scorer), error_score="raise").fit(X, Y)

    def broken(inputs, generator):
        raise RuntimeError("an augmentation that fails")

    space = [{"augmentation": broken}, *({"alpha": 0.01 * number} for number in range(1, 8))]
    with pytest.warns(FitFailedWarning, match="an augmentation that fails"):
        search = with_workers(search_of(NET, lambda trial: space[trial.number])).fit(X, Y)
    assert_array_equal(np.isnan(search.cv_results_["mean_test_score"]), [True, *[False] * 7])


def pids(seconds=0.5):
    """Return the process ids of joblib's two workers."""
    return set(Parallel(n_jobs=2)(delayed(own_pid)(seconds) for _ in range(2)))


def own_pid(seconds):
    time.sleep(seconds)
    return os.getpid()


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.slow
def test_killed_worker_ends_the_search_and_the_study_can_be_resumed():
    storage = optuna.storages.InMemoryStorage()
    given = {"storage": storage, "study_name": "killed", "pruner": optuna.pruners.ThresholdPruner(lower=-1e9)}
    net = clone(NET).set_params(max_iter=300, early_stopping=False)
    workers = pids()
    threading.Timer(0.7, os.kill, (min(workers), signal.SIGKILL)).start()
    with pytest.raises(RuntimeError, match="terminat"):
        with_workers(search_of(net, **given)).fit(X, Y)
    search = with_workers(search_of(net.set_params(max_iter=300), **given)).fit(X, Y)
    assert len(search.cv_results_["params"]) == 8
    assert {trial.state.name for trial in search.study_.trials} == {"COMPLETE", "FAIL"}


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.slow
def test_interrupt_with_workers_keeps_finished_candidates():
    """The interrupt reaches the process alone, and the process and its workers, as it does in a terminal."""
    code = """if True:
        from tests.search.vectorized.test_evaluator import *

        def space(trial):
            return {"max_iter": 2 if trial.number < 6 else 10**6, "early_stopping": False, "alpha": 0.01 * trial.number}

        def interrupt_when_six_are_complete(search, interrupt):
            wait_for(lambda: hasattr(search, "study_") and n_complete(search) == 6)
            time.sleep(1)
            interrupt(os.getpid(), signal.SIGINT)

        def n_complete(search):
            return sum(trial.state.name == "COMPLETE" for trial in search.study_.trials)

        for interrupt in (os.kill, os.killpg):
            search = search_of(NET, space, n_jobs=2, n_trials=10)
            threading.Thread(target=interrupt_when_six_are_complete, args=(search, interrupt), daemon=True).start()
            try:
                search.fit(X, Y)
            except KeyboardInterrupt:
                print(len(search.cv_results_["params"]), *sorted({trial.state.name for trial in search.study_.trials}))
        print(len(search_of(n_jobs=2).fit(X, Y).cv_results_["params"]))
    """
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=120,
        check=True,
    )
    assert found.stdout.split() == [*["6", "COMPLETE", "FAIL"] * 2, "6"]


def busy(pid):
    """Return the processor ticks that a process has used; None once it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return sum(map(int, stat.rpartition(")")[2].split()[11:13]))


def idle(workers):
    before = [busy(pid) for pid in workers]
    time.sleep(0.5)
    return all(now is None or now - was <= 2 for was, now in zip(before, map(busy, workers), strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_workers_stop_when_their_parent_is_killed():
    code = "from tests.search.vectorized.test_evaluator import *; print(*pids(), flush=True); forever().fit(X, Y)"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
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
    for pid in workers:  # joblib keeps idle workers for some minutes
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
