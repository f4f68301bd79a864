"""Folds are shuffled, stratified, and of equal size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skreg.data.split import assign_folds

few = settings(derandomize=True, max_examples=60, deadline=None)


@few
@given(
    strata=st.lists(st.integers(0, 4), min_size=2, max_size=80),
    n_folds=st.integers(2, 10),
    seed=st.integers(0, 2**31 - 1),
)
def test_rows_of_a_stratum_are_dealt_out_evenly(strata, n_folds, seed):
    strata, n_folds = np.array(strata), min(n_folds, len(strata))
    folds = assign_folds(strata, n_folds, np.random.RandomState(seed))
    values, sizes = np.unique(strata, return_counts=True)
    for value, size in zip(values, sizes, strict=True):
        inside = folds[strata == value]
        if size == 1 and len(values) > 1:
            enough = len(np.unique(folds[np.isin(strata, values[sizes > 1])])) == n_folds
            assert (inside[0] == -1) == enough
            continue
        counts = np.bincount(inside, minlength=n_folds)
        assert counts.max() - counts.min() <= 1
        assert len(counts) == n_folds


@pytest.mark.parametrize("n_rows", [20, 21, 23])
def test_without_strata_sizes_differ_by_at_most_one(n_rows):
    counts = np.bincount(assign_folds(np.zeros(n_rows, int), 4, np.random.RandomState(0)))
    assert len(counts) == 4
    assert counts.max() - counts.min() <= 1


def test_folds_are_shuffled_and_belong_to_the_seed():
    strata = np.repeat([0, 1], 50)
    first, again, other = (assign_folds(strata, 5, np.random.RandomState(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (np.diff(first[:50]) != 0).sum() > 25
    assert sorted(first[:50]) != first[:50].tolist()


def test_single_rows_are_dealt_out_where_a_fold_would_be_empty():
    folds = assign_folds(np.arange(6), 3, np.random.RandomState(0))
    assert np.bincount(folds).tolist() == [2, 2, 2]
