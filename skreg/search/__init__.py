"""Hyperparameter search: Optuna chooses the candidates, and cross-validation scores them.

Networks of this package are trained side by side: all folds of several candidates are members of one network.
"""

from .optuna_search import OptunaSearchCV

__all__ = ["OptunaSearchCV"]
