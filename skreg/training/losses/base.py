"""A loss compares the raw output of each member with its target, and knows the link from raw to prediction."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..._utils.per_member import PerMemberFloat, broadcast, is_nonzero
from .link import exponential

__all__ = [
    "AbsoluteError",
    "BinaryFocalLoss",
    "BinaryLogLoss",
    "HalfGammaDeviance",
    "HalfPoissonDeviance",
    "HalfSquaredError",
    "HuberLoss",
    "MulticlassFocalLoss",
    "MulticlassLogLoss",
    "PinballLoss",
]

_OUT_OF_RANGE = "Some value(s) of y are out of the valid range of the loss '{}', y {} 0. The least of them is {:.6g}."


class Loss(ABC):
    """Weighted sum of the rows' losses; several outputs of a row are summed, so that each trains as if alone.

    Attributes
    ----------
    name : str
        Value of the estimator's ``loss``.
    log_link : bool
        Whether raw is the logarithm of the prediction.
    """

    name: ClassVar[str]
    log_link: ClassVar[bool] = False

    @classmethod
    def registered(cls) -> "dict[str, type[Self]]":
        """The losses of ``__all__`` that are of this kind, by name."""
        losses = [globals()[name] for name in __all__]
        return {loss.name: loss for loss in losses if issubclass(loss, cls) and not inspect.isabstract(loss)}

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

    def in_training(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The loss that is trained on, where that is another than the one that is watched."""
        return self(raw, target, weight)


# numbers


class RegressionLoss(Loss):
    """A loss of numbers, each output by itself.

    Without a log link the target is standardised: by mean and standard deviation, or, where ``quantiles`` says so, by
    these quantiles and the interquartile range. With one it is divided by its mean.

    Attributes
    ----------
    quantiles : tuple of float or None
        Quantiles of the target at which the raw outputs of one target start; None is one output, at its mean.
    several : bool
        Whether a prediction has one more axis, for several quantiles.
    power : float
        Of the prediction to which the spread of the target around it is proportional.
    """

    quantiles: tuple[float, ...] | None = None
    several: bool = False
    power: ClassVar[float] = 0.0

    @property
    def n_columns(self) -> int:
        """Raw outputs of one target."""
        return 1 if self.quantiles is None else len(self.quantiles)

    @abstractmethod
    def rows(self, raw: Tensor, target: Tensor) -> Tensor:
        """Loss of each number, of the shape of ``raw``."""

    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Losses of the rows, weighted, summed over outputs."""
        return (self.rows(raw, target) * weight.unsqueeze(-1)).sum((1, 2))

    def inverse_link(self, raw: Tensor) -> Tensor:
        """Prediction in the units of the standardised target."""
        return raw

    def arrange(self, prediction: Tensor) -> Tensor:
        """Predictions ``(..., outputs)`` in the target's units, brought in order where they must have one."""
        return prediction

    def check(self, y: np.ndarray) -> None:
        """Refuse a target outside the range of the loss."""

    def check_training(self, y: np.ndarray) -> None:
        """Refuse what moreover cannot be trained on."""
        self.check(y)


class HalfSquaredError(RegressionLoss):
    """Half the squared error of the standardised target; the link is the identity. Estimates the mean.

    Target: ``(members, rows, outputs)``.
    """

    name = "squared_error"

    def rows(self, raw: Tensor, target: Tensor) -> Tensor:
        """Half the squared difference."""
        return F.mse_loss(raw, target, reduction="none") / 2


class AbsoluteError(RegressionLoss):
    """Absolute error of the standardised target; the link is the identity. Estimates the median.

    Target: ``(members, rows, outputs)``.
    """

    name = "absolute_error"
    quantiles = (0.5,)

    def rows(self, raw: Tensor, target: Tensor) -> Tensor:
        """Absolute difference."""
        return (raw - target).abs()


class HuberLoss(RegressionLoss):
    """Half the squared error up to ``delta`` = 1.345 of the standardised target, then linear; the link is the identity.

    Huber 1964, "Robust estimation of a location parameter": at 1.345 standard deviations it is 95 % as efficient as the
    mean where errors are normal. Target: ``(members, rows, outputs)``.
    """

    name = "huber"
    quantiles = (0.5,)
    delta = 1.345

    def rows(self, raw: Tensor, target: Tensor) -> Tensor:
        """Huber's function of the difference."""
        return F.huber_loss(raw, target, reduction="none", delta=self.delta)


class PinballLoss(RegressionLoss):
    """Pinball loss, ``quantile`` times what raw lacks or ``1 - quantile`` times its excess; estimates quantiles.

    Koenker & Bassett 1978, "Regression quantiles"; the link is the identity. Raw outputs of several quantiles are each
    trained alone; predictions are put in order, so that they do not cross, which never makes them worse (Chernozhukov
    et al. 2010, "Quantile and probability curves without crossing"). Target: ``(members, rows, outputs)``, each number
    once for each quantile.

    Parameters
    ----------
    quantile : float or sequence of float
        In (0, 1).
    """

    name = "quantile"

    def __init__(self, quantile: float | Sequence[float] = 0.5) -> None:
        self.quantiles: tuple[float, ...] = tuple(float(q) for q in np.ravel(quantile))
        self.several = not isinstance(quantile, Real)

    def rows(self, raw: Tensor, target: Tensor) -> Tensor:
        """The difference, tilted."""
        lacking = target - raw
        share = raw.new_tensor(self.quantiles).repeat(raw.shape[-1] // self.n_columns)
        return torch.where(lacking > 0, share, share - 1) * lacking

    def arrange(self, prediction: Tensor) -> Tensor:
        """Greater quantiles get greater numbers."""
        each = prediction.unflatten(-1, (-1, self.n_columns))
        ranks = torch.tensor(np.argsort(np.argsort(self.quantiles, kind="stable")), device=prediction.device)
        return each.sort(-1).values[..., ranks].flatten(-2)


class _LogLinkLoss(RegressionLoss):
    """A loss whose raw output is the logarithm of the prediction, in units of the target's mean.

    Beyond raw = 30, 1e13 times the mean, the exponential goes on as a straight line, so that it stays finite.
    """

    log_link = True

    def inverse_link(self, raw: Tensor) -> Tensor:
        """The exponential of raw."""
        return exponential(raw)


class HalfPoissonDeviance(_LogLinkLoss):
    """Half the Poisson deviance, for counts and rates of at least 0; the link is the logarithm. Estimates the mean.

    Target: ``(members, rows, outputs)``, divided by its mean.
    """

    name, power = "poisson", 0.5

    def rows(self, raw: Tensor, target: Tensor) -> Tensor:
        """``exp(raw) - target * raw``, and what makes it 0 at the target."""
        return exponential(raw) - target * raw + (torch.xlogy(target, target) - target)

    def check(self, y: np.ndarray) -> None:
        """Refuse negative numbers."""
        if (y < 0).any():
            raise ValueError(_OUT_OF_RANGE.format("poisson", ">=", y.min()))

    def check_training(self, y: np.ndarray) -> None:
        """Refuse negative numbers, and nothing but zeros."""
        self.check(y)
        if not (y.sum(0) > 0).all():
            raise ValueError("The loss 'poisson' needs a y whose sum is positive, and every value of y is 0.")


class HalfGammaDeviance(_LogLinkLoss):
    """Half the gamma deviance, for positive amounts; the link is the logarithm. Estimates the mean.

    Target: ``(members, rows, outputs)``, divided by its mean.
    """

    name, power = "gamma", 1.0

    def rows(self, raw: Tensor, target: Tensor) -> Tensor:
        """``exp(log(target) - raw) + raw``, and what makes it 0 at the target."""
        lacking = target.clamp(min=torch.finfo(target.dtype).tiny).log() - raw
        return exponential(lacking) - lacking - 1

    def check(self, y: np.ndarray) -> None:
        """Refuse zero and negative numbers."""
        if (y <= 0).any():
            raise ValueError(_OUT_OF_RANGE.format("gamma", ">", y.min()))


# classes


class ClassificationLoss(Loss):
    """A loss whose link gives probabilities.

    Parameters
    ----------
    label_smoothing : float or Tensor of shape (members,)
        Share of each row's target that training spreads evenly over the classes, in [0, 1).
    """

    def __init__(self, label_smoothing: PerMemberFloat = 0.0) -> None:
        self.label_smoothing = label_smoothing

    @abstractmethod
    def log_probability(self, raw: Tensor) -> Tensor:
        """Logarithm of the class probabilities, from ``raw`` (..., outputs)."""

    @abstractmethod
    def smoothed(self, target: Tensor, n_raw: int, dtype: torch.dtype) -> Tensor:
        """``target`` as shares of the classes, ``label_smoothing`` of them spread evenly."""

    def in_training(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The loss against the smoothed target [Szegedy et al. 2016, section 7]."""
        if not is_nonzero(self.label_smoothing):
            return self(raw, target, weight)
        return self(raw, self.smoothed(target, raw.shape[-1], raw.dtype), weight)


class BinaryLoss(ClassificationLoss):
    """A loss of independent yes/no outputs, one logit each: two classes, or several labels."""

    def smoothed(self, target: Tensor, n_raw: int, dtype: torch.dtype) -> Tensor:
        """Shares of yes, moved towards a half."""
        share = broadcast(self.label_smoothing, target)
        return target * (1 - share) + share / 2

    def log_probability(self, raw: Tensor) -> Tensor:
        """``(..., outputs, 2)``: log probability of no and of yes."""
        return torch.stack([F.logsigmoid(-raw), F.logsigmoid(raw)], dim=-1)


class MulticlassLoss(ClassificationLoss):
    """A loss of exclusive classes, one logit each."""

    def smoothed(self, target: Tensor, n_raw: int, dtype: torch.dtype) -> Tensor:
        """Shares of the classes, moved towards equal ones."""
        share, shares = broadcast(self.label_smoothing, target), _shares(target, n_raw, dtype)
        return shares * (1 - share) + share / n_raw

    def log_probability(self, raw: Tensor) -> Tensor:
        """``(..., outputs)``: log probability of each class."""
        return F.log_softmax(raw, dim=-1)


class BinaryLogLoss(BinaryLoss):
    """Log loss of independent yes/no outputs, one logit each: two classes, or several labels.

    Target: ``(members, rows, outputs)``, 0.0 and 1.0 or shares of yes.
    """

    name = "log_loss"

    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Cross-entropy of each output, summed over outputs."""
        rows = F.binary_cross_entropy_with_logits(raw, target, weight.unsqueeze(-1), reduction="none")
        return rows.sum((1, 2))


class MulticlassLogLoss(MulticlassLoss):
    """Log loss of exclusive classes, one logit each.

    Target: ``(members, rows)`` of class numbers, or ``(members, rows, outputs)`` of shares.
    """

    name = "log_loss"

    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Cross-entropy after a softmax over the outputs."""
        rows = F.cross_entropy(raw.flatten(0, 1), target.flatten(0, 1), reduction="none")
        return (rows.view(weight.shape) * weight).sum(1)


class BinaryFocalLoss(BinaryLoss):
    """Focal loss ``-(1 - p)**2 log p`` of independent yes/no outputs, p the probability of the truth.

    Rows that are predicted well count for little (Lin et al. 2017, "Focal loss for dense object detection"). Its
    probabilities are nearer to a half than the frequencies, and rank as they do. Target: as of ``BinaryLogLoss``.
    """

    name = "focal"

    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Focal loss of each output, summed over outputs."""
        yes = torch.sigmoid(-raw).square() * F.logsigmoid(raw)
        no = torch.sigmoid(raw).square() * F.logsigmoid(-raw)
        return -((target * yes + (1 - target) * no) * weight.unsqueeze(-1)).sum((1, 2))


class MulticlassFocalLoss(MulticlassLoss):
    """Focal loss of exclusive classes, as ``BinaryFocalLoss``. Target: as of ``MulticlassLogLoss``."""

    name = "focal"

    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Focal loss after a softmax over the outputs."""
        log_probability = F.log_softmax(raw, dim=-1)
        each = torch.expm1(log_probability).square() * log_probability
        return -((_shares(target, raw.shape[-1], raw.dtype) * each).sum(2) * weight).sum(1)


def _shares(target: Tensor, n_classes: int, dtype: torch.dtype) -> Tensor:
    """Class numbers as shares of the classes; shares stay."""
    return target if target.is_floating_point() else F.one_hot(target, n_classes).to(dtype)
