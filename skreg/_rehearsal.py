"""A rehearsal takes steps on copies of what shall be trained, to see for how many members there is time."""

import copy
from math import inf

from . import _pace
from ._net import Net
from ._parts import Split
from ._random import Streams

FEW_EPOCHS = 7
"""Of all members, for which the time shall suffice: the first three cycles of the default learning rate."""

BESIDE = 1.1
"""Time of an epoch in that of its steps and its validation: shuffles, averages, bookkeeping."""

FORWARD = 1 / 3
"""Time of a row that is predicted in that of one that is trained on, which goes back as well."""

_MOST_STEPS = 4
_SHARE = 0.05


def members_in_time(net: Net, split: Split, deadline: float) -> int:
    """How many members can go through a few epochs, or all if they are fewer, before ``deadline``; at least one.

    A step is taken to cost in proportion to the members. The first, which is slow, decides only where it shows that
    there is time for all; a twentieth of what is left goes into others.

    Parameters
    ----------
    net : Net
        Initialised, all members in it; is left as it is, its random numbers too.
    split : Split
        Their rows.
    deadline : float
        When the training shall be over, by ``clock`` of ``_pace``.
    """
    members, began = split.n_members, _pace.clock()
    if members == 1 or began >= deadline:
        return 1
    rehearsal, step = Rehearsal(net, split), inf
    for count in range(_MOST_STEPS):
        step = min(step, rehearsal.step())
        now = _pace.clock()
        needed = step * rehearsal.n_steps * min(FEW_EPOCHS, net.max_epochs)
        if needed <= deadline - now:
            return members
        if count and now - began > _SHARE * (deadline - began):
            break
    return max(1, int(members * (deadline - now) / needed))


class Rehearsal:
    """Steps of a training that has not begun, on copies.

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

    def __init__(self, net: Net, split: Split) -> None:
        longest = max(map(len, split.train_index))
        n_steps = -(-longest // net.batch_size)
        watched = max(map(len, split.watched_index), default=0)
        self.n_steps = BESIDE * n_steps * (1 + FORWARD * watched / longest)
        index = [rows[::n_steps] for rows in split.train_index]
        self._rows = split.train.rows(index, split.place, 1.0)
        self._net = _twin(net)

    def step(self) -> float:
        """Seconds that a step takes, from rows of the table to new weights."""
        began = _pace.clock()
        self._net._trainer(self._rows).rehearse()
        return _pace.clock() - began


def _twin(net: Net) -> Net:
    """A net of copies of the network and of the streams, with an optimiser of its own."""
    twin, module = copy.copy(net), copy.deepcopy(net.module_)
    optimizer, streams = net.course.optimizer(module), Streams(net.seeds)
    twin.__dict__.update(module_=module, optimizer_=optimizer, streams_=streams, average_=None)
    return twin
