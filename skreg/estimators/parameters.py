"""Constraints of the parameters that both estimators share; names are taken from the registries."""

from numbers import Integral, Real
from typing import Any

from sklearn.metrics import get_scorer_names
from sklearn.utils._param_validation import Interval, StrOptions

from .._utils.device import PRECISIONS
from ..network import activations, embeddings, initializers
from ..training import augmentations, schedules
from ..training.learning_rates import ADAPTIVE
from ..training.optimizers.registry import SOLVERS


class Names(StrOptions):
    """String options that error messages list in sorted order, which is the same in every process."""

    def __str__(self) -> str:
        return f"a str among {{{', '.join(map(repr, sorted(self.options)))}}}"


CONSTRAINTS: dict[str, list[Any] | str] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [Names(set(activations.__all__)), callable],
    "batch_norm": ["boolean"],
    "layer_norm": ["boolean"],
    "residual": [Names({"auto"}), "boolean"],
    "init": [Names({"auto", "data_driven", *initializers.__all__})],
    "parametrization": [Names({"ntk", "standard"})],
    "scale_layer": [Names({"auto"}), "boolean"],
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "input_dropout": [Interval(Real, 0, 1, closed="left")],
    "augmentation": [Names(set(augmentations.__all__)), callable, None],
    "augmentation_strength": [Interval(Real, 0, None, closed="left")],
    "alpha": [Interval(Real, 0, None, closed="left"), "array-like"],
    "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    "feature_alpha": [Interval(Real, 0, None, closed="left")],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "max_norm": [Interval(Real, 0, None, closed="neither"), "array-like", None],
    "early_stopping": [Names({"auto"}), "boolean"],
    "validation_fraction": [Interval(Real, 0, 0.5, closed="right")],
    "monitor": [Names({"loss", *get_scorer_names()}), callable],
    "patience": [Interval(Integral, 1, None, closed="left")],
    "min_delta": [Interval(Real, 0, None, closed="left")],
    "solver": [Names(set(SOLVERS))],
    "learning_rate": [Names({ADAPTIVE, *schedules.__all__}), callable],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "momentum": [Interval(Real, 0, 1, closed="left")],
    "nesterovs_momentum": ["boolean"],
    "batch_size": [Names({"auto"}), Interval(Integral, 1, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "time_limit": [Interval(Real, 0, None, closed="neither"), None],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "ema_decay": [Interval(Real, 0, 1, closed="left")],
    "swa_start": [Interval(Real, 0, 1, closed="neither"), None],
    "n_members": [Interval(Integral, 1, None, closed="left")],
    "categorical_features": [Names({"from_dtype"}), "array-like", None],
    "numeric_scaling": [Names({"robust", "standard", "quantile"}), None],
    "numeric_embedding": [Names({"auto", *embeddings.__all__}), None],
    "warm_start": ["boolean"],
    "pretrained": "no_validation",  # PretrainedSource.of validates it
    "freeze_layers": [Interval(Integral, 0, None, closed="left")],
    "pretrained_lr_factor": [Interval(Real, 0, None, closed="neither")],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
    "callbacks": [list, tuple, None],
    "device": [str],
    "precision": [Names({"auto", *PRECISIONS})],
    "n_threads": [Interval(Integral, 1, None, closed="left"), None],
}
