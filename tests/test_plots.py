"""The Displays: what is drawn is the record, where it is drawn, and what is refused."""

import pickle
import subprocess
import sys
import types
from itertools import pairwise

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.patches import StepPatch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg._plotting import COLOURS
from skreg._probe import probe
from skreg._training_plot import overfits
from skreg.plots import (
    ActivationDisplay,
    FeatureSelectionDisplay,
    GradientDisplay,
    LiveTrainingCurve,
    RegularizationPathDisplay,
    TrainingCurveDisplay,
    UncertaintyDisplay,
    WeightDisplay,
)
from skreg.search.vectorized.stacked_net import StackedNet

matplotlib.use("Agg")

SMALL = {"hidden_layer_sizes": (8, 6), "max_iter": 8, "random_state": 0}
X, LABEL = make_classification(240, 6, flip_y=0.2, random_state=0)
NUMBER = make_regression(240, 6, noise=5.0, random_state=0)[1]
COLUMN = (3.4, 3.0)


@pytest.fixture(scope="module")
def classifier():
    return RegularizedMLPClassifier(early_stopping=True, **SMALL).fit(X, LABEL)


@pytest.fixture(scope="module")
def fitted_pipeline():
    return make_pipeline(StandardScaler(), RegularizedMLPClassifier(**SMALL)).fit(X, LABEL)


@pytest.fixture(autouse=True)
def no_figures():
    yield
    plt.close("all")


def draw(Display, estimator, **kwargs):
    """Make a Display of any kind from an estimator."""
    rows = {ActivationDisplay: (X,), GradientDisplay: (X, LABEL), UncertaintyDisplay: (X, LABEL)}.get(Display, ())
    if Display is RegularizationPathDisplay:
        rows, kwargs = (
            (X, LABEL),
            {"param_name": path_parameter(estimator), "param_range": [0.01, 0.1], "cv": 2} | kwargs,
        )
    return Display.from_estimator(estimator, *rows, **kwargs)


def path_parameter(estimator):
    return next(
        name for name in estimator.get_params() if name.endswith("alpha") and not name.endswith("feature_alpha")
    )


OF_FITTED = [
    *(ActivationDisplay, FeatureSelectionDisplay, GradientDisplay, TrainingCurveDisplay, UncertaintyDisplay),
    WeightDisplay,
]
DISPLAYS = [*OF_FITTED, RegularizationPathDisplay]


def lines(ax):
    """{label: (x, y)} of the lines of an Axes that have one."""
    return {line.get_label(): line.get_data() for line in ax.get_lines() if not line.get_label().startswith("_")}


# the training


def test_the_curves_are_the_history(classifier):
    display = TrainingCurveDisplay.from_estimator(classifier)
    epochs = np.arange(1, classifier.n_iter_ + 1)
    drawn = lines(display.ax_)
    for label, curve in (("training", classifier.loss_curve_), ("validation", classifier.validation_curve_)):
        assert_array_equal(drawn[label], [epochs, curve])
    assert_array_equal(drawn[f"best epoch, {classifier.best_iter_}"][0], [classifier.best_iter_] * 2)
    best = classifier.net_.stopping_.best_epoch.numpy()
    assert_array_equal(drawn["its best epoch"], [best, display.validation_members[best - 1, np.arange(4)]])
    (rate,) = (
        line
        for line in display.axes_[1].get_lines()
        if len(line.get_xdata()) == len(epochs) and line.get_alpha() is None
    )
    assert_array_equal(rate.get_ydata(), classifier.net_.history[:, "lr"])


def test_the_members_own_curves_have_the_validation_curve_as_their_mean(classifier):
    members = TrainingCurveDisplay.from_estimator(classifier).validation_members
    assert members.shape == (classifier.n_iter_, 4)
    assert_allclose(np.nanmean(members, 1), classifier.validation_curve_)


def test_the_members_are_drawn():
    stopped = RegularizedMLPClassifier(early_stopping=True, patience=2, **SMALL | {"max_iter": 30}).fit(X, LABEL)
    display = TrainingCurveDisplay.from_estimator(stopped)
    assert np.isnan(display.validation_members).any(), "members stop one by one"
    thin = [line.get_ydata() for line in display.ax_.get_lines() if line.get_linewidth() == 0.7]
    assert_array_equal(np.column_stack(thin), display.validation_members)


@pytest.mark.usefixtures("plain_training")
def test_the_epochs_that_overfit_are_shaded():
    bare = {"dropout": 0.0, "weight_decay": 0.0, "learning_rate": "constant", "random_state": 0}
    fitted = RegularizedMLPClassifier((64,), patience=25, early_stopping=True, **bare).fit(X, LABEL)
    display = TrainingCurveDisplay.from_estimator(fitted)
    assert display.overfits_from < fitted.n_iter_ / 2
    (span,) = (patch for patch in display.ax_.patches if patch.get_label() == "overfits")
    assert_allclose([span.get_x(), span.get_x() + span.get_width()], [display.overfits_from, fitted.n_iter_])
    assert span.get_hatch()


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_overfitting(seed):
    rng = np.random.default_rng(seed)
    train, score = np.linspace(1, 0, 40), rng.normal(size=40)
    assert not overfits(train, score, int(score[:20].argmax()))
    plateau = -np.exp(-np.arange(40) / 5.0) + 0.02 * score
    assert not overfits(train, plateau, int(plateau.argmax()))


@pytest.mark.parametrize("seed", range(20))
def test_a_score_that_falls_while_the_network_learns_on_is_overfitting(seed):
    epoch = np.arange(40)
    score = -np.abs(epoch - 10) / 30 + 0.03 * np.random.default_rng(seed).normal(size=40)
    assert overfits(1 / (1.0 + epoch), score, int(score.argmax()))
    assert not overfits(1 + epoch / 10, score, int(score.argmax())), "a training loss that rises too is another illness"


def test_a_monitor_that_is_a_score_has_a_panel_of_its_own():
    fitted = RegularizedMLPClassifier(early_stopping=True, monitor="roc_auc", **SMALL).fit(X, LABEL)
    display = TrainingCurveDisplay.from_estimator(fitted)
    curves, score, _ = display.axes_
    assert "validation" not in lines(curves)
    assert_array_equal(lines(score)["validation"][1], fitted.validation_curve_)
    assert score.get_ylabel() == "roc_auc"


def test_a_fit_without_validation_has_a_training_curve_alone():
    fitted = RegularizedMLPRegressor(early_stopping=False, **SMALL).fit(X, NUMBER)
    display = TrainingCurveDisplay.from_estimator(fitted)
    assert list(lines(display.ax_)) == ["training"]
    assert (display.validation, display.best_epoch, display.overfits_from) == (None, None, None)


def test_one_member_is_the_mean():
    fitted = RegularizedMLPClassifier(early_stopping=True, n_members=1, **SMALL).fit(X, LABEL)
    display = TrainingCurveDisplay.from_estimator(fitted)
    assert display.validation_members is None
    assert not {"each member", "its best epoch"} & set(lines(display.ax_))


def test_a_warm_start_shows_its_last_fit():
    warm = RegularizedMLPClassifier(warm_start=True, early_stopping=True, **SMALL).fit(X, LABEL)
    warm.set_params(max_iter=3).fit(X, LABEL)
    display = TrainingCurveDisplay.from_estimator(warm)
    assert_array_equal(display.epochs, [1, 2, 3])
    assert len(display.validation_members) == 3


def test_a_stream_shows_its_calls():
    stream = RegularizedMLPClassifier(**SMALL)
    for _ in range(3):
        stream.partial_fit(X, LABEL, classes=[0, 1])
    display = TrainingCurveDisplay.from_estimator(stream)
    assert_array_equal(lines(display.ax_)["training"], [[1, 2, 3], stream.loss_curve_])
    stream = RegularizedMLPClassifier(early_stopping=True, **SMALL).fit(X, LABEL).partial_fit(X, LABEL)
    assert len(TrainingCurveDisplay.from_estimator(stream).epochs) == stream.n_iter_


def test_an_interrupted_fit_shows_the_epochs_that_are_done():
    class Interrupt(LiveTrainingCurve):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 5:
                raise KeyboardInterrupt

    fitted, live = RegularizedMLPClassifier(**SMALL), Interrupt()
    with pytest.raises(KeyboardInterrupt):
        fitted.set_params(callbacks=[live]).fit(X, LABEL)
    assert_array_equal(TrainingCurveDisplay.from_estimator(fitted).epochs, [1, 2, 3, 4])
    assert_array_equal(live.display_.epochs, [1, 2, 3, 4])


# following a fit


def test_a_live_curve_ends_as_the_curve_of_the_fit_and_changes_no_bit(classifier):
    live = LiveTrainingCurve(seconds=0)
    followed = RegularizedMLPClassifier(early_stopping=True, callbacks=[live], **SMALL).fit(X, LABEL)
    assert_array_equal(followed.predict_proba(X), classifier.predict_proba(X))
    after = TrainingCurveDisplay.from_estimator(classifier)
    assert_array_equal(lines(live.display_.ax_)["validation"], lines(after.ax_)["validation"])
    assert plt.get_fignums() == [live.display_.figure_.number, after.figure_.number], "one figure for all epochs"


def test_a_live_curve_is_cloned_and_pickled_without_its_picture():
    live = LiveTrainingCurve(seconds=3.0)
    fitted = RegularizedMLPClassifier(callbacks=[live], **SMALL).fit(X, LABEL)
    (other,) = pickle.loads(pickle.dumps(fitted)).callbacks
    (copied,) = clone(fitted).callbacks
    for callback in (other, copied):
        assert callback.seconds == 3.0
        assert not hasattr(callback, "display_")
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))


def test_a_notebook_sees_one_picture_that_is_renewed(monkeypatch):
    shown = []
    handle = types.SimpleNamespace(update=lambda figure: shown.append(("update", figure)))

    def display(figure, display_id):
        assert display_id
        shown.append(("display", figure))
        return handle

    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    monkeypatch.setattr(plt, "get_backend", lambda: "module://matplotlib_inline.backend_inline")
    live = LiveTrainingCurve(seconds=0)
    RegularizedMLPClassifier(callbacks=[live], **SMALL).fit(X, LABEL)
    assert [what for what, _ in shown] == ["display"] + ["update"] * 8
    assert {figure for _, figure in shown} == {live.display_.figure_}
    assert plt.get_fignums() == [], "or the notebook shows it a second time"
    RegularizedMLPClassifier(callbacks=[live], **SMALL).fit(X, LABEL)
    assert len({figure for _, figure in shown}) == 2, "another fit, another picture"


def test_a_live_curve_draws_no_oftener_than_it_is_told(monkeypatch):
    drawn = []
    plot = TrainingCurveDisplay.plot
    monkeypatch.setattr(TrainingCurveDisplay, "plot", lambda self, ax=None: drawn.append(self) or plot(self, ax))
    RegularizedMLPClassifier(callbacks=[LiveTrainingCurve(seconds=1000)], **SMALL).fit(X, LABEL)
    assert len(drawn) == 1


# the layers


def violins(ax):
    """(edges, widths) of each half violin or violin of an Axes."""
    patches = [patch.get_data() for patch in ax.patches if isinstance(patch, StepPatch)]
    return [(edges, right - left) for right, edges, left in patches]


def heights(ax):
    """Heights of the bars of each group of them."""
    return [[bar.get_height() for bar in found] for found in ax.containers if isinstance(found, BarContainer)]


def assert_same_shape(widths, values, edges):
    """A violin is as wide as the histogram of what is not 0, in units of its own."""
    counts, _ = np.histogram(np.clip(values[values != 0].astype(float), edges[0], edges[-1]), edges)
    assert_allclose(widths / widths.max(), counts / counts.max(), atol=1e-9)


def test_weights_are_those_of_the_network_and_their_zeros():
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


def test_a_network_of_zeros_is_drawn():
    with pytest.warns(match="every column"):
        nothing = RegularizedMLPClassifier((), alpha=0.0, feature_alpha=50.0, n_members=1, max_iter=20).fit(X, LABEL)
    display = WeightDisplay.from_estimator(nothing)
    assert heights(display.axes_[1]) == [[1.0]]
    assert_array_equal(FeatureSelectionDisplay.from_estimator(nothing).importances, np.zeros(6))


def test_activations_are_those_of_the_probe_before_and_after_the_fit(classifier):
    display = ActivationDisplay.from_estimator(classifier, X)
    halves = violins(display.ax_)
    for when, drawn in (("initial", halves[:2]), ("now", halves[2:])):
        layers = probe(classifier, X, when=when).layers[:-1]
        for (edges, widths), layer in zip(drawn, layers, strict=True):
            assert_same_shape(widths, layer.after.ravel(), edges)
    assert_array_equal(heights(display.axes_[1])[1], display.below)
    assert len(violins(ActivationDisplay.from_estimator(classifier, X, initial=False).ax_)) == 2


def test_gradients_are_those_of_the_probe(classifier):
    display = GradientDisplay.from_estimator(classifier, X, LABEL, initial=False)
    for (edges, widths), layer in zip(violins(display.ax_), probe(classifier, X, LABEL).layers, strict=True):
        assert_same_shape(widths, np.abs(layer.gradient.astype(float)).ravel(), edges)
    assert display.ax_.get_yscale() == "log"


def test_small_initial_weights_are_seen_to_let_activations_and_gradients_vanish():
    deep = {"hidden_layer_sizes": (32,) * 6, "activation": "tanh", "n_members": 1, "max_iter": 1, "random_state": 0}
    centers = {}
    for init in ("normal", "xavier_normal"):
        fitted = RegularizedMLPClassifier(init=init, **deep).fit(X, LABEL)
        gradients = GradientDisplay.from_estimator(fitted, X, LABEL)
        middle = np.log10(gradients.edges[1:] * gradients.edges[:-1]) / 2
        centers[init] = gradients.initial_shares @ middle
    assert all(lower < upper - 0.5 for lower, upper in pairwise(centers["normal"])), "half a decade a layer and more"
    assert np.ptp(centers["xavier_normal"][:-1]) < 0.5


def test_without_a_hidden_layer_the_raw_output_is_drawn():
    linear = RegularizedMLPClassifier((), max_iter=3, random_state=0).fit(X, LABEL)
    assert ActivationDisplay.from_estimator(linear, X).layers == ["head"]
    assert WeightDisplay.from_estimator(linear).layers == ["head"]


@pytest.mark.parametrize(
    "more",
    [
        {"n_adapters": 2},
        {"snapshots": True, "learning_rate": "cosine_restarts"},
        {"numeric_embedding": "periodic", "batch_norm": True},
        {"precision": "float64"},
    ],
    ids=str,
)
def test_networks_of_all_kinds_are_drawn(more, mixed_table):
    fitted = RegularizedMLPClassifier(**SMALL, **more).fit(mixed_table.X, mixed_table.label)
    rows = mixed_table.X, mixed_table.label
    assert len(FeatureSelectionDisplay.from_estimator(fitted).feature_names) == 6
    assert np.isfinite(WeightDisplay.from_estimator(fitted).shares).all()
    assert np.isfinite(TrainingCurveDisplay.from_estimator(fitted).train).all()
    assert np.isfinite(ActivationDisplay.from_estimator(fitted, rows[0]).shares).all()
    assert np.isfinite(GradientDisplay.from_estimator(fitted, *rows).shares).all()
    assert UncertaintyDisplay.from_estimator(fitted, *rows).counts.sum() == len(rows[0])


# the path


def test_a_path_is_what_cross_validation_says():
    estimator, folds = RegularizedMLPRegressor(**SMALL), KFold(3)
    values = [0.001, 0.1, 10.0]
    display = RegularizationPathDisplay.from_estimator(estimator, X, NUMBER, param_range=values, cv=folds, scoring="r2")
    for place, value in enumerate(values):
        said = cross_validate(
            clone(estimator).set_params(alpha=value),
            X,
            NUMBER,
            cv=folds,
            return_train_score=True,
            return_estimator=True,
        )
        assert_allclose(display.test_scores[place], said["test_score"], atol=1e-5)
        assert_allclose(display.train_scores[place], said["train_score"], atol=1e-5)
        norms = [fitted.net_.module_.feature_norms().mean(0) for fitted in said["estimator"]]
        assert_allclose(display.feature_norms[place], norms, atol=1e-4)
    drawn = lines(display.ax_)
    assert_array_equal(drawn["left out"], [values, display.test_scores.mean(1)])
    assert_array_equal(drawn["training"], [values, display.train_scores.mean(1)])
    paths = np.array([line.get_ydata() for line in display.axes_[1].get_lines() if len(line.get_xdata()) == 3])
    assert len(paths) == 6
    assert_allclose(sorted(paths.tolist()), sorted(display.feature_norms.mean(1).T.tolist()))
    assert len(lines(display.axes_[1])) == 4, "four columns are named"
    assert display.ax_.get_xscale() == "log"


def test_fits_of_a_path_train_side_by_side(monkeypatch):
    sizes, stack = [], StackedNet.stack
    monkeypatch.setattr(StackedNet, "stack", lambda fits: sizes.append(len(fits)) or stack(fits))
    one = RegularizedMLPRegressor(n_members=1, **SMALL)
    RegularizationPathDisplay.from_estimator(one, X, NUMBER, param_range=[0.001, 0.1, 10.0], cv=3)
    assert sizes == [9]


def test_a_value_that_is_refused_is_refused_in_a_path():
    with pytest.raises(ValueError, match=r"'dropout' parameter .* Got 2\.0 instead"):
        RegularizationPathDisplay.from_estimator(
            RegularizedMLPRegressor(**SMALL), X, NUMBER, param_name="dropout", param_range=[0.1, 2.0], cv=2
        )


def test_columns_leave_a_path():
    linear = RegularizedMLPRegressor((), n_members=1, early_stopping=False, max_iter=30, random_state=0)
    path = {"param_name": "feature_alpha", "param_range": [0.0, 0.3, 50.0], "cv": 2}
    display = RegularizationPathDisplay.from_estimator(linear, X, NUMBER, **path)
    left = (display.feature_norms > 0).all(1).sum(1)
    assert left[0] == 6
    assert left[-1] == 0
    assert display.ax_.get_xscale() == "linear", "a 0 has no place on a logarithmic axis"


def test_a_path_of_another_kind_of_number_stays_of_that_kind():
    path = {"param_name": "n_members", "param_range": [1, 2], "cv": 2}
    display = RegularizationPathDisplay.from_estimator(RegularizedMLPClassifier(**SMALL), X, LABEL, **path)
    assert_array_equal(display.param_range, [1, 2])


def test_a_path_goes_through_a_pipeline_and_names_the_columns(mixed_table):
    numbers = mixed_table.X[["number", "count"]]
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), RegularizedMLPRegressor(**SMALL))
    path = {"param_name": "regularizedmlpregressor__alpha", "param_range": [0.01, 1.0], "cv": 2}
    display = RegularizationPathDisplay.from_estimator(pipeline, numbers, mixed_table.number, **path)
    assert list(display.feature_names) == ["number", "count"]


# the columns


def test_columns_are_sorted_and_those_without_weight_are_dropped():
    names = np.array([f"column {j}" for j in range(7)])
    display = FeatureSelectionDisplay(importances=[0.1, 0.0, 0.4, 0.0, 0.3, 0.2, 0.0], feature_names=names).plot()
    assert [bar.get_width() for bar in display.ax_.patches] == [0.4, 0.3, 0.2, 0.1, 0.0, 0.0, 0.0]
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == [f"column {j}" for j in (2, 4, 5, 0, 1, 3, 6)]
    assert [text.get_text().strip() for text in display.ax_.texts] == ["dropped"] * 3
    few = display.plot(max_features=2)
    assert len(few.ax_.patches) == 2
    assert few.ax_.get_yticklabels()[-1].get_text() == "5 more, 3 dropped"


def test_importances_are_those_of_the_estimator(mixed_table):
    fitted = RegularizedMLPClassifier(**SMALL).fit(mixed_table.X, mixed_table.label)
    display = FeatureSelectionDisplay.from_estimator(fitted)
    assert_array_equal(display.importances, fitted.feature_importances_)
    assert list(display.feature_names) == list(mixed_table.X.columns)


# reliability


def test_probabilities_that_come_true_lie_on_the_diagonal():
    rng = np.random.default_rng(0)
    said = rng.uniform(size=20_000)
    display = UncertaintyDisplay.from_predictions((rng.uniform(size=said.size) < said).astype(int), said)
    assert display.calibration_error < 0.02
    assert_allclose(display.prob_true, display.prob_pred, atol=0.03)
    assert (display.prob_low <= display.prob_true).all()
    assert (display.prob_true <= display.prob_high).all()
    (bars,) = (found for found in display.ax_.containers if isinstance(found, ErrorbarContainer))
    assert_array_equal(bars[0].get_data(), [display.prob_pred, display.prob_true])


def test_the_calibration_error_is_the_mean_distance():
    display = UncertaintyDisplay.from_predictions(["a"] * 6 + ["b"] * 4, [0.9] * 10, classes=["a", "b"])
    assert_allclose(display.calibration_error, 0.5)
    assert_array_equal(display.counts, [10])


def test_of_several_classes_it_is_the_predicted_one():
    prob = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.7, 0.2, 0.1]])
    display = UncertaintyDisplay.from_predictions([0, 1, 1, 0], prob, classes=[0, 1, 2], n_bins=2)
    assert display.confidence
    assert_allclose([display.prob_pred, display.prob_true], [[0.65], [0.75]])
    assert (display.entropy_right.sum(), display.entropy_wrong.sum()) == (3, 1)


def test_entropies_are_histograms_of_right_and_wrong_rows(classifier):
    display = UncertaintyDisplay.from_estimator(classifier, X, LABEL)
    right = classifier.predict(X) == LABEL
    prob = classifier.predict_proba(X)
    entropy = -(prob * np.log(prob)).sum(1) / np.log(2)
    for counts, rows, patch in zip(
        (display.entropy_right, display.entropy_wrong), (right, ~right), display.axes_[1].patches, strict=True
    ):
        assert_array_equal(counts, np.histogram(entropy[rows], display.entropy_edges)[0])
        assert_allclose(patch.get_data().values, counts / rows.sum())


def test_samples_show_what_they_disagree_on():
    sure_and_torn = np.array(
        [[[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]]]
    )  # both are unsure: of noise, of itself
    display = UncertaintyDisplay.from_predictions([0, 0], sure_and_torn, classes=[0, 1])
    assert len(display.axes_) == 3
    both = display.disagreement_right + display.disagreement_wrong
    assert (both[0], both[-1]) == (1, 1)
    assert (display.entropy_right + display.entropy_wrong)[-1] == 2


def test_several_labels_are_rows_of_yes_and_no():
    several = np.column_stack([LABEL, 1 - LABEL, X[:, 0] > 0]).astype(int)
    fitted = RegularizedMLPClassifier(**SMALL).fit(X, several)
    display = UncertaintyDisplay.from_estimator(fitted, X, several)
    assert display.counts.sum() == several.size
    assert not display.confidence


def test_intervals_are_counted_and_measured():
    y = np.arange(10.0)
    lower, upper = np.array([[0.0] * 10, [-1.0] * 10]), np.array([[4.0] * 10, [8.0] * 10])
    display = UncertaintyDisplay.from_intervals(y, lower[::-1], upper[::-1], [0.9, 0.5])
    assert_allclose(display.nominal, [0.5, 0.9])
    assert_allclose(display.coverage, [0.5, 0.9])
    assert_allclose(display.width, [4.0, 9.0])
    assert_array_equal(display.axes_[1].get_lines()[0].get_data(), [display.coverage, display.width])


def test_a_regressor_is_asked_for_its_intervals():
    fitted = make_pipeline(StandardScaler(), RegularizedMLPRegressor(early_stopping=True, **SMALL)).fit(X, NUMBER)
    display = UncertaintyDisplay.from_estimator(fitted, X, NUMBER, coverage=[0.5, 0.8])
    scaled = fitted[0].transform(X)
    widths = [np.ptp(fitted[-1].predict_interval(scaled, coverage=level), axis=1).mean() for level in (0.5, 0.8)]
    assert_allclose(display.width, widths)
    two = RegularizedMLPRegressor(early_stopping=True, **SMALL).fit(X, np.column_stack([NUMBER, NUMBER]))
    with pytest.raises(ValueError, match="one output"):
        UncertaintyDisplay.from_estimator(two, X, NUMBER)


# where it is drawn


@pytest.mark.parametrize("Display", DISPLAYS)
def test_a_given_axes_is_used_and_no_figure_is_made(Display, classifier):
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 6))
    display = draw(Display, classifier, ax=right)
    assert plt.get_fignums() == [figure.number]
    assert display.figure_ is figure
    axes = getattr(display, "axes_", [display.ax_])
    assert display.ax_ is axes[0]
    for panel in axes:
        middle = panel.get_position()
        assert (middle.x0 + middle.x1) / 2 > 0.5, "in the place of the one that was given"
    assert not left.get_lines()
    assert not left.patches


@pytest.mark.parametrize("Display", [Display for Display in DISPLAYS if Display is not FeatureSelectionDisplay])
def test_panels_can_be_given_one_by_one(Display, classifier):
    figure, axes = plt.subplots(2, 1)
    display = draw(Display, classifier, ax=axes)
    assert list(display.axes_) == list(axes)
    assert plt.get_fignums() == [figure.number]
    again = display.plot(list(plt.figure().subplots(1, 2)))
    assert again is display
    assert display.figure_ is not figure


def test_two_displays_share_axes_and_neither_is_cut_off(classifier):
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


@pytest.mark.parametrize("Display", [ActivationDisplay, RegularizationPathDisplay, TrainingCurveDisplay])
def test_panels_that_share_no_axis_span_the_same(Display, classifier):
    display = draw(Display, classifier, ax=plt.figure().subplots(2, 2)[:, 1])
    upper, lower = display.axes_
    assert upper.get_xlim() == lower.get_xlim()
    assert any(label.get_text() for label in upper.get_yticklabels()), "the right column keeps its own numbers"


def test_axes_that_do_not_fit_are_refused(classifier):
    with pytest.raises(ValueError, match=r"a sequence of 2, one for each panel\. Got 3"):
        TrainingCurveDisplay.from_estimator(classifier, ax=plt.figure().subplots(3, 1))
    with pytest.raises(ValueError, match="does not stand in a grid"):
        TrainingCurveDisplay.from_estimator(classifier, ax=plt.figure().add_axes((0, 0, 1, 1)))


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("Display", DISPLAYS)
def test_at_the_width_of_a_column_nothing_is_cut_off(Display, style, classifier):
    with plt.style.context(style), plt.rc_context({"figure.figsize": COLUMN}):
        display = draw(Display, classifier)
        figure = display.figure_
        figure.canvas.draw()
        assert figure.get_figwidth() == COLUMN[0]
        needed, given = figure.get_tightbbox(), figure.get_size_inches()
        assert needed.x0 > -0.02
        assert needed.y0 > -0.02
        assert needed.x1 < given[0] + 0.02
        assert needed.y1 < given[1] + 0.02
        for panel in getattr(display, "axes_", [display.ax_]):
            for axis in (panel.xaxis, panel.yaxis):
                labels = [label for label in axis.get_ticklabels() if label.get_visible() and label.get_text()]
                low, high = sorted(axis.get_view_interval())
                seen = [
                    label.get_window_extent()
                    for label in labels
                    if low <= label.get_position()[axis is panel.yaxis] <= high
                ]
                assert not any(one.overlaps(other) for one, other in pairwise(seen)), "ticks do not run together"


@pytest.mark.parametrize("Display", DISPLAYS)
def test_text_follows_the_style(Display, classifier):
    with plt.style.context("dark_background"):
        display = draw(Display, classifier)
        for panel in getattr(display, "axes_", [display.ax_]):
            shown = [*panel.get_xticklabels(), *panel.get_yticklabels(), panel.xaxis.label, panel.yaxis.label]
            legend = panel.get_legend()
            shown += legend.get_texts() if legend else []
            assert all(luminance(text.get_color()) > 0.5 for text in shown)


def luminance(colour):
    """Relative luminance, as WCAG 2 has it."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_colours_stand_out_on_light_and_dark_ground_and_pairs_differ_in_lightness():
    for colour in COLOURS:
        assert (luminance(colour) + 0.05) / 0.05 > 3
    for colour in (COLOURS[0], COLOURS[2], COLOURS[3]):
        assert 1.05 / (luminance(colour) + 0.05) > 3
    assert luminance(COLOURS[1]) > 2 * luminance(COLOURS[0]), "initial and fitted"


# what is drawn, and what is refused


@pytest.mark.parametrize("Display", OF_FITTED)
def test_an_estimator_that_is_not_fitted_is_refused(Display):
    for unfitted in (
        RegularizedMLPClassifier(),
        make_pipeline(StandardScaler(), RegularizedMLPClassifier()),
        GridSearchCV(RegularizedMLPClassifier(), {"dropout": [0.0]}),
    ):
        with pytest.raises(NotFittedError):
            draw(Display, unfitted)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("Display", OF_FITTED)
def test_a_pipeline_is_drawn_by_its_last_step(Display, fitted_pipeline):
    display = draw(Display, fitted_pipeline)
    scaled = fitted_pipeline[0].transform(X)
    rows = {ActivationDisplay: (scaled,), GradientDisplay: (scaled, LABEL), UncertaintyDisplay: (scaled, LABEL)}
    alone = Display.from_estimator(fitted_pipeline[-1], *rows.get(Display, ()))
    for name in vars(alone):
        if not name.endswith("_"):
            one, other = getattr(display, name), getattr(alone, name)
            assert (one is None) == (other is None)
            assert one is None or np.array_equal(one, other)


def test_a_search_is_drawn_by_what_it_found():
    search = GridSearchCV(RegularizedMLPClassifier(**SMALL), {"dropout": [0.0, 0.2]}, cv=2).fit(X, LABEL)
    display = TrainingCurveDisplay.from_estimator(search)
    assert_array_equal(display.train, search.best_estimator_.loss_curve_)
    search = GridSearchCV(RegularizedMLPClassifier(**SMALL), {"dropout": [0.0]}, cv=2, refit=False).fit(X, LABEL)
    with pytest.raises(ValueError, match="refit=True"):
        TrainingCurveDisplay.from_estimator(search)


@pytest.mark.parametrize("Display", [Display for Display in OF_FITTED if Display is not UncertaintyDisplay])
def test_another_estimator_is_refused(Display):
    with pytest.raises(TypeError, match=r"Got LogisticRegression\(\) instead"):
        draw(Display, LogisticRegression().fit(X, LABEL))


def test_uncertainty_is_drawn_of_any_classifier_and_of_no_other_regressor():
    assert UncertaintyDisplay.from_estimator(LogisticRegression().fit(X, LABEL), X, LABEL).calibration_error < 0.2
    with pytest.raises(TypeError, match="Ridge has neither"):
        UncertaintyDisplay.from_estimator(Ridge().fit(X, NUMBER), X, NUMBER)


@pytest.mark.parametrize(
    ("y", "prob", "message"),
    [
        ([0, 1], [[0.2, 0.3, 0.5]] * 2, "one column for each of the 2 classes"),
        ([0, 1], [[0.2, 1.3]] * 2, "probabilities in"),
        ([0, 1, 1], [[0.5, 0.5]] * 2, "inconsistent numbers of samples"),
    ],
)
def test_probabilities_that_are_none_are_refused(y, prob, message):
    with pytest.raises(ValueError, match=message):
        UncertaintyDisplay.from_predictions(y, prob)
    assert plt.get_fignums() == []


def test_labels_and_intervals_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="not among the classes"):
        UncertaintyDisplay.from_predictions(["a", "c"], [[0.5, 0.5]] * 2, classes=["a", "b"])
    with pytest.raises(ValueError, match=r"\(levels, rows\), here \(1, 3\)"):
        UncertaintyDisplay.from_intervals([1.0, 2.0, 3.0], [0.0, 0.0], [1.0, 1.0], 0.9)


def test_folds_that_give_other_columns_have_no_path(mixed_table):
    from sklearn.feature_selection import SelectPercentile, VarianceThreshold

    class Fickle(VarianceThreshold):
        def _get_support_mask(self):
            return np.arange(6) < 3 + (self.variances_[0] > np.median(X[:, 0] ** 2))

    del SelectPercentile
    pipeline = make_pipeline(Fickle(), RegularizedMLPRegressor(**SMALL))
    path = {"param_name": "regularizedmlpregressor__alpha", "param_range": [0.01]}
    wide, narrow = np.r_[np.zeros(120), np.ones(120)].astype(bool), np.r_[np.ones(120), np.zeros(120)].astype(bool)
    rows = X.copy()
    rows[narrow, 0] *= 0.001
    folds = [(np.flatnonzero(part), np.flatnonzero(~part)) for part in (wide, narrow)]
    with pytest.raises(ValueError, match="no column has a path"):
        RegularizationPathDisplay.from_estimator(pipeline, rows, NUMBER, cv=folds, **path)


@pytest.mark.parametrize("Display", OF_FITTED)
def test_a_pickled_estimator_is_drawn_alike_and_a_display_is_pickled(Display, classifier):
    display, other = draw(Display, classifier), draw(Display, pickle.loads(pickle.dumps(classifier)))
    for name in vars(display):
        if not name.endswith("_"):
            assert (
                np.array_equal(getattr(display, name), getattr(other, name), equal_nan=False)
                or name == "validation_members"
            )
    fresh = pickle.loads(pickle.dumps(Display(**{k: v for k, v in vars(display).items() if not k.endswith("_")})))
    assert fresh.plot().ax_ is not display.ax_


def test_the_record_is_drawn_again_without_being_computed_again(classifier, monkeypatch):
    displays = [draw(Display, classifier) for Display in DISPLAYS]
    monkeypatch.setattr(RegularizedMLPClassifier, "__getattribute__", None)
    for display in displays:
        first = display.ax_
        assert display.plot().ax_ is not first


def test_without_matplotlib_a_sentence_says_what_to_install():
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
    assert done.stdout.count("pip install 'skreg[plot]'") == 2
