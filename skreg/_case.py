"""A case is what is known of a fitted estimator: its training, its layers, its rows, and how well it predicts them.

What a check may want and others do not is worked out when it is first asked for.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ._comparison import Comparison, compare_classes, compare_numbers
from ._probe import Probe, Training, probe, training_of
from ._utils.threads import torch_threads
from ._utils.validation import check_validation_set
from .data.batches import MemberRows
from .data.split import EncodedTable
from .estimators.fitting import encode, split_rows

MOST_ROWS = 2000
MOST_COLUMNS = 300
MOST_JUDGED = 1000
FEWEST_ROWS = 20


@dataclass(frozen=True)
class Seen:
    """How rows are predicted, by the members that saw them alike: in training, or not at all.

    Attributes
    ----------
    rows : int ndarray of shape (n,)
        Which rows.
    loss, baseline : ndarray of shape (n,)
        The estimator's loss of each, and that of the best constant; both times the row's weight.
    decoded : ndarray of shape (n, ...)
        Logarithm of the probabilities, or the predictions.
    """

    rows: np.ndarray
    loss: np.ndarray
    baseline: np.ndarray
    decoded: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Columns:
    """Some rows of a table, column by column as the user knows them.

    Attributes
    ----------
    names : list of str
        Of the columns.
    numeric : bool ndarray of shape (n_columns,)
        Which are numbers; the others are codes of categories.
    values : ndarray of shape (rows, n_columns)
        Numbers and codes, NaN where a value is missing.
    rows : int ndarray of shape (rows,)
        Which rows.
    places : int ndarray of shape (n_columns,)
        Where each stands among the encoded columns, numbers first.
    """

    names: list[str]
    numeric: np.ndarray
    values: np.ndarray
    rows: np.ndarray
    places: np.ndarray

    @property
    def filled(self) -> np.ndarray:
        """The values, medians in place of what is missing."""
        missing = np.isnan(self.values)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a column without any value
            middle = np.nan_to_num(np.nanmedian(self.values, axis=0))
        return np.where(missing, middle, self.values)


class Case:
    """A fitted estimator, its rows, and what can be seen of both.

    Parameters
    ----------
    estimator : RegularizedMLPClassifier or RegularizedMLPRegressor
        A fitted one.
    X, y
        What it was fitted on.
    X_val, y_val
        Rows that it was not trained on, or None.

    Attributes
    ----------
    training : Training
        The course of the fit.
    part, own : Part
        The rows of ``X``, and those of ``X_val`` or None.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, X_val: Any, y_val: Any) -> None:
        check_is_fitted(estimator)
        check_validation_set(X_val, y_val, None)
        check_consistent_length(X, y)
        self.estimator = estimator
        self.training: Training = training_of(estimator)
        self.part = encode(estimator, X, y)
        self.own = None if X_val is None else encode(estimator, X_val, y_val)
        self._refuse_other_rows()
        self._split_rows()

    @property
    def classifies(self) -> bool:
        """Whether the target are exclusive classes."""
        return getattr(self.estimator.target_encoder_, "kind_", "numbers") in ("binary", "multiclass")

    @property
    def parameters(self) -> dict[str, Any]:
        """The estimator's parameters."""
        return self.estimator.get_params(deep=False)

    def _refuse_other_rows(self) -> None:
        """Refuse an X that cannot be that of the fit, where that is known."""
        known = getattr(self.estimator, "oof_prediction_", None)
        if known is not None and len(known) != len(self.part):
            raise ValueError(
                f"X has {len(self.part)} rows, and the estimator was fitted on {len(known)}: X and y must be those of "
                "the fit. Give other rows as X_val and y_val."
            )

    def _split_rows(self) -> None:
        """Tell again who was trained on which rows, and watched on which."""
        members, everyone = len(self.training.best_epoch), np.arange(len(self.part))
        self._trained_on, self._held_out = [everyone] * members, None
        if self.training.validation is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                split = split_rows(self.estimator, self.part)
            if split.validation is not None:
                self._trained_on, self._held_out = split.train_index, split.validation_index
        if self.own is not None:
            self._held_out = [np.arange(len(self.own))] * members

    # what the network makes of the rows

    @cached_property
    def train(self) -> Seen:
        """Rows that members were trained on."""
        return self._see(self.part, self._trained_on)

    @cached_property
    def held(self) -> Seen | None:
        """Rows that members were not trained on."""
        return None if self._held_out is None else self._see(self.held_part, self._held_out)

    @property
    def held_part(self) -> EncodedTable:
        """Where these come from."""
        return self.part if self.own is None else self.own

    @cached_property
    def initial(self) -> Probe | None:
        """The layers before the training; None where another training went before."""
        if self.parameters["warm_start"] or self.estimator.pretrained is not None:
            return None
        return probe(self.estimator, self.part.X, self.part.y, "initial", 500)

    @cached_property
    def now(self) -> Probe:
        """The layers that predict."""
        return probe(self.estimator, self.part.X, self.part.y, "now", 500)

    def _see(self, part: EncodedTable, index: list[np.ndarray]) -> Seen:
        """Predict rows by the members that they belong to, and average over these."""
        index = [_some(rows, MOST_ROWS) for rows in index]
        net = self.estimator.net_
        members, networks = len(index), net.module_.n_members
        kept = MemberRows(
            part.table.numbers,
            part.table.levels,
            part.target,
            index * (networks // members),
            part.cost,
            net.module_.inputs.dtype,
            net.module_.head.weight.device,
        )
        with torch_threads(self.estimator.n_threads), torch.inference_mode(False), torch.no_grad():
            raw, target, weight = net.raw_of(kept)
            loss = self._of_rows(raw, target, weight)
            baseline = self._of_rows(self._constant(raw), target, weight)
            decoded = [
                self.estimator.target_encoder_.decode(net, raw[m, : len(rows)], m)
                for m, rows in zip((slice(m, None, members) for m in range(members)), index, strict=True)
            ]
        losses = [[each[m::members].mean(0)[: len(rows)] for m, rows in enumerate(index)] for each in (loss, baseline)]
        rows = np.concatenate(index)
        return Seen(np.unique(rows), *(_by_row(rows, np.concatenate(each)) for each in (*losses, decoded)))

    def _of_rows(self, raw: Tensor, target: Tensor, weight: Tensor) -> np.ndarray:
        """Loss of each row of each network."""
        each = (part.flatten(0, 1).unsqueeze(1) for part in (raw, target, weight))
        return self.estimator.net_.criterion_(*each).view(weight.shape).double().cpu().numpy()

    def _constant(self, raw: Tensor) -> Tensor:
        """The raw output that says the same of each row: the shares of the classes, or where a number starts."""
        if not hasattr(self.estimator, "classes_"):
            return torch.zeros_like(raw)
        target, cost = self.part.target, self.part.cost
        weight = np.ones(len(target)) if cost is None else cost
        if target.ndim == 1:
            share = np.bincount(target, weight, raw.shape[-1]) / weight.sum()
            logits = np.log(share.clip(1e-9))
        else:
            share = (np.average(target, axis=0, weights=weight)).clip(1e-9, 1 - 1e-9)
            logits = np.log(share / (1 - share))
        return torch.from_numpy(logits).to(raw).expand_as(raw)

    # what can be expected of the rows

    @cached_property
    def columns(self) -> Columns:
        """The columns of ``X``."""
        return self._columns(self.part, _some(np.arange(len(self.part)), MOST_ROWS))

    @cached_property
    def own_columns(self) -> Columns | None:
        """The columns of ``X_val``."""
        return None if self.own is None else self._columns(self.own, _some(np.arange(len(self.own)), MOST_ROWS))

    def _columns(self, part: EncodedTable, rows: np.ndarray) -> Columns:
        encoder, table = self.estimator.encoder_, part.table
        places, n_numbers = np.array([*encoder.numeric_, *encoder.categorical_], dtype=int), len(encoder.numeric_)
        chosen = _some(np.arange(len(places)), MOST_COLUMNS)
        numbers = table.numbers[rows][:, chosen[chosen < n_numbers]]
        codes = table.levels[rows][:, chosen[chosen >= n_numbers] - n_numbers]
        dense = numbers.toarray() if sparse.issparse(numbers) else numbers
        names = getattr(self.estimator, "feature_names_in_", None)
        known = [f"column {j}" if names is None else str(names[j]) for j in places[chosen]]
        return Columns(known, chosen < n_numbers, np.hstack([dense, codes]).astype(np.float64), rows, chosen)

    @cached_property
    def judged(self) -> Seen:
        """Rows by which the network is compared with other models: held-out ones where there are some."""
        seen = self.train if self.held is None else self.held
        most = MOST_JUDGED if self.own is not None else min(MOST_JUDGED, len(self.part) // 2)
        chosen = _some(np.arange(len(seen)), most)
        return Seen(seen.rows[chosen], seen.loss[chosen], seen.baseline[chosen], seen.decoded[chosen])

    @cached_property
    def comparison(self) -> Comparison | None:
        """The network beside plain models on the same rows; None where these do not predict what the network does.

        That is so for several labels at once, quantiles, and very few rows.
        """
        judged, part = self.judged, self.part if self.held is None else self.held_part
        everyone = np.arange(len(self.part))
        learn = _some(np.setdiff1d(everyone, judged.rows) if part is self.part else everyone, MOST_ROWS)
        y_learn, y = self.part.y[learn], part.y[judged.rows]
        numbers = not hasattr(self.estimator, "classes_") and self.estimator.loss != "quantile"
        if len(learn) < FEWEST_ROWS or not (self.classifies or numbers) or len(np.unique(y_learn)) < 2:
            return None
        X_learn, X = (self._columns(*rows).filled for rows in ((self.part, learn), (part, judged.rows)))
        if self.classifies:
            return compare_classes(X_learn, X, y_learn, y, judged.decoded, self.estimator.classes_)
        return compare_numbers(X_learn, X, y_learn, y, judged.decoded)


def _some(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, in order."""
    return rows if len(rows) <= most else np.sort(np.random.RandomState(0).choice(rows, most, replace=False))


def _by_row(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Means of the values of each row, rows in order."""
    _, place, count = np.unique(rows, return_inverse=True, return_counts=True)
    total = np.zeros((len(count), *values.shape[1:]))
    np.add.at(total, place, values)
    return total / count.reshape(-1, *[1] * (values.ndim - 1))
