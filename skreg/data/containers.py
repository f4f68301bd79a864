"""Containers of tables and targets: frames, arrays, lists and sparse matrices are checked and made uniform.

Nothing is rounded or filled: masked values and the gaps of lists stay missing, and integers stay integers.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing, check_array, column_or_1d

from .._utils.validation import as_array, check_lengths, check_magnitude, check_weights, listed, naming

EXACT_INTEGERS = 2.0**53  # all integers below have a float64 of their own
IN_MEMORY = {"dask": ".compute()", "duckdb": ".df()", "ibis": ".to_pandas()", "polars": ".collect()"}
"""Method that loads a lazy frame of a library into memory."""


def is_frame(X: Any) -> bool:
    """Return whether ``X`` is a data frame supported by narwhals, for example of pandas, polars or pyarrow."""
    return not isinstance(X, np.ndarray) and nw.dependencies.is_into_dataframe(X)


def check_table(X: Any, name: str = "X") -> Any:
    """Return a table as a frame, an array of numbers or of objects, or a CSR array; NaN is allowed, infinity is not.

    Lists become arrays of numbers if no number is rounded, and otherwise arrays of objects. Masked values become None
    or NaN.
    """
    with naming(name, "X"):
        return _checked_table(X, name)


def _checked_table(X: Any, name: str) -> Any:
    X = load(X, name)
    if is_frame(X):
        frame = _check_unique_names(X)
        if len(frame) == 0 or len(frame.columns) == 0:
            raise ValueError(
                f"Found array with {len(frame)} sample(s) and {len(frame.columns)} feature(s) "
                f"(shape={frame.shape}) while a minimum of 1 is required. Pass at least one row and one column."
            )
        return X
    with np.errstate(over="ignore", invalid="ignore"):  # values that no float holds become infinite
        X = X if sparse.issparse(X) else to_rows(X, name)
        _check_dimensions(X, name)
        if X.dtype.kind in "mM" and np.isnat(X).all():
            X = np.full(X.shape, np.nan)
        if X.dtype.kind in "mMV":
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


def to_rows(values: Any, name: str) -> np.ndarray:
    """Convert an array-like of rows as ``to_array`` does; a single value raises an error."""
    array = to_array(values, name)
    if array.ndim == 0:
        columns = "n_features" if name.startswith("X") else "n_outputs"
        raise ValueError(
            f"Input {name} must be an array-like with one row for each sample, of shape (n_samples, {columns}), got "
            f"{type(values).__name__}. Convert it to an array or a data frame."
        )
    return array


def _check_dimensions(X: Any, name: str) -> None:
    """Raise an error for a single dimension; that of scikit-learn would contain all values."""
    if X.ndim == 1:
        raise ValueError(
            f"Expected 2D array, got 1D array instead: {name} has the shape {X.shape}. Reshape your data either "
            "using array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it contains a "
            "single sample."
        )


def flatten_column(y: Any) -> Any:
    """Convert a target of shape (n, 1) to shape (n,) with scikit-learn's warning; other targets are unchanged."""
    if isinstance(y, list | tuple):
        is_column = len(y) > 0 and all(isinstance(row, list | tuple) and len(row) == 1 for row in y)
    else:
        is_column = not sparse.issparse(y) and tuple(getattr(y, "shape", ())[1:]) == (1,)
    return column_or_1d(y, warn=True) if is_column else y


def load(X: Any, name: str) -> Any:
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
        loaded = f"{name}{IN_MEMORY[library]}" if library in IN_MEMORY else "it as a pandas, polars or pyarrow table"
        raise TypeError(f"{name} is a lazy frame of {library}, whose rows are not in memory. Pass {loaded}.")
    return X


def _check_unique_names(X: Any) -> nw.DataFrame[Any]:
    try:
        return nw.from_native(X, eager_only=True)
    except nw.exceptions.DuplicateError as error:
        names = list(X.columns)
        repeated = sorted({str(name) for name in names if names.count(name) > 1})
        raise ValueError(f"X has several columns named {listed(repeated)}. Rename or drop the duplicates.") from error


def remove_void_rows(
    X: Any, y: Any, sample_weight: Any, suffix: str = ""
) -> tuple[Any, Any, np.ndarray | None, np.ndarray | None]:
    """Return X, y and the weights without the rows of weight 0, and the mask of the rows that are left, if not all.

    It is called before X and y are checked, so that the values and labels of the removed rows may be invalid. The
    names of the arguments end with ``suffix``.
    """
    if sample_weight is None:
        return X, y, None, None
    names = f"X{suffix}", f"y{suffix}"
    X, y = _rows_of(X, names[0]), _rows_of(y, names[1])
    check_lengths(**dict(zip(names, (X, y), strict=True)))
    weight = check_weights(sample_weight, X, f"sample_weight{suffix}")
    if weight is None or weight.all():
        return X, y, weight, None
    kept = weight > 0
    rows = np.flatnonzero(kept)
    return select_rows(X, rows), select_rows(y, rows), weight[rows], kept


def _rows_of(values: Any, name: str) -> Any:
    """Return a container of which rows can be selected; values of unknown types become arrays or raise an error."""
    values = load(values, name)
    selectable = (isinstance(values, np.ndarray) and values.ndim > 0) or isinstance(values, list | tuple)
    is_column = nw.dependencies.is_into_series(values)
    return values if selectable or is_column or sparse.issparse(values) or is_frame(values) else to_rows(values, name)


def select_rows(values: Any, rows: np.ndarray) -> Any:
    """Return some rows of an array, a list, a data frame, a series or a sparse matrix."""
    if nw.dependencies.is_into_series(values):
        return nw.from_native(values, series_only=True)[rows].to_native()
    return _safe_indexing(values.tocsr() if sparse.issparse(values) else values, rows)


# arrays and lists


def _unmasked(values: Any) -> np.ndarray:
    """Return a masked array as an array, where masked values are NaN, NaT or None."""
    mask = np.ma.getmaskarray(values)
    if not mask.any():
        return np.asarray(values)
    number, is_date = values.dtype.kind in "bf", values.dtype.kind in "mM"
    dtype = values.dtype if is_date else np.result_type(values.dtype, np.float16) if number else object
    out = np.array(values.data, dtype=dtype)
    out[mask] = "NaT" if is_date else np.nan if number else None
    return out


def _array_of_list(rows: Sequence[Any], name: str) -> np.ndarray:
    """Convert values or rows; an array of objects holds what another array would round, convert or unmask."""
    nested = len(rows) > 0 and all(isinstance(row, list | tuple) for row in rows)
    kinds = set(map(type, chain.from_iterable(rows) if nested else rows))
    if kinds and all(issubclass(kind, int | float | np.integer | np.floating) and kind is not bool for kind in kinds):
        array = as_array(rows, name)
        only_floats = all(issubclass(kind, float | np.floating) for kind in kinds)
        if array.dtype.kind in "iu" or only_floats:
            return array
        if array.dtype.kind == "f" and not (np.abs(array) >= EXACT_INTEGERS).any():
            return array
    if kinds == {str} and not nested:
        return as_array(rows, name)
    if any(hasattr(kind, "__array__") for kind in kinds):
        if not nested:
            if np.ma.MaskedArray in kinds and len({(row.shape, row.dtype) for row in rows if row.shape}) == 1:
                return _unmasked(np.ma.stack(rows))
            arrays = [to_array(row, name) for row in rows]
            if len({(array.shape, array.dtype) for array in arrays}) == 1:
                return np.stack(arrays)
        rows = plain(rows, name)
    try:
        return np.array(rows, dtype=object)
    except ValueError as error:
        raise ValueError(
            f"Input {name} cannot be converted to an array: {error}. Pass "
            f"{'' if str(name).startswith('X') else 'one value for each row, or '}rows of equal length."
        ) from error


def plain(value: Any, name: str) -> Any:
    """Return arrays as lists, scalars of other libraries as those of NumPy, and masked values as None."""
    if isinstance(value, list | tuple):
        return [plain(each, name) for each in value]
    if value is np.ma.masked:
        return None
    if isinstance(value, np.generic) or not hasattr(value, "__array__"):
        return value
    array = to_array(value, name)
    return list(array) if array.ndim else array[()]


def described(name: Any) -> str:
    """Describe a column for an error message; the target has no name."""
    return "y" if name is None else f"Column {name!r}"


def type_error(name: Any, kind: Any) -> TypeError:
    """Return the error for a column of dates, lists or complex numbers."""
    return TypeError(
        f"{described(name)} has type {kind}, which is neither a number nor a category. Convert it to numbers (days "
        "since a date, length of a list) or to categories."
    )
