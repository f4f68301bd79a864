"""Displays that draw the training, the weights and the predictions of a network, like scikit-learn's displays.

A display is created by ``from_estimator`` and can be drawn again on other Axes with ``plot(ax)``. Displays require
matplotlib, which is imported when the first display is drawn.
"""

from .feature_selection import FeatureSelectionDisplay
from .layers import ActivationDisplay, GradientDisplay, WeightDisplay
from .regularization_path import RegularizationPathDisplay
from .training_curve import LiveTrainingCurve, TrainingCurveDisplay
from .uncertainty import UncertaintyDisplay

__all__ = [
    "ActivationDisplay",
    "FeatureSelectionDisplay",
    "GradientDisplay",
    "LiveTrainingCurve",
    "RegularizationPathDisplay",
    "TrainingCurveDisplay",
    "UncertaintyDisplay",
    "WeightDisplay",
]
