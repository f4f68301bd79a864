"""Calibration, conformal intervals, and the decomposition of uncertainty into aleatoric and epistemic parts.

The estimators call these functions after training.
"""

from .decomposition import Uncertainty, of_numbers, of_probabilities

__all__ = ["Uncertainty", "of_numbers", "of_probabilities"]
