"""Row weights of 0 are removed rows, and class weights are row weights."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.utils.class_weight import compute_class_weight

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, diagnose, embeddings
from skreg.estimators.parameters import CONSTRAINTS
from tests.helpers import make_mixed_table

N, N_VOID = 90, 40
RNG = np.random.RandomState(0)
VOID = np.sort(RNG.choice(N + N_VOID, N_VOID, replace=False))
KEPT = np.setdiff1d(np.arange(N + N_VOID), VOID)
X = np.zeros((N + N_VOID, 3))
X[KEPT] = RNG.randn(N, 3) * [1, 10, 0.1]
SIGNAL = X[:, 0] + 0.1 * X[:, 1] + RNG.randn(N + N_VOID)
WEIGHT = np.ones(N + N_VOID)
WEIGHT[KEPT[::3]] = 2.5
WEIGHT[VOID] = 0.0

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "n_members": 2, "random_state": 0}
ESTIMATORS = {
    "binary": (RegularizedMLPClassifier(**SMALL), (SIGNAL > 0).astype(int), 7),
    "text": (RegularizedMLPClassifier(**SMALL), np.where(SIGNAL > 0, "yes", "no").astype(object), "perhaps"),
    "multiclass": (RegularizedMLPClassifier(**SMALL), np.digitize(SIGNAL, [-1, 1]), 7),
    "multilabel": (RegularizedMLPClassifier(**SMALL), np.column_stack([SIGNAL > 0, X[:, 0] > 0]).astype(float), 1.0),
    "numbers": (RegularizedMLPRegressor(**SMALL), SIGNAL, np.nan),
    "counts": (RegularizedMLPRegressor(**SMALL, loss="poisson"), np.exp(SIGNAL).round(), -1.0),
    "quantiles": (RegularizedMLPRegressor(**SMALL, loss="quantile", quantile=(0.1, 0.5, 0.9)), SIGNAL, np.inf),
    "several numbers": (RegularizedMLPRegressor(**SMALL), np.column_stack([SIGNAL, X[:, 1]]), np.nan),
}
every_target = pytest.mark.parametrize(("estimator", "y", "void_label"), ESTIMATORS.values(), ids=ESTIMATORS)


def corrupted(y, void_label):
    y = y.copy()
    y[VOID] = void_label
    return y


def results(estimator):
    """Everything that a fit computes from weighted rows."""
    found = [estimator.predict(X[KEPT]), estimator.best_iter_, estimator.loss_curve_, estimator.validation_curve_]
    if is_classifier(estimator):
        return [*found, estimator.predict_proba(X[KEPT]), estimator.classes_, estimator.temperature_]
    spread = estimator.predict(X[KEPT], return_std=True)[1]
    return [*found, spread, estimator.predict_interval(X[KEPT], 0.5)]


def assert_same(one, other):
    for ours, theirs in zip(results(one), results(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@every_target
def test_training_rows_of_weight_zero_are_removed(estimator, y, void_label):
    fitted = clone(estimator).set_params(early_stopping=True, validation_fraction=0.5)
    removed = clone(fitted).fit(X[KEPT], y[KEPT], WEIGHT[KEPT])
    far = X.copy()
    far[VOID] = np.inf
    assert_same(fitted.fit(far, corrupted(y, void_label), WEIGHT), removed)
    known = ~np.isnan(fitted.oof_prediction_.reshape(len(y), -1)).any(1)
    np.testing.assert_array_equal(known, WEIGHT > 0)
    np.testing.assert_array_equal(fitted.oof_prediction_[KEPT], removed.oof_prediction_)
    assert fitted.oof_score_ == removed.oof_score_


@every_target
@pytest.mark.parametrize("monitor", ["loss", "score"])
def test_validation_rows_of_weight_zero_are_removed(estimator, y, void_label, monitor):
    if monitor == "score":
        if estimator.get_params().get("loss") == "quantile":
            pytest.skip("a scorer needs a single prediction per row")
        monitor = "accuracy" if is_classifier(estimator) else "r2"
    fitted = clone(estimator).set_params(monitor=monitor)
    far = X.copy()
    far[VOID] = np.inf
    train = X[KEPT], y[KEPT]
    removed = clone(fitted).fit(*train, X_val=X[KEPT], y_val=y[KEPT], sample_weight_val=WEIGHT[KEPT])
    fitted.fit(*train, X_val=far, y_val=corrupted(y, void_label), sample_weight_val=WEIGHT)
    assert_same(fitted, removed)


@pytest.mark.parametrize("n_real", [3, 18])
def test_intervals_count_only_validation_rows_of_positive_weight(n_real):
    """A coverage of 90 % needs 9 rows, however many rows of weight 0 there are besides."""
    weight = np.zeros(len(X))
    weight[KEPT[:n_real]] = 1.0
    with pytest.warns(UserWarning, match=f"only {n_real} validation rows"):
        fitted = RegularizedMLPRegressor(**SMALL).fit(X, SIGNAL, X_val=X, y_val=SIGNAL, sample_weight_val=weight)
    if n_real < 9:
        with pytest.raises(ValueError, match="at least 9 held-out rows, but there are only 3"):
            fitted.predict_interval(X, 0.9)
    else:
        assert np.isfinite(fitted.predict_interval(X, 0.9)).all()


@every_target
def test_rows_of_weight_zero_are_removed_from_a_stream(estimator, y, void_label):
    classes = {}
    if is_classifier(estimator):
        classes = {"classes": np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y[KEPT])}
    rows, weighted = clone(estimator), clone(estimator)
    for _ in range(2):
        rows.partial_fit(X[KEPT], y[KEPT], sample_weight=WEIGHT[KEPT], **classes)
        weighted.partial_fit(X, corrupted(y, void_label), sample_weight=WEIGHT, **classes)
    np.testing.assert_array_equal(weighted.predict(X), rows.predict(X))


@every_target
def test_score_ignores_the_target_of_rows_of_weight_zero(estimator, y, void_label):
    fitted = clone(estimator).fit(X[KEPT], y[KEPT])
    score = fitted.score(X, corrupted(y, void_label), WEIGHT)
    assert score == pytest.approx(fitted.score(X[KEPT], y[KEPT], WEIGHT[KEPT]), rel=1e-12)
    far = X.copy()
    far[VOID] = np.inf
    assert fitted.score(far, corrupted(y, void_label), WEIGHT) == score
    with pytest.raises(ValueError, match="All values of sample_weight are zero"):
        fitted.score(X, y, 0 * WEIGHT)
    for invalid in ([10**400] * len(X), ["text", 1.5] * (len(X) // 2), np.full(len(X), np.inf), y[:-1]):
        with pytest.raises((ValueError, TypeError), match=r"\by\b"):
            fitted.score(X, invalid)


CONTAINERS = {
    "array": np.asarray,
    "objects": lambda values: np.asarray(values).astype(object),
    "list": lambda values: np.asarray(values).tolist(),
    "pandas": lambda values: (pd.DataFrame if np.ndim(values) == 2 else pd.Series)(values),
    "polars": lambda values: pl.DataFrame(values, schema=list("abc")) if np.ndim(values) == 2 else pl.Series(values),
    "pyarrow": lambda values: (
        pa.table(dict(zip("abc", values.T, strict=True))) if np.ndim(values) == 2 else pa.chunked_array([values])
    ),
}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_rows_of_weight_zero_are_removed_from_every_container(container):
    y, weight = container(corrupted(SIGNAL, np.nan)), container(WEIGHT)
    net = RegularizedMLPRegressor(**SMALL)
    fitted = clone(net).fit(container(X), y, weight, X_val=container(X), y_val=y, sample_weight_val=weight)
    kept = container(X[KEPT]), container(SIGNAL[KEPT]), container(WEIGHT[KEPT])
    removed = clone(net).fit(*kept, X_val=kept[0], y_val=kept[1], sample_weight_val=kept[2])
    prediction = fitted.predict(container(X))
    np.testing.assert_array_equal(prediction, removed.predict(container(X)))
    assert fitted.score(container(X), y, weight) == removed.score(*kept)


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csc_array, sparse.coo_array])
def test_rows_of_weight_zero_are_removed_from_sparse_tables(form):
    labels = np.column_stack([SIGNAL > 0, X[:, 0] > 0]).astype(float)
    net = RegularizedMLPClassifier(**SMALL)
    fitted = clone(net).fit(form(X), form(labels), WEIGHT)
    removed = clone(net).fit(form(X[KEPT]), form(labels[KEPT]), WEIGHT[KEPT])
    np.testing.assert_array_equal(fitted.predict_proba(X), removed.predict_proba(X))


@pytest.mark.parametrize("name", ["binary", "multiclass", "numbers"])
@pytest.mark.parametrize("validation_set", [False, True])
def test_diagnosis_ignores_rows_of_weight_zero(name, validation_set):
    estimator, y, void_label = ESTIMATORS[name]
    fitted = clone(estimator).fit(X, corrupted(y, void_label), WEIGHT)
    all_rows, kept = (X, corrupted(y, void_label)), (X[KEPT], y[KEPT])
    weights = [{"sample_weight": WEIGHT}, {"sample_weight": WEIGHT[KEPT]}]
    if validation_set:
        all_rows, kept = 2 * all_rows, 2 * kept
        weights = [{**both, "sample_weight_val": both["sample_weight"]} for both in weights]
    removed = clone(estimator).fit(X[KEPT], y[KEPT], WEIGHT[KEPT])
    ours, theirs = diagnose(fitted, *all_rows, **weights[0]), diagnose(removed, *kept, **weights[1])
    assert str(ours) == str(theirs)
    assert f"{N} rows" in ours.summary


# class weights

MIXED = make_mixed_table(150)
THREE = np.digitize(MIXED.number, np.quantile(MIXED.number, [0.1, 0.4]))
OPTIONS = [
    *({"numeric_scaling": scaling} for scaling in ("robust", "standard", "quantile", None)),
    *({"numeric_embedding": embedding} for embedding in embeddings.__all__),
    {"early_stopping": False},
    {"batch_norm": True, "init": "auto"},
    {"augmentation": "mixup"},
]


def test_options_contain_every_scaling():
    names = CONSTRAINTS["numeric_scaling"][0].options
    assert names <= {option.get("numeric_scaling") for option in OPTIONS}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("class_weight", "weighted"), [({0: 7.0, 1: 1.0, 2: 0.2}, False), ("balanced", True)])
def test_class_weight_equals_the_corresponding_sample_weight(class_weight, options, weighted):
    row_weight = np.where(np.arange(150) % 4, 1.0, 0.5) if weighted else None
    net = RegularizedMLPClassifier(**SMALL).set_params(**options)
    ours = clone(net).set_params(class_weight=class_weight).fit(MIXED.X, THREE, row_weight)
    of_class = compute_class_weight(class_weight, classes=np.arange(3), y=THREE, sample_weight=row_weight)
    theirs = clone(net).fit(MIXED.X, THREE, of_class[THREE] * (1.0 if row_weight is None else row_weight))
    np.testing.assert_array_equal(ours.predict_proba(MIXED.X), theirs.predict_proba(MIXED.X))
    plain = clone(net).fit(MIXED.X, THREE, row_weight)
    assert not np.allclose(ours.predict_proba(MIXED.X), plain.predict_proba(MIXED.X), atol=1e-3)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_rows_of_a_class_of_weight_zero_have_no_effect(options):
    net = RegularizedMLPClassifier(**SMALL, class_weight={1: 0.0}).set_params(**options)
    changed = MIXED.X.copy()
    changed["number"] = np.where(THREE == 1, 1e6, changed["number"])
    changed["city"] = np.where(THREE == 1, "Nowhere", changed["city"])
    one, other = (clone(net).fit(table, THREE) for table in (MIXED.X, changed))
    assert one.classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(one.predict_proba(MIXED.X), other.predict_proba(MIXED.X))
    if one.early_stopping:
        one, other = (clone(net).fit(MIXED.X, THREE, X_val=X, y_val=THREE) for X in (MIXED.X, changed))
        assert one.temperature_ == other.temperature_
        with pytest.raises(ValueError, match="y_val contains only classes of class_weight 0"):
            net.fit(MIXED.X, THREE, X_val=MIXED.X[THREE == 1], y_val=THREE[THREE == 1])


@pytest.mark.parametrize("monitor", ["loss", "accuracy", "roc_auc_ovr", "neg_log_loss"])
@pytest.mark.parametrize("class_weight", [{0: 1.0, 1: 0.0, 2: 2.0}, {0: 0.0, 2: 0.5}, {1: 0.0, 2: 0.0}])
@pytest.mark.parametrize("row_weight", [None, np.where(np.arange(150) % 5, 1.0, 0.0)], ids=["plain", "weighted"])
def test_scores_and_out_of_fold_predictions_include_classes_of_weight_zero(monitor, class_weight, row_weight):
    net = RegularizedMLPClassifier(**SMALL, class_weight=class_weight, monitor=monitor, validation_fraction=0.5)
    net.set_params(early_stopping=True).fit(MIXED.X, THREE, row_weight)
    given = np.ones(150, dtype=bool) if row_weight is None else row_weight > 0
    assert np.isfinite(net.oof_prediction_[given]).all()
    assert np.isnan(net.oof_prediction_[~given]).all()
    assert np.isfinite(net.validation_curve_).all()
    assert np.isfinite([net.oof_score_, net.temperature_]).all()
    assert net.oof_score_ == pytest.approx((net.oof_prediction_.argmax(1) == THREE)[given].mean())
    assert str(diagnose(net, MIXED.X, THREE, sample_weight=row_weight))


def test_a_class_of_weight_zero_has_no_effect_on_a_stream():
    net = RegularizedMLPClassifier(**SMALL, class_weight={1: 0.0})
    kept = THREE != 1
    one, other = clone(net), clone(net)
    for _ in range(2):
        one.partial_fit(MIXED.X, THREE, classes=[0, 1, 2])
        other.partial_fit(MIXED.X[kept], THREE[kept], classes=[0, 1, 2])
    np.testing.assert_array_equal(one.predict_proba(MIXED.X), other.predict_proba(MIXED.X))
    with pytest.raises(ValueError, match="y contains only classes of class_weight 0"):
        one.partial_fit(MIXED.X[~kept], THREE[~kept])
