"""Tests of fingerprints, which are equal in any process for equal objects and differ for different ones."""

import copy
import functools
import importlib
import importlib.metadata
import itertools
import json
import math
import operator
import os
import pickle
import re
import subprocess
import sys
import threading
import time
import weakref
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import optuna
import pandas as pd
import polars as pl
import pytest
import sklearn
import sqlalchemy
import torch
from scipy import sparse, special, stats
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch import callbacks as skorch_callbacks
from skorch.callbacks import Callback, EpochTimer

from skreg import OptunaSearchCV, RegularizedMLPClassifier
from skreg.plots import LiveTrainingCurve
from skreg.search.default_space import make_space
from skreg.search.study import fingerprint
from skreg.search.study.fingerprints import IRRELEVANT_STATE
from skreg.search.study.references import _release, imported_modules, released_name
from skreg.training.callbacks import SUPPORTED
from tests.helpers import plain_classifier

X, Y = make_classification(n_samples=60, n_features=4, random_state=0)


def define(source, name="f", **variables):
    """Run the source of a module of the user, and return one of its variables."""
    namespace = {"__name__": "users_module", "np": np, **variables}
    exec(compile(source, "users_module.py", "exec"), namespace)
    return namespace[name]


def define_module(source, name):
    module = ModuleType(name)
    exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return module


def closure(value):
    return lambda x: x * value


def frozen(estimator, seed):
    columns = np.random.default_rng(seed).permutation(4)
    return FrozenEstimator(clone(estimator).fit(X[:, columns], Y))


CLASS = """
class Base:
    def shift(self, x):
        return x + {base}

class Score(Base):
    factor = {attribute}

    def __init__(self, state):
        self.state = state

    def __call__(self, estimator, X, y):
        return self.other() + self.fixed() + self.prop

    def other(self):
        return {method}

    @staticmethod
    def fixed():
        return {static}

    @property
    def prop(self):
        return {prop}

f = Score({state})
"""
CLASS_VALUES = {"base": 1, "attribute": 1, "method": 1, "static": 1, "prop": 1, "state": 1}
CALLS = "def g(x):\n    return x + {}\n\ndef f(x):\n    return h(x)\n\ndef h(x):\n    return g(x) if x else f(x)\n"

ATTRIBUTE = "class C:\n    n = {}\n    def set(self, n): self.n = n\n    def __call__(self): return self.n\nf = C()"

DIFFERENT = {
    "array": [np.arange(6.0), np.arange(6.0).reshape(2, 3), np.arange(6), np.array(["a", "b"]), list(range(6))],
    "object array": [np.array(["a", None, 1.5], dtype=object), np.array(["a", np.nan, 1.5], dtype=object)],
    "masked array": [np.ma.masked_array([1.0, 2.0], mask) for mask in ([False, False], [False, True])],
    "records": [np.array([(1, 2.0)], dtype=[(name, "i1"), ("b", "f8")]) for name in "ac"],
    "number": [1, "1", True, 1.0, None, np.float32(1)],
    "long list": [[n, *range(200)] for n in (0, 1, 1.0, True, None, "0")],
    "list": [[1, 2], (1, 2), [[1, 2]], {1, 2}],
    "dict": [{"a": 1, "b": 2}, {"a": 2, "b": 1}, [("a", 1), ("b", 2)]],
    "frame": [
        pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
        pd.DataFrame({"a": [1, 2], "c": ["x", None]}),
        pd.DataFrame({"a": [1, 3], "b": ["x", None]}),
        pl.DataFrame({"a": [1, 2], "b": ["x", None]}),
    ],
    "levels": [pd.DataFrame({"a": pd.Categorical(["x", "y"], categories=list(levels))}) for levels in ("xy", "yx")],
    "enum": [pl.DataFrame({"a": pl.Series(["x", "y"], dtype=pl.Enum(list(levels)))}) for levels in ("xy", "yx")],
    "repeated names": [pd.DataFrame([[1, value]], columns=["a", "a"]) for value in (1, 2)],
    "series": [pd.Series([1, 2], name="a"), pd.Series([1, 2], name="b"), pd.DataFrame({"a": [1, 2]})],
    "sparse": [sparse.csr_array(np.eye(3)), sparse.csr_array(np.eye(4)), np.eye(3)],
    "tensor": [torch.arange(3), torch.arange(3.0), torch.arange(3.0).bfloat16(), torch.arange(4), torch.eye(3)],
    "generator": [np.random.RandomState(0), np.random.RandomState(1), np.random.default_rng(0)],
    "distribution": [stats.loguniform(1, 2), stats.loguniform(1, 3), stats.uniform(1, 2), stats.norm(1, 2)],
    "space of Optuna": [optuna.distributions.FloatDistribution(1, high) for high in (2, 3)],
    "default space": [make_space(None, RegularizedMLPClassifier(**given)).definition for given in ({}, {"alpha": 0.1})],
    "splitter": [KFold(3), KFold(4)],
    "estimator": [LogisticRegression(), LogisticRegression(C=2), RandomForestClassifier(random_state=None)],
    "output": [StandardScaler(), StandardScaler().set_output(transform="pandas")],
    "frozen estimator": [frozen(LogisticRegression(), seed) for seed in (0, 1)],
    "frozen forest": [frozen(RandomForestClassifier(3, random_state=0), seed) for seed in (0, 1)],
    "frozen neighbors": [frozen(KNeighborsClassifier(algorithm="kd_tree"), seed) for seed in (0, 1)],
    "frozen network": [frozen(plain_classifier(max_iter=1, n_members=1, random_state=0), seed) for seed in (0, 1)],
    "frozen step": [make_pipeline(frozen(StandardScaler(), seed), LogisticRegression()) for seed in (0, 3)],
    "pretrained": [
        plain_classifier(pretrained=frozen(plain_classifier(max_iter=1, random_state=0), seed)) for seed in (0, 1)
    ],
    "lambda": [lambda x: x + 1, lambda x: x + 2, lambda x: x - 1, lambda x, y=1: x + y, lambda x, y=2: x + y],
    "function of NumPy": [np.log, np.exp, np.sum, np.random.default_rng(0).normal, np.random.default_rng(1).normal],
    "function of torch": [torch.relu, torch.sigmoid, torch.nn.functional.gelu, torch.nn.functional.relu, torch.nn.ReLU],
    "built-in method": [[1].index, [2].index, [1].count, max, min],
    "module of torch": [torch.nn.LeakyReLU(0.1), torch.nn.LeakyReLU(0.2), torch.nn.ELU()],
    "partial": [partial(np.log, 1), partial(np.log, 2), partial(np.exp, 1), partial(closure(1), 1)],
    "closure": [closure(1), closure(2), closure(np.zeros(3)), closure(np.ones(3)), closure(closure(1))],
    "keyword default": [define(f"def f(x, *, y={n}): return x") for n in (1, 2)],
    "called function": [define(CALLS.format(n)) for n in (1, 2)],
    "global value": [define("def f(x): return x + SHIFT", SHIFT=shift) for shift in (1, 2, np.arange(3))],
    "nested function": [define(f"def f(x):\n    def g(): return [y + {n} for y in x]\n    return g()") for n in (1, 2)],
    "exception": [define(f"def f(x):\n    try: return x\n    except {e}: pass") for e in ("ValueError", "KeyError")],
    "set of constants": [define(f"def f(x): return x in {{{values}}}") for values in ("'a', 'b'", "'a', 'c'")],
    "module": [
        define("def f(x): return tools.scale(x)", tools=define_module(f"def scale(x): return {n} * x", "tools"))
        for n in (1, 2)
    ],
    "functions by type": [functools.singledispatch(closure(n)) for n in (1, 2)],
    "decorator": [functools.lru_cache(closure(n)) for n in (1, 2)],
    "wrapper": [functools.wraps(np.log)(closure(n)) for n in (1, 2)],
    "vectorized": [np.vectorize(closure(n)) for n in (1, 2)],
    "class": [define(CLASS.format(**CLASS_VALUES))]
    + [define(CLASS.format(**{**CLASS_VALUES, name: 2})) for name in CLASS_VALUES],
    "class attribute with a default": [define(ATTRIBUTE.format(n)) for n in (1, 2)],
    "bound method": [define(CLASS.format(**{**CLASS_VALUES, name: 2})).other for name in ("method", "state")],
    "scorer": [make_scorer(define(f"def f(a, b): return {n}")) for n in (1, 2)] + [make_scorer(accuracy_score)],
    "transformer": [FunctionTransformer(define(f"def f(x): return {n} * x")) for n in (1, 2)],
    "activation": [RegularizedMLPClassifier(activation=closure(n)) for n in (1, 2)],
    "enumeration": [define(f"import enum\nclass E(enum.Enum):\n    A = {n}\nf = E.A") for n in (1, 2)],
    "data class": [
        define(f"import dataclasses\n@dataclasses.dataclass\nclass D:\n    a: int = {n}\n    b: int = 1\nf = D()")
        for n in (1, 2)
    ],
    "named tuple": [
        define(f"import typing\nclass T(typing.NamedTuple):\n    a: int\n    def g(self): return {n}\nf = T(1)")
        for n in (1, 2)
    ],
}
"""Groups of objects that lead to different scores."""


def test_different_objects_have_different_fingerprints():
    for name, objects in DIFFERENT.items():
        found = [fingerprint(obj) for obj in objects]
        assert len(set(found)) == len(objects), name


def test_the_fingerprint_is_stable_within_a_process():
    for name, objects in DIFFERENT.items():
        assert fingerprint(objects) == fingerprint(objects), name


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda obj: pickle.loads(pickle.dumps(obj))])
@pytest.mark.parametrize(
    "name", ["array", "frame", "levels", "distribution", "frozen forest", "frozen network", "pretrained", "tensor"]
)
def test_a_copy_has_the_same_fingerprint(name, copied):
    assert fingerprint(copied(DIFFERENT[name])) == fingerprint(DIFFERENT[name])


SAME = {
    "order of a dict": [{"a": 1, "b": [2]}, {"b": [2], "a": 1}],
    "order of a set": [set(names) for names in itertools.permutations(["a", "b", "c"])],
    "names of lambdas": [closure(1), closure(1)],
    "position in the file": [define("\n" * n + "def f(x):\n" + "    # text\n" * n + "    return x") for n in (0, 9)],
    "cache of types": [functools.singledispatch(closure(1)), functools.singledispatch(closure(1))],
    "cache of calls": [functools.lru_cache(closure(1)), functools.lru_cache(closure(1))],
    "verbosity": [LogisticRegression(verbose=verbose) for verbose in (0, 1)],
    "cache of a pipeline": [make_pipeline(StandardScaler(), memory=memory) for memory in (None, "folder")],
    "workers": [RandomForestClassifier(random_state=0, n_jobs=n_jobs) for n_jobs in (1, 2)],
    "callbacks of networks": [plain_classifier(callbacks=callbacks) for callbacks in (None, [EpochTimer()])],
    "fitted twice": [frozen(plain_classifier(max_iter=2, time_limit=60, random_state=0), 0) for _ in range(2)],
    "frozen search": [frozen(GridSearchCV(LogisticRegression(), {"C": [1, 2]}), 0) for _ in range(2)],
    "frozen search with Optuna": [
        frozen(OptunaSearchCV(LogisticRegression(), {"C": [1, 2]}, n_trials=2, random_state=0), 0) for _ in range(2)
    ],
}
"""Groups of objects that lead to the same scores."""
SAME["cache of calls"][0](1)
SAME["cache of types"][0](1)


@pytest.mark.parametrize("name", SAME)
def test_objects_that_lead_to_equal_scores_have_the_same_fingerprint(name):
    assert len({fingerprint(obj) for obj in SAME[name]}) == 1


class Lag:
    """Transformer of the user, whose parameters have the names of others that do not affect results."""

    def __init__(self, **params):
        self.__dict__.update(params)

    def get_params(self, deep=True):
        return vars(self)


class LoggingForest(RandomForestClassifier):
    """Subclass of the user, which can use each parameter in another way."""


class LoggingDistribution(Lag):
    def rvs(self, random_state=None):
        return self._random_state


class ChangeWeights(Callback):
    """Callback that changes the network."""

    def __init__(self, factor=1.0):
        self.factor = factor


class LoudTimer(EpochTimer):
    """Subclass of a callback that only reads."""


ALL_IRRELEVANT = sorted(set().union(*IRRELEVANT_STATE.values(), {"callbacks", "_skl_callbacks", "_random_state"}))


@pytest.mark.parametrize("name", ALL_IRRELEVANT)
@pytest.mark.parametrize("cls", [Lag, LoggingDistribution])
def test_no_attribute_of_a_class_of_the_user_is_ignored(cls, name):
    objects = [cls(**{name: value}) for value in (1, 2, [3], "a")]
    assert len({fingerprint(obj) for obj in objects}) == 4
    assert len({fingerprint(make_pipeline(obj, StandardScaler())) for obj in objects}) == 4


def test_parameters_of_a_subclass_of_the_user_are_not_ignored():
    assert len({fingerprint(LoggingForest(n_jobs=n, verbose=v)) for n in (1, 2) for v in (0, 1)}) == 4


@pytest.mark.parametrize("wrap", [lambda callback: callback, lambda callback: ("name", callback)])
def test_callbacks_are_ignored_only_if_they_are_known_to_read(wrap):
    def found(*callbacks):
        return fingerprint(plain_classifier(callbacks=[wrap(callback) for callback in callbacks]))

    read = [EpochTimer(), EpochTimer, *(getattr(skorch_callbacks, name) for name in SUPPORTED), LiveTrainingCurve()]
    assert {found(callback) for callback in read} == {found(), fingerprint(plain_classifier())}
    changes = [ChangeWeights(), ChangeWeights(2.0), ChangeWeights, LoudTimer()]
    assert len({found(), *(found(callback) for callback in changes)}) == 1 + len(changes)
    assert found(EpochTimer(), ChangeWeights()) == found(ChangeWeights())


def test_callbacks_of_scikit_learn_are_ignored_unless_the_user_wrote_them():
    def found(*callbacks):
        network = plain_classifier()
        network._skl_callbacks = list(callbacks)
        return fingerprint(network)

    assert found() == found(StandardScaler()) == fingerprint(plain_classifier())  # any class of scikit-learn
    assert len({found(), found(ChangeWeights()), found(ChangeWeights(2.0))}) == 3


def test_every_function_of_a_library_is_identified():
    modules = [np, np.random, special, torch.nn, torch.special, stats, sklearn.metrics, math, operator]
    functions = {}
    for module in modules:
        for name in dir(module):
            value = getattr(module, name)
            if callable(value) and not name.startswith("_"):
                functions[id(value)] = value
    assert len({fingerprint(value) for value in functions.values()}) == len(functions) > 1000


READS = [
    "found = []; found.append(n); found[0] = x; return found",
    "return 0 < n < 3",
    "a = b = n; return a",
    "return (a := n) or (n and a)",
    "return [n, (a := x), x < 1 < x]",
    "out = {}; out['a'] = n; return out",
    "out = C(); out.n = n; return out.n",
    "return sorted(n)",
    "for a in n: yield a",
]


@pytest.mark.parametrize("read", READS)
def test_variables_that_a_function_reads_belong_to_it(read):
    source = f"class C: pass\ndef g(n):\n    def f(x):\n        {read}\n    return f\ndef f(x):\n    {read}\n"
    values = [1, 2, [1, 2], [1, 3], {"a": 1}, {"a": 2}]
    assert len({fingerprint(define(source, n=value)) for value in values}) == len(values)
    assert len({fingerprint(define(source, "g")(value)) for value in values}) == len(values)


class Holder(BaseEstimator):
    def __init__(self, value=None):
        self.value = value


class WithoutLock(Holder):
    """Its state excludes the lock, as the error message advises."""

    def __getstate__(self):
        return {"value": 1}


UNIDENTIFIED = {
    "generator": (value for value in [1, 2]),
    "lock": threading.Lock(),
    "file": sys.__stdout__,
    "local variables of threads": threading.local(),
    "function of NumPy made from Python": np.frompyfunc(lambda x: x, 1, 1),
    "reference": weakref.ref(Holder),
}


@pytest.mark.parametrize("name", UNIDENTIFIED)
def test_what_cannot_be_identified_is_refused_by_its_name(name):
    obj = UNIDENTIFIED[name]
    kind = re.escape(type(obj).__qualname__)
    for outer, path in [
        (Holder([obj]), r"estimator\.value\[0\]"),
        (make_pipeline(Holder({"key": obj})), r"estimator\.steps\[0\]\[1\]\.value\['key'\]"),
        (Holder(closure(obj)), r"estimator\.value\.value"),
        (Holder(define("def f(): return OBJ", OBJ=obj)), r"estimator\.value\.OBJ"),
    ]:
        with pytest.raises(TypeError, match=rf"{path}, of type '\S*{kind}', .*set storage=None"):
            fingerprint(outer, "estimator")
    assert fingerprint(WithoutLock(obj)) == fingerprint(WithoutLock(1))


def test_objects_that_contain_each_other_are_identified():
    def circle(value):
        first, second = Holder(), Holder([value])
        first.value, second.other = second, first
        return [first, second]

    assert fingerprint(circle(1)) == fingerprint(circle(1)) != fingerprint(circle(2))
    nested = []
    for _ in range(10_000):
        nested = [nested]
    with pytest.raises(TypeError, match="nested too deeply"):
        fingerprint(nested)


FUNCTIONS_OF_FILES = [
    "import users_tools\ndef f(x): return users_tools.scale(x)",
    "import users_package.tools\ndef f(x): return users_package.tools.scale(x)",
    "def f(x):\n    import users_tools\n    return users_tools.scale(x)",
    "def f(x):\n    from users_package.tools import scale as g\n    return g(x)",
    "from users_tools import scale as f",
    "from users_tools import Scale\nf = Scale()",
    "import users_tools as f",
]


IMPORTS = [
    "import json",
    "import xml.dom",
    "from json import loads, dumps",
    "from xml import dom as d",
    "import os as o",
]


@pytest.mark.parametrize("n_names", [0, 300])
@pytest.mark.parametrize("source", IMPORTS)
def test_imports_of_long_functions_are_identified(source, n_names):
    """The instructions of a function with many names and constants need several bytes for their arguments."""
    names = "".join(f"    n{n}, {n}.5\n" for n in range(n_names))
    long = define(f"def f(x):\n{names}    {source}\n")
    assert set(imported_modules(long.__code__, vars(json))) == {f"import {source.split()[1]}"}
    fingerprint(long)


@pytest.mark.parametrize("n_names", [0, 300])
@pytest.mark.parametrize("source", ["from .decoder import scanner", "from . import decoder", "from .. import json"])
def test_relative_imports_are_resolved(source, n_names):
    names = "".join(f"    n{n}, {n}.5\n" for n in range(n_names))
    code = define(f"def f(x):\n{names}    {source}\n").__code__
    package = "json.tests" if ".." in source else "json"
    name = "json.decoder" if "decoder import" in source else "json"
    assert set(imported_modules(code, {"__package__": package})) == {f"import {name}"}


@pytest.mark.parametrize("source", FUNCTIONS_OF_FILES)
def test_the_code_of_imported_files_is_identified(source, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = []
    for value in (1, 1, 2):
        for name in [name for name in sys.modules if name.startswith("users_")]:
            del sys.modules[name]
        text = f"def scale(x): return {value} * x\nclass Scale:\n    def __call__(self, x): return scale(x)\n"
        for name in ("users_tools.py", "users_package/__init__.py", "users_package/tools.py"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        importlib.invalidate_caches()
        found.append(fingerprint(define(source)))
    assert found[0] == found[1] != found[2]


@pytest.fixture
def fresh_releases():
    """Forget the identified packages before and after a test."""
    _release.cache_clear()
    yield
    _release.cache_clear()


@pytest.mark.usefixtures("fresh_releases")
def test_installed_packages_are_identified_by_their_versions(monkeypatch):
    """Packages that are installed from a folder can change without their version, so their code is identified."""
    assert released_name(accuracy_score) == f"sklearn.metrics._classification:accuracy_score {sklearn.__version__}"
    assert released_name(sorted) is not None
    for function in (closure, closure(1), functools.wraps(np.log)(closure(1))):
        assert released_name(function) is None
    distribution = importlib.metadata.distribution
    for folder, origin in [(True, '{"dir_info": {}}'), (False, '{"archive_info": {}}')]:
        # Not a method of PathDistribution, because an imported backport of the module replaces this class.
        def with_origin(name, origin=origin):
            return SimpleNamespace(version=distribution(name).version, read_text={"direct_url.json": origin}.get)

        monkeypatch.setattr(importlib.metadata, "distribution", with_origin)
        _release.cache_clear()
        assert (released_name(sqlalchemy.text) is None) == folder
        assert released_name(accuracy_score) is not None


@pytest.mark.slow
def test_large_tables_are_identified_quickly():
    rng = np.random.default_rng(0)
    numbers, text = rng.random((1_000_000, 10)), rng.choice(np.array(["a", "b", None], dtype=object), 1_000_000)
    for table in (numbers, pd.DataFrame(numbers), text, pd.DataFrame({"a": text}), numbers[:100_000].tolist()):
        start = time.process_time()
        fingerprint(table)
        assert time.process_time() - start < 2.0


def all_fingerprints():
    return [fingerprint(obj) for objects in DIFFERENT.values() for obj in objects]


@pytest.mark.slow
def test_the_fingerprint_is_equal_in_another_process():
    """The estimators are fitted again there, and the hashes of strings and the addresses differ."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {__name__} as t; print(*t.all_fingerprints())"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.stdout.split() == all_fingerprints()
