"""Input layer: imputes, scales and one-hot encodes the columns of a table with the statistics of each member.

It maps numbers ``(members, rows, n_numbers)`` and category codes ``(members, rows, n_categories)`` to inputs
``(members, rows, width)``: numbers, missing-value indicators and one-hot columns, in this order.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..data.statistics import Statistics


class InputLayer(nn.Module):
    """Encoding of a table for each member. It has no trained parameters.

    ``one_hot`` and ``embedded`` contain the positions of the categories that are one-hot encoded, and of those that are
    embedded. ``clip`` is the bound of the smooth clipping of scaled numbers. ``dtype`` is the type of the inputs. The
    statistics are float64, so that centering preserves small differences between large numbers.
    """

    fill: Tensor  # replacement of missing numbers, (members, 1, n_numbers)
    center: Tensor  # center and scale have the same shape as fill
    scale: Tensor
    knots: Tensor | None  # quantiles (members, n_numbers, n_knots), for numeric_scaling="quantile"
    edges: Tensor | None  # edges (members, n_numbers, n_bins + 1) of the bins of the scaled numbers
    indicators: Tensor
    one_hot: Tensor
    embedded: Tensor
    starts: Tensor
    positions: Tensor
    values: Tensor

    def __init__(
        self, statistics: Statistics, one_hot: Sequence[int], embedded: Sequence[int], clip: float, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.dtype, self.clip = dtype, clip if statistics.clip else None
        for name in ("fill", "center", "scale"):
            self.register_buffer(name, torch.from_numpy(getattr(statistics, name)).unsqueeze(1))
        self.register_buffer("knots", None if statistics.knots is None else torch.from_numpy(statistics.knots))
        edges = None if statistics.edges is None else self._scale(torch.from_numpy(statistics.edges)).transpose(1, 2)
        self.register_buffer("edges", edges)
        self.register_buffer("indicators", torch.tensor(statistics.indicators, dtype=torch.int64))
        self.register_buffer("one_hot", torch.tensor(one_hot, dtype=torch.int64))
        self.register_buffer("embedded", torch.tensor(embedded, dtype=torch.int64))
        self._register_one_hot_tables([statistics.known[j] for j in one_hot])
        for position, j in enumerate(embedded):
            self.register_buffer(f"known{position}", torch.from_numpy(statistics.known[j]))

    def _register_one_hot_tables(self, known: list[np.ndarray]) -> None:
        """Register the column and the value of each level: 1, or -1 and 1 if there are two levels; 0 if unknown."""
        sizes = [levels.shape[1] for levels in known]  # includes the unknown level, so 3 means two levels
        self.one_hot_widths = [1 if size == 3 else size - 1 for size in sizes]
        starts, firsts = (np.cumsum([0, *lengths], dtype=np.int64)[:-1] for lengths in (sizes, self.one_hot_widths))
        positions, values = [np.zeros(0, np.int64)], [np.zeros((len(self.fill), 0))]
        for levels, size, first in zip(known, sizes, firsts, strict=True):
            positions.append(np.full(3, first) if size == 3 else first + np.maximum(np.arange(size) - 1, 0))
            values.append(levels * (np.array([0.0, -1.0, 1.0]) if size == 3 else 1.0))
        self.register_buffer("starts", torch.from_numpy(starts))
        self.register_buffer("positions", torch.from_numpy(np.concatenate(positions)))
        self.register_buffer("values", torch.from_numpy(np.hstack(values)))

    @property
    def n_bins(self) -> int:
        """Number of bins of each numeric column; 0 if their edges were not learned."""
        return 0 if self.edges is None else self.edges.shape[-1] - 1

    @property
    def one_hot_width(self) -> int:
        """Number of one-hot columns."""
        return sum(self.one_hot_widths)

    @property
    def width(self) -> int:
        """Number of inputs."""
        return self.n_numbers + len(self.indicators) + self.one_hot_width

    @property
    def n_numbers(self) -> int:
        """Number of numeric columns, which are the first inputs."""
        return self.fill.shape[-1]

    @property
    def n_features(self) -> int:
        """Number of columns of the table."""
        return self.n_numbers + len(self.one_hot) + len(self.embedded)

    def feature_index(self) -> tuple[Tensor, Tensor]:
        """Return the feature of each input, and the feature of each embedded category.

        Features are numbered in the order numeric columns, one-hot encoded categories, embedded categories.
        """
        numbers = torch.arange(self.n_numbers)
        widths = torch.tensor(self.one_hot_widths, dtype=torch.int64)
        one_hot = self.n_numbers + torch.arange(len(self.one_hot)).repeat_interleave(widths)
        embedded = self.n_numbers + len(self.one_hot) + torch.arange(len(self.embedded))
        return torch.cat([numbers, self.indicators.cpu(), one_hot]), embedded

    def nonzero_inputs(self) -> Tensor:
        """Return which inputs are not 0 for every row, ``(members, width)``.

        Inputs of numbers that are constant in the member's rows and of levels unknown to the member are always 0.
        """
        numbers = self.scale[:, 0] != 0 if self.knots is None else self.knots[..., 0] < self.knots[..., -1]
        indicators = numbers.new_ones(len(numbers), len(self.indicators))
        levels = self.values.new_zeros(len(numbers), self.one_hot_width)
        levels.index_add_(1, self.positions, self.values.abs())
        return torch.cat([numbers, indicators, levels > 0], 1)

    def missing_row(self) -> tuple[Tensor, Tensor | None]:
        """Return the inputs ``(members, 1, width)`` and the codes to embed of a row with only missing values."""
        categories = torch.cat([self.one_hot, self.embedded])
        n_levels = 1 + int(categories.max()) if len(categories) else 0
        numbers = torch.full_like(self.fill, torch.nan)
        return self.forward(numbers, self.one_hot.new_zeros(len(self.fill), 1, n_levels) if n_levels else None)

    @torch.no_grad()
    def forward(self, numbers: Tensor, levels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the inputs ``(members, rows, width)`` and the codes to embed ``(members, rows, n_embedded)``.

        The numbers may be a coalesced sparse tensor.
        """
        if numbers.is_sparse and self.knots is None and levels is None:
            return self._encode_sparse(numbers), None
        if numbers.is_sparse:
            numbers = numbers.to_dense()
        missing = torch.isnan(numbers)
        blocks = [self._scale(torch.where(missing, self.fill, numbers)).to(self.dtype)]
        if len(self.indicators):
            blocks.append(missing[..., self.indicators].to(self.dtype))
        if levels is None:
            return torch.cat(blocks, -1) if len(blocks) > 1 else blocks[0], None
        if self.one_hot_width:
            blocks.append(self._encode_one_hot(levels[..., self.one_hot].long()))
        codes = self._mask_unknown(levels[..., self.embedded].long()) if len(self.embedded) else None
        return torch.cat(blocks, -1), codes

    def _encode_sparse(self, numbers: Tensor) -> Tensor:
        """Scale only the stored values, which takes a tenth of the time; all other inputs of a column are equal."""
        (member, row, column), values, n = numbers.indices(), numbers.values(), self.n_numbers
        zeros = self._scale(torch.zeros_like(self.fill)).to(self.dtype)
        inputs = torch.cat([zeros, zeros.new_zeros(len(zeros), 1, len(self.indicators))], -1)
        inputs = inputs.repeat(1, numbers.shape[1], 1)
        missing = torch.isnan(values)
        fill, center, scale = (statistic[member, 0, column] for statistic in (self.fill, self.center, self.scale))
        scaled = self._scale_by(torch.where(missing, fill, values), center, scale)
        inputs[member, row, column] = scaled.to(self.dtype)
        for position, indicated in enumerate(self.indicators.tolist(), start=n):
            marked = missing & (column == indicated)
            inputs[member[marked], row[marked], position] = 1.0
        return inputs

    def _scale(self, x: Tensor) -> Tensor:
        return self._scale_by(x, self.center, self.scale) if self.knots is None else _normal_scores(x, self.knots)

    def _scale_by(self, x: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        x = (x - center) * scale
        return x if self.clip is None else x * torch.rsqrt(1 + (x / self.clip).square())

    def _encode_one_hot(self, levels: Tensor) -> Tensor:
        entry = levels + self.starts
        out = torch.zeros(*levels.shape[:2], self.one_hot_width, dtype=self.dtype, device=levels.device)
        value = self.values.to(self.dtype).unsqueeze(1).expand(-1, levels.shape[1], -1).gather(2, entry)
        return out.scatter_(2, self.positions[entry], value)

    def _mask_unknown(self, levels: Tensor) -> Tensor:
        """Replace codes of levels that are unknown to the member by 0."""
        tables = [getattr(self, f"known{position}") for position in range(len(self.embedded))]
        return torch.stack([table.gather(1, levels[..., i]) * levels[..., i] for i, table in enumerate(tables)], -1)


def _normal_scores(x: Tensor, knots: Tensor) -> Tensor:
    """Return normal quantiles, clipped at 1e-4, of the mid-ranks of ``x`` between the knots."""
    columns = x.transpose(1, 2).contiguous()
    last = knots.shape[-1] - 1
    ranks = []
    for right in (False, True):
        above = torch.searchsorted(knots, columns, right=right).clamp(1, last)
        low, high = knots.gather(-1, above - 1), knots.gather(-1, above)
        fraction = ((columns - low) / (high - low).clamp(min=1e-300)).clamp(0, 1)
        ranks.append((above - 1 + torch.where(high > low, fraction, float(right))) / last)
    rank = (ranks[0] + ranks[1]) / 2
    scores: Tensor = torch.special.ndtri(rank.clamp(1e-4, 1 - 1e-4))
    return scores.transpose(1, 2)
