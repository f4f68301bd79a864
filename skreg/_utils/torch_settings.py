"""Exclude the global settings of torch from fits and predictions."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

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
        modes = torch.inference_mode(False), torch.enable_grad(), no_function_modes, _exact_products
        for mode in (*modes, *(torch.autocast(kind, enabled=False) for kind in kinds)):
            stack.enter_context(mode)
        if flushes:
            torch.set_flush_denormal(False)
            stack.callback(torch.set_flush_denormal, True)
        yield


class _ExactProducts:
    """A context manager that gives float32 matrix products full precision.

    This is a setting of the process. The blocks of several threads may overlap, so the last one restores it.
    """

    def __init__(self) -> None:
        self._lock, self._depth = Lock(), 0
        self._before: list[str] = []

    def __enter__(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._before = _float32_precisions()
                _set_float32_precisions(["ieee" if _HAS_BACKENDS else "highest"] * len(self._before))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
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
