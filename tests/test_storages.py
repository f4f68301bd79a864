"""Where a study is kept."""

import json
import multiprocessing
import pickle
import threading

import optuna
import pytest
import sqlalchemy
from optuna.storages import InMemoryStorage, JournalStorage, RDBStorage

from skreg._storages import JournalFile, SQLiteStorage, _with_driver, open_storage


def append(path, name, count):
    journal = JournalFile(path)
    for number in range(count):
        journal.append_logs([{"by": name, "number": number, "text": "x" * 200}])


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
def test_a_name_says_what_kind_of_storage_it_is(tmp_path, name, kind):
    storage = open_storage(name.format(tmp_path))
    assert type(storage) is kind
    optuna.create_study(storage=storage, study_name="one").optimize(lambda trial: trial.suggest_float("x", 0, 1), 1)
    assert len(optuna.load_study(study_name="one", storage=storage).trials) == 1


def test_a_path_is_a_name_and_a_storage_stays_what_it_is(tmp_path):
    assert isinstance(open_storage(tmp_path / "study.db"), SQLiteStorage)
    storage = InMemoryStorage()
    assert open_storage(storage) is storage
    assert isinstance(open_storage(None), InMemoryStorage)


def test_what_is_no_storage_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'storage' parameter of OptunaSearchCV must be None, a path.* Got 3 instead"):
        open_storage(3)
    for name in (f"{tmp_path}/none/study.db", f"journal:{tmp_path}/none/study"):
        with pytest.raises(ValueError, match=r"is in a folder that does not exist\. Make the folder first"):
            open_storage(name)


def test_postgresql_takes_the_driver_that_is_there(monkeypatch):
    url = "postgresql://me@there/study"
    for installed in ("psycopg", "psycopg2"):
        monkeypatch.setattr("skreg._storages.find_spec", lambda name, installed=installed: name == installed or None)
        assert _with_driver(url) == f"postgresql+{installed}://me@there/study"
    monkeypatch.setattr("skreg._storages.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'skreg\[postgresql\]'"):
        _with_driver(url)
    assert _with_driver("postgresql+pg8000://me@there/study") == "postgresql+pg8000://me@there/study"


def test_transactions_of_sqlite_wait_for_each_other(tmp_path):
    """A read that turns into a write, which SQLite would refuse if another had written in between."""
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


# the journal


@pytest.mark.parametrize("torn", [b'{"op_code":5,"wor', b"x" * 10_000, b"\x80"])
@pytest.mark.parametrize("whole", [0, 3])
def test_a_torn_line_is_cut_off_before_the_next_is_written(tmp_path, torn, whole):
    path = tmp_path / "study.journal"
    append(path, "first", whole)
    with path.open("ab") as file:
        file.write(torn)
    reader = JournalFile(str(path))
    assert len(list(reader.read_logs(0))) == whole
    append(path, "second", 2)
    assert [entry["by"] for entry in reader.read_logs(0)] == ["first"] * whole + ["second"] * 2
    assert [entry["number"] for entry in reader.read_logs(whole + 1)] == [1]
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_a_study_goes_on_after_a_torn_line(tmp_path):
    path = tmp_path / "study.journal"
    for expected in (1, 2):
        study = optuna.create_study(storage=open_storage(path), study_name="one", load_if_exists=True)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 1)
        assert len(study.trials) == expected
        path.write_bytes(path.read_bytes() + b'{"op_code":4,"study')


def test_a_line_that_is_damaged_is_not_passed_over(tmp_path):
    path = tmp_path / "study.journal"
    append(path, "first", 2)
    path.write_bytes(b"{damaged}\n" + path.read_bytes())
    with pytest.raises(json.JSONDecodeError):
        list(JournalFile(str(path)).read_logs(0))


def test_threads_and_processes_write_whole_lines(tmp_path):
    path = str(tmp_path / "study.journal")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skreg._storages"])
    writers = [context.Process(target=append, args=(path, f"process {n}", 30)) for n in range(2)]
    writers += [threading.Thread(target=append, args=(path, f"thread {n}", 30)) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    entries = list(JournalFile(path).read_logs(0))
    assert len(entries) == 120
    for name in {entry["by"] for entry in entries}:
        assert [entry["number"] for entry in entries if entry["by"] == name] == list(range(30))
