"""Checks of the layers: activations, gradients and weights before and after training."""

from typing import Any

import numpy as np

from ...training.optimizers.registry import SOLVERS
from ..context import DiagnosticContext
from ..finding import Finding
from ..probe import LayerRecord
from .measures import describe_loss, limit_unless_harmful, probability_above, ratio_above, ratio_below

# The thresholds were chosen with benchmarks/diagnostics.py, and docs/diagnostics.rst describes them.
COLLAPSED_SPREAD, VANISHED_RATIO, EXPLODED_RATIO = 0.05, 0.01, 30.0
DEAD_SHARE, SATURATED_SHARE, SHARE_ERROR = 0.4, 0.5, 0.05
MIN_UNITS = 4  # in a narrower layer, a single dead unit is a large share
SHRUNKEN_RATIO = 0.1
MANY_LAYERS, VERY_MANY_LAYERS = 3, 8

USUAL_PENALTIES = {"alpha": 1e-4, "weight_decay": 0.1, "feature_alpha": 0.0}
MILD_PENALTIES: dict[str, Any] = {"alpha": 1e-5, "weight_decay": 0.01, "feature_alpha": 0.0}
SUITABLE_INITS = "data_driven", "auto"


def collapsing_initialization(context: DiagnosticContext) -> Finding | None:
    """Find initial weights that map all rows to nearly the same activations (Glorot & Bengio 2010; He et al. 2015)."""
    parameters = context.parameters
    if context.initial_layers is None or parameters["init"] in SUITABLE_INITS:
        return None
    spreads = [_spread(layer) for layer in context.initial_layers.hidden_layers]
    if not spreads or parameters["batch_norm"] or parameters["layer_norm"]:
        return None
    evidence = (
        f"with init={parameters['init']!r} the standard deviation of the activations over the rows was "
        f"{_in_hidden_layers(spreads, context, ' before the training')}"
    )
    remedy = {"init": SUITABLE_INITS[0]} | ({"activation": "silu"} if len(spreads) > MANY_LAYERS else {})
    advice = "Use initial weights that suit the activation."
    certainty = ratio_below(spreads[-1], COLLAPSED_SPREAD)
    return Finding("collapsing initialization", certainty, evidence, remedy, advice)


def vanishing_gradients(context: DiagnosticContext) -> Finding | None:
    """Find gradients that are much smaller in the first hidden layer than in the last (Glorot & Bengio 2010)."""
    sizes, evidence = _gradients(context)
    if len(sizes) < 2 or sizes[-1] == 0:
        return None
    remedy: dict[str, Any] = {"init": _suitable_init(context), "activation": "silu"}
    if len(sizes) > VERY_MANY_LAYERS:
        remedy["residual"] = True
    certainty = ratio_below(sizes[0] / sizes[-1], VANISHED_RATIO)
    return Finding("vanishing gradients", certainty, evidence, remedy, "Use another activation.")


def exploding_gradients(context: DiagnosticContext) -> Finding | None:
    """Find gradients or activations that grow over the layers (Bengio et al. 1994; Pascanu et al. 2013)."""
    sizes, evidence = _gradients(context)
    if len(sizes) < 2 or context.initial_layers is None:
        return None
    spreads = [_spread(layer) for layer in context.initial_layers.hidden_layers]
    growth = max(sizes[0] / max(sizes[-1], 1e-30), spreads[-1] / max(spreads[0], 1e-30))
    remedy: dict[str, Any] = {"init": "data_driven", "residual": True, "clip_norm": 1.0}
    if context.parameters["init"] == "data_driven":
        remedy |= {"batch_norm": False, "layer_norm": True}
    advice = "Scale the initial weights by the training rows, and clip the gradients."
    return Finding("exploding gradients", ratio_above(growth, EXPLODED_RATIO), evidence, remedy, advice)


def dead_units(context: DiagnosticContext) -> Finding | None:
    """Find layers in which many units pass no gradient for any row (Maas et al. 2013)."""
    layers = [layer for layer in context.fitted_layers.hidden_layers if layer.dead.shape[1] >= MIN_UNITS]
    shares = [float(layer.dead.mean()) for layer in layers]
    if not shares:
        return None
    learning_rate = context.parameters["learning_rate_init"]
    remedy = {"activation": "silu"} | ({"learning_rate_init": learning_rate / 10} if learning_rate > 0.02 else {})
    evidence = f"the share of units that pass no gradient for any row is {_in_hidden_layers(shares, context)}"
    certainty = probability_above(max(shares), DEAD_SHARE, SHARE_ERROR)
    return Finding("dead units", certainty, evidence, remedy, "Use an activation that is not flat on one side.")


def saturated_units(context: DiagnosticContext) -> Finding | None:
    """Find layers whose bounded activation is nearly flat for most rows (LeCun et al. 1998)."""
    shares = [float(layer.saturated.mean()) for layer in context.fitted_layers.hidden_layers]
    if not shares:
        return None
    remedy = {"activation": "silu", "init": _suitable_init(context)}
    if context.parameters["numeric_scaling"] is None:
        remedy["numeric_scaling"] = "robust"
    evidence = f"the share of values in the flat range of the activation is {_in_hidden_layers(shares, context)}"
    certainty = probability_above(max(shares), SATURATED_SHARE, SHARE_ERROR)
    return Finding("saturated units", certainty, evidence, remedy, "Use an activation that does not saturate.")


def over_regularized(context: DiagnosticContext) -> Finding | None:
    """Find penalties that shrink a layer to nearly 0 or outweigh the loss (Hastie et al. 2009, section 3.4)."""
    parameters = context.parameters
    strong = [name for name, usual in USUAL_PENALTIES.items() if np.max(parameters[name]) > usual]
    if not strong or context.initial_layers is None:
        return None
    layers = list(zip(context.initial_layers.layers, context.fitted_layers.layers, strict=True))
    ratios = [_rms(fitted.weight) / max(_rms(initial.weight), 1e-30) for initial, fitted in layers]
    penalty_ratio = max(_penalty_ratio(initial, parameters) for initial, _ in layers)
    is_strong = max(ratio_below(min(ratios), SHRUNKEN_RATIO), ratio_above(penalty_ratio, 1.0))
    values = ", ".join(f"{name}={parameters[name]!r}" for name in strong)
    evidence = (
        f"with {values} the size of the weights is {_by_layer(ratios)} times the initial size, layer by layer, and "
        f"the initial gradient of the penalty was up to {penalty_ratio:.2g} times that of the loss; "
        f"{describe_loss(context)}"
    )
    remedy = {name: MILD_PENALTIES[name] for name in strong}
    certainty = limit_unless_harmful(context, is_strong)
    return Finding("over-regularized", certainty, evidence, remedy, "Reduce the penalties.")


def _penalty_ratio(layer: LayerRecord, parameters: dict[str, Any]) -> float:
    """Size of the penalties' gradient relative to the loss, or of weight decay relative to a step of the solver."""
    loss, weight = max(_rms(layer.weight_gradient), 1e-12), _rms(layer.weight)
    l1_ratio, alpha = parameters["l1_ratio"], np.max(parameters["alpha"])
    penalty = alpha * (l1_ratio + (1 - l1_ratio) * weight) + parameters["feature_alpha"]
    decay = parameters["weight_decay"] * weight
    # The steps of scale-invariant solvers do not depend on the size of the gradient.
    return float(max(penalty / loss, decay / (1.0 if SOLVERS[parameters["solver"]].scale_invariant else loss)))


def _suitable_init(context: DiagnosticContext) -> str:
    init = context.parameters["init"]
    return init if init in SUITABLE_INITS else SUITABLE_INITS[0]


def _spread(layer: LayerRecord) -> float:
    """Standard deviation of the activations over the rows, as a root mean square over units and members."""
    return _rms(layer.after.astype(np.float64).std(1))


def _rms(values: np.ndarray | None) -> float:
    """Root mean square."""
    return 0.0 if values is None else float(np.sqrt(np.square(values.astype(np.float64)).mean()))


def _gradients(context: DiagnosticContext) -> tuple[list[float], str]:
    """Root mean square gradient of each hidden layer (before training, if known), and the evidence."""
    layers = context.initial_layers or context.fitted_layers
    sizes = [_rms(layer.gradient) for layer in layers.hidden_layers]
    verb, when = ("is", "") if layers.when == "now" else ("was", " before the training")
    return sizes, f"the root mean square of the gradients {verb} {_in_hidden_layers(sizes, context, when)}"


def _in_hidden_layers(numbers: list[float], context: DiagnosticContext, when: str = "") -> str:
    return f"{_by_layer(numbers)} in the hidden layers{when}; {describe_loss(context)}"


def _by_layer(numbers: list[float]) -> str:
    return ", ".join(f"{number:.2g}" for number in numbers)
