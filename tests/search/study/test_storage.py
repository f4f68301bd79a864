"""Tests of the storages of a study."""

import json
import multiprocessing
import pickle
import re
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.storages import InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from skreg.search.study.storage import (
    AtomicCursor,
    JournalLock,
    SQLiteStorage,
    _add_driver,
    _retry,
    _template,
    open_storage,
)


def open_journal(path):
    return JournalFileBackend(str(path), lock_obj=JournalLock(str(path)))


def append(path, name, count):
    journal = open_journal(path)
    for number in range(count):
        journal.append_logs([{"op_code": 0, "worker_id": "", "writer": name, "number": number, "text": "x" * 200}])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("{}/study.db", SQLiteStorage),
        ("{}/a {{b}} #?%.sqlite", SQLiteStorage),
        ("sqlite:///{}/study.db", SQLiteStorage),
        ("sqlite://", RDBStorage),
        ("journal:{}/study", JournalStorage),
        ("{}/study.log", JournalStorage),
        ("{}/study.journal", JournalStorage),
    ],
)
def test_the_name_determines_the_kind_of_storage(tmp_path, name, kind):
    storage = open_storage(name.format(tmp_path))
    assert type(storage) is kind
    optuna.create_study(storage=storage, study_name="one").optimize(lambda trial: trial.suggest_float("x", 0, 1), 1)
    assert len(optuna.load_study(study_name="one", storage=storage).trials) == 1


def test_a_path_is_opened_and_a_storage_is_returned_unchanged(tmp_path):
    assert isinstance(open_storage(tmp_path / "study.db"), SQLiteStorage)
    storage = InMemoryStorage()
    assert open_storage(storage) is storage
    assert isinstance(open_storage(None), InMemoryStorage)


@pytest.mark.parametrize("name", ["sqlite.db", "sqlite_studies", "postgresql.db", "a:b.db"])
def test_a_path_that_begins_like_a_url_is_a_path(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_storage(name), SQLiteStorage)
    assert (tmp_path / name).exists()


def test_invalid_storages_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'storage' parameter of OptunaSearchCV must be None, a path.* Got 3 instead"):
        open_storage(3)
    for name in (f"{tmp_path}/none/study.db", f"journal:{tmp_path}/none/study"):
        with pytest.raises(ValueError, match=r"is in a folder that does not exist\. Create the folder first"):
            open_storage(name)


def test_postgresql_uses_the_installed_driver(monkeypatch):
    url = "postgresql://me@there/study"
    for installed in ("psycopg", "psycopg2"):
        monkeypatch.setattr(
            "skreg.search.study.storage.find_spec", lambda name, installed=installed: name == installed or None
        )
        assert _add_driver(url) == f"postgresql+{installed}://me@there/study"
    monkeypatch.setattr("skreg.search.study.storage.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=re.escape('pip install ".[postgresql]"')):
        _add_driver(url)
    assert _add_driver("postgresql+pg8000://me@there/study") == "postgresql+pg8000://me@there/study"


def test_an_interrupted_creation_of_tables_can_be_repeated(tmp_path, monkeypatch):
    """The names of studies stay unique, although their index is not created together with their table."""
    execute = AtomicCursor.execute

    def execute_until_index(cursor, sql, parameters=()):
        if "INDEX" in sql:
            raise KeyboardInterrupt
        return execute(cursor, sql, parameters)

    monkeypatch.setattr(AtomicCursor, "execute", execute_until_index)
    with pytest.raises(KeyboardInterrupt):
        open_storage(f"{tmp_path}/study.db")
    monkeypatch.undo()
    optuna.create_study(storage=open_storage(f"{tmp_path}/study.db"), study_name="one")
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        optuna.create_study(storage=open_storage(f"{tmp_path}/study.db"), study_name="one")


def test_sqlite_transactions_wait_for_each_other(tmp_path):
    """Each reads and then writes, which SQLite would refuse if another had written in between."""
    storage = pickle.loads(pickle.dumps(open_storage(f"{tmp_path}/study.db")))
    with storage.engine.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        connection.exec_driver_sql("CREATE TABLE counter (value INTEGER)")
        connection.exec_driver_sql("INSERT INTO counter VALUES (0)")

    def count():
        for _ in range(20):
            with storage.engine.begin() as connection:
                value = connection.execute(sqlalchemy.text("SELECT value FROM counter")).scalar()
                connection.execute(sqlalchemy.text("UPDATE counter SET value = :value"), {"value": value + 1})

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with storage.engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT value FROM counter").scalar() == 60


INCOMPLETE = [
    b"{",
    b'{"op_code":5,"wor',
    b'{"op_code":5,"worker_id":"' + b"x" * 10_000,
    b"x" * 10_000,
    b"\x80",
    b"\0" * 50,
    b"one line",
    b'{"op_code":5}',
]


@pytest.mark.parametrize("incomplete", INCOMPLETE)
@pytest.mark.parametrize("n_complete", [0, 3])
def test_an_incomplete_line_is_removed_before_the_next_is_written(tmp_path, incomplete, n_complete):
    """A file without a complete line is a journal if it begins like one; others are refused and not changed."""
    path = tmp_path / "study.journal"
    append(path, "first", n_complete)
    with path.open("ab") as file:
        file.write(incomplete)
    original = path.read_bytes()
    reader = open_journal(path)
    assert len(list(reader.read_logs(0))) == n_complete
    if not original.startswith((b'{"op_code":0,"worker_id', b'{"op_code":5,"wor')):
        with pytest.raises(ValueError, match="is not a journal of Optuna"):
            append(path, "second", 2)
        assert path.read_bytes() == original
        return
    append(path, "second", 2)
    assert [entry["writer"] for entry in reader.read_logs(0)] == ["first"] * n_complete + ["second"] * 2
    assert [entry["number"] for entry in reader.read_logs(n_complete + 1)] == [1]
    assert all(json.loads(line) for line in path.read_bytes().splitlines())
    kept = list(tmp_path.glob("study.journal.damaged-*"))
    assert [file.read_bytes() for file in kept] == ([] if incomplete.startswith(b"{") else [original])
    assert not list(tmp_path.glob("*.repaired*"))


def test_a_repaired_journal_keeps_its_link_and_its_permissions(tmp_path):
    path, link = tmp_path / "study.journal", tmp_path / "link.journal"
    append(path, "first", 2)
    path.write_bytes(path.read_bytes() + b'{"op_code":')
    path.chmod(0o640)
    link.symlink_to(path)
    append(link, "second", 1)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert len(list(open_journal(path).read_logs(0))) == 3


def foreign_database(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE trials (id INTEGER)")
        connection.commit()
    return path.read_bytes()


FOREIGN = {
    "a line": b"one line",
    "lines": b"one line\nanother line\n",
    "an incomplete line": b"one line\nanother",
    "log": b"2026-01-01 12:00:00 INFO started\n2026-01-01 12:00:01 INFO done",
    "bytes": bytes(range(256)),
    "zeros": b"\0" * 100,
    "line breaks": b"\n\n",
    "brace": b"{",
    "json": b"{}",
    "json lines": b'{"a":1}\n{"a":2}\n',
    "operations": b'{"op_code":1}\n{"op_code":1}',
    "an operation": b'{"op_code":1,"a":2}',
    "list": b"[1, 2]\n",
    "number": b"1\n",
    "beginning of a database": b"SQLite format 3\0",
    "database": None,
}
NAMES = ["{}/study.log", "{}/study.journal", "journal:{}/study", "{}/study.db", "{}/study", "sqlite:///{}/study.db"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", FOREIGN)
def test_files_of_others_are_refused_and_not_changed(tmp_path, name, content):
    storage = name.format(tmp_path)
    path = tmp_path / Path(storage).name
    before = FOREIGN[content]
    if before is None:
        before = foreign_database(path)
    else:
        path.write_bytes(before)
    changed = path.stat().st_mtime_ns
    with pytest.raises(ValueError, match=rf"storage='{re.escape(storage)}' cannot be opened: .*Pass another path"):
        open_storage(storage)
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == changed
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_file_that_has_the_name_of_the_lock_is_refused_and_not_changed(tmp_path):
    (tmp_path / "study.log.lock").write_text("content")
    with pytest.raises(ValueError, match=r"The lock of the journal, .*is a file with content\. Pass another path"):
        open_storage(tmp_path / "study.log")
    assert (tmp_path / "study.log.lock").read_text() == "content"
    assert not (tmp_path / "study.log").exists()


def test_a_damaged_journal_is_refused_and_not_changed(tmp_path):
    path = tmp_path / "study.journal"
    optuna.create_study(storage=open_storage(path), study_name="one")
    for damaged in (b"{damaged}\n", b'{"op_code":99}\n', b'{"op_code":5,"study_id":7}\n', b"[1]\n", b"\xff\n"):
        content = path.read_bytes() + damaged + b'{"op_code":0,"worker_id":"a"}\n'
        (tmp_path / "damaged.journal").write_bytes(content)
        with pytest.raises(ValueError, match=r"The journal is damaged .*Pass another path"):
            open_storage(tmp_path / "damaged.journal")
        assert (tmp_path / "damaged.journal").read_bytes() == content


@pytest.mark.parametrize("name", ["", ".", "{}", "{}/", "journal:{}", "sqlite:///{}", "{}/folder.log", "/dev/null"])
def test_a_folder_or_a_device_is_refused_at_once(tmp_path, name):
    (tmp_path / "folder.log").mkdir()
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"It is a folder or a device. Pass the path of a file"):
        open_storage(name.format(tmp_path))
    assert time.perf_counter() - start < 2.0


@pytest.mark.parametrize("name", ["sqlite:///{}/none/a.db", "{}/none/a.log", "{}/a\0.db", "{}/a\0.log"])
def test_a_path_that_cannot_exist_is_refused_at_once(tmp_path, name):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"cannot be opened: (It is in a folder that|A path must not contain null)"):
        open_storage(name.format(tmp_path))
    assert time.perf_counter() - start < 2.0


MISTYPED = [
    "postgresql:/me:secret@host/study",
    "postgresql:me:secret@host/study",
    "me:secret@host/study",
    "postgresq://me:secret@host/study",
    "postgresql://me:secret@host:54x2/study",
    "postgresql+psycopg://me:sec/ret@host:port/study",
    "postgresql://me:s@cret:secret@host:x/study",
    "journal:/postgresql://me:secret@none/study",
    "postgresql:/host/study?user=me&password=secret",
    b"postgresql://me:secret@host/study",
    Path("postgresql://me:secret@host/study"),
]


@pytest.mark.parametrize("url", MISTYPED)
def test_the_sentence_that_refuses_a_url_does_not_show_its_password(url):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"storage") as caught:
        open_storage(url)
    assert "***" in str(caught.value)
    assert "ret" not in str(caught.value)
    assert time.perf_counter() - start < 2.0


def test_braces_in_a_password_are_kept():
    url = sqlalchemy.make_url("postgresql+psycopg://me:{secret}@host/study")
    filled = RDBStorage._fill_storage_url_template(_template(url))
    assert sqlalchemy.make_url(filled).password == "{secret}"


def test_only_the_concurrent_creation_of_tables_is_retried(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    for statement, expected in [(None, 1), ("CREATE TABLE studies", 8)]:
        attempts = []

        def create(attempts=attempts, statement=statement):
            attempts.append(1)
            raise sqlalchemy.exc.OperationalError(statement, None, Exception("FATAL: password authentication failed"))

        with pytest.raises(sqlalchemy.exc.OperationalError):
            _retry(create)
        assert len(attempts) == expected


def test_a_study_continues_after_an_incomplete_line(tmp_path):
    path = tmp_path / "study.journal"
    for expected in (1, 2):
        study = optuna.create_study(storage=open_storage(path), study_name="one", load_if_exists=True)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 1)
        assert len(study.trials) == expected
        path.write_bytes(path.read_bytes() + b'{"op_code":4,"study')


def test_a_damaged_line_raises_an_error(tmp_path):
    path = tmp_path / "study.journal"
    append(path, "first", 2)
    path.write_bytes(b"{damaged}\n" + path.read_bytes())
    with pytest.raises(json.JSONDecodeError):
        list(open_journal(path).read_logs(0))


@pytest.mark.slow
def test_threads_and_processes_write_complete_lines(tmp_path):
    path = str(tmp_path / "study.journal")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skreg.search.study.storage"])
    writers = [context.Process(target=append, args=(path, f"process {n}", 30)) for n in range(2)]
    writers += [threading.Thread(target=append, args=(path, f"thread {n}", 30)) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    entries = list(open_journal(path).read_logs(0))
    assert len(entries) == 120
    for name in {entry["writer"] for entry in entries}:
        assert [entry["number"] for entry in entries if entry["writer"] == name] == list(range(30))
