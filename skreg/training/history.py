"""The training history: losses, scores and learning rates of each epoch, averaged over the members that trained."""

from typing import NamedTuple

from skorch.history import History
from torch import Tensor

from .early_stopping import Monitor


class EpochRecord(NamedTuple):
    """Losses, scores and learning rates ``(members,)`` of an epoch, of the members that trained in it."""

    loss: Tensor
    score: Tensor | None
    rate: Tensor


def write_epoch(history: History, epoch: EpochRecord, monitor: Monitor | None) -> None:
    """Write an epoch into the last row of the history."""
    _write(history, "train_loss", epoch.loss.mean().item(), greater_is_better=False)
    if epoch.score is not None and monitor is not None:
        _write(history, monitor.name, (monitor.sign * epoch.score).mean().item(), monitor.sign > 0)
    history.record("lr", epoch.rate.mean().item())


def _write(history: History, column: str, value: float, greater_is_better: bool) -> None:
    history.record(column, value)
    values = [row[column] for row in history]
    history.record(f"{column}_best", value == (max(values) if greater_is_better else min(values)))


def history_of(epochs: list[EpochRecord], monitor: Monitor | None) -> History:
    """Return the history of several epochs."""
    history = History()
    for number, epoch in enumerate(epochs, start=1):
        history.new_epoch()
        history.record("epoch", number)
        write_epoch(history, epoch, monitor)
    return history
