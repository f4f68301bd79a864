"""A joint course is how the members of several fits are trained together, each with its own strengths."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any

import torch
from torch import Tensor

from ._utils.per_member import Strength, stack
from .training.config import TrainingConfig
from .training.constraints import MaxNorm
from .training.penalties import ElasticNet

NO_PENALTY, NO_CONSTRAINT = ElasticNet(0.0, 0.0), MaxNorm(inf)


def joint_course(courses: Sequence[TrainingConfig], counts: Sequence[int], like: Tensor) -> TrainingConfig:
    """The course of members that follow one another, ``counts[i]`` of them on ``courses[i]``.

    Strengths may differ; all else has to be the same.

    Parameters
    ----------
    courses : sequence of Course
        The courses.
    counts : sequence of int
        Members of each.
    like : Tensor
        Whose type and device the strengths get.
    """

    def each(strength: Callable[[TrainingConfig], Any]) -> Strength:
        return stack([strength(training_config) for training_config in courses], counts, like)

    clips = [training_config.clip_norm for training_config in courses]
    return replace(
        courses[0],
        learning_rate=each(lambda training_config: training_config.learning_rate),
        weight_decay=each(lambda training_config: training_config.weight_decay),
        penalty=_by_layer([c.penalty for c in courses], NO_PENALTY, partial(_penalty, counts=counts, like=like)),
        feature_alpha=each(lambda training_config: training_config.feature_alpha),
        constraint=_by_layer([c.constraint for c in courses], NO_CONSTRAINT, partial(_limit, counts=counts, like=like)),
        clip_norm=None if clips == [None] * len(clips) else stack([c or inf for c in clips], counts, like),
        ema_decay=each(lambda training_config: training_config.ema_decay),
        augmentation=_augmentation([training_config.augmentation for training_config in courses], counts, like),
    )


def _by_layer(given: Sequence[Any], none: Any, join: Callable[[list[Any]], Any]) -> Any:
    """What is joined of each layer where some have one for each, else of all layers; None where nobody has any."""
    n_layers = max((len(one) for one in given if isinstance(one, tuple)), default=0)
    if not n_layers:
        return None if not any(given) else join([one or none for one in given])
    each = [one if isinstance(one, tuple) else (one,) * n_layers for one in given]
    return tuple(join([one or none for one in layer]) if any(layer) else None for layer in zip(*each, strict=True))


def _penalty(penalties: list[ElasticNet], counts: Sequence[int], like: Tensor) -> ElasticNet:
    alpha = stack([penalty.alpha for penalty in penalties], counts, like)
    return ElasticNet(alpha, stack([penalty.l1_ratio for penalty in penalties], counts, like))


def _limit(constraints: list[MaxNorm], counts: Sequence[int], like: Tensor) -> MaxNorm:
    return MaxNorm(stack([constraint.limit for constraint in constraints], counts, like))


def _augmentation(given: Sequence[Any], counts: Sequence[int], like: Tensor) -> Any:
    """The same augmentation with the strengths of all; one of the user's, or none, is the same for all."""
    if not isinstance(given[0], partial):
        return given[0]
    strength = stack([one.keywords["strength"] for one in given], counts, like)
    return partial(given[0].func, strength=strength.view(-1, 1, 1) if isinstance(strength, torch.Tensor) else strength)
