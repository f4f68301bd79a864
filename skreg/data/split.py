"""Splits of the rows into training and validation rows of each member."""

import warnings
from dataclasses import dataclass

import numpy as np

from .._utils.device import DeviceConfig
from .batches import MemberRows
from .table import EncodedTable

MIN_ROWS, MIN_ROWS_OF_MANY, MIN_ROWS_OF_ALL = 30, 15, 120


@dataclass(frozen=True)
class MemberSplit:
    """Training and validation rows of each member."""

    train: EncodedTable
    train_index: list[np.ndarray]  # rows of each member in train
    validation: EncodedTable | None  # None without early stopping; the same object as train for folds
    validation_index: list[np.ndarray]  # rows of each member in validation
    device_config: DeviceConfig
    n_folds: int = 0  # number of folds of the training rows, or 0

    @property
    def n_members(self) -> int:
        """Number of members."""
        return len(self.train_index)

    @property
    def covers_all(self) -> bool:
        """Whether every training row is a validation row of some member."""
        return self.validation is self.train and len(self.validation_index) >= self.n_folds

    def train_rows(self) -> MemberRows:
        """Return the training rows of each member as tensors."""
        return self.train.rows(self.train_index, self.device_config)

    def validation_rows(self) -> MemberRows | None:
        """Return the validation rows of each member as tensors."""
        return None if self.validation is None else self.validation.rows(self.validation_index, self.device_config)


def assign_folds(strata: np.ndarray, n_folds: int, rng: np.random.RandomState) -> np.ndarray:
    """Return the fold of each row; folds are shuffled and stratified, and their sizes differ by at most one.

    ``strata`` contains the stratum ``(rows,)`` of each row; there are at least as many rows as folds. The fold of a row
    that is alone in its stratum is -1 (no fold), because a member that held it out would not know its class; the
    exception is when a fold would be empty.
    """
    shuffled = np.lexsort((rng.permutation(len(strata)), strata))
    folds = np.empty(len(strata), dtype=np.int64)
    folds[shuffled] = np.arange(len(strata)) % n_folds
    _, stratum, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    kept = (sizes[stratum] > 1) | (len(sizes) == 1)
    some_in_each = len(np.unique(folds[kept])) == n_folds
    return np.where(kept, folds, -1) if some_in_each else folds


def has_enough_validation_rows(n_rows: int, n_members: int) -> bool:
    """Return whether ``n_rows`` per member are enough: at least 30, or 15 if all members together have 120."""
    return n_rows >= MIN_ROWS or (n_rows >= MIN_ROWS_OF_MANY and n_rows * n_members >= MIN_ROWS_OF_ALL)


def warn_if_few_validation_rows(n_rows: int, n_members: int) -> None:
    """Warn if early stopping has too few validation rows per member."""
    if not has_enough_validation_rows(n_rows, n_members):
        rows = "1 validation row" if n_rows == 1 else f"{n_rows} validation rows"
        warnings.warn(
            f"Early stopping uses only {rows} per member, too few to distinguish an improvement from chance. Pass more "
            "with X_val, increase validation_fraction, or set early_stopping=False.",
            UserWarning,
            stacklevel=2,
        )
