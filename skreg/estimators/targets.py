"""A target encoder turns the user's y into what a loss compares with, and says how many raw outputs that takes."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_y
from torch import Tensor

from .._utils.validation import check_magnitude, listed
from ..training.losses import HalfSquaredError, RegressionLoss
from ..training.losses.link import mean_of_members


class ClassTargetEncoder:
    """Labels of two classes, of several, or of several yes/no labels at once.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; for several labels at once their column numbers.
    kind_ : {"binary", "multiclass", "multilabel"}
        What y is.
    n_raw_ : int
        Logits of the network: one for two classes.
    """

    @property
    def task(self) -> tuple[Any, ...]:
        """What the raw outputs stand for."""
        return (self.kind_, self.classes_.tolist())

    @classmethod
    def of(cls, estimator: Any) -> "ClassTargetEncoder":
        """The encoder for an estimator, whose loss does not change it."""
        return cls()

    def fit(self, y: np.ndarray, classes: np.ndarray | None = None) -> "ClassTargetEncoder":
        """Learn the classes of ``y``, as ``check`` returns it, or take those named.

        Parameters
        ----------
        y : ndarray of shape (rows,) or (rows, labels)
            The target.
        classes : ndarray or None
            All classes, also those that ``y`` lacks.
        """
        if y.ndim == 2:
            if classes is not None and not np.array_equal(classes, np.arange(y.shape[1])):
                raise ValueError(
                    f"`classes={classes.tolist()!r}` does not fit y, which has {y.shape[1]} labels a row: of several "
                    f"labels at once the classes are their column numbers, range({y.shape[1]})."
                )
            self.kind_, self.classes_, self.n_raw_ = "multilabel", np.arange(y.shape[1]), y.shape[1]
            return self
        self.classes_ = np.unique(y if classes is None else classes)
        n_classes = len(self.classes_)
        if classes is not None and n_classes < 2:
            raise ValueError(
                f"`classes={self.classes_.tolist()!r}` names one class. Name all that the stream will have."
            )
        if n_classes < 2:
            raise ValueError(
                "Classifier can't train when only one class is present: every row has the class "
                f"{self.classes_.tolist()[0]!r}. Give rows of at least two classes, with weights above 0."
            )
        self.kind_, self.n_raw_ = ("binary", 1) if n_classes == 2 else ("multiclass", n_classes)
        return self

    @staticmethod
    def check(y: Any) -> np.ndarray:
        """``y`` as labels ``(rows,)`` or a 0/1 matrix ``(rows, labels)``; anything else is refused."""
        if not (sparse.issparse(y) or hasattr(y, "iloc")):
            y = np.asarray(y)
        _refuse_missing(y)
        check_classification_targets(y)
        if type_of_target(y, input_name="y") == "multilabel-indicator":
            return check_array(y.toarray() if sparse.issparse(y) else y, dtype=np.float64, input_name="y")
        return column_or_1d(y, warn=True)

    def transform(self, y: np.ndarray) -> np.ndarray:
        """Class numbers ``(rows,)`` for several classes, else 0.0 and 1.0 of shape ``(rows, n_raw_)``."""
        if self.kind_ == "multilabel":
            if y.ndim != 2 or y.shape[1] != self.n_raw_:
                raise ValueError(f"y has shape {y.shape}; the estimator was fitted with {self.n_raw_} labels a row.")
            return y
        if y.ndim != 1:
            raise ValueError(f"y has shape {y.shape}; the estimator was fitted with one class a row.")
        try:
            codes = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        except TypeError as error:  # numbers and text have no order
            known = listed(self.classes_.tolist())
            raise ValueError(f"y holds {y.tolist()[0]!r}, and the classes are {known}, of another type.") from error
        if (unknown := np.unique(y[self.classes_[codes] != y])).size:
            raise ValueError(
                "y contains classes that the training rows do not have: "
                f"{listed(unknown.tolist())}. Classes are known from the training rows, or from `classes` "
                "in the first call of partial_fit."
            )
        return codes if self.kind_ == "multiclass" else codes[:, None].astype(np.float64)

    def strata(self, y: np.ndarray) -> np.ndarray:
        """A number for each row by which folds are balanced: its class; several labels at once are only shuffled."""
        return np.zeros(len(y), dtype=np.int64) if y.ndim > 1 else np.unique(y, return_inverse=True)[1]


def _refuse_missing(y: Any) -> None:
    """Refuse labels that are None, NaN or pandas' NA, before sorting them fails in another language."""
    labels = np.asarray(y).ravel().tolist() if not sparse.issparse(y) else []
    if any(v is None or type(v).__name__ == "NAType" or (isinstance(v, float) and v != v) for v in labels):
        raise ValueError("Input y contains NaN: a row has no label. Drop the rows without one, or make them a class.")


class NumberTargetEncoder:
    """One number for each row, or several.

    Parameters
    ----------
    loss : RegressionLoss or None
        The loss it is for, whose range is kept to; None is half the squared error.

    Attributes
    ----------
    n_raw_ : int
        Outputs of the network.
    flat_ : bool
        Whether y had one dimension, as predictions then have.
    shape_ : tuple of int
        Shape of the prediction of a row.
    """

    def __init__(self, loss: RegressionLoss | None = None) -> None:
        self.loss = HalfSquaredError() if loss is None else loss

    @property
    def task(self) -> tuple[Any, ...]:
        """What the raw outputs stand for."""
        return (self.loss.name, self.loss.quantiles, self.n_raw_)

    @classmethod
    def of(cls, estimator: Any) -> "NumberTargetEncoder":
        """The encoder for the loss of an estimator."""
        return cls(estimator._make_loss()())

    def fit(self, y: np.ndarray) -> "NumberTargetEncoder":
        """Learn the shape of ``y``, as ``check`` returns it."""
        self.loss.check_training(y)
        self.flat_ = y.ndim == 1
        self.shape_ = (*y.shape[1:], self.loss.n_columns) if self.loss.multi_quantile else y.shape[1:]
        self.n_raw_ = (1 if self.flat_ else y.shape[1]) * self.loss.n_columns
        return self

    @staticmethod
    def check(y: Any) -> np.ndarray:
        """``y`` as finite numbers ``(rows,)`` or ``(rows, outputs)`` in float64."""
        if getattr(y, "dtype", None) == object:
            y = np.asarray(y, dtype=np.float64)
        y = _check_y(y, multi_output=True, y_numeric=True)
        y = (y.toarray() if sparse.issparse(y) else y).astype(np.float64)
        check_magnitude(y, "y")
        return y

    def transform(self, y: np.ndarray) -> np.ndarray:
        """``y`` as ``(rows, n_raw_)``, each number once for each raw output that is for it."""
        columns, known = y.reshape(len(y), -1), self.n_raw_ // self.loss.n_columns
        if columns.shape[1] != known:
            raise ValueError(f"y has shape {y.shape}; the estimator was fitted with {known} outputs a row.")
        self.loss.check(y)
        return columns if self.loss.n_columns == 1 else columns.repeat(self.loss.n_columns, axis=1)

    def decode(self, raw: Tensor, center: Tensor, scale: Tensor) -> np.ndarray:
        """Mean over the members of the predictions that ``raw`` ``(members, rows, n_raw_)`` stands for."""
        each = self.loss.sort_quantiles(self.loss.inverse_link(raw.double()) * scale + center)
        mean = mean_of_members(each).cpu().numpy()
        return mean.reshape(len(mean), *self.shape_)

    def middle(self, prediction: np.ndarray) -> np.ndarray:
        """The one of several quantiles that is nearest to the median; other predictions stay."""
        if not self.loss.multi_quantile:
            return prediction
        return prediction[..., np.argmin(np.abs(np.array(self.loss.quantiles) - 0.5))]

    def strata(self, y: np.ndarray) -> np.ndarray:
        """One stratum: folds of numbers are only shuffled."""
        return np.zeros(len(y), dtype=np.int64)
