"""A penalty is what a weight costs: a value, the gradient of its smooth part, and a proximal step for the rest."""

import torch
from torch import Tensor

from .._utils.per_member import PerMemberFloat, broadcast, is_nonzero

__all__ = ["ElasticNet", "GroupLasso"]

_ITERATIONS = 6
_TINY = 1e-30


class ElasticNet:
    """``alpha * (l1_ratio * |w| + (1 - l1_ratio) / 2 * w**2)``, summed over the weights of a member.

    The squared part enters the gradient, the absolute part is a proximal step, so zeros are exact. In
    scikit-learn's ``ElasticNet`` the same formula stands beside half the mean squared error.

    Parameters
    ----------
    alpha : float or Tensor of shape (members,)
        Regularization parameter, at least 0.
    l1_ratio : float or Tensor of shape (members,)
        Share of the absolute value, in [0, 1].

    References
    ----------
    Zou & Hastie 2005, "Regularization and variable selection via the elastic net".
    """

    def __init__(self, alpha: PerMemberFloat, l1_ratio: PerMemberFloat) -> None:
        self.alpha, self.l1_ratio = alpha, l1_ratio
        self.l1 = alpha * l1_ratio
        self.l2 = alpha * (1 - l1_ratio)

    @property
    def smooth(self) -> bool:
        """Whether it has a squared part."""
        return is_nonzero(self.l2)

    @property
    def sharp(self) -> bool:
        """Whether it has an absolute part."""
        return is_nonzero(self.l1)

    def value(self, weight: Tensor) -> Tensor:
        """Cost of ``weight`` ``(members, fan_in, fan_out)`` for each member: ``(members,)``."""
        l1, l2 = broadcast(self.l1, weight), broadcast(self.l2, weight)
        return (l1 * weight.abs() + l2 / 2 * weight.square()).flatten(1).sum(1)

    def add_gradient_(self, gradient: Tensor, weight: Tensor) -> None:
        """Add the gradient of the smooth part to ``gradient``, in place."""
        if isinstance(self.l2, Tensor):
            gradient.addcmul_(weight, self.l2.view(-1, *[1] * (weight.dim() - 1)))
        else:
            gradient.add_(weight, alpha=self.l2)

    def proximal_(self, weight: Tensor, step: Tensor | float) -> None:
        """Replace w by the v that minimises ``l1 |v| + (v - w)**2 / (2 step)``, in place.

        ``step`` is the optimiser's step for each weight, so that the fixed point of a preconditioned optimiser is
        the minimum of the objective and not of another one.
        """
        threshold = broadcast(self.l1, weight) * step
        weight.copy_(torch.sign(weight) * (weight.abs() - threshold).clamp_(min=0))


class GroupLasso:
    """``alpha * sqrt(n) * norm(w)``, summed over the groups of a member's rows, n the rows of a group.

    Of a layer's rows those of a group are zero together or not at all. The rows are counted and not the weights, so
    that the strength means the same for every width; with one row a group it is ``MultiTaskLasso``'s penalty.

    Parameters
    ----------
    alpha : float or Tensor of shape (members,)
        Regularization parameter, at least 0.
    groups : int Tensor of shape (fan_in,)
        Group of each row, from 0.

    References
    ----------
    Yuan & Lin 2006, "Model selection and estimation in regression with grouped variables"; Feng & Simon 2017,
    "Sparse-input neural networks for high-dimensional nonparametric regression and classification".
    """

    def __init__(self, alpha: PerMemberFloat, groups: Tensor) -> None:
        self.groups = groups
        sizes = torch.bincount(groups).double()
        self.strengths = broadcast(alpha, sizes.unsqueeze(0)) * sizes.sqrt()

    def value(self, weight: Tensor) -> Tensor:
        """Cost of ``weight`` ``(members, fan_in, fan_out)`` for each member: ``(members,)``."""
        squares = weight.new_zeros(len(weight), self.strengths.shape[-1])
        squares = squares.index_add(1, self.groups, weight.square().sum(2))
        some = squares > 0  # the root has no gradient at 0
        norms = torch.where(some, torch.where(some, squares, 1).sqrt(), 0)
        return (norms * self.strengths.to(norms)).sum(1)

    def proximal_(self, weight: Tensor, step: Tensor | float) -> None:
        """Replace w by the v that minimises ``strength * norm(v) + sum((v - w)**2 / (2 step))`` in each group.

        In place; ``step`` is as in ``ElasticNet.proximal_``. After that step this one is the proximal step of both
        penalties at once, whatever the steps [Simon et al. 2013, "A sparse-group lasso"].
        """
        members, _, width = weight.shape
        n_groups = self.strengths.shape[-1]
        first = n_groups * torch.arange(members, device=weight.device).unsqueeze(1)
        groups = (self.groups + first).flatten()
        threshold = (
            (self.strengths.to(weight)[..., self.groups].unsqueeze(-1) * step).expand_as(weight).reshape(-1, width)
        )
        flat = weight.view(-1, width)
        pulls = weight.new_zeros(members * n_groups)
        pulls.index_add_(0, groups, (flat / threshold.clamp(min=_TINY)).square_().sum(1))
        kept = (~(pulls <= 1))[groups].nonzero().squeeze(1)
        shrunk = _shrink(flat[kept], threshold[kept], groups[kept], len(pulls))
        flat.zero_().index_copy_(0, kept, shrunk)


def _shrink(w: Tensor, threshold: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """``w t / (t + threshold)``, where t is the norm of the result's group: an equation for each group.

    Newton's iteration on one over the root of ``sum((w / (t + threshold))**2)``, which is concave in t and nearly a
    line, rises from the left to where that is 1 and never beyond. The start is so large that no quotient exceeds 1.
    """
    start = (w.abs() - threshold).amax(1)
    t = w.new_zeros(n_groups).scatter_reduce_(0, groups, start, "amax").index_select(0, groups)
    for _ in range(_ITERATIONS):
        reach = t.unsqueeze(1) + threshold
        squares = (w / reach).square_()
        sums = w.new_zeros(n_groups, 2)
        sums.index_add_(0, groups, torch.stack([squares.sum(1), (squares / reach).sum(1)], 1))
        square, slope = sums.index_select(0, groups).unbind(1)
        t = t + square * (square.sqrt() - 1) / slope
    t = t.unsqueeze(1)
    return w * (t / (t + threshold))
