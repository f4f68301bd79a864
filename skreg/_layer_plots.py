"""A distribution by layer is drawn as a row of violins, one for each layer: of weights, of activations, of gradients."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ._plotting import COLOURS, fitted_network, legend_above, panels, percent
from ._probe import Probe, probe

HALF_WIDTH = 0.42
LOWEST, HIGHEST = 0.1, 99.9


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
        names = [str(name).removeprefix("hidden ") for name in np.asarray(self.layers)]
        places, both = np.arange(1, len(names) + 1), self.initial_shares is not None
        if both:
            self._draw(places, self.initial_shares, self.initial_below, -1, COLOURS[1], "////", "initial weights")
        self._draw(places, self.shares, self.below, int(both), COLOURS[0], None, "fitted" if both else None)
        self.ax_.set(ylabel=self._what, yscale="log" if self._logarithmic else "linear")
        share.set(xlabel="layer", ylabel=self._below, xticks=places, xticklabels=names)
        share.set(xlim=(0.4, len(names) + 0.6), ylim=(0, max(0.1, 1.1 * share.get_ylim()[1])))
        share.yaxis.set_major_formatter(percent)
        share.locator_params(axis="y", nbins=3)
        if both:
            legend_above([self.ax_])
        self.ax_.label_outer()
        return self

    def _draw(
        self, places: np.ndarray, shares: Any, below: Any, side: int, colour: str, hatch: str | None, label: str | None
    ) -> None:
        """Violins and bars at ``places``: their left halves (``side`` -1), right halves (1), or both (0)."""
        style = {"fc": colour, "ec": "0.3" if hatch is None else "0.8", "hatch": hatch, "lw": 0.3}
        for place, share in zip(places, np.asarray(shares), strict=True):
            width = HALF_WIDTH * share / (share.max() or 1)
            left, right = place - width * (side < 1), place + width * (side > -1)
            self.ax_.stairs(right, self.edges, baseline=left, orientation="horizontal", fill=True, label=label, **style)
            label = None
        edge, width = {-1: -HALF_WIDTH, 0: -HALF_WIDTH, 1: 0.0}[side], HALF_WIDTH * (2 - abs(side))
        self.axes_[1].bar(places + edge, below, width, align="edge", **style)


class WeightDisplay(LayerDisplay):
    """Weights by layer: violins of those that are not 0, and below the share of those that are.

    Make one with ``from_estimator``; the parameters are the record that it draws, and are kept as attributes. The
    weights are those of all members, on which the penalties act. An L1 penalty leaves few of them, an L2 penalty makes
    all of them small.

    Parameters
    ----------
    layers : sequence of str
        Names of the layers: "hidden 1" and so on, then "head".
    edges : array-like of shape (n_bins + 1,)
        Of the bins.
    shares : array-like of shape (n_layers, n_bins)
        Share of each bin in the weights of a layer that are not 0.
    below : array-like of shape (n_layers,)
        Share of the weights that are exactly 0.
    initial_shares, initial_below : as shares and below, default=None
        Of weights to compare with, drawn as the left half.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The panel of the violins.
    axes_ : ndarray of matplotlib Axes
        The violins, the shares.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    FeatureSelectionDisplay : Which columns are still in use.

    References
    ----------
    Goodfellow, Bengio & Courville 2016, "Deep learning", section 7.1.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skreg import RegularizedMLPRegressor
    >>> from skreg.plots import WeightDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> sparse = RegularizedMLPRegressor(alpha=0.02, l1_ratio=1.0, max_iter=20, random_state=0).fit(X, y)
    >>> WeightDisplay.from_estimator(sparse).below.round(1)[0] > 0.5
    True
    """

    _what = "weight"

    @classmethod
    def from_estimator(cls, estimator: Any, *, bins: int = 60, ax: Any = None) -> Self:
        """Draw the weights of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted: one of skreg's, a ``Pipeline`` that ends with one, or a search that has found one.
        bins : int, default=60
            Bins of a violin.
        ax : matplotlib Axes, or a sequence of two, default=None
            Where to draw. A single one is split; None makes a figure.

        Returns
        -------
        WeightDisplay
            What was drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        """
        network, _ = fitted_network(estimator)
        linears = network.net_.own_module.linears
        names = [*(f"hidden {number}" for number in range(1, len(linears))), "head"]
        weights = [linear.weight.detach().cpu().double().numpy().ravel() for linear in linears]
        edges = edges_of(weights, bins)
        zeros = np.array([(weight == 0).mean() for weight in weights])
        return cls(layers=names, edges=edges, shares=shares_of(weights, edges), below=zeros).plot(ax)


class ActivationDisplay(LayerDisplay):
    """Activations by layer: violins of those that are not 0, and below the share of units that do not learn.

    Make one with ``from_estimator``; the parameters are the record that it draws, and are kept as attributes. The
    textbook picture of initialisation: where the weights are too small the violins shrink from layer to layer, where
    they are too large those of a bounded activation (tanh, logistic) flee to its ends, and units of relu die.

    Parameters
    ----------
    layers : sequence of str
        Names of the hidden layers; "head" where there is none, for the raw output.
    edges : array-like of shape (n_bins + 1,)
        Of the bins.
    shares : array-like of shape (n_layers, n_bins)
        Share of each bin in the activations of a layer that are not 0.
    below : array-like of shape (n_layers,)
        Share of the units that pass no gradient on for any row; of a bounded activation, share of the rows and units
        at its flat ends, if that is greater.
    initial_shares, initial_below : as shares and below, default=None
        The same at the initial weights, drawn as the left half.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The panel of the violins.
    axes_ : ndarray of matplotlib Axes
        The violins, the shares.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    GradientDisplay : The same of the gradients.

    References
    ----------
    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", figures 2 and 6.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skreg import RegularizedMLPRegressor
    >>> from skreg.plots import ActivationDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = RegularizedMLPRegressor((16, 16), max_iter=5, random_state=0).fit(X, y)
    >>> ActivationDisplay.from_estimator(regressor, X).layers
    ['hidden 1', 'hidden 2']
    """

    _what = "activation"
    _below = "dead or\nsaturated"

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        initial: bool = True,
        max_rows: int = 1000,
        bins: int = 60,
        ax: Any = None,
    ) -> Self:
        """Draw the activations of a fitted estimator for some rows, without dropout.

        Parameters
        ----------
        estimator : estimator
            Fitted: one of skreg's, a ``Pipeline`` that ends with one, or a search that has found one.
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            A table, as the estimator was fitted on.
        initial : bool, default=True
            Whether to draw those at the initial weights, too.
        max_rows : int, default=1000
            Most rows to look at, drawn at random.
        bins : int, default=60
            Bins of a violin.
        ax : matplotlib Axes, or a sequence of two, default=None
            Where to draw. A single one is split; None makes a figure.

        Returns
        -------
        ActivationDisplay
            What was drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If its parameters are not those of the fit, and the initial weights cannot be drawn anew.
        """
        network, X = fitted_network(estimator, X)
        now, then = _probes(network, X, None, initial, max_rows)
        record = _compared(_activations(now), None if then is None else _activations(then), bins)
        return cls(**record).plot(ax)


class GradientDisplay(LayerDisplay):
    """Sizes of the gradients by layer, on a logarithmic scale, and below the share of those that are 0.

    Make one with ``from_estimator``; the parameters are the record that it draws, and are kept as attributes. They are
    the gradients of each row's own loss with respect to a layer's units before the activation, as they are passed back.
    Where they vanish the violins sink towards the first layer, a decade or more from one layer to the next; where
    they explode, the violins rise.

    Parameters
    ----------
    layers : sequence of str
        Names of the layers: "hidden 1" and so on, then "head".
    edges : array-like of shape (n_bins + 1,)
        Of the bins.
    shares : array-like of shape (n_layers, n_bins)
        Share of each bin in the gradients of a layer that are not 0.
    below : array-like of shape (n_layers,)
        Share of the gradients that are exactly 0.
    initial_shares, initial_below : as shares and below, default=None
        The same at the initial weights, drawn as the left half.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The panel of the violins.
    axes_ : ndarray of matplotlib Axes
        The violins, the shares.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    ActivationDisplay : The same of the activations.

    References
    ----------
    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", figure 7.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skreg import RegularizedMLPRegressor
    >>> from skreg.plots import GradientDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = RegularizedMLPRegressor((16, 16), max_iter=5, random_state=0).fit(X, y)
    >>> GradientDisplay.from_estimator(regressor, X, y).layers
    ['hidden 1', 'hidden 2', 'head']
    """

    _what = "size of the gradient"
    _logarithmic = True

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        initial: bool = True,
        max_rows: int = 1000,
        bins: int = 60,
        ax: Any = None,
    ) -> Self:
        """Draw the gradients of a fitted estimator for some rows, without dropout and penalties.

        Parameters
        ----------
        estimator : estimator
            Fitted: one of skreg's, a ``Pipeline`` that ends with one, or a search that has found one.
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            A table, as the estimator was fitted on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Its target.
        initial : bool, default=True
            Whether to draw those at the initial weights, too.
        max_rows : int, default=1000
            Most rows to look at, drawn at random.
        bins : int, default=60
            Bins of a violin.
        ax : matplotlib Axes, or a sequence of two, default=None
            Where to draw. A single one is split; None makes a figure.

        Returns
        -------
        GradientDisplay
            What was drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If its parameters are not those of the fit, and the initial weights cannot be drawn anew.
        """
        network, X = fitted_network(estimator, X)
        now, then = _probes(network, X, y, initial, max_rows)
        record = _compared(_gradients(now), None if then is None else _gradients(then), bins, logarithmic=True)
        return cls(**record).plot(ax)


@dataclass(frozen=True)
class _ByLayer:
    """What was seen of each layer: names, values, and the share to be drawn below."""

    layers: list[str]
    values: list[np.ndarray]
    below: np.ndarray


def _probes(network: Any, X: Any, y: Any, initial: bool, max_rows: int) -> tuple[Probe, Probe | None]:
    now = probe(network, X, y, max_rows=max_rows)
    return now, probe(network, X, y, "initial", max_rows) if initial else None


def _activations(seen: Probe) -> _ByLayer:
    layers = seen.layers[:-1] or seen.layers
    flat = [max(layer.dead.mean(), layer.saturated.mean()) for layer in layers]
    return _ByLayer([layer.name for layer in layers], [layer.after.ravel() for layer in layers], np.array(flat))


def _gradients(seen: Probe) -> _ByLayer:
    sizes = [np.abs(np.asarray(layer.gradient, dtype=float)).ravel() for layer in seen.layers]
    return _ByLayer([layer.name for layer in seen.layers], sizes, np.array([(size == 0).mean() for size in sizes]))


def _compared(now: _ByLayer, then: _ByLayer | None, bins: int, logarithmic: bool = False) -> dict[str, Any]:
    """The record of a Display: what is there now, beside what there was."""
    edges = edges_of([*now.values, *([] if then is None else then.values)], bins, logarithmic)
    record = {"layers": now.layers, "edges": edges, "shares": shares_of(now.values, edges), "below": now.below}
    if then is not None:
        record |= {"initial_shares": shares_of(then.values, edges), "initial_below": then.below}
    return record


def edges_of(values: list[np.ndarray], bins: int, logarithmic: bool = False) -> np.ndarray:
    """Edges of bins for what is not 0 in several layers, but for the outermost thousandth of each."""
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
    counts = [np.histogram(np.clip(each[each != 0], edges[0], edges[-1]), edges)[0] for each in values]
    return np.array([count / max(count.sum(), 1) for count in counts])
