"""Adam and AdamW."""

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any, ClassVar

import torch
from torch import Tensor

from .base import FirstOrderOptimizer, ParameterGroup, Rate, gradients_of

EPS = 1e-6
"""Constant added to the square root of the second moment. If the mean row weight is 1, the gradients of rows with
almost no weight are smaller than this constant, so they hardly change the weights. With 1e-8, they changed the weights
as much as other rows.
"""

_MIN_FUSED_WEIGHTS = 1 << 14
"""Minimum number of weights per run of members with equal rates for which separate calls are faster (measured)."""

_adamw = partial(torch._fused_adamw_, eps=EPS, amsgrad=False, maximize=False)

_Run = tuple[slice, float, float]
"""Consecutive members that share learning rate and weight decay."""
_Tensors = tuple[list[Tensor], list[Tensor], list[Tensor]]
"""Parameters, first moments and second moments."""


class Adam(FirstOrderOptimizer):
    """Adam [Kingma & Ba 2015] with decoupled weight decay and the betas of scikit-learn's "adam"."""

    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    moments = ("means", "squares", "count")

    def __init__(self, groups: list[ParameterGroup]) -> None:
        super().__init__(groups)
        self.means, self.squares = self._zeros(), self._zeros()
        self.count = [torch.zeros((), dtype=torch.float32, device=self.parameters[0].device)]
        self._views: dict[int, tuple[Any, list[_Tensors]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_views": {}}

    def update(self, lr: Rate) -> None:
        """Make a step with the fused kernel, which accepts a single learning rate and weight decay.

        Consecutive members that share both values are updated in one call if they have enough weights.
        """
        self.count[0].add_(1)
        for group, its in zip(self.groups, self._slices, strict=True):
            gradients = gradients_of(group.parameters)
            runs = _runs(lr, group.decay, group.parameters[0].shape[0])
            if len(runs) > 1 and sum(p.numel() for p in group.parameters) < len(runs) * _MIN_FUSED_WEIGHTS:
                self._update_by_member(group, its, gradients, lr)
                continue
            for (members, rate, decay), tensors in zip(runs, self._tensors_of(group, its, runs), strict=True):
                own = gradients if len(runs) == 1 else [gradient[members] for gradient in gradients]
                self._update_fused(own, tensors, rate * group.factor, decay)

    def _tensors_of(self, group: ParameterGroup, its: slice, runs: Sequence[_Run]) -> list[_Tensors]:
        """Return the tensors of each run; the views are cached because creating them takes as long as a step."""
        tensors = group.parameters, self.means[its], self.squares[its]
        if len(runs) == 1:
            return [tensors]
        key = [(members.start, members.stop) for members, _, _ in runs], [p.data_ptr() for p in group.parameters]
        if its.start not in self._views or self._views[its.start][0] != key:
            self._views[its.start] = key, [_views(tensors, members) for members, _, _ in runs]
        return self._views[its.start][1]

    def _update_fused(self, gradients: list[Tensor], tensors: _Tensors, lr: float, decay: float) -> None:
        (parameters, means, squares), (beta1, beta2) = tensors, self.betas
        counts = self.count * len(parameters)
        _adamw(parameters, gradients, means, squares, [], counts, lr=lr, beta1=beta1, beta2=beta2, weight_decay=decay)

    def _update_by_member(self, group: ParameterGroup, its: slice, gradients: list[Tensor], lr: Rate) -> None:
        """Make the same step as the fused kernel with separate operations on all members."""
        count, means, squares = self.count[0].item(), self.means[its], self.squares[its]
        beta1, beta2 = self.betas
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        roots = torch._foreach_div(squares, 1 - beta2**count)  # noqa: SLF001 - torch's optimizers use it as well
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, EPS)
        directions = torch._foreach_div(means, 1 - beta1**count)  # noqa: SLF001 - see above
        torch._foreach_div_(directions, roots)
        group.step_(list(directions), lr)

    def step_size(self, i: int, lr: Rate) -> Tensor:
        """Return the learning rate divided by the square root of the bias-corrected second moment."""
        return self._rate(i, lr) / ((self.squares[i] / (1 - self.betas[1] ** self.count[0])).sqrt_() + EPS)


class AdamW(Adam):
    """Adam with a faster decay of the second moment."""

    betas = (0.9, 0.95)


def _views(tensors: _Tensors, members: slice) -> _Tensors:
    parameters, means, squares = ([tensor[members] for tensor in kind] for kind in tensors)
    return parameters, means, squares


def _runs(lr: Rate, decay: Rate, n_members: int) -> list[_Run]:
    """Return the runs of consecutive members with the same learning rate and weight decay."""
    if not isinstance(lr, Tensor) and not isinstance(decay, Tensor):
        return [(slice(None), lr, decay)]
    rates, decays = (each.tolist() if isinstance(each, Tensor) else [each] * n_members for each in (lr, decay))
    runs, start = [], 0
    for (own_rate, own_decay), equal in groupby(zip(rates, decays, strict=True)):
        stop = start + len(list(equal))
        runs.append((slice(start, stop), own_rate, own_decay))
        start = stop
    return runs
