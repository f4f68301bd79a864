"""A calibration is what rows that were held out say of the predictions: how sure they may be, and how far off they are.

Where members hold out folds, no row is held out from all of them, so there is no held-out row of their mean. Its log
loss is known all the same: it is the mean log loss of the members, less what they gain by being averaged,
``log mean p - mean log p`` of the true class. The first is measured by each row's own member. The second needs no row
to be new to a member, only that members differ; it is measured by all members on the same rows. Those have trained on
most of them and so agree a little more than they will, by a twentieth to a fifth of the variance.
"""

from collections.abc import Callable
from math import exp, log
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from ..data.split import MemberSplit
from ..network.inference import eval_batches, evaluate

MOST_ROWS = 20_000
"""As many held-out rows calibrate: a share that they cover is right to within a quarter percent."""

RANGE = 0.01, 100.0
LEAST_SHARE = 0.5
TOLERANCE = 1e-4


def refuse_without_rows(estimator: Any, split: MemberSplit) -> None:
    """Refuse a calibration that is asked for where no rows are held out."""
    if estimator.calibrate == "temperature" and split.validation is None:
        raise ValueError(
            "calibrate='temperature' needs held-out rows, and none are: early_stopping="
            f"{estimator.early_stopping!r} holds out none of {len(split.train)} rows. Set early_stopping=True, pass "
            "X_val and y_val, or leave calibrate=None."
        )


def refuse_stream(estimator: Any, calibrated: bool) -> None:
    """Refuse a calibration that is asked of a stream, unless a ``fit`` before has ``calibrated`` the network."""
    if estimator.calibrate == "temperature" and not calibrated:
        raise ValueError(
            "calibrate='temperature' needs held-out rows, and partial_fit holds out none. Begin with fit, leave "
            "calibrate=None, or calibrate the fitted estimator on rows of your own with sklearn.calibration."
            "CalibratedClassifierCV(FrozenEstimator(estimator), method='temperature')."
        )


def fit_temperature(net: Any, split: MemberSplit) -> float:
    """The temperature at which the mean prediction of the members has the least log loss on held-out rows.

    It divides the raw output of each member. In [0.01, 100]; the truth of a row is smoothed by one part in ``rows + 1``
    (Platt 1999, "Probabilistic outputs for support vector machines", section 2.2), without which rows that are all
    predicted well would have it near 0.

    Parameters
    ----------
    net : Net
        The trained net.
    split : Split
        Who held out which rows.

    Returns
    -------
    float
        Of several members that hold out other rows at least half of what each needs alone, and at most that.
    """
    seen = look(net, split)
    raw = seen.raw.double().unflatten(0, (-1, len(split.validation_index)))
    held_out = HeldOut(net.criterion_.log_probability, raw, seen.target, seen.weight, seen.holder)
    alone = _minimise(held_out.loss, *RANGE)
    if seen.holder is None or raw.shape[1] == 1:
        return alone
    return _minimise(held_out.loss_of_mean, alone * LEAST_SHARE, alone)


class Look(NamedTuple):
    """Held-out rows, and what all networks say of them.

    Attributes
    ----------
    rows : int ndarray of shape (rows,)
        Where they stand in ``split.watched``.
    raw : Tensor of shape (networks, rows, outputs)
        Raw output.
    target, weight : Tensor of shape (rows, ...), Tensor of shape (rows,)
        As the loss sees them.
    holder : int ndarray of shape (rows,) or None
        Member that held out a row; None where all did.
    """

    rows: np.ndarray
    raw: Tensor
    target: Tensor
    weight: Tensor
    holder: np.ndarray | None


def look(net: Any, split: MemberSplit) -> Look:
    """Take held-out rows, at most ``MOST_ROWS`` of them and evenly, through all networks."""
    shared = split.validation is not split.train
    index = split.validation_index[:1] if shared else split.validation_index
    step = -(-sum(map(len, index)) // MOST_ROWS)
    index = [rows[::step] for rows in index]
    rows = np.concatenate(index)
    holder = np.repeat(np.arange(len(index)), list(map(len, index)))
    everything = split.validation.rows([rows] * net.module_.n_members, split.device_config)  # type: ignore[union-attr]  # asked where rows are held out
    raw, target, weight = evaluate(net.module_, eval_batches(net.module_, everything))
    return Look(rows, raw, target[0], weight[0], None if shared else holder)


class HeldOut:
    """Log loss of held-out rows at a temperature.

    Parameters
    ----------
    log_probability : callable Tensor -> Tensor
        The link.
    raw : Tensor of shape (networks of a member, members, rows, outputs)
        Raw output of all for all held-out rows.
    target : Tensor of shape (rows,) or (rows, outputs)
        Their truth: class numbers, or 0 and 1.
    weight : Tensor of shape (rows,)
        Weights of the rows.
    holder : int ndarray of shape (rows,) or None
        Member that held out a row; None where all did.
    """

    def __init__(
        self,
        log_probability: Callable[[Tensor], Tensor],
        raw: Tensor,
        target: Tensor,
        weight: Tensor,
        holder: np.ndarray | None,
    ) -> None:
        self._link, self._raw, self._truth = log_probability, raw, target.long().unsqueeze(-1)
        self._weight = weight.double() / weight.double().sum()
        self._smoothing = 1 / (len(weight) + 1)
        self._own: Tensor | None = None
        if holder is not None:
            self._own = raw[:, torch.as_tensor(holder, device=raw.device), torch.arange(len(holder), device=raw.device)]

    def loss(self, temperature: float) -> float:
        """Log loss of the members that held the rows out: each alone, or where all did their mean."""
        raw = self._raw.flatten(0, 1) if self._own is None else self._own
        return self._mean(-self._smoothed(self._average(self._link(raw / temperature))))

    def loss_of_mean(self, temperature: float) -> float:
        """Log loss that the mean of all members would have, had all of them held the rows out."""
        each = self._of_truth(self._average(self._link(self._raw / temperature)))
        return self.loss(temperature) - self._mean(self._average(each) - each.mean(0))

    @staticmethod
    def _average(log_probability: Tensor) -> Tensor:
        """Logarithm of the mean probability, over axis 0."""
        if len(log_probability) == 1:
            return log_probability[0]
        return torch.logsumexp(log_probability, 0) - log(len(log_probability))

    def _of_truth(self, log_probability: Tensor) -> Tensor:
        truth = self._truth.expand(*log_probability.shape[:-1], 1)
        return log_probability.gather(-1, truth)[..., 0]

    def _smoothed(self, log_probability: Tensor) -> Tensor:
        share = self._smoothing
        return (1 - share) * self._of_truth(log_probability) + share * log_probability.mean(-1)

    def _mean(self, rows: Tensor) -> float:
        """Weighted mean over the rows, several labels summed."""
        return float((rows.flatten(1).sum(1) if rows.dim() > 1 else rows) @ self._weight)


def _minimise(loss: Callable[[float], float], least: float, most: float) -> float:
    """Argument between two positive ones at which a loss is least, found on the logarithm."""
    bounds = log(least), log(most)
    found = minimize_scalar(lambda t: loss(exp(t)), bounds=bounds, method="bounded", options={"xatol": TOLERANCE})
    return exp(found.x)
