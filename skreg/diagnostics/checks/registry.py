"""Registry of the diagnostics.

To add a diagnostic, write a function in `data.py`, `layers.py` or `training.py` that returns a `Finding`, or None if it
does not apply, and add it under the name of its finding. Findings with a certainty below 0.5 are not reported, so a
function need not compare the measurement with its threshold. The tests require an example of the problem in
`tests/diagnostics/problems.py` and a paragraph in `docs/diagnostics.rst` that cites the sources in the docstring.
"""

from collections.abc import Callable

from ..checks import data, layers, training
from ..context import DiagnosticContext
from ..finding import Finding

DIAGNOSTICS: dict[str, Callable[[DiagnosticContext], Finding | None]] = {
    "leaking column": data.leaking_columns,
    "validation drawn differently": data.shifted_validation,
    "unscaled columns": data.unscaled_columns,
    "exploding gradients": layers.exploding_gradients,
    "over-regularized": layers.over_regularized,
    "learning rate too high": training.learning_rate_too_high,
    "collapsing initialization": layers.collapsing_initialization,
    "saturated units": layers.saturated_units,
    "vanishing gradients": layers.vanishing_gradients,
    "dead units": layers.dead_units,
    "learning rate too low": training.learning_rate_too_low,
    "stopped too early": training.stopped_too_early,
    "still improving": training.still_improving,
    "noisy labels": data.noisy_labels,
    "unbalanced classes": data.unbalanced_classes,
    "overfitting": training.overfitting,
    "underfitting": training.underfitting,
    "too few validation rows": data.too_few_validation_rows,
    "duplicated columns": data.duplicated_columns,
    "constant columns": data.constant_columns,
}
"""The diagnostics by the names of their findings. Causes come before effects: the first remedy is tried first."""
