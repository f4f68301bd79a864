"""Hyperparameter search: Optuna chooses the candidates, and cross-validation scores them.

Candidates that are estimators of this package are trained side by side: the networks of all folds are stacked into one.
"""

from .optuna_search import OptunaSearchCV

__all__ = ["OptunaSearchCV"]
