"""Tables and targets as they come from databases, other libraries and small folds."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor

RNG = np.random.RandomState(0)
Z = RNG.randn(300, 4)
TWO = (Z[:, 0] > 0).astype(int)
FAST = {"hidden_layer_sizes": (16,), "max_iter": 8, "random_state": 0}
FRAME = pd.DataFrame({"a": Z[:, 0], "b": Z[:, 1]})


@pytest.mark.parametrize(
    "row",
    [
        pd.DataFrame([{"a": 1.0, "b": None}]),
        pd.DataFrame({"a": [1.0], "b": [pd.NA]}),
        pd.DataFrame({"a": [1.0], "b": pd.Series([None], dtype="str")}),
        pl.DataFrame({"a": [1.0], "b": [None]}),
        pa.table({"a": [1.0], "b": pa.nulls(1)}),
    ],
)
def test_a_number_can_be_missing_in_all_predicted_rows(row):
    fitted = RegularizedMLPClassifier(**FAST).fit(FRAME, TWO)
    expected = fitted.predict_proba(pd.DataFrame({"a": [1.0], "b": [np.nan]}))
    np.testing.assert_array_equal(fitted.predict_proba(row), expected)


@pytest.mark.parametrize("as_frame", [False, True])
def test_a_column_without_values_in_training_accepts_any_value_later(as_frame):
    X = np.empty((120, 2), object)
    X[:, 0], X[:, 1] = Z[:120, 0], None
    later = X[:5].copy()
    later[:, 1] = "pool"
    kind = pd.DataFrame if as_frame else np.asarray
    fitted = RegularizedMLPClassifier(**FAST).fit(kind(X), TWO[:120])
    np.testing.assert_array_equal(fitted.predict_proba(kind(later)), fitted.predict_proba(kind(X))[:5])


def test_a_table_without_any_value_predicts_the_class_frequencies():
    empty = pd.DataFrame({"a": pd.Series([None] * 300, dtype="str")})
    probability = RegularizedMLPClassifier(max_iter=30, random_state=0).fit(empty, TWO).predict_proba(empty[:1])
    assert abs(probability[0, 1] - TWO.mean()) < 0.1


def test_columns_of_decimals_and_sparse_columns_are_numeric():
    dense = pd.DataFrame(Z.round(3))
    decimals = dense.map(lambda v: Decimal(str(v)))
    stored = pd.DataFrame.sparse.from_spmatrix(sparse.csr_array(Z.round(3)))
    expected = RegularizedMLPRegressor(**FAST).fit(dense, Z[:, 0]).predict(dense)
    for other in (decimals, stored):
        np.testing.assert_allclose(RegularizedMLPRegressor(**FAST).fit(other, Z[:, 0]).predict(other), expected)


@pytest.mark.parametrize("column", [pd.period_range("2020", periods=300, freq="D"), Z[:, 0] + 1j])
def test_columns_of_unsupported_types_raise(column):
    with pytest.raises((TypeError, ValueError), match=r"neither a number nor a category|[Cc]omplex"):
        RegularizedMLPClassifier(**FAST).fit(FRAME.assign(when=column), TWO)


def test_a_category_of_another_type_than_in_training_raises():
    frame = FRAME.assign(shop=RNG.randint(0, 5, 300))
    fitted = RegularizedMLPClassifier(**FAST, categorical_features=["shop"]).fit(frame, TWO)
    with pytest.raises(ValueError, match=r"'shop' contained numbers .* contains text now"):
        fitted.predict(frame.assign(shop=frame["shop"].astype(str)))
    as_category = fitted.predict_proba(frame.assign(shop=frame["shop"].astype("category")))
    np.testing.assert_array_equal(as_category, fitted.predict_proba(frame))


def test_multilabel_targets_have_finite_out_of_fold_predictions():
    labels = RNG.randint(0, 2, (300, 12))
    fitted = RegularizedMLPClassifier(**FAST).fit(Z, labels)
    assert np.isfinite(fitted.oof_prediction_).all()


@pytest.mark.parametrize("labels", [np.arange(300), np.r_[np.arange(299), 298]])
def test_classes_of_a_single_row_can_be_fitted(labels):
    assert RegularizedMLPClassifier(**FAST).fit(Z, labels).predict_proba(Z[:2]).shape == (2, len(np.unique(labels)))


def test_early_stopping_works_with_two_rows():
    with pytest.warns(UserWarning, match="too few to distinguish"):
        RegularizedMLPClassifier(**FAST, early_stopping=True).fit(Z[:2], [0, 1])


@pytest.mark.parametrize("monitor", ["roc_auc", "neg_log_loss"])
@pytest.mark.filterwarnings("ignore:Only one class")
def test_a_monitor_that_needs_more_classes_raises(monitor):
    rare = np.zeros(300, int)
    rare[:3] = 1
    with pytest.raises(ValueError, match="Set monitor='loss'"):
        RegularizedMLPClassifier(**FAST, monitor=monitor).fit(Z, rare)


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(["a", None] * 150),
        pd.Series(["a", None] * 150, dtype="string"),
        pd.Categorical(["a", np.nan] * 150),
        pl.Series(["a", None] * 150),
        np.array([0.0, np.nan] * 150),
    ],
)
def test_a_missing_label_raises(y):
    with pytest.raises(ValueError, match="Input y contains NaN"):
        RegularizedMLPClassifier(**FAST).fit(Z, y)


@pytest.mark.parametrize("weights", [{0: -1, 1: 1}, {0: 0, 1: 0}, {0: np.nan, 1: 1}])
def test_invalid_class_weights_raise(weights):
    with pytest.raises(ValueError, match="The 'class_weight' parameter of RegularizedMLPClassifier must be"):
        RegularizedMLPClassifier(**FAST, class_weight=weights).fit(Z, TWO)


def test_a_failed_refit_keeps_the_old_fit_or_removes_all_of_it():
    fitted = RegularizedMLPClassifier(**FAST).fit(Z, TWO)
    before = fitted.predict_proba(Z)
    with pytest.raises(ValueError, match="inconsistent"):
        fitted.fit(Z[:, :2], TWO[:10])
    np.testing.assert_array_equal(fitted.predict_proba(Z), before)
    with pytest.raises(ValueError, match="classes that are not in the training rows"):
        fitted.fit(Z[:, :2], TWO, X_val=Z[:5, :2], y_val=[7] * 5)
    assert not hasattr(fitted, "n_iter_")
    assert not hasattr(fitted, "oof_score_")
