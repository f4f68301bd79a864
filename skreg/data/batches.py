"""The rows of each member as tensors, in batches for training and evaluation.

One copy of the table serves all members. Batches have shape ``(members, rows, ...)``; a member with fewer rows than the
others is padded with rows of weight 0.
"""

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, repeat
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .statistics import moderate

BLOCK_ELEMENTS = 1 << 16  # half a megabyte of float64: larger blocks exceed the cache and double the time of a step
PREPARE_ROWS = 4096
PREPARED_ELEMENTS = 1 << 23  # largest table that is kept prepared over the epochs, 32 MB of float32
LARGE_BATCH = 1 << 25  # number of inputs of a batch of a sparse table above which a warning is given, 128 MB of float32
DENSE_ELEMENTS = 1 << 23  # largest block of a sparse table that is made dense at once, 64 MB of float64

Prepare = Callable[[Tensor, Tensor | None, Tensor], tuple[Tensor, Tensor | None, Tensor]]
"""Encodes numbers, codes and target of rows; the numbers of a sparse table are a sparse tensor."""


class Batch(NamedTuple):
    """One batch of all members. ``weight`` is 0 for padding."""

    inputs: Tensor
    levels: Tensor | None
    target: Tensor
    weight: Tensor


class MemberRows:
    """Rows ``index[m]`` of a table for each member m.

    The table consists of numbers ``(n, n_numbers)``, which may be a ``csr_array``, category codes
    ``(n, n_categories)``, and a target ``(n,)`` or ``(n, outputs)``: class numbers (int64), or floats. The row weights
    ``(n,)`` have the type ``dtype`` and are divided by their mean over the member's rows, or by ``unit``.
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
        self.numbers: Any = numbers if sparse.issparse(numbers) else as_tensor(numbers, device)
        self.levels = as_tensor(levels, device)
        self.target = as_tensor(target, device)
        self.prepare: Prepare | None = None
        self.width = 0
        self.lengths = [len(rows) for rows in index]
        self.index = _stack_padded(index, self.lengths, torch.int32 if len(target) < 1 << 31 else torch.int64)
        if weight is not None and unit is None:
            weight = moderate(weight)
        given = (np.ones(len(rows)) if weight is None else weight[rows] for rows in index)
        scaled = (own / (own.mean() if unit is None else unit) for own in given)
        self.weight = _stack_padded(scaled, self.lengths, dtype)

    @classmethod
    def joined(cls, several: Sequence[Self]) -> Self:
        """Return the rows of all members of several objects; a table that they share is stored once."""
        distinct = list({id(rows): rows for rows in several}.values())
        ends = accumulate(len(rows.target) for rows in distinct)
        starts = {id(rows): end - len(rows.target) for rows, end in zip(distinct, ends, strict=True)}
        joined = copy.copy(several[0])
        if len(distinct) > 1:
            tables = [rows.numbers for rows in distinct]
            joined.numbers = sparse.vstack(tables, "csr") if sparse.issparse(tables[0]) else torch.cat(tables)
            joined.levels = torch.cat([rows.levels for rows in distinct])
            joined.target = torch.cat([rows.target for rows in distinct])
        joined.lengths = [length for rows in several for length in rows.lengths]
        longest = max(joined.lengths)
        joined.index = torch.cat([_pad(rows.index + starts[id(rows)], longest) for rows in several])
        joined.weight = torch.cat([_pad(rows.weight, longest) for rows in several])
        return joined

    def of_members(self, members: Tensor) -> Self:
        """Return the rows of some members; the table is shared."""
        chosen = copy.copy(self)
        chosen.lengths = [self.lengths[member] for member in members.tolist()]
        longest = max(chosen.lengths)
        chosen.index, chosen.weight = self.index[members, :longest], self.weight[members, :longest]
        return chosen

    def prepared(self, prepare: Prepare, width: int | None = None) -> Self:
        """Return these rows as a network needs them.

        ``prepare``, which scales and one-hot encodes rows, is applied to each block of rows when the block is read. For
        rows that are read more than once, pass the ``width`` of the inputs: ``prepare`` is then applied to all rows now
        if there are few.
        """
        rows = copy.copy(self)
        rows.prepare, rows.width = prepare, width or 0
        if width is not None and self.n_members * len(self) * width <= PREPARED_ELEMENTS:
            inputs, levels, target, _ = zip(*rows.eval_batches(PREPARE_ROWS), strict=True)
            rows.numbers, rows.target = (torch.cat(blocks, 1).flatten(0, 1) for blocks in (inputs, target))
            known = levels[0] is not None
            rows.levels = torch.cat(levels, 1).flatten(0, 1) if known else torch.empty(len(rows.target), 0)
            rows.index = torch.arange(self.n_members * len(self)).view(self.n_members, -1)
            rows.prepare = None
        return rows

    def __len__(self) -> int:
        return max(self.lengths)

    @property
    def n_members(self) -> int:
        """Number of members."""
        return len(self.lengths)

    def index_and_weight(self) -> tuple[Tensor, Tensor]:
        """Return all rows of each member and their weights, ``(members, rows)``; padding has weight 0."""
        return self.index, self.weight.to(self.device)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return numbers or prepared inputs, codes and target of rows ``(members, n)``."""
        height = max(1, DENSE_ELEMENTS // (self.n_members * max(1, self.numbers.shape[1])))
        if not sparse.issparse(self.numbers) or self.levels.shape[1] or index.shape[1] <= height:
            return self._take(index)
        inputs, target = join_blocks((self._take(rows)[::2] for rows in torch.split(index, height, 1)), index.shape[1])
        return inputs, None, target

    def _take(self, index: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        flat = index.flatten()
        if sparse.issparse(self.numbers):
            numbers = sparse_tensor(self.numbers[flat.numpy()], len(index)).to(self.device)
            flat = flat.to(self.device)
            if self.prepare is None:
                numbers = numbers.to_dense()
        else:
            flat = flat.to(self.device)
            numbers = self.numbers.index_select(0, flat)
        levels = self.levels.index_select(0, flat).view(*index.shape, -1) if self.levels.shape[1] else None
        target = self.target.index_select(0, flat)
        if target.dtype == torch.int8:  # several labels per row
            target = target.to(torch.float32 if self.device.type == "mps" else torch.float64)
        numbers = numbers if numbers.dim() == 3 else numbers.view(*index.shape, -1)
        taken = numbers, levels, target.view(*index.shape, *target.shape[1:])
        return taken if self.prepare is None else self.prepare(*taken)

    def eval_batches(self, height: int) -> Iterator[Batch]:
        """Yield all rows of each member in order, in batches of ``height`` rows; the weights have mean 1."""
        index, weight = self.index_and_weight()
        for start in range(0, index.shape[1], height):
            block = slice(start, start + height)
            yield Batch(*self.take(index[:, block]), weight[:, block])

    def blocks(self, height: int) -> Iterator[Self]:
        """Yield these rows in blocks of ``height`` rows of each member."""
        for start in range(0, len(self), height):
            block = copy.copy(self)
            block.index, block.weight = (tensor[:, start : start + height] for tensor in (self.index, self.weight))
            block.lengths = [min(max(length - start, 0), height) for length in self.lengths]
            yield block

    def batch_sizes(self, batch_size: int) -> Tensor:
        """Return the number of rows ``(members, batches)`` in each training batch, which differ by at most one."""
        n_batches = -(-len(self) // batch_size)
        lengths = torch.tensor(self.lengths).unsqueeze(1)
        return lengths // n_batches + (torch.arange(n_batches) < lengths % n_batches)

    def training_batches(self, orders: Tensor, batch_size: int) -> Iterator[Batch]:
        """Yield the training batches of one epoch.

        ``orders`` ``(members, rows)`` contains a permutation of the positions of each member's rows. All batches have
        the same height; padding follows the rows. The weights of a batch are divided by its number of rows, not by
        their sum, so that the loss of a batch is a mean over its rows.
        """
        sizes = self.batch_sizes(batch_size)
        starts, height = sizes.cumsum(1) - sizes, int(sizes.max())
        position = torch.arange(height)
        # preparing blocks of several batches is cheaper than preparing each batch
        per_block = max(1, BLOCK_ELEMENTS // (self.n_members * height * max(1, self.width)))
        for start in range(0, sizes.shape[1], per_block):
            steps = slice(start, start + per_block)
            size = sizes[:, steps, None]
            real = position < size
            slots = torch.where(real, starts[:, steps, None] + position, 0).flatten(1)
            shares = (real.to(self.dtype) / size.clamp(min=1)).flatten(1)
            order = orders.gather(1, slots).long()
            inputs, levels, target = self.take(self.index.gather(1, order))
            weight = (self.weight.gather(1, order) * shares).to(self.device)
            inputs_of, target_of, weight_of = (torch.split(block, height, 1) for block in (inputs, target, weight))
            levels_of = repeat(None) if levels is None else torch.split(levels, height, 1)
            yield from map(Batch, inputs_of, levels_of, target_of, weight_of)


def sparse_tensor(rows: Any, n_members: int) -> Tensor:
    """Return the rows of all members, a ``csr_array`` that may be changed, as a tensor ``(members, rows, columns)``."""
    rows.sum_duplicates()
    stored, height = rows.tocoo(), rows.shape[0] // n_members
    indices = torch.from_numpy(np.stack([stored.row // height, stored.row % height, stored.col]))
    shape = n_members, height, rows.shape[1]
    return torch.sparse_coo_tensor(
        indices, torch.from_numpy(stored.data), shape, is_coalesced=True, check_invariants=False
    )


def warn_if_dense_batches_are_large(rows: Any, n_elements: int) -> None:
    """Warn if the rows are sparse but the inputs of a training batch, which are dense, are many."""
    if sparse.issparse(rows) and n_elements > LARGE_BATCH:
        warnings.warn(
            f"X is sparse with {rows.shape[1]} columns, but batches are dense: each takes about "
            f"{max(1, n_elements >> 18)} MB of memory, and an epoch takes as long as for a dense X. Reduce the "
            "columns, for example with TruncatedSVD or SelectKBest, or decrease batch_size or n_members.",
            UserWarning,
            stacklevel=2,
        )


def join_blocks(blocks: Iterable[Sequence[Any]], n_rows: int, axis: int = 1) -> list[Any]:
    """Concatenate the tensors or arrays of all blocks along the axis of the rows.

    The results are allocated with the first block. A list of blocks would fragment the memory: it would keep several
    times their size, even after they are freed.
    """
    results: list[Any] = []
    end = 0
    for block in blocks:
        if not results:
            shapes = [(*values.shape[:axis], n_rows, *values.shape[axis + 1 :]) for values in block]
            results = [
                values.new_empty(shape) if isinstance(values, Tensor) else np.empty(shape, values.dtype)
                for values, shape in zip(block, shapes, strict=True)
            ]
        start, end = end, end + block[0].shape[axis]
        for result, values in zip(results, block, strict=True):
            result[(*[slice(None)] * axis, slice(start, end))] = values
    return results


def _stack_padded(arrays: Iterable[np.ndarray], lengths: list[int], dtype: torch.dtype) -> Tensor:
    """Stack arrays of different lengths; shorter ones are padded with zeros."""
    padded = torch.zeros(len(lengths), max(lengths), dtype=dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = torch.as_tensor(array)
    return padded


def _pad(rows: Tensor, length: int) -> Tensor:
    """Pad ``rows`` ``(members, n)`` with zeros to a length."""
    return torch.nn.functional.pad(rows, (0, length - rows.shape[1]))


def as_tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """Return ``array`` as a tensor on ``device`` that shares the array's memory if this is possible and safe."""
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    if device.type == "mps" and array.dtype == np.float64:
        array = array.astype(np.float32)
    return torch.from_numpy(array).to(device)
