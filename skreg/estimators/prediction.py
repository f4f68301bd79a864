"""Prediction: encode the rows, compute the raw output of all members in blocks of rows, and decode it.

This file also computes the predictions of single members, with or without Monte Carlo dropout, and their uncertainty.
"""

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from numbers import Integral
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data
from torch import Tensor

from .._utils.torch_settings import torch_settings
from .._utils.validation import check_flag, check_lengths, naming, parameter_error, seed_of
from ..data.batches import as_tensor, join_blocks, sparse_tensor
from ..data.containers import check_table, remove_void_rows
from ..data.table import TableEncoder
from ..network.inference import block_height, predict_raw, sample_raw
from ..training.net import Net
from ..uncertainty.decomposition import Uncertainty
from .targets import ClassTargetEncoder, NumberTargetEncoder

Estimator = TypeVar("Estimator")
MAX_SAMPLES = 1_000_000


def with_known_output(estimator: Estimator, net: Net, X: Any, raw: Tensor, members: slice = slice(None)) -> Estimator:
    """Copy an estimator so that it predicts like the ``members`` of ``net``, whose raw output for ``X`` is known.

    Scorers of a running fit receive such a copy. For the object ``X`` it decodes ``raw`` instead of computing it.
    """
    copied = copy.copy(estimator)
    vars(copied).update(net_=net, _known_output=(X, raw, members))
    return copied


class PredictionMixin:
    """Predictions of a fitted estimator, samples of predictions, and their uncertainty."""

    net_: Net
    encoder_: TableEncoder
    target_encoder_: ClassTargetEncoder | NumberTargetEncoder
    seed_: int
    n_threads: int | None
    _known_output: tuple[Any, Tensor, slice] | None = None  # X, raw output and members; see with_known_output

    @abstractmethod
    def _scored(self, decoded: np.ndarray) -> np.ndarray:
        """Return the labels or numbers that ``score`` compares with the target, given decoded predictions."""

    @abstractmethod
    def _metric(self, y: Any, prediction: np.ndarray, weight: np.ndarray | None) -> float:
        """Return the score of the results of ``_scored``."""

    @abstractmethod
    def _decompose(self, samples: np.ndarray) -> Uncertainty:
        """Decompose the uncertainty of formatted predictions ``(n_samples, rows, ...)``."""

    def _format_prediction(self, decoded: np.ndarray) -> np.ndarray:
        """Convert decoded predictions to the result of ``predict_proba`` or of the regressor's ``predict``."""
        return decoded

    def sample_predictions(
        self, X: Any, n_samples: int = 100, random_state: Any = None, *, dropout: bool = True
    ) -> np.ndarray:
        """Sample predictions of single members with Monte Carlo dropout.

        Sample s is the prediction of member ``s % n_members``. Each sample drops different units, at the rates used in
        training (Gal & Ghahramani 2016, "Dropout as a Bayesian approximation"), but the same units for all rows. The
        sample of a row depends neither on the other rows nor on the number of samples. Without dropout, the samples
        repeat after the last member.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_rows, n_features)
            Rows to predict, with the columns passed to ``fit``.
        n_samples : int, default=100
            Number of samples. Multiples of ``n_members`` use all members equally often.
        random_state : int, RandomState instance or None, default=None
            Seed for choosing the dropped units. None uses ``seed_``, so repeated calls return the same samples.
        dropout : bool, default=True
            Whether to apply dropout.

        Returns
        -------
        samples : ndarray of shape (n_samples, n_rows, ...)
            Probabilities or numbers, as ``predict_proba`` or ``predict`` would return them for a single member.
        """
        check_is_fitted(self)
        with torch_settings(self.n_threads):
            blocks = self._sample_blocks(X, n_samples, random_state, dropout)
            samples: np.ndarray = join_blocks(((block,) for block in blocks), _num_samples(X), axis=1)[0]
        return samples

    def predict_uncertainty(
        self, X: Any, n_samples: int = 100, random_state: Any = None, *, dropout: bool = True
    ) -> Uncertainty:
        """Estimate the uncertainty of each row, decomposed into an aleatoric and an epistemic part.

        In classification, the total uncertainty is the entropy of the mean probabilities, the aleatoric part is the
        mean entropy of the samples, and the epistemic part is their mutual information. In regression, the aleatoric
        part is the variance of the target around the predictions, estimated from the validation rows, the epistemic
        part is the variance of the samples, and the total is their sum. With several quantiles, the quantile closest
        to the median is used, and the aleatoric part is proportional to the squared distance between the outer
        quantiles. The epistemic part is 0 for a single member without dropout.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_rows, n_features)
            Rows to predict, with the columns passed to ``fit``.
        n_samples : int, default=100
            Number of samples; see ``sample_predictions``.
        random_state : int, RandomState instance or None, default=None
            Seed for choosing the dropped units. None uses ``seed_``.
        dropout : bool, default=True
            Whether to apply dropout.

        Returns
        -------
        uncertainty : Uncertainty
            Arrays ``mean``, ``total``, ``aleatoric`` and ``epistemic``, and ``source``, a description of the samples.

        Raises
        ------
        ValueError
            If a regressor was fitted without validation rows.
        """
        check_is_fitted(self)
        arrays_of = attrgetter("mean", "total", "aleatoric", "epistemic")
        with torch_settings(self.n_threads):
            blocks = self._sample_blocks(X, n_samples, random_state, dropout)
            results = map(arrays_of, map(self._decompose, blocks))
            mean, total, aleatoric, epistemic = join_blocks(results, _num_samples(X), axis=0)
        return Uncertainty(mean, total, aleatoric, epistemic, self._describe_samples(dropout))

    def _evaluate(self, X: Any, y: Any, sample_weight: Any) -> float:
        """Return the score of the predictions for the rows of positive weight; the others are not checked."""
        check_is_fitted(self)
        known = None if self._known_output is None else self._predict_decoded(X)  # before rows are removed
        X, y, weight, kept = remove_void_rows(X, y, sample_weight)
        check_lengths(X=X, y=y)
        with naming("y"):
            y = self.target_encoder_.check(y)
        decoded = self._predict_decoded(X) if known is None else known if kept is None else known[kept]
        with naming("y"):
            return self._metric(y, self._scored(decoded), weight)

    def _predict_decoded(self, X: Any) -> np.ndarray:
        """Decoded predictions for ``X``, averaged over the members."""
        check_is_fitted(self)
        decode = self.target_encoder_.decode
        known_X, known_raw, members = self._known_output or (None, None, slice(None))
        with torch_settings(self.n_threads):
            if known_raw is not None and X is known_X:
                return decode(self.net_, known_raw, members)
            blocks = self._raw_blocks(X, partial(predict_raw, self.net_.module_))
            decoded = ((decode(self.net_, raw[members], members),) for raw in blocks)
            joined: np.ndarray = join_blocks(decoded, _num_samples(X), axis=0)[0]
        return joined

    def _as_in_fit(self, values: np.ndarray) -> np.ndarray:
        """Convert probabilities to the type of the training rows; numbers stay float64, which target units may need."""
        return values

    def _sample_blocks(self, X: Any, n_samples: int, random_state: Any, dropout: bool) -> Iterator[np.ndarray]:
        """Check and encode rows, and iterate over the samples ``(n_samples, rows, ...)`` of blocks of them."""
        if isinstance(n_samples, bool) or not isinstance(n_samples, Integral) or not 1 <= n_samples <= MAX_SAMPLES:
            raise parameter_error(self, "n_samples", f"an int in the range [1, {MAX_SAMPLES}]", n_samples)
        check_flag(self, "dropout", dropout)
        seed = self.seed_ if random_state is None else seed_of(self, random_state)
        sample = partial(sample_raw, self.net_.module_, n_samples=int(n_samples), dropout=dropout, seed=seed)
        return map(self._decode_samples, self._raw_blocks(X, sample))

    def _decode_samples(self, raw: Tensor) -> np.ndarray:
        samples, n_members = [], self.net_.module_.n_members
        for s in range(len(raw)):
            member = slice(s % n_members, s % n_members + 1)
            decoded = self.target_encoder_.decode(self.net_, raw[s : s + 1], member)
            samples.append(self._format_prediction(decoded))
        return np.stack(samples)

    def _raw_blocks(self, X: Any, predict: Callable[[Tensor, Tensor | None], Tensor]) -> Iterator[Tensor]:
        """Check and encode rows, and iterate over the raw output ``(members or samples, rows, n_raw_)`` of blocks."""
        X = validate_data(self, check_table(X), reset=False, skip_check_array=True)
        return self._predict_blocks(*self.encoder_.transform(X), predict)

    def _predict_blocks(
        self, numbers: Any, levels: np.ndarray, predict: Callable[[Tensor, Tensor | None], Tensor]
    ) -> Iterator[Tensor]:
        device = torch.device(self.net_.device)
        height = block_height(self.net_.module_)
        for start in range(0, len(levels), height):
            block, codes = numbers[start : start + height], levels[start : start + height]
            if sparse.issparse(block):  # one copy for each member
                members = self.net_.module_.n_members
                given = sparse_tensor(block[np.tile(np.arange(block.shape[0]), members)], members).to(device)
            else:
                given = as_tensor(block, device)
            raw = predict(given, as_tensor(codes, device) if codes.shape[1] else None)
            if not bool(torch.isfinite(raw).all()):
                raise ValueError(
                    "The output of the network is not finite for some rows of X, because they contain numbers far "
                    "outside the range of the training rows. Rescale these numbers, or fit with "
                    "numeric_scaling='robust', which bounds them."
                )
            yield raw

    def _describe_samples(self, dropout: bool) -> str:
        n_members = self.net_.module_.n_members
        dropout = dropout and self.net_.module_.uses_dropout
        if n_members == 1 and not dropout:
            return "a single network without dropout, for which the epistemic uncertainty is 0"
        return f"{n_members} network{'s' if n_members > 1 else ''}{' with dropout' if dropout else ''}"
