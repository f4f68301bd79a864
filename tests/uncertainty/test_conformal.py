"""Tests of conformal quantiles, intervals and noise variances."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skreg.training.losses import HalfGammaDeviance, HalfPoissonDeviance, HalfSquaredError, PinballLoss
from skreg.uncertainty.conformal import Residuals, conformal_quantile


@pytest.mark.parametrize(("n", "coverage"), [(9, 0.9), (10, 0.9), (20, 0.5), (99, 0.95), (19, 0.95), (1, 0.5)])
def test_conformal_quantile_has_the_rank_of_the_finite_sample_rule(n, coverage):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    rank = int(np.ceil(np.round(coverage * (n + 1), 9)))
    assert conformal_quantile(scores, np.ones(n), coverage) == rank
    assert conformal_quantile(scores, np.ones(n), (n + 0.5) / (n + 1)) == np.inf


def test_conformal_quantile_uses_the_weights_of_the_rows():
    scores, weight = np.array([3.0, 1.0, 2.0, 4.0]), np.array([0.5, 2.0, 0.5, 1.0])
    assert conformal_quantile(scores, weight, 0.4) == 1  # its weight is 2 = 0.4 * 5
    assert conformal_quantile(scores, weight, 0.41) == 2
    assert conformal_quantile(scores, weight, 0.8) == 4


def residuals(loss, y, prediction):
    return Residuals.of(loss, y, prediction[None], None, None)


def test_intervals_and_noise_equal_those_computed_by_hand():
    rng = np.random.default_rng(0)
    y, prediction = rng.gamma(3.0, size=99), rng.gamma(3.0, size=99)
    new = np.array([[[0.5]], [[4.0]]])
    for loss, unit in ((HalfSquaredError(), 0), (HalfPoissonDeviance(), 0.5), (HalfGammaDeviance(), 1)):
        known = residuals(loss, y, prediction)
        half_width = np.sort(np.abs(y - prediction) / prediction**unit)[79]  # 0.8 * 100
        ends = np.stack(
            [new[..., 0] - half_width * new[..., 0] ** unit, new[..., 0] + half_width * new[..., 0] ** unit], -1
        )
        assert_allclose(known.interval(new, 0.8), ends.clip(min=0) if unit else ends)
        assert_allclose(known.noise, ((y - prediction) ** 2).mean() / (prediction ** (2 * unit)).mean())
    quantiles = np.sort(rng.gamma(3.0, size=(99, 3)), axis=1)
    known = residuals(PinballLoss([0.1, 0.5, 0.9]), y, quantiles)
    half_width = np.sort(np.maximum(quantiles[:, 0] - y, y - quantiles[:, 2]))[79]
    assert_allclose(known.interval(np.array([[[1.0, 2.0, 4.0]]]), 0.8), [[[1 - half_width, 4 + half_width]]])


def test_the_lower_end_never_exceeds_the_upper_end():
    """Quantiles that are much too far apart are moved together by more than their distance."""
    y, quantiles = np.zeros(50), np.tile([-10.0, 10.0], (50, 1))
    interval = residuals(PinballLoss([0.1, 0.9]), y, quantiles).interval(np.array([[[1.0, 2.0]]]), 0.8)
    assert_array_equal(interval, [[[1.5, 1.5]]])


def test_noise_does_not_contain_the_variance_between_members():
    rng = np.random.default_rng(0)
    n, noise, std = 200_000, 1.0, 0.5
    truth, members = rng.normal(size=n), 4
    each = truth + std * rng.normal(size=(members, n))
    y, member = truth + noise * rng.normal(size=n), np.arange(n) % members
    for held_out_by in (member, None):
        assert Residuals.of(HalfSquaredError(), y, each, held_out_by, None).noise[0] == pytest.approx(
            noise**2, rel=0.02
        )
