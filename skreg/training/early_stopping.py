"""Early stopping: the validation score of each member, its best epoch, its patience and the weights to keep."""

import warnings
from collections.abc import Callable
from inspect import signature
from typing import Any, Protocol

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

Tensors = list[Tensor]

_SCORER_REMEDY = (
    "The scorer may not support this target (for more than two classes, or labels that are strings, use a scorer such "
    "as 'f1_macro' or 'roc_auc_ovr'), or these rows may lack a class. Set monitor='loss', choose another scorer, or "
    "use more validation rows (validation_fraction=, X_val=)."
)


class EarlyStopping:
    """Track which members still train and which weights each of them keeps.

    With ``patience``, a member keeps the weights of its best epoch, and stops after ``patience`` epochs without an
    improvement of more than ``min_delta``. Without ``patience``, it keeps its last weights with a finite loss: the
    weights of an epoch are pending until the next epoch has shown that their loss is finite. A member with nonfinite
    values stops immediately.
    """

    def __init__(self, n_members: int, patience: float | None, min_delta: float) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best = torch.full((n_members,), -torch.inf, dtype=torch.float64)
        self.best_epoch = torch.zeros(n_members, dtype=torch.int64)  # from 1; 0 before the first epoch
        self.waited = torch.zeros(n_members, dtype=torch.int64)  # epochs since the last improvement
        self.active = torch.ones(n_members, dtype=torch.bool)
        self.diverged = torch.zeros(n_members, dtype=torch.bool)  # members that stopped because of nonfinite values
        self.kept: Tensors | None = None
        self.pending: Tensors | None = None
        self.pending_epoch = 0
        self.scores: list[Tensor] = []  # validation scores of each epoch, NaN for members that had stopped

    def update(
        self,
        epoch: int,
        score: Tensor | None,
        finite: Tensor,
        weights: Tensors,
        uses_patience: bool = True,
        may_stop: bool = True,
    ) -> None:
        """Process the validation scores ``(members,)`` and the current weights of an epoch, counted from 1.

        Greater scores are better, and NaN is not an improvement. ``finite`` states whether the loss and weights of each
        member are finite, ``uses_patience`` whether an epoch without improvement counts toward the patience, and
        ``may_stop`` whether members that have exhausted their patience stop after this epoch.
        """
        if score is not None:
            self.scores.append(torch.where(self.active, score, torch.nan))
        self.diverged |= self.active & ~finite
        self.active &= finite
        if self.patience is None or score is None:
            self.confirm(finite)
            self.pending, self.pending_epoch = [w.detach().clone() for w in weights], epoch
            return
        improved = self.active & ((score > self.best + self.min_delta) | (self.best_epoch == 0))
        self.best = torch.where(improved, torch.nan_to_num(score, nan=-torch.inf), self.best)
        self.best_epoch[improved] = epoch
        self._keep(weights, improved)
        self.waited = torch.where(improved, 0, self.waited + int(uses_patience))
        if may_stop:
            self.active &= self.waited < self.patience

    def confirm(self, finite: Tensor) -> None:
        """Keep the pending weights of the members whose loss with these weights is finite."""
        if self.pending is not None:
            good = finite & ~self.diverged
            self.diverged |= ~finite
            self.best_epoch[good] = self.pending_epoch
            self._keep(self.pending, good)
            self.pending = None

    def keep_initial(self, epoch: int, weights: Tensors) -> None:
        """Keep the ``weights`` of an earlier ``epoch``, which replace those of a member that diverges."""
        self.best_epoch[:] = epoch
        self._keep(weights, self.active)

    def _keep(self, weights: Tensors, members: Tensor) -> None:
        if self.kept is None:
            self.kept = [w.detach().clone() for w in weights]
        elif bool(members.all()):
            torch._foreach_copy_(self.kept, [w.detach() for w in weights])
        elif bool(members.any()):
            chosen = members.to(weights[0].device)
            for kept, weight in zip(self.kept, weights, strict=True):
                kept[chosen] = weight.detach()[chosen]

    @torch.no_grad()
    def restore(self, weights: Tensors) -> None:
        """Copy the kept weights into ``weights``."""
        if self.kept is not None:
            torch._foreach_copy_(list(weights), self.kept)

    def state_dict(self) -> dict[str, Any]:
        """Return all attributes."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of ``state_dict``."""
        vars(self).update(state)


def check_divergence(stopping: EarlyStopping, advice: str) -> None:
    """Warn if a member diverged; raise a ``ValueError`` if it did so in its first epoch, without earlier weights."""
    reason = "the loss or the weights are not finite"
    if bool((stopping.best_epoch == 0).any()):
        raise ValueError(f"The training diverged in its first epoch: {reason}. {advice}")
    if bool(stopping.diverged.any()):
        epoch = int(stopping.best_epoch[stopping.diverged].min())
        warnings.warn(
            f"The training diverged: {reason}. The weights of epoch {epoch} were restored. {advice}",
            ConvergenceWarning,
            stacklevel=2,
        )


class Monitor(Protocol):
    """Validation score of each member; greater is better.

    The column ``name`` of the history contains the score, or the negative score if ``greater_is_better`` is False.
    """

    name: str
    greater_is_better: bool
    uses_raw: bool

    def __call__(self, raw: Tensor, loss: Tensor, active: Tensor) -> Tensor:
        """Return the scores ``(members,)`` from raw output ``(members, rows, outputs)`` and mean loss ``(members,)``.

        Without ``uses_raw``, the raw output may be that of the first rows only.
        Only the scores of ``active`` members are used.
        """


class LossMonitor:
    """Score members by the negative validation loss."""

    name, greater_is_better, uses_raw = "valid_loss", False, False

    def __call__(self, raw: Tensor, loss: Tensor, active: Tensor) -> Tensor:  # noqa: ARG002 - as other monitors
        """Return the negative loss."""
        return -loss


class ScorerMonitor:
    """Score members by a scikit-learn scorer on their validation sets: X, y and sample weights of each member.

    ``make_estimator(member, raw, X)`` returns an estimator that predicts ``X`` from the raw output of a member.
    """

    name, greater_is_better, uses_raw = "valid_score", True, True

    def __init__(
        self,
        scorer: Callable[..., float],
        make_estimator: Callable[[int, Tensor, Any], Any],
        validation_sets: list[tuple[Any, np.ndarray, np.ndarray | None]],
    ) -> None:
        self._scorer, self._make_estimator, self._validation_sets = scorer, make_estimator, validation_sets
        metric = getattr(scorer, "_score_func", None)
        self._accepts_weight = metric is not None and "sample_weight" in signature(metric).parameters

    def __call__(self, raw: Tensor, loss: Tensor, active: Tensor) -> Tensor:  # noqa: ARG002 - as other monitors
        """Return the scores of the active members whose output is finite, and NaN for the others."""
        scores = torch.full((len(active),), torch.nan, dtype=torch.float64)
        for member in (active & torch.isfinite(raw).flatten(1).all(1).cpu()).nonzero()[:, 0].tolist():
            scores[member] = self._score(member, raw)
        return scores

    def _score(self, member: int, raw: Tensor) -> float:
        X, y, weight = self._validation_sets[member]
        rows = f"the {len(y)} validation rows of a member"
        metadata = {"sample_weight": weight} if weight is not None and self._accepts_weight else {}
        try:
            score = self._scorer(self._make_estimator(member, raw[member, : len(y)], X), X, y, **metadata)
        except Exception as error:  # user-defined scorers can raise anything
            raise ValueError(f"The monitor failed on {rows}: {str(error).rstrip('.')}. {_SCORER_REMEDY}") from error
        if not isinstance(score, (float, int, np.number)):
            raise TypeError(f"The monitor must return a number. {self._scorer!r} returned {score!r} instead.")
        if np.isnan(score):
            raise ValueError(f"The monitor is undefined (NaN) on {rows}. {_SCORER_REMEDY}")
        return float(score)
