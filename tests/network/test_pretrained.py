"""Fine-tuning: copied and frozen layers, rejected parameters, and accuracy compared with training from scratch."""

import pickle
from itertools import product

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.network.pretrained import COLUMN_DEFAULTS, freeze
from tests.helpers import make_mixed_table, make_net, plain_classifier, plain_regressor, train_net

RNG = np.random.default_rng(0)
SMALL = {"hidden_layer_sizes": (12, 8), "max_iter": 4, "n_members": 2, "random_state": 0}
REGULARIZED = {
    "batch_norm": True,
    "numeric_embedding": "piecewise_linear",
    "dropout": 0.3,
    "input_dropout": 0.1,
    "alpha": 1e-3,
    "l1_ratio": 0.5,
    "weight_decay": 0.1,
    "max_norm": 1.0,
    "ema_decay": 0.9,
    "clip_norm": 1.0,
}


def with_shops(table):
    """Add a category with many levels."""
    return table.X.assign(shop=[f"shop {i % 12}" for i in range(len(table.X))])


SOURCE, TARGET = make_mixed_table(240, seed=0), make_mixed_table(160, seed=1)
X_SOURCE, X_TARGET = with_shops(SOURCE), with_shops(TARGET)
LARGE, FEW = RNG.normal(size=(200, 4)), RNG.normal(size=(60, 4))


def classifier(**settings):
    return plain_classifier(**{**SMALL, **settings})


def regressor(**settings):
    return plain_regressor(**{**SMALL, **settings})


def source(make=regressor, **settings):
    y = SOURCE.label if make is classifier else SOURCE.number
    return FrozenEstimator(make(**settings).fit(X_SOURCE, y))


def array_source(**settings):
    return FrozenEstimator(regressor(**settings).fit(LARGE, LARGE[:, 0]))


def state(estimator):
    return estimator.net_.module_.state_dict()


# settings with which the copied layers do not change
UNCHANGED = {"pretrained_lr_factor": 1e-30, "dropout": 0.0, "weight_decay": 0.0, "alpha": 0.0}


# copied layers


@pytest.mark.parametrize("make", [classifier, regressor])
def test_all_layers_are_copied_for_the_same_task(make):
    pretrained = source(make)
    y = TARGET.label if make is classifier else TARGET.number
    tuned = make(pretrained=pretrained, early_stopping=False, **UNCHANGED).fit(X_TARGET, y)
    ask = "predict_proba" if make is classifier else "predict"
    assert_allclose(getattr(tuned, ask)(X_TARGET), getattr(pretrained, ask)(X_TARGET), rtol=1e-5)
    moved = make(pretrained=pretrained).fit(X_TARGET, y)
    assert np.abs(getattr(moved, ask)(X_TARGET) - getattr(pretrained, ask)(X_TARGET)).max() > 1e-3


def test_another_task_has_a_new_head_and_its_own_target_statistics():
    pretrained = source(classifier)
    target = 1000 + 50 * TARGET.number
    tuned = regressor(pretrained=pretrained, early_stopping=False, **UNCHANGED).fit(X_TARGET, target)
    ours, theirs = state(tuned), state(pretrained)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs if not name.startswith("head"))
    assert not torch.equal(ours["head.weight"], theirs["head.weight"])
    assert_allclose(ours["target_center"].ravel(), target.mean())
    assert "head.weight" not in tuned.net_.module_.pretrained_names


@pytest.mark.parametrize(
    ("first", "then", "copied"),
    [
        ((classifier, SOURCE.label), (classifier, TARGET.label), True),
        ((classifier, SOURCE.label), (classifier, TARGET.label.map({"no": "nein", "yes": "yes"})), False),
        ((classifier, SOURCE.label), (classifier, TARGET.X["city"].fillna("?")), False),
        ((classifier, SOURCE.label), (regressor, TARGET.number), False),
        ((regressor, SOURCE.number), (classifier, TARGET.label), False),
        ((regressor, SOURCE.number), (regressor, TARGET.number), True),
        ((regressor, SOURCE.number), (regressor, np.column_stack([TARGET.number] * 2)), False),
    ],
)
def test_head_is_copied_if_the_target_is_of_the_same_kind(first, then, copied):
    (make_source, y_source), (make_target, y_target) = first, then
    pretrained = FrozenEstimator(make_source(max_iter=1).fit(X_SOURCE, y_source))
    tuned = make_target(pretrained=pretrained, max_iter=2).fit(X_TARGET, y_target)
    assert ("head.weight" in tuned.net_.module_.pretrained_names) is copied
    assert {"hidden.0.weight", "hidden.1.bias", "embeddings.weight"} <= tuned.net_.module_.pretrained_names


def test_another_loss_has_a_new_head_and_a_copied_head_keeps_the_target_statistics():
    pretrained = array_source()
    huber = regressor(pretrained=pretrained, loss="huber").fit(FEW, 9 + FEW[:, 0])
    assert "head.weight" not in huber.net_.module_.pretrained_names
    tuned = regressor(pretrained=pretrained).fit(FEW, 9 + FEW[:, 0])
    assert torch.equal(state(tuned)["target_center"], state(pretrained)["target_center"])


@pytest.mark.parametrize(
    ("hidden", "copied"),
    [((12, 8, 8), ("hidden.0", "hidden.1")), ((12,), ("hidden.0",)), ((12, 9), ("hidden.0",)), ((12, 8), None)],
)
def test_layers_are_copied_up_to_the_first_with_another_width(hidden, copied):
    pretrained = array_source(batch_norm=True)
    tuned = regressor(
        pretrained=pretrained, batch_norm=True, hidden_layer_sizes=hidden, early_stopping=False, **UNCHANGED
    )
    tuned.fit(FEW, FEW[:, 1])
    module = tuned.net_.module_
    if copied is None:
        assert module.pretrained_names == {name for name, _ in module.named_parameters()}
    else:
        norms = [name.replace("hidden", "norms") for name in copied]
        wanted = {f"{name}.weight" for name in copied}
        wanted |= {f"{name}.{parameter}" for name in norms for parameter in ("scale", "shift")}
        assert module.pretrained_names == wanted
    for name in module.pretrained_names:
        assert torch.equal(state(tuned)[name], state(pretrained)[name])


@pytest.mark.parametrize(("n_source", "n_target"), [(1, 3), (3, 2), (2, 5)])
def test_members_of_the_source_are_repeated_in_order(n_source, n_target):
    pretrained = FrozenEstimator(classifier(n_members=n_source, **REGULARIZED).fit(X_SOURCE, SOURCE.label))
    tuned = regressor(n_members=n_target, pretrained=pretrained, **REGULARIZED, freeze_layers=2).fit(
        X_TARGET, TARGET.number
    )
    for name in ("hidden.1.weight", "inputs.center", "inputs.edges", "embeddings.weight", "numeric.line"):
        for m in range(n_target):
            assert torch.equal(state(tuned)[name][m], state(pretrained)[name][m % n_source]), name


def test_columns_of_frames_are_matched_by_name():
    """The order of the columns and the kind of frame do not matter; new levels are unknown."""
    pretrained = source(classifier)
    tuned = {}
    for key, X in {
        "same": X_TARGET,
        "reordered": X_TARGET[X_TARGET.columns[::-1]],
        "polars": pl.from_pandas(X_TARGET[X_TARGET.columns[::-1]]),
    }.items():
        tuned[key] = regressor(pretrained=pretrained).fit(X, TARGET.number), X
    expected = tuned["same"][0].predict(X_TARGET)
    for estimator, X in tuned.values():
        assert_array_equal(estimator.predict(X), expected)
    estimator, X = tuned["reordered"]
    assert list(estimator.feature_names_in_) == list(X.columns)
    unknown, missing = X_TARGET.assign(city="Lima", shop="shop 99"), X_TARGET.assign(city=None, shop=None)
    again = regressor(pretrained=pretrained).fit(unknown, TARGET.number)
    assert_array_equal(again.predict(unknown), again.predict(missing))


def test_reordered_columns_are_reordered_in_arrays_and_sparse_matrices():
    """An estimator whose columns were matched by name reads the columns of an array by position."""
    pretrained = FrozenEstimator(regressor().fit(pd.DataFrame(LARGE, columns=list("abcd")), LARGE[:, 0]))
    reordered = pd.DataFrame(FEW, columns=list("dbca"))
    tuned = regressor(pretrained=pretrained).fit(reordered, FEW[:, 0])
    for X in (FEW, FEW.astype(object), sparse.csr_array(FEW)):
        with pytest.warns(UserWarning, match="valid feature names"):
            assert_allclose(tuned.predict(X), tuned.predict(reordered), rtol=1e-6)
    again = regressor(pretrained=FrozenEstimator(tuned)).fit(FEW, FEW[:, 0])
    assert_array_equal(again.encoder_.transform(FEW)[0], FEW[:, [3, 1, 2, 0]])


@pytest.mark.parametrize(("n_source", "n_target", "dtypes"), [(60, 200, (8, 4)), (200, 60, (4, 8))])
def test_source_with_another_precision_is_cast(n_source, n_target, dtypes):
    """A fit with all rows in one batch uses float64, others float32."""
    X = {60: FEW, 200: LARGE}
    pretrained = FrozenEstimator(
        regressor(**REGULARIZED, batch_size=60, early_stopping=False).fit(X[n_source], X[n_source][:, 0])
    )
    tuned = regressor(**REGULARIZED, batch_size=60, early_stopping=False, pretrained=pretrained, freeze_layers=2)
    tuned.fit(X[n_target], X[n_target][:, 1])
    weights = [each.net_.module_.hidden[1].weight for each in (pretrained, tuned)]
    assert tuple(weight.element_size() for weight in weights) == dtypes
    assert torch.equal(weights[0].float(), weights[1].float())


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("devices", list(product(DEVICES, DEVICES)))
def test_source_can_be_on_any_device(devices):
    pretrained = source(classifier, device=devices[0], **REGULARIZED)
    tuned = regressor(pretrained=pretrained, device=devices[1], freeze_layers=1, warm_start=True, **REGULARIZED)
    tuned.fit(X_TARGET, TARGET.number)
    assert torch.equal(state(tuned)["hidden.0.weight"].cpu(), state(pretrained)["hidden.0.weight"].cpu())
    assert np.isfinite(tuned.fit(X_TARGET, TARGET.number).predict(X_TARGET)).all()


# frozen layers


@pytest.mark.parametrize(
    "settings", [{}, REGULARIZED, {"layer_norm": True, "numeric_embedding": "periodic", "solver": "sgd"}]
)
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("n_frozen", [1, 2])
def test_frozen_layers_do_not_change_and_the_others_do(settings, early_stopping, n_frozen):
    pretrained = source(classifier, **settings)
    weight = np.where(np.arange(len(X_TARGET)) % 5, 1.0, 0.0)
    strong = {**settings, "alpha": 0.1, "l1_ratio": 0.5, "weight_decay": 5.0, "max_norm": 0.1}
    tuned = regressor(pretrained=pretrained, freeze_layers=n_frozen, early_stopping=early_stopping, **strong)
    ours, theirs = state(tuned.fit(X_TARGET, TARGET.number, sample_weight=weight)), state(pretrained)
    stay = (
        "embeddings",
        "numeric",
        "inputs",
        *(f"{kind}.{i}." for i in range(n_frozen) for kind in ("hidden", "norms")),
    )
    for name in theirs:
        if name.startswith(stay):
            assert torch.equal(ours[name], theirs[name]), name
        elif name.startswith("hidden"):
            assert not torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize("settings", [{"n_members": 5, "freeze_layers": 1}, {"early_stopping": True}, REGULARIZED])
def test_fit_does_not_change_its_source(settings):
    pretrained = source(classifier, **{key: value for key, value in settings.items() if key in REGULARIZED})
    before, asked = pickle.dumps(pretrained.estimator.get_params()), pretrained.predict_proba(X_SOURCE)
    held = {name: tensor.clone() for name, tensor in state(pretrained).items()}
    for y, make in ((TARGET.label, classifier), (TARGET.number, regressor)):
        make(pretrained=pretrained, **settings).fit(X_TARGET, y)
    assert all(torch.equal(tensor, held[name]) for name, tensor in state(pretrained).items())
    assert_array_equal(pretrained.predict_proba(X_SOURCE), asked)
    assert pickle.dumps(pretrained.estimator.get_params()) == before
    assert all(parameter.requires_grad for parameter in pretrained.net_.module_.parameters())


def test_frozen_layers_are_not_updated_by_the_optimizer():
    tuned = regressor(pretrained=source(), freeze_layers=1, warm_start=True).fit(X_TARGET, TARGET.number)
    updated = {id(parameter) for parameter in tuned.net_.optimizer_.parameters}
    names = {name for name, parameter in tuned.net_.module_.named_parameters() if id(parameter) in updated}
    assert names == {"hidden.1.weight", "hidden.1.bias", "head.weight", "head.bias"}


def test_parameters_without_a_source_form_two_groups():
    net, *_ = make_net([0])
    assert [(group.decay, group.factor) for group in net.optimizer_.groups] == [(0.01, 1.0), (0.0, 1.0)]


@pytest.mark.parametrize("settings", [{}, {"solver": "sgd"}, {"ema_decay": 0.9, "patience": None}])
def test_training_with_frozen_layers_continues_exactly_from_its_state(settings):
    def frozen_net():
        net, *data = make_net([0, 1], **settings)
        freeze(net.module_, 1)
        net.module_.pretrained_names = frozenset({"hidden.1.weight"})
        return net.initialize_optimizer(), *data

    whole, *data = frozen_net()
    train_net(whole, *data)
    half, *data = frozen_net()
    train_net(half, *data, epochs=3)
    fresh, *data = frozen_net()
    fresh.load_state_dict(half.state_dict())
    train_net(fresh, *data)
    for ours, theirs in zip(fresh.trained_tensors(), whole.trained_tensors(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("settings", [{}, REGULARIZED])
def test_member_equals_the_network_fine_tuned_alone(settings):
    """The first of several members has the same source, seed and rows as a single member."""
    pretrained = FrozenEstimator(classifier(n_members=3, **settings).fit(X_SOURCE, SOURCE.label))
    common = {**settings, "pretrained": pretrained, "early_stopping": False, "freeze_layers": 1}
    many, one = (regressor(n_members=n, **common).fit(X_TARGET, TARGET.number) for n in (4, 1))
    for name, tensor in state(one).items():
        if tensor.dim() > 1:
            torch.testing.assert_close(state(many)[name][:1], tensor, atol=1e-5, rtol=1e-5)


def test_pretrained_lr_factor_multiplies_the_learning_rate_of_copied_layers():
    """With gradient descent the first step of copied layers is smaller by this factor."""
    pretrained = FrozenEstimator(classifier(batch_size=1000, solver="sgd").fit(LARGE, LARGE[:, 0] > 0))
    common = {"pretrained": pretrained, "max_iter": 1, "solver": "sgd", "batch_size": 1000, "early_stopping": False}
    common.update(learning_rate="constant", weight_decay=0.0, alpha=0.0, dropout=0.0)
    moved = {}
    for factor in (1.0, 0.1):
        tuned = regressor(pretrained_lr_factor=factor, **common).fit(FEW, FEW[:, 0])
        moved[factor] = {
            name: state(tuned)[name] - state(pretrained).get(name) for name in ("hidden.0.weight", "head.weight")
        }
    torch.testing.assert_close(moved[0.1]["hidden.0.weight"], 0.1 * moved[1.0]["hidden.0.weight"])
    assert torch.equal(moved[0.1]["head.weight"], moved[1.0]["head.weight"])


# scikit-learn


def test_warm_start_keeps_layers_frozen_until_freeze_layers_changes():
    pretrained = source(classifier)
    tuned = regressor(pretrained=pretrained, freeze_layers=2, warm_start=True).fit(X_TARGET, TARGET.number)
    once = {name: tensor.clone() for name, tensor in state(tuned).items()}
    again = state(tuned.fit(X_TARGET, TARGET.number))
    assert torch.equal(again["hidden.1.weight"], once["hidden.1.weight"])
    assert not torch.equal(again["head.weight"], once["head.weight"])
    unfrozen = state(tuned.set_params(freeze_layers=0).fit(X_TARGET, TARGET.number))
    assert not torch.equal(unfrozen["hidden.1.weight"], once["hidden.1.weight"])
    pickle.loads(pickle.dumps(tuned)).fit(X_TARGET, TARGET.number)
    tuned.set_params(pretrained=None).fit(X_TARGET, TARGET.number)


def test_clones_and_pickles_keep_the_source():
    pretrained = source(classifier)
    tuned = regressor(pretrained=pretrained, freeze_layers=1).fit(X_TARGET, TARGET.number)
    expected = tuned.predict(X_TARGET)
    assert clone(tuned).pretrained is pretrained
    assert_array_equal(clone(tuned).fit(X_TARGET, TARGET.number).predict(X_TARGET), expected)
    loaded = pickle.loads(pickle.dumps(tuned))
    assert_array_equal(loaded.predict(X_TARGET), expected)
    assert_array_equal(loaded.fit(X_TARGET, TARGET.number).predict(X_TARGET), expected)
    anew = tuned.set_params(pretrained=None, freeze_layers=0).fit(X_TARGET, TARGET.number).predict(X_TARGET)
    assert_array_equal(anew, regressor().fit(X_TARGET, TARGET.number).predict(X_TARGET))


def test_fine_tuning_works_in_searches_cross_validation_and_pipelines():
    pretrained = source(classifier)
    grid = {"freeze_layers": [0, 2], "pretrained": [pretrained]}
    search = GridSearchCV(regressor(), grid, cv=2, error_score="raise").fit(X_TARGET, TARGET.number)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    tuned = regressor(pretrained=pretrained, freeze_layers=1)
    assert np.isfinite(cross_val_score(tuned, X_TARGET, TARGET.number, cv=2)).all()
    pipeline = make_pipeline(FunctionTransformer(lambda X: X), tuned).fit(X_TARGET, TARGET.number)
    again = FrozenEstimator(pipeline[-1])
    assert regressor(pretrained=again).fit(X_TARGET, TARGET.number).predict(X_TARGET).shape == (len(X_TARGET),)
    scaled = make_pipeline(StandardScaler(), regressor(pretrained=array_source())).fit(FEW, FEW[:, 0])
    assert scaled.set_params(regularizedmlpregressor__freeze_layers=2).fit(FEW, FEW[:, 0]).predict(FEW).shape == (60,)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_fine_tuning_works_with_validation_rows_weights_and_out_of_fold_predictions(make):
    y = TARGET.label if make is classifier else TARGET.number
    tuned = make(pretrained=source(classifier), n_members=4, early_stopping=True, monitor="loss").fit(X_TARGET, y)
    assert len(tuned.oof_prediction_) == len(X_TARGET)
    tuned.fit(X_TARGET[:100], y[:100], X_val=X_TARGET[100:], y_val=y[100:], sample_weight=np.arange(100.0))
    assert tuned.validation_curve_ is not None


# rejected parameters

REJECTED = {
    "another activation": ({"activation": "relu"}, "fitted with activation='silu'"),
    "batch norm": ({"batch_norm": True}, "fitted with batch_norm=False"),
    "layer norm": ({"layer_norm": True}, "fitted with layer_norm=False"),
    "an embedding": ({"numeric_embedding": "periodic"}, "fitted with numeric_embedding=None"),
    "another embedding": ({"numeric_embedding": "piecewise_linear"}, "fitted with numeric_embedding=None"),
    "another scaling": (
        {"numeric_scaling": "standard"},
        "numeric_scaling='standard' cannot be combined",
    ),
    "categories of its own": ({"categorical_features": [1]}, "Set categorical_features='from_dtype'."),
    "no layer that fits": (
        {"hidden_layer_sizes": (9, 8)},
        "widths are \\(12, 8\\), and hidden_layer_sizes is \\(9, 8\\)",
    ),
    "no layer": ({"hidden_layer_sizes": ()}, "No hidden layer of pretrained fits"),
    "too many frozen layers": ({"freeze_layers": 3}, "freeze_layers=3, but only 2 hidden layer"),
    "frozen layers that are new": ({"freeze_layers": 2, "hidden_layer_sizes": (12, 9)}, "but only 1 hidden layer"),
    "frozen layers of nothing": ({"freeze_layers": 1, "pretrained": None}, "but pretrained is None"),
}


@pytest.mark.parametrize("what", REJECTED)
def test_incompatible_parameters_are_rejected_before_training(what):
    settings, sentence = REJECTED[what]
    estimator = regressor(**{"pretrained": array_source(), **settings})
    with pytest.raises(ValueError, match=sentence):
        estimator.fit(FEW, FEW[:, 0])
    assert not [name for name in vars(estimator) if name.endswith("_")]


def test_different_residual_connections_are_rejected():
    pretrained = array_source(hidden_layer_sizes=(12, 12))
    with pytest.raises(ValueError, match="fitted with residual=False"):
        regressor(pretrained=pretrained, hidden_layer_sizes=(12, 12), residual=True).fit(FEW, FEW[:, 0])
    regressor(pretrained=array_source(), residual=True).fit(FEW, FEW[:, 0])  # no layer keeps the width


@pytest.mark.parametrize(
    ("X", "sentence"),
    [
        (X_TARGET.drop(columns=["city", "member"]), "X has no column\\(s\\) 'city', 'member'"),
        (X_TARGET.assign(z=1.0), "X has the column\\(s\\) 'z', without which pretrained was fitted. Drop them"),
        (X_TARGET.assign(city=1.0), "Column 'city' contained text when the estimator was fitted"),
        (X_TARGET.assign(number="many"), "Column 'number' contained numbers when the estimator was fitted"),
        (np.zeros((len(X_TARGET), 3)), "X has 3 features, but pretrained was fitted with 7"),
    ],
)
def test_different_columns_are_rejected_by_name(X, sentence):
    with pytest.raises(ValueError, match=sentence):
        regressor(pretrained=source()).fit(X, TARGET.number)


def test_linear_source_requires_the_same_kind_of_target():
    pretrained = FrozenEstimator(regressor(hidden_layer_sizes=()).fit(LARGE, LARGE[:, 0]))
    tuned = regressor(hidden_layer_sizes=(), pretrained=pretrained, early_stopping=False, **UNCHANGED).fit(
        FEW, FEW[:, 1]
    )
    assert_allclose(tuned.predict(FEW), pretrained.predict(FEW), rtol=1e-5)
    with pytest.raises(ValueError, match="does not fit another kind of target"):
        classifier(hidden_layer_sizes=(), pretrained=pretrained).fit(FEW, FEW[:, 1] > 0)


def test_error_for_an_invalid_source_states_the_remedy():
    for wrong in (regressor().fit(FEW, FEW[:, 0]), FrozenEstimator(regressor()), FrozenEstimator(StandardScaler())):
        with pytest.raises(ValueError, match=r"must be None, or sklearn.frozen.FrozenEstimator\(source\) of a .* Got "):
            regressor(pretrained=wrong).fit(FEW, FEW[:, 0])


def test_column_parameters_of_the_source_are_accepted():
    pretrained = array_source(categorical_features=None, numeric_scaling="standard")
    settings = {"categorical_features": None, "numeric_scaling": "standard"}
    named, left = (regressor(pretrained=pretrained, **given).fit(FEW, FEW[:, 0]) for given in (settings, {}))
    assert_array_equal(named.predict(FEW), left.predict(FEW))


@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_column_defaults_are_the_defaults_of_the_estimators(Estimator):
    assert COLUMN_DEFAULTS.items() <= Estimator().get_params().items()


class Slope:
    """A callable activation whose copies are different objects."""

    def __call__(self, x):
        return torch.nn.functional.leaky_relu(x, 0.2)


def test_copy_of_a_callable_activation_is_the_same_activation():
    pretrained = array_source(activation=Slope())
    tuned = clone(regressor(pretrained=pretrained, activation=Slope())).fit(FEW, FEW[:, 0])
    assert "hidden.0.weight" in tuned.net_.module_.pretrained_names


# accuracy


def related_tables():
    """Return a function that draws rows of one of two targets, which depend on the same sine functions."""
    frequencies = RNG.normal(size=(6, 4)) * 0.6
    heads = RNG.normal(size=(2, 4, 3))

    def table(n, task, rng):
        X = rng.normal(size=(n, 6))
        y = np.sin(2 * X @ frequencies) @ heads[task]
        return X, y + 0.2 * rng.normal(size=y.shape)

    return table


def test_fine_tuning_is_more_accurate_than_training_from_scratch():
    table = related_tables()
    learn = {"hidden_layer_sizes": (64, 64), "n_members": 2}
    pretrained = FrozenEstimator(
        plain_regressor(**learn, max_iter=40, random_state=0).fit(*table(3000, 0, np.random.default_rng(0)))
    )
    settings = {
        "nothing": {},
        "tuned": {"pretrained": pretrained},
        "frozen": {"pretrained": pretrained, "freeze_layers": 2},
        "same rate": {"pretrained": pretrained, "pretrained_lr_factor": 1.0},
    }
    scores = {name: [] for name in settings}
    for seed in range(4):
        rng = np.random.default_rng(seed + 1)
        few, many = table(60, 1, rng), table(1000, 1, rng)
        few, many = (few[0], few[1][:, 0]), (many[0], many[1][:, 0])
        for name, given in settings.items():
            estimator = plain_regressor(**learn, **given, max_iter=60, random_state=seed)
            scores[name].append(estimator.fit(*few).score(*many))
    nothing, tuned, frozen, same_rate = (np.array(scores[name]) for name in settings)
    assert (tuned > nothing + 0.2).all()
    assert (frozen > nothing + 0.2).all()
    assert tuned.mean() > same_rate.mean() > nothing.mean()


SMALL_NET = {"hidden_layer_sizes": (32,), "n_members": 2, "max_iter": 3, "weight_decay": 0.0, "random_state": 0}
X_SEED = np.random.RandomState(0).randn(200, 3)
Y_SEED = X_SEED[:, 0] * X_SEED[:, 1]


def test_new_head_differs_from_the_initial_head_of_the_source():
    """The copied layers were trained with the initial head of the source, which has the same seed."""
    source = plain_regressor(**SMALL_NET).fit(X_SEED, Y_SEED)
    labels = np.where(np.median(Y_SEED) < Y_SEED, "high", "low")

    def first_head(estimator, y):
        fitted = estimator.set_params(max_iter=1, learning_rate_init=1e-9).fit(X_SEED, y)
        return fitted.net_.module_.head.weight.detach().double().numpy()

    initial = first_head(plain_regressor(**SMALL_NET), Y_SEED)
    tuned = plain_classifier(**SMALL_NET, pretrained=FrozenEstimator(source))
    second = first_head(tuned, labels)
    third = first_head(plain_regressor(**SMALL_NET, pretrained=FrozenEstimator(tuned)), Y_SEED)
    for one, other in ((initial, second), (second, third), (initial, third)):
        assert np.abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.5
