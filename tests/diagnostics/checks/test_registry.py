"""Each diagnostic finds its problem, its remedy helps, and networks without problems have no certain finding."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from skreg.diagnostics.checks.registry import DIAGNOSTICS
from tests.diagnostics.problems import BASES, PROBLEMS, TABLES, run, unscaled_columns, without_problems

ROOT = Path(__file__).resolve().parents[3]
NAMES = list(DIAGNOSTICS)

TRAINING_PROBLEMS = {
    "over-regularized",
    "learning rate too high",
    "dead units",
    "stopped too early",
    "still improving",
    "overfitting",
    "underfitting",
}
REGRESSION_PROBLEMS = TRAINING_PROBLEMS - {"learning rate too high"}


@pytest.fixture(autouse=True)
def _ignore_warnings():
    """Networks with problems emit warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def table_for(name):
    """Alternate between classification and regression tables."""
    return "friedman1" if PROBLEMS[name].for_regression and NAMES.index(name) % 2 else "classes"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_a_problem_is_found_and_its_remedy_helps(name):
    result = run(name, table_for(name), 0)
    assert result.certainty >= 0.8, result.names
    assert result.first, result.names
    assert result.after > result.before or not PROBLEMS[name].improves


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name in TRAINING_PROBLEMS])
def test_a_problem_of_the_defaults_is_found_and_its_remedy_helps(name):
    result = run(name, "friedman1" if name in REGRESSION_PROBLEMS else "classes", 2, "defaults")
    assert result.certainty >= 0.8, result.names
    assert result.first, result.names
    assert result.after > result.before


@pytest.mark.parametrize("base", list(BASES))
@pytest.mark.parametrize("table", list(TABLES))
@pytest.mark.slow
def test_a_network_without_problems_has_no_certain_finding(table, base):
    experiment = without_problems(table, 0, base)
    assert [finding.name for finding in experiment.diagnose(experiment.fit()) if finding.is_certain] == []


def test_each_diagnostic_is_documented_measured_and_cites_a_source():
    page = (ROOT / "docs" / "diagnostics.rst").read_text(encoding="utf-8")
    assert sorted(PROBLEMS) == sorted(NAMES)
    assert re.findall(r"^([a-z][a-z -]+)\n    ", page, re.M) == NAMES
    assert re.findall(r"^    ([a-z -]+?)  +\d+ +\d+%", page, re.M) == 2 * list(PROBLEMS)
    words = " ".join(page.split())
    for diagnostic in DIAGNOSTICS.values():
        sources = re.findall(r"([A-Z]\w+(?:-\w+)?(?: et al\.| & \w+)? \d{4})", diagnostic.__doc__)
        assert sources
        assert all(source in words for source in sources)


def test_certain_findings_come_first_and_causes_before_effects():
    experiment = unscaled_columns(without_problems("friedman1", 0), np.random.RandomState(0))
    diagnosis = experiment.diagnose(experiment.fit())
    keys = [(not finding.is_certain, NAMES.index(finding.name)) for finding in diagnosis]
    assert keys == sorted(keys)
    assert len(diagnosis) == len(keys) > 1
    assert diagnosis.findings[0].name in diagnosis
    assert "nothing" not in diagnosis
