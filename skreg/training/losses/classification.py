"""Classification losses: for each name, a class for binary targets and labels, and one for multiclass targets."""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from ..._utils.per_member import PerMemberFloat, broadcast, is_nonzero
from .base import Loss

__all__ = ["BinaryFocalLoss", "BinaryLogLoss", "MulticlassFocalLoss", "MulticlassLogLoss"]


class ClassificationLoss(Loss):
    """Base class of the losses whose link function returns probabilities.

    ``label_smoothing`` is the share of each row's target that training distributes evenly over the classes, in [0, 1).
    """

    def __init__(self, label_smoothing: PerMemberFloat = 0.0) -> None:
        self.label_smoothing = label_smoothing

    @abstractmethod
    def log_probability(self, raw: Tensor) -> Tensor:
        """Return the log probabilities of the classes from ``raw`` (..., outputs)."""

    @abstractmethod
    def smooth(self, target: Tensor, raw: Tensor) -> Tensor:
        """Return the target as class probabilities with label smoothing, in the dtype of ``raw``."""

    def in_training(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of the smoothed target [Szegedy et al. 2016, section 7]."""
        return self(raw, self.smooth(target, raw) if is_nonzero(self.label_smoothing) else target, weight)


class BinaryLoss(ClassificationLoss):
    """Base class for independent binary outputs with one logit each: two classes, or several labels."""

    def smooth(self, target: Tensor, raw: Tensor) -> Tensor:  # noqa: ARG002 - the target has the shape of raw
        """Move the probabilities of the positive class toward 1/2."""
        share = broadcast(self.label_smoothing, target)
        return target * (1 - share) + share / 2

    def log_probability(self, raw: Tensor) -> Tensor:
        """Return ``(..., outputs, 2)``, the log probabilities of the negative and the positive class."""
        return torch.stack([F.logsigmoid(-raw), F.logsigmoid(raw)], dim=-1)


class MulticlassLoss(ClassificationLoss):
    """Base class for mutually exclusive classes with one logit each."""

    def smooth(self, target: Tensor, raw: Tensor) -> Tensor:
        """Move the class probabilities toward the uniform distribution."""
        probability = _class_probability(target, raw)
        share = broadcast(self.label_smoothing, probability)
        return probability * (1 - share) + share / raw.shape[-1]

    def log_probability(self, raw: Tensor) -> Tensor:
        """Return ``(..., outputs)``, the log probability of each class."""
        return F.log_softmax(raw, dim=-1)


class BinaryLogLoss(BinaryLoss):
    """Log loss of independent binary outputs with one logit each: two classes, or several labels.

    Target: ``(members, rows, outputs)``, 0.0 and 1.0 or probabilities of the positive class.
    """

    name = "log_loss"

    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the cross-entropy, summed over rows and outputs."""
        rows = F.binary_cross_entropy_with_logits(raw, target, weight.unsqueeze(-1), reduction="none")
        return rows.sum((1, 2))


class MulticlassLogLoss(MulticlassLoss):
    """Log loss of mutually exclusive classes with one logit each.

    Target: ``(members, rows)`` of class indices, or ``(members, rows, outputs)`` of class probabilities.
    """

    name = "log_loss"

    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the cross-entropy of a softmax over the outputs."""
        rows = F.cross_entropy(raw.flatten(0, 1), target.flatten(0, 1), reduction="none")
        return (rows.view(weight.shape) * weight).sum(1)


class BinaryFocalLoss(BinaryLoss):
    """Focal loss ``-(1 - p)**2 log p`` of independent binary outputs, where p is the probability of the true class.

    Rows that are already predicted well have a small weight [Lin et al. 2017, "Focal loss for dense object detection"].
    The probabilities are closer to 1/2 than the true frequencies, but in the same order. Target: as in
    ``BinaryLogLoss``.
    """

    name = "focal"

    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the focal loss, summed over rows and outputs."""
        positive = torch.sigmoid(-raw).square() * F.logsigmoid(raw)
        negative = torch.sigmoid(raw).square() * F.logsigmoid(-raw)
        return -((target * positive + (1 - target) * negative) * weight.unsqueeze(-1)).sum((1, 2))


class MulticlassFocalLoss(MulticlassLoss):
    """Focal loss of mutually exclusive classes; see ``BinaryFocalLoss``. Target: as in ``MulticlassLogLoss``."""

    name = "focal"

    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the focal loss of a softmax over the outputs."""
        log_probability = F.log_softmax(raw, dim=-1)
        classes = torch.expm1(log_probability).square() * log_probability
        return -((_class_probability(target, raw) * classes).sum(2) * weight).sum(1)


def _class_probability(target: Tensor, raw: Tensor) -> Tensor:
    """Convert class indices to probabilities in the shape and dtype of ``raw``; return probabilities unchanged."""
    return target if target.is_floating_point() else F.one_hot(target, raw.shape[-1]).to(raw.dtype)
