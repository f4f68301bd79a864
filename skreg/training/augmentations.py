"""An augmentation is what a training batch suffers besides dropout: its rows are mixed, or parts of them replaced.

Every name in ``__all__`` is a value of the ``augmentation`` parameter. Each is a function of a batch, all members at
once, and a strength; ``largest`` is the largest strength that it takes. A feature is a column of the user's table:
what was made of it (a number and its missing-value indicator, the one-hot columns or the code of a category) is
replaced as a whole.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf, pi

import torch
from torch import Tensor

__all__ = ["cutmix", "cutout", "gaussian_noise", "mixup", "swap_noise"]


class Augmentable(ABC):
    """The prepared rows of a training batch, and random numbers that are each member's own.

    The partner of a row is another row of the same batch and member, never padding; a batch of one row is its own
    partner.

    Attributes
    ----------
    n_features : int
        Columns of the user's table.
    """

    n_features: int

    @abstractmethod
    def uniform(self, count: int) -> Tensor:
        """Numbers in [0, 1) for each member: ``(members, 1, count)``."""

    @abstractmethod
    def uniform_cells(self) -> Tensor:
        """A number in [0, 1) for each row and feature: ``(members, rows, n_features)``."""

    @abstractmethod
    def replace_by_partner(self, features: Tensor) -> None:
        """Replace ``features``, bool ``(members, 1 or rows, n_features)``, of each row by those of its partner."""

    @abstractmethod
    def replace_by_others(self, features: Tensor) -> None:
        """Replace ``features`` of each row by those of other rows, of another one for each feature."""

    @abstractmethod
    def replace_by_missing(self, features: Tensor) -> None:
        """Replace ``features`` of each row by what a missing value is: the fill value and indicator, or no level."""

    @abstractmethod
    def shake(self, spread: float) -> None:
        """Add normal noise of standard deviation ``spread`` to the scaled numbers that are not missing."""

    @abstractmethod
    def mix(self, share: Tensor) -> None:
        """Make each row ``share`` of itself, ``(members, 1, 1)``, and the rest of its partner."""

    @abstractmethod
    def mix_targets(self, share: Tensor) -> None:
        """Make each row's loss ``share``, ``(members, 1, 1)``, that of its target and the rest of its partner's."""


_Augmentation = Callable[[Augmentable, float], None]


def _up_to(largest: float) -> Callable[[_Augmentation], _Augmentation]:
    def mark(function: _Augmentation) -> _Augmentation:
        function.largest = largest  # type: ignore[attr-defined]  # functions take attributes, their type says not so
        return function

    return mark


@_up_to(inf)
def mixup(batch: Augmentable, strength: float) -> None:
    """Mix each row and its loss with another one's, in shares drawn for each batch and member.

    Parameters
    ----------
    batch : Augmentable
        What is changed.
    strength : float
        The share is drawn from Beta(strength, strength): below 1 mostly near 0 or 1, above 1 mostly near a half.

    References
    ----------
    Zhang et al. 2018, "mixup: beyond empirical risk minimization".
    """
    share = _symmetric_beta(batch.uniform(2), strength)
    batch.mix(share)
    batch.mix_targets(share)


@_up_to(1.0)
def cutmix(batch: Augmentable, strength: float) -> None:
    """Replace a random share of the features by those of another row, and mix the loss by the share replaced.

    Which features, the same for the rows of a batch, and how many is drawn for each batch and member; at least one.

    Parameters
    ----------
    batch : Augmentable
        What is changed.
    strength : float
        Probability that this is done to a batch.

    References
    ----------
    Yun et al. 2019, "CutMix: regularization strategy to train strong classifiers with localizable features"; for tables
    Kadra et al. 2021, "Well-tuned simple nets excel on tabular datasets".
    """
    happens, share = batch.uniform(2).split(1, dim=-1)
    count = (share * batch.n_features).floor().clamp(min=1) * (happens < strength)
    rank = batch.uniform(batch.n_features).argsort(-1).argsort(-1)
    batch.replace_by_partner(rank < count)
    batch.mix_targets(1 - count / batch.n_features)


@_up_to(1.0)
def cutout(batch: Augmentable, strength: float) -> None:
    """Replace features by their missing value, drawn for each row.

    Parameters
    ----------
    batch : Augmentable
        What is changed.
    strength : float
        Probability of each feature of each row.

    References
    ----------
    DeVries & Taylor 2017, "Improved regularization of convolutional neural networks with cutout"; for tables Kadra et
    al. 2021, "Well-tuned simple nets excel on tabular datasets".
    """
    batch.replace_by_missing(batch.uniform_cells() < strength)


@_up_to(1.0)
def swap_noise(batch: Augmentable, strength: float) -> None:
    """Replace features by those of other rows, drawn for each row; the target stays.

    Parameters
    ----------
    batch : Augmentable
        What is changed.
    strength : float
        Probability of each feature of each row.

    References
    ----------
    Jahrer 2017, first place in the Porto Seguro competition. The corruption is that of Yoon et al. 2020, "VIME:
    extending the success of self- and semi-supervised learning to tabular domain".
    """
    batch.replace_by_others(batch.uniform_cells() < strength)


@_up_to(inf)
def gaussian_noise(batch: Augmentable, strength: float) -> None:
    """Add normal noise to the numbers; categories and missing values stay.

    Parameters
    ----------
    batch : Augmentable
        What is changed.
    strength : float
        Standard deviation of the noise, in the units of the scaled numbers.

    References
    ----------
    Bishop 1995, "Training with noise is equivalent to Tikhonov regularization".
    """
    batch.shake(strength)


def _symmetric_beta(uniform: Tensor, a: float) -> Tensor:
    """Beta(a, a) from two uniform numbers on the last axis: Student's t with 2 a degrees by Bailey 1994, mapped."""
    radius, angle = uniform.split(1, dim=-1)
    longest = torch.finfo(uniform.dtype).max ** 0.25
    odds = (radius.pow(-1 / a) - 1).clamp(max=longest).sqrt() * torch.cos(2 * pi * angle)
    return (1 + odds * torch.rsqrt(1 + odds.square())) / 2
