"""Regularized neural networks for tabular data as scikit-learn estimators."""

from . import diagnostics, plots, recipes, uncertainty
from ._version import __version__
from .diagnostics import diagnose
from .estimators.classifier import RegularizedMLPClassifier
from .estimators.regressor import RegularizedMLPRegressor
from .network import activations, embeddings, initializers
from .search import OptunaSearchCV
from .training import augmentations, callbacks, constraints, losses, penalties, schedules

__all__ = [
    "OptunaSearchCV",
    "RegularizedMLPClassifier",
    "RegularizedMLPRegressor",
    "__version__",
    "activations",
    "augmentations",
    "callbacks",
    "constraints",
    "diagnose",
    "diagnostics",
    "embeddings",
    "initializers",
    "losses",
    "penalties",
    "plots",
    "recipes",
    "schedules",
    "uncertainty",
]
