"""The page about differences from scikit-learn's networks is complete, and what it promises holds."""

import re
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "mlp.rst").read_text(encoding="utf-8")
PAIRS = [(MLPClassifier, RegularizedMLPClassifier), (MLPRegressor, RegularizedMLPRegressor)]
RNG = np.random.RandomState(0)
X = RNG.randn(120, 3)
Y = (X[:, 0] > 0).astype(int)
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "n_members": 2, "random_state": 0}


def fit_theirs(kind, **settings):
    with pytest.warns(ConvergenceWarning):
        return kind(hidden_layer_sizes=(4,), max_iter=2, random_state=0, **settings).fit(X, Y)


def mentioned(name):
    """Whether the page names something in code."""
    return re.search(rf"`{re.escape(name)}\b[^`]*`", PAGE) is not None


def shown(default):
    return f'"{default}"' if isinstance(default, str) else repr(default)


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_every_parameter_exists_or_is_on_the_page(theirs, ours):
    missing = signature(theirs).parameters.keys() - signature(ours).parameters.keys()
    assert {"shuffle", "max_fun", "tol"} <= missing
    assert not [name for name in missing if not mentioned(name)]


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_every_other_default_is_in_the_table(theirs, ours):
    column = 2 if ours is RegularizedMLPClassifier else 3
    rows = [re.findall(r"`(.*?)`(?=\s|$)", line) for line in PAGE.splitlines() if line.startswith("`")]
    table = {row[0]: row for row in rows if len(row) == 4}
    parameters = signature(ours).parameters
    different = set()
    for name, parameter in signature(theirs).parameters.items():
        if name in parameters and shown(parameters[name].default) != shown(parameter.default):
            assert table[name][1] == shown(parameter.default)
            assert table[name][column] == shown(parameters[name].default)
            different.add(name)
    assert set(table) == different


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_every_value_of_an_option_is_accepted_or_on_the_page(theirs, ours):
    for name, rules in theirs._parameter_constraints.items():
        for value in {value for rule in rules for value in getattr(rule, "options", ()) if isinstance(value, str)}:
            known = {option for rule in ours._parameter_constraints[name] for option in getattr(rule, "options", ())}
            assert value in known or f'"{value}"' in PAGE


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_every_attribute_and_method_exists_or_is_on_the_page(theirs, ours, early_stopping):
    reference = fit_theirs(theirs, early_stopping=early_stopping)
    fitted = ours(**SMALL, early_stopping=early_stopping).set_params(n_members=1).fit(X, Y)
    names = {name for name in dir(reference) if not name.startswith("_")} - set(signature(theirs).parameters)
    assert {"coefs_", "best_loss_", "predict", "t_"} <= names
    assert not [name for name in names if not hasattr(fitted, name) and not mentioned(name)]
    for name in ("n_layers_", "n_outputs_", "out_activation_", "t_", "validation_scores_"):
        assert not hasattr(fitted, name)


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_losses_and_scores_have_the_meaning_of_scikit_learn(theirs, ours, early_stopping):
    reference = fit_theirs(theirs, early_stopping=early_stopping)
    monitor = "accuracy" if ours is RegularizedMLPClassifier else "r2"
    for settings in ({}, {"monitor": monitor}, {"n_members": 1, "monitor": monitor, "max_iter": 12}):
        fitted = ours(**{**SMALL, **settings}, early_stopping=early_stopping).fit(X, Y)
        assert fitted.loss_ == fitted.loss_curve_[-1]
        for name in ("best_loss_", "best_validation_score_"):
            assert (getattr(fitted, name) is None) == (getattr(reference, name) is None)
        if not early_stopping:
            assert fitted.best_loss_ == fitted.loss_curve_.min()
        elif settings.get("n_members") == 1:
            assert fitted.best_validation_score_ == pytest.approx(fitted.validation_curve_.max(), rel=1e-12)
            assert fitted.best_validation_score_ == fitted.validation_curve_[fitted.best_iter_ - 1]
        elif not settings:
            assert fitted.best_validation_score_ <= fitted.validation_curve_.min() + 1e-12


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_attributes_need_a_fit(theirs, ours):
    for name in ("loss_", "best_loss_", "best_validation_score_"):
        assert not hasattr(theirs(), name)
        assert not hasattr(ours(), name)


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_have_the_type_of_the_training_rows(theirs, ours, dtype):
    with pytest.warns(ConvergenceWarning):
        reference = theirs(hidden_layer_sizes=(4,), max_iter=2, random_state=0).fit(X.astype(dtype), Y)
    fitted = ours(**{**SMALL, "n_members": 1}, early_stopping=True).fit(X.astype(dtype), Y)
    rows = X.astype(dtype)
    if ours is RegularizedMLPClassifier:
        for method in ("predict", "predict_proba", "predict_log_proba"):
            assert getattr(fitted, method)(rows).dtype == getattr(reference, method)(rows).dtype
    for ours_of_layer, theirs_of_layer in zip(
        [*fitted.coefs_, *fitted.intercepts_], [*reference.coefs_, *reference.intercepts_], strict=True
    ):
        assert ours_of_layer.dtype == theirs_of_layer.dtype == dtype
    if ours is RegularizedMLPClassifier:
        assert fitted.decision_function(rows).dtype == dtype
    else:
        prediction, std = fitted.predict(rows, return_std=True)
        interval = fitted.predict_interval(rows, 0.5)
        assert prediction.dtype == std.dtype == interval.dtype == np.float64
        assert ((interval[:, 0] <= prediction) & (prediction <= interval[:, 1])).all()
    again = ours(**{**SMALL, "n_members": 1}, early_stopping=True).fit(rows.astype(np.float64), Y)
    np.testing.assert_allclose(fitted.predict(rows), again.predict(rows), rtol=1e-6)


@pytest.mark.parametrize("y", [np.arange(120) % 3, np.array(["no", "so", "yes"])[np.arange(120) % 3]])
def test_a_warm_start_requires_the_same_classes(y):
    some = y != y[1]
    with pytest.warns(ConvergenceWarning):
        theirs = MLPClassifier((4,), max_iter=2, warm_start=True).fit(X, y)
    ours = RegularizedMLPClassifier(**SMALL, warm_start=True).fit(X, y)
    for estimator in (theirs, ours):
        with pytest.raises(ValueError, match=r"warm_start.*same classes as in the previous"):
            estimator.fit(X[some], y[some])
    before = ours.predict_proba(X)
    with pytest.raises(ValueError, match="same classes"):
        ours.fit(X, y, sample_weight=some.astype(float))
    np.testing.assert_array_equal(ours.predict_proba(X), before)
    ours.fit(X, y)
    ours.partial_fit(X[some], y[some])
    clone(ours).set_params(warm_start=False).fit(X[some], y[some])


@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_the_seed_is_drawn_from_the_global_generator_without_random_state(Estimator, monkeypatch):
    """As everywhere in scikit-learn; nothing else is drawn from it."""
    used, expected = np.random.RandomState(3), np.random.RandomState(3)
    monkeypatch.setattr(np.random.mtrand, "_rand", used)
    fitted = Estimator(**{**SMALL, "random_state": None}).fit(X, Y)
    fitted.predict(X)
    assert fitted.seed_ == expected.randint(np.iinfo(np.int32).max)
    Estimator(**SMALL).fit(X, Y).predict(X)
    assert used.randint(1000) == expected.randint(1000)


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_other_positional_parameters_are_on_the_page(theirs, ours):
    positional = [
        name for name, parameter in signature(ours).parameters.items() if parameter.kind is not parameter.KEYWORD_ONLY
    ]
    assert positional == ["hidden_layer_sizes"]
    first = next(iter(signature(theirs).parameters))
    assert first == "hidden_layer_sizes" or "the first parameter of `MLPRegressor` is `loss`" in " ".join(PAGE.split())
