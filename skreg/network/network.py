"""The network: inputs, embeddings, hidden layers and a head, for all members at once."""

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from itertools import pairwise, zip_longest
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from .._utils.per_member import PerMemberFloat, is_nonzero
from ..data.batches import Batch
from .embeddings import NumericEmbedding
from .input_layer import InputLayer
from .layers import BatchNorm, Draw, Embeddings, LayerNorm, Linear, Scale

SQRT_HALF = 0.5**0.5


class Dropper(Protocol):
    """Whatever zeroes a share of a tensor in training."""

    def drop(self, x: Tensor, rate: PerMemberFloat, floor: float = 0.0, in_place: bool = False) -> Tensor:
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
        Rate after each hidden layer; a net of several fits may put a tensor ``(members,)`` in the place of each.
    input_dropout : float
        Rate on the inputs, likewise.
    target_center, target_scale : ndarray of shape (members, n_raw) or None
        Standardisation of the target.
    numeric_embedding : callable or None
        Makes what embeds the numbers, see ``skreg.embeddings``.
    scaled : bool
        Whether each input of the first layer has a learned factor.

    Attributes
    ----------
    old : frozenset of str
        Parameters that another network brought, see ``skreg.network.pretrained``; what is frozen takes no gradient.
    """

    target_center: Tensor | None
    target_scale: Tensor | None
    old: frozenset[str] = frozenset()

    def __init__(
        self,
        inputs: InputLayer,
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
        scaled: bool = False,
    ) -> None:
        super().__init__()
        members, dtype = len(inputs.fill), inputs.dtype
        self.inputs = inputs
        self.embeddings = Embeddings(members, embedding_sizes, embedding_width, dtype) if embedding_sizes else None
        self.numeric: NumericEmbedding | None = None
        grown = inputs.width
        if numeric_embedding is not None and inputs.n_numbers:
            # batch norm takes constants away: a bias before it would train on rounding errors
            biased = not (hidden and norm is BatchNorm)
            self.numeric = numeric_embedding(members, inputs.n_numbers, inputs.edges, dtype, biased)
            grown += inputs.n_numbers * (self.numeric.width - 1)
        widths = [grown + embedding_width * len(embedding_sizes), *hidden]
        self.scale = Scale(members, widths[0], dtype) if scaled else None
        biased = norm is not BatchNorm
        self.hidden = nn.ModuleList(Linear(members, a, b, dtype, biased) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(norm(members, b, dtype) for b in hidden if norm is not None)
        self.adds = [residual and a == b for a, b in pairwise(widths)]
        self.head = Linear(members, widths[-1], n_raw, dtype)
        self.activation, self.floor = activation, getattr(activation, "floor", 0.0)
        self._by_input: bool = getattr(activation, "by_input", False)
        self.dropout: tuple[PerMemberFloat, ...] = tuple(dropout)
        self.input_dropout: PerMemberFloat = input_dropout
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
        return sum(is_nonzero(rate) for rate in (self.input_dropout, *self.dropout))

    def masks_taken(self) -> Tensor:
        """Which dropout masks of a training step each member takes: bool ``(members, masks)``."""
        rates = [rate for rate in (self.input_dropout, *self.dropout) if is_nonzero(rate)]
        taken = torch.ones(self.n_members, self.n_masks, dtype=torch.bool)
        for column, rate in zip(taken.T, rates, strict=True):
            column &= rate.cpu() > 0 if isinstance(rate, Tensor) else True
        return taken

    def weights(self) -> list[nn.Parameter]:
        """What penalties and decay act on: weights and embeddings, not biases, norms, waves' places."""
        return [weight for layer in self.weights_by_layer() for weight in layer]

    def weights_by_layer(self) -> list[list[nn.Parameter]]:
        """The same for each hidden layer and the head; what embeds columns goes with the first of them."""
        embedded = [] if self.embeddings is None else [self.embeddings.weight]
        numeric = [] if self.numeric is None else self.numeric.weights()
        first, *others = [[linear.weight] for linear in self.linears]
        return [[*embedded, *numeric, *first], *others]

    def multiply_in(self, dtype: torch.dtype) -> None:
        """Do the products of the hidden layers in ``dtype`` in training; those of the head are few, and stay."""
        for linear in self.linears[:-1]:
            linear.products = None if dtype == linear.weight.dtype else dtype

    def features(self) -> Tensor:
        """Feature of each row of the first layer, numbered as by ``InputLayer.features``."""
        return torch.cat([self._rows_of(self.inputs.features()[0]), self._code_rows()])

    def _rows_of(self, columns: Tensor) -> Tensor:
        """What is known of each column of the inputs (on the last axis), for the rows of the first layer."""
        if self.numeric is None:
            return columns
        numbers, others = columns.split([self.inputs.n_numbers, columns.shape[-1] - self.inputs.n_numbers], -1)
        return torch.cat([numbers.repeat_interleave(self.numeric.width, -1), others], -1)

    def _code_rows(self) -> Tensor:
        """Feature of each row of the first layer that an embedded category's vector meets."""
        width = 0 if self.embeddings is None else self.embeddings.weight.shape[2]
        return self.inputs.features()[1].repeat_interleave(width)

    def _scales_weights(self, n_rows: int) -> bool:
        """Whether factors on the inputs go into the weights: there are fewer, and nobody else sees these inputs."""
        return not self.adds[0] and n_rows > self.linears[0].weight.shape[2]

    def _first_weight(self) -> Tensor:
        """Weight of the first layer, the factors on its inputs multiplied in."""
        weight = self.linears[0].weight
        return weight if self.scale is None else weight * self.scale.weight.transpose(1, 2)

    @torch.no_grad()
    def feature_norms(self) -> np.ndarray:
        """Norm ``(members, features)`` of each feature's weights in the first layer, batch norm folded in.

        Rows whose input is always 0 do not count.
        """
        norm = next(iter(self.norms), None)
        factor = norm.as_affine()[0] if isinstance(norm, BatchNorm) else 1.0
        squares = (self._first_weight() * factor).double().square().sum(2).cpu()
        live = self._rows_of(self.inputs.live()).cpu()
        squares[:, : live.shape[1]] *= live
        total = squares.new_zeros(len(squares), self.inputs.n_features)
        return total.index_add_(1, self.features(), squares).sqrt_().numpy()

    def known_statistics(self, dtype: torch.dtype) -> tuple[InputLayer, tuple[np.ndarray, np.ndarray] | None]:
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
    def scale_as(self, other: "Network") -> None:
        """Have factors on the inputs if ``other`` has them: else they go into the weights behind."""
        if self.scale is not None and other.scale is None:
            self.linears[0].weight.mul_(self.scale.weight.transpose(1, 2))
            self.scale = None
        elif self.scale is None and other.scale is not None:
            self.scale = copy.deepcopy(other.scale).to(self.head.weight.device)

    def structure(self) -> tuple[Any, ...]:
        """What networks must have in common that are joined: names, shapes without members, and the layout."""
        tensors = [*self.named_parameters(), *self.named_buffers()]
        shapes = [(name, tuple(t.shape[1:]) if t.dim() > 1 else tuple(t.tolist())) for name, t in tensors]
        return (*shapes, self.inputs.dtype)

    @classmethod
    def joined(cls, networks: Sequence["Network"]) -> "Network":
        """A network of copies of the members of several networks of one structure, one after another."""
        joined = copy.deepcopy(networks[0])
        for part, *parts in zip(*(network.modules() for network in (joined, *networks)), strict=True):
            for kind in ("_parameters", "_buffers"):
                for name, tensor in getattr(part, kind).items():
                    if tensor is not None and tensor.dim() > 1:
                        tensor.data = torch.cat([getattr(each, kind)[name].data for each in parts])
        return joined

    @torch.no_grad()
    def effective_layers(self, log_link: bool = False) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weights ``(fan_in, fan_out)`` and bias ``(fan_out,)`` of each layer of the first member.

        They are those that predict: batch norm is folded in, and a standardised target put back into its units; with a
        log link they give the logarithm of the prediction. Layer norm and residual connections are no weights, and are
        left out.
        """
        layers = []
        weights = [self._first_weight(), *(linear.weight for linear in self.linears[1:])]
        for weight, linear, norm in zip_longest(weights, self.linears, self.norms):
            if isinstance(norm, BatchNorm):
                factor, bias = norm.as_affine()
                layers.append((weight[0] * factor[0], bias[0, 0]))
            elif linear.bias is not None:
                layers.append((weight[0], linear.bias[0, 0]))
        if self.target_center is not None and self.target_scale is not None:
            (weight, bias), scale = layers[-1], self.target_scale[0, 0]
            if log_link:
                layers[-1] = weight, bias + scale.log()
            else:
                layers[-1] = weight * scale, bias * scale + self.target_center[0, 0]
        return [(weight.double().cpu().numpy(), bias.double().cpu().numpy()) for weight, bias in layers]

    @torch.no_grad()
    def draw(self, init: Draw, head_init: Draw, seeds: Sequence[int], bias_spread: float = 0.0) -> None:
        """Draw each member's initial weights from its seed: embeddings, layers, head, numbers', biases."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        if self.embeddings is not None:
            self.embeddings.draw(generators)
        for linear in self.linears[:-1]:
            linear.draw(init, generators)
        self.head.draw(head_init, generators)
        if self.numeric is not None:
            self.numeric.draw(generators)
        for linear in self.linears if bias_spread else []:
            linear.draw_bias(bias_spread, generators)

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
        factors = None
        if self.scale is not None and training and self._scales_weights(x.shape[1]):
            factors = self.scale.weight
        elif self.scale is not None:
            x = self.scale(x)
        if noise is not None and is_nonzero(self.input_dropout):
            x = noise.drop(x, self.input_dropout)
        for linear, norm, rate, adds in zip_longest(self.linears[:-1], self.norms, self.dropout, self.adds):
            before = x
            x = linear(x, factors) if training else linear.predict(x)
            factors = None
            if norm is not None:
                x = norm(x, weight)
            x = self.activation(x)
            if noise is not None and is_nonzero(rate):
                x = noise.drop(x, rate, self.floor, self._by_input)  # saves memory, and the time to fetch it
            if adds:
                x = (x + before).mul_(SQRT_HALF)
        return self.head(x) if training else self.head.predict(x)
