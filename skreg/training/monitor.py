"""A monitor gives each member a score on its validation rows, greater being better."""

from collections.abc import Callable
from inspect import signature
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

REMEDY = (
    "Either the scorer does not suit the target (more than two classes, or labels that are text, want one such as "
    "'f1_macro' or 'roc_auc_ovr'), or these rows lack a class: use monitor='loss', another scorer, or more validation "
    "rows (validation_fraction=, X_val=)."
)


class Monitor(Protocol):
    """Scores of the members after an epoch."""

    name: str
    sign: int

    def __call__(self, raw: Tensor, loss: Tensor, active: Tensor) -> Tensor:
        """Scores ``(members,)``, greater is better.

        Parameters
        ----------
        raw : Tensor of shape (members, rows, outputs)
            Raw output on the validation rows.
        loss : Tensor of shape (members,)
            Mean loss on them.
        active : bool Tensor of shape (members,)
            Which members still train; of the others no score is needed.
        """
        ...


class LossMonitor:
    """The validation loss, its sign turned."""

    name, sign = "valid_loss", -1

    def __call__(self, raw: Tensor, loss: Tensor, active: Tensor) -> Tensor:
        """Minus the loss."""
        return -loss


class ScorerMonitor:
    """A scikit-learn scorer on the user's own validation rows.

    Parameters
    ----------
    scorer : callable (estimator, X, y) -> float
        Greater is better.
    view : callable (member, raw, X) -> estimator
        An estimator that predicts from the raw output of one member for ``X``.
    parts : list of (X, y, sample_weight or None)
        The validation rows of each member.
    """

    name, sign = "valid_score", 1

    def __init__(
        self, scorer: Callable[..., float], view: Callable[[int, Tensor, Any], Any], parts: list[tuple[Any, Any, Any]]
    ) -> None:
        self._scorer, self._view, self._parts = scorer, view, parts
        metric = getattr(scorer, "_score_func", None)
        self._weighs = metric is not None and "sample_weight" in signature(metric).parameters

    def __call__(self, raw: Tensor, loss: Tensor, active: Tensor) -> Tensor:
        """The scorer's value for each active member whose output is finite, NaN for the others."""
        wanted = active & torch.isfinite(raw).flatten(1).all(1).cpu()
        scores = [self._score(member, raw) if want else np.nan for member, want in enumerate(wanted.tolist())]
        return torch.tensor(scores, dtype=torch.float64)

    def _score(self, member: int, raw: Tensor) -> float:
        X, y, weight = self._parts[member]
        metadata = {"sample_weight": weight} if weight is not None and self._weighs else {}
        try:
            score = self._scorer(self._view(member, raw[member, : len(y)], X), X, y, **metadata)
        except ValueError as error:
            raise ValueError(
                f"The monitor failed on a member's {len(y)} validation rows: {str(error).rstrip('.')}. {REMEDY}"
            ) from error
        if not isinstance(score, (float, int, np.number)):
            raise TypeError(f"The monitor must return a number. {self._scorer!r} returned {score!r} instead.")
        if np.isnan(score):
            raise ValueError(f"The monitor is undefined (NaN) on a member's {len(y)} validation rows. {REMEDY}")
        return float(score)
