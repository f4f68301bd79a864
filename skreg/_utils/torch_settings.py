"""Exclude the global settings of torch from fits and predictions."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock, get_ident

import torch

from .threads import torch_threads

_HAS_BACKENDS = hasattr(torch.backends.mkldnn, "matmul")  # from torch 2.9, each backend has a precision of its own
_SMALLEST = 5e-324  # a denormal number


@contextmanager
def torch_settings(n_threads: int | None = None) -> Iterator[None]:
    """Exclude the global settings of torch that change results from a ``with`` block, and restore them after it.

    Inside the block, torch uses ``n_threads`` threads, or as many as before if it is None. Gradients are computed.
    Inference mode, autocast, default devices and other function modes, flushing of denormal numbers, and reduced
    precision of float32 products are off. All but the last are settings of the thread. The package does not use the
    default dtype or the global generators. Deterministic algorithms and settings for debugging stay on, because they
    do not change results.
    """
    flushes = _SMALLEST * 1.0 == 0.0
    kinds = [kind for kind in ("cpu", "cuda", "mps") if torch.is_autocast_enabled(kind)]
    with torch_threads(n_threads), ExitStack() as stack:
        no_function_modes = torch._C.DisableTorchFunction()  # noqa: SLF001  # it has no public name
        modes = torch.inference_mode(False), torch.enable_grad(), no_function_modes, _exact_products.block()
        for mode in (*modes, *(torch.autocast(kind, enabled=False) for kind in kinds)):
            stack.enter_context(mode)
        if flushes:
            torch.set_flush_denormal(False)
            stack.callback(torch.set_flush_denormal, True)
        yield


class _ExactProducts:
    """Full precision of float32 matrix products, in the blocks of a context manager.

    This is a setting of the process. The blocks of several threads may overlap, so the last one restores it. In a
    forked process, only the blocks of the thread that has forked continue, and those of other threads end.
    """

    def __init__(self) -> None:
        self._lock = RLock()  # also for a fork by a signal handler while this thread holds it
        self._threads: dict[object, int] = {}  # the thread of each block
        self._before: list[str] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._end_other_threads
            )

    @contextmanager
    def block(self) -> Iterator[None]:
        """Give products full precision inside the block, which can end in another thread if it is collected."""
        key = object()
        with self._lock:
            if not self._threads:
                self._before = _float32_precisions()
                _set_float32_precisions(["ieee" if _HAS_BACKENDS else "highest"] * len(self._before))
            self._threads[key] = get_ident()
        try:
            yield
        finally:
            with self._lock:
                self._end([key])

    def _end_other_threads(self) -> None:
        self._end([key for key, thread in self._threads.items() if thread != get_ident()])
        self._lock.release()

    def _end(self, keys: list[object]) -> None:
        ended = [key for key in keys if self._threads.pop(key, None) is not None]  # others ended with a fork
        if ended and not self._threads:
            _set_float32_precisions(self._before)


_exact_products = _ExactProducts()


def _float32_precisions() -> list[str]:
    """Return the precision of float32 products, for each backend if torch distinguishes them."""
    if not _HAS_BACKENDS:
        return [torch.get_float32_matmul_precision()]
    return [backend.matmul.fp32_precision for backend in (torch.backends.mkldnn, torch.backends.cuda)]


def _set_float32_precisions(precisions: list[str]) -> None:
    """Set the values that ``_float32_precisions`` returns; "none" has the same effect as "ieee"."""
    if not _HAS_BACKENDS:
        torch.set_float32_matmul_precision(precisions[0])
        return
    for backend, precision in zip((torch.backends.mkldnn, torch.backends.cuda), precisions, strict=True):
        now = backend.matmul.fp32_precision
        if now != precision and {now, precision} != {"none", "ieee"}:
            inherits = getattr(torch.backends, "fp32_precision", None) == precision
            backend.matmul.fp32_precision = "none" if inherits else precision
