"""Stop of joblib's worker processes after an interrupt."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

try:
    import psutil
except ImportError:  # outside of a search, which requires it
    psutil = None


@contextmanager
def stop_workers_on_interrupt() -> Iterator[None]:
    """Stop the worker processes of the block if it is interrupted, and raise KeyboardInterrupt.

    These are the workers that joblib reuses and those that start in the block. Others, such as those of an executor
    that the user has created before, are left alone. joblib stops the workers that it knows. While workers start, there
    can be one that it does not know yet, for which the process would wait when it exits, and joblib's own cleanup can
    raise another error.
    """
    handled = sys.exception()  # by the code that calls the search
    others = _worker_processes()
    try:
        yield
    except BaseException as error:
        cause: BaseException | None = error
        while not (cause is None or cause is handled or isinstance(cause, KeyboardInterrupt)):
            cause = cause.__context__
        if cause is None or cause is handled:
            raise
        _stop_workers(others)
        raise KeyboardInterrupt from error


def _stop_workers(others: set[Any]) -> None:
    """Stop joblib's workers, except for other processes."""
    # Without waiting, because an executor whose manager thread has not been started cannot be joined. joblib replaces
    # an executor that is shut down; its function that returns the executor would wait for this one first.
    reused: set[int] = set()
    for name in ("joblib.externals.loky.reusable_executor", "loky.reusable_executor"):
        executor = getattr(sys.modules.get(name), "_executor", None)
        if executor is not None:
            reused.update(getattr(executor, "_processes", None) or ())
            executor.shutdown(wait=False, kill_workers=True)
    stopped = {process for process in _worker_processes() if process not in others or process.pid in reused}
    for process in stopped:
        with suppress(psutil.Error):  # the process has just ended
            process.kill()
    psutil.wait_procs(stopped, timeout=5)


def _worker_processes() -> set[Any]:
    """Return the processes of joblib's workers below this process."""
    found = set()
    for process in psutil.Process().children(recursive=True) if psutil is not None else ():
        with suppress(psutil.Error):
            if any("popen_loky" in argument for argument in process.cmdline()):
                found.add(process)
    return found
