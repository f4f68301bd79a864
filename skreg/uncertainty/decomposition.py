"""An uncertainty is how unsure a network is of each row, and how much of that more rows to learn from would take away.

Noise in the target, *aleatoric*, stays however many rows there are; what the network could be instead, *epistemic*, is
how much its samples differ: members, networks thinned by dropout (Depeweg et al. 2018,
"Decomposition of uncertainty in Bayesian deep learning for efficient and risk-sensitive learning").
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

__all__ = ["Uncertainty", "of_numbers", "of_probabilities"]


@dataclass(frozen=True)
class Uncertainty:
    """What a network says of rows, and how sure it is of each.

    Parameters
    ----------
    mean : ndarray
        Mean of the samples: probabilities, or numbers.
    total : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Entropy of the mean probabilities in nats, of each label by itself; or variance of the target.
    aleatoric : ndarray of the shape of ``total``
        What of it is noise: mean entropy of the samples, or variance of the target around them.
    epistemic : ndarray of the shape of ``total``
        What of it is the network's: the rest, their mutual information, or the variance of the samples. Never negative.
    source : str
        What the samples are of.

    Examples
    --------
    >>> from skreg.uncertainty import of_probabilities
    >>> agree, differ = [[0.5, 0.5], [0.5, 0.5]], [[0.0, 1.0], [1.0, 0.0]]
    >>> unsure = of_probabilities([[agree[0], differ[0]], [agree[1], differ[1]]], "two networks")
    >>> unsure.epistemic.round(3).tolist()
    [0.0, 0.693]
    """

    mean: np.ndarray
    total: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray
    source: str


def of_probabilities(samples: np.ndarray, source: str = "samples") -> Uncertainty:
    """Entropy of classes, and its parts.

    Parameters
    ----------
    samples : array-like of shape (n_draws, ..., n_classes)
        Probabilities of the classes in each sample.
    source : str, default="samples"
        What the samples are of.

    Returns
    -------
    Uncertainty
        Its entropies have shape ``(...,)``; ``total`` is ``aleatoric + epistemic``.

    Examples
    --------
    >>> from skreg.uncertainty import of_probabilities
    >>> of_probabilities([[[0.5, 0.5]], [[0.5, 0.5]]]).total.round(3).tolist()
    [0.693]
    """
    drawn = np.asarray(samples, dtype=np.float64)
    mean = drawn.mean(0)
    total, aleatoric = _entropy(mean), np.mean([_entropy(sample) for sample in drawn], axis=0)
    epistemic = np.maximum(total - aleatoric, 0) if (drawn != drawn[0]).any() else np.zeros_like(total)
    return Uncertainty(mean, total, total - epistemic, epistemic, source)


def of_numbers(samples: np.ndarray, noise: np.ndarray | float, source: str = "samples") -> Uncertainty:
    """Variance of a number, and its parts: the law of total variance.

    Parameters
    ----------
    samples : array-like of shape (n_draws, ...)
        Predictions of each sample.
    noise : float or ndarray of shape (...)
        Variance of the target around the predictions.
    source : str, default="samples"
        What the samples are of.

    Returns
    -------
    Uncertainty
        Its variances have shape ``(...,)``; ``total`` is ``aleatoric + epistemic``.

    Examples
    --------
    >>> from skreg.uncertainty import of_numbers
    >>> of_numbers([[1.0], [3.0]], noise=0.5).total.tolist()
    [1.5]
    """
    drawn = np.asarray(samples, dtype=np.float64)
    epistemic = (drawn - drawn[0]).var(0)  # exactly 0 where all are alike
    aleatoric = np.broadcast_to(noise, epistemic.shape).astype(np.float64)
    return Uncertainty(drawn.mean(0), aleatoric + epistemic, aleatoric, epistemic, source)


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    return -xlogy(probabilities, probabilities).sum(-1)
