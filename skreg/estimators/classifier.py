"""The classifier: its parameters, and its predictions of classes and probabilities."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from numbers import Real
from typing import Any, Self

import numpy as np
from scipy.special import logit
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score, get_scorer
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval
from skorch.callbacks import Callback

from ..data.split import MemberSplit
from ..data.statistics import moderate
from ..training.losses import BinaryLoss, ClassificationLoss, MulticlassLoss
from ..training.net import Net
from ..uncertainty.decomposition import Uncertainty, of_probabilities
from ..uncertainty.temperature import check_held_out_rows, check_partial_fit, fit_temperature
from .base import RegularizedMLP
from .parameters import CONSTRAINTS, Names, add_shared_docs
from .streaming import check_classes, partial_fit_method
from .targets import ClassTargetEncoder

__all__ = ["RegularizedMLPClassifier"]

_AUTO_SMOOTHING = 0.1


@add_shared_docs
@dataclass(eq=False, repr=False)
class RegularizedMLPClassifier(ClassifierMixin, RegularizedMLP):
    """Regularized neural network for classification on tabular data.

    X can be an array, a data frame with categorical columns and missing values, or a sparse matrix. y can contain two
    or more classes, or several binary labels per row (multilabel).

    Parameters
    ----------
    loss : {choices}
        Loss function. "focal" multiplies the log loss of each row by ``(1 - p)**2``, where p is the predicted
        probability of the row's class, and so focuses on rows that are difficult to classify [17]_.
    label_smoothing : float or "auto"
        Fraction of each training target that is spread evenly over the classes, in [0, 1) [18]_. "auto" is 0.1 if the
        probabilities are calibrated or if ``monitor`` scores predicted labels, and 0 otherwise. Typical values: 0 to
        0.2.
    calibrate : {"auto", "temperature"} or None
        Calibration of the probabilities. "temperature" divides the raw output of the network by the number that
        minimizes the log loss of the validation rows [19]_. "auto" does so if there are validation rows.
    class_weight : "balanced", dict or None
        Weights of the classes, which are multiplied by ``sample_weight``. "balanced" uses weights that are inversely
        proportional to the class frequencies. A fit with class weights equals one in which each row has the weight of
        its class as its ``sample_weight``, with these exceptions: classes of weight 0 stay in ``classes_``, and scores
        (``oof_score_``, and a scorer as ``monitor``) ignore class weights. Not supported for multilabel targets.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted class labels; the column indices for multilabel targets.
    class_weight_ : ndarray of shape (n_classes,) or None
        Weights of the classes.
    temperature_ : float
        Number by which the raw output is divided (see ``calibrate``); 1 without calibration.
    oof_score_ : float
        Accuracy of the out-of-fold predictions. It is slightly optimistic because the same rows determine the best
        epochs.
    {attributes}

    See Also
    --------
    RegularizedMLPRegressor : Regularized neural network for regression.
    sklearn.neural_network.MLPClassifier : scikit-learn's network, without dropout, normalization or categories.

    References
    ----------
    {references}
    .. [17] Lin et al. 2017, "Focal loss for dense object detection".
    .. [18] Szegedy et al. 2016, "Rethinking the inception architecture for computer vision", section 7.
    .. [19] Guo et al. 2017, "On calibration of modern neural networks".

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import train_test_split
    >>> from skreg import RegularizedMLPClassifier
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    >>> classifier = RegularizedMLPClassifier(dropout=0.2, random_state=0).fit(X_train, y_train)
    >>> classifier.score(X_test, y_test) > 0.9
    True
    """

    _parameter_constraints = {
        **CONSTRAINTS,
        "loss": [Names(set(ClassificationLoss.registered()))],
        "label_smoothing": [Interval(Real, 0, 1, closed="left"), Names({"auto"})],
        "calibrate": [Names({"auto", "temperature"}), None],
        "class_weight": [Names({"balanced"}), dict, None],
    }

    _: KW_ONLY
    loss: str = "log_loss"
    label_smoothing: float | str = "auto"
    calibrate: str | None = "auto"
    class_weight: str | dict[Any, float] | None = None
    target_encoder_: ClassTargetEncoder = field(init=False)  # set by fit

    @property
    def classes_(self) -> np.ndarray:
        """The sorted classes; the column indices for multilabel targets."""
        self._fitted_net("classes_")
        return self.target_encoder_.classes_

    @property
    def class_weight_(self) -> np.ndarray | None:
        """Weights of the classes in the loss; None without class weights."""
        self._fitted_net("class_weight_")
        return self.target_encoder_.class_weight_

    @property
    def temperature_(self) -> float:
        """Number by which the raw outputs are divided; 1 without calibration."""
        return self._fitted_net("temperature_").temperature

    @partial_fit_method
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one pass over the given rows, with the constant learning rate ``learning_rate_init``.

        See :meth:`RegularizedMLPRegressor.partial_fit`. A classifier also needs the classes in the first call.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Target.
        classes : array-like of shape (n_classes,), default=None
            All classes that occur in any call, or the column indices for multilabel targets. Required in the first
            call.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the rows, relative to the mean weight of the first call.

        Returns
        -------
        self : estimator
            The fitted estimator.
        """
        check_partial_fit(self, hasattr(self, "net_") and self.temperature_ != 1.0)
        all_classes = check_classes(self.class_weight, classes, getattr(self, "classes_", None))
        return self._partial_fit(X, y, sample_weight, all_classes)

    def predict(self, X: Any) -> np.ndarray:
        """Predict the most probable class of each row.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Rows to predict, with the columns passed to ``fit``. Unknown categories and missing values are allowed.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
            Predicted classes, or a 0/1 matrix of several labels.
        """
        return self._scored(self._predict_decoded(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict the logarithms of the probabilities, which are accurate even where ``predict_proba`` rounds to 0.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Rows to predict, with the columns passed to ``fit``.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Logarithms of the probabilities that ``predict_proba`` returns.
        """
        decoded = self._predict_decoded(X)
        return self._as_in_fit(decoded[..., 1] if decoded.ndim == 3 else decoded)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probability of each class, averaged over the members.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Rows to predict, with the columns passed to ``fit``.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities of the classes in the order of ``classes_``, or the probability that each label is 1.
        """
        return self._as_in_fit(self._format_prediction(self._predict_decoded(X)))

    def decision_function(self, X: Any) -> np.ndarray:
        """Compute the log-odds for two classes or for labels, or the log probabilities for three or more classes.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Rows to predict, with the columns passed to ``fit``.

        Returns
        -------
        decision : ndarray of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            Values that rank the rows as ``predict_proba`` does, with the same ties. For two classes, they are positive
            if the second class is predicted.
        """
        decoded = self._predict_decoded(X)
        if self.target_encoder_.kind_ == "multiclass":
            return self._as_in_fit(decoded)
        return self._as_in_fit(_log_odds(np.exp(decoded[..., 1])))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of the predictions; for several labels, the fraction of rows with no wrong label.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Rows to predict, with the columns passed to ``fit``.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            True labels. Missing labels raise an error.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the rows. Rows of weight 0 are removed, without checking their values and targets.

        Returns
        -------
        score : float
            Weighted fraction of the rows that are predicted correctly.
        """
        return self._evaluate(X, y, sample_weight)

    def _make_loss(self, split: MemberSplit) -> Callable[[], ClassificationLoss]:
        kind = MulticlassLoss if self.target_encoder_.kind_ == "multiclass" else BinaryLoss
        smoothing = self.label_smoothing
        if isinstance(smoothing, str):  # "auto"
            calibrates = split.validation is not None and self.calibrate is not None
            scorer = None if self.monitor == "loss" else get_scorer(self.monitor)
            scores_labels = getattr(scorer, "_response_method", None) == "predict"
            smoothing = _AUTO_SMOOTHING if calibrates or scores_labels else 0.0
        return partial(kind.registered()[self.loss], float(smoothing))

    def _check_split(self, split: MemberSplit) -> None:
        check_held_out_rows(self, split)

    def _calibrate(self, split: MemberSplit) -> None:
        if self._predicts_calibrated(split):
            self.net_.temperature = fit_temperature(self.net_, split)

    def _predicts_calibrated(self, split: MemberSplit) -> bool:
        return self.calibrate is not None and split.validation is not None

    def _set_fitted(self, net: Net, callbacks: list[Callback]) -> None:
        if self.calibrate is not None and hasattr(self, "net_"):  # the temperature of the earlier fit
            net.temperature = self.temperature_
        super()._set_fitted(net, callbacks)

    def _as_in_fit(self, values: np.ndarray) -> np.ndarray:
        converted: np.ndarray = values.astype(self.encoder_.dtype_, copy=False)
        return converted

    def _format_prediction(self, decoded: np.ndarray) -> np.ndarray:
        proba: np.ndarray = np.exp(decoded[..., 1] if decoded.ndim == 3 else decoded)
        return proba

    def _metric(self, y: Any, prediction: np.ndarray, weight: np.ndarray | None) -> float:
        return float(accuracy_score(y, prediction, sample_weight=None if weight is None else moderate(weight)))

    def _decompose(self, samples: np.ndarray) -> Uncertainty:
        if self.target_encoder_.kind_ != "multilabel":
            return of_probabilities(samples)
        return replace(of_probabilities(np.stack([1 - samples, samples], -1)), mean=samples.mean(0))

    def _scored(self, decoded: np.ndarray) -> np.ndarray:
        labels: np.ndarray = decoded.argmax(-1)
        return labels if decoded.ndim == 3 else self.classes_.take(labels)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _log_odds(proba: np.ndarray) -> np.ndarray:
    """Log-odds; a probability that was rounded to 0 or 1 counts as half the distance to the nearest other number."""
    above, below = np.finfo(np.float64).smallest_subnormal, 1 - np.finfo(np.float64).epsneg
    log_odds: np.ndarray = logit(proba.clip(above, below))
    log_odds += np.log(2) * ((proba > below).astype(float) - (proba < above))
    return log_odds
