"""The default search space of the estimators, which is searched if no ``param_distributions`` are given.

The ranges follow Kadra et al. 2021, "Well-tuned simple nets excel on tabular datasets", Holzmüller et al. 2024, "Better
by default", and Gorishniy et al. 2025, "TabM", adapted to the parametrization of this package. They include every
default.
"""

from collections.abc import Sequence
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

from optuna import Trial
from optuna.distributions import FloatDistribution as Range
from optuna.trial import FrozenTrial
from sklearn.pipeline import Pipeline

from ..estimators.base import RegularizedMLP
from ..network import embeddings
from ..training import augmentations
from .distributions import Space, dict_space, labels_of, list_space, make_param


class Switch(NamedTuple):
    """The value ``off``, or a number from the range ``on``."""

    off: float | str | None
    on: Range


ParamSpace = list[Any] | Range | Switch

DEFAULT_SPACE: dict[str, ParamSpace] = {
    "hidden_layer_sizes": [(64, 64), (128, 128), (128, 128, 128), (256, 256), (256, 256, 256)],
    "activation": ["mish", "relu", "silu"],
    "numeric_embedding": ["auto", None, *embeddings.__all__],
    "batch_norm": [False, True],
    "residual": ["auto", False, True],
    "dropout": Switch(0.0, Range(0.05, 0.5)),
    "input_dropout": Switch(0.0, Range(0.02, 0.3)),
    "augmentation": [None, *augmentations.__all__],
    "augmentation_strength": Range(0.05, 0.8),
    "alpha": Switch(0.0, Range(1e-6, 1e-2, log=True)),
    "l1_ratio": Switch(0.0, Range(0.05, 1.0)),
    "weight_decay": Range(1e-3, 1.0, log=True),
    "max_norm": Switch(None, Range(0.5, 4.0, log=True)),
    "label_smoothing": Switch("auto", Range(0.01, 0.2)),
    "ema_decay": Switch(0.0, Range(0.9, 0.99)),
    "learning_rate_init": Range(2e-3, 1e-1, log=True),
}


def free_params(params: dict[str, Any], defaults: dict[str, Any]) -> dict[str, ParamSpace]:
    """Return the default space without parameters that differ from their defaults or conflict with others."""
    excluded: set[str] = set()
    if params["layer_norm"]:
        excluded |= {"batch_norm"}
    if params["swa_start"] is not None:
        excluded |= {"ema_decay"}
    if params["pretrained"] is not None:
        excluded |= {"hidden_layer_sizes", "activation", "numeric_embedding", "batch_norm", "residual"}
    free = {name for name, default in defaults.items() if _is_default(params[name], default)}
    return {name: space for name, space in DEFAULT_SPACE.items() if name in free - excluded}


def _is_default(value: Any, default: Any) -> bool:
    """Whether a parameter has its default value; 0 and False are different values."""
    return value is default or (type(value) is type(default) and bool(value == default))


def make_space(param_distributions: Any, estimator: Any) -> Space:
    """Return the space that ``param_distributions`` defines for an estimator."""
    if param_distributions is None:
        return default_space(estimator)
    if isinstance(param_distributions, Sequence):
        return list_space(param_distributions)
    if callable(param_distributions):
        return Space(param_distributions, param_distributions)
    return dict_space(param_distributions)


def default_space(estimator: Any) -> Space:
    """Return the default space of an estimator, alone or last in a Pipeline; the first trial uses the defaults."""
    prefix, last = "", estimator
    while isinstance(last, Pipeline):
        name, last = last.steps[-1]
        prefix += f"{name}__"
    if not isinstance(last, RegularizedMLP):
        raise ValueError(
            "param_distributions=None is supported for the estimators of skreg, alone or as the last step of a "
            f"Pipeline. For {type(last).__name__} give a dict or a callable."
        )
    params = last.get_params(deep=False)
    parameters = signature(type(last)).parameters
    space = free_params(params, {name: parameter.default for name, parameter in parameters.items()})
    if params["solver"] == "lbfgs" or not space:
        raise ValueError(
            "param_distributions=None has no space for solver='lbfgs', nor for an estimator in which every parameter "
            "of the default space differs from its default. Give a dict or a callable."
        )
    first = {prefix + name: value for name, value in _first_trial(space, params).items()}
    return Space(partial(_suggest_params, prefix, space, params["augmentation"]), [prefix, space], first)


def _suggest_params(
    prefix: str, space: dict[str, ParamSpace], augmentation: Any, trial: Trial | FrozenTrial
) -> dict[str, Any]:
    """Suggest each parameter; for a switch, first suggest whether it is on, and then its value."""
    params: dict[str, Any] = {}
    for name, values in space.items():
        full = prefix + name
        # ``augmentation_strength`` only affects augmentations of this package.
        if name == "augmentation_strength" and not isinstance(params.get(f"{prefix}augmentation", augmentation), str):
            continue
        if isinstance(values, Switch) and not trial.suggest_categorical(f"{prefix}use_{name}", (False, True)):
            params[full] = values.off
        else:
            params[full] = make_param(full, values.on if isinstance(values, Switch) else values).suggest(trial, full)
    return params


def _first_trial(space: dict[str, ParamSpace], params: dict[str, Any]) -> dict[str, Any]:
    """Optuna's values for the trial that uses the defaults."""
    first: dict[str, Any] = {}
    for name, values in space.items():
        value = params[name]
        if isinstance(values, Switch):
            first[f"use_{name}"] = value != values.off
        if isinstance(values, list):
            first[name] = labels_of(values)[values.index(value)]
        elif not isinstance(values, Switch) or value != values.off:
            first[name] = value
    return first
