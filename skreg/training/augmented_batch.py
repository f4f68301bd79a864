"""Application of an augmentation to training batches: partner rows, features and random numbers."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from ..data.batches import Batch
from ..network.generators import MemberGenerators, NoisePool
from ..network.input_layer import InputLayer

WINDOWS_PER_STEP = 4
"""Largest number of draws that an augmentation makes in a step."""

Criterion = Callable[[Tensor, Tensor, Tensor], Tensor]


class MixedTargets(NamedTuple):
    """The two targets ``(members, rows, ...)`` of each row of a mixed batch, each with its weight ``(members, rows)``.

    If rows were mixed, ``blend`` mixes the vectors of embedded categories ``(members, rows, width)``.
    """

    own: tuple[Tensor, Tensor]
    partner: tuple[Tensor, Tensor]
    blend: Callable[[Tensor], Tensor] | None

    def loss(self, criterion: Criterion, raw: Tensor) -> Tensor:
        """Return the loss of each member ``(members,)``, summed over both targets."""
        return criterion(raw, *self.own) + criterion(raw, *self.partner)


class AugmentedBatch:
    """A training batch while it is augmented: ``inputs`` and category ``codes``.

    The partner of a row is another real row of the same batch and member. In a batch of one row, it is the row itself.
    The original batch is not modified. Random numbers come from each member's generator.
    """

    def __init__(self, augmenter: "Augmenter", batch: Batch) -> None:
        self._augmenter, self._batch = augmenter, batch
        self.inputs, self.codes = batch.inputs, batch.levels
        self.n_features = augmenter.n_features
        self._partner: Tensor | None = None
        self._mixed: MixedTargets | None = None
        self._weight = batch.weight
        self._blend: Callable[[Tensor], Tensor] | None = None

    def uniform(self, count: int) -> Tensor:
        """Draw numbers in [0, 1) for each member: ``(members, 1, count)``."""
        return self._augmenter.noise.uniform(count).unsqueeze(1)

    def uniform_cells(self) -> Tensor:
        """Draw a number in [0, 1) for each row and feature: ``(members, rows, n_features)``."""
        return self._cells(self._augmenter.noise.uniform, self.n_features)

    def _cells(self, draw: Callable[[int], Tensor], width: int) -> Tensor:
        members, rows = self.inputs.shape[:2]
        return draw(rows * width).view(members, rows, width)

    def _draw_rows(self, count: int) -> Tensor:
        """Draw ``count`` rotations of the rows as positions ``(members, rows, count)``; padding keeps its position."""
        size, position = self._augmenter.sizes[self._augmenter.step], self._augmenter.position
        shift = 1 + (self.uniform(count) * (size - 1)).long().clamp(max=size - 2).clamp(min=0)
        shifted = position + shift
        return torch.where(position < size, torch.where(shifted < size, shifted, shifted - size), position)

    def _partners_of(self, x: Tensor) -> Tensor:
        if self._partner is None:
            self._partner = self._draw_rows(1)[..., 0]
        return x[self._augmenter.members, self._partner]

    def _replace(self, features: Tensor, inputs: Tensor, codes: Tensor | None) -> None:
        self.inputs = torch.where(features[..., self._augmenter.columns], inputs, self.inputs)
        if self.codes is not None and codes is not None:
            self.codes = torch.where(features[..., self._augmenter.code_columns], codes, self.codes)

    def replace_by_partner(self, features: Tensor) -> None:
        """Replace ``features``, bool ``(members, 1 or rows, n_features)``, of each row by those of its partner."""
        codes = None if self.codes is None else self._partners_of(self.codes)
        self._replace(features, self._partners_of(self.inputs), codes)

    def replace_by_random_rows(self, features: Tensor) -> None:
        """Replace ``features`` of each row by those of other rows; each feature may come from a different row."""
        rows = self._draw_rows(self.n_features)
        codes = None if self.codes is None else self.codes.gather(1, rows[..., self._augmenter.code_columns])
        self._replace(features, self.inputs.gather(1, rows[..., self._augmenter.columns]), codes)

    def replace_by_missing(self, features: Tensor) -> None:
        """Replace ``features`` of each row by missing values: fill value and indicator, or no category."""
        self._replace(features, *self._augmenter.missing)

    def add_noise(self, std: float) -> None:
        """Add normal noise of standard deviation ``std`` to the scaled numbers that are not missing."""
        indicators, n_numbers = self._augmenter.indicators, self._augmenter.n_numbers
        noise = std * self._cells(self._augmenter.noise.normal, n_numbers)
        if len(indicators):
            noise[..., indicators] *= 1 - self.inputs[..., n_numbers : n_numbers + len(indicators)]
        self.inputs = torch.cat([self.inputs[..., :n_numbers] + noise, self.inputs[..., n_numbers:]], dim=-1)

    def mix(self, share: Tensor) -> None:
        """Replace each row by ``share``, ``(members, 1, 1)``, times itself plus ``1 - share`` times its partner.

        The targets are mixed afterwards.
        """
        share = share.to(self.inputs.dtype)
        self._blend = lambda vectors: torch.lerp(self._partners_of(vectors), vectors, share)
        self.inputs = self._blend(self.inputs)

    def mix_targets(self, share: Tensor) -> None:
        """Weight the loss of each row's target by ``share`` ``(members, 1, 1)``, and its partner's by ``1 - share``."""
        share = share[..., 0].to(self._batch.weight.dtype)
        target, weight = self._batch.target, self._batch.weight
        own, partner = share * weight, (1 - share) * self._partners_of(weight)
        self._weight = own + partner
        self._mixed = MixedTargets((target, own), (self._partners_of(target), partner), self._blend)

    def apply(self, function: Callable[[Tensor, Generator], Tensor]) -> None:
        """Replace the inputs of each member by the result of ``function`` for the member's rows, without padding."""
        inputs, sizes = self.inputs.clone(), self._augmenter.sizes_on_cpu[self._augmenter.step]
        for padded, size, generator in zip(inputs, sizes, self._augmenter.generators, strict=True):
            rows = padded[:size]
            try:
                changed = function(rows.clone(), generator)
            except Exception as error:
                raise ValueError(f"The callable given as 'augmentation' failed: {error}") from error
            if not isinstance(changed, Tensor) or changed.shape != rows.shape:
                got = tuple(changed.shape) if isinstance(changed, Tensor) else type(changed).__name__
                raise ValueError(
                    "The callable given as 'augmentation' must return a tensor of the same shape as its input, "
                    f"{tuple(rows.shape)}. Got {got} instead."
                )
            rows.copy_(changed)
        self.inputs = inputs

    def result(self) -> tuple[Batch, MixedTargets | None]:
        """Return the augmented batch, and its targets if they were mixed."""
        return Batch(self.inputs, self.codes, self._batch.target, self._weight), self._mixed


Augmentation = Callable[[AugmentedBatch], None]


class CallableAugmentation:
    """A user-defined function of the inputs ``(rows, columns)`` and the generator, called for each member."""

    def __init__(self, function: Callable[[Tensor, Generator], Tensor]) -> None:
        self._function = function

    def __call__(self, batch: AugmentedBatch) -> None:
        """Replace the inputs of ``batch``."""
        batch.apply(self._function)


class Augmenter:
    """Apply an augmentation to the batches of an epoch."""

    def __init__(
        self, augmentation: Augmentation, sizes: Tensor, inputs: InputLayer, generators: MemberGenerators
    ) -> None:
        device, heights, sizes = inputs.fill.device, sizes.amax(1), sizes.clamp(min=1)
        self.augmentation, self.generators = augmentation, generators.generators
        self.columns, self.code_columns = (features.to(device) for features in inputs.feature_index())
        self.n_numbers, self.n_features = inputs.n_numbers, inputs.n_features
        self.indicators, self.missing = inputs.indicators, inputs.missing_row()
        self.position = torch.arange(int(heights.max()), device=device).view(1, -1, 1)
        self.members = torch.arange(len(sizes), device=device).unsqueeze(1)
        self.sizes_on_cpu = sizes.T.tolist()
        self.sizes = sizes.T.to(device)[..., None, None]
        longest = (heights * max(self.n_features, 2)).tolist()
        self.noise = NoisePool(generators, WINDOWS_PER_STEP, longest, inputs.dtype, device)

    def begin_epoch(self, n_steps: int) -> None:
        """Draw the random numbers of ``n_steps`` steps."""
        self.noise.begin_epoch(n_steps)
        self.step = -1

    @torch.no_grad()
    def __call__(self, batch: Batch) -> tuple[Batch, MixedTargets | None]:
        """Augment the next batch of the epoch; return it, and its targets if they were mixed."""
        self.step += 1
        self.noise.begin_step(self.step)
        augmented = AugmentedBatch(self, batch)
        self.augmentation(augmented)
        return augmented.result()
