"""An entry is a fit between its checks and its training, which then goes on beside others."""

from __future__ import annotations

from typing import Any

import numpy as np

from .data.batches import MemberRows
from .data.split import MemberSplit
from .estimators.fitting import encode


def rows_to_predict(estimator: Any, X: Any, split: MemberSplit) -> MemberRows:
    """Rows to predict, all of them for each member, before the estimator is fitted."""
    encoded = encode(estimator, X)
    return encoded.rows([np.arange(len(encoded))] * split.n_members, split.device_config)
