"""Options of the test run, and fixtures that several test files use."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import settings

from skreg._utils.threads import torch_threads
from tests.helpers import SHARED_DATA, make_mixed_table

# Hypothesis draws the same examples in every run.
settings.register_profile("seeded", derandomize=True, database=None, deadline=None)
settings.load_profile("seeded")


def pytest_addoption(parser):
    parser.addoption("--run-slow", action="store_true", help="also run the tests that are marked as slow")
    parser.addoption("--global-seed", type=int, default=0, help="seed of the global random generators in each test")


def seed_global_generators(item):
    """Seed the generators that ``random_state=None`` uses, so that no result depends on chance or on other tests."""
    seed = item.config.getoption("--global-seed")
    random.seed(seed)
    np.random.mtrand._rand.seed(seed)
    torch.manual_seed(seed)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    seed_global_generators(item)  # before the fixtures, including those of modules and packages


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    seed_global_generators(item)


def pytest_collection_modifyitems(config, items):
    if config.getoption("--run-slow"):
        return
    skip = pytest.mark.skip(reason="slow; pass --run-slow to run it")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)


@pytest.fixture
def one_thread():
    """For nets that are trained without an estimator: on a machine of few cores threads wait for one another."""
    with torch_threads(1):
        yield


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
