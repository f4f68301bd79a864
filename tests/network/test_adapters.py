"""Adapters: each network of a member against a plain formula, what is trained and watched, and what goes together."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import log_loss

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.network.adapters import Adapters, mean_of_each
from skreg.training.losses.base import HalfSquaredError

BOTH = [RegularizedMLPClassifier, RegularizedMLPRegressor]
RNG = np.random.RandomState(0)
X = RNG.randn(160, 5)
Y = (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(int)
pytestmark = pytest.mark.usefixtures("plain_training")
SMALL = {"hidden_layer_sizes": (16, 16), "max_iter": 6, "n_members": 2, "n_adapters": 3, "random_state": 0}
FULL_BATCH = {"batch_size": len(X), "dropout": 0.0, "early_stopping": False}
TABLE = pd.DataFrame(X, columns=list("abcde")).assign(
    few=pd.Categorical(RNG.choice(["x", "y", "z"], len(X))), many=RNG.randint(12, size=len(X)).astype(str)
)
TABLE.iloc[::7, 1] = np.nan


def fitted(Estimator, **settings):
    return Estimator(**{**SMALL, **settings}).fit(X, Y)


def test_each_network_is_the_shared_one_on_scaled_inputs_with_a_head_of_its_own():
    module = fitted(RegularizedMLPRegressor, activation="tanh", **FULL_BATCH).net_.module_
    x = torch.from_numpy(RNG.randn(2, 32, 5))
    with torch.no_grad():
        raw = module(x)
        for m in range(2):
            for k in range(3):
                z = x[m] * module.adapters.weight[m, k]
                for layer in module.hidden:
                    z = torch.tanh(z @ layer.weight[m] + layer.bias[m])
                expected = z @ module.head.weight[m, :, k : k + 1] + module.head.bias[m, :, k]
                torch.testing.assert_close(raw[m, k], expected)
        torch.testing.assert_close(module(x, weight=torch.ones(2, 32)), raw)


def test_prediction_is_the_mean_of_the_networks_predictions():
    classifier = fitted(RegularizedMLPClassifier, **FULL_BATCH)
    module = classifier.net_.module_
    inputs, _ = module.inputs(torch.from_numpy(X).expand(2, -1, -1), None)
    with torch.no_grad():
        probability = torch.sigmoid(module(inputs)).mean((0, 1))[:, 0]
    assert_allclose(classifier.predict_proba(X)[:, 1], probability.numpy(), rtol=1e-9)


def test_the_loss_is_the_mean_of_the_networks_own_losses():
    raw, weight = torch.randn(2, 3, 7, 1, dtype=torch.float64), torch.rand(2, 7, dtype=torch.float64)
    target = torch.randn(2, 7, 1, dtype=torch.float64)
    each = [HalfSquaredError()(raw[:, k], target, weight) for k in range(3)]
    torch.testing.assert_close(mean_of_each(HalfSquaredError(), raw, target, weight), sum(each) / 3)
    assert not torch.allclose(HalfSquaredError()(raw.mean(1), target, weight), sum(each) / 3)


def test_early_stopping_watches_the_mean_prediction():
    classifier = RegularizedMLPClassifier(**{**SMALL, "n_members": 1}).fit(X, Y, X_val=X[:60], y_val=Y[:60])
    p = classifier.predict_proba(X[:60])
    assert log_loss(Y[:60], p) == pytest.approx(classifier.validation_curve_.min(), rel=1e-5)
    scored = clone(classifier).set_params(monitor="neg_log_loss").fit(X, Y, X_val=X[:60], y_val=Y[:60])
    assert_allclose(-scored.validation_curve_, classifier.validation_curve_, rtol=1e-5)


@pytest.mark.parametrize("normal", [False, True])
def test_the_columns_of_a_feature_start_with_one_factor_and_networks_differ(normal):
    adapters = Adapters(2, 40, torch.tensor([0, 1, 2, 0, 3, 3, 3]), normal, torch.float64)
    with torch.no_grad():
        adapters.draw([torch.Generator().manual_seed(seed) for seed in (0, 1)])
        weight = adapters.weight[:, :, 0]
    assert torch.equal(weight[..., 0], weight[..., 3])
    assert torch.equal(weight[..., 4], weight[..., 6])
    assert len(weight[0].unique(dim=0)) >= (40 if normal else 12)
    assert (weight.abs() == 1).all() != normal
    assert not torch.equal(weight[0], weight[1])


def test_the_factors_know_which_columns_belong_to_a_feature():
    settings = {**SMALL, "numeric_embedding": "periodic", "max_iter": 1}
    module = RegularizedMLPClassifier(**settings).fit(TABLE, Y).net_.module_
    numbers = np.repeat(np.arange(5), 4)
    assert_array_equal(module.adapters.owners, [*numbers, 1, *[5] * 3, *[6] * 8])
    assert module.adapters.weight.shape[-1] == module.hidden[0].weight.shape[1]


def test_factors_are_trained_and_are_no_weights():
    before = fitted(RegularizedMLPClassifier, learning_rate_init=1e-30).net_.module_
    after = fitted(RegularizedMLPClassifier).net_.module_
    assert not torch.allclose(before.adapters.weight, after.adapters.weight)
    assert all(weight is not after.adapters.weight for weight in after.weights())
    assert any(weight is after.head.weight for weight in after.weights())


@pytest.mark.parametrize("Estimator", BOTH)
def test_a_row_of_weight_0_is_a_removed_row(Estimator):
    weight = np.ones(len(X))
    weight[::3] = 0
    settings = {**SMALL, "batch_norm": True, **FULL_BATCH}
    one = Estimator(**settings).fit(X, Y, sample_weight=weight)
    other = Estimator(**settings).fit(X[weight > 0], Y[weight > 0])
    assert_allclose(one.predict(X), other.predict(X))


TOGETHER = [
    {"batch_norm": True, "numeric_embedding": "periodic"},
    {"layer_norm": True, "residual": True, "numeric_embedding": "piecewise_linear"},
    {"activation": "selu", "dropout": (0.3, 0.1), "input_dropout": 0.2},
    {"augmentation": "mixup", "ema_decay": 0.9, "clip_norm": 1.0},
    {"augmentation": "cutmix", "max_norm": 1.0, "alpha": 1e-3, "l1_ratio": 0.5},
    {"solver": "sgd", "monitor": lambda estimator, X, y: estimator.score(X, y)},
]


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("settings", TOGETHER)
def test_goes_together_with(Estimator, settings):
    estimator = Estimator(**{**SMALL, **settings, "early_stopping": True})
    predicted = estimator.fit(TABLE, Y).predict(TABLE)
    assert predicted.shape == Y.shape
    assert np.isfinite(predicted).all()
    assert_array_equal(clone(estimator).fit(TABLE, Y).predict(TABLE), predicted)
    if "max_norm" in settings:
        assert (estimator.net_.module_.head.weight.norm(dim=1) <= 1 + 1e-6).all()


TARGETS = [
    (RegularizedMLPClassifier, {"label_smoothing": 0.1}, np.digitize(X[:, 0], [-0.5, 0.5]), (3,)),
    (RegularizedMLPClassifier, {"loss": "focal"}, Y, (2,)),
    (RegularizedMLPClassifier, {"loss": "focal"}, np.digitize(X[:, 0], [-0.5, 0.5]), (3,)),
    (RegularizedMLPClassifier, {}, (X[:, :4] > 0).astype(int), (4,)),
    (RegularizedMLPRegressor, {"loss": "quantile", "quantile": (0.9, 0.1)}, X[:, :2] + X[:, 2:4], (2, 2)),
    (RegularizedMLPRegressor, {"loss": "poisson"}, np.round(np.exp(X[:, 0])), ()),
    (RegularizedMLPRegressor, {"loss": "huber"}, 100 + 7 * X[:, :2], (2,)),
]


@pytest.mark.parametrize(("Estimator", "settings", "target", "shape"), TARGETS)
def test_learns_every_kind_of_target(Estimator, settings, target, shape):
    estimator = Estimator(**{**SMALL, "max_iter": 30, "n_members": 4, "early_stopping": True, **settings})
    estimator.fit(X, target)
    predicted = estimator.predict_proba(X) if Estimator is RegularizedMLPClassifier else estimator.predict(X)
    assert predicted.shape == (len(X), *shape)
    assert estimator.oof_prediction_.shape == predicted.shape
    if settings.get("loss") == "quantile":
        assert (predicted[..., 0] >= predicted[..., 1]).all()
    else:
        assert estimator.score(X, target) > 0.4


def test_predictions_in_many_blocks_are_those_of_few():
    regressor = fitted(RegularizedMLPRegressor, n_adapters=40)
    many = np.vstack([X] * 8)
    assert_array_equal(regressor.predict(many).reshape(8, -1), np.tile(regressor.predict(X), (8, 1)))


@pytest.mark.parametrize("Estimator", BOTH)
def test_a_warm_start_goes_on_and_refuses_another_number(Estimator):
    estimator = Estimator(**{**SMALL, "warm_start": True, "max_iter": 1}).fit(X, Y)
    first = estimator.predict(X)
    assert np.isfinite(estimator.fit(X, Y).predict(X)).all()
    for number in (1, 4):
        with pytest.raises(ValueError, match="n_adapters as they were"):
            clone(estimator).fit(X, Y).set_params(n_adapters=number).fit(X, Y)
    assert first.shape == Y.shape


@pytest.mark.parametrize("Estimator", BOTH)
def test_what_cannot_be_is_refused_in_a_sentence(Estimator):
    with pytest.raises(ValueError, match="n_adapters=3 needs a hidden layer"):
        Estimator(**{**SMALL, "hidden_layer_sizes": ()}).fit(X, Y)
    with pytest.raises(AttributeError, match=r"coefs_ is known for a single network; this one has 3 adapters"):
        _ = fitted(Estimator, n_members=1).coefs_


def test_none_is_the_network_without():
    module = fitted(RegularizedMLPClassifier, n_adapters=1).net_.module_
    assert module.adapters is None
    assert module.head.weight.shape == (2, 16, 1)
