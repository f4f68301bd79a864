"""Storages of a study: memory, an SQLite file, a PostgreSQL server, or Optuna's journal. This module imports Optuna."""

import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Self

import sqlalchemy as sa
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from ..database_url import hide_password
from .heartbeat import GRACE_SECONDS, HEARTBEAT_SECONDS
from .identity import quiet

LOCK_SECONDS = 60
SQLITE_HEADER = b"SQLite format 3\0"
JOURNAL_SUFFIXES = (".journal", ".log")
#: The beginning of each line of a journal.
RECORD, FIRST_RECORD, WORKER = b'{"op_code":', re.compile(rb'\{"op_code":\d+,'), b'"worker_id":"'


@quiet()
def open_storage(storage: str | os.PathLike[str] | BaseStorage | None) -> BaseStorage:
    """Open the storage specified by the user, or return an Optuna storage unchanged.

    None means memory. A string is the path or URL of an SQLite file, the URL of another database that SQLAlchemy
    supports, or a journal: "journal:PATH", or a path that ends in .journal or .log. A file that is something else
    raises a ValueError and is not changed.
    """
    if storage is None:
        return InMemoryStorage()
    if isinstance(storage, BaseStorage):
        return storage
    shown = hide_password(repr(storage))
    if not isinstance(storage, str | os.PathLike) or not isinstance(os.fspath(storage), str):
        raise ValueError(
            "The 'storage' parameter of OptunaSearchCV must be None, a path, a URL or a storage of Optuna. "
            f"Got {shown} instead."
        )
    try:
        return _open(os.fspath(storage))
    except (OSError, sa.exc.SQLAlchemyError, StorageInternalError, StorageError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        reason = hide_password(str(getattr(cause, "orig", None) or cause).strip())
        raise ValueError(f"storage={shown} cannot be opened: {reason}") from error


class StorageError(ValueError):
    """The reason why a storage cannot be opened, and the remedy."""


def _open(name: str) -> BaseStorage:
    if name.startswith("journal:") or (name.endswith(JOURNAL_SUFFIXES) and not _is_url(name)):
        return _open_journal(_check_file(name.removeprefix("journal:").removeprefix("//")))
    if not _is_url(name):
        return _open_sqlite(sa.URL.create("sqlite", database=str(_check_file(name))))
    try:
        url = sa.make_url(_add_driver(name))
        url.get_dialect()
    except (sa.exc.ArgumentError, ValueError) as error:
        raise StorageError("It is not a valid URL. Write it as 'postgresql://user@host/database'.") from error
    if url.get_backend_name() != "sqlite":
        return _retry(lambda: DatabaseStorage(_template(url), {"pool_pre_ping": True}))
    if url.database in (None, "", ":memory:") or url.query.get("uri"):
        return RDBStorage(_template(url))
    return _open_sqlite(url.set(database=str(_check_file(url.database))))


def _template(url: sa.URL) -> str:
    """Return a URL in which Optuna, which formats it as a template, replaces nothing."""
    return url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")


def _open_sqlite(url: sa.URL) -> RDBStorage:
    path = Path(str(url.database))
    if path.exists() and path.stat().st_size:
        _check_sqlite(path)
    return _retry(lambda: SQLiteStorage(_template(url)))


def _check_sqlite(path: Path) -> None:
    """Raise an error if a file is no SQLite file, or has other tables than those of studies."""
    tables = set()
    with path.open("rb") as file:
        is_sqlite = file.read(len(SQLITE_HEADER)) == SQLITE_HEADER  # SQLite itself overwrites files of one byte
    try:
        if is_sqlite:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=LOCK_SECONDS)) as connection:
                tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.DatabaseError as error:
        raise StorageError(f"The SQLite file cannot be read ({error}). Pass another path.") from error
    if not is_sqlite or (tables and not {"studies", "trials"} <= tables):
        raise StorageError(
            f"The file {'has no tables of studies' if is_sqlite else 'is not an SQLite file'}. Pass another path."
        )


def _open_journal(path: Path) -> JournalStorage:
    if path.exists():
        with path.open("rb") as file:
            _check_journal(file)
    lock = Path(f"{path}.lock")
    if lock.exists() and (not lock.is_file() or lock.stat().st_size):
        raise StorageError(f"The lock of the journal, {str(lock)!r}, is a file with content. Pass another path.")
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=JournalLock(str(path))))
    except OSError:
        raise
    except Exception as error:  # depends on the line that is damaged
        raise StorageError(
            f"The journal is damaged ({error!r}). Pass another path, or remove its damaged lines."
        ) from error


def _is_url(name: str) -> bool:
    return re.match(r"[\w+]+://", name) is not None


def _check_file(name: str) -> Path:
    """Return the absolute path of a file, which may not exist yet, but its folder must."""
    path = Path(name).absolute()
    if "\0" in name:
        raise StorageError("A path must not contain null characters. Pass another path.")
    if not path.parent.is_dir():
        raise StorageError("It is in a folder that does not exist. Create the folder first.")
    if path.exists() and not path.is_file():
        raise StorageError(
            "It is a folder or a device. Pass the path of a file, which is created if it does not exist."
        )
    return path


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
    """Create a storage, and retry if another process creates the same tables at the same time.

    A failed connection is not retried, because a server can lock a user after several wrong passwords.
    """
    for attempt in range(attempts - 1):
        try:
            return create()
        except (sa.exc.DBAPIError, StorageInternalError) as error:
            if isinstance(error, sa.exc.DBAPIError) and error.statement is None:
                raise
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


class DatabaseStorage(RDBStorage):
    """A database whose connections are closed when the search has ended."""

    def __init__(self, url: str, engine_kwargs: dict[str, Any]) -> None:
        super().__init__(url, engine_kwargs, heartbeat_interval=HEARTBEAT_SECONDS, grace_period=GRACE_SECONDS)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self.close_connections()

    def close_connections(self) -> None:
        """Close the connections. From now on, each use opens a connection and closes it again."""
        self.engine.dispose()
        if not sa.event.contains(self.engine, "checkin", _close):
            sa.event.listen(self.engine, "checkin", _close)


def _close(connection: Any, record: sa.PoolProxiedConnection) -> None:
    if connection is not None:
        record.invalidate()


def close_connections(storage: BaseStorage) -> None:
    """Close the connections of a storage that was opened by `open_storage`."""
    if isinstance(storage, DatabaseStorage):
        storage.close_connections()


class SQLiteStorage(DatabaseStorage):
    """An SQLite file that several processes of one host can share.

    Optuna reads, decides and writes in one transaction. If another process has written since such a transaction read,
    SQLite does not wait but fails when the transaction writes. Therefore, each transaction acquires the write lock at
    its beginning, for which SQLite does wait.
    """

    def __init__(self, url: str) -> None:
        connect_args = {"timeout": LOCK_SECONDS, "factory": AtomicConnection}
        super().__init__(url, {"connect_args": connect_args})
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
    when the lock is acquired, a journal with such a line is replaced by a copy without it.
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
            _repair_journal(os.path.realpath(self._path))
        except BaseException:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()


def _check_journal(file: BinaryIO) -> None:
    """Raise an error if a file that is not empty does not begin with a record of a journal, complete or not."""
    start = file.read(1000)
    record = FIRST_RECORD.match(start)
    if start and (record is None or not WORKER.startswith(start[record.end() :][: len(WORKER)])):
        raise StorageError("The file is not a journal of Optuna. Pass another path.")


def _repair_journal(path: str) -> None:
    """Replace a journal that ends in an incomplete line by a copy without it.

    If the line does not begin like a record, the original is kept with the suffix .damaged-*.
    """
    with open(path, "rb") as file:
        _check_journal(file)
        size, end = file.seek(0, os.SEEK_END), _end_of_last_line(file)
        file.seek(end)
        start = file.read(len(RECORD))
    if end == size:
        return
    if not RECORD.startswith(start):
        _copy(path, "damaged")
    repaired = _copy(path, "repaired")
    os.truncate(repaired, end)
    os.replace(repaired, path)


def _copy(path: str, suffix: str) -> str:
    """Copy a file to a new one in the same folder, and return its path."""
    descriptor, copy = tempfile.mkstemp(prefix=f"{os.path.basename(path)}.{suffix}-", dir=os.path.dirname(path))
    os.close(descriptor)
    shutil.copy2(path, copy)
    return copy


def _end_of_last_line(file: BinaryIO, block_size: int = 4096) -> int:
    """Return the number of bytes up to the last line break, which is searched for backward in blocks."""
    end = file.seek(0, os.SEEK_END)
    n_kept = 0
    while end and not n_kept:
        start = max(0, end - block_size)
        file.seek(start)
        n_kept = file.read(end - start).rfind(b"\n") + 1
        end = start
    return end + n_kept
