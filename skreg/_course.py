"""A course is how a network is trained, as an estimator's parameters say it, checked before any work."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import inf, isfinite
from numbers import Real
from typing import Any, Self

from torch import Tensor

from . import augmentations, schedules
from ._augmenting import PerMember
from ._averaging import LateMean, MovingAverage, WeightAverage
from ._checks import listed, refuse
from ._module import Network
from ._solvers import Group
from .constraints import MaxNorm
from .penalties import ElasticNet


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a network is trained: solver, rates, and what weights and batches suffer.

    Attributes
    ----------
    solver : str
        See ``skreg._solvers``.
    rate : float
        Learning rate at factor 1.
    schedule : callable float -> float
        Factor on it at a progress in [0, 1].
    weight_decay : float
        Each step multiplies the weights by ``1 - rate * weight_decay``.
    dropout_schedule, decay_schedule : callable float -> float
        Factors on the dropout rates and on the decay; the first is at most 1.
    penalty : ElasticNet or None
        Acts on the weights.
    constraint : MaxNorm or None
        Projection of the linear layers' weights after every step.
    clip_norm : float or None
        Largest norm of a member's gradient.
    ema_decay : float
        Of the moving average of the weights; 0 is none.
    swa_start : float or None
        Progress from which the weights at the ends of epochs are averaged; None is none.
    valleys : tuple of float
        Progress at which snapshots are taken.
    augmentation : callable or None
        Changes a training batch.
    """

    solver: str
    rate: float
    schedule: Callable[[float], float]
    weight_decay: float = 0.0
    dropout_schedule: Callable[[float], float] = schedules.constant
    decay_schedule: Callable[[float], float] = schedules.constant
    penalty: ElasticNet | None = None
    constraint: MaxNorm | None = None
    clip_norm: float | None = None
    ema_decay: float = 0.0
    swa_start: float | None = None
    valleys: tuple[float, ...] = ()
    augmentation: Callable[[Any], None] | None = None

    @classmethod
    def of(cls, estimator: Any) -> Self:
        """The course of an estimator's parameters; what hangs together wrongly is refused."""
        if estimator.swa_start is not None and estimator.ema_decay:
            raise ValueError(
                f"swa_start={estimator.swa_start!r} and ema_decay={estimator.ema_decay!r} exclude each other: one "
                "average of the weights predicts. Leave swa_start=None or ema_decay=0.0."
            )
        return cls(
            solver=estimator.solver,
            rate=estimator.learning_rate_init,
            schedule=_schedule(estimator, "learning_rate"),
            weight_decay=estimator.weight_decay,
            dropout_schedule=_schedule(estimator, "dropout_schedule", largest=1.0),
            decay_schedule=_schedule(estimator, "weight_decay_schedule"),
            penalty=ElasticNet(estimator.alpha, estimator.l1_ratio) if estimator.alpha else None,
            constraint=None if estimator.max_norm is None else MaxNorm(estimator.max_norm),
            clip_norm=estimator.clip_norm,
            ema_decay=estimator.ema_decay,
            swa_start=estimator.swa_start,
            valleys=_valleys(estimator) if estimator.snapshots else (),
            augmentation=_augmentation(estimator),
        )

    def groups(self, module: Network) -> list[Group]:
        """The module's parameters by how they are updated: weights decay, biases and norms do not."""
        weights = module.weights()
        taken = {id(weight) for weight in weights}
        others = [parameter for parameter in module.parameters() if id(parameter) not in taken]
        return [Group([*weights], self.weight_decay), Group([*others])]

    def average(self, tensors: list[Tensor]) -> WeightAverage | None:
        """What averages the tensors that are trained."""
        if self.swa_start is not None:
            return LateMean(tensors, self.swa_start)
        return MovingAverage(tensors, self.ema_decay) if self.ema_decay else None

    def penalties(self, module: Network) -> list[tuple[Tensor, ElasticNet]]:
        """What each weight costs."""
        return [] if self.penalty is None else [(weight, self.penalty) for weight in module.weights()]

    def constraints(self, module: Network) -> list[tuple[Tensor, MaxNorm]]:
        """What the weights of the linear layers may be."""
        if self.constraint is None:
            return []
        return [(linear.weight, self.constraint) for linear in module.linears]


def _augmentation(estimator: Any) -> Callable[[Any], None] | None:
    chosen, strength = estimator.augmentation, estimator.augmentation_strength
    if chosen is None or not strength:
        return None
    if not isinstance(chosen, str):
        return PerMember(chosen)
    augmentation = getattr(augmentations, chosen)
    if strength > augmentation.largest:
        must = f"a float in the range [0.0, {augmentation.largest}] with augmentation={chosen!r}"
        raise refuse(estimator, "augmentation_strength", must, strength)
    return partial(augmentation, strength=float(strength))


def _valleys(estimator: Any) -> tuple[float, ...]:
    schedule = estimator.learning_rate
    known = getattr(schedules, schedule) if isinstance(schedule, str) else schedule
    valleys = getattr(known, "valleys", None)
    if valleys is None:
        cyclic = [name for name in schedules.__all__ if hasattr(getattr(schedules, name), "valleys")]
        raise ValueError(
            f"snapshots=True needs a learning_rate of several cycles: {listed(cyclic)}, or a callable with an "
            f"attribute 'valleys', the progress at which each cycle ends. Got learning_rate={schedule!r} instead."
        )
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

    name: str
    schedule: Callable[[float], float]
    largest: float

    def __call__(self, progress: float) -> float:
        factor = self.schedule(progress)
        if not 0 <= factor <= self.largest:
            raise ValueError(
                f"The callable given as {self.name!r} must give factors in the range [0.0, {self.largest}]. "
                f"It gave {factor!r} at {progress:.3g}."
            )
        return factor


def _schedule(estimator: Any, name: str, largest: float = inf) -> Callable[[float], float]:
    schedule = getattr(estimator, name)
    if isinstance(schedule, str):
        return getattr(schedules, schedule)
    factors = [schedule(progress) for progress in (0.0, 0.5, 1.0)]
    if not all(isinstance(f, Real) and isfinite(f) and 0 <= float(f) <= largest for f in factors):
        reach = "of at least 0" if largest == inf else f"in [0, {largest:g}]"
        must = f"a name, or a callable from a progress in [0, 1] to a finite factor {reach}"
        raise ValueError(f"{refuse(estimator, name, must, schedule)} It gives {factors} at 0, 0.5 and 1.")
    return schedule if largest == inf else _Bounded(name, schedule, largest)
