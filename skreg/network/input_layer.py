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
    """Encoding of a table for each member. Nothing in it is trained.

    Parameters
    ----------
    statistics : Statistics
        Statistics of the members' training rows.
    one_hot, embedded : sequence of int
        Positions of the categories that are one-hot encoded, and of those that are embedded.
    clip : float
        Bound of the smooth clipping of scaled numbers.
    dtype : torch.dtype
        Type of the inputs. The statistics are float64, so that centering keeps the differences of large numbers.

    Attributes
    ----------
    fill, center, scale : Tensor of shape (members, 1, n_numbers)
        Replacement of missing numbers, and scaling ``(x - center) * scale``.
    knots : Tensor of shape (members, n_numbers, n_knots) or None
        Quantiles, for ``numeric_scaling="quantile"``.
    edges : Tensor of shape (members, n_numbers, n_bins + 1) or None
        Edges of the bins of the scaled numbers.
    """

    fill: Tensor
    center: Tensor
    scale: Tensor
    knots: Tensor | None
    edges: Tensor | None
    indicators: Tensor
    one_hot: Tensor
    embedded: Tensor
    starts: Tensor
    positions: Tensor
    values: Tensor

    def __init__(
        self,
        statistics: Statistics,
        one_hot: Sequence[int],
        embedded: Sequence[int],
        clip: float,
        dtype: torch.dtype,
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
        positions: list[np.ndarray] = []
        values: list[np.ndarray] = []
        starts: list[int] = []
        widths: list[int] = []
        for levels in known:
            width = sum(widths)
            n = levels.shape[1] - 1
            binary = n == 2
            starts.append(sum(map(len, positions)))
            positions.append(np.full(3, width) if binary else width + np.maximum(np.arange(n + 1) - 1, 0))
            values.append(levels * (np.array([0, -1, 1]) if binary else 1))
            widths.append(1 if binary else n)
        self.one_hot_widths = widths
        self.register_buffer("starts", torch.tensor(starts, dtype=torch.int64))
        self.register_buffer("positions", torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *positions])))
        members = np.zeros((len(self.fill), 0))
        self.register_buffer("values", torch.from_numpy(np.hstack([members, *values]).astype(np.float64)))

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
        """Return inputs ``(members, 1, width)`` and codes to embed of a row with missing values only."""
        categories = torch.cat([self.one_hot, self.embedded])
        n_levels = 1 + int(categories.max()) if len(categories) else 0
        numbers = torch.full_like(self.fill, torch.nan)
        return self(numbers, self.one_hot.new_zeros(len(self.fill), 1, n_levels) if n_levels else None)

    @torch.no_grad()
    def forward(self, numbers: Tensor, levels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return inputs ``(members, rows, width)`` and codes to embed ``(members, rows, n_embedded)``."""
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

    def _scale(self, x: Tensor) -> Tensor:
        if self.knots is not None:
            return _normal_scores(x, self.knots)
        x = (x - self.center) * self.scale
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
    return torch.special.ndtri(rank.clamp(1e-4, 1 - 1e-4)).transpose(1, 2)
