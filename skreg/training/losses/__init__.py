"""Loss functions and the link between raw output and prediction.

Each loss is a class in ``classification.py`` or ``regression.py``; ``base.py`` has the interface.
"""

from .base import (  # noqa: F401
    AbsoluteError,
    BinaryFocalLoss,
    BinaryLogLoss,
    BinaryLoss,
    ClassificationLoss,
    HalfGammaDeviance,
    HalfPoissonDeviance,
    HalfSquaredError,
    HuberLoss,
    Loss,
    MulticlassFocalLoss,
    MulticlassLogLoss,
    MulticlassLoss,
    PinballLoss,
    RegressionLoss,
)

__all__ = [
    "AbsoluteError",
    "BinaryFocalLoss",
    "BinaryLogLoss",
    "HalfGammaDeviance",
    "HalfPoissonDeviance",
    "HalfSquaredError",
    "HuberLoss",
    "MulticlassFocalLoss",
    "MulticlassLogLoss",
    "PinballLoss",
]
