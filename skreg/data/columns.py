"""Columns of a table in any container, read in one form: their values and the mask of the missing ones.

Missing values are None, NaN, NaT, pandas' NA, nulls and masked values. No value is rounded before it is encoded:
integers stay integers until a column is read as floats.
"""

from collections.abc import Callable, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import compress, repeat
from numbers import Real
from operator import is_
from types import NoneType
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.validation import _get_feature_names, _num_features, _num_samples

from .._utils.validation import check_magnitude
from .containers import described, is_frame, load, plain, type_error

NUMBERS = (Real, Decimal)
DATES = (date, time, timedelta, np.datetime64, np.timedelta64, complex)
LARGE = (nw.Int128, nw.UInt128, nw.Decimal)
"""Types of numbers that NumPy does not have."""


class Column:
    """One column of a table.

    ``values`` are an array of numbers or bools, or a list of Python objects with None for missing values. With
    ``categories``, they are codes of these, and -1 for missing values.
    """

    def __init__(
        self,
        name: Any,
        kind: str,
        values: Any,
        missing: NDArray[np.bool_] | None = None,
        categories: list[Any] | None = None,
    ) -> None:
        self.name = name
        self.kind = kind  # "number", "bool", "text" or "category"
        self.values = values
        self.categories = categories
        self._missing = missing

    @property
    def missing(self) -> NDArray[np.bool_]:
        """The mask of the missing values."""
        if self._missing is not None:
            return self._missing
        if isinstance(self.values, np.ndarray):
            is_float = self.values.dtype.kind == "f"
            self._missing = np.isnan(self.values) if is_float else np.zeros(len(self.values), dtype=bool)
        elif self.kind == "text":
            self._missing = ~np.fromiter(map(isinstance, self.values, repeat(str)), bool, len(self.values))
        else:
            self._missing = np.fromiter(map(is_, self.values, repeat(None)), bool, len(self.values))
        return self._missing

    @property
    def is_empty(self) -> bool:
        """Whether all values are missing; most columns are decided by their first value."""
        if self.categories is None:
            first = self.values[0]
            if isinstance(first, str) if self.kind == "text" else first is not None and first == first:
                return False
        return bool(self.missing.all())

    def objects(self) -> list[Any]:
        """Return the values as Python objects; missing values are None or NaN."""
        if self.categories is not None:
            categories = [*self.categories, None]  # the code -1 selects the last
            return [categories[code] for code in self.values.tolist()]
        values: list[Any] = self.values if isinstance(self.values, list) else self.values.tolist()
        return values

    def present(self) -> list[Any]:
        """Return the values that are not missing as Python objects."""
        return list(compress(self.objects(), (~self.missing).tolist()))

    def floats(self) -> np.ndarray:
        """Return the values of a column of numbers or bools as floats, with NaN for missing values."""
        if isinstance(self.values, np.ndarray):
            return self.values if self.values.dtype.kind == "f" else self.values.astype(np.float64)
        return np.fromiter(map(to_float, self.values), np.float64, len(self.values))


class Columns:
    """Common access to the columns of an array, a data frame or a sparse matrix that ``check_table`` returned."""

    def __init__(self, X: Any) -> None:
        self.sparse = sparse.issparse(X)
        self.n, self.n_rows = _num_features(X), _num_samples(X)
        self._table: Any = X
        self._csc: Any = None
        self._frame = nw.from_native(X, eager_only=True) if is_frame(X) else None
        names = None if self._frame is None else _get_feature_names(X)
        self.names: list[Any] = list(range(self.n)) if names is None else list(names)
        self._keys = [] if self._frame is None else self._frame.columns  # listed once: it takes time for each column
        self._plain, self._single = _plain_columns(X, self._frame, self.n)

    def read(self, j: int, exact: bool = False) -> Column:
        """Read column ``j``; numbers may be rounded to floats unless they are to be ``exact``."""
        if self._frame is not None:
            return _frame_column(self.names[j], self._frame.get_column(self._keys[j]), exact)
        if self.sparse:
            self._csc = self._table.tocsc() if self._csc is None else self._csc
            return _array_column(self.names[j], self._csc[:, [j]].toarray().ravel())
        return _array_column(self.names[j], self._table[:, j])

    def kinds(self) -> tuple[list[str], NDArray[np.bool_]]:
        """Return the kind of each column, and the mask of the columns without any values."""
        kinds, empty = ["number"] * self.n, ~self._plain
        if self._plain.any():  # most columns have a value in the first row
            first = self._block(np.flatnonzero(self._plain), slice(0, 1))
            empty[self._plain] = np.isnan(first.toarray() if self.sparse else first)[0]
        for j in np.flatnonzero(empty).tolist():
            column = self.read(j)
            kinds[j], empty[j] = column.kind, column.is_empty
        return kinds, empty

    def numbers(self, positions: Sequence[int]) -> Any:
        """Return some columns as floats; an array or a sparse matrix of floats is not copied if no column changes."""
        chosen, every = np.asarray(positions, dtype=np.intp), slice(None)
        if self._frame is None and self._plain.all():
            return _as_float(self._table) if self._are_all(chosen) else self._block(chosen, every)
        plain = self._plain[chosen]
        dtype = np.float32 if len(chosen) and self._single[chosen].all() else np.float64
        if plain.all() and len(chosen):
            out = np.require(self._block(chosen, every), dtype, ["F", "W"])
        else:
            out = np.empty((self.n_rows, len(chosen)), dtype=dtype, order="F")
            out[:, plain] = self._block(chosen[plain], every) if plain.any() else 0
        for i in np.flatnonzero(~plain).tolist():
            out[:, i] = self._number(positions[i])
        if np.isinf(out).any():
            column = self.names[chosen[np.isinf(out).any(axis=0).argmax()]]
            where = "" if self._frame is None else f" in column {column!r}"
            raise ValueError(
                f"Input X contains infinity or a value too large for dtype('float64'){where}. "
                "Replace infinite values by NaN, or rescale the column."
            )
        check_magnitude(out, "X")
        return out

    def _block(self, positions: NDArray[np.intp], rows: slice) -> Any:
        """Return some rows of several columns of plain numbers as floats ``(rows, len(positions))``."""
        if self._frame is None:
            return _as_float(self._table[rows][:, positions])
        dtype = np.float32 if self._single[positions].all() else np.float64
        if nw.dependencies.is_pandas_dataframe(self._table):
            table = self._table.iloc[rows]
            return (table if self._are_all(positions) else table.iloc[:, positions]).to_numpy(dtype, na_value=np.nan)
        table = self._table[rows]
        out = np.empty((len(table), len(positions)), dtype, order="F")
        for column, j in zip(out.T, positions.tolist(), strict=True):
            column[:] = table[self._keys[j]].to_numpy()
        return out

    def _are_all(self, positions: NDArray[np.intp]) -> bool:
        """Whether the positions are those of all columns, in order."""
        return bool(np.array_equal(positions, np.arange(self.n)))

    def _number(self, j: int) -> np.ndarray:
        column = self.read(j)
        if column.is_empty:
            return np.full(self.n_rows, np.nan)
        if column.kind not in ("number", "bool"):
            text = any(isinstance(value, str) for value in column.present())
            raise changed_type_error(column.name, "numbers", "text" if text else "categories")
        return column.floats()


def _as_float(numbers: Any) -> Any:
    return numbers if numbers.dtype.kind == "f" else numbers.astype(np.float64)


def _plain_columns(X: Any, frame: Any, n: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the masks of the columns of plain numbers, which are read together, and of the columns of float32."""
    if frame is None:
        return np.full(n, X.dtype.kind != "O"), np.full(n, X.dtype == np.float32)
    if nw.dependencies.is_pandas_dataframe(X):
        plain = [dtype.kind in "iuf" for dtype in X.dtypes]
        single = [dtype.kind == "f" and getattr(dtype, "itemsize", 0) == 4 for dtype in X.dtypes]
    else:
        known = nw.dependencies.is_polars_dataframe(X) or nw.dependencies.is_pyarrow_table(X)
        types = list(frame.schema.values())
        plain = [known and (dtype.is_float() or (dtype.is_integer() and dtype not in LARGE)) for dtype in types]
        single = [dtype == nw.Float32 for dtype in types]
    return np.array(plain, dtype=bool), np.array(single, dtype=bool)


def read_series(y: Any, name: str) -> list[Column] | None:
    """Return the columns of a series or a data frame; None for other containers."""
    y = load(y, name)
    if is_frame(y):
        columns = Columns(y)
        return [columns.read(j, exact=True) for j in range(columns.n)]
    if not isinstance(y, np.ndarray) and nw.dependencies.is_into_series(y):
        return [_frame_column(None, nw.from_native(y, series_only=True), exact=True)]
    return None


def _array_column(name: Any, values: np.ndarray) -> Column:
    if values.dtype.kind in "mM":
        if not np.isnat(values).all():
            raise type_error(name, values.dtype)
        values = np.full(len(values), np.nan)
    return Column(name, "number", values) if values.dtype.kind in "biuf" else object_column(name, values.tolist())


# objects


def object_column(name: Any, values: list[Any], kind: str | None = None) -> Column:
    """Return a column of Python objects, whose types decide its ``kind`` unless it is given."""
    values, kinds = _normalize(values, name)
    if kind is None:
        _check_kinds(kinds, name)
        kind = "number" if all(issubclass(each, NUMBERS) for each in kinds) else "category"
        if bool in kinds and all(issubclass(each, NUMBERS) for each in kinds):
            kind = "bool"
    if kinds == {float} and kind == "number":
        return Column(name, kind, np.array(values, dtype=np.float64))
    return Column(name, kind, values)


def to_float(value: Any) -> float:
    """Convert a number; None becomes NaN, and an integer that no float holds becomes infinite."""
    try:
        return np.nan if value is None else float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def _normalize(values: list[Any], name: Any) -> tuple[list[Any], set[type]]:
    """Return Python objects, with None for missing values, and the types of the others."""
    kinds = set(map(type, values))
    converters = {kind: convert for kind in kinds if (convert := _converter(kind, name)) is not None}
    if converters:
        values = [convert(v) if (convert := converters.get(type(v))) else v for v in values]
        kinds = set(map(type, values))
    return values, kinds - {NoneType}


def _converter(kind: type, name: Any) -> Callable[[Any], Any] | None:
    """Return a function that converts values of a type to Python objects, and missing ones to None."""
    if kind.__name__ in ("NAType", "NaTType"):
        return lambda _: None
    if issubclass(kind, np.datetime64 | np.timedelta64):
        return lambda v: None if np.isnat(v) else v
    if issubclass(kind, Decimal):  # a signaling NaN cannot be compared
        return lambda v: None if v.is_nan() else v
    if issubclass(kind, np.number):
        return lambda v: None if v != v else v.item()
    if issubclass(kind, float | complex):
        return lambda v: None if v != v else v
    if issubclass(kind, np.generic):
        return lambda v: v.item()
    if issubclass(kind, tuple | frozenset):  # two NaN in them would be different levels
        collection = tuple if issubclass(kind, tuple) else frozenset
        return lambda v: collection(_normalize(list(v), name)[0])
    if hasattr(kind, "__array__"):
        return lambda v: _normalize([plain(v, "y" if name is None else name)], name)[0][0]
    return None


def _check_kinds(kinds: set[type], name: Any) -> None:
    """Raise an error for types that are neither numbers nor categories."""
    for kind in kinds:
        if issubclass(kind, DATES) or kind.__name__ == "Period":
            raise type_error(name, kind.__name__)
        by_identity = kind.__eq__ is object.__eq__ and not issubclass(kind, Enum)
        if kind.__hash__ is None or by_identity:  # an object equal only to itself is unknown after a pickle
            raise TypeError(
                f"{described(name)} contains values of type {kind.__name__}. Convert them to text or numbers."
            )


# columns of frames


def _frame_column(name: Any, series: Any, exact: bool) -> Column:
    dtype = series.dtype
    if dtype.is_temporal() or dtype.is_nested():
        if series.null_count() == len(series):
            return object_column(name, [None] * len(series))
        raise type_error(name, dtype)
    if dtype in (nw.Categorical, nw.Enum):
        return _dictionary_column(name, series)
    if dtype.is_numeric() or dtype == nw.Decimal:
        if exact and not dtype.is_float():
            return _exact_column(name, series, "number")
        values = np.asarray((series.cast(nw.Float64) if dtype in LARGE else series).to_numpy())
        return Column(name, "number", values if values.dtype.kind == "f" else values.astype(np.float64))
    if dtype == nw.Boolean:
        return _exact_column(name, series, "bool")
    values = series.to_numpy()
    if dtype == nw.String:
        return Column(name, "text", values.tolist())
    if dtype in (nw.Object, nw.Unknown):
        return _array_column(name, values)
    return object_column(name, values.tolist(), "category")


def _exact_column(name: Any, series: Any, kind: str) -> Column:
    """Return a column of integers, decimals or bools; NumPy has no type for nulls and 128 bits among them."""
    large = series.dtype in LARGE
    values = None if large or series.null_count() else series.to_numpy()
    if values is not None and values.dtype.kind in "biu":
        return Column(name, kind, values)
    return object_column(name, series.to_list(), kind)


def _dictionary_column(name: Any, series: Any) -> Column:
    """Return a column of codes, which are read without decoding them: a null has no code that NumPy could hold."""
    native = series.to_native()
    if nw.dependencies.is_pandas_series(native) and hasattr(native, "cat"):
        return _coded_column(name, native.cat.codes.to_numpy().astype(np.int64), native.cat.categories.tolist())
    if nw.dependencies.is_pandas_series(native):  # a dictionary of Arrow
        native = native.array.__arrow_array__()
    if not hasattr(native, "chunks"):
        return Column(name, "text", series.to_numpy().tolist())
    codes, categories = [np.zeros(0, dtype=np.int64)], list[Any]()
    for chunk in native.chunks:
        code = chunk.indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False)
        codes.append(np.where(code < 0, -1, code + len(categories)))
        categories += chunk.dictionary.to_pylist()
    return _coded_column(name, np.concatenate(codes), categories)


def _coded_column(name: Any, codes: np.ndarray, categories: list[Any]) -> Column:
    categories, _ = _normalize(categories, name)
    if None in categories:
        codes = np.where(np.array([category is None for category in [*categories, None]])[codes], -1, codes)
    return Column(name, "category", codes, codes < 0, categories)


# errors


def changed_type_error(name: Any, was: str, now: str) -> ValueError:
    """Return the error for a column that changed its type between fit and predict."""
    return ValueError(
        f"Column {name!r} contained {was} when the estimator was fitted, but contains {now} now. Convert it to {was}."
    )
