"""Layers of all members.

Activations have the shape ``(members, rows, width)``, weights ``(members, fan_in, fan_out)``, and values for the
columns of an activation ``(members, 1, width)``.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Generator, Tensor, nn

Initializer: TypeAlias = Callable[[int, int, Generator], Tensor]  # see skreg.network.initializers
COLUMN_MULTIPLE = 16


class Linear(nn.Module):
    """Affine map of each member.

    A layer before batch normalization has no bias: it would have no effect, and its gradient only rounding errors.
    """

    init_scale: Tensor | None
    """Factor on the initial weights and reduction of the initial biases ``(members, 2, fan_out)``, if data-driven."""

    def __init__(self, members: int, fan_in: int, fan_out: int, dtype: torch.dtype, has_bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(members, fan_in, fan_out, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(members, 1, fan_out, dtype=dtype)) if has_bias else None
        self.matmul_dtype: torch.dtype | None = None  # dtype of the product in training; None means that of the weights
        self.register_buffer("init_scale", None, persistent=False)

    def init_weights(self, init: Initializer, generators: Sequence[Generator]) -> None:
        """Draw the weights of each member from its generator."""
        _, fan_in, fan_out = self.weight.shape
        for weight, generator in zip(self.weight, generators, strict=True):
            weight.copy_(init(fan_in, fan_out, generator))

    def init_bias(self, std: float, generators: Sequence[Generator]) -> None:
        """Draw the biases of each member, if it has any, from a normal distribution."""
        if self.bias is None:
            return
        for bias, generator in zip(self.bias, generators, strict=True):
            bias.copy_(std * torch.randn(bias.shape, generator=generator, dtype=torch.float64))

    def forward(self, x: Tensor, input_scale: Tensor | None = None) -> Tensor:
        """Apply the map in training.

        ``input_scale`` ``(members, 1, fan_in)`` contains factors on the inputs. They are multiplied into the weights,
        which is faster if there are more rows than outputs.
        """
        weight = self.weight if input_scale is None else self.weight * input_scale.transpose(1, 2)
        if (dtype := self.matmul_dtype) is not None:
            product = torch.bmm(x.to(dtype), weight.to(dtype)).to(x.dtype)
            return product if self.bias is None else self.bias + product
        if weight.shape[2] == 1 < len(weight):  # a batched product with one column takes two to seven times as long
            return _affine_single_output(x, weight, self.bias)
        return torch.bmm(x, weight) if self.bias is None else torch.baddbmm(self.bias, x, weight)

    def predict(self, x: Tensor) -> Tensor:
        """Apply the map so that no bit of a row's result depends on the other rows.

        The kernel of a product with an odd width depends on the number of rows, so the width is padded. A single output
        is computed without a matrix product.
        """
        width = self.weight.shape[2]
        if width == 1:
            return _affine_single_output(x, self.weight, self.bias)
        weight: Tensor = self.weight
        bias = weight.new_zeros(len(weight), 1, width) if self.bias is None else self.bias
        if missing := -width % COLUMN_MULTIPLE:
            weight, bias = (pad_zeros(tensor, missing, 2) for tensor in (weight, bias))
        return torch.baddbmm(bias, x, weight)[..., :width]


def pad_zeros(tensor: Tensor, count: int, dim: int) -> Tensor:
    """Append ``count`` zeros along axis ``dim``; ``torch.nn.functional.pad`` may refuse tensors without elements."""
    shape = list(tensor.shape)
    shape[dim] = count
    return torch.cat([tensor, tensor.new_zeros(shape)], dim)


def _affine_single_output(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product = (x * weight.transpose(1, 2)).sum(-1, keepdim=True)
    return product if bias is None else product + bias


class Scale(nn.Module):
    """Learned factor on each input of each member, initially 1 [Holzmueller et al. 2024]."""

    def __init__(self, members: int, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(members, 1, width, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply each column of ``x`` by its factor."""
        return x * self.weight


class BatchNorm(nn.Module):
    """Batch normalization of each member over its rows, with the weights of the rows [Ioffe & Szegedy 2015].

    The running statistics are unweighted means over the batches until there are ``1 / momentum`` of them. Otherwise,
    the initial values would distort the predictions after only a few steps.
    """

    frozen = False  # whether the running statistics stay constant and also normalize training batches
    momentum, eps = 0.1, 1e-5
    pooled_weight: Tensor | None = None
    """Weight ``(members, 1, 1)`` of the rows pooled since it was set to 0; None if running means are updated."""
    mean: Tensor  # running statistics, (members, 1, width)
    variance: Tensor
    n_batches: Tensor

    def __init__(self, members: int, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        zeros = torch.zeros(members, 1, width, dtype=dtype)
        self.scale, self.shift = nn.Parameter(zeros + 1), nn.Parameter(zeros.clone())
        self.register_buffer("mean", zeros.clone())
        self.register_buffer("variance", zeros + 1)
        self.register_buffer("n_batches", zeros[..., :1].clone())

    def forward(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """Normalize ``x`` by its own statistics in training, otherwise by the running statistics.

        ``weight`` ``(members, rows)`` contains the row weights of a training batch, and is None in prediction.
        """
        if weight is None or self.frozen:
            factor, offset = self.as_affine()
            return torch.addcmul(offset, x, factor)
        share = (weight / weight.sum(1, keepdim=True).clamp(min=1e-12)).unsqueeze(1)
        mean = share @ x
        centered = x - mean
        variance = share @ centered.square()
        if self.pooled_weight is None:
            self._update_running(mean.detach(), variance.detach())
        else:
            batch_weight = weight.sum(1).view(-1, 1, 1)
            self._pool(mean, variance, batch_weight, self.pooled_weight + batch_weight)
        return torch.addcmul(self.shift, centered, self.scale * torch.rsqrt(variance + self.eps))

    def as_affine(self) -> tuple[Tensor, Tensor]:
        """Return the factor and the offset ``(members, 1, width)`` that normalize by the running statistics."""
        factor = self.scale * torch.rsqrt(self.variance + self.eps)
        return factor, self.shift - self.mean * factor

    def _pool(self, mean: Tensor, variance: Tensor, weight: Tensor, total: Tensor) -> None:
        self.pooled_weight = total
        share = weight / total.clamp(min=1e-12)
        between = share * (1 - share) * (mean - self.mean).square()
        self.mean.lerp_(mean, share)
        self.variance.lerp_(variance, share).add_(between)

    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        self.n_batches += 1
        rate = torch.clamp(1 / self.n_batches, min=self.momentum)
        self.mean.lerp_(mean, rate)
        self.variance.lerp_(variance, rate)


class LayerNorm(nn.Module):
    """Layer normalization: normalizes each row over its units [Ba et al. 2016]."""

    def __init__(self, members: int, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        zeros = torch.zeros(members, 1, width, dtype=dtype)
        self.scale, self.shift = nn.Parameter(zeros + 1), nn.Parameter(zeros.clone())

    def forward(self, x: Tensor, weight: Tensor | None) -> Tensor:  # noqa: ARG002 - the signature of BatchNorm
        """Normalize the rows of ``x``; ``weight`` is ignored."""
        return torch.addcmul(self.shift, nn.functional.layer_norm(x, x.shape[-1:]), self.scale)


class CategoryEmbedding(nn.Module):
    """Learned vectors for the levels of each category with many levels.

    Level 0 stands for unknown and missing levels; its vector is initially 0. ``sizes`` does not count it.
    """

    starts: Tensor

    def __init__(self, members: int, sizes: Sequence[int], width: int, dtype: torch.dtype) -> None:
        super().__init__()
        rows = [size + 1 for size in sizes]
        self.weight = nn.Parameter(torch.zeros(members, sum(rows), width, dtype=dtype))
        starts = np.cumsum([0, *rows[:-1]])
        self.register_buffer("starts", torch.from_numpy(starts), persistent=False)

    def init_weights(self, generators: Sequence[Generator]) -> None:
        """Draw the vectors of the known levels from a standard normal distribution."""
        for weight, generator in zip(self.weight, generators, strict=True):
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64))
            weight[self.starts] = 0

    def forward(self, levels: Tensor) -> Tensor:
        """Return the vectors ``(members, rows, categories * width)`` of codes ``(members, rows, categories)``."""
        members, rows, width = self.weight.shape
        first = torch.arange(0, members * rows, rows, device=levels.device).view(-1, 1, 1)
        vectors = nn.functional.embedding(levels + self.starts + first, self.weight.view(-1, width))
        return vectors.flatten(2)
