"""The doctor: each illness, made on purpose, is found and cured; the healthy are let go; nothing is changed by looking.

How often over several tables and seeds is what ``benchmarks/doctor.py`` prints, from which the illnesses here are.
"""

import importlib.util
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from skreg._case import Case
from skreg._illnesses import ILLNESSES
from skreg._probe import training_of
from skreg._signs import beyond

import skreg
from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, diagnose
from skreg.diagnostics import Diagnosis, Finding

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("doctor", ROOT / "benchmarks" / "doctor.py")
doctor = sys.modules["doctor"] = importlib.util.module_from_spec(SPEC)  # where its dataclasses look themselves up
SPEC.loader.exec_module(doctor)

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0, "n_members": 2}
RNG = np.random.RandomState(0)
X = RNG.randn(300, 5)
Y = X[:, 0] * X[:, 1] + X[:, 2] + 0.3 * RNG.randn(300)
LABEL = np.where(Y > 0, "yes", "no")
NAMES = [illness.name for illness in ILLNESSES]


@pytest.fixture(autouse=True)
def quiet():
    """Ill networks warn, as they should."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


# being right

OF_THE_COURSE = {
    "over-regularised",
    "learning rate too high",
    "dead units",
    "stopped too early",
    "still improving",
    "overfitting",
    "underfitting",
}
OF_NUMBERS = OF_THE_COURSE - {"learning rate too high"}


def table_for(name):
    """One table each, of classes and of numbers by turns."""
    of_numbers = doctor.MADE[name].of_numbers and NAMES.index(name) % 2
    return "friedman1" if of_numbers else "classes"


@pytest.mark.parametrize("name", NAMES)
def test_an_illness_is_found_and_its_remedy_helps(name):
    result = doctor.run(name, table_for(name), 0)
    assert result.certainty >= 0.8, result.names
    assert result.first, result.names
    assert result.after > result.before or not doctor.MADE[name].cured


@pytest.mark.parametrize("name", [name for name in NAMES if name in OF_THE_COURSE])
def test_an_illness_of_the_defaults_is_found_and_its_remedy_helps(name):
    result = doctor.run(name, "friedman1" if name in OF_NUMBERS else "classes", 2, "defaults")
    assert result.certainty >= 0.8, result.names
    assert result.first, result.names
    assert result.after > result.before


@pytest.mark.parametrize("base", list(doctor.BASES))
@pytest.mark.parametrize("table", list(doctor.TABLES))
def test_nothing_is_certain_of_a_healthy_network(table, base):
    patient = doctor.healthy(table, 0, base)
    assert [finding.name for finding in patient.diagnose(patient.fit()) if finding.is_certain] == []


def test_only_the_ends_of_cycles_are_compared():
    patient = doctor.healthy("friedman1", 0, "defaults").set(max_iter=31, patience=31)
    training = training_of(patient.fit())
    assert (training.epoch[training.valleys]).tolist() == [3, 7, 15, 31]
    assert np.diff(training.train_loss).max() > 0 > np.diff(training.train_loss[training.valleys]).max()
    short = patient.set(max_iter=3).fit()
    assert training_of(short).epoch[training_of(short).valleys].tolist() == [3]
    assert "learning rate too high" not in [f.name for f in patient.diagnose(short) if f.is_certain]
    assert not len(training_of(doctor.healthy("friedman1", 0).set(max_iter=3).fit()).valleys)


@pytest.mark.parametrize(("table", "seed"), [("hastie", 40), ("hastie", 45), ("classes", 41)])
def test_the_pace_is_seen_although_single_epochs_rise(table, seed):
    result = doctor.run("stopped too early", table, seed)
    assert result.certainty >= 0.8, result.names


def test_a_weak_network_is_believed_about_labels_where_a_plain_model_says_the_same():
    rows = np.random.RandomState(0).randn(1200, 4)
    right = (rows[:, 0] * rows[:, 1] + 0.4 * rows[:, 2] > 0).astype(int)
    linear = RegularizedMLPClassifier((), max_iter=30, n_members=4, random_state=0)
    assert "noisy labels" not in diagnose(linear.fit(rows, right), rows, right)
    given = np.where(np.random.RandomState(1).rand(len(right)) < 0.2, 1 - right, right)
    found = diagnose(linear.fit(rows, given), rows, given)
    assert next(finding for finding in found if finding.name == "noisy labels").is_certain


def test_a_residual_is_no_wrong_label_unless_it_is_as_large_as_the_target_varies():
    fitted = RegularizedMLPRegressor(**SMALL | {"max_iter": 60}, learning_rate_init=0.01).fit(X, X[:, 0])
    shaken = X[:, 0].copy()
    shaken[::20] += 0.6
    assert "noisy labels" not in diagnose(fitted, X, shaken)
    shaken[::20] += 3.0
    assert "noisy labels" in diagnose(fitted, X, shaken)


def test_each_illness_has_one_name_a_check_and_a_line_in_the_benchmark_and_the_documentation():
    page = (ROOT / "docs" / "doctor.rst").read_text(encoding="utf-8")
    assert len(set(NAMES)) == len(NAMES)
    assert sorted(doctor.MADE) == sorted(NAMES)
    described = re.findall(r"^([a-z][a-z -]+)\n    ", page, re.M)
    assert described == NAMES
    measured = re.findall(r"^    ([a-z -]+?)  +\d+ +\d+%", page, re.M)
    assert measured == 2 * list(doctor.MADE)
    words = " ".join(page.split())
    for illness in ILLNESSES:
        assert illness.check.__doc__
        assert all(author.strip() in words for author in illness.source.split(";"))


# looking changes nothing


def tensors_of(fitted):
    net = fitted.net_
    return [*(t.clone() for t in net.module_.state_dict().values()), *net.generators_.state_dict()]


@pytest.mark.parametrize("way", [{}, {"warm_start": True}, {"batch_norm": True, "n_adapters": 2}])
def test_a_diagnosis_changes_nothing_and_is_the_same_again(way):
    fitted = RegularizedMLPClassifier(**SMALL, **way).fit(X, LABEL)
    names, before, predicted = set(vars(fitted)), tensors_of(fitted), fitted.predict_proba(X)
    numbers = torch.get_rng_state(), np.random.mtrand._rand.randint(1 << 30, size=0), torch.get_num_threads()
    first = diagnose(fitted, X, LABEL)
    assert diagnose(fitted, X, LABEL) == first
    assert set(vars(fitted)) == names
    assert all(map(torch.equal, before, tensors_of(fitted)))
    assert np.array_equal(fitted.predict_proba(X), predicted)
    assert torch.equal(torch.get_rng_state(), numbers[0])
    assert torch.get_num_threads() == numbers[2]


def test_the_rows_are_told_apart_as_in_the_fit():
    fitted = RegularizedMLPRegressor(**{**SMALL, "max_iter": 30, "n_members": 4}, early_stopping=True).fit(X, Y)
    case = Case(fitted, X, Y, None, None)
    assert len(case.held) == len(case.train) == 300
    assert np.allclose(case.held.decoded, fitted.oof_prediction_)
    best = -fitted.net_.stopping_.best.numpy()
    of_fold = [case.held.loss[rows].mean() for rows in case._held_out]
    assert np.allclose(of_fold, best, rtol=1e-4)


# what it takes


def both(way, table, label, number):
    return [
        (RegularizedMLPClassifier(**SMALL | way), table, label),
        (RegularizedMLPRegressor(**SMALL | way), table, number),
    ]


@pytest.mark.parametrize(
    "way",
    [
        {"early_stopping": False},
        {"hidden_layer_sizes": (), "monitor": "neg_log_loss"},
        {"n_adapters": 2, "numeric_embedding": "periodic", "dropout": (0.5,)},
        {"learning_rate": "coslog", "snapshots": True, "early_stopping": True},
        {"solver": "lbfgs", "n_members": 1, "dropout": 0.0, "weight_decay": 0.0},
    ],
    ids=lambda way: "-".join(way),
)
def test_frames_of_all_kinds_and_networks_of_all_kinds_are_diagnosed(way, mixed_table):
    for estimator, table, target in both(way, *mixed_table):
        if "monitor" in way and isinstance(estimator, RegularizedMLPRegressor):
            estimator.set_params(monitor="r2")
        diagnosis = diagnose(estimator.fit(table, target), table, target)
        for finding in diagnosis:
            assert 0.5 <= finding.certainty <= 1
            clone(estimator).set_params(**finding.remedy)._validate_params()


@pytest.mark.parametrize(
    ("estimator", "target"),
    [
        (RegularizedMLPClassifier(**SMALL), np.stack([Y > 0, X[:, 0] > 0], 1).astype(int)),
        (RegularizedMLPClassifier(**SMALL, class_weight="balanced", loss="focal"), np.arange(300) % 3),
        (RegularizedMLPRegressor(**SMALL), np.stack([Y, X[:, 0]], 1)),
        (RegularizedMLPRegressor(**SMALL, loss="quantile", quantile=(0.1, 0.9)), Y),
        (RegularizedMLPRegressor(**SMALL, loss="poisson"), np.exp(Y)),
        (RegularizedMLPRegressor(**SMALL), np.ones(300)),
    ],
    ids=["labels", "classes", "outputs", "quantiles", "counts", "constant"],
)
def test_targets_of_all_kinds_are_diagnosed(estimator, target):
    for table in (X, sparse.csr_array(np.where(X > 0.5, X, 0))):
        diagnosis = diagnose(clone(estimator).fit(table, target), table, target)
        assert all(np.isfinite(finding.certainty) for finding in diagnosis)


@pytest.mark.usefixtures("plain_training")
def test_streams_few_rows_and_other_validation_rows():
    stream = RegularizedMLPClassifier(**SMALL).partial_fit(X, LABEL, ["no", "yes"]).partial_fit(X, LABEL)
    assert "too few validation rows" in diagnose(stream, X, LABEL)
    few = RegularizedMLPClassifier(**SMALL).fit(X[:12], LABEL[:12])
    assert "too few validation rows" in diagnose(few, X[:12], LABEL[:12], X[:1], LABEL[:1])
    whole = RegularizedMLPRegressor(**SMALL, early_stopping=False).fit(X[:200], Y[:200])
    assert "too few validation rows" not in diagnose(whole, X[:200], Y[:200], X[200:], Y[200:])


def test_what_cannot_be_diagnosed_is_refused():
    fitted = RegularizedMLPRegressor(**SMALL | {"n_members": 4}, early_stopping=True).fit(X, Y)
    with pytest.raises(ValueError, match="X has 200 rows, and the estimator was fitted on 300"):
        diagnose(fitted, X[:200], Y[:200])
    with pytest.raises(ValueError, match="X_val is provided, but y_val was not"):
        diagnose(fitted, X, Y, X)
    with pytest.raises(ValueError, match="features"):
        diagnose(fitted, X[:, :3], Y)
    with pytest.raises(TypeError, match="Got Pipeline instead: of a Pipeline or search give the fitted network"):
        diagnose(make_pipeline(fitted), X, Y)
    with pytest.raises(NotFittedError):
        diagnose(RegularizedMLPRegressor(), X, Y)


def test_a_remedy_goes_with_the_other_parameters():
    limits = {"solver": "lbfgs", "n_members": 1, "dropout": 0.0, "weight_decay": 0.0, "early_stopping": False}
    whole = RegularizedMLPRegressor(**SMALL | limits).fit(X, Y)
    (finding,) = [found for found in diagnose(whole, X, Y) if found.name == "too few validation rows"]
    assert finding.remedy == {"early_stopping": True, "validation_fraction": 0.125}
    again = RegularizedMLPRegressor(**SMALL, warm_start=True).fit(X, Y)
    first = diagnose(again, X, Y).findings[0]
    assert first.remedy["warm_start"] is False
    again.set_params(**first.remedy).fit(X, Y)
    source = FrozenEstimator(RegularizedMLPRegressor(**SMALL).fit(X, Y))
    tuned = RegularizedMLPRegressor(**SMALL, pretrained=source).fit(X, Y)
    assert not any("hidden_layer_sizes" in found.remedy for found in diagnose(tuned, X, Y))


# columns


def test_columns_are_named_as_the_user_does():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(X[:, :3], columns=["a", "b", "c"])
    table["again"], table["same"], table["text"] = table["b"], 1.0, pd.Categorical(["x"] * 300)
    found = {finding.name: finding for finding in diagnose(RegularizedMLPRegressor(**SMALL).fit(table, Y), table, Y)}
    assert found["duplicated columns"].columns == ("again",)
    assert found["constant columns"].columns == ("same", "text")


def test_a_column_that_is_constant_in_a_sample_only_is_not():
    wide = np.zeros((6000, 2))
    wide[:, 0], wide[7, 1] = np.arange(6000), 1.0
    fitted = RegularizedMLPRegressor(**SMALL | {"max_iter": 1}).fit(wide, wide[:, 0])
    assert "constant columns" not in diagnose(fitted, wide, wide[:, 0])


# how it is told


FINDINGS = tuple(
    Finding(name, 0.9 - 0.05 * i, "the loss is 1 < 2 " * 12, {"max_iter": 10 * i}, "Do it.")
    for i, name in enumerate("abcdefgh")
)


def test_a_letter_has_at_most_a_page_and_names_all():
    letter = str(Diagnosis(FINDINGS, "A network."))
    assert len(letter.splitlines()) <= 60
    assert max(map(len, letter.splitlines())) <= 88
    assert "1. A (likely, 90%)" in letter
    assert "set_params(max_iter=10)" in letter
    assert letter.endswith("g, h.")
    assert str(Diagnosis((), "A network.")).endswith("Nothing was found to be wrong.")


def test_a_table_for_notebooks_and_a_frame():
    diagnosis = Diagnosis(FINDINGS, "A <network>.")
    table = diagnosis._repr_html_()
    assert table.count("<tr>") == 1 + len(FINDINGS)
    assert "A &lt;network&gt;." in table
    assert "1 &lt; 2" in table
    frame = diagnosis.to_frame()
    assert frame["name"].tolist() == list("abcdefgh")
    assert frame["remedy"][3] == {"max_iter": 30}
    assert Diagnosis((), "")._repr_html_().count("<tr>") == 2
    assert len(Diagnosis((), "").to_frame()) == 0


def test_the_certain_come_first_and_causes_before_what_they_bring_about():
    patient = doctor.unscaled_columns(doctor.healthy("friedman1", 0), np.random.RandomState(0))
    diagnosis = patient.diagnose(patient.fit())
    places = [(not finding.is_certain, NAMES.index(finding.name)) for finding in diagnosis]
    assert places == sorted(places)
    assert len(diagnosis) == len(places) > 1
    assert diagnosis.findings[0].name in diagnosis
    assert "nothing" not in diagnosis


def test_certainty_is_the_probability_to_be_beyond_the_line():
    assert beyond(1.0, 1.0, 0.3) == 0.5
    assert beyond(1.0 + 1.6449 * 0.3, 1.0, 0.3) == pytest.approx(0.95, abs=1e-4)
    assert beyond(np.inf, 1.0, 0.3) == 1
    assert beyond(-np.inf, 1.0, 0.3) == beyond(np.nan, 1.0, 0.3) == 0


def test_the_package_has_the_doctor():
    assert skreg.diagnose is diagnose
