"""Tests of the training and evaluation batches of each member's rows."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from skreg import RegularizedMLPRegressor
from skreg.data.batches import MemberRows, as_tensor
from skreg.network.generators import MemberGenerators

few = settings(derandomize=True, max_examples=40, deadline=None)
CPU = torch.device("cpu")


def make_rows(index, weight=None, numbers=None, dtype=torch.float64):
    n = 1 + max(max(rows) for rows in index)
    numbers = np.arange(n, dtype=float)[:, None] if numbers is None else numbers
    index = [np.asarray(rows) for rows in index]
    return MemberRows(
        numbers, np.zeros((n, 0), np.int32), np.arange(n, dtype=float)[:, None], index, weight, dtype, CPU
    )


def prepare(numbers, levels, target):
    return numbers.to_dense() if numbers.is_sparse else numbers, levels, target


def epoch(rows, batch_size, seed=0):
    orders = MemberGenerators([seed + m for m in range(rows.n_members)]).permutations(rows.lengths)
    return list(rows.prepared(prepare, 1).training_batches(orders, batch_size))


@few
@given(st.lists(st.integers(1, 40), min_size=1, max_size=3), st.integers(1, 45), st.integers(0, 100))
def test_every_row_occurs_once_per_epoch(lengths, batch_size, seed):
    rows = make_rows([np.arange(length) for length in lengths])
    seen = epoch(rows, batch_size, seed)
    assert len(seen) == rows.batch_sizes(batch_size).shape[1] == -(-max(lengths) // batch_size)
    for m, length in enumerate(lengths):
        real = [batch.inputs[m, batch.weight[m] > 0, 0] for batch in seen]
        assert sorted(torch.cat(real).tolist()) == list(range(length))
        sizes = [len(batch) for batch in real]
        assert sizes == rows.batch_sizes(batch_size)[m].tolist()
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= batch_size
    for batch in seen:
        assert torch.equal(batch.inputs, batch.target)


def test_batches_do_not_depend_on_the_size_of_blocks(monkeypatch):
    rows = make_rows([np.arange(50), np.arange(50)])
    usual = epoch(rows, 7)
    monkeypatch.setattr("skreg.data.batches.BLOCK_ELEMENTS", 40)
    cut = epoch(rows, 7)
    for one, other in zip(usual, cut, strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.weight, other.weight)


def test_rows_prepared_once_equal_rows_prepared_in_every_epoch(monkeypatch):
    numbers = np.random.RandomState(0).randn(60, 3)
    rows = make_rows([np.arange(50), np.arange(10, 47)], numbers=numbers)
    kept = epoch(rows, 7)
    monkeypatch.setattr("skreg.data.batches.PREPARED_ELEMENTS", 0)
    anew = epoch(rows, 7)
    for one, other in zip(kept, anew, strict=True):
        real = one.weight > 0
        assert torch.equal(one.inputs[real], other.inputs[real])
        assert torch.equal(one.target[real], other.target[real])
        assert torch.equal(one.weight, other.weight)


def test_weights_have_mean_one_for_each_member_and_are_not_normalized_in_a_batch():
    weight = np.array([1.0, 2, 3, 4, 5, 6])
    rows = make_rows([[0, 1, 2, 3], [2, 3, 4, 5]], weight)
    _, all_weights = rows.index_and_weight()
    np.testing.assert_allclose(all_weights.mean(1).numpy(), 1)
    seen = epoch(rows, 2)
    for m, mean in ((0, 2.5), (1, 4.5)):
        for batch in seen:
            np.testing.assert_allclose(batch.weight[m] * 2, weight[batch.inputs[m, :, 0].long()] / mean)


def test_weights_are_exact_in_the_precision_of_the_fit():
    """In float64 the loss of a full batch is the mean up to float64 precision."""
    (batch,) = epoch(make_rows([np.arange(77)]), 100)
    np.testing.assert_allclose(batch.weight.numpy(), 1 / 77, rtol=1e-15)


def test_padding_has_weight_zero():
    rows = make_rows([np.arange(5), np.arange(3)])
    index, weight = rows.index_and_weight()
    assert index.shape == (2, 5)
    np.testing.assert_array_equal(weight.numpy(), [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    assert len(rows) == 5


@pytest.mark.parametrize("width", [None, 1])
def test_eval_batches_contain_the_rows_in_order(width):
    rows = make_rows([np.arange(5), np.arange(3)], weight=np.arange(1.0, 6))
    batches = list(rows.prepared(prepare, width).eval_batches(2))
    assert [batch.inputs.shape[1] for batch in batches] == [2, 2, 1]
    joined = torch.cat([batch.inputs[..., 0] for batch in batches], 1)
    np.testing.assert_array_equal(joined[0], np.arange(5))
    np.testing.assert_array_equal(joined[1, :3], np.arange(3))
    weight = torch.cat([batch.weight for batch in batches], 1)
    np.testing.assert_allclose(weight, [np.arange(1.0, 6) / 3, [0.5, 1, 1.5, 0, 0]])


@pytest.mark.parametrize("dense_elements", [1, 7, 1 << 20])
def test_sparse_and_dense_rows_give_equal_batches(dense_elements, monkeypatch):
    """Sparse rows are made dense in blocks of few elements."""
    monkeypatch.setattr("skreg.data.batches.DENSE_ELEMENTS", dense_elements)
    dense = np.where(np.random.RandomState(0).rand(30, 4) < 0.3, 1.5, 0.0)
    index = [np.arange(30), np.arange(30)[::-1].copy()]
    one, other = (make_rows(index, numbers=numbers) for numbers in (dense, sparse.csr_array(dense)))
    for a, b in zip(epoch(one, 8), epoch(other, 8), strict=True):
        assert torch.equal(a.inputs, b.inputs)


@pytest.mark.parametrize("array", [np.arange(6.0)[::-1], np.arange(6.0).reshape(2, 3).T, np.arange(6, dtype=np.int32)])
def test_as_tensor_accepts_any_memory_layout(array):
    np.testing.assert_array_equal(as_tensor(array, CPU).numpy(), array)


def test_as_tensor_copies_a_read_only_array():
    array = np.arange(4.0)
    array.flags.writeable = False
    tensor = as_tensor(array, CPU)
    tensor[0] = 9
    assert array[0] == 0


@pytest.mark.parametrize(
    ("columns", "elements", "warns"),
    [(sparse.csr_array, 2, True), (sparse.csr_array, 9, False), (np.asarray, 2, False)],
)
def test_wide_sparse_tables_warn_about_dense_batches(columns, elements, warns, monkeypatch):
    monkeypatch.setattr("skreg.data.batches.LARGE_BATCH", 2 * 20 * 5 * elements // 8)
    table = np.eye(40, 5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        RegularizedMLPRegressor((4,), max_iter=1, n_members=2, batch_size=20, early_stopping=False).fit(
            columns(table), table[:, 0]
        )
    assert any("batches are dense" in str(warning.message) for warning in caught) == warns
