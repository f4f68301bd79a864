"""A study's run is one process's share in an Optuna study.

Any number of processes share one, and each may be killed at any moment: what they agree on is in `_ledger`, who they
are in `_owners`, where the study is kept in `_storages`.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from ._joining import default_sampler, join
from ._ledger import COUNTS, ENQUEUED, OWNER, RELEASED, RETRY_OF, Ledger
from ._owners import Heart, Pulse, close_run, open_run, owner_of

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState

BEAT = "skreg:beat:"


class StudyRun:
    """One process's share in a study.

    Parameters
    ----------
    study : optuna.Study
        Whose trials are shared.
    seed : int or None
        From which each trial's sampler is seeded; None leaves the study's sampler as it is.
    beats : bool
        Whether other processes may look for a heartbeat.

    Attributes
    ----------
    study : optuna.Study
        The study.
    """

    def __init__(self, study: optuna.Study, seed: int | None, beats: bool) -> None:
        self.study = study
        self._seed, self._run, self._pid = seed, uuid.uuid4().hex, os.getpid()
        self._lock = threading.RLock()
        self._queue: dict[str, dict[str, Any]] = {}
        self._claimed: dict[int, optuna.Trial] = {}
        self._exhausted = False
        self._pulse = Pulse(lambda: _beats(study))
        open_run(self._run)
        self._heart: Heart | None = None
        if beats:
            beat = _beat_of(study, self._run)
            beat(0)
            self._heart = Heart(beat)
        weakref.finalize(self, _end, self._pid, self._run, self._heart)

    @classmethod
    def open(
        cls,
        storage: Any,
        study_name: str | None,
        *,
        direction: Literal["minimize", "maximize"] = "maximize",
        sampler: Any = None,
        pruner: Any = None,
        seed: int,
        fingerprint: Mapping[str, str],
    ) -> StudyRun:
        """Create or join a study.

        Parameters
        ----------
        storage : None, str, path or storage
            As `_storages.open_storage` takes it.
        study_name : str or None
            None is a name made of the fingerprint, so that the same search finds its study again.
        direction : {"maximize", "minimize"}
            Of the objective.
        sampler, pruner : sampler and pruner of Optuna's, or None
            None is TPE, seeded anew for each trial by its number, and no pruning.
        seed : int
            Of that sampler.
        fingerprint : dict of str
            What the study's trials depend on; another one than the study's is refused.
        """
        import optuna

        study = join(storage, study_name, direction, sampler or default_sampler(seed, 0), pruner, fingerprint)
        beats = not isinstance(study._storage, optuna.storages.InMemoryStorage)
        return cls(study, None if sampler else seed, beats)

    def enqueue(self, params: dict[str, Any]) -> None:
        """Let the first trial be this, where the study has none yet but such."""
        self._check_process()
        known = self._ledger().enqueued
        if all(ENQUEUED in t.system_attrs or RETRY_OF in t.system_attrs for t in self._trials()):
            key = hashlib.sha256(json.dumps(params, sort_keys=True, default=repr).encode()).hexdigest()[:16]
            self._queue |= {} if key in known else {key: params}

    def ask(self, n: int, total: int, distributions: dict[str, BaseDistribution] | None = None) -> list[optuna.Trial]:
        """Claim trials: first those whose owner is dead, with their parameters, then new ones.

        Parameters
        ----------
        n : int
            At most so many.
        total : int
            So many has the whole study in the end, whoever has them.
        distributions : dict of distributions, or None
            From which each trial gets its parameters here; None leaves that to the caller.

        Returns
        -------
        list of optuna.Trial
            Empty where there is nothing left to claim; some may still run elsewhere.
        """
        self._check_process()
        with self._lock:
            if self._exhausted:
                return []
            claimed: list[int] = []
            while len(claimed) < n:
                ledger = self._ledger()
                made = self._take_over(ledger, n - len(claimed), total) or self._make(ledger, n - len(claimed), total)
                if not made:
                    break
                claimed += self._keep(made, total)
            trials = []
            for trial_id in claimed:
                with self._unless_over(trial_id):
                    trials.append(self._trial(trial_id, distributions))
            return trials

    def share(self, most: int, total: int) -> int:
        """How many trials to ask for at once, at most ``most``; where others share the study, fewer towards its end.

        An even share of what is left, so that nobody is alone with a large batch at the end.
        """
        if self._heart is None:
            return most
        ledger = self._ledger()
        owners = {t.system_attrs[OWNER]["run"]: t for t in ledger.open(total) if OWNER in t.system_attrs}
        others = sum(run != self._run and not self._orphaned(trial) for run, trial in owners.items())
        return max(1, min(most, -(-(total - len(ledger.places)) // (1 + others))))

    def report(self, trial: optuna.Trial, step: int, value: float) -> None:
        """Tell how a trial does so far; nothing where others have taken it over."""
        with self._unless_over(trial._trial_id):
            trial.report(value, step)

    def should_prune(self, trial: optuna.Trial) -> bool:
        """Whether the pruner gives a trial up."""
        return trial.should_prune()

    def tell(
        self, trial: optuna.Trial, value: float | None = None, *, state: str = "complete", attrs: dict | None = None
    ) -> bool:
        """Tell how a trial ended.

        Parameters
        ----------
        trial : optuna.Trial
            One that this run was given.
        value : float or None
            Of a complete trial; one that is none, or not a number, makes it a failed one.
        state : {"complete", "pruned", "failed"}
            A failed one counts as well: a space in which all fail would never come to an end.
        attrs : dict or None
            Attributes of the user, as JSON can hold them.

        Returns
        -------
        bool
            Whether the study took it; not if others had given this process up and taken the trial over.
        """
        from optuna.trial import TrialState

        self._check_process()
        if state == "complete" and (value is None or np.isnan(value)):
            state = "failed"
        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        marks = {**(attrs or {}), **({COUNTS: True} if state == "failed" else {})}
        told = False
        with self._unless_over(trial._trial_id):
            for name, what in marks.items():
                trial.set_user_attr(name, what)
            told = self._finish(trial, value if state == "complete" else None, states[state])
        with self._lock:
            self._claimed.pop(trial.number, None)
        return told

    def _finish(self, trial: optuna.Trial, value: float | None, state: TrialState) -> bool:
        try:
            self.study.tell(trial, value, state=state)
        except ValueError:  # Optuna's word for a trial that is over, if it sees it before it writes
            if not self._over(trial._trial_id):
                raise
            return False
        except RuntimeError as error:  # a sampler that has nothing left calls for an end, which only optimize has
            if "Study.stop" not in str(error):
                raise
            self._exhausted = True
        return True

    def finished(self) -> list[FrozenTrial]:
        """Trials that count, by number: complete, pruned, or failed by their own fault."""
        return self._ledger().scored(len(self._trials()))

    def wait(self, total: int, timeout: float | None = None) -> bool:
        """Wait for what others have.

        Returns
        -------
        bool
            True once the study has all its trials; False when the time is over, and at once where `ask` has something
            to give: a trial of a dead owner, for example.
        """
        self._check_process()
        end = time.monotonic() + (np.inf if timeout is None else timeout)
        pause = 0.01
        while True:
            ledger = self._ledger()
            if len(ledger.scored(total)) >= total:
                self._give_up(ledger.strays(total))
                return True
            open_ = ledger.open(total)
            if self._exhausted and not open_:
                return True
            claimable = len(ledger.places) < total or any(self._orphaned(trial) for trial in open_)
            if (claimable and not self._exhausted) or time.monotonic() >= end:
                return False
            time.sleep(max(0.0, min(pause, end - time.monotonic())))
            pause = min(1.0, 1.5 * pause)

    def close(self) -> None:
        """Let go of what was claimed and not told, for others or a later run to take, and beat no more."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            for trial in self._claimed.values():
                with self._unless_over(trial._trial_id):
                    self.study._storage.set_trial_system_attr(trial._trial_id, RELEASED, True)
                self._fail(trial._trial_id)
            self._claimed = {}
        _end(self._pid, self._run, self._heart)
        if self._heart is not None:
            self._heart = None
            self.study.set_user_attr(f"{BEAT}{self._run}", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # how trials are claimed

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _ledger(self) -> Ledger:
        return Ledger(self._trials())

    def _orphaned(self, trial: FrozenTrial) -> bool:
        """Whether nobody has a trial that is not over, or somebody dead."""
        owner = trial.system_attrs.get(OWNER)
        return trial.state.name != "RUNNING" or owner is None or not self._pulse.alive(owner)

    def _take_over(self, ledger: Ledger, n: int, total: int) -> list[int]:
        """Make retries of what nobody has any more, and close what they replace."""
        made = []
        self._give_up(ledger.strays(total))
        for trial in [t for t in ledger.open(total) if self._orphaned(t)][:n]:
            counts = COUNTS in trial.user_attrs  # it died while it told that it had failed
            if not counts and not ledger.retried(trial):
                params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
                made.append(self._create({RETRY_OF: trial.number, "fixed_params": params}))
            self._fail(trial._trial_id)
        return made

    def _make(self, ledger: Ledger, n: int, total: int) -> list[int]:
        """Make new trials, as many as there seem to be places."""
        room = min(n, total - len(ledger.places))
        queue = [(key, params) for key, params in self._queue.items() if key not in ledger.enqueued]
        marks = [{ENQUEUED: key, "fixed_params": params} for key, params in queue[: max(0, room)]]
        return [self._create(mark) for mark in [*marks, *({} for _ in range(room - len(marks)))]]

    def _create(self, marks: dict[str, Any]) -> int:
        """A running trial that has its owner from its first moment."""
        from optuna.trial import TrialState, create_trial

        marks = {**marks, OWNER: owner_of(self._run)}
        trial = create_trial(state=TrialState.RUNNING, system_attrs=marks)
        return self.study._storage.create_new_trial(self.study._study_id, template_trial=trial)

    def _keep(self, made: list[int], total: int) -> list[int]:
        """Those that have a place; the others are closed."""
        placed = {trial._trial_id for trial in self._ledger().places[:total]}
        for trial_id in made:
            if trial_id not in placed:
                self._fail(trial_id)
        return [trial_id for trial_id in made if trial_id in placed]

    def _give_up(self, trials: list[FrozenTrial]) -> None:
        """Close trials without a place whose owner is dead; who lives closes his own."""
        for trial in trials:
            if self._orphaned(trial):
                self._fail(trial._trial_id)

    def _fail(self, trial_id: int) -> None:
        from optuna.trial import TrialState

        with self._unless_over(trial_id):  # somebody else was faster
            self.study._storage.set_trial_state_values(trial_id, state=TrialState.FAIL)

    def _over(self, trial_id: int) -> bool:
        return self.study._storage.get_trial(trial_id).state.is_finished()

    @contextmanager
    def _unless_over(self, trial_id: int) -> Iterator[None]:
        """Leave a trial as it is that somebody has ended meanwhile; all of Optuna's storages refuse to change it."""
        try:
            yield
        except RuntimeError:
            if not self._over(trial_id):
                raise

    def _trial(self, trial_id: int, distributions: Mapping[str, BaseDistribution] | None) -> optuna.Trial:
        """A trial with a sampler of its own, so that what it draws does not depend on who asked before."""
        import optuna

        study = copy.copy(self.study)
        number = study._storage.get_trial(trial_id).number
        if self._seed is not None:
            study.sampler = default_sampler(self._seed, number)
        trial = optuna.Trial(study, trial_id)
        self._claimed[number] = trial
        for name, distribution in (distributions or {}).items():
            trial._suggest(name, distribution)
        return trial

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("A study's run belongs to the process that opened it. Open another one in the child.")


def _beats(study: optuna.Study) -> dict[str, int | None]:
    attrs = study.user_attrs
    return {name.removeprefix(BEAT): beat for name, beat in attrs.items() if name.startswith(BEAT)}


def _beat_of(study: optuna.Study, run: str) -> Callable[[int], None]:
    return lambda count: study.set_user_attr(f"{BEAT}{run}", count)


def _end(pid: int, run: str, heart: Heart | None) -> None:
    """A run is over, closed or dropped; a forked child has no part in it."""
    if os.getpid() != pid:
        return
    close_run(run)
    if heart is not None:
        heart.stop()
