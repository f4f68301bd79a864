"""Predictions, validation and the steps after training work in blocks, whose size does not change the results."""

import tracemalloc
import weakref

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.data.table import EncodedTable
from skreg.estimators.targets import ClassTargetEncoder, NumberTargetEncoder
from skreg.network import inference
from skreg.training import net as net_module
from skreg.uncertainty import temperature

N = 150
RNG = np.random.RandomState(0)
X = RNG.normal(size=(N, 3))
CLASSES = np.r_[np.arange(12), RNG.randint(12, size=N - 12)]
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 3, "n_members": 4, "validation_fraction": 0.25, "random_state": 0}
SMALL |= {"n_threads": 1, "early_stopping": True, "precision": "float64"}
BOTH = [
    (RegularizedMLPRegressor, X[:, 0], {}),
    (RegularizedMLPRegressor, X[:, 0], {"loss": "quantile", "quantile": (0.1, 0.5, 0.9)}),
    (RegularizedMLPRegressor, X[:, 0], {"monitor": "r2", "swa_start": 0.3, "batch_norm": True}),
    (RegularizedMLPClassifier, CLASSES, {"calibrate": "temperature"}),
    (RegularizedMLPClassifier, CLASSES, {"monitor": "accuracy"}),
    (RegularizedMLPClassifier, X[:, :2] > 0, {}),
]
METHODS = ("predict", "predict_proba", "predict_interval")
TABLES = [np.asarray, pytest.param(sparse.csr_array, marks=pytest.mark.slow)]


def results(estimator, table):
    calls = [getattr(estimator, name)(table) for name in METHODS if hasattr(estimator, name)]
    return [*calls, estimator.sample_predictions(table, 3), estimator.predict_uncertainty(table, 3).total]


@pytest.mark.filterwarnings("ignore:Early stopping uses only")
@pytest.mark.parametrize("make_table", TABLES)
@pytest.mark.parametrize(("Estimator", "y", "params"), BOTH)
def test_results_do_not_depend_on_the_size_of_blocks(Estimator, y, params, make_table, monkeypatch):
    table, y = make_table(np.where(np.abs(X) < 0.3, 0.0, X)), y.astype(int) if y.dtype == bool else y
    expected = Estimator(**SMALL, **params).fit(table, y)
    predicted = results(expected, table)
    if "swa_start" not in params:  # it computes the statistics of batch normalization in batches
        monkeypatch.setattr(inference, "PREDICT_ELEMENTS", 1)
        monkeypatch.setattr(net_module, "PREDICT_ROWS", 7)
    monkeypatch.setattr(net_module, "MAX_RAW_ELEMENTS", 1)
    monkeypatch.setattr("skreg.estimators.base.OUT_OF_FOLD_ROWS", 7)
    monkeypatch.setattr("skreg.data.batches.DENSE_ELEMENTS", 1)
    found = Estimator(**SMALL, **params).fit(table, y)
    assert_allclose(found.validation_curve_, expected.validation_curve_, rtol=1e-12)
    assert_allclose(found.oof_prediction_, expected.oof_prediction_, rtol=1e-12)
    assert found.oof_score_ == pytest.approx(expected.oof_score_, rel=1e-12)
    for ours, theirs in zip(results(expected, table), predicted, strict=True):
        assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("Estimator", "y", "params"), BOTH)
def test_a_prediction_keeps_no_block(Estimator, y, params, monkeypatch):
    """A list of small arrays between freed large ones would fragment the memory."""
    estimator = Estimator(**{**SMALL, "early_stopping": "auto", "max_iter": 1}, **params).fit(
        X, y.astype(int) if y.dtype == bool else y
    )
    encoder = ClassTargetEncoder if Estimator is RegularizedMLPClassifier else NumberTargetEncoder
    decode, blocks, most = encoder.decode, [], []

    def recorded(*args):
        decoded = decode(*args)
        blocks.append(weakref.ref(decoded if decoded.base is None else decoded.base))
        most.append(sum(block() is not None for block in blocks))
        return decoded

    monkeypatch.setattr(encoder, "decode", recorded)
    monkeypatch.setattr(inference, "PREDICT_ROWS", 32)
    results(estimator, np.tile(X, (4, 1)))
    assert len(most) > 20
    assert max(most) <= 3 + 1  # the samples of a block, and the last array of the previous one


@pytest.mark.parametrize("n_raw", [1, 10, 2000, 10**6])
def test_calibration_uses_few_rows_with_many_classes(n_raw):
    estimator = RegularizedMLPClassifier(**{**SMALL, "n_members": 8})
    table = EncodedTable(None, np.zeros(40_000), None, None, np.zeros(40_000), None, None, None)
    split = type("Split", (), {"train": table, "validation": table, "n_members": 8, "covers_all": True})()
    split.validation_index = [np.arange(40_000)] * 8
    rows = sum(map(len, temperature.held_out_index(split, n_raw)))
    assert rows <= temperature.MAX_ROWS + 8
    assert rows * 8 * n_raw <= max(temperature.MAX_ELEMENTS, 256 * 8 * n_raw) * 1.05
    assert rows >= min(256, temperature.MAX_ROWS) * 0.9
    assert estimator.n_members == split.n_members


def test_time_for_calibration_is_reserved(monkeypatch):
    """Training ends earlier by the time that the steps after it will take."""
    epochs = {}
    for reserved in (0.0, 10.0):
        monkeypatch.setattr("skreg.estimators.base.evaluations_after_training", lambda *_, reserved=reserved: reserved)
        clock = [0.0]
        monkeypatch.setattr("skreg.training.time_limit.clock", lambda clock=clock: clock[0])
        evaluate = net_module.evaluate

        def slow(*args, clock=clock, evaluate=evaluate):
            clock[0] += 1.0
            return evaluate(*args)

        with monkeypatch.context() as patch:
            patch.setattr(net_module, "evaluate", slow)
            params = {**SMALL, "max_iter": 50, "patience": 50, "learning_rate": "constant"}
            epochs[reserved] = RegularizedMLPRegressor(**params, time_limit=20.0).fit(X, X[:, 0]).n_iter_
    assert epochs[0.0] == 17
    assert epochs[10.0] == 10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("Estimator", "y"), [(RegularizedMLPRegressor, X), (RegularizedMLPClassifier, CLASSES)])
def test_out_of_fold_predictions_have_the_type_of_other_predictions(Estimator, y, dtype):
    table = X.astype(dtype)
    fitted = Estimator(**SMALL).fit(table, y)
    predict = getattr(fitted, "predict_proba", fitted.predict)
    expected = np.float64 if Estimator is RegularizedMLPRegressor else dtype
    assert fitted.oof_prediction_.dtype == predict(table).dtype == expected
    assert fitted.oof_prediction_.shape == predict(table).shape


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_out_of_fold_probabilities_are_stored_once(dtype, monkeypatch):
    """No second array of their size exists at any time."""
    score, peaks = RegularizedMLPClassifier._score_out_of_fold, []

    def traced(*args):
        tracemalloc.start()
        score(*args)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    monkeypatch.setattr(RegularizedMLPClassifier, "_score_out_of_fold", traced)
    monkeypatch.setattr("skreg.estimators.base.OUT_OF_FOLD_ELEMENTS", 1)
    table, y = np.resize(X, (1800, 3)).astype(dtype), np.arange(1800) % 180
    fitted = RegularizedMLPClassifier(**{**SMALL, "max_iter": 1}).fit(table, y)
    assert peaks[0] < 1.4 * fitted.oof_prediction_.nbytes
    expected = np.mean(fitted.classes_[fitted.oof_prediction_.argmax(1)] == y)
    assert fitted.oof_score_ == pytest.approx(expected)
