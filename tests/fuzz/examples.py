"""Cases: calls of an estimator, searches, diagnoses and displays, and their strategies.

Each case is performed by ``run``, which raises ``Failure`` if a law does not hold.
"""

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cloudpickle
import matplotlib.pyplot as plt
import numpy as np
import optuna
from hypothesis import reject
from hypothesis import strategies as st
from scipy.stats import loguniform
from sklearn.base import clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import KFold, LeaveOneOut, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skreg import OptunaSearchCV, RegularizedMLPClassifier, RegularizedMLPRegressor, diagnose, plots
from tests.fuzz.checks import Session, require
from tests.fuzz.parameters import HOSTILE, Named, Params, parameters, resolve, valid_values
from tests.fuzz.tables import Table, tables
from tests.fuzz.targets import Target, Weight, targets, weights

plt.switch_backend("Agg")

UNSUPPORTED = (AttributeError,)
"""Error of methods and attributes that a parameter makes unavailable."""
SHARED_CALLS = [
    *("fit", "fit weighted", "fit validated", "predict", "predict other", "score", "score weighted", "partial_fit"),
    *("warm start", "set_params", "clone", "pickle", "deepcopy", "fine-tune", "attributes", "show"),
    *("predict_uncertainty", "sample_predictions"),
]
CALLS = {
    True: [*SHARED_CALLS, "predict_proba", "predict_log_proba", "decision_function"],
    False: [*SHARED_CALLS, "predict_interval", "predict_std"],
}
ATTRIBUTES = [
    *("n_iter_", "best_iter_", "loss_curve_", "validation_curve_", "oof_prediction_", "oof_score_", "coefs_"),
    *("intercepts_", "feature_importances_", "chosen_", "seed_", "classes_", "temperature_", "n_features_in_"),
]


@dataclass(frozen=True)
class EstimatorExample:
    """Calls of a classifier or a regressor, one after the other.

    Parameters
    ----------
    classifier : bool
        Whether the estimator is a classifier.
    params : tuple of (str, object)
        Parameters of the estimator.
    table, other : Table
        Training rows, and rows that are predicted in "predict other" and used as validation rows.
    target : Target
        Target of both tables.
    weight : Weight or None
        Row weights.
    calls : tuple of str
        Names in ``CALLS``.
    change : (str, object)
        Parameter that "set_params" changes.
    """

    classifier: bool
    params: Params
    table: Table
    target: Target
    calls: tuple[str, ...]
    weight: Weight | None = None
    other: Table | None = None
    change: tuple[str, Any] = ("max_iter", 1)

    def run(self) -> None:
        """Perform the calls."""
        EstimatorRun(self).run()


class EstimatorRun:
    """The state of an ``EstimatorExample`` while its calls are performed."""

    def __init__(self, example: EstimatorExample) -> None:
        self.example = example
        cls = RegularizedMLPClassifier if example.classifier else RegularizedMLPRegressor
        self.estimator: Any = cls(**resolve(example.params))
        other = example.other or example.table
        self.X, self.other = example.table.build(), other.build()
        self.y, self.other_y = example.target.build(example.table.n_rows), example.target.build(other.n_rows)
        weight = example.weight or Weight("ones")
        self.weight, self.other_weight = weight.build(example.table.n_rows), weight.build(other.n_rows)
        self.session = Session(
            may_draw={**dict(example.params), example.change[0]: example.change[1]}.get("random_state") is None,
            X=self.X,
            other=self.other,
            y=self.y,
            other_y=self.other_y,
            sample_weight=self.weight,
            params=self.estimator,
        )
        self.rows: int | None = None

    def run(self) -> None:
        """Perform the calls of the example."""
        for name in self.example.calls:
            getattr(self, "_" + name.replace(" ", "_").replace("-", "_"), partial(self._predict_by, name))()

    def _call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return self.session.call(function, *args, **options)

    def _fit(self) -> None:
        self._train(self.estimator.fit, self.X, self.y)

    def _fit_weighted(self) -> None:
        self._train(self.estimator.fit, self.X, self.y, self.weight)

    def _fit_validated(self) -> None:
        fit = partial(self.estimator.fit, X_val=self.other, y_val=self.other_y, sample_weight_val=self.other_weight)
        self._train(fit, self.X, self.y, self.weight)

    def _partial_fit(self) -> None:
        if hasattr(self.estimator, "partial_fit"):
            classes = (
                [np.unique(self.y)] if self.example.classifier and self.example.target.kind.endswith("ints") else []
            )
            fit = partial(self.estimator.partial_fit, sample_weight=self.weight)
            self._train(fit, self.X, self.y, **{"classes": classes[0]} if classes else {})

    def _train(self, fit: Callable[..., Any], *args: Any, **named: Any) -> None:
        result = self._call(partial(fit, **named), *args)
        if self.session.error is None:
            require(result is self.estimator, "fit returns the estimator", result)
            curve = self.estimator.loss_curve_
            require(np.isfinite(curve).all() or len(curve) > 1, "finite training loss", curve)

    def _warm_start(self) -> None:
        self._set("warm_start", True)
        self._fit()

    def _set_params(self) -> None:
        name, value = self.example.change
        self._set(name, value.value if isinstance(value, Named) else value)

    def _set(self, name: str, value: Any) -> None:
        self.estimator.set_params(**{name: value})
        self.session.inputs.pop("params", None)

    def _clone(self) -> None:
        self._replace(clone(self.estimator))

    def _pickle(self) -> None:
        self._replace(self._call(lambda: pickle.loads(cloudpickle.dumps(self.estimator))))

    def _deepcopy(self) -> None:
        self._replace(self._call(copy.deepcopy, self.estimator))

    def _replace(self, estimator: Any) -> None:
        self.session.inputs.pop("params", None)
        self.estimator = estimator

    def _fine_tune(self) -> None:
        self._replace(clone(self.estimator).set_params(pretrained=FrozenEstimator(self.estimator)))
        self._fit()

    def _attributes(self) -> None:
        for name in ATTRIBUTES:
            self._call(getattr, self.estimator, name, allowed=UNSUPPORTED)

    def _show(self) -> None:
        self._call(repr, self.estimator)
        self._call(self.estimator._repr_html_)

    def _score(self) -> None:
        self._check_score(self._call(self.estimator.score, self.X, self.y))

    def _score_weighted(self) -> None:
        self._check_score(self._call(self.estimator.score, self.X, self.y, self.weight))

    @staticmethod
    def _check_score(score: Any) -> None:
        require(score is None or isinstance(score, float), "the score is a float", repr(score))

    def _predict_other(self) -> None:
        self._predict_by("predict", self.other, (self.example.other or self.example.table).n_rows)

    def _predict_std(self) -> None:
        found = self._call(self.estimator.predict, self.X, True)
        if found is not None:
            require(np.isfinite(found[1]).all() and (found[1] >= 0).all(), "finite standard deviations", found[1])

    def _predict_uncertainty(self) -> None:
        found = self._call(partial(self.estimator.predict_uncertainty, n_samples=2), self.X)
        if found is not None:
            for name in ("mean", "total", "aleatoric", "epistemic"):
                require(np.isfinite(getattr(found, name)).all(), "finite uncertainty", getattr(found, name))

    def _sample_predictions(self) -> None:
        found = self._call(partial(self.estimator.sample_predictions, n_samples=2), self.X)
        require(found is None or np.isfinite(found).all(), "finite samples", found)

    def _predict_by(self, method: str, X: Any = None, n_rows: int | None = None) -> None:
        found = self._call(getattr(self.estimator, method), self.X if X is None else X)
        if self.session.error is None:
            check_prediction(self.estimator, method, found, n_rows or self.example.table.n_rows)


def check_prediction(estimator: Any, method: str, found: Any, n_rows: int) -> None:
    """Check type, shape and values of a prediction."""
    require(isinstance(found, np.ndarray) and len(found) == n_rows, f"shape of {method}", found)
    if method == "predict" and is_classifier(estimator):
        labels = [0, 1] if found.ndim == 2 else estimator.classes_
        require(np.isin(found, labels).all(), "predictions are classes", found)
        return
    finite = found if method != "predict_log_proba" else np.exp(found)
    require(np.isfinite(finite).all(), f"{method} is finite", found)
    if method == "predict_proba":
        require((found >= 0).all() and (found <= 1 + 1e-12).all(), "probabilities are in [0, 1]", found)
        if estimator.target_encoder_.kind_ != "multilabel":
            require(found.shape == (n_rows, len(estimator.classes_)), "shape of predict_proba", found.shape)
            require(np.allclose(found.sum(1), 1), "probabilities sum to 1", found)
    if method == "predict_interval":
        require((found[..., 0] <= found[..., 1]).all(), "intervals are ordered", found)


# Searches: values of their parameters by name. Spaces are written for a network alone or after a scaler.
SPACES: dict[str, Any] = {
    "list": {"alpha": [0.1, 0.2], "learning_rate_init": [0.01, 0.02]},
    "scipy": {"alpha": loguniform(1e-3, 1.0)},
    "optuna": {"dropout": optuna.distributions.FloatDistribution(0.0, 0.5)},
    "structure": {"hidden_layer_sizes": [(2,), (3, 2)], "activation": ["relu", "tanh"]},
    "several": [{"alpha": [0.1]}, {"dropout": [0.2], "n_members": [1, 2]}],
    "callable": lambda trial: {"alpha": trial.suggest_float("alpha", 0.1, 1.0)},
    "invalid values": {"alpha": [-1.0, 0.1]},
    "invalid values only": {"dropout": [2.0]},
    "unknown name": {"unknown": [1]},
    "empty": {},
    "empty list": {"alpha": []},
    "number": {"alpha": 0.1},
    "text": {"alpha": "auto"},
    "nan": {"alpha": [float("nan")]},
    "numbers as names": {1: [0.1]},
    "None": None,
    "tuple": (("alpha", [0.1]),),
    "returns None": lambda trial: None,
    "raises": lambda trial: 1 / 0 if trial is None else {"alpha": trial.suggest_int("alpha", 2, 1)},
}
SPLITTERS: dict[str, Any] = {
    "2": 2,
    "KFold": KFold(2),
    "shuffled": KFold(2, shuffle=True, random_state=0),
    "stratified": StratifiedKFold(2),
    "unseeded": ShuffleSplit(2, random_state=None),
    "leave one out": LeaveOneOut(),
    "pairs": [(np.arange(0, 3), np.arange(3, 4))],
    "masks": [(np.array([True, True, True, False]), np.array([False, False, False, True]))],
    "empty": [],
    "out of range": [(np.array([0, 1]), np.array([99]))],
    "1": 1,
    "0.5": 0.5,
    "text": "KFold",
}
SCORERS: dict[str, Any] = {
    "None": None,
    "accuracy": "accuracy",
    "neg_log_loss": "neg_log_loss",
    "roc_auc": "roc_auc",
    "r2": "r2",
    "neg_mean_squared_error": "neg_mean_squared_error",
    "callable": lambda estimator, X, y: float(np.mean(estimator.predict(X) == y)),
    "text": "unknown",
    "nan": lambda estimator, X, y: float("nan"),
    "raises": lambda estimator, X, y: 1 / 0,
    "list": ["accuracy", "neg_log_loss"],
    "returns text": lambda estimator, X, y: "good",
}
OPTIONS: dict[str, list[Any]] = {
    "n_trials": [1, 2, 3],
    "timeout": [None, 0, 1e-9, 10],
    "refit": [True, False, "accuracy", "r2"],
    "pruner": [None, Named("nop"), Named("median")],
    "sampler": [None, Named("random")],
    "study_name": [None, "name", "", "a/b"],
    "n_jobs": [None, 1],
    "vectorize": ["auto", True, False],
    "random_state": [0, 1],
    "verbose": [0, 1],
    "error_score": [float("nan"), 0.0, "raise"],
    "return_train_score": [False, True],
}
MADE = {
    "nop": optuna.pruners.NopPruner,
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=1),
    "random": lambda: optuna.samplers.RandomSampler(seed=0),
}


@dataclass(frozen=True)
class SearchExample:
    """A search: names in ``SPACES``, ``SPLITTERS`` and ``SCORERS``, and further options."""

    classifier: bool
    params: Params
    table: Table
    target: Target
    space: str
    splitter: str
    scorer: str
    options: Params = ()
    pipeline: bool = False
    weight: Weight | None = None

    def run(self) -> None:
        """Fit the search, and predict."""
        cls = RegularizedMLPClassifier if self.classifier else RegularizedMLPRegressor
        estimator: Any = cls(**resolve(self.params))
        space = SPACES[self.space]
        if self.pipeline:
            estimator = make_pipeline(StandardScaler(), estimator)
            if isinstance(space, dict):
                space = {f"{estimator.steps[-1][0]}__{name}": values for name, values in space.items()}
        options = {
            name: MADE[value.name]() if isinstance(value, Named) and value.name in MADE else value
            for name, value in resolve_known(self.options).items()
        }
        search = OptunaSearchCV(estimator, space, cv=SPLITTERS[self.splitter], scoring=SCORERS[self.scorer], **options)
        X, y = self.table.build(), self.target.build(self.table.n_rows)
        fit_params = {"sample_weight": self.weight.build(self.table.n_rows)} if self.weight else {}
        may_draw = dict(self.params).get("random_state") is None or self.splitter == "unseeded"
        session = Session(may_draw, X=X, y=y, **fit_params)
        # An error of the user's own callable or of their splitter is passed on.
        raised_by_user = (
            {"raises", "returns text"} & {self.space, self.scorer}
            or self.splitter in ("pairs", "masks", "out of range")
            or callable(options.get("refit"))
        )
        allowed = (Exception,) if raised_by_user else ()
        session.call(lambda: search.fit(X, y, **fit_params), allowed=allowed)
        session.call(repr, search)
        if session.error is None and hasattr(search, "best_estimator_"):
            found = session.call(search.predict, X)
            require(len(found) == self.table.n_rows, "shape of the prediction of a search", found)
            scores = next(of for name, of in search.cv_results_.items() if name.startswith("mean_test_"))
            require(np.isfinite(search.best_score_) or np.isnan(scores).all(), "finite best score", scores)
            session.call(search.trials_dataframe)


def resolve_known(params: Params) -> dict[str, Any]:
    """As ``resolve``, but keep the names of values that are made for each example."""
    return {n: v if isinstance(v, Named) and v.name in MADE else resolve(((n, v),))[n] for n, v in params}


@dataclass(frozen=True)
class ReportExample:
    """A fit, followed by ``diagnose`` or a display.

    Parameters
    ----------
    report : str
        "diagnose", or the name of a display.
    option : (str, object) or None
        Argument of the display.
    """

    classifier: bool
    params: Params
    table: Table
    target: Target
    report: str
    other: Table | None = None
    option: tuple[str, Any] | None = None

    def run(self) -> None:
        """Fit, diagnose or draw."""
        cls = RegularizedMLPClassifier if self.classifier else RegularizedMLPRegressor
        estimator = cls(**resolve(self.params))
        X, y = self.table.build(), self.target.build(self.table.n_rows)
        other = self.other or self.table
        other_X, other_y = other.build(), self.target.build(other.n_rows)
        may_draw = dict(self.params).get("random_state") is None
        session = Session(may_draw, X=X, y=y, other=other_X, other_y=other_y)
        session.call(estimator.fit, X, y)
        if session.error is not None:
            reject()
        if self.report == "diagnose":
            held_out = (other_X, other_y) if self.other else ()
            diagnosis = session.call(lambda: diagnose(estimator, X, y, *held_out))
            if session.error is None:
                session.call(lambda: (str(diagnosis), diagnosis._repr_html_(), diagnosis.to_frame()))
                require(all(0 <= finding.certainty <= 1 for finding in diagnosis), "certainty is in [0, 1]", diagnosis)
            return
        try:
            session.call(self._draw, estimator, other_X, other_y)
        finally:
            plt.close("all")

    def _draw(self, estimator: Any, X: Any, y: Any) -> None:
        options = resolve((self.option,)) if self.option else {}
        if self.report == "LiveTrainingCurve":
            estimator.set_params(callbacks=[plots.LiveTrainingCurve(**options)]).fit(X, y)
            return
        rows = {"ActivationDisplay": (X,), "GradientDisplay": (X, y), "UncertaintyDisplay": (X, y)}
        rows["RegularizationPathDisplay"] = (X, y)
        if self.report == "RegularizationPathDisplay":
            options = {"param_range": [0.1, 1.0], "cv": 2} | options
        display = getattr(plots, self.report).from_estimator(estimator, *rows.get(self.report, ()), **options)
        display.figure_.canvas.draw()


DISPLAY_OPTIONS: dict[str, list[Any]] = {
    "FeatureSelectionDisplay": ["max_features"],
    "ActivationDisplay": ["bins", "max_rows", "initial", "ax"],
    "GradientDisplay": ["bins", "max_rows", "initial"],
    "WeightDisplay": ["bins", "ax"],
    "UncertaintyDisplay": ["n_bins", "coverage"],
    "RegularizationPathDisplay": ["param_name", "param_range", "cv", "scoring", "n_named"],
    "LiveTrainingCurve": ["seconds"],
    "TrainingCurveDisplay": ["ax"],
}


@st.composite
def estimator_examples(draw: st.DrawFn) -> EstimatorExample:
    """Draw calls of an estimator."""
    classifier = draw(st.booleans())
    first = draw(st.sampled_from(["fit", "fit", "fit weighted", "fit validated", "partial_fit", "predict"]))
    calls = draw(st.lists(st.sampled_from(CALLS[classifier]), min_size=1, max_size=5))
    cls = RegularizedMLPClassifier if classifier else RegularizedMLPRegressor
    name = draw(st.sampled_from([name for name in cls._get_param_names() if name not in ("max_iter", "n_members")]))
    change = name, draw(st.sampled_from(valid_values(cls, name)))
    return EstimatorExample(
        classifier,
        draw(parameters(classifier)),
        draw(tables()),
        draw(targets(classifier)),
        (first, *calls),
        draw(weights()),
        draw(tables()) if draw(st.integers(0, 3)) == 3 else None,
        change,
    )


@st.composite
def search_examples(draw: st.DrawFn) -> SearchExample:
    """Draw a search; most of its parts are usual ones, so that its errors do not hide each other."""

    def usual(names: list[str], known: dict[str, Any]) -> str:
        return draw(st.sampled_from(sorted(known) if draw(st.integers(0, 3)) == 3 else names))

    classifier, ordinary = draw(st.booleans()), draw(st.integers(0, 3)) < 3
    names = draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=3, unique=True))
    options = {"n_trials": 2, "random_state": 0} | {name: draw(st.sampled_from(OPTIONS[name])) for name in names}
    if names and draw(st.integers(0, 5)) == 5 and names[0] not in ("n_trials", "n_jobs", "verbose"):
        options[names[0]] = draw(st.sampled_from(HOSTILE))
    table = draw(tables(min_rows=4, ordinary=ordinary))
    return SearchExample(
        classifier,
        draw(parameters(classifier, hostile=False, max_size=1)),
        table,
        draw(targets(classifier, ordinary)),
        usual(["list", "scipy", "optuna", "structure", "several", "callable"], SPACES),
        usual(["2", "KFold", "shuffled", "stratified"] if classifier else ["2", "KFold", "shuffled"], SPLITTERS),
        usual(["None", "accuracy", "neg_log_loss"] if classifier else ["None", "r2"], SCORERS),
        tuple(options.items()),
        table.container == "array of f8" and draw(st.booleans()),  # the scaler takes numbers only
        draw(weights()) if draw(st.integers(0, 3)) == 3 else None,
    )


@st.composite
def report_examples(draw: st.DrawFn, of_plots: bool) -> ReportExample:
    """Draw a diagnosis or a display."""
    classifier, ordinary = draw(st.booleans()), draw(st.integers(0, 2)) < 2
    report = draw(st.sampled_from(sorted(DISPLAY_OPTIONS))) if of_plots else "diagnose"
    option = None
    if of_plots and draw(st.booleans()):
        option = draw(st.sampled_from(DISPLAY_OPTIONS[report])), draw(st.sampled_from([1, 2, *HOSTILE]))
    if option is not None and option[1] in (Named("2**70"), Named("10**400")):
        option = option[0], 1
    return ReportExample(
        classifier,
        draw(parameters(classifier, hostile=False, max_size=3)),
        draw(tables(min_rows=1, ordinary=ordinary)),
        draw(targets(classifier)),
        report,
        draw(tables(ordinary=ordinary)) if draw(st.integers(0, 3)) == 3 else None,
        option,
    )
