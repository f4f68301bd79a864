"""Tables in all containers, and their strategies."""

import datetime
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import torch
from hypothesis import reject
from hypothesis import strategies as st
from scipy import sparse

Values = list[Any]
DAY = datetime.datetime(2024, 2, 29, 12)
GAPS: dict[str, Any] = {"None": None, "nan": float("nan"), "NA": pd.NA, "NaT": pd.NaT, "float64 nan": np.float64("nan")}
"""How missing values are written, in containers of objects."""

# Kinds of columns: lists of n Python values.
NUMBERS: dict[str, Callable[[np.random.Generator, int], Values]] = {
    "normal": lambda rng, n: rng.normal(size=n).tolist(),
    "count": lambda rng, n: rng.integers(0, 9, n).tolist(),
    "zero or one": lambda rng, n: rng.integers(0, 2, n).tolist(),
    "zeros": lambda rng, n: [0.0] * n,
    "constant": lambda rng, n: [7] * n,
    "negative": lambda rng, n: (-rng.exponential(size=n)).tolist(),
    "skewed": lambda rng, n: np.exp(5 * rng.normal(size=n)).tolist(),
    "beyond 2**53": lambda rng, n: (2**53 + rng.integers(0, 9, n)).tolist(),
    "large": lambda rng, n: (1e30 * rng.normal(size=n)).tolist(),
    "subnormal": lambda rng, n: (1e-310 * rng.normal(size=n)).tolist(),
    "outlier": lambda rng, n: [*rng.normal(size=n - 1).tolist(), 1e12] if n else [],
}
EXTREME: dict[str, Callable[[np.random.Generator, int], Values]] = {
    "beyond float32": lambda rng, n: (1e300 * rng.normal(size=n)).tolist(),
    "largest": lambda rng, n: [1.7e308, -1.7e308, 0.0] * (n // 3) + [1.7e308] * (n % 3),
    "inf": lambda rng, n: [*rng.normal(size=n - 1).tolist(), np.inf] if n else [],
    "beyond float64": lambda rng, n: [10**400] * n,
}
CATEGORIES: dict[str, Callable[[np.random.Generator, int], Values]] = {
    "bool": lambda rng, n: rng.integers(0, 2, n).astype(bool).tolist(),
    "text": lambda rng, n: rng.choice(["red", "größer", "$x$"], n).tolist(),
    "many levels": lambda rng, n: [f"level {i}" for i in rng.permutation(n)],
    "text of numbers": lambda rng, n: rng.choice(["1", "2.5", "nan", ""], n).tolist(),
}
ODD: dict[str, Callable[[np.random.Generator, int], Values]] = {
    "mixed": lambda rng, n: [[1, "a", 2.5, True][i % 4] for i in range(n)],
    "decimal": lambda rng, n: [Decimal(str(round(x, 3))) for x in rng.normal(size=n)],
    "fraction": lambda rng, n: [Fraction(int(x), 7) for x in rng.integers(1, 9, n)],
    "signaling": lambda rng, n: [Decimal("sNaN"), *[Decimal(1)] * n][:n],
    "date": lambda rng, n: [(DAY + datetime.timedelta(i)).date() for i in range(n)],
    "datetime": lambda rng, n: [DAY + datetime.timedelta(i) for i in range(n)],
    "duration": lambda rng, n: [datetime.timedelta(hours=i) for i in range(n)],
    "time": lambda rng, n: [datetime.time(i % 24) for i in range(n)],
    "complex": lambda rng, n: (rng.normal(size=n) + 1j).tolist(),
    "bytes": lambda rng, n: [b"a", b"\xff"] * (n // 2) + [b"a"] * (n % 2),
    "tuples": lambda rng, n: [(i % 2, "a") for i in range(n)],
    "tuples with nan": lambda rng, n: [(i % 2, float("nan")) for i in range(n)],
    "lists": lambda rng, n: [[i % 2] for i in range(n)],
    "dicts": lambda rng, n: [{"a": i % 2} for i in range(n)],
    "objects": lambda rng, n: [object() for _ in range(n)],
    "enum": lambda rng, n: [torch.strided for _ in range(n)],
    "NumPy scalars": lambda rng, n: [np.float32(x) for x in rng.normal(size=n)],
    "tensors": lambda rng, n: [torch.tensor(x) for x in rng.normal(size=n).tolist()],
    "empty": lambda rng, n: [None] * n,
}
COLUMNS = NUMBERS | EXTREME | CATEGORIES | ODD
NAMES: dict[str, Callable[[int], str | int | tuple[Any, ...]]] = {
    "plain": lambda j: f"column {j}",
    "hostile": lambda j: ["$a$", "", "_b", "a\nb", "x" * 300, "日本", "\\frac{1}{2}$", "<b>"][j % 8] + "'" * (j // 8),
    "numbers": lambda j: j,
    "mixed": lambda j: j if j % 2 else f"column {j}",
    "tuples": lambda j: ("a", j),
    "repeated": lambda j: "same",
}

Named = dict[Any, Values]
Container = Callable[[Named], Any]


def _rows(columns: Named) -> list[list[Any]]:
    return [list(row) for row in zip(*columns.values(), strict=True)]


def _objects(columns: Named) -> np.ndarray:
    array = np.empty((len(next(iter(columns.values()), [])), len(columns)), dtype=object)
    for j, values in enumerate(columns.values()):
        for i, value in enumerate(values):
            array[i, j] = value
    return array


def _array(dtype: str) -> Container:
    return lambda columns: _objects(columns).astype(dtype)


def _structured(columns: Named) -> np.ndarray:
    fields = [(f"f{j}", np.asarray(values).dtype) for j, values in enumerate(columns.values())]
    return np.array([tuple(row) for row in _rows(columns)], dtype=fields)


def _masked(columns: Named) -> np.ma.MaskedArray:
    objects = _objects(columns)
    gaps = pd.isna(objects)
    return np.ma.MaskedArray(np.where(gaps, 0, objects).astype(float), mask=gaps)


def _pandas(columns: Named) -> pd.DataFrame:
    frame = pd.DataFrame({j: pd.Series(values, dtype=None) for j, values in enumerate(columns.values())})
    return frame.set_axis([getattr(name, "name", name) for name in columns], axis=1)


def _classic(columns: Named) -> pd.DataFrame:
    return _pandas({name: [None if value is pd.NA else value for value in values] for name, values in columns.items()})


def _polars(columns: Named) -> pl.DataFrame:
    return pl.DataFrame({str(name): _plain(values) for name, values in columns.items()}, strict=True)


def _arrow(columns: Named) -> pa.Table:
    return pa.Table.from_arrays([pa.array(_plain(v)) for v in columns.values()], [str(n) for n in columns])


def _plain(values: Values) -> Values:
    """Write missing values as None, as polars and pyarrow do."""
    missing = [value is None or value is pd.NA or value is pd.NaT for value in values]
    return [None if gap else value for gap, value in zip(missing, values, strict=True)]


def _dictionaries(columns: Named) -> pa.Table:
    table = _arrow(columns)
    texts = [pa.types.is_string(column.type) for column in table.columns]
    arrays = [c.dictionary_encode() if text else c for c, text in zip(table.columns, texts, strict=True)]
    return pa.Table.from_arrays(arrays, table.column_names)


def _polars_categories(columns: Named) -> pl.DataFrame:
    return _polars(columns).with_columns(pl.selectors.string().cast(pl.Categorical))


def _pandas_categories(columns: Named) -> pd.DataFrame:
    return _classic(columns).astype("category")


def _strange_index(columns: Named) -> pd.DataFrame:
    frame = _classic(columns)
    return frame.set_axis(["same"] * len(frame), axis=0)


def _sparse(kind: str, **options: Any) -> Container:
    def build(columns: Named) -> Any:
        dense = _objects(columns).astype(float)
        matrix = sparse.coo_array(np.nan_to_num(dense) if options.get("dense") else dense)
        made = getattr(sparse, kind)(matrix)
        return made.astype(options["dtype"]) if "dtype" in options else made

    return build


def _unsorted(columns: Named) -> Any:
    made = sparse.csr_array(_objects(columns).astype(float))
    for start, end in zip(made.indptr[:-1], made.indptr[1:], strict=True):
        made.indices[start:end] = made.indices[start:end][::-1].copy()
        made.data[start:end] = made.data[start:end][::-1].copy()
    made.has_sorted_indices = False
    return made


def _tensor(dtype: torch.dtype, **options: Any) -> Container:
    return lambda columns: torch.tensor(_objects(columns).astype(float).tolist(), dtype=dtype, **options)


# Containers of numbers only; missing values are NaN or zero.
OF_NUMBERS: dict[str, Container] = {
    **{f"array of {dtype}": _array(dtype) for dtype in ("f8", "f4", "f2", "longdouble", ">f8", "c16")},
    **{f"array of {dtype}": _array(dtype) for dtype in ("i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", ">i4")},
    "masked array": _masked,
    "Fortran array": lambda columns: np.asfortranarray(_objects(columns).astype(float)),
    "strided array": lambda columns: np.repeat(_objects(columns).astype(float), 2, 0)[::2],
    "reversed array": lambda columns: _objects(columns).astype(float)[::-1],
    "read-only array": lambda columns: _read_only(_objects(columns).astype(float)),
    "matrix": lambda columns: np.asmatrix(_objects(columns).astype(float)),
    "array of dates": lambda columns: _array("i8")(columns).astype("M8[D]"),
    "array of durations": lambda columns: _array("i8")(columns).astype("m8[h]"),
    **{kind: _sparse(kind) for kind in ("csr_array", "csc_array", "coo_array", "lil_array", "dok_array", "bsr_array")},
    **{kind: _sparse(kind) for kind in ("dia_array", "csr_matrix", "csc_matrix", "coo_matrix")},
    "sparse of float32": _sparse("csr_array", dtype=np.float32),
    "sparse of ints": _sparse("csr_array", dtype=np.int64, dense=True),
    "sparse of bools": _sparse("csr_array", dtype=bool, dense=True),
    "unsorted csr_array": _unsorted,
    "tensor": _tensor(torch.float64),
    "tensor of float32": _tensor(torch.float32),
    "tensor of ints": _tensor(torch.int64),
    "tensor of bfloat16": _tensor(torch.bfloat16),
    "tensor with gradient": _tensor(torch.float32, requires_grad=True),
    "sparse tensor": lambda columns: _tensor(torch.float32)(columns).to_sparse(),
    "meta tensor": lambda columns: torch.empty((len(_rows(columns)), len(columns)), device="meta"),
    "sparse frame": lambda columns: pd.DataFrame(_objects(columns).astype(float)).astype("Sparse[float]"),
}
# Containers of any values.
OF_ANY: dict[str, Container] = {
    "array of objects": _objects,
    "array of text": lambda columns: _objects(columns).astype(str),
    "array of bytes": lambda columns: np.array([[str(value).encode() for value in row] for row in _rows(columns)]),
    "structured array": _structured,
    "record array": lambda columns: _structured(columns).view(np.recarray),
    "masked objects": lambda columns: np.ma.MaskedArray(_objects(columns), mask=pd.isna(_objects(columns))),
    "lists": _rows,
    "list of tuples": lambda columns: list(map(tuple, _rows(columns))),
    "tuple of lists": lambda columns: tuple(_rows(columns)),
    "list of arrays": lambda columns: list(_objects(columns)),
    "pandas": _classic,
    "pandas of objects": lambda columns: _pandas(columns).astype(object),
    "nullable pandas": lambda columns: _classic(columns).convert_dtypes(),
    "Arrow pandas": lambda columns: _classic(columns).convert_dtypes(dtype_backend="pyarrow"),
    "pandas of categories": _pandas_categories,
    "pandas with a strange index": _strange_index,
    "pandas with several levels of names": lambda columns: _classic(
        {("a", j): v for j, v in enumerate(columns.values())}
    ),
    "polars": _polars,
    "polars categories": _polars_categories,
    "pyarrow": _arrow,
    "pyarrow dictionaries": _dictionaries,
    "chunked pyarrow": lambda columns: pa.concat_tables([_arrow(columns)[:2], _arrow(columns)[2:]]),
}
# What is no table of rows and columns.
NO_TABLE: dict[str, Container] = {
    "lazy polars": lambda columns: _polars(columns).lazy(),
    "record batch": lambda columns: (_arrow(columns).to_batches() or [None])[0],
    "None": lambda columns: None,
    "number": lambda columns: 3.0,
    "text": lambda columns: "table",
    "empty list": lambda columns: [],
    "list of empty lists": lambda columns: [[] for _ in _rows(columns)],
    "ragged lists": lambda columns: [row[: i % 2 + 1] for i, row in enumerate(_rows(columns))],
    "one column": lambda columns: _rows(columns)[0] if _rows(columns) else [],
    "pandas series": lambda columns: pd.Series(next(iter(columns.values()), [])),
    "polars series": lambda columns: pl.Series(_plain(next(iter(columns.values()), []))),
    "three dimensions": lambda columns: np.zeros((len(_rows(columns)), len(columns), 2)),
    "no dimension": lambda columns: np.array(1.0),
    "dict": lambda columns: {str(name): values for name, values in columns.items()},
    "generator": lambda columns: (row for row in _rows(columns)),
    "set": lambda columns: {1, 2, 3},
    "object": lambda columns: object(),
    "no columns": lambda columns: pd.DataFrame(index=range(len(_rows(columns)))),
}
CONTAINERS = OF_NUMBERS | OF_ANY | NO_TABLE


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


UNBUILDABLE = (
    ValueError,
    TypeError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    pa.ArrowException,
    pl.exceptions.PanicException,
    pl.exceptions.PolarsError,
)
"""Errors of libraries whose containers cannot hold some values."""


@dataclass(frozen=True)
class Table:
    """A table of random values.

    Parameters
    ----------
    container : str
        Name in ``CONTAINERS``.
    columns : tuple of str
        Names in ``COLUMNS``.
    n_rows, seed : int
        Number of rows, and seed of the values.
    gap : str or None
        Name in ``GAPS`` with which a quarter of the values are missing.
    names : str
        Name in ``NAMES``.
    """

    container: str
    columns: tuple[str, ...]
    n_rows: int
    seed: int = 0
    gap: str | None = None
    names: str = "plain"

    def values(self) -> Named:
        """Return the values of each column, by name."""
        rng = np.random.default_rng(self.seed)
        found: Named = {}
        for j, kind in enumerate(self.columns):
            values = COLUMNS[kind](rng, self.n_rows)
            for i in np.flatnonzero(rng.random(self.n_rows) < (0.25 if self.gap else 0)):
                values[i] = GAPS[self.gap or "None"]
            name = NAMES[self.names](j)
            found[name if name not in found else _SameName(name)] = values
        return found

    def build(self) -> Any:
        """Return the table. The case is not tried if the container cannot hold the values."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return CONTAINERS[self.container](self.values())
            except UNBUILDABLE:
                reject()


class _SameName:
    """A name that occurs a second time; each is a key of its own."""

    def __init__(self, name: Any) -> None:
        self.name = name

    def __str__(self) -> str:
        return str(self.name)


@st.composite
def tables(draw: st.DrawFn, min_rows: int = 0, ordinary: bool = False) -> Table:
    """Draw a table; an ``ordinary`` one is a usual container of usual columns."""
    rare = not ordinary and draw(st.integers(0, 9)) == 9
    if ordinary:
        container = draw(st.sampled_from(["array of f8", "pandas", "array of objects", "polars"]))
    else:
        family = draw(st.sampled_from([OF_NUMBERS, OF_ANY, OF_ANY, NO_TABLE if rare else OF_ANY]))
        container = draw(st.sampled_from(sorted(family)))
    kinds = [*NUMBERS] if container in OF_NUMBERS else [*NUMBERS, *CATEGORIES, *CATEGORIES]
    if not ordinary and draw(st.integers(0, 3)) == 3:
        kinds = [*EXTREME] if container in OF_NUMBERS else [*COLUMNS]
    if ordinary:
        kinds = ["normal", "count"] if container == "array of f8" else ["normal", "count", "text", "bool"]
    columns = draw(st.lists(st.sampled_from(kinds), min_size=0 if rare else 1, max_size=4))
    n_rows = draw(st.integers(min_rows, max(min_rows, 3)) if rare else st.integers(max(min_rows, 4), 24))
    gap = None if draw(st.booleans()) else draw(st.sampled_from(sorted(GAPS)))
    names = draw(st.sampled_from(sorted(NAMES))) if rare else "plain"
    return Table(container, tuple(columns), n_rows, draw(st.integers(0, 99)), gap, names)
