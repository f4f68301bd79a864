"""A violin is a histogram on its side: of weights, activations or gradients, one for each layer, in a row."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ._plotting import COLOURS, GREY, legend_above, panels, percent, share_below

HALF_WIDTH = 0.42
LOWEST, HIGHEST = 0.5, 99.5


class LayerDisplay:
    """What the Displays by layer share: violins of what is not 0, and below them a share of each layer.

    Parameters
    ----------
    layers : sequence of str
        Names of the layers.
    edges : array-like of shape (n_bins + 1,)
        Of the bins.
    shares : array-like of shape (n_layers, n_bins)
        Share of each bin in what is not 0 in a layer; what lies outside is counted in the outermost bins.
    below : array-like of shape (n_layers,)
        Share that is drawn below.
    initial_shares, initial_below : as shares and below, default=None
        The same at the initial weights, drawn as the left half.
    """

    _below = "zero"
    _logarithmic = False
    _what: str

    def __init__(
        self,
        *,
        layers: ArrayLike,
        edges: ArrayLike,
        shares: ArrayLike,
        below: ArrayLike,
        initial_shares: ArrayLike | None = None,
        initial_below: ArrayLike | None = None,
    ) -> None:
        self.layers = layers
        self.edges = edges
        self.shares = shares
        self.below = below
        self.initial_shares = initial_shares
        self.initial_below = initial_below

    def plot(self, ax: Any = None) -> Self:
        """Draw the record.

        Parameters
        ----------
        ax : matplotlib Axes, or a sequence of two, default=None
            Where to draw. A single one is split; None makes a figure.

        Returns
        -------
        Display
            Itself.
        """
        self.axes_ = panels(ax, (3, 1))
        self.ax_, share = self.axes_
        self.figure_ = self.ax_.figure
        fresh = share.get_autoscaley_on()  # another Display may have drawn on an Axes that shares the vertical one
        names = [str(name).removeprefix("hidden ") for name in np.asarray(self.layers)]
        places, both = np.arange(1, len(names) + 1), self.initial_shares is not None
        if both:
            self._draw(places, self.initial_shares, self.initial_below, -1, COLOURS[1], "////", "initial weights")
        self._draw(places, self.shares, self.below, int(both), COLOURS[0], None, "fitted" if both else None)
        self.ax_.set(ylabel=self._what, yscale="log" if self._logarithmic else "linear")
        if both:
            legend_above([self.ax_])
        share.set(xlabel="layer", ylabel=self._below, xlim=(0.4, len(names) + 0.6))
        for panel in self.axes_:
            panel.set_xticks(places, names, fontsize="small")
        share_below(self.ax_, share)
        tops = [0.1, 1.1 * share.dataLim.y1] + ([] if fresh else [share.get_ylim()[1]])
        share.set_ylim(0, max(tops))
        share.yaxis.set_major_formatter(percent)
        share.locator_params(axis="y", nbins=3)
        if share.dataLim.height == 0:
            share.text(0.5, 0.45, "none", transform=share.transAxes, ha="center", va="center", color=GREY)
        return self

    def _draw(
        self, places: np.ndarray, shares: Any, below: Any, side: int, colour: str, hatch: str | None, label: str | None
    ) -> None:
        """Violins and bars at ``places``: their left halves (``side`` -1), right halves (1), or both (0)."""
        style = {"fc": colour, "ec": "0.9", "hatch": hatch, "lw": 0}
        for place, share in zip(places, np.asarray(shares), strict=True):
            width = HALF_WIDTH * share / (share.max() or 1)
            left, right = place - width * (side < 1), place + width * (side > -1)
            self.ax_.stairs(right, self.edges, baseline=left, orientation="horizontal", fill=True, label=label, **style)
            label = None
        edge, width = {-1: -HALF_WIDTH, 0: -HALF_WIDTH, 1: 0.0}[side], HALF_WIDTH * (2 - abs(side))
        self.axes_[1].bar(places + edge, below, width, align="edge", **style)


def edges_of(values: list[np.ndarray], bins: int, logarithmic: bool = False) -> np.ndarray:
    """Edges of bins for what is not 0 in several layers, but for the outermost hundredth of each."""
    ranges = [np.percentile(kept, (LOWEST, HIGHEST)) for each in values if len(kept := each[each != 0])]
    if not ranges:
        return np.geomspace(0.1, 10, bins + 1) if logarithmic else np.linspace(-1, 1, bins + 1)
    low, high = np.min(ranges), np.max(ranges)
    if logarithmic:
        return np.geomspace(low / 1.01, high * 1.01, bins + 1)
    margin = 0.01 * (high - low) or 0.01 * abs(high)
    return np.linspace(low - margin, high + margin, bins + 1)


def shares_of(values: list[np.ndarray], edges: np.ndarray) -> np.ndarray:
    """Share of each bin in what is not 0 in each layer; what lies outside is counted in the outermost bins."""
    counts = [np.histogram(np.clip(each[each != 0].astype(float), edges[0], edges[-1]), edges)[0] for each in values]
    return np.array([count / max(count.sum(), 1) for count in counts])
