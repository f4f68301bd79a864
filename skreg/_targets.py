"""A target encoder turns the user's y into what a loss compares with, and says how many raw outputs that takes."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_y

from ._checks import check_magnitude, listed


class ClassTarget:
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

    def fit(self, y: np.ndarray) -> "ClassTarget":
        """Learn the classes of ``y``, as ``check`` returns it."""
        if y.ndim == 2:
            self.kind_, self.classes_, self.n_raw_ = "multilabel", np.arange(y.shape[1]), y.shape[1]
            return self
        self.classes_ = np.unique(y)
        n_classes = len(self.classes_)
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
        codes = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        if (unknown := np.unique(y[self.classes_[codes] != y])).size:
            raise ValueError(f"y contains classes that the training rows do not have: {listed(unknown.tolist())}.")
        return codes if self.kind_ == "multiclass" else codes[:, None].astype(np.float64)

    def strata(self, y: np.ndarray) -> np.ndarray:
        """A number for each row by which folds are balanced: its class; several labels at once are only shuffled."""
        return np.zeros(len(y), dtype=np.int64) if y.ndim > 1 else np.unique(y, return_inverse=True)[1]


def _refuse_missing(y: Any) -> None:
    """Refuse labels that are None, NaN or pandas' NA, before sorting them fails in another language."""
    labels = np.asarray(y).ravel().tolist() if not sparse.issparse(y) else []
    if any(v is None or type(v).__name__ == "NAType" or (isinstance(v, float) and v != v) for v in labels):
        raise ValueError("Input y contains NaN: a row has no label. Drop the rows without one, or make them a class.")


class NumberTarget:
    """One number for each row, or several.

    Attributes
    ----------
    n_raw_ : int
        Outputs of the network.
    flat_ : bool
        Whether y had one dimension, as predictions then have.
    """

    def fit(self, y: np.ndarray) -> "NumberTarget":
        """Learn the shape of ``y``, as ``check`` returns it."""
        self.flat_ = y.ndim == 1
        self.n_raw_ = 1 if self.flat_ else y.shape[1]
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
        """``y`` as ``(rows, n_raw_)``."""
        columns = y.reshape(len(y), -1)
        if columns.shape[1] != self.n_raw_:
            raise ValueError(f"y has shape {y.shape}; the estimator was fitted with {self.n_raw_} outputs a row.")
        return columns

    def strata(self, y: np.ndarray) -> np.ndarray:
        """One stratum: folds of numbers are only shuffled."""
        return np.zeros(len(y), dtype=np.int64)
