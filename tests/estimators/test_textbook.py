"""Textbook claims about regularization and training, over several seeds, and each option combined with the others.

"Deep Learning" is the book of Goodfellow, Bengio & Courville 2016.
"""

import inspect
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import make_classification, make_friedman1
from sklearn.metrics import log_loss, mean_squared_error
from skorch.callbacks import Callback

from skreg import (
    RegularizedMLPClassifier,
    RegularizedMLPRegressor,
    activations,
    augmentations,
    embeddings,
    initializers,
    schedules,
)
from skreg.data.statistics import Statistics
from skreg.network.config import NetworkConfig
from skreg.network.input_layer import InputLayer
from skreg.network.network import Network
from tests.helpers import plain_classifier, plain_regressor

SEEDS = range(5)
PLAIN_ESTIMATORS = {RegularizedMLPClassifier: plain_classifier, RegularizedMLPRegressor: plain_regressor}
BOTH = list(PLAIN_ESTIMATORS)
UNREGULARIZED = {
    "hidden_layer_sizes": (128, 128),
    "activation": "relu",
    "dropout": 0.0,
    "alpha": 0.0,
    "weight_decay": 0.0,
    "early_stopping": False,
    "solver": "adam",
    "learning_rate": "constant",
    "learning_rate_init": 1e-3,
    "batch_size": 32,
    "max_iter": 100,
    "n_members": 1,
    "numeric_scaling": "standard",
    "numeric_embedding": None,
    "parametrization": "standard",
    "init": "auto",
    "scale_layer": False,
    "residual": False,
    "patience": 20,
    "device": "cpu",
}


def make(Estimator, **settings):
    """Create an estimator without regularization, except for ``settings``."""
    return PLAIN_ESTIMATORS[Estimator](**{**UNREGULARIZED, **settings})


def classes(seed, n_train=150, n_rows=1_000):
    """Training and test rows of a classification problem with few informative columns and some wrong labels."""
    X, y = make_classification(n_rows, 20, n_informative=4, n_redundant=2, flip_y=0.15, random_state=seed)
    return X[:n_train], y[:n_train], X[n_train:], y[n_train:]


def numbers(seed, n_train=150, n_rows=1_000):
    """Rows of a regression problem whose target is mostly noise; 5 of 20 columns matter."""
    X, y = make_friedman1(n_rows, 20, noise=8.0, random_state=seed)
    y = (y - y.mean()) / y.std()
    return X[:n_train], y[:n_train], X[n_train:], y[n_train:]


TABLES = {RegularizedMLPClassifier: classes, RegularizedMLPRegressor: numbers}


def loss(fitted, X, y):
    """The loss that the fit minimizes on its training rows: log loss, or squared error."""
    if isinstance(fitted, RegularizedMLPClassifier):
        return log_loss(y, fitted.predict_proba(X))
    return mean_squared_error(y, fitted.predict(X))


@cache
def errors(Estimator, seed, **changes):
    """Training and test loss."""
    X, y, X_test, y_test = TABLES[Estimator](seed)
    fitted = make(Estimator, **changes, random_state=seed).fit(X, y)
    return loss(fitted, X, y), loss(fitted, X_test, y_test)


# penalties and dropout


@pytest.mark.parametrize("seed", SEEDS)
def test_most_weights_are_zero_with_l1_and_almost_none_with_l2(seed):
    """Deep Learning, section 7.1.2; Hastie, Tibshirani & Friedman 2009, section 3.4."""
    X, y, *_ = classes(seed)

    def zeros(l1_ratio):
        settings = {"alpha": 1e-3, "max_iter": 200, "l1_ratio": l1_ratio, "random_state": seed}
        fitted = make(RegularizedMLPClassifier, **settings).fit(X, y)
        return np.mean(np.concatenate([weight.ravel() for weight in fitted.coefs_]) == 0)

    assert zeros(1.0) > 0.6
    assert zeros(0.0) < 0.01


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("option", [{"dropout": 0.5}, {"alpha": 0.03}], ids=["dropout", "l2"])
@pytest.mark.slow
def test_dropout_and_l2_reduce_the_gap_between_training_and_test_loss(Estimator, option):
    """Srivastava et al. 2014, figure 4 and section 6; Deep Learning, sections 7.1.1 and 7.12."""
    for seed in SEEDS:
        train, test = errors(Estimator, seed)
        train_regularized, test_regularized = errors(Estimator, seed, **option)
        assert train < 0.1 * test, "the network must overfit"
        assert test_regularized - train_regularized < 0.9 * (test - train)
        assert test_regularized < test


@pytest.mark.parametrize("Estimator", BOTH)
def test_best_epoch_of_early_stopping_has_a_smaller_loss_than_the_last_one(Estimator):
    """Prechelt 1998, "Early stopping - but when?"; Deep Learning, section 7.8."""
    ratios = []
    for seed in SEEDS:
        X, y, X_test, y_test = TABLES[Estimator](seed)
        stopped = make(Estimator, early_stopping=True, random_state=seed)
        stopped.fit(X, y, X_val=X_test[:200], y_val=y_test[:200])
        trained_to_the_end = make(Estimator, random_state=seed).fit(X, y)
        assert stopped.best_iter_ < stopped.n_iter_ < trained_to_the_end.n_iter_
        best, last = (loss(fitted, X_test[200:], y_test[200:]) for fitted in (stopped, trained_to_the_end))
        assert best < last
        ratios.append(best / last)
    assert np.mean(ratios) < 0.95


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.slow
def test_several_members_have_a_smaller_mean_loss_than_one(Estimator):
    """Hansen & Salamon 1990, "Neural network ensembles"; Deep Learning, section 7.11."""
    alone, together = (np.mean([errors(Estimator, seed, **c)[1] for seed in SEEDS]) for c in ({}, {"n_members": 4}))
    assert together < 0.95 * alone


class NormRecorder(Callback):
    """Records the largest norm of a unit's incoming weights after each step."""

    def __init__(self):
        self.norms = []

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.norms.append(max(linear.weight.detach().norm(dim=1).max().item() for linear in net.module_.linears))


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("solver", ["adamw", "sgd"])
def test_norms_are_at_most_max_norm_after_every_step(Estimator, solver):
    """Srivastava et al. 2014, section 5.1."""
    longest = {}
    for limit in (0.8, None):
        recorder = NormRecorder()
        settings = {"max_iter": 5, "n_members": 3, "solver": solver, "learning_rate_init": 0.05, "random_state": 0}
        make(Estimator, **settings, max_norm=limit, callbacks=[recorder]).fit(*TABLES[Estimator](0)[:2])
        assert len(recorder.norms) == 5 * 5
        longest[limit] = max(recorder.norms)
    assert longest[0.8] == pytest.approx(0.8, rel=1e-5)
    assert longest[None] > 1.2


# deep networks


def gradient_ratio(activation, init, layers=10, width=50, members=5):
    """Norm of the first layer's gradient divided by the head's, of each of the members."""
    ones = np.ones((members, width))
    inputs = InputLayer(Statistics(0 * ones, 0 * ones, ones, None, False), [], [], 3.0, torch.float64)
    structure = {"hidden_layer_sizes": (width,) * layers, "dropout": (0.0,) * layers, "activation": activation}
    network = Network(NetworkConfig(**structure, init=init, head_init=init), inputs, 1, range(members))
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(members, 100, size, generator=generator, dtype=torch.float64) for size in (width, 1))
    (network(x, weight=torch.ones(members, 100, dtype=torch.float64)) - y).square().mean((1, 2)).sum().backward()
    first, head = (linear.weight.grad.flatten(1).norm(dim=1) for linear in (network.linears[0], network.linears[-1]))
    return first / head


def test_gradients_vanish_with_logistic_units_and_small_weights_but_not_with_relu_and_he():
    """Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks"; for the
    initial weights He et al. 2015, "Delving deep into rectifiers", section 2.2.
    """
    assert (gradient_ratio(activations.logistic, initializers.normal) < 1e-6).all()
    kept = gradient_ratio(activations.relu, initializers.he_normal)
    assert ((kept > 0.1) & (kept < 100)).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
def test_batch_norm_makes_training_insensitive_to_the_initialization(seed):
    """Ioffe & Szegedy 2015, section 3.3; Deep Learning, section 8.7.1."""
    X, y, *_ = classes(seed)

    def loss_range(batch_norm):
        settings = {"hidden_layer_sizes": (32,) * 10, "max_iter": 60, "batch_size": 50, "random_state": seed}
        names = ("he_normal", "xavier_uniform", "lecun_normal", "normal")
        nets = [make(RegularizedMLPClassifier, **settings, init=name, batch_norm=batch_norm) for name in names]
        return np.ptp([net.fit(X, y).loss_curve_[-1] for net in nets])

    assert loss_range(False) > 0.5
    assert loss_range(True) < 0.2 * loss_range(False)


# each option combined with the others

NOT_COMBINED = {
    "augmentation_strength", "batch_size", "calibrate", "callbacks", "categorical_features", "class_weight", "device",
    "freeze_layers", "init", "max_iter", "min_delta", "monitor", "n_threads", "parametrization",
    "precision", "pretrained", "scale_layer",
    "pretrained_lr_factor", "quantile", "random_state", "time_limit", "validation_fraction", "verbose", "warm_start",
}  # fmt: skip
COMBINED = {
    "hidden_layer_sizes": (16, 16),
    "max_iter": 4,
    "patience": 3,
    "random_state": 0,
    "n_members": 2,
    "early_stopping": True,
}
# values with which so few steps of so small a network change
COMMON_OPTIONS = {
    "L2": {"alpha": 1e-2},
    "L1": {"alpha": 1e-3, "l1_ratio": 1.0},
    "L1 of the first layer": {"alpha": (1e-3, 0.0, 0.0), "l1_ratio": 1.0},
    "feature_alpha": {"feature_alpha": 0.05, "alpha": 1e-2},
    "weight_decay": {"weight_decay": 0.01},
    "dropout": {"dropout": 0.5},
    "input_dropout": {"input_dropout": 0.2},
    "max_norm": {"max_norm": 1.0},
    "batch_norm": {"batch_norm": True},
    "layer_norm": {"layer_norm": True},
    "selu": {"activation": "selu"},
    "residual": {"residual": True},
    "narrow": {"hidden_layer_sizes": (16,)},
    "early_stopping": {"early_stopping": True},
    "ema_decay": {"ema_decay": 0.99},
    "swa_start": {"swa_start": 0.25},  # an average of several epochs
    "clip_norm": {"clip_norm": 0.01},
    "n_members": {"n_members": 4},
    "robust scaling": {"numeric_scaling": "robust"},
    "quantile scaling": {"numeric_scaling": "quantile"},
    **{name: {"augmentation": name} for name in augmentations.__all__},
    **{name: {"numeric_embedding": name} for name in embeddings.__all__},
    **{name: {"learning_rate": name} for name in schedules.__all__ if name != UNREGULARIZED["learning_rate"]},
    "adaptive": {"learning_rate": "adaptive", "learning_rate_init": 0.3, "patience": 4},
    "adamw": {"solver": "adamw"},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "sgd without momentum": {
        "solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.0, "nesterovs_momentum": False
    },
}  # fmt: skip
OPTIONS = {
    RegularizedMLPClassifier: {
        **COMMON_OPTIONS, "label_smoothing": {"label_smoothing": 0.1}, "focal": {"loss": "focal"}
    },
    RegularizedMLPRegressor: {
        **COMMON_OPTIONS, "huber": {"loss": "huber"}, "absolute_error": {"loss": "absolute_error"}
    },
}  # fmt: skip


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
    """Predictions of a fit to the mixed rows."""
    y = LABELS if Estimator is RegularizedMLPClassifier else NUMBERS
    fitted = make(Estimator, **settings).fit(MIXED, y, sample_weight=WEIGHTS)
    assert (fitted.validation_curve_ is not None) == bool(fitted.early_stopping)
    assert [len(levels) for levels in fitted.encoder_.levels_] == [3, 12]
    return fitted.predict_proba(MIXED) if Estimator is RegularizedMLPClassifier else fitted.predict(MIXED)


@cache
def predicted_without_option(Estimator, early_stopping):
    return predicted(Estimator, {**COMBINED, "early_stopping": early_stopping})


@pytest.mark.parametrize(("Estimator", "name"), [(E, name) for E, options in OPTIONS.items() for name in options])
def test_option_works_with_members_weights_categories_missing_values_and_early_stopping(Estimator, name):
    option = OPTIONS[Estimator][name]
    first, again = (predicted(Estimator, {**COMBINED, **option}) for _ in range(2))
    assert np.isfinite(first).all()
    assert first.tobytes() == again.tobytes()
    assert not np.array_equal(first, predicted_without_option(Estimator, early_stopping="early_stopping" not in option))


@pytest.mark.parametrize("Estimator", BOTH)
def test_every_parameter_is_combined_or_listed_as_an_exception(Estimator):
    """A new parameter that changes training has an entry above."""
    parameters = set(inspect.signature(Estimator).parameters)
    combined = {parameter for option in OPTIONS[Estimator].values() for parameter in option}
    assert parameters - combined == NOT_COMBINED & parameters
