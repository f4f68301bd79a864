"""An owner is the process that has a trial: who it is, and whether it still lives."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

BEAT_SECONDS = 10.0
GRACE_SECONDS = 120.0

# Runs that this process has open: one that was dropped without being closed has the same process, and is no more.
_OPEN: set[str] = set()


def open_run(run: str) -> None:
    """Note that a run of this process begins."""
    _OPEN.add(run)


def close_run(run: str) -> None:
    """Note that a run of this process has ended."""
    _OPEN.discard(run)


def _forget_the_parents() -> None:
    _OPEN.clear()
    _place.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parents)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


@lru_cache(maxsize=1)
def _place() -> dict[str, str]:
    """Where process numbers mean the same: host, boot, and on Linux the namespace of the numbers (a container's)."""
    try:
        numbers = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbers = ""
    return {"host": socket.gethostname(), "boot": _read("/proc/sys/kernel/random/boot_id"), "numbers": numbers}


def started(pid: int) -> str | None:
    """When a process of this host began, "" where it is no more, None where the system does not tell.

    A killed child whose parent has not asked after it yet is no more.
    """
    if sys.platform == "linux":
        stat = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        return "" if not stat or stat[0] in "ZX" else stat[19]
    if os.name != "posix":
        return None
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    state, _, began = asked.stdout.strip().partition(" ")
    return "" if not state or state.startswith("Z") else began.strip()


def owner_of(run: str) -> dict[str, Any]:
    """What a trial records of the process that has it, and of its run."""
    return {**_place(), "pid": os.getpid(), "started": started(os.getpid()), "run": run}


class Pulse:
    """Tells which owners live: by their process where it can be asked after, else by their heartbeat.

    Clocks of several machines differ. So a heartbeat is a count, and an owner is dead when it has not changed for the
    grace period as this process measures time.

    Parameters
    ----------
    beats : callable
        Returns {run: its count, or None once it is closed}.
    grace : float
        Seconds without a change after which an owner is dead.
    """

    def __init__(self, beats: Callable[[], Mapping[str, int | None]], grace: float = GRACE_SECONDS) -> None:
        self._beats, self._grace = beats, grace
        self._seen: dict[str, tuple[int | None, float]] = {}

    def alive(self, owner: Mapping[str, Any]) -> bool:
        """Whether an owner lives, as far as this process can tell."""
        if all(owner.get(name) == value for name, value in _place().items()):
            began = started(owner["pid"])
            if owner["pid"] == os.getpid() and owner.get("started") == began:
                return owner["run"] in _OPEN
            if began is not None:
                return began != "" and began == owner.get("started")
        return self._beats_still(owner["run"])

    def _beats_still(self, run: str) -> bool:
        beat, now = self._beats().get(run, -1), time.monotonic()
        if beat is None:
            return False
        if run not in self._seen or self._seen[run][0] != beat:
            self._seen[run] = beat, now
        return now - self._seen[run][1] < self._grace


class Heart:
    """A thread that beats until it is stopped; it holds nothing of its owner but what it is given.

    Parameters
    ----------
    beat : callable
        Records a count. What it raises is left alone: a storage that is away for a while comes back.
    seconds : float
        Between two beats.
    """

    def __init__(self, beat: Callable[[int], None], seconds: float = BEAT_SECONDS) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_beat, args=(beat, self._stop, seconds), name="skreg-heartbeat", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._stop.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)


def _beat(beat: Callable[[int], None], stop: threading.Event, seconds: float) -> None:
    count = 0
    while not stop.wait(seconds):
        count += 1
        try:
            beat(count)
        except Exception:  # the next one may succeed; without any, others take the trials over after the grace period
            continue
