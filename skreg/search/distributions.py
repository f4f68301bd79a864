"""Search spaces: the user's distributions as Optuna's, and the parameters that a trial has in them."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

QUANTILE_MARGIN = 2.0**-32
MAX_SEED = 2**31 - 1


class Space(ABC):
    """A search space.

    Attributes
    ----------
    definition : object
        The user's definition, which identifies the space in a storage.
    first : dict or None
        Optuna's values of the first trial, if they are fixed.
    """

    definition: Any
    first: dict[str, Any] | None = None

    @abstractmethod
    def params(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """Return the estimator's parameters of a trial; a new trial suggests them, a finished one remembers them."""


class Param(NamedTuple):
    """A parameter of the estimator.

    Attributes
    ----------
    distribution : BaseDistribution
        Optuna's distribution.
    decode : callable
        Converts Optuna's value to the parameter's value.
    """

    distribution: BaseDistribution
    decode: Callable[[Any], Any] = lambda value: value

    def suggest(self, trial: Trial | FrozenTrial, name: str) -> Any:
        """Return the value that a trial suggests."""
        return self.decode(_suggest(trial, name, self.distribution))


def _suggest(trial: Trial | FrozenTrial, name: str, distribution: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    bounds: dict[str, Any] = {"step": distribution.step, "log": distribution.log}
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(name, distribution.low, distribution.high, **bounds)
    return trial.suggest_int(name, distribution.low, distribution.high, **bounds)


class DictSpace(Space):
    """A dict of distributions.

    Parameters
    ----------
    definition : mapping
        The user's dict.
    """

    def __init__(self, definition: Mapping[str, Any]) -> None:
        if not definition:
            raise ValueError("param_distributions is empty. Add at least one parameter to it.")
        self.definition = dict(definition)
        self._params = {name: make_param(name, distribution) for name, distribution in definition.items()}

    def params(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """See ``Space``."""
        return {name: param.suggest(trial, name) for name, param in self._params.items()}


class ListSpace(Space):
    """Several dicts of distributions, of which each trial chooses one.

    A name that several dicts contain is a parameter of its own in each, because it may have other values there.

    Parameters
    ----------
    definition : sequence of mapping
        The user's dicts; an empty dict leaves the estimator as it is.
    """

    def __init__(self, definition: Sequence[Mapping[str, Any]]) -> None:
        if not definition or not all(isinstance(one, Mapping) for one in definition):
            raise ValueError(
                f"A list 'param_distributions' must contain at least one dict. Got {definition!r} instead."
            )
        self.definition = [dict(one) for one in definition]
        names = [name for one in definition for name in one]
        self._dicts = [
            [
                (f"{name} of {number}" if names.count(name) > 1 else name, name, make_param(name, distribution))
                for name, distribution in one.items()
            ]
            for number, one in enumerate(definition)
        ]

    def params(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """See ``Space``."""
        chosen = self._dicts[trial.suggest_categorical("dict", list(range(len(self._dicts))))]
        return {name: param.suggest(trial, label) for label, name, param in chosen}


class CallableSpace(Space):
    """A function from a trial to parameters, as Optuna's users write it.

    Parameters
    ----------
    function : callable (trial) -> dict
        Suggests the parameters.
    first : dict, default=None
        Optuna's values of the first trial.
    definition : object, default=None
        Identifies the space; by default the function itself.
    """

    def __init__(
        self, function: Callable[[Any], dict[str, Any]], first: dict[str, Any] | None = None, definition: Any = None
    ) -> None:
        self._function = function
        self.first = first
        self.definition = function if definition is None else definition

    def params(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """See ``Space``."""
        params = self._function(trial)
        if not isinstance(params, dict):
            raise TypeError(
                f"The callable given as 'param_distributions' must return a dict of parameters. Got {params!r} instead."
            )
        return params


def make_param(name: str, given: Any) -> Param:
    """Convert a distribution of the user to Optuna's."""
    from optuna.distributions import BaseDistribution, IntDistribution

    if isinstance(given, BaseDistribution):
        return Param(given)
    if hasattr(given, "ppf") and hasattr(given, "dist"):
        return _from_scipy(name, given)
    if hasattr(given, "rvs"):
        return Param(IntDistribution(0, MAX_SEED), partial(_draw, given))
    if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str | bytes):
        if not len(given):
            raise ValueError(f"The list of {name!r} in param_distributions is empty. Add at least one value to it.")
        return _from_list(list(given))
    raise TypeError(
        f"The values of {name!r} in param_distributions must be an Optuna distribution, a frozen SciPy distribution, "
        f"an object with an rvs method, or a list. Got {given!r} instead."
    )


def _draw(given: Any, seed: int) -> Any:
    return given.rvs(random_state=seed)


def _from_scipy(name: str, frozen: Any) -> Param:
    """Convert a frozen SciPy distribution; one that Optuna does not have becomes a uniform one of its quantiles."""
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high = (np.asarray(bound) for bound in frozen.support())
    if low.ndim or np.isnan(low) or np.isnan(high):
        raise ValueError(f"The distribution of {name!r} must be a valid distribution of one number.")
    least, most, kind = float(low), float(high), frozen.dist.name
    if kind == "uniform":
        return Param(FloatDistribution(least, most))
    if kind == "randint":
        return Param(IntDistribution(int(least), int(most)))
    # A shifted log-uniform distribution is not uniform in the logarithm.
    if kind in ("loguniform", "reciprocal") and np.isclose(frozen.ppf(0.5), np.sqrt(least * most), rtol=1e-9):
        return Param(FloatDistribution(least, most, log=True))
    discrete = not hasattr(frozen.dist, "pdf")
    return Param(FloatDistribution(QUANTILE_MARGIN, 1 - QUANTILE_MARGIN), partial(_quantile, frozen, discrete))


def _quantile(frozen: Any, discrete: bool, probability: float) -> int | float:
    value = float(frozen.ppf(probability))
    return int(value) if discrete else value


def _from_list(options: list[Any]) -> Param:
    from optuna.distributions import CategoricalDistribution

    labels = labels_of(options)
    return Param(CategoricalDistribution(labels), dict(zip(labels, options, strict=True)).__getitem__)


def labels_of(options: Sequence[Any]) -> list[Any]:
    """Return distinct labels of values that a storage can hold: None, bools, numbers and strings.

    The labels are the values themselves if possible, else their literals, else their positions.
    """
    plain = [option.item() if isinstance(option, np.generic) else option for option in options]
    for labels in (plain, [repr(option) for option in plain]):
        unambiguous = labels is plain or all(map(_is_literal, plain))
        if unambiguous and all(_is_storable(label) for label in labels) and len(set(labels)) == len(labels):
            return labels
    return list(range(len(plain)))


def _is_storable(value: Any) -> bool:
    return value is None or isinstance(value, str | bool) or (isinstance(value, Real) and bool(value == value))


def _is_literal(value: Any) -> bool:
    try:
        ast.literal_eval(repr(value))
    except (SyntaxError, ValueError):
        return False
    return True
