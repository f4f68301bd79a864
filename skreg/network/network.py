"""The network of all members: input layer, embeddings, hidden layers and output layer.

Inputs have the shape ``(members, rows, inputs)``, and the raw output ``(members, rows, n_raw)``. Parameters and buffers
of members have at least two axes, with the members on axis 0; a tensor with one axis describes the common structure.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise, zip_longest
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from .._utils.per_member import PerMemberFloat, is_nonzero
from ..data.batches import Batch
from .config import NetworkConfig, apply_activation
from .dropout import Dropout
from .embeddings import NumericEmbedding
from .input_layer import InputLayer
from .layers import BatchNorm, CategoryEmbedding, Linear, Scale

SQRT_HALF = 0.5**0.5
BIAS_STD = 3**-0.5
"""Standard deviation of the initial biases in a data-driven initialization.

It is that of a randomly weighted mean of the pre-activations (variance 1) of five random rows.
"""


class Network(nn.Module):
    """Network with initial weights, drawn from a seed for each member.

    ``embedding_sizes`` contains the numbers of levels of the embedded categories. ``target_statistics`` are the center
    and the scale ``(members, n_raw)`` of a standardized target.
    """

    activation: Callable[[Tensor], Tensor]
    target_center: Tensor | None
    target_scale: Tensor | None
    pretrained_names: frozenset[str] = frozenset()
    """Parameters copied from another network; see ``skreg.network.pretrained``. Frozen ones require no gradient."""

    def __init__(
        self,
        config: NetworkConfig,
        inputs: InputLayer,
        n_raw: int,
        seeds: Sequence[int],
        embedding_sizes: Sequence[int] = (),
        target_statistics: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        super().__init__()
        members, dtype, batch_norm = len(inputs.fill), inputs.dtype, config.norm is BatchNorm
        self.config, self.inputs = config, inputs
        self.embeddings: CategoryEmbedding | None = None
        width = inputs.width
        if embedding_sizes:
            self.embeddings = CategoryEmbedding(members, embedding_sizes, config.embedding_width, dtype)
            width += config.embedding_width * len(embedding_sizes)
        self.numeric: NumericEmbedding | None = None
        if config.numeric_embedding is not None and inputs.n_numbers:
            train_bias = not (config.hidden_layer_sizes and batch_norm)  # batch normalization removes constants
            self.numeric = config.numeric_embedding(members, inputs.n_numbers, inputs.edges, dtype, train_bias)
            width += inputs.n_numbers * (self.numeric.width - 1)
        widths = [width, *config.hidden_layer_sizes]
        self.scale = Scale(members, width, dtype) if config.scale_layer else None
        self.hidden = nn.ModuleList(Linear(members, a, b, dtype, not batch_norm) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(config.norm(members, b, dtype) for b in widths[1:] if config.norm is not None)
        self.has_skip = [config.residual and a == b for a, b in pairwise(widths)]  # of each hidden layer
        self.head = Linear(members, widths[-1], n_raw, dtype)
        # torch would register a torch module, and train its parameters, which have no member axis.
        self.__dict__["activation"] = config.activation
        self.dropout: tuple[PerMemberFloat, ...] = config.dropout  # rate of each hidden layer
        self.input_dropout: PerMemberFloat = config.input_dropout
        for name, value in zip(("target_center", "target_scale"), target_statistics or (None, None), strict=True):
            self.register_buffer(name, None if value is None else torch.from_numpy(value).unsqueeze(1))
        self.init_weights(seeds)

    @torch.no_grad()
    def init_weights(self, seeds: Sequence[int]) -> None:
        """Draw the initial weights of each member from its seed."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        if self.embeddings is not None:
            self.embeddings.init_weights(generators)
        for linear in self.linears[:-1]:
            linear.init_weights(self.config.init, generators)
        self.head.init_weights(self.config.head_init, generators)
        if self.numeric is not None:
            self.numeric.init_weights(generators)
        for linear in self.linears if self.config.data_driven_init else []:
            linear.init_bias(BIAS_STD, generators)

    # structure

    @property
    def n_members(self) -> int:
        """Number of members."""
        return self.head.weight.shape[0]

    @property
    def linears(self) -> list[Linear]:
        """The hidden layers and the output layer."""
        return [*self.hidden, self.head]

    def weights(self) -> list[nn.Parameter]:
        """Return the parameters that penalties and weight decay apply to: weights and embeddings, without biases."""
        return [weight for layer in self.weights_by_layer() for weight in layer]

    def weights_by_layer(self) -> list[list[nn.Parameter]]:
        """Return ``weights`` of each hidden layer and the output layer; embeddings belong to the first layer."""
        embedded = [] if self.embeddings is None else [self.embeddings.weight]
        numeric = [] if self.numeric is None else self.numeric.weights()
        first, *others = [[linear.weight] for linear in self.linears]
        return [[*embedded, *numeric, *first], *others]

    def set_matmul_dtype(self, dtype: torch.dtype) -> None:
        """Set the dtype of the hidden layers' matrix products in training; the head is small and keeps its dtype."""
        for linear in self.linears[:-1]:
            linear.matmul_dtype = None if dtype == linear.weight.dtype else dtype

    @property
    def uses_dropout(self) -> bool:
        """Whether any dropout rate is not 0."""
        return any(is_nonzero(rate) for rate in (self.input_dropout, *self.dropout))

    def dropout_masks(self) -> Tensor:
        """Return which dropout masks of a training step each member uses, bool ``(members, masks)``."""
        rates = [rate for rate in (self.input_dropout, *self.dropout) if is_nonzero(rate)]
        used = torch.ones(self.n_members, len(rates), dtype=torch.bool)
        for column, rate in zip(used.T, rates, strict=True):
            if isinstance(rate, Tensor):
                column.copy_(rate > 0)
        return used

    def feature_index(self) -> Tensor:
        """Return the feature of each input of the first layer, numbered as in ``InputLayer.feature_index``."""
        inputs, embedded = self.inputs.feature_index()
        width = 0 if self.embeddings is None else self.embeddings.weight.shape[2]
        return torch.cat([self._repeat_numeric(inputs), embedded.repeat_interleave(width)])

    def _repeat_numeric(self, columns: Tensor) -> Tensor:
        """Repeat values ``(..., inputs)`` of numeric columns for each output of their embedding."""
        if self.numeric is None:
            return columns
        numbers, others = columns.tensor_split([self.inputs.n_numbers], -1)
        return torch.cat([numbers.repeat_interleave(self.numeric.width, -1), others], -1)

    # members

    def select_members(self, index: Sequence[int]) -> Self:
        """Return a network with copies of some members, in the order of ``index``, which may contain repetitions."""
        chosen, network = torch.as_tensor(index), copy.deepcopy(self)
        for tensor in _member_tensors(network):
            tensor.data = tensor.data[chosen.to(tensor.device)]
        return network

    @classmethod
    def concatenate(cls, networks: Sequence["Network"]) -> "Network":
        """Return a network with copies of the members of several networks of the same ``structure``."""
        network = copy.deepcopy(networks[0])
        sources = zip(*map(_member_tensors, networks), strict=True)
        for tensor, tensors in zip(_member_tensors(network), sources, strict=True):
            tensor.data = torch.cat([each.data for each in tensors])
        return network

    def structure(self) -> tuple[Any, ...]:
        """Return the properties that networks must share to be concatenated: names, shapes of a member, and dtype."""
        tensors = [*self.named_parameters(), *self.named_buffers()]
        shapes = [(name, tuple(t.shape[1:]) if t.dim() > 1 else tuple(t.tolist())) for name, t in tensors]
        return (*shapes, self.inputs.dtype)

    def copy_statistics(self, dtype: torch.dtype) -> tuple[InputLayer, tuple[np.ndarray, np.ndarray] | None]:
        """Return a copy of the input layer for another network, and the statistics of the target."""
        inputs = copy.deepcopy(self.inputs)
        inputs.dtype = dtype
        if self.target_center is None or self.target_scale is None:
            return inputs, None
        return inputs, (self.target_center[:, 0].cpu().numpy(), self.target_scale[:, 0].cpu().numpy())

    # input scale

    @torch.no_grad()
    def match_input_scale(self, other: "Network") -> None:
        """Add factors on the inputs if ``other`` has them, otherwise multiply them into the weights."""
        if self.scale is not None and other.scale is None:
            self.linears[0].weight.copy_(self._first_weight())
            self.scale = None
        elif self.scale is None and other.scale is not None:
            self.scale = copy.deepcopy(other.scale).to(self.head.weight.device)

    def scales_weights(self, n_rows: int) -> bool:
        """Return whether factors on the inputs are multiplied into the weights in training.

        This is the case if there are fewer weights than inputs in a batch and no skip connection uses the scaled
        inputs.
        """
        return not self.has_skip[0] and n_rows > self.linears[0].weight.shape[2]

    def _first_weight(self) -> Tensor:
        """Return the weight of the first layer, multiplied by the factors on its inputs."""
        weight = self.linears[0].weight
        return weight if self.scale is None else weight * self.scale.weight.transpose(1, 2)

    # inspection

    @torch.no_grad()
    def feature_norms(self) -> np.ndarray:
        """Return the norm ``(members, features)`` of each feature's weights in the first layer.

        Batch normalization is folded into the weights. Inputs that are always 0 do not count.
        """
        norm = next(iter(self.norms), None)
        factor = norm.as_affine()[0] if isinstance(norm, BatchNorm) else 1.0
        squares = (self._first_weight() * factor).double().square().sum(2).cpu()
        nonzero = self._repeat_numeric(self.inputs.nonzero_inputs()).cpu()
        squares[:, : nonzero.shape[1]] *= nonzero
        total = squares.new_zeros(len(squares), self.inputs.n_features)
        return total.index_add_(1, self.feature_index(), squares).sqrt_().numpy()

    @torch.no_grad()
    def effective_layers(self, log_link: bool = False) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the weights ``(fan_in, fan_out)`` and the bias ``(fan_out,)`` of each layer of the first member.

        Batch normalization is folded into them, and the last layer is in the units of the target or, with a log link,
        of its logarithm. Layer normalization and skip connections are not included.
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

    # computation

    @torch.no_grad()
    def update_batch_norm(self, batches: Iterable[Batch]) -> None:
        """Recompute the statistics of batch normalization from all rows, without dropout.

        The rows of a batch are normalized by its own statistics. With a single batch, the statistics of all layers are
        exact.
        """
        norms = [norm for norm in self.norms if isinstance(norm, BatchNorm)]
        try:
            for norm in norms:
                norm.pooled_weight = torch.zeros_like(norm.n_batches)
            for batch in batches if norms else ():
                self(batch.inputs, batch.levels, batch.weight)
        finally:
            for norm in norms:
                norm.pooled_weight = None

    def prepare(self, numbers: Tensor, levels: Tensor | None, target: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return the inputs, the codes to embed, and the standardized target of rows."""
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
        dropout: Dropout | None = None,
        blend: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the raw output ``(members, rows, n_raw)`` of inputs and codes to embed.

        ``weight`` ``(members, rows)`` contains the row weights of a training batch, for batch normalization. If it is
        None, each row is predicted independently. ``blend`` mixes the embedding vectors of the categories in the same
        way as ``x`` was mixed.
        """
        training, scale, input_scale = weight is not None, self.scale, None
        if self.numeric is not None:
            x = self.numeric(x) if training else self.numeric.predict(x)
        if self.embeddings is not None:
            vectors = self.embeddings(levels)
            x = torch.cat([x, vectors if blend is None else blend(vectors)], dim=-1)
        if scale is not None and training and self.scales_weights(x.shape[1]):
            input_scale = scale.weight
        elif scale is not None:
            x = scale(x)
        if dropout is not None and is_nonzero(self.input_dropout):
            x = dropout.drop(x, self.input_dropout)
        limit: float = getattr(self.activation, "negative_limit", 0.0)
        in_place: bool = getattr(self.activation, "inplace_safe", False)  # saves memory and the time to access it
        for linear, norm, rate, has_skip in zip_longest(self.linears[:-1], self.norms, self.dropout, self.has_skip):
            before = x
            x = linear(x, input_scale) if training else linear.predict(x)
            input_scale = None
            if norm is not None:
                x = norm(x, weight)
            x = apply_activation(self.activation, x)
            if dropout is not None and is_nonzero(rate):
                x = dropout.drop(x, rate, limit, in_place)
            if has_skip:
                x = (x + before).mul_(SQRT_HALF)
        return self.head(x) if training else self.head.predict(x)


def _member_tensors(network: Network) -> Iterator[Tensor]:
    return (tensor for tensor in (*network.parameters(), *network.buffers()) if tensor.dim() > 1)
