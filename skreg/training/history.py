"""Epochs are the rows of a training's history: losses, scores and rates, means over the members that trained."""

from typing import Any, NamedTuple

import numpy as np
from skorch.history import History
from torch import Tensor

from .monitor import Monitor


def write_epoch(history: History, loss: Tensor, score: Tensor | None, monitor: Monitor | None, rate: Tensor) -> None:
    """Write an epoch into the last row: losses, scores and rates ``(members,)`` of those that trained."""
    history.record("train_loss", loss.mean().item())
    best = [("train_loss_best", "train_loss", min)]
    if score is not None and monitor is not None:
        history.record(monitor.name, (monitor.sign * score).mean().item())
        best.append((f"{monitor.name}_best", monitor.name, max if monitor.sign > 0 else min))
    for name, column, better in best:
        values = history[:, column]
        history.record(name, values[-1] == better(values))
    history.record("lr", rate.mean().item())


class EpochRecord(NamedTuple):
    """What an epoch of a net was: losses, scores and rates of its members that trained in it."""

    loss: Tensor
    score: Tensor | None
    rate: Tensor


def history_of(epochs: list[EpochRecord], monitor: Monitor | None) -> History:
    """The history that ``write_epoch`` would have written of these epochs, one after another."""
    columns: dict[str, tuple[list[float], Any]] = {
        "train_loss": ([epoch.loss.mean().item() for epoch in epochs], np.minimum)
    }
    if monitor is not None:
        scores = [(monitor.sign * epoch.score).mean().item() for epoch in epochs if epoch.score is not None]
        columns[monitor.name] = scores, np.maximum if monitor.sign > 0 else np.minimum
    rows: list[dict[str, Any]] = [{"batches": [], "epoch": number} for number in range(1, len(epochs) + 1)]
    for name, (values, better) in columns.items():
        for row, value, best in zip(rows, values, better.accumulate(values).tolist(), strict=True):
            row.update({name: value, f"{name}_best": value == best})
    for row, epoch in zip(rows, epochs, strict=True):
        row["lr"] = epoch.rate.mean().item()
    return History(rows)
