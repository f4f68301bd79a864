"""A space is what a search may try: distributions as Optuna's, and the parameters that a trial stands for."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline

from ._space import Choice, Range, Switch, searched, strength_counts
from .estimators.base import RegularizedMLP

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

QUANTILE_MARGIN = 2.0**-32
MAX_SEED = 2**31 - 1


class Space(ABC):
    """What a search may try."""

    #: Optuna's distributions by name; None where only the run of a trial tells.
    distributions: dict[str, BaseDistribution] | None = None
    #: What the first trial is to be, in Optuna's values.
    first: dict[str, Any] | None = None
    #: What the space was made of, by which two are told apart.
    given: Any

    @abstractmethod
    def params(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """The parameters of the estimator that a trial stands for, new or finished."""


@dataclass
class Entry:
    """One parameter.

    Attributes
    ----------
    distribution : BaseDistribution
        Optuna's.
    decode : callable
        From Optuna's value to the parameter's.
    """

    distribution: BaseDistribution
    decode: Callable[[Any], Any] = field(default=lambda value: value)


class Listed(Space):
    """A dictionary from names to distributions.

    Parameters
    ----------
    given : mapping
        The user's dictionary.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        if not given:
            raise ValueError("param_distributions is empty: there is nothing to search. Name a parameter in it.")
        self.given = dict(given)
        self._entries = {name: entry(name, distribution) for name, distribution in given.items()}
        self.distributions = {name: found.distribution for name, found in self._entries.items()}

    def params(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """What a trial was asked with, decoded."""
        return {name: found.decode(trial.params[name]) for name, found in self._entries.items()}


class Either(Space):
    """One of several dictionaries, which a trial chooses first.

    A name that several of them have is another parameter of Optuna's in each, for it may have other values there.

    Parameters
    ----------
    given : sequence of mapping
        The user's dictionaries; an empty one is the estimator as it is.
    """

    def __init__(self, given: Sequence[Mapping[str, Any]]) -> None:
        if not given or not all(isinstance(one, Mapping) for one in given):
            raise ValueError(
                f"A list given as 'param_distributions' must be one of dicts, at least one. Got {given!r}."
            )
        self.given = [dict(one) for one in given]
        names = [name for one in given for name in one]
        self._each = [
            {
                f"{name} of {number}" if names.count(name) > 1 else name: (name, entry(name, d))
                for name, d in one.items()
            }
            for number, one in enumerate(given)
        ]

    def params(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """What a trial is asked, of the dictionary that it has chosen."""
        chosen = self._each[trial.suggest_categorical("dict", list(range(len(self._each))))]
        pairs = chosen.items()
        return {name: found.decode(trial._suggest(label, found.distribution)) for label, (name, found) in pairs}


class ByRun(Space):
    """A function from a trial to parameters, as Optuna's users write it.

    Parameters
    ----------
    function : callable (trial) -> dict
        It suggests as it goes; a finished trial answers with what it was.
    first : dict, default=None
        What the first trial is to be.
    given : object, default=None
        What the function is made of; else it is known by its name.
    """

    def __init__(
        self, function: Callable[[Any], dict[str, Any]], first: dict[str, Any] | None = None, given: Any = None
    ) -> None:
        self._function = function
        self.first = first
        self.given = function if given is None else given

    def params(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """What the function says."""
        params = self._function(trial)
        if not isinstance(params, dict):
            raise TypeError(
                f"The callable given as 'param_distributions' must return a dict of parameters. It returned {params!r}."
            )
        return params


def space_of(given: Any, estimator: Any) -> Space:
    """The space that ``param_distributions`` means for an estimator."""
    if given is None:
        return cocktail(estimator)
    if isinstance(given, Sequence):
        return Either(given)
    return ByRun(given) if callable(given) else Listed(given)


# distributions


def entry(name: str, given: Any) -> Entry:
    """What a distribution of the user's is in Optuna."""
    from optuna.distributions import BaseDistribution, IntDistribution

    if isinstance(given, BaseDistribution):
        return Entry(given)
    if hasattr(given, "ppf") and hasattr(given, "dist"):
        return of_scipy(name, given)
    if hasattr(given, "rvs"):
        return Entry(IntDistribution(0, MAX_SEED), partial(_drawn, given))
    if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str | bytes):
        if not len(given):
            raise ValueError(f"The list of {name!r} in param_distributions is empty. Give it a value.")
        return of_list(list(given))
    raise TypeError(
        f"What {name!r} may be in param_distributions must be an Optuna distribution, a frozen SciPy distribution, an "
        f"object with an rvs method, or a list. Got {given!r} instead."
    )


def _drawn(given: Any, seed: int) -> Any:
    """What an object that can only draw draws under a seed."""
    return given.rvs(random_state=seed)


def of_scipy(name: str, frozen: Any) -> Entry:
    """A frozen SciPy distribution: exactly where Optuna has it, else by a uniform share and its quantile there."""
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high = (np.asarray(bound) for bound in frozen.support())
    if low.ndim or np.isnan(low) or np.isnan(high):
        raise ValueError(f"The distribution of {name!r} must be one valid distribution of one number.")
    least, most, kind = float(low), float(high), frozen.dist.name
    if kind == "uniform":
        return Entry(FloatDistribution(least, most))
    if kind == "randint":
        return Entry(IntDistribution(int(least), int(most)))
    # Where it is shifted it is no longer even in the logarithm.
    if kind in ("loguniform", "reciprocal") and np.isclose(frozen.ppf(0.5), np.sqrt(least * most), rtol=1e-9):
        return Entry(FloatDistribution(least, most, log=True))
    discrete = not hasattr(frozen.dist, "pdf")
    return Entry(FloatDistribution(QUANTILE_MARGIN, 1 - QUANTILE_MARGIN), partial(_quantile, frozen, discrete))


def _quantile(frozen: Any, discrete: bool, share: float) -> int | float:
    """The quantile of a SciPy distribution, a Python number."""
    value = float(frozen.ppf(share))
    return int(value) if discrete else value


def of_list(options: list[Any]) -> Entry:
    """One of some values of any type."""
    from optuna.distributions import CategoricalDistribution

    labels = labels_of(options)
    return Entry(CategoricalDistribution(labels), dict(zip(labels, options, strict=True)).__getitem__)


def labels_of(options: Sequence[Any]) -> list[Any]:
    """What stands for values in a storage, which takes None, bools, numbers and text, all different.

    The values themselves, else texts that say them in full, else their positions.
    """
    plain = [option.item() if isinstance(option, np.generic) else option for option in options]
    for labels in (plain, [repr(option) for option in plain]):
        told = labels is plain or all(map(_is_literal, plain))
        if told and all(_is_storable(label) for label in labels) and len(set(labels)) == len(labels):
            return labels
    return list(range(len(plain)))


def _is_storable(value: Any) -> bool:
    return value is None or isinstance(value, str | bool) or (isinstance(value, Real) and bool(value == value))


def _is_literal(value: Any) -> bool:
    """Whether a value's text says it in full, in any process."""
    try:
        ast.literal_eval(repr(value))
    except (SyntaxError, ValueError):
        return False
    return True


# the cocktail


def cocktail(estimator: Any) -> Space:
    """The ready space of one of our estimators, alone or at the end of a pipeline; its first trial is the defaults."""
    prefix, last = "", estimator
    while isinstance(last, Pipeline):
        name, last = last.steps[-1]
        prefix += f"{name}__"
    if not isinstance(last, RegularizedMLP):
        raise ValueError(
            f"param_distributions=None has a space for skreg's estimators, alone or last in a Pipeline. For "
            f"{type(last).__name__} give a dict or a callable."
        )
    params = last.get_params(deep=False)
    parameters = signature(type(last)).parameters
    space = searched(params, {name: parameter.default for name, parameter in parameters.items()})
    if params["solver"] == "lbfgs" or not space:
        raise ValueError(
            "param_distributions=None has no space for solver='lbfgs', nor where every parameter of it is set to "
            "something else than its default. Give a dict or a callable."
        )
    first = {prefix + name: value for name, value in _as_by_default(space, params).items()}
    return ByRun(partial(_mix, prefix, space, params["augmentation"]), first, [prefix, space])


def _mix(
    prefix: str, space: dict[str, Range | Choice | Switch], augmentation: Any, trial: Trial | FrozenTrial
) -> dict[str, Any]:
    """Ask a trial for each cure whether, and only then how strong."""
    mixed: dict[str, Any] = {}
    for name, values in space.items():
        if name == "augmentation_strength" and not strength_counts(mixed.get(f"{prefix}augmentation", augmentation)):
            continue
        full = prefix + name
        if isinstance(values, Choice):
            labels = labels_of(values.options)
            label = trial.suggest_categorical(full, labels)
            mixed[full] = values.options[labels.index(label)]
        elif isinstance(values, Switch) and not trial.suggest_categorical(f"{prefix}use_{name}", (False, True)):
            mixed[full] = values.off
        else:
            asked = values.on if isinstance(values, Switch) else values
            mixed[full] = trial.suggest_float(full, asked.low, asked.high, log=asked.log)
    return mixed


def _as_by_default(space: dict[str, Range | Choice | Switch], params: dict[str, Any]) -> dict[str, Any]:
    """What a trial of the defaults is asked with."""
    first: dict[str, Any] = {}
    for name, values in space.items():
        value = params[name]
        if isinstance(values, Choice):
            first[name] = labels_of(values.options)[values.options.index(value)]
        elif isinstance(values, Switch):
            first[f"use_{name}"] = value != values.off
            if value != values.off:
                first[name] = value
        else:
            first[name] = value
    return first
