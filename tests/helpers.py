"""Tables and estimators that several test files use."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, activations, initializers, schedules
from skreg.data.batches import MemberRows
from skreg.data.statistics import learn_statistics, target_statistics
from skreg.network.generators import member_seeds
from skreg.network.input_layer import InputLayer
from skreg.network.layers import BatchNorm
from skreg.network.network import Network
from skreg.training.config import TrainingConfig
from skreg.training.constraints import MaxNorm
from skreg.training.early_stopping import LossMonitor
from skreg.training.losses import HalfSquaredError
from skreg.training.net import Net
from skreg.training.penalties import ElasticNet

PLAIN: dict[str, Any] = {
    "alpha": 1e-5,
    "init": "auto",
    "learning_rate": "cosine",
    "learning_rate_init": 0.01,
    "max_iter": 100,
    "numeric_embedding": None,
    "parametrization": "standard",
    "patience": 20,
    "residual": False,
    "scale_layer": False,
    "weight_decay": 0.01,
}
"""Parameters of a plain network, for tests of one mechanism: little else affects its few epochs."""
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def plain_classifier(*args: Any, **params: Any) -> RegularizedMLPClassifier:
    """A classifier with the parameters of ``PLAIN``, without label smoothing and calibration."""
    return RegularizedMLPClassifier(*args, **{**PLAIN, "calibrate": None, "label_smoothing": 0.0, **params})


def plain_regressor(*args: Any, **params: Any) -> RegularizedMLPRegressor:
    """A regressor with the parameters of ``PLAIN``."""
    return RegularizedMLPRegressor(*args, **{**PLAIN, **params})


class MixedTable(NamedTuple):
    """A data frame of mixed columns and two targets that depend on them.

    Attributes
    ----------
    X : DataFrame
        Two float columns (one with missing values), an integer column, two categories (one of text with missing
        values), a bool.
    label : Series
        "no" or "yes".
    number : Series
        A float.
    """

    X: pd.DataFrame
    label: pd.Series
    number: pd.Series


def make_mixed_table(n_rows: int = 240, seed: int = 0) -> MixedTable:
    """Generate a ``MixedTable``."""
    rng = np.random.default_rng(seed)
    number, other = rng.normal(size=(2, n_rows))
    count = rng.integers(0, 10, n_rows)
    color = rng.choice(["blue", "green", "red"], n_rows)
    city = rng.choice(["Bern", "Oslo", "Rome", "Wien"], n_rows).astype(object)
    member = rng.random(n_rows) < 0.4
    target = number - 0.2 * count + 1.5 * (color == "red") + member + 0.5 * (city == "Oslo")
    target = target + 0.2 * rng.normal(size=n_rows)
    other[rng.random(n_rows) < 0.1] = np.nan
    city[rng.random(n_rows) < 0.1] = None
    X = pd.DataFrame(
        {
            "number": number,
            "other": other,
            "count": count,
            "color": pd.Categorical(color),
            "city": pd.Series(city, dtype=object),
            "member": member,
        }
    )
    label = pd.Series(np.where(target > np.median(target), "yes", "no"), name="label")
    return MixedTable(X, label, pd.Series(target, name="number"))


# a small net and its table

NET_ROWS, NET_MEMBERS = 120, 4
NET_RNG = np.random.RandomState(0)
NET_NUMBERS = NET_RNG.randn(NET_ROWS, 4) * [1, 5, 100, 0.1]
NET_NUMBERS[NET_RNG.rand(NET_ROWS, 4) < 0.05] = np.nan
NET_LEVELS = np.column_stack([NET_RNG.randint(0, 4, NET_ROWS), NET_RNG.randint(0, 13, NET_ROWS)]).astype(np.int32)
NET_TARGET = (np.nan_to_num(NET_NUMBERS[:, :1]) + NET_LEVELS[:, :1] + NET_RNG.randn(NET_ROWS, 1) * 0.3) * 7 + 3
NET_WEIGHT = NET_RNG.rand(NET_ROWS) + 0.5
NET_FOLD = NET_RNG.permutation(NET_ROWS) % NET_MEMBERS
TRAIN_INDEX = [np.flatnonzero(m != NET_FOLD) for m in range(NET_MEMBERS)]
VALIDATION_INDEX = [np.flatnonzero(m == NET_FOLD) for m in range(NET_MEMBERS)]
NET_PARAMS: dict[str, Any] = {
    "solver": "adamw",
    "norm": BatchNorm,
    "residual": False,
    "dropout": (0.3, 0.1),
    "input_dropout": 0.1,
    "penalty": ElasticNet(1e-3, 0.5),
    "constraint": MaxNorm(3.0),
    "clip_norm": 1.0,
    "weight_decay": 0.01,
    "patience": 3,
}
"""Parameters of ``make_net``, with which most mechanisms are active."""


def member_rows(members: Sequence[int], index: list[np.ndarray], dtype: torch.dtype) -> MemberRows:
    """Return the rows ``index[m]`` of the table of ``make_net`` for each member m."""
    rows = [index[m] for m in members]
    return MemberRows(NET_NUMBERS, NET_LEVELS, NET_TARGET, rows, NET_WEIGHT, dtype, torch.device("cpu"))


def make_net(
    members: Sequence[int],
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    lr: float = 0.01,
    epochs: int = 7,
    **changes: Any,
) -> tuple[Net, MemberRows, MemberRows]:
    """Return a net with some of the members, its training rows and its validation rows."""
    params = {**NET_PARAMS, **changes}
    criterion = params.pop("criterion", HalfSquaredError)
    structure = [params.pop(name) for name in ("norm", "residual", "dropout", "input_dropout")]
    weight = np.zeros((len(members), NET_ROWS))
    for row, m in zip(weight, members, strict=True):
        row[TRAIN_INDEX[m]] = NET_WEIGHT[TRAIN_INDEX[m]]
    statistics = learn_statistics(NET_NUMBERS, NET_LEVELS, [3, 12], weight, "robust")
    network = Network(
        InputLayer(statistics, [0], [1], 3.0, dtype),
        [12],
        8,
        params.pop("hidden", (16, 8)),
        1,
        params.pop("activation", activations.silu),
        *structure,
        *target_statistics(NET_TARGET, weight),
    )
    seeds = [member_seeds(seed, NET_MEMBERS)[m] for m in members]
    network.draw(initializers.he_normal, initializers.he_normal, [of_weights for of_weights, _ in seeds])
    known = {field.name for field in fields(TrainingConfig)}
    config = {name: params.pop(name) for name in list(params) if name in known}
    net = Net(
        network,
        criterion,
        TrainingConfig(learning_rate=lr, schedule=schedules.cosine, **config),
        max_epochs=epochs,
        batch_size=20,
        seeds=[of_training for _, of_training in seeds],
        min_delta=0.0,
        device="cpu",
        verbose=0,
        **params,
    ).initialize()
    return net, member_rows(members, TRAIN_INDEX, dtype), member_rows(members, VALIDATION_INDEX, dtype)


def train_net(net: Net, train_rows: MemberRows, validation_rows: MemberRows | None, epochs: int | None = None) -> Net:
    """Train a net without restoring the best weights, with early stopping if the net has a patience."""
    monitor = None if net.patience is None else LossMonitor()
    for _ in net.epochs(epochs or net.max_epochs, train_rows, validation_rows if monitor else None, monitor):
        pass
    return net
