"""Tests of a search whose study is stored on a PostgreSQL server: connections, passwords and names."""

import pickle
import re
import time

import optuna
import psutil
import pytest
import sqlalchemy as sa
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

from skreg import OptunaSearchCV
from skreg.search.study.storage import open_storage
from tests.search.study.kill_studies import any_postgresql

X, Y = make_classification(n_samples=40, n_features=4, random_state=0)


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("psycopg")
    with any_postgresql() as url:
        if url is None:
            pytest.skip("no PostgreSQL server can be started here")
        yield url


def search_of(storage, **params):
    return OptunaSearchCV(
        LogisticRegression(), {"C": [1.0, 2.0]}, n_trials=2, cv=2, storage=storage, random_state=0, **params
    )


def execute(server, statement, **values):
    engine = sa.create_engine(server.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        return connection.execute(sa.text(statement), values)


def count_connections(server):
    """Number of connections to the server besides this one; a closed connection may take a moment to disappear."""
    end = time.monotonic() + 5
    query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    engine = sa.create_engine(server.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    while True:
        with engine.connect() as connection:
            count = connection.execute(sa.text(query)).scalar()
        if count == 0 or time.monotonic() > end:
            return count
        time.sleep(0.05)


@pytest.mark.slow
def test_ended_searches_keep_no_connections(server):
    """Also after their studies have been read, copied or refused."""
    kept = [search_of(server, study_name=f"kept {n}").fit(X, Y) for n in range(2)]
    assert count_connections(server) == 0
    kept += [pickle.loads(pickle.dumps(search)) for search in kept]
    for search in kept:
        assert len(search.study_.trials) == len(search.trials_dataframe()) == 2
    assert count_connections(server) == 0
    with pytest.raises(ValueError, match="belongs to another search") as refused:
        search_of(server, study_name="kept 0").fit(X * 2, Y)
    assert count_connections(server) == 0
    assert len(kept[0].set_params(n_trials=4).fit(X, Y).study_.trials) == 4
    assert count_connections(server) == 0
    del refused


def test_ended_searches_keep_no_open_files(tmp_path):
    path = tmp_path / "study.db"
    kept = [search_of(path, study_name=f"kept {n}").fit(X, Y) for n in range(3)]
    assert [len(search.study_.trials) for search in kept] == [2, 2, 2]
    assert not [file.path for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))]


def test_a_storage_of_the_user_keeps_its_connections(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/study.db")
    pool = storage.engine.pool
    search_of(storage).fit(X, Y)
    assert storage.engine.pool is pool


def test_a_study_in_the_memory_of_sqlite_survives_the_search():
    search = search_of("sqlite://").fit(X, Y)
    assert len(search.study_.trials) == 2


def test_a_wrong_password_is_tried_once_and_not_shown(server, monkeypatch):
    import psycopg

    folder = re.search("host=(.*)", server).group(1)
    execute(server, "CREATE ROLE careful LOGIN PASSWORD 'right'")
    with open(f"{folder}/data/pg_hba.conf", "r+") as file:
        rules = file.read()
        file.seek(0)
        file.write(f"local all careful scram-sha-256\n{rules}")
    execute(server, "SELECT pg_reload_conf()")
    time.sleep(0.3)
    attempts = []
    connect = psycopg.Connection.connect
    monkeypatch.setattr(
        psycopg.Connection, "connect", lambda *args, **kwargs: attempts.append(1) or connect(*args, **kwargs)
    )
    monkeypatch.setattr(psycopg, "connect", psycopg.Connection.connect)
    url = server.replace("skreg@", "careful:wrong@")
    with pytest.raises(ValueError, match=r"careful:\*\*\*@.*password authentication failed") as caught:
        search_of(url).fit(X, Y)
    assert len(attempts) == 1
    assert "wrong" not in str(caught.value)
    execute(server, "ALTER ROLE careful SUPERUSER")
    assert isinstance(open_storage(url.replace("wrong", "right")), optuna.storages.RDBStorage)


def test_a_database_that_cannot_be_reached_is_refused_at_once(server):
    start = time.perf_counter()
    for url in (server.replace("/postgres?", "/none?"), "postgresql://me:secret@localhost:1/study"):
        with pytest.raises(ValueError, match=r"storage='.*' cannot be opened: .*failed") as caught:
            search_of(url).fit(X, Y)
        assert "secret" not in str(caught.value)
    assert time.perf_counter() - start < 3.0


def test_a_name_that_the_database_cannot_hold_is_refused(server):
    assert len(search_of(server, study_name="n" * 512).fit(X, Y).study_.trials) == 2
    with pytest.raises(ValueError, match=r"'study_name' in a database must have at most 512 characters.*has 513"):
        search_of(server, study_name="n" * 513).fit(X, Y)


@pytest.mark.parametrize("kind", ["memory", "sqlite", "journal", "postgresql"])
@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
def test_a_name_that_is_no_text_is_refused(kind, name, tmp_path, request):
    if kind == "postgresql":
        storage = request.getfixturevalue("server")
    else:
        storage = {"memory": None, "sqlite": tmp_path / "a.db", "journal": tmp_path / "a.log"}[kind]
    with pytest.raises(ValueError, match="'study_name' must not contain null characters or surrogates"):
        search_of(storage, study_name=name).fit(X, Y)
