"""Target encoders: from y to the target of the loss, and from the raw output to predictions.

A target encoder stores the classes or the number of outputs of the target and the class weights. It computes the
statistics that standardize the target, and decodes raw outputs ``(members, rows, n_raw_)``.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from numbers import Real
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_y
from torch import Tensor

from .._utils.validation import as_floats, check_magnitude, listed, parameter_error
from ..data.columns import NUMBERS, Column, object_column, read_series, to_float
from ..data.containers import flatten_column, to_rows, type_error
from ..data.statistics import mean_statistics, moderate, quantile_statistics, target_statistics
from ..training.losses import PinballLoss, RegressionLoss
from ..training.losses.link import log_mean_of_members, mean_of_members
from ..training.net import Net

MISSING_TARGET = (
    "Input y contains NaN. Remove the rows without a target, or replace missing labels by a class of their own."
)
TargetStatistics = tuple[np.ndarray, np.ndarray]


class TargetEncoder:
    """Base class of the target encoders."""

    n_raw_: int  # number of raw outputs of the network
    mean_loss_weight_: float  # mean weight in the loss of the rows that the encoder was fitted on
    class_weight_: np.ndarray | None = None  # weight of each class in the loss

    def strata(self, y: np.ndarray) -> np.ndarray:
        """Return the stratum ``(rows,)`` of each row for stratified folds."""
        return np.zeros(len(y), dtype=np.int64)

    def statistics(self, target: np.ndarray, weights: np.ndarray) -> TargetStatistics | None:
        """Return center and scale ``(members, n_raw_)`` of the target, given the weights ``(members, rows)``."""

    def check_same_classes(self, y: np.ndarray) -> None:
        """Raise an error if the rows of a warm start lack classes of the earlier fit."""

    def fit_class_weight(self, estimator: Any, y: np.ndarray, weight: np.ndarray | None) -> None:
        """Compute the class weights from the training rows, if there are classes."""

    def loss_weight(self, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        """Return the product of class weight and row weight of each row; None without weights.

        Extreme weights are multiplied by a factor first, so that the product is finite.
        """
        if self.class_weight_ is None:
            return weight
        class_weight: np.ndarray = moderate(self.class_weight_)[self.strata(y)]
        return class_weight if weight is None else class_weight * moderate(weight)


class ClassTargetEncoder(TargetEncoder):
    """Encoder for two or more classes, or for several binary labels."""

    classes_: np.ndarray  # sorted; the column indices for multilabel targets
    kind_: str  # "binary", with a single raw output, "multiclass" or "multilabel"

    @property
    def task(self) -> tuple[Any, ...]:
        """Meaning of the raw outputs; output layers can be copied between networks with the same task."""
        return (self.kind_, self.classes_.tolist())

    def fit(self, y: np.ndarray, classes: np.ndarray | None = None) -> Self:
        """Learn the classes of ``y``, as returned by ``check``; ``classes`` may contain classes not in ``y``."""
        if y.ndim == 2:
            if classes is not None and not np.array_equal(classes, np.arange(y.shape[1])):
                raise ValueError(
                    f"`classes={classes.tolist()!r}` does not match y, which has {y.shape[1]} labels per row. The "
                    f"classes of several labels are their column indices: pass `classes=range({y.shape[1]})`."
                )
            self.kind_, self.classes_, self.n_raw_ = "multilabel", np.arange(y.shape[1]), y.shape[1]
            return self
        self.classes_ = np.unique(y if classes is None else classes)
        n_classes = len(self.classes_)
        if classes is not None and n_classes < 2:
            raise ValueError(
                f"`classes={self.classes_.tolist()!r}` contains a single class. Pass all classes of the stream."
            )
        if n_classes < 2:
            raise ValueError(
                "Classifier can't train when only one class is present: the class of every row is "
                f"{self.classes_.tolist()[0]!r}. Pass rows of at least two classes with weights greater than 0."
            )
        self.kind_, self.n_raw_ = ("binary", 1) if n_classes == 2 else ("multiclass", n_classes)
        return self

    @staticmethod
    def check(y: Any) -> np.ndarray:
        """Convert ``y`` to labels ``(rows,)`` or to a 0/1 matrix ``(rows, labels)`` of int8."""
        y = read_target(y)
        if not sparse.issparse(y) and y.dtype.kind == "O":
            _check_label_types(y)
        with np.errstate(invalid="ignore", over="ignore"):  # infinite labels raise an error
            check_classification_targets(y)
            kind = type_of_target(y, input_name="y")
        checked: np.ndarray
        if kind == "multilabel-indicator":
            _check_binary(y)
            y = y.astype(np.int8)  # one byte per label
            checked = check_array(y.toarray() if sparse.issparse(y) else y, dtype=np.int8, input_name="y")
        else:
            checked = column_or_1d(y)  # raises an error for several classes per row
        return checked

    def transform(self, y: np.ndarray) -> np.ndarray:
        """Return class indices ``(rows,)`` for multiclass targets, otherwise 0.0 and 1.0 of shape ``(rows, n_raw_)``.

        Labels that are not in ``classes_`` raise a ``ValueError``.
        """
        if self.kind_ == "multilabel":
            if y.ndim != 2 or y.shape[1] != self.n_raw_:
                raise ValueError(f"y has shape {y.shape}, but the estimator was fitted with {self.n_raw_} labels.")
            return y
        if y.ndim != 1:
            raise ValueError(f"y has shape {y.shape}, but the estimator was fitted with one class per row.")
        try:
            codes = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        except TypeError as error:  # numbers and strings cannot be compared
            known = listed(self.classes_.tolist())
            message = f"y contains {y.tolist()[0]!r}, which has another type than the classes {known}."
            raise ValueError(message) from error
        if (unknown := np.unique(y[self.classes_[codes] != y])).size:
            raise ValueError(
                f"y contains classes that are not in the training rows: {listed(unknown.tolist())}. Remove these rows, "
                "or pass all classes as `classes` in the first call of partial_fit."
            )
        return codes if self.kind_ == "multiclass" else codes[:, None].astype(np.float64)

    def decode(self, net: Net, raw: Tensor, members: slice = slice(None)) -> np.ndarray:  # noqa: ARG002  # as for numbers
        """Return the logarithm of the mean probabilities, ``(rows, classes)`` or ``(rows, labels, 2)``."""
        log_probability = net.criterion_.log_probability(raw.double() / net.temperature)
        mean: np.ndarray = log_mean_of_members(log_probability).cpu().numpy()
        return mean[:, 0] if self.kind_ == "binary" else mean

    def strata(self, y: np.ndarray) -> np.ndarray:
        """Return the class index of each row; multilabel targets are not stratified."""
        return super().strata(y) if y.ndim > 1 else np.searchsorted(self.classes_, y)

    def check_same_classes(self, y: np.ndarray) -> None:
        """Raise an error if a class of the earlier fit is missing, as scikit-learn's networks do."""
        if y.ndim == 1 and len(found := np.unique(y)) < len(self.classes_):
            known, given = listed(self.classes_.tolist()), listed(found.tolist())
            raise ValueError(
                f"warm_start=True requires the same classes as in the previous call of fit, which were {known}, but y "
                f"contains only {given}. Set warm_start=False, or use partial_fit."
            )

    def fit_class_weight(self, estimator: Any, y: np.ndarray, weight: np.ndarray | None) -> None:
        """Compute the class weights from the training rows."""
        self.class_weight_ = None
        if estimator.class_weight is None:
            return
        if y.ndim == 2:
            raise ValueError("class_weight does not support several labels. Use sample_weight instead.")
        self.transform(y)  # raises an error for unknown labels, which have no weight
        if isinstance(estimator.class_weight, dict) and not all(
            isinstance(value, Real) for value in estimator.class_weight.values()
        ):
            raise parameter_error(estimator, "class_weight", "a dict of numbers", estimator.class_weight)
        row_weight = np.ones(len(y)) if weight is None else moderate(weight)
        weights = compute_class_weight(estimator.class_weight, classes=self.classes_, y=y, sample_weight=row_weight)
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            must_be = "finite and nonnegative weights that are not all 0"
            raise parameter_error(estimator, "class_weight", must_be, estimator.class_weight)
        self.class_weight_ = weights


def read_target(y: Any) -> Any:
    """Return ``y`` as a sparse matrix, or as an array of numbers, bools, text or Python objects, without rounding.

    A column becomes one dimension. Missing values and dates raise an error.
    """
    if not sparse.issparse(y):
        return flatten_column(_read_dense(y))
    if y.dtype.kind == "f" and np.isnan(y.data).any():
        raise ValueError(MISSING_TARGET)
    return flatten_column(y.toarray()) if y.shape[1] == 1 else y


def _read_dense(y: Any) -> np.ndarray:
    columns = read_series(y, "y")
    if columns is not None:
        arrays = [_typed_array(_without_missing(column)) for column in columns]
        return np.column_stack(arrays) if len(np.shape(y)) == 2 else arrays[0]
    array = to_rows(y, "y")
    if array.dtype.kind in "cmMV":
        raise type_error(None, array.dtype)
    if array.dtype.kind in "OT":
        return _typed_array(_without_missing(object_column(None, array.ravel().tolist()))).reshape(array.shape)
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError(MISSING_TARGET)
    return array


def _without_missing(column: Column) -> Any:
    """Return the values of a column of y, which may not be missing."""
    if column.missing.any():
        raise ValueError(MISSING_TARGET)
    return column.values if column.categories is None else column.objects()


def _typed_array(values: Any) -> np.ndarray:
    """Return Python objects as an array of bools, integers or floats if these are equal, otherwise of objects."""
    if isinstance(values, np.ndarray):
        return values
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    kinds = set(map(type, values))
    if not all(issubclass(kind, NUMBERS) for kind in kinds):
        return objects
    for dtype in (None, np.uint64):  # NumPy converts integers of which some need uint64 to floats
        with suppress(TypeError, ValueError, OverflowError):
            typed = np.array(values, dtype=dtype)
            if (typed.dtype.kind in "biu" or float in kinds) and typed.tolist() == values:
                return typed
    return objects


def _check_label_types(y: np.ndarray) -> None:
    """Raise an error for labels of several types, which cannot be sorted, and for types that are no labels."""
    kinds = sorted({type(value).__name__ for value in y.flat})
    if all(isinstance(value, NUMBERS) for value in y.flat):
        example = next((value for value in y.flat if not isinstance(value, float)), None)
        raise ValueError(
            f"y contains numbers that are no labels, for example {example!r}. Labels must be integers of at most 64 "
            "bits, text or bools. Convert the numbers to text."
        )
    if len(kinds) > 1:
        raise ValueError(f"y contains labels of several types ({', '.join(kinds)}). Convert all labels to one type.")
    if kinds != ["str"]:
        raise ValueError(f"y contains labels of type {', '.join(kinds)}. Convert the labels to text or to integers.")


def _check_binary(y: Any) -> None:
    """Raise an error if several labels per row are not 0 or 1."""
    values = np.unique(y.data if sparse.issparse(y) else y)
    if wrong := [value for value in values.tolist() if value not in (0, 1)]:
        raise ValueError(
            f"y with several labels per row must contain 0 and 1, got {wrong[0]!r}. Use one column per class."
        )


class NumberTargetEncoder(TargetEncoder):
    """Encoder for one or more numbers per row; the loss determines the number of raw outputs for each."""

    flat_: bool  # whether y, and therefore predictions, have one dimension
    shape_: tuple[int, ...]  # shape of the prediction for one row

    def __init__(self, loss: RegressionLoss) -> None:
        self.loss = loss

    @property
    def task(self) -> tuple[Any, ...]:
        """Meaning of the raw outputs; see ``ClassTargetEncoder``."""
        return (self.loss.name, self.loss.quantiles, self.n_raw_)

    def fit(self, y: np.ndarray) -> Self:
        """Learn the shape of ``y``, as returned by ``check``."""
        self.loss.check_training(y)
        self.flat_ = y.ndim == 1
        self.shape_ = (*y.shape[1:], self.loss.n_columns) if self.loss.multi_quantile else y.shape[1:]
        self.n_raw_ = (1 if self.flat_ else y.shape[1]) * self.loss.n_columns
        return self

    @staticmethod
    def check(y: Any) -> np.ndarray:
        """Convert ``y`` to finite float64 numbers ``(rows,)`` or ``(rows, outputs)``."""
        y = read_target(y)
        if not sparse.issparse(y):
            is_number = y.dtype.kind == "O" and all(isinstance(value, NUMBERS) for value in y.flat)
            y = np.array([to_float(value) for value in y.flat]).reshape(y.shape) if is_number else as_floats(y, "y")
        with np.errstate(over="ignore", invalid="ignore"):  # scikit-learn adds all numbers
            y = _check_y(y, multi_output=True, y_numeric=True)
        numbers: np.ndarray = (y.toarray() if sparse.issparse(y) else y).astype(np.float64, copy=False)
        check_magnitude(numbers, "y")
        return numbers

    def transform(self, y: np.ndarray) -> np.ndarray:
        """Return ``(rows, n_raw_)``, with each number repeated for each of its raw outputs."""
        columns, n_outputs = y.reshape(len(y), -1), self.n_raw_ // self.loss.n_columns
        if columns.shape[1] != n_outputs:
            raise ValueError(f"y has shape {y.shape}, but the estimator was fitted with {n_outputs} output(s).")
        self.loss.check(y)
        return columns if self.loss.n_columns == 1 else columns.repeat(self.loss.n_columns, axis=1)

    def decode(self, net: Net, raw: Tensor, members: slice = slice(None)) -> np.ndarray:
        """Return the mean prediction ``(rows, *shape_)`` in units of the target."""
        center, scale = net.module_.target_center, net.module_.target_scale
        assert center is not None  # guaranteed because the encoder has statistics
        assert scale is not None
        predictions = self.loss.inverse_link(raw.double()) * scale[members] + center[members]
        mean: np.ndarray = mean_of_members(self.loss.sort_quantiles(predictions)).cpu().numpy()
        return mean.reshape(len(mean), *self.shape_)

    def statistics(self, target: np.ndarray, weights: np.ndarray) -> TargetStatistics:
        """Return center and scale ``(members, n_raw_)`` of the target, given the weights ``(members, rows)``."""
        if self.loss.log_link:
            return mean_statistics(target, weights)
        if self.loss.quantiles is not None:
            return quantile_statistics(target, weights, self.loss.quantiles)
        return target_statistics(target, weights)

    def select_median(self, prediction: np.ndarray) -> np.ndarray:
        """Select the quantile closest to the median; other predictions are returned unchanged."""
        if not self.loss.multi_quantile:
            return prediction
        return prediction[..., np.argmin(np.abs(np.array(self.loss.quantiles) - 0.5))]

    def split_quantiles(self, prediction: np.ndarray) -> np.ndarray:
        """Reshape predictions ``(..., *shape_)`` to ``(..., outputs, quantiles)``; the last axis may have length 1."""
        n_columns = self.loss.n_columns if self.loss.multi_quantile else 1
        return prediction.reshape(*prediction.shape[: prediction.ndim - len(self.shape_)], -1, n_columns)


def regression_loss(estimator: Any) -> Callable[[], RegressionLoss]:
    """Return a factory of the loss that the parameters of a regressor select."""
    if estimator.loss == PinballLoss.name:
        return partial(PinballLoss, estimator.quantile)
    return RegressionLoss.registered()[estimator.loss]


def target_encoder_for(estimator: Any) -> ClassTargetEncoder | NumberTargetEncoder:
    """Return an unfitted target encoder for a classifier or a regressor."""
    return ClassTargetEncoder() if is_classifier(estimator) else NumberTargetEncoder(regression_loss(estimator)())
