"""The plot of reliability: do probabilities come true, do intervals hold what they promise, and at what width."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from ._plotting import COLOURS, GREY, legend_above, panels, percent, unwrapped
from .uncertainty.reliability import interval_reliability, reliability


class UncertaintyDisplay:
    """Whether a network knows what it does not know.

    Of probabilities: a reliability diagram, and histograms of the entropy of the rows predicted right and wrong; with
    samples of the probabilities also of what the samples disagree on. Of intervals: how many rows they hold against
    how many they promise to, and how wide they are for it.

    Make one with ``from_estimator``, ``from_predictions`` or ``from_intervals``; the parameters are the record that it
    draws, and are kept as attributes.

    Parameters
    ----------
    prob_pred, prob_true : array-like of shape (n_bins,), default=None
        Mean probability in each bin that has rows, and the share of them for which it came true. Of two classes it is
        the second one's probability; of more that of the class that was predicted.
    prob_low, prob_high : array-like of shape (n_bins,), default=None
        95 % interval of ``prob_true``, from the number of rows alone (Wilson's).
    counts : array-like of shape (n_bins,), default=None
        Rows in the bins.
    calibration_error : float, default=None
        Expected calibration error: mean distance of the two, each bin weighing its rows.
    confidence : bool, default=False
        Whether the probability is that of the predicted class.
    entropy_edges : array-like of shape (n_entropy_bins + 1,), default=None
        Of the bins of the entropy, as a share of the largest.
    entropy_right, entropy_wrong : array-like of shape (n_entropy_bins,), default=None
        Rows in them that were predicted right, and wrong.
    disagreement_edges, disagreement_right, disagreement_wrong : as of the entropy, default=None
        The same of the samples' disagreement: the entropy of their mean less the mean of their entropies.
    nominal, coverage, coverage_low, coverage_high : array-like of shape (n_levels,), default=None
        Share of the rows that intervals promise to hold, the share that they do, and its 95 % interval.
    width : array-like of shape (n_levels,), default=None
        Their mean width.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The first panel.
    axes_ : ndarray of matplotlib Axes
        All panels: reliability, entropy and, with samples, disagreement; or coverage and width.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    sklearn.calibration.CalibrationDisplay : Reliability alone, of two classes.

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

    def __init__(
        self,
        *,
        prob_pred: ArrayLike | None = None,
        prob_true: ArrayLike | None = None,
        prob_low: ArrayLike | None = None,
        prob_high: ArrayLike | None = None,
        counts: ArrayLike | None = None,
        calibration_error: float | None = None,
        confidence: bool = False,
        entropy_edges: ArrayLike | None = None,
        entropy_right: ArrayLike | None = None,
        entropy_wrong: ArrayLike | None = None,
        disagreement_edges: ArrayLike | None = None,
        disagreement_right: ArrayLike | None = None,
        disagreement_wrong: ArrayLike | None = None,
        nominal: ArrayLike | None = None,
        coverage: ArrayLike | None = None,
        coverage_low: ArrayLike | None = None,
        coverage_high: ArrayLike | None = None,
        width: ArrayLike | None = None,
    ) -> None:
        self.prob_pred = prob_pred
        self.prob_true = prob_true
        self.prob_low = prob_low
        self.prob_high = prob_high
        self.counts = counts
        self.calibration_error = calibration_error
        self.confidence = confidence
        self.entropy_edges = entropy_edges
        self.entropy_right = entropy_right
        self.entropy_wrong = entropy_wrong
        self.disagreement_edges = disagreement_edges
        self.disagreement_right = disagreement_right
        self.disagreement_wrong = disagreement_wrong
        self.nominal = nominal
        self.coverage = coverage
        self.coverage_low = coverage_low
        self.coverage_high = coverage_high
        self.width = width

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        n_bins: int = 10,
        coverage: Sequence[float] = (0.5, 0.6, 0.7, 0.8, 0.9),
        ax: Any = None,
    ) -> Self:
        """Draw the probabilities of a classifier, or the intervals of a regressor, for rows that it was not fitted on.

        Parameters
        ----------
        estimator : estimator
            Fitted: a classifier, skreg's or another with ``predict_proba``, or a regressor with
            ``predict_interval(X, coverage=...)``.
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            A table.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Its labels, or for a regressor the numbers of one output.
        n_bins : int, default=10
            Bins of probability.
        coverage : sequence of float, default=(0.5, 0.6, 0.7, 0.8, 0.9)
            Shares of the rows that intervals promise to hold.
        ax : matplotlib Axes, or a sequence of two, default=None
            Where to draw. A single one is split; None makes a figure.

        Returns
        -------
        UncertaintyDisplay
            What was drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has neither probabilities nor intervals.
        """
        check_is_fitted(estimator)
        if is_classifier(estimator):
            classes = estimator.classes_ if np.shape(y)[1:] in ((), (1,)) else None
            return cls.from_predictions(y, estimator.predict_proba(X), classes=classes, n_bins=n_bins, ax=ax)
        predictor, X = unwrapped(estimator, X)
        if not hasattr(predictor, "predict_interval"):
            raise TypeError(
                "UncertaintyDisplay.from_estimator draws a classifier's probabilities or a regressor's intervals. "
                f"{type(predictor).__name__} has neither: give the ends of intervals to from_intervals."
            )
        ends = np.array([predictor.predict_interval(X, coverage=level) for level in coverage])
        if ends.ndim > 3:
            raise ValueError(
                f"UncertaintyDisplay draws the intervals of one output. Got {ends.shape[2]}: give the ends of one of "
                "them to from_intervals."
            )
        return cls.from_intervals(y, ends[..., 0], ends[..., 1], coverage, ax=ax)

    @classmethod
    def from_predictions(
        cls, y_true: ArrayLike, y_prob: ArrayLike, *, classes: ArrayLike | None = None, n_bins: int = 10, ax: Any = None
    ) -> Self:
        """Draw probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels; or a 0/1 matrix of several, each of which counts as a row of its own.
        y_prob : array-like of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities. With several samples of them, on an axis before the others, their mean predicts, and what
            they disagree on is drawn as well.
        classes : array-like of shape (n_classes,), default=None
            Labels in the order of the probabilities; None are those in ``y_true``, sorted.
        n_bins : int, default=10
            Bins of probability.
        ax : matplotlib Axes, or a sequence of one for each panel, default=None
            Where to draw. A single one is split; None makes a figure.

        Returns
        -------
        UncertaintyDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If shapes or labels do not fit, or numbers are no probabilities.
        """
        return cls(**reliability(y_true, y_prob, classes, n_bins)).plot(ax)

    @classmethod
    def from_intervals(
        cls, y_true: ArrayLike, lower: ArrayLike, upper: ArrayLike, coverage: ArrayLike, *, ax: Any = None
    ) -> Self:
        """Draw intervals.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Numbers.
        lower, upper : array-like of shape (n_levels, n_samples)
            Ends of the intervals of each level.
        coverage : array-like of shape (n_levels,)
            Share of the rows that each level promises to hold.
        ax : matplotlib Axes, or a sequence of two, default=None
            Where to draw. A single one is split; None makes a figure.

        Returns
        -------
        UncertaintyDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If the shapes do not fit.
        """
        return cls(**interval_reliability(y_true, lower, upper, coverage)).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the record.

        Parameters
        ----------
        ax : matplotlib Axes, or a sequence of one for each panel, default=None
            Where to draw. A single one is split; None makes a figure.

        Returns
        -------
        UncertaintyDisplay
            Itself.
        """
        drawn = [self._draw_intervals, self._draw_width]
        if self.nominal is None:
            drawn = [self._draw_probabilities, self._draw_entropy]
            drawn += [] if self.disagreement_edges is None else [self._draw_disagreement]
        self.axes_ = panels(ax, [1] * len(drawn), stacked=False)
        self.ax_ = self.axes_[0]
        self.figure_ = self.ax_.figure
        for draw, panel in zip(drawn, self.axes_, strict=True):
            draw(panel)
        return self

    def _draw_probabilities(self, ax: Any) -> None:
        label = f"calibration error {self.calibration_error:.3f}"
        self._draw_against(ax, self.prob_pred, self.prob_true, self.prob_low, self.prob_high, label)
        said = "probability of the prediction" if self.confidence else "predicted probability"
        ax.set(xlabel=said, ylabel="came true")

    def _draw_intervals(self, ax: Any) -> None:
        self._draw_against(ax, self.nominal, self.coverage, self.coverage_low, self.coverage_high, "intervals")
        ax.set(xlabel="promised coverage", ylabel="rows held")
        ax.xaxis.set_major_formatter(percent)
        ax.yaxis.set_major_formatter(percent)

    def _draw_against(self, ax: Any, said: Any, true: Any, low: Any, high: Any, label: str) -> None:
        """What came true against what was said, beside the line where both are the same."""
        share = np.asarray(true)
        bars = np.abs([share - np.asarray(low), np.asarray(high) - share])
        ax.plot([0, 1], [0, 1], color=GREY, ls=":", label="as promised")
        ax.errorbar(said, share, bars, color=COLOURS[0], marker="o", ms=4, capsize=2, label=label)
        ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        legend_above([ax])

    def _draw_width(self, ax: Any) -> None:
        ax.plot(self.coverage, self.width, color=COLOURS[0], marker="o", ms=4)
        ax.set(xlabel="rows held", ylabel="mean width", ylim=(0, None))
        ax.xaxis.set_major_formatter(percent)

    def _draw_entropy(self, ax: Any) -> None:
        self._draw_groups(ax, self.entropy_edges, self.entropy_right, self.entropy_wrong)
        ax.set(xlabel="entropy, of the largest", ylabel="rows")

    def _draw_disagreement(self, ax: Any) -> None:
        self._draw_groups(ax, self.disagreement_edges, self.disagreement_right, self.disagreement_wrong)
        ax.set(xlabel="disagreement of the samples", ylabel="rows")

    def _draw_groups(self, ax: Any, edges: Any, right: Any, wrong: Any) -> None:
        """Histograms of the rows predicted right and wrong, each as shares of its own rows."""
        of_wrong = {"fc": "none", "ec": COLOURS[3], "hatch": "////", "lw": 1.2}
        for counts, style, label in (
            (np.asarray(right), {"fc": COLOURS[0], "lw": 0}, "right"),
            (np.asarray(wrong), of_wrong, "wrong"),
        ):
            label = f"{label}, {counts.sum():,} rows"
            ax.stairs(counts / max(counts.sum(), 1), edges, fill=True, label=label, **style)
        ax.yaxis.set_major_formatter(percent)
        legend_above([ax])
