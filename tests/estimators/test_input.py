"""Input of the estimators: invalid input raises an explanation, valid input of every type works."""

import re
import tracemalloc
import warnings
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.exceptions import DataConversionWarning
from sklearn.frozen import FrozenEstimator

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from tests.helpers import make_mixed_table

BOTH = [RegularizedMLPClassifier, RegularizedMLPRegressor]
SMALL = {"hidden_layer_sizes": (16,), "max_iter": 5, "n_members": 2, "random_state": 0}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = (X[:, 0] > 0).astype(int)
FRAME = pd.DataFrame(X, columns=list("abcd")).assign(e=pd.Categorical(np.where(X[:, 1] > 0, "up", "down")))


def with_value(value, like=X):
    """Return a copy of ``like`` with one number replaced."""
    changed = like.copy()
    if isinstance(changed, pd.DataFrame):
        changed.iloc[3, 1] = value
    else:
        changed[3, 1] = value
    return changed


def fit(*data, **parameters):
    """Return a function that fits a new estimator on ``data``, by default on 60 rows of 4 numbers."""
    return lambda Estimator: Estimator(**{**SMALL, **parameters}).fit(*(data or (X, Y)))


def fit_with(**arguments):
    """Return a function that calls ``fit`` with further arguments."""
    return lambda Estimator: Estimator(**SMALL).fit(X, Y, **arguments)


def predict(trained_on, asked):
    """Return a function that calls ``predict`` after a fit."""
    return lambda Estimator: Estimator(**SMALL).fit(trained_on, Y).predict(asked)


# parameters


INVALID_VALUES = {
    "hidden_layer_sizes": (0, -3, 2.5, "wide", None, (10, 0), (10, 2.5), (10, "5")),
    "activation": ("rleu", None, 3),
    "batch_norm": ("yes", 2, None),
    "layer_norm": ("yes", 2, None),
    "residual": ("yes", 2, None, 0.5),
    "init": ("he", None, 0.1),
    "parametrization": ("mup", None, True),
    "scale_layer": ("yes", 2, None, 0.5),
    "dropout": (1.5, 1.0, -0.1, "half", None, (0.1,), (0.1, 1.0), (0.1, "0.1")),
    "input_dropout": (1.0, -0.1, "half", None),
    "alpha": (-1e-3, "small", None, (0.1, 0.1), (0.1, 0.1, -0.1), (0.1, 0.1, None), (0.1, 0.1, "0.1")),
    "l1_ratio": (1.1, -0.1, None),
    "feature_alpha": (-0.1, "small", None),
    "weight_decay": (-0.1, "small", None),
    "max_norm": (0.0, -1.0, "unit", (1.0, None), (1.0, None, 0.0), (1.0, None, "unit")),
    "early_stopping": ("yes", None, 0.5),
    "validation_fraction": (0.0, 1.0, 1.5, None),
    "monitor": ("acuracy", None, 1),
    "patience": (0, 1.5, None),
    "min_delta": (-1e-3, None),
    "solver": ("newton", None),
    "learning_rate": ("plateau", None, 0.1),
    "learning_rate_init": (0.0, -1e-3, None),
    "momentum": (1.0, -0.1, "some", None),
    "nesterovs_momentum": ("yes", 2, None),
    "batch_size": (0, 1.5, "all", None),
    "max_iter": (0, 1.5, None),
    "time_limit": (0.0, -1.0, "a minute"),
    "clip_norm": (0.0, -1.0, "one"),
    "ema_decay": (1.0, -0.1, "half", None),
    "swa_start": (0.0, 1.0, "late"),
    "loss": ("l3", None, 2),
    "label_smoothing": (1.0, -0.1, "some", None),
    "calibrate": ("sigmoid", True, 1),
    "quantile": (0.0, 1.0, "half", None),
    "augmentation": ("mixdown", 3),
    "augmentation_strength": (-0.1, "strong", None),
    "n_members": (0, 1.5, None),
    "categorical_features": ("color", 3),
    "numeric_scaling": ("minmax", 1),
    "numeric_embedding": ("fourier", 16, True),
    "class_weight": ("even", 2),
    "warm_start": ("yes", None),
    "pretrained": (RegularizedMLPRegressor(), FrozenEstimator(RegularizedMLPRegressor()), "fitted", 3),
    "freeze_layers": (-1, 1.5, None),
    "pretrained_lr_factor": (0.0, -1.0, "slow", None),
    "random_state": ("seed", -1.5),
    "verbose": (-1, "loud"),
    "callbacks": ("all", 3),
    "device": (0, None),
    "precision": ("float16", 32, None),
    "n_threads": (0, 1.5),
}


def for_both_estimators(table):
    """Return (class, parameter, value) for both estimators, if they have the parameter."""
    return [
        pytest.param(Estimator, name, value, id=f"{Estimator.__name__[14:]}-{name}={value!r}")
        for Estimator in BOTH
        for name, values in table.items()
        if name in Estimator._parameter_constraints
        for value in values
    ]


@pytest.mark.parametrize("Estimator", BOTH)
def test_every_parameter_has_an_invalid_value_to_test(Estimator):
    assert set(Estimator().get_params()) <= set(INVALID_VALUES)


@pytest.mark.parametrize(("Estimator", "name", "value"), for_both_estimators(INVALID_VALUES))
def test_invalid_value_raises_the_error_of_scikit_learn(Estimator, name, value):
    setting = {"hidden_layer_sizes": (16, 16), name: value}
    with pytest.raises((ValueError, TypeError)) as caught:
        Estimator(**setting).fit(X, Y)
    text = str(caught.value)
    assert text.startswith(f"The {name!r} parameter of {Estimator.__name__} must be ")
    assert text.endswith(f" Got {value!r} instead.")


def test_complete_text_of_a_parameter_error():
    message = (
        "The 'input_dropout' parameter of RegularizedMLPClassifier must be a float in the range [0.0, 1.0). "
        "Got 1.5 instead."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RegularizedMLPClassifier(input_dropout=1.5).fit(X, Y)


class Unknown:
    def __repr__(self):
        return "Unknown()"


HOSTILE_VALUES = {
    "an int beyond float": 10**400,
    "an int beyond text": -(10**5000),
    "an int beyond 64 bits": 2**64,
    "an int of 64 bits": np.uint64(2**64 - 1),
    "denormal": 5e-324,
    "beyond float32": 1e308,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "complex": 1j,
    "signaling decimal": Decimal("sNaN"),
    "decimal": Decimal("0.5"),
    "fraction": Fraction(1, 2),
    "large fraction": Fraction(10**400),
    "tensor": torch.tensor(0.5),
    "integer tensor": torch.tensor(2),
    "vector": torch.tensor([0.1, 0.1]),
    "array without dimensions": np.array(2),
    "matrix": np.ones((2, 2)),
    "NA": pd.NA,
    "NaT": pd.NaT,
    "date": np.datetime64("2020-01-01"),
    "bytes": b"adamw",
    "empty text": "",
    "null character": "a\0b",
    "surrogate": "\ud800",
    "object": Unknown(),
    "type": int,
    "dict": {1: 2},
    "frozenset": frozenset([1]),
    "several large ints": (10**400,) * 2,
    "more large ints": (10**400,) * 3,
    "several NaN": (float("nan"),) * 3,
    "several infinities": (float("inf"),) * 3,
    "several tensors": (torch.tensor(0.5),) * 2,
    "several NA": (pd.NA,) * 3,
    "several fractions": (Fraction(1, 2),) * 2,
    "nested": [[1, 2], [3]],
    "several None": (None, None, None, None),
    "text in a tuple": ("a", "b"),
}
FURTHER_HOSTILE_VALUES = {
    "device": ("meta", "hpu", "cuda:99999999999", "privateuseone", "fpga", "lazy", "maia", "mkldnn", "vulkan", "xla"),
    "hidden_layer_sizes": (2**31, 2**62, (2**31, 2**31), np.iinfo(np.int64).max),
    "n_members": (2**31, 2**62),
    "n_threads": (2**31, 2**62, 10**5),
    "class_weight": ({0: 10**400}, {0: float("nan")}, {0: "a", 1: "b"}, {0: torch.tensor(1.0)}, {0: None}),
    "validation_fraction": (5e-324, np.float32(1e-45)),
    "max_iter": (2**63,),
}


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("name", INVALID_VALUES)
def test_every_value_of_a_parameter_is_used_or_refused_by_name(Estimator, name):
    if name not in Estimator._parameter_constraints:
        pytest.skip("a parameter of the other estimator")
    settings = {"hidden_layer_sizes": (4, 4), "max_iter": 1, "n_members": 1, "random_state": 0, "early_stopping": True}
    values = [*HOSTILE_VALUES.values(), *FURTHER_HOSTILE_VALUES.get(name, ())]
    if name == "categorical_features":  # which takes every collection of columns
        values = [value for value in values if not isinstance(value, dict | frozenset)]
    for value in values:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", UserWarning)
            try:
                estimator = Estimator(**{**settings, name: value}).fit(X, Y)
            except (TypeError, ValueError) as error:
                text = str(error)
                assert name in text or ("diverged" in text and value in (1e308, (float("inf"),) * 3)), text
            else:
                assert np.isfinite(estimator.predict(X)).all()


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("convert", [np.int8, np.uint8, np.int32, np.uint64, np.float32, np.float64])
def test_numpy_scalars_equal_python_numbers(Estimator, convert):
    kinds = (int,) if issubclass(convert, np.integer) else (int, float)
    settings = {"hidden_layer_sizes": 4, "max_iter": 2, "n_members": 2, "batch_size": 16, "random_state": 0}
    settings |= {"max_norm": 1, "clip_norm": 1, "min_delta": 0, "alpha": 0, "feature_alpha": 0, "patience": 3}
    settings |= {"time_limit": 100, "ema_decay": 0.5, "input_dropout": 0.25, "freeze_layers": 0}
    integers = {
        "hidden_layer_sizes",
        "max_iter",
        "n_members",
        "batch_size",
        "random_state",
        "patience",
        "freeze_layers",
    }
    converted = {
        name: convert(value)
        for name, value in settings.items()
        if type(value) in kinds and (issubclass(convert, np.integer) or name not in integers)
    }
    assert len(converted) > 5
    expected = Estimator(**settings).fit(X, Y).predict(X)
    assert_array_equal(Estimator(**{**settings, **converted}).fit(X, Y).predict(X), expected)


@pytest.mark.parametrize("Estimator", BOTH)
def test_infinite_patience_trains_to_the_end_and_restores_the_best_epoch(Estimator):
    """As ``n_iter_no_change=np.inf`` in scikit-learn."""
    for learning_rate in ("constant", "adaptive"):
        settings = {**SMALL, "learning_rate": learning_rate, "learning_rate_init": 0.5, "max_iter": 12}
        settings |= {"early_stopping": True, "weight_decay": 0.0, "n_members": 1}
        endless = Estimator(**settings, patience=np.inf).fit(X, Y)
        assert endless.n_iter_ == 12
        assert endless.best_iter_ == 1 + np.argmin(endless.validation_curve_)


ARGUMENTS = {
    "n_samples": lambda fitted, value: fitted.sample_predictions(X, value),
    "random_state": lambda fitted, value: fitted.sample_predictions(X, 2, value),
    "dropout": lambda fitted, value: fitted.predict_uncertainty(X, 2, dropout=value),
    "coverage": lambda fitted, value: fitted.predict_interval(X, value),
    "return_std": lambda fitted, value: fitted.predict(X, return_std=value)[0],
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_value_of_an_argument_is_used_or_refused_by_name(name):
    fitted = RegularizedMLPRegressor(**SMALL, early_stopping=True).fit(X, Y)
    for value in (*HOSTILE_VALUES.values(), 2**62, True):
        try:
            ARGUMENTS[name](fitted, value)
        except (TypeError, ValueError) as error:
            assert str(error).startswith(f"The {name!r} parameter of RegularizedMLPRegressor must be ")  # noqa: PT017
        else:
            assert value is True or name == "coverage"


CALLABLES = {
    "activation": lambda x: {}["missing"],
    "augmentation": lambda inputs, generator: {}["missing"],
    "learning_rate": lambda progress: {}["missing"],
    "monitor": lambda estimator, X, y: {}["missing"],
}


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("name", CALLABLES)
def test_errors_of_callables_name_the_parameter(Estimator, name):
    with pytest.raises(ValueError, match=f"{name}.*failed.*missing") as caught:
        Estimator(**{**SMALL, name: CALLABLES[name]}, early_stopping=True).fit(X, Y)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("Estimator", BOTH)
def test_invalid_parameter_sets_no_fitted_attribute(Estimator):
    estimator = Estimator(dropout=1.5)
    with pytest.raises(ValueError, match="dropout"):
        estimator.fit(X, Y)
    assert not [name for name in vars(estimator) if name.endswith("_")]


# data


DATES = FRAME.assign(when=pd.date_range("2020-01-01", periods=60))
LISTS = FRAME.assign(things=[[1, 2]] * 60)
TWICE = pd.DataFrame(X, columns=["a", "b", "a", "d"])
TEXT = FRAME.astype({"a": str})

OBJECTS = X.astype(object)
Y_OBJECTS = Y.astype(object)


def with_label(value):
    """Return a target of objects with one value replaced."""
    y = Y_OBJECTS.copy()
    y[3] = value
    return y


INVALID_DATA = {
    "an integer that no float holds": (fit(with_value(10**400, OBJECTS), Y), ValueError, "Input X contains infinity"),
    "such an integer at predict": (
        predict(X, with_value(-(10**400), OBJECTS)),
        ValueError,
        "Input X contains infinity",
    ),
    "a fraction that no float holds": (
        fit(with_value(Fraction(10**400), OBJECTS), Y),
        ValueError,
        "X contains infinity",
    ),
    "a long double": (
        fit(with_value(np.longdouble("1e400"), X.astype(np.longdouble)), Y),
        ValueError,
        "X contains inf",
    ),
    "a tensor with a gradient": (fit(torch.tensor(X, requires_grad=True), Y), TypeError, "Input X of type Tensor"),
    "a bfloat16 tensor": (fit(torch.tensor(X).bfloat16(), Y), TypeError, "Input X of type Tensor"),
    "rows with a gradient": (fit(list(torch.tensor(X, requires_grad=True)), Y), TypeError, "Input X of type Tensor"),
    "rows of several lengths": (fit([[1.0, 2.0], [3.0]] * 30, Y), ValueError, "Input X of type list"),
    "a structured array": (fit(np.zeros((60, 1), [("a", float)]), Y), TypeError, "Column 0 has type"),
    "y with a gradient": (fit(X, torch.tensor(X[:, 0], requires_grad=True)), TypeError, "Input y of type Tensor"),
    "y of lists of several lengths": (fit(X, [[1], [0, 1]] * 30), ValueError, "Input y of type list"),
    "a set as y": (fit(X, set(Y)), ValueError, "Input y must be an array-like"),
    "a masked y": (fit(X, np.ma.MaskedArray(Y, Y > 0)), ValueError, "Input y contains NaN"),
    "a signaling decimal in y": (fit(X, with_label(Decimal("sNaN"))), ValueError, "Input y contains NaN"),
    "a complex y": (fit(X, Y + 1j), TypeError, "y has type complex"),
    "text as weights": (fit_with(sample_weight=["a"] * 60), ValueError, "Input sample_weight must contain numbers"),
    "text as validation weights": (
        fit_with(X_val=X, y_val=Y, sample_weight_val=["a"] * 60),
        ValueError,
        "Input sample_weight_val must contain numbers",
    ),
    "a weight that no float holds": (
        fit_with(sample_weight=with_label(10**400)),
        ValueError,
        "Input sample_weight contains infinity",
    ),
    "masked weights": (
        fit_with(sample_weight=np.ma.MaskedArray(Y + 1.0, Y > 0)),
        ValueError,
        "sample_weight contains NaN",
    ),
    "weights with a gradient": (
        fit_with(sample_weight=torch.ones(60, requires_grad=True)),
        TypeError,
        "Input sample_weight of type Tensor",
    ),
    "dates as weights": (
        fit_with(sample_weight=Y.astype("M8[s]")),
        TypeError,
        "Input sample_weight must contain numbers",
    ),
    "infinity in an array": (fit(with_value(np.inf), Y), ValueError, "Input X contains infinity"),
    "infinity in a frame": (fit(with_value(-np.inf, FRAME), Y), ValueError, "in column 'b'"),
    "infinity in a sparse matrix": (fit(sparse.csr_array(with_value(np.inf)), Y), ValueError, "infinity"),
    "infinity in objects": (fit(with_value(np.inf).astype(object), Y), ValueError, "infinity"),
    "beyond float32 in an array": (fit(with_value(1e39), Y), ValueError, "too large for dtype('float32')"),
    "beyond float32 in a frame": (fit(with_value(-1e39, FRAME), Y), ValueError, "too large for dtype('float32')"),
    "infinity at predict": (predict(X, with_value(np.inf)), ValueError, "Input X contains infinity"),
    "infinity in a frame at predict": (predict(FRAME, with_value(np.inf, FRAME)), ValueError, "infinity"),
    "beyond float32 at predict": (predict(X, with_value(1e39)), ValueError, "too large for dtype('float32')"),
    "complex numbers": (fit(X + 1j, Y), ValueError, "Complex data not supported"),
    "one dimension": (fit(X[:, 0], Y), ValueError, "Expected 2D array, got 1D array instead"),
    "three dimensions": (fit(X[:, :, None], Y), ValueError, "dim 3"),
    "a single number": (fit(3.0, Y), ValueError, "Input X must be an array-like"),
    "no rows": (fit(X[:0], Y[:0]), ValueError, "0 sample(s)"),
    "no columns": (fit(X[:, :0], Y), ValueError, "0 feature(s)"),
    "a frame without rows": (fit(FRAME[:0], Y[:0]), ValueError, "0 sample(s)"),
    "a frame without columns": (fit(FRAME[[]], Y), ValueError, "0 feature(s)"),
    "polars without rows": (fit(pl.from_pandas(FRAME)[:0], Y[:0]), ValueError, "0 sample(s)"),
    "a list without rows": (fit([], Y[:0]), ValueError, "Expected 2D array"),
    "too few columns": (predict(X, X[:, :3]), ValueError, "X has 3 features"),
    "too many columns": (predict(X, np.hstack([X, X])), ValueError, "X has 8 features"),
    "a missing column": (
        predict(FRAME, FRAME.drop(columns="b")),
        ValueError,
        "yet now missing:\n- b",
    ),
    "a missing polars column": (predict(pl.from_pandas(FRAME), pl.from_pandas(FRAME).drop("b")), ValueError, "- b"),
    "an unknown column": (predict(FRAME, FRAME.assign(z=1.0)), ValueError, "Feature names unseen at fit time:\n- z"),
    "columns in another order": (predict(FRAME, FRAME[list("bacde")]), ValueError, "in the same order"),
    "names that are not all strings": (fit(FRAME.rename(columns={"a": 0}), Y), TypeError, "feature names"),
    "a column of dates": (fit(DATES, Y), TypeError, "Column 'when' has type Datetime"),
    "a column of objects that are dates": (
        fit(FRAME.assign(when=pd.Series([date(2020, 1, 1)] * 60, dtype=object)), Y),
        TypeError,
        "'when'",
    ),
    "a polars column of dates": (fit(pl.from_pandas(DATES), Y), TypeError, "Column 'when' has type Datetime"),
    "a polars column of lists": (fit(pl.from_pandas(LISTS), Y), TypeError, "Column 'things' has type List"),
    "a column of lists": (fit(LISTS, Y), TypeError, "Column 'things'"),
    "an array of lists": (fit(np.array([[[1], "a"]] * 60, dtype=object)[:, :2], Y), TypeError, "list"),
    "a name twice": (fit(TWICE, Y), ValueError, "several columns named 'a'"),
    "text where numbers were": (
        predict(FRAME, TEXT),
        ValueError,
        "Column 'a' contained numbers when",
    ),
    "an unnamed category": (fit(FRAME, Y, categorical_features=["a"]), ValueError, "Column(s) 'e' contain categories"),
    "a category that does not exist": (
        fit(FRAME, Y, categorical_features=["e", "color"]),
        ValueError,
        "categorical_features contains 'color'",
    ),
    "a category out of range": (fit(X, Y, categorical_features=[4]), ValueError, "should be in [0, 3]"),
    "a mask of the wrong length": (fit(X, Y, categorical_features=[True]), ValueError, "should have shape (4,)"),
    "categories named by floats": (fit(X, Y, categorical_features=[0.5]), ValueError, "bool, int or str"),
    "categories of a sparse matrix": (
        fit(sparse.csr_array(X), Y, categorical_features=[0]),
        ValueError,
        "One-hot encode its categories",
    ),
    "no y": (fit(X, None), ValueError, "requires y to be passed"),
    "y of another length": (fit(X, Y[:-1]), ValueError, "inconsistent numbers of samples"),
    "NaN in y": (fit(X, np.where(Y, np.nan, 0.0)), ValueError, "Input y contains NaN"),
    "infinity in y": (fit(X, np.where(Y, np.inf, 0.0)), ValueError, "Input y contains infinity"),
    "no weight above 0": (fit_with(sample_weight=np.zeros(60)), ValueError, "All values of sample_weight are zero"),
    "a negative weight": (
        fit_with(sample_weight=-np.ones(60)),
        ValueError,
        "Negative values in data",
    ),
    "a weight that is NaN": (fit_with(sample_weight=np.full(60, np.nan)), ValueError, "sample_weight contains NaN"),
    "a weight that is infinite": (
        fit_with(sample_weight=np.full(60, np.inf)),
        ValueError,
        "contains infinity",
    ),
    "too few weights": (fit_with(sample_weight=np.ones(59)), ValueError, "sample_weight.shape == (59,)"),
    "weights of two dimensions": (fit_with(sample_weight=np.ones((60, 2))), ValueError, "1D"),
    "X_val alone": (fit_with(X_val=X), ValueError, "X_val is provided, but y_val was not provided"),
    "y_val alone": (fit_with(y_val=Y), ValueError, "y_val is provided, but X_val was not provided"),
    "sample_weight_val alone": (fit_with(sample_weight_val=Y), ValueError, "X_val and y_val were not provided"),
    "X_val and y_val of other lengths": (fit_with(X_val=X, y_val=Y[1:]), ValueError, "inconsistent numbers of samples"),
    "X_val of other columns": (fit_with(X_val=X[:, :2], y_val=Y), ValueError, "X_val has 2 features"),
    "infinity in X_val": (fit_with(X_val=with_value(np.inf), y_val=Y), ValueError, "infinity"),
    "no validation weight above 0": (
        fit_with(X_val=X, y_val=Y, sample_weight_val=0.0 * Y),
        ValueError,
        "All values of sample_weight_val are zero",
    ),
    "X_val without early stopping": (
        lambda Estimator: Estimator(**SMALL, early_stopping=False).fit(X, Y, X_val=X, y_val=Y),
        ValueError,
        "early_stopping should be set to either 'auto' or True",
    ),
    "a device that does not exist": (fit(device="nonsense"), ValueError, "device='nonsense'"),
    "a callable monitor that returns no number": (
        fit(monitor=lambda estimator, X, y: "good", early_stopping=True),
        TypeError,
        "The monitor must return a number",
    ),
    "warm start at another width": (
        lambda Estimator: Estimator(**SMALL, warm_start=True).fit(X, Y).set_params(hidden_layer_sizes=(9,)).fit(X, Y),
        ValueError,
        "Training cannot continue: the network has another shape",
    ),
    "warm start with other columns": (
        lambda Estimator: Estimator(**SMALL, warm_start=True).fit(X, Y).fit(X[:, :3], Y),
        ValueError,
        "X has 3 features",
    ),
}


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize(("call", "error", "text"), INVALID_DATA.values(), ids=INVALID_DATA)
def test_invalid_data_raises_an_explanation(Estimator, call, error, text):
    with pytest.raises(error) as caught:
        call(Estimator)
    assert text in str(caught.value)
    assert len(str(caught.value)) > 20


INVALID_LABELS = {
    "text and numbers": (fit(X, ["a", 1] * 30), "y contains labels of several types (int, str)"),
    "text and bools": (
        fit(X, np.array(["a", True] * 30, dtype=object)),
        "y contains labels of several types (bool, str)",
    ),
    "integers of more than 64 bits": (fit(X, [2**70, 2**71] * 30), "y contains numbers that are no labels"),
    "decimals": (fit(X, [Decimal("1.5"), Decimal(2)] * 30), "y contains numbers that are no labels"),
    "bytes": (fit(X, [b"a", b"b"] * 30), "y contains labels of type bytes"),
    "labels that are not 0 or 1": (fit(X, np.where(X > 0, 1, -1)), "must contain 0 and 1, got -1"),
    "sparse labels that are not 0 or 1": (fit(X, sparse.csr_array(2 * (X > 0))), "must contain 0 and 1, got 2"),
    "three dimensions": (fit(X, np.zeros((60, 2, 2))), "Unknown label type"),
    "None": (fit(X, np.where(Y, None, "no")), "Input y contains NaN"),
    "one class": (fit(X, np.ones(60)), "only one class is present"),
    "one class of weight above 0": (fit_with(sample_weight=Y), "only one class is present"),
    "numbers that are no labels": (fit(X, X[:, 0]), "Unknown label type: continuous"),
    "several classes in several columns": (fit(X, np.arange(120).reshape(60, 2)), "1d array"),
    "a validation class that training has not": (
        fit_with(X_val=X, y_val=Y + 1),
        "not in the training rows: 2",
    ),
    "a weight for a class that is not there": (fit(class_weight={0: 1.0, 5: 2.0}), "class"),
    "a warm start with a new class": (
        lambda Estimator: Estimator(**SMALL, warm_start=True).fit(X, Y).fit(X, Y + 1),
        "not in the training rows: 2",
    ),
    "a warm start with more classes": (
        lambda Estimator: Estimator(**SMALL, warm_start=True).fit(X, Y).fit(X, np.arange(60) % 3),
        "not in the training rows: 2",
    ),
}


@pytest.mark.parametrize(("call", "text"), INVALID_LABELS.values(), ids=INVALID_LABELS)
def test_invalid_labels_raise_an_explanation(call, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        call(RegularizedMLPClassifier)


INVALID_NUMBERS = {
    "an integer that no float holds": (fit(X, with_label(10**400)), "Input y contains infinity"),
    "text and numbers": (fit(X, ["a", 1] * 30), "Input y must contain numbers"),
    "three dimensions": (fit(X, np.zeros((60, 2, 2))), "Found array with dim 3"),
    "None": (fit(X, np.where(Y, None, 0.0)), "Input y contains NaN"),
    "text": (fit(X, np.where(Y, "yes", "no")), "Input y must contain numbers, but could not convert string to float"),
    "beyond float32": (fit(X, Y * 1e39), "too large for dtype('float32')"),
    "a warm start with more outputs": (
        lambda Estimator: Estimator(**SMALL, warm_start=True).fit(X, Y).fit(X, X[:, :2]),
        "fitted with 1 output(s)",
    ),
    "a validation target of another width": (fit_with(X_val=X, y_val=X[:, :2]), "fitted with 1 output(s)"),
}


@pytest.mark.parametrize(("call", "text"), INVALID_NUMBERS.values(), ids=INVALID_NUMBERS)
def test_invalid_regression_target_raises_an_explanation(call, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        call(RegularizedMLPRegressor)


@pytest.mark.parametrize("Estimator", BOTH)
def test_few_validation_rows_cause_a_warning(Estimator):
    with pytest.warns(UserWarning, match=r"only 15 validation rows.*X_val.*early_stopping=False"):
        Estimator(**SMALL, early_stopping=True).fit(X, Y)


# valid input


def predictions_of(estimator, rows):
    """Return probabilities or numbers."""
    return estimator.predict_proba(rows) if hasattr(estimator, "predict_proba") else estimator.predict(rows)


NUMBERS = {
    "float64": X,
    "Fortran order": np.asfortranarray(X),
    "read-only": np.frombuffer(X.tobytes()).reshape(X.shape),
    "negative strides": X[:, ::-1][:, ::-1],
    "list": X.tolist(),
    "tuples": [tuple(row) for row in X.tolist()],
    "objects": X.astype(object),
    "sparse": sparse.csr_array(X),
    "pandas": pd.DataFrame(X),
    "pandas Float64": pd.DataFrame(X).astype("Float64"),
    "tensor": torch.tensor(X),
    "rows of tensors": list(torch.tensor(X)),
    "masked array": np.ma.MaskedArray(X),
    "polars": pl.DataFrame(X),
    "record batch": pl.DataFrame(X).to_arrow().to_batches()[0],
    "arrow": pl.DataFrame(X).to_arrow(),
}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("table", NUMBERS.values(), ids=NUMBERS)
def test_predictions_do_not_depend_on_the_container_of_numbers(Estimator, table):
    plain = Estimator(**SMALL).fit(X, Y)
    assert_allclose(
        predictions_of(Estimator(**SMALL).fit(table, Y), table), predictions_of(plain, X), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
def test_float32_and_float64_input_agree(Estimator, scaling):
    single = X.astype(np.float32)
    estimator = Estimator(**SMALL, numeric_scaling=scaling)
    in_32 = predictions_of(estimator.fit(single, Y), single)
    in_64 = predictions_of(estimator.fit(single.astype(np.float64), Y), single.astype(np.float64))
    assert_allclose(in_32, in_64, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("offset", "scale"), [(1.7e9, 10.0), (-3.3e38, 1e36)])
@pytest.mark.parametrize("quantile", [None, 0.5, (0.1, 0.5, 0.9)])
def test_float32_rows_do_not_round_predictions_of_numbers(offset, scale, quantile):
    single = np.random.default_rng(0).normal(size=(240, 4)).astype(np.float32)
    target = offset + scale * single[:, 0].astype(np.float64)
    settings = {} if quantile is None else {"loss": "quantile", "quantile": quantile}
    regressor = RegularizedMLPRegressor(**SMALL, early_stopping=True, validation_fraction=0.5, **settings)
    regressor.set_params(max_iter=60)
    results = []
    for table in (single, single.astype(np.float64)):
        fitted = regressor.fit(table, target)
        prediction, std = fitted.predict(table, return_std=True)
        results.append([prediction, fitted.predict_interval(table, 0.5), fitted.oof_prediction_, offset + std])
        assert all(np.isfinite(result).all() and result.dtype == np.float64 for result in results[-1])
        assert fitted.score(table, target) > 0.8
    for one, other in zip(*results, strict=True):
        assert_allclose((one - offset) / scale, (other - offset) / scale, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.int64, np.uint16, bool])
def test_every_numeric_type_can_be_learned(Estimator, dtype):
    rng = np.random.default_rng(0)
    table = rng.integers(0, 2 if dtype is bool else 9, (120, 3)).astype(dtype)
    y = (table[:, 0] > table[:, 0].mean()).astype(int)
    estimator = Estimator(**SMALL).set_params(max_iter=60, learning_rate_init=0.02).fit(table, y)
    assert estimator.score(table, y) > 0.6


LEVELS = np.where(X[:, 1] > 0, "up", "down")


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize(
    "column",
    [
        pd.Categorical(LEVELS),
        pd.Series(LEVELS, dtype=object),
        pd.Series(LEVELS, dtype="string"),
        pd.Series(LEVELS == "up", dtype="boolean"),
        LEVELS == "up",
    ],
    ids=["category", "object", "string", "boolean", "bool"],
)
def test_predictions_do_not_depend_on_the_type_of_categories(Estimator, column):
    tables = [FRAME.assign(e=column), FRAME]
    of_column, of_category = (predictions_of(Estimator(**SMALL).fit(table, Y), table) for table in tables)
    assert_array_equal(of_column, of_category)


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["down", "up"]), pl.Boolean])
def test_polars_categories_with_nulls_equal_pandas(Estimator, dtype):
    column = pd.Series(LEVELS, dtype=object).mask(X[:, 2] > 1)
    in_pandas = FRAME.assign(e=pd.Categorical(column))
    values = pl.Series("e", column.where(column.notna(), None).tolist())
    values = values == "up" if dtype == pl.Boolean else values.cast(dtype)
    in_polars = pl.from_pandas(FRAME).with_columns(values.alias("e"))
    assert in_polars["e"].null_count() == column.isna().sum() > 0
    one, other = (predictions_of(Estimator(**SMALL).fit(table, Y), table) for table in (in_pandas, in_polars))
    assert_array_equal(one, other)


@pytest.mark.parametrize("Estimator", BOTH)
def test_nullable_numbers_equal_floats(Estimator):
    table = pd.DataFrame({"count": np.arange(60) % 7, "flag": np.arange(60) % 2, "x": X[:, 0]})
    nullable = table.astype({"count": "Int64", "x": "Float64"})
    nullable.loc[::7, "count"] = pd.NA
    floats = table.astype({"count": float})
    floats.loc[::7, "count"] = np.nan
    assert_array_equal(*(predictions_of(Estimator(**SMALL).fit(t, Y), t) for t in (nullable, floats)))


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
def test_constant_and_missing_columns_do_not_prevent_learning(Estimator, scaling):
    table = FRAME.assign(missing=np.nan, nothing=pd.Series([None] * 60, dtype=object), constant=7.0, one="level")
    estimator = Estimator(**SMALL, numeric_scaling=scaling).set_params(max_iter=60, learning_rate_init=0.02)
    assert np.isfinite(predictions_of(estimator.fit(table, Y), table)).all()
    assert estimator.score(table, Y) > 0.6


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
def test_unknown_levels_and_new_missing_values_are_predicted(Estimator, scaling):
    fitted = Estimator(**SMALL, numeric_scaling=scaling).fit(FRAME, Y)
    unknown = predictions_of(fitted, FRAME.assign(e=pd.Categorical(["sideways"] * 60)))
    missing = predictions_of(fitted, FRAME.assign(e=pd.Categorical([None] * 60, categories=["up", "down"])))
    assert np.isfinite(unknown).all()
    assert_array_equal(unknown, missing)
    assert np.isfinite(predictions_of(fitted, FRAME.assign(a=np.nan))).all()
    assert np.isfinite(predictions_of(fitted, FRAME.assign(a=1e30))).all() or scaling != "robust"


@pytest.mark.parametrize("Estimator", BOTH)
def test_every_container_may_have_missing_values(Estimator):
    holes = np.where(np.random.default_rng(1).random(X.shape) < 0.3, np.nan, X)
    for table in (holes, holes.astype(object), pd.DataFrame(holes), sparse.csr_array(holes), holes.tolist()):
        assert np.isfinite(predictions_of(Estimator(**SMALL).fit(table, Y), table)).all()


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("named", [["e", "color"], [4, 5], [False] * 4 + [True] * 2])
def test_categorical_features_accepts_names_indices_and_masks(Estimator, named):
    table = FRAME.assign(color=np.arange(60) % 3)
    by_name = predictions_of(Estimator(**SMALL, categorical_features=named).fit(table, Y), table)
    by_type = table.astype({"color": "category"})
    assert_array_equal(by_name, predictions_of(Estimator(**SMALL).fit(by_type, Y), by_type))


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("target", [list, tuple, pd.Series, pl.Series, lambda y: y[:, None]])
def test_predictions_do_not_depend_on_the_container_of_y(Estimator, target):
    given = target(Y)
    fitted = Estimator(**SMALL).fit(X, given)
    expected = Estimator(**SMALL).fit(X, Y).predict(X)
    assert_array_equal(fitted.predict(X).reshape(-1), expected)


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize(
    "column", [lambda y: y[:, None], lambda y: pd.DataFrame(y), lambda y: sparse.csr_array(y[:, None])]
)
def test_a_column_of_targets_is_equivalent_to_one_dimension(Estimator, column):
    plain = Estimator(**SMALL).fit(X, Y, X_val=X, y_val=Y)
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        fitted = Estimator(**SMALL).fit(X, column(Y), X_val=X, y_val=column(Y))
    assert_array_equal(predictions_of(fitted, X), predictions_of(plain, X))
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        streamed = Estimator(**SMALL).partial_fit(X, column(Y), **({"classes": [0, 1]} if Estimator is BOTH[0] else {}))
    assert streamed.predict(X).shape == (60,)
    assert fitted.score(X, Y[:, None]) == plain.score(X, Y)


@pytest.mark.parametrize("Estimator", BOTH)
def test_a_score_with_missing_targets_is_refused(Estimator):
    fitted = Estimator(**SMALL).fit(X, Y)
    for y in (np.ma.MaskedArray(Y, Y > 0), pd.Series(Y).where(Y > 0).astype("Int64"), with_label(pd.NA)):
        with pytest.raises(ValueError, match="Input y contains NaN"):
            fitted.score(X, y)


BOOLS = {
    "pandas": lambda column: FRAME.drop(columns="e").assign(flag=column),
    "nullable": lambda column: FRAME.drop(columns="e").assign(flag=pd.array(column, dtype="boolean")),
    "polars": lambda column: pl.DataFrame(X[:, :4], schema=list("abcd")).with_columns(flag=pl.Series(column)),
    "objects": lambda column: np.column_stack([OBJECTS, column.astype(object)]),
}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("features", [None, [0]])
@pytest.mark.parametrize("make", BOOLS.values(), ids=BOOLS)
def test_bools_that_are_no_categories_are_numbers(Estimator, features, make):
    flag = X[:, 1] > 0
    if features is not None:
        features = np.arange(5) == 0
    bools, numbers = make(flag), np.column_stack([X, flag.astype(float)])
    fitted, expected = (Estimator(**SMALL, categorical_features=features).fit(table, Y) for table in (bools, numbers))
    assert_array_equal(predictions_of(fitted, bools), predictions_of(expected, numbers))


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("make", BOOLS.values(), ids=BOOLS)
def test_bools_and_numbers_can_replace_each_other(Estimator, make):
    flag = X[:, 1] > 0
    bools, numbers = make(flag), np.column_stack([OBJECTS, flag.astype(int)])
    numbers = pd.DataFrame(numbers.astype(float), columns=[*"abcd", "flag"]) if hasattr(bools, "columns") else numbers
    for one, other in ((bools, numbers), (numbers, bools)):
        fitted = Estimator(**SMALL).fit(one, Y)
        assert_array_equal(predictions_of(fitted, other), predictions_of(fitted, one))


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("make", [set, frozenset, dict.fromkeys, tuple, np.array, pd.Index])
def test_names_of_categories_can_be_a_collection_of_any_type(Estimator, make):
    table = FRAME.assign(color=np.arange(60) % 3)
    expected = predictions_of(Estimator(**SMALL, categorical_features=["color", "e"]).fit(table, Y), table)
    fitted = Estimator(**SMALL, categorical_features=make(["color", "e"])).fit(table, Y)
    assert_array_equal(predictions_of(fitted, table), expected)


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@pytest.mark.parametrize("Estimator", BOTH)
def test_hundred_thousand_levels_fit_in_memory(Estimator):
    """One-hot encoding would take 40 GB, and an embedding of every level with its moments 19 MB."""
    n_rows = 100_000
    table = pd.DataFrame({"id": [f"level {i}" for i in range(n_rows)], "x": np.arange(n_rows) % 5})
    tracemalloc.start()
    fitted = Estimator(**SMALL).set_params(max_iter=1).fit(table, table["x"] > 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6
    assert sum(parameter.numel() for parameter in fitted.net_.module_.parameters()) < 100_000
    assert np.isfinite(predictions_of(fitted, table[:100])).all()


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("rows", [240, 3000])
@pytest.mark.parametrize(
    "setting", [{}, {"batch_norm": True}, {"hidden_layer_sizes": ()}, {"hidden_layer_sizes": (37, 5)}], ids=str
)
def test_prediction_of_a_row_does_not_depend_on_the_other_rows(Estimator, rows, setting):
    table = make_mixed_table(rows)
    y = table.label if Estimator is RegularizedMLPClassifier else table.number
    fitted = Estimator(**{**SMALL, **setting}).set_params(max_iter=2).fit(table.X, y)
    everything = predictions_of(fitted, table.X)
    for few in (slice(0, 1), slice(5, 6), slice(17, 100), slice(0, rows, 7), slice(None, None, -1)):
        assert_array_equal(predictions_of(fitted, table.X[few]), everything[few])


@pytest.mark.parametrize("n_classes", [3, 5, 7, 11])
def test_prediction_of_several_classes_does_not_depend_on_the_other_rows(n_classes):
    """The kernel of a matrix product also depends on its width, which is the number of classes in the last layer."""
    y = np.arange(len(X)) % n_classes
    fitted = RegularizedMLPClassifier(**SMALL).fit(X, y)
    everything = fitted.predict_proba(X)
    for row in range(len(X)):
        assert_array_equal(fitted.predict_proba(X[row : row + 1]), everything[row : row + 1])


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile"])
@pytest.mark.parametrize("offset", [0.0, 1.6e9])
def test_column_far_from_zero_can_be_learned(Estimator, scaling, offset):
    """For example seconds since 1970, which float32 would round to multiples of 128."""
    rng = np.random.default_rng(0)
    table = rng.integers(-60, 60, (300, 2)).astype(float)
    y = (table[:, 0] > 0).astype(int)
    estimator = Estimator(**SMALL, numeric_scaling=scaling).set_params(max_iter=60, learning_rate_init=0.02)
    assert estimator.fit(table + offset, y).score(table + offset, y) > (0.9 if hasattr(estimator, "classes_") else 0.6)


@pytest.mark.parametrize("Estimator", BOTH)
def test_one_outlier_does_not_prevent_learning_from_its_column(Estimator):
    table, y = X.copy(), Y
    table[np.flatnonzero(Y)[0], 0] = 1e30
    estimator = Estimator(**SMALL).set_params(max_iter=80, learning_rate_init=0.02).fit(table, y)
    assert np.isfinite(predictions_of(estimator, table)).all()
    assert estimator.score(table, y) > 0.7


@pytest.mark.parametrize("name", ["adult", "soybean"])
def test_real_tables_with_categories(shared_data, name):
    table = shared_data(name)[:1500]
    X_real, y_real = table.iloc[:, :-1], table.iloc[:, -1]
    fitted = RegularizedMLPClassifier(**SMALL).set_params(max_iter=20).fit(X_real, y_real)
    assert fitted.score(X_real, y_real) > y_real.value_counts(normalize=True).max()


@pytest.mark.parametrize("Estimator", BOTH)
def test_error_lists_names_in_order(Estimator):
    with pytest.raises(ValueError, match=r"\{'adam', 'adamw', 'lbfgs', 'sgd'\}. Got 'x'"):
        Estimator(solver="x").fit(X, Y)


LAZY = pl.DataFrame(X).lazy()
WRONG_TABLES = {
    "lazy": LAZY,
    "one dimension": X[:, 0],
    "three dimensions": X[None],
    "no rows": X[:0],
    "no rows of a frame": pd.DataFrame(X)[:0],
    "fewer columns": X[:, :2],
    "fewer rows": X[:30],
    "infinity": with_value(np.inf),
    "too large": with_value(1e300),
    "infinity in a frame": with_value(np.inf, pd.DataFrame(X)),
    "too large in a frame": with_value(1e300, pd.DataFrame(X)),
    "large integers": [[10**400] * 4] * 60,
    "text": X.astype(str),
    "dates": X.astype("M8[s]"),
    "complex numbers": X + 1j,
    "objects": np.full(X.shape, object()),
    "ragged rows": [[1.0] * 4] * 59 + [[1.0]],
    "duplicate names": pd.DataFrame(X, columns=list("aabc")),
    "number": 5,
    "generator": (row for row in X),
    "sparse infinity": sparse.csr_array(with_value(np.inf)),
}
WRONG_TARGETS = {
    "lazy": LAZY,
    "fewer rows": Y[:30],
    "missing": [None] * 60,
    "NaN": np.full(60, np.nan),
    "infinity": np.full(60, np.inf),
    "too large": X[:, 0] * 1e300,
    "large integers": [10**400] * 60,
    "unknown text": ["a"] * 60,
    "mixed types": ["a", 1] * 30,
    "dates": X[:, 0].astype("M8[s]"),
    "complex numbers": X[:, 0] + 1j,
    "objects": [object()] * 60,
    "ragged rows": [[1], [1, 2]] * 30,
    "three columns": X[:, :3],
    "three dimensions": X[None],
    "number": 5,
    "generator": (label for label in Y),
    "lists": pd.Series([[1]] * 60),
}
WRONG_WEIGHTS = {
    "negative": -np.ones(60),
    "NaN": np.full(60, np.nan),
    "infinity": np.full(60, np.inf),
    "zeros": np.zeros(60),
    "fewer rows": np.ones(30),
    "text": ["a"] * 60,
    "two dimensions": np.ones((60, 2)),
    "too large": np.full(60, 1e308),
    "large integer": 10**400,
    "dates": X[:, 0].astype("M8[s]"),
    "object": object(),
    "complex numbers": 1j * X[:, 0],
}
WRONG = [
    pytest.param(name, value, id=f"{name}: {kind}")
    for name, values in (("X", WRONG_TABLES), ("y", WRONG_TARGETS), ("sample_weight", WRONG_WEIGHTS))
    for kind, value in values.items()
]


@pytest.mark.filterwarnings("error::RuntimeWarning", "ignore::UserWarning")
@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize(("name", "value"), WRONG)
def test_errors_name_the_argument_that_was_passed(name, value, Estimator):
    """The arguments of ``fit`` for the training rows and the validation rows, and those of ``score``."""
    fitted = Estimator((2,), max_iter=1, n_members=1, early_stopping=True, random_state=0).fit(X, Y)
    given = {"X": X, "y": Y, "sample_weight": np.ones(60)}
    validation = {f"{key}_val": of_key for key, of_key in {**given, name: value}.items()}
    with pytest.raises((ValueError, TypeError), match=rf"(?<!['\w]){name}_val\b"):
        Estimator((2,), max_iter=1, n_members=1, early_stopping=True).fit(X, Y, **validation)
    with pytest.raises((ValueError, TypeError), match=rf"(?<!\w){name}\b|Column '?\w'? .*Convert"):
        fitted.score(**{**given, name: value})


@pytest.mark.parametrize("wrong", [["z"], ["a", "z"], np.array(["z"]), [7], [-1], [True, False], [1.5], [None]])
def test_errors_about_categorical_features_state_a_remedy(wrong):
    with pytest.raises(ValueError, match=r"categorical_features .*\. (Pass|Remove) .*\."):
        RegularizedMLPRegressor(categorical_features=wrong).fit(pd.DataFrame(X, columns=list("abcd")), Y)
