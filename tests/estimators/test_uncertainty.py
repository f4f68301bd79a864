"""Tests of the estimators' sampled predictions, uncertainties, intervals and standard deviations."""

import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.stats import binom, entropy
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.frozen import FrozenEstimator

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.network.dropout import MonteCarloDropout
from skreg.network.generators import MemberGenerators
from skreg.uncertainty import Uncertainty
from tests.helpers import make_mixed_table, plain_classifier, plain_regressor

BOTH = [RegularizedMLPClassifier, RegularizedMLPRegressor]
SMALL = {"hidden_layer_sizes": (16, 16), "max_iter": 8, "random_state": 0}
TABLE = make_mixed_table(300)
TARGETS = {RegularizedMLPClassifier: TABLE.label, RegularizedMLPRegressor: TABLE.number}
OPTIONS = {
    "defaults": {},
    "input dropout": {"n_members": 2, "input_dropout": 0.1},
    "alpha dropout": {"activation": "selu", "dropout": (0.3, 0.1), "batch_norm": True},
    "embeddings": {"numeric_embedding": "periodic", "residual": True, "layer_norm": True},
    "single precision": {"precision": "bfloat16", "ema_decay": 0.9},
}
in_both = pytest.mark.parametrize("Estimator", BOTH)


def fitted(Estimator, **settings):
    return Estimator(**{**SMALL, **settings}).fit(TABLE.X, TARGETS[Estimator])


def predictions(estimator):
    return estimator.predict_proba(TABLE.X) if hasattr(estimator, "predict_proba") else estimator.predict(TABLE.X)


@in_both
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_samples_are_reproducible_and_differ_between_seeds(Estimator, options):
    net = fitted(Estimator, **options)
    samples = net.sample_predictions(TABLE.X, 12, random_state=0)
    assert samples.shape == (12, *predictions(net).shape)
    assert np.isfinite(samples).all()
    assert_array_equal(samples, net.sample_predictions(TABLE.X, 12, random_state=0))
    assert_array_equal(samples, pickle.loads(pickle.dumps(net)).sample_predictions(TABLE.X, 12, random_state=0))
    assert_array_equal(
        net.sample_predictions(TABLE.X, 3), clone(net).fit(TABLE.X, TARGETS[Estimator]).sample_predictions(TABLE.X, 3)
    )
    other = net.sample_predictions(TABLE.X, 12, random_state=1)
    assert (samples != other).any(axis=tuple(range(1, samples.ndim))).all()
    assert len(np.unique(samples[:, 0].reshape(12, -1)[:, 0])) == 12


@in_both
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_sample_does_not_depend_on_other_rows_or_samples(Estimator, options):
    net = fitted(Estimator, **options)
    samples = net.sample_predictions(TABLE.X, 11, random_state=0)
    assert_array_equal(net.sample_predictions(TABLE.X, 5, random_state=0), samples[:5])
    assert_array_equal(net.sample_predictions(TABLE.X[100:137], 11, random_state=0), samples[:, 100:137])


@in_both
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_samples_without_dropout_average_to_the_prediction(Estimator, options):
    plain = plain_classifier if Estimator is RegularizedMLPClassifier else plain_regressor
    net = plain(**{**SMALL, **options}).fit(TABLE.X, TARGETS[Estimator])
    networks = net.net_.module_.n_members
    samples = net.sample_predictions(TABLE.X, 2 * networks, dropout=False)
    assert_array_equal(samples[:networks], samples[networks:])
    assert_allclose(samples[:networks].mean(0), predictions(net), rtol=1e-4, atol=1e-6)
    assert len(np.unique(samples[:networks, 0].reshape(networks, -1)[:, 0])) == networks


def test_samples_of_many_rows_equal_those_of_few_rows():
    net = fitted(RegularizedMLPRegressor, n_members=2)
    many = TABLE.X.sample(9000, replace=True, random_state=0)
    samples = net.sample_predictions(many, 3, random_state=0)
    assert_array_equal(samples[:, -50:], net.sample_predictions(many[-50:], 3, random_state=0))


def pickled(estimator):
    """Pickle without the addresses of tensors, which torch writes into it."""
    return re.sub(rb"\d{8,}", b"", pickle.dumps(estimator))


@in_both
def test_sampling_changes_neither_the_estimator_nor_global_random_state(Estimator):
    net = fitted(Estimator)
    before, state = predictions(net), pickled(net)
    numpy_state, torch_state = np.random.mtrand._rand.get_state()[1].copy(), torch.random.get_rng_state()
    net.sample_predictions(TABLE.X, 8)
    net.predict_uncertainty(TABLE.X, 8, random_state=3)
    assert pickled(net) == state
    assert_array_equal(predictions(net), before)
    assert_array_equal(np.random.mtrand._rand.get_state()[1], numpy_state)
    assert torch.equal(torch.random.get_rng_state(), torch_state)


@in_both
def test_sampling_and_predicting_are_thread_safe(Estimator):
    net = fitted(Estimator)
    prediction = predictions(net)
    samples = [net.sample_predictions(TABLE.X, 20, random_state=seed) for seed in range(3)]

    def call(task):
        return predictions(net) if task % 2 else net.sample_predictions(TABLE.X, 20, random_state=task % 3)

    with ThreadPoolExecutor(4) as pool:
        for task, found in enumerate(pool.map(call, range(24))):
            assert_array_equal(found, prediction if task % 2 else samples[task % 3])


def test_monte_carlo_dropout_drops_the_same_units_for_all_rows_of_a_member():
    dropout = MonteCarloDropout(
        MemberGenerators([0, 1]), torch.ones(2, 1, dtype=torch.bool), [20, 20], torch.float64, torch.device("cpu")
    )
    dropout.begin_epoch(1)
    dropped = dropout.drop(torch.ones(2, 5, 20, dtype=torch.float64), 0.5)
    assert (dropped == dropped[:, :1]).all()
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert len(dropped[:, 0].unique(dim=0)) == 2


def test_uncertainty_supports_sparse_tables_several_labels_and_several_outputs():
    X, labels = make_multilabel_classification(200, random_state=0)
    net = RegularizedMLPClassifier(**SMALL).fit(sparse.csr_array(X), labels)
    uncertainty = net.predict_uncertainty(sparse.csr_array(X), 10)
    samples = net.sample_predictions(sparse.csr_array(X), 10)
    assert samples.shape == (10, 200, 5)
    assert_allclose(uncertainty.mean, samples.mean(0))
    both = np.stack([samples, 1 - samples], -1)
    assert_allclose(uncertainty.total, entropy(both.mean(0), axis=-1), atol=1e-12)
    assert_allclose(uncertainty.aleatoric, entropy(both, axis=-1).mean(0), atol=1e-12)
    y = np.column_stack([X[:, 0], 3 * X[:, 1]])
    numbers = RegularizedMLPRegressor(**SMALL).fit(X, y)
    uncertainty = numbers.predict_uncertainty(X, 10)
    assert uncertainty.mean.shape == uncertainty.total.shape == numbers.predict(X, return_std=True)[1].shape == (200, 2)
    assert numbers.predict_interval(X).shape == (200, 2, 2)


@in_both
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_aleatoric_and_epistemic_uncertainty_add_up_to_the_total(Estimator, options):
    net = fitted(Estimator, **options)
    samples, uncertainty = net.sample_predictions(TABLE.X, 12), net.predict_uncertainty(TABLE.X, 12)
    assert isinstance(uncertainty, Uncertainty)
    assert_allclose(uncertainty.mean, samples.mean(0))
    assert_allclose(uncertainty.aleatoric + uncertainty.epistemic, uncertainty.total, rtol=1e-12)
    assert (uncertainty.epistemic >= 0).all()
    assert (uncertainty.epistemic > 0).any()
    assert (uncertainty.aleatoric > 0).all()
    assert "with dropout" in uncertainty.source
    if Estimator is RegularizedMLPRegressor:
        assert_allclose(uncertainty.epistemic, samples.var(0))
    else:
        assert_allclose(uncertainty.total, entropy(samples.mean(0), axis=1))
        assert_allclose(uncertainty.aleatoric, entropy(samples, axis=2).mean(0), atol=1e-9)


@in_both
def test_a_single_network_without_dropout_has_no_epistemic_uncertainty(Estimator):
    options = {"n_members": 1, "early_stopping": True}
    for net, dropout in ((fitted(Estimator, **options), False), (fitted(Estimator, **options, dropout=0.0), True)):
        uncertainty = net.predict_uncertainty(TABLE.X, 5, dropout=dropout)
        assert not uncertainty.epistemic.any()
        assert "epistemic uncertainty is 0" in uncertainty.source
        assert_allclose(uncertainty.mean, predictions(net), rtol=1e-6)
    assert fitted(Estimator, n_members=2).predict_uncertainty(TABLE.X, 4, dropout=False).source == "2 networks"


def test_epistemic_uncertainty_is_larger_far_from_the_training_rows():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(400, 1))
    net = RegularizedMLPRegressor(max_iter=30, numeric_scaling="standard", random_state=0)
    net.fit(X, np.sin(3 * X[:, 0]) + 0.1 * rng.normal(size=400))
    near, far = (net.predict_uncertainty([[x]], dropout=False).epistemic[0] for x in (0.2, 4.0))
    assert far > 10 * near


def simulated(loss, n_rows, rng):
    X = rng.normal(size=(n_rows, 3))
    if loss == "poisson":
        return X, rng.poisson(np.exp(1 + X[:, 0] / 2)).astype(float)
    if loss == "gamma":
        return X, rng.gamma(2.0, np.exp(X[:, 0] / 2))
    return X, X[:, 0] + np.exp(X[:, 1] / 2) * rng.normal(size=n_rows)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "squared_error"},
        {"loss": "quantile", "quantile": (0.1, 0.5, 0.9)},
        {"loss": "poisson"},
        {"loss": "gamma"},
    ],
    ids=lambda settings: settings["loss"],
)
def test_intervals_from_a_validation_set_have_the_nominal_coverage(settings):
    inside, held_out, tested, seeds = 0, 199, 200, 6
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        X, y = simulated(settings["loss"], 600 + held_out + tested, rng)
        net = RegularizedMLPRegressor(hidden_layer_sizes=(16,), max_iter=10, n_members=1, random_state=seed, **settings)
        net.fit(X[:600], y[:600], X_val=X[600 : 600 + held_out], y_val=y[600 : 600 + held_out])
        low, high = net.predict_interval(X[-tested:], 0.8).T
        inside += ((low <= y[-tested:]) & (y[-tested:] <= high)).sum()
    # the coverage given 199 calibration rows has a Beta distribution, whose variance is added
    spread = np.sqrt(0.8 * 0.2 * (1 / (seeds * tested) + 1 / (seeds * held_out)))
    assert abs(inside / (seeds * tested) - 0.8) < 3 * spread
    assert binom.sf(inside, seeds * tested, 0.7) < 0.01


def test_intervals_from_out_of_fold_rows_have_the_nominal_coverage():
    for coverage in (0.8, 0.95):
        inside = []
        for seed in range(3):
            X, y = simulated("squared_error", 1500, np.random.default_rng(seed))
            net = RegularizedMLPRegressor(hidden_layer_sizes=(16,), max_iter=15, random_state=seed).fit(
                X[:700], y[:700]
            )
            low, high = net.predict_interval(X[700:], coverage).T
            inside.append(((low <= y[700:]) & (y[700:] <= high)).mean())
        assert np.mean(inside) == pytest.approx(coverage, abs=0.03)


def test_intervals_of_quantiles_are_wider_where_the_target_varies_more():
    X, y = simulated("squared_error", 1000, np.random.default_rng(0))
    net = RegularizedMLPRegressor(**SMALL, loss="quantile", quantile=[0.05, 0.5, 0.95]).fit(X, y)
    interval, (prediction, std) = net.predict_interval(X), net.predict(X, return_std=True)
    width = interval[:, 1] - interval[:, 0]
    assert width[X[:, 1] > 1].mean() > 1.5 * width[X[:, 1] < -1].mean()
    assert std[X[:, 1] > 1].mean() > 1.5 * std[X[:, 1] < -1].mean()
    assert prediction.shape == (1000, 3)
    assert std.shape == (1000,)


def test_standard_deviations_match_the_errors():
    X, y = simulated("squared_error", 2000, np.random.default_rng(0))
    net = RegularizedMLPRegressor(hidden_layer_sizes=(32,), max_iter=20, random_state=0).fit(X[:1000], y[:1000])
    prediction, std = net.predict(X[1000:], return_std=True)
    assert_array_equal(prediction, net.predict(X[1000:]))
    assert np.sqrt((((y[1000:] - prediction) / std) ** 2).mean()) == pytest.approx(1, abs=0.15)
    single = net.sample_predictions(X[1000:], net.n_members, dropout=False)
    uncertainty = net.predict_uncertainty(X[1000:], net.n_members, dropout=False)
    assert_allclose(std**2, uncertainty.aleatoric + single.var(0))


def test_a_validation_row_of_weight_two_counts_twice():
    X, y = simulated("squared_error", 400, np.random.default_rng(0))
    weight = np.random.default_rng(1).integers(1, 3, 200).astype(float)
    twice = np.repeat(np.arange(200, 400), weight.astype(int))
    net = RegularizedMLPRegressor(**SMALL)
    by_weight = clone(net).fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:], sample_weight_val=weight)
    repeated = clone(net).fit(X[:200], y[:200], X_val=X[twice], y_val=y[twice])
    assert_allclose(by_weight.predict_interval(X, 0.7), repeated.predict_interval(X, 0.7), rtol=0.02)
    assert_allclose(by_weight.net_.residuals.noise, repeated.net_.residuals.noise)


def test_methods_that_need_held_out_rows_raise_an_error_without_them():
    net = fitted(RegularizedMLPRegressor, early_stopping=False)
    assert net.sample_predictions(TABLE.X, 2).shape == (2, 300)
    calls = {
        "return_std=True": lambda net: net.predict(TABLE.X, return_std=True),
        "predict_interval": lambda net: net.predict_interval(TABLE.X),
        "predict_uncertainty": lambda net: net.predict_uncertainty(TABLE.X),
    }
    streamed = fitted(RegularizedMLPRegressor).partial_fit(TABLE.X, TABLE.number)
    for name, call in calls.items():
        for without in (net, streamed):
            with pytest.raises(ValueError, match=f"{name} requires validation rows, but the last fit had none"):
                call(without)


def test_invalid_arguments_raise_an_error():
    net = fitted(RegularizedMLPRegressor)
    for coverage in (0, 1, 1.5, "most", True, None):
        with pytest.raises(ValueError, match=r"The 'coverage' parameter of RegularizedMLPRegressor must be a float in"):
            net.predict_interval(TABLE.X, coverage)
    with pytest.raises(ValueError, match=r"coverage=0.999 needs at least 999 held-out rows, but there are only 300\."):
        net.predict_interval(TABLE.X, 0.999)
    for n_samples in (0, 2.5, "many", True, None):
        with pytest.raises(ValueError, match=r"The 'n_samples' parameter of RegularizedMLPRegressor must be an int in"):
            net.sample_predictions(TABLE.X, n_samples)
    for method in ("sample_predictions", "predict_uncertainty", "predict_interval"):
        with pytest.raises(ValueError, match="not fitted yet"):
            getattr(RegularizedMLPRegressor(), method)(TABLE.X)


@in_both
def test_fine_tuning_and_warm_starts_learn_new_residuals(Estimator):
    source = fitted(Estimator)
    tuned = fitted(Estimator, pretrained=FrozenEstimator(source), n_members=2)
    warm = fitted(Estimator, warm_start=True).fit(TABLE.X, TARGETS[Estimator])
    for net in (tuned, warm):
        assert np.isfinite(net.predict_uncertainty(TABLE.X, 4).total).all()
    if Estimator is RegularizedMLPRegressor:
        known = [net.net_.residuals.scaled for net in (source, tuned, warm)]
        assert not np.array_equal(known[0], known[1])
        assert not np.array_equal(known[0], known[2])
        narrow, wide = (source.predict_interval(TABLE.X, coverage) for coverage in (0.5, 0.9))
        assert (wide[:, 0] < narrow[:, 0]).all()
        assert (narrow[:, 1] < wide[:, 1]).all()


def test_intervals_support_polars_frames_and_row_weights():
    polars = pytest.importorskip("polars")
    weight = np.random.default_rng(0).integers(0, 3, 300) / 2
    frame = polars.from_pandas(TABLE.X)
    net = RegularizedMLPRegressor(**SMALL).fit(frame, TABLE.number.to_numpy(), sample_weight=weight)
    assert len(net.net_.residuals.weight) == (weight > 0).sum()
    assert net.predict_interval(frame).shape == (300, 2)
    assert np.isfinite(net.predict(frame, return_std=True)[1]).all()
