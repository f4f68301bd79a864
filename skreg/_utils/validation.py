"""Checks of parameters, rows and weights, and their error messages."""

import re
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from math import inf
from numbers import Integral, Rational, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, _num_samples
from torch import Tensor

MAX_BITS = 63  # of the integers of NumPy and torch
_PER_LAYER = ("alpha", "dropout", "hidden_layer_sizes", "max_norm", "quantile")
FLOAT32_MAX = float(np.finfo(np.float32).max)
SHAPE_MISMATCH = (
    "Training cannot continue: the network has another shape than the fitted one. Set hidden_layer_sizes, norms, "
    "numeric_embedding and n_members to the values of the first fit, or set warm_start=False."
)


def parameter_error(estimator: object, name: str, must_be: str, value: object) -> ValueError:
    """Return the error for an invalid parameter in scikit-learn's wording."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:  # Python may refuse to write all digits
        value = f"an int of {value.bit_length()} bits"
    else:
        value = repr(value)
    return ValueError(f"The {name!r} parameter of {type(estimator).__name__} must be {must_be}. Got {value} instead.")


def check_parameter_types(estimator: Any, names: Sequence[str] | None = None) -> None:
    """Raise an error for values that scikit-learn's constraints accept or cannot compare, and that torch cannot use.

    ``names`` are the parameters to check, by default all of them.
    """
    for name, value in estimator.get_params(deep=False).items():
        if names is not None and name not in names:
            continue
        is_sequence = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)
        items = list(value.values()) if isinstance(value, dict) else list(value) if is_sequence else [value]
        for item in items:
            problem = _type_problem(item)
            if is_sequence and name != "callbacks" and isinstance(item, list | tuple | dict | Set | np.ndarray):
                problem = f"other sequences. Got {value!r} instead. Pass a flat sequence"
            if not isinstance(value, dict) and isinstance(item, float) and FLOAT32_MAX < abs(item) < inf:
                problem = f"numbers that float32 cannot represent. Got {item!r} instead. Decrease it"
            if problem is not None:
                raise ValueError(f"The {name!r} parameter of {type(estimator).__name__} must not contain {problem}.")
        if name in _PER_LAYER and isinstance(value, dict | Set):
            raise parameter_error(estimator, name, "a number or a sequence, which has an order", value)


def _type_problem(item: Any) -> str | None:
    """Return a description of a value that is not a usable number, or None."""
    if isinstance(item, Integral) and int(item).bit_length() > MAX_BITS:
        return f"integers of more than {MAX_BITS} bits. Got one of {int(item).bit_length()} bits instead. Decrease it"
    if isinstance(item, Tensor):
        return f"tensors. Got {item!r} instead. Convert it with .item() or .tolist()"
    if isinstance(item, np.ndarray) and item.ndim == 0:
        return f"arrays without dimensions. Got {item!r} instead. Convert it with .item()"
    if isinstance(item, Rational) and not isinstance(item, Integral):
        return f"fractions. Got {item!r} instead. Convert it with float()"
    if isinstance(item, np.longdouble) and np.isfinite(item):
        with np.errstate(over="ignore", under="ignore"):
            if not np.isfinite(float(item)) or (item != 0 and float(item) == 0):
                return f"numbers outside the range of float64. Got {item!r} instead. Pass a number in this range"
    return None


def seed_of(estimator: object, random_state: Any) -> int:
    """Draw a seed from the parameter or argument ``random_state``."""
    try:
        return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    except ValueError as error:
        must = "an int in the range [0, 2**32 - 1], an instance of RandomState or None"
        raise parameter_error(estimator, "random_state", must, random_state) from error


def check_flag(estimator: object, name: str, value: Any) -> None:
    """Raise an error unless the argument of a method is a bool."""
    if not isinstance(value, bool | np.bool_):
        raise parameter_error(estimator, name, "a bool", value)


def layer_sizes(estimator: object, sizes: Any) -> tuple[int, ...]:
    """Return ``hidden_layer_sizes`` as a tuple; a single number stands for one layer."""
    widths = [sizes] if isinstance(sizes, Integral) else list(sizes)
    if not all(isinstance(width, Integral) and not isinstance(width, bool) and int(width) > 0 for width in widths):
        raise parameter_error(
            estimator, "hidden_layer_sizes", "an int or a sequence of ints in the range [1, inf)", sizes
        )
    return tuple(int(width) for width in widths)


def rate_per_layer(estimator: object, name: str, rate: Any, n_layers: int) -> tuple[float, ...]:
    """Return a dropout rate for each hidden layer, given one rate for all layers or one for each."""
    if isinstance(rate, Real):
        return (float(rate),) * n_layers
    rates = tuple(rate)
    if len(rates) != n_layers:
        raise parameter_error(
            estimator, name, f"a float or a sequence of {n_layers} floats, one per hidden layer", rate
        )
    if not all(isinstance(r, Real) and 0 <= float(r) < 1 for r in rates):
        raise parameter_error(estimator, name, "a float in the range [0.0, 1.0), or one for each hidden layer", rate)
    return tuple(float(r) for r in rates)


def values_per_layer(
    estimator: object, name: str, values: Any, n_hidden: int, minimum: str, may_be_none: bool
) -> float | tuple[float | None, ...] | None:
    """Return a valid value for all layers, or a tuple with one for each hidden layer and one for the head.

    ``minimum`` is the lower end of the range: "[0.0", which includes 0, or "(0.0".
    """
    if values is None or isinstance(values, Real):
        return None if values is None else float(values)
    per_layer, n_layers = tuple(values), n_hidden + 1
    kind = "a float or None" if may_be_none else "a float"
    if len(per_layer) != n_layers:
        must = f"{kind}, or a sequence of {n_layers}, one for each of the {n_hidden} hidden layers and one for the head"
        raise parameter_error(estimator, name, must, values)
    for value in per_layer:
        valid = isinstance(value, Real) and (0 < float(value) < inf or (float(value) == 0 and minimum == "[0.0"))
        if not (valid or (value is None and may_be_none)):
            must = f"{kind} in the range {minimum}, inf), or a sequence of {n_layers} such values"
            raise parameter_error(estimator, name, must, values)
    return tuple(None if value is None else float(value) for value in per_layer)


def quantile_list(estimator: object, quantile: Any) -> tuple[float, ...]:
    """Return one quantile, or a sequence of them, as a tuple."""
    quantiles = (quantile,) if isinstance(quantile, Real) else tuple(quantile)
    if not quantiles or not all(isinstance(q, Real) and 0 < float(q) < 1 for q in quantiles):
        must = "a float in the range (0.0, 1.0), or a sequence of such floats"
        raise parameter_error(estimator, "quantile", must, quantile)
    return tuple(float(q) for q in quantiles)


def as_array(values: Any, name: str) -> np.ndarray:
    """Convert an array-like to an array; all errors name the argument, whatever library raised them."""
    try:
        return np.asarray(values)
    except Exception as error:  # tensors, for example, raise errors of their own types
        kind = ValueError if isinstance(error, ValueError) else TypeError
        reason = str(error).rstrip(".")
        raise kind(
            f"Input {name} of type {type(values).__name__} cannot be converted to an array: {reason}. Pass an array, a "
            "list of rows of equal length, or a data frame."
        ) from error


def as_floats(values: Any, name: str) -> np.ndarray:
    """Convert an array-like of numbers to float64, with NaN for masked values; all errors name the argument."""
    mask = np.ma.getmask(values)
    array = as_array(values, name)
    try:
        if array.dtype.kind in "cmMV":
            raise TypeError(f"its type is {array.dtype}")
        with np.errstate(over="ignore", invalid="ignore"):
            floats: np.ndarray = array.astype(np.float64)
    except OverflowError as error:
        raise ValueError(
            f"Input {name} contains infinity or a value too large for dtype('float64'). Remove or rescale this value."
        ) from error
    except (ValueError, TypeError) as error:
        raise type(error)(f"Input {name} must contain numbers, but {error}. Convert it to numbers.") from error
    return np.where(mask, np.nan, floats) if np.any(mask) else floats


def check_weights(weight: Any, X: Any, name: str = "sample_weight") -> np.ndarray | None:
    """Return the weights ``(rows,)`` as float64, or None; negative or all-zero weights raise an error."""
    if weight is None:
        return None
    weight = as_floats(weight, name)
    if weight.ndim == 0:
        weight = float(weight)
    if not np.any(np.asarray(weight)):
        raise ValueError(f"All values of {name} are zero, so no row is left. Give at least one row a positive weight.")
    with naming(name, "sample_weight"):
        checked: np.ndarray = _check_sample_weight(weight, X, dtype=np.float64, ensure_non_negative=True)
    with np.errstate(over="ignore"):
        total = checked.sum()
    if not np.isfinite(total):
        raise ValueError(f"The values of {name} are so large that their sum is not finite. Divide {name} by its mean.")
    return checked


def check_magnitude(values: np.ndarray, name: str) -> None:
    """Raise an error for numbers that float32 cannot represent; NaN is allowed."""
    if values.size == 0 or values.dtype == np.float32:
        return
    # as nanmax and nanmin, but without copying
    if max(np.fmax.reduce(values, axis=None, initial=0), -np.fmin.reduce(values, axis=None, initial=0)) > FLOAT32_MAX:
        raise ValueError(
            f"Input {name} contains a value too large for dtype('float32'), whose largest number is "
            f"{FLOAT32_MAX:.4g}. Rescale the column, for example with a logarithm."
        )


def check_validation_set(X_val: Any, y_val: Any, sample_weight_val: Any) -> None:
    """Raise an error for an incomplete validation set, with the messages of ``HistGradientBoostingClassifier``."""
    for one, other, a, b in ((X_val, y_val, "X_val", "y_val"), (y_val, X_val, "y_val", "X_val")):
        if one is not None and other is None:
            raise ValueError(f"{a} is provided, but {b} was not provided. Pass both or neither.")
    if X_val is None and sample_weight_val is not None:
        raise ValueError("sample_weight_val is provided, but X_val and y_val were not provided. Pass them, too.")
    if X_val is not None:
        check_lengths(X_val=X_val, y_val=y_val)


def check_lengths(**arguments: Any) -> None:
    """Raise an error unless all arguments that are not None have the same number of rows."""
    lengths = []
    for name, value in arguments.items():
        if value is not None:
            with naming(name):
                lengths.append(_num_samples(value))
    if len(set(lengths)) > 1:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: {lengths} (of {' and '.join(arguments)}). "
            "Pass one value for each row."
        )


@contextmanager
def naming(name: str, known_as: str = "") -> Iterator[None]:
    """Add the name of an argument to errors that do not contain it.

    Libraries know the argument by no name or as ``known_as``, with which the messages begin.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        message = str(error)
        if known_as and known_as != name:
            message = re.sub(rf"^(Input |)`?{known_as}\b|`{known_as}`", lambda found: (found[1] or "") + name, message)
        if not re.search(rf"(?<!['\w]){name}\b", message):
            message = f"{name}: {message}"
        if message == str(error):
            raise
        raise kind(message) from error


def listed(names: Sequence[object], limit: int = 5) -> str:
    """Format the first few ``names`` for an error message, quoted, and count the others."""
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
