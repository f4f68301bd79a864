"""A plateau is where a member's score has stopped gaining; its learning rate is cut there."""

from typing import Any

import torch
from torch import Tensor

from .optimizers.base import Rate

ADAPTIVE = "adaptive"
FACTOR = 0.2


class ReduceOnPlateau:
    """The learning rate of each member, cut to a fifth after epochs without a gain, as scikit-learn's "adaptive".

    Parameters
    ----------
    n_members : int
        Members.
    wait : int
        Epochs without a gain before a cut, and between two.
    min_delta : float
        Gain that counts.
    """

    def __init__(self, n_members: int, wait: int, min_delta: float) -> None:
        self._wait, self._min_delta = wait, min_delta
        self.best = torch.full((n_members,), -torch.inf, dtype=torch.float64)
        self.waited = torch.zeros(n_members, dtype=torch.int64)
        self.factors = torch.ones(n_members, dtype=torch.float64)

    def update(self, score: Tensor) -> None:
        """Look at the scores ``(members,)`` of an epoch; greater is better, NaN is no gain."""
        gained = score > self.best + self._min_delta
        self.best = torch.where(gained, score, self.best)
        self.waited = torch.where(gained, 0, self.waited + 1)
        cut = self.waited >= self._wait
        self.factors[cut] *= FACTOR
        self.waited[cut] = 0

    def rate(self, lr: float, active: Tensor, like: Tensor) -> Rate:
        """The members' rates ``(members,)`` as ``like``; a number if all that are active have the same."""
        factors = self.factors[active].unique()
        return lr * factors.item() if len(factors) == 1 else (lr * self.factors).to(like)

    def state_dict(self) -> dict[str, Any]:
        """Best scores, patience spent and rates."""
        return {"best": self.best, "waited": self.waited, "factors": self.factors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        vars(self).update(state)
