"""The user's table, encoded as numbers and category codes.

The encoder learns which columns are categories and which levels they have. All other statistics are learned in
``statistics.py``, because each member has its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import repeat
from numbers import Number, Real
from operator import is_
from types import NoneType
from typing import Any, Self

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import _get_feature_names, _num_features, _num_samples

from .._utils.device import DeviceConfig
from .._utils.validation import check_magnitude, listed
from .batches import MemberRows

MAX_LEVELS = 4096
NUMBERS = (Real, Decimal)


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
        """Return y and the weights of some rows as given."""
        return self.y[index], None if self.weight is None else self.weight[index]


def is_frame(X: Any) -> bool:
    """Return whether ``X`` is a data frame supported by narwhals, for example of pandas, polars or pyarrow."""
    return not isinstance(X, np.ndarray) and nw.dependencies.is_into_dataframe(X)


class TableEncoder:
    """Separates numeric from categorical columns and learns the levels of each category.

    ``categorical_features`` has the meaning that it has in ``HistGradientBoostingClassifier``. A column without any
    values is a category without levels, so all its later values are unknown.
    """

    numeric_: list[int]  # positions of the numeric columns
    categorical_: list[int]  # positions of the categorical columns
    levels_: list[dict[Any, int]]  # code of each level, for each categorical column
    dtype_: np.dtype[Any]  # of the numbers in the training rows, float32 or float64; predictions have the same type

    def __init__(self, categorical_features: Any = "from_dtype") -> None:
        self.categorical_features = categorical_features

    def fit(self, X: Any, weight: np.ndarray | None = None) -> Self:
        """Learn the columns and levels of ``X``.

        A column with more than ``MAX_LEVELS`` levels keeps those with the largest total weight, which bounds the memory
        for identifier columns. The others are unknown, like levels that first occur at predict time.
        """
        columns = _Columns(X)
        named = self._categorical_mask(columns)
        by_kind = [columns.is_category[j] for j in range(columns.n)] if named is None else named
        self.categorical_ = [j for j in range(columns.n) if by_kind[j] or columns.is_empty(j)]
        self.numeric_ = [j for j in range(columns.n) if j not in set(self.categorical_)]
        if named is not None and (texts := [columns.names[j] for j in self.numeric_ if columns.is_category[j]]):
            raise ValueError(
                f"Column(s) {listed(texts)} contain categories, but categorical_features={self.categorical_features!r} "
                "does not contain them. Add them, or set categorical_features='from_dtype'."
            )
        self.levels_ = [_learn_levels(columns, j, weight) for j in self.categorical_]
        return self

    def transform(self, X: Any) -> tuple[Any, np.ndarray]:
        """Return the ``numbers`` and ``levels`` of ``X``; see ``EncodedTable``."""
        columns = _Columns(X)
        codes = np.zeros((columns.n_rows, len(self.categorical_)), dtype=np.int32)
        for code, j, levels in zip(codes.T, self.categorical_, self.levels_, strict=True):
            code[:] = _encode(columns, j, levels)
            if not code.any():  # otherwise, some level is known and has the type seen in fit
                _check_same_type(columns.names[j], levels, columns.present(j))
        return columns.numbers(self.numeric_), codes

    def _categorical_mask(self, columns: "_Columns") -> np.ndarray | None:
        """Return the mask of the columns in ``categorical_features``; None if the dtypes decide."""
        wanted = self.categorical_features
        if isinstance(wanted, str) and wanted == "from_dtype":
            return None
        mask = np.zeros(columns.n, dtype=bool)
        if wanted is None or len(wanted) == 0:
            return mask
        wanted = np.asarray(wanted)
        if wanted.dtype.kind == "b":
            if wanted.shape != (columns.n,):
                raise ValueError(
                    f"categorical_features set as a boolean mask should have shape ({columns.n},), got: {wanted.shape}"
                )
            mask[:] = wanted
        elif wanted.dtype.kind in "iu":
            if wanted.max() >= columns.n or wanted.min() < 0:
                must = f"should be in [0, {columns.n - 1}], got: {wanted.tolist()}"
                raise ValueError(f"categorical_features set as integer indices {must}")
            mask[wanted] = True
        elif wanted.dtype.kind in "UO" and all(isinstance(name, str) for name in wanted):
            if unknown := [name for name in wanted.tolist() if name not in columns.names]:
                raise ValueError(f"categorical_features contains {listed(unknown)}, which X does not have as columns.")
            mask[[columns.names.index(name) for name in wanted.tolist()]] = True
        else:
            raise ValueError(
                "categorical_features must be an array-like of bool, int or str, got an array-like of dtype "
                f"{wanted.dtype}."
            )
        if columns.sparse and mask.any():
            raise ValueError(
                f"categorical_features={self.categorical_features!r} cannot be used with a sparse X, which holds only "
                "numbers. One-hot encode its categories, or pass a data frame."
            )
        return mask


class _Columns:
    """Common access to the columns of a numeric or object array, a data frame or a sparse matrix."""

    def __init__(self, X: Any) -> None:
        self.sparse = sparse.issparse(X)
        self.frame = nw.from_native(X, eager_only=True) if is_frame(X) else None
        if self.frame is None and not self.sparse and not isinstance(X, np.ndarray):
            X = np.asarray(X)
        self.array: Any = X
        self.n, self.n_rows = _num_features(X), _num_samples(X)
        names = None if self.frame is None else _get_feature_names(X)
        self.names: list[Any] = list(range(self.n)) if names is None else list(names)
        self._types: list[Any] = [] if self.frame is None else list(self.frame.schema.values())
        self.is_category = [self._has_category_type(j) for j in range(self.n)]

    def is_empty(self, j: int) -> bool:
        """Return whether all values of column ``j`` are missing."""
        return not self.sparse and bool(self.missing(j, first=True).all()) and bool(self.missing(j).all())

    def categories(self, j: int) -> tuple[np.ndarray, list[Any]] | None:
        """Return the codes (-1 if missing) and categories of a pandas column of dtype category; None for others."""
        if self.frame is None or self._types[j] not in (nw.Categorical, nw.Enum):
            return None
        native = self.frame[:, j].to_native()
        if not nw.dependencies.is_pandas_series(native):
            return None
        categories = native.cat.categories.tolist()
        simple = all(isinstance(category, str | int | float) for category in categories)
        return (native.cat.codes.to_numpy(), categories) if simple else None

    def values(self, j: int) -> np.ndarray:
        """Return column ``j`` as an array."""
        values: np.ndarray = self.array[:, j] if self.frame is None else self.frame[:, j].to_numpy()
        return values

    def missing(self, j: int, first: bool = False) -> NDArray[np.bool_]:
        """Return the mask of nulls, None and NaN in column ``j``, or in its ``first`` value only."""
        rows = slice(1 if first else None)
        if self.frame is None:
            values = self.array[rows, j]
            nulls: NDArray[np.bool_] = np.zeros(len(values), bool)
        else:
            column = self.frame[rows, j]
            nulls = column.is_null().to_numpy()
            if self.categories(j) is not None:
                return nulls
            values = column.to_numpy()
        if values.dtype.kind == "f":
            nulls = nulls | np.isnan(values)
        elif values.dtype.kind == "O":
            nulls = nulls | _missing_objects(values.tolist())
        return nulls

    def present(self, j: int) -> np.ndarray:
        """Return the values of column ``j`` that are not missing."""
        present: np.ndarray = self.values(j)[~self.missing(j)]
        return present

    def numbers(self, positions: Sequence[int]) -> Any:
        """Return the numeric columns as floats; nothing is copied if no column changes."""
        in_order = list(positions) == list(range(self.n))
        if self.sparse:
            return self.array.tocsr() if in_order else self.array.tocsr()[:, positions]
        if self.frame is None and self.array.dtype.kind == "f":
            return self.array if in_order else self.array[:, positions]
        single = self.frame is not None and len(positions) and all(self._types[j] == nw.Float32 for j in positions)
        out = np.empty((self.n_rows, len(positions)), dtype=np.float32 if single else np.float64, order="F")
        for column, j in zip(out.T, positions, strict=True):
            column[:] = self._number(j)
            if np.isinf(column).any():
                where = "" if self.frame is None else f" in column {self.names[j]!r}"
                raise ValueError(f"Input X contains infinity or a value too large for dtype('float64'){where}.")
        check_magnitude(out, "X")
        return out

    def _number(self, j: int) -> np.ndarray:
        if self.is_category[j]:
            if self.missing(j).all():
                return np.full(self.n_rows, np.nan)
            values = self.values(j)
            text = any(isinstance(v, str) for v in values.tolist())
            raise _changed_type_error(self.names[j], "numbers", "text" if text else f"{values.dtype} values")
        if self.frame is None or self._types[j] in (nw.Object, nw.Unknown):
            out = np.full(self.n_rows, np.nan)
            out[~self.missing(j)] = [float(v) for v in self.present(j)]
            return out
        series = self.frame[:, j]
        return np.asarray((series if series.dtype == nw.Float32 else series.cast(nw.Float64)).to_numpy())

    def _has_category_type(self, j: int) -> bool:
        if self.sparse:
            return False
        if self.frame is None:
            return self.array.dtype.kind == "O" and _contains_categories(self.present(j), self.names[j])
        dtype = self._types[j]
        if dtype.is_numeric() or dtype == nw.Decimal:
            return False
        if dtype.is_temporal() or dtype.is_nested():
            raise _type_error(self.names[j], dtype)
        if dtype == nw.Object or dtype == nw.Unknown:
            return _contains_categories(self.present(j), self.names[j])
        return True


def check_table(X: Any) -> Any:
    """Return ``X`` as a frame, float array, object array or CSR array; NaN is allowed, infinity is not."""
    if is_frame(X):
        frame = _check_unique_names(X)
        if len(frame) == 0 or len(frame.columns) == 0:
            raise ValueError(
                f"Found array with {len(frame)} sample(s) and {len(frame.columns)} feature(s) "
                f"(shape={frame.shape}) while a minimum of 1 is required."
            )
        return X
    if isinstance(X, list) and np.asarray(X[0] if X else []).dtype.kind in "USO":
        X = np.array(X, dtype=object)
    if isinstance(X, np.ndarray) and X.dtype.kind == "O" and np.ndim(X) == 2:
        return check_array(X, dtype=object, ensure_all_finite=False, input_name="X")
    X = check_array(
        X, accept_sparse="csr", dtype=[np.float64, np.float32], ensure_all_finite="allow-nan", input_name="X"
    )
    check_magnitude(X.data if sparse.issparse(X) else X, "X")
    return X


def _check_unique_names(X: Any) -> nw.DataFrame[Any]:
    try:
        return nw.from_native(X, eager_only=True)
    except nw.exceptions.DuplicateError as error:
        names = list(X.columns)
        repeated = sorted({str(name) for name in names if names.count(name) > 1})
        raise ValueError(f"X has several columns named {listed(repeated)}. Rename or drop the duplicates.") from error


def _contains_categories(values: np.ndarray, name: Any) -> bool:
    """Return whether an object column contains any values, apart from missing ones, that are not numbers."""
    kinds = {type(v) for v in values.tolist()}
    for kind in kinds:
        if issubclass(kind, date | time | timedelta | np.datetime64 | complex) or kind.__name__ == "Period":
            raise _type_error(name, kind.__name__)
    if unhashable := [kind for kind in kinds if kind.__hash__ is None]:
        raise TypeError(
            f"Column {name!r} contains a {unhashable[0].__name__}; each argument must be a string or a number."
        )
    return bool in kinds or not all(issubclass(kind, NUMBERS) for kind in kinds)


def _check_same_type(name: Any, levels: dict[Any, int], seen: np.ndarray) -> None:
    """Raise an error if text has become numbers or vice versa, because every level would silently be unknown."""
    was, now = (np.mean([isinstance(v, str) for v in values]) if len(values) else 0.5 for values in (levels, seen))
    if {was, now} == {0, 1}:
        raise _changed_type_error(name, *(("text", "numbers") if was else ("numbers", "text")))


def _changed_type_error(name: Any, was: str, now: str) -> ValueError:
    return ValueError(
        f"Column {name!r} contained {was} when the estimator was fitted, but contains {now} now. Convert it to {was}."
    )


def _type_error(name: Any, kind: Any) -> TypeError:
    return TypeError(
        f"Column {name!r} has type {kind}, which is neither a number nor a category. Convert it to numbers (days since "
        "a date, length of a list) or to categories."
    )


def _learn_levels(columns: _Columns, j: int, weight: np.ndarray | None) -> dict[Any, int]:
    """Return the codes 1, 2, ... of the levels of column ``j``, in sorted order."""
    known = columns.categories(j)
    if known is not None and len(known[1]) <= MAX_LEVELS:
        occur = np.bincount(known[0] + 1, minlength=len(known[1]) + 1)[1:].tolist()
        levels = {level for level, count in zip(known[1], occur, strict=True) if count}
    else:
        missing = columns.missing(j)
        seen = columns.values(j)[~missing].tolist()
        levels = set(seen)
        if len(levels) > MAX_LEVELS:
            levels = _heaviest_levels(seen, np.ones(len(seen)) if weight is None else weight[~missing])
    return {level: code for code, level in enumerate(sorted(levels, key=_sort_key), start=1)}


def _encode(columns: _Columns, j: int, levels: dict[Any, int]) -> np.ndarray:
    """Return the codes of the values of column ``j``; missing values are not a level."""
    known = columns.categories(j)
    if known is None:
        values = columns.values(j).tolist()
        return np.fromiter(map(levels.get, values, repeat(0)), np.int32, len(values))
    codes = np.array([*(levels.get(category, 0) for category in known[1]), 0], dtype=np.int32)
    return codes.take(known[0])


def _missing_objects(values: list[Any]) -> NDArray[np.bool_]:
    """Return the mask of None and NaN; comparing types first takes a tenth of the time if no value is missing."""
    kinds = set(map(type, values))
    if not any(kind is NoneType or (issubclass(kind, Number) and not issubclass(kind, int)) for kind in kinds):
        return np.zeros(len(values), bool)
    if kinds <= {str, bool, int, NoneType}:
        return np.fromiter(map(is_, values, repeat(None)), bool, len(values))
    return np.fromiter((v is None or (isinstance(v, Number) and v != v) for v in values), bool, len(values))


def _heaviest_levels(seen: list[Any], weight: np.ndarray) -> set[Any]:
    totals: dict[Any, float] = {}
    for level, w in zip(seen, weight.tolist(), strict=True):
        totals[level] = totals.get(level, 0.0) + w
    return set(sorted(totals, key=lambda level: (-totals[level], *_sort_key(level)))[:MAX_LEVELS])


def _sort_key(level: Any) -> tuple[str, Any]:
    """Order numbers by value and everything else by type and text, so that mixed columns can be sorted."""
    return ("", float(level)) if isinstance(level, Real) else (type(level).__name__, str(level))
