"""The network: inputs, embeddings, hidden layers and a head, for all members at once."""

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from itertools import pairwise, zip_longest
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from ._inputs import Inputs
from ._layers import BatchNorm, Draw, Embeddings, LayerNorm, Linear
from ._rows import Batch
from .embeddings import NumericEmbedding

SQRT_HALF = 0.5**0.5


class Dropper(Protocol):
    """Whatever zeroes a share of a tensor in training."""

    def drop(self, x: Tensor, rate: float, floor: float = 0.0) -> Tensor:
        """``x`` with a share ``rate`` of its numbers zeroed, or set to ``floor``."""
        ...


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
    norm : type or None
        ``BatchNorm`` or ``LayerNorm``, before each activation.
    residual : bool
        Whether a hidden layer that keeps the width adds its input.
    dropout : sequence of float
        Rate after each hidden layer.
    input_dropout : float
        Rate on the inputs.
    target_center, target_scale : ndarray of shape (members, n_raw) or None
        Standardisation of the target.
    numeric_embedding : callable or None
        Makes what embeds the numbers, see ``skreg.embeddings``.
    """

    target_center: Tensor | None
    target_scale: Tensor | None

    def __init__(
        self,
        inputs: Inputs,
        embedding_sizes: list[int],
        embedding_width: int,
        hidden: Sequence[int],
        n_raw: int,
        activation: Callable[[Tensor], Tensor],
        norm: type[BatchNorm] | type[LayerNorm] | None,
        residual: bool,
        dropout: Sequence[float],
        input_dropout: float,
        target_center: np.ndarray | None,
        target_scale: np.ndarray | None,
        numeric_embedding: Callable[..., NumericEmbedding] | None = None,
    ) -> None:
        super().__init__()
        members, dtype = len(inputs.fill), inputs.dtype
        self.inputs = inputs
        self.embeddings = Embeddings(members, embedding_sizes, embedding_width, dtype) if embedding_sizes else None
        self.numeric: NumericEmbedding | None = None
        grown = inputs.width
        if numeric_embedding is not None and inputs.n_numbers:
            # a norm takes constants away: a bias before it would train on rounding errors
            biased = not (hidden and norm is BatchNorm)
            self.numeric = numeric_embedding(members, inputs.n_numbers, inputs.edges, dtype, biased)
            grown += inputs.n_numbers * (self.numeric.width - 1)
        widths = [grown + embedding_width * len(embedding_sizes), *hidden]
        biased = norm is not BatchNorm
        self.hidden = nn.ModuleList(Linear(members, a, b, dtype, biased) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(norm(members, b, dtype) for b in hidden if norm is not None)
        self.adds = [residual and a == b for a, b in pairwise(widths)]
        self.head = Linear(members, widths[-1], n_raw, dtype)
        self.activation, self.floor = activation, getattr(activation, "floor", 0.0)
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
        """What penalties and decay act on: weights and embeddings, not biases, norms, frequencies and phases."""
        embedded = [] if self.embeddings is None else [self.embeddings.weight]
        numeric = [] if self.numeric is None else self.numeric.weights()
        return [*embedded, *numeric, *(linear.weight for linear in self.linears)]

    def known_statistics(self, dtype: torch.dtype) -> tuple[Inputs, tuple[np.ndarray, np.ndarray] | None]:
        """A copy of the inputs for another network, and the statistics of the target."""
        inputs = copy.deepcopy(self.inputs)
        inputs.dtype = dtype
        if self.target_center is None or self.target_scale is None:
            return inputs, None
        return inputs, (self.target_center[:, 0].cpu().numpy(), self.target_scale[:, 0].cpu().numpy())

    def of_members(self, index: Sequence[int]) -> Self:
        """A network of copies of some members, in the order of ``index``; one may come more than once.

        What belongs to members has them on axis 0 and at least one axis more; what has a single axis describes the
        layout that they share.
        """
        chosen = torch.as_tensor(index)
        network = copy.deepcopy(self)
        for part in network.modules():
            for tensors in (part._parameters, part._buffers):
                for tensor in tensors.values():
                    if tensor is not None and tensor.dim() > 1:
                        tensor.data = tensor.data[chosen.to(tensor.device)]
        return network

    @torch.no_grad()
    def effective_layers(self, log_link: bool = False) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weights ``(fan_in, fan_out)`` and bias ``(fan_out,)`` of each layer of the first member.

        They are those that predict: batch norm is folded in, and a standardised target put back into its units; with a
        log link they give the logarithm of the prediction. Layer norm and residual connections are no weights, and are
        left out.
        """
        layers = []
        for linear, norm in zip_longest(self.linears, self.norms):
            if isinstance(norm, BatchNorm):
                factor, bias = norm.as_affine()
                layers.append((linear.weight[0] * factor[0], bias[0, 0]))
            elif linear.bias is not None:
                layers.append((linear.weight[0], linear.bias[0, 0]))
        if self.target_center is not None and self.target_scale is not None:
            (weight, bias), scale = layers[-1], self.target_scale[0, 0]
            if log_link:
                layers[-1] = weight, bias + scale.log()
            else:
                layers[-1] = weight * scale, bias * scale + self.target_center[0, 0]
        return [(weight.double().cpu().numpy(), bias.double().cpu().numpy()) for weight, bias in layers]

    @torch.no_grad()
    def draw(self, init: Draw, head_init: Draw, seeds: Sequence[int]) -> None:
        """Draw the initial weights of each member from its seed: embeddings, layers, head, what embeds numbers."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        if self.embeddings is not None:
            self.embeddings.draw(generators)
        for linear in self.linears[:-1]:
            linear.draw(init, generators)
        self.head.draw(head_init, generators)
        if self.numeric is not None:
            self.numeric.draw(generators)

    @torch.no_grad()
    def renew_statistics(self, blocks: Iterable[Batch]) -> None:
        """Take batch norm's statistics anew from all rows, as prediction meets them: without noise.

        The rows of a block are normalised by its own statistics; with a single one those of all layers are exact.
        """
        norms = [norm for norm in self.norms if isinstance(norm, BatchNorm)]
        if not norms:
            return
        with ExitStack() as stack:
            for norm in norms:
                stack.enter_context(norm.pooling())
            for batch in blocks:
                self(batch.inputs, batch.levels, batch.weight)

    def prepare(self, numbers: Tensor, levels: Tensor | None, target: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Inputs, codes to embed and the target as the loss wants it."""
        if self.target_center is not None and self.target_scale is not None:
            target = (target - self.target_center) / self.target_scale
        if target.is_floating_point():
            target = target.to(self.inputs.dtype)
        inputs, codes = self.inputs(numbers, levels)
        return inputs, codes, target

    def forward(
        self,
        x: Tensor,
        levels: Tensor | None = None,
        weight: Tensor | None = None,
        noise: Dropper | None = None,
        blend: Callable[[Tensor], Tensor] | None = None,
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
        blend : callable or None
            Mixes the rows of the embedded categories' vectors, as those of ``x`` were mixed.
        """
        training = weight is not None
        if self.numeric is not None:
            x = self.numeric(x) if training else self.numeric.predict(x)
        if self.embeddings is not None:
            vectors = self.embeddings(levels)
            x = torch.cat([x, vectors if blend is None else blend(vectors)], dim=-1)
        if noise is not None and self.input_dropout:
            x = noise.drop(x, self.input_dropout)
        for linear, norm, rate, adds in zip_longest(self.linears[:-1], self.norms, self.dropout, self.adds):
            before = x
            x = linear(x) if training else linear.predict(x)
            if norm is not None:
                x = norm(x, weight)
            x = self.activation(x)
            if noise is not None and rate:
                x = noise.drop(x, rate, self.floor)
            if adds:
                x = (x + before) * SQRT_HALF
        return self.head(x) if training else self.head.predict(x)
