"""Base class, panels, colors and legends that all displays share."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from numbers import Integral
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_is_fitted

from .._utils.optional import import_optional
from ..estimators.inspection import InspectionMixin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AxesLike: TypeAlias = "Axes | Sequence[Axes] | NDArray[np.object_] | None"

# The colors of Okabe and Ito without black and yellow, which are invisible on a dark or on a light background. Lines
# also differ in their dashes and markers, so that a black-and-white print is readable.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (3, 1)))
MARKERS = "osD^vP"
GRAY = "0.5"
MIN_PANEL_INCHES = 2.6
MAX_TEXT_LENGTH = 32

# Sections and entries shared by several docstrings, which contain these names in braces instead.
SHARED_DOCS = {
    "attributes": """\
Attributes
----------
ax_ : matplotlib Axes
    First panel.
axes_ : ndarray of matplotlib Axes
    All panels.
figure_ : matplotlib Figure
    Figure that contains the panels.""",
    "estimator": """\
estimator : estimator
    Fitted skreg estimator, or a fitted ``Pipeline`` or search whose final estimator is one.""",
    "ax and returns": "{ax}\n\n{returns}",
    "ax": """\
ax : matplotlib Axes, or a sequence of one for each panel, default=None
    Axes to draw on. A single Axes is split among the panels. If None, a new figure is created.""",
    "returns": """\
Returns
-------
{display}
    The display.""",
    "example data": """\
>>> from sklearn.datasets import load_diabetes
>>> from skreg import RegularizedMLPRegressor
>>> from skreg.plots import {display}
>>> X, y = load_diabetes(return_X_y=True, as_frame=True)""",
}


COUNT = Interval(Integral, 1, None, closed="left")
F = TypeVar("F", bound=Callable[..., Any])


def validated(**constraints: list[Any]) -> Callable[[F], F]:
    """Decorate a function so that it checks arguments by scikit-learn's constraints. Keep its type."""
    return cast("Callable[[F], F]", validate_params(constraints, prefer_skip_nested_validation=False))


class Display(ABC):
    """Base class of the displays, which inserts the shared documentation into their docstrings."""

    _shared_docs: ClassVar[dict[str, str]] = SHARED_DOCS
    ax_: Axes
    axes_: NDArray[np.object_]
    figure_: Figure

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for documented in (cls, *(getattr(member, "__func__", member) for member in vars(cls).values())):
            if isinstance(documented, (type, FunctionType)) and documented.__doc__:
                doc = inspect.cleandoc(documented.__doc__)
                for name, text in (cls._shared_docs | {"display": cls.__name__}).items():
                    doc = doc.replace(f"{{{name}}}", text)
                documented.__doc__ = doc

    def plot(self, ax: AxesLike = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, or a sequence of one for each panel, default=None
            Axes to draw on. A single Axes is split among the panels. If None, a new figure is created.

        Returns
        -------
        self : object
            The display.
        """
        self._draw(ax)
        return self

    @abstractmethod
    def _draw(self, ax: AxesLike) -> None:
        """Create the panels and draw on them."""

    def _create_panels(self, ax: AxesLike, heights: Sequence[float] = (1,), *, stacked: bool = True) -> None:
        self.axes_ = panels(ax, heights, stacked=stacked)
        self.ax_, self.figure_ = self.axes_[0], self.axes_[0].figure


def pyplot() -> Any:
    """Import ``matplotlib.pyplot``."""
    return import_optional("matplotlib.pyplot", extra="plot", purpose="skreg.plots")


def unwrap(estimator: BaseEstimator, X: Any = None) -> tuple[Any, Any]:
    """Return the final predictor of a pipeline or search, and ``X`` as this predictor receives it."""
    given = estimator
    while isinstance(estimator, (BaseSearchCV, Pipeline)):
        if isinstance(estimator, Pipeline):
            if X is not None and len(estimator) > 1:
                X = estimator[:-1].transform(X)
            estimator = estimator[-1]
        else:
            check_is_fitted(estimator)
            if not hasattr(estimator, "best_estimator_"):
                raise ValueError(f"The search has no fitted estimator to draw. Set refit=True. Got {given!r}.")
            estimator = estimator.best_estimator_
    return estimator, X


def unwrap_fitted(estimator: BaseEstimator, X: Any = None) -> tuple[Any, Any]:
    """Return the fitted skreg estimator in a pipeline or search, and ``X`` as this estimator receives it."""
    given = estimator
    estimator, X = unwrap(estimator, X)
    if not isinstance(estimator, InspectionMixin):
        raise TypeError(
            "The displays of skreg.plots require a RegularizedMLPClassifier or RegularizedMLPRegressor, or a Pipeline "
            f"or search whose final estimator is one. Got {given!r} instead."
        )
    check_is_fitted(estimator)
    return estimator, X


def column_names(estimator: Any) -> NDArray[np.object_]:
    """Return the names of the columns that an estimator was fitted on, or "x0", "x1" and so on."""
    default = np.array([f"x{j}" for j in range(estimator.n_features_in_)], object)
    return getattr(estimator, "feature_names_in_", default)


def plain_text(text: Any) -> str:
    """Return text from data, such as a column name, in a form that matplotlib draws as it is.

    Dollar signs are escaped, because text between two of them would be parsed as a formula. Newlines and other
    characters that cannot be printed are shown as escape sequences, long text is shortened in the middle, and an empty
    string is shown in quotes. Matplotlib omits labels with a leading underscore from legends, so a zero-width space
    precedes it.
    """
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in str(text))
    if len(shown) > MAX_TEXT_LENGTH:
        half = (MAX_TEXT_LENGTH - 1) // 2
        shown = f"{shown[:half]}…{shown[-half:]}"
    if not shown.strip():
        shown = repr(shown)
    return ("\u200b" if shown.startswith("_") else "") + shown.replace("$", r"\$")


def panels(ax: AxesLike, heights: Sequence[float], *, stacked: bool = True) -> NDArray[np.object_]:
    """Return one Axes for each of the relative ``heights``.

    Stacked panels are placed one below the other and share the x-axis. Other panels are placed side by side if the
    width allows it.
    """
    n = len(heights)
    given = np.ravel(np.array(ax, object)) if isinstance(ax, list | tuple | np.ndarray) else np.array([ax], object)
    if ax is not None and not all(hasattr(one, "get_subplotspec") for one in given):
        raise TypeError(f"'ax' must be matplotlib Axes, a sequence of {n} of them, or None. Got {ax!r} instead.")
    if ax is not None and len(given) == n:
        return given
    if ax is None:
        figure = pyplot().figure(layout="constrained")
        spec, (width, height) = figure.add_gridspec(1, 1)[0], figure.get_size_inches()
    elif len(given) == 1:
        spec, width = given[0].get_subplotspec(), given[0].get_window_extent().width / given[0].figure.dpi
        if spec is None:
            raise ValueError(
                f"An 'ax' that is not in a grid of subplots cannot be split into {n} panels. Create it with "
                f"plt.subplots, or pass a sequence of {n} Axes."
            )
        given[0].set_axis_off()
    else:
        raise ValueError(f"'ax' must be one Axes or a sequence of {n}, one for each panel. Got {len(given)} instead.")
    side_by_side = not stacked and width >= n * MIN_PANEL_INCHES
    if ax is None and not stacked:
        figure.set_figheight(height * (0.75 if side_by_side else 0.6 * n))
    grid = spec.subgridspec(1, n) if side_by_side else spec.subgridspec(n, 1, height_ratios=heights)
    return np.ravel(grid.subplots(sharex=stacked, squeeze=False))


def share_x_axis(upper: Axes, lower: Axes) -> None:
    """Give a panel the x-axis limits of the panel below it, remove its tick labels, and align the y-axis labels."""
    upper.set_xlim(lower.get_xlim())
    upper.figure.align_ylabels([upper, lower])
    spec = upper.get_subplotspec()
    if spec is not None and not spec.is_last_row():
        upper.tick_params(labelbottom=False)
        upper.set_xlabel("")


def legend_above(axes: Sequence[Axes] | NDArray[np.object_], n_columns: int = 2) -> None:
    """Draw one legend for several Axes above the first one, where it does not cover any data.

    Entries with the same label in several Axes are shown once.
    """
    by_label: dict[tuple[str, int], Any] = {}
    for ax in axes:
        counts: Counter[str] = Counter()  # labels of one Axes can be equal after shortening
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            by_label[label, counts[label]] = handle
            counts[label] += 1
    style: dict[str, Any] = {"fontsize": "small", "frameon": False, "columnspacing": 1.0, "handlelength": 1.6}
    style |= {"handletextpad": 0.5, "borderpad": 0.2, "bbox_to_anchor": (1.0, 1.0), "ncols": n_columns}
    axes[0].legend(list(by_label.values()), [label for label, _ in by_label], loc="lower right", **style)
