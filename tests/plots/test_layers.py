from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.container import BarContainer
from matplotlib.patches import StepPatch
from numpy.testing import assert_allclose, assert_array_equal

from skreg import RegularizedMLPClassifier
from skreg.diagnostics.probe import probe
from skreg.plots import (
    ActivationDisplay,
    FeatureSelectionDisplay,
    GradientDisplay,
    TrainingCurveDisplay,
    UncertaintyDisplay,
    WeightDisplay,
)
from tests.plots.helpers import LABEL, SMALL, X


def violins(ax):
    """Return (edges, widths) of each violin, or half of one, of an Axes."""
    patches = [patch.get_data() for patch in ax.patches if isinstance(patch, StepPatch)]
    return [(edges, right - left) for right, edges, left in patches]


def heights(ax):
    """Return the heights of each group of bars."""
    return [[bar.get_height() for bar in bars] for bars in ax.containers if isinstance(bars, BarContainer)]


def assert_same_shape(widths, values, edges):
    """Check that a violin is a scaled histogram of the nonzero values."""
    counts, _ = np.histogram(np.clip(values[values != 0].astype(float), edges[0], edges[-1]), edges)
    assert_allclose(widths / widths.max(), counts / counts.max(), atol=1e-9)


def test_weights_and_zeros_equal_those_of_the_network():
    sparse = RegularizedMLPClassifier(alpha=0.05, l1_ratio=1.0, **SMALL).fit(X, LABEL)
    display = WeightDisplay.from_estimator(sparse, bins=20)
    weights = [linear.weight.detach().numpy().ravel() for linear in sparse.net_.module_.linears]
    assert display.layers == ["hidden 1", "hidden 2", "head"]
    for (edges, widths), weight in zip(violins(display.ax_), weights, strict=True):
        assert len(edges) == 21
        assert_same_shape(widths, weight, edges)
    (zeros,) = heights(display.axes_[1])
    assert_array_equal(zeros, [(weight == 0).mean() for weight in weights])
    assert zeros[0] > 0


def test_network_without_nonzero_weights_is_drawn():
    with pytest.warns(match="weights of all columns to zero"):
        zeros = RegularizedMLPClassifier(
            (), alpha=0.0, feature_alpha=50.0, n_members=1, max_iter=20, random_state=0
        ).fit(X, LABEL)
    display = WeightDisplay.from_estimator(zeros)
    assert heights(display.axes_[1]) == [[1.0]]
    assert_array_equal(FeatureSelectionDisplay.from_estimator(zeros).importances, np.zeros(6))


def test_activations_equal_those_of_the_probe_before_and_after_the_fit(classifier):
    display = ActivationDisplay.from_estimator(classifier, X)
    halves = violins(display.ax_)
    for when, drawn in (("initial", halves[:2]), ("now", halves[2:])):
        layers = probe(classifier, X, when=when).layers[:-1]
        for (edges, widths), layer in zip(drawn, layers, strict=True):
            assert_same_shape(widths, layer.after.ravel(), edges)
    assert_array_equal(heights(display.axes_[1])[1], display.below)
    assert len(violins(ActivationDisplay.from_estimator(classifier, X, initial=False).ax_)) == 2


def test_gradients_equal_those_of_the_probe(classifier):
    display = GradientDisplay.from_estimator(classifier, X, LABEL, initial=False)
    for (edges, widths), layer in zip(violins(display.ax_), probe(classifier, X, LABEL).layers, strict=True):
        assert_same_shape(widths, np.abs(layer.gradient.astype(float)).ravel(), edges)
    assert display.ax_.get_yscale() == "log"


def test_gradients_vanish_with_small_initial_weights():
    deep = {"hidden_layer_sizes": (32,) * 6, "activation": "tanh", "n_members": 1, "max_iter": 1, "random_state": 0}
    centers = {}
    for init in ("normal", "xavier_normal"):
        fitted = RegularizedMLPClassifier(init=init, **deep).fit(X, LABEL)
        gradients = GradientDisplay.from_estimator(fitted, X, LABEL)
        log_centers = np.log10(gradients.edges[1:] * gradients.edges[:-1]) / 2
        centers[init] = gradients.initial_shares @ log_centers
    assert all(lower < upper - 0.5 for lower, upper in pairwise(centers["normal"])), "at least half a decade a layer"
    assert np.ptp(centers["xavier_normal"][:-1]) < 0.5


def test_raw_output_is_drawn_without_hidden_layers():
    linear = RegularizedMLPClassifier((), max_iter=3, random_state=0).fit(X, LABEL)
    assert ActivationDisplay.from_estimator(linear, X).layers == ["head"]
    assert WeightDisplay.from_estimator(linear).layers == ["head"]


@pytest.mark.parametrize(
    "params", [{"numeric_embedding": "periodic", "batch_norm": True}, {"precision": "float64"}], ids=str
)
def test_all_kinds_of_networks_are_drawn(params, mixed_table):
    fitted = RegularizedMLPClassifier(**SMALL, **params).fit(mixed_table.X, mixed_table.label)
    rows = mixed_table.X, mixed_table.label
    assert len(FeatureSelectionDisplay.from_estimator(fitted).feature_names) == 6
    assert np.isfinite(WeightDisplay.from_estimator(fitted).shares).all()
    assert np.isfinite(TrainingCurveDisplay.from_estimator(fitted).train).all()
    assert np.isfinite(ActivationDisplay.from_estimator(fitted, rows[0]).shares).all()
    assert np.isfinite(GradientDisplay.from_estimator(fitted, *rows).shares).all()
    assert UncertaintyDisplay.from_estimator(fitted, *rows).counts.sum() == len(rows[0])


def test_displays_that_share_axes_are_not_cut_off(classifier):
    sparse = RegularizedMLPClassifier(alpha=0.05, l1_ratio=1.0, **SMALL).fit(X, LABEL)
    for first, second in ((sparse, classifier), (classifier, sparse)):
        axes = plt.figure().subplots(2, 2, sharey="row")
        displays = [
            WeightDisplay.from_estimator(first, ax=axes[:, 0]),
            WeightDisplay.from_estimator(second, ax=axes[:, 1]),
        ]
        zeros = max(display.below.max() for display in displays)
        assert all(ax.get_ylim()[1] >= zeros for ax in axes[1])
        for display in displays:
            low, high = display.ax_.get_ylim()
            assert low <= display.edges[0]
            assert display.edges[-1] <= high


def test_docstrings_contain_the_shared_sections():
    for Display in (ActivationDisplay, GradientDisplay, WeightDisplay):
        assert "{" not in Display.__doc__
        assert "\ninitial_shares, initial_below : " in Display.__doc__
