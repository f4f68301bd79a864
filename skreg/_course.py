"""A course is how a network is trained, as an estimator's parameters say it, checked before any work."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import isfinite
from numbers import Real
from typing import Any, Self

from torch import Tensor

from . import augmentations, schedules
from ._augmenting import PerMember
from ._checks import refuse
from ._module import Network
from ._solvers import Group
from .constraints import MaxNorm
from .penalties import ElasticNet, GroupLasso


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
    penalty : ElasticNet or None
        Acts on the weights.
    feature_alpha : float
        Strength of the group lasso over the features; 0 is none.
    constraint : MaxNorm or None
        Projection of the linear layers' weights after every step.
    clip_norm : float or None
        Largest norm of a member's gradient.
    ema_decay : float
        Of the weight average; 0 is none.
    augmentation : callable or None
        Changes a training batch.
    """

    solver: str
    rate: float
    schedule: Callable[[float], float]
    weight_decay: float = 0.0
    penalty: ElasticNet | None = None
    feature_alpha: float = 0.0
    constraint: MaxNorm | None = None
    clip_norm: float | None = None
    ema_decay: float = 0.0
    augmentation: Callable[[Any], None] | None = None

    @classmethod
    def of(cls, estimator: Any) -> Self:
        """The course of an estimator's parameters."""
        return cls(
            solver=estimator.solver,
            rate=estimator.learning_rate_init,
            schedule=_schedule(estimator),
            weight_decay=estimator.weight_decay,
            penalty=ElasticNet(estimator.alpha, estimator.l1_ratio) if estimator.alpha else None,
            feature_alpha=estimator.feature_alpha,
            constraint=None if estimator.max_norm is None else MaxNorm(estimator.max_norm),
            clip_norm=estimator.clip_norm,
            ema_decay=estimator.ema_decay,
            augmentation=_augmentation(estimator),
        )

    def groups(self, module: Network) -> list[Group]:
        """The module's parameters by how they are updated: weights decay, biases and norms do not."""
        weights = module.weights()
        taken = {id(weight) for weight in weights}
        others = [parameter for parameter in module.parameters() if id(parameter) not in taken]
        return [Group([*weights], self.weight_decay), Group([*others])]

    def penalties(self, module: Network) -> list[tuple[Tensor, ElasticNet]]:
        """What each weight costs."""
        return [] if self.penalty is None else [(weight, self.penalty) for weight in module.weights()]

    def group_penalties(self, module: Network) -> list[tuple[Tensor, GroupLasso]]:
        """What the first layer's rows of each feature cost together."""
        if not self.feature_alpha:
            return []
        weight = module.linears[0].weight
        return [(weight, GroupLasso(self.feature_alpha, module.features().to(weight.device)))]

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


def _schedule(estimator: Any) -> Callable[[float], float]:
    schedule = estimator.learning_rate
    if isinstance(schedule, str):
        return getattr(schedules, schedule)
    factors = [schedule(progress) for progress in (0.0, 0.5, 1.0)]
    if not all(isinstance(factor, Real) and isfinite(factor) and float(factor) >= 0 for factor in factors):
        must = "a name, or a callable from a progress in [0, 1] to a finite factor of at least 0"
        raise ValueError(f"{refuse(estimator, 'learning_rate', must, schedule)} It gives {factors} at 0, 0.5 and 1.")
    return schedule
