"""Regularised neural networks for tables, as scikit-learn estimators."""

from . import recipes
from ._version import __version__
from .classifier import RegularizedMLPClassifier
from .regressor import RegularizedMLPRegressor

__all__ = ["RegularizedMLPClassifier", "RegularizedMLPRegressor", "__version__", "recipes"]
