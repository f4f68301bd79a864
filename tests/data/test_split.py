"""Tests of the assignment of rows to folds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skreg.data.split import assign_folds, has_enough_validation_rows, warn_if_few_validation_rows

few = settings(derandomize=True, max_examples=60, deadline=None)


@few
@given(
    strata=st.lists(st.integers(0, 4), min_size=2, max_size=80),
    n_folds=st.integers(2, 10),
    seed=st.integers(0, 2**31 - 1),
)
def test_rows_of_a_stratum_are_distributed_evenly(strata, n_folds, seed):
    strata, n_folds = np.array(strata), min(n_folds, len(strata))
    folds = assign_folds(strata, n_folds, np.random.RandomState(seed))
    values, sizes = np.unique(strata, return_counts=True)
    for value, size in zip(values, sizes, strict=True):
        inside = folds[strata == value]
        if size == 1 and len(values) > 1:
            no_fold_is_empty = len(np.unique(folds[np.isin(strata, values[sizes > 1])])) == n_folds
            assert (inside[0] == -1) == no_fold_is_empty
            continue
        counts = np.bincount(inside, minlength=n_folds)
        assert counts.max() - counts.min() <= 1
        assert len(counts) == n_folds


@pytest.mark.parametrize("n_rows", [20, 21, 23])
def test_fold_sizes_differ_by_at_most_one_without_strata(n_rows):
    counts = np.bincount(assign_folds(np.zeros(n_rows, int), 4, np.random.RandomState(0)))
    assert len(counts) == 4
    assert counts.max() - counts.min() <= 1


def test_folds_are_shuffled_and_depend_on_the_seed():
    strata = np.repeat([0, 1], 50)
    first, again, other = (assign_folds(strata, 5, np.random.RandomState(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (np.diff(first[:50]) != 0).sum() > 25
    assert sorted(first[:50]) != first[:50].tolist()


def test_single_rows_are_assigned_if_a_fold_would_be_empty():
    folds = assign_folds(np.arange(6), 3, np.random.RandomState(0))
    assert np.bincount(folds).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("n_rows", "n_members", "enough"), [(30, 1, True), (29, 1, False), (15, 8, True), (15, 7, False), (14, 9, False)]
)
def test_few_validation_rows_give_a_warning(n_rows, n_members, enough, recwarn):
    assert has_enough_validation_rows(n_rows, n_members) == enough
    warn_if_few_validation_rows(n_rows, n_members)
    assert len(recwarn) == (not enough)
    if not enough:
        assert f"uses only {n_rows} validation rows" in str(recwarn[0].message)
