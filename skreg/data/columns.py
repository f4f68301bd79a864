"""Columns of a table in any container, read in one form: their values and the mask of the missing ones.

Missing values are None, NaN, NaT, pandas' NA, nulls and masked values. No value is rounded before it is encoded:
integers stay integers until a column is read as floats.
"""

from collections.abc import Callable, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import chain, compress, repeat
from numbers import Real
from operator import is_
from types import NoneType
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils.validation import _get_feature_names, _num_features, _num_samples

from .._utils.validation import as_array, check_magnitude, listed

NUMBERS = (Real, Decimal)
DATES = (date, time, timedelta, np.datetime64, np.timedelta64, complex)
IN_MEMORY = {"dask": ".compute()", "duckdb": ".df()", "ibis": ".to_pandas()", "polars": ".collect()"}
"""Method that loads a lazy frame of a library into memory."""


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
        self.kind = kind  # "number", "bool" or "category"
        self.values = values
        self.categories = categories
        self._missing = missing

    @property
    def missing(self) -> NDArray[np.bool_]:
        """The mask of the missing values."""
        if self._missing is None:
            is_float = isinstance(self.values, np.ndarray) and self.values.dtype.kind == "f"
            self._missing = np.isnan(self.values) if is_float else np.zeros(len(self.values), dtype=bool)
        return self._missing

    @property
    def is_empty(self) -> bool:
        """Whether all values are missing; most columns are decided by their first value."""
        if self._missing is None and isinstance(self.values, np.ndarray) and self.values[0] == self.values[0]:
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
        frame = nw.from_native(X, eager_only=True) if is_frame(X) else None
        self.array: Any = X if frame is None else None
        self.n, self.n_rows = _num_features(X), _num_samples(X)
        names = None if frame is None else _get_feature_names(X)
        self.names: list[Any] = list(range(self.n)) if names is None else list(names)
        # a frame lists all of its names each time that a column is selected by name
        self._series = None if frame is None else list(frame.iter_columns())
        self._csc: Any = None

    @property
    def holds_numbers(self) -> bool:
        """Whether the container can only hold numbers."""
        return self.sparse or (self._series is None and self.array.dtype.kind != "O")

    def read(self, j: int, exact: bool = False) -> Column:
        """Read column ``j``; numbers may be rounded to floats unless they are to be ``exact``."""
        if self._series is not None:
            return _frame_column(self.names[j], self._series[j], exact)
        if self.sparse:
            self._csc = self.array.tocsc() if self._csc is None else self._csc
            return _array_column(self.names[j], self._csc[:, [j]].toarray().ravel())
        return _array_column(self.names[j], self.array[:, j])

    def kinds(self) -> tuple[list[str], NDArray[np.bool_]]:
        """Return the kind of each column, and the mask of the columns without any values."""
        if not self.holds_numbers:
            columns = map(self.read, range(self.n))
            kinds, no_value = zip(*((column.kind, column.is_empty) for column in columns), strict=True)
            return list(kinds), np.array(no_value)
        if self.sparse:
            csr = self.array.tocsr()
            empty = np.bincount(csr.indices[np.isnan(csr.data)], minlength=self.n) == self.n_rows
        else:
            empty = np.isnan(self.array[0]) if self.array.dtype.kind == "f" else np.zeros(self.n, dtype=bool)
            empty[empty] = np.isnan(self.array[:, empty]).all(axis=0)
        return ["number"] * self.n, empty

    def numbers(self, positions: Sequence[int]) -> Any:
        """Return some columns as floats; nothing is copied if no column changes."""
        in_order = list(positions) == list(range(self.n))
        if self.sparse:
            return self.array.tocsr() if in_order else self.array.tocsr()[:, positions]
        if self.holds_numbers:
            chosen = self.array if in_order else self.array[:, positions]
            return chosen if chosen.dtype.kind == "f" else chosen.astype(np.float64)
        single = self._series is not None and len(positions) > 0
        single = single and all(self._series[j].dtype == nw.Float32 for j in positions)  # type: ignore[index]
        out = np.empty((self.n_rows, len(positions)), dtype=np.float32 if single else np.float64, order="F")
        for values, j in zip(out.T, positions, strict=True):
            values[:] = self._number(j)
            if np.isinf(values).any():
                where = "" if self._series is None else f" in column {self.names[j]!r}"
                raise ValueError(f"Input X contains infinity or a value too large for dtype('float64'){where}.")
        check_magnitude(out, "X")
        return out

    def _number(self, j: int) -> np.ndarray:
        column = self.read(j)
        if column.is_empty:
            return np.full(self.n_rows, np.nan)
        if column.kind == "category":
            text = any(isinstance(value, str) for value in column.present())
            raise changed_type_error(column.name, "numbers", "text" if text else "categories")
        return column.floats()


def is_frame(X: Any) -> bool:
    """Return whether ``X`` is a data frame supported by narwhals, for example of pandas, polars or pyarrow."""
    return not isinstance(X, np.ndarray) and nw.dependencies.is_into_dataframe(X)


def check_table(X: Any, name: str = "X") -> Any:
    """Return a table as a frame, an array of numbers or of objects, or a CSR array; NaN is allowed, infinity is not.

    Lists become arrays of objects, unless all values are floats. Masked values become None or NaN.
    """
    X = _load(X, name)
    if is_frame(X):
        frame = _check_unique_names(X)
        if len(frame) == 0 or len(frame.columns) == 0:
            raise ValueError(
                f"Found array with {len(frame)} sample(s) and {len(frame.columns)} feature(s) "
                f"(shape={frame.shape}) while a minimum of 1 is required."
            )
        return X
    with np.errstate(over="ignore", invalid="ignore"):  # values that no float holds become infinite
        X = X if sparse.issparse(X) else to_array(X, name)
        if X.dtype.kind in "mM":
            raise type_error(0, X.dtype)
        if X.dtype.kind in "OSTU":
            return check_array(X, dtype=object, ensure_all_finite=False, input_name=name)
        exact = not sparse.issparse(X) and X.dtype.kind in "biu"
        X = check_array(
            X,
            accept_sparse="csr",
            dtype=None if exact else [np.float64, np.float32],
            ensure_all_finite="allow-nan",
            input_name=name,
        )
    if not exact:
        check_magnitude(X.data if sparse.issparse(X) else X, name)
    return X


def to_array(values: Any, name: str) -> np.ndarray:
    """Convert an array-like to an array without rounding; masked values become NaN or None."""
    if isinstance(values, np.ndarray):
        return _unmasked(values) if isinstance(values, np.ma.MaskedArray) else values
    if isinstance(values, list | tuple):
        return _array_of_list(values, name)
    return as_array(values, name)


def read_series(y: Any, name: str) -> list[Column] | None:
    """Return the columns of a series or a data frame; None for other containers."""
    y = _load(y, name)
    if is_frame(y):
        columns = Columns(y)
        return [columns.read(j, exact=True) for j in range(columns.n)]
    if not isinstance(y, np.ndarray) and nw.dependencies.is_into_series(y):
        return [_frame_column(name, nw.from_native(y, series_only=True), exact=True)]
    return None


def _load(X: Any, name: str) -> Any:
    """Return a record batch as a table and refuse lazy frames, whose rows may have another order each time."""
    X = nw.to_native(X, pass_through=True)
    if isinstance(X, np.ndarray | list) or is_frame(X):
        return X
    pyarrow = nw.dependencies.get_pyarrow()
    if pyarrow is not None and isinstance(X, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([X])
    if pyarrow is not None and isinstance(X, pyarrow.Array):
        return pyarrow.chunked_array([X])
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        library = frame.implementation.value
        load = f"{name}{IN_MEMORY[library]}" if library in IN_MEMORY else "it as a pandas, polars or pyarrow table"
        raise TypeError(f"{name} is a lazy frame of {library}, whose rows are not in memory. Pass {load}.")
    return X


def _check_unique_names(X: Any) -> nw.DataFrame[Any]:
    try:
        return nw.from_native(X, eager_only=True)
    except nw.exceptions.DuplicateError as error:
        names = list(X.columns)
        repeated = sorted({str(name) for name in names if names.count(name) > 1})
        raise ValueError(f"X has several columns named {listed(repeated)}. Rename or drop the duplicates.") from error


# arrays and lists


def _unmasked(values: Any) -> np.ndarray:
    """Return a masked array as an array, where masked values are NaN, NaT or None."""
    if values.dtype.kind in "mM":
        return np.asarray(values.filled(np.array("NaT", values.dtype)))
    if values.dtype.kind in "bf" and np.ma.getmaskarray(values).any():
        return np.asarray(values.astype(np.result_type(values.dtype, np.float16)).filled(np.nan))
    return np.asarray(values.astype(object).filled(None)) if np.ma.getmaskarray(values).any() else np.asarray(values)


def _array_of_list(rows: Sequence[Any], name: str) -> np.ndarray:
    """Convert values or rows; an array of objects holds what another array would round, convert or unmask."""
    nested = len(rows) > 0 and all(isinstance(row, list | tuple) for row in rows)
    kinds = set(map(type, chain.from_iterable(rows) if nested else rows))
    if kinds and all(issubclass(kind, float | np.floating) for kind in kinds):
        return as_array(rows, name)
    if kinds == {str} and not nested:
        return as_array(rows, name)
    if kinds == {int} and (array := as_array(rows, name)).dtype.kind in "iu":
        return array
    if any(hasattr(kind, "__array__") for kind in kinds):
        if not nested:
            arrays = [to_array(row, name) for row in rows]
            if len({(array.shape, array.dtype) for array in arrays}) == 1:
                return np.stack(arrays)
        rows = _plain(rows, name)
    try:
        return np.array(rows, dtype=object)
    except ValueError as error:
        raise ValueError(
            f"Input {name} cannot be converted to an array: {error}. Pass rows of equal length."
        ) from error


def _plain(value: Any, name: str) -> Any:
    """Return arrays as lists, scalars of other libraries as those of NumPy, and masked values as None."""
    if isinstance(value, list | tuple):
        return [_plain(each, name) for each in value]
    if value is np.ma.masked:
        return None
    if isinstance(value, np.generic) or not hasattr(value, "__array__"):
        return value
    array = to_array(value, name)
    return list(array) if array.ndim else array[()]


def _array_column(name: Any, values: np.ndarray) -> Column:
    if values.dtype.kind in "mM":
        raise type_error(name, values.dtype)
    return Column(name, "number", values) if values.dtype.kind in "biuf" else object_column(name, values.tolist())


# objects


def object_column(name: Any, values: list[Any], kind: str | None = None) -> Column:
    """Return a column of Python objects, whose types decide its ``kind`` unless it is given."""
    values, missing, kinds = _normalize(values, name)
    if kind is None:
        _check_kinds(kinds, name)
        kind = "number" if all(issubclass(each, NUMBERS) for each in kinds) else "category"
        if bool in kinds and all(issubclass(each, NUMBERS) for each in kinds):
            kind = "bool"
    if kinds == {float} and kind == "number":
        return Column(name, kind, np.array(values, dtype=np.float64), missing)
    return Column(name, kind, values, missing)


def to_float(value: Any) -> float:
    """Convert a number; None becomes NaN, and an integer that no float holds becomes infinite."""
    try:
        return np.nan if value is None else float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def _normalize(values: list[Any], name: Any) -> tuple[list[Any], NDArray[np.bool_] | None, set[type]]:
    """Return Python objects with None for missing values, the mask of these (None for none), and the types."""
    kinds = set(map(type, values))
    if kinds <= {str, int, bool}:
        return values, None, kinds
    converters = {kind: convert for kind in kinds if (convert := _converter(kind, name)) is not None}
    if converters:
        values = [convert(v) if (convert := converters.get(type(v))) else v for v in values]
        kinds = set(map(type, values))
    missing = np.fromiter(map(is_, values, repeat(None)), bool, len(values)) if NoneType in kinds else None
    return values, missing, kinds - {NoneType}


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
        return lambda v: _normalize([_plain(v, name)], name)[0][0]
    return None


def _check_kinds(kinds: set[type], name: Any) -> None:
    """Raise an error for types that are neither numbers nor categories."""
    for kind in kinds:
        if issubclass(kind, DATES) or kind.__name__ == "Period":
            raise type_error(name, kind.__name__)
        by_identity = kind.__eq__ is object.__eq__ and not issubclass(kind, Enum)
        if kind.__hash__ is None or by_identity:  # an object equal only to itself is unknown after a pickle
            raise TypeError(f"Column {name!r} contains a {kind.__name__}; each argument must be a string or a number.")


# columns of frames


def _frame_column(name: Any, series: Any, exact: bool) -> Column:
    dtype = series.dtype
    if dtype.is_temporal() or dtype.is_nested():
        raise type_error(name, dtype)
    if dtype in (nw.Categorical, nw.Enum):
        return _dictionary_column(name, series)
    if dtype.is_numeric() or dtype == nw.Decimal:
        if exact and not dtype.is_float():
            return _exact_column(name, series, "number")
        values = np.asarray((series if dtype == nw.Float32 else series.cast(nw.Float64)).to_numpy())
        return Column(name, "number", values if values.dtype.kind == "f" else values.astype(np.float64))
    if dtype == nw.Boolean:
        return _exact_column(name, series, "bool")
    values = series.to_numpy()
    if dtype in (nw.Object, nw.Unknown):
        return _array_column(name, values)
    return object_column(name, values.tolist(), "category")


def _exact_column(name: Any, series: Any, kind: str) -> Column:
    """Return a column of integers, decimals or bools; NumPy has no type for nulls and 128 bits among them."""
    large = series.dtype in (nw.Int128, nw.UInt128, nw.Decimal)
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
        return object_column(name, series.to_list(), "category")
    codes, categories = [np.zeros(0, dtype=np.int64)], list[Any]()
    for chunk in native.chunks:
        code = chunk.indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False)
        codes.append(np.where(code < 0, -1, code + len(categories)))
        categories += chunk.dictionary.to_pylist()
    return _coded_column(name, np.concatenate(codes), categories)


def _coded_column(name: Any, codes: np.ndarray, categories: list[Any]) -> Column:
    categories, missing, _ = _normalize(categories, name)
    if missing is not None:
        codes = np.where(np.append(missing, True)[codes], -1, codes)
    return Column(name, "category", codes, codes < 0, categories)


# errors


def changed_type_error(name: Any, was: str, now: str) -> ValueError:
    """Return the error for a column that changed its type between fit and predict."""
    return ValueError(
        f"Column {name!r} contained {was} when the estimator was fitted, but contains {now} now. Convert it to {was}."
    )


def type_error(name: Any, kind: Any) -> TypeError:
    """Return the error for a column of dates, lists or complex numbers."""
    return TypeError(
        f"Column {name!r} has type {kind}, which is neither a number nor a category. Convert it to numbers (days since "
        "a date, length of a list) or to categories."
    )
