"""The training steps of one epoch, for all members."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..data.batches import Batch, MemberRows
from ..network.dropout import Dropout
from ..network.generators import MemberGenerators
from ..network.network import Network
from .augmented_batch import Augmenter, Criterion, MixedTargets
from .averaging import WeightAverage
from .config import TrainingConfig
from .optimizers.base import Rate
from .optimizers.registry import SolverOptimizer
from .time_limit import TimeBudget
from .update_step import UpdateStep

Notify = Callable[..., None]
"""Sends the batch event with the given name to the callbacks."""


class Trainer:
    """Train all members of a network, one epoch at a time."""

    def __init__(
        self,
        module: Network,
        training_config: TrainingConfig,
        criterion: Criterion,
        optimizer: SolverOptimizer,
        average: WeightAverage | None,
        rows: MemberRows,
        batch_size: int,
        generators: MemberGenerators,
    ) -> None:
        self._module, self._schedule, self._criterion = module, training_config.schedule, criterion
        self._average, self._generators = average, generators
        self._rows, self._batch_size, self._sizes = rows, batch_size, rows.batch_sizes(batch_size)
        penalties, constraints = training_config.penalties(module), training_config.constraints(module)
        self._update = UpdateStep(optimizer, penalties, constraints, training_config.clip_norm)
        if average is not None:
            average.start()  # the weights may have been initialized from data or loaded after the average was created
        masks, self._dropout = module.dropout_masks(), None
        if masks.shape[1]:
            width = max(linear.weight.shape[1] for linear in module.linears)
            largest = (self._sizes.amax(1) * width).tolist()
            self._dropout = Dropout(generators, masks, largest, module.inputs.dtype, module.head.weight.device)
        augmentation, inputs = training_config.augmentation, module.inputs
        self._augmenter = None
        if augmentation is not None and inputs.n_features:
            self._augmenter = Augmenter(augmentation, self._sizes, inputs, generators)

    def train_epoch(
        self, lr: Rate, start: float, stop: float, notify: Notify | None, time_budget: TimeBudget | None = None
    ) -> Tensor:
        """Train one epoch and return the mean loss of each member, ``(members,)`` on the CPU.

        ``lr`` is the learning rate before the schedule's factor; ``start`` and ``stop`` are the training progress at
        the start and end of the epoch. The time budget can end the epoch before its last step.
        """
        module, n_steps = self._module, self._sizes.shape[1]
        total = torch.zeros(module.n_members, dtype=module.inputs.dtype, device=module.head.weight.device)
        orders = self._generators.permutations(self._rows.lengths)
        for source in (self._dropout, self._augmenter):
            if source is not None:
                source.begin_epoch(n_steps)
        for step, batch in enumerate(self._rows.training_batches(orders, self._batch_size)):
            share = None if time_budget is None else time_budget.epoch_share(step, n_steps)
            if share == 1:
                break
            n_done, mixed = step + 1, None
            if self._augmenter is not None:
                batch, mixed = self._augmenter(batch)
            if notify is not None:
                notify("on_batch_begin", batch=batch, training=True)
            progress = start + ((stop - start) * step / n_steps if share is None else (stop - start) * share)
            raw, loss = self._step(lr * self._schedule(progress), batch, mixed, notify)
            total += loss.detach()
            if self._average is not None:
                self._average.after_step()
            if notify is not None:
                notify("on_batch_end", batch=batch, training=True, y_pred=raw, loss=loss)
        self._update.zero_grad()
        return (total / n_done).cpu().double()

    def _step(self, lr: Rate, batch: Batch, mixed: MixedTargets | None, notify: Notify | None) -> tuple[Tensor, Tensor]:
        """Train on a batch; return the raw output and the losses before the update."""
        module, criterion = self._module, self._criterion
        outputs: list[Tensor] = []

        def evaluate() -> Tensor:
            self._update.zero_grad()
            raw: Tensor = module(batch.inputs, batch.levels, batch.weight, self._dropout, mixed and mixed.blend)
            loss = criterion(raw, batch.target, batch.weight) if mixed is None else mixed.loss(criterion, raw)
            torch.autograd.backward(loss.sum())  # with a gradient per member, it would import torch's compiler
            if notify is not None:
                notify("on_grad_computed", named_parameters=list(module.named_parameters()), batch=batch)
            outputs.append(raw)
            return loss

        loss = self._update.step(lr, evaluate)
        return outputs[0], loss
