"""Steps of a fit that the search and the diagnostics use: preparation, encoding, splits, and views for scorers."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.estimators.base import check_parameters, prepare_fit
from skreg.estimators.fitting import encode, split_rows
from skreg.estimators.prediction import with_known_output
from skreg.network.inference import evaluate, prepare_rows
from tests.helpers import make_mixed_table

TABLE = make_mixed_table()
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "n_members": 4, "random_state": 0}
BOTH = [(RegularizedMLPRegressor, TABLE.number), (RegularizedMLPClassifier, TABLE.label)]


def predictions_of(estimator, X=TABLE.X):
    return estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)


def trained(fit):
    fit.train_net()
    fit.finish()
    return fit.estimator


@pytest.mark.parametrize(("Estimator", "y"), BOTH)
def test_prepared_fit_equals_fit(Estimator, y):
    fitted = Estimator(**SMALL).fit(TABLE.X, y)
    prepared = trained(prepare_fit(Estimator(**SMALL), TABLE.X, y))
    assert_array_equal(predictions_of(prepared), predictions_of(fitted))
    assert_array_equal(prepared.oof_prediction_, fitted.oof_prediction_)
    assert prepared.oof_score_ == fitted.oof_score_


@pytest.mark.parametrize(("Estimator", "y"), BOTH)
def test_template_does_not_change_the_fit(Estimator, y):
    template = prepare_fit(Estimator(**SMALL), TABLE.X, y)
    fit = prepare_fit(Estimator(**SMALL, alpha=0.1, dropout=0.3), TABLE.X, y, template=template)
    assert fit.train is template.train
    assert fit.estimator.encoder_ is template.estimator.encoder_
    alone = clone(fit.estimator).fit(TABLE.X, y)
    assert_array_equal(predictions_of(trained(fit)), predictions_of(alone))


@pytest.mark.parametrize(("Estimator", "y"), BOTH)
def test_encode_gives_the_rows_of_the_fit(Estimator, y):
    fit = prepare_fit(Estimator(**SMALL), TABLE.X, y)
    encoded, without_y = encode(fit.estimator, TABLE.X, y), encode(fit.estimator, TABLE.X)
    assert_array_equal(encoded.target, fit.split.train.target)
    assert not without_y.target.any()
    for one, other in zip(split_rows(fit.estimator, encoded).validation_index, fit.split.validation_index, strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize(("Estimator", "y"), BOTH)
def test_view_predicts_from_the_known_output(Estimator, y):
    fitted = Estimator(**SMALL).fit(TABLE.X, y)
    rows = encode(fitted, TABLE.X).rows(
        [np.arange(len(y))] * 4, prepare_fit(clone(fitted), TABLE.X, y).split.device_config
    )
    raw, _, _ = evaluate(fitted.net_.module_, prepare_rows(fitted.net_.module_, rows))
    view = with_known_output(fitted, fitted.net_, TABLE.X, raw)
    assert_allclose(predictions_of(view), predictions_of(fitted), atol=1e-6)
    single = with_known_output(fitted, fitted.net_, TABLE.X, raw[1:2], slice(1, 2))
    assert_allclose(predictions_of(single), predictions_of(single, TABLE.X.copy()), atol=1e-6)
    changed = with_known_output(fitted, fitted.net_, TABLE.X, torch.zeros_like(raw))
    assert not np.allclose(predictions_of(changed), predictions_of(fitted))


def test_check_parameters_raises_for_invalid_and_contradictory_values():
    check_parameters(RegularizedMLPRegressor())
    for params in ({"dropout": 2.0}, {"batch_norm": True, "layer_norm": True}):
        with pytest.raises(ValueError, match=next(iter(params))):
            check_parameters(RegularizedMLPRegressor(**params))


@pytest.mark.parametrize("sizes", [10**9, (10**7, 10**7), (2**31, 2**31), 2**62])
def test_a_network_that_does_not_fit_into_memory_is_refused_before_statistics_are_learned(sizes, monkeypatch):
    monkeypatch.setattr("skreg.estimators.fitting.learn_statistics", None)
    with pytest.raises(
        ValueError, match=r"hidden_layer_sizes=.* and n_members=4096 cannot be created .*Decrease these"
    ):
        RegularizedMLPRegressor(sizes, n_members=4096, early_stopping=False).fit(np.eye(4), np.arange(4.0))


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), TypeError("other")])
def test_other_errors_while_a_network_is_created_are_not_changed(error, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("skreg.estimators.fitting.Network", fail)
    with pytest.raises(type(error), match=str(error)):
        RegularizedMLPRegressor(**SMALL).fit(TABLE.X, TABLE.number)


@pytest.mark.parametrize(("Estimator", "y"), BOTH)
@pytest.mark.parametrize("as_frame", [False, True])
def test_errors_about_the_columns_of_validation_rows_name_them(Estimator, y, as_frame):
    numbers = np.random.RandomState(0).randn(len(y), 3)
    table = pd.DataFrame(numbers, columns=list("abc")) if as_frame else numbers
    few = table[["a", "b"]] if as_frame else numbers[:, :2]
    with pytest.raises(ValueError, match=r"X_val\b") as raised:
        Estimator(**SMALL).fit(table, y, X_val=few, y_val=y)
    assert not re.search(r"\bX\b", str(raised.value))
    net = Estimator(**SMALL).fit(table, y)
    for method in ("predict", "sample_predictions"):
        with pytest.raises(ValueError, match=r"\bX\b|feature names"):
            getattr(net, method)(few)


@pytest.mark.parametrize("patience", ["5", 2.5, -np.inf, None, torch.tensor(3)])
def test_the_error_for_patience_shows_the_option_as_code(patience):
    with pytest.raises(ValueError, match=r"range \[1, inf\) or np\.inf\.|with \.item\(\) or \.tolist\(\)"):
        RegularizedMLPRegressor(patience=patience).fit(TABLE.X, TABLE.number)
