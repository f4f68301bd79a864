"""A race trains candidates side by side, all folds of each, epoch by epoch, and gives up who falls behind.

The fits of candidates that differ in strengths only become members of one net (``_joint``); what comes out is what each
fit would have been alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from joblib import effective_n_jobs  # type: ignore[import-untyped]  # joblib ships no types
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from ._blueprint import Blueprint
from ._candidates import RECORD, Candidate, Scoring
from ._course import Course
from ._entry import enter, rows_to_predict
from ._joint import Entrant, JointNet
from ._lanes import Lane, Runner, key_of, network_of, plain, trains_beside_others
from ._net import Net
from ._threads import torch_threads

if TYPE_CHECKING:
    from ._studies import StudyRun

MEMBERS_AT_ONCE, WEIGHTS_AT_ONCE = (4, 64), 200_000
"""Members of a net, at least and at most; between them so many that it has about these weights, which the cache holds.

Measured: of small networks more at once cost less each, of wide ones more than a few only leave the cache.
"""
BYTES = 1 << 30
COPIES = 8  # of a weight: itself, before training, its gradient, two moments, the best, an average, and room for a step


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
    within : callable () -> bool
        Whether there is time left.
    """

    def __init__(
        self,
        scoring: Scoring,
        run: StudyRun,
        metric: Any,
        prunes: bool,
        within: Callable[[], bool],
    ) -> None:
        self.scoring, self._run, self._prunes, self._within = scoring, run, prunes, within
        scorer = scoring.settings["scorer"]
        self._scorer = scorer._scorers[metric] if hasattr(scorer, "_scorers") else scorer
        self._prepared: tuple[Any, list[Any]] = None, []

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
            heat, lanes, failed = self._line_up(lanes)
            alone += failed
            alone += self._go(heat)
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
            Blueprint.of(network)
            Course.of(network)
        except Exception:  # the fit says it in its own words, and is counted as failed
            return None
        return Lane(candidate, whole, key_of(whole, candidate.params))

    def _metadata(self, step: str | None) -> dict[str, Any] | None:
        """What of the parameters of ``fit`` the network gets, if that is all of them and no more than weights."""
        told = self.scoring.settings["fit_params"] or {}
        known = "sample_weight" if step is None else f"{step}__sample_weight"
        if set(told) - {known}:
            return None
        return {"sample_weight": told[known]} if told else {}

    # before the race

    def _line_up(self, lanes: list[Lane]) -> tuple[list[Lane], list[Lane], list[Candidate]]:
        """Prepare as many lanes as the memory has room for: these, those that wait, and those that cannot begin."""
        heat: list[Lane] = []
        failed: list[Candidate] = []
        first: dict[Any, Lane] = {}
        room = BYTES
        for place, lane in enumerate(lanes):
            try:
                with _grad_mode():
                    lane.runners = self._runners(lane, first.get(lane.key))
            except Exception:  # as in _lane
                failed.append(lane.candidate)
                continue
            room -= sum(_bytes(runner.entrant) for runner in lane.runners)
            if room < 0 and heat:
                lane.runners = []
                return heat, lanes[place:], failed
            first.setdefault(lane.key, lane)
            heat.append(lane)
        return heat, [], failed

    def _runners(self, lane: Lane, like: Lane | None) -> list[Runner]:
        step, network = network_of(lane.whole)
        others = {n: v for n, v in lane.candidate.params.items() if step is not None and not n.startswith(f"{step}__")}
        known, folds = self._prepared
        if known != plain(others):
            folds = [self._prepare(lane.whole, fold) for fold in range(len(self.scoring.splits))]
            self._prepared = plain(others), folds
        runners = []
        for fold, (X, y, weight, X_test, y_test, scored, before) in enumerate(folds):
            whole = clone(lane.whole)
            _, network = network_of(whole)
            with torch_threads(network.n_threads):
                entry = enter(network, X, y, weight, None if like is None else like.runners[fold].entry)
            test = None
            if self._prunes:
                test = rows_to_predict(network, X_test, entry.net) if like is None else like.runners[fold].entrant.test
            entrant = Entrant(entry.net, entry.train, entry.valid, entry.monitor, test, network.n_threads)
            runners.append(Runner(whole, entry, before, X_test, y_test, scored, entrant))
        return runners

    def _prepare(self, whole: Any, fold: int) -> tuple[Any, ...]:
        """What the network gets of a fold: training rows, weights, test rows, and the steps that made them."""
        scoring = self.scoring
        train, test = (np.asarray(rows) for rows in scoring.splits[fold])
        X, y = _safe_split(whole, scoring.X, scoring.y, train)
        X_test, y_test = _safe_split(whole, scoring.X, scoring.y, test, train)
        step, _ = network_of(whole)
        told = self._metadata(step) or {}
        weight = _check_method_params(scoring.X, params=told, indices=train).get("sample_weight")
        scored = _check_method_params(scoring.X, params=scoring.settings["score_params"], indices=test)
        if step is None or len(whole.steps) == 1:
            return X, y, weight, X_test, y_test, scored, None
        before = clone(whole[:-1])
        X = before.fit_transform(X, y)
        return X, y, weight, before.transform(X_test), y_test, scored, before

    # the race

    def _go(self, lanes: list[Lane]) -> list[Candidate]:
        """Train to the end; who broke down on the way is given back."""
        joints, going, broken = _joints(lanes), list(lanes), []
        workers = effective_n_jobs(self.scoring.n_jobs)
        epoch = 0
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(workers)) if workers > 1 else None
            while going:
                training = [joint for joint in joints if not joint.done]
                errors = list((pool.map if pool else map)(_train_epoch, training))
                epoch += 1
                for joint, error in zip(training, errors, strict=True):
                    broken += self._drop(going, joint) if error is not None else []
                going = self._look(going, epoch)
                if not self._within():
                    self._time_is_over(going, joints)
                    break
        return broken

    def _look(self, going: list[Lane], epoch: int) -> list[Lane]:
        """After an epoch: report, finish who is over, give up whom the pruner does; the others are given back."""
        if self._prunes:
            for lane in going:
                value = self._curve(lane)
                if np.isfinite(value):
                    self._run.report(lane.candidate.trial, epoch, value)
        left = []
        for lane in going:
            if lane.over:
                self._finish(lane)
            elif self._prunes and self._run.should_prune(lane.candidate.trial):
                self._give_up(lane)
            else:
                left.append(lane)
        return left

    def _curve(self, lane: Lane) -> float:
        """Mean over the folds of what would be scored now."""
        try:
            return float(np.mean([self.scoring.objective(runner.look(self._scorer)) for runner in lane.runners]))
        except Exception:  # the pruner hears nothing of it; the scores in the end say it
            return np.nan

    def _finish(self, lane: Lane) -> None:
        """Score the fitted estimators as scikit-learn does, and tell the study."""
        scoring, candidate = self.scoring, lane.candidate
        for fold, (runner, context) in enumerate(
            zip(lane.runners, scoring.progress.contexts(len(lane.runners)), strict=True)
        ):
            runner.whole.fit = runner.fit
            train, test = scoring.splits[fold]
            result = _fit_and_score(
                runner.whole,
                scoring.X,
                scoring.y,
                train=train,
                test=test,
                parameters=None,
                split_progress=(fold, len(scoring.splits)),
                **scoring.settings,
                **context,
            )
            del runner.whole.fit
            candidate.folds.append({**result, "fit_time": runner.entrant.seconds + result["fit_time"]})
        scoring.tell(self._run, candidate)
        lane.runners = []

    def _give_up(self, lane: Lane) -> None:
        """Train a candidate no further, and tell the study that it is pruned."""
        self._leave(lane)
        unknown = ["test_scores", "train_scores"][: 1 + self.scoring.settings["return_train_score"]]
        lane.candidate.folds = [
            {"fit_time": runner.entrant.seconds, "score_time": 0.0, **dict.fromkeys(unknown, np.nan), "fit_error": None}
            for runner in lane.runners
        ]
        self._run.tell(lane.candidate.trial, state="pruned", attrs={RECORD: lane.candidate.record()})
        lane.runners = []

    @staticmethod
    def _leave(lane: Lane) -> None:
        for runner in lane.runners:
            runner.entrant.over = True

    def _drop(self, going: list[Lane], joint: JointNet) -> list[Candidate]:
        """Take out the candidates of a net whose training failed: one of them is the cause, and shall fail alone."""
        there = {id(entrant) for entrant in joint.entrants}
        lost = [lane for lane in going if any(id(runner.entrant) in there for runner in lane.runners)]
        for lane in lost:
            self._leave(lane)
            going.remove(lane)
        return [lane.candidate for lane in lost]

    def _time_is_over(self, going: list[Lane], joints: list[JointNet]) -> None:
        """Let go of who is under way; if there is no result at all yet, end them where they stand."""
        if any(trial.state.name == "COMPLETE" for trial in self._run.finished()):
            return
        for joint in joints:
            if not joint.done:
                joint.end()
        for lane in going:
            self._finish(lane)


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


def _joints(lanes: list[Lane]) -> list[JointNet]:
    """Nets of about as many members as ``MEMBERS_AT_ONCE`` and ``WEIGHTS_AT_ONCE`` say."""
    alike: dict[Any, list[Entrant]] = {}
    for lane in lanes:
        for runner in lane.runners:
            alike.setdefault((lane.key, *runner.entrant.key()), []).append(runner.entrant)
    joints = []
    for entrants in alike.values():
        members, (least, most) = sum(entrant.net.module_.n_members for entrant in entrants), MEMBERS_AT_ONCE
        room = min(max(WEIGHTS_AT_ONCE // _weights(entrants[0].net), least), most)
        n_parts = min(len(entrants), ceil(members / room))
        ends = [round(len(entrants) * part / n_parts) for part in range(n_parts + 1)]
        joints += [JointNet.of(entrants[a:b]) for a, b in pairwise(ends)]
    return joints


@contextmanager
def _grad_mode() -> Iterator[None]:
    with torch.inference_mode(False), torch.enable_grad():
        yield


def _train_epoch(joint: JointNet) -> Exception | None:
    """Train an epoch, in a thread of its own perhaps; an error is given back."""
    try:
        with _grad_mode(), torch_threads(joint.n_threads):
            joint.train_epoch()
    except Exception as error:
        return error
    return None
