"""A course is how a network is trained, as an estimator's parameters say it, checked before any work."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import isfinite
from numbers import Real
from typing import Any, Self, TypeAlias, TypeVar

import numpy as np
from torch import Tensor

from .._utils.per_member import PerMemberFloat, is_nonzero
from .._utils.validation import layer_sizes, parameter_error, rate_per_layer, values_per_layer
from ..network.network import Network
from . import augmentations, schedules
from .augmented_batch import PerMember
from .averaging import LateMean, MovingAverage, WeightAverage
from .constraints import MaxNorm
from .learning_rates import rate_factors
from .optimizers.base import Group
from .penalties import ElasticNet, GroupLasso
from .plateau import ADAPTIVE
from .update_step import SOLVERS, SolverOptimizer, make_optimizer

T = TypeVar("T")
PerLayer: TypeAlias = T | Sequence[T | None] | None


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a network is trained: solver, rates, and what weights and batches suffer.

    Attributes
    ----------
    solver : str
        See ``skreg.training.update_step``.
    rate : float or Tensor of shape (members,)
        Learning rate at factor 1. This and the other strengths may be one for each member, see ``joined``.
    schedule : callable float -> float
        Factor on it at a progress in [0, 1].
    weight_decay : float
        Each step multiplies the weights by ``1 - rate * weight_decay``.
    momentum : float
        Of "sgd".
    nesterov : bool
        Whether it is Nesterov's.
    plateau : int or None
        Epochs without a gain after which a member's rate is cut; None does not cut.
    penalty : ElasticNet or None, or a sequence of them
        Acts on the weights of all layers, or of each: the hidden ones, then the head.
    feature_alpha : float
        Strength of the group lasso over the features; 0 is none.
    constraint : MaxNorm or None, or a sequence of them
        Projection of the linear layers' weights after every step, likewise.
    clip_norm : float or None
        Largest norm of a member's gradient.
    ema_decay : float
        Of the moving average of the weights; 0 is none.
    swa_start : float or None
        Progress from which the weights at the ends of epochs are averaged; None is none.
    augmentation : callable or None
        Changes a training batch.
    old_factor : float
        On the learning rate of what another network brought.
    parametrization : str
        See ``skreg.training.learning_rates``.
    stops : tuple of float
        Progress at which early stopping may end the training; none is after every epoch.
    """

    solver: str
    rate: PerMemberFloat
    schedule: Callable[[float], float]
    weight_decay: PerMemberFloat = 0.0
    momentum: float = 0.9
    nesterov: bool = True
    plateau: int | None = None
    penalty: PerLayer[ElasticNet] = None
    feature_alpha: PerMemberFloat = 0.0
    constraint: PerLayer[MaxNorm] = None
    clip_norm: PerMemberFloat | None = None
    ema_decay: PerMemberFloat = 0.0
    swa_start: float | None = None
    augmentation: Callable[[Any], None] | None = None
    old_factor: float = 1.0
    parametrization: str = "standard"
    stops: tuple[float, ...] = ()

    @classmethod
    def of(cls, estimator: Any) -> Self:
        """The course of an estimator's parameters; what excludes each other is refused."""
        _refuse_unsupported(estimator)
        if estimator.swa_start is not None and estimator.ema_decay:
            raise ValueError(
                f"swa_start={estimator.swa_start!r} and ema_decay={estimator.ema_decay!r} exclude each other: one "
                "average of the weights predicts. Leave swa_start=None or ema_decay=0.0."
            )
        if estimator.learning_rate_init * estimator.weight_decay > 1:
            raise ValueError(
                f"weight_decay={estimator.weight_decay!r} times learning_rate_init={estimator.learning_rate_init!r} is "
                "above 1: each step would turn the weights' signs. Lower one of them."
            )
        if estimator.feature_alpha and estimator.freeze_layers:
            raise ValueError(
                f"feature_alpha={estimator.feature_alpha!r} selects columns by the first layer, which "
                f"freeze_layers={estimator.freeze_layers!r} keeps as it is. Leave feature_alpha=0.0 or freeze_layers=0."
            )
        return cls(
            solver=estimator.solver,
            rate=estimator.learning_rate_init,
            schedule=_schedule(estimator),
            weight_decay=estimator.weight_decay,
            momentum=estimator.momentum,
            nesterov=estimator.nesterovs_momentum,
            plateau=max(1, estimator.patience // 4) if estimator.learning_rate == ADAPTIVE else None,
            penalty=_each(lambda alpha: ElasticNet(alpha, estimator.l1_ratio) if alpha else None, _alpha(estimator)),
            feature_alpha=estimator.feature_alpha,
            constraint=_each(lambda limit: None if limit is None else MaxNorm(limit), _max_norm(estimator)),
            clip_norm=estimator.clip_norm,
            ema_decay=estimator.ema_decay,
            swa_start=estimator.swa_start,
            augmentation=_augmentation(estimator),
            old_factor=estimator.pretrained_lr_factor,
            parametrization=estimator.parametrization,
            stops=_valleys(estimator),
        )

    @property
    def ends(self) -> tuple[float, ...]:
        """Progress at which a training that has too little time may end: with a cycle, if its last weights count."""
        return () if self.swa_start is not None or not SOLVERS[self.solver].takes_learning_rate else self.stops

    def check(self, module: Network) -> None:
        """Refuse a module with which a part of the course would have no effect."""
        if is_nonzero(self.feature_alpha) and module.has_skip[:1] == [True]:
            raise ValueError(
                f"feature_alpha={self.feature_alpha!r} cannot let go of a column that residual=True carries past the "
                f"first layer, which it does as that layer is as wide as its {module.linears[0].weight.shape[1]} "
                "inputs. Give it another width, or leave residual=False."
            )

    def optimizer(self, module: Network) -> SolverOptimizer:
        """What updates the module's parameters."""
        settings = {name: getattr(self, name) for name in SOLVERS[self.solver].settings}
        return make_optimizer(self.solver, self.groups(module), **settings)

    def groups(self, module: Network) -> list[Group]:
        """The module's parameters by how they are updated: weights decay, biases and norms do not; frozen ones stay."""
        old = {id(parameter) for name, parameter in module.named_parameters() if name in module.pretrained_names}
        factors = rate_factors(module, self.parametrization, SOLVERS[self.solver])
        taken = {id(weight) for weight in module.weights()}
        others = [parameter for parameter in module.parameters() if id(parameter) not in taken]
        groups = []
        for parameters, decay in ((module.weights(), self.weight_decay), (others, 0.0)):
            for is_old, factor in ((True, self.old_factor), (False, 1.0)):
                chosen = [p for p in _trained(parameters) if (id(p) in old) == is_old]
                for own in dict.fromkeys(factors.get(id(p), 1.0) for p in chosen):
                    alike = [p for p in chosen if factors.get(id(p), 1.0) == own]
                    groups.append(Group(alike, decay / own, factor * own))  # a decay that does not go with the factor
        return groups

    def average(self, tensors: list[Tensor]) -> WeightAverage | None:
        """What averages the tensors that are trained."""
        if self.swa_start is not None:
            return LateMean(tensors, self.swa_start)
        return MovingAverage(tensors, self.ema_decay) if is_nonzero(self.ema_decay) else None

    def penalties(self, module: Network) -> list[tuple[Tensor, ElasticNet]]:
        """What each weight costs."""
        layers = module.weights_by_layer()
        of_layers = zip(layers, _for_all(self.penalty, len(layers)), strict=True)
        return [(weight, penalty) for layer, penalty in of_layers if penalty is not None for weight in _trained(layer)]

    def group_penalties(self, module: Network) -> list[tuple[Tensor, GroupLasso]]:
        """What the first layer's rows of each feature cost together."""
        if not is_nonzero(self.feature_alpha):
            return []
        weights = _trained([module.linears[0].weight])
        index = module.feature_index()
        return [(weight, GroupLasso(self.feature_alpha, index.to(weight.device))) for weight in weights]

    def constraints(self, module: Network) -> list[tuple[Tensor, MaxNorm]]:
        """What the weights of the linear layers may be."""
        of_layers = zip(module.linears, _for_all(self.constraint, len(module.linears)), strict=True)
        return [
            (weight, constraint)
            for linear, constraint in of_layers
            if constraint is not None
            for weight in _trained([linear.weight])
        ]


def _each(make: Callable[[Any], T | None], strengths: Any) -> PerLayer[T]:
    """What is made of a strength, or of those of the layers."""
    return tuple(map(make, strengths)) if isinstance(strengths, tuple) else make(strengths)


def _for_all(given: PerLayer[T], n_layers: int) -> Sequence[T | None]:
    """One for each layer."""
    return given if isinstance(given, Sequence) else [given] * n_layers


def _n_hidden(estimator: Any) -> int:
    return len(layer_sizes(estimator, estimator.hidden_layer_sizes))


def _alpha(estimator: Any) -> Any:
    return values_per_layer(estimator, "alpha", estimator.alpha, _n_hidden(estimator), "[0.0", False)


def _max_norm(estimator: Any) -> Any:
    return values_per_layer(estimator, "max_norm", estimator.max_norm, _n_hidden(estimator), "(0.0", True)


def _required(estimator: Any) -> dict[str, Any]:
    """Values that some parameters must have because of what the solver does not support."""
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


def _refuse_unsupported(estimator: Any) -> None:
    """Raise if parameters have values that the solver does not support; those without effect are ignored."""
    needed = _required(estimator)
    if not needed:
        return
    idle = {
        "dropout": not any(rate_per_layer(estimator, "dropout", estimator.dropout, _n_hidden(estimator))),
        "augmentation": not estimator.augmentation_strength,
        "l1_ratio": not np.any(_alpha(estimator)),
        "max_norm": not np.any(_max_norm(estimator)),
    }
    wrong = [
        name
        for name, value in needed.items()
        if not idle.get(name) and (np.ndim(given := getattr(estimator, name)) or given != value)
    ]
    if wrong:
        found = _in_words(f"{name}={getattr(estimator, name)!r}" for name in wrong)
        wanted = _in_words(f"{name}={needed[name]!r}" for name in wrong)
        raise ValueError(f"solver={estimator.solver!r} cannot go with {found}: set {wanted}, or another solver.")


def _in_words(parts: Iterable[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _trained(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Those that are not frozen."""
    return [parameter for parameter in parameters if parameter.requires_grad]


def _augmentation(estimator: Any) -> Callable[[Any], None] | None:
    chosen, strength = estimator.augmentation, estimator.augmentation_strength
    if chosen is None or not strength:
        return None
    if not isinstance(chosen, str):
        return PerMember(chosen)
    augmentation = getattr(augmentations, chosen)
    if strength > augmentation.largest:
        must = f"a float in the range [0.0, {augmentation.largest}] with augmentation={chosen!r}"
        raise parameter_error(estimator, "augmentation_strength", must, strength)
    return partial(augmentation, strength=float(strength))


def _valleys(estimator: Any) -> tuple[float, ...]:
    """Progress at which the cycles of the learning rate end; empty without cycles."""
    schedule = estimator.learning_rate
    known = getattr(schedules, schedule, None) if isinstance(schedule, str) else schedule
    valleys = getattr(known, "valleys", None)
    if valleys is None:
        return ()
    ends = tuple(valleys) if isinstance(valleys, Iterable) else ()
    numbers = bool(ends) and all(isinstance(end, Real) for end in ends)
    if not numbers or ends[-1] > 1 or not all(before < end for before, end in pairwise((0.0, *ends))):
        raise ValueError(
            f"The 'valleys' of the callable given as 'learning_rate' must increase within (0, 1]. Got {valleys!r} "
            "instead."
        )
    return tuple(map(float, ends))


@dataclass(frozen=True)
class _Bounded:
    """A schedule of the user's, refused when it leaves its range on the way."""

    schedule: Callable[[float], float]

    def __call__(self, progress: float) -> float:
        factor = self.schedule(progress)
        if not _is_factor(factor):
            raise ValueError(
                "The callable given as 'learning_rate' must give finite factors in the range [0.0, inf). "
                f"It gave {factor!r} at {progress:.3g}."
            )
        return float(factor)


def _is_factor(factor: Any) -> bool:
    return isinstance(factor, Real) and isfinite(factor) and float(factor) >= 0


def _schedule(estimator: Any) -> Callable[[float], float]:
    schedule = estimator.learning_rate
    if isinstance(schedule, str):
        return schedules.constant if schedule == ADAPTIVE else getattr(schedules, schedule)
    try:
        factors = [schedule(progress) for progress in (0.0, 0.5, 1.0)]
    except Exception as error:
        raise ValueError(f"The callable given as 'learning_rate' failed on a progress in [0, 1]: {error}") from error
    if not all(map(_is_factor, factors)):
        must = "a name, or a callable from a progress in [0, 1] to a finite factor of at least 0"
        raise ValueError(
            f"{parameter_error(estimator, 'learning_rate', must, schedule)} It gives {factors} at 0, 0.5 and 1."
        )
    return _Bounded(schedule)
