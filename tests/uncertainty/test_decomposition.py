"""Tests of the decomposition of uncertainty."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import entropy

from skreg.uncertainty.decomposition import of_numbers, of_probabilities


def test_of_numbers_follows_the_law_of_total_variance():
    rng = np.random.default_rng(0)
    networks, noise = rng.normal(size=(5, 1)), 0.7
    uncertainty = of_numbers(networks, noise)
    drawn = networks + np.sqrt(noise) * rng.normal(size=(5, 200_000))
    assert uncertainty.total[0] == pytest.approx(drawn.var(), rel=0.01)
    with pytest.raises(AttributeError):
        uncertainty.mean = 0


def test_of_probabilities_gives_the_entropies_of_known_samples():
    uncertainty = of_probabilities([[[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]], [[0.0, 1.0], [0.5, 0.5], [0.2, 0.8]]])
    assert_allclose(uncertainty.total[:2], np.log(2))
    assert_allclose(uncertainty.epistemic, [np.log(2), 0, 0])
    assert_allclose(uncertainty.aleatoric, [0, np.log(2), entropy([0.2, 0.8])], atol=1e-15)
