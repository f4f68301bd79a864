"""Steps of a fit: encode the rows, split them, learn column statistics, and create the net.

The functions take an estimator and use its parameters and fitted attributes. ``base.py`` calls them in this order.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import validate_data
from skorch.callbacks import Callback

from .._utils.device import DeviceConfig
from .._utils.validation import SHAPE_MISMATCH, check_lengths, check_validation_set, naming, seed_of
from ..data.batches import warn_if_dense_batches_are_large
from ..data.containers import check_table, load, remove_void_rows, select_rows
from ..data.split import MemberSplit, assign_folds, has_enough_validation_rows, warn_if_few_validation_rows
from ..data.statistics import CLIP, ONE_HOT_MAX, learn_statistics
from ..data.table import EncodedTable, TableEncoder
from ..network.config import NetworkConfig, check_derivative
from ..network.data_driven_init import data_driven_init
from ..network.generators import member_seeds
from ..network.input_layer import InputLayer
from ..network.network import Network
from ..network.pretrained import PretrainedSource
from ..training.callbacks import check_callbacks
from ..training.config import TrainingConfig
from ..training.losses import Loss
from ..training.net import Net
from ..training.optimizers.registry import SOLVERS, solvers_with
from .targets import ClassTargetEncoder, NumberTargetEncoder, TargetStatistics, target_encoder_for


def encode_training_rows(
    estimator: Any, X: Any, y: Any, sample_weight: Any, source: PretrainedSource | None, continues: bool, *classes: Any
) -> EncodedTable:
    """Check and encode the training rows, after fitting the encoders unless the fit ``continues`` an earlier one.

    An earlier fit is discarded before the encoders are fitted. Rows of weight 0 are removed, and not checked. With
    ``pretrained``, the table encoder is copied from its ``source``. ``classes`` are the classes passed to
    ``partial_fit``.
    """
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None."
        )
    target_encoder = target_encoder_for(estimator)
    X, y, weight, kept = remove_void_rows(X, y, sample_weight)
    X = check_table(X)
    with naming("y"):
        y = target_encoder.check(y)
    check_lengths(X=X, y=y)
    if not continues:  # a fit that fails must not leave a mixture of two fits
        for name in [name for name in vars(estimator) if name.endswith("_") and not name.startswith("_")]:
            delattr(estimator, name)
    X = validate_data(estimator, X, reset=not continues, skip_check_array=True)
    if not continues:
        estimator.seed_ = seed_of(estimator, estimator.random_state)
        estimator.target_encoder_ = target_encoder.fit(y, *classes)
    target_encoder = estimator.target_encoder_
    if continues and not classes:
        target_encoder.check_same_classes(y)
    target_encoder.fit_class_weight(estimator, y, weight)
    table = _encode_target(target_encoder, X, y, weight, kept)
    if not continues:
        seen, loss_weight = table.X, table.loss_weight
        if loss_weight is not None and not loss_weight.all():
            seen, loss_weight = select_rows(seen, table.weighted()), loss_weight[table.weighted()]
        target_encoder.mean_loss_weight_ = 1.0 if loss_weight is None else float(loss_weight.mean())
        if source is None:
            estimator.encoder_ = TableEncoder(estimator.categorical_features).fit(seen, loss_weight)
        else:
            estimator.encoder_ = source.table_encoder(estimator)
    numbers, levels = estimator.encoder_.transform(table.X)
    if not continues:
        estimator.encoder_.dtype_ = numbers.dtype
    return replace(table, numbers=numbers, levels=levels)


def encode(estimator: Any, X: Any, y: Any = None, sample_weight: Any = None, suffix: str = "") -> EncodedTable:
    """Check and encode rows with the fitted encoders of an estimator; without ``y``, all targets are 0.

    Rows of weight 0 are removed. The names of the arguments, which errors contain, end with ``suffix``.
    """
    X_name, y_name = f"X{suffix}", f"y{suffix}"
    kept = weight = None
    if y is not None:
        X, y, weight, kept = remove_void_rows(X, y, sample_weight, suffix)
    with naming(X_name, "X"):
        X = validate_data(estimator, check_table(X, X_name), reset=False, skip_check_array=True)
    if y is None:
        numbers, levels = estimator.encoder_.transform(X)
        y, target = np.zeros(len(levels)), np.zeros((len(levels), estimator.target_encoder_.n_raw_))
        return EncodedTable(X, y, numbers, levels, target, None, None, None)
    with naming(y_name, "y"):
        table = _encode_target(estimator.target_encoder_, X, estimator.target_encoder_.check(y), weight, kept)
    with naming(X_name, "X"):
        numbers, levels = estimator.encoder_.transform(table.X)
    return replace(table, numbers=numbers, levels=levels)


def _encode_target(
    target_encoder: ClassTargetEncoder | NumberTargetEncoder,
    X: Any,
    y: np.ndarray,
    weight: np.ndarray | None,
    kept: np.ndarray | None,
) -> EncodedTable:
    """Return rows with an encoded target, but without numbers and levels.

    Rows of classes of weight 0 are not removed, because scorers and out-of-fold predictions use them.
    """
    target, loss_weight = target_encoder.transform(y), target_encoder.loss_weight(y, weight)
    if loss_weight is not None and not loss_weight.any():
        raise ValueError("y contains only classes of class_weight 0, which have no effect. Pass rows of other classes.")
    return EncodedTable(X, y, None, None, target, weight, loss_weight, kept)


def encode_validation_rows(estimator: Any, X_val: Any, y_val: Any, sample_weight_val: Any) -> EncodedTable | None:
    """Check and encode the validation rows passed to ``fit``; None if there are none."""
    X_val, y_val = load(X_val, "X_val"), load(y_val, "y_val")
    check_validation_set(X_val, y_val, sample_weight_val)
    if X_val is None:
        return None
    if not estimator.early_stopping:
        raise ValueError(
            "X_val and y_val are passed to fit while at the same time early_stopping is False. When passing X_val "
            "and y_val to fit, early_stopping should be set to either 'auto' or True."
        )
    return encode(estimator, X_val, y_val, sample_weight_val, "_val")


def network_config_of(estimator: Any, continues: bool = False) -> NetworkConfig:
    """Return the network's configuration; a fit that ``continues`` an earlier one keeps the values of "auto"."""
    return NetworkConfig.from_estimator(estimator, SOLVERS[estimator.solver].scale_invariant, continues)


def split_rows(estimator: Any, train: EncodedTable, validation: EncodedTable | None = None) -> MemberSplit:
    """Assign training and validation rows to each member.

    Each member is trained on all rows if ``validation`` rows are given or early stopping is off, and otherwise on all
    rows except its own validation fold. Rows of classes of weight 0 are in the validation folds, but not trained on.
    """
    n_rows, n_members, weighted = len(train), estimator.n_members, train.weighted()
    device_config = DeviceConfig.from_estimator(
        estimator, len(weighted), full_batch=estimator.solver in solvers_with("full_batch")
    )
    all_rows = [weighted] * n_members
    n_folds = min(max(n_members, round(min(1 / float(estimator.validation_fraction), n_rows))), n_rows)
    early_stopping = estimator.early_stopping
    if early_stopping == "auto":
        early_stopping = validation is not None or has_enough_validation_rows(len(weighted) // n_folds, n_members)
    if not early_stopping:
        return MemberSplit(train, all_rows, None, [], device_config)
    if validation is not None:
        split = MemberSplit(train, all_rows, validation, [np.arange(len(validation))] * n_members, device_config)
    elif n_rows < 2:
        raise ValueError("early_stopping=True requires at least 2 samples, but X has 1 sample.")
    else:
        rng = np.random.RandomState(estimator.seed_)
        folds = assign_folds(estimator.target_encoder_.strata(train.y), n_folds, rng)
        held_out = [folds == member % n_folds for member in range(n_members)]
        train_index = [train.weighted(_row_indices(~mask)) for mask in held_out]
        validation_index = [_row_indices(mask) for mask in held_out]
        split = MemberSplit(train, train_index, train, validation_index, device_config, n_folds)
    n_weighted = min(len((validation or train).weighted(rows)) for rows in split.validation_index)
    if not min(n_weighted, *map(len, split.train_index)):
        raise ValueError(
            "All training or all validation rows of a member have classes of class_weight 0. Pass more rows of other "
            "classes, or set early_stopping=False."
        )
    warn_if_few_validation_rows(n_weighted, n_members)
    return split


def _row_indices(mask: np.ndarray) -> np.ndarray:
    """Indices of the selected rows, as int32 if possible to save memory."""
    return np.flatnonzero(mask).astype(np.int32 if len(mask) < 1 << 31 else np.int64)


def make_net(
    estimator: Any,
    split: MemberSplit,
    network_config: NetworkConfig,
    training_config: TrainingConfig,
    loss: Callable[[], Loss],
    source: PretrainedSource | None,
    callbacks: Sequence[Callback],
    known: Network | None = None,
) -> Net:
    """Create the net with the weights of the earlier fit that it continues, or with initial weights.

    The statistics of the columns and the target are taken from the first of these that exists: the earlier fit, the
    network ``known``, and the ``pretrained`` source. Otherwise, they are learned from the training rows.
    """
    _check_memory(estimator, network_config, split.device_config.dtype)
    earlier: Net | None = getattr(estimator, "net_", None)
    if earlier is not None:
        known = earlier.module_
    seeds = member_seeds(estimator.seed_, split.n_members, 0 if source is None else source.generation)
    inputs, target_statistics = _statistics(estimator, split, network_config.n_bins, source, known)
    network = _make_network(estimator, network_config, inputs, target_statistics, [seed for seed, _ in seeds])
    training_config.check(network)
    batch_rows = min(split.device_config.batch_size, max(map(len, split.train_index)))
    warn_if_dense_batches_are_large(split.train.numbers, split.n_members * batch_rows * inputs.width)
    if source is not None:
        source.copy_into(network, estimator.target_encoder_)
    has_validation_loss = split.validation is not None and estimator.monitor == "loss"
    net = Net(
        network,
        loss,
        training_config,
        max_epochs=int(estimator.max_iter),
        batch_size=split.device_config.batch_size,
        seeds=[training_seed for _, training_seed in seeds],
        patience=None if split.validation is None else estimator.patience,
        min_delta=float(estimator.min_delta),
        callbacks=[*check_callbacks(estimator.callbacks, has_validation_loss), *callbacks],
        verbose=int(estimator.verbose),
        device=str(split.device_config.device),
    )
    net.initialize()
    check_derivative(network_config.activation, net.module_.head.weight.new_zeros(1, 2, 1))
    net.module_.set_matmul_dtype(split.device_config.matmul_dtype)
    if earlier is not None:
        try:
            net.load_earlier_weights(earlier)
        except RuntimeError as error:
            raise ValueError(SHAPE_MISMATCH) from error
    elif network_config.data_driven_init:
        data_driven_init(net.module_, split.train_rows())
    return net


def _make_network(
    estimator: Any,
    config: NetworkConfig,
    inputs: InputLayer,
    target_statistics: TargetStatistics | None,
    seeds: Sequence[int],
) -> Network:
    """Return a network with initial weights."""
    embedding_sizes = [len(levels) for levels in estimator.encoder_.levels_ if len(levels) > ONE_HOT_MAX]
    with _naming_size(estimator):
        return Network(config, inputs, estimator.target_encoder_.n_raw_, seeds, embedding_sizes, target_statistics)


def _check_memory(estimator: Any, config: NetworkConfig, dtype: torch.dtype) -> None:
    """Raise an error if the weights do not fit into memory, before time is spent on the statistics of all members.

    Memory is not used before it is written to, so this allocation takes no time.
    """
    widths = [len(estimator.encoder_.numeric_), *config.hidden_layer_sizes, estimator.target_encoder_.n_raw_]
    n_weights = estimator.n_members * sum(a * b for a, b in pairwise(widths))
    with _naming_size(estimator):
        torch.empty(min(n_weights, 1 << 62), dtype=dtype)


@contextmanager
def _naming_size(estimator: Any) -> Iterator[None]:
    """Name the parameters that determine the size of a network in errors about memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else "out of memory"
        if isinstance(error, RuntimeError) and not re.search("alloc|memory|overflow|too large", reason, re.IGNORECASE):
            raise
        raise ValueError(
            f"The network with hidden_layer_sizes={estimator.hidden_layer_sizes!r} and "
            f"n_members={estimator.n_members} cannot be created ({reason}). Decrease these parameters."
        ) from error


def _statistics(
    estimator: Any, split: MemberSplit, n_bins: int, source: PretrainedSource | None, known: Network | None
) -> tuple[InputLayer, TargetStatistics | None]:
    """Return the input layer, with each member's column statistics, and the statistics of the target."""
    dtype, target_encoder = split.device_config.dtype, estimator.target_encoder_
    if known is not None:
        if (known.n_members, known.inputs.n_bins) != (split.n_members, n_bins):
            raise ValueError(SHAPE_MISMATCH)
        return known.copy_statistics(dtype)
    weights, table = split.train.member_weights(split.train_index), split.train
    if source is not None:
        inputs, target_statistics = source.statistics(split.n_members, dtype)
        if source.copies_head(target_encoder):
            return inputs, target_statistics
    else:
        sizes = [len(levels) for levels in estimator.encoder_.levels_]
        one_hot = [j for j, size in enumerate(sizes) if 0 < size <= ONE_HOT_MAX]
        embedded = [j for j, size in enumerate(sizes) if size > ONE_HOT_MAX]
        learned = learn_statistics(table.numbers, table.levels, sizes, weights, estimator.numeric_scaling, n_bins)
        inputs = InputLayer(learned, one_hot, embedded, CLIP, dtype)
    return inputs, target_encoder.statistics(table.target, weights)
