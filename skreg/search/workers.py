"""Stop of joblib's worker processes after an interrupt."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from joblib.externals.loky import get_reusable_executor


@contextmanager
def stop_workers_on_interrupt() -> Iterator[None]:
    """Stop joblib's worker processes if the block is interrupted.

    joblib stops the workers that it knows. It does not know a worker that was only starting when the interrupt arrived;
    such a worker would wait for work, and the process would wait for the worker when it exits.
    """
    try:
        yield
    except KeyboardInterrupt:
        _stop_workers()
        raise


def _stop_workers() -> None:
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
    if workers:
        psutil.wait_procs(workers, timeout=5)
        # joblib would otherwise give the next tasks to the executor that has lost its workers
        get_reusable_executor(kill_workers=True).shutdown(kill_workers=True)
