"""A stream gives its rows part by part: each is trained on once, and what was learned of the first stays."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import _fit_context
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call

from .._utils.device import DeviceConfig
from .._utils.threads import torch_threads
from ..data.split import MemberSplit
from ..network.config import NetworkConfig
from ..network.pretrained import PretrainedSource
from ..training import schedules
from ..training.callbacks import check_callbacks
from ..training.config import TrainingConfig
from ..training.optimizers.registry import SOLVERS, solvers_with
from .base import RegularizedMLP
from .sklearn_callbacks import FitProgress, with_callbacks


def takes_parts(estimator: Any) -> bool:
    """Return whether the parameters allow ``partial_fit``; raise an ``AttributeError`` with the reason if not."""
    if estimator.solver in solvers_with("full_batch"):
        raise AttributeError(f"solver={estimator.solver!r} takes all rows at once: use another solver.")
    if estimator.swa_start is not None:
        raise AttributeError("swa_start needs the end of a training, which a stream does not have: set swa_start=None.")
    return True


class StreamingMLP(RegularizedMLP):
    """An estimator that also learns from a stream."""

    @available_if(takes_parts)
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one pass over the given rows, with the constant learning rate ``learning_rate_init``.

        The first call learns encoders and statistics from its rows, which should be many and in random order. Later
        calls, and calls after ``fit``, keep them. All members are trained on all rows: ``learning_rate``, ``max_iter``
        and early stopping do not apply.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Training rows. Category levels that the first call did not contain are unknown.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the rows, relative to the mean weight of the first call.

        Returns
        -------
        self : estimator
            The fitted estimator.
        """
        return self._partial_fit(X, y, sample_weight)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, *classes: Any) -> Self:
        """Train one pass over the rows; a call that raises leaves an estimator that was fitted as it was."""
        check_callbacks(self.callbacks)
        scale_invariant = SOLVERS[self.solver].scale_invariant
        network_config = NetworkConfig.from_estimator(self, scale_invariant, self._continues)
        training_config = _steady(TrainingConfig.of(self))
        source = PretrainedSource.from_estimator(self, network_config)
        part = self._check_rows(X, y, sample_weight, source, True, *classes)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        progress = FitProgress(self, X, y, metadata, 1, lambda net: self._fitted(net.snapshot()))
        with torch_threads(self.n_threads), torch.inference_mode(False), torch.enable_grad():
            rows = MemberSplit(part, [np.arange(len(part))] * self.n_members, None, [], self._stream_place(len(part)))
            net = self._make_net(network_config, training_config, source, rows, progress.hooks)
            if self._continues:
                net.resume(self.net_)
            net.train_one_pass(X, y, part.rows(rows.train_index, rows.device_config, self._weight_unit))
            self._set_fitted(net, progress.hooks)
            self._warn_training(net)
        progress.close(lambda: self._fitted(self.net_))
        return self

    def _stream_place(self, n_rows: int) -> DeviceConfig:
        """Device, precision and rows of a step: what "auto" leaves open goes by the first call, in float32."""
        if self._continues:
            return DeviceConfig.of(self, n_rows, (self.net_.batch_size, self.net_.module_.inputs.dtype))
        first = DeviceConfig.of(self, n_rows)
        return DeviceConfig.of(self, n_rows, (first.batch_size, torch.float32))


def _steady(training_config: TrainingConfig) -> TrainingConfig:
    """The course of a training whose end is not known: the learning rate follows no schedule."""
    return replace(training_config, schedule=schedules.constant, plateau_patience=None)


def check_classes(class_weight: Any, classes: Any, known: np.ndarray | None) -> np.ndarray:
    """All classes of a stream, which are ``known`` after the first call; in scikit-learn's sentences."""
    if isinstance(class_weight, str):
        raise ValueError(
            f"class_weight={class_weight!r} is not supported for partial_fit, which does not know how often each class "
            "will come. Use compute_class_weight('balanced', classes=classes, y=y) on a large enough sample, and give "
            "the weights as a dict."
        )
    stand_in = SimpleNamespace(classes_=known)
    _check_partial_fit_first_call(stand_in, classes)
    return stand_in.classes_
