"""Device, batch size and precision of a fit.

With ``precision="bfloat16"``, only the matrix products of the hidden layers in training use bfloat16, which has the
range of float32 and a precision of 8 bits. Weights, optimizer, norms, loss and predictions stay in float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
