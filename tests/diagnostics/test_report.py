"""`diagnose` accepts all estimators and data, changes nothing, and reports its findings in several formats."""

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

import skreg
from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, diagnose
from skreg.diagnostics import Diagnosis, Finding
from tests.helpers import plain_classifier, plain_regressor

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0, "n_members": 2}
RNG = np.random.RandomState(0)
X = RNG.randn(300, 5)
Y = X[:, 0] * X[:, 1] + X[:, 2] + 0.3 * RNG.randn(300)
LABEL = np.where(Y > 0, "yes", "no")


def tensors_of(fitted):
    """Return the weights of a fitted estimator and the states of its random generators."""
    net = fitted.net_
    return [*(t.clone() for t in net.module_.state_dict().values()), *net.generators_.state_dict()]


@pytest.mark.parametrize("params", [{}, {"warm_start": True}, {"batch_norm": True}])
def test_a_diagnosis_changes_nothing_and_is_reproducible(params):
    fitted = RegularizedMLPClassifier(**SMALL, **params).fit(X, LABEL)
    names, before, predicted = set(vars(fitted)), tensors_of(fitted), fitted.predict_proba(X)
    torch_state, numpy_state = torch.get_rng_state(), pickle.dumps(np.random.mtrand._rand)
    n_threads = torch.get_num_threads()
    first = diagnose(fitted, X, LABEL)
    assert diagnose(fitted, X, LABEL) == first
    assert set(vars(fitted)) == names
    assert all(map(torch.equal, before, tensors_of(fitted)))
    assert np.array_equal(fitted.predict_proba(X), predicted)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert pickle.dumps(np.random.mtrand._rand) == numpy_state
    assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize(
    "params",
    [
        {"early_stopping": False},
        {"hidden_layer_sizes": (), "monitor": "neg_log_loss"},
        {"numeric_embedding": "periodic", "dropout": (0.5,)},
        {"learning_rate": "coslog", "early_stopping": True},
        {"solver": "lbfgs", "n_members": 1, "dropout": 0.0, "weight_decay": 0.0},
    ],
    ids="-".join,
)
@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_mixed_data_frames_and_all_networks_are_diagnosed(Estimator, params, mixed_table):
    estimator = Estimator(**SMALL | params)
    table, target = mixed_table.X, mixed_table.label
    if Estimator is RegularizedMLPRegressor:
        target = mixed_table.number
        if "monitor" in params:
            estimator.set_params(monitor="r2")
    for finding in diagnose(estimator.fit(table, target), table, target):
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
def test_all_kinds_of_targets_are_diagnosed(estimator, target):
    for table in (X, sparse.csr_array(np.where(X > 0.5, X, 0))):
        diagnosis = diagnose(clone(estimator).fit(table, target), table, target)
        assert all(np.isfinite(finding.certainty) for finding in diagnosis)


def test_validation_rows_are_too_few_without_or_with_few_held_out_rows():
    stream = plain_classifier(**SMALL).partial_fit(X, LABEL, ["no", "yes"]).partial_fit(X, LABEL)
    assert "too few validation rows" in diagnose(stream, X, LABEL)
    few = plain_classifier(**SMALL).fit(X[:12], LABEL[:12])
    assert "too few validation rows" in diagnose(few, X[:12], LABEL[:12], X[:1], LABEL[:1])
    whole = plain_regressor(**SMALL, early_stopping=False).fit(X[:200], Y[:200])
    assert "too few validation rows" not in diagnose(whole, X[:200], Y[:200], X[200:], Y[200:])


def test_invalid_input_raises_an_error():
    fitted = RegularizedMLPRegressor(**SMALL | {"n_members": 4}, early_stopping=True).fit(X, Y)
    with pytest.raises(ValueError, match="X has 200 rows, but the estimator was fitted on 300"):
        diagnose(fitted, X[:200], Y[:200])
    with pytest.raises(ValueError, match="X_val is provided, but y_val was not"):
        diagnose(fitted, X, Y, X)
    with pytest.raises(ValueError, match="features"):
        diagnose(fitted, X[:, :3], Y)
    with pytest.raises(TypeError, match="For a Pipeline or a search, pass the fitted network"):
        diagnose(make_pipeline(fitted), X, Y)
    with pytest.raises(NotFittedError):
        diagnose(RegularizedMLPRegressor(), X, Y)


def test_a_remedy_is_compatible_with_the_other_parameters():
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


FINDINGS = tuple(
    Finding(name, 0.9 - 0.05 * i, "the loss is 1 < 2 " * 12, {"max_iter": 10 * i}, "Do it.")
    for i, name in enumerate("abcdefgh")
)


def test_the_text_has_at_most_a_page_and_names_all_findings():
    text = str(Diagnosis(FINDINGS, "A network."))
    assert len(text.splitlines()) <= 60
    assert max(map(len, text.splitlines())) <= 88
    assert "1. A (likely, 90%)" in text
    assert "set_params(max_iter=10)" in text
    assert text.endswith("g, h.")
    assert str(Diagnosis((), "A network.")).endswith("No problems were found.")


def test_the_notebook_table_and_the_data_frame_have_all_findings():
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


def test_diagnose_is_exported_from_the_package():
    assert skreg.diagnose is diagnose
