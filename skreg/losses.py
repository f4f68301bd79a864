"""A loss compares the raw output of each member with its target, and knows the link from raw to prediction."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["BinaryLogLoss", "HalfSquaredError", "MulticlassLogLoss"]


class Loss(ABC):
    """Weighted sum of the rows' losses; several outputs of a row are summed, so that each trains as if alone."""

    @abstractmethod
    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Loss of each member.

        Parameters
        ----------
        raw : Tensor of shape (members, rows, outputs)
            Raw output.
        target : Tensor of shape (members, rows, ...)
            What it is compared with.
        weight : Tensor of shape (members, rows)
            Weight of each row; with weights that sum to 1 the result is the mean loss.

        Returns
        -------
        Tensor of shape (members,)
        """


class ClassificationLoss(Loss):
    """A loss whose link gives probabilities."""

    @abstractmethod
    def log_probability(self, raw: Tensor) -> Tensor:
        """Logarithm of the class probabilities, from ``raw`` (..., outputs)."""


class HalfSquaredError(Loss):
    """Half the squared error of the standardised target; the link is the identity.

    Target: ``(members, rows, outputs)``.
    """

    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Half the squared difference, summed over outputs."""
        return ((raw - target).square() * (weight / 2).unsqueeze(-1)).sum((1, 2))


class BinaryLogLoss(ClassificationLoss):
    """Log loss of independent yes/no outputs, one logit each: two classes, or several labels.

    Target: ``(members, rows, outputs)`` of 0.0 and 1.0.
    """

    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Cross-entropy of each output, summed over outputs."""
        rows = F.binary_cross_entropy_with_logits(raw, target, weight.unsqueeze(-1), reduction="none")
        return rows.sum((1, 2))

    def log_probability(self, raw: Tensor) -> Tensor:
        """``(..., outputs, 2)``: log probability of no and of yes."""
        return torch.stack([F.logsigmoid(-raw), F.logsigmoid(raw)], dim=-1)


class MulticlassLogLoss(ClassificationLoss):
    """Log loss of exclusive classes, one logit each.

    Target: ``(members, rows)`` of class numbers.
    """

    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Cross-entropy after a softmax over the outputs."""
        rows = F.cross_entropy(raw.flatten(0, 1), target.flatten(), reduction="none")
        return (rows.view(target.shape) * weight).sum(1)

    def log_probability(self, raw: Tensor) -> Tensor:
        """``(..., outputs)``: log probability of each class."""
        return F.log_softmax(raw, dim=-1)
