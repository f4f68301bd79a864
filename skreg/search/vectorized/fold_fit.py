"""The fit of a candidate on one fold: its preparation, its current score, and the finished estimator."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from sklearn.base import clone, is_classifier
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score, root_mean_squared_error
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params
from torch import Tensor

from ..._utils.threads import torch_threads
from ...data.batches import MemberRows
from ...estimators.base import PreparedFit, RegularizedMLP, prepare_fit
from ...estimators.fitting import encode
from ...estimators.prediction import with_known_output
from ...training.history import EpochRecord, history_of
from ...training.net import Net
from ..scoring import SharedInputs

N_COPIES = 8
"""Copies of a weight in training: itself, its start, gradient, two moments, best, average, and temporary ones."""


def network_of(estimator: Any) -> tuple[str | None, RegularizedMLP | None]:
    """Return the last step's name and the network that an estimator is or ends with, if this package defines it."""
    name, last = estimator.steps[-1] if isinstance(estimator, Pipeline) and estimator.steps else (None, estimator)
    return name, last if isinstance(last, RegularizedMLP) and type(last).fit is RegularizedMLP.fit else None


class FoldData(NamedTuple):
    """Rows of a fold as the network receives them."""

    X: Any
    y: Any
    weight: Any = None
    X_test: Any = None
    y_test: Any = None
    score_params: dict[str, Any] | None = None  # further arguments of the scorer
    preceding: Pipeline | None = None  # the fitted steps before the network

    @classmethod
    def of_fold(cls, inputs: SharedInputs, estimator: Any, fold: int) -> Self:
        """Split the rows, and transform them by the steps of ``estimator`` before the network."""
        train, test = (np.asarray(rows) for rows in inputs.splits[fold])
        X, y = _safe_split(estimator, inputs.X, inputs.y, train)
        X_test, y_test = _safe_split(estimator, inputs.X, inputs.y, test, train)
        fit_params = _check_method_params(inputs.X, params=inputs.settings["fit_params"], indices=train)
        weight = next(iter(fit_params.values()), None)
        score_params = _check_method_params(inputs.X, params=inputs.settings["score_params"], indices=test)
        preceding = None
        if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
            preceding = clone(estimator[:-1])
            X = preceding.fit_transform(X, y)
            X_test = preceding.transform(X_test)
        return cls(X, y, weight, X_test, y_test, score_params, preceding)


@dataclass(eq=False)
class FoldFit:
    """The fit of a candidate on one fold."""

    estimator: Any  # the network, or the Pipeline that ends with it
    data: FoldData
    prepared: PreparedFit
    test: MemberRows | None = None  # the test rows, if the score is computed after every epoch
    raw: list[Tensor | None] = field(default_factory=list)  # raw output of each member for these rows, or None
    epochs: list[EpochRecord] = field(default_factory=list)
    seconds: float = 0.0  # share of the training time
    ended: bool = False  # whether training has ended or was abandoned
    is_scored: bool = True  # whether the score is that of ``raw``
    _score: Any = np.nan

    @classmethod
    def prepare(cls, estimator: Any, data: FoldData, template: Self | None = None, scores_epochs: bool = False) -> Self:
        """Perform all steps before training; ``estimator`` is modified as by ``fit``.

        A template is a fit on the same rows that differs only in hyperparameters of the members. Encoders, statistics
        and row tensors are taken from it.
        """
        network: Any = network_of(estimator)[1]
        prepared = prepare_fit(network, data.X, data.y, data.weight, None if template is None else template.prepared)
        if template is not None or not scores_epochs:
            return cls(estimator, data, prepared, None if template is None else template.test)
        with torch_threads(network.n_threads):
            encoded, split = encode(network, data.X_test), prepared.split
            all_rows = [np.arange(len(encoded))] * split.n_members
            return cls(estimator, data, prepared, encoded.rows(all_rows, split.device_config))

    @property
    def net(self) -> Net:
        """The net; after training, it is in the same state as if it had been trained alone."""
        return self.prepared.net

    @property
    def n_members(self) -> int:
        """Number of members."""
        return self.net.module_.n_members

    @property
    def n_weights(self) -> int:
        """Number of weights of a member."""
        return sum(parameter[0].numel() for parameter in self.net.module_.parameters())

    @property
    def n_bytes(self) -> int:
        """Approximate memory that the training takes."""
        module, validation = self.net.module_, self.prepared.validation
        widths = sum(linear.weight.shape[1] for linear in module.linears)
        rows = len(self.prepared.train) + (0 if validation is None else len(validation) * module.inputs.width)
        step = self.net.batch_size * widths * 4
        n_bytes = module.inputs.dtype.itemsize * (N_COPIES * self.n_weights + step) + 8 * rows
        return int(self.n_members * n_bytes)

    @property
    def stack_key(self) -> tuple[Any, ...]:
        """Properties that fits must have in common to be trained as one net."""
        net, n_threads = self.net, self.prepared.estimator.n_threads
        n_steps = -(-len(self.prepared.train) // net.batch_size)
        dtypes = [linear.matmul_dtype for linear in net.module_.linears]
        no_validation = self.prepared.validation is None
        return (*net.module_.structure(), *dtypes, net.batch_size, n_steps, no_validation, n_threads)

    def score(self, scorer: Callable[..., Any]) -> Any:
        """Return the score on the test rows if training ended now; NaN while a member has no finite weights."""
        raw = [member for member in self.raw if member is not None]
        if not self.is_scored and len(raw) == len(self.raw):
            self.is_scored = True
            data, params = self.data, self.data.score_params or {}
            with torch_threads(self.prepared.estimator.n_threads):
                known = torch.stack(raw)
            view = with_known_output(self.prepared.estimator, self.net, data.X_test, known)
            quick = None if params else quick_scorer(scorer, view, data.y_test)
            self._score = (quick or scorer)(view, data.X_test, data.y_test, **params)
        return self._score

    def end_training(self) -> None:
        """Complete the net's records once all of its members have stopped."""
        self.ended = True
        net, monitor = self.net, self.prepared.monitor
        net.validation_name_ = None if monitor is None else monitor.name
        net.stopping_.active &= ~net.stopping_.diverged
        net.epoch_ = len(self.epochs)
        net.history = history_of(self.epochs, monitor)

    def finish(self) -> Any:
        """Perform all steps after training, and return the fitted estimator."""
        start = time.perf_counter()
        self.prepared.finish()
        if self.data.preceding is not None:
            self.estimator.steps[:-1] = self.data.preceding.steps
        self.seconds += time.perf_counter() - start
        return self.estimator


def quick_scorer(scorer: Any, estimator: Any, y: Any) -> Callable[[Any, Any, Any], float] | None:
    """Return a function that computes the score of a common scorer for a one-dimensional target; None for others.

    For a few hundred rows, a scorer's input validation takes ten times as long as the score itself, which matters if
    scores are computed after every epoch.
    """
    if np.ndim(y) != 1 or getattr(scorer, "_kwargs", None):
        return None
    if type(scorer).__name__ == "_PassthroughScorer":
        return _accuracy if is_classifier(estimator) else _r2
    quick: dict[tuple[Any, Any], Callable[[Any, Any, Any], float]] = {
        (accuracy_score, 1): _accuracy,
        (log_loss, -1): _log_likelihood,
        (r2_score, 1): _r2,
        (mean_squared_error, -1): lambda view, X, y: -_mean_square(view, X, y),
        (root_mean_squared_error, -1): lambda view, X, y: -float(np.sqrt(_mean_square(view, X, y))),
    }
    return quick.get((getattr(scorer, "_score_func", None), getattr(scorer, "_sign", None)))


def _accuracy(view: Any, X: Any, y: Any) -> float:
    return float(np.mean(view.predict(X) == np.asarray(y)))


def _log_likelihood(view: Any, X: Any, y: Any) -> float:
    probabilities = view.predict_proba(X)
    own = probabilities[np.arange(len(probabilities)), np.searchsorted(view.classes_, np.asarray(y))]
    return float(np.log(own.clip(np.finfo(own.dtype).eps, 1)).mean())


def _mean_square(view: Any, X: Any, y: Any) -> float:
    return float(np.square(np.asarray(y) - view.predict(X)).mean())


def _r2(view: Any, X: Any, y: Any) -> float:
    spread = float(np.var(np.asarray(y, dtype=np.float64)))
    return 1 - _mean_square(view, X, y) / spread if spread else np.nan
