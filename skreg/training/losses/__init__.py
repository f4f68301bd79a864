"""Loss functions and the links between raw output and prediction.

``base.py`` defines the interface; each loss is a class in ``regression.py`` or ``classification.py``.
"""

from . import classification, regression
from .base import Loss  # noqa: F401
from .classification import *  # noqa: F403
from .classification import BinaryLoss, ClassificationLoss, MulticlassLoss  # noqa: F401
from .regression import *  # noqa: F403
from .regression import RegressionLoss  # noqa: F401

__all__ = sorted([*classification.__all__, *regression.__all__])
