"""Learning rate schedules: functions from training progress in [0, 1] to a factor on the learning rate.

Every name in ``__all__`` is a value of the ``learning_rate`` parameter, which also accepts any other callable of this
kind. A schedule with several cycles has the attribute ``cycle_ends``, the progress values at which the cycles end.
Early stopping ends training at one of them.
"""

from collections.abc import Callable
from math import cos, log2, pi, sqrt

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


def _with_cycle_ends(*cycle_ends: float) -> Callable[[Callable[[float], float]], Callable[[float], float]]:
    def decorate(schedule: Callable[[float], float]) -> Callable[[float], float]:
        schedule.cycle_ends = cycle_ends  # type: ignore[attr-defined]  # functions accept attributes
        return schedule

    return decorate


def constant(progress: float) -> float:  # noqa: ARG001 - schedules are called with the progress
    """Keep the factor at 1."""
    return 1.0


def cosine(progress: float) -> float:
    """Decay from 1 to 0 along half a cosine [Loshchilov & Hutter 2017]."""
    return 0.5 * (1.0 + cos(pi * progress))


def flat_cosine(progress: float) -> float:
    """Keep 1 for the first half, then decay to 0 along half a cosine [Holzmüller et al. 2024, RealMLP]."""
    return cosine(max(1.0, 2.0 * progress) - 1.0)


@_with_cycle_ends(1 / 7, 3 / 7, 1)
def cosine_restarts(progress: float) -> float:
    """Decay from 1 to 0 three times, each time twice as long as before [Loshchilov & Hutter 2017]."""
    position = 1 + 7 * progress  # from 1 to 2, 2 to 4 and 4 to 8
    start = 2.0 ** min(int(log2(position)), 2)
    return cosine(position / start - 1)


@_with_cycle_ends(1 / 15, 3 / 15, 7 / 15, 1)
def coslog(progress: float) -> float:
    """Rise from 0 to 1 and decay to 0 in four waves, each twice as long as before [Holzmüller et al. 2024, RealMLP]."""
    return _growing_waves(progress, 4)


@_with_cycle_ends(*((2**wave - 1) / 127 for wave in range(1, 8)))
def growing_cycles(progress: float) -> float:
    """Rise and decay as in ``coslog``, in seven waves that last 1, 2, 4, ..., 64 of 127 epochs."""
    return _growing_waves(progress, 7)


def _growing_waves(progress: float, n_waves: int) -> float:
    return 0.5 * (1.0 - cos(2.0 * pi * log2(1.0 + (2**n_waves - 1) * progress)))


def one_cycle(progress: float) -> float:
    """Rise from 1/25 to 1 in the first 30 %, then decay to 0, both along half a cosine [Smith & Topin 2018]."""
    return 1.0 - 0.96 * cosine(progress / 0.3) if progress < 0.3 else cosine((progress - 0.3) / 0.7)


def warmup(progress: float) -> float:
    """Rise linearly from 0 to 1 in the first 10 %, then decay to 0 along half a cosine [Goyal et al. 2017]."""
    return progress / 0.1 if progress < 0.1 else cosine((progress - 0.1) / 0.9)


def inverse_scaling(progress: float) -> float:
    """Decay from 1 to 1/10 as ``(1 + 99 * progress) ** -0.5``, similar to scikit-learn's "invscaling"."""
    return 1.0 / sqrt(1.0 + 99.0 * progress)
