"""Every test is seeded: it has the same result in every run, alone or after other tests, in any process."""

import ast
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

TESTS = Path(__file__).parent
GENERATORS = {"default_rng", "RandomState", "Random", "SeedSequence"}
"""Constructors that take the seed as the first argument."""
GLOBAL_DRAWS = re.compile(
    r"(np|numpy)\.random\.(choice|exponential|normal|permutation|rand|randint|randn|random|shuffle|uniform)"
    r"|random\.(choice|choices|gauss|randint|random|sample|shuffle|uniform)"
    r"|torch\.(bernoulli|multinomial|normal|rand|rand_like|randint|randn|randn_like|randperm)"
)
DRAWING = re.compile(
    r"make_(blobs|circles|classification|friedman\d|gaussian_quantiles|hastie_10_2|low_rank_matrix|moons"
    r"|multilabel_classification|regression|s_curve|sparse_uncorrelated|swiss_roll)"
    r"|train_test_split|permutation_importance|permutation_test_score|shuffle|resample|\w*Shuffle\w*|Random(Forest|ized)\w+"
    r"|ExtraTrees\w+|Bagging\w+|TPESampler|RandomSampler|RandomizedSearchCV"
)
"""Functions and classes of other packages that draw at random unless they get a seed."""
SEEDS = {"random_state", "seed", "generator", "rng"}


def unseeded_calls(source: str) -> list[str]:
    """Return the calls that draw at random and get no seed; ``random_state=None`` counts as one that is intended."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        function = ast.unparse(call.func)
        name, names = function.split(".")[-1], {keyword.arg for keyword in call.keywords}
        if names & {*SEEDS, None}:  # None stands for **kwargs
            continue
        shuffles = any(k.arg == "shuffle" and ast.unparse(k.value) == "True" for k in call.keywords)
        draws = DRAWING.fullmatch(name) and not (name in ("TPESampler", "RandomSampler") and call.args)
        unseeded = name in GENERATORS and not call.args
        if shuffles or draws or unseeded or GLOBAL_DRAWS.fullmatch(function):
            found.append(f"{call.lineno}: {ast.unparse(call)}")
    return found


def test_no_test_draws_without_a_seed():
    found = {str(file.relative_to(TESTS)): unseeded_calls(file.read_text("utf-8")) for file in TESTS.rglob("*.py")}
    assert {file: calls for file, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    ("source", "seeded"),
    [
        ("np.random.default_rng()", False),
        ("np.random.default_rng(0)", True),
        ("np.random.RandomState().rand(3)", False),
        ("np.random.rand(3)", False),
        ("random.random()", False),
        ("torch.randn(3)", False),
        ("torch.randn(3, generator=torch.Generator().manual_seed(0))", True),
        ("KFold(5, shuffle=True)", False),
        ("KFold(5, shuffle=True, random_state=0)", True),
        ("KFold(5, shuffle=True, random_state=None)", True),
        ("KFold(5)", True),
        ("ShuffleSplit(5)", False),
        ("make_classification(100)", False),
        ("make_classification(100, **options)", True),
        ("datasets.make_regression(100, random_state=1)", True),
        ("RandomForestClassifier(5)", False),
        ("optuna.samplers.RandomSampler()", False),
        ("optuna.samplers.RandomSampler(0)", True),
    ],
)
def test_calls_without_a_seed_are_found(source, seeded):
    assert (unseeded_calls(source) == []) == seeded


def states():
    """Return the states of the global generators."""
    return random.getstate(), np.random.mtrand._rand.get_state()[1].tolist(), torch.random.get_rng_state().tolist()


@pytest.fixture(scope="module")
def states_in_a_fixture():
    return states()


@pytest.mark.parametrize("repetition", range(2))
def test_global_generators_are_seeded_before_fixtures_and_tests(repetition, states_in_a_fixture, request):
    seed = request.config.getoption("--global-seed")
    expected = (
        random.Random(seed).getstate(),
        np.random.RandomState(seed).get_state()[1].tolist(),
        torch.Generator().manual_seed(seed).get_state().tolist(),
    )
    assert states() == expected
    assert states_in_a_fixture == expected
    np.random.mtrand._rand.rand()  # the next repetition starts anew
    torch.rand((), generator=torch.default_generator)


def test_hypothesis_draws_the_same_examples_in_every_run():
    assert settings.default.derandomize
    assert settings.default.database is None
