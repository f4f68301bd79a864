"""A course is how a network is trained, as an estimator's parameters say it, checked before any work."""

from collections.abc import Callable, Sequence
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
    penalty : ElasticNet or None
        Acts on the weights.
    constraint : MaxNorm or None
        Projection of the linear layers' weights after every step.
    clip_norm : float or None
        Largest norm of a member's gradient.
    ema_decay : float
        Of the weight average; 0 is none.
    augmentation : callable or None
        Changes a training batch.
    old_factor : float
        On the learning rate of what another network brought.
    """

    solver: str
    rate: float
    schedule: Callable[[float], float]
    weight_decay: float = 0.0
    penalty: ElasticNet | None = None
    constraint: MaxNorm | None = None
    clip_norm: float | None = None
    ema_decay: float = 0.0
    augmentation: Callable[[Any], None] | None = None
    old_factor: float = 1.0

    @classmethod
    def of(cls, estimator: Any) -> Self:
        """The course of an estimator's parameters."""
        return cls(
            solver=estimator.solver,
            rate=estimator.learning_rate_init,
            schedule=_schedule(estimator),
            weight_decay=estimator.weight_decay,
            penalty=ElasticNet(estimator.alpha, estimator.l1_ratio) if estimator.alpha else None,
            constraint=None if estimator.max_norm is None else MaxNorm(estimator.max_norm),
            clip_norm=estimator.clip_norm,
            ema_decay=estimator.ema_decay,
            augmentation=_augmentation(estimator),
            old_factor=estimator.pretrained_lr_factor,
        )

    def groups(self, module: Network) -> list[Group]:
        """The module's parameters by how they are updated: weights decay, biases and norms do not; frozen ones stay."""
        old = {id(parameter) for name, parameter in module.named_parameters() if name in module.old}
        taken = {id(weight) for weight in module.weights()}
        others = [parameter for parameter in module.parameters() if id(parameter) not in taken]
        groups = []
        for parameters, decay in ((module.weights(), self.weight_decay), (others, 0.0)):
            trained = _trained(parameters)
            groups.append(Group([p for p in trained if id(p) in old], decay, self.old_factor))
            groups.append(Group([p for p in trained if id(p) not in old], decay))
        return [group for group in groups if group.parameters]

    def penalties(self, module: Network) -> list[tuple[Tensor, ElasticNet]]:
        """What each weight costs."""
        return [] if self.penalty is None else [(weight, self.penalty) for weight in _trained(module.weights())]

    def constraints(self, module: Network) -> list[tuple[Tensor, MaxNorm]]:
        """What the weights of the linear layers may be."""
        if self.constraint is None:
            return []
        return [(weight, self.constraint) for weight in _trained([linear.weight for linear in module.linears])]


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
