"""Temperature scaling of a classifier, based on rows that were held out from training.

If members hold out folds, no row is held out by all of them, so the log loss of their mean on held-out rows is not
observed. It equals the mean log loss of the members minus their gain from averaging, ``log mean p - mean log p`` of the
true class. The first term is measured on each row by the member that held it out. The second term requires members that
differ, but no held-out rows, so it is measured for all members on the same rows. Because the members were trained on
most of these rows, they agree slightly too much: the variance is too small by 5 % to 20 %.
"""

from collections.abc import Callable
from math import exp, log, nan
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from ..data.batches import MemberRows
from ..data.split import MemberSplit
from ..network.inference import evaluate, prepare_rows

MAX_ROWS = 20_000
"""Maximum number of held-out rows used; a coverage measured on this many is accurate to about 0.25 %."""

MAX_ELEMENTS, MIN_ROWS = 1 << 21, 256
"""Maximum number of raw outputs of the held-out rows, unless there are fewer rows than in a training batch.

It bounds the memory to about 100 MB and the time to about a second with thousands of classes.
"""

TEMPERATURE_RANGE = 0.01, 100.0
MIN_TEMPERATURE_RATIO = 0.5
TOLERANCE = 1e-4
NEAR_RATIO, NEAR_STEPS = 1.15, 4
"""Ratio of the points of a parabola that approximates the loss, and largest number of parabolas."""
NEAR_TOLERANCE = 2e-3
"""Largest change of the logarithm of the temperature by the last parabola; the remaining error is much smaller."""


def check_held_out_rows(estimator: Any, split: MemberSplit) -> None:
    """Raise an error if a temperature is requested and no rows are held out."""
    if estimator.calibrate == "temperature" and split.validation is None:
        raise ValueError(
            "calibrate='temperature' needs held-out rows, but early_stopping="
            f"{estimator.early_stopping!r} holds out none of {len(split.train)} rows. Set early_stopping=True, pass "
            "X_val and y_val, or set calibrate=None."
        )


def check_partial_fit(estimator: Any, calibrated: bool) -> None:
    """Raise an error if ``partial_fit`` has to learn a temperature and no ``fit`` has ``calibrated`` before."""
    if estimator.calibrate == "temperature" and not calibrated:
        raise ValueError(
            "calibrate='temperature' needs held-out rows, but partial_fit holds out none. Call fit first, set "
            "calibrate=None, or calibrate the fitted estimator on other rows with sklearn.calibration."
            "CalibratedClassifierCV(FrozenEstimator(estimator), method='temperature')."
        )


def fit_temperature(net: Any, split: MemberSplit) -> float:
    """Return the temperature that minimizes the log loss of the members' mean on held-out rows.

    The raw output of each member is divided by the temperature, which is in [0.01, 100]. Targets are smoothed by
    ``1 / (rows + 1)`` (Platt 1999, "Probabilistic outputs for support vector machines", section 2.2); otherwise, the
    temperature would approach 0 if all rows are predicted well.

    For members with different validation rows, the result is between half of the temperature that is best for single
    members and this temperature.
    """
    return HeldOutLoss(net.criterion_.log_probability, held_out_outputs(net, split)).temperatures()[-1]


class HeldOutOutputs(NamedTuple):
    """Held-out rows and the raw output of all members for them."""

    rows: np.ndarray  # positions (rows,) in split.validation
    raw: Tensor  # (members, rows, outputs)
    target: Tensor  # (rows, ...)
    weight: Tensor  # weights in the loss, (rows,)
    member: np.ndarray | None  # member that held out each row, (rows,); None if all members did

    @classmethod
    def of(cls, split: MemberSplit, raw: Tensor, target: Tensor, weight: Tensor) -> Self:
        """Return the result of ``evaluate`` for ``held_out_rows`` with the positions of the rows."""
        index = held_out_index(split, raw.shape[2])
        member = np.repeat(np.arange(len(index)), list(map(len, index)))
        shared = split.validation is not split.train
        return cls(np.concatenate(index), raw, target[0], weight[0], None if shared else member)


def held_out_index(split: MemberSplit, n_raw: int) -> list[np.ndarray]:
    """Return evenly spaced held-out rows of each member, or of all members together if they hold out the same rows.

    There are at most ``MAX_ROWS`` of them, and fewer if all members together have many raw outputs for each row.
    """
    assert split.validation is not None
    index = split.validation_index if split.validation is split.train else split.validation_index[:1]
    index = [split.validation.weighted(rows) for rows in index]
    limit = min(MAX_ROWS, max(MIN_ROWS, MAX_ELEMENTS // (split.n_members * n_raw)))
    step = -(-sum(map(len, index)) // limit)
    return [rows[::step] for rows in index]


def evaluations_after_training(split: MemberSplit, n_raw: int) -> float:
    """Return the approximate time for calibration and out-of-fold predictions.

    The unit is the time to compute the raw output of all validation rows and its loss. The temperature is found in
    about 60 evaluations of its loss, which are slow for many classes: it takes 4 units per row for one raw output, 8
    for ten, and 80 for 2,000.
    """
    if split.validation is None:
        return 0.0
    held_out = sum(map(len, held_out_index(split, n_raw))) / max(map(len, split.validation_index))
    return held_out * (5 + n_raw / 25) + (3 if split.covers_all else 0)


def held_out_outputs(net: Any, split: MemberSplit) -> HeldOutOutputs:
    """Compute the raw output for the rows of ``held_out_index``."""
    return HeldOutOutputs.of(split, *evaluate(net.module_, prepare_rows(net.module_, held_out_rows(net, split))))


def held_out_rows(net: Any, split: MemberSplit) -> MemberRows:
    """Return the rows of ``held_out_index``, each of them for all members."""
    assert split.validation is not None
    rows = np.concatenate(held_out_index(split, net.module_.head.weight.shape[2]))
    return split.validation.rows([rows] * net.module_.n_members, split.device_config)


class HeldOutLoss:
    """Log loss on held-out rows as a function of the temperature.

    ``log_probability`` maps raw output to log probabilities.
    """

    def __init__(self, log_probability: Callable[[Tensor], Tensor], outputs: HeldOutOutputs) -> None:
        self._log_probability, self._raw = log_probability, outputs.raw.double()
        self._target, weight = outputs.target.long().unsqueeze(-1), outputs.weight.double()
        self._weight = weight / weight.sum()
        self._own: Tensor | None = None
        if outputs.member is not None:
            member = torch.as_tensor(outputs.member, device=self._raw.device)
            self._own = self._raw[member, torch.arange(len(member), device=self._raw.device)]

    def temperatures(self, near: tuple[float, ...] = ()) -> tuple[float, ...]:
        """Return the temperature that is best for single members, and if several held out rows, that for their mean.

        The results for a similar raw output, ``near`` these, make the search faster and less precise.
        """
        alone = _minimize_near(self.of_members, *TEMPERATURE_RANGE, near[:1])
        if self._own is None or len(self._raw) == 1:
            return (alone,)
        return alone, _minimize_near(self.of_mean, alone * MIN_TEMPERATURE_RATIO, alone, near[1:])

    def of_members(self, temperature: float) -> float:
        """Return the log loss of the members that held out the rows, or of their mean if all members did."""
        if self._own is None:
            log_probability = self._log_mean(self._log_probability(self._raw / temperature))
        else:
            log_probability = self._log_probability(self._own / temperature)
        smoothing = 1 / (len(self._weight) + 1)
        return self._mean(-(1 - smoothing) * self._of_target(log_probability) - smoothing * log_probability.mean(-1))

    def of_mean(self, temperature: float) -> float:
        """Return the log loss that the mean of all members would have if all of them had held the rows out."""
        each = self._of_target(self._log_probability(self._raw / temperature))
        return self.of_members(temperature) - self._mean(self._log_mean(each) - each.mean(0))

    @staticmethod
    def _log_mean(log_probability: Tensor) -> Tensor:
        """Logarithm of the mean probability over axis 0."""
        if len(log_probability) == 1:
            return log_probability[0]
        return torch.logsumexp(log_probability, 0) - log(len(log_probability))

    def _of_target(self, log_probability: Tensor) -> Tensor:
        target = self._target.expand(*log_probability.shape[:-1], 1)
        return log_probability.gather(-1, target)[..., 0]

    def _mean(self, rows: Tensor) -> float:
        """Weighted mean over the rows of the sum over labels."""
        return float((rows.flatten(1).sum(1) if rows.dim() > 1 else rows) @ self._weight)


def _minimize(loss: Callable[[float], float], low: float, high: float) -> float:
    """Return the minimizer of a loss in an interval of positive numbers, found on a logarithmic scale."""
    bounds = log(low), log(high)
    found = minimize_scalar(lambda t: loss(exp(t)), bounds=bounds, method="bounded", options={"xatol": TOLERANCE})
    return exp(found.x)


def _minimize_near(loss: Callable[[float], float], low: float, high: float, near: tuple[float, ...]) -> float:
    """Return the minimizer of a loss in an interval, with fewer evaluations if it is close to ``near``.

    Each step finds the minimum of a parabola through three points, in the logarithm of the temperature.
    """
    step, first, last = log(NEAR_RATIO), log(low), log(high)
    for start in near:
        point = log(start)
        for _ in range(NEAR_STEPS):
            middle = min(max(point, first + step), last - step)
            points = [middle - step, middle, middle + step]
            values = [loss(exp(x)) for x in points]
            if values[0] + values[2] <= 2 * values[1]:
                break
            point = _vertex(points, values)
            if first < point < last and abs(point - middle) <= step:
                return _refine(loss, points, values, point) or _minimize(loss, low, high)
            for bound, outermost in ((first, first + step), (last, last - step)):
                if middle == outermost and abs(point - middle) > step and (point - middle) * (bound - middle) > 0:
                    return exp(bound)
            point = min(max(point, middle - NEAR_STEPS * step), middle + NEAR_STEPS * step)
    return _minimize(loss, low, high)


def _refine(loss: Callable[[float], float], points: list[float], values: list[float], point: float) -> float | None:
    """Return the minimizer of a loss close to the vertex ``point`` of the parabola through three points."""
    lowest, highest = points[0], points[-1]
    order = (2, 1) if point > points[1] else (0, 1)
    points, values = [points[i] for i in order], [values[i] for i in order]
    for _ in range(NEAR_STEPS):
        points, values = [*points[-2:], point], [*values[-2:], loss(exp(point))]
        before, point = point, _vertex(points, values)
        if not lowest < point < highest:
            return None
        if abs(point - before) <= NEAR_TOLERANCE:
            return exp(point)
    return None


def _vertex(x: list[float], y: list[float]) -> float:
    """Return the position of the extremum of the parabola through three points, NaN if they are not distinct."""
    (a, b, c), (before, at, after) = x, y
    left, right = (b - a) * (at - after), (b - c) * (at - before)
    return b - ((b - a) * left - (b - c) * right) / (2 * (left - right)) if left != right else nan
