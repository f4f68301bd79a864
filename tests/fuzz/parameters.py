"""Values of the estimators' parameters: those that the constraints allow, and hostile ones."""

import copy
import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import torch
from hypothesis import strategies as st
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor

Params = tuple[tuple[str, Any], ...]
SMALL: Params = (("hidden_layer_sizes", (3,)), ("max_iter", 2), ("n_members", 1), ("random_state", 0))
"""Parameters of all cases, unless they are drawn: they make a fit fast and reproducible."""


def half(progress: float) -> float:
    """A schedule."""
    return 1.0 - progress / 2


def shifted(inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """An augmentation."""
    return inputs + torch.rand(inputs.shape, generator=generator, dtype=inputs.dtype)


def summed(estimator: Any, X: Any, y: Any) -> float:
    """A monitor."""
    return float(np.asarray(estimator.predict(X)).size)


def raising(*arguments: Any) -> float:
    """A callable that raises an error which names it."""
    raise ValueError("The callable that was passed as a parameter must not be called. Remove it.")


def to_text(*arguments: Any) -> str:
    """A callable that returns no number."""
    return "text"


NAMED: dict[str, Any] = {
    "tanh": torch.tanh,
    "nn.SiLU()": nn.SiLU(),
    "half": half,
    "shifted": shifted,
    "summed": summed,
    "raising": raising,
    "to_text": to_text,
    "lambda": lambda *arguments: arguments[0],
    "random state": np.random.RandomState(3),
    "generator": np.random.default_rng(3),
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "2**70": 2**70,
    "10**400": 10**400,
    "array": np.array([0.1, 0.2]),
    "0-d array": np.array(0.5),
    "empty array": np.array([]),
    "float32": np.float32(0.5),
    "float64": np.float64(0.5),
    "int8": np.int8(1),
    "np.bool": np.bool_(True),
    "tensor": torch.tensor(0.5),
    "vector": torch.tensor([0.5, 0.5]),
    "fraction": Fraction(1, 2),
    "decimal": Decimal("0.5"),
    "complex": 0.5 + 0j,
    "pd.NA": pd.NA,
    "object()": object(),
    "class": dict,
    "set": {"column 0"},
    "series": pd.Series([True, False]),
    "index": pd.Index(["column 0"]),
    "LogisticRegression()": LogisticRegression(),
    "frozen and unfitted": FrozenEstimator(RegularizedMLPClassifier()),
}
"""Values that have no useful ``repr``."""


@dataclass(frozen=True)
class Named:
    """A value in ``NAMED``, so that the ``repr`` of a case reproduces it."""

    name: str

    @property
    def value(self) -> Any:
        """A copy of the value, because a random state changes."""
        return copy.deepcopy(NAMED[self.name])


def resolve(params: Params) -> dict[str, Any]:
    """Return parameters as a dict, without names of values."""
    return {name: value.value if isinstance(value, Named) else value for name, value in params}


HOSTILE: list[Any] = [
    *map(Named, NAMED),
    *(None, True, False, 0, 1, 2, -1, 0.0, -0.0, 0.5, 1.0, -0.5, 5e-324, 1e-300, 1e300, 1.7e308),
    *("", "auto", "text", "ümlaut", "none", b"bytes"),
    *(
        (),
        [],
        {},
        (0.1,),
        [0.1, 0.2],
        (0.1, 0.2, 0.3),
        [None],
        [None, 0.5],
        ["a"],
        [[1]],
        (0,),
        [-1],
        [0],
        [True, False],
    ),
    *({"a": 1}, {0: 1.0, 1: 2.0}, {0: -1.0}, {"yes": 2}, range(2), slice(None), Ellipsis),
]
# Values that are valid and would take too long or too much memory, and threads that would outlive the example.
TOO_LARGE = {"max_iter", "n_members", "n_trials", "n_threads"}
LARGE = [Named("2**70"), Named("10**400"), Named("inf")]
SPECIAL: dict[str, list[Any]] = {
    "hidden_layer_sizes": [(), 1, 4, (3,), (4, 3), [5, 5], (2, 2, 2), (np.int64(3),), Named("array"), (300,)],
    "activation": [Named("tanh"), Named("nn.SiLU()"), Named("to_text"), Named("raising")],
    "dropout": [(0.1,), (0.0, 0.5), [0.3]],
    "augmentation": [Named("shifted"), Named("raising"), Named("to_text"), Named("lambda")],
    "alpha": [(0.1, 0.2), (0.1,), [0.0, 0.0], (1e-3, 0.0, 0.1)],
    "max_norm": [(1.0, None), (None, None), (0.5,)],
    "monitor": [Named("summed"), Named("raising"), Named("to_text")],
    "learning_rate": [Named("half"), Named("raising"), Named("to_text"), Named("lambda")],
    "max_iter": [1, 2, 3, 5],
    "n_members": [1, 2, 3],
    "n_threads": [1, 1, 2, None],
    "categorical_features": [[0], [True, False], ["column 0"], (), [-1], [0, 0], [99], ["unknown"], Named("set")],
    "callbacks": [(), [], [None], ["text"]],
    "device": ["cpu", "auto", "cuda", "mps", "meta", "hpu", "cpu:0", "cuda:99", "xyz", "", "cpu:9"],
    "random_state": [0, 1, 2**32 - 1, Named("random state"), Named("generator"), -1, 2**32],
    "verbose": [0, 0, 1, 2, -1, True],
    "time_limit": [None, 1e-9, 0.01, 60],
    "class_weight": [None, "balanced", {0: 1.0, 1: 2.0}, {0: 1}, {1: 0.0}, {"no": 3.0}, {}, {0: -1.0}],
    "quantile": [0.5, 0.1, (0.1, 0.9), (0.9, 0.1), [0.5], (0.1, 0.5, 0.9), (), (0.5, 0.5), [0.0]],
    "pretrained": [None],
    "warm_start": [False, True],
}
"""Values that the constraints do not describe, or limit only from below."""


def allowed(rule: Any) -> list[Any]:
    """Return values that a constraint allows."""
    if isinstance(rule, StrOptions):
        return sorted(rule.options)
    if isinstance(rule, Interval):
        return _in_interval(rule)
    return {"boolean": [True, False], "random_state": [0, None], None: [None]}.get(
        rule if isinstance(rule, str | None) else "", []
    )


def _in_interval(rule: Interval) -> list[Any]:
    if rule.type is Integral:
        values = [rule.left, rule.left + 1, rule.left + 2, 10, 50]
    else:
        left, right = float(rule.left), math.inf if rule.right is None else float(rule.right)
        width = min(right - left, 1.0)
        values = [left, 5e-324, 1e-12, 1e-3, left + 0.1 * width, left + 0.5 * width, left + 0.9 * width]
        values += [math.nextafter(right, left), right] if math.isfinite(right) else [10.0, 1e6, 1e30, 1e300]
    return [value for value in values if value in rule]


def valid_values(cls: type, name: str) -> list[Any]:
    """Return valid and special values of a parameter."""
    rules = cls._parameter_constraints[name]  # type: ignore[attr-defined]  # an estimator
    found = [] if isinstance(rules, str) or name in TOO_LARGE else [value for rule in rules for value in allowed(rule)]
    return found + SPECIAL.get(name, [])


@st.composite
def parameters(draw: st.DrawFn, classifier: bool, hostile: bool = True, max_size: int = 4) -> Params:
    """Draw the values of some parameters; one of them is hostile in a tenth of the cases."""
    cls = RegularizedMLPClassifier if classifier else RegularizedMLPRegressor
    names = draw(st.lists(st.sampled_from(cls._get_param_names()), max_size=max_size, unique=True))
    found = dict(SMALL)
    for number, name in enumerate(names):
        values = valid_values(cls, name)
        if hostile and number == 0 and draw(st.integers(0, 2)) == 2:
            values = [value for value in HOSTILE if name not in TOO_LARGE or value not in LARGE]
        found[name] = draw(st.sampled_from(values))
    return tuple(found.items())
