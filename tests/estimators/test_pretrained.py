"""Fine-tuning: what is copied, what stays, what is refused, and that it beats training from nothing."""

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
from skreg.network.pretrained import ITS_OWN, freeze
from tests.helpers import make_mixed_table, make_net, train_net

pytestmark = pytest.mark.usefixtures("plain_training")

RNG = np.random.default_rng(0)
SMALL = {"hidden_layer_sizes": (12, 8), "max_iter": 4, "n_members": 2, "random_state": 0}
CURES = {
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
    """The frame with a category that gets an embedding."""
    return table.X.assign(shop=[f"shop {i % 12}" for i in range(len(table.X))])


OLD, NEW = make_mixed_table(240, seed=0), make_mixed_table(160, seed=1)
X_OLD, X_NEW = with_shops(OLD), with_shops(NEW)
LARGE, FEW = RNG.normal(size=(200, 4)), RNG.normal(size=(60, 4))


def classifier(**settings):
    return RegularizedMLPClassifier(**{**SMALL, **settings})


def regressor(**settings):
    return RegularizedMLPRegressor(**{**SMALL, **settings})


def source(make=regressor, **settings):
    y = OLD.label if make is classifier else OLD.number
    return FrozenEstimator(make(**settings).fit(X_OLD, y))


def array_source(**settings):
    return FrozenEstimator(regressor(**settings).fit(LARGE, LARGE[:, 0]))


def state(estimator):
    return estimator.net_.module_.state_dict()


# a fit that changes nothing that it copies
STILL = {"pretrained_lr_factor": 1e-30, "dropout": 0.0, "weight_decay": 0.0, "alpha": 0.0}


# what is copied


@pytest.mark.parametrize("make", [classifier, regressor])
def test_the_same_task_starts_from_all_of_the_source(make):
    kept = source(make)
    y = NEW.label if make is classifier else NEW.number
    tuned = make(pretrained=kept, early_stopping=False, **STILL).fit(X_NEW, y)
    ask = "predict_proba" if make is classifier else "predict"
    assert_allclose(getattr(tuned, ask)(X_NEW), getattr(kept, ask)(X_NEW), rtol=1e-5)
    moved = make(pretrained=kept).fit(X_NEW, y)
    assert np.abs(getattr(moved, ask)(X_NEW) - getattr(kept, ask)(X_NEW)).max() > 1e-3


def test_another_task_gets_a_new_head_and_statistics_of_its_own_target():
    kept = source(classifier)
    target = 1000 + 50 * NEW.number
    tuned = regressor(pretrained=kept, early_stopping=False, **STILL).fit(X_NEW, target)
    ours, theirs = state(tuned), state(kept)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs if not name.startswith("head"))
    assert not torch.equal(ours["head.weight"], theirs["head.weight"])
    assert_allclose(ours["target_center"].ravel(), target.mean())
    assert "head.weight" not in tuned.net_.module_.old


@pytest.mark.parametrize(
    "first, then, copied",
    [
        ((classifier, OLD.label), (classifier, NEW.label), True),
        ((classifier, OLD.label), (classifier, NEW.label.map({"no": "nein", "yes": "yes"})), False),
        ((classifier, OLD.label), (classifier, NEW.X["city"].fillna("?")), False),
        ((classifier, OLD.label), (regressor, NEW.number), False),
        ((regressor, OLD.number), (classifier, NEW.label), False),
        ((regressor, OLD.number), (regressor, NEW.number), True),
        ((regressor, OLD.number), (regressor, np.column_stack([NEW.number] * 2)), False),
    ],
)
def test_the_head_is_copied_where_the_target_is_of_the_same_kind(first, then, copied):
    (make_old, y_old), (make_new, y_new) = first, then
    kept = FrozenEstimator(make_old(max_iter=1).fit(X_OLD, y_old))
    tuned = make_new(pretrained=kept, max_iter=2).fit(X_NEW, y_new)
    assert ("head.weight" in tuned.net_.module_.old) is copied
    assert {"hidden.0.weight", "hidden.1.bias", "embeddings.weight"} <= tuned.net_.module_.old


def test_another_loss_gets_a_new_head_and_a_copied_head_keeps_the_statistics_of_the_target():
    kept = array_source()
    huber = regressor(pretrained=kept, loss="huber").fit(FEW, 9 + FEW[:, 0])
    assert "head.weight" not in huber.net_.module_.old
    tuned = regressor(pretrained=kept).fit(FEW, 9 + FEW[:, 0])
    assert torch.equal(state(tuned)["target_center"], state(kept)["target_center"])


@pytest.mark.parametrize(
    "hidden, old",
    [((12, 8, 8), ("hidden.0", "hidden.1")), ((12,), ("hidden.0",)), ((12, 9), ("hidden.0",)), ((12, 8), None)],
)
def test_layers_are_copied_up_to_the_first_that_does_not_fit(hidden, old):
    kept = array_source(batch_norm=True)
    tuned = regressor(pretrained=kept, batch_norm=True, hidden_layer_sizes=hidden, early_stopping=False, **STILL)
    tuned.fit(FEW, FEW[:, 1])
    module = tuned.net_.module_
    if old is None:
        assert module.old == {name for name, _ in module.named_parameters()}
    else:
        norms = [name.replace("hidden", "norms") for name in old]
        wanted = {*(f"{name}.weight" for name in old), *(f"{name}.{p}" for name in norms for p in ("scale", "shift"))}
        assert module.old == wanted
    for name in module.old:
        assert torch.equal(state(tuned)[name], state(kept)[name])


@pytest.mark.parametrize("n_old, n_new", [(1, 3), (3, 2), (2, 5)])
def test_members_take_those_of_the_source_in_turn(n_old, n_new):
    kept = FrozenEstimator(classifier(n_members=n_old, **CURES).fit(X_OLD, OLD.label))
    tuned = regressor(n_members=n_new, pretrained=kept, **CURES, freeze_layers=2).fit(X_NEW, NEW.number)
    for name in ("hidden.1.weight", "inputs.center", "inputs.edges", "embeddings.weight", "numeric.line"):
        for m in range(n_new):
            assert torch.equal(state(tuned)[name][m], state(kept)[name][m % n_old]), name


def test_the_columns_are_read_as_the_source_reads_them():
    """By name in frames, whatever their order and kind; levels that the source has not seen are unknown."""
    kept = source(classifier)
    tuned = {}
    for key, X in {
        "same": X_NEW,
        "turned": X_NEW[X_NEW.columns[::-1]],
        "polars": pl.from_pandas(X_NEW[X_NEW.columns[::-1]]),
    }.items():
        tuned[key] = regressor(pretrained=kept).fit(X, NEW.number), X
    expected = tuned["same"][0].predict(X_NEW)
    for estimator, X in tuned.values():
        assert_array_equal(estimator.predict(X), expected)
    estimator, X = tuned["turned"]
    assert list(estimator.feature_names_in_) == list(X.columns)
    unknown, missing = X_NEW.assign(city="Lima", shop="shop 99"), X_NEW.assign(city=None, shop=None)
    again = regressor(pretrained=kept).fit(unknown, NEW.number)
    assert_array_equal(again.predict(unknown), again.predict(missing))


def test_turned_columns_are_turned_in_arrays_and_sparse_matrices_too():
    """An estimator whose columns were matched by name reads those of an array by position, as all do."""
    kept = FrozenEstimator(regressor().fit(pd.DataFrame(LARGE, columns=list("abcd")), LARGE[:, 0]))
    turned = pd.DataFrame(FEW, columns=list("dbca"))
    tuned = regressor(pretrained=kept).fit(turned, FEW[:, 0])
    for X in (FEW, FEW.astype(object), sparse.csr_array(FEW)):
        with pytest.warns(UserWarning, match="valid feature names"):
            assert_allclose(tuned.predict(X), tuned.predict(turned), rtol=1e-6)
    again = regressor(pretrained=FrozenEstimator(tuned)).fit(FEW, FEW[:, 0])
    assert_array_equal(again.encoder_.transform(FEW).numbers, FEW[:, [3, 1, 2, 0]])


@pytest.mark.parametrize("n_old, n_new, dtypes", [(60, 200, (8, 4)), (200, 60, (4, 8))])
def test_a_source_of_another_precision_is_cast(n_old, n_new, dtypes):
    """All rows in one batch are fitted in float64, more in float32."""
    X = {60: FEW, 200: LARGE}
    kept = FrozenEstimator(regressor(**CURES, batch_size=60, early_stopping=False).fit(X[n_old], X[n_old][:, 0]))
    tuned = regressor(**CURES, batch_size=60, early_stopping=False, pretrained=kept, freeze_layers=2)
    tuned.fit(X[n_new], X[n_new][:, 1])
    weights = [each.net_.module_.hidden[1].weight for each in (kept, tuned)]
    assert tuple(weight.element_size() for weight in weights) == dtypes
    assert torch.equal(weights[0].float(), weights[1].float())


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("devices", list(product(DEVICES, DEVICES)))
def test_a_source_may_be_on_any_device(devices):
    kept = source(classifier, device=devices[0], **CURES)
    tuned = regressor(pretrained=kept, device=devices[1], freeze_layers=1, warm_start=True, **CURES)
    tuned.fit(X_NEW, NEW.number)
    assert torch.equal(state(tuned)["hidden.0.weight"].cpu(), state(kept)["hidden.0.weight"].cpu())
    assert np.isfinite(tuned.fit(X_NEW, NEW.number).predict(X_NEW)).all()


# what stays


@pytest.mark.parametrize(
    "settings", [{}, CURES, {"layer_norm": True, "numeric_embedding": "periodic", "solver": "sgd"}]
)
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("n_frozen", [1, 2])
def test_frozen_layers_stay_to_the_bit_and_the_others_move(settings, early_stopping, n_frozen):
    kept = source(classifier, **settings)
    weight = np.where(np.arange(len(X_NEW)) % 5, 1.0, 0.0)
    strong = {**settings, "alpha": 0.1, "l1_ratio": 0.5, "weight_decay": 5.0, "max_norm": 0.1}
    tuned = regressor(pretrained=kept, freeze_layers=n_frozen, early_stopping=early_stopping, **strong)
    ours, theirs = state(tuned.fit(X_NEW, NEW.number, sample_weight=weight)), state(kept)
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


@pytest.mark.parametrize("settings", [{"n_members": 5, "freeze_layers": 1}, {"early_stopping": True}, CURES])
def test_a_fit_leaves_its_source_as_it_was(settings):
    kept = source(classifier, **{key: value for key, value in settings.items() if key in CURES})
    before, asked = pickle.dumps(kept.estimator.get_params()), kept.predict_proba(X_OLD)
    held = {name: tensor.clone() for name, tensor in state(kept).items()}
    for y, make in ((NEW.label, classifier), (NEW.number, regressor)):
        make(pretrained=kept, **settings).fit(X_NEW, y)
    assert all(torch.equal(tensor, held[name]) for name, tensor in state(kept).items())
    assert_array_equal(kept.predict_proba(X_OLD), asked)
    assert pickle.dumps(kept.estimator.get_params()) == before
    assert all(parameter.requires_grad for parameter in kept.net_.module_.parameters())


def test_a_frozen_layer_costs_no_gradient():
    tuned = regressor(pretrained=source(), freeze_layers=1, warm_start=True).fit(X_NEW, NEW.number)
    updated = {id(parameter) for parameter in tuned.net_.optimizer_.parameters}
    names = {name for name, parameter in tuned.net_.module_.named_parameters() if id(parameter) in updated}
    assert names == {"hidden.1.weight", "hidden.1.bias", "head.weight", "head.bias"}


def test_without_a_source_everything_is_trained_in_the_two_groups_of_before():
    net, *_ = make_net([0])
    assert [(group.decay, group.factor) for group in net.optimizer_.groups] == [(0.01, 1.0), (0.0, 1.0)]


@pytest.mark.parametrize("settings", [{}, {"solver": "sgd"}, {"ema_decay": 0.9, "patience": None}])
def test_a_fit_with_frozen_layers_continues_exactly_from_its_state(settings):
    def frozen_net():
        net, *data = make_net([0, 1], **settings)
        freeze(net.module_, 1)
        net.module_.old = frozenset({"hidden.1.weight"})
        return net.initialize_optimizer(), *data

    whole, *data = frozen_net()
    train_net(whole, *data)
    half, *data = frozen_net()
    train_net(half, *data, epochs=3)
    fresh, *data = frozen_net()
    fresh.load_state_dict(half.state_dict())
    train_net(fresh, *data)
    pairs = zip(fresh.trained_tensors(), whole.trained_tensors(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


@pytest.mark.parametrize("settings", [{}, CURES])
def test_a_member_is_fine_tuned_as_if_alone(settings):
    """The first of several starts from the same source, seed and rows as the one of an estimator of one member."""
    kept = FrozenEstimator(classifier(n_members=3, **settings).fit(X_OLD, OLD.label))
    common = {**settings, "pretrained": kept, "early_stopping": False, "freeze_layers": 1}
    many, one = (regressor(n_members=n, **common).fit(X_NEW, NEW.number) for n in (4, 1))
    for name, tensor in state(one).items():
        if tensor.dim() > 1:
            torch.testing.assert_close(state(many)[name][:1], tensor, atol=1e-5, rtol=1e-5)


def test_the_factor_is_one_on_the_rate_of_what_is_old():
    """Under plain descent the first step of what is old is that much smaller."""
    kept = FrozenEstimator(classifier(batch_size=1000, solver="sgd").fit(LARGE, LARGE[:, 0] > 0))
    common = {"pretrained": kept, "max_iter": 1, "solver": "sgd", "batch_size": 1000, "early_stopping": False}
    common.update(learning_rate="constant", weight_decay=0.0, alpha=0.0, dropout=0.0)
    moved = {}
    for factor in (1.0, 0.1):
        tuned = regressor(pretrained_lr_factor=factor, **common).fit(FEW, FEW[:, 0])
        moved[factor] = {
            name: state(tuned)[name] - state(kept).get(name) for name in ("hidden.0.weight", "head.weight")
        }
    torch.testing.assert_close(moved[0.1]["hidden.0.weight"], 0.1 * moved[1.0]["hidden.0.weight"])
    assert torch.equal(moved[0.1]["head.weight"], moved[1.0]["head.weight"])


# as scikit-learn's users use it


def test_a_warm_start_keeps_layers_frozen_and_thaws_them_when_asked():
    kept = source(classifier)
    tuned = regressor(pretrained=kept, freeze_layers=2, warm_start=True).fit(X_NEW, NEW.number)
    once = {name: tensor.clone() for name, tensor in state(tuned).items()}
    again = state(tuned.fit(X_NEW, NEW.number))
    assert torch.equal(again["hidden.1.weight"], once["hidden.1.weight"])
    assert not torch.equal(again["head.weight"], once["head.weight"])
    thawed = state(tuned.set_params(freeze_layers=0).fit(X_NEW, NEW.number))
    assert not torch.equal(thawed["hidden.1.weight"], once["hidden.1.weight"])
    pickle.loads(pickle.dumps(tuned)).fit(X_NEW, NEW.number)
    tuned.set_params(pretrained=None).fit(X_NEW, NEW.number)


def test_clones_and_pickles_keep_the_source():
    kept = source(classifier)
    tuned = regressor(pretrained=kept, freeze_layers=1).fit(X_NEW, NEW.number)
    expected = tuned.predict(X_NEW)
    assert clone(tuned).pretrained is kept
    assert_array_equal(clone(tuned).fit(X_NEW, NEW.number).predict(X_NEW), expected)
    loaded = pickle.loads(pickle.dumps(tuned))
    assert_array_equal(loaded.predict(X_NEW), expected)
    assert_array_equal(loaded.fit(X_NEW, NEW.number).predict(X_NEW), expected)
    anew = tuned.set_params(pretrained=None, freeze_layers=0).fit(X_NEW, NEW.number).predict(X_NEW)
    assert_array_equal(anew, regressor().fit(X_NEW, NEW.number).predict(X_NEW))


def test_searches_folds_and_pipelines_take_it():
    kept = source(classifier)
    grid = {"freeze_layers": [0, 2], "pretrained": [kept]}
    search = GridSearchCV(regressor(), grid, cv=2, error_score="raise").fit(X_NEW, NEW.number)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    tuned = regressor(pretrained=kept, freeze_layers=1)
    assert np.isfinite(cross_val_score(tuned, X_NEW, NEW.number, cv=2)).all()
    pipeline = make_pipeline(FunctionTransformer(lambda X: X), tuned).fit(X_NEW, NEW.number)
    again = FrozenEstimator(pipeline[-1])
    assert regressor(pretrained=again).fit(X_NEW, NEW.number).predict(X_NEW).shape == (len(X_NEW),)
    scaled = make_pipeline(StandardScaler(), regressor(pretrained=array_source())).fit(FEW, FEW[:, 0])
    assert scaled.set_params(regularizedmlpregressor__freeze_layers=2).fit(FEW, FEW[:, 0]).predict(FEW).shape == (60,)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_it_works_with_validation_rows_weights_and_out_of_fold_predictions(make):
    y = NEW.label if make is classifier else NEW.number
    tuned = make(pretrained=source(classifier), n_members=4, early_stopping=True, monitor="loss").fit(X_NEW, y)
    assert len(tuned.oof_prediction_) == len(X_NEW)
    tuned.fit(X_NEW[:100], y[:100], X_val=X_NEW[100:], y_val=y[100:], sample_weight=np.arange(100.0))
    assert tuned.validation_curve_ is not None


# what is refused

REFUSED = {
    "another activation": ({"activation": "relu"}, "fitted with activation='silu'"),
    "batch norm": ({"batch_norm": True}, "fitted with batch_norm=False"),
    "layer norm": ({"layer_norm": True}, "fitted with layer_norm=False"),
    "an embedding": ({"numeric_embedding": "periodic"}, "fitted with numeric_embedding=None"),
    "another embedding": ({"numeric_embedding": "piecewise_linear"}, "fitted with numeric_embedding=None"),
    "another scaling": ({"numeric_scaling": "standard"}, "numeric_scaling='standard' cannot be had with pretrained"),
    "categories of its own": ({"categorical_features": [1]}, "Leave categorical_features='from_dtype'."),
    "no layer that fits": (
        {"hidden_layer_sizes": (9, 8)},
        "widths are \\(12, 8\\), and hidden_layer_sizes is \\(9, 8\\)",
    ),
    "no layer": ({"hidden_layer_sizes": ()}, "No hidden layer of pretrained fits"),
    "too many frozen layers": ({"freeze_layers": 3}, "freeze_layers=3, but 2 hidden layer"),
    "frozen layers that are new": ({"freeze_layers": 2, "hidden_layer_sizes": (12, 9)}, "but 1 hidden layer"),
    "frozen layers of nothing": ({"freeze_layers": 1, "pretrained": None}, "and pretrained is None"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_go_together_is_refused_before_any_work(what):
    settings, sentence = REFUSED[what]
    estimator = regressor(**{"pretrained": array_source(), **settings})
    with pytest.raises(ValueError, match=sentence):
        estimator.fit(FEW, FEW[:, 0])
    assert not [name for name in vars(estimator) if name.endswith("_")]


def test_residual_connections_are_refused_where_they_differ():
    kept = array_source(hidden_layer_sizes=(12, 12))
    with pytest.raises(ValueError, match="fitted with residual=False"):
        regressor(pretrained=kept, hidden_layer_sizes=(12, 12), residual=True).fit(FEW, FEW[:, 0])
    regressor(pretrained=array_source(), residual=True).fit(FEW, FEW[:, 0])  # no layer keeps the width


@pytest.mark.parametrize(
    "X, sentence",
    [
        (X_NEW.drop(columns=["city", "member"]), "X lacks the column\\(s\\) 'city', 'member'"),
        (X_NEW.assign(z=1.0), "X has the column\\(s\\) 'z', without which pretrained was fitted. Drop them"),
        (X_NEW.assign(city=1.0), "Column 'city' held text"),
        (X_NEW.assign(number="many"), "Column 'number' held numbers"),
        (np.zeros((len(X_NEW), 3)), "X has 3 features, and pretrained was fitted with 7"),
    ],
)
def test_other_columns_are_refused_by_name(X, sentence):
    with pytest.raises(ValueError, match=sentence):
        regressor(pretrained=source()).fit(X, NEW.number)


def test_a_linear_source_is_for_the_same_target_only():
    kept = FrozenEstimator(regressor(hidden_layer_sizes=()).fit(LARGE, LARGE[:, 0]))
    tuned = regressor(hidden_layer_sizes=(), pretrained=kept, early_stopping=False, **STILL).fit(FEW, FEW[:, 1])
    assert_allclose(tuned.predict(FEW), kept.predict(FEW), rtol=1e-5)
    with pytest.raises(ValueError, match="nothing to start from"):
        classifier(hidden_layer_sizes=(), pretrained=kept).fit(FEW, FEW[:, 1] > 0)


def test_the_sentence_for_what_is_no_source_names_the_remedy():
    for wrong in (regressor().fit(FEW, FEW[:, 0]), FrozenEstimator(regressor()), FrozenEstimator(StandardScaler())):
        with pytest.raises(ValueError, match=r"must be None, or sklearn.frozen.FrozenEstimator\(source\) of a .* Got "):
            regressor(pretrained=wrong).fit(FEW, FEW[:, 0])


def test_the_sources_own_columns_may_be_named_again():
    kept = array_source(categorical_features=None, numeric_scaling="standard")
    settings = {"categorical_features": None, "numeric_scaling": "standard"}
    named, left = (regressor(pretrained=kept, **given).fit(FEW, FEW[:, 0]) for given in (settings, {}))
    assert_array_equal(named.predict(FEW), left.predict(FEW))


@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_what_counts_as_left_alone_is_the_default(Estimator):
    assert ITS_OWN.items() <= Estimator().get_params().items()


class Slope:
    """An activation of a user's; each copy is another object."""

    def __call__(self, x):
        return torch.nn.functional.leaky_relu(x, 0.2)


def test_a_copy_of_a_callable_activation_is_the_same_activation():
    kept = array_source(activation=Slope())
    tuned = clone(regressor(pretrained=kept, activation=Slope())).fit(FEW, FEW[:, 0])
    assert "hidden.0.weight" in tuned.net_.module_.old


# what it is for


def related_tables():
    """Many rows of one target, and few of another that depends on the same hidden waves."""
    waves = RNG.normal(size=(6, 4)) * 0.6
    heads = RNG.normal(size=(2, 4, 3))

    def table(n, task, rng):
        X = rng.normal(size=(n, 6))
        y = np.sin(2 * X @ waves) @ heads[task]
        return X, y + 0.2 * rng.normal(size=y.shape)

    return table


def test_fine_tuning_beats_training_from_nothing():
    table = related_tables()
    learn = {"hidden_layer_sizes": (64, 64), "n_members": 2}
    kept = FrozenEstimator(
        RegularizedMLPRegressor(**learn, max_iter=40, random_state=0).fit(*table(3000, 0, np.random.default_rng(0)))
    )
    settings = {
        "nothing": {},
        "tuned": {"pretrained": kept},
        "frozen": {"pretrained": kept, "freeze_layers": 2},
        "same rate": {"pretrained": kept, "pretrained_lr_factor": 1.0},
    }
    scores = {name: [] for name in settings}
    for seed in range(4):
        rng = np.random.default_rng(seed + 1)
        few, many = table(60, 1, rng), table(1000, 1, rng)
        few, many = (few[0], few[1][:, 0]), (many[0], many[1][:, 0])
        for name, given in settings.items():
            estimator = RegularizedMLPRegressor(**learn, **given, max_iter=60, random_state=seed)
            scores[name].append(estimator.fit(*few).score(*many))
    nothing, tuned, frozen, same_rate = (np.array(scores[name]) for name in settings)
    assert (tuned > nothing + 0.2).all()
    assert (frozen > nothing + 0.2).all()
    assert tuned.mean() > same_rate.mean() > nothing.mean()


SMALL_NET = {"hidden_layer_sizes": (32,), "n_members": 2, "max_iter": 3, "weight_decay": 0.0, "random_state": 0}
X_SEED = np.random.RandomState(0).randn(200, 3)
Y_SEED = X_SEED[:, 0] * X_SEED[:, 1]


def test_a_new_head_is_not_the_one_that_the_source_began_with():
    """With the same seed it would be, and the copied layers were trained against it."""
    source = RegularizedMLPRegressor(**SMALL_NET).fit(X_SEED, Y_SEED)
    labels = np.where(np.median(Y_SEED) < Y_SEED, "high", "low")

    def first_head(estimator, y):
        fitted = estimator.set_params(max_iter=1, learning_rate_init=1e-9).fit(X_SEED, y)
        return fitted.net_.module_.head.weight.detach().double().numpy()

    initial = first_head(RegularizedMLPRegressor(**SMALL_NET), Y_SEED)
    tuned = RegularizedMLPClassifier(**SMALL_NET, pretrained=FrozenEstimator(source))
    second = first_head(tuned, labels)
    third = first_head(RegularizedMLPRegressor(**SMALL_NET, pretrained=FrozenEstimator(tuned)), Y_SEED)
    for one, other in ((initial, second), (second, third), (initial, third)):
        assert np.abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.5
