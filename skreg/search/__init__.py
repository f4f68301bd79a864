"""Hyperparameter search: candidates are chosen by Optuna and scored by cross-validation.

Networks of this package train side by side, all folds of several candidates as members of one network.
"""

from .optuna_search import OptunaSearchCV

__all__ = ["OptunaSearchCV"]
