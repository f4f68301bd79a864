"""OptunaSearchCV: results, scikit-learn's conventions, metadata, failures, interrupts, pruning and spaces."""

import pickle
import re
import sys
import time
import warnings
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction

import numpy as np
import optuna
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from joblib import parallel_backend
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier, is_regressor
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris, make_classification
from sklearn.exceptions import DataConversionWarning, FitFailedWarning, NotFittedError
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

from skreg import OptunaSearchCV, RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.plots import RegularizationPathDisplay
from skreg.search.progress import Caller

X, Y = make_classification(60, 5, random_state=0)
FRAME = pd.DataFrame(X, columns=list("abcde"))
C = {"C": stats.loguniform(1e-3, 10)}
TINY = {"hidden_layer_sizes": (4,), "max_iter": 2, "n_members": 1, "random_state": 0}


def search_of(estimator=None, distributions=C, **params):
    given = {"n_trials": 6, "cv": 3, "random_state": 0, **params}
    return OptunaSearchCV(LogisticRegression() if estimator is None else estimator, distributions, **given)


class Scripted(ClassifierMixin, BaseEstimator):
    """Predicts the most frequent label; its behavior may be to fail, to interrupt or to be slow."""

    def __init__(self, behavior=0.0):
        self.behavior = behavior

    def fit(self, X, y, sample_weight=None, marks=None):
        if self.behavior == "interrupt":
            raise KeyboardInterrupt
        if isinstance(self.behavior, float) and self.behavior > 100:  # slow
            time.sleep(0.02)
        elif self.behavior == "fail" or (self.behavior == "fail later" and X[0, 0] == 0):
            raise ValueError("scripted failure")
        self.classes_, counts = np.unique(y, return_counts=True)
        self.label_, self.weight_, self.marks_ = self.classes_[counts.argmax()], sample_weight, marks
        return self

    def predict(self, X):
        return np.full(len(X), self.label_)


# results


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    "pruner", [lambda: None, lambda: optuna.pruners.MedianPruner(3), optuna.pruners.WilcoxonPruner]
)
@pytest.mark.parametrize(
    "cv",
    [
        KFold(5),
        KFold(5, shuffle=True, random_state=0),
        StratifiedKFold(5, shuffle=True, random_state=0),
        GroupKFold(5),
        TimeSeriesSplit(5),
    ],
    ids=["KFold", "shuffled", "stratified", "groups", "time"],
)
def test_random_labels_score_at_chance(cv, pruner):
    rng = np.random.default_rng(0)
    rows, labels, groups = rng.normal(size=(400, 5)), rng.integers(0, 2, 400), rng.integers(0, 20, 400)
    tree = DecisionTreeClassifier(random_state=0)
    space = {"max_depth": stats.randint(1, 9), "min_samples_leaf": stats.randint(1, 30)}
    search = search_of(tree, space, cv=cv, pruner=pruner(), n_trials=25, refit=False)

    search.fit(rows, labels, groups=groups if isinstance(cv, GroupKFold) else None)

    assert 0.4 < search.best_score_ < 0.6  # 3 standard errors of 400 labels, and the best of 25


@pytest.mark.parametrize("pruner", [None, optuna.pruners.MedianPruner(2)])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_results_do_not_depend_on_n_jobs(pruner, n_jobs):
    with parallel_backend("threading"):
        first, again = (
            search_of(Ridge(), {"alpha": stats.loguniform(1e-4, 10)}, n_trials=10, pruner=pruner, n_jobs=jobs).fit(X, Y)
            for jobs in (None, n_jobs)
        )
    assert first.cv_results_["params"] == again.cv_results_["params"]
    assert_array_equal(first.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"])


def test_another_seed_gives_other_candidates():
    assert search_of().fit(X, Y).cv_results_["params"] != search_of(random_state=1).fit(X, Y).cv_results_["params"]


def test_every_candidate_has_the_same_splits():
    """A candidate has the same scores each time, also with a shuffled splitter without a seed."""
    search = search_of(distributions={"C": [1.0]}, cv=KFold(3, shuffle=True, random_state=None)).fit(X, Y)
    for split in range(3):
        assert len(set(search.cv_results_[f"split{split}_test_score"])) == 1


def test_candidates_score_as_in_grid_search():
    search = search_of(return_train_score=True, cv=4).fit(FRAME, Y)
    grid = GridSearchCV(LogisticRegression(), {"C": [p["C"] for p in search.cv_results_["params"]]}, cv=4)
    results = grid.set_params(return_train_score=True).fit(FRAME, Y).cv_results_
    assert set(results) == set(search.cv_results_)
    for name in results:
        if "time" not in name:
            assert_array_equal(np.asarray(results[name]), np.asarray(search.cv_results_[name]))


def test_sampler_can_end_the_search():
    """A grid sampler stops the study when all points are evaluated."""
    values = list(np.linspace(0.1, 1, 7))
    search = search_of(distributions={"C": values}, n_trials=50, cv=5)
    search.set_params(sampler=optuna.samplers.GridSampler({"C": values}, seed=0)).fit(X, Y)
    tried = [params["C"] for params in search.cv_results_["params"]]
    assert set(tried) == set(values)
    assert len(tried) <= 8  # batches are of four


# scikit-learn's conventions


@parametrize_with_checks(
    [
        OptunaSearchCV(
            LinearSVC(random_state=0),
            {"C": optuna.distributions.FloatDistribution(0.1, 10.0, log=True)},
            n_trials=2,
            cv=2,
            random_state=0,
        ),
        OptunaSearchCV(ElasticNet(), {"alpha": [0.1, 1.0]}, n_trials=2, cv=2, random_state=0),
        OptunaSearchCV(
            make_pipeline(MaxAbsScaler(), LinearSVC(random_state=0)),
            {"linearsvc__C": [0.1, 1.0]},
            n_trials=2,
            cv=2,
            random_state=0,
            error_score="raise",
        ),
    ]
)
def test_scikit_learns_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def test_search_has_the_properties_of_its_estimator():
    assert is_classifier(search_of())
    assert is_regressor(search_of(Ridge()))
    assert get_tags(search_of()).input_tags.sparse
    search = search_of().fit(FRAME, Y)
    assert_array_equal(search.classes_, [0, 1])
    assert search.n_features_in_ == 5
    assert list(search.feature_names_in_) == list("abcde")
    assert_array_equal(search.predict(FRAME), search.best_estimator_.predict(FRAME))
    assert search.predict_proba(FRAME).shape == (60, 2)
    assert search.score(FRAME, Y) == search.best_estimator_.score(FRAME, Y)
    assert (search.n_splits_, search.multimetric_) == (3, False)
    assert search.refit_time_ > 0
    assert not hasattr(search, "transform")


def test_cross_validation_and_pickle():
    search = search_of(n_trials=3)
    assert len(cross_val_score(search, X, Y, cv=2)) == 2
    assert cross_val_predict(search, X, Y, cv=2).shape == (60,)
    fitted = pickle.loads(pickle.dumps(search.fit(X, Y)))
    assert_array_equal(fitted.predict(X), search.predict(X))
    assert len(fitted.study_.trials) == 3
    assert not hasattr(clone(fitted), "study_")


def test_fit_does_not_change_parameters():
    space = dict(C)
    search = search_of(distributions=space)
    before = search.get_params(deep=False)
    search.fit(X, Y)
    assert space == C
    assert all(search.get_params(deep=False)[name] is value for name, value in before.items())
    assert not hasattr(search.estimator, "coef_")


def test_second_fit_does_not_depend_on_the_first():
    search = search_of(n_trials=3).fit(X, Y)
    first = search.cv_results_["params"]
    assert search.fit(X, Y).cv_results_["params"] == first
    assert len(search.study_.trials) == 3
    assert not hasattr(search.set_params(refit=False).fit(X, Y), "best_estimator_")


def test_without_refit():
    search = search_of(refit=False).fit(X, Y)
    assert search.best_params_ == search.cv_results_["params"][search.best_index_]
    assert not hasattr(search, "predict")
    check_is_fitted(search)
    with pytest.raises(NotFittedError):
        check_is_fitted(search_of())


def test_without_a_target():
    search = search_of(KMeans(n_init=1, random_state=0), {"n_clusters": stats.randint(2, 5)}).fit(X)
    assert set(search.predict(X)) <= {0, 1, 2, 3}


def test_trials_dataframe_and_verbosity(capsys):
    frame = search_of(verbose=1).fit(X, Y).trials_dataframe()
    assert list(frame["number"]) == list(range(6))
    assert {"value", "params_C", "state"} <= set(frame)
    assert "Fitting 3 folds for each of 6 candidates" in capsys.readouterr().out
    search_of().fit(X, Y)
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_inconsistent_number_of_splits_is_rejected():
    class Splitter(KFold):
        def get_n_splits(self, X=None, y=None, groups=None):
            return 5

    with pytest.raises(ValueError, match="Expected 5 splits, got 3"):
        OptunaSearchCV(DecisionTreeClassifier(), {"max_depth": [1, 2]}, n_trials=1, cv=Splitter(3)).fit(X, Y)


def test_error_without_optuna(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'OptunaSearchCV requires optuna.* pip install "\.\[search\]"'):
        search_of().fit(X, Y)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_trials": 0}, "'n_trials' parameter of OptunaSearchCV must be an int in the range"),
        ({"timeout": -1}, "'timeout' parameter"),
        ({"pruner": "median"}, "'pruner' parameter"),
        ({"sampler": "tpe"}, "'sampler' parameter"),
        ({"param_distributions": 3}, "'param_distributions' parameter"),
        ({"param_distributions": []}, "must contain at least one dict"),
        ({"param_distributions": [C, 3]}, "must contain at least one dict"),
        ({"param_distributions": {"C": []}}, "'C' in param_distributions is empty"),
        ({"param_distributions": {"C": stats.uniform(0, -1)}}, "a valid distribution of one number"),
        ({"param_distributions": None}, "For LogisticRegression give a dict or a callable"),
        ({"scoring": ["accuracy", "roc_auc"]}, "one of 'accuracy', 'roc_auc'. True was passed"),
        ({"scoring": ["accuracy", "roc_auc"], "refit": lambda results: 0}, "names the metric that the search"),
        ({"scoring": ["accuracy", "roc_auc"], "refit": False}, "names the metric that the search"),
        ({"cv": []}, "Was the CV iterator empty"),
    ],
)
def test_invalid_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        search_of().set_params(**params).fit(X, Y)


@pytest.mark.parametrize("given", [1.0, "abc", object()])
def test_invalid_distribution(given):
    with pytest.raises(TypeError, match="The values of 'C' in param_distributions must be"):
        search_of(distributions={"C": given}).fit(X, Y)


COLUMNS = {
    "array": lambda y: y.reshape(-1, 1),
    "list": lambda y: y.reshape(-1, 1).tolist(),
    "pandas": lambda y: pd.DataFrame({"y": y}),
    "polars": lambda y: pl.DataFrame({"y": y}),
    "pyarrow": lambda y: pa.table({"y": y}),
}


@pytest.mark.parametrize(
    ("estimator", "space", "target", "container"),
    [
        *((LogisticRegression(), C, np.where(Y, "yes", "no"), container) for container in COLUMNS),
        *((Ridge(), {"alpha": [0.1, 1.0]}, X[:, 0], container) for container in COLUMNS),
        (RegularizedMLPClassifier(**TINY), {"alpha": [0.1, 1.0]}, Y, "array"),
        (RegularizedMLPRegressor(**TINY), {"alpha": [0.1, 1.0]}, X[:, 0], "pandas"),
    ],
)
def test_column_of_targets_equals_a_flat_target(estimator, space, target, container):
    flat = search_of(estimator, space, n_trials=2).fit(X, target)
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        column = search_of(estimator, space, n_trials=2).fit(X, COLUMNS[container](target))
    assert_array_equal(column.cv_results_["mean_test_score"], flat.cv_results_["mean_test_score"])
    assert_array_equal(column.predict(X), flat.predict(X))
    assert column.predict(X).shape == (60,)


def test_several_targets_are_not_flattened():
    search = search_of(Ridge(), {"alpha": [0.1, 1.0]}, n_trials=2).fit(X, X[:, :2])
    assert search.predict(X).shape == (60, 2)


@pytest.mark.parametrize("space", [{}, [{}], [{}, {}]])
@pytest.mark.parametrize("estimator", [DecisionTreeClassifier(), RegularizedMLPClassifier(**TINY)])
def test_empty_space_has_one_candidate(estimator, space):
    estimator = clone(estimator).set_params(random_state=0)
    search = search_of(estimator, space, n_trials=20, storage=optuna.storages.InMemoryStorage()).fit(X, Y)
    grid = GridSearchCV(estimator, {}, cv=3).fit(X, Y)
    assert search.cv_results_["params"] == grid.cv_results_["params"] == [{}]
    assert_allclose(search.cv_results_["mean_test_score"], grid.cv_results_["mean_test_score"], atol=1e-4)
    assert search.best_params_ == grid.best_params_
    assert search.n_trials_ == 1
    assert search.fit(X, Y).n_trials_ == 1  # the resumed study is complete


def choose_third(results):
    return 2


@pytest.mark.parametrize(
    "params", [{}, {"refit": False}, {"refit": choose_third}, {"pruner": optuna.pruners.MedianPruner(1)}]
)
def test_best_trial_and_number_of_trials(params):
    storage = optuna.storages.InMemoryStorage()
    for n_trials in (6, 9):
        search = search_of(n_trials=n_trials, storage=storage, study_name="one", **params).fit(X, Y)
        assert search.n_trials_ == len(search.cv_results_["params"]) == n_trials
        assert search.best_trial_.params == search.best_params_
        assert search.best_trial_.number == search.best_index_
        if not callable(search.refit):
            assert search.best_trial_.value == search.best_score_ == search.study_.best_trial.value
        assert pickle.loads(pickle.dumps(search)).best_trial_ == search.best_trial_


# metadata


def test_weights_and_groups_are_passed_on():
    weight, groups = np.arange(60.0), np.repeat(np.arange(6), 10)
    search = search_of(Scripted(), {"behavior": [0.0, 1.0]}, cv=GroupKFold(3), n_trials=2)
    search.fit(X, Y, groups=groups, marks=groups, sample_weight=weight)
    assert_array_equal(search.best_estimator_.weight_, weight)
    assert_array_equal(search.best_estimator_.marks_, groups)


def test_metadata_routing():
    weight, groups = np.linspace(1, 2, 60), np.repeat(np.arange(6), 10)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        estimator = LogisticRegression().set_fit_request(sample_weight=True)
        search = search_of(estimator, cv=GroupKFold(3), scoring=scorer)
        search.fit(X, Y, sample_weight=weight, groups=groups)
        scores = cross_val_score(search, X, Y, cv=2, params={"sample_weight": weight, "groups": groups})
        grid = GridSearchCV(estimator, {"C": [search.best_params_["C"]]}, cv=GroupKFold(3), scoring=scorer)
        grid.fit(X, Y, sample_weight=weight, groups=groups)
    assert np.isfinite(scores).all()
    assert_allclose(search.best_score_, grid.best_score_)


# metrics


def test_several_metrics():
    search = search_of(scoring=["accuracy", "neg_log_loss"], refit="neg_log_loss", return_train_score=True).fit(X, Y)
    assert search.multimetric_
    assert search.best_index_ == search.cv_results_["mean_test_neg_log_loss"].argmax()
    assert search.best_score_ == search.study_.best_value
    assert {"rank_test_accuracy", "std_train_neg_log_loss", "split2_test_accuracy"} <= set(search.cv_results_)
    assert set(search.scorer_) == {"accuracy", "neg_log_loss"}
    assert search.score(X, Y) == pytest.approx(search.scorer_["neg_log_loss"](search.best_estimator_, X, Y))


def test_callable_with_several_metrics_and_failed_candidate():
    def scores(estimator, X, y):
        return {"right": estimator.score(X, y), "wrong": 1 - estimator.score(X, y)}

    search = search_of(Scripted(), {"behavior": ["fail", 1.0, 2.0]}, scoring=scores, refit="right", n_trials=10)
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        search.fit(X, Y)
    assert search.multimetric_
    failed = np.array([params["behavior"] == "fail" for params in search.cv_results_["params"]])
    assert_array_equal(np.isnan(search.cv_results_["mean_test_wrong"]), failed)
    with pytest.raises(ValueError, match="one of 'right', 'wrong'"):
        search.set_params(refit=True).fit(X, Y)


def test_callable_refit_chooses_the_best():
    search = search_of(refit=lambda results: int(np.argmax(results["param_C"]))).fit(X, Y)
    assert search.best_params_["C"] == max(search.cv_results_["param_C"])
    assert search.best_params_["C"] == search.best_estimator_.C
    assert not hasattr(search, "best_score_")


# failures, interrupts and timeouts


def test_failed_candidate_counts_and_has_the_last_rank():
    search = search_of(Scripted(), {"behavior": ["fail", 1.0, "fail later"]}, n_trials=12)
    rows = np.vstack([np.zeros((1, 5)), X[1:]])
    with pytest.warns(FitFailedWarning, match="scripted failure"), pytest.warns(UserWarning, match="non-finite"):
        search.fit(rows, Y)
    results = search.cv_results_
    assert len(results["params"]) == len(search.study_.trials) == 12
    failed = np.array([params["behavior"] != 1.0 for params in results["params"]])
    assert 0 < failed.sum() < 12
    assert_array_equal(np.isnan(results["mean_test_score"]), failed)
    assert set(results["rank_test_score"][failed]) == {results["rank_test_score"].max()}
    assert search.best_params_ == {"behavior": 1.0}
    later = [p["behavior"] == "fail later" for p in results["params"]]
    assert np.isfinite(results["split0_test_score"][later]).all()


def test_error_score_can_be_a_number():
    search = search_of(Scripted(), {"behavior": ["fail", 1.0]}, error_score=-1.0)
    with pytest.warns(FitFailedWarning):
        search.fit(X, Y)
    assert search.cv_results_["mean_test_score"].min() == -1
    assert {trial.state.name for trial in search.study_.trials} == {"COMPLETE"}


def test_all_fits_fail_or_errors_are_raised():
    search = search_of(Scripted(), {"behavior": ["fail"]}, n_trials=3)
    with pytest.warns(UserWarning, match="non-finite"), pytest.raises(ValueError, match="All the 9 fits failed"):
        search.fit(X, Y)
    with pytest.raises(ValueError, match=r"^scripted failure$"):
        search.set_params(error_score="raise").fit(X, Y)


def test_interrupt_keeps_finished_candidates():
    search = search_of(
        Scripted(), lambda trial: {"behavior": "interrupt" if trial.number == 2 else trial.number}, n_trials=5
    )
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, Y)
    assert search.cv_results_["params"] == [{"behavior": 0}, {"behavior": 1}]
    assert search.best_params_ == {"behavior": 0}
    assert search.best_score_ == search.study_.best_value
    assert "RUNNING" not in {trial.state.name for trial in search.study_.trials}
    with pytest.raises(NotFittedError):
        search.predict(X)


def test_no_candidate_is_started_after_the_timeout():
    search = search_of(Scripted(), {"behavior": stats.uniform(101, 1)}, n_trials=1000, timeout=0.3)
    began = time.perf_counter()
    search.fit(X, Y)
    assert time.perf_counter() - began < 2
    assert 1 <= len(search.cv_results_["params"]) < 10
    assert len(search.set_params(timeout=0).fit(X, Y).cv_results_["params"]) == 1


def test_resumed_study_continues_to_n_trials_and_shows_all_trials():
    """The results include the folds of the earlier search and the parameters that its callable returned."""
    storage = optuna.storages.InMemoryStorage()

    def space(trial):
        return {"C": 2 * trial.suggest_float("half", 0.1, 1)}

    def of(n_trials):
        search = search_of(distributions=space, storage=storage, study_name="one", n_trials=n_trials)
        return search.set_params(return_train_score=True, pruner=optuna.pruners.MedianPruner(1)).fit(X, Y)

    some, more, again = of(4), of(9), of(9)
    assert [len(search.cv_results_["params"]) for search in (some, more, again)] == [4, 9, 9]
    assert more.cv_results_["params"][:4] == some.cv_results_["params"]
    assert len(more.study_.trials) == 9
    for name, column in more.cv_results_.items():
        assert_array_equal(np.asarray(column), np.asarray(again.cv_results_[name]))
        if "rank" not in name:
            assert_array_equal(np.asarray(column)[:4], np.asarray(some.cv_results_[name]))
    assert_array_equal(more.predict(X), again.predict(X))


class Counted(Scripted):
    """Counts its fits; without a seed its fits would be random."""

    fits = 0

    def __init__(self, behavior=0.0, random_state=0):
        super().__init__(behavior)
        self.random_state = random_state

    def fit(self, X, y):
        Counted.fits += 1
        return super().fit(X, y)


def counted(estimator, **params):
    Counted.fits = 0
    search = search_of(estimator, {"behavior": [1.0, 2.0]}, n_trials=9, **params).fit(X, Y)
    behaviors = [each["behavior"] for each in search.cv_results_["params"]]
    assert len(search.study_.trials) == len(behaviors) == 9
    assert set(behaviors) == {1.0, 2.0}
    return search, Counted.fits


def test_repeated_candidate_is_not_fitted_again():
    """This holds within a run and in a resumed one, but not if another fit would give other scores."""
    storage = optuna.storages.InMemoryStorage()
    search, fits = counted(Counted(), storage=storage)
    assert fits == 2 * 3 + 1
    assert len(set(search.cv_results_["mean_test_score"])) <= 2
    _, fits = counted(Counted(), storage=storage)
    assert fits == 1
    Counted.fits = 0  # as before, because it belongs to the identity of the search
    more = search_of(Counted(), {"behavior": [1.0, 2.0]}, n_trials=12, storage=storage).fit(X, Y)
    assert Counted.fits == 1
    assert len(more.cv_results_["params"]) == 12
    assert counted(Counted(random_state=None))[1] == 9 * 3 + 1


def test_repeated_candidate_that_failed_is_fitted_again():
    fails = Counted().set_params(behavior="fail")
    Counted.fits = 0
    search = search_of(fails, {"random_state": [0]}, n_trials=4)
    with pytest.warns(UserWarning, match="non-finite"), pytest.raises(ValueError, match="All the 12 fits failed"):
        search.fit(X, Y)
    assert Counted.fits == 12


def test_pruner_does_not_compare_epochs_with_folds(tmp_path):
    net, space = RegularizedMLPClassifier(**TINY), {"alpha": stats.loguniform(1e-6, 1e-2)}

    def of(n_trials, **params):
        search = search_of(net, space, n_trials=n_trials, cv=2, refit=False, storage=tmp_path / "study.db")
        return search.set_params(study_name="one", **params).fit(X, Y)

    of(2, vectorize=False)
    assert len(of(3).cv_results_["params"]) == 3  # the pruner has not compared folds
    message = r"after epochs, which cannot be compared with the scores after folds.* same 'vectorize'"
    with pytest.raises(ValueError, match=message):
        of(4, vectorize=False, pruner=optuna.pruners.MedianPruner())
    of(4, vectorize=False)
    of(5, pruner=optuna.pruners.NopPruner())
    assert len(of(6).cv_results_["params"]) == 6


# pruning


@pytest.mark.parametrize("pruner", [optuna.pruners.MedianPruner(2), optuna.pruners.HyperbandPruner(1, 3)])
def test_pruned_candidate_has_nan_scores_and_the_last_rank(pruner):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        search = search_of(distributions={"C": stats.loguniform(1e-6, 10)}, pruner=pruner, n_trials=24)
        search.set_params(return_train_score=True).fit(X, Y)
    pruned = np.array([trial.state.name == "PRUNED" for trial in search.study_.trials])
    results = search.cv_results_
    assert 0 < pruned.sum() < 24
    assert len(results["params"]) == 24
    for name in ("mean_test_score", "split0_test_score", "mean_train_score"):
        assert_array_equal(np.isnan(results[name]), pruned)
    assert set(results["rank_test_score"][pruned]) == {results["rank_test_score"].max()}
    assert (results["mean_fit_time"] > 0).all()
    assert search.best_score_ == np.nanmax(results["mean_test_score"])


def test_error_if_all_candidates_are_pruned():
    with pytest.raises(ValueError, match="All candidates were pruned"):
        search_of(pruner=optuna.pruners.ThresholdPruner(lower=2.0)).fit(X, Y)


def test_failed_candidates_are_not_pruned():
    search = search_of(Scripted(), {"behavior": ["fail", 1.0]}, pruner=optuna.pruners.MedianPruner(1), n_trials=10)
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        search.fit(X, Y)
    failed = [params["behavior"] == "fail" for params in search.cv_results_["params"]]
    assert [trial.state.name == "FAIL" for trial in search.study_.trials] == failed


# spaces


def test_distributions_of_randomized_search():
    given = {
        "mlp__alpha": stats.loguniform(1e-6, 1e-2),
        "mlp__dropout": stats.uniform(0, 0.5),
        "mlp__hidden_layer_sizes": [(4,), (4, 4)],
        "mlp__weight_decay": np.logspace(-4, -1, 5),
        "mlp__max_iter": stats.randint(1, 3),
        "scale__with_mean": [True, False],
    }
    pipeline = Pipeline([("scale", StandardScaler()), ("mlp", RegularizedMLPClassifier(**TINY))])
    RandomizedSearchCV(pipeline, given, n_iter=2, cv=2, random_state=0).fit(X, Y)
    search = OptunaSearchCV(pipeline, given, n_trials=4, cv=2, random_state=0).fit(FRAME, Y)
    assert set(search.best_params_) == set(given)
    assert search.best_estimator_["mlp"].hidden_layer_sizes in [(4,), (4, 4)]
    assert all(params["mlp__max_iter"] in (1, 2) for params in search.cv_results_["params"])
    assert search.cv_results_["param_mlp__alpha"].dtype == float
    assert isinstance(search.cv_results_["param_mlp__alpha"], np.ma.MaskedArray)


def test_callable_suggests_conditional_parameters():
    def space(trial):
        if trial.suggest_categorical("kind", ["ridge", "plain"]) == "ridge":
            return {"alpha": trial.suggest_float("alpha", 1e-3, 1, log=True)}
        return {"alpha": 0.0, "positive": True}

    search = search_of(Ridge(), space, n_trials=8).fit(X, Y)
    plain = np.array([params["alpha"] == 0 for params in search.cv_results_["params"]])
    assert 0 < plain.sum() < 8
    assert_array_equal(search.cv_results_["param_positive"].mask, ~plain)
    with pytest.raises(TypeError, match="must return a dict"):
        search_of(distributions=lambda trial: 1.0).fit(X, Y)


def test_list_of_distributions_of_randomized_search():
    """A name may have other values in each dict; a resumed search has the same parameters."""
    given = [
        {"C": stats.loguniform(1e-3, 1), "solver": ["lbfgs", "newton-cg"]},
        {"C": [10.0, 20.0], "class_weight": ["balanced"]},
        {},
    ]
    RandomizedSearchCV(LogisticRegression(), given, n_iter=3, cv=2, random_state=0).fit(X, Y)
    storage = optuna.storages.InMemoryStorage()
    search = search_of(distributions=given, n_trials=15, storage=storage).fit(X, Y)
    params = search.cv_results_["params"]
    assert {frozenset(each) for each in params} == {frozenset(each) for each in given}
    for each in params:
        assert ("solver" in each) <= (each.get("C", 0) <= 1)
        assert ("class_weight" in each) <= (each.get("C") in (10.0, 20.0))
    again = search_of(distributions=given, n_trials=15, storage=storage).fit(X, Y)
    assert again.cv_results_["params"] == params


def test_estimators_as_values_are_cloned():
    steps = [DecisionTreeClassifier(max_depth=1), LogisticRegression()]
    search = search_of(Pipeline([("last", Ridge())]), {"last": steps}, scoring="accuracy", n_trials=6).fit(X, Y)
    assert search.best_params_["last"] in steps
    assert search.best_estimator_["last"] is not search.best_params_["last"]
    assert not any(hasattr(step, "classes_") for step in steps)


def test_default_space_begins_with_the_defaults():
    iris = load_iris()
    network = RegularizedMLPClassifier(max_iter=2, n_members=1, random_state=0, hidden_layer_sizes=(4,), dropout=0.3)
    search = OptunaSearchCV(make_pipeline(StandardScaler(), network), n_trials=4, cv=2, random_state=0)
    search.fit(iris.data, iris.target)
    first, *others = search.cv_results_["params"]
    defaults = RegularizedMLPClassifier().get_params()
    assert first
    for name, value in first.items():
        assert defaults[name.removeprefix("regularizedmlpclassifier__")] == value
    for name in ("hidden_layer_sizes", "dropout", "max_iter", "n_members"):
        assert f"regularizedmlpclassifier__{name}" not in first
    assert all(params != first for params in others)
    assert search.best_estimator_[-1].dropout == 0.3


def test_default_space_of_the_regressor():
    search = OptunaSearchCV(RegularizedMLPRegressor(**TINY), n_trials=3, cv=2, random_state=0).fit(X, X[:, 0])
    assert "label_smoothing" not in search.best_params_
    assert search.best_estimator_.score(X, X[:, 0]) < 1


@pytest.mark.slow
def test_scikit_learn_callbacks_with_workers():
    """The callback sees every epoch of two candidates on two folds and of the final fit."""
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn's callbacks came with 1.9")
    monitor = callback.ScoringMonitor(scoring="accuracy")
    estimator = RegularizedMLPClassifier(**TINY).set_callbacks(monitor)
    search = OptunaSearchCV(estimator, {"alpha": [0.0, 0.1]}, n_trials=2, cv=2, random_state=0, n_jobs=2)
    search.fit(X, Y)
    log = monitor.get_logs()
    assert log.estimator_name == "OptunaSearchCV"
    assert sum(entry["task_name"] == "epoch" for entry in log.data) == (2 * 2 + 1) * TINY["max_iter"]
    assert search.storage is search.sampler is search.pruner is None


class Recorder:
    """A callback of scikit-learn that records the estimators that its hooks receive, with the names of the tasks."""

    def __init__(self):
        self.calls = []

    def setup(self, estimator, context):
        self.calls.append(("setup", estimator))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", estimator))

    def on_fit_task_begin(self, estimator, context):
        self.calls.append((context.task_name, estimator))

    def on_fit_task_end(self, estimator, context):
        self.calls.append((context.task_name, estimator))


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"vectorize": False},
        {"sampler": optuna.samplers.RandomSampler(0)},
        {"pruner": optuna.pruners.MedianPruner(1), "vectorize": False},
    ],
)
def test_hooks_of_callbacks_receive_the_search(n_jobs, params):
    pytest.importorskip("sklearn.callback", reason="scikit-learn's callbacks came with 1.9")
    recorder = Recorder()
    space = {"alpha": stats.loguniform(1e-6, 0.1)}
    search = search_of(RegularizedMLPClassifier(**TINY), space, n_trials=2, n_jobs=n_jobs, **params)
    search.set_params(storage=optuna.storages.InMemoryStorage())
    with parallel_backend("threading"):
        search.set_callbacks(recorder).fit(X, Y)
    assert all(estimator is search for _, estimator in recorder.calls)
    tasks = [name for name, _ in recorder.calls]
    assert tasks.count("candidate-split-evaluation") == 2 * 2 * 3
    grid_recorder = Recorder()
    GridSearchCV(search.estimator, {"alpha": [0.0, 0.1]}, cv=3).set_callbacks(grid_recorder).fit(X, Y)
    assert sorted(tasks) == sorted(name for name, _ in grid_recorder.calls)


def test_copy_of_the_search_for_other_processes_has_neither_storage_nor_study(tmp_path):
    search = search_of(storage=tmp_path / "study.db", n_trials=1).fit(X, Y)
    copied = pickle.loads(pickle.dumps(Caller(search))).search
    assert copied.storage is None
    assert not hasattr(copied, "study_")
    assert copied.estimator.get_params() == search.estimator.get_params()
    assert Caller(search).search is search


def test_progress_bar_of_scikit_learn(capsys):
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn's callbacks came with 1.9")
    search_of(n_trials=2).set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(X, Y)
    assert "OptunaSearchCV" in capsys.readouterr().out


WRONG_SPLITS = [(0,), [None], [(1, 2, 3)], [([0], [1000])], [([0, 1], [])], [([0, 1], [2.5])], [("a", "b")], 1000]
WRONG_SPLITS += [[([0, 1], [[2], [3, 4]])], np.arange(2), [(np.ones(60, bool), np.zeros(60, bool))]]


@pytest.mark.parametrize("cv", WRONG_SPLITS, ids=str)
def test_wrong_splits_are_refused_with_the_name_of_the_parameter(cv):
    for wrong in (cv, iter(cv)) if isinstance(cv, list) else (cv,):
        with pytest.raises(ValueError, match=r"\bcv\b"):
            search_of(cv=wrong).fit(X, Y)
    net = RegularizedMLPClassifier((), max_iter=1)
    with pytest.raises(ValueError, match=r"\bcv\b"):
        RegularizationPathDisplay.from_estimator(net, X, Y, param_range=[0.1], cv=cv)


def test_splits_may_be_lists_ranges_and_masks():
    first = np.arange(60) % 2 == 0
    for pairs in ([(range(30), range(30, 60))], [[first, ~first]], [(first.nonzero()[0].tolist(), [-1, -2])]):
        assert np.isfinite(search_of(cv=pairs, n_trials=1).fit(X, Y).best_score_)


@contextmanager
def suppress_error_about(name):
    """Suppress a ValueError or TypeError that contains the name."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if not re.search(rf"\b{name}\b", str(error)):
            raise


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", ["n_trials", "timeout", "cv", "random_state", "verbose", "error_score", "n_jobs"])
def test_a_number_is_used_or_refused_with_the_name_of_the_parameter(name):
    numbers = [
        10**400,
        -(10**400),
        1e308,
        -0.0,
        Fraction(1, 2),
        Decimal("0.5"),
        np.float16(0.5),
        np.longdouble("1e4000"),
    ]
    numbers += [np.int8(2), np.uint64(2), np.float64(2.0), np.bool_(True)]
    for number in numbers[:-4] if name == "n_jobs" else numbers:  # without starting workers
        with suppress_error_about(name):
            assert len(search_of(**{"n_trials": 1, "cv": 2, name: number}).fit(X, Y).cv_results_["params"]) >= 1


@pytest.mark.parametrize("table", [np.array(3.0), 3.0, object()], ids=["array", "number", "object"])
def test_a_table_without_rows_is_refused_by_name(table):
    with pytest.raises((ValueError, TypeError), match=r"\bX\b"):
        search_of().fit(table, Y)
