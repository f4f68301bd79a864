"""Numeric embeddings: learned functions of each numeric column that precede the first layer.

Every name in ``__all__`` is a value of the parameter ``numeric_embedding``. An embedding is a function that creates the
module for all members. Its attribute ``n_bins`` is the number of quantile bins that it needs for each column.

A module maps ``(members, rows, inputs)`` to ``(members, rows, outputs)``. Inside it, the rows are the last axis,
``(members, columns, functions, rows)``: elementwise functions, which account for most of the cost, are fastest along
long axes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import pi

import torch
from torch import Generator, Tensor, nn

__all__ = ["periodic", "piecewise_linear"]

_BLOCK_ELEMENTS = 1 << 20  # as many as fit in the cache; larger blocks take up to five times as long
_ROW_MULTIPLE = 32
_MIN_RELATIVE_WIDTH = 1e-6  # narrower bins count as empty
_FREQUENCY_STD = 0.1
"""Standard deviation of the initial frequencies of ``periodic``, as in RealMLP [Holzmueller et al. 2024]."""


class NumericEmbedding(nn.Module, ABC):
    """Basis functions of each column, combined linearly into several outputs.

    ``weight`` has the shape ``(members, n_columns, n_outputs, n_functions)`` and ``bias``
    ``(members, n_columns, n_outputs, 1)``. The bias is not trained before batch normalization, where its gradient would
    consist of rounding errors.
    """

    name: str  # name in the registry
    width: int  # number of outputs of a column
    appends_number = False  # whether the number itself is the last output
    bias: Tensor

    def __init__(
        self, members: int, n_columns: int, n_functions: int, n_outputs: int, dtype: torch.dtype, train_bias: bool
    ) -> None:
        super().__init__()
        self.n_columns, self.n_functions = n_columns, n_functions
        self.weight = nn.Parameter(torch.zeros(members, n_columns, n_outputs, n_functions, dtype=dtype))
        bias = torch.zeros(members, n_columns, n_outputs, 1, dtype=dtype)
        if train_bias:
            self.bias = nn.Parameter(bias)
        else:
            self.register_buffer("bias", bias)

    @abstractmethod
    def weights(self) -> list[nn.Parameter]:
        """Return the parameters that penalties and weight decay apply to."""

    @abstractmethod
    def init_weights(self, generators: Sequence[Generator]) -> None:
        """Draw the initial parameters of each member from its generator."""

    @abstractmethod
    def basis(self, x: Tensor) -> Tensor:
        """Return the basis functions ``(members, columns, functions, rows)`` of ``(members, columns, 1, rows)``."""

    def mixing_weight(self) -> Tensor:
        """Return the coefficients of the basis functions, ``(members, columns, outputs, functions)``."""
        return self.weight

    def forward(self, x: Tensor) -> Tensor:
        """Embed the first columns of ``x`` ``(members, rows, inputs)``, which are numeric; the others are unchanged."""
        return self._embed(x, self._mix)

    def predict(self, x: Tensor) -> Tensor:
        """Embed rows so that no bit of a result depends on the other rows, in blocks that bound the memory."""
        row_size = self.bias.numel() * self.n_functions
        height = max(1, _BLOCK_ELEMENTS // (row_size * _ROW_MULTIPLE)) * _ROW_MULTIPLE
        blocks = torch.split(x, height, dim=1)
        return torch.cat([self._embed(block, self._mix_batch_invariant) for block in blocks], dim=1)

    def _mix(self, functions: Tensor) -> Tensor:
        return torch.baddbmm(self.bias.flatten(0, 1), self.mixing_weight().flatten(0, 1), functions)

    def _mix_batch_invariant(self, functions: Tensor) -> Tensor:
        """Compute sums instead of a matrix product, whose kernel for few outputs depends on the number of rows."""
        products = self.mixing_weight().flatten(0, 1).unsqueeze(3) * functions.unsqueeze(1)
        return products.sum(2) + self.bias.flatten(0, 1)

    def _embed(self, x: Tensor, mix: Callable[[Tensor], Tensor]) -> Tensor:
        columns = x[..., : self.n_columns].transpose(1, 2).unsqueeze(2).contiguous()  # read once by each function
        mixed = torch.unflatten(mix(self.basis(columns).flatten(0, 1)), 0, (len(x), -1))
        outputs = torch.cat([mixed, columns], 2) if self.appends_number else mixed
        embedded = outputs.flatten(1, 2).transpose(1, 2)
        return torch.cat([embedded, x[..., self.n_columns :]], -1) if x.shape[-1] > self.n_columns else embedded


class _Periodic(NumericEmbedding):
    """Cosines of the number with learned frequencies and phases, and the number itself."""

    name, width, n_frequencies = "periodic", 4, 16
    appends_number = True

    def __init__(self, members: int, n_columns: int, dtype: torch.dtype, train_bias: bool) -> None:
        super().__init__(members, n_columns, self.n_frequencies, self.width - 1, dtype, train_bias)
        shape = (members, n_columns, self.n_frequencies, 1)
        self.frequency = nn.Parameter(torch.zeros(shape, dtype=dtype))
        self.phase = nn.Parameter(torch.zeros(shape, dtype=dtype))

    def weights(self) -> list[nn.Parameter]:
        """Return the coefficients; frequencies and phases do not change the magnitude of a cosine."""
        return [self.weight]

    def init_weights(self, generators: Sequence[Generator]) -> None:
        """Draw normal frequencies, uniform phases, and coefficients as in a linear layer with as many inputs."""
        bound = self.n_frequencies**-0.5
        for m, generator in enumerate(generators):
            normal = torch.randn(self.frequency[m].shape, generator=generator, dtype=torch.float64)
            self.frequency[m] = _FREQUENCY_STD * normal
            for parameter, limit in ((self.phase, pi), (self.weight, bound), (self.bias, bound)):
                parameter[m] = limit * _symmetric_uniform(parameter[m].shape, generator)

    def basis(self, x: Tensor) -> Tensor:
        """Compute the cosines as shifted sines, whose gradient needs no negation; one product gives all arguments."""
        with_one = torch.cat([x, torch.ones_like(x)], 2).flatten(0, 1)
        lines = torch.cat([2 * pi * self.frequency, self.phase + pi / 2], 3).flatten(0, 1)
        return torch.unflatten(torch.bmm(lines, with_one).sin(), 0, (len(x), -1))


class _PiecewiseLinear(NumericEmbedding):
    """A linear function of the number plus a piecewise linear function that is initially 0.

    There are two outputs. In measurements, four were as accurate but took a quarter longer to train; one was less
    accurate.
    """

    name, width = "piecewise_linear", 2
    low: Tensor
    slope: Tensor

    def __init__(self, members: int, n_columns: int, edges: Tensor, dtype: torch.dtype, train_bias: bool) -> None:
        super().__init__(members, n_columns, edges.shape[2] - 1, self.width, dtype, train_bias)
        self.line = nn.Parameter(torch.zeros(members, n_columns, self.width, 1, dtype=dtype))
        edges = edges.to(dtype).unsqueeze(3)
        widths = edges.diff(dim=2)
        wide = widths > _MIN_RELATIVE_WIDTH * (edges[:, :, -1:] - edges[:, :, :1])
        self.register_buffer("low", edges[:, :, :-1].contiguous())
        self.register_buffer("slope", torch.where(wide, 1 / widths.clamp(min=1e-30), 0.0))

    def weights(self) -> list[nn.Parameter]:
        """Return the heights of the pieces and the slopes of the linear functions."""
        return [self.weight, self.line]

    def init_weights(self, generators: Sequence[Generator]) -> None:
        """Draw a linear function for each output; the heights of the pieces are 0."""
        for m, generator in enumerate(generators):
            self.weight[m] = 0
            for parameter in (self.line, self.bias):
                parameter[m] = self.width**-0.5 * _symmetric_uniform(parameter[m].shape, generator)

    def mixing_weight(self) -> Tensor:
        """Return the heights of the pieces and the slopes of the linear functions."""
        return torch.cat([self.weight, self.line], 3)

    def basis(self, x: Tensor) -> Tensor:
        """Return the share of each bin below the number, in [0, 1] and 0 for empty bins, and the number."""
        members, columns, _, rows = x.shape
        out = x.new_empty(members, columns, self.n_functions + 1, rows)
        torch.sub(x, self.low, out=out[:, :, :-1]).mul_(self.slope).clamp_(0, 1)
        out[:, :, -1:] = x
        return out


def _symmetric_uniform(shape: torch.Size, generator: Generator) -> Tensor:
    """Draw uniform numbers in (-1, 1) in float64, so that they are the same in every precision."""
    return 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1


def periodic(
    members: int, n_columns: int, edges: Tensor | None, dtype: torch.dtype, train_bias: bool = True
) -> NumericEmbedding:
    """Periodic embedding PBLD of RealMLP [Holzmueller et al. 2024]: ``(W cos(2 pi f x + phase) + b, x)``.

    Each column has sixteen random frequencies and four outputs.

    Parameters
    ----------
    members, n_columns : int
        Number of members and of numeric columns.
    edges : None
        Ignored.
    dtype : torch.dtype
        Type of the parameters.
    train_bias : bool, default=True
        Whether the bias is trained, which has no effect before batch normalization.
    """
    del edges  # all embeddings have the same parameters, but this one has no bins
    return _Periodic(members, n_columns, dtype, train_bias)


def piecewise_linear(
    members: int, n_columns: int, edges: Tensor | None, dtype: torch.dtype, train_bias: bool = True
) -> NumericEmbedding:
    """Piecewise linear encoding plus a line: ``w x + b + W PLE(x)`` [Gorishniy et al. 2022].

    Each column has two outputs. ``W`` is initially 0.

    Parameters
    ----------
    members, n_columns : int
        Number of members and of numeric columns.
    edges : Tensor of shape (members, n_columns, n_bins + 1)
        Ascending edges of the bins of the scaled columns: quantiles of the member's training rows.
    dtype : torch.dtype
        Type of the parameters.
    train_bias : bool, default=True
        Whether the bias is trained, which has no effect before batch normalization.
    """
    if edges is None:
        raise ValueError("piecewise_linear requires the edges of its bins. Got None.")
    return _PiecewiseLinear(members, n_columns, edges, dtype, train_bias)


periodic.n_bins = 0  # type: ignore[attr-defined]  # functions accept attributes
piecewise_linear.n_bins = 16  # type: ignore[attr-defined]  # functions accept attributes
