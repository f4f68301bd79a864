import pickle
import sys
import types

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.plots import LiveTrainingCurve, TrainingCurveDisplay
from skreg.plots.training_curve import is_overfitting
from tests.helpers import plain_classifier
from tests.plots.helpers import LABEL, NUMBER, SMALL, X, lines


def test_curves_equal_the_history(classifier):
    display = TrainingCurveDisplay.from_estimator(classifier)
    epochs = np.arange(1, classifier.n_iter_ + 1)
    drawn = lines(display.ax_)
    for label, curve in (("Training loss", classifier.loss_curve_), ("Validation loss", classifier.validation_curve_)):
        assert_array_equal(drawn[label], [epochs, curve])
    assert_array_equal(drawn[f"Best epoch ({classifier.best_iter_})"][0], [classifier.best_iter_] * 2)
    best = classifier.net_.stopping_.best_epoch.numpy()
    assert_array_equal(drawn["Best epoch of a member"], [best, display.validation_members[best - 1, np.arange(4)]])
    (rate,) = (
        line
        for line in display.axes_[1].get_lines()
        if len(line.get_xdata()) == len(epochs) and line.get_alpha() is None
    )
    assert_array_equal(rate.get_ydata(), classifier.net_.history[:, "lr"])


def test_validation_curve_is_the_mean_of_the_members_curves(classifier):
    members = TrainingCurveDisplay.from_estimator(classifier).validation_members
    assert members.shape == (classifier.n_iter_, 4)
    assert_allclose(np.nanmean(members, 1), classifier.validation_curve_)


def test_curves_of_stopped_members_are_drawn():
    stopped = RegularizedMLPClassifier(early_stopping=True, patience=2, **SMALL | {"max_iter": 30}).fit(X, LABEL)
    display = TrainingCurveDisplay.from_estimator(stopped)
    assert np.isnan(display.validation_members).any(), "members stop in different epochs"
    thin = [line.get_ydata() for line in display.ax_.get_lines() if line.get_linewidth() == 0.7]
    assert_array_equal(np.column_stack(thin), display.validation_members)


def test_overfitting_epochs_are_shaded():
    fitted = plain_classifier(
        (64,),
        patience=25,
        early_stopping=True,
        dropout=0.0,
        weight_decay=0.0,
        learning_rate="constant",
        random_state=0,
    ).fit(X, LABEL)
    display = TrainingCurveDisplay.from_estimator(fitted)
    assert display.overfits_from < fitted.n_iter_ / 2
    (span,) = (patch for patch in display.ax_.patches if patch.get_label() == "Overfitting")
    assert_allclose([span.get_x(), span.get_x() + span.get_width()], [display.overfits_from, fitted.n_iter_])
    assert span.get_hatch()


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_not_overfitting(seed):
    rng = np.random.default_rng(seed)
    train, score = np.linspace(1, 0, 40), rng.normal(size=40)
    assert not is_overfitting(train, score, int(score[:20].argmax()))
    plateau = -np.exp(-np.arange(40) / 5.0) + 0.02 * score
    assert not is_overfitting(train, plateau, int(plateau.argmax()))


@pytest.mark.parametrize("seed", range(20))
def test_falling_score_is_overfitting_only_while_the_training_loss_decreases(seed):
    epoch = np.arange(40)
    score = -np.abs(epoch - 10) / 30 + 0.03 * np.random.default_rng(seed).normal(size=40)
    assert is_overfitting(1 / (1.0 + epoch), score, int(score.argmax()))
    assert not is_overfitting(1 + epoch / 10, score, int(score.argmax()))


def test_score_is_drawn_in_a_separate_panel():
    fitted = RegularizedMLPClassifier(early_stopping=True, monitor="roc_auc", **SMALL).fit(X, LABEL)
    display = TrainingCurveDisplay.from_estimator(fitted)
    curves, score, _ = display.axes_
    assert "Validation roc auc" not in lines(curves)
    assert_array_equal(lines(score)["Validation roc auc"][1], fitted.validation_curve_)
    assert display.validation_name == "roc_auc"
    assert score.get_ylabel() == "Roc auc"


def test_fit_without_validation_has_only_a_training_curve():
    fitted = RegularizedMLPRegressor(early_stopping=False, **SMALL).fit(X, NUMBER)
    display = TrainingCurveDisplay.from_estimator(fitted)
    assert list(lines(display.ax_)) == ["Training loss"]
    assert (display.validation, display.best_epoch, display.overfits_from) == (None, None, None)


def test_single_member_is_not_drawn_beside_the_mean():
    fitted = RegularizedMLPClassifier(early_stopping=True, n_members=1, **SMALL).fit(X, LABEL)
    display = TrainingCurveDisplay.from_estimator(fitted)
    assert display.validation_members is None
    assert not {"Members", "Best epoch of a member"} & set(lines(display.ax_))


def test_warm_start_shows_its_last_fit():
    warm = RegularizedMLPClassifier(warm_start=True, early_stopping=True, **SMALL).fit(X, LABEL)
    warm.set_params(max_iter=3).fit(X, LABEL)
    display = TrainingCurveDisplay.from_estimator(warm)
    assert_array_equal(display.epochs, [1, 2, 3])
    assert len(display.validation_members) == 3


def test_partial_fit_shows_its_calls():
    stream = RegularizedMLPClassifier(**SMALL)
    for _ in range(3):
        stream.partial_fit(X, LABEL, classes=[0, 1])
    display = TrainingCurveDisplay.from_estimator(stream)
    assert_array_equal(lines(display.ax_)["Training loss"], [[1, 2, 3], stream.loss_curve_])
    stream = RegularizedMLPClassifier(early_stopping=True, **SMALL).fit(X, LABEL).partial_fit(X, LABEL)
    assert len(TrainingCurveDisplay.from_estimator(stream).epochs) == stream.n_iter_


def test_interrupted_fit_shows_the_finished_epochs():
    class Interrupt(LiveTrainingCurve):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 5:
                raise KeyboardInterrupt

    fitted, live = RegularizedMLPClassifier(**SMALL), Interrupt()
    with pytest.raises(KeyboardInterrupt):
        fitted.set_params(callbacks=[live]).fit(X, LABEL)
    assert_array_equal(TrainingCurveDisplay.from_estimator(fitted).epochs, [1, 2, 3, 4])
    assert_array_equal(live.display_.epochs, [1, 2, 3, 4])


def test_live_curve_equals_the_curve_after_the_fit_and_does_not_change_the_fit(classifier):
    live = LiveTrainingCurve(seconds=0)
    fitted = RegularizedMLPClassifier(early_stopping=True, callbacks=[live], **SMALL).fit(X, LABEL)
    assert_array_equal(fitted.predict_proba(X), classifier.predict_proba(X))
    after = TrainingCurveDisplay.from_estimator(classifier)
    assert_array_equal(lines(live.display_.ax_)["Validation loss"], lines(after.ax_)["Validation loss"])
    assert plt.get_fignums() == [live.display_.figure_.number, after.figure_.number], "one figure for all epochs"


def test_live_curve_is_cloned_and_pickled_without_its_figure():
    live = LiveTrainingCurve(seconds=3.0)
    fitted = RegularizedMLPClassifier(callbacks=[live], **SMALL).fit(X, LABEL)
    (unpickled,) = pickle.loads(pickle.dumps(fitted)).callbacks
    (cloned,) = clone(fitted).callbacks
    for callback in (unpickled, cloned):
        assert callback.seconds == 3.0
        assert not hasattr(callback, "display_")
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))


def test_notebook_shows_one_figure_that_is_updated(monkeypatch):
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
    assert [call for call, _ in shown] == ["display"] + ["update"] * 8
    assert {figure for _, figure in shown} == {live.display_.figure_}
    assert plt.get_fignums() == [], "an open figure would be shown a second time"
    RegularizedMLPClassifier(callbacks=[live], **SMALL).fit(X, LABEL)
    assert len({figure for _, figure in shown}) == 2, "another fit creates another figure"


def test_live_curve_waits_between_drawings(monkeypatch):
    drawn = []
    plot = TrainingCurveDisplay.plot
    monkeypatch.setattr(TrainingCurveDisplay, "plot", lambda self, ax=None: drawn.append(self) or plot(self, ax))
    RegularizedMLPClassifier(callbacks=[LiveTrainingCurve(seconds=1000)], **SMALL).fit(X, LABEL)
    assert len(drawn) == 1


@pytest.mark.parametrize("seconds", [-1, "text", None, np.nan, [1]])
def test_an_invalid_time_between_drawings_raises(seconds):
    live = RegularizedMLPClassifier(**SMALL, callbacks=[LiveTrainingCurve(seconds)])
    with pytest.raises(ValueError, match=r"'seconds' parameter of LiveTrainingCurve must be .*Got"):
        live.fit(X, LABEL)
