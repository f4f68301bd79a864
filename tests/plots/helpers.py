"""Data and functions that several display tests use."""

from sklearn.datasets import make_classification, make_regression

from skreg.plots import (
    ActivationDisplay,
    FeatureSelectionDisplay,
    GradientDisplay,
    RegularizationPathDisplay,
    TrainingCurveDisplay,
    UncertaintyDisplay,
    WeightDisplay,
)

SMALL = {"hidden_layer_sizes": (8, 6), "max_iter": 8, "random_state": 0}
X, LABEL = make_classification(240, 6, flip_y=0.2, random_state=0)
NUMBER = make_regression(240, 6, noise=5.0, random_state=0)[1]

OF_FITTED = [
    ActivationDisplay,
    FeatureSelectionDisplay,
    GradientDisplay,
    TrainingCurveDisplay,
    UncertaintyDisplay,
    WeightDisplay,
]
DISPLAYS = [*OF_FITTED, RegularizationPathDisplay]


def draw(Display, estimator, **kwargs):
    """Create a display of any class from an estimator."""
    rows = {ActivationDisplay: (X,), GradientDisplay: (X, LABEL), UncertaintyDisplay: (X, LABEL)}.get(Display, ())
    if Display is RegularizationPathDisplay:
        rows = X, LABEL
        kwargs = {"param_name": alpha_name(estimator), "param_range": [0.01, 0.1], "cv": 2} | kwargs
    return Display.from_estimator(estimator, *rows, **kwargs)


def alpha_name(estimator):
    """Return the name of the parameter "alpha" of an estimator or a pipeline."""
    names = estimator.get_params()
    return next(name for name in names if name.endswith("alpha") and not name.endswith("feature_alpha"))


def lines(ax):
    """Return {label: (x, y)} of the labeled lines of an Axes."""
    return {line.get_label(): line.get_data() for line in ax.get_lines() if not line.get_label().startswith("_")}
