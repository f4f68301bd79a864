"""A crew is the workers that train the heats of a race: processes of joblib's, or this process alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Client, Connection, Listener, wait
from typing import Any, NoReturn, Protocol

import sklearn
from joblib import (  # type: ignore[import-untyped]  # joblib ships no types
    effective_n_jobs,
    parallel_config,
    wrap_non_picklable_objects,
)
from joblib.parallel import get_active_backend  # type: ignore[import-untyped]  # as above
from sklearn.utils.parallel import Parallel, delayed

from ._heat import Heat, News, Sheet, Start, TrainingConfig, Verdict

PROCESSES = "LokyBackend"
POLL_SECONDS = 0.1
NOTHING = Verdict()


class Crew(Protocol):
    """Who trains heats."""

    def begin(self) -> list[News]:
        """The sizes of all fits."""
        ...

    def round(self, verdict: Verdict) -> list[News]:
        """Tell all heats something, and hear what they have to say: of an epoch, or of some time."""
        ...

    def close(self) -> None:
        """Let go of what still trains."""
        ...


class Alone:
    """The only worker is the process itself.

    Parameters
    ----------
    heat : Heat
        All fits.
    """

    def __init__(self, heat: Heat) -> None:
        self._course = heat.training_config()

    def begin(self) -> list[News]:
        """See ``Crew``."""
        return [next(self._course)]

    def round(self, verdict: Verdict) -> list[News]:
        """See ``Crew``; each is an epoch."""
        try:
            return [self._course.send(verdict)]
        except StopIteration:
            return []

    def close(self) -> None:
        """See ``Crew``."""
        self._course.close()


class Processes:
    """Worker processes, each with a heat of its own and a line to this one.

    A line that ends tells either side that the other is no more, also where it was killed: a worker then stops at the
    end of its epoch.

    Parameters
    ----------
    sheet : Sheet
        What all fits have in common.
    shares : sequence of list of Start
        What each worker trains.
    n_jobs : int
        joblib's workers, at least as many as there are shares.
    in_step : bool
        Whether all wait for each other after every epoch. Otherwise a worker speaks when fits have ended.
    """

    def __init__(self, sheet: Sheet, shares: Sequence[list[Start]], n_jobs: int, in_step: bool) -> None:
        self._in_step, self._begun = in_step, False
        self._error: BaseException | None = None
        key = os.urandom(32)
        self._lines: list[Connection[Any, Any]] = []
        with Listener(authkey=key) as listener:
            config, address = sklearn.get_config(), listener.address
            jobs = [delayed(_serve)(address, key, sheet, share, in_step) for share in shares]
            self._thread = threading.Thread(target=self._employ, args=(jobs, n_jobs, config, address, key), daemon=True)
            self._thread.start()
            try:
                for _ in shares:
                    line = listener.accept()
                    self._lines.append(line)
                    if line.recv() is None:  # it is the thread: a worker has failed before it could call
                        self._fail()
            except BaseException:
                self.close()
                raise

    def _employ(self, jobs: list[Any], n_jobs: int, config: dict[str, Any], address: Any, key: bytes) -> None:
        """In a thread of its own: have joblib's workers work, and keep the error, if there is one."""
        try:
            with sklearn.config_context(**config), parallel_config(backend="loky"):
                Parallel(n_jobs=n_jobs, batch_size=1, pre_dispatch="all")(jobs)
        except BaseException as error:
            self._error = error
            self._wake(address, key)

    @staticmethod
    def _wake(address: Any, key: bytes) -> None:
        """Call in the place of a worker that will not; nobody listens any more once all have called."""
        try:
            with Client(address, authkey=key) as line:
                line.send(None)
        except OSError:
            return

    def begin(self) -> list[News]:
        """See ``Crew``."""
        return [news for line in list(self._lines) if (news := self._hear(line)) is not None]

    def round(self, verdict: Verdict) -> list[News]:
        """See ``Crew``."""
        if self._in_step or verdict != NOTHING or not self._begun:
            self._begun = True
            for line in list(self._lines):
                self._tell(line, verdict)
        lines = list(self._lines) if self._in_step else wait(self._lines, POLL_SECONDS)
        return [news for line in lines if (news := self._hear(line)) is not None]

    def _tell(self, line: Connection[Any, Any], verdict: Verdict) -> None:
        try:
            line.send(verdict)
        except OSError:  # it has ended, and its last words are still to be heard
            return

    def _hear(self, line: Any) -> News | None:
        """What a worker says; None if that was all."""
        try:
            news: News | None = line.recv()
        except (EOFError, OSError):
            self._fail()
        if news is None:
            self._lines.remove(line)
            line.close()
        return news

    def _fail(self) -> NoReturn:
        """Raise what a worker has ended with."""
        self.close()
        raise self._error or RuntimeError("A worker ended before its candidates did.")

    def close(self) -> None:
        """See ``Crew``."""
        for line in self._lines:
            line.close()
        self._lines = []
        self._thread.join()


def workers_of(n_jobs: int | None) -> int:
    """How many processes ``n_jobs`` asks for; one where joblib would begin none: in its workers, or by another backend.

    Nor in a thread, since two races that wait for the same workers would wait for ever.
    """
    ours = type(get_active_backend()[0]).__name__ == PROCESSES and threading.current_thread() is threading.main_thread()
    return int(effective_n_jobs(n_jobs)) if ours else 1


def crew_of(sheet: Sheet, starts: list[Start], costs: dict[int, float], n_jobs: int | None, in_step: bool) -> Crew:
    """Who trains some fits.

    Parameters
    ----------
    sheet : Sheet
        What they have in common.
    starts : list of Start
        The fits.
    costs : dict of float
        About the time that each of their parts takes.
    n_jobs : int or None
        joblib's.
    in_step : bool
        See ``Processes``.
    """
    n_workers = workers_of(n_jobs)
    shares = _shares(starts, costs, n_workers) if n_workers > 1 else []
    if len(shares) < 2:
        return Alone(Heat(sheet, starts))
    return Processes(sheet, shares, n_workers, in_step)


def _shares(starts: list[Start], costs: dict[int, float], n_workers: int) -> list[list[Start]]:
    """What each worker gets: whole parts, the most costly first, each to whom has least."""
    loads, worker_of = [0.0] * n_workers, {}
    for part in sorted(costs, key=lambda part: -costs[part]):
        worker_of[part] = least = loads.index(min(loads))
        loads[least] += costs[part]
    shares = []
    for worker in range(n_workers):
        own = [replace(s, parts={f: p for f, p in s.parts.items() if worker_of[p] == worker}) for s in starts]
        shares.append([start for start in own if start.parts])
    return [share for share in shares if share]


def _serve(address: Any, key: bytes, sheet: Sheet, share: list[Start], in_step: bool) -> None:
    """In a worker: go through a heat, and tell of it."""
    with Client(address, authkey=key) as line:
        line.send(os.getpid())
        try:
            _go_through(Heat(sheet, share).training_config(), line, in_step)
        except (EOFError, ConnectionError):  # nobody wants to know any more
            return


def _go_through(training_config: TrainingConfig, line: Connection[Any, Any], in_step: bool) -> None:
    news, waits = next(training_config), True
    while True:
        if waits or news.results or news.broken:
            line.send(wrap_non_picklable_objects(news, keep_wrapper=False))  # estimators of the user's among it
        verdict = line.recv() if waits or line.poll() else NOTHING
        waits = in_step
        try:
            news = training_config.send(verdict)
        except StopIteration:
            line.send(None)
            return
