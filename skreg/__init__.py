"""Regularised neural networks for tables, as scikit-learn estimators."""

from . import plots, recipes
from ._version import __version__
from .classifier import RegularizedMLPClassifier
from .diagnostics import diagnose
from .regressor import RegularizedMLPRegressor
from .search import OptunaSearchCV
from .voting import WeightedVotingClassifier, WeightedVotingRegressor

__all__ = [
    "OptunaSearchCV",
    "RegularizedMLPClassifier",
    "RegularizedMLPRegressor",
    "WeightedVotingClassifier",
    "WeightedVotingRegressor",
    "__version__",
    "diagnose",
    "plots",
    "recipes",
]
