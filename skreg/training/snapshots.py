"""Snapshots are the weights of the members at the ends of the learning rate's cycles, which predict beside the last."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

Weights = list[Tensor]

ROUNDING = 1e-9


def valley_epochs(valleys: Sequence[float], max_epochs: int) -> list[int]:
    """The last epoch that ends in each cycle, where a schedule's cycles end at ``valleys``; at least 1."""
    return sorted({max(1, int(valley * max_epochs + ROUNDING)) for valley in valleys})


class Snapshots:
    """Weights at the ends of some epochs [Huang et al. 2017].

    Parameters
    ----------
    epochs : sequence of int
        At whose end they are taken, in order.
    """

    def __init__(self, epochs: Sequence[int]) -> None:
        self.epochs = tuple(epochs)
        self._taken: list[Weights] = []

    @classmethod
    def of(cls, valleys: Sequence[float], max_epochs: int) -> Self:
        """Snapshots for a schedule whose cycles end at ``valleys``.

        Of each cycle it is the last epoch that ends in it; of cycles shorter than an epoch one counts. The end of the
        training is none: the members' own weights are those.
        """
        return cls([epoch for epoch in valley_epochs(valleys, max_epochs) if epoch != max_epochs])

    def update(self, epoch: int, weights: Weights) -> None:
        """Look at the end of an epoch: take the weights, members on axis 0, if a cycle ends with it."""
        if epoch in self.epochs:
            self._taken.append([weight.detach().clone() for weight in weights])

    @torch.no_grad()
    def fill(self, weights: Weights, best_epoch: Tensor) -> None:
        """Write the snapshots in front of the members' own weights.

        A member that was best before the end of a cycle, or trained no further, keeps its own weights there.

        Parameters
        ----------
        weights : list of Tensor
            Of ``(1 + len(epochs)) * members`` members, one after the other the weights of all members at each epoch,
            their own last; changed in place.
        best_epoch : int Tensor of shape (members,)
            Epoch of each member's own weights.
        """
        members = len(best_epoch)
        for place, (epoch, taken) in enumerate(zip(self.epochs, self._taken, strict=False)):
            chosen = (best_epoch > epoch).nonzero()[:, 0].to(weights[0].device)
            for weight, snapshot in zip(weights, taken, strict=True):
                weight[place * members + chosen] = snapshot[chosen]

    def state_dict(self) -> list[Weights]:
        """What was taken."""
        return self._taken

    def load_state_dict(self, state: list[Weights]) -> None:
        """Continue from ``state``."""
        self._taken = state
