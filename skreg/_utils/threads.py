"""A context manager that sets the number of threads used by torch.

The rounding of a matrix product on the CPU depends on the number of threads, so fits and predictions fix this number.

OpenMP and MKL keep a number for each thread of the process, and torch keeps the default for threads that begin later.
``torch.set_num_threads`` changes the default, too, and a thread that begins meanwhile would keep the changed number for
its life. Therefore, only the numbers of the current thread are set, with the functions of the libraries that torch has
loaded. If they cannot be found, as on Windows, ``torch.set_num_threads`` is used.

A forked process inherits OpenMP's record of the threads of its parent but not the threads, and waits for them forever
as soon as torch uses more than one. A forked process therefore uses one thread. The first time that it is to use an
explicit number of several threads, it warns.
"""

import ctypes
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import torch

_is_forked, _has_warned = False, False


def _note_fork() -> None:
    global _is_forked, _has_warned
    _is_forked, _has_warned = True, False


def _warn_once(n_threads: int) -> None:
    global _has_warned
    if not _has_warned:
        _has_warned = True
        warnings.warn(
            f"n_threads={n_threads} has no effect in a forked process, which uses one thread, because it would wait "
            "forever for the threads of its parent. Set n_threads=1, or start the process with the method 'spawn' or "
            "'forkserver'.",
            RuntimeWarning,
            stacklevel=6,  # the block of torch_settings
        )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def _native_function(name: str) -> Callable[[int], int] | None:
    """Return a function of the libraries that torch has loaded, or None."""
    try:
        return cast("Callable[[int], int]", getattr(ctypes.CDLL(torch._C.__file__), name))  # noqa: SLF001
    except (AttributeError, OSError):
        return None


_has_openmp, _has_mkl = (getattr(torch.backends, name).is_available() for name in ("openmp", "mkl"))
_set_openmp = _native_function("omp_set_num_threads") if _has_openmp else None
_set_mkl = _native_function("MKL_Set_Num_Threads_Local") if _has_mkl else None
_set_mkl_dynamic = _native_function("MKL_Set_Dynamic") if _has_mkl else None
if _has_mkl and (_set_mkl is None or _set_mkl_dynamic is None):
    _set_openmp = None


def _set_this_thread(number: int, mkl_number: int) -> int:
    """Set the numbers of the current thread, and return MKL's earlier one, which is 0 if MKL uses that of OpenMP."""
    if _set_openmp is None:
        torch.set_num_threads(number)
        return number
    _set_openmp(number)
    if _set_mkl is None or _set_mkl_dynamic is None:
        return number
    if number > 1:
        _set_mkl_dynamic(0)  # as torch.set_num_threads does; otherwise, MKL could use fewer threads
    return _set_mkl(mkl_number)


@contextmanager
def torch_threads(n_threads: int | None) -> Iterator[None]:
    """Let torch use ``n_threads`` threads inside the block; None keeps its current setting."""
    before = torch.get_num_threads()
    number = before if n_threads is None else int(n_threads)
    if _is_forked and number > 1:
        if n_threads is not None:
            _warn_once(n_threads)
        number = 1
    if number == before:
        yield
        return
    mkl_before = _set_this_thread(number, number)
    try:
        yield
    finally:
        _set_this_thread(before, mkl_before)
