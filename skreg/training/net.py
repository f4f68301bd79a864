"""The net trains all members: skorch's lifecycle and callbacks, our epoch.

What is skorch's: construction, devices, callbacks, ``history``, pickling. What is not, because a table fits in memory:
there is no DataLoader (batches are slices of permuted tensors), no read-back of the loss and no history entry for each
batch, and the callbacks of a batch are called only where somebody listens.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, PrintLog
from skorch.history import History
from torch import Tensor

from ..data.batches import MemberRows
from ..network.generators import MemberGenerators
from ..network.inference import PREDICT_ROWS, evaluate, predict_encoded, prepare_rows
from ..network.network import Network
from .config import TrainingConfig
from .early_stopping import Stopping
from .history import write_epoch
from .monitor import Monitor
from .optimizers.base import FirstOrder, Rate
from .plateau import ReduceOnPlateau
from .state import TrainingState
from .time_limit import TimeBudget
from .trainer import Trainer

KEPT_PASSES = 1000
_BATCH_EVENTS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


def _finite(loss: Tensor) -> Tensor:
    """Whether a loss is one that float32 can hold, in whatever precision it was computed."""
    return torch.isfinite(loss.float())


class Net(NeuralNet):
    """A skorch net whose members train side by side.

    Parameters
    ----------
    module : Network
        The layers, weights drawn.
    criterion : callable () -> Loss
        Makes the loss.
    course : Course
        How they are trained.
    max_epochs, batch_size : int
        Length of the training, rows of a step.
    seeds : list of int
        A seed for the stream of each member.
    patience, min_delta
        See ``Stopping``.
    **kwargs
        skorch's: ``callbacks``, ``device``, ``verbose``.

    Attributes
    ----------
    temperature : float
        Divisor of the raw output where it becomes probabilities; it does not change the loss.
    residuals : Residuals or None
        Residuals of held-out rows, in regression.
    """

    module_: Network
    criterion_: Any
    temperature: float = 1.0
    residuals: Any = None

    def __init__(
        self,
        module: Network,
        criterion: Callable[[], Any],
        training_config: TrainingConfig,
        *,
        max_epochs: int,
        batch_size: int,
        seeds: list[int],
        patience: int | None = None,
        min_delta: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            module, criterion, lr=training_config.rate, max_epochs=max_epochs, batch_size=batch_size, **kwargs
        )
        self.training_config = training_config
        self.seeds = seeds
        self.patience = patience
        self.min_delta = min_delta

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return [("epoch_timer", EpochTimer()), ("print_log", PrintLog())] if self.verbose else []

    def initialize_optimizer(self, triggered_directly: bool | None = None) -> "Net":
        """Make the optimiser, and the bookkeeping that starts with it."""
        members, wait = self.module_.n_members, self.training_config.plateau
        self.optimizer_ = self.training_config.optimizer(self.module_)
        names = {id(parameter): name for name, parameter in self.module_.named_parameters()}
        self.updated_ = self.training_config.solver, [names[id(parameter)] for parameter in self.optimizer_.parameters]
        self.stopping_ = Stopping(members, self.patience, self.min_delta)
        self.reduce_on_plateau_ = None if wait is None else ReduceOnPlateau(members, wait, self.min_delta)
        self.generators_ = MemberGenerators(self.seeds)
        self.average_ = self.training_config.average(self._trained())
        self.time_budget_ = TimeBudget(self.max_epochs, self.training_config.ends)
        self.training_state_: TrainingState | None = None
        self.epoch_ = 0
        self.validation_name_: str | None = None
        self.stop_training_ = False
        return self

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None, **fit_params: Any) -> "Net":
        """Train; unlike skorch's, an interrupt is passed on once the best weights are back in place.

        Parameters
        ----------
        X, y
            The user's own, for callbacks.
        classes
            Ignored, as in skorch.
        **fit_params
            ``train``, ``valid`` and ``monitor``, see ``fit_loop``.
        """
        if not self.initialized_:
            self.initialize()
        self.notify("on_train_begin", X=X, y=y)
        try:
            self.fit_loop(X, y, **fit_params)
        finally:
            self._restore_best(fit_params["train"])
            self.notify("on_train_end", X=X, y=y)
        return self

    def train_one_pass(self, X: Any, y: Any, rows: MemberRows) -> None:
        """Train once on ``rows``, and keep where the training stands in ``training_state_`` for ``follow``.

        With an average the weights put in place are not those that training goes on from. A member that diverges is
        left as it was before.
        """
        before = self._position()
        self.notify("on_train_begin", X=X, y=y)
        self.fit_loop(X, y, self.epoch_ + 1, train=rows)
        after = self._position()
        self._restore_best(rows)
        after.undo(before, self.stopping_.diverged)
        self.training_state_ = after
        self.notify("on_train_end", X=X, y=y)

    def _position(self) -> TrainingState:
        return TrainingState(self._trained(), self.optimizer_, self.average_)

    def fit_loop(
        self,
        X: Any,
        y: Any = None,
        epochs: int | None = None,
        *,
        train: MemberRows,
        valid: MemberRows | None = None,
        monitor: Monitor | None = None,
        **fit_params: Any,
    ) -> "Net":
        """Train until epoch ``epochs``, or until every member has stopped.

        Parameters
        ----------
        X, y
            Unused here.
        epochs : int or None
            Last epoch; None is ``max_epochs``.
        train, valid : Rows
            What each member trains on, and what it is watched on.
        monitor : Monitor or None
            Its score on ``valid``.
        **fit_params
            None are known.
        """
        for _ in self.epochs(self.max_epochs if epochs is None else epochs, train, valid, monitor):
            pass
        return self

    def epochs(self, last: int, train: MemberRows, valid: MemberRows | None, monitor: Monitor | None) -> Iterator[int]:
        """Train on, epoch by epoch as they are asked for; see ``fit_loop``."""
        self.validation_name_ = None if monitor is None else monitor.name
        trainer, tell = self._trainer(train), self._notify_batch if self._listening else None
        validation = None if valid is None else prepare_rows(self.module_, valid, reused=True)
        while self.epoch_ < last and bool(self.stopping_.active.any()) and not self.stop_training_:
            if (span := self.time_budget_.span(self.epoch_)) is None:
                break
            self.notify("on_epoch_begin", dataset_train=train, dataset_valid=valid)
            loss = trainer.epoch(self._rate(), *span, tell, self.time_budget_)
            finite = _finite(loss) & self._finite_weights()
            self.epoch_ += 1
            if self.average_ is not None:
                self.average_.after_epoch(span[1])
            with self._averaged(train), self.time_budget_.judging():
                self._evaluate_epoch(loss, finite, validation, monitor)
            self.notify("on_epoch_end", dataset_train=train, dataset_valid=valid)
            yield self.epoch_

    def _evaluate_epoch(
        self, loss: Tensor, finite: Tensor, validation: MemberRows | None, monitor: Monitor | None
    ) -> None:
        """Look at the weights of an epoch: score them, write it down, and see who stops and what is kept."""
        score = None
        if validation is not None and monitor is not None:
            score, watched_loss = self._validate(validation, monitor)
            finite = finite & _finite(watched_loss)
        self._record(loss, score, monitor)
        if self.reduce_on_plateau_ is not None:
            self.reduce_on_plateau_.update(-loss if score is None else score)
        counts = self.average_ is None or self.average_.begun
        self.stopping_.update(
            self.epoch_, score, finite, self._trained(), counts, self.time_budget_.may_stop(self.epoch_)
        )

    def _rate(self) -> Rate:
        """Learning rate at factor 1, of all members or of each."""
        if self.reduce_on_plateau_ is None:
            return self.lr
        return self.reduce_on_plateau_.rate(self.lr, self.stopping_.active, self.module_.head.weight)

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Begin a row of ``history``, numbered by the epoch, which is not its place where earlier ones were dropped."""
        super().on_epoch_begin(net, dataset_train=dataset_train, dataset_valid=dataset_valid, **kwargs)
        self.history.record("epoch", self.epoch_ + 1)

    @contextmanager
    def _averaged(self, train: MemberRows) -> Iterator[None]:
        """The averaged weights in the place of the last ones, where there is an average."""
        if self.average_ is None or not self.average_.begun:
            yield
            return
        with self.average_.in_place():
            if self.average_.exact:
                self.module_.update_batch_norm(prepare_rows(self.module_, train).eval_batches(PREDICT_ROWS))
            yield

    def _validate(self, validation: MemberRows, monitor: Monitor) -> tuple[Tensor, Tensor]:
        """Score and loss of each member on its validation rows."""
        raw, target, weight = evaluate(self.module_, validation)
        loss = self._mean_loss(raw, target, weight)
        return monitor(raw, loss, self.stopping_.active).double(), loss

    def _mean_loss(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        return self.criterion_(raw, target, weight / weight.sum(1, keepdim=True)).cpu().double()

    def _restore_best(self, train: MemberRows) -> None:
        """Put the weights in place that each member shall have; those of the last epoch once their loss is known."""
        if self.stopping_.pending is not None:
            inputs, levels, target, weight = next(prepare_rows(self.module_, train).eval_batches(PREDICT_ROWS))
            with self._averaged(train):
                raw = predict_encoded(self.module_, inputs, levels)
                self.stopping_.confirm(_finite(self._mean_loss(raw, target, weight)))
        self.stopping_.restore(self._trained())

    def _trainer(self, train: MemberRows) -> Trainer:
        criterion, rows = self.criterion_.in_training, prepare_rows(self.module_, train, reused=True)
        return Trainer(
            self.module_,
            self.training_config,
            criterion,
            self.optimizer_,
            self.average_,
            rows,
            self.batch_size,
            self.generators_,
        )

    def _trained(self, module: Network | None = None) -> list[Tensor]:
        """The tensors that training changes: parameters, and the running statistics of batch norm."""
        module = self.module_ if module is None else module
        return [*module.parameters(), *module.norms.buffers()]

    def _finite_weights(self) -> Tensor:
        sums = torch.stack([tensor.detach().flatten(1).sum(1) for tensor in self._trained()])
        return torch.isfinite(sums).all(0).cpu()

    def _record(self, loss: Tensor, score: Tensor | None, monitor: Monitor | None) -> None:
        """Write the epoch into ``history``, means over the members that still train."""
        on = self.stopping_.active
        write_epoch(self.history, loss[on], None if score is None else score[on], monitor, self._rates()[on])

    def _rates(self) -> Tensor:
        """The members' learning rates in the last step."""
        rate = self.optimizer_.param_groups[0]["lr"]
        members = self.module_.n_members
        return rate.double().cpu() if isinstance(rate, Tensor) else torch.full((members,), rate, dtype=torch.float64)

    def snapshot(self) -> "Net":
        """The net as if training ended now: a copy that later epochs do not change."""
        copied = copy.copy(self)
        module = copy.deepcopy(self.module_)
        copied.__dict__.update(
            module=module, module_=module, callbacks=[], callbacks_=[], optimizer_=None, average_=None
        )
        copied.history = copy.deepcopy(self.history)
        copied.stopping_ = copy.deepcopy(self.stopping_)
        copied.stopping_.confirm(~copied.stopping_.diverged)
        copied.stopping_.restore(copied._trained())
        return copied

    def finish(self, hooks: list[Callback], keep_state: bool) -> None:
        """Let go of what only training needs, so that a pickled estimator is small.

        Parameters
        ----------
        hooks : list of Callback
            Callbacks that are not the user's.
        keep_state : bool
            Whether the optimiser's moments stay, for a warm start.
        """
        users = [callback for callback in self.get_params(deep=False)["callbacks"] if callback not in hooks]
        initialized = [(name, callback) for name, callback in self.__dict__["callbacks_"] if callback not in hooks]
        self.__dict__.update(callbacks=users, callbacks_=initialized)
        self.stopping_.kept = None
        self.module_.zero_grad()
        self.__dict__.update(module=Network, average_=None)
        if not keep_state:
            self.__dict__["optimizer_"] = None

    def state_dict(self) -> dict[str, Any]:
        """All that a running fit knows at the end of an epoch, in tensors and plain values.

        Loaded into a net of the same parameters, training goes on as if it had never stopped. The order of the rows
        is drawn anew each epoch from ``streams``, so it is in here too.
        """
        state = {
            "epoch": self.epoch_,
            "module": self.module_.state_dict(),
            "optimizer": self.optimizer_.state_dict(),
            "stopping": self.stopping_.state_dict(),
            "streams": self.generators_.state_dict(),
            "plateau": None if self.reduce_on_plateau_ is None else self.reduce_on_plateau_.state_dict(),
            "average": None if self.average_ is None else self.average_.state_dict(),
            "history": self.history.to_list(),
        }
        return copy.deepcopy(state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state``, in an initialised net of the same parameters."""
        state = copy.deepcopy(state)
        self.epoch_ = state["epoch"]
        self.module_.load_state_dict(state["module"])
        self.optimizer_.load_state_dict(state["optimizer"])
        self.stopping_.load_state_dict(state["stopping"])
        self.generators_.load_state_dict(state["streams"])
        if self.reduce_on_plateau_ is not None:
            self.reduce_on_plateau_.load_state_dict(state["plateau"])
        if self.average_ is not None:
            self.average_.load_state_dict(state["average"])
        self.history = History(state["history"])

    def resume(self, earlier: "Net") -> None:
        """Go on from the weights of an earlier net, and from its optimiser's moments and streams where they fit.

        A line search starts anew: its history is one of other rows, and of other weights than the best ones. So do
        moments of a training in which a member diverged, which are not finite.
        """
        known = copy.deepcopy(earlier.module_)
        known.match_input_scale(self.module_)
        self.module_.load_state_dict(known.state_dict())
        self.generators_.load_state_dict(earlier.generators_.state_dict())
        same = earlier.optimizer_ is not None and earlier.updated_ == self.updated_
        sound = not bool(earlier.stopping_.diverged.any())
        if same and sound and isinstance(self.optimizer_, FirstOrder):
            self.optimizer_.load_state_dict(earlier.optimizer_.state_dict())

    def follow(self, earlier: "Net") -> None:
        """Go on where the passes of an earlier net ended, or from its weights if it was fitted otherwise.

        ``history`` keeps the last ``KEPT_PASSES`` epochs, so that a stream does not fill the memory.
        """
        self.resume(earlier)
        self.epoch_ = earlier.epoch_
        self.history = History(list(earlier.history)[1 - KEPT_PASSES :])
        self.stopping_.hold(self.epoch_, self._trained())
        for _, callback in self.callbacks_:
            if type(callback) is PrintLog:
                callback.first_iteration_ = False  # the table goes on, without another head
        if earlier.training_state_ is not None:
            optimizer = self.optimizer_ if earlier.updated_ == self.updated_ else None
            earlier.training_state_.load(self._trained(), optimizer, self.average_)

    @property
    def _listening(self) -> bool:
        """Whether a callback wants to hear of batches."""
        return any(
            getattr(type(callback), event, None) is not getattr(Callback, event)
            for _, callback in self.callbacks_
            for event in _BATCH_EVENTS
        )

    def _notify_batch(self, event: str, **told: Any) -> None:
        """Let callbacks hear of a batch, and write it down when it ends."""
        if event == "on_batch_end":
            self.history.record_batch("train_loss", told["loss"].detach().mean().item())
            self.history.record_batch("train_batch_size", told["batch"].target.shape[1])
        self.notify(event, **told)
