"""A predictor takes rows through a network, block by block."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ._module import Network
from ._rows import Batch, Blocks, Rows

PREDICT_ROWS = 4096
PREPARED_ELEMENTS = 1 << 23
ROW_MULTIPLE = 32


class Predictor:
    """What of a net needs no training: raw output and losses of rows.

    Attributes
    ----------
    module_ : Network
        The networks.
    criterion_ : Loss
        Of their raw output.
    temperature : float
        What raw output is divided by where it becomes probabilities, and in no loss.
    """

    module_: Network
    criterion_: Any
    temperature: float = 1.0

    def raw_of(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Raw output, target and weight of each member on its own rows: ``(members, rows, ...)``."""
        return self._raw_of(Blocks(rows, self.module_.prepare, PREDICT_ROWS))

    def _raw_of(self, blocks: Iterable[Batch]) -> tuple[Tensor, Tensor, Tensor]:
        parts = [(self._forward(inputs, levels), target, weight) for inputs, levels, target, weight in blocks]
        raw, target, weight = (torch.cat(part, 1) for part in zip(*parts, strict=True))
        return raw, target, weight

    def _prepared(self, rows: Rows) -> Iterable[Batch]:
        """Rows as the layers take them: kept over the epochs if they are few, else made anew each time."""
        blocks = Blocks(rows, self.module_.prepare, PREDICT_ROWS)
        few = rows.n_members * len(rows) * self.module_.inputs.width <= PREPARED_ELEMENTS
        return list(blocks) if few else blocks

    def predict_raw(self, numbers: Tensor, levels: Tensor | None) -> Tensor:
        """Raw output ``(members, rows, outputs)`` for rows that all members see alike.

        Parameters
        ----------
        numbers : Tensor of shape (rows, n_numbers)
            Numeric columns.
        levels : int Tensor of shape (rows, n_categories) or None
            Category codes.
        """
        members = self.module_.n_members
        everyone = None if levels is None else levels.expand(members, -1, -1)
        return self._forward(*self.module_.inputs(numbers.expand(members, -1, -1), everyone))

    @torch.no_grad()
    def _forward(self, inputs: Tensor, levels: Tensor | None) -> Tensor:
        """Raw output of prepared inputs, in blocks of a multiple of 32 rows.

        The kernel of a matrix product depends on its height; at such heights each row comes out the same bits
        whichever rows stand beside it.
        """
        n_rows = inputs.shape[1]
        missing = -n_rows % ROW_MULTIPLE
        if missing:
            inputs = torch.nn.functional.pad(inputs, (0, 0, 0, missing))
            levels = None if levels is None else torch.nn.functional.pad(levels, (0, 0, 0, missing))
        return self._mean(inputs, levels)[:, :n_rows]

    def _mean(self, inputs: Tensor, levels: Tensor | None) -> Tensor:
        """Raw output that stands for the mean prediction of a member's networks, in blocks that bound the memory."""
        module = self.module_
        if module.n_adapters == 1:
            return module(inputs, levels)
        height = max(1, PREDICT_ROWS // (module.n_adapters * ROW_MULTIPLE)) * ROW_MULTIPLE
        blocks = [slice(start, start + height) for start in range(0, inputs.shape[1], height)]
        parts = [module(inputs[:, b], None if levels is None else levels[:, b]) for b in blocks]
        return torch.cat([self.criterion_.average(raw) for raw in parts], 1)

    def _mean_loss(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        return self.criterion_(raw, target, weight / weight.sum(1, keepdim=True)).cpu().double()
