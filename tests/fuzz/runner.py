"""Run cases of a strategy with a seed, in the test suite or in a process of their own."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import cases, laws
from tests.fuzz.checks import deadline

STRATEGIES: dict[str, tuple[st.SearchStrategy[Any], int]] = {
    "estimators": (cases.estimator_cases(), 65),
    "searches": (cases.search_cases(), 10),
    "diagnoses": (cases.report_cases(of_plots=False), 5),
    "plots": (cases.report_cases(of_plots=True), 5),
    **{law: (laws.law_cases(law), 1 if law == "jobs do not matter" else 2) for law in laws.LAWS},
}
"""Strategies by name, and their shares of the cases in percent."""


def run_case(case: Any) -> None:
    """Run a case with a deadline."""
    with deadline():
        case.run()


def run_cases(name: str, n_cases: int, seed_of_cases: int, run: Callable[[Any], None] = run_case) -> None:
    """Draw and run cases of a strategy; the same seed gives the same cases."""
    phases = [Phase.generate] if run is not run_case else [Phase.generate, Phase.shrink]
    checks = list(HealthCheck)
    rules = settings(max_examples=n_cases, deadline=None, database=None, phases=phases, suppress_health_check=checks)
    seed(seed_of_cases)(rules(given(STRATEGIES[name][0])(lambda case: run(case))))()
