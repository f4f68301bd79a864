"""An estimator, its data, and quantities that several checks need, each computed when it is first used."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.impute import SimpleImputer
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._utils.torch_settings import torch_settings
from .._utils.validation import check_lengths, check_validation_set
from ..data.table import EncodedTable
from ..estimators.base import RegularizedMLP
from ..estimators.fitting import encode, split_rows
from ..network.inference import evaluate, prepare_rows
from .baselines import BaselineComparison, compare_classifiers, compare_regressors
from .curves import TrainingCurves
from .probe import Probe, member_rows, probe, sample

MAX_ROWS, MAX_COLUMNS, PROBED_ROWS = 2000, 300, 500
MAX_COMPARED_ROWS, MIN_BASELINE_ROWS = 1000, 20


@dataclass(frozen=True)
class RowLosses:
    """Losses and predictions of n rows, averaged over the members that trained on each row, or those that did not."""

    rows: np.ndarray  # (n,), indices of the rows
    y: np.ndarray  # (n, ...), targets
    loss: np.ndarray  # (n,), loss of the estimator times the row's weight
    constant_loss: np.ndarray  # (n,), the same of the best constant prediction
    decoded: np.ndarray  # (n, ...), log probabilities or predictions

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class ColumnSample:
    """A sample of the rows and columns of a table, with the columns as the user passed them."""

    names: list[str]
    numeric: np.ndarray  # (n_columns,), whether each column is numeric; the others are categories
    values: np.ndarray  # (n_rows, n_columns), numbers and category codes; NaN marks missing values
    rows: np.ndarray  # (n_rows,), indices of the rows
    encoded_index: np.ndarray  # (n_columns,), positions among the encoded columns, numeric columns first

    @cached_property
    def imputed(self) -> np.ndarray:
        """The values; missing ones are replaced by the median of their column, or by 0 if the column is empty."""
        imputer = SimpleImputer(strategy="median", keep_empty_features=True)
        return np.asarray(imputer.fit_transform(self.values))


class DiagnosticContext:
    """A fitted estimator, the data that it was fitted on, and optional rows that were not used for training."""

    def __init__(
        self,
        estimator: RegularizedMLP,
        X: Any,
        y: Any,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight: Any = None,
        sample_weight_val: Any = None,
    ) -> None:
        check_is_fitted(estimator)
        check_validation_set(X_val, y_val, sample_weight_val)
        check_lengths(X=X, y=y)
        self.estimator: Any = estimator  # fitted attributes are set dynamically, so type checkers do not know them
        self.parameters: dict[str, Any] = estimator.get_params(deep=False)
        self.curves = TrainingCurves.from_net(self.estimator.net_)
        self.data = encode(estimator, X, y, sample_weight)
        self.validation_data = None
        if X_val is not None:
            self.validation_data = encode(estimator, X_val, y_val, sample_weight_val, "_val")
        out_of_fold = getattr(estimator, "oof_prediction_", None)
        n_given = len(self.data.given_rows)
        if out_of_fold is not None and len(out_of_fold) != n_given:
            raise ValueError(
                f"X has {n_given} rows, but the estimator was fitted on {len(out_of_fold)} rows. Pass the "
                "training data as X and y, and other rows as X_val and y_val."
            )
        self._reproduce_split()

    @property
    def is_classification(self) -> bool:
        """Whether the target consists of mutually exclusive classes."""
        return getattr(self.estimator.target_encoder_, "kind_", "numbers") in ("binary", "multiclass")

    def _reproduce_split(self) -> None:
        """Reproduce which rows each member was trained on and which it held out."""
        n_members, all_rows = len(self.curves.best_epoch), self.data.weighted()
        self.trained_rows: list[np.ndarray] = [all_rows] * n_members  # of each member, in `data`
        self.held_out_rows: list[np.ndarray] | None = None  # of each member, in `held_out_data`
        if self.curves.validation is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # the fit has warned already
                split = split_rows(self.estimator, self.data)
            if split.validation is not None:
                self.trained_rows = split.train_index
                self.held_out_rows = [self.data.weighted(rows) for rows in split.validation_index]
        if self.validation_data is not None:
            self.held_out_rows = [self.validation_data.weighted()] * n_members

    @cached_property
    def initial_layers(self) -> Probe | None:
        """The layers before training; None if training continued from an earlier fit."""
        if self.parameters["warm_start"] or self.estimator.pretrained is not None:
            return None
        return probe(self.estimator, self.data.X, self.data.y, "initial", PROBED_ROWS, self.data.weight)

    @cached_property
    def fitted_layers(self) -> Probe:
        """The layers with the weights used for prediction."""
        return probe(self.estimator, self.data.X, self.data.y, "now", PROBED_ROWS, self.data.weight)

    @cached_property
    def train(self) -> RowLosses:
        """Losses of rows that members were trained on."""
        return self._losses(self.data, self.trained_rows)

    @cached_property
    def held_out(self) -> RowLosses | None:
        """Losses of rows that members were not trained on; None if there are no such rows."""
        return None if self.held_out_rows is None else self._losses(self.held_out_data, self.held_out_rows)

    @property
    def held_out_data(self) -> EncodedTable:
        """The data that ``held_out_rows`` and ``evaluated`` refer to."""
        return self.data if self.validation_data is None else self.validation_data

    @property
    def evaluated(self) -> RowLosses:
        """Losses of held-out rows if there are any, otherwise of training rows."""
        return self.train if self.held_out is None else self.held_out

    def _losses(self, data: EncodedTable, rows_of_members: list[np.ndarray]) -> RowLosses:
        """Evaluate each member on its rows, and average the results over the members for each row."""
        index = [sample(rows, MAX_ROWS) for rows in rows_of_members]
        net, decode = self.estimator.net_, self.estimator.target_encoder_.decode
        with torch_settings(self.estimator.n_threads), torch.no_grad():
            batches = member_rows(net.module_, data, index)
            raw, target, weight = evaluate(net.module_, prepare_rows(net.module_, batches))
            loss = self._loss_per_row(raw, target, weight)
            constant_loss = self._loss_per_row(self._constant(raw), target, weight)
            decoded = [decode(net, raw[m : m + 1, : len(own)], slice(m, m + 1)) for m, own in enumerate(index)]
        losses = ([each[m, : len(own)] for m, own in enumerate(index)] for each in (loss, constant_loss))
        rows = np.concatenate(index)
        means = (_mean_by_row(rows, np.concatenate(values)) for values in (*losses, decoded))
        return RowLosses(np.unique(rows), data.y[np.unique(rows)], *means)

    def _loss_per_row(self, raw: Tensor, target: Tensor, weight: Tensor) -> np.ndarray:
        """Loss of each row and member, computed as if each row were a separate member."""
        single_rows = (values.flatten(0, 1).unsqueeze(1) for values in (raw, target, weight))
        loss: Tensor = self.estimator.net_.criterion_(*single_rows)
        return loss.view(weight.shape).double().cpu().numpy()

    def _constant(self, raw: Tensor) -> Tensor:
        """Raw output of the best constant prediction: the class frequencies, or the mean of the target."""
        if not hasattr(self.estimator, "classes_"):
            return torch.zeros_like(raw)
        target, weight = self.data.target, self.data.loss_weight
        weight = np.ones(len(target)) if weight is None else weight
        if target.ndim == 1:
            share = np.bincount(target, weight, raw.shape[-1]) / weight.sum()
            logits = np.log(share.clip(1e-9))
        else:
            share = np.average(target, axis=0, weights=weight).clip(1e-9, 1 - 1e-9)
            logits = np.log(share / (1 - share))
        return torch.from_numpy(logits).to(raw).expand_as(raw)

    @cached_property
    def columns(self) -> ColumnSample:
        """A sample of ``X``."""
        return self._sample_columns(self.data)

    @cached_property
    def validation_columns(self) -> ColumnSample | None:
        """A sample of ``X_val``."""
        return None if self.validation_data is None else self._sample_columns(self.validation_data)

    def _sample_columns(self, data: EncodedTable, rows: np.ndarray | None = None) -> ColumnSample:
        rows, encoder = sample(data.weighted(), MAX_ROWS) if rows is None else rows, self.estimator.encoder_
        original_index = np.array([*encoder.numeric_, *encoder.categorical_], dtype=int)
        n_numeric = len(encoder.numeric_)
        chosen = sample(np.arange(len(original_index)), MAX_COLUMNS)
        numbers = data.numbers[rows][:, chosen[chosen < n_numeric]]
        codes = data.levels[rows][:, chosen[chosen >= n_numeric] - n_numeric]
        dense = numbers.toarray() if sparse.issparse(numbers) else numbers
        known = getattr(self.estimator, "feature_names_in_", None)
        names = [f"column {j}" if known is None else str(known[j]) for j in original_index[chosen]]
        return ColumnSample(names, chosen < n_numeric, np.hstack([dense, codes]).astype(np.float64), rows, chosen)

    @cached_property
    def comparison(self) -> BaselineComparison | None:
        """Losses of the network and of baselines on the same rows: held-out rows if there are any.

        None if the baselines cannot predict the same target (multilabel targets, quantiles) or there are too few rows.
        """
        losses, data = self.evaluated, self.held_out_data
        limit = MAX_COMPARED_ROWS if self.validation_data is not None else min(MAX_COMPARED_ROWS, len(self.data) // 2)
        index, all_rows = sample(np.arange(len(losses)), limit), self.data.weighted()
        rows, y, decoded = losses.rows[index], losses.y[index], losses.decoded[index]
        fit_rows = sample(np.setdiff1d(all_rows, rows) if data is self.data else all_rows, MAX_ROWS)
        y_fit = self.data.y[fit_rows]
        is_regression = not hasattr(self.estimator, "classes_") and self.estimator.loss != "quantile"
        has_enough_rows = len(fit_rows) >= MIN_BASELINE_ROWS and len(np.unique(y_fit)) > 1
        if not (self.is_classification or is_regression) or not has_enough_rows:
            return None
        X_fit, X = self._sample_columns(self.data, fit_rows).imputed, self._sample_columns(data, rows).imputed
        if self.is_classification:
            return compare_classifiers(X_fit, y_fit, X, y, decoded, self.estimator.classes_)
        return compare_regressors(X_fit, y_fit, X, y, decoded)


def _mean_by_row(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean of the values of each distinct row, ordered by row."""
    _, position, count = np.unique(rows, return_inverse=True, return_counts=True)
    total = np.zeros((len(count), *values.shape[1:]))
    np.add.at(total, position, values)
    return total / count.reshape(-1, *[1] * (values.ndim - 1))
