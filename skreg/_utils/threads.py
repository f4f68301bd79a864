"""The number of threads torch may use, for the length of a ``with`` block.

Matrix products on CPU give other bits with another number of threads, so a fit and its predictions fix it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(n_threads: int | None) -> Iterator[None]:
    """Let torch use ``n_threads`` threads in the calling thread; None leaves its setting alone."""
    before = torch.get_num_threads()
    if n_threads is None or n_threads == before:
        yield
        return
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
