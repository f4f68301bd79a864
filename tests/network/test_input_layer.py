"""Encoding of numbers and categories with the statistics of each member."""

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.special import ndtri

from skreg.data.batches import sparse_tensor
from skreg.data.statistics import learn_statistics
from skreg.network.input_layer import InputLayer

F64 = torch.float64


def learned(X, levels=None, sizes=(), scaling="robust", weight=None):
    levels = np.zeros((len(X), 0), np.int32) if levels is None else levels
    weight = np.ones((1, len(X))) if weight is None else weight
    return learn_statistics(X, levels, list(sizes), weight, scaling)


def encode(inputs, X, levels=None):
    members = len(inputs.fill)
    codes = None if levels is None else torch.from_numpy(levels).expand(members, -1, -1)
    return inputs(torch.from_numpy(X).expand(members, -1, -1), codes)


def test_robust_scaling_centers_scales_and_clips():
    X = np.random.RandomState(0).randn(50, 2) * [1, 100] + [0, 7]
    X[0, 0] = 1e9
    out, codes = encode(InputLayer(learned(X), [], [], 3.0, F64), X)
    low, median, high = np.quantile(X, [0.25, 0.5, 0.75], axis=0, method="averaged_inverted_cdf")
    z = (X - median) / (high - low)
    np.testing.assert_allclose(out[0].numpy(), z / np.sqrt(1 + (z / 3) ** 2))
    assert out.abs().max() <= 3 + 1e-12
    assert codes is None


def test_quantile_scaling_returns_normal_scores():
    X = np.random.RandomState(0).exponential(size=(301, 1)) ** 3
    out, _ = encode(InputLayer(learned(X, scaling="quantile"), [], [], 3.0, F64), X)
    ranks = X[:, 0].argsort().argsort() / 300
    central = (ranks > 0.1) & (ranks < 0.9)
    np.testing.assert_allclose(out[0, central, 0].numpy(), ndtri(ranks[central]), atol=0.15)
    far, _ = encode(InputLayer(learned(X, scaling="quantile"), [], [], 3.0, F64), np.array([[-1e9], [1e9]]))
    np.testing.assert_allclose(far[0, :, 0].numpy(), [ndtri(1e-4), -ndtri(1e-4)])


def test_missing_numbers_are_filled_and_indicated():
    X = np.array([[1.0, 5], [np.nan, 6], [3, 7], [2, 8]])
    out, _ = encode(InputLayer(learned(X, scaling=None), [], [], 3.0, F64), X)
    np.testing.assert_array_equal(out[0].numpy(), [[1, 5, 0], [2, 6, 1], [3, 7, 0], [2, 8, 0]])


def test_unknown_levels_are_zeros_in_one_hot_columns():
    levels = np.array([[1, 2], [2, 1], [1, 3], [0, 0]], np.int32)
    weight = np.array([[1.0, 1, 1, 1], [1, 1, 0, 1]])
    statistics = learned(np.zeros((4, 0)), levels, [2, 3], None, weight)
    out, _ = encode(InputLayer(statistics, [0, 1], [], 3.0, F64), np.zeros((4, 0)), levels)
    np.testing.assert_array_equal(out[0].numpy(), [[-1, 0, 1, 0], [1, 1, 0, 0], [-1, 0, 0, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(out[1].numpy(), [[-1, 0, 1, 0], [1, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 0]])


def test_feature_index_refers_to_the_columns_of_the_table():
    X = np.array([[1.0, 5], [np.nan, 6], [3, 7], [2, 9]])
    levels = np.array([[1, 1, 2], [2, 4, 1], [1, 3, 3], [0, 2, 0]], np.int32)
    inputs = InputLayer(learned(X, levels, [2, 12, 3]), [0, 2], [1], 3.0, F64)
    columns, codes = inputs.feature_index()
    # two numbers, an indicator, two levels in one column, three levels
    assert columns.tolist() == [0, 1, 0, 2, 3, 3, 3]
    assert codes.tolist() == [4]
    assert inputs.n_features == 5
    assert inputs.width == len(columns)


@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
def test_missing_row_equals_an_encoded_row_of_missing_values(scaling):
    X = np.array([[1.0, 5], [np.nan, 6], [3, 7], [2, 9]])
    levels = np.array([[1, 1, 2], [2, 4, 1], [1, 3, 3], [0, 2, 0]], np.int32)
    inputs = InputLayer(learned(X, levels, [2, 12, 3], scaling), [0, 2], [1], 3.0, F64)
    row, code = inputs.missing_row()
    expected, expected_code = encode(inputs, np.full((1, 2), np.nan), np.zeros((1, 3), np.int32))
    assert torch.equal(row, expected)
    assert torch.equal(code, expected_code)
    assert row[0, 0, 2:].tolist() == [1, 0, 0, 0, 0]
    assert code.tolist() == [[[0]]]


def test_codes_of_unknown_levels_to_embed_are_zero():
    levels = np.array([[1], [2], [3]], np.int32)
    statistics = learned(np.zeros((3, 0)), levels, [3], None, np.array([[1.0, 1, 0]]))
    _, codes = encode(InputLayer(statistics, [], [0], 3.0, F64), np.zeros((3, 0)), levels)
    np.testing.assert_array_equal(codes[0], [[1], [2], [0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
def test_sparse_rows_are_encoded_like_dense_rows(scaling, dtype):
    """Missing values, stored zeros and duplicate entries included."""
    rng = np.random.RandomState(0)
    X = np.where(rng.rand(40, 5) < 0.4, rng.randn(40, 5), 0.0)
    X[rng.rand(40, 5) < 0.1] = np.nan
    X[:, 3] = 2.0
    rows, columns = (axis.ravel() for axis in np.indices(X.shape))
    stored = sparse.csr_array(sparse.coo_array((np.r_[X.ravel(), 0.5], (np.r_[rows, 3], np.r_[columns, 3])), X.shape))
    X[3, 3] += 0.5
    X, stored = X.astype(dtype), stored.astype(dtype)
    layer = InputLayer(learned(X, scaling=scaling, weight=rng.rand(2, 40)), [], [], 3.0, F64)
    both = [
        layer(tensor, None)[0]
        for tensor in (torch.from_numpy(X).expand(2, -1, -1), sparse_tensor(stored[np.tile(np.arange(40), 2)], 2))
    ]
    assert torch.equal(*both)
