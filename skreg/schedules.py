"""A schedule is a function from progress in [0, 1] to a factor on the learning rate.

Every name in ``__all__`` is a value of the ``learning_rate`` parameter.
"""

from math import cos, pi

__all__ = ["constant", "cosine"]


def constant(progress: float) -> float:
    """Factor 1 throughout."""
    return 1.0


def cosine(progress: float) -> float:
    """Half a cosine from 1 down to 0 [Loshchilov & Hutter 2017]."""
    return 0.5 * (1.0 + cos(pi * progress))
