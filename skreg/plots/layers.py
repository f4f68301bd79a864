"""Displays of weights, activations and gradients by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from ..diagnostics.probe import Probe, When, probe
from .common import (
    COLORS,
    COUNT,
    GRAY,
    SHARED_DOCS,
    AxesLike,
    Display,
    legend_above,
    plain_text,
    share_x_axis,
    unwrap_fitted,
    validated,
)

HALF_WIDTH = 0.42
PERCENTILES = 0.5, 99.5
SOURCES: tuple[When, ...] = "now", "initial"
SHARED_LAYER_DOCS = {
    "parameters": """\
Parameters
----------
layers : sequence of str
    Names of the layers: "hidden 1" and so on, and "head".
edges : array-like of shape (n_bins + 1,)
    Edges of the bins.
shares : array-like of shape (n_layers, n_bins)
    Share of the nonzero values of a layer in each bin. Values beyond the edges are counted in the outermost bins.
below : array-like of shape (n_layers,)
    Share of zeros, or of dead or saturated units, in each layer, drawn in the lower panel.
initial_shares, initial_below : array-like, default=None
    Values of ``shares`` and ``below`` at the initial weights, drawn as the left halves of the violins and bars.""",
    "options": """\
initial : bool, default=True
    Whether to also draw the values at the initial weights.
max_rows : int, default=1000
    Maximum number of rows to use; a larger table is sampled at random.
bins : int, default=60
    Number of bins of a violin.
{ax and returns}

Raises
------
NotFittedError
    If the estimator is not fitted.
ValueError
    If parameters have changed since the fit, so that the initial weights cannot be reproduced.""",
} | SHARED_DOCS

Layers = dict[str, tuple[NDArray[np.floating], float]]  # {name: (values, share in the lower panel)}


@dataclass(kw_only=True, eq=False, repr=False)
class LayerDisplay(Display):
    """Base class of the displays by layer: violins of the nonzero values, with a share of each layer below them.

    A violin is a histogram, not the density of ``Axes.violinplot``, because a density estimate would smooth the limits
    of bounded activations.
    """

    _shared_docs = SHARED_LAYER_DOCS
    _value_label = ""
    _below_label = "Zeros"
    _logarithmic = False

    layers: Sequence[str]
    edges: ArrayLike
    shares: ArrayLike
    below: ArrayLike
    initial_shares: ArrayLike | None = None
    initial_below: ArrayLike | None = None

    @classmethod
    def _from_values(cls, networks: Sequence[Layers], bins: int) -> Self:
        """Create a display of the fitted network, and of the initial network if both are given."""
        edges = bin_edges([value for layers in networks for value, _ in layers.values()], bins, cls._logarithmic)
        shares = [bin_shares([value for value, _ in layers.values()], edges) for layers in networks]
        below = [np.array([share for _, share in layers.values()]) for layers in networks]
        initial = {"initial_shares": shares[1], "initial_below": below[1]} if len(networks) > 1 else {}
        return cls(layers=list(networks[0]), edges=edges, shares=shares[0], below=below[0], **initial)

    def _draw(self, ax: AxesLike) -> None:
        self._create_panels(ax, (3, 1))
        lower = self.axes_[1]
        shares_y_axis = not lower.get_autoscaley_on()  # with a display that has been drawn before
        names = [plain_text(name.removeprefix("hidden ")) for name in self.layers]
        if self.initial_shares is None or self.initial_below is None:
            self._draw_violins(self.shares, self.below, (-1, 1), fc=COLORS[0])
        else:
            initial = self.initial_shares, self.initial_below
            self._draw_violins(*initial, (-1, 0), fc=COLORS[1], hatch="////", label="Initial weights")
            self._draw_violins(self.shares, self.below, (0, 1), fc=COLORS[0], label="Fitted weights")
            legend_above([self.ax_])
        self.ax_.set(ylabel=self._value_label, yscale="log" if self._logarithmic else "linear")
        lower.set(xlabel="Layer", ylabel=self._below_label, xlim=(0.4, len(names) + 0.6))
        for panel in self.axes_:
            panel.set_xticks(range(1, len(names) + 1), names, fontsize="small")
        share_x_axis(self.ax_, lower)
        lower.set_ylim(0, max(0.1, 1.1 * lower.dataLim.y1, lower.get_ylim()[1] if shares_y_axis else 0))
        lower.yaxis.set_major_formatter("{x:.0%}")
        lower.locator_params(axis="y", nbins=3)
        if lower.dataLim.height == 0:
            lower.text(0.5, 0.45, "none", transform=lower.transAxes, ha="center", va="center", color=GRAY)

    def _draw_violins(
        self, shares: ArrayLike, below: ArrayLike, sides: tuple[int, int], label: str | None = None, **style: Any
    ) -> None:
        """Draw the violins and bars of one network; ``sides`` are the limits in units of half the width."""
        style |= {"ec": "0.9", "lw": 0}
        left, right = HALF_WIDTH * np.array(sides)
        for position, share in enumerate(np.asarray(shares), 1):
            width = share / (share.max() or 1)
            violin = style | {"fill": True, "orientation": "horizontal", "label": label if position == 1 else None}
            bounds = position + left * width, position + right * width
            self.ax_.stairs(bounds[1], np.asarray(self.edges), baseline=bounds[0], **violin)
        positions = np.arange(1, len(self.layers) + 1)
        self.axes_[1].bar(positions + left, below, right - left, align="edge", **style)


class WeightDisplay(LayerDisplay):
    """Weights by layer: violins of the nonzero weights, and the share of zeros below them.

    Create a display with ``from_estimator``. The parameters are stored as attributes. The display shows the penalized
    weights of all members. An L1 penalty leaves few nonzero weights, and an L2 penalty makes all weights small.

    {parameters}

    {attributes}

    See Also
    --------
    FeatureSelectionDisplay : Columns that a network uses.

    References
    ----------
    Goodfellow, Bengio & Courville 2016, "Deep learning", section 7.1.

    Examples
    --------
    {example data}
    >>> sparse = RegularizedMLPRegressor(alpha=0.02, l1_ratio=1.0, max_iter=20, random_state=0).fit(X, y)
    >>> len(WeightDisplay.from_estimator(sparse).below)
    3
    """

    _value_label = "Weight"

    @classmethod
    @validated(bins=[COUNT])
    def from_estimator(cls, estimator: BaseEstimator, *, bins: int = 60, ax: AxesLike = None) -> Self:
        """Draw the weights of a fitted estimator.

        Parameters
        ----------
        {estimator}
        bins : int, default=60
            Number of bins of a violin.
        {ax and returns}
        """
        network, _ = unwrap_fitted(estimator)
        linears = network.net_.module_.linears
        names = [*(f"hidden {number}" for number in range(1, len(linears))), "head"]
        weights = [linear.weight.detach().cpu().numpy().astype(np.float64).ravel() for linear in linears]
        layers = {name: (weight, _share_of_zeros(weight)) for name, weight in zip(names, weights, strict=True)}
        return cls._from_values([layers], bins).plot(ax)


class ActivationDisplay(LayerDisplay):
    """Activations by layer: violins of the nonzero activations, and the share of dead or saturated units.

    Create a display with ``from_estimator``. The parameters are stored as attributes. The display shows whether the
    initialization suits the depth and the activation. If the initial weights are too small, the violins shrink from
    layer to layer. If they are too large, bounded activations (tanh, logistic) saturate, and relu units die.

    The lower panel shows the share of units whose slope is close to zero for every row. For a bounded activation, it
    shows the share of saturated rows and units instead if this share is larger. Without a hidden layer, the display
    shows the raw output.

    {parameters}

    {attributes}

    See Also
    --------
    GradientDisplay : Gradients by layer.

    References
    ----------
    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", figures 2 and 6.

    Examples
    --------
    {example data}
    >>> regressor = RegularizedMLPRegressor((16, 16), max_iter=5, random_state=0).fit(X, y)
    >>> ActivationDisplay.from_estimator(regressor, X).layers
    ['hidden 1', 'hidden 2']
    """

    _value_label = "Activation"
    _below_label = "Dead or\nsaturated"

    @classmethod
    @validated(initial=["boolean"], max_rows=[COUNT], bins=[COUNT])
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Any,
        *,
        initial: bool = True,
        max_rows: int = 1000,
        bins: int = 60,
        ax: AxesLike = None,
    ) -> Self:
        """Draw the activations of a fitted estimator without dropout.

        Parameters
        ----------
        {estimator}
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Table with the columns that were passed to ``fit``.
        {options}
        """
        network, X = unwrap_fitted(estimator, X)
        probes = [probe(network, X, None, when, max_rows) for when in SOURCES[: 1 + initial]]
        return cls._from_values([_activations(one) for one in probes], bins).plot(ax)


class GradientDisplay(LayerDisplay):
    """Gradient magnitudes by layer on a logarithmic scale, and the share of zeros below them.

    Create a display with ``from_estimator``. The parameters are stored as attributes. The gradients are those of each
    row's loss with respect to the units of a layer before the activation. If gradients vanish, the violins are lower in
    each layer than in the layer after it, by a factor of ten or more. If gradients explode, the violins are higher.

    {parameters}

    {attributes}

    See Also
    --------
    ActivationDisplay : Activations by layer.

    References
    ----------
    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", figure 7.

    Examples
    --------
    {example data}
    >>> regressor = RegularizedMLPRegressor((16, 16), max_iter=5, random_state=0).fit(X, y)
    >>> GradientDisplay.from_estimator(regressor, X, y).layers
    ['hidden 1', 'hidden 2', 'head']
    """

    _value_label = "Gradient magnitude"
    _logarithmic = True

    @classmethod
    @validated(initial=["boolean"], max_rows=[COUNT], bins=[COUNT])
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Any,
        y: ArrayLike,
        *,
        initial: bool = True,
        max_rows: int = 1000,
        bins: int = 60,
        ax: AxesLike = None,
    ) -> Self:
        """Draw the gradients of a fitted estimator without dropout or penalties.

        Parameters
        ----------
        {estimator}
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Table with the columns that were passed to ``fit``.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target.
        {options}
        """
        network, X = unwrap_fitted(estimator, X)
        probes = [probe(network, X, y, when, max_rows) for when in SOURCES[: 1 + initial]]
        return cls._from_values([_gradients(one) for one in probes], bins).plot(ax)


def bin_edges(values: Sequence[NDArray[np.floating]], bins: int, logarithmic: bool = False) -> NDArray[np.floating]:
    """Return the edges of bins that cover the central 99 % of the nonzero values of each layer."""
    ranges = [np.percentile(nonzero, PERCENTILES) for value in values if len(nonzero := value[value != 0])]
    if not ranges:
        return np.geomspace(0.1, 10, bins + 1) if logarithmic else np.linspace(-1, 1, bins + 1)
    low, high = np.min(ranges), np.max(ranges)
    if logarithmic:
        return np.geomspace(low / 1.01, high * 1.01, bins + 1)
    margin = 0.01 * (high - low) or 0.01 * abs(high)
    return np.linspace(low - margin, high + margin, bins + 1)


def bin_shares(values: Sequence[NDArray[np.floating]], edges: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the share of each layer's nonzero values in each bin; the outermost bins include values beyond them."""
    counts = [np.histogram(np.clip(value[value != 0].astype(float), edges[0], edges[-1]), edges)[0] for value in values]
    return np.array([count / max(count.sum(), 1) for count in counts])


def _activations(seen: Probe) -> Layers:
    layers = seen.layers[:-1] or seen.layers
    return {layer.name: (layer.after.ravel(), max(layer.dead.mean(), layer.saturated.mean())) for layer in layers}


def _gradients(seen: Probe) -> Layers:
    sizes = {layer.name: np.abs(np.asarray(layer.gradient, dtype=float)).ravel() for layer in seen.layers}
    return {name: (size, _share_of_zeros(size)) for name, size in sizes.items()}


def _share_of_zeros(values: NDArray[np.floating]) -> float:
    return float((values == 0).mean())
