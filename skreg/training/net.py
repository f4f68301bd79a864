"""The net, which trains all members. skorch provides construction, callbacks and device handling.

This file has the loop over epochs, and ``trainer.py`` the steps of one epoch. The loop is not that of skorch, because
the rows of a table fit in memory. Batches are slices of permuted tensors instead of a DataLoader. The losses of batches
stay on the device, and batch events are sent only if a callback implements them.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from skorch.callbacks import Callback, PrintLog
from skorch.history import History
from torch import Tensor

from ..data.batches import Batch, MemberRows
from ..network.generators import MemberGenerators
from ..network.inference import PREDICT_ROWS, block_height, evaluate, predict_encoded, prepare_rows
from ..network.network import Network
from .config import TrainingConfig
from .early_stopping import EarlyStopping, Monitor
from .history import EpochRecord, write_epoch
from .learning_rates import ReduceOnPlateau
from .losses.base import Loss
from .optimizers.base import FirstOrderOptimizer, Rate
from .skorch_net import SkorchNet
from .state import TrainingState
from .time_limit import TimeBudget
from .trainer import Trainer

MAX_RAW_ELEMENTS = 1 << 24
"""Largest number of raw outputs for which the validation loss is computed at once, 64 MB of float32."""
MAX_STREAM_HISTORY = 1000
"""Number of epochs kept in the history by ``partial_fit``."""


def _is_finite(loss: Tensor) -> Tensor:
    """Return whether losses are finite in float32, in which they are not necessarily computed."""
    return torch.isfinite(loss.float())


class Net(SkorchNet):
    """A skorch net whose members are trained side by side.

    ``seeds`` contains the seed of each member's generator. Other keyword arguments are parameters of skorch:
    ``callbacks``, ``device``, ``verbose``.

    Callbacks use the net as that of skorch.
    """

    module: Network | type[Network]
    module_: Network
    temperature: float = 1.0  # set by the classifier after training
    residuals: Any = None  # set by the regressor after training
    callbacks: list[Any]
    callbacks_: list[tuple[str, Callback]]
    lr: Rate
    optimizer_: Any  # a SolverOptimizer, None after training

    def __init__(
        self,
        module: Network,
        criterion: Callable[[], Loss],
        training_config: TrainingConfig,
        *,
        max_epochs: int,
        batch_size: int,
        seeds: list[int],
        patience: float | None = None,
        min_delta: float = 0.0,
        **kwargs: Any,
    ) -> None:
        lr = training_config.learning_rate
        super().__init__(module, criterion, lr=lr, max_epochs=max_epochs, batch_size=batch_size, **kwargs)
        self.training_config = training_config
        self.seeds = seeds
        self.patience = patience
        self.min_delta = min_delta

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return [("print_log", PrintLog())] if self.verbose else []

    def initialize_optimizer(self, *_: Any) -> Self:
        """Create the optimizer and everything else that changes during training."""
        members, config = self.module_.n_members, self.training_config
        self.optimizer_ = config.optimizer(self.module_)
        self.stopping_ = EarlyStopping(members, self.patience, self.min_delta)
        self.reduce_on_plateau_: ReduceOnPlateau | None = None
        if config.plateau_patience is not None:
            self.reduce_on_plateau_ = ReduceOnPlateau(members, config.plateau_patience, self.min_delta)
        self.generators_ = MemberGenerators(self.seeds)
        self.average_ = config.average(self.trained_tensors())
        self.time_budget_ = TimeBudget(self.max_epochs, config.time_limit_ends)
        self.training_state_: TrainingState | None = None
        self.epoch_ = 0
        self.validation_name_: str | None = None
        self.stop_training_ = False
        names = {id(parameter): name for name, parameter in self.module_.named_parameters()}
        self.optimizer_key_ = config.solver, [names[id(parameter)] for parameter in self.optimizer_.parameters]
        return self

    # training

    def train(
        self,
        X: Any,
        y: Any,
        train_rows: MemberRows,
        validation_rows: MemberRows | None = None,
        monitor: Monitor | None = None,
    ) -> None:
        """Train for ``max_epochs`` epochs or until every member has stopped, and restore the best weights.

        The best weights are also restored if training is interrupted. X and y are only passed to callbacks.
        """
        self.notify("on_train_begin", X=X, y=y)
        try:
            for _ in self.epochs(self.max_epochs, train_rows, validation_rows, monitor):
                pass
        finally:
            self._restore_best(train_rows)
            self.notify("on_train_end", X=X, y=y)

    def train_one_pass(self, X: Any, y: Any, rows: MemberRows) -> None:
        """Train one epoch on ``rows``, and store the state from which ``resume`` continues in ``training_state_``.

        With weight averaging, the stored weights are not those used for prediction. The state of a member that diverges
        is reset.
        """
        before = TrainingState(self.trained_tensors(), self.optimizer_, self.average_)
        self.notify("on_train_begin", X=X, y=y)
        for _ in self.epochs(self.epoch_ + 1, rows, None, None):
            pass
        after = TrainingState(self.trained_tensors(), self.optimizer_, self.average_)
        self._restore_best(rows)
        after.reset_members(self.stopping_.diverged, before)
        self.training_state_ = after
        self.notify("on_train_end", X=X, y=y)

    def epochs(
        self, last: int, train_rows: MemberRows, validation_rows: MemberRows | None, monitor: Monitor | None
    ) -> Iterator[int]:
        """Train up to epoch ``last``, and yield the number of each epoch after it."""
        self.validation_name_ = None if monitor is None else monitor.name
        trainer = Trainer(
            self.module_,
            self.training_config,
            self.criterion_.in_training,
            self.optimizer_,
            self.average_,
            prepare_rows(self.module_, train_rows, reused=True),
            self.batch_size,
            self.generators_,
        )
        notify, plateau = self._notify_batch if self._has_batch_callbacks else None, self.reduce_on_plateau_
        validation = None if validation_rows is None else prepare_rows(self.module_, validation_rows, reused=True)
        while self.epoch_ < last and bool(self.stopping_.active.any()) and not self.stop_training_:
            span = self.time_budget_.next_span(self.epoch_)
            if span is None:
                break
            self.notify("on_epoch_begin", dataset_train=train_rows, dataset_valid=validation_rows)
            lr = self.lr if plateau is None else plateau.rate(self.lr, self.stopping_.active, self.module_.head.weight)
            loss = trainer.train_epoch(lr, *span, notify, self.time_budget_)
            finite = _is_finite(loss) & self._has_finite_weights()
            self.epoch_ += 1
            if self.average_ is not None:
                self.average_.after_epoch(span[1])
            with self._averaged(train_rows), self.time_budget_.validation():
                self._evaluate_epoch(loss, finite, validation, monitor)
            self.notify("on_epoch_end", dataset_train=train_rows, dataset_valid=validation_rows)
            yield self.epoch_

    def _evaluate_epoch(
        self, loss: Tensor, finite: Tensor, validation: MemberRows | None, monitor: Monitor | None
    ) -> None:
        """Score the weights of an epoch, record it, and decide which members stop and which weights are kept."""
        score = None
        if validation is not None and monitor is not None:
            score, validation_loss = self._validate(validation, monitor)
            finite = finite & _is_finite(validation_loss)
        self._record(loss, score, monitor)
        if self.reduce_on_plateau_ is not None:
            self.reduce_on_plateau_.update(-loss if score is None else score)
        uses_patience = self.average_ is None or self.average_.has_started
        may_stop = self.time_budget_.may_stop(self.epoch_)
        self.stopping_.update(self.epoch_, score, finite, self.trained_tensors(), uses_patience, may_stop)

    def _validate(self, validation: MemberRows, monitor: Monitor) -> tuple[Tensor, Tensor]:
        """Return the score and loss of each member on its validation rows."""
        raw: list[Tensor] = []
        losses: list[Tensor] = []
        total = validation.index_and_weight()[1].sum(1, keepdim=True)
        row_elements = validation.n_members * self.module_.head.weight.shape[2]
        with self.time_budget_.evaluation():
            for block in validation.blocks(max(PREDICT_ROWS, MAX_RAW_ELEMENTS // row_elements)):
                of_block, target, weight = evaluate(self.module_, block)
                losses.append(self._mean_loss(of_block, target, weight, total))
                if monitor.uses_raw or not raw:
                    raw.append(of_block)
        loss = torch.stack(losses).sum(0)
        return monitor(torch.cat(raw, 1) if len(raw) > 1 else raw[0], loss, self.stopping_.active).double(), loss

    def _record(self, loss: Tensor, score: Tensor | None, monitor: Monitor | None) -> None:
        """Write the epoch to the history, averaged over the members that are still training."""
        active = self.stopping_.active
        seconds = self.time_budget_.epoch_seconds()
        record = EpochRecord(loss[active], None if score is None else score[active], self._last_lr()[active], seconds)
        write_epoch(self.history, record, monitor)

    def _last_lr(self) -> Tensor:
        """Return the learning rate of each member in the last step."""
        lr: Rate = self.optimizer_.param_groups[0]["lr"]
        if isinstance(lr, Tensor):
            return lr.double().cpu()
        return torch.full((self.module_.n_members,), lr, dtype=torch.float64)

    @contextmanager
    def _averaged(self, train_rows: MemberRows) -> Iterator[None]:
        """Replace the weights by their average, if there is one."""
        if self.average_ is None or not self.average_.has_started:
            yield
            return
        with self.average_.swapped_in():
            if self.average_.recomputes_statistics:
                self.module_.update_batch_norm(self._eval_batches(train_rows))
            yield

    def _restore_best(self, train_rows: MemberRows) -> None:
        """Restore the weights that each member keeps; those of the last epoch only if their loss is finite."""
        if self.stopping_.pending is not None:
            batch = next(self._eval_batches(train_rows))
            with self._averaged(train_rows):
                raw = predict_encoded(self.module_, batch.inputs, batch.levels)
                self.stopping_.confirm(_is_finite(self._mean_loss(raw, batch.target, batch.weight)))
        self.stopping_.restore(self.trained_tensors())

    def _eval_batches(self, rows: MemberRows) -> Iterator[Batch]:
        return prepare_rows(self.module_, rows).eval_batches(block_height(self.module_))

    def _mean_loss(self, raw: Tensor, target: Tensor, weight: Tensor, total: Tensor | None = None) -> Tensor:
        """Return the mean loss of each member, ``(members,)`` on the CPU; ``total`` is the weight of all its rows."""
        loss: Tensor = self.criterion_(raw, target, weight / (weight.sum(1, keepdim=True) if total is None else total))
        return loss.cpu().double()

    def trained_tensors(self) -> list[Tensor]:
        """Return the tensors that training changes: parameters and running statistics of batch normalization."""
        return [*self.module_.parameters(), *self.module_.norms.buffers()]

    def _has_finite_weights(self) -> Tensor:
        sums = torch.stack([tensor.detach().flatten(1).sum(1) for tensor in self.trained_tensors()])
        return torch.isfinite(sums).all(0).cpu()

    # callbacks

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Add a row with the number of the epoch to the history, whose earlier rows may have been dropped."""
        super().on_epoch_begin(net, dataset_train=dataset_train, dataset_valid=dataset_valid, **kwargs)
        self.history.record("epoch", self.epoch_ + 1)

    @property
    def _has_batch_callbacks(self) -> bool:
        return any(
            getattr(type(callback), event, None) is not getattr(Callback, event)
            for _, callback in self.callbacks_
            for event in ("on_batch_begin", "on_batch_end", "on_grad_computed")
        )

    def _notify_batch(self, event: str, **arguments: Any) -> None:
        """Send a batch event to the callbacks, and write the batch to the history when it ends."""
        if event == "on_batch_end":
            self.history.record_batch("train_loss", arguments["loss"].detach().mean().item())
            self.history.record_batch("train_batch_size", arguments["batch"].target.shape[1])
        self.notify(event, **arguments)

    # state

    def snapshot(self) -> "Net":
        """Return a copy as if the training ended now, which later epochs do not change."""
        copied = object.__new__(type(self))  # copy.copy would serialize the weights
        copied.__dict__.update(vars(self))
        copied.module_ = copied.module = copy.deepcopy(self.module_)
        copied.callbacks, copied.callbacks_ = [], []
        copied.optimizer_ = copied.average_ = None
        copied.history = copy.deepcopy(self.history)
        copied.stopping_ = copy.deepcopy(self.stopping_)
        copied.stopping_.confirm(~copied.stopping_.diverged)
        copied.stopping_.restore(copied.trained_tensors())
        return copied

    def finish(self, internal_callbacks: list[Callback], keep_optimizer: bool) -> None:
        """Delete everything that only training needs, so that a pickled estimator is small.

        The optimizer can be kept for a warm start. ``internal_callbacks`` are the callbacks that the user did not pass.
        """
        self.callbacks = [callback for callback in self.callbacks if callback not in internal_callbacks]
        self.callbacks_ = [(name, callback) for name, callback in self.callbacks_ if callback not in internal_callbacks]
        self.stopping_.kept = None
        self.module_.zero_grad()
        self.module, self.average_ = Network, None
        if not keep_optimizer:
            self.optimizer_ = None

    def state_dict(self) -> dict[str, Any]:
        """Return the complete training state at the end of an epoch as tensors and plain values.

        If a net with the same parameters loads the state, it continues training exactly. The row order of each epoch is
        drawn from ``generators``, which are part of the state.
        """
        state = {name: component.state_dict() for name, component in self._components().items()}
        return copy.deepcopy({"epoch": self.epoch_, "history": self.history.to_list(), **state})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of ``state_dict`` in an initialized net with the same parameters."""
        state = copy.deepcopy(state)
        self.epoch_, self.history = state["epoch"], History(state["history"])
        for name, component in self._components().items():
            component.load_state_dict(state[name])

    def _components(self) -> dict[str, Any]:
        """Return the objects whose state changes during training."""
        names = ("module", "optimizer", "stopping", "generators", "reduce_on_plateau", "average")
        components = {name: getattr(self, f"{name}_") for name in names}
        return {name: component for name, component in components.items() if component is not None}

    def load_earlier_weights(self, earlier: "Net") -> None:
        """Load the weights and generators of an earlier net, and the state of its optimizer if it is compatible.

        The state of a line search is not loaded because it belongs to other rows and to weights other than the best
        ones. The optimizer state is not loaded either if a member diverged, because it is not finite.
        """
        module = copy.deepcopy(earlier.module_)
        module.match_input_scale(self.module_)
        self.module_.load_state_dict(module.state_dict())
        self.generators_.load_state_dict(earlier.generators_.state_dict())
        fits = earlier.optimizer_ is not None and earlier.optimizer_key_ == self.optimizer_key_
        is_finite = not bool(earlier.stopping_.diverged.any())
        if fits and is_finite and isinstance(self.optimizer_, FirstOrderOptimizer):
            self.optimizer_.load_state_dict(earlier.optimizer_.state_dict())

    def resume(self, earlier: "Net") -> None:
        """Continue training an earlier net pass by pass, or start from its weights if it was trained by ``train``.

        The history keeps the last ``MAX_STREAM_HISTORY`` epochs, so that its size is bounded.
        """
        self.load_earlier_weights(earlier)
        self.epoch_ = earlier.epoch_
        self.history = History(list(earlier.history)[1 - MAX_STREAM_HISTORY :])
        self.stopping_.keep_initial(self.epoch_, self.trained_tensors())
        for _, callback in self.callbacks_:
            if type(callback) is PrintLog:
                callback.first_iteration_ = False  # continue the table without another header
        if earlier.training_state_ is not None:
            optimizer = self.optimizer_ if earlier.optimizer_key_ == self.optimizer_key_ else None
            earlier.training_state_.load(self.trained_tensors(), optimizer, self.average_)
