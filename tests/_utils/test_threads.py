"""Tests of the context manager that sets the number of threads."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import skreg
from skreg import RegularizedMLPRegressor, diagnose
from skreg._utils.threads import torch_threads


@pytest.fixture(params=[1, 2])
def before(request):
    usual = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(usual)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_the_number_of_threads_is_set_inside_the_block_and_restored_after_it(before, n_threads):
    with torch_threads(n_threads):
        assert torch.get_num_threads() == n_threads
    assert torch.get_num_threads() == before


def test_the_number_of_threads_is_restored_after_an_error(before):
    with pytest.raises(RuntimeError, match="stop"), torch_threads(3):
        raise RuntimeError("stop")
    assert torch.get_num_threads() == before


def test_none_keeps_the_current_setting(before):
    with torch_threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_a_method_that_raises_an_error_restores_the_number_of_threads(before):
    """The traceback keeps a generator alive, so a block inside one would end only when the error is forgotten."""
    X = np.random.default_rng(0).normal(size=(12, 2))
    net = RegularizedMLPRegressor((3,), max_iter=1, n_threads=3, early_stopping=False, random_state=0)
    fitted = net.fit(X, X[:, 0])
    calls = [
        lambda: fitted.predict_uncertainty(X),
        lambda: fitted.predict_uncertainty(X[:, :1]),
        lambda: fitted.sample_predictions(X, random_state="text"),
        lambda: fitted.sample_predictions(X[:, :1]),
        lambda: fitted.predict(X[:, :1]),
        lambda: fitted.predict(X, return_std=True),
        lambda: fitted.predict_interval(X),
        lambda: fitted.fit(X, ["text"] * 12),
        lambda: fitted.partial_fit(X[:, :1], X[:, 0]),
        lambda: diagnose(fitted, X[:, :1], X[:, 0]),
    ]
    for call in calls:
        with pytest.raises((ValueError, TypeError)) as error:
            call()
        assert torch.get_num_threads() == before, error.value


def test_no_generator_sets_the_number_of_threads():
    found = [
        f"{file.name}: {function.name}"
        for file in Path(skreg.__file__).parent.rglob("*.py")
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        for block in ast.walk(function)
        if isinstance(block, ast.With) and any("torch_threads" in ast.unparse(item) for item in block.items)
        if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(block))
    ]
    assert found == []
