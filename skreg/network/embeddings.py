"""A numeric embedding turns each number into a few learned functions of it, before the first layer.

Every name in ``__all__`` is a value of the ``numeric_embedding`` parameter: a function from the members' columns to the
module that embeds them. One that needs the quantiles of the columns says in ``bins`` how many bins.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import pi

import torch
from torch import Generator, Tensor, nn

__all__ = ["periodic", "piecewise_linear"]

_BLOCK_ELEMENTS = 1 << 20  # what the cache holds: of larger blocks a number takes up to five times as long
_ROW_MULTIPLE = 32
_NARROW = 1e-6
_FREQUENCY_STD = 0.1
"""Standard deviation of the initial frequencies of ``periodic``, as in RealMLP [Holzmueller et al. 2024]."""


class NumericEmbedding(nn.Module, ABC):
    """Functions of each column, mixed into ``width`` outputs by a linear map of the column's own.

    Parameters
    ----------
    members, columns : int
        Members, and numeric columns.
    features : int
        Functions of a column.
    outputs : int
        What ``weight`` ``(members, columns, outputs, features)`` and ``bias`` make of them. Rows are the last axis in
        here: the elementwise functions are most of the cost, and long axes suit them.
    dtype : torch.dtype
        Of the parameters.
    biased : bool
        False keeps ``bias`` as it is drawn: where batch norm takes constants away it has no gradient but rounding.

    Attributes
    ----------
    name : str
        In the registry.
    width : int
        Outputs of a column.
    """

    name: str
    width: int
    bias: Tensor

    def __init__(
        self, members: int, columns: int, features: int, outputs: int, dtype: torch.dtype, biased: bool
    ) -> None:
        super().__init__()
        self.columns, self.features = columns, features
        self.weight = nn.Parameter(torch.zeros(members, columns, outputs, features, dtype=dtype))
        bias = torch.zeros(members, columns, outputs, 1, dtype=dtype)
        if biased:
            self.bias = nn.Parameter(bias)
        else:
            self.register_buffer("bias", bias)

    @abstractmethod
    def weights(self) -> list[nn.Parameter]:
        """What penalties and decay act on."""

    @abstractmethod
    def draw(self, generators: Sequence[Generator]) -> None:
        """Draw the initial parameters of each member from its generator."""

    @abstractmethod
    def functions(self, x: Tensor) -> Tensor:
        """Columns ``(members, columns, 1, rows)`` to features ``(members, columns, features, rows)``."""

    @abstractmethod
    def combine(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Columns and their mixed features to outputs ``(members, columns, width, rows)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Inputs ``(members, rows, inputs)``, the numbers first, to those with the numbers embedded."""
        return self._embed(x, self._mix)

    def predict(self, x: Tensor) -> Tensor:
        """The same in blocks that bound the memory, a row's bits not depending on the rows beside it."""
        a_row = self.bias.numel() * self.features
        height = max(1, _BLOCK_ELEMENTS // (a_row * _ROW_MULTIPLE)) * _ROW_MULTIPLE
        return torch.cat([self._embed(part, self._mix_rows) for part in x.split(height, dim=1)], dim=1)

    def mixing(self) -> Tensor:
        """What makes outputs of the features, ``(members, columns, outputs, features)``."""
        return self.weight

    def _mix(self, features: Tensor) -> Tensor:
        return torch.baddbmm(self.bias.flatten(0, 1), self.mixing().flatten(0, 1), features)

    def _mix_rows(self, features: Tensor) -> Tensor:
        """The same product as plain sums; the kernel of a product of few outputs depends on the number of rows."""
        return (self.mixing().flatten(0, 1).unsqueeze(3) * features.unsqueeze(1)).sum(2) + self.bias.flatten(0, 1)

    def _embed(self, x: Tensor, mix: Callable[[Tensor], Tensor]) -> Tensor:
        columns = x[..., : self.columns].transpose(1, 2).unsqueeze(2).contiguous()  # each feature reads all of it
        mixed = mix(self.functions(columns).flatten(0, 1)).unflatten(0, (len(x), -1))
        embedded = self.combine(columns, mixed).flatten(1, 2).transpose(1, 2)
        return torch.cat([embedded, x[..., self.columns :]], -1) if x.shape[-1] > self.columns else embedded


class _Periodic(NumericEmbedding):
    """Cosines of learned frequencies and phases, and the number itself."""

    name, width, frequencies = "periodic", 4, 16

    def __init__(self, members: int, columns: int, dtype: torch.dtype, biased: bool) -> None:
        super().__init__(members, columns, self.frequencies, self.width - 1, dtype, biased)
        shape = (members, columns, self.frequencies, 1)
        self.frequency = nn.Parameter(torch.zeros(shape, dtype=dtype))
        self.phase = nn.Parameter(torch.zeros(shape, dtype=dtype))

    def weights(self) -> list[nn.Parameter]:
        """The mixing weights; frequencies and phases say where a wave is, not how large."""
        return [self.weight]

    def draw(self, generators: Sequence[Generator]) -> None:
        """Normal frequencies, phases over the circle, mixing weights as of a linear layer of so many inputs."""
        bound = self.frequencies**-0.5
        for m, generator in enumerate(generators):
            normal = torch.randn(self.frequency[m].shape, generator=generator, dtype=torch.float64)
            self.frequency[m] = _FREQUENCY_STD * normal
            for parameter, limit in ((self.phase, pi), (self.weight, bound), (self.bias, bound)):
                parameter[m] = limit * _symmetric(parameter[m].shape, generator)

    def functions(self, x: Tensor) -> Tensor:
        """Cosines, as sines a quarter ahead: their gradient needs no sign. The arguments are one product."""
        with_one = torch.cat([x, torch.ones_like(x)], 2).flatten(0, 1)
        lines = torch.cat([2 * pi * self.frequency, self.phase + pi / 2], 3).flatten(0, 1)
        return torch.bmm(lines, with_one).sin().unflatten(0, (len(x), -1))

    def combine(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The mixed cosines, then the number."""
        return torch.cat([mixed, x], 2)


class _PiecewiseLinear(NumericEmbedding):
    """A linear map of the number, plus a piecewise linear one that starts at zero.

    Two outputs: four are as accurate and take a quarter longer to train, one is less accurate (both measured).
    """

    name, width = "piecewise_linear", 2
    low: Tensor
    slope: Tensor

    def __init__(self, edges: Tensor, dtype: torch.dtype, biased: bool) -> None:
        members, columns, n = edges.shape
        super().__init__(members, columns, n - 1, self.width, dtype, biased)
        self.line = nn.Parameter(torch.zeros(members, columns, self.width, 1, dtype=dtype))
        edges = edges.to(dtype).unsqueeze(3)
        widths = edges.diff(dim=2)
        wide = widths > _NARROW * (edges[:, :, -1:] - edges[:, :, :1])
        self.register_buffer("low", edges[:, :, :-1].contiguous())
        self.register_buffer("slope", torch.where(wide, 1 / widths.clamp(min=1e-30), 0.0))

    def weights(self) -> list[nn.Parameter]:
        """The slopes of the line and the heights of the pieces."""
        return [self.weight, self.line]

    def draw(self, generators: Sequence[Generator]) -> None:
        """A random line for each output; the pieces are 0."""
        for m, generator in enumerate(generators):
            self.weight[m] = 0
            for parameter in (self.line, self.bias):
                parameter[m] = self.width**-0.5 * _symmetric(parameter[m].shape, generator)

    def mixing(self) -> Tensor:
        """Heights of the pieces, and the slope of the line."""
        return torch.cat([self.weight, self.line], 3)

    def functions(self, x: Tensor) -> Tensor:
        """How much of each bin lies below the number, in [0, 1], nothing of a bin without width; then the number."""
        members, columns, _, rows = x.shape
        out = x.new_empty(members, columns, self.features + 1, rows)
        torch.sub(x, self.low, out=out[:, :, :-1]).mul_(self.slope).clamp_(0, 1)
        out[:, :, -1:] = x
        return out

    def combine(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Line and pieces are summed already."""
        return mixed


def _symmetric(shape: torch.Size, generator: Generator) -> Tensor:
    """Uniform on (-1, 1) in float64, so that every precision starts from the same numbers."""
    return 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1


def _learns(bins: int) -> Callable[..., Callable[..., NumericEmbedding]]:
    def mark(function: Callable[..., NumericEmbedding]) -> Callable[..., NumericEmbedding]:
        function.bins = bins  # type: ignore[attr-defined]  # functions take attributes, their type does not say so
        return function

    return mark


@_learns(bins=0)
def periodic(
    members: int, columns: int, edges: Tensor | None, dtype: torch.dtype, biased: bool = True
) -> NumericEmbedding:
    """Periodic embedding PBLD of RealMLP [Holzmueller et al. 2024]: ``(W cos(2 pi f x + phase) + b, x)``.

    Sixteen random frequencies for each column, four numbers out.

    Parameters
    ----------
    members, columns : int
        Members, and numeric columns.
    edges : None
        Not needed.
    dtype : torch.dtype
        Of the parameters.
    biased : bool
        False does not train the additive constants, which batch norm would take away.
    """
    return _Periodic(members, columns, dtype, biased)


@_learns(bins=16)
def piecewise_linear(
    members: int, columns: int, edges: Tensor | None, dtype: torch.dtype, biased: bool = True
) -> NumericEmbedding:
    """Piecewise linear encoding [Gorishniy et al. 2022] beside a line: ``w x + b + W PLE(x)``, W starting at zero.

    Two numbers out for each column.

    Parameters
    ----------
    members, columns : int
        Members, and numeric columns.
    edges : Tensor of shape (members, columns, bins + 1)
        Edges of the bins in scaled units, ascending; quantiles of the member's training rows.
    dtype : torch.dtype
        Of the parameters.
    biased : bool
        False does not train the additive constants, which batch norm would take away.
    """
    if edges is None:
        raise ValueError("piecewise_linear needs the edges of its bins.")
    return _PiecewiseLinear(edges, dtype, biased)
