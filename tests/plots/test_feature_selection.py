import numpy as np
from numpy.testing import assert_array_equal

from skreg import RegularizedMLPClassifier
from skreg.plots import FeatureSelectionDisplay
from tests.plots.helpers import SMALL


def test_columns_are_sorted_and_columns_without_weight_are_marked_as_dropped():
    names = np.array([f"column {j}" for j in range(7)])
    display = FeatureSelectionDisplay(importances=[0.1, 0.0, 0.4, 0.0, 0.3, 0.2, 0.0], feature_names=names).plot()
    assert [bar.get_width() for bar in display.ax_.patches] == [0.4, 0.3, 0.2, 0.1, 0.0, 0.0, 0.0]
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == [f"column {j}" for j in (2, 4, 5, 0, 1, 3, 6)]
    assert [text.get_text().strip() for text in display.ax_.texts] == ["dropped"] * 3
    few = display.plot(max_features=2)
    assert len(few.ax_.patches) == 2
    assert few.ax_.get_yticklabels()[-1].get_text() == "5 more (3 dropped)"


def test_importances_equal_those_of_the_estimator(mixed_table):
    fitted = RegularizedMLPClassifier(**SMALL).fit(mixed_table.X, mixed_table.label)
    display = FeatureSelectionDisplay.from_estimator(fitted)
    assert_array_equal(display.importances, fitted.feature_importances_)
    assert list(display.feature_names) == list(mixed_table.X.columns)
