"""Display of the columns that a network uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .common import COLORS, COUNT, GRAY, AxesLike, Display, column_names, plain_text, unwrap_fitted, validated

INCHES_PER_ROW = 0.2


@dataclass(kw_only=True, eq=False, repr=False)
class FeatureSelectionDisplay(Display):
    """Feature importances in descending order; columns whose weights are all zero are marked as dropped.

    Create a display with ``from_estimator``. The parameters are stored as attributes. Weights that are exactly zero
    result from ``feature_alpha``, or from ``alpha`` with a positive ``l1_ratio``. For a pipeline, the columns are those
    passed to its last step. The height of a new figure depends on the number of columns.

    Parameters
    ----------
    importances : array-like of shape (n_features,)
        Norm of each column's weights in the first layer, as a share of the sum over the columns.
    feature_names : array-like of shape (n_features,)
        Names of the columns.

    {attributes}

    See Also
    --------
    RegularizationPathDisplay : Norms of the columns' weights for several values of a parameter.
    sklearn.feature_selection.SelectFromModel : Pipeline step that drops the columns.

    References
    ----------
    Yuan & Lin 2006, "Model selection and estimation in regression with grouped variables".

    Examples
    --------
    {example data}
    >>> regressor = RegularizedMLPRegressor(feature_alpha=0.1, max_iter=20, random_state=0).fit(X, y)
    >>> display = FeatureSelectionDisplay.from_estimator(regressor)
    >>> len(display.importances)
    10
    """

    importances: ArrayLike
    feature_names: ArrayLike

    @classmethod
    @validated(max_features=[COUNT])
    def from_estimator(cls, estimator: BaseEstimator, *, max_features: int = 20, ax: AxesLike = None) -> Self:
        """Draw the feature importances of a fitted estimator.

        Parameters
        ----------
        {estimator}
        max_features : int, default=20
            Maximum number of columns to draw.
        {ax and returns}
        """
        network, _ = unwrap_fitted(estimator)
        display = cls(importances=network.feature_importances_, feature_names=column_names(network))
        return display.plot(ax, max_features=max_features)

    @validated(max_features=[COUNT])
    def plot(self, ax: AxesLike = None, *, max_features: int = 20) -> Self:
        """Draw the display.

        Parameters
        ----------
        {ax}
        max_features : int, default=20
            Maximum number of columns to draw.

        {returns}
        """
        self._draw(ax, max_features)
        return self

    def _draw(self, ax: AxesLike, max_features: int = 20) -> None:
        importances, names = np.asarray(self.importances, dtype=float), np.asarray(self.feature_names)
        order = np.argsort(-importances, kind="stable")
        shown, hidden = order[:max_features], order[max_features:]
        labels = [plain_text(name) for name in names[shown]]
        if len(hidden):
            n_dropped = int((importances[hidden] == 0).sum())
            labels.append(f"{len(hidden)} more" + (f" ({n_dropped} dropped)" if n_dropped else ""))
        self._create_panels(ax)
        if ax is None:
            self.figure_.set_figheight(INCHES_PER_ROW * len(labels) + 0.6)
        rows = np.arange(len(shown))
        self.ax_.barh(rows, importances[shown], color=COLORS[0], height=0.7)
        for row in rows[importances[shown] == 0]:
            self.ax_.text(0, row, " dropped", va="center", color=GRAY, fontsize="small", style="italic")
        self.ax_.set_yticks(np.arange(len(labels)), labels, fontsize="small")
        self.ax_.set(xlabel="Importance", ylim=(len(labels) - 0.4, -0.6), xlim=(0, None))
