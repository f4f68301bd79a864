"""The same values in every container and with every kind of missing value have the same codes and predictions."""

import pickle
import sys
import time
import tracemalloc
from contextlib import nullcontext
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.exceptions import DataConversionWarning

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.data.containers import check_table, is_frame, remove_void_rows, select_rows
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


def test_levels_are_distinguished_exactly():
    large = [2**53, 2**53 + 1, 2**63, 2**63 + 1, 2**64 - 1]
    tables = [
        np.array(large, dtype=np.uint64)[:, None],
        [[value] for value in large],
        pd.DataFrame({"a": np.array(large, dtype=np.uint64)}),
        pl.DataFrame({"a": pl.Series(large, dtype=pl.UInt64)}),
        pa.table({"a": pa.array(large, pa.uint64())}),
    ]
    for X in tables:
        assert list(TableEncoder([0]).fit(check_table(X)).levels_[0]) == large
    mixed = [[10**400], [2.0**53], [2**53 + 1], [Fraction(1, 3)], [Decimal(3)], [-1], [True]]
    ordered = [-1, Fraction(1, 3), True, Decimal(3), 2**53, 2**53 + 1, 10**400]
    for X in (mixed, np.array(mixed, dtype=object), pd.DataFrame(mixed, dtype=object)):
        assert list(TableEncoder([0]).fit(check_table(X)).levels_[0]) == ordered


@pytest.mark.parametrize("level", [(1, np.nan), (1, (None, np.nan)), frozenset({np.nan, "a"}), (1, pd.NA), ("a", 2)])
def test_levels_are_known_after_a_pickle(level):
    X = np.empty((3, 1), dtype=object)
    X[:, 0] = [level, "b", None]
    encoder = TableEncoder().fit(check_table(X))
    for X_later in (X, pickle.loads(pickle.dumps(X)), pd.DataFrame({"a": X[:, 0]}).to_numpy()):
        for fitted in (encoder, pickle.loads(pickle.dumps(encoder))):
            codes = fitted.transform(check_table(X_later))[1][:, 0]
            assert codes[2] == 0
            assert sorted(codes[:2]) == [1, 2]


def test_objects_that_are_equal_only_to_themselves_are_refused():
    X = np.array([[object()], [object()]], dtype=object)
    with pytest.raises(TypeError, match=r"^Column 0 contains values of type object\. Convert them to text or numbers"):
        TableEncoder().fit(check_table(X))


@pytest.mark.parametrize("dtype", [float, np.float32, int, bool, "U5", object])
def test_masked_values_are_missing(dtype):
    values = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    masked = np.ma.MaskedArray(values, mask=[[False, True], [False, False], [True, False]])
    objects = values.astype(object)
    objects[masked.mask] = None
    if dtype is bool:
        objects = np.where(masked.mask, None, values.astype(int))
    encoder = TableEncoder()
    expected = encoded(encoder.fit(check_table(objects)), objects)
    for X in (masked, list(masked)):
        for found, wanted in zip(encoded(encoder.fit(check_table(X)), X), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    unmasked = np.ma.MaskedArray(values)
    np.testing.assert_array_equal(check_table(unmasked), check_table(values))


DATES = {
    "datetime": np.array(["2020-01-01", "NaT", "2021-01-01"], dtype="M8[ns]"),
    "duration": np.array([1, 2, "NaT"], dtype="m8[s]"),
}
DATE_CONTAINERS = {
    "array": lambda dates: dates[:, None],
    "masked array": lambda dates: np.ma.MaskedArray(dates[:, None], mask=[[True], [False], [False]]),
    "list of arrays": lambda dates: list(dates[:, None]),
    "list": lambda dates: [[date] for date in dates],
    "objects": lambda dates: pd.DataFrame({"a": dates}).astype(object).to_numpy(),
    "pandas": lambda dates: pd.DataFrame({"a": dates}),
    "polars": lambda dates: pl.DataFrame({"a": dates.astype(dates.dtype.str[:3] + "[us]")}),
    "Arrow": lambda dates: pa.table({"a": pa.array(dates.astype(dates.dtype.str[:3] + "[us]"))}),
}


@pytest.mark.parametrize("dates", DATES.values(), ids=DATES)
@pytest.mark.parametrize("container", DATE_CONTAINERS.values(), ids=DATE_CONTAINERS)
def test_dates_are_refused_in_every_container(container, dates):
    X = container(dates)
    values = X.tolist() if isinstance(X, np.ndarray) else X
    if isinstance(values, list) and all(np.all(pd.isna(value)) for value in values) and not hasattr(X, "dtype"):
        pytest.skip("NaT without a type is a missing value")
    if isinstance(X, np.ndarray) and X.dtype == object and pd.isna(X).all():
        pytest.skip("NaT without a type is a missing value")
    message = "which is neither a number nor a category. Convert it to numbers"
    fitted = TableEncoder().fit(np.zeros((3, 1)))
    for call in (lambda: TableEncoder().fit(check_table(X)), lambda: fitted.transform(check_table(X))):
        with pytest.raises(TypeError, match=message):
            call()


@pytest.mark.parametrize("container", DATE_CONTAINERS.values(), ids=DATE_CONTAINERS)
@pytest.mark.parametrize("dtype", ["M8[ns]", "m8[s]"])
def test_dates_that_are_all_missing_are_missing_values(container, dtype):
    fitted, dates = TableEncoder().fit(np.arange(3.0)[:, None]), np.array(["NaT"] * 3, dtype=dtype)
    for n_rows in (1, 3):
        numbers, _ = fitted.transform(check_table(select_rows(container(dates), np.arange(n_rows))))
        assert np.isnan(numbers).all()
        assert numbers.shape == (n_rows, 1)
    assert TableEncoder().fit(check_table(container(dates))).levels_ == [{}]


@pytest.mark.parametrize(
    "values",
    [{1.0, 2.0}, {"a": [1.0, 2.0]}, None, "text", 7, 2.5, object(), iter([1.0])],
    ids=lambda values: type(values).__name__,
)
@pytest.mark.parametrize("weight", [None, [1.0, 1.0], [1.0, 0.0]], ids=str)
def test_values_that_are_no_rows_raise_the_same_error_with_all_weights(values, weight):
    kind, weight = type(values).__name__, None if weight is None else np.array(weight)
    rows = [[1.0], [2.0]]
    with pytest.raises(ValueError, match=f"X must be an array-like .*, got {kind}. Convert it"):
        check_table(remove_void_rows(values, [0, 1], weight)[0])
    with pytest.raises(ValueError, match=f"y must be an array-like .*, got {kind}. Convert it"):
        ClassTargetEncoder.check(remove_void_rows(rows, values, weight)[1])


@pytest.mark.parametrize("table", [np.zeros(1000), [0.0] * 1000, pd.Series(np.zeros(1000))])
def test_a_table_of_one_dimension_is_named_and_not_printed(table):
    with pytest.raises(ValueError, match=r"got 1D array instead: X_val has the shape \(.*Reshape your data") as raised:
        check_table(table, "X_val")
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("kind", [set, dict, list])
def test_values_of_unhashable_types_are_named_with_the_argument(kind):
    values = np.empty(3, dtype=object)
    values[:] = [kind()] * 3
    with pytest.raises((TypeError, ValueError), match=r"^Column 'y' (contains values of|has) type"):
        TableEncoder().fit(pd.DataFrame({"y": values}))
    with pytest.raises((TypeError, ValueError), match=r"^y contains values of type \w+\. Convert them to text"):
        ClassTargetEncoder.check(values)


@pytest.mark.parametrize("na_object", [None, np.nan])
@pytest.mark.parametrize("column", [False, True])
def test_text_of_variable_width_is_a_target(na_object, column):
    text = np.array(["a", "much longer", "a"], dtype=np.dtypes.StringDType(na_object=na_object))
    warns = pytest.warns(DataConversionWarning) if column else nullcontext()
    with warns:
        checked = ClassTargetEncoder.check(text[:, None] if column else text)
    assert checked.tolist() == text.tolist()
    text[1] = na_object
    with pytest.raises(ValueError, match="y contains NaN"):
        ClassTargetEncoder.check(text)
    with pytest.raises(ValueError, match=r"^Input y must contain numbers"):
        NumberTargetEncoder(None).check(np.array(["a", "b"], dtype=np.dtypes.StringDType()))


@pytest.mark.parametrize("check", [ClassTargetEncoder.check, NumberTargetEncoder(None).check])
@pytest.mark.parametrize(
    "make", [np.asarray, list, pd.Series, pl.Series, pa.array, pd.Index, lambda y: y.astype(object)]
)
def test_a_target_of_dates_is_refused(check, make):
    for y in (np.array(["2020-01-01", "2021-01-01"], dtype="M8[us]"), np.array([1, 2], dtype="m8[us]")):
        with pytest.raises(TypeError, match=r"^y has type .*, which is neither a number nor a category"):
            check(make(y))


LATER = {
    "a category of text": (pd.DataFrame({"a": ["x", "y", "x"], "b": [1.0, 2, 3]}), "contained text"),
    "a category of numbers": (pd.DataFrame({"a": pd.Categorical([0, 1, 2]), "b": [1.0, 2, 3]}), None),
    "an empty column": (np.array([[np.nan, 1.0], [np.nan, 2], [np.nan, 3]]), None),
}


@pytest.mark.parametrize(("X", "message"), LATER.values(), ids=LATER)
@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_a_sparse_table_is_encoded_as_a_dense_one(kind, X, message):
    encoder, later = TableEncoder().fit(check_table(X)), np.array([[1.0, 0], [0, 5], [np.nan, 6]])
    if message is not None:
        with pytest.raises(ValueError, match=message):
            encoder.transform(check_table(kind(later)))
        return
    numbers, levels = encoder.transform(check_table(kind(later)))
    expected_numbers, expected_levels = encoder.transform(later)
    np.testing.assert_array_equal(numbers.toarray(), expected_numbers)
    np.testing.assert_array_equal(levels, expected_levels)


def test_an_empty_column_of_a_sparse_table_is_encoded_as_in_a_dense_one():
    dense = np.array([[np.nan, 1.0, 0], [np.nan, 2, np.nan], [np.nan, np.nan, 3]])
    of_dense, of_sparse = TableEncoder().fit(dense), TableEncoder().fit(check_table(sparse.csr_array(dense)))
    assert of_sparse.categorical_ == of_dense.categorical_ == [0]
    numbers, _ = of_sparse.transform(check_table(sparse.csr_array(dense)))
    np.testing.assert_array_equal(numbers.toarray(), of_dense.transform(dense)[0])


@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_sparse_validation_rows_and_predictions_after_a_fit_to_a_frame(Estimator):
    X = np.column_stack([RNG.randint(0, 3, N_ROWS), RNG.randn(N_ROWS), np.full(N_ROWS, np.nan)])
    frame = pd.DataFrame(X, columns=list("abc")).astype({"a": "category"})
    fitted = Estimator((4,), max_iter=2, random_state=0)
    fitted.fit(frame, Y, X_val=sparse.csr_array(X), y_val=Y)
    with pytest.warns(UserWarning, match="valid feature names"):
        np.testing.assert_array_equal(fitted.predict(sparse.csr_array(X)), fitted.predict(frame))


WIDE = {
    "array": np.asarray,
    "objects": lambda X: X.astype(object),
    "pandas": lambda X: pd.DataFrame(X).add_prefix("x"),
    "pandas nullable": lambda X: pd.DataFrame(X).add_prefix("x").astype("Float64"),
    "pandas text": lambda X: pd.DataFrame(X.astype(str)).add_prefix("x"),
    "pandas category": lambda X: pd.DataFrame(X).add_prefix("x").astype("category"),
    "polars": lambda X: pl.DataFrame(X),
    "polars text": lambda X: pl.DataFrame(X).cast(pl.String),
    "Arrow": lambda X: pl.DataFrame(X).to_arrow(),
    "sparse": sparse.csr_array,
}


def n_listings(function):
    """Return how often a call of ``function`` lists the names or the types of all columns of a frame."""
    names = []
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, arg: names.append(frame.f_code.co_name) if event == "call" else None)
    try:
        function()
    finally:
        sys.setprofile(before)
    return sum(name in ("columns", "column_names", "schema") for name in names)


def encode_both(encoder, X):
    encoder.fit(check_table(X)).transform(check_table(X))


@pytest.mark.parametrize("container", WIDE.values(), ids=WIDE)
def test_names_are_not_listed_once_for_each_column(container):
    found = []
    for n_columns in (50, 100):
        X = container(RNG.randint(0, 3, (4, n_columns)).astype(float))
        found.append(n_listings(lambda X=X: encode_both(TableEncoder(), X)))
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("container", WIDE.values(), ids=WIDE)
def test_the_time_of_encoding_is_linear_in_the_number_of_columns(container, named):
    durations = []
    for n_columns in (250, 4000):
        X = container(RNG.randint(0, 3, (4, n_columns)).astype(float))
        if named and sparse.issparse(X):
            pytest.skip("a sparse matrix has no categories")
        names = list(getattr(X, "columns", range(n_columns))) if is_frame(X) else list(range(n_columns))
        features = getattr(X, "column_names", names) if named else "from_dtype"
        encoder, runs = TableEncoder(features), []
        for _ in range(2):
            start = time.process_time()
            encode_both(encoder, X)
            runs.append(time.process_time() - start)
        durations.append(min(runs))
    assert durations[1] < 2.5 * 16 * max(durations[0], 1e-3)


def test_many_sparse_labels_take_one_byte_each():
    rng = np.random.RandomState(0)
    n_rows, n_labels = 2000, 500
    y = sparse.csr_array((np.ones(n_rows), (np.arange(n_rows), rng.randint(0, n_labels, n_rows))), (n_rows, n_labels))
    encoder = ClassTargetEncoder()
    tracemalloc.start()
    labels = encoder.check(y)
    target = encoder.fit(labels).transform(labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2 * n_rows * n_labels
    np.testing.assert_array_equal(target, y.toarray())


def test_lazy_frames_are_refused_with_the_remedy():
    lazy = pl.DataFrame({"a": [1.0, 2.0]}).lazy()
    fitted = RegularizedMLPRegressor((4,), max_iter=1).fit(pl.DataFrame({"a": [1.0, 2.0]}), [1.0, 2.0])
    calls = [
        lambda: RegularizedMLPRegressor().fit(lazy, [1.0, 2.0]),
        lambda: RegularizedMLPRegressor().fit([[1.0], [2.0]], lazy),
        lambda: RegularizedMLPRegressor().fit([[1.0], [2.0]], [1.0, 2.0], X_val=lazy, y_val=[1.0, 2.0]),
        lambda: fitted.predict(lazy),
    ]
    for call, name in zip(calls, ("X", "y", "X_val", "X"), strict=True):
        with pytest.raises(TypeError, match=rf"^{name} is a lazy frame of polars.* Pass {name}\.collect\(\)\.$"):
            call()


@pytest.mark.parametrize(("module", "method"), [("dask.dataframe", ".compute()"), ("duckdb", ".df()")])
def test_lazy_tables_of_other_libraries_are_refused_with_the_remedy(module, method):
    library = pytest.importorskip(module)
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    lazy = library.from_df(frame) if module == "duckdb" else library.from_pandas(frame, npartitions=1)
    with pytest.raises(TypeError, match=rf"lazy frame of {module.split('.')[0]}, .*Pass X\{method[:-2]}\(\)"):
        check_table(lazy)
