"""Search spaces: the user's distributions as Optuna's, and the parameters of a trial. This module imports Optuna."""

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

QUANTILE_MARGIN = 2.0**-32
MAX_SEED = 2**31 - 1


class Space:
    """A search space, defined by a function that suggests the parameters of a trial.

    ``definition`` identifies the space in a storage. ``first`` contains Optuna's values for the first trial, or is None
    if they are not fixed. ``is_empty`` states that there are no parameters, and therefore only one candidate.
    """

    def __init__(
        self,
        suggest: Callable[[Any], dict[str, Any]],
        definition: Any,
        first: dict[str, Any] | None = None,
        is_empty: bool = False,
    ) -> None:
        self.definition, self.first, self.is_empty = definition, first, is_empty
        self._suggest = suggest
        self._known: dict[int, dict[str, Any]] = {}

    def params(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """Return the estimator parameters of a trial: suggested for a new trial, and as recorded for a finished one."""
        if trial.number not in self._known:
            params = self._suggest(trial)
            if not isinstance(params, dict):
                raise TypeError(
                    "The callable given as 'param_distributions' must return a dict of parameters. "
                    f"Got {params!r} instead."
                )
            _check_names(params)
            self._known[trial.number] = params
        return self._known[trial.number]


class Param(NamedTuple):
    """Optuna's distribution of a parameter, and the conversion of Optuna's value to the parameter's value."""

    distribution: BaseDistribution
    decode: Callable[[Any], Any] = lambda value: value

    def suggest(self, trial: Trial | FrozenTrial, name: str) -> Any:
        """Return the value that a trial suggests."""
        return self.decode(suggest(trial, name, self.distribution))


def suggest(trial: Trial | FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
    """Suggest the value of a parameter from a distribution of Optuna."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, FloatDistribution):
        low, high = distribution.low, distribution.high
        return trial.suggest_float(name, low, high, step=distribution.step, log=distribution.log)
    assert isinstance(distribution, IntDistribution)
    return trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def dict_space(definition: Mapping[str, Any]) -> Space:
    """Return the space of a dict of distributions."""
    _check_names(definition)
    params = {name: make_param(name, distribution) for name, distribution in definition.items()}

    def suggest_params(trial: Trial | FrozenTrial) -> dict[str, Any]:
        return {name: param.suggest(trial, name) for name, param in params.items()}

    return Space(suggest_params, dict(definition), is_empty=not params)


def list_space(definition: Sequence[Mapping[str, Any]]) -> Space:
    """Return the space of several dicts of distributions; each trial chooses one of them.

    A name that occurs in several dicts is a separate parameter in each, because its values may differ between them.
    """
    if not definition or not all(isinstance(one, Mapping) for one in definition):
        raise ValueError(f"A list 'param_distributions' must contain at least one dict. Got {definition!r} instead.")
    names = [name for one in definition for name in one]
    if not names:
        return dict_space({})
    _check_names(names)
    dicts = [
        [
            (f"{name} of {number}" if names.count(name) > 1 else name, name, make_param(name, distribution))
            for name, distribution in one.items()
        ]
        for number, one in enumerate(definition)
    ]

    def suggest_params(trial: Trial | FrozenTrial) -> dict[str, Any]:
        chosen = dicts[trial.suggest_categorical("dict", list(range(len(dicts))))]
        return {name: param.suggest(trial, label) for label, name, param in chosen}

    return Space(suggest_params, [dict(one) for one in definition])


def _check_names(names: Iterable[Any]) -> None:
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                "The keys of 'param_distributions' must be the names of parameters, as str. "
                f"Got {name!r} of type {type(name).__name__!r} instead."
            )


def make_param(name: str, given: Any) -> Param:
    """Convert a user-defined distribution to one of Optuna."""
    if isinstance(given, BaseDistribution):
        return Param(given)
    if hasattr(given, "ppf") and hasattr(given, "dist"):
        return _from_scipy(name, given)
    if hasattr(given, "rvs"):
        return Param(IntDistribution(0, MAX_SEED), lambda seed: given.rvs(random_state=seed))
    if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str | bytes):
        options = list(given)
        if not options:
            raise ValueError(f"The list of {name!r} in param_distributions is empty. Add at least one value to it.")
        labels = labels_of(options)
        return Param(CategoricalDistribution(labels), dict(zip(labels, options, strict=True)).__getitem__)
    raise TypeError(
        f"The values of {name!r} in param_distributions must be an Optuna distribution, a frozen SciPy distribution, "
        f"an object with an rvs method, or a list. Got {given!r} instead."
    )


def _from_scipy(name: str, frozen: Any) -> Param:
    """Convert a frozen SciPy distribution; if Optuna lacks it, a quantile level is drawn uniformly instead."""
    low, high = (np.asarray(bound) for bound in frozen.support())
    if low.ndim or np.isnan(low) or np.isnan(high):
        raise ValueError(f"The distribution of {name!r} must be a valid distribution of one number.")
    least, most, kind = float(low), float(high), frozen.dist.name
    if kind == "uniform":
        return Param(FloatDistribution(least, most))
    if kind == "randint":
        return Param(IntDistribution(int(least), int(most)))
    # A shifted log-uniform distribution is not uniform on the log scale.
    if kind in ("loguniform", "reciprocal") and np.isclose(frozen.ppf(0.5), np.sqrt(least * most), rtol=1e-9):
        return Param(FloatDistribution(least, most, log=True))

    def quantile(probability: float) -> int | float:
        value = float(frozen.ppf(probability))
        return value if hasattr(frozen.dist, "pdf") else int(value)

    return Param(FloatDistribution(QUANTILE_MARGIN, 1 - QUANTILE_MARGIN), quantile)


def labels_of(options: Sequence[Any]) -> list[Any]:
    """Return distinct labels of values that a storage can hold: None, bools, numbers and strings.

    The labels are the values themselves if possible, otherwise their literals, and as a last resort their positions.
    """
    plain = [option.item() if isinstance(option, np.generic) else option for option in options]
    if _are_labels(plain):
        return plain
    literals = [repr(option) for option in plain]
    return literals if all(map(_is_literal, literals)) and _are_labels(literals) else list(range(len(plain)))


def _are_labels(values: list[Any]) -> bool:
    """Whether the values are distinct and a storage can hold them."""
    storable = (
        value is None or isinstance(value, str | bool) or (isinstance(value, Real) and value == value)
        for value in values
    )
    return all(storable) and len(set(values)) == len(values)


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return False
    return True
