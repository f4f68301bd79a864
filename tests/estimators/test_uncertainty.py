"""Uncertainty: samples of networks, their decomposition, intervals and standard deviations."""

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
from skreg.network.generators import MemberGenerators, MonteCarloDropout
from skreg.training.losses.base import HalfGammaDeviance, HalfPoissonDeviance, HalfSquaredError, PinballLoss
from skreg.uncertainty.conformal import Residuals, conformal_quantile
from skreg.uncertainty.decomposition import Uncertainty, of_numbers, of_probabilities
from tests.helpers import make_mixed_table

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


def said(estimator):
    return estimator.predict_proba(TABLE.X) if hasattr(estimator, "predict_proba") else estimator.predict(TABLE.X)


# samples


@in_both
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_samples_agree_for_a_seed_and_differ_between_seeds(Estimator, options):
    net = fitted(Estimator, **options)
    samples = net.sample_predictions(TABLE.X, 12, random_state=0)
    assert samples.shape == (12, *said(net).shape)
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
def test_a_sample_depends_neither_on_other_rows_nor_on_other_samples(Estimator, options):
    net = fitted(Estimator, **options)
    samples = net.sample_predictions(TABLE.X, 11, random_state=0)
    assert_array_equal(net.sample_predictions(TABLE.X, 5, random_state=0), samples[:5])
    assert_array_equal(net.sample_predictions(TABLE.X[100:137], 11, random_state=0), samples[:, 100:137])


@in_both
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.usefixtures("plain_training")
def test_whole_networks_average_to_the_prediction(Estimator, options):
    net = fitted(Estimator, **options)
    networks = net.net_.module_.n_members
    samples = net.sample_predictions(TABLE.X, 2 * networks, dropout=False)
    assert_array_equal(samples[:networks], samples[networks:])
    assert_allclose(samples[:networks].mean(0), said(net), rtol=1e-4, atol=1e-6)
    assert len(np.unique(samples[:networks, 0].reshape(networks, -1)[:, 0])) == networks


def test_many_rows_are_sampled_as_few_are():
    net = fitted(RegularizedMLPRegressor, n_members=2)
    many = TABLE.X.sample(9000, replace=True, random_state=0)
    samples = net.sample_predictions(many, 3, random_state=0)
    assert_array_equal(samples[:, -50:], net.sample_predictions(many[-50:], 3, random_state=0))


def pickled(estimator):
    """A pickle without the addresses of tensors, which torch writes into it."""
    return re.sub(rb"\d{8,}", b"", pickle.dumps(estimator))


@in_both
def test_asking_changes_nothing(Estimator):
    net = fitted(Estimator)
    before, state = said(net), pickled(net)
    numpy_state, torch_state = np.random.mtrand._rand.get_state()[1].copy(), torch.random.get_rng_state()
    net.sample_predictions(TABLE.X, 8)
    net.predict_uncertainty(TABLE.X, 8, random_state=3)
    assert pickled(net) == state
    assert_array_equal(said(net), before)
    assert_array_equal(np.random.mtrand._rand.get_state()[1], numpy_state)
    assert torch.equal(torch.random.get_rng_state(), torch_state)


@in_both
def test_others_may_predict_meanwhile(Estimator):
    net = fitted(Estimator)
    prediction = said(net)
    samples = [net.sample_predictions(TABLE.X, 20, random_state=seed) for seed in range(3)]

    def ask(task):
        return said(net) if task % 2 else net.sample_predictions(TABLE.X, 20, random_state=task % 3)

    with ThreadPoolExecutor(4) as pool:
        for task, found in enumerate(pool.map(ask, range(24))):
            assert_array_equal(found, prediction if task % 2 else samples[task % 3])


def test_what_is_dropped_is_dropped_for_all_rows_of_a_network():
    thinning = MonteCarloDropout(
        MemberGenerators([0, 1]), torch.ones(2, 1, dtype=torch.bool), 20, torch.float64, torch.device("cpu")
    )
    thinning.begin_epoch(1)
    thinned = thinning.drop(torch.ones(2, 5, 20, dtype=torch.float64), 0.5)
    assert (thinned == thinned[:, :1]).all()
    assert set(thinned.unique().tolist()) == {0.0, 2.0}
    assert len(thinned[:, 0].unique(dim=0)) == 2


def test_sparse_tables_several_labels_and_several_outputs():
    X, labels = make_multilabel_classification(200, random_state=0)
    net = RegularizedMLPClassifier(**SMALL).fit(sparse.csr_array(X), labels)
    unsure = net.predict_uncertainty(sparse.csr_array(X), 10)
    samples = net.sample_predictions(sparse.csr_array(X), 10)
    assert samples.shape == (10, 200, 5)
    assert_allclose(unsure.mean, samples.mean(0))
    both = np.stack([samples, 1 - samples], -1)
    assert_allclose(unsure.total, entropy(both.mean(0), axis=-1), atol=1e-12)
    assert_allclose(unsure.aleatoric, entropy(both, axis=-1).mean(0), atol=1e-12)
    y = np.column_stack([X[:, 0], 3 * X[:, 1]])
    numbers = RegularizedMLPRegressor(**SMALL).fit(X, y)
    unsure = numbers.predict_uncertainty(X, 10)
    assert unsure.mean.shape == unsure.total.shape == numbers.predict(X, return_std=True)[1].shape == (200, 2)
    assert numbers.predict_interval(X).shape == (200, 2, 2)


# the parts of an uncertainty


@in_both
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_parts_add_up(Estimator, options):
    net = fitted(Estimator, **options)
    samples, unsure = net.sample_predictions(TABLE.X, 12), net.predict_uncertainty(TABLE.X, 12)
    assert isinstance(unsure, Uncertainty)
    assert_allclose(unsure.mean, samples.mean(0))
    assert_allclose(unsure.aleatoric + unsure.epistemic, unsure.total, rtol=1e-12)
    assert (unsure.epistemic >= 0).all() and (unsure.epistemic > 0).any()
    assert (unsure.aleatoric > 0).all()
    assert "with dropout" in unsure.source
    if Estimator is RegularizedMLPRegressor:
        assert_allclose(unsure.epistemic, samples.var(0))
    else:
        assert_allclose(unsure.total, entropy(samples.mean(0), axis=1))
        assert_allclose(unsure.aleatoric, entropy(samples, axis=2).mean(0), atol=1e-9)


def test_the_law_of_total_variance():
    """Noise around each of several networks, and the networks' own spread, are the variance of all that is drawn."""
    rng = np.random.default_rng(0)
    networks, noise = rng.normal(size=(5, 1)), 0.7
    unsure = of_numbers(networks, noise)
    drawn = networks + np.sqrt(noise) * rng.normal(size=(5, 200_000))
    assert unsure.total[0] == pytest.approx(drawn.var(), rel=0.01)
    with pytest.raises(AttributeError):
        unsure.mean = 0


def test_the_entropies_of_known_samples():
    unsure = of_probabilities([[[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]], [[0.0, 1.0], [0.5, 0.5], [0.2, 0.8]]])
    assert_allclose(unsure.total[:2], np.log(2))
    assert_allclose(unsure.epistemic, [np.log(2), 0, 0])
    assert_allclose(unsure.aleatoric, [0, np.log(2), entropy([0.2, 0.8])], atol=1e-15)


@in_both
def test_one_network_without_dropout_has_nothing_to_differ_from(Estimator):
    options = {"n_members": 1, "early_stopping": True}
    for net, dropout in ((fitted(Estimator, **options), False), (fitted(Estimator, **options, dropout=0.0), True)):
        unsure = net.predict_uncertainty(TABLE.X, 5, dropout=dropout)
        assert not unsure.epistemic.any()
        assert "epistemic uncertainty is 0" in unsure.source
        assert_allclose(unsure.mean, said(net), rtol=1e-6)
    assert fitted(Estimator, n_members=2).predict_uncertainty(TABLE.X, 4, dropout=False).source == "2 networks"


def test_rows_far_from_the_table_are_less_known():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(400, 1))
    net = RegularizedMLPRegressor(max_iter=30, numeric_scaling="standard", random_state=0)
    net.fit(X, np.sin(3 * X[:, 0]) + 0.1 * rng.normal(size=400))
    near, far = (net.predict_uncertainty([[x]], dropout=False).epistemic[0] for x in (0.2, 4.0))
    assert far > 10 * near


# numbers: residuals, deviations, intervals


@pytest.mark.parametrize("n, coverage", [(9, 0.9), (10, 0.9), (20, 0.5), (99, 0.95), (19, 0.95), (1, 0.5)])
def test_the_quantile_has_the_rank_of_the_finite_sample_rule(n, coverage):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    rank = int(np.ceil(np.round(coverage * (n + 1), 9)))
    assert conformal_quantile(scores, np.ones(n), coverage) == rank
    assert conformal_quantile(scores, np.ones(n), (n + 0.5) / (n + 1)) == np.inf


def test_rows_count_by_their_weights_in_a_quantile():
    scores, weight = np.array([3.0, 1.0, 2.0, 4.0]), np.array([0.5, 2.0, 0.5, 1.0])
    assert conformal_quantile(scores, weight, 0.4) == 1  # reached by its weight of 2 = 0.4 * 5
    assert conformal_quantile(scores, weight, 0.41) == 2
    assert conformal_quantile(scores, weight, 0.8) == 4


def residuals(loss, y, prediction):
    return Residuals.of(loss, y, prediction[None], None, None)


def test_intervals_by_hand():
    rng = np.random.default_rng(0)
    y, prediction = rng.gamma(3.0, size=99), rng.gamma(3.0, size=99)
    new = np.array([[[0.5]], [[4.0]]])
    for loss, unit in ((HalfSquaredError(), 0), (HalfPoissonDeviance(), 0.5), (HalfGammaDeviance(), 1)):
        known = residuals(loss, y, prediction)
        far = np.sort(np.abs(y - prediction) / prediction**unit)[79]  # 0.8 * 100
        ends = np.stack([new[..., 0] - far * new[..., 0] ** unit, new[..., 0] + far * new[..., 0] ** unit], -1)
        assert_allclose(known.interval(new, 0.8), ends.clip(min=0) if unit else ends)
        assert_allclose(known.noise, ((y - prediction) ** 2).mean() / (prediction ** (2 * unit)).mean())
    quantiles = np.sort(rng.gamma(3.0, size=(99, 3)), axis=1)
    known = residuals(PinballLoss([0.1, 0.5, 0.9]), y, quantiles)
    far = np.sort(np.maximum(quantiles[:, 0] - y, y - quantiles[:, 2]))[79]
    assert_allclose(known.interval(np.array([[[1.0, 2.0, 4.0]]]), 0.8), [[[1 - far, 4 + far]]])


def test_intervals_never_turn_over():
    """Where the quantiles are much too far apart, rows are refused more than their distance."""
    y, quantiles = np.zeros(50), np.tile([-10.0, 10.0], (50, 1))
    interval = residuals(PinballLoss([0.1, 0.9]), y, quantiles).interval(np.array([[[1.0, 2.0]]]), 0.8)
    assert_array_equal(interval, [[[1.5, 1.5]]])


def test_the_members_spread_is_taken_off_the_noise():
    rng = np.random.default_rng(0)
    n, noise, spread = 200_000, 1.0, 0.5
    truth, members = rng.normal(size=n), 4
    each = truth + spread * rng.normal(size=(members, n))
    y, holder = truth + noise * rng.normal(size=n), np.arange(n) % members
    for held_by in (holder, None):
        assert Residuals.of(HalfSquaredError(), y, each, held_by, None).noise[0] == pytest.approx(noise**2, rel=0.02)


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
def test_intervals_from_rows_of_ones_own_cover_their_share(settings):
    """By exchangeability at least the share, and at most one row of those held out more, but for chance."""
    inside, held_out, tested, seeds = 0, 199, 200, 6
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        X, y = simulated(settings["loss"], 600 + held_out + tested, rng)
        net = RegularizedMLPRegressor(hidden_layer_sizes=(16,), max_iter=10, n_members=1, random_state=seed, **settings)
        net.fit(X[:600], y[:600], X_val=X[600 : 600 + held_out], y_val=y[600 : 600 + held_out])
        low, high = net.predict_interval(X[-tested:], 0.8).T
        inside += ((low <= y[-tested:]) & (y[-tested:] <= high)).sum()
    # the share that 199 rows cover has itself a variance, that of a Beta distribution
    spread = np.sqrt(0.8 * 0.2 * (1 / (seeds * tested) + 1 / (seeds * held_out)))
    assert abs(inside / (seeds * tested) - 0.8) < 3 * spread
    assert binom.sf(inside, seeds * tested, 0.7) < 0.01


def test_out_of_fold_intervals_cover_their_share():
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


def test_quantiles_make_intervals_wide_where_the_target_is_spread():
    X, y = simulated("squared_error", 1000, np.random.default_rng(0))
    net = RegularizedMLPRegressor(**SMALL, loss="quantile", quantile=[0.05, 0.5, 0.95]).fit(X, y)
    interval, (prediction, std) = net.predict_interval(X), net.predict(X, return_std=True)
    width = interval[:, 1] - interval[:, 0]
    assert width[X[:, 1] > 1].mean() > 1.5 * width[X[:, 1] < -1].mean()
    assert std[X[:, 1] > 1].mean() > 1.5 * std[X[:, 1] < -1].mean()
    assert prediction.shape == (1000, 3) and std.shape == (1000,)


def test_deviations_are_as_large_as_errors():
    X, y = simulated("squared_error", 2000, np.random.default_rng(0))
    net = RegularizedMLPRegressor(hidden_layer_sizes=(32,), max_iter=20, random_state=0).fit(X[:1000], y[:1000])
    prediction, std = net.predict(X[1000:], return_std=True)
    assert_array_equal(prediction, net.predict(X[1000:]))
    assert np.sqrt((((y[1000:] - prediction) / std) ** 2).mean()) == pytest.approx(1, abs=0.15)
    single = net.sample_predictions(X[1000:], net.n_members, dropout=False)
    unsure = net.predict_uncertainty(X[1000:], net.n_members, dropout=False)
    assert_allclose(std**2, unsure.aleatoric + single.var(0))


def test_a_row_of_weight_2_held_out_counts_as_two():
    X, y = simulated("squared_error", 400, np.random.default_rng(0))
    weight = np.random.default_rng(1).integers(1, 3, 200).astype(float)
    twice = np.repeat(np.arange(200, 400), weight.astype(int))
    net = RegularizedMLPRegressor(**SMALL)
    by_weight = clone(net).fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:], sample_weight_val=weight)
    repeated = clone(net).fit(X[:200], y[:200], X_val=X[twice], y_val=y[twice])
    assert_allclose(by_weight.predict_interval(X, 0.7), repeated.predict_interval(X, 0.7), rtol=0.02)
    assert_allclose(by_weight.net_.residuals.noise, repeated.net_.residuals.noise)


def test_it_is_refused_where_no_rows_are_held_out():
    net = fitted(RegularizedMLPRegressor, early_stopping=False)
    assert net.sample_predictions(TABLE.X, 2).shape == (2, 300)
    asked = {
        "return_std=True": lambda net: net.predict(TABLE.X, return_std=True),
        "predict_interval": lambda net: net.predict_interval(TABLE.X),
        "predict_uncertainty": lambda net: net.predict_uncertainty(TABLE.X),
    }
    streamed = fitted(RegularizedMLPRegressor).partial_fit(TABLE.X, TABLE.number)
    for name, ask in asked.items():
        for without in (net, streamed):
            with pytest.raises(ValueError, match=f"{name} requires validation rows, but the last fit had none"):
                ask(without)


def test_bad_values_get_a_sentence():
    net = fitted(RegularizedMLPRegressor)
    for coverage in (0, 1, 1.5, "most", True, None):
        with pytest.raises(ValueError, match=r"The 'coverage' parameter of RegularizedMLPRegressor must be a float in"):
            net.predict_interval(TABLE.X, coverage)
    with pytest.raises(ValueError, match=r"coverage=0.999 needs at least 999 held-out rows, and there are 300\."):
        net.predict_interval(TABLE.X, 0.999)
    for n_samples in (0, 2.5, "many", True, None):
        with pytest.raises(ValueError, match=r"The 'n_samples' parameter of RegularizedMLPRegressor must be an int in"):
            net.sample_predictions(TABLE.X, n_samples)
    for method in ("sample_predictions", "predict_uncertainty", "predict_interval"):
        with pytest.raises(ValueError, match="not fitted yet"):
            getattr(RegularizedMLPRegressor(), method)(TABLE.X)


@in_both
def test_a_fine_tuned_network_and_one_that_goes_on_have_their_own(Estimator):
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
        assert (wide[:, 0] < narrow[:, 0]).all() and (narrow[:, 1] < wide[:, 1]).all()


def test_frames_of_polars_and_weights():
    polars = pytest.importorskip("polars")
    weight = np.random.default_rng(0).integers(0, 3, 300) / 2
    frame = polars.from_pandas(TABLE.X)
    net = RegularizedMLPRegressor(**SMALL).fit(frame, TABLE.number.to_numpy(), sample_weight=weight)
    assert len(net.net_.residuals.weight) == (weight > 0).sum()
    assert net.predict_interval(frame).shape == (300, 2)
    assert np.isfinite(net.predict(frame, return_std=True)[1]).all()
