"""The bookkeeping of early stopping: each member's best score, best epoch, patience left, and the weights to keep."""

import warnings
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

Tensors = list[Tensor]


class Stopping:
    """Which members still train, and which weights each will have in the end.

    With a patience a member keeps the weights of its best epoch and stops after ``patience`` epochs without a gain
    of more than ``min_delta``. Without one it keeps its last weights whose loss was finite: those of an epoch are
    pending until the next epoch has trained from them. A member that is not finite stops at once.

    Parameters
    ----------
    n_members : int
        Members.
    patience : int or None
        Epochs without a gain; None trains to the end.
    min_delta : float
        Gain that counts.

    Attributes
    ----------
    scores : list of Tensor of shape (members,)
        What was watched in each epoch, NaN for the members that had stopped: the members' own validation curves.
    """

    def __init__(self, n_members: int, patience: int | None, min_delta: float) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best = torch.full((n_members,), -torch.inf, dtype=torch.float64)
        self.best_epoch = torch.zeros(n_members, dtype=torch.int64)
        self.waited = torch.zeros(n_members, dtype=torch.int64)
        self.active = torch.ones(n_members, dtype=torch.bool)
        self.diverged = torch.zeros(n_members, dtype=torch.bool)
        self.kept: Tensors | None = None
        self.pending: Tensors | None = None
        self.pending_epoch = 0
        self.scores: list[Tensor] = []

    def update(
        self,
        epoch: int,
        score: Tensor | None,
        finite: Tensor,
        weights: Tensors,
        counts: bool = True,
        may_stop: bool = True,
    ) -> None:
        """Look at an epoch.

        Parameters
        ----------
        epoch : int
            Its number, from 1.
        score : Tensor of shape (members,) or None
            Greater is better; NaN is no gain.
        finite : bool Tensor of shape (members,)
            Whether loss and weights of the epoch are finite.
        weights : list of Tensor
            The tensors to keep, members on axis 0.
        counts : bool
            Whether an epoch without a gain costs patience.
        may_stop : bool
            Whether a member may stop after this epoch; one out of patience that may not goes on.
        """
        if score is not None:
            self.scores.append(torch.where(self.active, score, torch.nan))
        self.diverged |= self.active & ~finite
        self.active &= finite
        if self.patience is None or score is None:
            self.confirm(finite)
            self.pending, self.pending_epoch = [w.detach().clone() for w in weights], epoch
            return
        gained = self.active & ((score > self.best + self.min_delta) | (self.best_epoch == 0))
        self.best = torch.where(gained, torch.nan_to_num(score, nan=-torch.inf), self.best)
        self.best_epoch[gained] = epoch
        self._keep(weights, gained)
        self.waited = torch.where(gained, 0, self.waited + int(counts))
        if may_stop:
            self.active &= self.waited < self.patience

    def confirm(self, finite: Tensor) -> None:
        """Keep the pending weights of the members whose loss with them turned out finite."""
        if self.pending is not None:
            good = finite & ~self.diverged
            self.diverged |= ~finite
            self.best_epoch[good] = self.pending_epoch
            self._keep(self.pending, good)
            self.pending = None

    def hold(self, epoch: int, weights: Tensors) -> None:
        """Keep ``weights`` as those of an earlier ``epoch``: what a member that diverges goes back to."""
        self.best_epoch[:] = epoch
        self._keep(weights, self.active)

    def _keep(self, weights: Tensors, members: Tensor) -> None:
        if self.kept is None:
            self.kept = [w.detach().clone() for w in weights]
        elif bool(members.all()):
            torch._foreach_copy_(self.kept, [w.detach() for w in weights])
        elif bool(members.any()):
            chosen = members.to(weights[0].device)
            for kept, weight in zip(self.kept, weights, strict=True):
                kept[chosen] = weight.detach()[chosen]

    @torch.no_grad()
    def restore(self, weights: Tensors) -> None:
        """Put the kept weights back."""
        if self.kept is not None:
            torch._foreach_copy_(list(weights), self.kept)

    def state_dict(self) -> dict[str, Any]:
        """All of the bookkeeping."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        vars(self).update(state)


def judge(stopping: Stopping, advice: str) -> None:
    """Say it when a training diverged; a member that never had a good epoch has no weights to go back to.

    Raises
    ------
    ValueError
        If a member diverged in its first epoch.
    """
    what = "the loss or the weights are not finite"
    if bool((stopping.best_epoch == 0).any()):
        raise ValueError(f"The training diverged in its first epoch: {what}. {advice}")
    if bool(stopping.diverged.any()):
        last = int(stopping.best_epoch[stopping.diverged].min())
        warnings.warn(
            f"The training diverged: {what}. The weights went back to those of epoch {last}. {advice}",
            ConvergenceWarning,
            stacklevel=2,
        )
