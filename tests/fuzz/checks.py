"""What a call may do: return a finite result, or raise an error that names an argument and a remedy."""

import contextlib
import inspect
import io
import pickle
import random
import re
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import torch
from optuna.exceptions import ExperimentalWarning
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import (
    ConvergenceWarning,
    DataConversionWarning,
    FitFailedWarning,
    NotFittedError,
    UndefinedMetricWarning,
)

import skreg
from skreg import OptunaSearchCV, RegularizedMLPClassifier, RegularizedMLPRegressor, plots

PACKAGE = Path(skreg.__file__).parent
SECONDS = 30
"""Time after which a case counts as a hang; it normally takes some hundredths of a second."""

ERRORS = (ValueError, TypeError, NotFittedError)
ADMITTED_WARNINGS: list[tuple[type[Warning], str]] = [
    # of this package
    (UserWarning, "A candidate cannot be pruned, because the scorer raised an error"),
    (ConvergenceWarning, "The training diverged|feature_alpha=.* has set the weights of all columns to zero"),
    (UserWarning, "Early stopping uses only .* too few to distinguish an improvement from chance"),
    # of scikit-learn
    (DataConversionWarning, "A column-vector y was passed when a 1d array was expected"),
    (UndefinedMetricWarning, ""),
    (UserWarning, "X has feature names, but .* was fitted without feature names"),
    (UserWarning, "X does not have valid feature names, but .* was fitted with feature names"),
    (UserWarning, "The number of unique classes is greater than 50% of the number of samples"),
    (UserWarning, "The least populated class in y has only"),
    (UserWarning, "A single label was found in 'y_true' and 'y_pred'"),
    (UserWarning, "y_pred contains classes not in y_true"),
    (UserWarning, "The y_prob values do not sum to one"),
    (FitFailedWarning, ""),
    (UserWarning, "The scoring .* does not support sample_weight"),
    (RuntimeWarning, "invalid value encountered in cast"),  # of accuracy_score for numbers
    (UserWarning, "Scoring failed. The score on this train-test partition"),
    (UserWarning, "One or more of the .* scores are non-finite"),
    # of Optuna
    (ExperimentalWarning, ""),
    # of matplotlib, about the fonts of the machine
    (UserWarning, "Glyph .* missing from font"),
]
"""Warnings that are documented; any other one is a failure."""


def arguments_of(display: str) -> Callable[..., Any]:
    """Return the function that takes the arguments of a display or of the callback."""
    function: Callable[..., Any] = getattr(getattr(plots, display), "from_estimator", plots.LiveTrainingCurve)
    return function


ARGUMENTS = {
    *("X", "y", "sample_weight", "X_val", "y_val", "sample_weight_val", "classes", "coverage", "n_samples"),
    *(
        "feature names",
        "callable",
        "labels",
        "Labels",
        "target",
        "column",
        "Column",
        "columns",
        "random_state",
        "estimator",
    ),
    *(
        name
        for cls in (RegularizedMLPClassifier, RegularizedMLPRegressor, OptunaSearchCV)
        for name in cls._get_param_names()
    ),
    *(name for display in plots.__all__ for name in inspect.signature(arguments_of(display)).parameters),
}
NAMES_ARGUMENT = re.compile(rf"(?<![\w'])'?({'|'.join(sorted(ARGUMENTS, key=len, reverse=True))})'?(?!\w)")
NAMES_REMEDY = re.compile(
    r"\b(must|should|requires?|required|needs?|[Ss]et|[Pp]ass|Remove|Convert|Rescale|Decrease|Increase|Use|Add|Give|Divide"
    r"|Fit|Call|Reshape|Rename|Drop|Restore|Scale|Encode|Reduce|[Ee]xpect(s|ed|ing)|use|add|call|supported)\b"
)
OTHERS_MESSAGES = re.compile(
    "|".join(
        [
            # scikit-learn's own sentences, which its users know
            r"Found input variables with inconsistent numbers of samples",
            r"Found array with (\d+ sample|dim \d|\d+ feature)",
            r"Expected 2D array, got (1D|scalar) array instead",
            r"Classifier can't train when only one class is present",
            r"Unknown label type",
            r"Complex data not supported",
            r"Sample weights must be 1D array or scalar",
            r"You appear to be using a legacy multi-label data representation",
            r"Supported target types are",
            r"np.matrix is not supported",
            r"No fits were performed. Was the CV iterator empty",
            r"The classes, .*, are not in class_weight",
            r"Invalid parameter .* for estimator",
            r"y should be a 1d array, got an array of shape",
            r"Input (X|y|X_val|y_val|sample_weight|sample_weight_val) contains (NaN|infinity)",
            r"This .* instance is not fitted yet",
            r"Sparse data was passed",
            r"Cannot have number of splits n_splits=|n_splits=\d+ cannot be greater than",
            r"All the \d+ fits failed",
            r"Negative values in data passed to",
            r"Singleton array .* cannot be considered a valid collection",
            r"The feature names should match those that were passed during fit",
            r"X has \d+ features, but .* is expecting \d+ features",
            r"Multioutput target data is not supported with label binarization",
            r"(continuous|multiclass|unknown)\S* is not supported",  # by a metric of the user's choice
        ]
    )
)


class Failure(AssertionError):
    """A case that broke a law.

    Parameters
    ----------
    kind : str
        What was broken: the name of an exception or of a law.
    origin : str
        Line of the package that broke it, or the law.
    detail : str
        Message and traceback.
    """

    def __init__(self, kind: str, origin: str, detail: str) -> None:
        super().__init__(f"{kind} at {origin}\n{detail}")
        self.kind, self.origin, self.detail = kind, origin, detail


class Hang(BaseException):
    """The case took too long. It is no Exception, so that nothing handles it."""


@contextlib.contextmanager
def deadline(seconds: float = SECONDS) -> Iterator[None]:
    """Raise ``Hang`` in the main thread after some seconds, on systems that have alarms."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_: Any) -> None:
        raise Hang

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except Hang as error:
        raise Failure("Hang", origin_of(error), f"no result after {seconds} s\n{trace(error)}") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def origin_of(error: BaseException) -> str:
    """Return the innermost line of the package in a traceback, and the line of another library that it called."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f"skreg/{Path(f.filename).relative_to(PACKAGE)}:{f.lineno}" for f in frames if is_ours(f.filename)]
    return ours[-1] if ours else f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"


def is_ours(filename: str) -> bool:
    """Return whether a file belongs to the package."""
    return Path(filename).is_relative_to(PACKAGE)


def trace(error: BaseException) -> str:
    """Return the last lines of a traceback."""
    return "".join(traceback.format_exception(error, limit=-8))[-3000:]


def check_error(error: Exception, allowed: tuple[type[Exception], ...] = ()) -> None:
    """Raise ``Failure`` if an error has another type than the documented ones, or names no argument or remedy."""
    if allowed and isinstance(error, allowed):
        return
    if not isinstance(error, ERRORS) or isinstance(error, UnicodeError):
        raise Failure(type(error).__name__, origin_of(error), trace(error)) from None
    message = str(error)
    if OTHERS_MESSAGES.search(message):
        return
    for pattern, what in (NAMES_ARGUMENT, "no argument"), (NAMES_REMEDY, "no remedy"):
        if not pattern.search(message):
            raise Failure(f"{type(error).__name__} names {what}", origin_of(error), trace(error)) from None


def check_warnings(caught: list[warnings.WarningMessage]) -> None:
    """Raise ``Failure`` if a warning is not a documented one."""
    for warning in caught:
        text = str(warning.message)
        if not any(issubclass(warning.category, kind) and re.match(rule, text) for kind, rule in ADMITTED_WARNINGS):
            where = f"{Path(warning.filename).name}:{warning.lineno}"
            raise Failure(f"Warning {warning.category.__name__}", where, text)


def global_state() -> dict[str, Any]:
    """Return the global state that no call changes."""
    return {
        "random": random.getstate(),
        "numpy.random": pickle.dumps(np.random.mtrand._rand.get_state()),
        "torch random": torch.random.get_rng_state().numpy().tobytes(),
        "torch threads": torch.get_num_threads(),
        "torch default dtype": torch.get_default_dtype(),
        "torch gradients": torch.is_grad_enabled(),
        "numpy errors": np.geterr(),
    }


class Session:
    """Performs the calls of a example, and checks errors, warnings, inputs and global state after each.

    Parameters
    ----------
    may_draw : bool
        Whether calls may draw from NumPy's global generator, as ``random_state=None`` does.
    inputs : dict of str to object
        Arguments that no call may change, by name.
    """

    def __init__(self, may_draw: bool = False, **inputs: Any) -> None:
        self.may_draw, self.inputs = may_draw, inputs
        self.before = {name: fingerprint(value) for name, value in inputs.items()}

    def call(self, function: Callable[..., Any], *args: Any, allowed: tuple[type[Exception], ...] = ()) -> Any:
        """Return the result of a call, or None if it raised a documented error."""
        state, result, error = global_state(), None, None
        with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("always")
            filters = list(warnings.filters)
            try:
                result = function(*args)
            except Exception as raised:
                error = raised
            if warnings.filters != filters:
                raise Failure("Changed state", "warning filters", repr(function))
        self.error = error
        if error is not None:
            check_error(error, allowed)
        check_warnings(caught)
        for name, value in global_state().items():
            if value != state[name] and not (name == "numpy.random" and self.may_draw):
                raise Failure("Changed state", name, repr(function))
        for name, value in self.inputs.items():
            if fingerprint(value) != self.before[name]:
                raise Failure("Changed input", name, f"{self.before[name]}\nbecame\n{fingerprint(value)}")
        return result


def fingerprint(value: Any) -> Any:
    """Return an object that is equal for equal values, including NaN, dtypes and the memory of sparse matrices."""
    if isinstance(value, np.ma.MaskedArray):
        return ("masked", fingerprint(value.data), fingerprint(np.ma.getmaskarray(value)))
    if isinstance(value, np.ndarray):
        content = repr(value.tolist()) if value.dtype.hasobject else value.tobytes()
        return (type(value).__name__, str(value.dtype), value.shape, content, str(value.flags))
    if sparse.issparse(value):
        if value.format == "dok":
            return ("dok", value.shape, repr(sorted(value.items())))
        names = ("data", "indices", "indptr", "row", "col", "rows", "offsets", "coords", "has_sorted_indices")
        return (value.format, value.shape, [fingerprint(getattr(value, name, None)) for name in names])
    if isinstance(value, pd.DataFrame | pd.Series):
        types = value.dtypes.tolist() if isinstance(value, pd.DataFrame) else [value.dtype]
        axes = [repr(axis.tolist()) for axis in value.axes]
        return (type(value).__name__, list(map(str, types)), axes, repr(value.to_numpy(object, copy=True).tolist()))
    if isinstance(value, pl.DataFrame | pl.Series):
        return (type(value).__name__, repr(value.to_init_repr() if isinstance(value, pl.Series) else value.to_dict()))
    if isinstance(value, pa.Table | pa.RecordBatch | pa.Array | pa.ChunkedArray):
        return (str(getattr(value, "schema", getattr(value, "type", None))), repr(value.to_pylist()))
    if isinstance(value, torch.Tensor):
        dense = None if value.is_meta else value.detach().to_dense().tolist()
        return ("tensor", str(value.dtype), str(value.device), str(value.layout), repr(dense))
    if isinstance(value, pl.LazyFrame):
        return fingerprint(value.collect())
    if isinstance(value, dict):
        return {name: fingerprint(of_name) for name, of_name in value.items()}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(fingerprint, value)]
    if isinstance(value, BaseEstimator):
        return (type(value).__name__, fingerprint(value.get_params(deep=False)))
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))


def unexpected(error: Exception, law: str) -> Failure:
    """Return the failure of a law for a call that raised an error."""
    return Failure(f"{type(error).__name__} in a law", f"{law}, {origin_of(error)}", trace(error))


def require(condition: Any, law: str, detail: Any = "") -> None:
    """Raise ``Failure`` if a law does not hold."""
    if not bool(condition):
        raise Failure("Broken law", law, str(detail))


def require_close(one: Any, other: Any, law: str, tolerance: float = 1e-6) -> None:
    """Raise ``Failure`` if two results differ by more than a tolerance, relative to the largest value."""
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    require(one.shape == other.shape, law, f"shapes {one.shape} and {other.shape}")
    require((np.isnan(one) == np.isnan(other)).all(), law, f"{one}\n{other}")
    scale = max(1.0, float(np.nanmax(np.abs(one), initial=0)))
    difference = np.nanmax(np.abs(one - other), initial=0.0)
    require(
        difference <= tolerance * scale, law, f"largest difference {difference}, largest value {scale}\n{one}\n{other}"
    )
