"""A constraint is what a weight may be: a projection onto a set, applied after every step."""

import torch
from torch import Tensor

__all__ = ["MaxNorm"]


class MaxNorm:
    """The incoming weights of each unit have a Euclidean norm of at most ``limit``.

    Parameters
    ----------
    limit : float
        Largest norm, above 0.

    References
    ----------
    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting", section 5.1.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def project_(self, weight: Tensor) -> None:
        """Shrink the columns of ``weight`` ``(members, fan_in, fan_out)`` that are too long, in place."""
        norm = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
        weight.mul_(self.limit / norm.clamp(min=self.limit))
