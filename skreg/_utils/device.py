"""The precision of a fit: the type of its tensors, and of the products of its hidden layers in training.

bfloat16 has float32's range and 8 bits of mantissa; processors with instructions for it multiply several times as fast.
Only products in training are done in it: weights, optimiser, norms, loss and predictions stay in float32.
"""

from collections.abc import Sequence

import torch

PRECISIONS = ("bfloat16", "float32", "float64")
FAST_WIDTH, FAST_ROWS = 512, 256
_CPU_FLAGS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")

Types = tuple[torch.dtype, torch.dtype]


def types_of(precision: str, device: torch.device, auto: Types) -> Types:
    """Type of tensors, and of the hidden layers' products in training; ``auto`` is what "auto" means."""
    if precision == "auto":
        return auto
    if precision == "bfloat16":
        return torch.float32, torch.bfloat16
    if precision == "float64" and device.type == "mps":
        raise ValueError("precision='float64' cannot be used on the device 'mps', which has none. Leave 'auto'.")
    dtype = getattr(torch, precision)
    return dtype, dtype


def best_types(dtype: torch.dtype, device: torch.device, widths: Sequence[int], rows: int) -> Types:
    """What "auto" means for hidden layers of ``widths``, steps of ``rows`` rows and tensors of ``dtype``.

    Measured, where a processor has instructions for it: a fit in bfloat16 takes 0.5 to 0.6 of float32's time from 512
    units and 256 rows on, without loss of accuracy; small steps may take longer (``benchmarks/precision.py``). GPUs
    were not measured.
    """
    wide = bool(widths) and min(widths) >= FAST_WIDTH and rows >= FAST_ROWS
    fast = wide and dtype == torch.float32 and device.type == "cpu" and has_bfloat16(device)
    return dtype, torch.bfloat16 if fast else dtype


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for products in bfloat16; without them they are slower than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and any(getattr(torch.cpu, flag, bool)() for flag in _CPU_FLAGS)
