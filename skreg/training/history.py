"""The training history: losses, scores, learning rates and duration of each epoch.

The values are averaged over the members that trained.
"""

from typing import NamedTuple

from skorch.history import History
from torch import Tensor

from .early_stopping import Monitor


class EpochRecord(NamedTuple):
    """Losses, scores and learning rates ``(members,)`` of an epoch, of the members that trained in it."""

    loss: Tensor
    score: Tensor | None
    rate: Tensor
    seconds: float  # duration, including the validation


def write_epoch(history: History, epoch: EpochRecord, monitor: Monitor | None) -> None:
    """Write an epoch to the last row of the history; scores that are negative losses are written as losses."""
    columns = [("train_loss", epoch.loss, False)]
    if epoch.score is not None and monitor is not None:
        values = epoch.score if monitor.greater_is_better else -epoch.score
        columns.append((monitor.name, values, monitor.greater_is_better))
    for name, values, greater_is_better in columns:
        value = values.mean().item()
        history.record(name, value)
        best = max if greater_is_better else min
        history.record(f"{name}_best", value == best(row[name] for row in history))
    history.record("lr", epoch.rate.mean().item())
    history.record("dur", epoch.seconds)  # the name that skorch's EpochTimer uses


def history_of(epochs: list[EpochRecord], monitor: Monitor | None) -> History:
    """Return the history of several epochs."""
    history = History()
    for number, epoch in enumerate(epochs, start=1):
        history.new_epoch()
        history.record("epoch", number)
        write_epoch(history, epoch, monitor)
    return history
