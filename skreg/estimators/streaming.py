"""A stream gives its rows part by part: each is trained on once, and what was learned of the first stays."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.multiclass import _check_partial_fit_first_call

from .._utils.device import DeviceConfig
from .._utils.threads import torch_threads
from ..data.split import MemberSplit
from ..network.config import NetworkConfig
from ..network.pretrained import PretrainedSource
from ..training import schedules
from ..training.callbacks import check_callbacks
from ..training.config import TrainingConfig
from .base import RegularizedMLP
from .sklearn_callbacks import FitProgress


class StreamingMLP(RegularizedMLP):
    """An estimator that also learns from a stream."""

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, *classes: Any) -> Self:
        """Train one pass over the rows; a call that raises leaves an estimator that was fitted as it was."""
        check_callbacks(self.callbacks)
        network_config, training_config = NetworkConfig.of(self, self._continues), _steady(TrainingConfig.of(self))
        source = PretrainedSource.of(self, network_config)
        part = self._check_rows(X, y, sample_weight, source, True, *classes)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        progress = FitProgress(self, X, y, metadata, 1, lambda net: self._fitted(net.snapshot()))
        with torch_threads(self.n_threads), torch.inference_mode(False), torch.enable_grad():
            rows = MemberSplit(part, [np.arange(len(part))] * self._n_members, None, [], self._stream_place(len(part)))
            net = self._make_net(network_config, training_config, source, rows, progress.hooks)
            if self._continues:
                net.follow(self.net_)
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


def takes_parts(estimator: Any) -> bool:
    """Whether an estimator's parameters let it learn part by part; an ``AttributeError`` says why not."""
    if estimator.solver == "lbfgs":
        raise AttributeError(f"solver={estimator.solver!r} takes all rows at once: use another solver.")
    if estimator.swa_start is not None or estimator.snapshots:
        raise AttributeError("swa_start and snapshots need the end of a training, which a stream does not have.")
    return True


def _steady(training_config: TrainingConfig) -> TrainingConfig:
    """The course of a training whose end is not known: nothing follows a schedule."""
    constant = schedules.constant
    return replace(training_config, schedule=constant, dropout_schedule=constant, decay_schedule=constant, plateau=None)


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
