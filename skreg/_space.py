"""The cocktail is the space that a search goes through where none is given: which cures, and how strong.

Ranges are those of the literature [Kadra et al. 2021, "Well-tuned simple nets excel on tabular datasets"; Holzmüller et
al. 2024, "Better by default"; Gorishniy et al. 2025, "TabM"] brought to this package's parametrisation, and where the
page about cures measured something, its strengths. Every default of the estimators lies inside.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .network import embeddings
from .training import augmentations


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, evenly or evenly in the logarithm."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    options: tuple[Any, ...]


@dataclass(frozen=True)
class Switch:
    """A cure that is off, or on and so strong."""

    off: float | str | None
    on: Range


COCKTAIL: dict[str, Range | Choice | Switch] = {
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

#: (what the user chose, what cannot go with it or means nothing beside it)
EXCLUDED: tuple[tuple[Callable[[dict[str, Any]], bool], tuple[str, ...]], ...] = (
    (lambda chosen: chosen["layer_norm"], ("batch_norm",)),
    (lambda chosen: chosen["swa_start"] is not None, ("ema_decay",)),
    (
        lambda chosen: chosen["pretrained"] is not None,
        ("hidden_layer_sizes", "activation", "numeric_embedding", "batch_norm", "residual"),
    ),
)


def searched(params: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Range | Choice | Switch]:
    """The part of the cocktail that an estimator leaves to the search: what it has as by default.

    Parameters
    ----------
    params, defaults : dict
        The estimator's parameters, and what they are by default.

    Returns
    -------
    dict
        From the parameter to what it may be.
    """
    excluded = {name for applies, names in EXCLUDED if applies(params) for name in names}
    free = {name for name, default in defaults.items() if params[name] is default or _same(params[name], default)}
    return {name: values for name, values in COCKTAIL.items() if name in free - excluded}


def _same(value: Any, default: Any) -> bool:
    """Whether a parameter is as by default; 0 is not False."""
    return type(value) is type(default) and bool(value == default)


def strength_counts(augmentation: Any) -> bool:
    """Whether ``augmentation_strength`` does anything beside this ``augmentation``."""
    return isinstance(augmentation, str)
