"""A rehearsal takes steps on copies of what shall be trained, to see for how many members there is time."""

import copy
from collections.abc import Callable
from dataclasses import replace
from math import inf

from ..data.split import MemberSplit
from ..network.generators import MemberGenerators
from . import time_limit as _pace
from .net import Net

FEW_EPOCHS = 7
"""Of all members, for which the time shall suffice: the first three cycles of the default learning rate."""

FORWARD = 1 / 3
"""Time of a row that is predicted in that of one that is trained on, which goes back as well."""

BESIDE = 1.15
"""Time of an epoch in that of its cheapest steps, rather too much: a member more is worth less than a cycle more."""

SLOW = 1e-6
"""Seconds that a number of the table takes a member before its training at the very most: fifty times the measured."""

_MOST_STEPS = 4
_SHARE = 0.05


def plan(make: Callable[..., Net], split: MemberSplit, deadline: float) -> tuple[MemberSplit, Net]:
    """The split and the net of as many members as can go through a few epochs, or all if those are fewer, in time.

    They are the first of the members, at least one. Epochs are taken to cost in proportion to them. Where already what
    comes before the training could take too long, one member is looked at alone.

    Parameters
    ----------
    make : callable (split, known=None) -> Net
        Makes the net of a split's members, which knows the statistics of a network if one is given.
    split : Split
        All members.
    deadline : float
        When the training shall be over, by ``clock`` of ``_pace``.
    """
    members, table = split.n_members, split.train
    if members > 1 and deadline - _pace.clock() < SLOW * members * len(table) * table.numbers.shape[1]:
        first = _first(split, 1)
        net = make(first)
        if share_in_time(net, first, deadline) < 1:
            return first, net
    net = make(split)
    n = max(1, int(members * share_in_time(net, split, deadline))) if members > 1 else 1
    if n == members:
        return split, net
    return _first(split, n), make(_first(split, n), known=net.module_.of_members(range(n)).cpu())


def _first(split: MemberSplit, n: int) -> MemberSplit:
    return replace(split, train_index=split.train_index[:n], validation_index=split.validation_index[:n])


def share_in_time(net: Net, split: MemberSplit, deadline: float) -> float:
    """Which share of a few epochs there is time for, at most 1; the net stays as it is, its random numbers too.

    The first step, which is slow, decides only where it is fast enough; a twentieth of the time is for others.
    """
    began = _pace.clock()
    if began >= deadline:
        return 0.0
    rehearsal, step = Rehearsal(net, split), inf
    for count in range(_MOST_STEPS):
        step = min(step, rehearsal.step())
        now = _pace.clock()
        needed = step * rehearsal.n_steps * min(FEW_EPOCHS, net.max_epochs)
        if needed <= deadline - now:
            return 1.0
        if count and now - began > _SHARE * (deadline - began):
            break
    return max(0.0, (deadline - now) / needed)


class Rehearsal:
    """Steps of a training that has not begun, on copies.

    On tables of 2,000 to 200,000 rows an epoch took 0.75 to 1.25 times what they promise, ``BESIDE`` left out.

    Parameters
    ----------
    net : Net
        Initialised.
    split : Split
        The members' rows.

    Attributes
    ----------
    n_steps : float
        About as many steps take the time of an epoch.
    """

    def __init__(self, net: Net, split: MemberSplit) -> None:
        longest = max(map(len, split.train_index))
        n_steps = -(-longest // net.batch_size)
        validation = max(map(len, split.validation_index), default=0)
        self.n_steps = BESIDE * n_steps * (1 + FORWARD * validation / longest)
        self._rows = split.train.rows([rows[::n_steps] for rows in split.train_index], split.device_config, 1.0)
        self._net = _twin(net)

    def step(self) -> float:
        """Seconds that a step takes, from rows of the table to new weights."""
        began = _pace.clock()
        self._net._trainer(self._rows).rehearse()
        return _pace.clock() - began


def _twin(net: Net) -> Net:
    """A net of copies of the network and of the streams, with an optimiser of its own."""
    twin, module = copy.copy(net), copy.deepcopy(net.module_)
    optimizer, streams = net.training_config.optimizer(module), MemberGenerators(net.seeds)
    twin.__dict__.update(module_=module, optimizer_=optimizer, generators_=streams, average_=None)
    return twin
