"""A net that trains the members of several nets as its own, with the same results as if each net were trained alone.

The nets must have the same structure and number of steps per epoch; their rows, seeds and per-member hyperparameters
can differ. Members that have stopped are removed from the tensors once there are many of them.
"""

import copy
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any, Self

import torch
from torch import Tensor

from ..._utils.per_member import PerMemberFloat, stack
from ...data.batches import MemberRows
from ...network.generators import MemberGenerators
from ...network.inference import evaluate, prepare_rows
from ...network.network import Network
from ...training.averaging import replaced
from ...training.config import TrainingConfig
from ...training.constraints import MaxNorm
from ...training.early_stopping import EarlyStopping, LossMonitor, Monitor
from ...training.history import EpochRecord
from ...training.net import Net
from ...training.penalties import ElasticNet
from .fold_fit import FoldFit

MIN_ACTIVE_SHARE = 0.75
"""If the share of members that are still training falls below this, the others are removed from the tensors."""
NO_PENALTY, NO_CONSTRAINT = ElasticNet(0.0, 0.0), MaxNorm(inf)


class StackedNet(Net):
    """A net whose members are those of several nets.

    ``fits`` are the fits whose nets are stacked, including those that have ended. ``net_index`` and ``member_index``,
    of shape ``(members,)``, contain the number of each member's net and its number among the members of that net.
    """

    fits: list[FoldFit]
    net_index: Tensor
    member_index: Tensor

    @classmethod
    def stack(cls, fits: Sequence[FoldFit]) -> Self:
        """Return a net that stacks fits with the same ``stack_key`` that have not been trained."""
        nets = [fit.net for fit in fits]
        first = nets[0]
        counts = [net.module_.n_members for net in nets]
        stacked: Self = cls(
            Network.concatenate([net.module_ for net in nets]),
            first.criterion,
            stack_configs([net.training_config for net in nets], counts, first.module_.head.weight),
            max_epochs=first.max_epochs,
            batch_size=first.batch_size,
            seeds=[seed for net in nets for seed in net.seeds],
            patience=first.patience,
            min_delta=first.min_delta,
            device=first.device,
            callbacks=[],
            verbose=0,
        ).initialize()
        stacked.generators_ = MemberGenerators([generator for net in nets for generator in net.generators_.generators])
        stacked.fits = list(fits)
        stacked.net_index = torch.arange(len(nets)).repeat_interleave(torch.tensor(counts))
        stacked.member_index = torch.cat([torch.arange(count) for count in counts])
        for fit in fits:
            fit.net.optimizer_ = None
        stacked._stack_inputs()
        return stacked

    def _stack_inputs(self) -> None:
        """Stack the rows and the hyperparameters of the nets whose members are in the tensors."""
        self._present, counts = torch.unique_consecutive(self.net_index, return_counts=True)
        present, sizes, like = [self.fits[i] for i in self._present], counts.tolist(), self.module_.head.weight
        self.training_config = stack_configs([fit.net.training_config for fit in present], sizes, like)
        self.lr = self.training_config.learning_rate
        modules = [fit.net.module_ for fit in present]
        self.module_.input_dropout = stack([module.input_dropout for module in modules], sizes, like)
        rates = zip(*(module.dropout for module in modules), strict=True)
        self.module_.dropout = tuple(stack(rate, sizes, like) for rate in rates)
        losses = [fit.net.criterion_ for fit in present]
        if hasattr(losses[0], "label_smoothing"):
            self.criterion_ = copy.copy(losses[0])
            self.criterion_.label_smoothing = stack([loss.label_smoothing for loss in losses], sizes, like)
        n_members = torch.tensor([module.n_members for module in modules])
        starts = torch.zeros(len(self.fits), dtype=torch.int64)
        starts[self._present] = n_members.cumsum(0) - n_members
        self._members = members = starts[self.net_index] + self.member_index  # positions among the members of the nets
        self._train = MemberRows.joined([fit.prepared.train for fit in present]).of_members(members)
        held_out = [fit.prepared.validation for fit in present]
        validation = None if held_out[0] is None else MemberRows.joined(held_out).of_members(members)
        self._scored_rows: list[MemberRows | None] | None = None  # prepared when they are used for the first time
        monitor = StackedMonitor(self.net_index, self.member_index, self.fits) if present[0].prepared.monitor else None
        self._epochs: Iterator[int] = self.epochs(self.max_epochs, self._train, validation, monitor)

    @property
    def ended(self) -> bool:
        """Whether all nets have ended their training."""
        return all(fit.ended for fit in self.fits)

    def train_epoch(self) -> None:
        """Train the remaining members for one epoch; a net whose members have all stopped has ended."""
        active = self.stopping_.active
        active &= ~torch.tensor([fit.ended for fit in self.fits])[self.net_index]
        if self.ended:
            return
        if bool(active.any()) and active.double().mean() < MIN_ACTIVE_SHARE:
            self._keep_members(active.nonzero()[:, 0])
        start = time.perf_counter()
        n_training = torch.bincount(self.net_index[self.stopping_.active], minlength=len(self.fits))
        is_last = next(self._epochs, None) is None or self.epoch_ == self.max_epochs
        if is_last:
            self._restore_best(self._train)
        seconds, shares = time.perf_counter() - start, (n_training / max(1, int(n_training.sum()))).tolist()
        for fit, share in zip(self.fits, shares, strict=True):
            fit.seconds += share * seconds
        self._unstack(~self.stopping_.active | is_last)

    def stop(self) -> None:
        """End the training of all nets after the epochs completed so far."""
        if self.ended:
            return
        self._restore_best(self._train)
        self.stopping_.active[:] = False
        self._unstack(~self.stopping_.active)

    def _record(self, loss: Tensor, score: Tensor | None, monitor: Monitor | None) -> None:  # noqa: ARG002 - of the net
        active, rates, seconds = self.stopping_.active, self._last_lr(), self.time_budget_.epoch_seconds()
        for number in self._present.tolist():
            own = active & (self.net_index == number)
            if bool(own.any()):
                fit = self.fits[number]
                own_seconds = seconds * int(own.sum()) / int(active.sum())
                own_score = None if score is None else score[own]
                fit.epochs.append(EpochRecord(loss[own], own_score, rates[own], own_seconds))
                if score is not None:
                    of_members = torch.full((fit.n_members,), torch.nan, dtype=score.dtype)
                    of_members[self.member_index[own]] = score[own]
                    fit.net.stopping_.scores.append(of_members)

    def _evaluate_epoch(self, *epoch: Any) -> None:
        """Evaluate an epoch, and mark the fits whose predictions would change if training ended now."""
        super()._evaluate_epoch(*epoch)
        has_validation = self.patience is not None
        improved = self.stopping_.best_epoch == self.epoch_ if has_validation else self.stopping_.active
        for number in set(self.net_index[improved].tolist()):
            self.fits[number].is_scored = False

    def update_nets(self) -> None:
        """Compute what scores depend on if training ended now: the outputs of the scored rows, or the nets."""
        stopping = self.stopping_
        if stopping.pending is not None:
            stopping = copy.deepcopy(stopping)
            stopping.confirm(~stopping.diverged)
        known = self._update_outputs(stopping.kept)
        self._copy_to_nets(torch.ones_like(stopping.active), stopping, known)

    def _update_outputs(self, weights: list[Tensor] | None) -> set[int]:
        """Evaluate the scored rows of all members with these weights; return the numbers of the fits with all members.

        The members of other fits have been removed from the tensors, so that these fits evaluate their own nets.
        """
        fits = {number: self.fits[number] for number in self._present.tolist()}
        rows = list(zip(*(fit.scored_rows for fit in fits.values()), strict=True))
        if weights is None or rows[0][0] is None:
            return set()
        positions = {number: (self.net_index == number).nonzero()[:, 0] for number in fits}
        complete = {number for number, fit in fits.items() if len(positions[number]) == fit.n_members}
        outdated = {number for number, fit in fits.items() if not (fit.is_scored or fit.ended)}
        for number in outdated - complete:
            fits[number].outputs = None
        if not outdated & complete:
            return complete
        if self._scored_rows is None:
            self._scored_rows = [None if of_fits[0] is None else self._joined(of_fits) for of_fits in rows]
        with replaced([tensor.detach() for tensor in self.trained_tensors()], weights):
            outputs = [None if one is None else evaluate(self.module_, one) for one in self._scored_rows]
        for number in outdated & complete:
            fits[number].outputs = [
                None
                if given is None or one is None
                else tuple(tensor[positions[number], : len(one)] for tensor in given)
                for one, given in zip(fits[number].scored_rows, outputs, strict=True)
            ]
        return complete

    def _joined(self, rows: Sequence[MemberRows]) -> MemberRows:
        """Return the rows of the present nets for the members in the tensors, prepared for several evaluations."""
        return prepare_rows(self.module_, MemberRows.joined(rows).of_members(self._members), reused=True)

    def _unstack(self, members: Tensor) -> None:
        """Copy the weights and records of ``members`` to their nets; a net without any other members has ended."""
        self._copy_to_nets(members, self.stopping_)
        training = set(self.net_index[~members].tolist())
        for number, fit in enumerate(self.fits):
            if not fit.ended and number not in training:
                fit.outputs = None
                fit.end_training()

    def _copy_to_nets(self, members: Tensor, stopping: EarlyStopping, only_records: Collection[int] = ()) -> None:
        """Copy the kept weights and the records of ``members`` to their nets, unless these have ended.

        The nets with numbers in ``only_records`` do not receive weights.
        """
        for number in set(self.net_index[members].tolist()):
            fit = self.fits[number]
            if fit.ended:
                continue
            chosen = members & (self.net_index == number)
            own = self.member_index[chosen]
            if stopping.kept is not None and number not in only_records:
                for tensor, of_members in zip(fit.net.trained_tensors(), stopping.kept, strict=True):
                    tensor.data[own] = of_members[chosen]
            for name in ("best", "best_epoch", "waited", "active", "diverged"):
                getattr(fit.net.stopping_, name)[own] = getattr(stopping, name)[chosen]

    def _keep_members(self, members: Tensor) -> None:
        """Remove all but ``members`` from the tensors."""
        moments, stopping = self.optimizer_.state_dict(), self.stopping_
        average = None if self.average_ is None else self.average_.state_dict()
        self.module_ = self.module_.select_members(members.tolist())
        self.net_index, self.member_index = self.net_index[members], self.member_index[members]
        self.generators_ = MemberGenerators([self.generators_.generators[member] for member in members.tolist()])
        self._stack_inputs()
        self.optimizer_ = self.training_config.optimizer(self.module_)
        self.optimizer_.load_state_dict({name: _of_members(tensors, members) for name, tensors in moments.items()})
        self.average_ = self.training_config.average(self.trained_tensors())
        if self.average_ is not None and average is not None:
            self.average_.load_state_dict({**average, "averages": _of_members(average["averages"], members)})
        if self.reduce_on_plateau_ is not None:
            self.reduce_on_plateau_.load_state_dict(
                {n: v[members] for n, v in self.reduce_on_plateau_.state_dict().items()}
            )
        for name, value in stopping.state_dict().items():
            if isinstance(value, Tensor):
                setattr(stopping, name, value[members])
            elif isinstance(value, list):
                setattr(stopping, name, _of_members(value, members))


def _of_members(tensors: list[Tensor], members: Tensor) -> list[Tensor]:
    """Select ``members`` from tensors with the members on axis 0; a scalar is shared by all members."""
    return [tensor[members.to(tensor.device)] if tensor.dim() else tensor for tensor in tensors]


class StackedMonitor:
    """The monitors of the nets of several fits, each applied to the members of its net; see ``StackedNet``."""

    def __init__(self, net_index: Tensor, member_index: Tensor, fits: list[FoldFit]) -> None:
        self._net_index, self._member_index, self._fits = net_index, member_index, fits
        first = fits[int(net_index[0])].prepared.monitor
        assert first is not None
        self.name, self.greater_is_better = first.name, first.greater_is_better
        self._by_loss = isinstance(first, LossMonitor)
        self.uses_raw = first.uses_raw

    def __call__(self, raw: Tensor, loss: Tensor, active: Tensor) -> Tensor:
        """Return the scores of the members; see ``Monitor``."""
        if self._by_loss:
            return -loss
        scores = torch.full_like(loss, torch.nan)
        for number in set(self._net_index.tolist()):
            fit, positions = self._fits[number], (self._net_index == number).nonzero()[:, 0]
            own, members = self._member_index[positions], fit.net.module_.n_members
            of_net = [torch.zeros(members, *tensor.shape[1:], dtype=tensor.dtype) for tensor in (raw, loss, active)]
            for target, tensor in zip(of_net, (raw, loss, active), strict=True):
                target[own] = tensor[positions].cpu()
            assert fit.prepared.monitor is not None
            scores[positions] = fit.prepared.monitor(*of_net)[own]
        return scores


def stack_configs(configs: Sequence[TrainingConfig], counts: Sequence[int], like: Tensor) -> TrainingConfig:
    """Return the configuration of stacked members, ``counts[i]`` of them with ``configs[i]``.

    Per-member hyperparameters can differ, and are stacked with the dtype and device of ``like``. Everything else must
    be equal.
    """

    def stacked(values: Sequence[Any]) -> PerMemberFloat:
        return stack(values, counts, like)

    clips = [config.clip_norm for config in configs]
    return replace(
        configs[0],
        learning_rate=stacked([config.learning_rate for config in configs]),
        weight_decay=stacked([config.weight_decay for config in configs]),
        penalty=_stack_by_layer(
            [config.penalty for config in configs],
            NO_PENALTY,
            lambda given: ElasticNet(stacked([one.alpha for one in given]), stacked([one.l1_ratio for one in given])),
        ),
        feature_alpha=stacked([config.feature_alpha for config in configs]),
        constraint=_stack_by_layer(
            [config.constraint for config in configs],
            NO_CONSTRAINT,
            lambda given: MaxNorm(stacked([one.limit for one in given])),
        ),
        clip_norm=None if clips == [None] * len(clips) else stacked([clip or inf for clip in clips]),
        ema_decay=stacked([config.ema_decay for config in configs]),
        augmentation=_stack_augmentations([config.augmentation for config in configs], stacked),
    )


def _stack_by_layer(given: Sequence[Any], neutral: Any, stack: Callable[[list[Any]], Any]) -> Any:
    """Stack the values for all layers, or separately for each layer if any item of ``given`` differs between layers."""
    n_layers = max((len(one) for one in given if isinstance(one, tuple)), default=0)
    if not n_layers:
        return None if not any(given) else stack([one or neutral for one in given])
    by_net = [one if isinstance(one, tuple) else (one,) * n_layers for one in given]
    return tuple(
        stack([one or neutral for one in layer]) if any(layer) else None for layer in zip(*by_net, strict=True)
    )


def _stack_augmentations(given: Sequence[Any], stack: Callable[[list[Any]], PerMemberFloat]) -> Any:
    """Stack the magnitudes of an augmentation; a user-defined callable, or None, is the same for all members."""
    if not isinstance(given[0], partial):
        return given[0]
    magnitude = stack([one.keywords["magnitude"] for one in given])
    return partial(given[0].func, magnitude=magnitude.view(-1, 1, 1) if isinstance(magnitude, Tensor) else magnitude)
