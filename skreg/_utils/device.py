"""Device, batch size and precision of a fit.

With ``precision="bfloat16"``, only the matrix products of the hidden layers in training use bfloat16, which has the
range of float32 and a precision of 8 bits. Weights, optimizer, norms, loss and predictions stay in float32.

The global settings of torch do not change results; see ``own_settings``.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Self

import numpy as np
import torch

from .validation import layer_sizes

PRECISIONS = ("bfloat16", "float32", "float64")
FAST_WIDTH, FAST_ROWS = 512, 256  # sizes from which bfloat16 is faster, see auto_dtypes
BATCH_SIZES = ((1024, 64), (4096, 128), (32_768, 256), (131_072, 512), (np.inf, 1024))
"""Largest number of rows for which "auto" chooses a batch size, and that batch size."""
_CPU_FLAGS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")

Dtypes = tuple[torch.dtype, torch.dtype]


@dataclass(frozen=True)
class DeviceConfig:
    """Device, batch size and precision of a fit."""

    device: torch.device
    batch_size: int  # largest number of rows in a batch
    dtype: torch.dtype
    matmul_dtype: torch.dtype  # dtype of the matrix products of the hidden layers in training

    @classmethod
    def from_estimator(
        cls, estimator: Any, n_rows: int, known: tuple[int, torch.dtype] | None = None, full_batch: bool = False
    ) -> Self:
        """Resolve the parameters of an estimator for a fit of ``n_rows`` rows.

        "auto" stands for the ``known`` batch size and dtype if they are given. Otherwise, all rows form one batch if
        the solver needs the ``full_batch``. The dtype is float64 if all rows form one batch, so that gradient descent
        is exact, and float32 if not.
        """
        device, batch_size = _find_device(estimator.device), estimator.batch_size
        if batch_size != "auto":
            batch_size = int(batch_size)  # Python's integers do not overflow
        elif full_batch:
            batch_size = n_rows
        else:
            batch_size = next(size for most, size in BATCH_SIZES if n_rows <= most) if known is None else known[0]
        exact = n_rows <= batch_size and device.type != "mps"
        dtype = known[1] if known is not None else torch.float64 if exact else torch.float32
        widths = layer_sizes(estimator, estimator.hidden_layer_sizes)
        auto = auto_dtypes(dtype, device, widths, batch_size)
        return cls(device, batch_size, *resolve_dtypes(estimator.precision, device, auto))


def resolve_dtypes(precision: str, device: torch.device, auto: Dtypes) -> Dtypes:
    """Return the dtypes of tensors and of matrix products in training; ``auto`` is the result for "auto"."""
    if precision == "auto":
        return auto
    if precision == "bfloat16":
        return torch.float32, torch.bfloat16
    if precision == "float64" and device.type == "mps":
        raise ValueError(
            "precision='float64' cannot be used on the device 'mps', which does not support it. Set precision='auto'."
        )
    dtype = getattr(torch, precision)
    return dtype, dtype


def auto_dtypes(dtype: torch.dtype, device: torch.device, widths: Sequence[int], batch_size: int) -> Dtypes:
    """Return the dtypes that "auto" stands for, given the hidden layers' widths and the dtype of the tensors.

    On processors with bfloat16 instructions, a fit in bfloat16 takes 0.5 to 0.6 times as long as in float32 for at
    least 512 units and 256 rows, without loss of accuracy; smaller batches may take longer
    (``benchmarks/precision.py``). GPUs were not measured.
    """
    wide = bool(widths) and min(widths) >= FAST_WIDTH and batch_size >= FAST_ROWS
    fast = wide and dtype == torch.float32 and device.type == "cpu" and has_bfloat16(device)
    return dtype, torch.bfloat16 if fast else dtype


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device has bfloat16 instructions; without them, bfloat16 is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and any(getattr(torch.cpu, flag, bool)() for flag in _CPU_FLAGS)


def _find_device(name: str) -> torch.device:
    known = name
    if name == "auto":
        known = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        tensor = torch.ones(1, device=known)
        tensor.item()  # fails on "meta", where the sum would import SymPy, which changes the warning filters
        (tensor + tensor).item()  # torch can create tensors on some devices on which it cannot compute
        return tensor.device
    except Exception as error:  # the type depends on the device
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"device={name!r} cannot be used on this machine ({reason}). Set device='auto'.") from error


_HAS_BACKENDS = hasattr(torch.backends.mkldnn, "matmul")  # from torch 2.9, each backend has a precision of its own
_SMALLEST = 5e-324  # a denormal number


@contextmanager
def own_settings() -> Iterator[None]:
    """Exclude the global settings of torch that change results from a ``with`` block, and restore them after it.

    Inside the block, gradients are computed, and inference mode, autocast, default devices and other function modes,
    flushing of denormal numbers, and reduced precision of float32 products are off. All but the last are settings of
    the thread. The package does not use the default dtype or the global generators. Deterministic algorithms and
    settings for debugging stay on, because they do not change results.
    """
    flushes = _SMALLEST * 1.0 == 0.0
    kinds = [kind for kind in ("cpu", "cuda", "mps") if torch.is_autocast_enabled(kind)]
    with ExitStack() as stack:
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
