"""Where a study is kept: memory, an SQLite file, a PostgreSQL server, Optuna's journal. It imports Optuna."""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend

LOCK_SECONDS = 60
JOURNALS = (".journal", ".log")

# Files are locked against other processes; this one is against other threads, which such a lock lets through.
_appending = threading.Lock()


def _new_lock() -> None:
    """In a forked child: the thread that had the lock is not there to let it go."""
    global _appending
    _appending = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def open_storage(storage: Any) -> BaseStorage:
    """Open what the user names.

    Parameters
    ----------
    storage : None, str, path or storage
        Memory; an SQLite file by path or URL; a URL that SQLAlchemy knows, such as PostgreSQL's; a journal by
        "journal:PATH" or a path that ends in .journal or .log; or a storage of Optuna's as it is.
    """
    if storage is None:
        return InMemoryStorage()
    if isinstance(storage, BaseStorage):
        return storage
    if not isinstance(storage, str | os.PathLike):
        raise ValueError(
            "The 'storage' parameter of OptunaSearchCV must be None, a path, a URL or a storage of Optuna's. "
            f"Got {storage!r} instead."
        )
    name = os.fspath(storage)
    if name.startswith("journal:"):
        return _journal(Path(name.removeprefix("journal:").removeprefix("//")))
    if name.startswith("sqlite") and sa.make_url(name).database not in (None, "", ":memory:"):
        return _persistently(lambda: SQLiteStorage(name))
    if re.match(r"[\w+]+://", name):
        return _persistently(lambda: RDBStorage(_with_driver(name), engine_kwargs={"pool_pre_ping": True}))
    if name.endswith(JOURNALS):
        return _journal(Path(name))
    path = _placed(Path(name))
    url = sa.URL.create("sqlite", database=str(path)).render_as_string().replace("{", "{{").replace("}", "}}")
    return _persistently(lambda: SQLiteStorage(url))


def _placed(path: Path) -> Path:
    """The path in full; its folder must be there."""
    if not path.absolute().parent.is_dir():
        raise ValueError(f"storage={str(path)!r} is in a folder that does not exist. Make the folder first.")
    return path.absolute()


def _journal(path: Path) -> JournalStorage:
    return JournalStorage(JournalFile(str(_placed(path))))


def _with_driver(url: str) -> str:
    """A PostgreSQL URL that names no driver gets the one that is installed, whatever SQLAlchemy's first choice is."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        return url
    for driver in ("psycopg", "psycopg2"):
        if find_spec(driver) is not None:
            return f"postgresql+{driver}://{rest}"
    raise ImportError("A PostgreSQL storage needs a driver. Install one with: pip install 'skreg[postgresql]'.")


def _persistently(make: Any, attempts: int = 8) -> Any:
    """Two processes that make the tables at once trip over each other: the one that fell tries again."""
    for attempt in range(attempts):
        try:
            return make()
        except (sa.exc.SQLAlchemyError, StorageInternalError):
            if attempt == attempts - 1:
                raise
            time.sleep(0.05 * 2**attempt)
    raise AssertionError


class SQLiteStorage(RDBStorage):
    """An SQLite file that processes of one host may share.

    Optuna reads, decides and writes in one transaction. SQLite refuses to turn a read into a write when somebody else
    has written in between, and does not wait. So each transaction takes the lock at its beginning, and waits for it.

    Parameters
    ----------
    url : str
        As SQLAlchemy has it.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}})
        with self.engine.connect() as connection:
            # A kill loses nothing that was told; a loss of power may lose the last trials, and harms no others.
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        self._take_locks_at_once()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._take_locks_at_once()

    def _take_locks_at_once(self) -> None:
        self.engine.dispose()
        sa.event.listen(self.engine, "connect", _prepare)
        sa.event.listen(self.engine, "begin", _begin)


def _prepare(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # or Python would begin transactions of its own
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


class JournalFile(BaseJournalBackend):
    """Optuna's journal, one JSON text per line, in a file of one host.

    The lock is the system's, which goes with the process that has it: none is left behind by a kill. What a kill or a
    loss of power leaves of a line is cut off before the next one is written.

    Parameters
    ----------
    path : str
        Of the journal; ".lock" beside it is what is locked.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._offsets = {0: 0}
        Path(path).touch()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Entries from a number on; a line that is still being written is not one yet."""
        try:
            yield from self._read(log_number_from)
        except ValueError:  # it was cut off and written over while it was read, or is damaged
            with _locked(self._path):
                entries = self._read(log_number_from)
            yield from entries

    def _read(self, number: int) -> list[dict[str, Any]]:
        start = number if number in self._offsets else 0
        offset = self._offsets[start]
        with open(self._path, "rb") as file:
            file.seek(offset)
            whole = file.read().rpartition(b"\n")[0]
        offsets, entries = {}, []
        for at, line in enumerate(whole.split(b"\n") if whole else [], start=start):
            offset += len(line) + 1
            offsets[at + 1] = offset
            entries.append(json.loads(line))
        self._offsets |= offsets
        return entries[number - start :]

    def append_logs(self, logs: Iterable[dict[str, Any]]) -> None:
        """Write entries, and return when the disk has them."""
        lines = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        with _locked(self._path), open(self._path, "r+b") as file:
            file.seek(0, os.SEEK_END)
            _cut_torn_line(file)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())


def _cut_torn_line(file: Any, block: int = 4096) -> None:
    """Truncate a file, which stands at its end, after its last whole line."""
    end = at = file.tell()
    while at:
        start = max(0, at - block)
        file.seek(start)
        found = file.read(at - start).rfind(b"\n")
        if found >= 0:
            at = start + found + 1
            break
        at = start
    if at < end:
        file.truncate(at)
    file.seek(at)


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """Alone with a file, among the threads and processes of this host."""
    with _appending, open(f"{path}.lock", "a+b") as file:
        _lock(file)
        try:
            yield
        finally:
            _unlock(file)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: Any) -> None:
        while True:
            file.seek(0)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # tries for ten seconds
                return
            except OSError:
                continue

    def _unlock(file: Any) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: Any) -> None:
        # Of the two locks of POSIX systems the one that a forked child does not inherit.
        fcntl.lockf(file, fcntl.LOCK_EX)

    def _unlock(file: Any) -> None:
        fcntl.lockf(file, fcntl.LOCK_UN)
