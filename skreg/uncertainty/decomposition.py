"""Decomposition of predictive uncertainty into aleatoric and epistemic parts.

*Aleatoric* uncertainty is noise in the target, which remains however many training rows there are. *Epistemic*
uncertainty is uncertainty about the network; it is measured by the differences between samples, which are members or
networks with random units dropped (Depeweg et al. 2018, "Decomposition of uncertainty in Bayesian deep learning for
efficient and risk-sensitive learning").
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import entr

__all__ = ["Uncertainty", "of_numbers", "of_probabilities"]


@dataclass(frozen=True)
class Uncertainty:
    """Mean prediction of each row and its uncertainty.

    Parameters
    ----------
    mean : ndarray
        Mean of the samples: probabilities, or numbers.
    total : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Entropy of the mean probabilities in nats, separately for each label, or variance of the target.
    aleatoric : ndarray of the shape of ``total``
        Uncertainty due to noise: mean entropy of the samples, or variance of the target around them.
    epistemic : ndarray of the shape of ``total``
        Uncertainty about the network: mutual information of the samples, or their variance. It is never negative.
    source : str
        Description of the samples.

    Examples
    --------
    >>> from skreg.uncertainty import of_probabilities
    >>> agree, differ = [[0.5, 0.5], [0.5, 0.5]], [[0.0, 1.0], [1.0, 0.0]]
    >>> uncertainty = of_probabilities([[agree[0], differ[0]], [agree[1], differ[1]]], "two networks")
    >>> uncertainty.epistemic.round(3).tolist()
    [0.0, 0.693]
    """

    mean: np.ndarray
    total: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray
    source: str


def of_probabilities(samples: np.ndarray, source: str = "samples") -> Uncertainty:
    """Decompose the entropy of class probabilities.

    Parameters
    ----------
    samples : array-like of shape (n_draws, ..., n_classes)
        Class probabilities of each sample.
    source : str, default="samples"
        Description of the samples.

    Returns
    -------
    Uncertainty
        Entropies of shape ``(...,)``; ``total`` is ``aleatoric + epistemic``.

    Examples
    --------
    >>> from skreg.uncertainty import of_probabilities
    >>> of_probabilities([[[0.5, 0.5]], [[0.5, 0.5]]]).total.round(3).tolist()
    [0.693]
    """
    drawn = np.asarray(samples, dtype=np.float64)
    mean = drawn.mean(0)
    total, aleatoric = entr(mean).sum(-1), entr(drawn).sum(-1).mean(0)
    epistemic = np.maximum(total - aleatoric, 0) if (drawn != drawn[0]).any() else np.zeros_like(total)
    return Uncertainty(mean, total, total - epistemic, epistemic, source)


def of_numbers(samples: np.ndarray, noise: np.ndarray | float, source: str = "samples") -> Uncertainty:
    """Decompose the variance of a number by the law of total variance.

    Parameters
    ----------
    samples : array-like of shape (n_draws, ...)
        Predictions of each sample.
    noise : float or ndarray of shape (...)
        Variance of the target around the predictions.
    source : str, default="samples"
        Description of the samples.

    Returns
    -------
    Uncertainty
        Variances of shape ``(...,)``; ``total`` is ``aleatoric + epistemic``.

    Examples
    --------
    >>> from skreg.uncertainty import of_numbers
    >>> of_numbers([[1.0], [3.0]], noise=0.5).total.tolist()
    [1.5]
    """
    drawn = np.asarray(samples, dtype=np.float64)
    epistemic = (drawn - drawn[0]).var(0)  # exactly 0 if all samples are equal
    aleatoric = np.broadcast_to(noise, epistemic.shape).astype(np.float64)
    return Uncertainty(drawn.mean(0), aleatoric + epistemic, aleatoric, epistemic, source)
