"""Rows are a table's tensors, and which of its rows each member sees, in which order, in which batches."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, repeat
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

BLOCK_ELEMENTS = 1 << 16  # half a megabyte of float64: larger blocks leave the cache and cost up to twice the step
PREPARE_ROWS = 4096
PREPARED_ELEMENTS = 1 << 23  # what is kept prepared over the epochs, 32 MB of float32

_Prepared = tuple[Tensor, Tensor | None, Tensor]
Prepare = Callable[[Tensor, Tensor | None, Tensor], _Prepared]


class Batch(NamedTuple):
    """What one step sees. ``weight`` sums to the mean weight of the batch's real rows; 0 marks padding."""

    inputs: Tensor
    levels: Tensor | None
    target: Tensor
    weight: Tensor


class MemberRows:
    """Rows of a table for each member.

    Parameters
    ----------
    numbers : ndarray or csr_array of shape (n, n_numbers)
        Numeric columns, kept as they are: one copy serves all members.
    levels : int ndarray of shape (n, n_categories)
        Category codes.
    target : ndarray of shape (n,) or (n, outputs)
        Class numbers (int64), or floats.
    index : list of int ndarray
        For each member, the rows it sees.
    weight : ndarray of shape (n,) or None
        Weight of each row; each member's are scaled once to mean 1.
    dtype, device : torch.dtype, torch.device
        Of the weights and of float targets.
    unit : float or None
        The weight that counts as 1 instead of the mean.
    """

    def __init__(
        self,
        numbers: Any,
        levels: np.ndarray,
        target: np.ndarray,
        index: list[np.ndarray],
        weight: np.ndarray | None,
        dtype: torch.dtype,
        device: torch.device,
        unit: float | None = None,
    ) -> None:
        self.device, self.dtype = device, dtype
        self._numbers: Any = numbers if sparse.issparse(numbers) else as_tensor(numbers, device)
        self._levels = as_tensor(levels, device)
        self._target = as_tensor(target, device)
        self.lengths = [len(rows) for rows in index]
        self.index = _padded(index, self.lengths, torch.int32 if len(target) < 1 << 31 else torch.int64)
        given = (np.ones(len(rows)) if weight is None else weight[rows] for rows in index)
        self._weight = _padded((own / (own.mean() if unit is None else unit) for own in given), self.lengths, dtype)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The rows of the members of several, one after another; what comes more than once has its table once."""
        distinct = list({id(part): part for part in parts}.values())
        ends = accumulate(len(part._target) for part in distinct)
        starts = {id(part): end - len(part._target) for part, end in zip(distinct, ends, strict=True)}
        joined = copy.copy(parts[0])
        if len(distinct) > 1:
            tables = [part._numbers for part in distinct]
            joined._numbers = sparse.vstack(tables, "csr") if sparse.issparse(tables[0]) else torch.cat(tables)
            joined._levels = torch.cat([part._levels for part in distinct])
            joined._target = torch.cat([part._target for part in distinct])
        joined.lengths = [length for part in parts for length in part.lengths]
        longest = max(joined.lengths)
        joined.index = torch.cat([_filled(part.index + starts[id(part)], longest) for part in parts])
        joined._weight = torch.cat([_filled(part._weight, longest) for part in parts])
        return joined

    def of_members(self, members: Tensor) -> Self:
        """The rows of some members, the table shared."""
        chosen = copy.copy(self)
        chosen.lengths = [self.lengths[member] for member in members.tolist()]
        longest = max(chosen.lengths)
        chosen.index, chosen._weight = self.index[members, :longest], self._weight[members, :longest]
        return chosen

    def __len__(self) -> int:
        return max(self.lengths)

    @property
    def n_members(self) -> int:
        """How many members look at these rows."""
        return len(self.lengths)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Numbers, codes and target of ``rows`` ``(members, n)``."""
        flat = rows.flatten()
        if sparse.issparse(self._numbers):
            numbers = torch.from_numpy(self._numbers[flat.numpy()].toarray()).to(self.device)
            flat = flat.to(self.device)
        else:
            flat = flat.to(self.device)
            numbers = self._numbers.index_select(0, flat)
        levels = self._levels.index_select(0, flat).view(*rows.shape, -1) if self._levels.shape[1] else None
        target = self._target.index_select(0, flat)
        return numbers.view(*rows.shape, -1), levels, target.view(*rows.shape, *target.shape[1:])

    def everything(self) -> tuple[Tensor, Tensor]:
        """All rows of each member and their weights, ``(members, rows)``; padding has weight 0."""
        return self.index, self._weight.to(self.device)

    def in_batches(self, batch_size: int) -> "Batches":
        """The layout of these rows in batches of at most ``batch_size``."""
        return Batches(self, batch_size)


class Batches:
    """Rows laid out on a grid ``(members, steps, height)``.

    All batches have one height; their real rows differ by at most one, and what is missing is padding of weight 0.
    The loss of a batch is the weighted mean over its real rows: weights are never normalised by the batch.

    Attributes
    ----------
    sizes : Tensor of shape (members, steps)
        Real rows of each batch, which stand before the padding; at least 1.
    """

    def __init__(self, rows: MemberRows, batch_size: int) -> None:
        self.rows = rows
        self.n_steps = -(-len(rows) // batch_size)
        self.height = -(-len(rows) // self.n_steps)
        lengths, steps = torch.tensor(rows.lengths).unsqueeze(1), torch.arange(self.n_steps)
        self._real = lengths // self.n_steps + (steps < lengths % self.n_steps)
        self._starts = self._real.cumsum(1) - self._real
        self.sizes = self._real.clamp(min=1)
        self._prepared: _Prepared | None = None

    def epoch(self, orders: Tensor, prepare: Prepare, width: int) -> Iterator[Batch]:
        """The batches of one epoch.

        Parameters
        ----------
        orders : int Tensor of shape (members, rows)
            A permutation of each member's positions.
        prepare : callable (numbers, levels, target) -> (inputs, levels, target)
            Scales and one-hot encodes rows: once and for all if they are few, else blocks of several batches, which
            costs less than each of them.
        width : int
            Columns of the inputs, which decide how many batches make a block.
        """
        take = self._taker(prepare, width)
        per_block = max(1, BLOCK_ELEMENTS // (self.rows.n_members * self.height * max(1, width)))
        for start in range(0, self.n_steps, per_block):
            slots, shares = self._slots(slice(start, start + per_block))
            positions = orders.gather(1, slots).long()
            weight = (self.rows._weight.gather(1, positions) * shares).to(self.rows.device)
            yield from self._cut(*take(positions), weight)

    def _slots(self, steps: slice) -> tuple[Tensor, Tensor]:
        """Of some steps the place of each row in its member's order, 0 for padding, and its share of the batch."""
        place = torch.arange(self.height)
        real = place < self._real[:, steps, None]
        slots = torch.where(real, self._starts[:, steps, None] + place, 0)
        shares = real.to(self.rows.dtype) / self.sizes[:, steps, None]
        return slots.flatten(1), shares.flatten(1)

    def _taker(self, prepare: Prepare, width: int) -> Callable[[Tensor], _Prepared]:
        """What gives the prepared rows at positions ``(members, slots)``."""
        rows = self.rows
        if rows.n_members * len(rows) * width > PREPARED_ELEMENTS:
            return lambda positions: prepare(*rows.take(rows.index.gather(1, positions)))
        if self._prepared is None:
            self._prepared = _whole(EvalBatches(rows, prepare, PREPARE_ROWS))
        inputs, levels, target = self._prepared
        starts = len(rows) * torch.arange(rows.n_members).unsqueeze(1)

        def take(positions: Tensor) -> _Prepared:
            here = (positions + starts).to(rows.device)
            return _picked(inputs, here), None if levels is None else _picked(levels, here), _picked(target, here)

        return take

    def _cut(self, inputs: Tensor, levels: Tensor | None, target: Tensor, weight: Tensor) -> Iterator[Batch]:
        """The batches of a block."""
        inputs_of, target_of, weight_of = (part.split(self.height, 1) for part in (inputs, target, weight))
        levels_of = repeat(None) if levels is None else levels.split(self.height, 1)
        return map(Batch, inputs_of, levels_of, target_of, weight_of)


class EvalBatches:
    """All rows of each member, prepared in blocks: batches that nothing is trained on.

    Parameters
    ----------
    rows : Rows
        The rows.
    prepare : callable
        As in ``Batches.epoch``.
    height : int
        Rows of a block.
    """

    def __init__(self, rows: MemberRows, prepare: Prepare, height: int) -> None:
        self._rows, self._prepare, self._height = rows, prepare, height
        self._kept: list[Batch] | None = None

    @property
    def n_rows(self) -> int:
        """Rows of a member, padding among them."""
        return len(self._rows)

    def kept(self) -> Self:
        """These blocks, which are prepared only once from now on."""
        self._kept = list(self)
        return self

    def __iter__(self) -> Iterator[Batch]:
        return self._prepared() if self._kept is None else iter(self._kept)

    def _prepared(self) -> Iterator[Batch]:
        index, weight = self._rows.everything()
        for start in range(0, index.shape[1], self._height):
            block = slice(start, start + self._height)
            yield Batch(*self._prepare(*self._rows.take(index[:, block])), weight[:, block])


def _whole(blocks: EvalBatches) -> _Prepared:
    """All rows of blocks, prepared."""
    inputs, levels, target, _ = zip(*blocks, strict=True)
    return torch.cat(inputs, 1), None if levels[0] is None else torch.cat(levels, 1), torch.cat(target, 1)


def _picked(tensor: Tensor, flat: Tensor) -> Tensor:
    """Rows of ``tensor`` ``(members, n, ...)``, counted through all members: of the shape of ``flat``."""
    return tensor.flatten(0, 1).index_select(0, flat.flatten()).view(*flat.shape, *tensor.shape[2:])


def _padded(arrays: Iterable[np.ndarray], lengths: list[int], dtype: torch.dtype) -> Tensor:
    """Arrays of unequal length as one tensor, the shorter ones continued with zeros."""
    padded = torch.zeros(len(lengths), max(lengths), dtype=dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = torch.as_tensor(array)
    return padded


def _filled(rows: Tensor, length: int) -> Tensor:
    """``rows`` ``(members, n)`` continued with zeros to a length."""
    return torch.nn.functional.pad(rows, (0, length - rows.shape[1]))


def as_tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """``array`` on ``device``, sharing its memory where that is possible and safe."""
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    if device.type == "mps" and array.dtype == np.float64:
        array = array.astype(np.float32)
    return torch.from_numpy(array).to(device)
