"""The table encoder tells numbers from categories, and gives every kind of table the same numbers and codes."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from skreg.data.table import MAX_LEVELS, TableEncoder, check_table, is_frame

COLUMNS = {"size": [1.0, np.nan, 3.0, 4.0], "colour": ["red", None, "blue", "red"], "count": [1, 2, 3, 4]}


def encoded(X, features="from_dtype", weight=None):
    encoder = TableEncoder(features)
    return encoder, encoder.fit(check_table(X), weight).transform(check_table(X))


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_frames_of_numbers_and_categories(make):
    encoder, table = encoded(make(COLUMNS))
    assert encoder.numeric_ == [0, 2]
    assert encoder.categorical_ == [1]
    assert encoder.levels_ == [{"blue": 1, "red": 2}]
    np.testing.assert_array_equal(table.levels[:, 0], [2, 0, 1, 2])
    np.testing.assert_array_equal(table.numbers[:, 1], [1, 2, 3, 4])
    assert len(table) == 4


def test_an_object_array_says_what_a_frame_says():
    rows = np.array([[1.0, "red", 1], [np.nan, None, 2], [3.0, "blue", 3], [4.0, "red", 4]], dtype=object)
    _, of_array = encoded(rows)
    _, of_frame = encoded(pd.DataFrame(COLUMNS))
    np.testing.assert_array_equal(of_array.numbers, of_frame.numbers)
    np.testing.assert_array_equal(of_array.levels, of_frame.levels)


def test_category_bool_and_nullable_columns():
    frame = pd.DataFrame(
        {
            "c": pd.Categorical(["a", "b", "a"]),
            "b": [True, False, True],
            "i": pd.array([1, None, 3], dtype="Int64"),
            "s": pd.array(["x", None, "y"], dtype="string"),
        }
    )
    encoder, table = encoded(frame)
    assert encoder.categorical_ == [0, 1, 3]
    np.testing.assert_array_equal(table.numbers[:, 0], [1, np.nan, 3])
    np.testing.assert_array_equal(table.levels, [[1, 2, 1], [2, 1, 0], [1, 2, 2]])


def test_unknown_and_missing_levels_are_zero():
    encoder, _ = encoded(pd.DataFrame({"c": ["a", "b"]}))
    table = encoder.transform(pd.DataFrame({"c": ["b", "new", None]}))
    np.testing.assert_array_equal(table.levels[:, 0], [2, 0, 0])


@pytest.mark.parametrize("features", [[1], [False, True, False], np.array([1])])
def test_columns_named_by_position_or_mask(features):
    X = np.array([[0.0, 7.0, 1.0], [1.0, 5.0, 1.0], [2.0, 7.0, np.nan]])
    encoder, table = encoded(X, features)
    assert encoder.categorical_ == [1]
    np.testing.assert_array_equal(table.levels[:, 0], [2, 1, 2])
    np.testing.assert_array_equal(table.numbers, X[:, [0, 2]])


def test_columns_named_by_name():
    encoder, _ = encoded(pd.DataFrame(COLUMNS), ["colour", "count"])
    assert encoder.categorical_ == [1, 2]


@pytest.mark.parametrize(
    ("features", "sentence"),
    [
        ([3], "should be in"),
        ([-1], "should be in"),
        ([True], "boolean mask"),
        (["no such column"], "which X does not have"),
        ([1.5], "array-like of bool, int or str"),
        (None, "hold categories"),
    ],
)
def test_columns_that_cannot_be_named_so(features, sentence):
    with pytest.raises(ValueError, match=sentence):
        encoded(pd.DataFrame(COLUMNS), features)


def test_numbers_of_an_array_are_kept_as_they_are():
    for dtype in (np.float32, np.float64):
        X = np.random.RandomState(0).randn(5, 3).astype(dtype)
        _, table = encoded(X)
        assert table.numbers is X
        assert table.levels.shape == (5, 0)


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_sparse_tables_stay_sparse(kind):
    dense = np.array([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    _, table = encoded(kind(dense))
    assert sparse.issparse(table.numbers)
    np.testing.assert_array_equal(table.numbers.toarray(), dense)


def test_beyond_the_most_levels_the_heaviest_stay():
    values = [f"level {i:05d}" for i in range(MAX_LEVELS + 10)]
    weight = np.arange(len(values), dtype=float) + 1
    encoder, table = encoded(pd.DataFrame({"c": values}), weight=weight)
    assert len(encoder.levels_[0]) == MAX_LEVELS
    assert (table.levels[:10, 0] == 0).all()
    assert (table.levels[10:, 0] > 0).all()


def test_a_column_that_turned_into_text_is_refused():
    encoder, _ = encoded(pd.DataFrame({"a": [1.0, 2.0]}))
    with pytest.raises(ValueError, match="held numbers when the estimator was fitted and holds text now"):
        encoder.transform(pd.DataFrame({"a": ["1", "2"]}))


def test_times_and_lists_are_refused_with_the_remedy():
    with pytest.raises(TypeError, match="Turn it into numbers"):
        encoded(pd.DataFrame({"when": pd.to_datetime(["2020-01-01", "2020-01-02"])}))
    with pytest.raises(TypeError, match="holds a list"):
        encoded(pd.DataFrame({"many": [[1], [2]]}))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, 1e300])
def test_infinite_and_huge_numbers_are_refused(bad):
    for X in (np.array([[1.0], [bad]]), pd.DataFrame({"a": [1.0, bad]}), np.array([[1.0, "a"], [bad, "b"]], object)):
        with pytest.raises(ValueError, match=r"infinity|too large"):
            encoded(X)


def test_what_a_frame_is():
    assert is_frame(pd.DataFrame({"a": [1]}))
    assert is_frame(pl.DataFrame({"a": [1]}))
    assert not is_frame(np.zeros((2, 2)))
    assert not is_frame([[1, 2]])


@pytest.mark.parametrize("X", [pd.DataFrame({"a": []}), pl.DataFrame({"a": []}), pd.DataFrame(index=[0, 1])])
def test_empty_frames_are_refused(X):
    with pytest.raises(ValueError, match="a minimum of 1 is required"):
        check_table(X)
