"""The training configuration: how a network is trained, from the validated parameters of an estimator."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import inf, isfinite
from numbers import Real
from typing import Any, Self, TypeAlias, TypeVar

import numpy as np
from torch import Tensor

from .._utils.per_member import PerMemberFloat, is_nonzero
from .._utils.validation import layer_sizes, parameter_error, rate_per_layer, values_per_layer
from ..network.network import Network
from . import augmentations, schedules
from .augmented_batch import Augmentation, CallableAugmentation
from .averaging import ExponentialMovingAverage, StochasticWeightAverage, WeightAverage
from .constraints import MaxNorm
from .learning_rates import ADAPTIVE, rate_factors
from .optimizers.base import ParameterGroup
from .optimizers.registry import SOLVERS, SolverOptimizer
from .penalties import ElasticNet, GroupLasso, Penalty

T = TypeVar("T")
PerLayer: TypeAlias = T | Sequence[T | None] | None
Schedule: TypeAlias = Callable[[float], float]
_NUMBERS = (
    "weight_decay",
    "momentum",
    "feature_alpha",
    "clip_norm",
    "ema_decay",
    "swa_start",
    "pretrained_lr_factor",
)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Hyperparameters of the training, with the names of the estimators' parameters.

    ``penalty`` and ``constraint`` are sequences if they differ between layers: the hidden layers, then the head.
    ``schedule`` maps the progress of training, in [0, 1], to a factor on the learning rate. ``plateau_patience`` is the
    number of epochs without improvement after which a member's learning rate is reduced, or None if it never is.
    ``cycle_ends`` contains the progress values at which early stopping may end training; if it is empty, training may
    end after every epoch.
    """

    solver: str
    learning_rate: PerMemberFloat
    schedule: Schedule
    weight_decay: PerMemberFloat = 0.0
    momentum: float = 0.9
    nesterov: bool = True
    plateau_patience: float | None = None
    penalty: PerLayer[ElasticNet] = None
    feature_alpha: PerMemberFloat = 0.0
    constraint: PerLayer[MaxNorm] = None
    clip_norm: PerMemberFloat | None = None
    ema_decay: PerMemberFloat = 0.0
    swa_start: float | None = None
    augmentation: Augmentation | None = None
    pretrained_lr_factor: float = 1.0
    parametrization: str = "standard"
    cycle_ends: tuple[float, ...] = ()

    @classmethod
    def from_estimator(cls, estimator: Any) -> Self:
        """Return the configuration of an estimator; raise a ``ValueError`` if parameters are mutually exclusive."""
        _check_combinations(estimator)
        given = {name: getattr(estimator, name) for name in _NUMBERS}
        numbers: dict[str, Any] = {name: None if value is None else float(value) for name, value in given.items()}
        return cls(
            **numbers,
            solver=estimator.solver,
            parametrization=estimator.parametrization,
            learning_rate=float(estimator.learning_rate_init),
            schedule=_schedule(estimator),
            nesterov=estimator.nesterovs_momentum,
            plateau_patience=_plateau_patience(estimator),
            penalty=_map(lambda alpha: ElasticNet(alpha, estimator.l1_ratio) if alpha else None, _alpha(estimator)),
            constraint=_map(lambda limit: None if limit is None else MaxNorm(limit), _max_norm(estimator)),
            augmentation=_augmentation(estimator),
            cycle_ends=_cycle_ends(estimator),
        )

    @property
    def time_limit_ends(self) -> tuple[float, ...]:
        """Progress values at which training under ``time_limit`` may end; empty if it must complete the schedule."""
        return self.cycle_ends if self.swa_start is None and SOLVERS[self.solver].takes_learning_rate else ()

    def check(self, module: Network) -> None:
        """Raise a ``ValueError`` if a hyperparameter would have no effect on a network."""
        if is_nonzero(self.feature_alpha) and module.has_skip[:1] == [True]:
            raise ValueError(
                f"feature_alpha={self.feature_alpha!r} cannot remove features that residual=True adds to the output of "
                f"the first layer, which has as many units as inputs ({module.linears[0].weight.shape[1]}). Change the "
                "number of units, or set residual=False."
            )

    def optimizer(self, module: Network) -> SolverOptimizer:
        """Return the optimizer of a network."""
        kind = SOLVERS[self.solver]
        return kind(self.groups(module), **{name: getattr(self, name) for name in kind.settings})

    def groups(self, module: Network) -> list[ParameterGroup]:
        """Return the parameter groups of a network. Weight decay applies to weights, not to biases or normalization."""
        factors = rate_factors(module, self.parametrization, SOLVERS[self.solver])
        weights = {id(weight) for weight in module.weights()}
        groups: dict[tuple[bool, bool, float], list[Tensor]] = defaultdict(list)
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                key = id(parameter) in weights, name in module.pretrained_names, factors.get(id(parameter), 1.0)
                groups[key].append(parameter)
        return [
            ParameterGroup(
                parameters,
                # weight decay does not scale with the factor of the parametrization
                self.weight_decay / factor if decays else 0.0,
                self.pretrained_lr_factor * factor if is_pretrained else factor,
            )
            for (decays, is_pretrained, factor), parameters in groups.items()
        ]

    def average(self, tensors: list[Tensor]) -> WeightAverage | None:
        """Return the average of the trained tensors."""
        if self.swa_start is not None:
            return StochasticWeightAverage(tensors, self.swa_start)
        return ExponentialMovingAverage(tensors, self.ema_decay) if is_nonzero(self.ema_decay) else None

    def penalties(self, module: Network) -> list[tuple[Tensor, Penalty]]:
        """Return the penalized weights and their penalties; the group lasso follows the penalties of single weights."""
        penalties: list[tuple[Tensor, Penalty]] = [*_pair(module.weights_by_layer(), self.penalty)]
        if is_nonzero(self.feature_alpha):
            first = module.linears[0].weight
            penalties += _pair([[first]], GroupLasso(self.feature_alpha, module.feature_index().to(first.device)))
        return penalties

    def constraints(self, module: Network) -> list[tuple[Tensor, MaxNorm]]:
        """Return the constrained weights and their constraints."""
        return _pair([[linear.weight] for linear in module.linears], self.constraint)


def _plateau_patience(estimator: Any) -> float | None:
    if estimator.learning_rate != ADAPTIVE:
        return None
    return max(1, estimator.patience // 4) if isfinite(estimator.patience) else inf


def _map(make: Callable[[Any], T | None], values: Any) -> PerLayer[T]:
    """Apply ``make`` to the value shared by all layers, or to the value of each layer."""
    return tuple(map(make, values)) if isinstance(values, tuple) else make(values)


def _pair(layers: Sequence[Sequence[Tensor]], given: PerLayer[T]) -> list[tuple[Tensor, T]]:
    """Pair the trainable weights of each layer with the item given for the layer or for all layers."""
    by_layer = given if isinstance(given, Sequence) else [given] * len(layers)
    pairs = [(weight, one) for layer, one in zip(layers, by_layer, strict=True) for weight in layer]
    return [(weight, one) for weight, one in pairs if one is not None and weight.requires_grad]


def _n_hidden(estimator: Any) -> int:
    return len(layer_sizes(estimator, estimator.hidden_layer_sizes))


def _alpha(estimator: Any) -> Any:
    return values_per_layer(estimator, "alpha", estimator.alpha, _n_hidden(estimator), "[0.0", False)


def _max_norm(estimator: Any) -> Any:
    return values_per_layer(estimator, "max_norm", estimator.max_norm, _n_hidden(estimator), "(0.0", True)


def _check_combinations(estimator: Any) -> None:
    _check_solver_support(estimator)
    if estimator.swa_start is not None and estimator.ema_decay:
        raise ValueError(
            f"swa_start={estimator.swa_start!r} and ema_decay={estimator.ema_decay!r} exclude each other, because only "
            "one average of the weights is used for predictions. Set swa_start=None or ema_decay=0.0."
        )
    if float(estimator.learning_rate_init) * float(estimator.weight_decay) > 1:
        raise ValueError(
            f"weight_decay={estimator.weight_decay!r} times learning_rate_init={estimator.learning_rate_init!r} is "
            "above 1, so that each step would change the signs of the weights. Decrease one of them."
        )
    if estimator.feature_alpha and estimator.freeze_layers:
        raise ValueError(
            f"feature_alpha={estimator.feature_alpha!r} selects features by the weights of the first layer, which "
            f"freeze_layers={estimator.freeze_layers!r} does not train. Set feature_alpha=0.0 or freeze_layers=0."
        )


def _check_solver_support(estimator: Any) -> None:
    """Raise a ``ValueError`` if parameters that have an effect are not supported by the solver."""
    required = _required_values(estimator)
    if not required:
        return
    has_no_effect = {
        "dropout": not any(rate_per_layer(estimator, "dropout", estimator.dropout, _n_hidden(estimator))),
        "augmentation": not estimator.augmentation_strength,
        "l1_ratio": not np.any(_alpha(estimator)),
        "max_norm": not np.any(_max_norm(estimator)),
    }
    wrong = [
        name
        for name, value in required.items()
        if not has_no_effect.get(name) and (np.ndim(given := getattr(estimator, name)) or given != value)
    ]
    if wrong:
        found = _joined(f"{name}={getattr(estimator, name)!r}" for name in wrong)
        remedy = _joined(f"{name}={required[name]!r}" for name in wrong)
        raise ValueError(
            f"solver={estimator.solver!r} does not support {found}. Set {remedy}, or choose another solver."
        )


def _required_values(estimator: Any) -> dict[str, Any]:
    """Return the values of parameters that the solver requires."""
    optimizer = SOLVERS[estimator.solver]
    required: dict[str, Any] = {}
    if not optimizer.supports_members:
        required |= {"n_members": 1}
    if optimizer.full_batch:
        required |= {"batch_size": "auto", "dropout": 0.0, "input_dropout": 0.0, "augmentation": None}
        required |= {"batch_norm": False}
    if not optimizer.takes_learning_rate:
        required |= {"weight_decay": 0.0, "max_norm": None, "clip_norm": None, "ema_decay": 0.0, "swa_start": None}
    if not optimizer.supports_l1:
        required |= {"l1_ratio": 0.0, "feature_alpha": 0.0}
    return required


def _joined(items: Iterable[str]) -> str:
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def _augmentation(estimator: Any) -> Augmentation | None:
    chosen, magnitude = estimator.augmentation, estimator.augmentation_strength
    if chosen is None or not magnitude:
        return None
    if not isinstance(chosen, str):
        return CallableAugmentation(chosen)
    augmentation = getattr(augmentations, chosen)
    if magnitude > augmentation.max_magnitude:
        must = f"a float in the range [0.0, {augmentation.max_magnitude}] with augmentation={chosen!r}"
        raise parameter_error(estimator, "augmentation_strength", must, magnitude)
    return partial(augmentation, magnitude=float(magnitude))


def _cycle_ends(estimator: Any) -> tuple[float, ...]:
    """Return the progress values at which learning rate cycles end; empty without cycles."""
    name = estimator.learning_rate
    given = getattr(getattr(schedules, name, None) if isinstance(name, str) else name, "cycle_ends", None)
    if given is None:
        return ()
    ends = tuple(given) if isinstance(given, Iterable) else ()
    are_numbers = bool(ends) and all(isinstance(end, Real) for end in ends)
    if not are_numbers or ends[-1] > 1 or not all(before < end for before, end in pairwise((0.0, *ends))):
        raise ValueError(
            "The attribute 'cycle_ends' of the callable given as 'learning_rate' must contain increasing numbers in "
            f"the range (0.0, 1.0]. Got {given!r} instead."
        )
    return tuple(map(float, ends))


@dataclass(frozen=True)
class _CheckedSchedule:
    """A user-defined schedule whose factors are checked before and during training."""

    schedule: Schedule

    def __call__(self, progress: float) -> float:
        try:
            factor = self.schedule(progress)
        except Exception as error:
            raise ValueError(f"The callable given as 'learning_rate' failed at progress {progress}: {error}") from error
        if not isinstance(factor, Real) or not isfinite(factor) or float(factor) < 0:
            raise ValueError(
                "The 'learning_rate' parameter must be a name, or a callable that returns finite factors in the range "
                f"[0.0, inf) for a progress in [0, 1]. Got {factor!r} at progress {progress:.3g} instead."
            )
        return float(factor)


def _schedule(estimator: Any) -> Schedule:
    schedule = estimator.learning_rate
    if isinstance(schedule, str):
        return schedules.constant if schedule == ADAPTIVE else getattr(schedules, schedule)
    checked = _CheckedSchedule(schedule)
    for progress in (0.0, 0.5, 1.0):
        checked(progress)
    return checked
