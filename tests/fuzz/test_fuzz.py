"""Some cases of the fuzzer; ``python -m tests.fuzz`` runs more."""

import time
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from tests.fuzz.__main__ import evaluate
from tests.fuzz.checks import Failure, Session, check_error, deadline, fingerprint
from tests.fuzz.strategies import STRATEGIES, run_examples
from tests.fuzz.tables import CONTAINERS, Table

N_EXAMPLES = 500
CHUNK = 20


def chunks():
    """Return names of strategies and seeds, with about ``CHUNK`` cases each, so that processes can share them."""
    shares = {name: round(N_EXAMPLES * share / 100) for name, (_, share) in STRATEGIES.items()}
    return [
        pytest.param(name, min(CHUNK, n_examples - start), start // CHUNK, id=f"{name} {start // CHUNK}")
        for name, n_examples in shares.items()
        for start in range(0, n_examples, CHUNK)
    ]


@pytest.mark.parametrize(("name", "n_examples", "seed"), chunks())
def test_every_example_gives_a_finite_result_or_an_error_that_names_argument_and_remedy(name, n_examples, seed):
    run_examples(name, n_examples, seed)


# the fuzzer itself


def warn(message):
    """Warn, as NumPy does."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda X: {}["a"], "KeyError"),
        (lambda X: X.fill(1), "Changed input"),
        (lambda X: torch.manual_seed(7), "Changed state"),
        (lambda X: np.random.mtrand._rand.rand(), "Changed state"),
        (lambda X: warnings.simplefilter("ignore"), "Changed state"),
        (lambda X: warn("overflow encountered in divide"), "Warning RuntimeWarning"),
        (lambda X: float("text"), "ValueError names no argument"),
        (lambda X: int(None), "ValueError names no argument|TypeError names no argument"),
    ],
)
def test_what_breaks_a_law_is_found(call, kind):
    X = np.zeros((3, 2))
    with pytest.raises(Failure, match=kind):
        Session(X=X).call(call, X)


def test_a_hang_is_found():
    def wait():
        with deadline(0.05):
            time.sleep(10)

    with pytest.raises(Failure, match="Hang"):
        wait()


@pytest.mark.parametrize(
    ("message", "broken"),
    [
        ("The 'dropout' parameter must be a float. Got 'a' instead.", False),
        ("Input X contains NaN", False),
        ("X has text. Convert it to numbers.", False),
        ("could not convert string to float", True),
        ("dropout is wrong", True),
    ],
)
def test_errors_name_an_argument_and_a_remedy(message, broken):
    try:
        check_error(ValueError(message))
    except Failure:
        assert broken
    else:
        assert not broken


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_can_be_built_from_numbers_and_is_unchanged_by_a_fingerprint(container):
    table = Table(container, ("count", "count"), 5)
    one, other = table.build(), table.build()
    if container not in ("generator", "object", "three dimensions"):
        assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one) == fingerprint(one)


def test_fingerprints_differ_where_values_or_types_do():
    tables = [
        np.zeros((2, 2)),
        np.zeros((2, 2), np.float32),
        np.full((2, 2), np.nan),
        np.zeros((2, 2)).T.copy(order="F"),
        pd.DataFrame(np.zeros((2, 2))),
        pd.DataFrame(np.zeros((2, 2)), index=[1, 2]),
        pd.DataFrame(np.zeros((2, 2), int)),
        [[0.0, 0.0], [0.0, 0.0]],
        ([0.0, 0.0], [0.0, 0.0]),
        torch.zeros(2, 2),
    ]
    found = [repr(fingerprint(table)) for table in tables]
    assert len(set(found)) == len(found)


def test_a_seed_gives_the_same_examples():
    found = [[], [], []]
    for examples, seed in zip(found, (0, 0, 1), strict=True):
        run_examples("estimators", 5, seed, examples.append)
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_the_text_of_an_example_reproduces_it():
    found = []
    for name in STRATEGIES:
        run_examples(name, 3, 0, found.append)
    for example in found:
        assert evaluate(repr(example)) == example
