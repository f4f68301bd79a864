"""What the textbooks claim of the cures, over several seeds and with margins; and that each cure works with the rest.

The cures are those of ``benchmarks/cures.py``, which measures how much each of them helps. "Deep Learning" is that of
Goodfellow, Bengio & Courville 2016.
"""

import importlib.util
import inspect
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import make_classification, make_friedman1
from sklearn.metrics import log_loss, mean_squared_error
from skorch.callbacks import Callback

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, activations, initializers
from skreg.data.statistics import Statistics
from skreg.network.input_layer import InputLayer
from skreg.network.network import Network

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "cures.py"
SPEC = importlib.util.spec_from_file_location("cures", BENCHMARK)
cures = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(cures)

pytestmark = pytest.mark.usefixtures("plain_training")

SEEDS = range(5)
BOTH = [RegularizedMLPClassifier, RegularizedMLPRegressor]
PLAIN = {**cures.NO_CURE, "max_iter": 100}


def classes(seed, n_train=150, n_rows=1_000):
    """Rows to train on and to test on: few of the columns matter, and some labels are wrong."""
    X, y = make_classification(n_rows, 20, n_informative=4, n_redundant=2, flip_y=0.15, random_state=seed)
    return X[:n_train], y[:n_train], X[n_train:], y[n_train:]


def numbers(seed, n_train=150, n_rows=1_000):
    """The same for a number, which is mostly noise; 5 of 20 columns matter."""
    X, y = make_friedman1(n_rows, 20, noise=8.0, random_state=seed)
    y = (y - y.mean()) / y.std()
    return X[:n_train], y[:n_train], X[n_train:], y[n_train:]


TABLES = {RegularizedMLPClassifier: classes, RegularizedMLPRegressor: numbers}


def loss(fitted, X, y):
    """What the fit minimises on its training rows, elsewhere: log loss, or the squared error."""
    if isinstance(fitted, RegularizedMLPClassifier):
        return log_loss(y, fitted.predict_proba(X))
    return mean_squared_error(y, fitted.predict(X))


@cache
def errors(Estimator, seed, **changes):
    """Training and test loss."""
    X, y, X_test, y_test = TABLES[Estimator](seed)
    fitted = Estimator(**{**PLAIN, **changes}, random_state=seed).fit(X, y)
    return loss(fitted, X, y), loss(fitted, X_test, y_test)


# penalties and noise


@pytest.mark.parametrize("seed", SEEDS)
def test_l1_leaves_most_weights_zero_and_l2_almost_none(seed):
    """Deep Learning, section 7.1.2; Hastie, Tibshirani & Friedman 2009, section 3.4."""
    X, y, *_ = classes(seed)

    def zeros(l1_ratio):
        settings = {**PLAIN, "alpha": 1e-3, "max_iter": 200}
        fitted = RegularizedMLPClassifier(**settings, l1_ratio=l1_ratio, random_state=seed).fit(X, y)
        return np.mean(np.concatenate([weight.ravel() for weight in fitted.coefs_]) == 0)

    assert zeros(1.0) > 0.6
    assert zeros(0.0) < 0.01


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("cure", [{"dropout": 0.5}, {"alpha": 0.03}], ids=["dropout", "l2"])
def test_dropout_and_l2_narrow_the_gap_between_training_and_test(Estimator, cure):
    """Srivastava et al. 2014, figure 4 and section 6; Deep Learning, sections 7.1.1 and 7.12."""
    for seed in SEEDS:
        (train, test), (train_cured, test_cured) = errors(Estimator, seed), errors(Estimator, seed, **cure)
        assert train < 0.1 * test, "it was to overfit"
        assert test_cured - train_cured < 0.9 * (test - train)
        assert test_cured < test


@pytest.mark.parametrize("Estimator", BOTH)
def test_early_stoppings_best_epoch_beats_the_last_one(Estimator):
    """Prechelt 1998, "Early stopping - but when?"; Deep Learning, section 7.8."""
    ratios = []
    for seed in SEEDS:
        X, y, X_test, y_test = TABLES[Estimator](seed)
        stopped = Estimator(**{**PLAIN, "early_stopping": True}, random_state=seed)
        stopped.fit(X, y, X_val=X_test[:200], y_val=y_test[:200])
        to_the_end = Estimator(**PLAIN, random_state=seed).fit(X, y)
        assert stopped.best_iter_ < stopped.n_iter_ < to_the_end.n_iter_
        best, last = (loss(fitted, X_test[200:], y_test[200:]) for fitted in (stopped, to_the_end))
        assert best < last
        ratios.append(best / last)
    assert np.mean(ratios) < 0.95


@pytest.mark.parametrize("Estimator", BOTH)
def test_several_members_beat_one_on_average(Estimator):
    """Hansen & Salamon 1990, "Neural network ensembles"; Deep Learning, section 7.11."""
    alone, together = (np.mean([errors(Estimator, seed, **c)[1] for seed in SEEDS]) for c in ({}, {"n_members": 4}))
    assert together < 0.95 * alone


class NormWatcher(Callback):
    """Keeps the largest norm of a unit's incoming weights after each step."""

    def __init__(self):
        self.norms = []

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.norms.append(max(linear.weight.detach().norm(dim=1).max().item() for linear in net.module_.linears))


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("solver", ["adamw", "sgd"])
def test_max_norm_holds_after_every_step(Estimator, solver):
    """Srivastava et al. 2014, section 5.1."""
    longest = {}
    for limit in (0.8, None):
        watcher = NormWatcher()
        settings = {**PLAIN, "max_iter": 5, "n_members": 3, "solver": solver, "learning_rate_init": 0.05}
        Estimator(**settings, max_norm=limit, random_state=0, callbacks=[watcher]).fit(*TABLES[Estimator](0)[:2])
        assert len(watcher.norms) == 5 * 5
        longest[limit] = max(watcher.norms)
    assert longest[0.8] == pytest.approx(0.8, rel=1e-5)
    assert longest[None] > 1.2


# deep stacks


def gradient_ratio(activation, init, layers=10, width=50, members=5):
    """Norm of the first layer's gradient divided by the head's, of each of the members."""
    ones = np.ones((members, width))
    inputs = InputLayer(Statistics(0 * ones, 0 * ones, ones, None, False), [], [], 3.0, torch.float64)
    structure = ((width,) * layers, 1, activation, None, False, (0.0,) * layers, 0.0, None, None)
    network = Network(inputs, [], 8, *structure)
    network.draw(init, init, list(range(members)))
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(members, 100, size, generator=generator, dtype=torch.float64) for size in (width, 1))
    (network(x, weight=torch.ones(members, 100, dtype=torch.float64)) - y).square().mean((1, 2)).sum().backward()
    first, head = (linear.weight.grad.flatten(1).norm(dim=1) for linear in (network.linears[0], network.linears[-1]))
    return first / head


def test_gradients_vanish_under_logistic_units_and_small_weights_and_not_under_relu_and_he():
    """Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks"; for the
    initial weights He et al. 2015, "Delving deep into rectifiers", section 2.2.
    """
    assert (gradient_ratio(activations.logistic, initializers.normal) < 1e-6).all()
    kept = gradient_ratio(activations.relu, initializers.he_normal)
    assert ((kept > 0.1) & (kept < 100)).all()


@pytest.mark.parametrize("seed", range(3))
def test_batch_norm_makes_training_insensitive_to_the_initialisation(seed):
    """Ioffe & Szegedy 2015, section 3.3; Deep Learning, section 8.7.1."""
    X, y, *_ = classes(seed)

    def spread(batch_norm):
        settings = {**PLAIN, "hidden_layer_sizes": (32,) * 10, "max_iter": 60, "batch_size": 50}
        names = ("he_normal", "xavier_uniform", "lecun_normal", "normal")
        nets = [
            RegularizedMLPClassifier(**{**settings, "init": name}, batch_norm=batch_norm, random_state=seed)
            for name in names
        ]
        return np.ptp([net.fit(X, y).loss_curve_[-1] for net in nets])

    assert spread(False) > 0.5
    assert spread(True) < 0.2 * spread(False)


# each cure with the rest

NOT_CURES = {
    "augmentation_strength", "batch_size", "calibrate", "callbacks", "categorical_features", "class_weight", "device",
    "freeze_layers", "init", "max_iter", "min_delta", "monitor", "n_threads", "parametrization",
    "patience", "precision", "pretrained", "scale_layer",
    "pretrained_lr_factor", "quantile", "random_state", "time_limit", "validation_fraction", "verbose", "warm_start",
}  # fmt: skip
SMALL = {**cures.NO_CURE, "hidden_layer_sizes": (16, 16), "max_iter": 4, "patience": 3, "random_state": 0}
COMPOSED = {**SMALL, "n_members": 2, "early_stopping": True}
# so few steps of so small a network never come to these bounds
TIGHTER = {
    "max_norm 3": {"max_norm": 1.0},
    "clip_norm 1": {"clip_norm": 0.01},
    "swa_start 0.75": {"swa_start": 0.25},  # a mean of several epochs
    "adaptive": {"learning_rate": "adaptive", "learning_rate_init": 0.3, "patience": 4},
}
CURES = {
    Estimator: {**cures.CURES, **own} for Estimator, own in zip(BOTH, (cures.OF_CLASSES, cures.OF_NUMBERS), strict=True)
}


def mixed_rows():
    """A frame with categories of 3 and of 12 levels and missing values, three classes, numbers and weights."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(160, 3)), columns=["a", "b", "c"])
    few, many = rng.integers(0, 3, 160), rng.integers(0, 12, 160)
    y = X["a"] * X["b"] + few + 0.2 * many + 0.1 * rng.normal(size=160)
    X["few"] = pd.Categorical(np.array(["x", "y", "z"])[few])
    X["many"] = pd.Series([f"level {level}" for level in many], dtype=object)
    X.loc[::9, "b"] = np.nan
    X.loc[::11, "many"] = None
    return X, np.digitize(y, np.quantile(y, [0.3, 0.7])), y.to_numpy(), rng.integers(0, 4, 160) / 2


MIXED, LABELS, NUMBERS, WEIGHTS = mixed_rows()


def predicted(Estimator, settings):
    """Predictions of a fit, from a few plain settings."""
    y = LABELS if Estimator is RegularizedMLPClassifier else NUMBERS
    fitted = Estimator(**settings).fit(MIXED, y, sample_weight=WEIGHTS)
    assert (fitted.validation_curve_ is not None) == bool(fitted.early_stopping)
    assert [len(levels) for levels in fitted.encoder_.levels_] == [3, 12]
    return fitted.predict_proba(MIXED) if Estimator is RegularizedMLPClassifier else fitted.predict(MIXED)


@cache
def without_a_cure(Estimator, early_stopping):
    return predicted(Estimator, {**COMPOSED, "early_stopping": early_stopping})


@pytest.mark.parametrize(("Estimator", "name"), [(Estimator, name) for Estimator in BOTH for name in CURES[Estimator]])
def test_a_cure_works_with_members_weights_categories_missing_values_and_early_stopping(Estimator, name):
    cure = TIGHTER.get(name, CURES[Estimator][name])
    first, again = (predicted(Estimator, {**COMPOSED, **cure}) for _ in range(2))
    assert np.isfinite(first).all()
    assert first.tobytes() == again.tobytes()
    assert not np.array_equal(first, without_a_cure(Estimator, early_stopping="early_stopping" not in cure))


@pytest.mark.parametrize("Estimator", BOTH)
def test_every_parameter_is_a_cure_or_known_to_be_none(Estimator):
    """A new parameter that is a cure has a line in the benchmark, and so is measured and tested above."""
    parameters = set(inspect.signature(Estimator).parameters)
    of_cures = {parameter for cure in CURES[Estimator].values() for parameter in cure}
    assert parameters - of_cures - NOT_CURES == set()
    assert of_cures & NOT_CURES == set()
