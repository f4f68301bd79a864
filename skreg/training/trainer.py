"""A trainer takes all members once through their rows, step by step."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..data.batches import Batch, MemberRows
from ..network.dropout import Dropout
from ..network.generators import MemberGenerators
from ..network.network import Network
from .augmented_batch import Augmenter, Mix
from .averaging import WeightAverage
from .config import TrainingConfig
from .optimizers.base import Rate
from .time_limit import TimeBudget
from .update_step import SolverOptimizer, UpdateStep

Tell = Callable[..., None]


class Trainer:
    """One epoch of all members at a time.

    Parameters
    ----------
    module : Network
        What is trained.
    course : Course
        How.
    criterion : callable (raw, target, weight) -> Tensor of shape (members,)
        The loss in training.
    optimizer : FirstOrder or Lbfgs
        Of the module's parameters.
    average : WeightAverage or None
        Follows the weights.
    rows : MemberRows
        The rows, prepared.
    batch_size : int
        Most rows of a step.
    streams : Streams
        The members' random numbers.
    """

    def __init__(
        self,
        module: Network,
        training_config: TrainingConfig,
        criterion: Callable[[Tensor, Tensor, Tensor], Tensor],
        optimizer: SolverOptimizer,
        average: WeightAverage | None,
        rows: MemberRows,
        batch_size: int,
        streams: MemberGenerators,
    ) -> None:
        self._module, self._course, self._criterion, self._average = module, training_config, criterion, average
        self._rows, self._batch_size, self._streams = rows, batch_size, streams
        self._sizes = rows.batch_sizes(batch_size)
        self._solver = UpdateStep(
            optimizer,
            training_config.penalties(module),
            training_config.constraints(module),
            training_config.clip_norm,
            training_config.group_penalties(module),
        )
        if average is not None:
            average.begin()  # weights are fitted to the rows, or taken from an earlier fit, after they were drawn
        self._noise = self._make_noise()
        self._augmenter = Augmenter.of(training_config.augmentation, self._sizes, module.inputs, streams)

    def _make_noise(self) -> Dropout | None:
        module = self._module
        takes = module.dropout_masks()
        if not takes.shape[1]:
            return None
        largest = int(self._sizes.max()) * max(linear.weight.shape[1] for linear in module.linears)
        return Dropout(self._streams, takes, largest, module.inputs.dtype, module.head.weight.device)

    def epoch(self, lr: Rate, first: float, last: float, tell: Tell | None, pace: TimeBudget | None = None) -> Tensor:
        """Train an epoch, and give the mean loss of each member, on the CPU: the one read-back.

        Parameters
        ----------
        lr : float or Tensor of shape (members,)
            Learning rate at factor 1.
        first, last : float
            Progress of the training when the epoch begins, and when it ends.
        tell : callable (event, **told) or None
            Hears of each batch.
        pace : Pace or None
            Knows whether the epoch has to end before its last step.
        """
        module, n_steps = self._module, self._sizes.shape[1]
        total = torch.zeros(module.n_members, dtype=module.inputs.dtype, device=module.head.weight.device)
        orders = self._streams.permutations(self._rows.lengths)
        for source in (self._noise, self._augmenter):
            if source is not None:
                source.begin_epoch(n_steps)
        for step, given in enumerate(self._rows.training_batches(orders, self._batch_size)):
            hurry = None if pace is None else pace.share(step, n_steps)
            if hurry == 1:
                break
            done = step + 1
            batch, mix = (given, None) if self._augmenter is None else self._augmenter(given)
            if tell is not None:
                tell("on_batch_begin", batch=batch, training=True)
            progress = first + ((last - first) * step / n_steps if hurry is None else (last - first) * hurry)
            raw, loss = self._step(lr * self._course.schedule(progress), batch, mix, tell)
            total += loss.detach()
            if self._average is not None:
                self._average.after_step()
            if tell is not None:
                tell("on_batch_end", batch=batch, training=True, y_pred=raw, loss=loss)
        self._solver.zero_grad()
        return (total / done).cpu().double()

    def _step(self, lr: Rate, batch: Batch, mix: Mix | None, tell: Tell | None) -> tuple[Tensor, Tensor]:
        """Train on a batch, and give the raw output and the losses before it."""
        seen: list[Tensor] = []
        loss = self._solver.step(lr, partial(self._evaluate, batch, mix, tell, seen))
        return seen[0], loss

    def _evaluate(self, batch: Batch, mix: Mix | None, tell: Tell | None, seen: list[Tensor]) -> Tensor:
        """The losses of a batch, their gradients left in place, and the raw output appended to ``seen``."""
        module, criterion = self._module, self._criterion
        self._solver.zero_grad()
        raw = module(batch.inputs, batch.levels, batch.weight, self._noise, mix and mix.blend)
        loss = criterion(raw, batch.target, batch.weight) if mix is None else mix.loss(criterion, raw)
        loss.sum().backward()  # with gradients given for each member torch would import its compiler
        if tell is not None:
            tell("on_grad_computed", named_parameters=list(module.named_parameters()), batch=batch)
        seen.append(raw)
        return loss
