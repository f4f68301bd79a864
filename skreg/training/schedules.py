"""A schedule is a function from progress in [0, 1] to a factor on the learning rate.

Every name in ``__all__`` is a value of the ``learning_rate`` parameter. A callable of one's own is the same thing. A
schedule of several cycles has the attribute ``valleys``, the progress at which each cycle ends: early stopping ends a
training there.
"""

from collections.abc import Callable
from math import cos, log2, pi

__all__ = [
    "constant",
    "cosine",
    "cosine_restarts",
    "coslog",
    "flat_cosine",
    "growing_cycles",
    "inverse_scaling",
    "one_cycle",
    "warmup",
]

_CYCLES = 3
_WARM = 0.1
_RISE = 0.3


def _cycles_end_at(*valleys: float) -> Callable[[Callable[[float], float]], Callable[[float], float]]:
    def mark(schedule: Callable[[float], float]) -> Callable[[float], float]:
        schedule.valleys = valleys  # type: ignore[attr-defined]  # functions do take attributes
        return schedule

    return mark


def constant(progress: float) -> float:
    """Factor 1 throughout."""
    return 1.0


def cosine(progress: float) -> float:
    """Half a cosine from 1 down to 0 [Loshchilov & Hutter 2017]."""
    return 0.5 * (1.0 + cos(pi * progress))


def flat_cosine(progress: float) -> float:
    """Factor 1 for the first half, then half a cosine from 1 down to 0 [Holzmüller et al. 2024, RealMLP]."""
    return cosine(max(1.0, 2.0 * progress) - 1.0)


@_cycles_end_at(1 / 7, 3 / 7, 1)
def cosine_restarts(progress: float) -> float:
    """Half a cosine from 1 to 0, three times, each twice as long as the last [Loshchilov & Hutter 2017]."""
    cycles = 1 + progress * (2**_CYCLES - 1)
    cycle = min(int(log2(cycles)), _CYCLES - 1)
    return cosine((cycles - 2**cycle) / 2**cycle)


@_cycles_end_at(1 / 15, 3 / 15, 7 / 15, 1)
def coslog(progress: float) -> float:
    """Four smooth waves, each twice as long as the last, from 0 up to 1 and back [Holzmüller et al. 2024, RealMLP]."""
    return 0.5 * (1.0 - cos(2.0 * pi * log2(1.0 + 15.0 * progress)))


@_cycles_end_at(*((2**wave - 1) / 127 for wave in range(1, 8)))
def growing_cycles(progress: float) -> float:
    """Seven smooth waves, each twice as long as the last: of 1, 2, 4 ... 64 of 127 epochs [as ``coslog``]."""
    return 0.5 * (1.0 - cos(2.0 * pi * log2(1.0 + 127.0 * progress)))


def one_cycle(progress: float) -> float:
    """From 1/25 up to 1 in the first three tenths, then down to 0, both along half a cosine [Smith & Topin 2018]."""
    if progress < _RISE:
        return 1.0 - 0.96 * cosine(progress / _RISE)
    return cosine((progress - _RISE) / (1.0 - _RISE))


def warmup(progress: float) -> float:
    """Up in a straight line through the first tenth, then half a cosine down to 0 [Goyal et al. 2017]."""
    if progress < _WARM:
        return progress / _WARM
    return cosine((progress - _WARM) / (1.0 - _WARM))


def inverse_scaling(progress: float) -> float:
    """From 1 to 1/10 as one over the root of the progress, as scikit-learn's "invscaling" [Robbins & Monro 1951]."""
    return (1.0 + 99.0 * progress) ** -0.5
