"""Candidates score as in scikit-learn whatever their classes override, and the pruner compares these scores."""

import functools
import types
import warnings

import numpy as np
import optuna
import pytest
import sklearn
import torch
from imblearn import FunctionSampler
from imblearn.pipeline import Pipeline as SamplingPipeline
from imblearn.under_sampling import RandomUnderSampler
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_classification
from sklearn.metrics import check_scoring, log_loss, make_scorer, r2_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler, TargetEncoder
from sklearn.utils import get_tags

from skreg import OptunaSearchCV, RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.search.vectorized import fold_fit, stacked_net
from skreg.search.vectorized.fold_fit import overridden_method, reproducible_network
from skreg.search.vectorized.stacked_net import StackedNet

X, Y = make_classification(90, 4, n_informative=3, n_redundant=0, weights=[0.7], random_state=0)
TARGET = np.exp(X[:, 0]) + 0.1 * X[:, 1] + 1
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 4, "n_members": 1, "random_state": 0, "dropout": 0.0}
CLASSIFIER = RegularizedMLPClassifier(**SMALL)
REGRESSOR = RegularizedMLPRegressor(**SMALL)
FOLDS = KFold(3)
RATES = [0.01, 0.1]


def search_of(estimator, target, prefix="", **params):
    """A search over two learning rates that compares the two candidates with every epoch."""
    space = [{f"{prefix}learning_rate_init": rate} for rate in RATES]
    given = {
        "n_trials": 2,
        "cv": FOLDS,
        "pruner": optuna.pruners.ThresholdPruner(lower=-1e12),
        "refit": False,
        **params,
    }
    fit_params = given.pop("fit_params", {})
    search = OptunaSearchCV(estimator, lambda trial: space[trial.number], **given)
    return search.fit(X, target, **fit_params)


def scores_of_grid_search(estimator, target, prefix="", fit_params=None, **params):
    grid = {f"{prefix}learning_rate_init": RATES}
    search = GridSearchCV(estimator, grid, cv=FOLDS, refit=False, **params).fit(X, target, **(fit_params or {}))
    return scores_of(search)


def scores_of(search):
    return np.stack([search.cv_results_[f"split{fold}_test_score"] for fold in range(3)])


@pytest.fixture
def stacked(monkeypatch):
    """The number of fits that are trained side by side, in a list."""
    numbers = []
    original = StackedNet.stack

    def stack(fits):
        numbers.append(len(fits))
        return original(fits)

    monkeypatch.setattr(StackedNet, "stack", stack)
    return numbers


# estimators whose methods are overridden


class LogTargetPipeline(Pipeline):
    def fit(self, X, y=None, **params):
        return super().fit(X, np.log(y), **params)

    def predict(self, X, **params):
        return np.exp(super().predict(X, **params))


class DroppingPipeline(Pipeline):
    """Fits without the rows of the largest targets."""

    def fit(self, X, y=None, **params):
        kept = y < np.quantile(y, 0.8)
        return super().fit(X[kept], y[kept], **params)


class PrivatePipeline(Pipeline):
    """Overrides a private method on which the fit depends."""

    def _fit(self, X, y=None, *args, **kwargs):
        return 2 * super()._fit(X, y, *args, **kwargs)


class ScoringPipeline(Pipeline):
    def score(self, X, y=None, sample_weight=None, **params):
        return -float(np.abs(y - self.predict(X)).max())


class OpposedRegressor(RegularizedMLPRegressor):
    def predict(self, X, return_std=False):
        return -super().predict(X)


class LogRegressor(RegularizedMLPRegressor):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, np.log(y), sample_weight)


class Shifted:
    """A mixin that comes before the estimator."""

    def _predict_decoded(self, X):
        return super()._predict_decoded(X) + 1


class ShiftedRegressor(Shifted, RegularizedMLPRegressor):
    pass


class ScoredRegressor(RegularizedMLPRegressor):
    def score(self, X, y, sample_weight=None):
        return -float(np.abs(y - self.predict(X)).max())


class AttributeRegressor(RegularizedMLPRegressor):
    """Each object has its own method."""

    def __init__(self, hidden_layer_sizes=(4,), *, learning_rate_init=0.01, max_iter=4, n_members=1, random_state=0):
        super().__init__(
            hidden_layer_sizes,
            learning_rate_init=learning_rate_init,
            max_iter=max_iter,
            n_members=n_members,
            random_state=random_state,
        )
        self.predict = types.MethodType(lambda self, X: -RegularizedMLPRegressor.predict(self, X), self)


class HalvedClassifier(RegularizedMLPClassifier):
    """Predicts the second class less often."""

    def predict_proba(self, X):
        proba = super().predict_proba(X) * [1.0, 0.5]
        return proba / proba.sum(1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(1)]


class ParameterRegressor(RegularizedMLPRegressor):
    """Overrides nothing but the constructor."""

    def __init__(self, hidden_layer_sizes=(4,), *, learning_rate_init=0.01, max_iter=4, n_members=1, random_state=0):
        super().__init__(
            hidden_layer_sizes,
            learning_rate_init=learning_rate_init,
            max_iter=max_iter,
            n_members=n_members,
            random_state=random_state,
        )


class OnlyInFit(TransformerMixin, BaseEstimator):
    """``fit_transform`` differs from ``fit`` and ``transform``."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def fit_transform(self, X, y=None):
        return self.fit(X).transform(X) + np.asarray(y).reshape(-1, 1) / 10

    def transform(self, X):
        return 2 * X


def exchange_labels(X, y):
    return X, 1 - y


def piped(network, *before, kind=Pipeline, **params):
    return kind([*((f"step{number}", step) for number, step in enumerate(before)), ("net", network)], **params)


OVERRIDDEN = {
    "samplers": (piped(CLASSIFIER, RandomUnderSampler(random_state=0), kind=SamplingPipeline), Y, "net__"),
    "samplers that keep the number of rows": (
        piped(CLASSIFIER, FunctionSampler(func=exchange_labels), StandardScaler(), kind=SamplingPipeline),
        Y,
        "net__",
    ),
    "an imblearn pipeline without samplers": (piped(CLASSIFIER, StandardScaler(), kind=SamplingPipeline), Y, "net__"),
    "fit and predict of a pipeline": (piped(REGRESSOR, StandardScaler(), kind=LogTargetPipeline), TARGET, "net__"),
    "fit of a pipeline that drops rows": (piped(REGRESSOR, StandardScaler(), kind=DroppingPipeline), TARGET, "net__"),
    "a private method of a pipeline": (piped(REGRESSOR, StandardScaler(), kind=PrivatePipeline), TARGET, "net__"),
    "score of a pipeline": (piped(REGRESSOR, kind=ScoringPipeline), TARGET, "net__"),
    "predict": (OpposedRegressor(**SMALL), TARGET, ""),
    "predict in a pipeline": (piped(OpposedRegressor(**SMALL), StandardScaler()), TARGET, "net__"),
    "fit": (LogRegressor(**SMALL), TARGET, ""),
    "a mixin": (ShiftedRegressor(**SMALL), TARGET, ""),
    "score": (ScoredRegressor(**SMALL), TARGET, ""),
    "score in a pipeline": (piped(ScoredRegressor(**SMALL), StandardScaler()), TARGET, "net__"),
    "an attribute of the object": (AttributeRegressor(), TARGET, ""),
    "predict_proba": (HalvedClassifier(**SMALL), Y, ""),
    "a transformed target": (
        TransformedTargetRegressor(REGRESSOR, func=np.log, inverse_func=np.exp),
        TARGET,
        "regressor__",
    ),
    "a nested pipeline": (piped(piped(REGRESSOR, StandardScaler()), StandardScaler()), TARGET, "net__net__"),
}
ORIGINAL = {
    "a network": (REGRESSOR, TARGET, ""),
    "another constructor": (ParameterRegressor(), TARGET, ""),
    "a pipeline": (piped(CLASSIFIER, StandardScaler()), Y, "net__"),
    "steps that pass": (piped(CLASSIFIER, "passthrough", None, StandardScaler()), Y, "net__"),
    "only steps that pass": (piped(REGRESSOR, "passthrough"), TARGET, "net__"),
    "a pipeline of one step": (piped(REGRESSOR), TARGET, "net__"),
    "another fit_transform": (piped(REGRESSOR, OnlyInFit()), TARGET, "net__"),
    "another fit_transform before others": (piped(REGRESSOR, OnlyInFit(), StandardScaler()), TARGET, "net__"),
    "out-of-fold encodings": (
        piped(REGRESSOR, TargetEncoder(target_type="continuous", random_state=0)),
        TARGET,
        "net__",
    ),
    "steps of several estimators": (
        piped(CLASSIFIER, FeatureUnion([("one", StandardScaler()), ("two", FunctionTransformer(np.abs))])),
        Y,
        "net__",
    ),
    "frames between steps": (piped(CLASSIFIER, StandardScaler().set_output(transform="pandas")), Y, "net__"),
    "nested steps": (piped(CLASSIFIER, make_pipeline(StandardScaler(), OnlyInFit())), Y, "net__"),
}


@pytest.mark.parametrize("name", [*OVERRIDDEN, *ORIGINAL])
def test_scores_equal_grid_search(name, stacked):
    estimator, target, prefix = {**OVERRIDDEN, **ORIGINAL}[name]
    expected = scores_of_grid_search(estimator, target, prefix)
    search = search_of(estimator, target, prefix)
    assert_allclose(scores_of(search), expected, atol=1e-4)
    assert bool(stacked) == (name in ORIGINAL)
    if name in ORIGINAL:
        check_reported_scores(search)


def check_reported_scores(search):
    """The last value that the pruner compared is the score of the candidate."""
    trials = search.study_.trials
    for trial, score in zip(trials, search.cv_results_["mean_test_score"], strict=True):
        assert trial.intermediate_values[max(trial.intermediate_values)] == pytest.approx(score, abs=1e-6)


def test_steps_with_memory(tmp_path, stacked):
    estimator = piped(CLASSIFIER, OnlyInFit(), StandardScaler(), memory=str(tmp_path))
    search = search_of(estimator, Y, "net__")
    assert_allclose(scores_of(search), scores_of_grid_search(estimator, Y, "net__"), atol=1e-4)
    assert stacked


def test_replaced_method_of_a_class_is_called(monkeypatch, stacked):
    """Instrumentation such as autologging replaces methods of classes."""
    original, calls = Pipeline.fit, []

    def fit(self, *args, **kwargs):
        calls.append(self)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Pipeline, "fit", fit)
    search_of(piped(CLASSIFIER, StandardScaler()), Y, "net__")
    assert len(calls) == 2 * 3
    assert not stacked


@pytest.mark.parametrize("known", fold_fit.ORIGINAL_ATTRIBUTES)
def test_every_overridden_method_is_found(known):
    """Overriding any method is found in a subclass and in an object, and other attributes may be overridden."""
    estimator = piped(REGRESSOR) if known is Pipeline else known()
    assert overridden_method(estimator) is None
    assert reproducible_network(estimator) is not None
    methods = [name for name in dir(known) if callable(getattr(known, name, None)) and not name.startswith("__")]
    assert {"fit", "predict", "predict_proba", "score"} <= set(methods) | {"predict_proba"}
    for name in methods:
        if name.startswith("set_") and name.endswith("_request"):
            continue
        changed = type("Changed", (known,), {name: lambda self, *args, **kwargs: None})
        assert overridden_method(object.__new__(changed)) == name
        one = clone(estimator)
        vars(one)[name] = lambda *args, **kwargs: None
        assert overridden_method(one) == name
    assert overridden_method(object.__new__(type("Same", (known,), {"__doc__": "", "more": lambda self: 1}))) is None


def test_error_names_the_overridden_method():
    with pytest.raises(ValueError, match=r"instead, which overrides 'predict'\. Set vectorize='auto'"):
        search_of(OpposedRegressor(**SMALL), TARGET, vectorize=True)
    with pytest.raises(ValueError, match=r"instead, which overrides 'fit'\. Set vectorize='auto'"):
        search_of(piped(REGRESSOR, kind=LogTargetPipeline), TARGET, "net__", vectorize=True)


# metadata and failures


@pytest.mark.parametrize("routing", [False, True])
def test_sample_weight_equals_grid_search(routing):
    weight = np.random.default_rng(0).uniform(0.1, 3, len(X))
    with sklearn.config_context(enable_metadata_routing=routing):
        network, given = clone(REGRESSOR), {"net__sample_weight": weight}
        scaler = StandardScaler()
        if routing:
            network.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
            scaler.set_fit_request(sample_weight=True)
            given = {"sample_weight": weight}
        estimator = piped(network, scaler)
        expected = scores_of_grid_search(estimator, TARGET, "net__", fit_params=given)
        assert_allclose(scores_of(search_of(estimator, TARGET, "net__", fit_params=given)), expected, atol=1e-4)


def test_weights_in_the_score_equal_grid_search(stacked):
    given = {"sample_weight": np.random.default_rng(0).uniform(0.1, 3, len(X))}
    search = search_of(REGRESSOR, TARGET, fit_params=given)
    assert_allclose(scores_of(search), scores_of_grid_search(REGRESSOR, TARGET, fit_params=given), atol=1e-4)
    check_reported_scores(search)
    assert stacked


def fewer_rows(X):
    return X[1:]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    [
        piped(REGRESSOR, StandardScaler(), transform_input=["X_val"]),
        Pipeline([("net", StandardScaler()), ("net", REGRESSOR)]),
        piped(REGRESSOR, memory=3),
        piped(REGRESSOR, FunctionTransformer(fewer_rows)),
    ],
    ids=["transform_input without routing", "equal names", "invalid memory", "number of rows"],
)
def test_pipelines_fail_as_in_grid_search(estimator):
    with pytest.raises(Exception) as expected:  # noqa: PT011 - compared below
        scores_of_grid_search(estimator, TARGET, "net__", error_score="raise")
    with pytest.raises(type(expected.value)) as found:
        search_of(estimator, TARGET, "net__", error_score="raise")
    assert str(found.value) == str(expected.value)


# the scores that a pruner compares


def largest_error(estimator, X, y):
    """A scorer that needs the untransformed rows."""
    return -float(np.abs(y - estimator.predict(X)).max()) - X[:, 0].sum()


def some_rows(estimator, X, y):
    return float(r2_score(y[::2], estimator.predict(X[::2])))


def other_rows(estimator, X, y):
    return float(np.mean(estimator.predict(X + 1) - estimator.predict(X)))


def fitted_attributes(estimator, X, y):
    network = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    return float(network.n_iter_ + network.loss_curve_[-1] + network.oof_score_ + network.learning_rate_init)


def own_class(estimator, X, y):
    assert type(estimator) in (Pipeline, RegularizedMLPRegressor, RegularizedMLPClassifier)
    assert "fit" not in vars(estimator)
    assert get_tags(estimator).estimator_type == "regressor"
    return estimator.score(X, y)


def intervals(estimator, X, y):
    network = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    rows = estimator[:-1].transform(X) if isinstance(estimator, Pipeline) and len(estimator) > 1 else X
    return -float(np.ptp(network.predict_interval(rows, 0.5), axis=1).mean())


def several(estimator, X, y):
    return {"half": some_rows(estimator, X, y), "whole": estimator.score(X, y)}


SCORERS = {
    "score": (None, True),
    "r2": ("r2", True),
    "a metric": (make_scorer(lambda y, prediction: float(np.median(y - prediction))), True),
    "untransformed rows": (largest_error, True),
    "some rows": (some_rows, True),
    "other rows": (other_rows, True),
    "fitted attributes": (fitted_attributes, True),
    "the class of the estimator": (own_class, True),
    "intervals": (intervals, True),
    "several": (several, "half"),
    "a list": (["r2", "neg_mean_absolute_error"], "neg_mean_absolute_error"),
}
NETWORK = clone(REGRESSOR).set_params(learning_rate="constant", n_members=2, validation_fraction=0.5)
PREVIEWED = {
    "a network with validation rows": (clone(NETWORK).set_params(early_stopping=True), ""),
    "a pipeline without validation rows": (
        piped(clone(NETWORK).set_params(early_stopping=False), StandardScaler()),
        "net__",
    ),
}
EPOCHS = (2, 4)


@functools.cache
def fitted_estimators(name, max_iter):
    """Estimators that were trained for some epochs, for each candidate and fold, with the test rows."""
    estimator, prefix = PREVIEWED[name]
    params = [{f"{prefix}max_iter": max_iter, f"{prefix}learning_rate_init": rate} for rate in RATES]
    folds = list(FOLDS.split(X))
    return [
        [
            (clone(estimator).set_params(**one).fit(X[train], TARGET[train]), X[test], TARGET[test])
            for train, test in folds
        ]
        for one in params
    ]


@pytest.mark.filterwarnings("ignore:Early stopping uses only")
@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("name", PREVIEWED)
def test_reported_scores_are_those_of_shorter_trainings(name, scorer, stacked):
    """After each epoch, the pruner compares the score that a training of so many epochs has."""
    if scorer in ("fitted attributes", "intervals") and "without" in name:
        pytest.skip("requires validation rows")
    estimator, prefix = PREVIEWED[name]
    scoring, refit = SCORERS[scorer]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Early stopping uses only")
        search = search_of(estimator, TARGET, prefix, scoring=scoring, refit=refit if isinstance(refit, str) else False)
    assert stacked
    curves = [trial.intermediate_values for trial in search.study_.trials]
    assert [list(curve) for curve in curves] == [[1, 2, 3, 4]] * 2
    expected = check_scoring(NETWORK, scoring)
    metric = refit if isinstance(refit, str) else "score"
    for epoch in EPOCHS:
        for curve, folds in zip(curves, fitted_estimators(name, epoch), strict=True):
            scores = [expected(*fold) for fold in folds]
            mean = np.mean([score[metric] if isinstance(score, dict) else score for score in scores])
            assert curve[epoch] == pytest.approx(mean, abs=1e-4, rel=1e-4)
    assert_allclose([curve[4] for curve in curves], search.cv_results_[f"mean_test_{metric}"], rtol=1e-12)


@pytest.mark.filterwarnings("ignore:Early stopping uses only")
@pytest.mark.parametrize("scoring", [None, some_rows])
@pytest.mark.parametrize(
    "params",
    [
        {"ema_decay": 0.9, "batch_norm": True},
        {"monitor": "r2", "early_stopping": True},
        {"patience": 1, "early_stopping": True, "n_members": 3},
        {"loss": "quantile", "quantile": [0.2, 0.5, 0.8]},
    ],
)
def test_reported_scores_are_those_of_the_kept_weights(params, scoring):
    """This includes averaged weights, and members that have stopped."""
    if "quantile" in params and scoring is not None:
        pytest.skip("the scorer requires a single prediction")
    network = clone(REGRESSOR).set_params(learning_rate="constant", **params)
    long = search_of(clone(network).set_params(max_iter=8), TARGET, scoring=scoring)
    short = search_of(network, TARGET, scoring=scoring, vectorize=False, pruner=None)
    for trial, score in zip(long.study_.trials, short.cv_results_["mean_test_score"], strict=True):
        curve = trial.intermediate_values
        assert curve[min(4, max(curve))] == pytest.approx(score, abs=1e-3)
    check_reported_scores(long)


@pytest.mark.filterwarnings("ignore:Early stopping uses only")
@pytest.mark.parametrize(
    ("scoring", "n_members"),
    [(None, 3), ("neg_log_loss", 1), ("roc_auc", 3), (lambda e, X, y: -log_loss(y, e.predict_proba(X)), 3)],
)
def test_reported_scores_of_classifiers_are_calibrated(scoring, n_members):
    network = clone(CLASSIFIER).set_params(learning_rate="constant", n_members=n_members, early_stopping=True)
    long = search_of(clone(network).set_params(max_iter=8), Y, scoring=scoring)
    short = search_of(network, Y, scoring=scoring)
    for trial, score in zip(long.study_.trials, short.cv_results_["mean_test_score"], strict=True):
        assert trial.intermediate_values[4] == pytest.approx(score, abs=1e-4)
    check_reported_scores(long)


@pytest.mark.filterwarnings("ignore:Scoring failed")
def test_metrics_that_are_undefined_on_a_fold_are_not_reported():
    """scikit-learn's log loss requires every class in the test rows."""
    labels = np.where(np.arange(len(Y)) < 30, 0, Y)
    with pytest.warns(UserWarning, match="cannot be pruned") as caught:
        search = search_of(CLASSIFIER, labels, scoring="neg_log_loss", error_score=-9.0)
    assert sum("cannot be pruned" in str(one.message) for one in caught) == 1
    assert (scores_of(search)[0] == -9).all()


def fails(estimator, X, y):
    raise RuntimeError("a scorer that fails")


def fails_in_training(estimator, X, y):
    if estimator.n_iter_ < 4:
        raise RuntimeError("a scorer that fails early")
    return estimator.score(X, y)


@pytest.mark.parametrize("n_jobs", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_error_of_a_scorer_is_reported_once(n_jobs):
    """Among several batches and groups of candidates, there is one warning."""
    given = {"n_trials": 12, "n_jobs": n_jobs, "cv": FOLDS, "refit": False}
    given["pruner"] = optuna.pruners.ThresholdPruner(lower=-1e12)
    network = clone(REGRESSOR).set_params(early_stopping=False)

    def search_with(scoring, **params):
        search = OptunaSearchCV(network, lambda trial: {"alpha": 1e-4 * trial.number}, scoring=scoring, **given)
        return search.set_params(**params).fit(X, TARGET)

    with pytest.warns(
        UserWarning, match=r"after epoch 1: RuntimeError: a scorer that fails early.*NopPruner"
    ) as caught:
        search = search_with(fails_in_training)
    assert [str(one.message).count("cannot be pruned") for one in caught] == [1]
    assert np.isfinite(scores_of(search)).all()
    check_reported_scores(search)
    with pytest.raises(RuntimeError, match="a scorer that fails"):
        search_with(fails, error_score="raise")


def test_default_pruner_compares_the_scores_when_it_decides():
    search = search_of(clone(REGRESSOR).set_params(max_iter=10, early_stopping=False), TARGET, pruner=None)
    kept = max(search.study_.trials, key=lambda trial: max(trial.intermediate_values))
    assert list(kept.intermediate_values) == [2, 4, 8, 10]


def test_rows_are_scored_with_the_threads_of_the_estimator(monkeypatch):
    original, numbers, before = stacked_net.evaluate, [], torch.get_num_threads()

    def evaluate(*args):
        numbers.append(torch.get_num_threads())
        return original(*args)

    monkeypatch.setattr(stacked_net, "evaluate", evaluate)
    torch.set_num_threads(2)
    try:
        search_of(clone(CLASSIFIER).set_params(n_threads=1), Y)
    finally:
        torch.set_num_threads(before)
    assert set(numbers) == {1}
