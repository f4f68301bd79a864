"""Run cases of a strategy with a seed, in the test suite or in a process of their own."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import examples, laws
from tests.fuzz.checks import deadline

STRATEGIES: dict[str, tuple[st.SearchStrategy[Any], int]] = {
    "estimators": (examples.estimator_examples(), 65),
    "searches": (examples.search_examples(), 10),
    "diagnoses": (examples.report_examples(of_plots=False), 5),
    "plots": (examples.report_examples(of_plots=True), 5),
    **{law: (laws.law_examples(law), 1 if law == "jobs do not matter" else 2) for law in laws.LAWS},
}
"""Strategies by name, and their shares of the cases in percent."""


def run_example(example: Any) -> None:
    """Run a case with a deadline."""
    with deadline():
        example.run()


def run_examples(name: str, n_examples: int, seed_of_examples: int, run: Callable[[Any], None] = run_example) -> None:
    """Draw and run cases of a strategy; the same seed gives the same cases."""
    rules = settings(
        max_examples=n_examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # shrinking takes long, and the examples are small
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    seed(seed_of_examples)(rules(given(STRATEGIES[name][0])(lambda example: run(example))))()
