"""Fixtures of the display tests."""

import matplotlib
import matplotlib.pyplot as plt
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skreg import RegularizedMLPClassifier
from tests.plots.helpers import LABEL, SMALL, X

matplotlib.use("Agg")


@pytest.fixture(scope="package")
def classifier():
    """A fitted classifier with four members."""
    return RegularizedMLPClassifier(early_stopping=True, **SMALL).fit(X, LABEL)


@pytest.fixture(scope="package")
def fitted_pipeline():
    """A fitted pipeline that ends with a classifier."""
    return make_pipeline(StandardScaler(), RegularizedMLPClassifier(**SMALL)).fit(X, LABEL)


@pytest.fixture(autouse=True)
def close_figures():
    """Close all figures after each test."""
    yield
    plt.close("all")
