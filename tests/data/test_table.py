"""Tests of the table encoder: column types, levels and codes of every kind of table."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from skreg.data.containers import check_table, is_frame
from skreg.data.table import MAX_LEVELS, TableEncoder

COLUMNS = {"size": [1.0, np.nan, 3.0, 4.0], "color": ["red", None, "blue", "red"], "count": [1, 2, 3, 4]}


def encoded(X, features="from_dtype", weight=None):
    """Fitted encoder, numbers and levels."""
    encoder = TableEncoder(features)
    return encoder, *encoder.fit(check_table(X), weight).transform(check_table(X))


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_frames_are_separated_into_numbers_and_categories(make):
    encoder, numbers, levels = encoded(make(COLUMNS))
    assert encoder.numeric_ == [0, 2]
    assert encoder.categorical_ == [1]
    assert encoder.levels_ == [{"blue": 1, "red": 2}]
    np.testing.assert_array_equal(levels[:, 0], [2, 0, 1, 2])
    np.testing.assert_array_equal(numbers[:, 1], [1, 2, 3, 4])
    assert len(numbers) == 4


def test_an_object_array_is_encoded_like_a_frame():
    rows = np.array([[1.0, "red", 1], [np.nan, None, 2], [3.0, "blue", 3], [4.0, "red", 4]], dtype=object)
    _, *of_array = encoded(rows)
    _, *of_frame = encoded(pd.DataFrame(COLUMNS))
    np.testing.assert_array_equal(of_array[0], of_frame[0])
    np.testing.assert_array_equal(of_array[1], of_frame[1])


def test_category_bool_and_nullable_columns_are_encoded():
    frame = pd.DataFrame(
        {
            "c": pd.Categorical(["a", "b", "a"]),
            "b": [True, False, True],
            "i": pd.array([1, None, 3], dtype="Int64"),
            "s": pd.array(["x", None, "y"], dtype="string"),
        }
    )
    encoder, numbers, levels = encoded(frame)
    assert encoder.categorical_ == [0, 1, 3]
    np.testing.assert_array_equal(numbers[:, 0], [1, np.nan, 3])
    np.testing.assert_array_equal(levels, [[1, 2, 1], [2, 1, 0], [1, 2, 2]])


def test_unknown_and_missing_levels_have_code_zero():
    encoder, *_ = encoded(pd.DataFrame({"c": ["a", "b"]}))
    _, levels = encoder.transform(pd.DataFrame({"c": ["b", "new", None]}))
    np.testing.assert_array_equal(levels[:, 0], [2, 0, 0])


@pytest.mark.parametrize("features", [[1], [False, True, False], np.array([1])])
def test_categorical_features_accepts_positions_and_a_mask(features):
    X = np.array([[0.0, 7.0, 1.0], [1.0, 5.0, 1.0], [2.0, 7.0, np.nan]])
    encoder, numbers, levels = encoded(X, features)
    assert encoder.categorical_ == [1]
    np.testing.assert_array_equal(levels[:, 0], [2, 1, 2])
    np.testing.assert_array_equal(numbers, X[:, [0, 2]])


def test_categorical_features_accepts_names():
    encoder, *_ = encoded(pd.DataFrame(COLUMNS), ["color", "count"])
    assert encoder.categorical_ == [1, 2]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([3], "should be in"),
        ([-1], "should be in"),
        ([True], "boolean mask"),
        (["no such column"], "which X does not have"),
        ([1.5], "array-like of bool, int or str"),
        (None, "contain categories"),
    ],
)
def test_invalid_categorical_features_raise_an_error(features, message):
    with pytest.raises(ValueError, match=message):
        encoded(pd.DataFrame(COLUMNS), features)


@pytest.mark.parametrize("features", [[0], [True, False]])
def test_categories_in_a_sparse_matrix_raise_an_error(features):
    with pytest.raises(ValueError, match="cannot be used with a sparse X"):
        encoded(sparse.csr_array(np.eye(2)), features)


def test_a_float_array_is_not_copied():
    for dtype in (np.float32, np.float64):
        X = np.random.RandomState(0).randn(5, 3).astype(dtype)
        _, numbers, levels = encoded(X)
        assert numbers is X
        assert levels.shape == (5, 0)


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_sparse_tables_stay_sparse(kind):
    dense = np.array([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    _, numbers, _ = encoded(kind(dense))
    assert sparse.issparse(numbers)
    np.testing.assert_array_equal(numbers.toarray(), dense)


def test_only_the_heaviest_levels_are_kept_beyond_the_maximum():
    values = [f"level {i:05d}" for i in range(MAX_LEVELS + 10)]
    weight = np.arange(len(values), dtype=float) + 1
    encoder, _, levels = encoded(pd.DataFrame({"c": values}), weight=weight)
    assert len(encoder.levels_[0]) == MAX_LEVELS
    assert (levels[:10, 0] == 0).all()
    assert (levels[10:, 0] > 0).all()


def test_a_column_that_became_text_raises_an_error():
    encoder, *_ = encoded(pd.DataFrame({"a": [1.0, 2.0]}))
    with pytest.raises(ValueError, match="contained numbers when the estimator was fitted, but contains text now"):
        encoder.transform(pd.DataFrame({"a": ["1", "2"]}))


def test_times_and_lists_raise_an_error_with_the_remedy():
    with pytest.raises(TypeError, match="Convert it to numbers"):
        encoded(pd.DataFrame({"when": pd.to_datetime(["2020-01-01", "2020-01-02"])}))
    with pytest.raises(TypeError, match="contains values of type list"):
        encoded(pd.DataFrame({"many": [[1], [2]]}))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, 1e300])
def test_infinite_and_huge_numbers_raise_an_error(bad):
    for X in (np.array([[1.0], [bad]]), pd.DataFrame({"a": [1.0, bad]}), np.array([[1.0, "a"], [bad, "b"]], object)):
        with pytest.raises(ValueError, match=r"infinity|too large"):
            encoded(X)


def test_is_frame_recognizes_data_frames():
    assert is_frame(pd.DataFrame({"a": [1]}))
    assert is_frame(pl.DataFrame({"a": [1]}))
    assert not is_frame(np.zeros((2, 2)))
    assert not is_frame([[1, 2]])


@pytest.mark.parametrize("X", [pd.DataFrame({"a": []}), pl.DataFrame({"a": []}), pd.DataFrame(index=[0, 1])])
def test_empty_frames_raise_an_error(X):
    with pytest.raises(ValueError, match="a minimum of 1 is required"):
        check_table(X)
