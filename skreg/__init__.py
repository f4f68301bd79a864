"""Regularised neural networks for tables, as scikit-learn estimators."""

from . import plots, recipes
from ._version import __version__
from .classifier import RegularizedMLPClassifier
from .regressor import RegularizedMLPRegressor
from .search import OptunaSearchCV

__all__ = ["OptunaSearchCV", "RegularizedMLPClassifier", "RegularizedMLPRegressor", "__version__", "plots", "recipes"]
