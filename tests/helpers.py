"""Tables and estimators that several test files use."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor

PLAIN: dict[str, Any] = {
    "alpha": 1e-5,
    "init": "auto",
    "learning_rate": "cosine",
    "learning_rate_init": 0.01,
    "max_iter": 100,
    "numeric_embedding": None,
    "parametrization": "standard",
    "patience": 20,
    "residual": False,
    "scale_layer": False,
    "weight_decay": 0.01,
}
"""Parameters of a plain network, for tests of one mechanism: little else affects its few epochs."""
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def plain_classifier(*args: Any, **params: Any) -> RegularizedMLPClassifier:
    """A classifier with the parameters of ``PLAIN``, without label smoothing and calibration."""
    return RegularizedMLPClassifier(*args, **{**PLAIN, "calibrate": None, "label_smoothing": 0.0, **params})


def plain_regressor(*args: Any, **params: Any) -> RegularizedMLPRegressor:
    """A regressor with the parameters of ``PLAIN``."""
    return RegularizedMLPRegressor(*args, **{**PLAIN, **params})


class MixedTable(NamedTuple):
    """A data frame of mixed columns and two targets that depend on them.

    Attributes
    ----------
    X : DataFrame
        Two float columns (one with missing values), an integer column, two categories (one of text with missing
        values), a bool.
    label : Series
        "no" or "yes".
    number : Series
        A float.
    """

    X: pd.DataFrame
    label: pd.Series
    number: pd.Series


def make_mixed_table(n_rows: int = 240, seed: int = 0) -> MixedTable:
    """Generate a ``MixedTable``."""
    rng = np.random.default_rng(seed)
    number, other = rng.normal(size=(2, n_rows))
    count = rng.integers(0, 10, n_rows)
    colour = rng.choice(["blue", "green", "red"], n_rows)
    city = rng.choice(["Bern", "Oslo", "Rome", "Wien"], n_rows).astype(object)
    member = rng.random(n_rows) < 0.4
    target = number - 0.2 * count + 1.5 * (colour == "red") + member + 0.5 * (city == "Oslo")
    target = target + 0.2 * rng.normal(size=n_rows)
    other[rng.random(n_rows) < 0.1] = np.nan
    city[rng.random(n_rows) < 0.1] = None
    X = pd.DataFrame(
        {
            "number": number,
            "other": other,
            "count": count,
            "colour": pd.Categorical(colour),
            "city": pd.Series(city, dtype=object),
            "member": member,
        }
    )
    label = pd.Series(np.where(target > np.median(target), "yes", "no"), name="label")
    return MixedTable(X, label, pd.Series(target, name="number"))
