"""Recipes: each learns with both estimators, is read-only, and documents its source."""

import inspect
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, recipes

RNG = np.random.RandomState(0)
X = pd.DataFrame(RNG.randn(300, 4), columns=list("abcd"))
Y = X["a"] * 2 + X["b"] + 0.3 * RNG.randn(300)
X["e"] = RNG.choice(["red", "green", "blue"], 300)
X.loc[::9, "c"] = np.nan
BOTH = [(RegularizedMLPClassifier, Y > 0), (RegularizedMLPRegressor, Y)]


@pytest.mark.parametrize("name", recipes.__all__)
@pytest.mark.parametrize(("Estimator", "y"), BOTH)
def test_recipe_learns(Estimator, y, name):
    recipe = getattr(recipes, name)
    estimator = Estimator(**recipe, random_state=0)
    assert {key: getattr(estimator, key) for key in recipe} == dict(recipe)
    assert clone(estimator).fit(X[:200], y[:200]).score(X[200:], y[200:]) > 0.85


@pytest.mark.parametrize("name", recipes.__all__)
@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_recipe_differs_from_the_defaults(Estimator, name):
    defaults = Estimator().get_params()
    same = {key for key, value in getattr(recipes, name).items() if defaults[key] == value}
    assert same <= {"hidden_layer_sizes"}


@pytest.mark.parametrize("name", recipes.__all__)
def test_recipe_is_read_only(name):
    recipe = getattr(recipes, name)
    with pytest.raises(TypeError):
        recipe["dropout"] = 0.9
    assert {**recipe, "dropout": 0.9}["dropout"] == 0.9


@pytest.mark.parametrize("name", recipes.__all__)
def test_recipe_documents_its_source(name):
    above = inspect.getsource(recipes).partition(f"\n{name}: Mapping")[0].splitlines()
    comment = []
    while above and above[-1].startswith("#: "):
        comment.insert(0, above.pop())
    assert re.search(r"\[.*\d{4}", " ".join(comment))
