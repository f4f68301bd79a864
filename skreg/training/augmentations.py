"""Augmentations of training batches: rows are mixed, or some of their features are replaced.

Every name in ``__all__`` is a value of the ``augmentation`` parameter. An augmentation is a function of a batch of all
members and a magnitude, the value of ``augmentation_strength``; its attribute ``max_magnitude`` is the largest
magnitude that it accepts. A feature is a column of the user's table. Everything that encodes it (a number and its
missing-value indicator, the one-hot columns or the code of a category) is replaced together.
"""

from collections.abc import Callable
from math import inf, pi

import torch
from torch import Tensor

from .augmented_batch import AugmentedBatch

__all__ = ["cutmix", "cutout", "gaussian_noise", "mixup", "swap_noise"]

_Augmentation = Callable[[AugmentedBatch, float], None]


def _with_max_magnitude(max_magnitude: float) -> Callable[[_Augmentation], _Augmentation]:
    def decorate(augmentation: _Augmentation) -> _Augmentation:
        augmentation.max_magnitude = max_magnitude  # type: ignore[attr-defined]  # functions accept attributes
        return augmentation

    return decorate


@_with_max_magnitude(inf)
def mixup(batch: AugmentedBatch, magnitude: float) -> None:
    """Mix each row and its loss with those of another row, in proportions drawn for each batch and member.

    [Zhang et al. 2018, "mixup: beyond empirical risk minimization"]

    Parameters
    ----------
    batch : AugmentedBatch
        The batch to change.
    magnitude : float
        The share of the row itself is drawn from Beta(magnitude, magnitude), which is concentrated near 0 and 1 for
        values below 1 and near 1/2 for values above 1.
    """
    share = _symmetric_beta(batch.uniform(2), magnitude)
    batch.mix(share)
    batch.mix_targets(share)


@_with_max_magnitude(1.0)
def cutmix(batch: AugmentedBatch, magnitude: float) -> None:
    """Replace a random share of the features by those of another row, and mix the loss by the same share.

    The features are drawn for each batch and member, and are the same for all rows of the batch. At least one feature
    is replaced. [Yun et al. 2019, "CutMix: regularization strategy to train strong classifiers with localizable
    features"; for tables, Kadra et al. 2021, "Well-tuned simple nets excel on tabular datasets"]

    Parameters
    ----------
    batch : AugmentedBatch
        The batch to change.
    magnitude : float
        Probability that a batch is changed.
    """
    is_changed, share = batch.uniform(2).chunk(2, dim=-1)
    count = (share * batch.n_features).floor().clamp(min=1) * (is_changed < magnitude)
    rank = batch.uniform(batch.n_features).argsort(-1).argsort(-1)
    batch.replace_by_partner(rank < count)
    batch.mix_targets(1 - count / batch.n_features)


@_with_max_magnitude(1.0)
def cutout(batch: AugmentedBatch, magnitude: float) -> None:
    """Replace features, drawn for each row, by missing values.

    [DeVries & Taylor 2017, "Improved regularization of convolutional neural networks with cutout"; for tables, Kadra et
    al. 2021, "Well-tuned simple nets excel on tabular datasets"]

    Parameters
    ----------
    batch : AugmentedBatch
        The batch to change.
    magnitude : float
        Probability that a feature of a row is replaced.
    """
    batch.replace_by_missing(batch.uniform_cells() < magnitude)


@_with_max_magnitude(1.0)
def swap_noise(batch: AugmentedBatch, magnitude: float) -> None:
    """Replace features by those of random rows, drawn for each row; the target is kept.

    Jahrer used it in 2017 in the solution that won the Porto Seguro competition. The corruption follows Yoon et al.
    2020, "VIME: extending the success of self- and semi-supervised learning to tabular domain".

    Parameters
    ----------
    batch : AugmentedBatch
        The batch to change.
    magnitude : float
        Probability that a feature of a row is replaced.
    """
    batch.replace_by_random_rows(batch.uniform_cells() < magnitude)


@_with_max_magnitude(inf)
def gaussian_noise(batch: AugmentedBatch, magnitude: float) -> None:
    """Add normal noise to the numbers; categories and missing values are kept.

    [Bishop 1995, "Training with noise is equivalent to Tikhonov regularization"]

    Parameters
    ----------
    batch : AugmentedBatch
        The batch to change.
    magnitude : float
        Standard deviation of the noise in units of the scaled numbers.
    """
    batch.add_noise(magnitude)


def _symmetric_beta(uniform: Tensor, a: float) -> Tensor:
    """Transform two uniform numbers on the last axis to Beta(a, a), via Student's t [Bailey 1994]."""
    radius, angle = uniform.chunk(2, dim=-1)
    largest = torch.finfo(uniform.dtype).max ** 0.25
    odds = (radius.pow(-1 / a) - 1).clamp(max=largest).sqrt() * torch.cos(2 * pi * angle)
    return (1 + odds * torch.rsqrt(1 + odds.square())) / 2
