"""The layers of all members at once. Every tensor has the members on axis 0."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Generator, Tensor, nn

COLUMN_MULTIPLE = 16

Draw = Callable[[int, int, Generator], Tensor]


def affine(x: Tensor, weight: Tensor, bias: Tensor | None, products: torch.dtype | None = None) -> Tensor:
    """``(members, rows, fan_in)`` to ``(members, rows, fan_out)``, the product in another type if one is given."""
    if products is not None:
        product = torch.bmm(x.to(products), weight.to(products)).to(x.dtype)
        return product if bias is None else bias + product
    if weight.shape[2] == 1 < len(weight):  # batched products of one column take two to seven times as long
        return _of_one_column(x, weight, bias)
    return torch.bmm(x, weight) if bias is None else torch.baddbmm(bias, x, weight)


def affine_by_row(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same, a row's bits not depending on the rows beside it.

    The kernel of a product of odd width depends on its height, so the width is padded; of a single column not
    even that helps.
    """
    width = weight.shape[2]
    if width == 1:
        return _of_one_column(x, weight, bias)
    bias = torch.zeros_like(weight[:, :1]) if bias is None else bias
    missing = -width % COLUMN_MULTIPLE
    if not missing:
        return torch.baddbmm(bias, x, weight)
    bias, weight = (nn.functional.pad(part, (0, missing)) for part in (bias, weight))
    return torch.baddbmm(bias, x, weight)[..., :width]


def _of_one_column(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same for a single output, as plain sums."""
    product = (x * weight.transpose(1, 2)).sum(-1, keepdim=True)
    return product if bias is None else product + bias


class Linear(nn.Module):
    """An affine map of each member.

    Parameters
    ----------
    members, fan_in, fan_out : int
        ``weight`` has shape ``(members, fan_in, fan_out)``, ``bias`` ``(members, 1, fan_out)``.
    dtype : torch.dtype
        Of both.
    biased : bool
        False leaves the bias away: before batch norm it would have no effect and no gradient but rounding.

    Attributes
    ----------
    settled : Tensor of shape (members, 2, fan_out) or None
        What drawn weights were multiplied with, and what drawn biases were lowered by, see ``skreg.network.data_driven_init``.
    """

    settled: Tensor | None

    def __init__(self, members: int, fan_in: int, fan_out: int, dtype: torch.dtype, biased: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(members, fan_in, fan_out, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(members, 1, fan_out, dtype=dtype)) if biased else None
        self.products: torch.dtype | None = None  # of the products in training, if another one
        self.register_buffer("settled", None, persistent=False)

    def draw(self, init: Draw, generators: Sequence[Generator]) -> None:
        """Draw the weights of each member from its generator; biases start at 0."""
        _, fan_in, fan_out = self.weight.shape
        for weight, generator in zip(self.weight, generators, strict=True):
            weight.copy_(init(fan_in, fan_out, generator))

    def draw_bias(self, spread: float, generators: Sequence[Generator]) -> None:
        """Draw normal biases, where there are any."""
        if self.bias is None:
            return
        for bias, generator in zip(self.bias, generators, strict=True):
            bias.copy_(spread * torch.randn(bias.shape, generator=generator, dtype=torch.float64))

    def forward(self, x: Tensor, factors: Tensor | None = None) -> Tensor:
        """``(members, rows, fan_in)`` to ``(members, rows, fan_out)``.

        Factors ``(members, 1, fan_in)`` on the inputs go into the weights, of which there are fewer.
        """
        return affine(x, self.times(factors), self.bias, self.products)

    def times(self, factors: Tensor | None) -> Tensor:
        """The weights, factors on their inputs multiplied in."""
        return self.weight if factors is None else self.weight * factors.transpose(1, 2)

    def predict(self, x: Tensor) -> Tensor:
        """The same, a row's bits not depending on the rows beside it."""
        return affine_by_row(x, self.weight, self.bias)


class Scale(nn.Module):
    """A learned factor on each input of each member, 1 at first [Holzmueller et al. 2024]."""

    def __init__(self, members: int, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(members, 1, width, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """``(members, rows, width)``, each column times its factor."""
        return x * self.weight


class BatchNorm(nn.Module):
    """Batch normalisation of each member over its rows, with the rows' weights [Ioffe & Szegedy 2015].

    Running statistics are plain means until ``1 / momentum`` batches have been seen, so that a fit of few steps
    does not predict with the initial ones. Where it is ``frozen`` they stay, and normalise training batches too.
    """

    frozen = False
    momentum, eps = 0.1, 1e-5
    _pooled: Tensor | None = None
    mean: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(self, members: int, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        zeros = torch.zeros(members, 1, width, dtype=dtype)
        self.scale, self.shift = nn.Parameter(zeros + 1), nn.Parameter(zeros.clone())
        self.register_buffer("mean", zeros.clone())
        self.register_buffer("variance", zeros + 1)
        self.register_buffer("seen", zeros[..., :1].clone())

    def forward(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """Normalise ``x``; with the weights ``(members, rows)`` of a training batch by its own statistics."""
        if weight is None or self.frozen:
            factor, summand = self.as_affine()
            return torch.addcmul(summand, x, factor)
        share = (weight / weight.sum(1, keepdim=True).clamp(min=1e-12)).unsqueeze(1)
        mean = share @ x
        centred = x - mean
        variance = share @ centred.square()
        if self._pooled is None:
            self._remember(mean.detach(), variance.detach())
        else:
            self._pool(mean, variance, weight.sum(1).view(-1, 1, 1))
        return torch.addcmul(self.shift, centred, self.scale * torch.rsqrt(variance + self.eps))

    def as_affine(self) -> tuple[Tensor, Tensor]:
        """Factor and summand ``(members, 1, width)`` that normalise by the running statistics."""
        factor = self.scale * torch.rsqrt(self.variance + self.eps)
        return factor, self.shift - self.mean * factor

    @contextmanager
    def pooling(self) -> Iterator[None]:
        """Have the statistics be those of all rows seen in a ``with`` block, each with its weight."""
        self._pooled = torch.zeros_like(self.seen)
        try:
            yield
        finally:
            self._pooled = None

    def _pool(self, mean: Tensor, variance: Tensor, mass: Tensor) -> None:
        self._pooled = mass if self._pooled is None else self._pooled + mass
        share = mass / self._pooled.clamp(min=1e-12)
        between = share * (1 - share) * (mean - self.mean).square()
        self.mean.lerp_(mean, share)
        self.variance.lerp_(variance, share).add_(between)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        self.seen += 1
        rate = torch.clamp(1 / self.seen, min=self.momentum)
        self.mean.lerp_(mean, rate)
        self.variance.lerp_(variance, rate)


class LayerNorm(nn.Module):
    """Layer normalisation: each row over its units, in training and prediction alike [Ba et al. 2016]."""

    def __init__(self, members: int, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        zeros = torch.zeros(members, 1, width, dtype=dtype)
        self.scale, self.shift = nn.Parameter(zeros + 1), nn.Parameter(zeros.clone())

    def forward(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """Normalise the rows of ``x`` ``(members, rows, width)``; their weights do not matter."""
        return torch.addcmul(self.shift, nn.functional.layer_norm(x, x.shape[-1:]), self.scale)


class Embeddings(nn.Module):
    """A vector for each level of each category with many levels; level 0, unknown, starts as zeros.

    Parameters
    ----------
    members : int
        Members.
    sizes : list of int
        Levels of each category, without the unknown one.
    width : int
        Length of the vectors.
    """

    starts: Tensor

    def __init__(self, members: int, sizes: list[int], width: int, dtype: torch.dtype) -> None:
        super().__init__()
        rows = [size + 1 for size in sizes]
        self.weight = nn.Parameter(torch.zeros(members, sum(rows), width, dtype=dtype))
        starts = np.cumsum([0, *rows[:-1]])
        self.register_buffer("starts", torch.from_numpy(starts), persistent=False)

    def draw(self, generators: Sequence[Generator]) -> None:
        """Draw standard normal vectors for the known levels of each member."""
        for weight, generator in zip(self.weight, generators, strict=True):
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64))
            weight[self.starts] = 0

    def forward(self, levels: Tensor) -> Tensor:
        """Codes ``(members, rows, categories)`` to ``(members, rows, categories * width)``."""
        members, rows, width = self.weight.shape
        first = torch.arange(0, members * rows, rows, device=levels.device).view(-1, 1, 1)
        vectors = nn.functional.embedding(levels + self.starts + first, self.weight.view(-1, width))
        return vectors.flatten(2)
