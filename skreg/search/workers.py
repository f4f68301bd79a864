"""Stop of joblib's worker processes after an interrupt."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def stop_workers_on_interrupt() -> Iterator[None]:
    """Stop joblib's worker processes if the block is interrupted, and raise KeyboardInterrupt.

    joblib stops the workers that it knows. While workers start, there can be one that it does not know yet, for which
    the process would wait when it exits, and joblib's own cleanup can raise another error.
    """
    handled = sys.exception()  # by the code that calls the search
    try:
        yield
    except BaseException as error:
        cause: BaseException | None = error
        while not (cause is None or cause is handled or isinstance(cause, KeyboardInterrupt)):
            cause = cause.__context__
        if cause is None or cause is handled:
            raise
        _stop_workers()
        raise KeyboardInterrupt from error


def _stop_workers() -> None:
    # Without waiting, because an executor whose manager thread has not been started cannot be joined. joblib replaces
    # an executor that is shut down; its function that returns the executor would wait for this one first.
    for name in ("joblib.externals.loky.reusable_executor", "loky.reusable_executor"):
        executor = getattr(sys.modules.get(name), "_executor", None)
        if executor is not None:
            executor.shutdown(wait=False, kill_workers=True)
    try:
        import psutil
    except ImportError:  # outside of a search, which requires it
        return
    workers = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # the process has just ended
            if any("popen_loky" in argument for argument in process.cmdline()):
                process.kill()
                workers.append(process)
    psutil.wait_procs(workers, timeout=5)
