"""The plot of a regularisation path: scores above, and below them the columns that one after another let go."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ._paths import regularization_path
from ._plotting import COLOURS, DASHES, GREY, MARKS, legend_above, panels, share_below

LOGARITHMIC_FROM = 20
NAME_LENGTHS = (4, 7)  # up to which four and three of them stand side by side


class RegularizationPathDisplay:
    """Scores over one parameter, with bands over the folds, and each column's path below.

    Make one with ``from_estimator``; the parameters are the record that it draws, and are kept as attributes.

    Parameters
    ----------
    param_name : str
        The parameter.
    param_range : array-like of shape (n_values,)
        Its values.
    train_scores, test_scores : array-like of shape (n_values, n_folds)
        Scores on the rows of training, and on those left out; greater is better. Drawn are the mean and one standard
        deviation of the folds on either side.
    feature_norms : array-like of shape (n_values, n_folds, n_features)
        Norm of each column's weights in the first layer; drawn is the mean of the folds.
    feature_names : array-like of shape (n_features,)
        Names of the columns.
    score_name : str, default="score"
        What the scores are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The panel of the scores.
    axes_ : ndarray of matplotlib Axes
        The scores, the columns.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    FeatureSelectionDisplay : The columns of one fitted estimator.
    sklearn.model_selection.ValidationCurveDisplay : The scores alone, of any estimator.

    References
    ----------
    Hastie, Tibshirani & Friedman 2009, "The elements of statistical learning", figures 3.8 and 3.10.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skreg import RegularizedMLPRegressor
    >>> from skreg.plots import RegularizationPathDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> linear = RegularizedMLPRegressor((), n_members=1, max_iter=20, random_state=0)
    >>> display = RegularizationPathDisplay.from_estimator(
    ...     linear, X, y, param_name="feature_alpha", param_range=[0.01, 0.1, 1.0], cv=3
    ... )
    >>> display.test_scores.shape
    (3, 3)
    """

    def __init__(
        self,
        *,
        param_name: str,
        param_range: ArrayLike,
        train_scores: ArrayLike,
        test_scores: ArrayLike,
        feature_norms: ArrayLike,
        feature_names: ArrayLike,
        score_name: str = "score",
    ) -> None:
        self.param_name = param_name
        self.param_range = param_range
        self.train_scores = train_scores
        self.test_scores = test_scores
        self.feature_norms = feature_norms
        self.feature_names = feature_names
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        param_name: str = "alpha",
        param_range: Sequence[float],
        cv: Any = None,
        scoring: Any = None,
        n_jobs: int | None = None,
        n_named: int = 4,
        ax: Any = None,
    ) -> Self:
        """Cross-validate an estimator with each value of a parameter, and draw what comes out.

        Parameters
        ----------
        estimator : estimator
            One of skreg's, or a ``Pipeline`` that ends with one; it is cloned, and need not be fitted.
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            A table.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Its target.
        param_name : str, default="alpha"
            A parameter whose values are numbers; ``"mlp__alpha"`` of the step ``mlp`` of a pipeline.
        param_range : sequence of float
            Its values.
        cv : int, splitter or iterable, default=None
            As in ``cross_validate``: None are five folds. All values are tried on the same ones.
        scoring : str or callable, default=None
            As in ``cross_validate``: None is the estimator's own score, accuracy or R2.
        n_jobs : int, default=None
            As in ``cross_validate``. Fits that differ in strengths only, as ``alpha``, ``feature_alpha`` and
            ``dropout``, train as members of one net anyway.
        n_named : int, default=4
            How many columns are named: those that weigh most where the score is best.
        ax : matplotlib Axes, or a sequence of two, default=None
            Where to draw. A single one is split; None makes a figure.

        Returns
        -------
        RegularizationPathDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If a value of the parameter is refused, and if the steps of a pipeline give the network other columns in
            some folds than in others.
        """
        path = regularization_path(
            estimator, X, y, param_name=param_name, param_range=param_range, cv=cv, scoring=scoring, n_jobs=n_jobs
        )
        name = scoring if isinstance(scoring, str) else "score"
        return cls(**asdict(path), score_name=name).plot(ax, n_named=n_named)

    def plot(self, ax: Any = None, *, n_named: int = 4) -> Self:
        """Draw the record.

        Parameters
        ----------
        ax : matplotlib Axes, or a sequence of two, default=None
            Where to draw. A single one is split; None makes a figure.
        n_named : int, default=4
            How many columns are named: those that weigh most where the score is best.

        Returns
        -------
        RegularizationPathDisplay
            Itself.
        """
        self.axes_ = panels(ax, (1, 1))
        self.ax_, columns = self.axes_
        self.figure_ = self.ax_.figure
        values = np.asarray(self.param_range)
        self._draw_scores(values)
        self._draw_columns(columns, values, n_named)
        far = values.min() > 0 and values.max() >= LOGARITHMIC_FROM * values.min()
        columns.set(xlabel=self.param_name, ylabel="norm", xscale="log" if far else "linear")
        columns.set_ylim(0, None)
        self.ax_.set(ylabel=self.score_name.replace("_", " "), xscale="log" if far else "linear")
        share_below(self.ax_, columns)
        return self

    @property
    def _best(self) -> float:
        """The value with the best mean score."""
        return float(np.asarray(self.param_range)[np.asarray(self.test_scores).mean(1).argmax()])

    def _draw_scores(self, values: np.ndarray) -> None:
        train, test = np.asarray(self.train_scores), np.asarray(self.test_scores)
        for scores, colour, dashes, mark, label in (
            (train, COLOURS[0], "-", "o", "training"),
            (test, COLOURS[3], "--", "s", "left out"),
        ):
            mean, spread = scores.mean(1), scores.std(1)
            self.ax_.fill_between(values, mean - spread, mean + spread, color=colour, alpha=0.25, lw=0)
            self.ax_.plot(values, mean, color=colour, ls=dashes, marker=mark, ms=3, label=label)
        self.ax_.axvline(self._best, color=GREY, ls=":", label=f"best, {self._best:.3g}")
        legend_above([self.ax_], 3)

    def _draw_columns(self, ax: Any, values: np.ndarray, n_named: int) -> None:
        """The paths of the columns, and the names of those that weigh most where the score is best."""
        norms, names = np.asarray(self.feature_norms).mean(1), np.asarray(self.feature_names)
        order = np.argsort(-norms[np.asarray(self.test_scores).mean(1).argmax()], kind="stable")
        for column in order[n_named:]:
            ax.plot(values, norms[:, column], color=GREY, lw=0.6, alpha=0.7)
        for place, column in enumerate(order[:n_named]):
            style = {"color": COLOURS[place % 6], "ls": DASHES[place % 6], "marker": MARKS[place % 6], "ms": 3}
            ax.plot(values, norms[:, column], label=str(names[column]), **style)
        longest = max((len(str(names[column])) for column in order[:n_named]), default=0)
        legend_above([ax], sum(longest <= length for length in NAME_LENGTHS) + 2)
        ax.axvline(self._best, color=GREY, ls=":")
