"""Constraints: projections of the weights onto a feasible set, applied after every step."""

import torch
from torch import Tensor

from .._utils.per_member import PerMemberFloat, broadcast

__all__ = ["MaxNorm"]


class MaxNorm:
    """Limit the Euclidean norm of the incoming weights of each unit.

    [Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting", section 5.1]

    Parameters
    ----------
    limit : float or Tensor of shape (members,)
        Maximum norm, greater than 0. Infinity means no limit.
    """

    def __init__(self, limit: PerMemberFloat) -> None:
        self.limit = limit

    def project_(self, weight: Tensor) -> None:
        """Scale down the columns of ``weight`` ``(members, fan_in, fan_out)`` that are too long, in place."""
        norm = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
        weight.mul_((broadcast(self.limit, weight) / norm).clamp(max=1))
