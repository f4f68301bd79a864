"""A plot draws a record on Axes: the panels, colours and styles that every Display shares.

matplotlib is imported here alone, and only once something is drawn.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .estimators.inspection import InspectionMixin

# Okabe and Ito's colours but for black and yellow, which vanish on a dark or on a light ground. Neighbours of the list
# differ in lightness, or else in the dashes and marks beside them, so that a print in black and white is read as well.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (3, 1)))
MARKS = "osD^vP"
GREY = "0.5"
NARROW = 2.6


def pyplot() -> Any:
    """What matplotlib draws with; where there is none the sentence says what to install."""
    try:
        import matplotlib.pyplot
    except ImportError as error:
        raise ImportError(
            "The Displays of skreg.plots draw with matplotlib, which is not installed: pip install 'skreg[plot]'."
        ) from error
    return matplotlib.pyplot


def unwrapped(estimator: Any, X: Any = None) -> tuple[Any, Any]:
    """What predicts in a pipeline or a search, and ``X`` as it sees it."""
    given = estimator
    while isinstance(estimator, (BaseSearchCV, Pipeline)):
        if isinstance(estimator, Pipeline):
            if X is not None and len(estimator) > 1:
                X = estimator[:-1].transform(X)
            estimator = estimator[-1]
        else:
            check_is_fitted(estimator)
            if not hasattr(estimator, "best_estimator_"):
                raise ValueError(f"The search has no fitted estimator to draw: give it refit=True. Got {given!r}.")
            estimator = estimator.best_estimator_
    return estimator, X


def fitted_network(estimator: Any, X: Any = None) -> tuple[Any, Any]:
    """The fitted estimator of ours in a pipeline or a search, and ``X`` as it sees it."""
    given = estimator
    estimator, X = unwrapped(estimator, X)
    if not isinstance(estimator, InspectionMixin):
        raise TypeError(
            "A Display of skreg.plots draws a RegularizedMLPClassifier or RegularizedMLPRegressor, alone, as the last "
            f"step of a Pipeline, or as what a search has found. Got {given!r} instead."
        )
    check_is_fitted(estimator)
    return estimator, X


def column_names(estimator: Any) -> np.ndarray:
    """Names of the columns that an estimator was fitted on; x0, x1... where they have none."""
    names = getattr(estimator, "feature_names_in_", None)
    return np.array([f"x{j}" for j in range(estimator.n_features_in_)], object) if names is None else names


def panels(ax: Any, heights: Sequence[float] = (1.0,), *, stacked: bool = True) -> np.ndarray:
    """The Axes to draw on, one for each of ``heights``.

    Parameters
    ----------
    ax : matplotlib Axes, or a sequence of as many Axes as there are panels, or None
        A single one for several panels is split among them; None makes a figure.
    heights : sequence of float
        Of the panels that stand on one another, relative to each other.
    stacked : bool
        Whether the panels stand on one another and share the horizontal axis; else they stand side by side, where
        that leaves them wide enough.
    """
    n = len(heights)
    if ax is not None and np.size(ax) == n:
        return np.ravel(np.array(ax, object))
    if ax is None:
        return _of_figure(pyplot().figure(layout="constrained"), heights, stacked)
    if np.size(ax) != 1:
        raise ValueError(f"'ax' takes one Axes, or a sequence of {n}, one for each panel. Got {np.size(ax)} instead.")
    bounding = np.ravel(np.array(ax, object))[0]
    spec = bounding.get_subplotspec()
    if spec is None:
        raise ValueError(
            f"An 'ax' that does not stand in a grid cannot be split among the {n} panels: take one of plt.subplots, or "
            f"give a sequence of {n} Axes."
        )
    bounding.set_axis_off()
    width = bounding.get_window_extent().width / bounding.figure.dpi
    grid = spec.subgridspec(*_shape(heights, stacked, width), height_ratios=_ratios(heights, stacked, width))
    return np.ravel(grid.subplots(sharex=stacked, squeeze=False))


def _of_figure(figure: Any, heights: Sequence[float], stacked: bool) -> np.ndarray:
    """The panels of a figure of their own, whose height follows their number unless they are stacked."""
    width, height = figure.get_size_inches()
    shape = _shape(heights, stacked, width)
    if not stacked:
        figure.set_figheight(height * (0.75 if shape[0] == 1 else 0.6 * len(heights)))
    grid = figure.add_gridspec(*shape, height_ratios=_ratios(heights, stacked, width))
    return np.ravel(grid.subplots(sharex=stacked, squeeze=False))


def _shape(heights: Sequence[float], stacked: bool, width: float) -> tuple[int, int]:
    """Rows and columns of panels in a figure that is ``width`` inches wide."""
    n = len(heights)
    return (1, n) if not stacked and width >= n * NARROW else (n, 1)


def _ratios(heights: Sequence[float], stacked: bool, width: float) -> list[float]:
    return list(heights)[: _shape(heights, stacked, width)[0]]


def share_below(upper: Any, lower: Any) -> None:
    """Have a panel span what the one below it spans, which alone says the numbers if they stand on one another."""
    upper.set_xlim(lower.get_xlim())
    spec = upper.get_subplotspec()
    if spec is not None and not spec.is_last_row():
        upper.tick_params(labelbottom=False)
        upper.set_xlabel("")


def integer_ticks(axis: Any) -> None:
    """Ticks at whole numbers only, for epochs."""
    axis.get_major_locator().set_params(integer=True)


def text_colour(ax: Any) -> Any:
    """The colour of the texts of an Axes, which stands out on its ground."""
    return ax.xaxis.label.get_color()


def percent(value: float, _: Any = None) -> str:
    """A share as a tick says it."""
    return f"{value:.0%}"


def plain(value: float, _: Any = None) -> str:
    """A number as a tick says it, without an offset in a corner."""
    return f"{value:g}"


def legend_above(axes: Any, n_columns: int = 2) -> None:
    """One legend for all of some Axes, over the first, where it hides nothing."""
    found = [ax.get_legend_handles_labels() for ax in axes]
    named = {label: handle for handles, labels in found for handle, label in zip(handles, labels, strict=True)}
    axes[0].legend(
        list(named.values()),
        list(named),
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=n_columns,
        fontsize="small",
        frameon=False,
        columnspacing=1.0,
        handlelength=1.6,
        handletextpad=0.5,
        borderpad=0.2,
    )
