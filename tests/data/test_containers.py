"""The same values in every container and with every kind of missing value have the same codes and predictions."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.data.containers import check_table
from skreg.data.table import TableEncoder
from skreg.estimators.targets import ClassTargetEncoder, NumberTargetEncoder

RNG = np.random.RandomState(0)
N_ROWS = 60


def with_gaps(values, first):
    """Return the values with None in some rows, among them the first."""
    gaps = RNG.rand(N_ROWS) < 0.2
    gaps[0], gaps[1] = first, False
    return [None if gap else value for value, gap in zip(values, gaps, strict=True)]


COLUMNS = {
    "number": with_gaps(RNG.randn(N_ROWS).round(3).tolist(), True),
    "text": with_gaps(RNG.choice(["red", "green", "blue"], N_ROWS).tolist(), True),
    "flag": with_gaps(RNG.choice([True, False], N_ROWS).tolist(), True),
    "count": with_gaps(RNG.randint(0, 9, N_ROWS).tolist(), True),
    "key": with_gaps([2**60 + int(i) for i in RNG.randint(0, 5, N_ROWS)], True),
    "level": with_gaps(RNG.choice(["a", "b", "c", "d"], N_ROWS).tolist(), True),
}
NAMES = list(COLUMNS)
CATEGORICAL = {"from_dtype": "from_dtype", "named": [1, 2, 3, 4, 5]}
Y = (RNG.rand(N_ROWS) < 0.5).astype(int)
GAPS = {
    "None": None,
    "NaN": np.nan,
    "NA": pd.NA,
    "NaT": pd.NaT,
    "NumPy NaT": np.datetime64("NaT"),
    "Decimal": Decimal("NaN"),
}
CLASSIC = {"number": float, "text": None, "flag": object, "count": float, "key": object, "level": "category"}
NULLABLE = {
    "number": "Float64",
    "text": "string",
    "flag": "boolean",
    "count": "Int64",
    "key": "Int64",
    "level": "string",
}
ARROW = {
    "number": pa.float64(),
    "text": pa.string(),
    "flag": pa.bool_(),
    "count": pa.int64(),
    "key": pa.int64(),
    "level": pa.string(),
}
DICTIONARY = pa.dictionary(pa.int8(), pa.string())


def rows_of(columns, gap=None):
    filled = ([gap if value is None else value for value in column] for column in columns.values())
    return [list(row) for row in zip(*filled, strict=True)]


def object_array(columns, gap=None):
    out = np.empty((len(columns["number"]), len(columns)), dtype=object)
    for j, column in enumerate(columns.values()):
        out[:, j] = [gap if value is None else value for value in column]
    return out


def masked_array(columns):
    values = object_array(columns, gap=0)
    return np.ma.MaskedArray(values, mask=object_array(columns) == None)  # noqa: E711  # elementwise


def object_frame(gap):
    return lambda columns: pd.DataFrame(object_array(columns, gap), columns=NAMES)


def arrow_frame(columns):
    types = {name: pd.ArrowDtype(DICTIONARY if name == "level" else ARROW[name]) for name in columns}
    return pd.DataFrame({name: pd.Series(pd.array(values, types[name])) for name, values in columns.items()})


def arrow_table(columns):
    arrays = {name: pa.array(values, ARROW[name]) for name, values in columns.items()}
    return pa.table(
        {**arrays, "text": arrays["text"].dictionary_encode(), "level": arrays["level"].dictionary_encode()}
    )


def chunked_table(columns):
    """Return a table of two chunks, whose dictionaries differ."""
    halves = [{name: values[half] for name, values in columns.items()} for half in (slice(0, 25), slice(25, None))]
    return pa.concat_tables([arrow_table(half) for half in halves])


CONTAINERS = {
    **{f"object array, {name}": (lambda columns, gap=gap: object_array(columns, gap)) for name, gap in GAPS.items()},
    **{f"list, {name}": (lambda columns, gap=gap: rows_of(columns, gap)) for name, gap in GAPS.items()},
    "list, masked": lambda columns: rows_of(columns, np.ma.masked),
    "list of tuples": lambda columns: [tuple(row) for row in rows_of(columns)],
    "list of arrays": lambda columns: list(object_array(columns)),
    "masked array": masked_array,
    "list of masked arrays": lambda columns: list(masked_array(columns)),
    **{f"pandas objects, {name}": object_frame(gap) for name, gap in GAPS.items()},
    "pandas": lambda columns: pd.DataFrame({name: pd.Series(v, dtype=CLASSIC[name]) for name, v in columns.items()}),
    "pandas nullable": lambda columns: pd.DataFrame({n: pd.array(v, NULLABLE[n]) for n, v in columns.items()}),
    "pandas category": lambda columns: object_frame(None)(columns).astype(dict.fromkeys(NAMES[1:2], "category")),
    "pandas Arrow": arrow_frame,
    "polars": lambda columns: pl.DataFrame(columns),
    "polars category": lambda columns: pl.DataFrame(columns).with_columns(pl.col("text", "level").cast(pl.Categorical)),
    "polars Int128": lambda columns: pl.DataFrame(columns).with_columns(pl.col("key", "count").cast(pl.Int128)),
    "Arrow": lambda columns: pa.table({name: pa.array(values, ARROW[name]) for name, values in columns.items()}),
    "Arrow dictionary": arrow_table,
    "Arrow chunks": chunked_table,
    "record batch": lambda columns: arrow_table(columns).to_batches()[0],
}
REFERENCE = CONTAINERS["object array, None"]
ORDERS = {"gap first": slice(None), "value first": slice(1, None), "reversed": slice(None, None, -1)}


def taken(columns, rows):
    return {name: values[rows] for name, values in columns.items()}


def encoded(encoder, X):
    numbers, levels = encoder.transform(check_table(X))
    return np.asarray(numbers, dtype=np.float64), levels


@pytest.mark.parametrize("categorical", CATEGORICAL.values(), ids=CATEGORICAL)
@pytest.mark.parametrize("rows", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_codes_do_not_depend_on_the_container(container, rows, categorical):
    columns = taken(COLUMNS, rows)
    reference = TableEncoder(categorical).fit(check_table(REFERENCE(columns)))
    encoder = TableEncoder(categorical).fit(check_table(container(columns)))
    assert encoder.numeric_ == reference.numeric_ == ([0, 3, 4] if categorical == "from_dtype" else [0])
    assert encoder.levels_ == reference.levels_
    if categorical != "from_dtype":
        assert len(encoder.levels_[3]) == 5  # integers beyond 2**53 are distinguished
    expected = encoded(reference, REFERENCE(columns))
    for fitted, X in ((encoder, container(columns)), (reference, container(columns)), (encoder, REFERENCE(columns))):
        for one, other in zip(encoded(fitted, X), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_predictions_do_not_depend_on_the_container(Estimator):
    settings = {"hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0, "early_stopping": False}
    settings["categorical_features"] = [1, 2, 4, 5]

    def predicted(container):
        X = container(COLUMNS)
        fitted = Estimator(**settings).fit(X, Y)
        return fitted.predict_proba(X) if hasattr(fitted, "classes_") else fitted.predict(X)

    expected = predicted(REFERENCE)
    for container in CONTAINERS.values():
        np.testing.assert_allclose(predicted(container), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_a_missing_target_is_refused_in_every_container(container, name):
    y = container(COLUMNS)
    y = y.column(NAMES.index(name)) if isinstance(y, pa.RecordBatch) else y
    if isinstance(y, list):
        y = [row[NAMES.index(name)] for row in y]
    elif not isinstance(y, pa.Array):
        y = y[:, NAMES.index(name)] if isinstance(y, np.ndarray) else y[name]
    checks = [ClassTargetEncoder.check] if name in ("text", "level") else [NumberTargetEncoder(None).check]
    for check in [*checks, ClassTargetEncoder.check]:
        with pytest.raises(ValueError, match=r"^Input y contains NaN. Remove the rows without a target"):
            check(y)


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_labels_do_not_depend_on_the_container(container, name):
    rows = [i for i in range(N_ROWS) if COLUMNS[name][i] is not None]
    columns = {other: [values[i] for i in rows] for other, values in COLUMNS.items()}
    y, position = container(columns), NAMES.index(name)
    y = y.column(position) if isinstance(y, pa.RecordBatch) else y
    if isinstance(y, list):
        y = [row[position] for row in y]
    elif not isinstance(y, pa.Array):
        y = y[:, position] if isinstance(y, np.ndarray) else y[name]
    encoder = ClassTargetEncoder()
    labels = encoder.check(y)
    encoder.fit(labels)
    assert encoder.classes_.tolist() == sorted(set(columns[name]))
    assert labels.tolist() == columns[name]
