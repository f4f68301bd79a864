import numpy as np
import pytest

from skreg.diagnostics.checks.measures import probability_above


def test_probability_above_is_the_normal_probability():
    assert probability_above(1.0, 1.0, 0.3) == 0.5
    assert probability_above(1.0 + 1.6449 * 0.3, 1.0, 0.3) == pytest.approx(0.95, abs=1e-4)
    assert probability_above(np.inf, 1.0, 0.3) == 1
    assert probability_above(-np.inf, 1.0, 0.3) == probability_above(np.nan, 1.0, 0.3) == 0
