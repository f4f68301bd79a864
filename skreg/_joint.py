"""A joint net trains the members of several nets as its own, and gives each net what it would have had alone.

The nets must have one structure and as many steps an epoch; what they train on, their seeds and all strengths may
differ. Members that have stopped leave the tensors once they are many.
"""

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from ._joint_course import joint_course
from ._utils.per_member import stack
from .data.batches import EvalBatches, MemberRows
from .network.generators import MemberGenerators
from .network.inference import PREDICT_ROWS
from .network.network import Network
from .training.early_stopping import LossMonitor, Monitor
from .training.history import EpochRecord, history_of
from .training.net import Net

CROWDED = 0.75  # members leave once fewer than this share still trains


@dataclass
class Entrant:
    """A net that is trained beside others.

    Attributes
    ----------
    net : Net
        Initialised, not trained; in the end as if trained alone.
    train, valid : Rows
        What its members train on, and are watched on.
    monitor : Monitor or None
        Their score there.
    test : Rows or None
        On which the raw output of the weights that would be kept is followed.
    n_threads : int or None
        Of torch.
    raw : list of Tensor of shape (rows, outputs), or None for a member without good weights
        That raw output, of each member.
    seconds : float
        Its share of the time.
    over : bool
        Whether its training has ended; set from outside, it is given up, and its net stays as it is.
    fresh : bool
        Whether ``raw`` has changed; to be put back by who looks.
    """

    net: Net
    train: MemberRows
    valid: MemberRows | None
    monitor: Monitor | None
    test: MemberRows | None = None
    n_threads: int | None = 1
    raw: list[Tensor | None] = field(default_factory=list)
    seconds: float = 0.0
    over: bool = False
    fresh: bool = False
    epochs: list[EpochRecord] = field(default_factory=list)

    def key(self) -> tuple[Any, ...]:
        """What entrants must have in common that train together."""
        net = self.net
        steps = -(-len(self.train) // net.batch_size)
        products = [linear.products for linear in net.module_.linears]
        return (*net.module_.structure(), *products, net.batch_size, steps, self.valid is None)


class JointNet(Net):
    """A net whose members are those of several nets.

    Attributes
    ----------
    entrants : list of Entrant
        Whose members these are, also those that have left.
    n_threads : int or None
        Of torch, as every one of them would have.
    """

    entrants: list[Entrant]
    n_threads: int | None
    _owner: Tensor
    _slot: Tensor

    @classmethod
    def of(cls, entrants: Sequence[Entrant]) -> Self:
        """The net of entrants that have one ``key``; nobody has trained yet."""
        nets = [entrant.net for entrant in entrants]
        first = nets[0]
        counts = [net.module_.n_members for net in nets]
        network = Network.joined([net.module_ for net in nets])
        joint = cls(
            network,
            first.criterion,
            joint_course([net.training_config for net in nets], counts, first.module_.head.weight),
            max_epochs=first.max_epochs,
            batch_size=first.batch_size,
            seeds=[seed for net in nets for seed in net.seeds],
            patience=first.patience,
            min_delta=first.min_delta,
            device=first.device,
            callbacks=[],
            verbose=0,
        ).initialize()
        joint.generators_ = MemberGenerators.of([generator for net in nets for generator in net.generators_.generators])
        joint.entrants, joint.n_threads = list(entrants), entrants[0].n_threads
        joint._owner = torch.arange(len(nets)).repeat_interleave(torch.tensor(counts))
        joint._slot = torch.cat([torch.arange(count) for count in counts])
        for entrant in entrants:
            entrant.raw = [None] * entrant.net.module_.n_members
            entrant.net.optimizer_ = None
        joint._gather()
        return joint

    def _gather(self) -> None:
        """Put together what the present members train on and are watched on, and their strengths."""
        self._present, counts = torch.unique_consecutive(self._owner, return_counts=True)
        present, sizes, like = [self.entrants[i] for i in self._present], counts.tolist(), self.module_.head.weight
        chosen = self._slots(present)
        self.training_config = joint_course([entrant.net.training_config for entrant in present], sizes, like)
        self.lr = self.training_config.learning_rate
        modules = [entrant.net.module_ for entrant in present]
        self.module_.input_dropout = stack([module.input_dropout for module in modules], sizes, like)
        rates = zip(*(module.dropout for module in modules), strict=True)
        self.module_.dropout = tuple(stack(rate, sizes, like) for rate in rates)
        losses = [entrant.net.criterion_ for entrant in present]
        if hasattr(losses[0], "label_smoothing"):
            self.criterion_ = copy.copy(losses[0])
            self.criterion_.label_smoothing = stack([loss.label_smoothing for loss in losses], sizes, like)
        self._train = MemberRows.joined([entrant.train for entrant in present]).of_members(chosen)
        self._valid, self._test = (
            None if rows[0] is None else MemberRows.joined(rows).of_members(chosen)
            for rows in ([e.valid for e in present], [e.test for e in present])
        )
        self._monitor = None if present[0].monitor is None else JointMonitor(self._owner, self._slot, self.entrants)
        self._epochs: Iterator[int] = self.epochs(self.max_epochs, self._train, self._valid, self._monitor)

    def _slots(self, present: list[Entrant]) -> Tensor:
        """Where the present members stand among all of the nets that are present."""
        starts, total = {}, 0
        for owner, entrant in zip(self._present.tolist(), present, strict=True):
            starts[owner] = total
            total += entrant.net.module_.n_members
        return torch.tensor([starts[o] + s for o, s in zip(self._owner.tolist(), self._slot.tolist(), strict=True)])

    # training

    def train_epoch(self) -> None:
        """Train the members that still do for an epoch; nets of which none does any more are over."""
        self._thin()
        if self.done:
            return
        began = time.perf_counter()
        training = torch.bincount(self._owner[self.stopping_.active], minlength=len(self.entrants))
        ended = next(self._epochs, None) is None or self.epoch_ == self.max_epochs
        if ended:
            self._restore_best(self._train)
        seconds, shares = time.perf_counter() - began, (training / max(1, int(training.sum()))).tolist()
        for entrant, share in zip(self.entrants, shares, strict=True):
            entrant.seconds += share * seconds
        self._hand_over(~self.stopping_.active | ended)

    @property
    def done(self) -> bool:
        """Whether nobody trains any more."""
        return all(entrant.over for entrant in self.entrants)

    def _thin(self) -> None:
        """Let those leave who train no further, once they are many."""
        over = torch.tensor([entrant.over for entrant in self.entrants])
        active = self.stopping_.active
        active &= ~over[self._owner]
        if bool(active.any()) and active.double().mean() < CROWDED:
            self._keep(active.nonzero()[:, 0])

    def end(self) -> None:
        """End the training of all where it stands."""
        self._restore_best(self._train)
        self.stopping_.active[:] = False
        self._hand_over(~self.stopping_.active)

    def _record(self, loss: Tensor, score: Tensor | None, monitor: Monitor | None) -> None:
        """Remember the epoch of each net."""
        active, rates = self.stopping_.active, self._last_lr()
        for number in self._present.tolist():
            own = active & (self._owner == number)
            if bool(own.any()):
                of_epoch = EpochRecord(loss[own], None if score is None else score[own], rates[own])
                self.entrants[number].epochs.append(of_epoch)
                if score is not None:
                    scores = self.entrants[number].net.stopping_.scores
                    scores.append(torch.full((len(self.entrants[number].raw),), torch.nan, dtype=score.dtype))
                    scores[-1][self._slot[own]] = score[own]

    def _evaluate_epoch(self, *told: Any) -> None:
        """Besides, follow the raw output on the test rows of the weights that would be kept now."""
        super()._evaluate_epoch(*told)
        if self._test is None:
            return
        watched = self.patience is not None
        gained = self.stopping_.best_epoch == self.epoch_ if watched else self.stopping_.active
        if not bool(gained.any()):
            return
        raw, _, _ = self._raw_of(EvalBatches(self._test, self.module_.prepare, PREDICT_ROWS))
        for member in gained.nonzero()[:, 0].tolist():
            entrant = self.entrants[int(self._owner[member])]
            entrant.raw[int(self._slot[member])], entrant.fresh = raw[member, : self._test.lengths[member]], True

    # leaving

    def _hand_over(self, members: Tensor) -> None:
        """Give the nets what ``members`` have become; a net that has all of its own is over."""
        places = members.nonzero()[:, 0].tolist()
        weights = self.stopping_.kept
        for member in places:
            entrant = self.entrants[int(self._owner[member])]
            if entrant.over:
                continue
            slot = int(self._slot[member])
            if weights is not None:
                for mine, kept in zip(entrant.net.trained_tensors(), weights, strict=True):
                    mine.data[slot] = kept[member]
            for name in ("best", "best_epoch", "waited", "active", "diverged"):
                getattr(entrant.net.stopping_, name)[slot] = getattr(self.stopping_, name)[member]
        training = set(self._owner[~members].tolist())
        for number, entrant in enumerate(self.entrants):
            if not entrant.over and number not in training:
                entrant.over = True
                self._conclude(entrant)

    def _conclude(self, entrant: Entrant) -> None:
        """Write down in a net what its training was."""
        net = entrant.net
        net.validation_name_ = None if entrant.monitor is None else entrant.monitor.name
        net.stopping_.active &= ~net.stopping_.diverged
        net.epoch_ = len(entrant.epochs)
        net.history = history_of(entrant.epochs, entrant.monitor)

    def _keep(self, members: Tensor) -> None:
        """Let all but ``members`` leave the tensors."""
        moments, old = self.optimizer_.state_dict(), self.stopping_
        average = None if self.average_ is None else self.average_.state_dict()
        self.module_ = self.module_.of_members(members.tolist())
        self._owner, self._slot = self._owner[members], self._slot[members]
        self.generators_ = MemberGenerators.of([self.generators_.generators[member] for member in members.tolist()])
        self._gather()
        self.optimizer_ = self.training_config.optimizer(self.module_)
        self.optimizer_.load_state_dict({name: _of(tensors, members) for name, tensors in moments.items()})
        self.average_ = self.training_config.average(self.trained_tensors())
        if self.average_ is not None and average is not None:
            self.average_.load_state_dict({**average, "averages": _of(average["averages"], members)})
        if self.reduce_on_plateau_ is not None:
            self.reduce_on_plateau_.load_state_dict(
                {n: v[members] for n, v in self.reduce_on_plateau_.state_dict().items()}
            )
        for name, value in old.state_dict().items():
            if isinstance(value, Tensor):
                setattr(old, name, value[members])
            elif isinstance(value, list):
                setattr(old, name, _of(value, members))


def _of(tensors: list[Tensor], members: Tensor) -> list[Tensor]:
    """What ``members`` have of tensors with the members on axis 0; a count is everybody's."""
    return [tensor[members.to(tensor.device)] if tensor.dim() else tensor for tensor in tensors]


class JointMonitor:
    """The monitors of several nets, each asked about its own members.

    Parameters
    ----------
    owner, slot : int Tensor of shape (members,)
        The net of each member, and which of its members it is.
    entrants : list of Entrant
        The nets.
    """

    def __init__(self, owner: Tensor, slot: Tensor, entrants: list[Entrant]) -> None:
        self._owner, self._slot, self._entrants = owner, slot, entrants
        first = entrants[int(owner[0])].monitor
        assert first is not None
        self.name, self.sign, self._by_loss = first.name, first.sign, isinstance(first, LossMonitor)

    def __call__(self, raw: Tensor, loss: Tensor, active: Tensor) -> Tensor:
        """Scores ``(members,)``, see ``Monitor``."""
        if self._by_loss:
            return -loss
        scores = torch.full_like(loss, torch.nan)
        for number in self._owner.unique().tolist():
            entrant, places = self._entrants[number], (self._owner == number).nonzero()[:, 0]
            own, members = self._slot[places], entrant.net.module_.n_members
            told = [torch.zeros(members, *part.shape[1:], dtype=part.dtype) for part in (raw, loss, active)]
            for full, part in zip(told, (raw, loss, active), strict=True):
                full[own] = part[places].cpu()
            scores[places] = entrant.monitor(*told)[own]
        return scores
