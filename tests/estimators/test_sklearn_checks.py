"""scikit-learn's estimator checks, and the integration with its tools, skorch's callbacks and its own."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris, make_blobs, make_multilabel_classification, make_regression
from sklearn.ensemble import StackingClassifier
from sklearn.exceptions import DataConversionWarning
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.fixes import parse_version
from skorch import callbacks as skorch_callbacks
from skorch.callbacks import Callback

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, embeddings
from skreg.training.callbacks import REFUSED, SUPPORTED
from tests.helpers import make_mixed_table

BOTH = [RegularizedMLPClassifier, RegularizedMLPRegressor]
SMALL = {"hidden_layer_sizes": (16,), "max_iter": 8, "n_members": 2, "random_state": 0}
LEARNING = {**SMALL, "max_iter": 40, "learning_rate_init": 0.02}
VERSION = parse_version(sklearn.__version__)

# scikit-learn's checks


NARROW = {"hidden_layer_sizes": (32,), "max_iter": 20}
PLAIN = {**NARROW, "dropout": 0.0}
DEEP = {"hidden_layer_sizes": (32, 32), "dropout": 0.0, "max_iter": 20}
# L-BFGS reaches the minimum of the loss, where even rows of weight 1e-7, as in check_class_weight_classifiers, are
# fitted unless a penalty prevents it.
WEIGHT_CHECK = {"init": "auto", "alpha": 1e-5}
SETTINGS = [
    {},
    {"n_members": 1, "dropout": 0.0, "max_iter": 20},
    {"n_members": 4, "dropout": 0.0, "max_iter": 20},
    {**NARROW, "batch_norm": True},
    {"hidden_layer_sizes": ()},
    {**NARROW, "activation": "selu", "dropout": 0.1},
    {**NARROW, "augmentation": "mixup"},
    {**PLAIN, "swa_start": 0.5, "batch_norm": True},
    {**PLAIN, "l1_ratio": 1, "alpha": 1e-3},
    {**PLAIN, "feature_alpha": 1e-2, "alpha": 1e-2},
    {**DEEP, "layer_norm": True, "residual": True, "n_members": 2},
    {**PLAIN, "solver": "sgd", "learning_rate_init": 0.05, "nesterovs_momentum": False},
    {**DEEP, "alpha": (0.0, 1e-3, 0.1)},
    {**PLAIN, "learning_rate": "adaptive"},
    {**PLAIN, "solver": "lbfgs", "weight_decay": 0.0, "n_members": 1, **WEIGHT_CHECK},
    {**PLAIN, "precision": "bfloat16"},
    {**NARROW, "residual": True},
    *({**PLAIN, "numeric_embedding": name} for name in embeddings.__all__),
]
CALIBRATED = RegularizedMLPClassifier(**PLAIN, calibrate="auto")

DIFFERENT_MASKS = (
    "A repeated row has two dropout masks and a row of weight 2 has one, so the two fits agree in expectation only. "
    "scikit-learn lists this check for HistGradientBoosting too. Without dropout it must pass."
)
ROUNDING = "The two fits agree up to the rounding of bfloat16, which has 8 bits, but the check requires 1e-7."


def expected_failures(estimator):
    """Return the checks that are expected to fail: those of weights, with dropout or with bfloat16."""
    reason = None
    if estimator.precision == "bfloat16":
        reason = ROUNDING
    elif estimator.hidden_layer_sizes and estimator.dropout:
        reason = DIFFERENT_MASKS
    return {f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in ("dense", "sparse") if reason}


@parametrize_with_checks([Estimator(**PLAIN) for Estimator in BOTH], expected_failed_checks=expected_failures)
def test_check_estimator(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [*(Estimator(**setting) for setting in SETTINGS for Estimator in BOTH), CALIBRATED],
    expected_failed_checks=expected_failures,
)
def test_check_estimator_with_other_settings(estimator, check):
    check(estimator)


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_weight_2_equals_a_repeated_row_without_dropout(Estimator, kind, batch_norm):
    check = getattr(estimator_checks, f"check_sample_weight_equivalence_on_{kind}_data")
    check(Estimator.__name__, Estimator(dropout=0.0, batch_norm=batch_norm))


@pytest.mark.skipif(parse_version("1.8") > VERSION, reason="scikit-learn 1.8 brought this form of the check")
@pytest.mark.slow
def test_array_api_check_with_numpy():
    """The suite skips this check unless scipy was imported with SCIPY_ARRAY_API set, so it runs in a new process."""
    code = (
        "from sklearn.utils.estimator_checks import check_array_api_input as check\n"
        "from skreg import RegularizedMLPClassifier as C, RegularizedMLPRegressor as R\n"
        "for E in (C, R): check(E.__name__, E(max_iter=5), 'numpy')\n"
    )
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# scikit-learn's checks outside the default suite. Two do not apply: check_estimators_nan_inf requires an error for
# missing values, which both estimators support (see test_input, also for infinities); check_outlier_corruption and the
# checks of transformers are for other types of estimators.


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize(
    "name", ["check_param_validation", "check_dataframe_column_names_consistency", "check_inplace_ensure_writeable"]
)
def test_check_outside_the_default_suite(Estimator, name):
    getattr(estimator_checks, name)(Estimator.__name__, Estimator(max_iter=20))


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("kind", ["NotAnArray", "PandasDataframe"])
@pytest.mark.parametrize("n_centers", [2, 3])
def test_check_data_not_an_array(Estimator, kind, n_centers):
    X, y = make_blobs(centers=n_centers, n_samples=90, random_state=0)
    estimator_checks.check_estimators_data_not_an_array(Estimator.__name__, Estimator(**SMALL), X, y, kind)


@pytest.mark.parametrize(
    "name",
    [
        "check_class_weight_classifiers",
        "check_classifier_multioutput",
        "check_classifiers_multilabel_representation_invariance",
        "check_classifiers_multilabel_output_format_predict",
        "check_classifiers_multilabel_output_format_predict_proba",
        "check_classifiers_multilabel_output_format_decision_function",
    ],
)
@pytest.mark.slow
def test_check_of_classifiers(name):
    getattr(estimator_checks, name)("RegularizedMLPClassifier", RegularizedMLPClassifier())


def test_check_of_multioutput_regressors():
    estimator_checks.check_regressor_multioutput("RegularizedMLPRegressor", RegularizedMLPRegressor())


@pytest.mark.parametrize("n_centers", [2, 3])
def test_check_of_predictions(n_centers):
    X, y = make_blobs(centers=n_centers, n_samples=90, random_state=0)
    estimator_checks.check_classifiers_predictions(X, y, "RegularizedMLPClassifier", RegularizedMLPClassifier(**SMALL))


def test_check_of_balanced_class_weights():
    """The classes are imbalanced 19 to 1 in the training rows only, so balanced weights must help."""
    rng = np.random.RandomState(0)
    y_train, y_test = np.repeat([0, 1], [380, 20]), np.repeat([0, 1], [200, 200])
    X_train, X_test = (rng.normal(size=(400, 3)) + y[:, None] for y in (y_train, y_test))
    estimator_checks.check_class_weight_balanced_classifiers(
        "RegularizedMLPClassifier", RegularizedMLPClassifier(), X_train, y_train, X_test, y_test, [0.95, 0.05]
    )


# integration with scikit-learn


def target_of(Estimator, table):
    """Return the target of the table for this estimator."""
    return table.label if Estimator is RegularizedMLPClassifier else table.number


def outputs(estimator, X):
    """Return the results of all prediction methods."""
    names = ("predict", "predict_proba", "predict_log_proba", "decision_function")
    return [getattr(estimator, name)(X) for name in names if hasattr(estimator, name)]


@pytest.mark.parametrize("Estimator", BOTH)
def test_clone_copies_parameters_only(Estimator, mixed_table):
    fitted = Estimator(**SMALL, alpha=1e-4, dropout=[0.3]).fit(mixed_table.X, target_of(Estimator, mixed_table))
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not [name for name in vars(copy) if name.endswith("_")]


@pytest.mark.parametrize("Estimator", BOTH)
def test_set_params_returns_self_and_raises_for_unknown_names(Estimator):
    estimator = Estimator()
    assert estimator.set_params(dropout=0.25, alpha=1e-3) is estimator
    assert (estimator.dropout, estimator.get_params()["alpha"]) == (0.25, 1e-3)
    with pytest.raises(ValueError, match="Invalid parameter 'dropuot'"):
        estimator.set_params(dropuot=0.25)


@pytest.mark.parametrize("Estimator", BOTH)
def test_pickle_predicts_the_same_and_contains_no_rows(Estimator):
    sizes = []
    for n_rows in (500, 5000):
        table = make_mixed_table(n_rows)
        fitted = Estimator(**SMALL, early_stopping=True).set_params(max_iter=2)
        fitted.fit(table.X, target_of(Estimator, table))
        if "oof_prediction_" in vars(fitted):
            del fitted.oof_prediction_
        vars(fitted.net_).pop("residuals", None)  # one number for each of at most 20,000 held-out rows
        dumped = pickle.dumps(fitted)
        for before, after in zip(outputs(fitted, table.X), outputs(pickle.loads(dumped), table.X), strict=True):
            assert_array_equal(before, after)
        sizes.append(len(dumped))
    n_weights = sum(parameter.numel() for parameter in fitted.net_.module_.parameters())
    assert sizes[1] < sizes[0] + 500
    assert sizes[1] < 60_000 + 8 * n_weights


@pytest.mark.parametrize("Estimator", BOTH)
def test_repr_and_html(Estimator, mixed_table):
    estimator = Estimator(**SMALL)
    assert repr(estimator).startswith(f"{Estimator.__name__}(hidden_layer_sizes=(16,)")
    assert "Not fitted" in estimator._repr_html_()
    estimator.fit(mixed_table.X, target_of(Estimator, mixed_table))
    page = estimator._repr_html_()
    assert Estimator.__name__ in page
    assert "Fitted" in page


@pytest.mark.parametrize("Estimator", BOTH)
def test_cross_validation_and_grid_search_of_a_pipeline(Estimator, mixed_table):
    X, y = mixed_table.X, target_of(Estimator, mixed_table)
    scaled = ColumnTransformer(
        [("scale", StandardScaler(), ["number", "count"])], remainder="passthrough", verbose_feature_names_out=False
    )
    pipeline = make_pipeline(scaled.set_output(transform="pandas"), Estimator(**LEARNING))
    assert cross_val_score(pipeline, X, y, cv=3).min() > (0.7 if Estimator is RegularizedMLPClassifier else 0.3)
    assert cross_val_predict(pipeline, X, y, cv=3).shape == y.shape
    name = Estimator.__name__.lower()
    grid = {f"{name}__alpha": [0.0, 1e-2], f"{name}__dropout": [0.0, 0.2]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_[-1].get_params()["alpha"] == search.best_params_[f"{name}__alpha"]


@pytest.mark.parametrize("Estimator", BOTH)
def test_sample_weight_is_routed_through_a_search(Estimator, mixed_table):
    X, y = mixed_table.X, target_of(Estimator, mixed_table)
    weight = np.where(np.arange(len(y)) % 3 == 0, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = Estimator(**SMALL, dropout=0.0)
        estimator.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(estimator, {"alpha": [0.01]}, cv=2).fit(X, y, sample_weight=weight)
    kept = weight > 0
    alone = Estimator(**SMALL, dropout=0.0, alpha=0.01).fit(X[kept], y[kept])
    assert_array_equal(search.predict(X), alone.predict(X))


@pytest.mark.parametrize("Estimator", BOTH)
def test_pipeline_transforms_the_validation_rows(Estimator, mixed_table):
    X, y = mixed_table.X[["number", "count"]], target_of(Estimator, mixed_table)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = Estimator(**SMALL).set_fit_request(X_val=True, y_val=True)
        steps = [("shift", FunctionTransformer(lambda table: table + 100.0)), ("net", estimator)]
        pipeline = Pipeline(steps, transform_input=["X_val"]).fit(X[:160], y[:160], X_val=X[160:], y_val=y[160:])
    shifted = Estimator(**SMALL).fit(X[:160] + 100.0, y[:160], X_val=X[160:] + 100.0, y_val=y[160:])
    assert_array_equal(pipeline[-1].validation_curve_, shifted.validation_curve_)


@pytest.mark.skipif(parse_version("1.8") > VERSION, reason="temperature scaling came with scikit-learn 1.8")
def test_calibrated_classifier_with_temperature(mixed_table):
    X, y = mixed_table.X, mixed_table.label
    calibrated = CalibratedClassifierCV(RegularizedMLPClassifier(**LEARNING), method="temperature", cv=2).fit(X, y)
    assert_allclose(calibrated.predict_proba(X).sum(1), 1)
    assert calibrated.score(X, y) > 0.7


def test_calibration_of_a_frozen_classifier(mixed_table):
    X, y = mixed_table.X, mixed_table.label
    fitted = RegularizedMLPClassifier(**SMALL).fit(X[:160], y[:160])
    before = fitted.predict_proba(X)
    calibrated = CalibratedClassifierCV(FrozenEstimator(fitted), method="sigmoid").fit(X[160:], y[160:])
    assert calibrated.predict_proba(X).shape == before.shape
    assert_array_equal(fitted.predict_proba(X), before)


def test_stacking(mixed_table):
    estimators = [
        ("net", RegularizedMLPClassifier(**LEARNING)),
        ("l2", RegularizedMLPClassifier(**LEARNING, alpha=1e-2)),
    ]
    stack = StackingClassifier(estimators, LogisticRegression(), cv=2).fit(mixed_table.X, mixed_table.label)
    assert stack.score(mixed_table.X, mixed_table.label) > 0.7


@pytest.mark.parametrize("Estimator", BOTH)
def test_permutation_importance_finds_relevant_columns(Estimator, mixed_table):
    X, y = mixed_table.X, target_of(Estimator, mixed_table)
    fitted = Estimator(**LEARNING).fit(X, y)
    importance = permutation_importance(fitted, X, y, n_repeats=3, random_state=0).importances_mean
    by_name = dict(zip(X.columns, importance, strict=True))
    assert min(by_name["number"], by_name["color"]) > by_name["other"]


# targets


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["yes", "no"]),
        np.array(["yes", "no"], dtype=object),
        np.array([False, True]),
        np.array([7, -3]),
        np.array([0.0, 1.0]),
        np.array(["c", "a", "b"]),
        np.array([10, 30, 20]),
    ],
    ids=str,
)
def test_predicted_labels_have_the_type_of_y(labels):
    X, codes = make_blobs(centers=len(labels), n_samples=90, random_state=0, cluster_std=0.3)
    y = labels[codes]
    fitted = RegularizedMLPClassifier(**LEARNING).fit(X, y)
    predicted = fitted.predict(X)
    assert_array_equal(fitted.classes_, np.unique(y))
    assert predicted.dtype == y.dtype
    assert np.mean(predicted == y) > 0.9
    assert_array_equal(fitted.classes_[fitted.predict_proba(X).argmax(1)], predicted)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.csr_matrix, pd.DataFrame])
def test_multilabel_target(kind):
    X, Y = make_multilabel_classification(n_samples=120, n_classes=3, n_labels=2, random_state=0)
    fitted = RegularizedMLPClassifier(**SMALL).fit(X, kind(Y))
    predicted, probability = fitted.predict(X), fitted.predict_proba(X)
    assert predicted.shape == probability.shape == fitted.decision_function(X).shape == Y.shape
    assert_array_equal(predicted, (probability > 0.5).astype(int))
    assert np.mean(predicted == Y) > 0.6
    assert_array_equal(predicted, RegularizedMLPClassifier(**SMALL).fit(X, Y).predict(X))


def test_multioutput_target():
    X, Y = make_regression(n_samples=150, n_features=5, n_targets=3, noise=1.0, random_state=0)
    fitted = RegularizedMLPRegressor(**LEARNING).fit(X, Y * [1, 100, 1e-3])
    predicted = fitted.predict(X)
    assert predicted.shape == Y.shape
    spread = np.corrcoef(predicted.T, Y.T)[:3, 3:].diagonal()
    assert spread.min() > 0.9


def test_predictions_have_the_dimensions_of_y():
    X, y = load_diabetes(return_X_y=True)
    fitted = RegularizedMLPRegressor(**SMALL).fit(X, np.column_stack([y, y]))
    assert fitted.predict(X).shape == (len(y), 2)
    assert RegularizedMLPRegressor(**SMALL).fit(X, y).predict(X).shape == y.shape
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        of_column = RegularizedMLPRegressor(**SMALL).fit(X, y[:, None])
    assert of_column.predict(X).shape == y.shape


# tags


@pytest.mark.parametrize("Estimator", BOTH)
def test_tags(Estimator):
    tags = get_tags(Estimator())
    assert tags.input_tags.allow_nan
    assert tags.input_tags.categorical
    assert tags.input_tags.sparse
    assert tags.input_tags.string
    assert tags.target_tags.required
    assert not tags.non_deterministic
    if Estimator is RegularizedMLPClassifier:
        assert tags.classifier_tags.multi_class
        assert tags.classifier_tags.multi_label
    else:
        assert tags.target_tags.multi_output


def test_multiclass_multioutput_raises_as_tagged():
    X, y = load_iris(return_X_y=True)
    assert not get_tags(RegularizedMLPClassifier()).target_tags.multi_output
    with pytest.raises(ValueError, match="1d array"):
        RegularizedMLPClassifier(**SMALL).fit(X, np.stack([y, y[::-1]], axis=1))


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_array, sparse.coo_matrix])
def test_sparse_equals_dense(Estimator, scaling, kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 12)) * (rng.random((150, 12)) < 0.2)
    y = X[:, :3].sum(1) > 0.05
    y = y if Estimator is RegularizedMLPClassifier else y + X[:, 3]
    estimator = Estimator(**SMALL, numeric_scaling=scaling)
    dense = outputs(clone(estimator).fit(X, y), X)
    thin = outputs(clone(estimator).fit(kind(X), y), kind(X))
    for one, other in zip(dense, thin, strict=True):
        assert_allclose(one, other, rtol=1e-6, atol=1e-6) if one.dtype.kind == "f" else assert_array_equal(one, other)


# scikit-learn's callbacks


@pytest.fixture
def sklearn_callback():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn's callbacks came with 1.9")


@pytest.fixture
def iris():
    return load_iris(return_X_y=True)


def with_callback(Estimator, callback):
    return Estimator(**SMALL).set_callbacks(callback)


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("given", [(), ("sample_weight",), ("X_val", "y_val")])
def test_scoring_monitor_scores_each_epoch(Estimator, given, iris, sklearn_callback):
    X, y = iris
    data = {"sample_weight": np.ones(len(y)), "X_val": X, "y_val": y}
    scoring = "accuracy" if Estimator is RegularizedMLPClassifier else "r2"
    monitor = sklearn_callback.ScoringMonitor(scoring=scoring)
    fitted = with_callback(Estimator, monitor).fit(X, y, **{name: data[name] for name in given})
    log = monitor.get_logs().data
    epochs = [entry[scoring] for entry in log if entry["task_name"] == "epoch"]
    assert len(epochs) == fitted.n_iter_ == SMALL["max_iter"]
    (whole,) = [entry[scoring] for entry in log if entry["task_name"] == "fit"]
    assert_allclose(whole, fitted.score(X, y))


def test_scoring_monitor_in_a_pipeline_and_in_a_search(iris, sklearn_callback):
    X, y = iris
    monitor = sklearn_callback.ScoringMonitor(scoring="accuracy")
    make_pipeline(StandardScaler(), with_callback(RegularizedMLPClassifier, monitor)).fit(X, y)
    log = monitor.get_logs()
    assert log.estimator_name == "Pipeline"
    assert sum(entry["task_name"] == "epoch" for entry in log.data) == SMALL["max_iter"]
    GridSearchCV(with_callback(RegularizedMLPClassifier, monitor), {"alpha": [0.0, 1e-3]}, cv=2).fit(X, y)
    log = monitor.get_logs()
    assert log.estimator_name == "GridSearchCV"
    assert sum(entry["task_name"] == "epoch" for entry in log.data) == (2 * 2 + 1) * SMALL["max_iter"]


@pytest.mark.parametrize("wrap", ["alone", "pipeline", "search"])
def test_progress_bar(wrap, iris, sklearn_callback, capsys):
    estimator = RegularizedMLPClassifier(**SMALL)
    if wrap == "pipeline":
        estimator = make_pipeline(StandardScaler(), estimator)
    elif wrap == "search":
        estimator = GridSearchCV(estimator, {"alpha": [0.0, 1e-3]}, cv=2)
    estimator.set_callbacks(sklearn_callback.ProgressBar(max_propagation_depth=None)).fit(*iris)
    printed = capsys.readouterr().out
    assert f"{type(estimator).__name__} - fit" in printed
    assert "RegularizedMLPClassifier" in printed


class StopAtThree:
    """A scikit-learn callback that records predictions, and stops the fit after the third epoch."""

    def __init__(self):
        self.epochs = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        if context.task_name != "epoch":
            return False
        self.epochs.append(fitted_estimator.predict(X))
        return len(self.epochs) == 3


@pytest.mark.parametrize("Estimator", BOTH)
def test_callback_can_stop_the_fit(Estimator, iris, sklearn_callback):
    X, y = iris
    callback = StopAtThree()
    fitted = with_callback(Estimator, callback).fit(X, y)
    assert fitted.n_iter_ == len(fitted.loss_curve_) == len(callback.epochs) == 3
    assert_array_equal(callback.epochs[-1], fitted.predict(X))


def test_callbacks_do_not_change_predictions(iris, sklearn_callback):
    X, y = iris
    monitor = sklearn_callback.ScoringMonitor(scoring="neg_log_loss")
    monitored = with_callback(RegularizedMLPClassifier, monitor).fit(X, y)
    assert_array_equal(monitored.predict_proba(X), RegularizedMLPClassifier(**SMALL).fit(X, y).predict_proba(X))


# skorch's callbacks


class EpochRecorder(Callback):
    """Records the events of a fit."""

    def __init__(self):
        self.events = []

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.events.append("begin")

    def on_epoch_end(self, net, **kwargs):
        self.events.append(net.history[-1, "train_loss"])

    def on_train_end(self, net, X=None, y=None, **kwargs):
        self.events.append("end")


class BatchCounter(Callback):
    """Counts the batches and gradients of a fit."""

    def __init__(self):
        self.batches = self.gradients = 0

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.batches += training

    def on_grad_computed(self, net, named_parameters, batch=None, **kwargs):
        self.gradients += all(parameter.grad is not None for _, parameter in named_parameters)


def test_skorch_callback_is_notified_of_every_epoch(iris):
    recorder = EpochRecorder()
    fitted = RegularizedMLPClassifier(**SMALL, callbacks=[recorder]).fit(*iris)
    assert recorder.events == ["begin", *fitted.loss_curve_, "end"]


def test_skorch_callback_is_notified_of_batches(iris):
    X, y = iris
    recorder = BatchCounter()
    fitted = RegularizedMLPClassifier(**SMALL, batch_size=50, callbacks=[("batches", recorder)]).fit(X, y)
    assert recorder.batches == recorder.gradients == 3 * fitted.n_iter_
    plain = RegularizedMLPClassifier(**SMALL, batch_size=50).fit(X, y)
    assert_array_equal(fitted.predict_proba(X), plain.predict_proba(X))


def test_supported_callbacks_of_skorch(iris):
    lines = []
    callbacks = [skorch_callbacks.EpochTimer(), ("log", skorch_callbacks.PrintLog(sink=lines.append))]
    fitted = RegularizedMLPRegressor(**SMALL, callbacks=callbacks).fit(*iris)
    assert len(lines) == fitted.n_iter_ + 2
    assert min(fitted.net_.history[:, "dur"]) > 0


def test_every_callback_of_skorch_is_classified():
    known = {
        name
        for name in skorch_callbacks.__all__
        if isinstance(kind := getattr(skorch_callbacks, name), type) and issubclass(kind, Callback)
    }
    assert set(SUPPORTED).isdisjoint(REFUSED)
    assert known - {"Callback"} <= {*SUPPORTED, *REFUSED}


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("name", [name for name in REFUSED if hasattr(skorch_callbacks, name)])
def test_unsupported_callback_raises_with_the_remedy(Estimator, name, iris):
    estimator = Estimator(**SMALL, callbacks=[getattr(skorch_callbacks, name)])
    with pytest.raises(ValueError, match=name) as caught:
        estimator.fit(*iris)
    assert REFUSED[name] in str(caught.value)


def test_object_that_is_no_callback_raises(iris):
    with pytest.raises(TypeError, match=r"set_callbacks\(\.\.\.\)"):
        RegularizedMLPClassifier(callbacks=[print]).fit(*iris)


def test_verbose_prints_the_validation_loss_of_each_epoch(iris, capsys):
    fitted = RegularizedMLPClassifier(**SMALL, verbose=1, early_stopping=True).fit(*iris)
    header, _, *lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert {"epoch", "train_loss", "valid_loss"} <= set(header.split())
    assert [int(line.split()[0]) for line in lines] == list(range(1, fitted.n_iter_ + 1))


def test_fit_prints_nothing_by_default(iris, capsys):
    RegularizedMLPClassifier(**SMALL).fit(*iris)
    assert capsys.readouterr() == ("", "")


class Interrupt(Callback):
    """Raises KeyboardInterrupt at the end of the third epoch."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("early_stopping", [True, False])
def test_interrupt_leaves_a_fitted_estimator(Estimator, early_stopping, iris):
    X, y = iris
    estimator = Estimator(**SMALL, early_stopping=early_stopping, callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, y)
    assert estimator.n_iter_ == len(estimator.loss_curve_) == 3
    assert 1 <= estimator.best_iter_ <= 3
    copy = pickle.loads(pickle.dumps(estimator))
    for before, after in zip(outputs(estimator, X), outputs(copy, X), strict=True):
        assert np.isfinite(before).all()
        assert_array_equal(before, after)
