"""The default search space of the estimators, which is searched if no ``param_distributions`` are given.

The ranges follow Kadra et al. 2021, "Well-tuned simple nets excel on tabular datasets", Holzmüller et al. 2024, "Better
by default", and Gorishniy et al. 2025, "TabM", adapted to the parametrization of this package. They include every
default.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

from sklearn.pipeline import Pipeline

from ..estimators.base import RegularizedMLP
from ..network import embeddings
from ..training import augmentations
from .distributions import CallableSpace, DictSpace, ListSpace, Space, labels_of

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, uniform or uniform in the logarithm."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    options: tuple[Any, ...]


@dataclass(frozen=True)
class Switch:
    """The value ``off``, or a number from the range ``on``."""

    off: float | str | None
    on: Range


ParamSpace = Range | Choice | Switch

DEFAULT_SPACE: dict[str, ParamSpace] = {
    "hidden_layer_sizes": Choice(((64, 64), (128, 128), (128, 128, 128), (256, 256), (256, 256, 256))),
    "activation": Choice(("mish", "relu", "silu")),
    "numeric_embedding": Choice(("auto", None, *embeddings.__all__)),
    "batch_norm": Choice((False, True)),
    "residual": Choice(("auto", False, True)),
    "dropout": Switch(0.0, Range(0.05, 0.5)),
    "input_dropout": Switch(0.0, Range(0.02, 0.3)),
    "augmentation": Choice((None, *augmentations.__all__)),
    "augmentation_strength": Range(0.05, 0.8),
    "alpha": Switch(0.0, Range(1e-6, 1e-2, log=True)),
    "l1_ratio": Switch(0.0, Range(0.05, 1.0)),
    "weight_decay": Range(1e-3, 1.0, log=True),
    "max_norm": Switch(None, Range(0.5, 4.0, log=True)),
    "label_smoothing": Switch("auto", Range(0.01, 0.2)),
    "ema_decay": Switch(0.0, Range(0.9, 0.99)),
    "learning_rate_init": Range(2e-3, 1e-1, log=True),
}

EXCLUSIONS: tuple[tuple[Callable[[dict[str, Any]], bool], tuple[str, ...]], ...] = (
    (lambda params: params["layer_norm"], ("batch_norm",)),
    (lambda params: params["swa_start"] is not None, ("ema_decay",)),
    (
        lambda params: params["pretrained"] is not None,
        ("hidden_layer_sizes", "activation", "numeric_embedding", "batch_norm", "residual"),
    ),
)
"""Conditions on the parameters of the estimator, and the parameters that are not searched if they hold."""


def free_params(params: dict[str, Any], defaults: dict[str, Any]) -> dict[str, ParamSpace]:
    """Return the part of the default space whose parameters have their default values in the estimator.

    Parameters
    ----------
    params, defaults : dict
        Parameters of the estimator, and their defaults.

    Returns
    -------
    dict
        The space of each parameter that is searched.
    """
    excluded = {name for applies, names in EXCLUSIONS if applies(params) for name in names}
    free = {name for name, default in defaults.items() if _is_default(params[name], default)}
    return {name: space for name, space in DEFAULT_SPACE.items() if name in free - excluded}


def _is_default(value: Any, default: Any) -> bool:
    """Whether a parameter has its default value; 0 is not False."""
    return value is default or (type(value) is type(default) and bool(value == default))


def make_space(param_distributions: Any, estimator: Any) -> Space:
    """Return the space that ``param_distributions`` defines for an estimator."""
    if param_distributions is None:
        return default_space(estimator)
    if isinstance(param_distributions, Sequence):
        return ListSpace(param_distributions)
    return CallableSpace(param_distributions) if callable(param_distributions) else DictSpace(param_distributions)


def default_space(estimator: Any) -> Space:
    """Return the default space of an estimator, alone or last in a Pipeline; the first trial has the defaults."""
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
    return CallableSpace(partial(_suggest_params, prefix, space, params["augmentation"]), first, [prefix, space])


def _suggest_params(
    prefix: str, space: dict[str, ParamSpace], augmentation: Any, trial: "Trial | FrozenTrial"
) -> dict[str, Any]:
    """Suggest each parameter; of a switch first whether it is on, and then its value."""
    params: dict[str, Any] = {}
    for name, values in space.items():
        # The strength has an effect only on augmentations of this package.
        if name == "augmentation_strength" and not isinstance(params.get(f"{prefix}augmentation", augmentation), str):
            continue
        full = prefix + name
        if isinstance(values, Choice):
            labels = labels_of(values.options)
            params[full] = values.options[labels.index(trial.suggest_categorical(full, labels))]
        elif isinstance(values, Switch) and not trial.suggest_categorical(f"{prefix}use_{name}", (False, True)):
            params[full] = values.off
        else:
            numbers = values.on if isinstance(values, Switch) else values
            params[full] = trial.suggest_float(full, numbers.low, numbers.high, log=numbers.log)
    return params


def _first_trial(space: dict[str, ParamSpace], params: dict[str, Any]) -> dict[str, Any]:
    """Optuna's values of the trial that has the defaults."""
    first: dict[str, Any] = {}
    for name, values in space.items():
        value = params[name]
        if isinstance(values, Choice):
            first[name] = labels_of(values.options)[values.options.index(value)]
            continue
        if isinstance(values, Switch):
            first[f"use_{name}"] = value != values.off
        if not isinstance(values, Switch) or value != values.off:
            first[name] = value
    return first
