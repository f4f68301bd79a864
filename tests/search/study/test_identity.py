"""Tests of the identity of searches: a stored study is continued by the same search and by no other."""

import numpy as np
import optuna
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skreg import OptunaSearchCV
from tests.helpers import plain_classifier

X, Y = make_classification(n_samples=60, n_features=4, random_state=0)
WEIGHT = np.linspace(0.5, 1.5, 60)
NET = {"max_iter": 1, "n_members": 1, "random_state": 0}


def define(source):
    """Return the function f of a notebook, whose cell can be edited and run again."""
    namespace = {"__name__": "__main__"}
    exec(source, namespace)
    return namespace["f"]


def search_of(estimator=None, space=None, fit_params=None, X=X, **params):
    """A search, and its arguments of fit."""
    space = {"C": stats.loguniform(0.1, 10)} if space is None else space
    settings = {"n_trials": 1, "cv": 2, "refit": False, "random_state": 0, **params}
    return OptunaSearchCV(estimator or LogisticRegression(), space, **settings), (X, Y), fit_params or {}


def network(space=None, **params):
    return search_of(plain_classifier(**{**NET, **params}), {"alpha": [0.01]} if space is None else space)


def with_step(*steps, space=None):
    return search_of(make_pipeline(*steps, LogisticRegression()), space or {"logisticregression__C": [1.0]})


def pretrained(shift):
    return FrozenEstimator(plain_classifier(**NET).fit(X + shift, Y))


PAIRS = {
    "scorer": lambda n: search_of(scoring=lambda estimator, X, y: n),
    "edited scorer": lambda n: search_of(scoring=define(f"def f(estimator, X, y): return {n}.0")),
    "one of several scorers": lambda n: search_of(scoring={"a": lambda estimator, X, y: n}, refit="a"),
    "edited space": lambda n: search_of(
        space=define(f"def f(trial): return {{'C': trial.suggest_float('C', {n}, 9)}}")
    ),
    "distribution": lambda n: search_of(space={"C": type("D", (), {"rvs": lambda self, random_state: n})()}),
    "options": lambda n: with_step(
        StandardScaler(),
        space={"standardscaler": [FunctionTransformer(define(f"def f(x): return x * {n}")), "passthrough"]},
    ),
    "edited transformer": lambda n: with_step(FunctionTransformer(define(f"def f(x): return x ** {n}"))),
    "fitted step": lambda n: with_step(FrozenEstimator(StandardScaler().fit(X * n))),
    "pretrained network": lambda n: network(pretrained=pretrained(n)),
    "activation": lambda n: network(activation=define(f"def f(x): return x.clamp({n}, 3)")),
    "class of the estimator": lambda n: search_of(type("L", (LogisticRegression,), {"score": lambda self, X, y: n})()),
    "weights": lambda n: search_of(fit_params={"sample_weight": WEIGHT**n}),
    "score of failures": lambda n: search_of(error_score=float(n)),
    "data": lambda n: search_of(X=X * n),
    "splitter": lambda n: search_of(cv=StratifiedKFold(2, shuffle=True, random_state=n)),
}
"""Searches that depend on a number."""


def run(made, storage, **params):
    search, data, fit_params = made
    search.set_params(storage=storage, **params).fit(*data, **fit_params)
    return search


@pytest.mark.parametrize("name", PAIRS)
def test_a_study_is_continued_by_the_same_search_only(name):
    storage = optuna.storages.InMemoryStorage()
    first, again, other = (run(PAIRS[name](n), storage) for n in (1, 1, 2))
    assert first.study_.study_name == again.study_.study_name != other.study_.study_name
    assert again.cv_results_["mean_fit_time"] == first.cv_results_["mean_fit_time"]
    with pytest.raises(ValueError, match=r"belongs to another search with different .*Pass another 'study_name'"):
        run(PAIRS[name](2), storage, study_name=first.study_.study_name)


def test_the_state_that_fit_replaces_does_not_matter():
    storage = optuna.storages.InMemoryStorage()
    names = set()
    for estimator in (LogisticRegression(), LogisticRegression().fit(X, Y), clone(LogisticRegression())):
        names.add(run(search_of(estimator), storage).study_.study_name)
    assert len(names) == 1


@pytest.mark.parametrize("parameter", ["estimator", "param_distributions", "scoring"])
def test_a_search_that_cannot_be_identified_needs_a_study_in_memory(parameter):
    values = (value for value in [1.0, 2.0])
    made = {
        "estimator": lambda: with_step(FunctionTransformer(lambda x: x if values else -x)),
        "param_distributions": lambda: search_of(space=lambda trial: {"C": next(values)}),
        "scoring": lambda: search_of(scoring=lambda estimator, X, y: next(values)),
    }[parameter]()
    with pytest.raises(TypeError, match=rf"{parameter}.*values, of type 'builtins.generator'.*set storage=None"):
        run(made, optuna.storages.InMemoryStorage())
    assert len(run(made, None).study_.trials) == 1
