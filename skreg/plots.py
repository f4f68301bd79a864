"""Displays draw what a fit, a network or its predictions show, as scikit-learn's Displays do.

Each is made by ``from_estimator``, and drawn again on other Axes by ``plot(ax)``; ``ax_``, ``axes_`` and ``figure_``
are what was drawn on. They need matplotlib, which is loaded when one draws: ``pip install 'skreg[plot]'``.
"""

from ._feature_plot import FeatureSelectionDisplay
from ._layer_plots import ActivationDisplay, GradientDisplay, WeightDisplay
from ._path_plot import RegularizationPathDisplay
from ._reliability_plot import UncertaintyDisplay
from ._training_plot import LiveTrainingCurve, TrainingCurveDisplay

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
