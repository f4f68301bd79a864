"""Tests of the statistics of columns and targets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from skreg.data.statistics import _SortedColumn, learn_statistics, target_statistics

few = settings(derandomize=True, max_examples=60, deadline=None)
SCALINGS = ["robust", "standard", "quantile", None]
PROBABILITIES = np.array([0.0, 0.125, 0.25, 0.5, 0.75, 1.0])
FIELDS = ("fill", "center", "scale", "knots")

values = st.lists(st.sampled_from([-3.0, -1.0, -0.5, 0.0, 0.25, 2.0, 7.0]), min_size=1, max_size=30).map(np.array)


def learn(numbers, weight, scaling):
    levels = np.zeros((numbers.shape[0], 0), np.int32)
    return learn_statistics(numbers, levels, [], np.atleast_2d(np.asarray(weight, dtype=float)), scaling)


def assert_same(one, other, rtol=0.0):
    assert (one.indicators, one.clip) == (other.indicators, other.clip)
    for name in FIELDS:
        a, b = getattr(one, name), getattr(other, name)
        if a is None or b is None:
            assert a is b
        else:
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, err_msg=name)


@few
@given(values)
def test_quantiles_equal_those_of_numpy(x):
    found = _SortedColumn(x, np.ones((1, len(x)))).quantiles(PROBABILITIES)[0]
    np.testing.assert_array_equal(found, np.quantile(x, PROBABILITIES, method="averaged_inverted_cdf"))


@few
@given(values, st.data())
def test_integer_weights_repeat_values_and_weight_zero_removes_them(x, data):
    weight = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(x), max_size=len(x))))
    weight[data.draw(st.integers(0, len(x) - 1))] = 2
    found = _SortedColumn(x, weight[None].astype(float)).quantiles(PROBABILITIES)[0]
    repeated = np.repeat(x, weight)
    np.testing.assert_array_equal(found, np.quantile(repeated, PROBABILITIES, method="averaged_inverted_cdf"))


@few
@given(values, st.data(), st.sampled_from([1e-6, 1 / 3, 0.1, 7.0, 1e6]))
def test_quantiles_do_not_depend_on_the_scale_of_weights(x, data, factor):
    weight = np.array(data.draw(st.lists(st.integers(1, 3), min_size=len(x), max_size=len(x))), dtype=float)
    found = _SortedColumn(x, weight[None]).quantiles(PROBABILITIES)
    np.testing.assert_array_equal(_SortedColumn(x, factor * weight[None]).quantiles(PROBABILITIES), found)


@few
@given(values, st.data())
def test_weighted_mean_and_std_equal_those_of_repeated_values(x, data):
    weight = np.array(data.draw(st.lists(st.integers(1, 3), min_size=len(x), max_size=len(x))))
    column = _SortedColumn(x, weight[None].astype(float))
    repeated = np.repeat(x, weight)
    np.testing.assert_allclose(column.mean(), [repeated.mean()], atol=1e-12)
    np.testing.assert_allclose(column.std(column.mean()), [repeated.std()], atol=1e-12)


@pytest.mark.parametrize("scaling", SCALINGS)
@few
@given(st.integers(0, 10_000))
def test_sparse_and_dense_columns_have_equal_statistics(scaling, seed):
    rng = np.random.RandomState(seed)
    dense = np.where(rng.rand(40, 4) < 0.4, rng.randn(40, 4), 0)
    dense[:, 1] = 0
    dense[:, 2] = rng.rand(40) + 1
    dense[rng.rand(40) < 0.1, 3] = np.nan
    weight = rng.randint(0, 3, (2, 40)) * 0.1
    assert_same(learn(sparse.csr_array(dense), weight, scaling), learn(dense, weight, scaling), rtol=1e-12)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_explicit_zeros_of_a_sparse_table_count_as_zeros(scaling):
    dense = np.array([[0.0], [1.0], [0.0], [5.0]])
    explicit = sparse.csr_array((dense.ravel().copy(), (np.arange(4), np.zeros(4, int))), shape=(4, 1))
    assert explicit.nnz == 4
    assert_same(learn(explicit, np.ones(4), scaling), learn(dense, np.ones(4), scaling), rtol=1e-12)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_statistics_of_a_member_depend_only_on_its_own_rows(scaling):
    rng = np.random.RandomState(0)
    X = rng.randn(60, 3)
    weight = np.ones((2, 60))
    weight[0, :20] = 0
    usual = learn(X, weight, scaling)
    X[:20] = 100 * X[:20] + 7
    changed = learn(X, weight, scaling)
    for name in FIELDS:
        one, other = getattr(usual, name), getattr(changed, name)
        if one is not None:
            np.testing.assert_allclose(one[0], other[0], rtol=1e-12, atol=1e-14)
    assert not np.allclose(usual.fill[1], changed.fill[1])
    alone = learn(X[20:], np.ones(40), scaling)
    np.testing.assert_allclose(alone.fill[0], changed.fill[0], rtol=1e-12)
    np.testing.assert_allclose(alone.scale[0], changed.scale[0], rtol=1e-12)


def test_levels_outside_the_rows_of_a_member_are_unknown():
    levels = np.array([[1], [2], [3], [1], [0]], np.int32)
    weight = np.array([[1.0, 1, 0, 1, 1], [0, 0, 1, 0, 1]])
    known = learn_statistics(np.zeros((5, 0)), levels, [3], weight, None).known[0]
    np.testing.assert_array_equal(known, [[False, True, True, False], [False, False, False, True]])


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("constant", [0.0, 3.5, -1e30])
def test_constant_columns_have_a_finite_scale(scaling, constant):
    found = learn(np.full((10, 1), constant), np.ones(10), scaling)
    assert found.fill[0, 0] == pytest.approx(constant)
    assert np.isfinite(found.scale).all()
    if scaling in ("robust", "standard"):
        assert found.scale[0, 0] == 0


@pytest.mark.parametrize("scaling", SCALINGS)
def test_an_all_missing_column_is_filled_with_zero_and_has_an_indicator(scaling):
    X = np.column_stack([np.full(10, np.nan), np.arange(10.0)])
    found = learn(X, np.ones(10), scaling)
    assert found.indicators == [0]
    assert found.fill[0, 0] == 0
    assert found.fill[0, 1] == 4.5


def test_robust_scaling_uses_median_and_interquartile_range():
    x = np.append(np.arange(101.0), 1e9)
    found = learn(x[:, None], np.ones(102), "robust")
    assert found.center[0, 0] == np.median(x)
    low, high = np.quantile(x, [0.25, 0.75], method="averaged_inverted_cdf")
    assert found.scale[0, 0] == pytest.approx(1 / (high - low))
    mostly_zero = learn(np.array([[0.0]] * 9 + [[4.0]]), np.ones(10), "robust")
    assert mostly_zero.scale[0, 0] == 1 / 2


def test_standard_scaling_uses_mean_and_standard_deviation():
    X = np.random.RandomState(0).randn(50, 2) * [1, 1e6] + [0, 1e9]
    found = learn(X, np.ones(50), "standard")
    np.testing.assert_allclose(found.center[0], X.mean(0))
    np.testing.assert_allclose(1 / found.scale[0], X.std(0), rtol=1e-6)


def test_target_statistics_are_mean_and_standard_deviation_of_the_rows_of_each_member():
    y = np.random.RandomState(0).randn(30, 2) * 5 + 3
    y[:, 1] = 4
    weight = np.ones((2, 30))
    weight[1, :10] = 0
    mean, spread = target_statistics(y, weight)
    np.testing.assert_allclose(mean, [y.mean(0), y[10:].mean(0)])
    np.testing.assert_allclose(spread, [[y[:, 0].std(), 1], [y[10:, 0].std(), 1]])


def test_weighted_and_repeated_rows_have_equal_quantile_knots():
    X = np.random.RandomState(0).randn(400, 1)
    weighted = learn(X, np.full(400, 2.0), "quantile")
    repeated = learn(np.repeat(X, 2, axis=0), np.ones(800), "quantile")
    assert weighted.knots.shape == repeated.knots.shape
    np.testing.assert_allclose(weighted.knots, repeated.knots)
