"""Fits that are trained as members of one net equal fits that are trained alone."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.search.vectorized.fold_fit import FoldData, FoldFit
from skreg.search.vectorized.stacked_net import StackedNet

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"hidden_layer_sizes": (16, 8), "max_iter": 12, "n_members": 2, "random_state": 0, "patience": 4}
SMALL |= {"parametrization": "standard", "init": "auto", "scale_layer": False, "residual": False}
SMALL |= {"numeric_embedding": None, "learning_rate": "cosine", "learning_rate_init": 0.01, "weight_decay": 0.01}
CLASSES = RegularizedMLPClassifier(**SMALL, dropout=0.0)
NUMBERS = RegularizedMLPRegressor(**SMALL, dropout=0.0)
FOLDS = [slice(0, 200), slice(50, 251)]  # of other lengths


def table(regression=False):
    if regression:
        return make_regression(251, 6, noise=5.0, random_state=0)
    return make_classification(251, 6, n_informative=4, random_state=0)


def fit_stacked(estimator, candidates, X, y, weight=None):
    """(trained alone, trained stacked) for each fold and candidate, and the stacked net."""
    pairs, fits, templates = [], [], {}
    for number, rows in enumerate(FOLDS):
        own_weight = None if weight is None else weight[rows]
        for params in candidates:
            alone = clone(estimator).set_params(**params).fit(X[rows], y[rows], own_weight)
            data = FoldData(X[rows], y[rows], own_weight)
            fit = FoldFit.prepare(clone(estimator).set_params(**params), data, templates.get(number))
            templates.setdefault(number, fit)
            pairs.append((alone, fit.estimator))
            fits.append(fit)
    assert len({fit.stack_key for fit in fits}) == 1
    net = StackedNet.stack(fits)
    while not net.ended:
        net.train_epoch()
    for fit in fits:
        fit.finish()
    return pairs, net


def check_same(alone, stacked, X, tolerance=1e-5):
    predict = "predict_proba" if hasattr(alone, "predict_proba") else "predict"
    one, other = getattr(alone, predict)(X), getattr(stacked, predict)(X)
    np.testing.assert_allclose(other, one, atol=tolerance * max(1.0, np.abs(one).max()), rtol=0)
    assert (stacked.n_iter_, stacked.best_iter_) == (alone.n_iter_, alone.best_iter_)
    np.testing.assert_allclose(stacked.loss_curve_, alone.loss_curve_, rtol=1e-3, atol=1e-5)
    assert [set(row) for row in stacked.net_.history] == [set(row) for row in alone.net_.history]
    for column in ("epoch", "train_loss_best", "lr"):
        np.testing.assert_allclose(stacked.net_.history[:, column], alone.net_.history[:, column], rtol=1e-6)
    if alone.validation_curve_ is not None:
        np.testing.assert_allclose(stacked.validation_curve_, alone.validation_curve_, rtol=1e-3, atol=1e-5)
    members = [np.array([each.numpy() for each in fitted.net_.stopping_.scores]) for fitted in (stacked, alone)]
    np.testing.assert_allclose(*members, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("fixed", "candidates"),
    [
        ({}, [{"learning_rate_init": r, "weight_decay": d} for r, d in ((0.003, 0.01), (0.01, 0.0), (0.1, 1.0))]),
        ({"hidden_layer_sizes": (96, 96)}, [{"learning_rate_init": r} for r in (0.003, 0.01)]),
        ({}, [{"alpha": a, "l1_ratio": r} for a, r in ((0.0, 0.0), (0.01, 0.5), (0.001, 1.0))]),
        ({}, [{"alpha": 0.01}, {"alpha": (0.0, 0.1, 0.001)}, {"alpha": 0.0}]),
        ({}, [{"dropout": d, "input_dropout": i} for d, i in ((0.0, 0.0), (0.2, 0.0), (0.3, 0.1), ((0.0, 0.4), 0.0))]),
        ({"activation": "selu"}, [{"dropout": d} for d in (0.0, 0.1, 0.3)]),
        ({}, [{"max_norm": n} for n in (None, 0.5, 2.0)]),
        ({}, [{"max_norm": n} for n in ((None, 0.5, 1.0), 1.0)]),
        ({}, [{"label_smoothing": s, "ema_decay": e} for s, e in ((0.0, 0.0), (0.1, 0.9), (0.2, 0.95))]),
        ({}, [{"clip_norm": c} for c in (None, 0.1, 1.0)]),
        ({"augmentation": "mixup"}, [{"augmentation_strength": s} for s in (0.2, 0.5)]),
        ({"augmentation": "cutmix"}, [{"augmentation_strength": s} for s in (0.2, 1.0)]),
        ({"augmentation": "gaussian_noise"}, [{"augmentation_strength": s} for s in (0.1, 0.5)]),
        ({"monitor": "accuracy", "learning_rate": "adaptive"}, [{"learning_rate_init": r} for r in (0.003, 0.05)]),
        ({"early_stopping": False, "solver": "sgd"}, [{"learning_rate_init": r} for r in (0.003, 0.03)]),
        ({"solver": "adam", "layer_norm": True, "residual": True}, [{"alpha": a} for a in (0.0, 0.01)]),
        ({"batch_norm": True}, [{"learning_rate_init": r} for r in (0.003, 0.03)]),
    ],
)
def test_stacked_classifier_equals_one_trained_alone(fixed, candidates):
    X, y = table()
    pairs, _ = fit_stacked(clone(CLASSES).set_params(**fixed), candidates, X, y)
    for alone, stacked in pairs:
        check_same(alone, stacked, X)
        assert hasattr(stacked, "oof_score_") == hasattr(alone, "oof_score_")


@pytest.mark.parametrize(
    "fixed",
    [
        {},
        {"numeric_embedding": "periodic"},
        {"loss": "huber", "feature_alpha": 0.01},
        {"validation_fraction": 0.5, "learning_rate_init": 0.05},
    ],
)
def test_stacked_regressor_equals_one_trained_alone(fixed):
    X, y = table(regression=True)
    candidates = [{"weight_decay": 0.0, "feature_alpha": 0.02}, {"weight_decay": 0.5}, {"alpha": 0.01}]
    pairs, _ = fit_stacked(clone(NUMBERS).set_params(**fixed), candidates, X, y)
    for alone, stacked in pairs:
        check_same(alone, stacked, X)
        if hasattr(alone, "oof_score_"):
            assert stacked.oof_score_ == pytest.approx(alone.oof_score_, abs=1e-5)


def test_stacked_fits_with_weights_categories_and_missing_values():
    X, y = table()
    rng = np.random.default_rng(0)
    X[rng.random(X.shape) < 0.1] = np.nan
    frame = pd.DataFrame(X[:, :4], columns=list("abcd"))
    frame["few"] = rng.choice(list("xyz"), len(X))
    frame["many"] = rng.choice([f"level {i}" for i in range(12)], len(X))
    pairs, _ = fit_stacked(CLASSES, [{"alpha": 0.0}, {"alpha": 0.01}], frame, y, rng.uniform(0.5, 2, len(X)))
    for alone, stacked in pairs:
        check_same(alone, stacked, frame)


def test_diverging_fit_does_not_affect_the_others():
    X, y = table(regression=True)
    candidates = [{"learning_rate_init": 0.01}, {"learning_rate_init": 1e25}, {"learning_rate_init": 0.003}]
    estimator = clone(NUMBERS).set_params(solver="sgd", weight_decay=0.0)
    data, fits = FoldData(X, y), []
    for params in candidates:
        fits.append(FoldFit.prepare(clone(estimator).set_params(**params), data, fits[0] if fits else None))
    net = StackedNet.stack(fits)
    while not net.ended:
        net.train_epoch()
    with pytest.raises(ValueError, match="diverged in its first epoch"):
        fits[1].finish()
    for fit, params in ((fits[0], candidates[0]), (fits[2], candidates[2])):
        fit.finish()
        check_same(clone(estimator).set_params(**params).fit(X, y), fit.estimator, X)


def test_stopped_members_leave_the_tensors():
    X, y = table()
    estimator = clone(CLASSES).set_params(patience=2, max_iter=60, min_delta=0.003)
    pairs, net = fit_stacked(estimator, [{"learning_rate_init": rate} for rate in (0.001, 0.01, 0.05, 0.1)], X, y)
    assert len({alone.n_iter_ for alone, _ in pairs}) > 2
    assert net.module_.n_members < 16
    for alone, stacked in pairs:
        check_same(alone, stacked, X)


def test_partial_fit_continues_a_stacked_fit():
    X, y = table()
    pairs, _ = fit_stacked(CLASSES, [{"alpha": 0.0}, {"alpha": 0.01}], X, y)
    for alone, stacked in pairs:
        for estimator in (alone, stacked):
            estimator.partial_fit(X, y)
        np.testing.assert_allclose(stacked.predict_proba(X), alone.predict_proba(X), atol=1e-5)
