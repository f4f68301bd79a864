"""The precision of a fit: the type of its tensors, and of the products of its hidden layers in training.

bfloat16 has float32's range and 8 bits of mantissa; processors with instructions for it multiply several times as fast.
Only products in training are done in it: weights, optimiser, norms, loss and predictions stay in float32.
"""

from collections.abc import Sequence

import torch

PRECISIONS = ("bfloat16", "float32", "float64")
FAST_WIDTH, FAST_ROWS = 512, 256
_CPU_FLAGS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


def types_of(precision: str, device: torch.device, exact: bool) -> tuple[torch.dtype, torch.dtype]:
    """Type of tensors, and of the hidden layers' products in training.

    Parameters
    ----------
    precision : str
        "auto" or a name of ``PRECISIONS``.
    device : torch.device
        Where the fit runs.
    exact : bool
        What "auto" means: float64, else float32.
    """
    if precision == "float64" and device.type == "mps":
        raise ValueError("precision='float64' cannot be used on the device 'mps', which has none. Leave 'auto'.")
    if precision == "bfloat16":
        return torch.float32, torch.bfloat16
    if precision == "auto":
        precision = "float64" if exact and device.type != "mps" else "float32"
    dtype = getattr(torch, precision)
    return dtype, dtype
