"""A race trains candidates side by side, all folds of each, epoch by epoch, and gives up who falls behind.

Here it is decided who trains with whom, who is given up, and what the study is told; the training is that of heats
(``_heat``), by a crew of one or several workers (``_crew``). Which fits are members of one net does not depend on the
number of workers, and so no bit does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from ._candidates import RECORD, Candidate, Scoring
from ._crew import Crew, crew_of
from ._heat import BYTES, News, Sheet, Start, Verdict, members_at_once
from ._lanes import Lane, key_of, network_of, plain, trains_beside_others
from ._utils.validation import layer_sizes
from .network.config import NetworkConfig
from .training.config import TrainingConfig
from .training.update_step import SOLVERS

if TYPE_CHECKING:
    from ._studies import StudyRun

MEMBERS_APART = 24  # from so many on two nets take hardly longer than one, and two workers can take one each


class Race:
    """What evaluates candidates side by side.

    Parameters
    ----------
    scoring : Scoring
        How candidates are scored.
    run : StudyRun
        Who is told.
    metric : object
        Of several metrics the name of the one that is watched.
    prunes : bool
        Whether candidates are watched and given up.
    decides : callable (epoch) -> bool
        Whether the pruner may give up somebody then.
    within : callable () -> bool
        Whether there is time left.
    """

    def __init__(
        self,
        scoring: Scoring,
        run: StudyRun,
        metric: Any,
        prunes: bool,
        decides: Callable[[int], bool],
        within: Callable[[], bool],
    ) -> None:
        self.scoring, self._run, self._within = scoring, run, within
        self._prunes, self._decides = prunes, decides
        scorer = scoring.settings["scorer"]
        self._scorer = scorer._scorers[metric] if hasattr(scorer, "_scorers") else scorer
        self._n_folds = len(scoring.splits)

    def score(self, batch: list[Candidate]) -> None:
        """Score a batch of candidates and tell the study; what cannot be trained here goes fold by fold."""
        alone: list[Candidate] = []
        lanes: list[Lane] = []
        for candidate in batch:
            lane = self._lane(candidate)
            if lane is None:
                alone.append(candidate)
            else:
                lanes.append(lane)
        begun = False
        while lanes and (not begun or self._within()):
            begun = True
            lanes, broken = self._go(lanes)
            alone += broken
        if alone and (not begun or self._within()):
            self.scoring.score(self._run, alone, False, self._within)

    def _lane(self, candidate: Candidate) -> Lane | None:
        """The lane of a candidate; None if its fit has to go alone, or cannot begin."""
        try:
            whole = clone(self.scoring.estimator).set_params(**clone(candidate.params, safe=False))
            step, network = network_of(whole)
            if network is None or not trains_beside_others(network) or self._metadata(step) is None:
                return None
            network._validate_params()
            NetworkConfig.from_estimator(network, SOLVERS[network.solver].scale_invariant)
            TrainingConfig.of(network)
        except Exception:  # the fit says it in its own words, and is counted as failed
            return None
        params = candidate.params
        others = {n: v for n, v in params.items() if step is not None and not n.startswith(f"{step}__")}
        return Lane(candidate, whole, key_of(whole, params), plain(others))

    def _metadata(self, step: str | None) -> dict[str, Any] | None:
        """What of the parameters of ``fit`` the network gets, if that is all of them and no more than weights."""
        told = self.scoring.settings["fit_params"] or {}
        known = "sample_weight" if step is None else f"{step}__sample_weight"
        if set(told) - {known}:
            return None
        return {"sample_weight": told[known]} if told else {}

    # before the race

    def _crew(self, lanes: list[Lane]) -> Crew:
        """Who trains all fits of the lanes."""
        scoring = self.scoring
        step, _ = network_of(scoring.estimator)
        validation = self._scorer if self._prunes else None
        sheet = Sheet(scoring.X, scoring.y, scoring.splits, scoring.settings, self._metadata(step) or {}, validation)
        kinds, befores = _numbers(lane.key for lane in lanes), _numbers(lane.before for lane in lanes)
        parts, costs = self._parts(lanes, kinds)
        starts = []
        for number, lane in enumerate(lanes):
            contexts = {fold: scoring.progress.context(lane.candidate, fold) for fold in parts[number]}
            starts.append(Start(number, lane.whole, kinds[number], befores[number], parts[number], contexts))
        return crew_of(sheet, starts, costs, scoring.n_jobs, self._prunes)

    def _parts(self, lanes: list[Lane], kinds: list[int]) -> tuple[list[dict[int, int]], dict[int, float]]:
        """For each lane the part of each fold, and about the time that each part takes.

        The folds of a candidate are dealt out, so that the parts have alike to do also when some are given up.
        """
        parts: list[dict[int, int]] = [{} for _ in lanes]
        costs: dict[int, float] = {}
        for kind in sorted(set(kinds)):
            alike = [number for number, of_lane in enumerate(kinds) if of_lane == kind]
            members, weights, time = _size(lanes[alike[0]].whole, self.scoring.X)
            first, n_parts = len(costs), _n_parts(members * len(alike) * self._n_folds, members_at_once(weights))
            costs |= dict.fromkeys(range(first, first + n_parts), 0.0)
            for place, number in enumerate(alike):
                for fold in range(self._n_folds):
                    parts[number][fold] = part = first + (place * self._n_folds + fold) % n_parts
                    costs[part] += time
        return parts, costs

    def _line_up(self, lanes: list[Lane], news: list[News]) -> tuple[int, set[int]]:
        """How many lanes the memory has room for, and which of them cannot begin."""
        sizes = {fit: size for one in news for fit, size in one.sizes.items()}
        failed: set[int] = set()
        room, begun = BYTES, False
        for number in range(len(lanes)):
            own = [sizes.get((number, fold), -1) for fold in range(self._n_folds)]
            if None in own:
                failed.add(number)
                continue
            room -= sum(size for size in own if size is not None)
            if -1 in own or (room < 0 and begun):
                return number, failed
            begun = True
        return len(lanes), failed

    # the race

    def _go(self, lanes: list[Lane]) -> tuple[list[Lane], list[Candidate]]:
        """Train those to the end that have room: those that wait, and those that broke down on the way."""
        with closing(self._crew(lanes)) as crew:
            n_lanes, failed = self._line_up(lanes, crew.begin())
            going = {number: lane for number, lane in enumerate(lanes[:n_lanes]) if number not in failed}
            lost = frozenset(range(len(lanes))) - set(going)
            epoch = 0
            while going:
                news = crew.round(Verdict(lost))
                epoch += 1
                broken = {number for one in news for number in one.broken} & set(going)
                failed |= broken
                _take(going, news)
                lost = frozenset(broken | self._look({n: lane for n, lane in going.items() if n not in broken}, epoch))
                going = {n: lane for n, lane in going.items() if n not in lost}
                if going and not self._within():
                    self._time_is_over(going, crew, lost)
                    break
        return lanes[n_lanes:], [lanes[number].candidate for number in sorted(failed)]

    def _look(self, going: dict[int, Lane], epoch: int) -> set[int]:
        """After an epoch: report, tell of who is over, give up whom the pruner does; those do not go on."""
        if self._prunes:
            for lane in going.values():
                lane.due |= self._decides(epoch)
                value = self._curve(lane)
                if np.isfinite(value):
                    self._run.report(lane.candidate.trial, epoch, value)
                lane.told = bool(np.isfinite(value))
        left: set[int] = set()
        for number, lane in going.items():
            if len(lane.results) == self._n_folds:
                self._finish(lane)
                left.add(number)
            elif self._prunes and self._is_lost(lane):
                self._give_up(lane)
                left.add(number)
        return left

    def _is_lost(self, lane: Lane) -> bool:
        """Whether the pruner gives a candidate up; it is asked where it decides, which costs queries of a database."""
        asked, lane.due = lane.due, lane.due and not lane.told
        return asked and self._run.should_prune(lane.candidate.trial)

    def _curve(self, lane: Lane) -> float:
        """Mean over the folds of what would be scored now."""
        return float(np.mean([self.scoring.objective(lane.scores[fold]) for fold in range(self._n_folds)]))

    def _finish(self, lane: Lane) -> None:
        """Tell the study of a candidate that has been on all folds."""
        lane.candidate.folds = [lane.results[fold] for fold in range(self._n_folds)]
        self.scoring.tell(self._run, lane.candidate)

    def _give_up(self, lane: Lane) -> None:
        """Tell the study that a candidate is pruned."""
        unknown = ["test_scores", "train_scores"][: 1 + self.scoring.settings["return_train_score"]]
        nothing = {"score_time": 0.0, **dict.fromkeys(unknown, np.nan), "fit_error": None}
        lane.candidate.folds = [{"fit_time": lane.seconds[fold], **nothing} for fold in range(self._n_folds)]
        self._run.tell(lane.candidate.trial, state="pruned", attrs={RECORD: lane.candidate.record()})

    def _time_is_over(self, going: dict[int, Lane], crew: Crew, lost: frozenset[int]) -> None:
        """Let go of who is under way; if there is no result at all yet, end them where they stand."""
        if any(trial.state.name == "COMPLETE" for trial in self._run.finished()):
            return
        verdict = Verdict(lost, ends=True)
        while any(len(lane.results) < self._n_folds for lane in going.values()):
            _take(going, crew.round(verdict))
            verdict = Verdict()
        for lane in going.values():
            self._finish(lane)


def _take(going: dict[int, Lane], news: list[News]) -> None:
    """Write down what is new of those that are going."""
    for one in news:
        for (number, fold), (score, seconds) in one.looks.items():
            if number in going:
                going[number].scores[fold], going[number].seconds[fold] = score, seconds
        for (number, fold), result in one.results.items():
            if number in going:
                going[number].results[fold] = result


def _numbers(keys: Iterable[Any]) -> list[int]:
    """A number for each, the same for the same."""
    known: dict[Any, int] = {}
    return [known.setdefault(key, len(known)) for key in keys]


def _size(whole: Any, X: Any) -> tuple[int, int, float]:
    """Members of a fit, about the weights of each, and about the time it takes: a step of few weights costs too."""
    _, network = network_of(whole)
    shape = np.shape(X) if hasattr(X, "shape") else (len(X), 1)
    widths = [shape[-1], *layer_sizes(network, network.hidden_layer_sizes)]
    weights = sum(a * b for a, b in pairwise(widths))
    return network.n_members, weights, network.n_members * (weights + 1000.0) * network.max_iter


def _n_parts(members: int, room: int) -> int:
    """Of how many nets so many members are: more than one are an even number, so that two workers have as many."""
    if members < MEMBERS_APART and members <= room:
        return 1
    return 2 * ceil(members / room / 2)
