"""Tables that several test files use."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg._threads import torch_threads

PLAIN = {
    "alpha": 1e-5,
    "calibrate": None,
    "init": "auto",
    "label_smoothing": 0.0,
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
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


class MixedTable(NamedTuple):
    """A frame of mixed columns and two targets that depend on them.

    Attributes
    ----------
    X : DataFrame
        Two numbers (one with missing values), an int, two categories (one of text with missing values), a bool.
    label : Series
        "no" or "yes".
    number : Series
        A float.
    """

    X: pd.DataFrame
    label: pd.Series
    number: pd.Series


def make_mixed_table(n_rows: int = 240, seed: int = 0) -> MixedTable:
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


@pytest.fixture
def one_thread():
    """For nets that are trained without an estimator: on a machine of few cores threads wait for one another."""
    with torch_threads(1):
        yield


@pytest.fixture
def plain_training(monkeypatch):
    """In tests of one mechanism the defaults are those of a plain network: little else happens in its few epochs."""
    for Estimator in (RegularizedMLPClassifier, RegularizedMLPRegressor):
        defaults = Estimator.__init__.__kwdefaults__
        plain = {name: value for name, value in PLAIN.items() if name in defaults}
        monkeypatch.setattr(Estimator.__init__, "__kwdefaults__", {**defaults, **plain})


@pytest.fixture
def mixed_table():
    """A frame with numbers, categories, a bool and missing values, and two targets."""
    return make_mixed_table()


@pytest.fixture
def shared_data():
    """A function from a name to one of the larger tables; the test is skipped where they are not there."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the larger tables, ../shared/data, are not here")
    return lambda name: pd.read_parquet(SHARED_DATA / f"{name}.parquet")
