"""Parts of the user's rows: as given, for scorers, and as encoded, for the network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils import _safe_indexing
from torch import Tensor

from .._utils.device import best_types, types_of
from .._utils.validation import layer_sizes
from ..training.early_stopping import LossMonitor, Monitor, ScorerMonitor
from .batches import MemberRows
from .table import Table

BATCH_SIZES = ((1024, 64), (4096, 128), (32_768, 256), (131_072, 512), (np.inf, 1024))


@dataclass(frozen=True)
class DeviceConfig:
    """Device, precision and rows of a step.

    Attributes
    ----------
    device : torch.device
        Where the fit runs.
    batch_size : int
        Most rows of a step.
    dtype, products : torch.dtype
        Of tensors, and of the hidden layers' products in training. By itself float64 where all rows make one batch, so
        that gradient descent is exact there, else float32.
    """

    device: torch.device
    batch_size: int
    dtype: torch.dtype
    products: torch.dtype

    @classmethod
    def of(
        cls, estimator: Any, n_rows: int, known: tuple[int, torch.dtype] | None = None, full_batch: bool = False
    ) -> Self:
        """The place of an estimator's fit of ``n_rows`` rows.

        "auto" means the ``known`` rows of a step and type, and all rows if the solver needs the ``full_batch``.
        """
        device_config, rows = _device(estimator.device), estimator.batch_size
        if rows == "auto" and full_batch:
            rows = n_rows
        elif rows == "auto":
            rows = next(size for most, size in BATCH_SIZES if n_rows <= most) if known is None else known[0]
        exact = n_rows <= rows and device_config.type != "mps"
        dtype = known[1] if known is not None else torch.float64 if exact else torch.float32
        widths = layer_sizes(estimator, estimator.hidden_layer_sizes)
        return cls(
            device_config,
            rows,
            *types_of(estimator.precision, device_config, best_types(dtype, device_config, widths, rows)),
        )


def _device(name: str) -> torch.device:
    known = name
    if name == "auto":
        known = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.empty(0, device=known).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"device={name!r} cannot be used here ({reason}). Leave device='auto'.") from error


@dataclass(frozen=True)
class EncodedTable:
    """Rows of the user.

    Attributes
    ----------
    X, y
        As given, rows of weight 0 left out.
    table, target
        As encoded.
    weight : ndarray of shape (rows,) or None
        The user's weights: what statistics and scorers see.
    cost : ndarray of shape (rows,) or None
        Weights in the loss: class weights are in them too.
    kept : ndarray of int or slice
        Where these rows stand among those given.
    n_given : int
        How many were given.
    """

    X: Any
    y: np.ndarray
    table: Table
    target: np.ndarray
    weight: np.ndarray | None
    cost: np.ndarray | None
    kept: Any
    n_given: int

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, index: list[np.ndarray], device_config: DeviceConfig, unit: float | None = None) -> MemberRows:
        """Tensors of these rows, ``index[m]`` of them for member m; see ``MemberRows`` for the unit of weights."""
        table = self.table
        return MemberRows(
            table.numbers, table.levels, self.target, index, self.cost, device_config.dtype, device_config.device, unit
        )

    def member_weights(self, index: list[np.ndarray]) -> np.ndarray:
        """Weight ``(members, rows)`` of each row in a member's statistics, 0 where it does not train on it.

        Bools where rows have no weights of their own.
        """
        weights = np.zeros((len(index), len(self)), dtype=bool if self.weight is None else np.float64)
        for row, seen in zip(weights, index, strict=True):
            row[seen] = True if self.weight is None else self.weight[seen]
        return weights

    def original_rows(self, index: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """X, y and weights of some rows, as the user gave them."""
        return _safe_indexing(self.X, index), *self.y_and_weight(index)

    def y_and_weight(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Target and weights of some rows, as the user gave them."""
        return self.y[index], None if self.weight is None else self.weight[index]


@dataclass(frozen=True)
class MemberSplit:
    """Who trains on which rows, and is watched on which.

    Attributes
    ----------
    train, watched : Part
        Where the rows come from; ``watched`` is None without early stopping.
    train_index, watched_index : list of int ndarray
        Rows of each member.
    place : Place
        Precision and device.
    n_folds : int
        In how many folds the rows were cut; 0 if they were not.
    """

    train: EncodedTable
    train_index: list[np.ndarray]
    validation: EncodedTable | None
    validation_index: list[np.ndarray]
    device_config: DeviceConfig
    n_folds: int = 0

    @property
    def n_members(self) -> int:
        """How many members there are."""
        return len(self.train_index)

    def train_rows(self) -> MemberRows:
        """What each member trains on."""
        return self.train.rows(self.train_index, self.device_config)

    def validation_rows(self) -> MemberRows | None:
        """What each member is watched on."""
        return None if self.validation is None else self.validation.rows(self.validation_index, self.device_config)

    def monitor(self, scorer: Callable[..., float] | None, view: Callable[[int, Tensor, Any], Any]) -> Monitor | None:
        """The monitor of a scorer, or of the loss where there is none."""
        if self.validation is None:
            return None
        if scorer is None:
            return LossMonitor()
        return ScorerMonitor(scorer, view, [self.validation.original_rows(index) for index in self.validation_index])

    @property
    def covers_all(self) -> bool:
        """Whether the folds that members hold out cover the training rows."""
        return self.validation is self.train and len(self.validation_index) >= self.n_folds
