"""Inputs are what a member makes of the table's numbers and codes before its first layer."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class InputLayer(nn.Module):
    """What a member does to the table before its first layer: fill, scale, clip, indicate, one-hot encode.

    Nothing here is trained; the buffers are the member's statistics.

    Parameters
    ----------
    statistics : Statistics
        See ``skreg.data.statistics``.
    one_hot, embedded : list of int
        Positions of the categories with few levels, and of those with many.
    clip : float
        Bound of the smooth clip.
    dtype : torch.dtype
        Of the result. Statistics are float64, so that large numbers close together survive the centring.
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
        self, statistics: Any, one_hot: list[int], embedded: list[int], clip: float, dtype: torch.dtype
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
        self._one_hot_tables([statistics.known[j] for j in one_hot])
        for position, j in enumerate(embedded):
            self.register_buffer(f"known{position}", torch.from_numpy(statistics.known[j]))

    def _one_hot_tables(self, known: list[np.ndarray]) -> None:
        """Where each level of each category is written, and what: 1, or -1 and 1 for two levels; 0 if unknown."""
        positions: list[np.ndarray] = []
        values: list[np.ndarray] = []
        starts: list[int] = []
        widths: list[int] = []
        for levels in known:
            width = sum(widths)
            n = levels.shape[1] - 1
            binary = n == 2
            starts.append(sum(len(part) for part in positions))
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
        """Bins of each numeric column, 0 if their edges were not learned."""
        return 0 if self.edges is None else self.edges.shape[-1] - 1

    @property
    def one_hot_width(self) -> int:
        """Columns of the categories that are one-hot encoded."""
        return sum(self.one_hot_widths)

    @property
    def width(self) -> int:
        """Columns of the result."""
        return self.n_numbers + len(self.indicators) + self.one_hot_width

    @property
    def n_numbers(self) -> int:
        """Numeric columns, the first of the result."""
        return self.fill.shape[-1]

    @property
    def n_features(self) -> int:
        """Columns of the user's table of which anything is made."""
        return self.n_numbers + len(self.one_hot) + len(self.embedded)

    def features(self) -> tuple[Tensor, Tensor]:
        """Feature of each column of the result, and of each code to embed.

        Features are numbered as numbers, then categories that are one-hot encoded, then those that are embedded.
        """
        numbers = torch.arange(self.n_numbers)
        widths = torch.tensor(self.one_hot_widths, dtype=torch.int64)
        one_hot = self.n_numbers + torch.arange(len(self.one_hot)).repeat_interleave(widths)
        codes = self.n_numbers + len(self.one_hot) + torch.arange(len(self.embedded))
        return torch.cat([numbers, self.indicators.cpu(), one_hot]), codes

    def live(self) -> Tensor:
        """Which columns of the result are not 0 for every row: ``(members, width)``.

        Dead are a number that was constant in the member's rows, and a level that the member has not seen.
        """
        numbers = self.scale[:, 0] != 0 if self.knots is None else self.knots[..., 0] < self.knots[..., -1]
        indicators = numbers.new_ones(len(numbers), len(self.indicators))
        levels = self.values.new_zeros(len(numbers), self.one_hot_width)
        levels.index_add_(1, self.positions, self.values.abs())
        return torch.cat([numbers, indicators, levels > 0], 1)

    def missing_row(self) -> tuple[Tensor, Tensor | None]:
        """Inputs ``(members, 1, width)`` and codes to embed of a row of missing values."""
        categories = torch.cat([self.one_hot, self.embedded])
        n_levels = 1 + int(categories.max()) if len(categories) else 0
        numbers = torch.full_like(self.fill, torch.nan)
        return self(numbers, self.one_hot.new_zeros(len(self.fill), 1, n_levels) if n_levels else None)

    @torch.no_grad()
    def forward(self, numbers: Tensor, levels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Numbers and codes ``(members, rows, ...)`` to inputs ``(members, rows, width)`` and codes to embed."""
        missing = torch.isnan(numbers)
        parts = [self._scale(torch.where(missing, self.fill, numbers)).to(self.dtype)]
        if len(self.indicators):
            parts.append(missing[..., self.indicators].to(self.dtype))
        if levels is None:
            return torch.cat(parts, -1) if len(parts) > 1 else parts[0], None
        if self.one_hot_width:
            parts.append(self._encode(levels[..., self.one_hot].long()))
        return torch.cat(parts, -1), self._known(levels[..., self.embedded].long()) if len(self.embedded) else None

    def _scale(self, x: Tensor) -> Tensor:
        if self.knots is not None:
            return _normal_scores(x, self.knots)
        x = (x - self.center) * self.scale
        return x if self.clip is None else x * torch.rsqrt(1 + (x / self.clip).square())

    def _encode(self, levels: Tensor) -> Tensor:
        entry = levels + self.starts
        out = torch.zeros(*levels.shape[:2], self.one_hot_width, dtype=self.dtype, device=levels.device)
        value = self.values.to(self.dtype).unsqueeze(1).expand(-1, levels.shape[1], -1).gather(2, entry)
        return out.scatter_(2, self.positions[entry], value)

    def _known(self, levels: Tensor) -> Tensor:
        """Codes to embed, 0 where the member has not seen the level."""
        tables = [getattr(self, f"known{position}") for position in range(len(self.embedded))]
        kept = [table.gather(1, levels[..., i]) * levels[..., i] for i, table in enumerate(tables)]
        return torch.stack(kept, -1)


def _normal_scores(x: Tensor, knots: Tensor) -> Tensor:
    """Mid-rank between the knots, as a normal quantile clipped at 1e-4."""
    columns = x.transpose(1, 2).contiguous()
    last = knots.shape[-1] - 1
    sides = []
    for right in (False, True):
        above = torch.searchsorted(knots, columns, right=right).clamp(1, last)
        low, high = knots.gather(-1, above - 1), knots.gather(-1, above)
        part = ((columns - low) / (high - low).clamp(min=1e-300)).clamp(0, 1)
        sides.append((above - 1 + torch.where(high > low, part, float(right))) / last)
    rank = (sides[0] + sides[1]) / 2
    return torch.special.ndtri(rank.clamp(1e-4, 1 - 1e-4)).transpose(1, 2)
