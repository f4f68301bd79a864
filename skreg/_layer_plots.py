"""What is drawn by layer: weights, activations and gradients."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ._plotting import fitted_network
from ._violins import LayerDisplay, edges_of, shares_of
from .diagnostics.probe import Probe, probe


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
    >>> len(WeightDisplay.from_estimator(sparse).below)
    3
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
        linears = network.net_.module_.linears
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
