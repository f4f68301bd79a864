"""Targets and row weights, and their strategies."""

import datetime
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import torch
from hypothesis import reject
from hypothesis import strategies as st
from scipy import sparse

from tests.fuzz.tables import UNBUILDABLE

Rng = np.random.Generator
Maker = Callable[[Rng, int], Any]


def _objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


CLASSES: dict[str, Maker] = {
    "two ints": lambda rng, n: rng.permutation(np.arange(n) % 2),
    "three ints": lambda rng, n: rng.permutation(np.arange(n) % 3),
    "texts": lambda rng, n: np.array(["no", "ja $", "_x"])[rng.permutation(np.arange(n) % 3)],
    "objects of text": lambda rng, n: _objects(["no" if i % 2 else "yes" for i in range(n)]),
    "bools": lambda rng, n: rng.permutation(np.arange(n) % 2).astype(bool),
    "floats": lambda rng, n: rng.permutation(np.arange(n) % 2) * 2.0 - 1,
    "big ints": lambda rng, n: 2**60 + rng.permutation(np.arange(n) % 3),
    "negative": lambda rng, n: -rng.permutation(np.arange(n) % 3).astype(np.int8),
    "unsigned": lambda rng, n: rng.permutation(np.arange(n) % 3).astype(np.uint64) + 2**63,
    "rare class": lambda rng, n: np.r_[1, np.zeros(max(n - 1, 0), int)],
    "a class per row": lambda rng, n: rng.permutation(n),
    "labels": lambda rng, n: rng.integers(0, 2, (n, 3)),
    "sparse labels": lambda rng, n: sparse.csr_array(rng.integers(0, 2, (n, 3))),
}
NUMBERS: dict[str, Maker] = {
    "numbers": lambda rng, n: rng.normal(size=n),
    "positive": lambda rng, n: rng.exponential(size=n) + 0.1,
    "counts": lambda rng, n: rng.integers(0, 9, n),
    "outputs": lambda rng, n: rng.normal(size=(n, 2)),
    "float32": lambda rng, n: rng.normal(size=n).astype(np.float32),
    "large": lambda rng, n: 1e30 * rng.normal(size=n),
    "small": lambda rng, n: 1e-300 * rng.normal(size=n),
    "constant": lambda rng, n: np.full(n, 3.0),
    "zeros": lambda rng, n: np.zeros(n),
    "outlier": lambda rng, n: np.r_[1e20, rng.normal(size=max(n - 1, 0))],
    "objects": lambda rng, n: _objects(rng.normal(size=n).tolist()),
    "decimals": lambda rng, n: _objects([Decimal(i) for i in range(n)]),
}
ODD: dict[str, Maker] = {
    "one class": lambda rng, n: np.zeros(n, int),
    "one text": lambda rng, n: np.array(["a"] * n),
    "mixed": lambda rng, n: _objects([1 if i % 2 else "a" for i in range(n)]),
    "missing": lambda rng, n: _objects(["a" if i % 2 else None for i in range(n)]),
    "pandas NA": lambda rng, n: _objects([i % 2 if i else pd.NA for i in range(n)]),
    "nan": lambda rng, n: np.r_[np.nan, rng.normal(size=max(n - 1, 0))],
    "masked": lambda rng, n: np.ma.MaskedArray(np.arange(n) % 2, mask=np.arange(n) == 0),
    "inf": lambda rng, n: np.r_[-np.inf, rng.normal(size=max(n - 1, 0))],
    "beyond float32": lambda rng, n: 1e300 * rng.normal(size=n),
    "largest": lambda rng, n: np.where(np.arange(n) % 2, 1.7e308, -1.7e308),
    "beyond float64": lambda rng, n: _objects([10**400 + i % 2 for i in range(n)]),
    "signaling": lambda rng, n: _objects([Decimal("sNaN")] * n),
    "column": lambda rng, n: rng.permutation(np.arange(n) % 2)[:, None],
    "two columns of classes": lambda rng, n: rng.integers(0, 3, (n, 2)),
    "no columns": lambda rng, n: np.zeros((n, 0)),
    "three dimensions": lambda rng, n: np.zeros((n, 2, 2)),
    "too short": lambda rng, n: np.arange(max(n - 1, 0)) % 2,
    "too long": lambda rng, n: np.arange(n + 1) % 2,
    "none": lambda rng, n: None,
    "number": lambda rng, n: 1.0,
    "text": lambda rng, n: "target",
    "empty": lambda rng, n: [],
    "dates": lambda rng, n: np.array(["2024-02-29"] * n, dtype="M8[D]") + np.arange(n) % 2,
    "durations": lambda rng, n: (np.arange(n) % 2).astype("m8[D]"),
    "objects of dates": lambda rng, n: _objects([datetime.date(2024, 1, 1 + i % 2) for i in range(n)]),
    "complex": lambda rng, n: np.arange(n) % 2 + 1j,
    "tuples": lambda rng, n: _objects([(0, i % 2) for i in range(n)]),
    "lists": lambda rng, n: [[0] * (i % 2 + 1) for i in range(n)],
    "bytes": lambda rng, n: np.array([b"a", b"b"] * n)[:n],
    "object()": lambda rng, n: object(),
    "generator": lambda rng, n: (i % 2 for i in range(n)),
    "dict": lambda rng, n: {i: i % 2 for i in range(n)},
}
TARGETS = CLASSES | NUMBERS | ODD
CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda values: values,
    "list": lambda values: values.tolist(),
    "objects": lambda values: values.astype(object),
    "column": lambda values: values.reshape(-1, 1),
    "pandas": lambda values: pd.Series(values, name="$y") if values.ndim == 1 else pd.DataFrame(values),
    "nullable pandas": lambda values: pd.Series(values).convert_dtypes(),
    "Arrow pandas": lambda values: pd.Series(values).convert_dtypes(dtype_backend="pyarrow"),
    "pandas categories": lambda values: pd.Series(values).astype("category"),
    "polars": lambda values: pl.Series(values) if values.ndim == 1 else pl.DataFrame(values),
    "polars categories": lambda values: pl.Series(values.astype(str)).cast(pl.Categorical),
    "pyarrow": lambda values: pa.array(values),
    "pyarrow dictionary": lambda values: pa.array(values).dictionary_encode(),
    "chunked pyarrow": lambda values: pa.chunked_array([pa.array(values[:1]), pa.array(values[1:])]),
    "tensor": lambda values: torch.tensor(values),
    "read-only": lambda values: np.require(values, requirements="C").view(),
    "reversed": lambda values: values[::-1],
}
WEIGHTS: dict[str, Maker] = {
    "uniform": lambda rng, n: rng.random(n) + 0.01,
    "ones": lambda rng, n: np.ones(n),
    "ints": lambda rng, n: rng.integers(0, 3, n),
    "bools": lambda rng, n: rng.random(n) < 0.7,
    "few": lambda rng, n: (np.arange(n) < 2).astype(float),
    "list": lambda rng, n: rng.integers(1, 3, n).tolist(),
    "series": lambda rng, n: pd.Series(rng.random(n) + 0.1, index=np.arange(n)[::-1]),
    "polars": lambda rng, n: pl.Series(rng.random(n) + 0.1),
    "tensor": lambda rng, n: torch.tensor(rng.random(n) + 0.1),
    "objects": lambda rng, n: _objects([1 + i % 2 for i in range(n)]),
    "tiny": lambda rng, n: np.full(n, 1e-300) * (1 + np.arange(n) % 2),
    "subnormal": lambda rng, n: np.full(n, 5e-324),
    "large": lambda rng, n: np.full(n, 1e30),
    "largest": lambda rng, n: np.full(n, 1.7e308),
    "of many magnitudes": lambda rng, n: 10.0 ** rng.integers(-200, 200, n),
    "float16": lambda rng, n: np.full(n, 60000, np.float16),
    "zeros": lambda rng, n: np.zeros(n),
    "negative": lambda rng, n: rng.normal(size=n),
    "nan": lambda rng, n: np.r_[np.nan, np.ones(max(n - 1, 0))],
    "inf": lambda rng, n: np.r_[np.inf, np.ones(max(n - 1, 0))],
    "too short": lambda rng, n: np.ones(max(n - 1, 0)),
    "column": lambda rng, n: np.ones((n, 1)),
    "number": lambda rng, n: 2.0,
    "text": lambda rng, n: ["heavy"] * n,
    "text of numbers": lambda rng, n: ["1"] * n,
    "one text": lambda rng, n: "balanced",
    "missing": lambda rng, n: [None] * n,
    "pandas NA": lambda rng, n: pd.Series([1, pd.NA] * n, dtype="Int64")[:n],
    "complex": lambda rng, n: np.ones(n) * 1j,
    "dates": lambda rng, n: np.zeros(n, dtype="M8[D]"),
    "beyond float64": lambda rng, n: [10**400] * n,
    "dict": lambda rng, n: {0: 1.0},
    "sparse": lambda rng, n: sparse.csr_array(np.ones((1, n))),
    "object()": lambda rng, n: object(),
    "masked": lambda rng, n: np.ma.MaskedArray(np.ones(n), mask=np.arange(n) == 0),
}


@dataclass(frozen=True)
class Target:
    """A random target: names in ``TARGETS`` and ``CONTAINERS``, and the seed of the values."""

    kind: str
    container: str = "as it is"
    seed: int = 0

    def build(self, n_rows: int) -> Any:
        """Return the target. The case is not tried if the container cannot hold the values."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return CONTAINERS[self.container](TARGETS[self.kind](np.random.default_rng(self.seed), n_rows))
            except UNBUILDABLE:
                reject()


@dataclass(frozen=True)
class Weight:
    """Random row weights: a name in ``WEIGHTS``, and the seed of the values."""

    kind: str
    seed: int = 0

    def build(self, n_rows: int) -> Any:
        """Return the weights."""
        return WEIGHTS[self.kind](np.random.default_rng(self.seed), n_rows)


@st.composite
def targets(draw: st.DrawFn, classifier: bool, ordinary: bool = False) -> Target:
    """Draw a target; usually one that suits the estimator, always so for an ``ordinary`` one."""
    if ordinary:
        return Target(
            draw(st.sampled_from(["two ints", "three ints", "texts"] if classifier else ["numbers", "positive"]))
        )
    kinds = [*CLASSES] if classifier else [*NUMBERS]
    if draw(st.integers(0, 4)) == 4:
        kinds = [*TARGETS]
    container = draw(st.sampled_from(sorted(CONTAINERS))) if draw(st.booleans()) else "as it is"
    return Target(draw(st.sampled_from(kinds)), container, draw(st.integers(0, 99)))


def weights() -> st.SearchStrategy[Weight | None]:
    """Draw row weights, or none."""
    return st.one_of(st.none(), st.none(), st.builds(Weight, st.sampled_from([*WEIGHTS]), st.integers(0, 99)))
