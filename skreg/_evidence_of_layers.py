"""Evidence of the layers: activations, gradients and weights, before the training and now."""

from typing import Any

import numpy as np

from ._case import Case
from ._probe import Layer, Probe
from ._signs import Sign, beyond, harmful, in_words

COLLAPSED, VANISHED, EXPLODED = 0.05, 0.01, 30.0
DECADE = 0.15
"""Spread, in powers of ten, around a line that a ratio is held against."""

DEAD, SATURATED, ABOUT = 0.4, 0.5, 0.05
SHRUNK = 0.1
USUAL = {"alpha": 1e-4, "weight_decay": 0.1, "feature_alpha": 0.0}
"""Strengths that shrink no network to nothing."""

SUITABLE = "data_driven", "auto"
DEEP, FEWEST_UNITS = 3, 4

MILD: dict[str, Any] = {"alpha": 1e-5, "weight_decay": 0.01, "feature_alpha": 0.0}


def collapsing_init(case: Case) -> Sign | None:
    """The rows are hardly told apart any more at the end of the network that was drawn."""
    if case.initial is None or case.parameters["init"] in SUITABLE or case.parameters["batch_norm"]:
        return None
    spreads = [_spread(layer) for layer in _hidden(case.initial)]
    if not spreads or case.parameters["layer_norm"]:
        return None
    certainty = beyond(-np.log10(max(spreads[-1], 1e-30)), -np.log10(COLLAPSED), DECADE)
    evidence = (
        f"with init={case.parameters['init']!r} the standard deviation of the activations over the rows was "
        f"{_by_layer(spreads)} in the hidden layers before the training; {in_words(case)}"
    )
    remedy = {"init": _suitable(case)}
    if len(spreads) > DEEP:
        remedy["activation"] = "silu"
    return Sign(certainty, evidence, remedy)


def vanishing_gradients(case: Case) -> Sign | None:
    """The first hidden layer gets next to no gradient, compared with the last."""
    found = _gradients(case)
    if found is None or found[-1] == 0:
        return None
    ratio = found[0] / found[-1]
    certainty = beyond(-np.log10(max(ratio, 1e-30)), -np.log10(VANISHED), DECADE)
    remedy: dict[str, Any] = {"init": _suitable(case), "activation": "silu"}
    if len(found) > 8:
        remedy["residual"] = True
    return Sign(certainty, _of_gradients(found, case), remedy)


def exploding_gradients(case: Case) -> Sign | None:
    """The gradient grows from layer to layer on its way back, or the activations on their way forward."""
    found = _gradients(case)
    if found is None or case.initial is None:
        return None
    spreads = [_spread(layer) for layer in _hidden(case.initial)]
    grown = max(found[0] / max(found[-1], 1e-30), spreads[-1] / max(spreads[0], 1e-30))
    certainty = beyond(np.log10(max(grown, 1e-30)), np.log10(EXPLODED), DECADE)
    remedy: dict[str, Any] = {"init": "data_driven", "residual": True, "clip_norm": 1.0}
    if case.parameters["init"] == "data_driven":
        remedy |= {"batch_norm": False, "layer_norm": True}
    return Sign(certainty, _of_gradients(found, case), remedy)


def dead_units(case: Case) -> Sign | None:
    """Many units of a layer pass no gradient on for any row."""
    shares = [float(layer.dead.mean()) for layer in _hidden(case.now) if layer.dead.shape[1] >= FEWEST_UNITS]
    if not shares:  # of layers so narrow that a unit more or less is much
        return None
    certainty = beyond(max(shares), DEAD, ABOUT)
    rate = case.parameters["learning_rate_init"]
    remedy: dict[str, Any] = {"activation": "silu"}
    if rate > 0.02:
        remedy["learning_rate_init"] = rate / 10
    evidence = f"the share of units that pass no gradient on for any row is {_by_layer(shares)} in the hidden layers"
    return Sign(certainty, f"{evidence}; {in_words(case)}", remedy)


def saturated_units(case: Case) -> Sign | None:
    """A bounded activation is at its flat ends for most rows."""
    shares = [float(layer.saturated.mean()) for layer in _hidden(case.now)]
    if not shares:
        return None
    certainty = beyond(max(shares), SATURATED, ABOUT)
    remedy: dict[str, Any] = {"activation": "silu", "init": _suitable(case)}
    if case.parameters["numeric_scaling"] is None:
        remedy["numeric_scaling"] = "robust"
    evidence = f"the share of rows for which a unit is at the flat ends of its activation is {_by_layer(shares)}"
    return Sign(certainty, f"{evidence} in the hidden layers; {in_words(case)}", remedy)


def _suitable(case: Case) -> str:
    """Initial weights that suit the activation: those that are there, if they do so."""
    init = case.parameters["init"]
    return init if init in SUITABLE else SUITABLE[0]


def over_regularised(case: Case) -> Sign | None:
    """A layer's weights are next to nothing, or a penalty pulls at them harder than the loss does."""
    parameters = case.parameters
    strong = {name: parameters[name] for name, usual in USUAL.items() if np.max(parameters[name]) > usual}
    if not strong or case.initial is None:
        return None
    layers = list(zip(case.initial.layers, case.now.layers, strict=True))
    ratios = [_size(now.weight) / max(_size(first.weight), 1e-30) for first, now in layers]
    pull = max(_pull(first, parameters) for first, _ in layers)
    certainty = max(
        beyond(-np.log10(max(min(ratios), 1e-30)), -np.log10(SHRUNK), DECADE), beyond(np.log10(pull), 0, DECADE)
    )
    given = ", ".join(f"{name}={value!r}" for name, value in strong.items())
    evidence = (
        f"with {given} the weights have {_by_layer(ratios)} times the size that they were drawn with, layer by layer, "
        f"and at the start were pulled towards 0 {pull:.2g} times as hard as the loss pulled at them; {in_words(case)}"
    )
    return Sign(harmful(case, certainty), evidence, {name: MILD[name] for name in strong})


def _pull(layer: Layer, parameters: dict[str, Any]) -> float:
    """How hard penalties pull at a layer's weights, compared with the loss, and decay with a step of the solver."""
    loss = max(_size(layer.weight_gradient), 1e-12)
    ratio, alpha = parameters["l1_ratio"], np.max(parameters["alpha"])
    penalty = alpha * (ratio + (1 - ratio) * _size(layer.weight)) + parameters["feature_alpha"]
    decay = parameters["weight_decay"] * _size(layer.weight)
    return float(max(penalty / loss, decay / (loss if parameters["solver"] == "sgd" else 1.0), 1e-30))


def _hidden(record: Probe) -> list[Layer]:
    return [layer for layer in record.layers if layer.name != "head"]


def _spread(layer: Layer) -> float:
    """Standard deviation of the activations over the rows, root mean square over units and members."""
    return float(np.sqrt(np.square(layer.after.astype(np.float64).std(1)).mean()))


def _size(values: np.ndarray | None) -> float:
    """Root mean square."""
    return 0.0 if values is None else float(np.sqrt(np.square(values.astype(np.float64)).mean()))


def _gradients(case: Case) -> list[float] | None:
    """Root mean square of the gradients of each hidden layer before the training; of two layers on."""
    record = case.now if case.initial is None else case.initial
    found = [_size(layer.gradient) for layer in _hidden(record)]
    return found if len(found) > 1 else None


def _of_gradients(found: list[float], case: Case) -> str:
    when = "now" if case.initial is None else "before the training"
    return f"the root mean square of the gradients was {_by_layer(found)} in the hidden layers {when}; {in_words(case)}"


def _by_layer(numbers: list[float]) -> str:
    return ", ".join(f"{number:.2g}" for number in numbers)
