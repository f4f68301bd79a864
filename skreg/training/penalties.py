"""Penalties on weights: their value, the gradient of the smooth part and the proximal step of the nonsmooth part."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from .._utils.per_member import PerMemberFloat, broadcast, is_nonzero
from .._utils.validation import FLOAT32_MAX

__all__ = ["ElasticNet", "GroupLasso"]

_NEWTON_ITERATIONS = 6
_TINY = 1e-30


class Penalty(ABC):
    """Base class of the penalties: sums of a smooth and a nonsmooth part.

    The smooth part enters the gradient. The nonsmooth part is applied as a proximal step, which produces exact zeros.
    """

    smooth: bool  # whether the penalty has a smooth part
    nonsmooth: bool  # whether the penalty has a nonsmooth part

    @abstractmethod
    def value(self, weight: Tensor) -> Tensor:
        """Return the penalty of ``weight`` ``(members, fan_in, fan_out)`` for each member: ``(members,)``."""

    @abstractmethod
    def add_gradient_(self, gradient: Tensor, weight: Tensor) -> None:
        """Add the gradient of the smooth part to ``gradient``, in place."""

    @abstractmethod
    def proximal_(self, weight: Tensor, step: Tensor | float) -> None:
        """Replace w by the v that minimizes ``nonsmooth(v) + sum((v - w)**2 / (2 step))``, in place.

        ``step`` is the optimizer's step size for each weight. With this step size, the fixed point of a preconditioned
        optimizer is the minimum of the objective.
        """


class ElasticNet(Penalty):
    """Elastic net, ``alpha * (l1_ratio * |w| + (1 - l1_ratio) / 2 * w**2)`` summed over the weights of a member.

    scikit-learn's ``ElasticNet`` adds the same expression to half the mean squared error. [Zou & Hastie 2005,
    "Regularization and variable selection via the elastic net"]

    Parameters
    ----------
    alpha : float or Tensor of shape (members,)
        Factor on the penalty, at least 0.
    l1_ratio : float or Tensor of shape (members,)
        Share of the absolute value, in [0, 1].
    """

    def __init__(self, alpha: PerMemberFloat, l1_ratio: PerMemberFloat) -> None:
        self.alpha, self.l1_ratio = alpha, l1_ratio
        self.l1 = alpha * l1_ratio
        self.l2 = alpha * (1 - l1_ratio)
        self.smooth, self.nonsmooth = is_nonzero(self.l2), is_nonzero(self.l1)

    def value(self, weight: Tensor) -> Tensor:
        """Return the penalty of each member."""
        l1, l2 = broadcast(self.l1, weight), broadcast(self.l2, weight)
        return (l1 * weight.abs() + l2 / 2 * weight.square()).flatten(1).sum(1)

    def add_gradient_(self, gradient: Tensor, weight: Tensor) -> None:
        """Add the gradient of the squared part, in place."""
        l2 = broadcast(self.l2, weight)
        if isinstance(l2, Tensor):
            gradient.addcmul_(weight, l2)
        else:
            gradient.add_(weight, alpha=l2)

    def proximal_(self, weight: Tensor, step: Tensor | float) -> None:
        """Apply soft thresholding, in place."""
        threshold = broadcast(self.l1, weight) * step
        if not isinstance(threshold, Tensor):
            threshold = min(threshold, FLOAT32_MAX)  # torch refuses larger numbers
        weight.copy_(torch.sign(weight) * (weight.abs() - threshold).clamp_(min=0))


class GroupLasso(Penalty):
    """Group lasso, ``alpha * sqrt(n) * norm(w)`` summed over groups of n rows of a member's weight matrix.

    The penalty sets all rows of a group to zero together or not at all. The factor counts rows instead of weights, so
    that ``alpha`` has the same meaning for every layer width. With one row per group, it is the penalty of
    ``MultiTaskLasso``. [Yuan & Lin 2006, "Model selection and estimation in regression with grouped variables"; Feng &
    Simon 2017, "Sparse-input neural networks for high-dimensional nonparametric regression and classification"]

    Parameters
    ----------
    alpha : float or Tensor of shape (members,)
        Factor on the penalty, at least 0.
    groups : int Tensor of shape (fan_in,)
        Group of each row, from 0.
    """

    smooth, nonsmooth = False, True

    def __init__(self, alpha: PerMemberFloat, groups: Tensor) -> None:
        self.groups = groups
        sizes = torch.bincount(groups).double()
        self.group_alphas = broadcast(alpha, sizes.unsqueeze(0)) * sizes.sqrt()

    def value(self, weight: Tensor) -> Tensor:
        """Return the penalty of each member."""
        squares = weight.new_zeros(len(weight), self.group_alphas.shape[-1])
        squares = squares.index_add(1, self.groups, weight.square().sum(2))
        positive = squares > 0  # the square root has no gradient at 0
        norms = torch.where(positive, torch.where(positive, squares, 1).sqrt(), 0)
        return (norms * self.group_alphas.to(norms)).sum(1)

    def add_gradient_(self, gradient: Tensor, weight: Tensor) -> None:
        """Leave the gradient unchanged, because there is no smooth part."""

    def proximal_(self, weight: Tensor, step: Tensor | float) -> None:
        """Apply the proximal step of each group, in place.

        After the proximal step of an elastic net, this is the proximal step of the sum of both penalties, for any step
        sizes [Simon et al. 2013, "A sparse-group lasso"].
        """
        members, _, width = weight.shape
        n_groups = self.group_alphas.shape[-1]
        first = n_groups * torch.arange(members, device=weight.device).unsqueeze(1)
        groups = (self.groups + first).flatten()
        alphas = self.group_alphas.to(weight)[..., self.groups].unsqueeze(-1)
        threshold = (alphas * step).expand_as(weight).reshape(-1, width)
        flat = weight.view(-1, width)
        squares = weight.new_zeros(members * n_groups)
        squares.index_add_(0, groups, (flat / threshold.clamp(min=_TINY)).square_().sum(1))
        kept = (~(squares <= 1))[groups].nonzero().squeeze(1)
        shrunk = _shrink(flat[kept], threshold[kept], groups[kept], len(squares))
        flat.zero_().index_copy_(0, kept, shrunk)


def _shrink(w: Tensor, threshold: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """Return ``w t / (t + threshold)``, where t solves ``norm of the result = t`` in each group.

    Newton's method finds the t at which ``sum((w / (t + threshold))**2) ** -0.5`` is 1. This function of t is concave
    and almost linear, so the iterates increase monotonically to the solution. At the start, no quotient exceeds 1.
    """
    start = (w.abs() - threshold).amax(1)
    t = w.new_zeros(n_groups).scatter_reduce_(0, groups, start, "amax").index_select(0, groups)
    for _ in range(_NEWTON_ITERATIONS):
        denominator = t.unsqueeze(1) + threshold
        squares = (w / denominator).square_()
        sums = w.new_zeros(n_groups, 2)
        sums.index_add_(0, groups, torch.stack([squares.sum(1), (squares / denominator).sum(1)], 1))
        square, slope = sums.index_select(0, groups).unbind(1)
        t = t + square * (square.sqrt() - 1) / slope
    t = t.unsqueeze(1)
    return w * (t / (t + threshold))
