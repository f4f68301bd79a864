"""The fit of a candidate on one fold: its preparation, its current score, and the finished estimator."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import getattr_static
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import clone
from sklearn.metrics._scorer import _PassthroughScorer, _Scorer
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from ..._utils.torch_settings import torch_settings
from ...data.batches import MemberRows
from ...estimators.base import PreparedFit, RegularizedMLP, prepare_fit
from ...estimators.classifier import RegularizedMLPClassifier
from ...estimators.fitting import encode
from ...estimators.regressor import RegularizedMLPRegressor
from ...network.inference import RowOutputs, evaluate, prepare_rows
from ...training.history import EpochRecord, history_of
from ...training.net import Net
from ..scoring import SharedInputs
from .quick_score import quick_score

N_COPIES = 8
"""Copies of a weight in training: itself, its start, gradient, two moments, best, average, and temporary ones."""
ORIGINAL_ATTRIBUTES = {
    known: {name: getattr_static(known, name) for name in dir(known)}
    for known in (Pipeline, RegularizedMLPClassifier, RegularizedMLPRegressor)
}
"""Attributes of the classes whose fits and scores the search reproduces, as defined when this module was imported."""
IGNORED_OVERRIDES = {
    *("__dict__", "__eq__", "__hash__", "__init__", "__init_subclass__", "__replace__", "__repr__", "__weakref__"),
}
"""Attributes that may be overridden because neither a fit nor a score depends on them."""


def last_step(estimator: Any) -> tuple[str | None, Any]:
    """Return name and estimator of the last step of a Pipeline; for other estimators, None and the estimator."""
    name, last = estimator.steps[-1] if isinstance(estimator, Pipeline) and estimator.steps else (None, estimator)
    return name, last


def reproducible_network(estimator: Any) -> RegularizedMLP | None:
    """Return the network that an estimator is or ends with, if ``FoldFit`` reproduces the fit of the estimator.

    The result is None if the network is of another kind, or if a method of it or of the Pipeline is overridden.
    """
    _, last = last_step(estimator)
    is_network = isinstance(last, RegularizedMLPClassifier | RegularizedMLPRegressor)
    return last if is_network and not any(map(overridden_method, (estimator, last))) else None


def overridden_method(estimator: Any) -> str | None:
    """Return the name of a method of a Pipeline or a network that is not the original one, None if there is none.

    A method is overridden by a subclass, by an attribute of the object, or if the method of the class is replaced.
    """
    known = next((one for one in ORIGINAL_ATTRIBUTES if isinstance(estimator, one)), None)
    if known is None:
        return None
    attributes = {name: value for base in reversed(type(estimator).__mro__) for name, value in vars(base).items()}
    for name, original in ORIGINAL_ATTRIBUTES[known].items():
        actual = attributes.get(name)
        is_method = hasattr(type(original), "__get__") or hasattr(type(actual), "__get__")
        is_request = name.startswith("set_") and name.endswith("_request")  # scikit-learn creates one for each class
        replaced = actual is not original or name in vars(estimator)
        if is_method and replaced and not is_request and name not in IGNORED_OVERRIDES:
            return name
    return None


def depends_on_predictions(scorer: Any, score_params: dict[str, Any] | None) -> bool:
    """Return whether a score depends on the estimator only through its predictions for the scored rows."""
    return type(scorer) in (_Scorer, _PassthroughScorer) and not score_params


def depends_on_labels(scorer: Any) -> bool:
    """Return whether the score of a classifier depends only on the labels that it predicts."""
    return type(scorer) is _PassthroughScorer or getattr(scorer, "_response_method", None) == "predict"


class FoldData(NamedTuple):
    """Rows of a fold: the training rows as the network receives them, and the test rows."""

    X: Any
    y: Any
    weight: Any = None
    X_test: Any = None  # as the network receives them if ``is_test_transformed``
    y_test: Any = None
    score_params: dict[str, Any] | None = None  # further arguments of the scorer
    preceding: Pipeline | None = None  # the fitted steps before the network
    is_test_transformed: bool = False

    @classmethod
    def of_fold(cls, inputs: SharedInputs, estimator: Any, fold: int, transforms_test: bool = False) -> Self:
        """Split the rows, and transform the training rows by the steps of ``estimator`` before the network."""
        train, test = (np.asarray(rows) for rows in inputs.splits[fold])
        X, y = _safe_split(estimator, inputs.X, inputs.y, train)
        X_test, y_test = _safe_split(estimator, inputs.X, inputs.y, test, train)
        fit_params = _check_method_params(inputs.X, params=inputs.settings["fit_params"], indices=train)
        weight = next(iter(fit_params.values()), None)
        score_params = _check_method_params(inputs.X, params=inputs.settings["score_params"], indices=test)
        preceding = None
        if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
            preceding = clone(Pipeline(estimator.steps[:-1], memory=estimator.memory))
            X = preceding.fit_transform(X, y)
            X_test = preceding.transform(X_test) if transforms_test else X_test
        return cls(X, y, weight, X_test, y_test, score_params, preceding, transforms_test)


@dataclass(eq=False)
class FoldFit:
    """The fit of a candidate on one fold."""

    estimator: Any  # the network, or the Pipeline that ends with it
    data: FoldData
    prepared: PreparedFit
    test: MemberRows | None = None  # the test rows, if ``data`` has them as the network receives them
    held_out: MemberRows | None = None  # rows on which the predictions for the test rows are calibrated
    outputs: list[RowOutputs | None] | None = None  # of these rows, if they are known for the current weights
    epochs: list[EpochRecord] = field(default_factory=list)
    seconds: float = 0.0  # share of the training time
    ended: bool = False  # whether training has ended or was abandoned
    is_scored: bool = False  # whether the score is that of the weights that would be kept
    _score: Any = np.nan

    @classmethod
    def prepare(cls, estimator: Any, data: FoldData, template: Self | None = None, scorer: Any = None) -> Self:
        """Perform all steps before training; ``estimator`` is modified as by ``fit``.

        A template is a fit on the same rows that differs only in hyperparameters of the members. Encoders, statistics
        and row tensors are taken from it. The ``scorer`` is that of ``score``.
        """
        network: Any = last_step(estimator)[1]
        prepared = prepare_fit(network, data.X, data.y, data.weight, None if template is None else template.prepared)
        fit = cls(estimator, data, prepared)
        if template is not None:
            fit.test, fit.held_out = template.test, template.held_out
        elif data.is_test_transformed:
            with torch_settings(network.n_threads):
                encoded, split = encode(network, data.X_test), prepared.split
                fit.test = encoded.rows([np.arange(len(encoded))] * split.n_members, split.device_config)
                # the temperature does not change which class a single member predicts
                if fit.n_members > 1 or not depends_on_labels(scorer):
                    fit.held_out = prepared.calibration_rows()
        return fit

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
        """Return the score on the test rows if training ended with the current weights of the net.

        It is NaN while a member has no finite weights.
        """
        if not bool(self.net.stopping_.best_epoch.all()) or (self.is_scored and self.data.is_test_transformed):
            return self._score
        data = self.data
        with torch_settings(self.prepared.estimator.n_threads):
            estimator = self._preview()
            self._score = quick_score(scorer, estimator, data.X_test, data.y_test) if data.is_test_transformed else None
            if self._score is None:
                self._score = scorer(estimator, data.X_test, data.y_test, **(data.score_params or {}))
        self.is_scored = True
        return self._score

    def _preview(self) -> Any:
        """Return the estimator as if training had ended; if the test rows are encoded, it can only predict these."""
        module = self.net.module_
        if self.test is not None:
            test, held_out = self.outputs or [
                None if rows is None else evaluate(module, prepare_rows(module, rows)) for rows in self.scored_rows
            ]
            assert test is not None
            return self.prepared.preview_of_rows(self.data.X_test, test[0], held_out)
        self._write_history()
        network, preceding = self.prepared.preview(), self.data.preceding
        if not isinstance(self.estimator, Pipeline):
            return network
        pipeline = copy.copy(self.estimator)
        pipeline.steps = [*(preceding.steps if preceding else []), (pipeline.steps[-1][0], network)]
        return pipeline

    @property
    def scored_rows(self) -> tuple[MemberRows | None, MemberRows | None]:
        """Rows whose outputs determine the score."""
        return self.test, self.held_out

    def _write_history(self) -> None:
        net, monitor = self.net, self.prepared.monitor
        net.validation_name_ = None if monitor is None else monitor.name
        net.epoch_ = len(self.epochs)
        net.history = history_of(self.epochs, monitor)

    def end_training(self) -> None:
        """Complete the net's records once all of its members have stopped."""
        self.ended = True
        self.net.stopping_.active &= ~self.net.stopping_.diverged
        self._write_history()

    def finish(self) -> Any:
        """Perform all steps after training, and return the fitted estimator."""
        start = time.perf_counter()
        self.prepared.finish()
        if self.data.preceding is not None:
            self.estimator.steps[:-1] = self.data.preceding.steps
        self.seconds += time.perf_counter() - start
        return self.estimator
