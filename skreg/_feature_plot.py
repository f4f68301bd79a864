"""The plot of a selection: the columns that a network uses, most of all first, and those that it has let go."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ._plotting import COLOURS, GREY, column_names, fitted_network, panels

LINE = 0.2


class FeatureSelectionDisplay:
    """Importances of the columns, sorted; those that are exactly 0 are shown as dropped.

    Make one with ``from_estimator``; the parameters are the record that it draws, and are kept as attributes. Exact
    zeros come from ``feature_alpha``, or from ``alpha`` with an ``l1_ratio``.

    Parameters
    ----------
    importances : array-like of shape (n_features,)
        Share of each column in the norms of the first layer's weights.
    feature_names : array-like of shape (n_features,)
        Names of the columns.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    RegularizationPathDisplay : Which columns go first as a penalty grows.
    sklearn.feature_selection.SelectFromModel : A step of a pipeline that drops the columns.

    References
    ----------
    Yuan & Lin 2006, "Model selection and estimation in regression with grouped variables".

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skreg import RegularizedMLPRegressor
    >>> from skreg.plots import FeatureSelectionDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> regressor = RegularizedMLPRegressor(feature_alpha=0.1, max_iter=20, random_state=0).fit(X, y)
    >>> display = FeatureSelectionDisplay.from_estimator(regressor)
    >>> len(display.importances)
    10
    """

    def __init__(self, *, importances: ArrayLike, feature_names: ArrayLike) -> None:
        self.importances = importances
        self.feature_names = feature_names

    @classmethod
    def from_estimator(cls, estimator: Any, *, max_features: int = 20, ax: Any = None) -> Self:
        """Draw the columns of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted: one of skreg's, a ``Pipeline`` that ends with one, or a search that has found one. The columns of a
            pipeline are those that its last step is given.
        max_features : int, default=20
            Most columns to draw; of the others their number is said.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure as high as the columns are many.

        Returns
        -------
        FeatureSelectionDisplay
            What was drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        """
        network, _ = fitted_network(estimator)
        names = column_names(network)
        return cls(importances=network.feature_importances_, feature_names=names).plot(ax, max_features=max_features)

    def plot(self, ax: Any = None, *, max_features: int = 20) -> Self:
        """Draw the record.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure as high as the columns are many.
        max_features : int, default=20
            Most columns to draw; of the others their number is said.

        Returns
        -------
        FeatureSelectionDisplay
            Itself.
        """
        importances, names = np.asarray(self.importances, dtype=float), np.asarray(self.feature_names)
        order = np.argsort(-importances, kind="stable")
        shown, hidden = order[:max_features], order[max_features:]
        (self.ax_,) = panels(ax)
        self.figure_ = self.ax_.figure
        if ax is None:
            self.figure_.set_figheight(LINE * (len(shown) + bool(len(hidden))) + 0.6)
        places = np.arange(len(shown))
        self.ax_.barh(places, importances[shown], color=COLOURS[0], height=0.7)
        for place in places[importances[shown] == 0]:
            self.ax_.text(0, place, " dropped", va="center", color=GREY, fontsize="small", style="italic")
        labels = [str(name) for name in names[shown]]
        if len(hidden):
            dropped = int((importances[hidden] == 0).sum())
            labels.append(f"{len(hidden)} more" + (f", {dropped} dropped" if dropped else ""))
            places = np.append(places, len(shown))
        self.ax_.set_yticks(places, labels, fontsize="small")
        self.ax_.set(xlabel="importance", ylim=(len(places) - 0.4, -0.6), xlim=(0, None))
        return self
