"""Tests of the storages of a study."""

import json
import multiprocessing
import pickle
import re
import threading

import optuna
import pytest
import sqlalchemy
from optuna.storages import InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from skreg.search.study.storage import AtomicCursor, JournalLock, SQLiteStorage, _add_driver, open_storage


def open_journal(path):
    return JournalFileBackend(str(path), lock_obj=JournalLock(str(path)))


def append(path, name, count):
    journal = open_journal(path)
    for number in range(count):
        journal.append_logs([{"writer": name, "number": number, "text": "x" * 200}])


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


@pytest.mark.parametrize("incomplete", [b'{"op_code":5,"wor', b"x" * 10_000, b"\x80"])
@pytest.mark.parametrize("n_complete", [0, 3])
def test_an_incomplete_line_is_truncated_before_the_next_is_written(tmp_path, incomplete, n_complete):
    path = tmp_path / "study.journal"
    append(path, "first", n_complete)
    with path.open("ab") as file:
        file.write(incomplete)
    reader = open_journal(path)
    assert len(list(reader.read_logs(0))) == n_complete
    append(path, "second", 2)
    assert [entry["writer"] for entry in reader.read_logs(0)] == ["first"] * n_complete + ["second"] * 2
    assert [entry["number"] for entry in reader.read_logs(n_complete + 1)] == [1]
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


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
