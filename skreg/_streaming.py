"""A stream gives its rows part by part: each is trained on once, and what was learned of the first stays."""

from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch

from . import schedules
from ._base import RegularizedMLP
from ._blueprint import Blueprint
from ._course import Course
from ._net import Net
from ._parts import Part, Place, Split
from ._progress import FitProgress
from ._stopping import judge
from ._threads import torch_threads
from .callbacks import check_callbacks


class StreamingMLP(RegularizedMLP):
    """An estimator that also learns from a stream."""

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, *classes: Any) -> Self:
        """Train one pass over the rows; a call that raises leaves an estimator that was fitted as it was."""
        check_callbacks(self.callbacks)
        blueprint, course = Blueprint.of(self), replace(Course.of(self), schedule=schedules.constant)
        part = self._check_rows(X, y, sample_weight, True, *classes)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        progress = FitProgress(self, X, y, metadata, 1, lambda net: self._fitted(net.snapshot()))
        with torch_threads(self.n_threads), torch.inference_mode(False), torch.enable_grad():
            rows = Split(part, [np.arange(len(part))] * self.n_members, None, [], self._stream_place(len(part)))
            net = self._make_net(blueprint, course, rows, progress.hooks)
            if self._continues:
                net.follow(self.net_)
            net.pass_over(X, y, part.rows(rows.train_index, rows.place, self._weight_unit))
            self._take(net, progress.hooks)
        progress.close(lambda: self._fitted(self.net_))
        return self

    def _stream_place(self, n_rows: int) -> Place:
        """Device and precision; what "auto" leaves open goes by the first rows, and float32 by itself."""
        precision, batch_size = self.precision, self.batch_size
        if self._continues:
            kept = self.net_.module_.inputs.dtype
            batch_size = self.net_.batch_size if batch_size == "auto" else batch_size
        else:
            kept = torch.float32
        precision = str(kept).removeprefix("torch.") if precision == "auto" else precision
        return Place.of(self.device, precision, n_rows, batch_size)

    def _take(self, net: Net, hooks: list[Any]) -> None:
        """Have the net that was trained predict, if every member has weights that do."""
        for name in ("oof_prediction_", "oof_score_"):
            self.__dict__.pop(name, None)
        net.finish(hooks, self.warm_start)
        if bool(net.stopping_.best_epoch.all()):
            self.__dict__.update(self._fitted(net))
        judge(net.stopping_, self._against_divergence)
