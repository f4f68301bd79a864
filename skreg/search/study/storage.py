"""Storages of a study: memory, an SQLite file, a PostgreSQL server, or Optuna's journal. This module imports Optuna."""

import os
import re
import sqlite3
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Self

import sqlalchemy as sa
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from .heartbeat import GRACE_SECONDS, HEARTBEAT_SECONDS
from .identity import quiet

LOCK_SECONDS = 60
JOURNAL_SUFFIXES = (".journal", ".log")


@quiet()
def open_storage(storage: str | os.PathLike[str] | BaseStorage | None) -> BaseStorage:
    """Open the storage specified by the user, or return an Optuna storage unchanged.

    None means memory. A string is the path or URL of an SQLite file, the URL of another database that SQLAlchemy
    supports, or a journal: "journal:PATH", or a path that ends in .journal or .log.
    """
    if storage is None:
        return InMemoryStorage()
    if isinstance(storage, BaseStorage):
        return storage
    if not isinstance(storage, str | os.PathLike):
        raise ValueError(
            "The 'storage' parameter of OptunaSearchCV must be None, a path, a URL or a storage of Optuna. "
            f"Got {storage!r} instead."
        )
    name = os.fspath(storage)
    if name.startswith("journal:") or (name.endswith(JOURNAL_SUFFIXES) and not _is_url(name)):
        path = str(_check_folder(Path(name.removeprefix("journal:").removeprefix("//"))))
        return JournalStorage(JournalFileBackend(path, lock_obj=JournalLock(path)))
    if name.startswith("sqlite"):
        in_memory = sa.make_url(name).database in (None, "", ":memory:")
        return RDBStorage(name) if in_memory else _retry(lambda: SQLiteStorage(name))
    if _is_url(name):
        return _retry(lambda: RDBStorage(_add_driver(name), {"pool_pre_ping": True}, **_heartbeat()))
    url = sa.URL.create("sqlite", database=str(_check_folder(Path(name)))).render_as_string()
    return _retry(lambda: SQLiteStorage(url.replace("{", "{{").replace("}", "}}")))


def _heartbeat() -> dict[str, Any]:
    return {"heartbeat_interval": HEARTBEAT_SECONDS, "grace_period": GRACE_SECONDS}


def _is_url(name: str) -> bool:
    return re.match(r"[\w+]+://", name) is not None


def _check_folder(path: Path) -> Path:
    """Return the absolute path of a file whose folder must exist."""
    if not path.absolute().parent.is_dir():
        raise ValueError(f"storage={str(path)!r} is in a folder that does not exist. Create the folder first.")
    return path.absolute()


def _add_driver(url: str) -> str:
    """Add the installed driver to a PostgreSQL URL that names none."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        return url
    for driver in ("psycopg", "psycopg2"):
        if find_spec(driver) is not None:
            return f"postgresql+{driver}://{rest}"
    raise ImportError(
        "A PostgreSQL storage requires a driver, which could not be imported. Install it in a clone of the repository "
        'with: pip install ".[postgresql]"'
    )


def _retry(create: Callable[[], RDBStorage], attempts: int = 8) -> RDBStorage:
    """Create a storage, and retry if another process creates the same tables at the same time."""
    for attempt in range(attempts - 1):
        try:
            return create()
        except (sa.exc.SQLAlchemyError, StorageInternalError):
            time.sleep(0.05 * 2**attempt)
    return create()


class AtomicCursor(sqlite3.Cursor):
    """Cursor that creates all tables and indexes in one transaction.

    Python does not begin a transaction for these statements by itself. If the process were killed between them, a table
    could permanently lack its index, for example the index that makes study names unique.
    """

    def execute(self, sql: str, parameters: Any = ()) -> Self:
        """Execute a statement."""
        if sql.lstrip().startswith("CREATE") and not self.connection.in_transaction:
            super().execute("BEGIN IMMEDIATE")
        return super().execute(sql, parameters)


class AtomicConnection(sqlite3.Connection):
    """Connection with `AtomicCursor` as its cursor."""

    def cursor(self, factory: Any = AtomicCursor) -> Any:
        """Return a new cursor."""
        return super().cursor(factory)


class SQLiteStorage(RDBStorage):
    """An SQLite file that several processes of one host can share.

    Optuna reads, decides and writes in one transaction. If another process has written since such a transaction read,
    SQLite does not wait but fails when the transaction writes. Therefore, each transaction acquires the write lock at
    its beginning, for which SQLite does wait.
    """

    def __init__(self, url: str) -> None:
        connect_args = {"timeout": LOCK_SECONDS, "factory": AtomicConnection}
        super().__init__(url, {"connect_args": connect_args}, **_heartbeat())
        with self.engine.connect() as connection:
            # Killing a process loses no results. A power failure can lose the last trials but does not damage the
            # others.
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        self._lock_on_begin()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._lock_on_begin()

    def _lock_on_begin(self) -> None:
        self.engine.dispose()
        sa.event.listen(self.engine, "connect", _configure)
        sa.event.listen(self.engine, "begin", _begin)


def _configure(connection: Any, _: object) -> None:
    connection.isolation_level = None  # otherwise, Python would begin its own transactions
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


class JournalLock(JournalFileOpenLock):
    """Lock of a journal; the operating system releases it when a process is killed.

    A process that is killed while it writes leaves an incomplete line, which would corrupt the next one. Therefore,
    such a line is removed when the lock is acquired.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = FileLock(f"{path}.lock")

    def __reduce__(self) -> tuple[type["JournalLock"], tuple[str]]:
        return type(self), (self._path,)

    def acquire(self) -> bool:
        """Acquire the lock."""
        self._lock.acquire(poll_interval=0.001)
        try:
            with open(self._path, "r+b") as file:
                _truncate_incomplete_line(file)
        except BaseException:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()


def _truncate_incomplete_line(file: BinaryIO, block_size: int = 4096) -> None:
    """Truncate a file after its last line break, which is searched for backward in blocks."""
    size = end = file.seek(0, os.SEEK_END)
    n_kept = 0
    while end and not n_kept:
        start = max(0, end - block_size)
        file.seek(start)
        n_kept = file.read(end - start).rfind(b"\n") + 1
        end = start
    if end + n_kept < size:
        file.truncate(end + n_kept)
