"""Loss functions and the links between raw output and prediction.

``base.py`` defines the interface; each loss is a class in ``regression.py`` or ``classification.py``.
"""

from . import classification, regression
from .base import Loss as Loss
from .classification import *  # noqa: F403
from .classification import BinaryLoss as BinaryLoss
from .classification import ClassificationLoss as ClassificationLoss
from .classification import MulticlassLoss as MulticlassLoss
from .regression import *  # noqa: F403
from .regression import RegressionLoss as RegressionLoss

__all__ = sorted([*classification.__all__, *regression.__all__])
