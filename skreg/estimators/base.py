"""Base class of the classifier and the regressor, and the steps of a fit.

A fit takes these steps. The files listed with each step contain its code:

1. Validate the parameters, and derive the configurations: ``parameters.py``, ``network/config.py``,
   ``training/config.py``.
2. Check the rows, fit the encoders of X and y, and encode the rows: ``fitting.py``, ``data/table.py``, ``targets.py``.
3. Assign training and validation rows to each member: ``fitting.py``, ``data/split.py``.
4. Learn each member's column statistics, and create the network: ``fitting.py``, ``data/statistics.py``,
   ``network/network.py``.
5. Fit the scale of the initial weights to the rows: ``network/data_driven_init.py``.
6. Train epoch by epoch until early stopping, and restore the best weights: ``training/net.py``.
7. Set the fitted attributes, calibrate on the validation rows, and predict the training rows out of fold: this file,
   ``uncertainty/``.

A prediction encodes the rows, computes the raw output of all members, and decodes it: ``prediction.py``,
``network/inference.py``, ``targets.py``.

The search performs the same steps through ``prepare_fit``, and the diagnostics use the functions in ``fitting.py``.
"""

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.utils import Tags
from skorch.callbacks import Callback
from torch import Tensor

from .._utils.torch_settings import torch_settings
from .._utils.validation import check_parameter_types
from ..data.batches import MemberRows
from ..data.split import MemberSplit
from ..network.inference import ROW_MULTIPLE, RowOutputs, evaluate, prepare_rows
from ..network.pretrained import PretrainedSource
from ..training import schedules
from ..training.callbacks import check_callbacks
from ..training.config import TrainingConfig
from ..training.early_stopping import LossMonitor, Monitor, ScorerMonitor, check_divergence
from ..training.losses import Loss
from ..training.net import Net
from ..training.time_limit import deadline_of
from ..uncertainty.temperature import HeldOutLoss, HeldOutOutputs, evaluations_after_training, held_out_rows
from .fitting import encode_training_rows, encode_validation_rows, make_net, network_config_of, split_rows
from .inspection import InspectionMixin, fitted_attributes
from .parameters import CONSTRAINTS, SharedParameters
from .prediction import PredictionMixin, with_known_output
from .sklearn_callbacks import CallbackEvents, CallbackSupportMixin, fit_method
from .streaming import stream_device_config

OUT_OF_FOLD_ROWS = 4096  # most held-out rows of each member that are decoded at once
OUT_OF_FOLD_ELEMENTS = 1 << 21  # most raw outputs of these rows, 16 MB of float64
LEARNED = ("encoder_", "feature_names_in_", "n_features_in_", "seed_", "target_encoder_")
"""Fitted attributes that a fit sets before training."""


class RegularizedMLP(CallbackSupportMixin, PredictionMixin, InspectionMixin, SharedParameters, BaseEstimator, ABC):
    """Base class of the classifier and the regressor."""

    _parameter_constraints = CONSTRAINTS

    @fit_method
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Fit the networks to a table.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Training rows of numbers and categories. NaN and None are missing values.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target. For classification, labels of any type, or a 0/1 matrix of several labels; for regression, finite
            numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the rows. Rows of weight 0 are removed, without checking their values and targets,
            and a row of weight 2 counts in the loss and the statistics like two copies of the row.
        X_val : {array-like, data frame, sparse matrix} of shape (n_val, n_features), default=None
            Validation rows for early stopping and calibration, which replace the validation folds. In a ``Pipeline``
            with ``transform_input=["X_val"]``, they are transformed by the preceding steps.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Target of the validation rows.
        sample_weight_val : array-like of shape (n_val,), default=None
            Nonnegative weights of the validation rows. Rows of weight 0 are removed.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If parameters or data are invalid, or if the loss is not finite in the first epoch.
        """
        deadline = deadline_of(self)
        events = CallbackEvents(self, X, y, sample_weight, self.max_iter)
        validation_set = X_val, y_val, sample_weight_val
        with torch_settings(self.n_threads):
            fit = self._prepare_fit(X, y, sample_weight, validation_set, events.epoch_callbacks)
            budget, n_raw = fit.net.time_budget_, self.target_encoder_.n_raw_
            budget.deadline = deadline
            budget.evaluations_afterwards = evaluations_after_training(fit.split, n_raw)
            try:
                fit.train_net()
            finally:  # keep the epochs before an interruption
                self._set_fitted(fit.net, events.epoch_callbacks)
            self._complete_fit(fit)
        events.close(self.net_)
        return self

    def _validate_params(self) -> None:
        check_parameter_types(self)
        super()._validate_params()

    @abstractmethod
    def _make_loss(self, split: MemberSplit) -> Callable[[], Loss]:
        """Return a factory of the loss, after fitting the target encoder."""

    def _check_split(self, split: MemberSplit) -> None:
        """Raise an error if a parameter requires validation rows and there are none."""

    def _calibrate(self, split: MemberSplit) -> None:
        """Calibrate the fitted estimator on its validation rows."""

    def _predicts_calibrated(self, split: MemberSplit) -> bool:  # noqa: ARG002 - of the classifier
        """Whether calibration changes predictions."""
        return False

    def _prepare_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation_set: tuple[Any, Any, Any] = (None, None, None),
        callbacks: Sequence[Callback] = (),
        template: "PreparedFit | None" = None,
    ) -> "PreparedFit":
        """Perform all steps before training; see ``prepare_fit``."""
        check_callbacks(self.callbacks)
        continues = self.warm_start and hasattr(self, "net_")
        network_config = network_config_of(self, continues)
        training_config = TrainingConfig.from_estimator(self)
        source = PretrainedSource.from_estimator(self, network_config)
        if template is None:
            encoded = encode_training_rows(self, X, y, sample_weight, source, continues)
            split = split_rows(self, encoded, encode_validation_rows(self, *validation_set))
            self._check_split(split)
            train, validation, known = split.train_rows(), split.validation_rows(), None
        else:
            self.__dict__.update({name: value for name, value in vars(template.estimator).items() if name in LEARNED})
            split, train, validation, known = template.split, template.train, template.validation, template.net.module_
            if known.inputs.n_bins != network_config.n_bins:  # numeric_embedding="auto" has a different value
                known = None
        loss = self._make_loss(split)
        net = make_net(self, split, network_config, training_config, loss, source, callbacks, known)
        return PreparedFit(self, split, net, train, validation, self._make_monitor(net, split))

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, *classes: Any) -> Self:
        """Train for one pass over the rows; see ``partial_fit``."""
        check_callbacks(self.callbacks)
        continues = hasattr(self, "net_")
        network_config = network_config_of(self, continues)
        # The total number of calls is unknown, so the learning rate is constant.
        training_config = replace(
            TrainingConfig.from_estimator(self), schedule=schedules.constant, plateau_patience=None
        )
        source = PretrainedSource.from_estimator(self, network_config)
        events = CallbackEvents(self, X, y, sample_weight, 1)
        with torch_settings(self.n_threads):
            encoded = encode_training_rows(self, X, y, sample_weight, source, continues, *classes)
            device_config, index = stream_device_config(self, len(encoded)), [encoded.weighted()] * self.n_members
            split = MemberSplit(encoded, index, None, [], device_config)
            loss = self._make_loss(split)
            net = make_net(self, split, network_config, training_config, loss, source, events.epoch_callbacks)
            if continues:
                net.resume(self.net_)
            net.train_one_pass(X, y, encoded.rows(index, device_config, self.target_encoder_.mean_loss_weight_))
            self._set_fitted(net, events.epoch_callbacks)
            self._warn_training(net)
        events.close(self.net_)
        return self

    def _make_monitor(self, net: Net, split: MemberSplit) -> Monitor | None:
        """Return the monitor of the validation rows; a scorer receives the estimator as if it had a single member."""
        if split.validation is None:
            return None
        if self.monitor == "loss":
            return LossMonitor()

        def view(member: int, raw: Tensor, X: Any) -> RegularizedMLP:
            return with_known_output(self, net, X, raw.unsqueeze(0), slice(member, member + 1))

        validation_sets = [split.validation.original_rows(rows) for rows in split.validation_index]
        return ScorerMonitor(check_scoring(self, self.monitor), view, validation_sets)

    def _set_fitted(self, net: Net, callbacks: list[Callback]) -> None:
        """Remove ``callbacks`` from the net, and set the fitted attributes if all members have finite weights."""
        for name in ("oof_prediction_", "oof_score_"):
            self.__dict__.pop(name, None)
        net.finish(callbacks, self.warm_start)
        if bool(net.stopping_.best_epoch.all()):
            self.__dict__.update(fitted_attributes(net))

    def _complete_fit(self, fit: "PreparedFit") -> None:
        """Warn about training problems, calibrate, and score the out-of-fold predictions."""
        self._warn_training(fit.net)
        self._calibrate(fit.split)
        self._score_out_of_fold(fit)

    def _warn_training(self, net: Net) -> None:
        """Warn or raise an error if training diverged or removed all columns."""
        advice = (
            f"Decrease learning_rate_init (now {self.learning_rate_init}), set clip_norm=1.0, or scale the numeric "
            f"columns (now numeric_scaling={self.numeric_scaling!r})."
        )
        check_divergence(net.stopping_, advice)
        if self.feature_alpha and not self.feature_importances_.any():
            warnings.warn(
                f"feature_alpha={self.feature_alpha!r} has set the weights of all columns to zero, so that all rows "
                "have the same prediction. Decrease feature_alpha.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _score_out_of_fold(self, fit: "PreparedFit") -> None:
        """Predict each training row with the member that held it out, if the validation folds cover all rows."""
        split = fit.split
        if fit.validation is None or not split.covers_all:
            return
        index, given_rows = split.validation_index, split.train.given_rows
        rows, firsts = np.concatenate(index), np.cumsum([0, *map(len, index)])[:-1]
        given, scored, predictions = np.flatnonzero(given_rows)[rows], np.empty(0), np.empty(0)
        most = OUT_OF_FOLD_ELEMENTS // (len(index) * self.target_encoder_.n_raw_) // ROW_MULTIPLE * ROW_MULTIPLE
        height = min(OUT_OF_FOLD_ROWS, max(ROW_MULTIPLE, most))
        for block in prepare_rows(fit.net.module_, fit.validation).blocks(height):
            raw, _, _ = evaluate(fit.net.module_, block)
            for m, (first, n_rows) in enumerate(zip(firsts, block.lengths, strict=True)):
                if not n_rows:  # the last block may have rows of some members only
                    continue
                decoded = self.target_encoder_.decode(fit.net, raw[m : m + 1, :n_rows], slice(m, m + 1))
                found, prediction = self._scored(decoded), self._as_in_fit(self._format_prediction(decoded))
                if not len(scored):
                    scored = np.empty((len(rows), *found.shape[1:]), found.dtype)
                    shape = len(given_rows), *prediction.shape[1:]
                    predictions = np.full(shape, np.nan, prediction.dtype)
                scored[first : first + n_rows] = found
                predictions[given[first : first + n_rows]] = prediction
            firsts += block.lengths
        y, weight = split.train.y_and_weight(rows)
        self.oof_prediction_, self.oof_score_ = predictions, self._metric(y, scored, weight)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = True
        tags.input_tags.sparse = tags.input_tags.string = True
        return tags


@dataclass
class PreparedFit:
    """A fit that is ready for training."""

    estimator: RegularizedMLP  # with fitted encoders
    split: MemberSplit
    net: Net  # initialized
    train: MemberRows
    validation: MemberRows | None  # None without early stopping
    monitor: Monitor | None
    temperatures: tuple[float, ...] = ()  # of the last preview

    def train_net(self) -> None:
        """Train the net to the end."""
        rows = self.split.train
        self.net.train(rows.X, rows.y, self.train, self.validation, self.monitor)

    def finish(self) -> None:
        """Complete the estimator after the net has been trained."""
        with torch_settings(self.estimator.n_threads):
            self.estimator._set_fitted(self.net, [])  # noqa: SLF001  # the classes of this file share private methods
            self.estimator._complete_fit(self)  # noqa: SLF001

    def calibration_rows(self) -> MemberRows | None:
        """Return the rows on which predictions are calibrated, None if they are not."""
        calibrated = self.estimator._predicts_calibrated(self.split)  # noqa: SLF001
        return held_out_rows(self.net, self.split) if calibrated else None

    def preview(self) -> RegularizedMLP:
        """Return the estimator as if the training had ended with the current weights of the net."""
        fit = replace(self, estimator=copy.copy(self.estimator), net=self.net.snapshot())
        fit.estimator._set_fitted(fit.net, [])  # noqa: SLF001
        fit.estimator._calibrate(fit.split)  # noqa: SLF001
        fit.estimator._score_out_of_fold(fit)  # noqa: SLF001
        return fit.estimator

    def preview_of_rows(self, X: Any, raw: Tensor, held_out: RowOutputs | None) -> RegularizedMLP:
        """Return a preview that only predicts X, whose raw output is given, and lacks other results of a fit.

        ``held_out`` is the output for ``calibration_rows``, with which a classifier is calibrated. The temperatures of
        the last call make this faster.
        """
        if held_out is not None:
            loss = HeldOutLoss(self.net.criterion_.log_probability, HeldOutOutputs.of(self.split, *held_out))
            self.temperatures = loss.temperatures(self.temperatures)
            self.net.temperature = self.temperatures[-1]
        return with_known_output(self.estimator, self.net, X, raw)


def prepare_fit(
    estimator: RegularizedMLP, X: Any, y: Any, sample_weight: Any = None, template: PreparedFit | None = None
) -> PreparedFit:
    """Perform all steps of a fit before training, for an unfitted estimator.

    Encoders, splits, statistics and tensors are taken from ``template`` if it is given: a fit on the same rows by an
    estimator that differs only in the hyperparameter values of the members.
    """
    with torch_settings(estimator.n_threads):
        return estimator._prepare_fit(X, y, sample_weight, template=template)  # noqa: SLF001  # of this file


def check_parameters(estimator: RegularizedMLP) -> None:
    """Raise an error if parameters are invalid or contradict each other."""
    estimator._validate_params()  # noqa: SLF001  # scikit-learn's interface
    network_config_of(estimator)
    TrainingConfig.from_estimator(estimator)
