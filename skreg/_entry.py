"""An entry is a fit between its checks and its training, which then goes on beside others."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils.validation import validate_data

from ._utils.threads import torch_threads
from .data.batches import MemberRows
from .data.split import MemberSplit
from .data.table import check_table
from .estimators.base import RegularizedMLP
from .network.config import NetworkConfig
from .training.config import TrainingConfig
from .training.early_stopping import Monitor
from .training.net import Net


class Entry(NamedTuple):
    """A fit between its checks and its training.

    Attributes
    ----------
    estimator : RegularizedMLP
        Whose fit it is.
    split : Split
        Its rows, divided.
    net : Net
        Initialised.
    train, valid : Rows
        The rows as tensors; ``valid`` is None without early stopping.
    monitor : Monitor or None
        Scores the members on ``valid``.
    """

    estimator: RegularizedMLP
    split: MemberSplit
    net: Net
    train: MemberRows
    valid: MemberRows | None
    monitor: Monitor | None


def enter(estimator: RegularizedMLP, X: Any, y: Any, sample_weight: Any = None, like: Entry | None = None) -> Entry:
    """Do all of a fit that comes before training; what depends on the rows only is taken from a fit ``like`` it.

    Parameters
    ----------
    estimator : RegularizedMLP
        Is changed as ``fit`` changes it.
    X, y, sample_weight
        As in ``fit``.
    like : Entry or None
        Of an estimator that was given the same rows and differs in strengths alone.
    """
    network_config, training_config = NetworkConfig.of(estimator), TrainingConfig.of(estimator)
    if like is None:
        split = estimator._split(estimator._check_rows(X, y, sample_weight, None, False), None)
        train, valid, known = split.train_rows(), split.validation_rows(), None
    else:
        given = estimator.get_params(deep=False)
        estimator.__dict__.update({name: what for name, what in vars(like.estimator).items() if name not in given})
        split, train, valid, known = like.split, like.train, like.valid, like.net.module_
        if known.inputs.n_bins != network_config.n_bins:  # a strength can decide what "auto" embeds
            known = None
    net = estimator._make_net(network_config, training_config, None, split, [], known)
    return Entry(estimator, split, net, train, valid, estimator._make_monitor(net, split))


def rows_to_predict(estimator: RegularizedMLP, X: Any, net: Net) -> MemberRows:
    """Rows to predict, all of them for each member of ``net``, before the estimator is fitted."""
    table = estimator.encoder_.transform(validate_data(estimator, check_table(X), reset=False, skip_check_array=True))
    everyone = [np.arange(len(table))] * net.module_.n_members
    target = np.zeros((len(table), estimator.target_encoder_.n_raw_))
    inputs, device = net.module_.inputs, torch.device(net.device)
    return MemberRows(table.numbers, table.levels, target, everyone, None, inputs.dtype, device)


def leave(entry: Entry) -> None:
    """Do all of a fit that comes after training."""
    estimator = entry.estimator
    with torch_threads(estimator.n_threads):
        estimator._set_fitted(entry.net, [])
        estimator._warn_training(entry.net)
        estimator._calibrate(entry.split)
        estimator._score_out_of_fold(entry.split)
