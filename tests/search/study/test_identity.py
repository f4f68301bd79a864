"""Tests of fingerprints, which are equal in any process for equal objects and differ for different ones."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse, stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skreg import RegularizedMLPClassifier
from skreg.search.default_space import make_space
from skreg.search.study import fingerprint

OBJECTS = {
    "array": np.arange(6.0),
    "its shape": np.arange(6.0).reshape(2, 3),
    "its kind": np.arange(6),
    "objects": np.array(["a", None, 1.5], dtype=object),
    "text": np.array(["a", "b"]),
    "frame": pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
    "its names": pd.DataFrame({"a": [1, 2], "c": ["x", None]}),
    "its values": pd.DataFrame({"a": [1, 3], "b": ["x", None]}),
    "categories": pd.DataFrame({"a": pd.Categorical(["x", "y"])}),
    "series": pd.Series([1, 2], name="a"),
    "polars": pl.DataFrame({"a": [1.5, None], "b": ["x", "y"]}),
    "sparse": sparse.csr_array(np.eye(3)),
    "sparser": sparse.csr_array(np.eye(4)),
    "list": [1, 2],
    "dict": {"a": 1, "b": (2, 3)},
    "set": {"a", "b", "c"},
    "estimator": LogisticRegression(),
    "its parameter": LogisticRegression(C=2),
    "pipeline": make_pipeline(FunctionTransformer(np.log), LogisticRegression()),
    "its function": make_pipeline(FunctionTransformer(np.exp), LogisticRegression()),
    "distribution": {"C": stats.loguniform(1, 2)},
    "its bounds": {"C": stats.loguniform(1, 3)},
    "splitter": KFold(3),
    "its folds": KFold(4),
    "partial": partial(np.log, 1),
    "its argument": partial(np.log, 2),
    "default space": make_space(None, RegularizedMLPClassifier()).definition,
    "default space without alpha": make_space(None, RegularizedMLPClassifier(alpha=0.1)).definition,
    "generator": np.random.RandomState(0),
    "its state": np.random.RandomState(1),
    "text 1": "1",
    "number 1": 1,
    "none": None,
}


def test_different_objects_have_different_fingerprints():
    found = {name: fingerprint(obj) for name, obj in OBJECTS.items()}
    assert len(set(found.values())) == len(OBJECTS)


@pytest.mark.slow
def test_the_fingerprint_is_equal_in_another_process():
    code = "import tests.search.study.test_identity as t; print(*map(t.fingerprint, t.OBJECTS.values()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.stdout.split() == list(map(fingerprint, OBJECTS.values()))


@pytest.mark.parametrize("name", ["n_jobs", "verbose"])
def test_parameters_without_effect_on_results_are_ignored(name):
    assert fingerprint(LogisticRegression(**{name: 1})) == fingerprint(LogisticRegression())


def test_objects_that_cannot_be_pickled_are_described_by_their_class():
    class Local:
        pass

    assert fingerprint(Local()) == fingerprint(Local())
    assert fingerprint([lambda: 0]) == fingerprint([lambda: 0])
