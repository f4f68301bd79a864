"""What carries an augmentation out: partners, features and random numbers of a training batch."""

from collections.abc import Callable
from typing import NamedTuple, Self

import torch
from torch import Generator, Tensor

from ..data.batches import Batch
from ..network.generators import MemberGenerators, NoisePool
from ..network.input_layer import InputLayer
from .augmentations import Augmentable

WINDOWS_OF_A_STEP = 4

UsersAugmentation = Callable[[Tensor, Generator], Tensor]


class Mix(NamedTuple):
    """The two targets of each row of a mixed batch.

    Attributes
    ----------
    own, partner : pair of Tensor
        Target ``(members, rows, ...)`` and weight ``(members, rows)``.
    blend : callable or None
        Mixes the vectors of embedded categories ``(members, rows, width)``, where rows were mixed.
    """

    own: tuple[Tensor, Tensor]
    partner: tuple[Tensor, Tensor]
    blend: Callable[[Tensor], Tensor] | None

    def loss(self, criterion: Callable[[Tensor, Tensor, Tensor], Tensor], raw: Tensor) -> Tensor:
        """Loss of each member ``(members,)``, of its own targets and of the partners'."""
        return criterion(raw, *self.own) + criterion(raw, *self.partner)


class PerMember:
    """An augmentation of the user's: called for each member with its real rows and its generator.

    Parameters
    ----------
    function : callable (inputs, generator) -> inputs
        From the columns ``(rows, columns)`` of one member's batch to as many.
    """

    def __init__(self, function: UsersAugmentation) -> None:
        self.function = function

    def __call__(self, batch: "AugmentedBatch") -> None:
        """Replace the columns of ``batch``."""
        inputs = batch.inputs.clone()
        for rows, generator in zip(batch.real_rows(inputs), batch.generators, strict=True):
            changed = self.function(rows.clone(), generator)
            if not isinstance(changed, Tensor) or changed.shape != rows.shape:
                got = tuple(changed.shape) if isinstance(changed, Tensor) else type(changed).__name__
                raise ValueError(
                    "The callable given as 'augmentation' must return a tensor of the shape that it was given, "
                    f"{tuple(rows.shape)}. Got {got} instead."
                )
            rows.copy_(changed)
        batch.inputs = inputs


class Augmenter:
    """What makes a training batch suffer an augmentation.

    Parameters
    ----------
    augmentation : callable
        Changes an ``AugmentedBatch``.
    sizes : int Tensor of shape (members, steps)
        Rows of each batch, without padding.
    inputs : Inputs
        Which columns belong to which feature.
    streams : Streams
        Where random numbers come from.
    """

    def __init__(
        self,
        augmentation: Callable[["AugmentedBatch"], None],
        sizes: Tensor,
        inputs: InputLayer,
        streams: MemberGenerators,
    ) -> None:
        device, height, sizes = inputs.fill.device, int(sizes.max()), sizes.clamp(min=1)
        self.augmentation, self.generators = augmentation, streams.generators
        self.columns, self.codes = (owners.to(device) for owners in inputs.feature_index())
        self.n_numbers, self.n_indicators = inputs.n_numbers, len(inputs.indicators)
        self.indicators, self.missing = inputs.indicators, inputs.missing_row()
        self.n_features = inputs.n_features
        self.position = torch.arange(height, device=device).view(1, -1, 1)
        self.members = torch.arange(len(sizes), device=device).unsqueeze(1)
        self.sizes_on_cpu = sizes.T.tolist()
        self.sizes = sizes.T.to(device)[..., None, None]
        self.windows = NoisePool(streams, WINDOWS_OF_A_STEP, height * max(self.n_features, 2), inputs.dtype, device)

    @classmethod
    def of(
        cls,
        augmentation: Callable[["AugmentedBatch"], None] | None,
        sizes: Tensor,
        inputs: InputLayer,
        streams: MemberGenerators,
    ) -> Self | None:
        """The augmenter of an augmentation; None for none, and where no feature says anything."""
        return None if augmentation is None or not inputs.n_features else cls(augmentation, sizes, inputs, streams)

    def begin_epoch(self, n_steps: int) -> None:
        """Draw what decides over ``n_steps`` steps."""
        self.windows.begin_epoch(n_steps)
        self.step = -1

    @torch.no_grad()
    def __call__(self, batch: Batch) -> tuple[Batch, Mix | None]:
        """The next batch of the epoch, augmented, and its targets where they are mixed."""
        self.step += 1
        self.windows.begin_step(self.step)
        changed = AugmentedBatch(self, batch)
        self.augmentation(changed)
        return changed.result()


class AugmentedBatch(Augmentable):
    """A batch while it is augmented.

    Parameters
    ----------
    augmenter : Augmenter
        What does not change with the batch.
    batch : Batch
        The batch as it was.
    """

    def __init__(self, augmenter: Augmenter, batch: Batch) -> None:
        self._fixed, self._batch = augmenter, batch
        self.inputs, self.codes = batch.inputs, batch.levels
        self.n_features, self.generators = augmenter.n_features, augmenter.generators
        self._size = augmenter.sizes[augmenter.step]
        self._partner: Tensor | None = None
        self._mix: Mix | None = None
        self._weight = batch.weight
        self._blend: Callable[[Tensor], Tensor] | None = None

    def real_rows(self, x: Tensor) -> list[Tensor]:
        """Views of the rows of ``x`` ``(members, rows, ...)`` that are no padding, one for each member."""
        return [rows[:size] for rows, size in zip(x, self._fixed.sizes_on_cpu[self._fixed.step], strict=True)]

    # what augmentations are written with, see Augmentable

    def uniform(self, count: int) -> Tensor:
        return self._fixed.windows.uniform(count).unsqueeze(1)

    def uniform_cells(self) -> Tensor:
        return self._cells(self._fixed.windows.uniform, self.n_features)

    def _cells(self, draw: Callable[[int], Tensor], width: int) -> Tensor:
        rows = self.inputs.shape[1]
        return draw(rows * width).view(-1, rows, width)

    def _others(self, count: int) -> Tensor:
        """Row numbers ``(members, rows, count)`` of other rows: a turn by ``count`` random steps. Padding stays."""
        size, position = self._size, self._fixed.position
        turn = 1 + (self.uniform(count) * (size - 1)).long().clamp(max=size - 2).clamp(min=0)
        other = position + turn
        return torch.where(position < size, torch.where(other < size, other, other - size), position)

    def _partners_of(self, x: Tensor) -> Tensor:
        if self._partner is None:
            self._partner = self._others(1)[..., 0]
        return x[self._fixed.members, self._partner]

    def _replace(self, features: Tensor, inputs: Tensor, codes: Tensor | None) -> None:
        self.inputs = torch.where(features[..., self._fixed.columns], inputs, self.inputs)
        if self.codes is not None and codes is not None:
            self.codes = torch.where(features[..., self._fixed.codes], codes, self.codes)

    def replace_by_partner(self, features: Tensor) -> None:
        codes = None if self.codes is None else self._partners_of(self.codes)
        self._replace(features, self._partners_of(self.inputs), codes)

    def replace_by_others(self, features: Tensor) -> None:
        others = self._others(self.n_features)
        codes = None if self.codes is None else self.codes.gather(1, others[..., self._fixed.codes])
        self._replace(features, self.inputs.gather(1, others[..., self._fixed.columns]), codes)

    def replace_by_missing(self, features: Tensor) -> None:
        inputs, codes = self._fixed.missing
        self._replace(features, inputs, codes)

    def shake(self, spread: float) -> None:
        fixed = self._fixed
        noise = spread * self._cells(fixed.windows.normal, fixed.n_numbers)
        numbers, indicators, others = self.inputs.split(
            [fixed.n_numbers, fixed.n_indicators, self.inputs.shape[2] - fixed.n_numbers - fixed.n_indicators], dim=-1
        )
        if fixed.n_indicators:
            noise[..., fixed.indicators] *= 1 - indicators
        self.inputs = torch.cat([numbers + noise, indicators, others], dim=-1)

    def mix(self, share: Tensor) -> None:
        share = share.to(self.inputs.dtype)
        self.inputs = torch.lerp(self._partners_of(self.inputs), self.inputs, share)
        self._blend = lambda vectors: torch.lerp(self._partners_of(vectors), vectors, share)

    def mix_targets(self, share: Tensor) -> None:
        share = share[..., 0].to(self._batch.weight.dtype)
        target, weight = self._batch.target, self._batch.weight
        own, partners = share * weight, (1 - share) * self._partners_of(weight)
        self._weight = own + partners
        self._mix = Mix((target, own), (self._partners_of(target), partners), None)

    def result(self) -> tuple[Batch, Mix | None]:
        """The batch as it is now, and its targets if they are mixed."""
        mix = None if self._mix is None else self._mix._replace(blend=self._blend)
        return Batch(self.inputs, self.codes, self._batch.target, self._weight), mix
