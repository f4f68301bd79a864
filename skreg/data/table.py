"""The user's table, encoded as numbers and category codes.

The encoder learns which columns are categories and which levels they have. All other statistics are learned in
``statistics.py``, because each member has its own.
"""

from collections.abc import Sized
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import compress, repeat
from typing import Any, Self

import numpy as np
from sklearn.utils import _safe_indexing

from .._utils.device import DeviceConfig
from .._utils.validation import listed
from .batches import MemberRows
from .columns import NUMBERS, Column, Columns, changed_type_error
from .statistics import moderate

MAX_LEVELS = 4096


@dataclass(frozen=True)
class EncodedTable:
    """Rows of the user's table, as given and as encoded.

    ``X`` and ``y`` are the rows and the target as given, without rows of weight 0. ``numbers`` is an array or a
    ``csr_array`` ``(rows, n_numbers)`` of the user's float type, with NaN for missing values. ``levels`` is an int32
    array ``(rows, n_categories)`` of category codes: 0 for a missing or unknown level, and 1, 2, ... otherwise.
    """

    X: Any
    y: np.ndarray
    numbers: Any
    levels: Any
    target: np.ndarray  # encoded target, (rows,) or (rows, outputs)
    weight: np.ndarray | None  # the user's weights, which scorers use
    loss_weight: np.ndarray | None  # weights in the loss and the statistics, which include class weights
    kept: np.ndarray | None  # mask of these rows among those given; None if they are the same

    def __len__(self) -> int:
        return len(self.y)

    @property
    def given_rows(self) -> np.ndarray:
        """Mask of these rows among those given."""
        return np.ones(len(self), dtype=bool) if self.kept is None else self.kept

    def weighted(self, index: np.ndarray | None = None) -> np.ndarray:
        """Return the rows of ``index``, or of the table, that have an effect: not those of classes of weight 0."""
        index = np.arange(len(self)) if index is None else index
        return index if self.loss_weight is None else index[self.loss_weight[index] > 0]

    def rows(self, index: list[np.ndarray], device_config: DeviceConfig, unit: float | None = None) -> MemberRows:
        """Return the rows ``index[m]`` of each member m as tensors; see ``MemberRows`` for ``unit``."""
        dtype, device = device_config.dtype, device_config.device
        return MemberRows(self.numbers, self.levels, self.target, index, self.loss_weight, dtype, device, unit)

    def member_weights(self, index: list[np.ndarray]) -> np.ndarray:
        """Return the weight ``(members, rows)`` of each row in a member's statistics; 0 for rows not in ``index``.

        The weights are those in the loss; they are bools if all rows have the same weight.
        """
        weights = np.zeros((len(index), len(self)), dtype=bool if self.loss_weight is None else np.float64)
        for row, seen in zip(weights, index, strict=True):
            row[seen] = True if self.loss_weight is None else self.loss_weight[seen]
        return weights

    def original_rows(self, index: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """Return X, y and the weights of some rows as given."""
        return _safe_indexing(self.X, index), *self.y_and_weight(index)

    def y_and_weight(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return y and the weights of some rows as given, apart from a factor on extreme weights."""
        return self.y[index], None if self.weight is None else moderate(self.weight[index])


class TableEncoder:
    """Separates numeric from categorical columns and learns the levels of each category.

    ``categorical_features`` has the meaning that it has in ``HistGradientBoostingClassifier``. A column without any
    values is a category without levels, so all its later values are unknown.
    """

    numeric_: list[int]  # positions of the numeric columns
    categorical_: list[int]  # positions of the categorical columns
    levels_: list[dict[Any, int]]  # code of each level, for each categorical column
    dtype_: np.dtype[Any]  # of the numbers in the training rows, float32 or float64; probabilities have the same type

    def __init__(self, categorical_features: Any = "from_dtype") -> None:
        self.categorical_features = categorical_features

    def fit(self, X: Any, weight: np.ndarray | None = None) -> Self:
        """Learn the columns and levels of ``X``.

        A column with more than ``MAX_LEVELS`` levels keeps those with the largest total weight, which bounds the memory
        for identifier columns. The others are unknown, like levels that first occur at predict time.
        """
        columns = Columns(X)
        named = self._categorical_mask(columns)
        kinds, empty = columns.kinds()
        if named is None:
            named = np.array([kind != "number" for kind in kinds])
        elif texts := [columns.names[j] for j in np.flatnonzero(~(named | empty)) if kinds[j] in ("category", "text")]:
            raise ValueError(
                f"Column(s) {listed(texts)} contain categories, but categorical_features={self.categorical_features!r} "
                "does not contain them. Add them, or set categorical_features='from_dtype'."
            )
        self.categorical_ = np.flatnonzero(named | empty).tolist()
        self.numeric_ = np.flatnonzero(~(named | empty)).tolist()
        self.levels_ = [_learn_levels(columns.read(j, exact=True), weight) for j in self.categorical_]
        return self

    def transform(self, X: Any) -> tuple[Any, np.ndarray]:
        """Return the ``numbers`` and ``levels`` of ``X``; see ``EncodedTable``."""
        columns = Columns(X)
        codes = np.zeros((columns.n_rows, len(self.categorical_)), dtype=np.int32)
        for code, j, levels in zip(codes.T, self.categorical_, self.levels_, strict=True):
            if not levels:
                continue
            column = columns.read(j, exact=True)
            code[:] = _encode(column, levels)
            if not code.any():  # otherwise, some level is known and has the type seen in fit
                _check_same_type(column, levels)
        return columns.numbers(self.numeric_), codes

    def _categorical_mask(self, columns: Columns) -> np.ndarray | None:
        """Return the mask of the columns in ``categorical_features``; None if the dtypes decide."""
        wanted = self.categorical_features
        if isinstance(wanted, str) and wanted == "from_dtype":
            return None
        mask = np.zeros(columns.n, dtype=bool)
        if wanted is None or (isinstance(wanted, Sized) and len(wanted) == 0):
            return mask
        wanted = np.asarray(wanted if isinstance(wanted, np.ndarray) else list(wanted))
        if wanted.dtype.kind == "b":
            if wanted.shape != (columns.n,):
                raise ValueError(
                    f"categorical_features set as a boolean mask should have shape ({columns.n},), got: {wanted.shape}"
                    ". Pass one bool for each column of X."
                )
            mask[:] = wanted
        elif wanted.dtype.kind in "iu":
            if wanted.max() >= columns.n or wanted.min() < 0:
                must = f"should be in [0, {columns.n - 1}], got: {wanted.tolist()}"
                raise ValueError(f"categorical_features set as integer indices {must}. Remove the other indices.")
            mask[wanted] = True
        elif wanted.dtype.kind in "UO" and all(isinstance(name, str) for name in wanted):
            position = {name: j for j, name in enumerate(columns.names)}
            if unknown := [name for name in wanted.tolist() if name not in position]:
                raise ValueError(
                    f"categorical_features contains {listed(unknown)}, which X does not have as columns. Pass names of "
                    f"columns of X, which are {listed(columns.names)}."
                )
            mask[[position[name] for name in wanted.tolist()]] = True
        else:
            raise ValueError(
                "categorical_features must be an array-like of bool, int or str, got an array-like of dtype "
                f"{wanted.dtype}. Pass names, or indices, or one bool for each column of X."
            )
        if columns.sparse and mask.any():
            raise ValueError(
                f"categorical_features={self.categorical_features!r} cannot be used with a sparse X, which holds only "
                "numbers. One-hot encode its categories, or pass a data frame."
            )
        return mask


def _check_same_type(column: Column, levels: dict[Any, int]) -> None:
    """Raise an error if text has become numbers or vice versa, because every level would silently be unknown."""
    seen = column.present()
    was, now = (np.mean([isinstance(v, str) for v in values]) if len(values) else 0.5 for values in (levels, seen))
    if {was, now} == {0, 1}:
        raise changed_type_error(column.name, *(("text", "numbers") if was else ("numbers", "text")))


def _learn_levels(column: Column, weight: np.ndarray | None) -> dict[Any, int]:
    """Return the codes 1, 2, ... of the levels of a column, in sorted order."""
    categories = column.categories
    if categories is not None and len(categories) <= MAX_LEVELS:
        occur = np.bincount(column.values[~column.missing], minlength=len(categories))
        levels = set(compress(categories, occur.tolist()))
    else:
        seen = column.present()
        levels = set(seen)
        if len(levels) > MAX_LEVELS:
            levels = _heaviest_levels(seen, np.ones(len(seen)) if weight is None else weight[~column.missing])
    return {level: code for code, level in enumerate(sorted(levels, key=_sort_key), start=1)}


def _encode(column: Column, levels: dict[Any, int]) -> np.ndarray:
    """Return the codes of the values of a column; missing values are not a level."""
    if column.categories is not None:  # the code -1 of a missing value selects the last element
        codes: np.ndarray = np.array([*(levels.get(each, 0) for each in column.categories), 0], dtype=np.int32)
        encoded: np.ndarray = codes[column.values]
        return encoded
    values = column.objects()
    return np.fromiter(map(levels.get, values, repeat(0)), np.int32, len(values))


def _heaviest_levels(seen: list[Any], weight: np.ndarray) -> set[Any]:
    totals: dict[Any, float] = {}
    for level, w in zip(seen, weight.tolist(), strict=True):
        totals[level] = totals.get(level, 0.0) + w
    return set(sorted(totals, key=lambda level: (-totals[level], *_sort_key(level)))[:MAX_LEVELS])


def _sort_key(level: Any) -> tuple[str, Any]:
    """Order numbers by value and everything else by type and text, so that mixed columns can be sorted."""
    if isinstance(level, Decimal):  # cannot be compared with a fraction
        return ("", Fraction(level) if level.is_finite() else float(level))
    return ("", level) if isinstance(level, NUMBERS) else (type(level).__name__, str(level))
