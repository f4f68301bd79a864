"""A predictor takes rows through a network, block by block."""

from typing import Any

import torch
from torch import Tensor

from ..data.batches import MemberRows
from .generators import MemberGenerators, MonteCarloDropout, member_seeds
from .network import Network

PREDICT_ROWS = 1024
ROW_MULTIPLE = 32
SAMPLING = 1 << 20  # a generation of its own: samples share no stream with a training of the same seed


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
    residuals : Residuals or None
        Of the rows that were held out from these networks, where numbers are predicted.
    """

    module_: Network
    criterion_: Any
    temperature: float = 1.0
    residuals: Any = None

    def raw_of(self, rows: MemberRows) -> tuple[Tensor, Tensor, Tensor]:
        """Raw output, target and weight of each member on its own rows: ``(members, rows, ...)``."""
        return self._raw_of(rows.prepared(self.module_.prepare))

    def _raw_of(self, rows: MemberRows) -> tuple[Tensor, Tensor, Tensor]:
        """The same of prepared rows; whole tensors are made first, as parts between blocks would scatter the memory."""
        whole: list[Tensor] = []
        start = 0
        for inputs, levels, target, weight in rows.eval_batches(PREDICT_ROWS):
            parts = self._forward(inputs, levels), target, weight
            whole = whole or [part.new_empty(len(part), len(rows), *part.shape[2:]) for part in parts]
            end = start + target.shape[1]
            for of_all, part in zip(whole, parts, strict=True):
                of_all[:, start:end] = part
            start = end
        raw, target, weight = whole
        return raw, target, weight

    def _prepared(self, rows: MemberRows) -> MemberRows:
        """Prepare rows that are read in every epoch."""
        return rows.prepared(self.module_.prepare, self.module_.inputs.width)

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
        return self.module_(*_filled(inputs, levels))[:, :n_rows]

    @torch.no_grad()
    def sample_raw(self, numbers: Tensor, levels: Tensor | None, n_samples: int, thin: bool, seed: int) -> Tensor:
        """Raw output ``(n_samples, rows, outputs)`` of single networks, in turn that of each.

        Sample s is of network s modulo their number. More samples, and other rows beside, change none.

        Parameters
        ----------
        numbers, levels
            As in ``predict_raw``.
        n_samples : int
            How many.
        thin : bool
            Whether dropout thins each network, in another way for each sample.
        seed : int
            Of what is dropped.
        """
        module, n_rows = self.module_, len(numbers)
        members = module.n_members
        everyone = None if levels is None else levels.expand(members, -1, -1)
        inputs, codes = _filled(*module.inputs(numbers.expand(members, -1, -1), everyone))
        blocks = []
        for start in range(0, inputs.shape[1], PREDICT_ROWS):
            block = slice(start, start + PREDICT_ROWS)
            thinning = self._thinning(seed) if thin and module.n_masks else None
            rounds = 1 if thinning is None else -(-n_samples // members)
            given = inputs[:, block], None if codes is None else codes[:, block]
            raw = torch.cat([self._each(*given, thinning) for _ in range(rounds)])
            blocks.append(raw[torch.arange(n_samples, device=raw.device) % len(raw)])
        return torch.cat(blocks, 1)[:, :n_rows]

    def _each(self, inputs: Tensor, levels: Tensor | None, thinning: MonteCarloDropout | None) -> Tensor:
        """Raw output of each network alone, ``(members, rows, outputs)``."""
        if thinning is not None:
            thinning.begin_epoch(1)
        return self.module_(inputs, levels, noise=thinning)

    def _thinning(self, seed: int) -> MonteCarloDropout:
        module = self.module_
        streams = MemberGenerators([stream for _, stream in member_seeds(seed, module.n_members, SAMPLING)])
        width = max(linear.weight.shape[1] for linear in module.linears)
        return MonteCarloDropout(streams, module.masks_taken(), width, module.inputs.dtype, module.head.weight.device)

    def _mean_loss(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        return self.criterion_(raw, target, weight / weight.sum(1, keepdim=True)).cpu().double()


def _filled(inputs: Tensor, levels: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Inputs and codes with rows of zeros at the end, up to a multiple of ``ROW_MULTIPLE``."""
    missing = -inputs.shape[1] % ROW_MULTIPLE
    if not missing:
        return inputs, levels
    filled = torch.nn.functional.pad(inputs, (0, 0, 0, missing))
    return filled, None if levels is None else torch.nn.functional.pad(levels, (0, 0, 0, missing))
