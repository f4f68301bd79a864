"""Folds: which rows each member holds out to be watched on."""

import warnings

import numpy as np

MIN_ROWS, MIN_ROWS_OF_MANY, MIN_ROWS_OF_ALL = 30, 15, 120


def assign_folds(strata: np.ndarray, n_folds: int, rng: np.random.RandomState) -> np.ndarray:
    """Fold of each row: shuffled, stratified, sizes that differ by at most one.

    Parameters
    ----------
    strata : int ndarray of shape (rows,)
        Rows of a stratum are dealt out evenly. A stratum of a single row is in no fold, -1, as long as that empties
        none: held out, it would be unknown to the member.
    n_folds : int
        At most the number of rows.
    rng : RandomState
        Shuffles.
    """
    shuffled = np.lexsort((rng.permutation(len(strata)), strata))
    folds = np.empty(len(strata), dtype=np.int64)
    folds[shuffled] = np.arange(len(strata)) % n_folds
    _, stratum, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    kept = (sizes[stratum] > 1) | (len(sizes) == 1)
    some_in_each = len(np.unique(folds[kept])) == n_folds
    return np.where(kept, folds, -1) if some_in_each else folds


def enough(n_rows: int, n_members: int) -> bool:
    """Whether rows held out by each member tell a gain from luck: 30, or 15 where all members together have 120."""
    return n_rows >= MIN_ROWS or (n_rows >= MIN_ROWS_OF_MANY and n_rows * n_members >= MIN_ROWS_OF_ALL)


def warn_if_few(n_rows: int, n_members: int) -> None:
    """Warn where each member is watched on too few rows."""
    if not enough(n_rows, n_members):
        rows = "1 validation row" if n_rows == 1 else f"{n_rows} validation rows"
        warnings.warn(
            f"Early stopping watches only {rows}, too few to tell a gain from luck. Give more with "
            "X_val= or a larger validation_fraction, or train to the end with early_stopping=False.",
            UserWarning,
            stacklevel=2,
        )
