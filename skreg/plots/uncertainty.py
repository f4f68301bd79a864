"""Display of the reliability of predicted probabilities and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils.validation import check_is_fitted

from ..uncertainty.reliability import interval_reliability, reliability
from .common import COLORS, COUNT, GRAY, AxesLike, Display, legend_above, unwrap, validated

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(kw_only=True, eq=False, repr=False)
class UncertaintyDisplay(Display):
    """Reliability of the probabilities of a classifier, or of the intervals of a regressor.

    For probabilities, the panels are a reliability diagram and histograms of the entropy for correctly and incorrectly
    predicted rows. With several samples of the probabilities, a third panel shows the mutual information between the
    prediction and the sample, which measures how much the samples disagree. For intervals, the panels show the observed
    coverage against the nominal coverage, and the mean width.

    Create a display with ``from_estimator``, ``from_predictions`` or ``from_intervals``. The parameters are stored as
    attributes.

    Parameters
    ----------
    prob_pred, prob_true : array-like of shape (n_bins,), default=None
        Mean predicted probability of each bin that contains rows, and the observed frequency in the bin. For two
        classes, the probability is that of the second class; for more classes, it is that of the predicted class.
    prob_low, prob_high : array-like of shape (n_bins,), default=None
        Wilson's 95 % interval of ``prob_true``, which depends on the number of rows.
    counts : array-like of shape (n_bins,), default=None
        Number of rows in each bin.
    calibration_error : float, default=None
        Expected calibration error: mean absolute difference between ``prob_pred`` and ``prob_true``, weighted by
        ``counts``.
    confidence : bool, default=False
        Whether the probability is that of the predicted class.
    entropy_edges : array-like of shape (n_entropy_bins + 1,), default=None
        Edges of the bins of the entropy, divided by the maximum entropy.
    entropy_right, entropy_wrong : array-like of shape (n_entropy_bins,), default=None
        Numbers of correctly and incorrectly predicted rows in each bin.
    disagreement_edges, disagreement_right, disagreement_wrong : array-like, default=None
        Edges and numbers of rows for the mutual information: the entropy of the mean of the samples minus the mean of
        their entropies, divided by the maximum entropy.
    nominal, coverage, coverage_low, coverage_high : array-like of shape (n_levels,), default=None
        Nominal coverage of the intervals, observed coverage, and Wilson's 95 % interval of the observed coverage.
    width : array-like of shape (n_levels,), default=None
        Mean width of the intervals.

    {attributes}

    See Also
    --------
    sklearn.calibration.CalibrationDisplay : Reliability diagram for two classes.

    References
    ----------
    Guo et al. 2017, "On calibration of modern neural networks". Depeweg et al. 2018, "Decomposition of uncertainty in
    Bayesian deep learning for efficient and risk-sensitive learning".

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> from skreg import RegularizedMLPClassifier
    >>> from skreg.plots import UncertaintyDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> classifier = RegularizedMLPClassifier(random_state=0).fit(X_train, y_train)
    >>> display = UncertaintyDisplay.from_estimator(classifier, X_test, y_test)
    >>> display.calibration_error < 0.1
    True
    """

    prob_pred: ArrayLike | None = None
    prob_true: ArrayLike | None = None
    prob_low: ArrayLike | None = None
    prob_high: ArrayLike | None = None
    counts: ArrayLike | None = None
    calibration_error: float | None = None
    confidence: bool = False
    entropy_edges: ArrayLike | None = None
    entropy_right: ArrayLike | None = None
    entropy_wrong: ArrayLike | None = None
    disagreement_edges: ArrayLike | None = None
    disagreement_right: ArrayLike | None = None
    disagreement_wrong: ArrayLike | None = None
    nominal: ArrayLike | None = None
    coverage: ArrayLike | None = None
    coverage_low: ArrayLike | None = None
    coverage_high: ArrayLike | None = None
    width: ArrayLike | None = None

    @classmethod
    @validated(n_bins=[COUNT], coverage=["array-like"])
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Any,
        y: ArrayLike,
        *,
        n_bins: int = 10,
        coverage: Sequence[float] = (0.5, 0.6, 0.7, 0.8, 0.9),
        ax: AxesLike = None,
    ) -> Self:
        """Draw the probabilities of a classifier or the intervals of a regressor for held-out rows.

        Parameters
        ----------
        estimator : estimator
            Fitted classifier with ``predict_proba``, or fitted regressor with ``predict_interval(X, coverage=...)``.
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Table whose rows were not used in the fit.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels, or the values of one output for a regressor.
        n_bins : int, default=10
            Number of bins of the reliability diagram.
        coverage : sequence of float, default=(0.5, 0.6, 0.7, 0.8, 0.9)
            Nominal coverages of the intervals.
        {ax and returns}

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If the estimator predicts neither probabilities nor intervals.
        """
        check_is_fitted(estimator)
        if is_classifier(estimator):
            classes = estimator.classes_ if np.shape(y)[1:] in ((), (1,)) else None
            return cls.from_predictions(y, estimator.predict_proba(X), classes=classes, n_bins=n_bins, ax=ax)
        predictor, X = unwrap(estimator, X)
        if not hasattr(predictor, "predict_interval"):
            raise TypeError(
                "UncertaintyDisplay.from_estimator requires a classifier, or a regressor that has predict_interval. "
                f"Got {type(predictor).__name__}. Pass the bounds of its intervals to from_intervals instead."
            )
        bounds = np.array([predictor.predict_interval(X, coverage=level) for level in np.ravel(coverage)])
        if bounds.ndim > 3:
            raise ValueError(
                f"UncertaintyDisplay draws the intervals of one output. Got {bounds.shape[2]} outputs. Pass the bounds "
                "of one of them to from_intervals."
            )
        return cls.from_intervals(y, bounds[..., 0], bounds[..., 1], coverage, ax=ax)

    @classmethod
    @validated(n_bins=[COUNT])
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_prob: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        n_bins: int = 10,
        ax: AxesLike = None,
    ) -> Self:
        """Draw predicted probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels, or a 0/1 matrix of several labels, each of which counts as a separate row.
        y_prob : array-like of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities. An additional first axis contains samples of the probabilities, whose mean is the prediction.
        classes : array-like of shape (n_classes,), default=None
            Labels in the order of the probabilities. None means the sorted labels in ``y_true``.
        n_bins : int, default=10
            Number of bins of the reliability diagram.
        {ax and returns}

        Raises
        ------
        ValueError
            If shapes or labels are inconsistent, or if values are not probabilities.
        """
        return cls(**reliability(y_true, y_prob, classes, n_bins)).plot(ax)

    @classmethod
    def from_intervals(
        cls, y_true: ArrayLike, lower: ArrayLike, upper: ArrayLike, coverage: ArrayLike, *, ax: AxesLike = None
    ) -> Self:
        """Draw prediction intervals.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Target.
        lower, upper : array-like of shape (n_levels, n_samples)
            Bounds of the intervals for each level.
        coverage : array-like of shape (n_levels,)
            Nominal coverage of each level.
        {ax and returns}

        Raises
        ------
        ValueError
            If the shapes are inconsistent.
        """
        return cls(**interval_reliability(y_true, lower, upper, coverage)).plot(ax)

    def _draw(self, ax: AxesLike) -> None:
        if self.nominal is not None:
            self._create_panels(ax, (1, 1), stacked=False)
            self._draw_intervals(*self.axes_)
            return
        histograms = [("Normalized entropy", self.entropy_edges, self.entropy_right, self.entropy_wrong)]
        if self.disagreement_edges is not None:
            counts = self.disagreement_right, self.disagreement_wrong
            histograms.append(("Normalized mutual information", self.disagreement_edges, *counts))
        self._create_panels(ax, (1,) * (1 + len(histograms)), stacked=False)
        label, bounds = f"Calibration error {self.calibration_error:.3f}", (self.prob_low, self.prob_high)
        self._draw_reliability(self.ax_, self.prob_pred, self.prob_true, bounds, label)
        name = "Confidence" if self.confidence else "Predicted probability"
        self.ax_.set(xlabel=name, ylabel="Observed frequency")
        for panel, histogram in zip(self.axes_[1:], histograms, strict=True):
            self._draw_histogram(panel, *histogram)

    def _draw_intervals(self, left: Axes, right: Axes) -> None:
        bounds = self.coverage_low, self.coverage_high
        self._draw_reliability(left, self.nominal, self.coverage, bounds, "Intervals")
        left.set(xlabel="Nominal coverage", ylabel="Observed coverage")
        right.plot(np.asarray(self.coverage), np.asarray(self.width), color=COLORS[0], marker="o", ms=4)
        right.set(xlabel="Observed coverage", ylabel="Mean width", ylim=(0, None))
        for axis in (left.xaxis, left.yaxis, right.xaxis):
            axis.set_major_formatter("{x:.0%}")

    @staticmethod
    def _draw_reliability(ax: Axes, predicted: Any, observed: Any, bounds: tuple[Any, Any], label: str) -> None:
        """Draw observed against predicted values with error bars, and the diagonal."""
        errors = np.abs(np.asarray(bounds) - observed)
        ax.plot([0, 1], [0, 1], color=GRAY, ls=":", label="Perfect calibration")
        ax.errorbar(predicted, observed, errors, color=COLORS[0], marker="o", ms=4, capsize=2, label=label)
        ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        legend_above([ax])

    @staticmethod
    def _draw_histogram(ax: Axes, name: str, edges: Any, right: Any, wrong: Any) -> None:
        """Draw histograms of the correct and of the incorrect rows, each as shares of its own rows."""
        filled: dict[str, Any] = {"fc": COLORS[0], "lw": 0}
        hatched: dict[str, Any] = {"fc": "none", "ec": COLORS[3], "hatch": "////", "lw": 1.2}
        for counts, label, style in (right, "Correct", filled), (wrong, "Incorrect", hatched):
            n_rows = np.sum(counts)
            ax.stairs(np.asarray(counts) / max(n_rows, 1), edges, fill=True, label=f"{label} ({n_rows:,})", **style)
        ax.set(xlabel=name, ylabel="Share of rows")
        legend_above([ax])
