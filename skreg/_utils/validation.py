"""Checks of what the user gives, and the sentences that refuse it."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import _check_sample_weight

FLOAT32_MAX = float(np.finfo(np.float32).max)
OTHER_SHAPE = (
    "Training cannot continue: the network has another shape than the fitted one. Leave its widths, norms, "
    "numeric_embedding and n_members as they were, or fit with warm_start=False."
)


def refuse(owner: object, name: str, must: str, value: object) -> ValueError:
    """The error for a parameter, in scikit-learn's sentence."""
    return ValueError(f"The {name!r} parameter of {type(owner).__name__} must be {must}. Got {value!r} instead.")


def layer_sizes(owner: object, sizes: Any) -> tuple[int, ...]:
    """``hidden_layer_sizes`` as a tuple; a single number is one layer."""
    widths = [sizes] if isinstance(sizes, Integral) else list(sizes)
    if not all(isinstance(width, Integral) and not isinstance(width, bool) and int(width) > 0 for width in widths):
        raise refuse(owner, "hidden_layer_sizes", "an int or a sequence of ints in the range [1, inf)", sizes)
    return tuple(int(width) for width in widths)


def rate_per_layer(owner: object, name: str, rate: Any, n_layers: int) -> tuple[float, ...]:
    """A dropout rate for each hidden layer, from one for all or one each."""
    if isinstance(rate, Real):
        return (float(rate),) * n_layers
    rates = tuple(rate)
    if len(rates) != n_layers:
        raise refuse(owner, name, f"a float or one float for each of the {n_layers} hidden layers", rate)
    if not all(isinstance(r, Real) and 0 <= float(r) < 1 for r in rates):
        raise refuse(owner, name, "a float in the range [0.0, 1.0), or one for each hidden layer", rate)
    return tuple(float(r) for r in rates)


def strength_per_layer(owner: object, name: str, strengths: Any, n_hidden: int, least: str, may_be_none: bool) -> Any:
    """A number for all layers as it is, or a tuple of one for each hidden layer and the head.

    Parameters
    ----------
    owner, name
        Whose parameter it is, and its name.
    strengths
        What the user gave, a number checked already.
    n_hidden : int
        Hidden layers.
    least : {"[0.0", "(0.0"}
        Where the range begins.
    may_be_none : bool
        Whether None stands for a layer without.
    """
    if strengths is None or isinstance(strengths, Real):
        return strengths
    values, n_layers = tuple(strengths), n_hidden + 1
    kind = "a float or None" if may_be_none else "a float"
    if len(values) != n_layers:
        must = f"{kind}, or a sequence of {n_layers}, one for each of the {n_hidden} hidden layers and one for the head"
        raise refuse(owner, name, must, strengths)
    for value in values:
        fits = isinstance(value, Real) and (float(value) > 0 or (float(value) == 0 and least == "[0.0"))
        if not (fits or (value is None and may_be_none)):
            raise refuse(owner, name, f"{kind} in the range {least}, inf), or a sequence of {n_layers} such", strengths)
    return tuple(None if value is None else float(value) for value in values)


def quantile_list(owner: object, quantile: Any) -> tuple[float, ...]:
    """One quantile, or a sequence of them, as a tuple."""
    quantiles = (quantile,) if isinstance(quantile, Real) else tuple(quantile)
    if not quantiles or not all(isinstance(q, Real) and 0 < float(q) < 1 for q in quantiles):
        raise refuse(owner, "quantile", "a float in the range (0.0, 1.0), or a sequence of such", quantile)
    return tuple(float(q) for q in quantiles)


def check_weights(weight: Any, X: Any, name: str = "sample_weight") -> np.ndarray | None:
    """Weights ``(rows,)`` in float64, or None; negative weights and weights that are all zero are refused."""
    if weight is None:
        return None
    if not np.any(np.asarray(weight)):
        raise ValueError(f"All values of {name} are zero: no row is left to learn from. Give some a weight above 0.")
    return _check_sample_weight(weight, X, dtype=np.float64, ensure_non_negative=True)


def check_magnitude(values: np.ndarray, name: str) -> None:
    """Refuse numbers that float32 cannot hold; NaN passes."""
    if values.size == 0 or values.dtype == np.float32:
        return
    # as nanmax and nanmin, without their copies
    if max(np.fmax.reduce(values, axis=None, initial=0), -np.fmin.reduce(values, axis=None, initial=0)) > FLOAT32_MAX:
        raise ValueError(
            f"Input {name} contains a value too large for dtype('float32'): its largest number is {FLOAT32_MAX:.4g}. "
            "Rescale the column, for example by its logarithm."
        )


def check_validation_set(X_val: Any, y_val: Any, sample_weight_val: Any) -> None:
    """Refuse half a validation set, in the sentences of ``HistGradientBoostingClassifier``."""
    for one, other, a, b in ((X_val, y_val, "X_val", "y_val"), (y_val, X_val, "y_val", "X_val")):
        if one is not None and other is None:
            raise ValueError(f"{a} is provided, but {b} was not provided.")
    if X_val is None and sample_weight_val is not None:
        raise ValueError("sample_weight_val is provided, but X_val and y_val were not provided.")
    if X_val is not None:
        check_consistent_length(X_val, y_val, sample_weight_val)


def listed(names: Sequence[Any], limit: int = 5) -> str:
    """``names`` for a sentence: the first few, quoted, and how many more."""
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
