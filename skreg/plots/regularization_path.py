"""Display of scores and of the norms of the columns' weights for several values of a parameter."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import BaseCrossValidator, check_cv
from sklearn.utils import indexable
from sklearn.utils._param_validation import Interval
from sklearn.utils._plotting import _validate_score_name

from .._utils.validation import naming
from ..estimators.inspection import feature_norms
from ..search.scoring import SharedInputs, list_splits
from ..search.vectorized.evaluator import cross_validate
from .common import (
    COLORS,
    DASHES,
    GRAY,
    MARKERS,
    Display,
    column_names,
    legend_above,
    plain_text,
    share_x_axis,
    unwrap_fitted,
    validated,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .common import AxesLike

MIN_LOG_RATIO = 20
N_NAMED = Interval(Integral, 0, None, closed="left")
MAX_NAME_LENGTHS = 4, 7  # longest names for which the legend has four or three columns


@dataclass(kw_only=True, eq=False, repr=False)
class RegularizationPathDisplay(Display):
    """Cross-validated scores for several values of a parameter, and the norm of each column's weights below.

    Create a display with ``from_estimator``. The parameters are stored as attributes.

    Parameters
    ----------
    param_name : str
        Name of the parameter.
    param_range : array-like of shape (n_values,)
        Values of the parameter.
    train_scores, test_scores : array-like of shape (n_values, n_folds)
        Scores on the training rows and on the held-out rows; greater is better. The display shows the mean over the
        folds and a band of one standard deviation on either side.
    feature_norms : array-like of shape (n_values, n_folds, n_features)
        Norm of each column's weights in the first layer. The display shows the mean over the folds.
    feature_names : array-like of shape (n_features,)
        Names of the columns.
    score_name : str, default="score"
        Name of the score.

    {attributes}

    See Also
    --------
    FeatureSelectionDisplay : Columns that one fitted estimator uses.
    sklearn.model_selection.ValidationCurveDisplay : Scores of any estimator.

    References
    ----------
    Hastie, Tibshirani & Friedman 2009, "The elements of statistical learning", figures 3.8 and 3.10.

    Examples
    --------
    {example data}
    >>> linear = RegularizedMLPRegressor((), n_members=1, max_iter=20, random_state=0)
    >>> display = RegularizationPathDisplay.from_estimator(
    ...     linear, X, y, param_name="feature_alpha", param_range=[0.01, 0.1, 1.0], cv=3
    ... )
    >>> display.test_scores.shape
    (3, 3)
    """

    param_name: str
    param_range: ArrayLike
    train_scores: ArrayLike
    test_scores: ArrayLike
    feature_norms: ArrayLike
    feature_names: ArrayLike
    score_name: str = "score"

    @classmethod
    @validated(param_name=[str], param_range=["array-like"], n_named=[N_NAMED])
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Any,
        y: ArrayLike,
        *,
        param_name: str = "alpha",
        param_range: Sequence[float],
        cv: int | BaseCrossValidator | Iterable[Any] | None = None,
        scoring: Any = None,
        n_jobs: int | None = None,
        n_named: int = 4,
        ax: AxesLike = None,
    ) -> Self:
        """Cross-validate an estimator with each value of a parameter, and draw the results.

        Parameters
        ----------
        estimator : estimator
            Estimator of skreg, or a ``Pipeline`` that ends with one. The estimator is cloned and need not be fitted.
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Table.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target.
        param_name : str, default="alpha"
            Name of a numeric parameter, such as ``"mlp__alpha"`` for the step ``mlp`` of a pipeline.
        param_range : sequence of float
            Values of the parameter.
        cv : int, splitter or iterable, default=None
            As in ``cross_validate``. All values are evaluated on the same folds. None means five folds.
        scoring : str or callable, default=None
            As in ``cross_validate``. None uses the estimator's ``score``: accuracy or R2.
        n_jobs : int, default=None
            As in ``cross_validate``. Fits that differ only in per-member hyperparameters such as ``alpha``,
            ``feature_alpha`` and ``dropout`` are always trained side by side as members of one network.
        n_named : int, default=4
            Number of columns to name in the legend: those with the largest norms at the best score.
        {ax and returns}

        Raises
        ------
        ValueError
            If a value of the parameter is invalid, or if the earlier steps of a pipeline produce different numbers of
            columns in different folds.
        """
        values = np.asarray(param_range)
        if values.ndim != 1 or values.size == 0 or values.dtype.kind not in "biuf":
            raise ValueError(f"'param_range' must be a sequence of at least one number. Got {param_range!r} instead.")
        X, y = indexable(X, y)
        with naming("cv"):
            splits = list_splits(check_cv(cv, y, classifier=is_classifier(estimator)), X, y)
        settings = {"fit_params": {}, "score_params": {}, "verbose": 0, "error_score": "raise"}
        settings |= dict.fromkeys(("return_train_score", "return_times", "return_estimator"), True)
        with naming("scoring"):
            settings["scorer"] = check_scoring(estimator, scoring)
        params = [{param_name: value} for value in values.tolist()]
        with warnings.catch_warnings():
            # A path continues until no columns are left; this is intended.
            warnings.filterwarnings("ignore", "feature_alpha=.*weights of all columns to zero", ConvergenceWarning)
            folds = cross_validate(SharedInputs(clone(estimator), X, y, splits, settings), params, n_jobs)
        networks = [[unwrap_fitted(fold["estimator"])[0] for fold in of_value] for of_value in folds]
        if len({network.n_features_in_ for of_value in networks for network in of_value}) > 1:
            raise ValueError(
                "The number of columns after the first steps of the pipeline differs between the folds, so the columns "
                "cannot be compared. Let the network encode the categories, or pass all of them to the encoder."
            )
        return cls(
            param_name=param_name,
            param_range=values.astype(float),
            train_scores=np.array([[fold["train_scores"] for fold in of_value] for of_value in folds]),
            test_scores=np.array([[fold["test_scores"] for fold in of_value] for of_value in folds]),
            feature_norms=np.array([[feature_norms(network) for network in of_value] for of_value in networks]),
            feature_names=column_names(networks[0][0]),
            score_name=scoring if isinstance(scoring, str) else "score",
        ).plot(ax, n_named=n_named)

    @validated(n_named=[N_NAMED])
    def plot(self, ax: AxesLike = None, *, n_named: int = 4) -> Self:
        """Draw the display.

        Parameters
        ----------
        {ax}
        n_named : int, default=4
            Number of columns to name in the legend: those with the largest norms at the best score.

        {returns}
        """
        self._draw(ax, n_named)
        return self

    def _draw(self, ax: AxesLike, n_named: int = 4) -> None:
        self._create_panels(ax, (1, 1))
        columns = self.axes_[1]
        values = np.asarray(self.param_range)
        best = int(np.asarray(self.test_scores).mean(1).argmax())
        for scores, color, dashes, marker, label in (
            (np.asarray(self.train_scores), COLORS[0], "-", "o", "Training"),
            (np.asarray(self.test_scores), COLORS[3], "--", "s", "Held-out"),
        ):
            mean, std = scores.mean(1), scores.std(1)
            self.ax_.fill_between(values, mean - std, mean + std, color=color, alpha=0.25, lw=0)
            self.ax_.plot(values, mean, color=color, ls=dashes, marker=marker, ms=3, label=label)
        self._draw_columns(columns, values, best, n_named)
        self.ax_.axvline(values[best], color=GRAY, ls=":", label=f"Best ({values[best]:.3g})")
        columns.axvline(values[best], color=GRAY, ls=":")
        legend_above([self.ax_], 3)
        scale = "log" if values.min() > 0 and values.max() >= MIN_LOG_RATIO * values.min() else "linear"
        columns.set(xlabel=plain_text(self.param_name), ylabel="Weight norm", xscale=scale, ylim=(0, None))
        score_name = _validate_score_name(None, self.score_name, negate_score=False)
        self.ax_.set(ylabel=plain_text(score_name), xscale=scale)
        share_x_axis(self.ax_, columns)

    def _draw_columns(self, ax: Axes, values: NDArray[np.floating], best: int, n_named: int) -> None:
        norms = np.asarray(self.feature_norms).mean(1)
        names = [plain_text(name) for name in np.asarray(self.feature_names)]
        order = np.argsort(-norms[best], kind="stable")
        ax.plot(values, norms[:, order[n_named:]], color=GRAY, lw=0.6, alpha=0.7)
        for number, column in enumerate(order[:n_named]):
            i = number % len(COLORS)
            line = ax.plot(values, norms[:, column], color=COLORS[i], ls=DASHES[i], marker=MARKERS[i], ms=3)
            line[0].set_label(names[column])
        longest = max((len(names[column]) for column in order[:n_named]), default=0)
        legend_above([ax], 2 + sum(longest <= length for length in MAX_NAME_LENGTHS))
