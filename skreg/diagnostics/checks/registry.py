"""Registry of the diagnostics.

To add a diagnostic, write a function in `checks/data.py`, `checks/layers.py` or `checks/training.py` that takes a
`DiagnosticContext` and returns a `Finding`, or None if it does not apply, and add it to ``DIAGNOSTICS``. The name in
the registry is the `Finding.name`. A returned certainty below 0.5 is not reported, so a check need not compare with
its threshold itself. The tests require an example of the problem in `tests/diagnostics/problems.py`, and in
`docs/diagnostics.rst` a paragraph that cites the sources named in the function's docstring.
"""

from collections.abc import Callable

from ..checks import data, layers, training
from ..context import DiagnosticContext
from ..finding import Finding

Diagnostic = Callable[[DiagnosticContext], Finding | None]

DIAGNOSTICS: dict[str, Diagnostic] = {
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
"""The diagnostics by the names of their findings. Causes come before their effects: the first remedy is tried first."""
