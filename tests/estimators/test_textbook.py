"""Textbook claims about regularization methods over several seeds, and combinations of each method with other options.

``benchmarks/regularization.py`` measures the effect of each method. "Deep Learning" is the book of Goodfellow, Bengio &
Courville 2016.
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
from skreg.network.input_layer import InputLayer
from skreg.network.network import Network

pytestmark = pytest.mark.usefixtures("plain_training")

SEEDS = range(5)
BOTH = [RegularizedMLPClassifier, RegularizedMLPRegressor]
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
    "max_iter": 150,
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

PLAIN = {**UNREGULARIZED, "max_iter": 100}


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
@pytest.mark.parametrize("method", [{"dropout": 0.5}, {"alpha": 0.03}], ids=["dropout", "l2"])
def test_dropout_and_l2_narrow_the_gap_between_training_and_test(Estimator, method):
    """Srivastava et al. 2014, figure 4 and section 6; Deep Learning, sections 7.1.1 and 7.12."""
    for seed in SEEDS:
        (train, test), (train_new, test_new) = errors(Estimator, seed), errors(Estimator, seed, **method)
        assert train < 0.1 * test, "it was to overfit"
        assert test_new - train_new < 0.9 * (test - train)
        assert test_new < test


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


# each method with other options

OTHER_PARAMETERS = {
    "augmentation_strength", "batch_size", "calibrate", "callbacks", "categorical_features", "class_weight", "device",
    "freeze_layers", "init", "max_iter", "min_delta", "monitor", "n_threads", "parametrization",
    "patience", "precision", "pretrained", "scale_layer",
    "pretrained_lr_factor", "quantile", "random_state", "time_limit", "validation_fraction", "verbose", "warm_start",
}  # fmt: skip
SMALL = {**UNREGULARIZED, "hidden_layer_sizes": (16, 16), "max_iter": 4, "patience": 3, "random_state": 0}
COMPOSED = {**SMALL, "n_members": 2, "early_stopping": True}
# a small network does not reach the usual bounds in a few steps
TIGHTER = {
    "max_norm 3": {"max_norm": 1.0},
    "clip_norm 1": {"clip_norm": 0.01},
    "swa_start 0.75": {"swa_start": 0.25},  # the average of several epochs
    "adaptive": {"learning_rate": "adaptive", "learning_rate_init": 0.3, "patience": 4},
}
METHODS = {
    "L2 0.001": {"alpha": 1e-3},
    "L2 0.01": {"alpha": 1e-2},
    "L1 0.0001": {"alpha": 1e-4, "l1_ratio": 1.0},
    "L1 0.001": {"alpha": 1e-3, "l1_ratio": 1.0},
    "L1 of layer 1": {"alpha": (1e-3, 0.0, 0.0), "l1_ratio": 1.0},
    "feature_alpha 0.05": {"feature_alpha": 0.05, "alpha": 1e-2},  # the L2 penalty bounds the other layers
    "weight_decay 0.01": {"weight_decay": 0.01},  # torch's default
    "weight_decay 1": {"weight_decay": 1.0},  # Loshchilov & Hutter's 0.05 / sqrt(steps) / rate for as few steps
    "dropout 0.2": {"dropout": 0.2},
    "dropout 0.5": {"dropout": 0.5},  # Srivastava et al.: half of the units, a fifth of the inputs, norms up to 3
    "input_dropout 0.2": {"input_dropout": 0.2},
    "max_norm 3": {"max_norm": 3.0},
    "max_norm 1": {"max_norm": 1.0},  # a unit has a norm of 1.4 after He initialization
    "batch_norm": {"batch_norm": True},
    "layer_norm": {"layer_norm": True},
    "selu": {"activation": "selu"},
    "residual": {"residual": True},
    "narrow": {"hidden_layer_sizes": (16,)},
    "early_stopping": {"early_stopping": True},
    "ema_decay 0.99": {"ema_decay": 0.99},
    "swa_start 0.75": {"swa_start": 0.75},  # Izmailov et al.
    "clip_norm 1": {"clip_norm": 1.0},
    "n_members 4": {"n_members": 4},
    "scaling robust": {"numeric_scaling": "robust"},
    "scaling quantile": {"numeric_scaling": "quantile"},
    **{name: {"augmentation": name} for name in augmentations.__all__},  # 0.2, as in Zhang et al. for mixup
    **{name: {"numeric_embedding": name} for name in embeddings.__all__},
    **{name: {"learning_rate": name} for name in schedules.__all__ if name != UNREGULARIZED["learning_rate"]},
    "adaptive": {"learning_rate": "adaptive"},
    "solver adamw": {"solver": "adamw"},
    "solver sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "sgd, momentum 0": {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.0, "nesterovs_momentum": False},
}
CLASSIFIER_METHODS = {
    "label_smoothing 0.1": {"label_smoothing": 0.1},
    "focal": {"loss": "focal"},
}
REGRESSOR_METHODS = {
    "huber": {"loss": "huber"},
    "absolute_error": {"loss": "absolute_error"},
}
METHODS_OF = {
    RegularizedMLPClassifier: {**METHODS, **CLASSIFIER_METHODS},
    RegularizedMLPRegressor: {**METHODS, **REGRESSOR_METHODS},
}


def mixed_rows():
    """Make a data frame with categories and missing values, three classes, a numeric target and weights."""
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
    """Predictions of a fit with the given parameters."""
    y = LABELS if Estimator is RegularizedMLPClassifier else NUMBERS
    fitted = Estimator(**settings).fit(MIXED, y, sample_weight=WEIGHTS)
    assert (fitted.validation_curve_ is not None) == bool(fitted.early_stopping)
    assert [len(levels) for levels in fitted.encoder_.levels_] == [3, 12]
    return fitted.predict_proba(MIXED) if Estimator is RegularizedMLPClassifier else fitted.predict(MIXED)


@cache
def predicted_unregularized(Estimator, early_stopping):
    return predicted(Estimator, {**COMPOSED, "early_stopping": early_stopping})


@pytest.mark.parametrize(
    ("Estimator", "name"), [(Estimator, name) for Estimator in BOTH for name in METHODS_OF[Estimator]]
)
def test_a_method_works_with_members_weights_categories_missing_values_and_early_stopping(Estimator, name):
    method = TIGHTER.get(name, METHODS_OF[Estimator][name])
    first, again = (predicted(Estimator, {**COMPOSED, **method}) for _ in range(2))
    assert np.isfinite(first).all()
    assert first.tobytes() == again.tobytes()
    assert not np.array_equal(first, predicted_unregularized(Estimator, early_stopping="early_stopping" not in method))


@pytest.mark.parametrize("Estimator", BOTH)
def test_every_regularization_parameter_is_combined_with_other_options(Estimator):
    """A new parameter needs a line in METHODS, or in OTHER_PARAMETERS if it is no regularization method."""
    parameters = set(inspect.signature(Estimator).parameters)
    of_methods = {parameter for method in METHODS_OF[Estimator].values() for parameter in method}
    assert parameters - of_methods - OTHER_PARAMETERS == set()
    assert of_methods & OTHER_PARAMETERS == set()
