"""The estimator that both classes are: how a fit goes, and how a prediction does.

Read ``fit`` first. The classifier and the regressor add what a target is, and what is made of the raw output.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, _fit_context
from sklearn.metrics import check_scoring
from sklearn.utils import Tags, _safe_indexing, check_consistent_length, check_random_state
from sklearn.utils.validation import validate_data
from torch import Tensor

from .._utils.device import DeviceConfig
from .._utils.threads import torch_threads
from .._utils.validation import SHAPE_MISMATCH, check_validation_set, check_weights
from ..data.split import MemberSplit, assign_folds, has_enough_validation_rows, warn_if_few_validation_rows
from ..data.statistics import CLIP, ONE_HOT_MAX, learn_statistics
from ..data.table import EncodedTable, TableEncoder, check_table
from ..network.config import NetworkConfig
from ..network.data_driven_init import data_driven_init
from ..network.generators import member_seeds
from ..network.inference import evaluate, prepare_rows
from ..network.input_layer import InputLayer
from ..network.network import Network
from ..network.pretrained import PretrainedSource
from ..training.callbacks import check_callbacks
from ..training.config import TrainingConfig
from ..training.early_stopping import LossMonitor, Monitor, ScorerMonitor, check_divergence
from ..training.losses import Loss
from ..training.net import Net
from ..training.optimizers.registry import SOLVERS, solvers_with
from ..training.time_limit import deadline_of
from .inspection import Inspection
from .parameters import CONSTRAINTS
from .prediction import Prediction
from .sklearn_callbacks import CallbackSupportMixin, FitProgress, with_callbacks
from .targets import ClassTargetEncoder, NumberTargetEncoder


class RegularizedMLP(CallbackSupportMixin, Prediction, Inspection, BaseEstimator, ABC):
    """What the classifier and the regressor share; each writes its constructor out, as scikit-learn wants it."""

    _parameter_constraints = CONSTRAINTS

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
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
        """Learn from a table.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Numbers and categories; NaN and None are missing values.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels of any type, or a 0/1 matrix of several labels; for the regressor finite numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, at least 0. A row of weight 0 is as good as removed, one of weight 2 counts twice.
        X_val, y_val : as X and y, default=None
            Rows on which early stopping watches, instead of some of ``X``. In a ``Pipeline`` with
            ``transform_input=["X_val"]`` they pass through the steps before, as ``X`` does.
        sample_weight_val : array-like of shape (n_val,), default=None
            Weights of the validation rows.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            For parameters and data that cannot be used, before any work; for a loss that is not finite from the
            first epoch on.
        """
        deadline = deadline_of(self)
        check_callbacks(self.callbacks)
        scale_invariant, continues = SOLVERS[self.solver].scale_invariant, self.warm_start and self._continues
        network_config = NetworkConfig.from_estimator(self, scale_invariant, continues)
        training_config = TrainingConfig.of(self)
        source = PretrainedSource.from_estimator(self, network_config)
        train = self._check_rows(X, y, sample_weight, source, self.warm_start)
        held_out = self._check_held_out(X_val, y_val, sample_weight_val)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        progress = FitProgress(self, X, y, metadata, self.max_iter, lambda net: self._fitted(net.snapshot()))
        with torch_threads(self.n_threads), torch.inference_mode(False), torch.enable_grad():
            split = self._split(train, held_out)
            net = self._make_net(network_config, training_config, source, split, progress.hooks)
            net.time_budget_.deadline = deadline
            self._train(net, split, progress.hooks)
            self._calibrate(split)
            self._score_out_of_fold(split)
        progress.close(lambda: self._fitted(self.net_))
        return self

    _target_encoder: type[ClassTargetEncoder] | type[NumberTargetEncoder]
    target_encoder_: Any
    solver: str

    @abstractmethod
    def _loss(self, split: MemberSplit) -> Callable[[], Loss]:
        """What makes the loss of the encoded target, given who holds out which rows."""

    @abstractmethod
    def _out_of_fold(self, decoded: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, float]:
        """Decoded rows as ``oof_prediction_`` shows them, and their score."""

    def _target_statistics(self, target: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and spread ``(members, outputs)`` of a target that is standardised."""
        return None

    def _fit_class_weight(self, y: np.ndarray, weight: np.ndarray | None) -> None:
        """Learn from the training rows what ``_loss_weight`` needs."""

    def _loss_weight(self, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        """Weight of each row in the loss."""
        return weight

    def _calibrate(self, split: MemberSplit) -> None:
        """Learn from the held-out rows what they say of the predictions."""

    @property
    def _continues(self) -> bool:
        """Whether this fit goes on from an earlier one, which ``_check_rows`` forgets otherwise."""
        return hasattr(self, "net_")

    def _check_rows(
        self, X: Any, y: Any, weight: Any, source: PretrainedSource | None, may_continue: bool, *classes: Any
    ) -> EncodedTable:
        """The training rows, and what the encoders learn from them; where a fit goes on those stay as learned.

        The encoder of the columns is the source's where there is one.
        """
        if y is None:
            raise ValueError(f"This {type(self).__name__} estimator requires y to be passed, but the target y is None.")
        X, y = check_table(X), self._target_encoder.check(y)
        check_consistent_length(X, y)
        weight = check_weights(weight, X)
        continues = may_continue and self._continues
        if not continues:
            self._forget()
        X = validate_data(self, X, reset=not continues, skip_check_array=True)
        n_given = len(y)
        kept: Any = slice(None)
        if weight is not None and not weight.all():
            kept = np.flatnonzero(weight)
            X, y, weight = _safe_indexing(X, kept), y[kept], weight[kept]
        if not continues:
            self.seed_ = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
            self.target_encoder_ = self._target_encoder.of(self).fit(y, *classes)
            fresh = TableEncoder(self.categorical_features)
            self.encoder_ = fresh.fit(X, weight) if source is None else source.table_encoder(self)
        (numbers, levels), target = self.encoder_.transform(X), self.target_encoder_.transform(y)
        self._fit_class_weight(y, weight)
        loss_weight = self._loss_weight(y, weight)
        if not continues:
            self._weight_unit = 1.0 if loss_weight is None else float(loss_weight.mean())
        return EncodedTable(X, y, numbers, levels, target, weight, loss_weight, kept, n_given)

    def _forget(self) -> None:
        """Let go of an earlier fit, so that one that fails leaves nothing half new."""
        for name in [name for name in self.__dict__ if name.endswith("_") and not name.startswith("_")]:
            del self.__dict__[name]

    def _check_held_out(self, X: Any, y: Any, weight: Any) -> EncodedTable | None:
        """The user's own validation rows."""
        check_validation_set(X, y, weight)
        if X is None:
            return None
        if self.early_stopping is False:
            raise ValueError(
                "X_val and y_val are passed to fit while at the same time early_stopping is False. When passing X_val "
                "and y_val to fit, early_stopping should be set to either 'auto' or True."
            )
        X = validate_data(self, check_table(X), reset=False, skip_check_array=True)
        y = self._target_encoder.check(y)
        weight = check_weights(weight, X, "sample_weight_val")
        (numbers, levels), target = self.encoder_.transform(X), self.target_encoder_.transform(y)
        return EncodedTable(X, y, numbers, levels, target, weight, self._loss_weight(y, weight), slice(None), len(y))

    def _split(self, train: EncodedTable, held_out: EncodedTable | None) -> MemberSplit:
        """Give each member its rows: all of them, or all but its own fold."""
        n, members = len(train), self.n_members
        place = DeviceConfig.of(self, n, full_batch=self.solver in solvers_with("full_batch"))
        everyone = [np.arange(n)] * members
        n_folds = min(max(members, round(1 / self.validation_fraction)), n)
        if held_out is not None:
            split = MemberSplit(train, everyone, held_out, [np.arange(len(held_out))] * members, place)
        elif not self.early_stopping or (
            self.early_stopping == "auto" and not has_enough_validation_rows(n // n_folds, members)
        ):
            return MemberSplit(train, everyone, None, [], place)
        else:
            if n < 2:
                raise ValueError("early_stopping=True needs a second row to be watched on, and X has 1 sample.")
            rng = np.random.RandomState(self.seed_)
            folds = assign_folds(self.target_encoder_.strata(train.y), n_folds, rng)
            held = [folds == member % n_folds for member in range(members)]
            kept, validation = ([_positions(mask) for mask in masks] for masks in ([~h for h in held], held))
            split = MemberSplit(train, kept, train, validation, place, n_folds)
        warn_if_few_validation_rows(min(map(len, split.validation_index)), members)
        return split

    def _make_net(
        self,
        network_config: NetworkConfig,
        training_config: TrainingConfig,
        source: PretrainedSource | None,
        split: MemberSplit,
        hooks: list[Any],
        known: Network | None = None,
    ) -> Net:
        """The net, its weights drawn or the source's, or in a warm start those of the last fit.

        Statistics are those of the ``known`` network where one is given, and else the rows'.
        """
        known = self.net_.module_ if self._continues else known
        seeds = member_seeds(self.seed_, split.n_members, 0 if source is None else source.generation)
        sizes = [len(levels) for levels in self.encoder_.levels_]
        embedded = [j for j, size in enumerate(sizes) if size > ONE_HOT_MAX]
        inputs, target_statistics = self._statistics(split, sizes, embedded, network_config.n_bins, source, known)
        network = Network(
            network_config,
            inputs,
            self.target_encoder_.n_raw_,
            [weights for weights, _ in seeds],
            [sizes[j] for j in embedded],
            target_statistics,
        )
        training_config.check(network)
        if source is not None:
            source.copy_into(network, self.target_encoder_)
        net = Net(
            network,
            self._loss(split),
            training_config,
            max_epochs=self.max_iter,
            batch_size=split.device_config.batch_size,
            seeds=[stream for _, stream in seeds],
            patience=None if split.validation is None else self.patience,
            min_delta=self.min_delta,
            callbacks=[*check_callbacks(self.callbacks), *hooks],
            verbose=int(self.verbose),
            device=str(split.device_config.device),
        ).initialize()
        net.module_.set_matmul_dtype(split.device_config.matmul_dtype)
        if self._continues:
            self._resume(net)
        elif network_config.data_driven_init:
            data_driven_init(net.module_, split.train_rows())
        return net

    def _statistics(
        self,
        split: MemberSplit,
        sizes: list[int],
        embedded: list[int],
        n_bins: int,
        source: PretrainedSource | None,
        known: Network | None,
    ) -> tuple[InputLayer, Any]:
        """What each member knows of the columns and of the target, from its own rows, or what a network knew.

        Of the columns it knows what the source's did, and of the target too where the head is the source's.
        """
        if known is not None:
            if (known.n_members, known.inputs.n_bins) != (split.n_members, n_bins):
                raise ValueError(SHAPE_MISMATCH)
            return known.copy_statistics(split.device_config.dtype)
        one_hot = [j for j, size in enumerate(sizes) if 0 < size <= ONE_HOT_MAX]
        weights, table = split.train.member_weights(split.train_index), split.train
        if source is not None:
            inputs, of_target = source.statistics(split.n_members, split.device_config.dtype)
            if not source.copies_head(self.target_encoder_):
                of_target = self._target_statistics(split.train.target, weights)
            return inputs, of_target
        learned = learn_statistics(table.numbers, table.levels, sizes, weights, self.numeric_scaling, n_bins)
        inputs = InputLayer(learned, one_hot, embedded, CLIP, split.device_config.dtype)
        return inputs, self._target_statistics(split.train.target, weights)

    def _train(self, net: Net, split: MemberSplit, hooks: list[Any]) -> None:
        """Train, and keep what was reached: also after an interrupt, once an epoch is done."""
        try:
            net.train(
                split.train.X,
                split.train.y,
                train_rows=split.train_rows(),
                validation_rows=split.validation_rows(),
                monitor=self._make_monitor(net, split),
            )
        finally:
            self._set_fitted(net, hooks)
        self._warn_training(net)

    def _make_monitor(self, net: Net, split: MemberSplit) -> Monitor | None:
        """What watches the members; a scorer sees the estimator as if it had one of them."""
        scorer = None if self.monitor == "loss" else check_scoring(self, self.monitor)

        def view(member: int, raw: Tensor, X: Any) -> Any:
            return self._view(net, raw.unsqueeze(0), X, slice(member, member + 1))

        if split.validation is None:
            return None
        if scorer is None:
            return LossMonitor()
        return ScorerMonitor(scorer, view, [split.validation.original_rows(rows) for rows in split.validation_index])

    def _set_fitted(self, net: Net, hooks: list[Any]) -> None:
        """Have the net that was trained predict, if every member has weights that do."""
        for name in ("oof_prediction_", "oof_score_"):
            self.__dict__.pop(name, None)
        net.finish(hooks, self.warm_start)
        if bool(net.stopping_.best_epoch.all()):
            self.__dict__.update(self._fitted(net))

    def _warn_training(self, net: Net) -> None:
        """Say it when a training went wrong."""
        check_divergence(net.stopping_, self._against_divergence)
        self._warn_if_no_column_is_left()

    @property
    def _against_divergence(self) -> str:
        """What helps."""
        return (
            f"Lower learning_rate_init (now {self.learning_rate_init}), set clip_norm=1.0, or scale the numbers "
            f"(numeric_scaling={self.numeric_scaling!r})."
        )

    def _resume(self, net: Net) -> None:
        """Take over the weights of the last fit."""
        try:
            net.load_earlier_weights(self.net_)
        except RuntimeError as error:
            raise ValueError(SHAPE_MISMATCH) from error

    def _fitted(self, net: Net) -> dict[str, Any]:
        """Fitted attributes if training ended now."""
        validation = net.history[:, net.validation_name_] if net.validation_name_ else None
        return {
            "net_": net,
            "n_iter_": net.epoch_,
            "best_iter_": round(net.stopping_.best_epoch.double().mean().item()),
            "loss_curve_": np.array(net.history[:, "train_loss"]),
            "validation_curve_": None if validation is None else np.array(validation),
        }

    def _score_out_of_fold(self, split: MemberSplit) -> None:
        """Predict each row by the member that did not train on it, where there is one for every row."""
        if not split.covers_all or (held_out := split.validation_rows()) is None:
            return
        index = split.validation_index
        raw, _, _ = evaluate(self.net_.module_, prepare_rows(self.net_.module_, held_out))
        decoded = [self._decode(raw[m : m + 1, : len(rows)], slice(m, m + 1)) for m, rows in enumerate(index)]
        rows = np.concatenate(index)
        y, weight = split.train.y_and_weight(rows)
        shown, self.oof_score_ = self._out_of_fold(np.concatenate(decoded), y, weight)
        given = np.arange(split.train.n_given)[split.train.kept]
        self.oof_prediction_ = np.full((split.train.n_given, *shown.shape[1:]), np.nan)
        self.oof_prediction_[given[rows]] = shown

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = True
        tags.input_tags.sparse = tags.input_tags.string = True
        return tags


def _positions(mask: np.ndarray) -> np.ndarray:
    """Where a mask is true, in as few bytes as will do."""
    return np.flatnonzero(mask).astype(np.int32 if len(mask) < 1 << 31 else np.int64)
