import pickle
import subprocess
import sys
import warnings
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skreg import RegularizedMLPClassifier
from skreg.plots import (
    ActivationDisplay,
    FeatureSelectionDisplay,
    GradientDisplay,
    RegularizationPathDisplay,
    TrainingCurveDisplay,
    UncertaintyDisplay,
    WeightDisplay,
)
from skreg.plots.common import COLORS, MAX_TEXT_LENGTH, plain_text
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


HOSTILE_COUNTS = (0.5, -1, "text", None, [2], {"a": 1}, np.nan)
OPTIONS = {
    "bins": (ActivationDisplay, GradientDisplay, WeightDisplay),
    "max_rows": (ActivationDisplay, GradientDisplay),
    "max_features": (FeatureSelectionDisplay,),
    "n_bins": (UncertaintyDisplay,),
    "n_named": (RegularizationPathDisplay,),
    "initial": (ActivationDisplay, GradientDisplay),
    "ax": DISPLAYS,
    "param_name": (RegularizationPathDisplay,),
    "param_range": (RegularizationPathDisplay,),
}
HOSTILE_VALUES = {"ax": ("text", 1.0, [1, 2], {"a": 1}), "param_name": (1, None), "initial": ("yes", 2, None, [])}
HOSTILE_VALUES["param_range"] = (1.0, "text", None, [], ["a"], [None, 1.0], [[1.0]])


@pytest.mark.parametrize(
    ("Display", "option"), [(Display, option) for option, displays in OPTIONS.items() for Display in displays]
)
def test_invalid_option_raises_an_error_that_names_it(Display, option, classifier):
    for value in HOSTILE_VALUES.get(option, HOSTILE_COUNTS):
        with pytest.raises((ValueError, TypeError), match=rf"'{option}' .*must be .*Got"):
            draw(Display, classifier, **{option: value})


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


HOSTILE_NAMES = [
    "$x",
    "$x$",
    r"$\frac{$",
    "cost $ and $ price",
    r"\$x_0\$",
    "\\alpha_{1}^2 %",
    "a_b^c",
    "_leading underscore",
    "",
    "  ",
    "two\nlines\tand\x00\rcontrol",
    "größe ≤ 5 é",
    "long " * 60,
    "long " * 60 + "and another end",
    "<b onclick='x'>&amp;</b>",
    "\ud800",
    "{x:.0%}",
]


NAMES_OF_FIGURE = [HOSTILE_NAMES[:6], HOSTILE_NAMES[6:12], HOSTILE_NAMES[11:]]
"""Names that one figure shows together."""


def drawn_texts(figure):
    """Draw a figure, and return the texts as they are drawn. Only numbers of axes may be parsed as formulas."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    drawn = [text._preprocess_math(text.get_text()) for text in texts]
    assert all(text.startswith(r"$\mathdefault{") for text, is_formula in drawn if is_formula)
    return {text.lstrip("\u200b") for text, _ in drawn}


def shown(name):
    """Return a hostile name as ``plain_text`` shows it: without escapes of dollars and marks of underscores."""
    return plain_text(name).replace(r"\$", "$").lstrip("\u200b")


@pytest.mark.parametrize("Display", DISPLAYS)
@pytest.mark.parametrize("names", NAMES_OF_FIGURE)
def test_text_from_data_is_drawn_as_it_is(Display, names):
    table = pd.DataFrame(X[:40, : len(names)], columns=[name.replace("\ud800", "") + "." for name in names])
    label = np.where(LABEL[:40], names[0], names[1])
    fitted = Pipeline([(names[0], RegularizedMLPClassifier((4, 3), max_iter=3, n_members=2, random_state=0))])
    fitted.fit(table, label)
    rows = {
        ActivationDisplay: (table,),
        GradientDisplay: (table, label),
        RegularizationPathDisplay: (table, label),
        UncertaintyDisplay: (table, label),
    }
    path = {"param_name": f"{names[0]}__alpha", "param_range": [0.1], "cv": 2, "n_named": len(names)}
    options = path if Display is RegularizationPathDisplay else {}
    display = Display.from_estimator(fitted, *rows.get(Display, ()), **options)
    texts = drawn_texts(display.figure_)
    if Display in (FeatureSelectionDisplay, RegularizationPathDisplay):
        assert {shown(column) for column in table.columns} <= texts
    if Display is RegularizationPathDisplay:
        assert shown(path["param_name"]) in texts
        assert len(display.axes_[1].get_legend().get_texts()) == len(names)


@pytest.mark.parametrize("names", NAMES_OF_FIGURE)
def test_text_given_to_the_constructor_of_a_display_is_drawn_as_it_is(names):
    curve = TrainingCurveDisplay(
        epochs=[1, 2], train=[2.0, 1.0], learning_rate=[0.1, 0.1], validation=[0.5, 0.6], validation_name=names[-1]
    )
    shares = np.full((len(names), 2), 0.5)
    weights = WeightDisplay(layers=names, edges=[-1.0, 0.0, 1.0], shares=shares, below=shares[:, 0])
    path = RegularizationPathDisplay(
        param_name=names[0],
        param_range=[0.1, 1.0],
        train_scores=np.ones((2, 2)),
        test_scores=np.ones((2, 2)),
        feature_norms=np.ones((2, 2, len(names))),
        feature_names=names,
        score_name=names[1],
    )
    drawn_texts(curve.plot().figure_)
    for display in weights.plot(plt.figure(figsize=(16, 6)).subplots(2, 1)), path.plot(n_named=len(names)):
        assert {shown(name) for name in names} <= drawn_texts(display.figure_)
    assert len(path.axes_[1].get_legend().get_texts()) == len(names)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_plain_text_is_printable_short_and_not_empty(name):
    text = shown(name)
    assert text.isprintable()
    assert text.strip()
    assert len(text) <= MAX_TEXT_LENGTH
    if name.isprintable() and name.strip() and len(name) <= MAX_TEXT_LENGTH:
        assert text == name


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
