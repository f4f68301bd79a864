"""A heat is a share of fits that one worker trains side by side, epoch by epoch, and what it tells of them.

The fits of candidates that differ in strengths only become members of one net (``_joint``); what comes out is what each
fit would have been alone.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from ._entry import rows_to_predict
from .estimators.base import prepare_fit
from ._joint import Entrant, JointNet
from ._lanes import Runner, network_of
from ._utils.threads import torch_threads
from .training.net import Net

MEMBERS_AT_ONCE, WEIGHTS_AT_ONCE = 32, 100_000
"""Members of a net at most, and their weights, if it is not a single one.

Measured, one thread, milliseconds of an epoch by member, alone and of 2, 5, 10 and 25 together: 1,000 rows x 20, one
layer of 100, batches of 32: 5.1, -, 3.0, 1.8 (of 12), 1.2; 5,000 x 20, two of 128, batches of 128: 16, 17, 13, 13, -;
20,000 x 30, two of 256, batches of 256: 112, 124, 125 (of 4), 127 (of 8): products of wide layers are all of a step.
"""
BYTES = 1 << 30
COPIES = 8  # of a weight: itself, before training, its gradient, two moments, the best, an average, and room for a step

Fit = tuple[int, int]
"""A fit: the number of the candidate among those of the race, and the fold."""


@dataclass
class Sheet:
    """What all fits of a race have in common.

    Attributes
    ----------
    X, y
        The rows.
    splits : list of (train, test)
        The folds.
    settings : dict
        What ``_fit_and_score`` is told besides.
    metadata : dict
        What the network's ``fit`` is told besides: weights, or nothing.
    scorer : callable or None
        By which the candidates are watched.
    """

    X: Any
    y: Any
    splits: list[tuple[Any, Any]]
    settings: dict[str, Any]
    metadata: dict[str, Any]
    scorer: Any


@dataclass
class Start:
    """What is to be fitted of a candidate.

    Attributes
    ----------
    number : int
        The candidate's.
    whole : estimator
        Its estimator, parameters set.
    kind, before : int
        The same for candidates that can train together, and for those with the same steps before the network.
    parts : dict of int
        For each fold that is fitted here, its part: fits of different parts are members of different nets.
    contexts : dict of dict
        What ``_fit_and_score`` is told of scikit-learn's callbacks in each of these folds.
    """

    number: int
    whole: Any
    kind: int
    before: int
    parts: dict[int, int]
    contexts: dict[int, dict[str, Any]]


@dataclass
class News:
    """What a heat tells.

    Attributes
    ----------
    sizes : dict of int or None
        In the beginning: about the bytes that the training of each fit takes, None for one that cannot begin here. A
        fit that is missing was not looked at, for want of room.
    looks : dict of (score, float)
        After an epoch: what each fit would score now, and how many seconds it has had.
    results : dict of dict
        What scikit-learn says of fits that have ended.
    broken : set of int
        Candidates in a net whose training failed.
    """

    sizes: dict[Fit, int | None] = field(default_factory=dict)
    looks: dict[Fit, tuple[Any, float]] = field(default_factory=dict)
    results: dict[Fit, dict[str, Any]] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)


class Verdict(NamedTuple):
    """What a heat is told: which candidates train no further, and whether all end where they stand."""

    lost: frozenset[int] = frozenset()
    ends: bool = False


TrainingConfig = Generator[News, Verdict, None]


class Heat:
    """The fits that one worker trains.

    Parameters
    ----------
    sheet : Sheet
        What they have in common.
    starts : list of Start
        What is fitted; as many as there is room for.
    """

    def __init__(self, sheet: Sheet, starts: list[Start]) -> None:
        self._sheet, self._starts = sheet, starts
        self._runners: dict[Fit, Runner] = {}
        self._like: dict[tuple[int, int], Runner] = {}
        self._prepared: tuple[int, dict[int, tuple[Any, ...]]] = -1, {}

    def training_config(self) -> TrainingConfig:
        """What becomes of the fits: first how large they are, then news after each epoch."""
        verdict = yield News(sizes=self._enter())
        self._leave(verdict.lost)
        joints = self._joints()
        self._like, self._prepared = {}, (-1, {})
        while self._runners:
            broken = self._train(joints)
            self._leave(broken)
            verdict = yield News(looks=self._looks(), results=self._ended(), broken=broken)
            self._leave(verdict.lost)
            if verdict.ends:
                for joint in joints:
                    if not joint.done:
                        joint.end()
                yield News(results=self._ended())
                return

    # before training

    def _enter(self) -> dict[Fit, int | None]:
        """Do what comes before training, candidate by candidate, while there is room; the size of each fit."""
        sizes: dict[Fit, int | None] = {}
        taken = 0
        for start in self._starts:
            if taken > BYTES:
                break
            for fold in start.parts:
                try:
                    with _grad_mode():
                        runner = self._runner(start, fold)
                except Exception:  # the fit says it in its own words, and is counted as failed
                    sizes[start.number, fold] = None
                    continue
                self._runners[start.number, fold] = runner
                sizes[start.number, fold] = size = _bytes(runner.entrant)
                taken += size
        return sizes

    def _runner(self, start: Start, fold: int) -> Runner:
        if self._prepared[0] != start.before:
            self._prepared = start.before, {}
        if fold not in self._prepared[1]:
            self._prepared[1][fold] = self._prepare(start.whole, fold)
        X, y, weight, X_test, y_test, scored, before = self._prepared[1][fold]
        like = self._like.get((start.kind, fold))
        whole = clone(start.whole)
        _, network = network_of(whole)
        with torch_threads(network.n_threads):
            entry = prepare_fit(network, X, y, weight, None if like is None else like.entry)
        test = None
        if self._sheet.scorer is not None:
            test = rows_to_predict(network, X_test, entry.split) if like is None else like.entrant.test
        entrant = Entrant(entry.net, entry.train, entry.validation, entry.monitor, test, network.n_threads)
        runner = Runner(
            whole, entry, before, X_test, y_test, scored, entrant, start.parts[fold], start.contexts.get(fold, {})
        )
        self._like.setdefault((start.kind, fold), runner)
        return runner

    def _prepare(self, whole: Any, fold: int) -> tuple[Any, ...]:
        """What the network gets of a fold: training rows, weights, test rows, and the steps that made them."""
        sheet = self._sheet
        train, test = (np.asarray(rows) for rows in sheet.splits[fold])
        X, y = _safe_split(whole, sheet.X, sheet.y, train)
        X_test, y_test = _safe_split(whole, sheet.X, sheet.y, test, train)
        step, _ = network_of(whole)
        weight = _check_method_params(sheet.X, params=sheet.metadata, indices=train).get("sample_weight")
        scored = _check_method_params(sheet.X, params=sheet.settings["score_params"], indices=test)
        if step is None or len(whole.steps) == 1:
            return X, y, weight, X_test, y_test, scored, None
        before = clone(whole[:-1])
        X = before.fit_transform(X, y)
        return X, y, weight, before.transform(X_test), y_test, scored, before

    def _joints(self) -> list[JointNet]:
        """The nets, of as many members as ``MEMBERS_AT_ONCE`` and ``WEIGHTS_AT_ONCE`` say."""
        alike: dict[Any, list[Entrant]] = {}
        for runner in self._runners.values():
            alike.setdefault((runner.part, *runner.entrant.key()), []).append(runner.entrant)
        joints = []
        for entrants in alike.values():
            members = sum(entrant.net.module_.n_members for entrant in entrants)
            n_parts = min(len(entrants), ceil(members / members_at_once(_weights(entrants[0].net))))
            ends = [round(len(entrants) * part / n_parts) for part in range(n_parts + 1)]
            joints += [JointNet.of(entrants[a:b]) for a, b in pairwise(ends)]
        return joints

    # training

    def _train(self, joints: list[JointNet]) -> set[int]:
        """Train all an epoch; candidates in a net that failed, of which one is the cause, and shall fail alone."""
        broken: set[int] = set()
        for joint in joints:
            if joint.done:
                continue
            try:
                with _grad_mode(), torch_threads(joint.n_threads):
                    joint.train_epoch()
            except Exception:
                there = {id(entrant) for entrant in joint.entrants}
                broken |= {number for (number, _), one in self._runners.items() if id(one.entrant) in there}
                for entrant in joint.entrants:
                    entrant.over = True
        return broken

    def _looks(self) -> dict[Fit, tuple[Any, float]]:
        """What each fit would score now, nan where that cannot be said, and its seconds."""
        if self._sheet.scorer is None:
            return {}
        return {fit: (self._look(runner), runner.entrant.seconds) for fit, runner in self._runners.items()}

    def _look(self, runner: Runner) -> Any:
        try:
            return runner.look(self._sheet.scorer)
        except Exception:  # the pruner hears nothing of it; the scores in the end say it
            return np.nan

    def _ended(self) -> dict[Fit, dict[str, Any]]:
        """Score the fits that have ended, and let go of them."""
        over = [fit for fit, runner in self._runners.items() if runner.entrant.over]
        return {fit: self._result(fit[1], self._runners.pop(fit)) for fit in over}

    def _result(self, fold: int, runner: Runner) -> dict[str, Any]:
        """Score a fitted estimator as scikit-learn does."""
        sheet = self._sheet
        train, test = sheet.splits[fold]
        runner.whole.fit = runner.fit
        result = _fit_and_score(
            runner.whole,
            sheet.X,
            sheet.y,
            train=train,
            test=test,
            parameters=None,
            split_progress=(fold, len(sheet.splits)),
            **sheet.settings,
            **runner.context,
        )
        del runner.whole.fit
        return {**result, "fit_time": runner.entrant.seconds + result["fit_time"]}

    def _leave(self, numbers: Collection[int]) -> None:
        """Train candidates no further."""
        for fit in [fit for fit in self._runners if fit[0] in numbers]:
            self._runners.pop(fit).entrant.over = True


def members_at_once(weights: int) -> int:
    """Members of a net at most, of so many weights each."""
    return min(max(WEIGHTS_AT_ONCE // max(1, weights), 1), MEMBERS_AT_ONCE)


def _bytes(entrant: Entrant) -> int:
    """About what the training of an entrant takes."""
    net = entrant.net
    weights = _weights(net)
    widths = sum(linear.weight.shape[1] for linear in net.module_.linears)
    rows = len(entrant.train) + (0 if entrant.valid is None else len(entrant.valid) * net.module_.inputs.width)
    step = net.batch_size * widths * 4
    return net.module_.n_members * (net.module_.inputs.dtype.itemsize * (COPIES * weights + step) + 8 * rows)


def _weights(net: Net) -> int:
    """Weights of a member."""
    return sum(parameter[0].numel() for parameter in net.module_.parameters())


@contextmanager
def _grad_mode() -> Iterator[None]:
    with torch.inference_mode(False), torch.enable_grad():
        yield
