"""Fits that are trained as members of one net come out as alone."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from skreg._entry import enter, leave
from skreg._joint import Entrant, JointNet

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor

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


def together(estimator, candidates, X, y, weight=None):
    """(alone, beside the others) for each fold and candidate, and the net that they were."""
    pairs, entries, first = [], [], {}
    for number, rows in enumerate(FOLDS):
        own = None if weight is None else weight[rows]
        for params in candidates:
            alone = clone(estimator).set_params(**params).fit(X[rows], y[rows], own)
            entry = enter(clone(estimator).set_params(**params), X[rows], y[rows], own, first.get(number))
            first.setdefault(number, entry)
            pairs.append((alone, entry.estimator))
            entries.append(entry)
    entrants = [Entrant(entry.net, entry.train, entry.valid, entry.monitor) for entry in entries]
    assert len({entrant.key() for entrant in entrants}) == 1
    joint = JointNet.of(entrants)
    while not joint.done:
        joint.train_epoch()
    for entry in entries:
        leave(entry)
    return pairs, joint


def check_same(alone, beside, X, tolerance=1e-5):
    predict = "predict_proba" if hasattr(alone, "predict_proba") else "predict"
    one, other = getattr(alone, predict)(X), getattr(beside, predict)(X)
    np.testing.assert_allclose(other, one, atol=tolerance * max(1.0, np.abs(one).max()), rtol=0)
    assert (beside.n_iter_, beside.best_iter_) == (alone.n_iter_, alone.best_iter_)
    np.testing.assert_allclose(beside.loss_curve_, alone.loss_curve_, rtol=1e-3, atol=1e-5)
    assert [set(row) for row in beside.net_.history] == [set(row) for row in alone.net_.history]
    for column in ("epoch", "train_loss_best", "lr"):
        np.testing.assert_allclose(beside.net_.history[:, column], alone.net_.history[:, column], rtol=1e-6)
    if alone.validation_curve_ is not None:
        np.testing.assert_allclose(beside.validation_curve_, alone.validation_curve_, rtol=1e-3, atol=1e-5)
    members = [np.array([each.numpy() for each in fitted.net_.stopping_.scores]) for fitted in (beside, alone)]
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
        ({"dropout_schedule": "cosine"}, [{"dropout": d} for d in (0.1, 0.3)]),
        ({}, [{"max_norm": n} for n in (None, 0.5, 2.0)]),
        ({}, [{"max_norm": n} for n in ((None, 0.5, 1.0), 1.0)]),
        ({}, [{"label_smoothing": s, "ema_decay": e} for s, e in ((0.0, 0.0), (0.1, 0.9), (0.2, 0.95))]),
        ({}, [{"clip_norm": c} for c in (None, 0.1, 1.0)]),
        ({"augmentation": "mixup"}, [{"augmentation_strength": s} for s in (0.2, 0.5)]),
        ({"augmentation": "cutmix"}, [{"augmentation_strength": s} for s in (0.2, 1.0)]),
        ({"augmentation": "gaussian_noise"}, [{"augmentation_strength": s} for s in (0.1, 0.5)]),
        ({"monitor": "accuracy", "learning_rate": "adaptive"}, [{"learning_rate_init": r} for r in (0.003, 0.05)]),
        ({"early_stopping": False, "solver": "sgd"}, [{"learning_rate_init": r} for r in (0.003, 0.03)]),
        ({"solver": "muon"}, [{"learning_rate_init": r} for r in (0.003, 0.03)]),
        ({"solver": "nadam", "batch_norm": True}, [{"learning_rate_init": r} for r in (0.003, 0.03)]),
        ({"solver": "rmsprop", "layer_norm": True, "residual": True}, [{"alpha": a} for a in (0.0, 0.01)]),
    ],
)
def test_a_fit_beside_others_is_as_alone(fixed, candidates):
    X, y = table()
    pairs, _ = together(clone(CLASSES).set_params(**fixed), candidates, X, y)
    for alone, beside in pairs:
        check_same(alone, beside, X)
        assert hasattr(beside, "oof_score_") == hasattr(alone, "oof_score_")


@pytest.mark.parametrize(
    "fixed",
    [
        {},
        {"n_adapters": 2, "numeric_embedding": "periodic"},
        {"loss": "huber", "feature_alpha": 0.01},
        {"validation_fraction": 0.5, "learning_rate_init": 0.05},
    ],
)
def test_numbers_too(fixed):
    X, y = table(regression=True)
    candidates = [{"weight_decay": 0.0, "feature_alpha": 0.02}, {"weight_decay": 0.5}, {"alpha": 0.01}]
    pairs, _ = together(clone(NUMBERS).set_params(**fixed), candidates, X, y)
    for alone, beside in pairs:
        check_same(alone, beside, X)
        if hasattr(alone, "oof_score_"):
            assert beside.oof_score_ == pytest.approx(alone.oof_score_, abs=1e-5)


def test_with_weights_categories_and_holes():
    X, y = table()
    rng = np.random.default_rng(0)
    X[rng.random(X.shape) < 0.1] = np.nan
    frame = pd.DataFrame(X[:, :4], columns=list("abcd"))
    frame["few"] = rng.choice(list("xyz"), len(X))
    frame["many"] = rng.choice([f"level {i}" for i in range(12)], len(X))
    pairs, _ = together(CLASSES, [{"alpha": 0.0}, {"alpha": 0.01}], frame, y, rng.uniform(0.5, 2, len(X)))
    for alone, beside in pairs:
        check_same(alone, beside, frame)


def test_one_that_diverges_does_not_disturb_its_neighbours():
    X, y = table(regression=True)
    candidates = [{"learning_rate_init": 0.01}, {"learning_rate_init": 1e25}, {"learning_rate_init": 0.003}]
    estimator = clone(NUMBERS).set_params(solver="sgd", weight_decay=0.0)
    first = {}
    entries = [enter(clone(estimator).set_params(**params), X, y, None, first.get(0)) for params in candidates]
    joint = JointNet.of([Entrant(entry.net, entry.train, entry.valid, entry.monitor) for entry in entries])
    while not joint.done:
        joint.train_epoch()
    with pytest.raises(ValueError, match="diverged in its first epoch"):
        leave(entries[1])
    for entry, params in ((entries[0], candidates[0]), (entries[2], candidates[2])):
        leave(entry)
        check_same(clone(estimator).set_params(**params).fit(X, y), entry.estimator, X)


def test_those_that_have_stopped_leave_the_tensors():
    X, y = table()
    estimator = clone(CLASSES).set_params(patience=2, max_iter=60, min_delta=0.003)
    pairs, joint = together(estimator, [{"learning_rate_init": rate} for rate in (0.001, 0.01, 0.05, 0.1)], X, y)
    assert len({alone.n_iter_ for alone, _ in pairs}) > 2, "they do not stop at once"
    assert joint.module_.n_members < 16
    for alone, beside in pairs:
        check_same(alone, beside, X)


def test_a_fit_beside_others_can_be_continued_by_parts():
    X, y = table()
    pairs, _ = together(CLASSES, [{"alpha": 0.0}, {"alpha": 0.01}], X, y)
    for alone, beside in pairs:
        for estimator in (alone, beside):
            estimator.partial_fit(X, y)
        np.testing.assert_allclose(beside.predict_proba(X), alone.predict_proba(X), atol=1e-5)
