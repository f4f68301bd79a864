"""Combinations of options: every pair of compatible values occurs in some fit, for which the invariants are checked."""

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
    "validation": {
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
    "max_norm": {"none": {}, "one": {"max_norm": 1.0}, "each": {"max_norm": (1.0, None, 0.5, 0.3)}},
    "dropout": {
        "none": {"dropout": 0.0},
        "constant": {"dropout": 0.2},
        "inputs too": {"dropout": 0.2, "input_dropout": 0.1},
    },
    "decay": {"none": {"weight_decay": 0.0}, "constant": {}},
    "batch": {"auto": {}, "all": {"batch_size": N}},
    "augmentation": {"none": {}, "mixup": {"augmentation": "mixup"}, "swap": {"augmentation": "swap_noise"}},
    "clip": {"none": {}, "clipped": {"clip_norm": 0.05}},
    "precision": {"auto": {}, **{name: {"precision": name} for name in ("bfloat16", "float64")}},
    "residual": {"without": {"residual": False}, "with": {"residual": True}},
    "parametrization": {"alike": {"parametrization": "standard"}, "ntk": {"parametrization": "ntk"}},
    "init": {"auto": {"init": "auto"}, "data": {"init": "data_driven"}},
    "inputs": {"plain": {"scale_layer": False}, "scaled": {"scale_layer": "auto", "alpha": 0.0}},
    "activation": {"silu": {}, "selu": {"activation": "selu"}},
}
"""Options and their values: a name, and the parameters that it sets."""


LBFGS_OPTIONS = {
    "average": "none",
    "batch": "auto",
    "max_norm": "none",
    "clip": "none",
    "columns": "all",
    "decay": "none",
    "dropout": "none",
    "l1": "without",
    "members": "one",
    "augmentation": "none",
}
"""Values that are compatible with "lbfgs"."""


def excludes(one, other):
    """Return whether two values ``(option, value)`` are incompatible."""
    pair = dict([one, other])
    solver, rest = pair.get("solver"), [item for item in (one, other) if item[0] != "solver"]
    if solver == "lbfgs":
        return any(
            value != LBFGS_OPTIONS.get(option, value) or (option, value) == ("norm", "batch") for option, value in rest
        )
    return (pair.get("columns") == "selected" and pair.get("source") in ("frozen", "all frozen")) or (
        pair.get("kind") == "quantiles" and pair.get("validation") == "score"
    )


def has_no_effect(one, other):
    """Return whether one of two values has no effect together with the other.

    Momentum requires "sgd"; normalizations and pretrained layers replace the data-driven initialization; a line search
    ignores learning rates; the inputs have no factors if the first layer is constrained or penalized.
    """
    pair = dict([one, other])
    return (
        (pair.get("momentum") == "plain" and pair.get("solver", "sgd") != "sgd")
        or (pair.get("init") == "data" and (pair.get("norm", "none") != "none" or pair.get("source", "none") != "none"))
        or (
            pair.get("parametrization") == "ntk"
            and (pair.get("solver") in ("lbfgs", "sgd") or pair.get("momentum") == "plain")
        )
        or (pair.get("inputs") == "scaled" and _constrains_the_first_layer(pair))
    )


def _constrains_the_first_layer(pair):
    return (
        pair.get("columns") == "selected"
        or pair.get("layers") == "each"
        or pair.get("max_norm", "none") != "none"
        or pair.get("l1") == "with"
    )


def covering_array():
    """Find few combinations ``{option: value}`` that contain every pair of compatible values, by a greedy search."""
    values = [(option, value) for option, known in OPTIONS.items() for value in known]
    left = {
        frozenset(pair)
        for pair in combinations(values, 2)
        if pair[0][0] != pair[1][0] and not (excludes(*pair) or has_no_effect(*pair))
    }
    left_in_order = [pair for pair in combinations(values, 2) if frozenset(pair) in left]
    combinations_found = []
    while left:
        first = next(pair for pair in left_in_order if frozenset(pair) in left)
        combination = dict(first)
        for option in sorted(OPTIONS, key=lambda option: -len(OPTIONS[option])):
            if option in combination:
                continue
            fitting = [
                (option, value)
                for value in OPTIONS[option]
                if not any(
                    excludes((option, value), c) or has_no_effect((option, value), c) for c in combination.items()
                )
            ]
            best = max(
                fitting, key=lambda item: sum(frozenset((item, chosen)) in left for chosen in combination.items())
            )
            combination[option] = best[1]
        left -= {frozenset(pair) for pair in combinations(combination.items(), 2)}
        combinations_found.append(combination)
    return combinations_found


COMBINATIONS = dict(enumerate(covering_array()))


KIND_OF_NETWORK = ("norm", "numbers", "residual", "activation")


@cache
def source(kind, *values):
    """Return a fitted estimator with the same type of network, for ``pretrained``."""
    Estimator, y, given = KINDS[kind]
    given = {**given, **settings_of(zip(KIND_OF_NETWORK, values, strict=True))}
    return FrozenEstimator(Estimator(**{**BASE, "max_iter": 3, "n_members": 2, **given}).fit(TABLE, y, WEIGHT))


def settings_of(items):
    """Return the parameters that values stand for."""
    given = {}
    for option, value in items:
        given |= OPTIONS[option][value]
    return given


def estimator(combination, **settings):
    """Return the estimator of a combination, and its target."""
    Estimator, y, given = KINDS[combination["kind"]]
    given = {**BASE, **given, **settings_of(combination.items())}
    if given.get("monitor") == "score":
        given["monitor"] = "r2" if Estimator is RegularizedMLPRegressor else "accuracy"
    if "pretrained" in given:
        given["pretrained"] = source(combination["kind"], *(combination[option] for option in KIND_OF_NETWORK))
    return Estimator(**{**given, **settings}), y


def outputs(fitted):
    return fitted.predict(TABLE) if isinstance(fitted, RegularizedMLPRegressor) else fitted.predict_proba(TABLE)


in_all_combinations = pytest.mark.parametrize("combination", COMBINATIONS.values(), ids=map(str, COMBINATIONS))
STEPWISE = {number: combination for number, combination in COMBINATIONS.items() if combination["solver"] != "lbfgs"}
in_all_stepwise_combinations = pytest.mark.parametrize("combination", STEPWISE.values(), ids=map(str, STEPWISE))


def fitted(combination, **settings):
    net, y = estimator(combination, **settings)
    return net.fit(TABLE, y, WEIGHT)


def own_state(net, members=slice(None)):
    """Return the state of the network, of some of its members."""
    state = net.net_.module_.state_dict()
    return {name: tensor[members] if tensor.dim() > 1 else tensor for name, tensor in state.items()}


def assert_same(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], msg=lambda m, name=name: f"{name}: {m}", **tolerance)


EXACT, CLOSE = {"rtol": 0, "atol": 0}, {"rtol": 1e-4, "atol": 1e-5}
# Sums of another order differ by 1e-7 in float32. Rounding to bfloat16 can turn this into its unit roundoff of 2**-8.
ROUNDED = {"rtol": 2**-8, "atol": 2**-8}


@in_all_combinations
def test_fit_and_predictions_are_finite_and_reproducible(combination):
    net = fitted(combination)
    first, shares = outputs(net), net.feature_importances_
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(outputs(clone(net).fit(TABLE, net_target(combination), WEIGHT)), first)
    np.testing.assert_array_equal(outputs(pickle.loads(pickle.dumps(net))), first)
    assert shares.shape == (5,)
    assert shares.sum() == pytest.approx(1)
    assert hasattr(net, "coefs_") == (net.net_.module_.n_members == 1)
    if net.freeze_layers:
        kept = net.pretrained.estimator.net_.module_.state_dict()
        frozen = {name: tensor for name, tensor in own_state(net).items() if name.startswith("hidden.0")}
        assert_same(frozen, {name: kept[name][: net.n_members].to(tensor) for name, tensor in frozen.items()}, **EXACT)


def net_target(combination):
    return KINDS[combination["kind"]][1]


@in_all_stepwise_combinations
def test_member_does_not_depend_on_the_other_members(combination):
    precisions = [combination["precision"]]
    if precisions == ["bfloat16"]:  # the precision is the only reason for the larger tolerance
        precisions.append("float32")
    for precision in precisions:
        alone, together = (fitted(combination, n_members=n, precision=precision) for n in (1, 2))
        assert_same(own_state(together, slice(1)), own_state(alone), **(ROUNDED if precision == "bfloat16" else CLOSE))


class KeepState(Callback):
    """Keeps the state at the end of the third epoch, and a snapshot of the net."""

    def on_epoch_end(self, net, **kwargs):
        if net.epoch_ == 3:
            self.state, self.ended = net.state_dict(), net.snapshot()


class LoadState(Callback):
    """Loads a state before the training."""

    def __init__(self, state):
        self.state = state

    def on_train_begin(self, net, **kwargs):
        net.load_state_dict(self.state)


@in_all_combinations
def test_training_from_a_loaded_state_gives_the_same_result(combination):
    kept_state = KeepState()
    whole = fitted(combination, callbacks=[kept_state], patience=6)
    loaded = fitted(combination, callbacks=[LoadState(kept_state.state)], patience=6)
    np.testing.assert_array_equal(outputs(loaded), outputs(whole))
    np.testing.assert_array_equal(loaded.loss_curve_, whole.loss_curve_)


class Interrupt(Callback):
    """Raises KeyboardInterrupt in a step of the fourth epoch."""

    def on_batch_end(self, net, **kwargs):
        if net.epoch_ == 3:
            raise KeyboardInterrupt


@in_all_combinations
def test_interrupt_within_an_epoch_restores_the_previous_epochs(combination):
    kept_state = KeepState()
    net, y = estimator(combination, callbacks=[kept_state, Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        net.fit(TABLE, y, WEIGHT)
    assert_same(net.net_.module_.state_dict(), kept_state.ended.module_.state_dict(), **EXACT)
    assert net.n_iter_ == len(net.loss_curve_) == 3
    assert np.isfinite(outputs(net)).all()


class BatchCallback(Callback):
    """Is notified of batches, and does nothing."""

    def on_batch_end(self, net, **kwargs):
        pass


@in_all_combinations
def test_callbacks_do_not_change_results(combination):
    np.testing.assert_array_equal(
        outputs(fitted(combination, callbacks=[BatchCallback()])), outputs(fitted(combination))
    )


@in_all_combinations
def test_warm_start_and_partial_fit_continue_a_fit(combination):
    net, y = fitted(combination, warm_start=True), net_target(combination)
    copied = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(outputs(net.fit(TABLE, y, WEIGHT)), outputs(copied.fit(TABLE, y, WEIGHT)))
    can_stream = net.solver != "lbfgs" and net.swa_start is None
    assert hasattr(net, "partial_fit") == can_stream
    if not can_stream:
        net.set_params(swa_start=None, solver="adam" if net.solver == "lbfgs" else net.solver)
    net.partial_fit(TABLE, y, sample_weight=WEIGHT).partial_fit(TABLE, y, sample_weight=WEIGHT)
    copied = pickle.loads(pickle.dumps(net))
    both = [outputs(each.partial_fit(TABLE, y, sample_weight=WEIGHT)) for each in (net, copied)]
    np.testing.assert_array_equal(*both)
    assert np.isfinite(outputs(net.fit(TABLE, y, WEIGHT))).all()


class MakeLastMemberDiverge(Callback):
    """Makes the last member diverge in the fourth epoch."""

    def on_grad_computed(self, net, **kwargs):
        if net.epoch_ == 3:
            for parameter in net.optimizer_.parameters:
                parameter.grad[-1] = torch.nan


@in_all_stepwise_combinations
def test_diverging_member_does_not_affect_the_others(combination):
    finite, diverging = (
        fitted(combination, n_members=2, warm_start=True, callbacks=c) for c in (None, [MakeLastMemberDiverge()])
    )
    assert diverging.net_.stopping_.diverged.tolist() == [False, True]
    assert np.isfinite(outputs(diverging)).all()
    assert_same(own_state(diverging, slice(1)), own_state(finite, slice(1)), **CLOSE)
    diverging.set_params(callbacks=None).fit(TABLE, net_target(combination), WEIGHT)
    assert not diverging.net_.stopping_.diverged.any()


def options_to_change():
    """Yield combinations with values that must affect the predictions: each value once with each solver."""
    done = {("kind", name) for name in KINDS} | {("precision", "float64")}  # which "auto" may select
    for number, combination in COMBINATIONS.items():
        chosen = []
        for option, value in combination.items():
            plain = next(iter(OPTIONS[option]))
            without = [item for item in combination.items() if item[0] != option]
            known = option in ("solver", "rate", "members", "validation", "source", "kind", "precision")
            if not (known or value == plain or (combination["solver"], option, value) in done) and not any(
                excludes((option, plain), item) for item in without
            ):
                done.add((combination["solver"], option, value))
                chosen.append((option, plain))
        if chosen:
            yield pytest.param(combination, chosen, id=str(number))


@pytest.mark.parametrize(("combination", "chosen"), list(options_to_change()))
def test_every_option_changes_the_predictions(combination, chosen):
    settings = {"early_stopping": False, "monitor": "loss", "max_iter": 7}
    given = outputs(fitted(combination, **settings))
    for option, plain in chosen:
        changed = outputs(fitted({**combination, option: plain}, **settings))
        assert not np.array_equal(changed, given), option


INCOMPATIBLE = [
    pair
    for pair in combinations([(option, value) for option, known in OPTIONS.items() for value in known], 2)
    if pair[0][0] != pair[1][0] and excludes(*pair)
]


@pytest.mark.parametrize("pair", INCOMPATIBLE, ids=lambda pair: "-".join(f"{option} {value}" for option, value in pair))
def test_incompatible_options_raise_before_any_work(pair):
    plain = {option: next(iter(known)) for option, known in OPTIONS.items()}
    compatible = {
        **plain,
        **({"members": "one"} if dict(pair).get("solver") != "lbfgs" else {**LBFGS_OPTIONS, "norm": "none"}),
    }
    net, y = estimator({**compatible, **dict(pair)})
    names_of_options = [[*settings_of([item]), "weight_decay", "quantile"] for item in pair]
    with pytest.raises(ValueError, match="|".join(names_of_options[0])) as error:
        net.fit(TABLE, y, WEIGHT)
    for names in names_of_options:
        assert any(name in str(error.value) for name in names), names
    assert vars(net).keys() == net.get_params(deep=False).keys()


def test_feature_alpha_raises_if_a_residual_connection_skips_the_first_layer():
    numbers = TABLE[["a", "c"]]
    both = {**BASE, "hidden_layer_sizes": (2, 2), "residual": True, "feature_alpha": 0.1}
    with pytest.raises(ValueError, match=r"feature_alpha=0\.1 cannot remove features that residual=True adds"):
        RegularizedMLPRegressor(**both).fit(numbers, NUMBER)
    RegularizedMLPRegressor(**{**both, "hidden_layer_sizes": (3, 3)}).fit(numbers, NUMBER)


PRETRAINED = {
    "bfloat16 and an average": ({"precision": "bfloat16", "ema_decay": 0.9}, {}),
    "late mean and batch norm": ({"swa_start": 0.3, "batch_norm": True}, {"batch_norm": True}),
    "adam at adaptive rates": ({"solver": "adam", "learning_rate": "adaptive"}, {"solver": "sgd"}),
    "selected columns": ({"feature_alpha": 0.2}, {"learning_rate": "coslog"}),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("source_params", "tuned_params"), PRETRAINED.values(), ids=PRETRAINED)
def test_fine_tuning_starts_from_the_weights_of_each_member(source_params, tuned_params, streamed):
    settings = {**BASE, "n_members": 2}
    kept = RegularizedMLPRegressor(**settings, **source_params).fit(TABLE, NUMBER)
    if streamed:
        kept.set_params(swa_start=None).partial_fit(TABLE, NUMBER)
    still = {"max_iter": 1, "learning_rate_init": 1e-12, "weight_decay": 0.0, "freeze_layers": 3, "dropout": 0.0}
    still |= {"early_stopping": False}
    tuned = RegularizedMLPRegressor(**{**settings, **tuned_params, **still}, pretrained=FrozenEstimator(kept))
    of_source, of_tuned = (own_state(net) for net in (kept, tuned.fit(TABLE, NUMBER)))
    assert_same({n: t.double() for n, t in of_tuned.items()}, {n: t.double() for n, t in of_source.items()}, **CLOSE)


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


def test_warm_start_allows_every_change_except_of_the_shape():
    net = RegularizedMLPRegressor(**BASE, n_members=2, batch_norm=True, warm_start=True).fit(TABLE, NUMBER)
    plain = net.get_params()
    for change in [*CHANGES, *CHANGES[::-1]]:
        before = net.predict(TABLE)
        net.set_params(**{**plain, **change}).fit(TABLE, NUMBER)
        assert np.isfinite(net.predict(TABLE)).all()
        assert not np.array_equal(net.predict(TABLE), before)
    before = net.predict(TABLE)
    for change in ({"numeric_embedding": "periodic"}, {"batch_norm": False}):
        with pytest.raises(ValueError, match="the network has another shape"):
            net.set_params(**{**plain, **change}).fit(TABLE, NUMBER)
        np.testing.assert_array_equal(net.predict(TABLE), before)
