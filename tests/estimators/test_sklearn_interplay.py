"""Options of the estimators with one another: each pair of values meets in some fit, which keeps the house's laws."""

import pickle
from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor

RNG = np.random.default_rng(0)
N = 150
TABLE = pd.DataFrame(RNG.normal(size=(N, 3)), columns=["a", "b", "c"]).assign(
    few=pd.Categorical(RNG.choice(["x", "y", "z"], N)), many=RNG.integers(12, size=N).astype(str)
)
NUMBER = (TABLE.a * TABLE.b + (TABLE.few == "x") + 0.2 * RNG.normal(size=N)).to_numpy()
TABLE.iloc[::7, 1] = np.nan
WEIGHT = RNG.uniform(0.5, 2.0, N)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::sklearn.exceptions.ConvergenceWarning")
KINDS = {
    "numbers": (RegularizedMLPRegressor, NUMBER, {}),
    "quantiles": (RegularizedMLPRegressor, NUMBER, {"loss": "quantile", "quantile": (0.2, 0.8)}),
    "two classes": (RegularizedMLPClassifier, NUMBER > 0.3, {}),
    "three classes": (RegularizedMLPClassifier, np.digitize(NUMBER, [0, 1]), {"calibrate": "auto"}),
}
BASE = {"hidden_layer_sizes": (10, 8, 8), "max_iter": 6, "random_state": 0, "patience": 4, "alpha": 1e-3}
BASE |= {"learning_rate_init": 0.01, "weight_decay": 0.01}

OPTIONS = {
    "solver": {name: {"solver": name} for name in ("adamw", "adam", "lbfgs", "sgd")},
    "rate": {name: {"learning_rate": name} for name in ("cosine", "adaptive", "coslog", "growing_cycles", "one_cycle")},
    "momentum": {"nesterov": {}, "plain": {"momentum": 0.5, "nesterovs_momentum": False}},
    "kind": {name: {} for name in KINDS},
    "members": {"one": {"n_members": 1}, "two": {"n_members": 2}},
    "watched": {
        "not": {"early_stopping": False},
        "loss": {"early_stopping": True},
        "score": {"early_stopping": True, "monitor": "score"},
    },
    "average": {"none": {}, "ema": {"ema_decay": 0.9}, "swa": {"swa_start": 0.4}},
    "norm": {"none": {}, "batch": {"batch_norm": True}, "layer": {"layer_norm": True}},
    "numbers": {
        "plain": {"numeric_embedding": None},
        **{name: {"numeric_embedding": name} for name in ("periodic", "piecewise_linear")},
    },
    "source": {
        "none": {},
        "tuned": {"pretrained": None},
        "frozen": {"pretrained": None, "freeze_layers": 1},
        "all frozen": {"pretrained": None, "freeze_layers": 3},
    },
    "l1": {"without": {}, "with": {"l1_ratio": 0.5}},
    "layers": {"alike": {}, "each": {"alpha": (1e-3, 0.0, 1e-2, 1e-2)}},
    "columns": {"all": {}, "selected": {"feature_alpha": 0.02}},
    "bounds": {"none": {}, "one": {"max_norm": 1.0}, "each": {"max_norm": (1.0, None, 0.5, 0.3)}},
    "dropout": {
        "none": {"dropout": 0.0},
        "constant": {"dropout": 0.2},
        "inputs too": {"dropout": 0.2, "input_dropout": 0.1},
    },
    "decay": {"none": {"weight_decay": 0.0}, "constant": {}},
    "batch": {"auto": {}, "all": {"batch_size": N}},
    "noise": {"none": {}, "mixup": {"augmentation": "mixup"}, "swap": {"augmentation": "swap_noise"}},
    "clip": {"none": {}, "clipped": {"clip_norm": 0.05}},
    "precision": {"auto": {}, **{name: {"precision": name} for name in ("bfloat16", "float64")}},
    "residual": {"without": {"residual": False}, "with": {"residual": True}},
    "moves": {"alike": {"parametrization": "standard"}, "ntk": {"parametrization": "ntk"}},
    "init": {"auto": {"init": "auto"}, "data": {"init": "data_driven"}},
    "inputs": {"plain": {"scale_layer": False}, "scaled": {"scale_layer": "auto", "alpha": 0.0}},
    "activation": {"silu": {}, "selu": {"activation": "selu"}},
}
"""Names of options, and what they may be: a name, and the parameters that it stands for."""


SMOOTH = {
    "average": "none",
    "batch": "auto",
    "bounds": "none",
    "clip": "none",
    "columns": "all",
    "decay": "none",
    "dropout": "none",
    "l1": "without",
    "members": "one",
    "noise": "none",
}
"""What "lbfgs" goes with."""


def excludes(one, other):
    """Whether two values ``(option, value)`` are refused together."""
    pair = dict([one, other])
    solver, rest = pair.get("solver"), [item for item in (one, other) if item[0] != "solver"]
    if solver == "lbfgs":
        return any(value != SMOOTH.get(option, value) or (option, value) == ("norm", "batch") for option, value in rest)
    return (pair.get("columns") == "selected" and pair.get("source") in ("frozen", "all frozen")) or (
        pair.get("kind") == "quantiles" and pair.get("watched") == "score"
    )


def idle(one, other):
    """Whether one of two values means nothing beside the other.

    Momentum is that of "sgd"; a norm, and layers that are given, leave initial weights nothing to do, and a line search
    the rates; factors on the inputs stay away from bounds.
    """
    pair = dict([one, other])
    return (
        (pair.get("momentum") == "plain" and pair.get("solver", "sgd") != "sgd")
        or (pair.get("init") == "data" and (pair.get("norm", "none") != "none" or pair.get("source", "none") != "none"))
        or (pair.get("moves") == "ntk" and (pair.get("solver") in ("lbfgs", "sgd") or pair.get("momentum") == "plain"))
        or (pair.get("inputs") == "scaled" and _bounds_the_first_layer(pair))
    )


def _bounds_the_first_layer(pair):
    return (
        pair.get("columns") == "selected"
        or pair.get("layers") == "each"
        or pair.get("bounds", "none") != "none"
        or pair.get("l1") == "with"
    )


def covering_array():
    """Few cases ``{option: value}`` in which every pair of values that go together meets; greedy."""
    values = [(option, value) for option, known in OPTIONS.items() for value in known]
    left = {
        frozenset(pair)
        for pair in combinations(values, 2)
        if pair[0][0] != pair[1][0] and not (excludes(*pair) or idle(*pair))
    }
    left_in_order = [pair for pair in combinations(values, 2) if frozenset(pair) in left]
    cases = []
    while left:
        first = next(pair for pair in left_in_order if frozenset(pair) in left)
        case = dict(first)
        for option in sorted(OPTIONS, key=lambda option: -len(OPTIONS[option])):
            if option in case:
                continue
            fitting = [
                (option, value)
                for value in OPTIONS[option]
                if not any(excludes((option, value), c) or idle((option, value), c) for c in case.items())
            ]
            best = max(fitting, key=lambda item: sum(frozenset((item, chosen)) in left for chosen in case.items()))
            case[option] = best[1]
        left -= {frozenset(pair) for pair in combinations(case.items(), 2)}
        cases.append(case)
    return cases


CASES = dict(enumerate(covering_array()))


KIND_OF_NETWORK = ("norm", "numbers", "residual", "activation")


@cache
def source(kind, *values):
    """A fitted estimator to start from, of the same kind of network."""
    Estimator, y, given = KINDS[kind]
    given = {**given, **settings_of(zip(KIND_OF_NETWORK, values, strict=True))}
    return FrozenEstimator(Estimator(**{**BASE, "max_iter": 3, "n_members": 2, **given}).fit(TABLE, y, WEIGHT))


def settings_of(items):
    """Parameters of some values."""
    given = {}
    for option, value in items:
        given |= OPTIONS[option][value]
    return given


def estimator(case, **settings):
    """The estimator of a case, and its target."""
    Estimator, y, given = KINDS[case["kind"]]
    given = {**BASE, **given, **settings_of(case.items())}
    if given.get("monitor") == "score":
        given["monitor"] = "r2" if Estimator is RegularizedMLPRegressor else "accuracy"
    if "pretrained" in given:
        given["pretrained"] = source(case["kind"], *(case[option] for option in KIND_OF_NETWORK))
    return Estimator(**{**given, **settings}), y


def outputs(fitted):
    return fitted.predict(TABLE) if isinstance(fitted, RegularizedMLPRegressor) else fitted.predict_proba(TABLE)


in_all_cases = pytest.mark.parametrize("case", CASES.values(), ids=map(str, CASES))
STEPWISE = {number: case for number, case in CASES.items() if case["solver"] != "lbfgs"}
in_all_of_several = pytest.mark.parametrize("case", STEPWISE.values(), ids=map(str, STEPWISE))


def fitted(case, **settings):
    net, y = estimator(case, **settings)
    return net.fit(TABLE, y, WEIGHT)


def own_state(net, members=slice(None)):
    """Tensors of the members' own networks."""
    state = net.net_.module_.state_dict()
    return {name: tensor[members] if tensor.dim() > 1 else tensor for name, tensor in state.items()}


def assert_same(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], msg=lambda m, name=name: f"{name}: {m}", **tolerance)


EXACTLY, NEARLY = {"rtol": 0, "atol": 0}, {"rtol": 1e-4, "atol": 1e-5}


@in_all_cases
def test_every_pair_fits_predicts_and_repeats(case):
    net = fitted(case)
    first, shares = outputs(net), net.feature_importances_
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(outputs(clone(net).fit(TABLE, net_target(case), WEIGHT)), first)
    np.testing.assert_array_equal(outputs(pickle.loads(pickle.dumps(net))), first)
    assert shares.shape == (5,) and shares.sum() == pytest.approx(1)
    assert hasattr(net, "coefs_") == (net.net_.module_.n_members == 1)
    if net.freeze_layers:
        kept = net.pretrained.estimator.net_.module_.state_dict()
        frozen = {name: tensor for name, tensor in own_state(net).items() if name.startswith("hidden.0")}
        assert_same(
            frozen, {name: kept[name][: net.n_members].to(tensor) for name, tensor in frozen.items()}, **EXACTLY
        )


def net_target(case):
    return KINDS[case["kind"]][1]


@in_all_of_several
def test_a_member_trains_as_if_alone(case):
    alone, beside = (fitted(case, n_members=n) for n in (1, 2))
    assert_same(own_state(beside, slice(1)), own_state(alone), **NEARLY)


class Keep(Callback):
    """Keeps the state at the end of the third epoch, and the net as if training had ended there."""

    def on_epoch_end(self, net, **kwargs):
        if net.epoch_ == 3:
            self.state, self.ended = net.state_dict(), net.snapshot()


class Load(Callback):
    """Loads a state before training begins."""

    def __init__(self, state):
        self.state = state

    def on_train_begin(self, net, **kwargs):
        net.load_state_dict(self.state)


@in_all_cases
def test_a_state_goes_on_as_if_training_had_never_stopped(case):
    keep = Keep()
    whole = fitted(case, callbacks=[keep], patience=6)
    loaded = fitted(case, callbacks=[Load(keep.state)], patience=6)
    np.testing.assert_array_equal(outputs(loaded), outputs(whole))
    np.testing.assert_array_equal(loaded.loss_curve_, whole.loss_curve_)


class Interrupt(Callback):
    """Presses Ctrl-C in a step of the fourth epoch."""

    def on_batch_end(self, net, **kwargs):
        if net.epoch_ == 3:
            raise KeyboardInterrupt


@in_all_cases
def test_an_interrupt_in_an_epoch_leaves_the_fit_of_those_before(case):
    keep = Keep()
    net, y = estimator(case, callbacks=[keep, Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        net.fit(TABLE, y, WEIGHT)
    assert_same(net.net_.module_.state_dict(), keep.ended.module_.state_dict(), **EXACTLY)
    assert net.n_iter_ == len(net.loss_curve_) == 3
    assert np.isfinite(outputs(net)).all()


class Listen(Callback):
    """Hears of the batches."""

    def on_batch_end(self, net, **kwargs):
        pass


@in_all_cases
def test_who_listens_changes_nothing(case):
    np.testing.assert_array_equal(outputs(fitted(case, callbacks=[Listen()])), outputs(fitted(case)))


@in_all_cases
def test_a_fit_goes_on_warm_and_from_a_stream(case):
    net, y = fitted(case, warm_start=True), net_target(case)
    copied = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(outputs(net.fit(TABLE, y, WEIGHT)), outputs(copied.fit(TABLE, y, WEIGHT)))
    in_parts = net.solver != "lbfgs" and net.swa_start is None
    assert hasattr(net, "partial_fit") == in_parts
    if not in_parts:
        net.set_params(swa_start=None, solver="adam" if net.solver == "lbfgs" else net.solver)
    net.partial_fit(TABLE, y, sample_weight=WEIGHT).partial_fit(TABLE, y, sample_weight=WEIGHT)
    copied = pickle.loads(pickle.dumps(net))
    both = [outputs(each.partial_fit(TABLE, y, sample_weight=WEIGHT)) for each in (net, copied)]
    np.testing.assert_array_equal(*both)
    assert np.isfinite(outputs(net.fit(TABLE, y, WEIGHT))).all()


class Spoil(Callback):
    """Makes the last member diverge in the fourth epoch."""

    def on_grad_computed(self, net, **kwargs):
        if net.epoch_ == 3:
            for parameter in net.optimizer_.parameters:
                parameter.grad[-1] = torch.nan


@in_all_of_several
def test_a_member_that_diverges_leaves_its_neighbour_alone_and_can_go_on(case):
    sound, ill = (fitted(case, n_members=2, warm_start=True, callbacks=c) for c in (None, [Spoil()]))
    assert ill.net_.stopping_.diverged.tolist() == [False, True]
    assert np.isfinite(outputs(ill)).all()
    assert_same(own_state(ill, slice(1)), own_state(sound, slice(1)), **NEARLY)
    ill.set_params(callbacks=None).fit(TABLE, net_target(case), WEIGHT)
    assert not ill.net_.stopping_.diverged.any()


def once_for_each_solver():
    """Cases, and values in them that shall make a difference: each value once with each solver."""
    done = {("kind", name) for name in KINDS} | {("precision", "float64")}  # which is what "auto" may be
    for number, case in CASES.items():
        chosen = []
        for option, value in case.items():
            plain = next(iter(OPTIONS[option]))
            without = [item for item in case.items() if item[0] != option]
            known = option in ("solver", "rate", "members", "watched", "source", "kind", "precision")
            if not (known or value == plain or (case["solver"], option, value) in done) and not any(
                excludes((option, plain), item) for item in without
            ):
                done.add((case["solver"], option, value))
                chosen.append((option, plain))
        if chosen:
            yield pytest.param(case, chosen, id=str(number))


@pytest.mark.parametrize(("case", "chosen"), list(once_for_each_solver()))
def test_no_option_is_ignored(case, chosen):
    settings = {"early_stopping": False, "monitor": "loss", "max_iter": 7}
    given = outputs(fitted(case, **settings))
    for option, plain in chosen:
        changed = outputs(fitted({**case, option: plain}, **settings))
        assert not np.array_equal(changed, given), option


REFUSED = [
    pair
    for pair in combinations([(option, value) for option, known in OPTIONS.items() for value in known], 2)
    if pair[0][0] != pair[1][0] and excludes(*pair)
]


@pytest.mark.parametrize("pair", REFUSED, ids=lambda pair: "-".join(f"{option} {value}" for option, value in pair))
def test_what_excludes_each_other_is_refused_before_any_work(pair):
    plain = {option: next(iter(known)) for option, known in OPTIONS.items()}
    sound = {**plain, **({"members": "one"} if dict(pair).get("solver") != "lbfgs" else {**SMOOTH, "norm": "none"})}
    net, y = estimator({**sound, **dict(pair)})
    with pytest.raises(ValueError) as refusal:
        net.fit(TABLE, y, WEIGHT)
    for item in pair:
        names = {*settings_of([item]), "weight_decay", "quantile"}
        assert any(name in str(refusal.value) for name in names), item
    assert vars(net).keys() == net.get_params(deep=False).keys()


def test_columns_that_pass_the_first_layer_by_cannot_be_selected():
    numbers = TABLE[["a", "c"]]
    both = {**BASE, "hidden_layer_sizes": (2, 2), "residual": True, "feature_alpha": 0.1}
    with pytest.raises(ValueError, match=r"feature_alpha=0\.1 cannot remove features that residual=True adds"):
        RegularizedMLPRegressor(**both).fit(numbers, NUMBER)
    RegularizedMLPRegressor(**{**both, "hidden_layer_sizes": (3, 3)}).fit(numbers, NUMBER)


SOURCES = {
    "bfloat16 and an average": ({"precision": "bfloat16", "ema_decay": 0.9}, {}),
    "late mean and batch norm": ({"swa_start": 0.3, "batch_norm": True}, {"batch_norm": True}),
    "adam at adaptive rates": ({"solver": "adam", "learning_rate": "adaptive"}, {"solver": "sgd"}),
    "selected columns": ({"feature_alpha": 0.2}, {"learning_rate": "coslog"}),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("there", "here"), SOURCES.values(), ids=SOURCES)
def test_fine_tuning_starts_from_the_members_own_weights(there, here, streamed):
    settings = {**BASE, "n_members": 2}
    kept = RegularizedMLPRegressor(**settings, **there).fit(TABLE, NUMBER)
    if streamed:
        kept.set_params(swa_start=None).partial_fit(TABLE, NUMBER)
    still = {"max_iter": 1, "learning_rate_init": 1e-12, "weight_decay": 0.0, "freeze_layers": 3, "dropout": 0.0}
    still |= {"early_stopping": False}
    tuned = RegularizedMLPRegressor(**{**settings, **here, **still}, pretrained=FrozenEstimator(kept))
    of_source, of_tuned = (own_state(net) for net in (kept, tuned.fit(TABLE, NUMBER)))
    assert_same({n: t.double() for n, t in of_tuned.items()}, {n: t.double() for n, t in of_source.items()}, **NEARLY)


CHANGES = [
    {"solver": "adam"},
    {"solver": "sgd", "momentum": 0.5},
    {"learning_rate": "adaptive"},
    {"learning_rate": "coslog"},
    {"dropout": 0.4},
    {"feature_alpha": 0.1, "alpha": (0.1, 0.0, 0.0, 0.0)},
    {"swa_start": 0.3, "precision": "bfloat16"},
    {"ema_decay": 0.9, "max_norm": 1.0},
]


def test_a_warm_start_goes_on_through_every_change_but_one_of_the_shape():
    net = RegularizedMLPRegressor(**BASE, n_members=2, batch_norm=True, warm_start=True).fit(TABLE, NUMBER)
    plain = net.get_params()
    for change in [*CHANGES, *CHANGES[::-1]]:
        before = net.predict(TABLE)
        net.set_params(**{**plain, **change}).fit(TABLE, NUMBER)
        assert np.isfinite(net.predict(TABLE)).all() and not np.array_equal(net.predict(TABLE), before)
    before = net.predict(TABLE)
    for change in ({"numeric_embedding": "periodic"}, {"batch_norm": False}):
        with pytest.raises(ValueError, match="the network has another shape"):
            net.set_params(**{**plain, **change}).fit(TABLE, NUMBER)
        np.testing.assert_array_equal(net.predict(TABLE), before)
