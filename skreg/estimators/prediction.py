"""A prediction of a fitted estimator: rows checked, encoded and taken through the networks block by block."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from .._utils.threads import torch_threads
from ..data.batches import as_tensor
from ..data.table import check_table
from ..network.inference import PREDICT_ROWS, predict_raw


class Prediction:
    """How an estimator predicts.

    Attributes
    ----------
    net_ : Net
        The trained net.
    encoder_ : TableEncoder
        Of the columns.
    n_threads : int or None
        Of torch.
    """

    net_: Any
    encoder_: Any
    n_threads: int | None

    @abstractmethod
    def _decode(self, raw: Tensor, members: slice) -> np.ndarray:
        """What ``raw`` ``(members, rows, outputs)`` of some members says on average: log probabilities, or numbers."""

    def _predict_decoded(self, X: Any) -> np.ndarray:
        """Decoded predictions for ``X``, members averaged."""
        check_is_fitted(self)
        seen: _Seen | None = self.__dict__.get("_seen")
        members = slice(None) if seen is None else seen.members
        if seen is not None and X is seen.X:
            return self._decode(seen.raw, members)
        X = validate_data(self, check_table(X), reset=False, skip_check_array=True)
        with torch_threads(self.n_threads):
            return np.concatenate([self._decode(raw[members], members) for raw in self._raw_blocks(X)])

    def _raw_blocks(self, X: Any, draw: Callable[[Tensor, Tensor | None], Tensor] | None = None) -> Iterator[Tensor]:
        """Raw output ``(members, rows, outputs)`` of blocks of rows, or what ``draw`` makes of them."""
        predict = partial(predict_raw, self.net_.module_) if draw is None else draw
        (numbers, levels), device = self.encoder_.transform(X), torch.device(self.net_.device)
        for start in range(0, len(levels), PREDICT_ROWS):
            block = numbers[start : start + PREDICT_ROWS]
            dense = block.toarray() if sparse.issparse(block) else block
            codes = levels[start : start + PREDICT_ROWS]
            raw = predict(as_tensor(dense, device), as_tensor(codes, device) if codes.shape[1] else None)
            if not bool(torch.isfinite(raw).all()):
                raise ValueError(
                    "The network's output is not finite for some rows of X: their numbers are far beyond those it was "
                    "fitted on. numeric_scaling='robust' bounds them."
                )
            yield raw

    def _view(self, net: Any, raw: Tensor, X: Any, members: slice) -> Self:
        """The estimator as if ``net`` were fitted and had these members only, their raw output for ``X`` at hand."""
        view = copy.copy(self)
        view.__dict__.update(net_=net, _seen=_Seen(X, raw, members))
        return view


@dataclass(frozen=True)
class _Seen:
    """Rows whose raw output, of some members, is at hand."""

    X: Any
    raw: Tensor
    members: slice
