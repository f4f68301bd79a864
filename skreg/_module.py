"""The network: a stack of layers for all members at once. Every tensor has the members on axis 0."""

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from torch import Generator, Tensor, nn

Draw = Callable[[int, int, Generator], Tensor]


class Dropper(Protocol):
    """Whatever zeroes a share of a tensor in training."""

    def drop(self, x: Tensor, rate: float) -> Tensor:
        """``x`` with a share ``rate`` of its numbers zeroed."""
        ...


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
    """

    def __init__(self, members: int, fan_in: int, fan_out: int, dtype: torch.dtype, biased: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(members, fan_in, fan_out, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(members, 1, fan_out, dtype=dtype)) if biased else None

    def draw(self, init: Draw, generators: Sequence[Generator]) -> None:
        """Draw the weights of each member from its generator; biases start at 0."""
        for weight, generator in zip(self.weight, generators, strict=True):
            weight.copy_(init(*weight.shape, generator))

    def forward(self, x: Tensor) -> Tensor:
        """``(members, rows, fan_in)`` to ``(members, rows, fan_out)``."""
        return torch.bmm(x, self.weight) if self.bias is None else torch.baddbmm(self.bias, x, self.weight)

    def predict(self, x: Tensor) -> Tensor:
        """The same, a row's bits not depending on the rows beside it: the product with one column does."""
        if self.weight.shape[2] > 1:
            return self(x)
        return (x * self.weight.transpose(1, 2)).sum(-1, keepdim=True) + (0 if self.bias is None else self.bias)


class BatchNorm(nn.Module):
    """Batch normalisation of each member over its rows, with the rows' weights [Ioffe & Szegedy 2015].

    Running statistics are plain means until ``1 / momentum`` batches have been seen, so that a fit of few steps
    does not predict with the initial ones.
    """

    momentum, eps = 0.1, 1e-5

    def __init__(self, members: int, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        zeros = torch.zeros(members, 1, width, dtype=dtype)
        self.scale, self.shift = nn.Parameter(zeros + 1), nn.Parameter(zeros.clone())
        self.register_buffer("mean", zeros.clone())
        self.register_buffer("variance", zeros + 1)
        self.register_buffer("seen", zeros[..., :1].clone())

    def forward(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """Normalise ``x``; with the weights ``(members, rows)`` of a training batch by its own statistics."""
        if weight is None:
            factor, summand = self.as_affine()
            return torch.addcmul(summand, x, factor)
        share = (weight / weight.sum(1, keepdim=True).clamp(min=1e-12)).unsqueeze(1)
        mean = share @ x
        centred = x - mean
        variance = share @ centred.square()
        self._remember(mean.detach(), variance.detach())
        return torch.addcmul(self.shift, centred, self.scale * torch.rsqrt(variance + self.eps))

    def as_affine(self) -> tuple[Tensor, Tensor]:
        """Factor and summand ``(members, 1, width)`` that normalise by the running statistics."""
        factor = self.scale * torch.rsqrt(self.variance + self.eps)
        return factor, self.shift - self.mean * factor

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        self.seen += 1
        rate = torch.clamp(1 / self.seen, min=self.momentum)
        self.mean.lerp_(mean, rate)
        self.variance.lerp_(variance, rate)


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

    def __init__(self, members: int, sizes: list[int], width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.width = width
        rows = [size + 1 for size in sizes]
        self.weight = nn.Parameter(torch.zeros(members, sum(rows), width, dtype=dtype))
        starts = np.cumsum([0, *rows[:-1]])
        self.register_buffer("starts", torch.from_numpy(starts), persistent=False)
        self.register_buffer("members", torch.arange(members).view(-1, 1, 1) * sum(rows), persistent=False)

    def draw(self, generators: Sequence[Generator]) -> None:
        """Draw standard normal vectors for the known levels of each member."""
        for weight, generator in zip(self.weight, generators, strict=True):
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64))
            weight[self.starts] = 0

    def forward(self, levels: Tensor) -> Tensor:
        """Codes ``(members, rows, categories)`` to ``(members, rows, categories * width)``."""
        vectors = nn.functional.embedding(levels + self.starts + self.members, self.weight.view(-1, self.width))
        return vectors.flatten(2)


class Inputs(nn.Module):
    """What a member does to the table before its first layer: fill, scale, clip, indicate, one-hot encode.

    Nothing here is trained; the buffers are the member's statistics.

    Parameters
    ----------
    statistics : Statistics
        See ``skreg._encoding``.
    one_hot, embedded : list of int
        Positions of the categories with few levels, and of those with many.
    clip : float
        Bound of the smooth clip.
    dtype : torch.dtype
        Of the result. Statistics are float64, so that large numbers close together survive the centring.
    """

    def __init__(
        self, statistics: Any, one_hot: list[int], embedded: list[int], clip: float, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.dtype, self.clip = dtype, clip if statistics.clip else None
        for name in ("fill", "center", "scale"):
            self.register_buffer(name, torch.from_numpy(getattr(statistics, name)).unsqueeze(1))
        self.register_buffer("knots", None if statistics.knots is None else torch.from_numpy(statistics.knots))
        self.register_buffer("indicators", torch.tensor(statistics.indicators, dtype=torch.int64))
        self.register_buffer("one_hot", torch.tensor(one_hot, dtype=torch.int64))
        self.register_buffer("embedded", torch.tensor(embedded, dtype=torch.int64))
        self._one_hot_tables([statistics.known[j] for j in one_hot])
        for position, j in enumerate(embedded):
            self.register_buffer(f"known{position}", torch.from_numpy(statistics.known[j]))

    def _one_hot_tables(self, known: list[np.ndarray]) -> None:
        """Where each level of each category is written, and what: 1, or -1 and 1 for two levels; 0 if unknown."""
        positions, values, starts, width = [], [], [], 0
        for levels in known:
            n = levels.shape[1] - 1
            binary = n == 2
            starts.append(sum(map(len, positions)))
            positions.append(np.full(3, width) if binary else width + np.maximum(np.arange(n + 1) - 1, 0))
            values.append(levels * (np.array([0, -1, 1]) if binary else 1))
            width += 1 if binary else n
        self.one_hot_width = width
        self.register_buffer("starts", torch.tensor(starts, dtype=torch.int64))
        self.register_buffer("positions", torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *positions])))
        self.register_buffer("values", torch.from_numpy(np.hstack(values).astype(np.float64)) if values else None)

    @property
    def width(self) -> int:
        """Columns of the result."""
        return self.fill.shape[-1] + len(self.indicators) + self.one_hot_width

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
            return self._normal_scores(x)
        x = (x - self.center) * self.scale
        return x if self.clip is None else x * torch.rsqrt(1 + (x / self.clip).square())

    def _normal_scores(self, x: Tensor) -> Tensor:
        """Mid-rank between the knots, as a normal quantile clipped at 1e-4."""
        columns = x.transpose(1, 2).contiguous()
        last = self.knots.shape[-1] - 1
        sides = []
        for right in (False, True):
            above = torch.searchsorted(self.knots, columns, right=right).clamp(1, last)
            low, high = self.knots.gather(-1, above - 1), self.knots.gather(-1, above)
            part = ((columns - low) / (high - low).clamp(min=1e-300)).clamp(0, 1)
            sides.append((above - 1 + torch.where(high > low, part, float(right))) / last)
        rank = (sides[0] + sides[1]) / 2
        return torch.special.ndtri(rank.clamp(1e-4, 1 - 1e-4)).transpose(1, 2)

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


class Network(nn.Module):
    """Inputs, embeddings, hidden layers and a linear head.

    Parameters
    ----------
    inputs : Inputs
        The members' view of the table.
    embedding_sizes : list of int
        Levels of the embedded categories.
    embedding_width : int
        Length of their vectors.
    hidden : sequence of int
        Widths of the hidden layers.
    n_raw : int
        Raw outputs.
    activation : callable
        Of the hidden layers.
    batch_norm : bool
        Whether batch norm stands before each activation.
    dropout : sequence of float
        Rate after each hidden layer.
    input_dropout : float
        Rate on the inputs.
    target_center, target_scale : ndarray of shape (members, n_raw) or None
        Standardisation of the target.
    """

    def __init__(
        self,
        inputs: Inputs,
        embedding_sizes: list[int],
        embedding_width: int,
        hidden: Sequence[int],
        n_raw: int,
        activation: Callable[[Tensor], Tensor],
        batch_norm: bool,
        dropout: Sequence[float],
        input_dropout: float,
        target_center: np.ndarray | None,
        target_scale: np.ndarray | None,
    ) -> None:
        super().__init__()
        members, dtype = len(inputs.fill), inputs.dtype
        self.inputs = inputs
        self.embeddings = Embeddings(members, embedding_sizes, embedding_width, dtype) if embedding_sizes else None
        widths = [inputs.width + embedding_width * len(embedding_sizes), *hidden]
        self.hidden = nn.ModuleList(Linear(members, a, b, dtype, not batch_norm) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(BatchNorm(members, b, dtype) if batch_norm else nn.Identity() for b in hidden)
        self.batch_norm = batch_norm
        self.head = Linear(members, widths[-1], n_raw, dtype)
        self.activation = activation
        self.dropout, self.input_dropout = tuple(dropout), input_dropout
        for name, value in (("target_center", target_center), ("target_scale", target_scale)):
            self.register_buffer(name, None if value is None else torch.from_numpy(value).unsqueeze(1))

    @property
    def n_members(self) -> int:
        """Members."""
        return self.head.weight.shape[0]

    @property
    def linears(self) -> list[Linear]:
        """The affine layers in order, the head last."""
        return [*self.hidden, self.head]

    @property
    def n_masks(self) -> int:
        """How many dropout masks a training step takes."""
        return sum(rate > 0 for rate in (self.input_dropout, *self.dropout))

    def weights(self) -> list[nn.Parameter]:
        """What penalties and decay act on: weights and embeddings, not biases and norms."""
        embedded = [] if self.embeddings is None else [self.embeddings.weight]
        return [*embedded, *(linear.weight for linear in self.linears)]

    def known_statistics(self, dtype: torch.dtype) -> tuple[Inputs, tuple[np.ndarray, np.ndarray] | None]:
        """A copy of the inputs for another network, and the statistics of the target."""
        inputs = copy.deepcopy(self.inputs)
        inputs.dtype = dtype
        if self.target_center is None:
            return inputs, None
        return inputs, (self.target_center[:, 0].cpu().numpy(), self.target_scale[:, 0].cpu().numpy())

    @torch.no_grad()
    def effective_layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weights ``(fan_in, fan_out)`` and bias ``(fan_out,)`` of each layer of the first member.

        They are those that predict: batch norm is folded in, and a standardised target put back into its units.
        """
        layers = []
        for linear, norm in zip(self.linears, [*self.norms, None], strict=True):
            if linear.bias is None:
                factor, bias = norm.as_affine()
                layers.append((linear.weight[0] * factor[0], bias[0, 0]))
            else:
                layers.append((linear.weight[0], linear.bias[0, 0]))
        if self.target_center is not None:
            (weight, bias), scale = layers[-1], self.target_scale[0, 0]
            layers[-1] = weight * scale, bias * scale + self.target_center[0, 0]
        return [(weight.double().cpu().numpy(), bias.double().cpu().numpy()) for weight, bias in layers]

    @torch.no_grad()
    def draw(self, init: Draw, seeds: Sequence[int]) -> None:
        """Draw the initial weights of each member from its seed."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        if self.embeddings is not None:
            self.embeddings.draw(generators)
        for linear in self.linears:
            linear.draw(init, generators)

    def prepare(self, numbers: Tensor, levels: Tensor | None, target: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Inputs, codes to embed and the target as the loss wants it."""
        if self.target_center is not None:
            target = (target - self.target_center) / self.target_scale
        if target.is_floating_point():
            target = target.to(self.inputs.dtype)
        return *self.inputs(numbers, levels), target

    def forward(
        self, x: Tensor, levels: Tensor | None = None, weight: Tensor | None = None, noise: Dropper | None = None
    ) -> Tensor:
        """Raw output ``(members, rows, n_raw)``.

        Parameters
        ----------
        x : Tensor of shape (members, rows, inputs)
            Prepared inputs.
        levels : int Tensor of shape (members, rows, embedded categories) or None
            Codes to embed.
        weight : Tensor of shape (members, rows) or None
            Weights of a training batch, for batch norm's statistics; None predicts, each row by itself.
        noise : Noise or None
            Dropout; None predicts.
        """
        training = weight is not None
        if self.embeddings is not None:
            x = torch.cat([x, self.embeddings(levels)], dim=-1)
        if noise is not None and self.input_dropout:
            x = noise.drop(x, self.input_dropout)
        for linear, norm, rate in zip(self.hidden, self.norms, self.dropout, strict=True):
            x = linear(x) if training else linear.predict(x)
            if self.batch_norm:
                x = norm(x, weight)
            x = self.activation(x)
            if noise is not None and rate:
                x = noise.drop(x, rate)
        return self.head(x) if training else self.head.predict(x)
