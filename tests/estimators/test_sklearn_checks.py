"""The contract: scikit-learn's own checks, and the manners its users expect of an estimator."""

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
# L-BFGS goes to the minimum and fits in the end rows that weigh a ten-millionth, as in check_class_weight_classifiers,
# unless a penalty keeps it from doing so.
WEIGHED = {"init": "auto", "alpha": 1e-5}
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
    {**PLAIN, "solver": "lbfgs", "weight_decay": 0.0, "n_members": 1, **WEIGHED},
    {**PLAIN, "precision": "bfloat16"},
    {**NARROW, "residual": True},
    *({**PLAIN, "numeric_embedding": name} for name in embeddings.__all__),
]
CALIBRATED = RegularizedMLPClassifier(**PLAIN, calibrate="auto")

TWO_MASKS = (
    "A repeated row gets two dropout masks and a row of weight 2 gets one, so the two fits agree in expectation only. "
    "scikit-learn lists this check for HistGradientBoosting too. Without dropout it must pass."
)
EIGHT_BITS = "The two fits agree to the rounding of bfloat16, which has 8 bits, and the check asks for 1e-7."


def expected_failures(estimator):
    """Checks that do not pass: those of weights, where units of a hidden layer are dropped or sums are rounded."""
    reason = None
    if estimator.precision == "bfloat16":
        reason = EIGHT_BITS
    elif estimator.hidden_layer_sizes and estimator.dropout:
        reason = TWO_MASKS
    return {f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in ("dense", "sparse") if reason}


@parametrize_with_checks(
    [*(Estimator(**setting) for setting in SETTINGS for Estimator in BOTH), CALIBRATED],
    expected_failed_checks=expected_failures,
)
def test_check_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_weight_is_a_repetition_at_the_defaults_without_dropout(Estimator, kind, batch_norm):
    check = getattr(estimator_checks, f"check_sample_weight_equivalence_on_{kind}_data")
    check(Estimator.__name__, Estimator(dropout=0.0, batch_norm=batch_norm))


@pytest.mark.skipif(parse_version("1.8") > VERSION, reason="scikit-learn 1.8 brought this form of the check")
def test_array_api_input_of_numpy():
    """The suite skips this check unless scipy was imported with SCIPY_ARRAY_API set, so it gets a process."""
    code = (
        "from sklearn.utils.estimator_checks import check_array_api_input as check\n"
        "from skreg import RegularizedMLPClassifier as C, RegularizedMLPRegressor as R\n"
        "for E in (C, R): check(E.__name__, E(max_iter=5), 'numpy')\n"
    )
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# scikit-learn's checks outside the default suite. Two do not apply: check_estimators_nan_inf wants missing values
# refused, and both estimators take them (test_input shows that, and that infinities are refused);
# check_outlier_corruption and the checks of transformers are for other kinds of estimators.


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize(
    "name", ["check_param_validation", "check_dataframe_column_names_consistency", "check_inplace_ensure_writeable"]
)
def test_check_outside_the_suite(Estimator, name):
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
def test_check_of_classifiers(name):
    getattr(estimator_checks, name)("RegularizedMLPClassifier", RegularizedMLPClassifier())


def test_check_of_multioutput_regressors():
    estimator_checks.check_regressor_multioutput("RegularizedMLPRegressor", RegularizedMLPRegressor())


@pytest.mark.parametrize("n_centers", [2, 3])
def test_check_of_predictions(n_centers):
    X, y = make_blobs(centers=n_centers, n_samples=90, random_state=0)
    estimator_checks.check_classifiers_predictions(X, y, "RegularizedMLPClassifier", RegularizedMLPClassifier(**SMALL))


def test_check_of_balanced_weights():
    """Classes are 19 to 1 in the rows trained on and even in the rows tested on, so balanced weights must help."""
    rng = np.random.RandomState(0)
    y_train, y_test = np.repeat([0, 1], [380, 20]), np.repeat([0, 1], [200, 200])
    X_train, X_test = (rng.normal(size=(400, 3)) + y[:, None] for y in (y_train, y_test))
    estimator_checks.check_class_weight_balanced_classifiers(
        "RegularizedMLPClassifier", RegularizedMLPClassifier(), X_train, y_train, X_test, y_test, [0.95, 0.05]
    )


# manners of an estimator


def of_table(Estimator, table):
    """The target of a table that fits the estimator."""
    return table.label if Estimator is RegularizedMLPClassifier else table.number


def outputs(estimator, X):
    """Everything that an estimator says of rows."""
    names = ("predict", "predict_proba", "predict_log_proba", "decision_function")
    return [getattr(estimator, name)(X) for name in names if hasattr(estimator, name)]


@pytest.mark.parametrize("Estimator", BOTH)
def test_clone_carries_parameters_and_nothing_learned(Estimator, mixed_table):
    fitted = Estimator(**SMALL, alpha=1e-4, dropout=[0.3]).fit(mixed_table.X, of_table(Estimator, mixed_table))
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not [name for name in vars(copy) if name.endswith("_")]


@pytest.mark.parametrize("Estimator", BOTH)
def test_set_params_returns_self_and_refuses_what_is_unknown(Estimator):
    estimator = Estimator()
    assert estimator.set_params(dropout=0.25, alpha=1e-3) is estimator
    assert (estimator.dropout, estimator.get_params()["alpha"]) == (0.25, 1e-3)
    with pytest.raises(ValueError, match="Invalid parameter 'dropuot'"):
        estimator.set_params(dropuot=0.25)


@pytest.mark.parametrize("Estimator", BOTH)
def test_a_pickle_predicts_the_same_bits_and_holds_no_rows(Estimator):
    sizes = []
    for n_rows in (500, 5000):
        table = make_mixed_table(n_rows)
        fitted = Estimator(**SMALL, early_stopping=True).set_params(max_iter=2)
        fitted.fit(table.X, of_table(Estimator, table))
        if "oof_prediction_" in vars(fitted):
            del fitted.oof_prediction_
        vars(fitted.net_).pop("residuals", None)  # a number for each of at most 20,000 held-out rows
        dumped = pickle.dumps(fitted)
        for before, after in zip(outputs(fitted, table.X), outputs(pickle.loads(dumped), table.X), strict=True):
            assert_array_equal(before, after)
        sizes.append(len(dumped))
    n_weights = sum(parameter.numel() for parameter in fitted.net_.module_.parameters())
    assert sizes[1] < sizes[0] + 500
    assert sizes[1] < 60_000 + 8 * n_weights


@pytest.mark.parametrize("Estimator", BOTH)
def test_representations(Estimator, mixed_table):
    estimator = Estimator(**SMALL)
    assert repr(estimator).startswith(f"{Estimator.__name__}(hidden_layer_sizes=(16,)")
    assert "Not fitted" in estimator._repr_html_()
    estimator.fit(mixed_table.X, of_table(Estimator, mixed_table))
    page = estimator._repr_html_()
    assert Estimator.__name__ in page
    assert "Fitted" in page


@pytest.mark.parametrize("Estimator", BOTH)
def test_cross_validation_and_search_of_a_pipeline_over_a_mixed_table(Estimator, mixed_table):
    X, y = mixed_table.X, of_table(Estimator, mixed_table)
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
def test_weights_are_routed_through_a_search(Estimator, mixed_table):
    X, y = mixed_table.X, of_table(Estimator, mixed_table)
    weight = np.where(np.arange(len(y)) % 3 == 0, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = Estimator(**SMALL, dropout=0.0)
        estimator.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(estimator, {"alpha": [0.01]}, cv=2).fit(X, y, sample_weight=weight)
    kept = weight > 0
    alone = Estimator(**SMALL, dropout=0.0, alpha=0.01).fit(X[kept], y[kept])
    assert_array_equal(search.predict(X), alone.predict(X))


@pytest.mark.parametrize("Estimator", BOTH)
def test_a_pipeline_transforms_the_validation_rows(Estimator, mixed_table):
    X, y = mixed_table.X[["number", "count"]], of_table(Estimator, mixed_table)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = Estimator(**SMALL).set_fit_request(X_val=True, y_val=True)
        steps = [("shift", FunctionTransformer(lambda table: table + 100.0)), ("net", estimator)]
        pipeline = Pipeline(steps, transform_input=["X_val"]).fit(X[:160], y[:160], X_val=X[160:], y_val=y[160:])
    shifted = Estimator(**SMALL).fit(X[:160] + 100.0, y[:160], X_val=X[160:] + 100.0, y_val=y[160:])
    assert_array_equal(pipeline[-1].validation_curve_, shifted.validation_curve_)


@pytest.mark.skipif(parse_version("1.8") > VERSION, reason="temperature scaling came with scikit-learn 1.8")
def test_temperature_calibration(mixed_table):
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
    parts = [("net", RegularizedMLPClassifier(**LEARNING)), ("l2", RegularizedMLPClassifier(**LEARNING, alpha=1e-2))]
    stack = StackingClassifier(parts, LogisticRegression(), cv=2).fit(mixed_table.X, mixed_table.label)
    assert stack.score(mixed_table.X, mixed_table.label) > 0.7


@pytest.mark.parametrize("Estimator", BOTH)
def test_permutation_importance_finds_the_columns_that_matter(Estimator, mixed_table):
    X, y = mixed_table.X, of_table(Estimator, mixed_table)
    fitted = Estimator(**LEARNING).fit(X, y)
    importance = permutation_importance(fitted, X, y, n_repeats=3, random_state=0).importances_mean
    by_name = dict(zip(X.columns, importance, strict=True))
    assert min(by_name["number"], by_name["colour"]) > by_name["other"]


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
def test_labels_of_any_type_come_back_as_they_were(labels):
    X, codes = make_blobs(centers=len(labels), n_samples=90, random_state=0, cluster_std=0.3)
    y = labels[codes]
    fitted = RegularizedMLPClassifier(**LEARNING).fit(X, y)
    predicted = fitted.predict(X)
    assert_array_equal(fitted.classes_, np.unique(y))
    assert predicted.dtype == y.dtype
    assert np.mean(predicted == y) > 0.9
    assert_array_equal(fitted.classes_[fitted.predict_proba(X).argmax(1)], predicted)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.csr_matrix, pd.DataFrame])
def test_several_labels_at_once(kind):
    X, Y = make_multilabel_classification(n_samples=120, n_classes=3, n_labels=2, random_state=0)
    fitted = RegularizedMLPClassifier(**SMALL).fit(X, kind(Y))
    predicted, probability = fitted.predict(X), fitted.predict_proba(X)
    assert predicted.shape == probability.shape == fitted.decision_function(X).shape == Y.shape
    assert_array_equal(predicted, (probability > 0.5).astype(int))
    assert np.mean(predicted == Y) > 0.6
    assert_array_equal(predicted, RegularizedMLPClassifier(**SMALL).fit(X, Y).predict(X))


def test_several_numbers_at_once():
    X, Y = make_regression(n_samples=150, n_features=5, n_targets=3, noise=1.0, random_state=0)
    fitted = RegularizedMLPRegressor(**LEARNING).fit(X, Y * [1, 100, 1e-3])
    predicted = fitted.predict(X)
    assert predicted.shape == Y.shape
    spread = np.corrcoef(predicted.T, Y.T)[:3, 3:].diagonal()
    assert spread.min() > 0.9


def test_a_column_of_numbers_gives_a_column():
    X, y = load_diabetes(return_X_y=True)
    fitted = RegularizedMLPRegressor(**SMALL).fit(X, y[:, None])
    assert fitted.predict(X).shape == (len(y), 1)
    assert RegularizedMLPRegressor(**SMALL).fit(X, y).predict(X).shape == y.shape


# tags tell the truth


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


def test_several_classes_in_several_columns_are_refused_as_the_tag_says():
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


def validation(Estimator, callback):
    return Estimator(**SMALL).set_callbacks(callback)


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("given", [(), ("sample_weight",), ("X_val", "y_val")])
def test_scoring_monitor_scores_each_epoch(Estimator, given, iris, sklearn_callback):
    X, y = iris
    data = {"sample_weight": np.ones(len(y)), "X_val": X, "y_val": y}
    scoring = "accuracy" if Estimator is RegularizedMLPClassifier else "r2"
    monitor = sklearn_callback.ScoringMonitor(scoring=scoring)
    fitted = validation(Estimator, monitor).fit(X, y, **{name: data[name] for name in given})
    log = monitor.get_logs().data
    epochs = [entry[scoring] for entry in log if entry["task_name"] == "epoch"]
    assert len(epochs) == fitted.n_iter_ == SMALL["max_iter"]
    (whole,) = [entry[scoring] for entry in log if entry["task_name"] == "fit"]
    assert_allclose(whole, fitted.score(X, y))


def test_scoring_monitor_in_a_pipeline_and_in_a_search(iris, sklearn_callback):
    X, y = iris
    monitor = sklearn_callback.ScoringMonitor(scoring="accuracy")
    make_pipeline(StandardScaler(), validation(RegularizedMLPClassifier, monitor)).fit(X, y)
    log = monitor.get_logs()
    assert log.estimator_name == "Pipeline"
    assert sum(entry["task_name"] == "epoch" for entry in log.data) == SMALL["max_iter"]
    GridSearchCV(validation(RegularizedMLPClassifier, monitor), {"alpha": [0.0, 1e-3]}, cv=2).fit(X, y)
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
    """A callback as scikit-learn's protocol wants it, which stops the third epoch and keeps what it saw."""

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
def test_a_callback_stops_the_fit(Estimator, iris, sklearn_callback):
    X, y = iris
    callback = StopAtThree()
    fitted = validation(Estimator, callback).fit(X, y)
    assert fitted.n_iter_ == len(fitted.loss_curve_) == len(callback.epochs) == 3
    assert_array_equal(callback.epochs[-1], fitted.predict(X))


def test_callbacks_change_no_bit_of_the_fit(iris, sklearn_callback):
    X, y = iris
    monitor = sklearn_callback.ScoringMonitor(scoring="neg_log_loss")
    told = validation(RegularizedMLPClassifier, monitor).fit(X, y)
    assert_array_equal(told.predict_proba(X), RegularizedMLPClassifier(**SMALL).fit(X, y).predict_proba(X))


# skorch's callbacks


class Listener(Callback):
    """Keeps the names of what it is told."""

    def __init__(self):
        self.heard = []

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.heard.append("begin")

    def on_epoch_end(self, net, **kwargs):
        self.heard.append(net.history[-1, "train_loss"])

    def on_train_end(self, net, X=None, y=None, **kwargs):
        self.heard.append("end")


class BatchListener(Callback):
    """Counts batches and gradients."""

    def __init__(self):
        self.batches = self.gradients = 0

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.batches += training

    def on_grad_computed(self, net, named_parameters, batch=None, **kwargs):
        self.gradients += all(parameter.grad is not None for _, parameter in named_parameters)


def test_a_skorch_callback_hears_of_every_epoch(iris):
    listener = Listener()
    fitted = RegularizedMLPClassifier(**SMALL, callbacks=[listener]).fit(*iris)
    assert listener.heard == ["begin", *fitted.loss_curve_, "end"]


def test_a_skorch_callback_may_listen_to_batches(iris):
    X, y = iris
    listener = BatchListener()
    fitted = RegularizedMLPClassifier(**SMALL, batch_size=50, callbacks=[("batches", listener)]).fit(X, y)
    assert listener.batches == listener.gradients == 3 * fitted.n_iter_
    deaf = RegularizedMLPClassifier(**SMALL, batch_size=50).fit(X, y)
    assert_array_equal(fitted.predict_proba(X), deaf.predict_proba(X))


def test_skorchs_own_supported_callbacks_work(iris):
    lines = []
    callbacks = [skorch_callbacks.EpochTimer(), ("log", skorch_callbacks.PrintLog(sink=lines.append))]
    fitted = RegularizedMLPRegressor(**SMALL, callbacks=callbacks).fit(*iris)
    assert len(lines) == fitted.n_iter_ + 2
    assert min(fitted.net_.history[:, "dur"]) > 0


def test_every_callback_of_skorch_is_either_supported_or_refused():
    known = {
        name
        for name in skorch_callbacks.__all__
        if isinstance(kind := getattr(skorch_callbacks, name), type) and issubclass(kind, Callback)
    }
    assert set(SUPPORTED).isdisjoint(REFUSED)
    assert known - {"Callback"} <= {*SUPPORTED, *REFUSED}


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("name", [name for name in REFUSED if hasattr(skorch_callbacks, name)])
def test_a_refused_callback_is_refused_with_its_remedy(Estimator, name, iris):
    estimator = Estimator(**SMALL, callbacks=[getattr(skorch_callbacks, name)])
    with pytest.raises(ValueError, match=name) as caught:
        estimator.fit(*iris)
    assert REFUSED[name] in str(caught.value)


def test_what_is_no_callback_is_refused(iris):
    with pytest.raises(TypeError, match=r"set_callbacks\(\.\.\.\)"):
        RegularizedMLPClassifier(callbacks=[print]).fit(*iris)


def test_verbose_prints_a_line_for_each_epoch(iris, capsys):
    fitted = RegularizedMLPClassifier(**SMALL, verbose=1, early_stopping=True).fit(*iris)
    header, _, *lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert {"epoch", "train_loss", "valid_loss"} <= set(header.split())
    assert [int(line.split()[0]) for line in lines] == list(range(1, fitted.n_iter_ + 1))


def test_silence_by_default(iris, capsys):
    RegularizedMLPClassifier(**SMALL).fit(*iris)
    assert capsys.readouterr() == ("", "")


class Interrupt(Callback):
    """Ctrl-C at the end of the third epoch."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("early_stopping", [True, False])
def test_an_interrupt_is_passed_on_and_leaves_a_fitted_estimator(Estimator, early_stopping, iris):
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
