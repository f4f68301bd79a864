"""The table encoder turns what the user has, array, frame or sparse matrix, into numbers and category codes.

It learns which columns are categories and which levels they have; every statistic is learned elsewhere
(``_encoding``), because each member has its own.
"""

from collections.abc import Iterator, Sequence
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
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils.validation import _get_feature_names, _num_features, _num_samples

from .._utils.validation import check_magnitude, listed

MAX_LEVELS = 4096
NUMBERS = (Real, Decimal)


@dataclass(frozen=True)
class Table:
    """A table as numbers and codes.

    Attributes
    ----------
    numbers : ndarray or csr_array of shape (rows, n_numbers)
        Numeric columns in the user's float type; NaN where a value is missing.
    levels : int32 ndarray of shape (rows, n_categories)
        Code of each category: 0 for missing or unknown, else 1, 2, ...
    """

    numbers: Any
    levels: np.ndarray

    def __len__(self) -> int:
        return self.numbers.shape[0]


def is_frame(X: Any) -> bool:
    """Whether ``X`` is a data frame that narwhals knows: pandas, polars, pyarrow..."""
    return not isinstance(X, np.ndarray) and nw.dependencies.is_into_dataframe(X)


class TableEncoder:
    """Which columns are numbers, which are categories, and the levels of each.

    Parameters
    ----------
    categorical_features : "from_dtype", None or array-like of bool, int or str
        As in ``HistGradientBoostingClassifier``.

    Attributes
    ----------
    numeric_ : list of int
        Positions of the numeric columns.
    categorical_ : list of int
        Positions of the categorical columns. A column without any value is one without levels: whatever it holds later
        is unknown.
    levels_ : list of dict
        For each categorical column, the code of each level.
    """

    def __init__(self, categorical_features: Any = "from_dtype") -> None:
        self.categorical_features = categorical_features

    def fit(self, X: Any, weight: np.ndarray | None = None) -> Self:
        """Learn the columns and levels of ``X``.

        Beyond ``MAX_LEVELS`` levels a column keeps its heaviest ones, so that an identifier column cannot ask for
        unbounded memory; the others are unknown, as levels first seen at predict time are.
        """
        columns = _Columns(X)
        named = self._named(columns)
        by_kind = [columns.is_category(j) for j in range(columns.n)] if named is None else named
        self.categorical_ = [j for j in range(columns.n) if by_kind[j] or columns.is_empty(j)]
        self.numeric_ = [j for j in range(columns.n) if j not in set(self.categorical_)]
        if named is not None and (texts := [columns.names[j] for j in self.numeric_ if columns.is_category(j)]):
            raise ValueError(
                f"Column(s) {listed(texts)} hold categories, but categorical_features={self.categorical_features!r} "
                "does not name them. Name them there, or leave categorical_features='from_dtype'."
            )
        self.levels_ = [_learn_levels(columns, j, weight) for j in self.categorical_]
        return self

    def transform(self, X: Any) -> Table:
        """The table of ``X``, columns as learned."""
        columns = _Columns(X)
        codes = np.zeros((columns.n_rows, len(self.categorical_)), dtype=np.int32)
        for code, j, levels in zip(codes.T, self.categorical_, self.levels_, strict=True):
            code[:] = _encode(columns, j, levels)
            if not code.any():  # a known level is of the known kind
                _refuse_other_kind(columns.names[j], levels, columns.present(j))
        return Table(columns.numbers(self.numeric_), codes)

    def _named(self, columns: "_Columns") -> np.ndarray | None:
        """Mask of the columns that ``categorical_features`` names; None where the types decide."""
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
            return wanted
        if wanted.dtype.kind in "iu":
            if wanted.max() >= columns.n or wanted.min() < 0:
                raise ValueError(
                    f"categorical_features set as integer indices should be in [0, {columns.n - 1}], "
                    f"got: {wanted.tolist()}"
                )
            mask[wanted] = True
        elif wanted.dtype.kind in "UO" and all(isinstance(name, str) for name in wanted):
            if unknown := [name for name in wanted.tolist() if name not in columns.names]:
                raise ValueError(f"categorical_features names {listed(unknown)}, which X does not have.")
            mask[[columns.names.index(name) for name in wanted.tolist()]] = True
        else:
            raise ValueError(
                "categorical_features must be an array-like of bool, int or str, got an array-like of dtype "
                f"{wanted.dtype}."
            )
        if columns.sparse and mask.any():
            raise ValueError("A sparse X holds numbers only: one-hot encode its categories, or pass a frame.")
        return mask


class _Columns:
    """One way to read the columns of an array, an object array, a frame or a sparse matrix."""

    def __init__(self, X: Any) -> None:
        self.sparse = sparse.issparse(X)
        self.frame = nw.from_native(X, eager_only=True) if is_frame(X) else None
        if self.frame is None and not self.sparse and not isinstance(X, np.ndarray):
            X = np.asarray(X)
        self.array = X
        self.n, self.n_rows = _num_features(X), _num_samples(X)
        names = None if self.frame is None else _get_feature_names(X)
        self.names: list[Any] = list(range(self.n)) if names is None else list(names)
        self._types: list[Any] = [] if self.frame is None else list(self.frame.schema.values())
        self._category = [self._looks_like_category(j) for j in range(self.n)]

    def is_category(self, j: int) -> bool:
        """Whether the type of column ``j`` says category."""
        return self._category[j]

    def is_empty(self, j: int) -> bool:
        """Whether column ``j`` holds no value at all."""
        return not self.sparse and bool(self.missing(j, first=True).all()) and bool(self.missing(j).all())

    def categories(self, j: int) -> tuple[np.ndarray, list[Any]] | None:
        """Codes, -1 where missing, and categories of column ``j``, if that is how pandas holds it."""
        if self.frame is None or self._types[j] not in (nw.Categorical, nw.Enum):
            return None
        native = self.frame[:, j].to_native()
        if not nw.dependencies.is_pandas_series(native):
            return None
        categories = native.cat.categories.tolist()
        simple = all(isinstance(category, str | int | float) for category in categories)
        return (native.cat.codes.to_numpy(), categories) if simple else None

    def values(self, j: int) -> np.ndarray:
        """Column ``j`` as an array of what it holds."""
        if self.frame is None:
            return self.array[:, j]
        return self.frame[:, j].to_numpy()

    def missing(self, j: int, first: bool = False) -> np.ndarray:
        """Mask of the missing values of column ``j``, or of its ``first`` value only: null, None and NaN."""
        rows = slice(1 if first else None)
        if self.frame is None:
            values, nulls = self.array[rows, j], np.zeros(len(self.array[rows]), bool)
        else:
            column = self.frame[rows, j]
            nulls = column.is_null().to_numpy()
            if self.categories(j) is not None:
                return nulls
            values = column.to_numpy()
        if values.dtype.kind == "f":
            return nulls | np.isnan(values)
        return nulls | _missing_objects(values.tolist()) if values.dtype.kind == "O" else nulls

    def present(self, j: int) -> np.ndarray:
        """What column ``j`` holds where nothing is missing."""
        return self.values(j)[~self.missing(j)]

    def numbers(self, positions: Sequence[int]) -> Any:
        """The numeric columns as floats, the array itself where nothing has to be changed."""
        in_order = list(positions) == list(range(self.n))
        if self.sparse:
            return self.array.tocsr() if in_order else self.array.tocsr()[:, positions]
        if self.frame is None and self.array.dtype.kind == "f":
            return self.array if in_order else self.array[:, positions]
        out = np.empty((self.n_rows, len(positions)), dtype=self._float_type(positions), order="F")
        for column, j in zip(out.T, positions, strict=True):
            column[:] = self._number(j)
            if np.isinf(column).any():
                where = "" if self.frame is None else f" in column {self.names[j]!r}"
                raise ValueError(f"Input X contains infinity or a value too large for dtype('float64'){where}.")
        check_magnitude(out, "X")
        return out

    def _number(self, j: int) -> np.ndarray:
        if self._category[j]:
            if self.missing(j).all():
                return np.full(self.n_rows, np.nan)
            raise ValueError(
                f"Column {self.names[j]!r} held numbers when the estimator was fitted and holds "
                f"{_kind(self.values(j))} now. Convert it back to numbers."
            )
        if self.frame is None or self._types[j] in (nw.Object, nw.Unknown):
            out = np.full(self.n_rows, np.nan)
            out[~self.missing(j)] = [float(v) for v in self.present(j)]
            return out
        series = self.frame[:, j]
        return series.cast(nw.Float64).to_numpy() if series.dtype != nw.Float32 else series.to_numpy()

    def _float_type(self, positions: Sequence[int]) -> type:
        single = self.frame is not None and all(self._types[j] == nw.Float32 for j in positions)
        return np.float32 if single and positions else np.float64

    def _looks_like_category(self, j: int) -> bool:
        if self.sparse:
            return False
        if self.frame is None:
            return self.array.dtype.kind == "O" and _holds_categories(self.present(j), self.names[j])
        dtype = self._types[j]
        if dtype.is_numeric() or dtype == nw.Decimal:
            return False
        if dtype.is_temporal() or dtype.is_nested():
            raise _neither(self.names[j], dtype)
        if dtype == nw.Object or dtype == nw.Unknown:
            return _holds_categories(self.present(j), self.names[j])
        return True


def check_table(X: Any) -> Any:
    """``X`` as a frame, a float array, an object array or a CSR array; infinities refused, NaN let through."""
    if is_frame(X):
        frame = _named_uniquely(X)
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


def _named_uniquely(X: Any) -> nw.DataFrame:
    try:
        return nw.from_native(X, eager_only=True)
    except nw.exceptions.DuplicateError as error:
        names = list(X.columns)
        repeated = sorted({str(name) for name in names if names.count(name) > 1})
        raise ValueError(
            f"X has several columns named {listed(repeated)}. Rename or drop the repeated ones."
        ) from error


def _holds_categories(values: np.ndarray, name: Any) -> bool:
    """Whether the present values of an object column are categories: anything but numbers."""
    kinds = {type(v) for v in values.tolist()}
    for kind in kinds:
        if issubclass(kind, date | time | timedelta | np.datetime64 | complex) or kind.__name__ == "Period":
            raise _neither(name, kind.__name__)
    if unhashable := [kind for kind in kinds if kind.__hash__ is None]:
        raise TypeError(
            f"Column {name!r} holds a {unhashable[0].__name__}; each argument must be a string or a number."
        )
    return bool in kinds or not all(issubclass(kind, NUMBERS) for kind in kinds)


def _refuse_other_kind(name: Any, levels: dict[Any, int], seen: np.ndarray) -> None:
    """Refuse text that came back as numbers, or the reverse: every level would be unknown, and nobody would be told."""
    was, now = (np.mean([isinstance(v, str) for v in values]) if len(values) else 0.5 for values in (levels, seen))
    if {was, now} == {0, 1}:
        kinds = ("text", "numbers") if was else ("numbers", "text")
        raise ValueError(
            f"Column {name!r} held {kinds[0]} when the estimator was fitted and holds {kinds[1]} now. "
            f"Convert it back to {kinds[0]}."
        )


def _neither(name: Any, kind: Any) -> TypeError:
    return TypeError(
        f"Column {name!r} has type {kind}, which is neither a number nor a category. Turn it into numbers (days since "
        "a date, its length...) or categories first."
    )


def _kind(values: np.ndarray) -> str:
    return "text" if any(isinstance(v, str) for v in values.tolist()) else f"{values.dtype} values"


def _learn_levels(columns: _Columns, j: int, weight: np.ndarray | None) -> dict[Any, int]:
    """Codes 1, 2, ... of the levels of column ``j``, in sorted order."""
    known = columns.categories(j)
    if known is not None and len(known[1]) <= MAX_LEVELS:
        occur = np.bincount(known[0] + 1, minlength=len(known[1]) + 1)[1:].tolist()
        levels = {level for level, count in zip(known[1], occur, strict=True) if count}
    else:
        missing = columns.missing(j)
        seen = columns.values(j)[~missing].tolist()
        levels = set(seen)
        if len(levels) > MAX_LEVELS:
            levels = set(_heaviest(seen, None if weight is None else weight[~missing]))
    return {level: code for code, level in enumerate(sorted(levels, key=_sort_key), start=1)}


def _encode(columns: _Columns, j: int, levels: dict[Any, int]) -> np.ndarray:
    """Codes of the values of column ``j``; what is missing is no level."""
    known = columns.categories(j)
    if known is None:
        values = columns.values(j).tolist()
        return np.fromiter(map(levels.get, values, repeat(0)), np.int32, len(values))
    codes = np.array([*(levels.get(category, 0) for category in known[1]), 0], dtype=np.int32)
    return codes[known[0]]


def _missing_objects(values: list[Any]) -> np.ndarray:
    """Mask of None and NaN; where there can be none is seen by the types, which takes a tenth of the time."""
    kinds = set(map(type, values))
    if not any(kind is NoneType or (issubclass(kind, Number) and not issubclass(kind, int)) for kind in kinds):
        return np.zeros(len(values), bool)
    if kinds <= {str, bool, int, NoneType}:
        return np.fromiter(map(is_, values, repeat(None)), bool, len(values))
    return np.fromiter((v is None or (isinstance(v, Number) and v != v) for v in values), bool, len(values))


def _heaviest(seen: list[Any], weight: np.ndarray | None) -> Iterator[Any]:
    totals: dict[Any, float] = {}
    for level, w in zip(seen, np.ones(len(seen)) if weight is None else weight, strict=True):
        totals[level] = totals.get(level, 0.0) + float(w)
    ranked = sorted(totals, key=lambda level: (-totals[level], *_sort_key(level)))
    return iter(ranked[:MAX_LEVELS])


def _sort_key(level: Any) -> tuple[str, Any]:
    """Numbers by value, then everything else by its text, so that mixed columns have an order too."""
    return ("", float(level)) if isinstance(level, Real) else (type(level).__name__, str(level))
