"""Training and validation curves of a network."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ..training.net import Net


@dataclass(frozen=True)
class TrainingCurves:
    """Curves of a fit by epoch, and how the training of each member ended.

    Curves are averaged over the members that were still training. Within a cycle, losses follow the learning rate, so
    only the losses at the ends of cycles are comparable. Cycles of one epoch are ignored.
    """

    epoch: np.ndarray  # (n_epochs,), epoch numbers
    train_loss: np.ndarray  # (n_epochs,), with dropout and augmentation
    learning_rate: np.ndarray  # (n_epochs,), at the end of each epoch
    validation: np.ndarray | None  # (n_epochs,), monitored loss or score; None without early stopping
    greater_is_better: bool  # whether `validation` is a score rather than a loss
    best_epoch: np.ndarray  # (n_members,), epoch of each member's final weights
    stopped: np.ndarray  # (n_members,), whether early stopping ended the member's training before the last epoch
    diverged: np.ndarray  # (n_members,), whether the loss or the weights became infinite or NaN
    patience: float | None  # None without early stopping
    max_iter: int
    cycle_ends: np.ndarray  # (n_cycles,), positions in `epoch` of the ends of learning rate cycles

    @classmethod
    def from_net(cls, net: Net) -> Self:
        """Read the curves from the history of a net, after a fit or during one."""
        rows = [row for row in net.history if "lr" in row]  # "lr" is missing in an epoch that was interrupted
        epoch, train_loss, rate = (np.array([row[name] for row in rows]) for name in ("epoch", "train_loss", "lr"))
        name, stopping = net.validation_name_, net.stopping_
        ends = np.array(sorted(net.time_budget_.cycle_end_epochs), dtype=int)
        return cls(
            epoch=epoch,
            train_loss=train_loss,
            learning_rate=rate,
            validation=None if name is None else np.array([row[name] for row in rows]),
            greater_is_better=name not in (None, "valid_loss"),
            best_epoch=stopping.best_epoch.numpy().copy(),
            stopped=(~stopping.active & ~stopping.diverged).numpy() & (net.epoch_ < net.max_epochs),
            diverged=stopping.diverged.numpy().copy(),
            patience=stopping.patience,
            max_iter=net.max_epochs,
            cycle_ends=np.flatnonzero(np.isin(epoch, ends[np.diff(ends, prepend=0) > 1])),
        )

    @property
    def validation_loss(self) -> np.ndarray | None:
        """The validation curve with the sign of a loss, or None."""
        return -self.validation if self.validation is not None and self.greater_is_better else self.validation

    @property
    def comparable(self) -> np.ndarray:
        """Positions of the comparable epochs: all, or the ends of the learning rate cycles and the last epoch."""
        n_epochs = len(self.epoch)
        return np.arange(n_epochs) if len(self.cycle_ends) < 2 else np.union1d(self.cycle_ends, n_epochs - 1)
