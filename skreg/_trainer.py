"""A trainer takes all members once through their rows, step by step."""

from collections.abc import Callable

import torch
from torch import Tensor

from ._augmenting import Augmenter
from ._averaging import WeightAverage
from ._course import Course
from ._module import Network
from ._random import Noise, Streams
from ._rows import Batches
from ._solvers import Optimizer, Solver

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
    optimizer : Optimizer
        Of the module's parameters.
    average : WeightAverage or None
        Follows the weights.
    batches : Batches
        The rows.
    streams : Streams
        The members' random numbers.
    """

    def __init__(
        self,
        module: Network,
        course: Course,
        criterion: Callable[[Tensor, Tensor, Tensor], Tensor],
        optimizer: Optimizer,
        average: WeightAverage | None,
        batches: Batches,
        streams: Streams,
    ) -> None:
        self._module, self._course, self._criterion, self._average = module, course, criterion, average
        self._batches, self._streams = batches, streams
        self._solver = Solver(optimizer, course.penalties(module), course.constraints(module), course.clip_norm)
        self._noise = self._make_noise()
        self._augmenter = Augmenter.of(course.augmentation, batches, module.inputs, streams)

    def _make_noise(self) -> Noise | None:
        module = self._module
        if not module.n_masks:
            return None
        largest = self._batches.height * max(linear.weight.shape[1] for linear in module.linears)
        return Noise(self._streams, module.n_masks, largest, module.inputs.dtype, module.head.weight.device)

    def epoch(self, lr: float, first: float, last: float, tell: Tell | None) -> Tensor:
        """Train an epoch, and give the mean loss of each member, on the CPU: the one read-back.

        Parameters
        ----------
        lr : float
            Learning rate at factor 1.
        first, last : float
            Progress of the training when the epoch begins, and when it ends.
        tell : callable (event, **told) or None
            Hears of each batch.
        """
        module, course, batches, n_steps = self._module, self._course, self._batches, self._batches.n_steps
        ones = torch.ones(module.n_members, dtype=module.inputs.dtype, device=module.head.weight.device)
        total = torch.zeros_like(ones)
        orders = self._streams.permutations(batches.rows.lengths)
        for source in (self._noise, self._augmenter):
            if source is not None:
                source.begin_epoch(n_steps)
        for step, given in enumerate(batches.epoch(orders, module.prepare, module.inputs.width)):
            batch, mix = (given, None) if self._augmenter is None else self._augmenter(given)
            if tell is not None:
                tell("on_batch_begin", batch=batch, training=True)
            self._solver.zero_grad()
            progress = first + (last - first) * step / n_steps
            if self._noise is not None:
                self._noise.factor = course.dropout_schedule(progress)
            raw = module(batch.inputs, batch.levels, batch.weight, self._noise, mix and mix.blend)
            criterion = self._criterion
            loss = criterion(raw, batch.target, batch.weight) if mix is None else mix.loss(criterion, raw)
            loss.backward(ones)
            total += loss.detach()
            if tell is not None:
                tell("on_grad_computed", named_parameters=list(module.named_parameters()), batch=batch)
            self._solver.step(lr * course.schedule(progress), course.decay_schedule(progress))
            if self._average is not None:
                self._average.after_step()
            if tell is not None:
                tell("on_batch_end", batch=batch, training=True, y_pred=raw, loss=loss)
        self._solver.zero_grad()
        return (total / n_steps).double().cpu()
