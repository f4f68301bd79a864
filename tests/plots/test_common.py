import pickle
import subprocess
import sys
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skreg import RegularizedMLPClassifier
from skreg.plots import (
    ActivationDisplay,
    FeatureSelectionDisplay,
    GradientDisplay,
    RegularizationPathDisplay,
    TrainingCurveDisplay,
    UncertaintyDisplay,
)
from skreg.plots.common import COLORS
from tests.plots.helpers import DISPLAYS, LABEL, OF_FITTED, SMALL, X, draw

COLUMN_INCHES = (3.4, 3.0)


@pytest.mark.parametrize("Display", DISPLAYS)
def test_given_axes_is_used_and_no_figure_is_created(Display, classifier):
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 6))
    display = draw(Display, classifier, ax=right)
    assert plt.get_fignums() == [figure.number]
    assert display.figure_ is figure
    assert display.ax_ is display.axes_[0]
    for panel in display.axes_:
        position = panel.get_position()
        assert (position.x0 + position.x1) / 2 > 0.5, "the panels replace the given Axes"
    assert not left.get_lines()
    assert not left.patches


@pytest.mark.parametrize("Display", [Display for Display in DISPLAYS if Display is not FeatureSelectionDisplay])
def test_one_axes_for_each_panel_can_be_given(Display, classifier):
    figure, axes = plt.subplots(2, 1)
    display = draw(Display, classifier, ax=axes)
    assert list(display.axes_) == list(axes)
    assert plt.get_fignums() == [figure.number]
    again = display.plot(list(plt.figure().subplots(1, 2)))
    assert again is display
    assert display.figure_ is not figure


@pytest.mark.parametrize("Display", [ActivationDisplay, RegularizationPathDisplay, TrainingCurveDisplay])
def test_panels_without_a_shared_axis_have_the_same_limits(Display, classifier):
    display = draw(Display, classifier, ax=plt.figure().subplots(2, 2)[:, 1])
    upper, lower = display.axes_
    assert upper.get_xlim() == lower.get_xlim()
    assert any(label.get_text() for label in upper.get_yticklabels()), "the right column keeps its tick labels"


def test_unsuitable_axes_are_rejected(classifier):
    with pytest.raises(ValueError, match=r"a sequence of 2, one for each panel\. Got 3"):
        TrainingCurveDisplay.from_estimator(classifier, ax=plt.figure().subplots(3, 1))
    with pytest.raises(ValueError, match="not in a grid of subplots"):
        TrainingCurveDisplay.from_estimator(classifier, ax=plt.figure().add_axes((0, 0, 1, 1)))


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("Display", DISPLAYS)
def test_nothing_is_cut_off_or_overlaps_at_the_width_of_a_column(Display, style, classifier):
    with plt.style.context(style), plt.rc_context({"figure.figsize": COLUMN_INCHES}):
        display = draw(Display, classifier)
        figure = display.figure_
        figure.canvas.draw()
        assert figure.get_figwidth() == COLUMN_INCHES[0]
        needed, given = figure.get_tightbbox(), figure.get_size_inches()
        assert needed.x0 > -0.02
        assert needed.y0 > -0.02
        assert needed.x1 < given[0] + 0.02
        assert needed.y1 < given[1] + 0.02
        for panel in display.axes_:
            for axis in (panel.xaxis, panel.yaxis):
                labels = [label for label in axis.get_ticklabels() if label.get_visible() and label.get_text()]
                low, high = sorted(axis.get_view_interval())
                extents = [
                    label.get_window_extent()
                    for label in labels
                    if low <= label.get_position()[axis is panel.yaxis] <= high
                ]
                assert not any(one.overlaps(other) for one, other in pairwise(extents)), "tick labels overlap"


@pytest.mark.parametrize("Display", DISPLAYS)
def test_text_color_follows_the_style(Display, classifier):
    with plt.style.context("dark_background"):
        display = draw(Display, classifier)
        for panel in display.axes_:
            texts = [*panel.get_xticklabels(), *panel.get_yticklabels(), panel.xaxis.label, panel.yaxis.label]
            legend = panel.get_legend()
            texts += legend.get_texts() if legend else []
            assert all(luminance(text.get_color()) > 0.5 for text in texts)


def luminance(color):
    """Return the relative luminance as defined by WCAG 2."""
    linear = [
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in to_rgb(color)
    ]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_colors_contrast_with_the_background_and_with_each_other():
    for color in COLORS:
        assert (luminance(color) + 0.05) / 0.05 > 3
    for color in (COLORS[0], COLORS[2], COLORS[3]):
        assert 1.05 / (luminance(color) + 0.05) > 3
    assert luminance(COLORS[1]) > 2 * luminance(COLORS[0]), "initial and fitted weights"


@pytest.mark.parametrize("Display", OF_FITTED)
def test_unfitted_estimator_is_rejected(Display):
    for unfitted in (
        RegularizedMLPClassifier(),
        make_pipeline(StandardScaler(), RegularizedMLPClassifier()),
        GridSearchCV(RegularizedMLPClassifier(), {"dropout": [0.0]}),
    ):
        with pytest.raises(NotFittedError):
            draw(Display, unfitted)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("Display", OF_FITTED)
def test_display_of_a_pipeline_equals_that_of_its_last_step(Display, fitted_pipeline):
    display = draw(Display, fitted_pipeline)
    scaled = fitted_pipeline[0].transform(X)
    rows = {ActivationDisplay: (scaled,), GradientDisplay: (scaled, LABEL), UncertaintyDisplay: (scaled, LABEL)}
    expected = Display.from_estimator(fitted_pipeline[-1], *rows.get(Display, ()))
    for name in vars(expected):
        if not name.endswith("_"):
            one, other = getattr(display, name), getattr(expected, name)
            assert (one is None) == (other is None)
            assert one is None or np.array_equal(one, other)


def test_display_of_a_search_shows_the_best_estimator():
    search = GridSearchCV(RegularizedMLPClassifier(**SMALL), {"dropout": [0.0, 0.2]}, cv=2).fit(X, LABEL)
    display = TrainingCurveDisplay.from_estimator(search)
    assert_array_equal(display.train, search.best_estimator_.loss_curve_)
    search = GridSearchCV(RegularizedMLPClassifier(**SMALL), {"dropout": [0.0]}, cv=2, refit=False).fit(X, LABEL)
    with pytest.raises(ValueError, match="refit=True"):
        TrainingCurveDisplay.from_estimator(search)


@pytest.mark.parametrize("Display", [Display for Display in OF_FITTED if Display is not UncertaintyDisplay])
def test_other_estimator_is_rejected(Display):
    with pytest.raises(TypeError, match=r"Got LogisticRegression\(\) instead"):
        draw(Display, LogisticRegression().fit(X, LABEL))


@pytest.mark.parametrize("Display", OF_FITTED)
def test_pickled_estimator_and_pickled_display_are_drawn_alike(Display, classifier):
    display, other = draw(Display, classifier), draw(Display, pickle.loads(pickle.dumps(classifier)))
    for name in vars(display):
        if not name.endswith("_"):
            assert (
                np.array_equal(getattr(display, name), getattr(other, name), equal_nan=False)
                or name == "validation_members"
            )
    fresh = pickle.loads(pickle.dumps(Display(**{k: v for k, v in vars(display).items() if not k.endswith("_")})))
    assert fresh.plot().ax_ is not display.ax_


def test_display_is_drawn_again_without_the_estimator(classifier, monkeypatch):
    displays = [draw(Display, classifier) for Display in DISPLAYS]
    monkeypatch.setattr(RegularizedMLPClassifier, "__getattribute__", None)
    for display in displays:
        first = display.ax_
        assert display.plot().ax_ is not first


def test_missing_matplotlib_is_reported_with_the_command_that_installs_it():
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "matplotlib": raise ImportError(name)
sys.meta_path.insert(0, Absent())
from skreg import RegularizedMLPClassifier, plots
fitted = RegularizedMLPClassifier(max_iter=2).fit([[0.0], [1.0]], ["no", "yes"])
live = RegularizedMLPClassifier(max_iter=2, callbacks=[plots.LiveTrainingCurve()])
for attempt in (lambda: plots.TrainingCurveDisplay.from_estimator(fitted), lambda: live.fit([[0.0], [1.0]], [0, 1])):
    try:
        attempt()
    except ImportError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.count('pip install ".[plot]"') == 2
