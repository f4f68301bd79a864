import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.plots import UncertaintyDisplay
from tests.plots.helpers import LABEL, NUMBER, SMALL, X


def test_calibrated_probabilities_are_on_the_diagonal():
    rng = np.random.default_rng(0)
    prob = rng.uniform(size=20_000)
    display = UncertaintyDisplay.from_predictions((rng.uniform(size=prob.size) < prob).astype(int), prob)
    assert display.calibration_error < 0.02
    assert_allclose(display.prob_true, display.prob_pred, atol=0.03)
    assert (display.prob_low <= display.prob_true).all()
    assert (display.prob_true <= display.prob_high).all()
    (bars,) = (container for container in display.ax_.containers if isinstance(container, ErrorbarContainer))
    assert_array_equal(bars[0].get_data(), [display.prob_pred, display.prob_true])


def test_calibration_error_is_the_mean_distance():
    display = UncertaintyDisplay.from_predictions(["a"] * 6 + ["b"] * 4, [0.9] * 10, classes=["a", "b"])
    assert_allclose(display.calibration_error, 0.5)
    assert_array_equal(display.counts, [10])


def test_probability_of_the_predicted_class_is_used_for_several_classes():
    prob = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.7, 0.2, 0.1]])
    display = UncertaintyDisplay.from_predictions([0, 1, 1, 0], prob, classes=[0, 1, 2], n_bins=2)
    assert display.confidence
    assert_allclose([display.prob_pred, display.prob_true], [[0.65], [0.75]])
    assert (display.entropy_right.sum(), display.entropy_wrong.sum()) == (3, 1)


def test_entropies_are_histograms_of_correct_and_incorrect_rows(classifier):
    display = UncertaintyDisplay.from_estimator(classifier, X, LABEL)
    right = classifier.predict(X) == LABEL
    prob = classifier.predict_proba(X)
    entropy = -(prob * np.log(prob)).sum(1) / np.log(2)
    for counts, rows, patch in zip(
        (display.entropy_right, display.entropy_wrong), (right, ~right), display.axes_[1].patches, strict=True
    ):
        assert_array_equal(counts, np.histogram(entropy[rows], display.entropy_edges)[0])
        assert_allclose(patch.get_data().values, counts / rows.sum())


def test_samples_show_their_mutual_information():
    # The entropy of both rows is maximal. It is aleatoric in the first row and epistemic in the second row.
    samples = np.array([[[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]]])
    display = UncertaintyDisplay.from_predictions([0, 0], samples, classes=[0, 1])
    assert len(display.axes_) == 3
    both = display.disagreement_right + display.disagreement_wrong
    assert (both[0], both[-1]) == (1, 1)
    assert (display.entropy_right + display.entropy_wrong)[-1] == 2


def test_each_of_several_labels_counts_as_a_row():
    several = np.column_stack([LABEL, 1 - LABEL, X[:, 0] > 0]).astype(int)
    fitted = RegularizedMLPClassifier(**SMALL).fit(X, several)
    display = UncertaintyDisplay.from_estimator(fitted, X, several)
    assert display.counts.sum() == several.size
    assert not display.confidence


def test_coverage_and_width_of_intervals():
    y = np.arange(10.0)
    lower, upper = np.array([[0.0] * 10, [-1.0] * 10]), np.array([[4.0] * 10, [8.0] * 10])
    display = UncertaintyDisplay.from_intervals(y, lower[::-1], upper[::-1], [0.9, 0.5])
    assert_allclose(display.nominal, [0.5, 0.9])
    assert_allclose(display.coverage, [0.5, 0.9])
    assert_allclose(display.width, [4.0, 9.0])
    assert_array_equal(display.axes_[1].get_lines()[0].get_data(), [display.coverage, display.width])


def test_intervals_of_a_regressor_are_drawn():
    fitted = make_pipeline(StandardScaler(), RegularizedMLPRegressor(early_stopping=True, **SMALL)).fit(X, NUMBER)
    display = UncertaintyDisplay.from_estimator(fitted, X, NUMBER, coverage=[0.5, 0.8])
    scaled = fitted[0].transform(X)
    widths = [np.ptp(fitted[-1].predict_interval(scaled, coverage=level), axis=1).mean() for level in (0.5, 0.8)]
    assert_allclose(display.width, widths)
    two = RegularizedMLPRegressor(early_stopping=True, **SMALL).fit(X, np.column_stack([NUMBER, NUMBER]))
    with pytest.raises(ValueError, match="one output"):
        UncertaintyDisplay.from_estimator(two, X, NUMBER)


def test_an_array_without_dimensions_and_a_bool_are_accepted_as_options():
    regressor = RegularizedMLPRegressor(early_stopping=True, **SMALL).fit(X, NUMBER)
    display = UncertaintyDisplay.from_estimator(regressor, X, NUMBER, coverage=np.array(0.8))
    assert display.width.shape == (1,)
    classifier = RegularizedMLPClassifier(**SMALL).fit(X, LABEL)
    assert len(UncertaintyDisplay.from_estimator(classifier, X, LABEL, n_bins=True).prob_pred) == 1


def test_any_classifier_is_accepted_and_a_regressor_without_intervals_is_rejected():
    assert UncertaintyDisplay.from_estimator(LogisticRegression().fit(X, LABEL), X, LABEL).calibration_error < 0.2
    with pytest.raises(TypeError, match=r"Got Ridge\. Pass the bounds"):
        UncertaintyDisplay.from_estimator(Ridge().fit(X, NUMBER), X, NUMBER)


@pytest.mark.parametrize(
    ("y", "prob", "message"),
    [
        ([0, 1], [[0.2, 0.3, 0.5]] * 2, "a column for each of the 2 classes"),
        ([0, 1], [[0.2, 1.3]] * 2, "probabilities in"),
        ([0, 1, 1], [[0.5, 0.5]] * 2, "inconsistent numbers of samples"),
    ],
)
def test_invalid_probabilities_are_rejected(y, prob, message):
    with pytest.raises(ValueError, match=message):
        UncertaintyDisplay.from_predictions(y, prob)
    assert plt.get_fignums() == []


def test_inconsistent_labels_and_intervals_are_rejected():
    with pytest.raises(ValueError, match="not among the classes"):
        UncertaintyDisplay.from_predictions(["a", "c"], [[0.5, 0.5]] * 2, classes=["a", "b"])
    with pytest.raises(ValueError, match=r"\(levels, rows\), here \(1, 3\)"):
        UncertaintyDisplay.from_intervals([1.0, 2.0, 3.0], [0.0, 0.0], [1.0, 1.0], 0.9)
