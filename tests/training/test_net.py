"""Tests that members are trained as if alone, and that a training continues exactly from its state."""

import gc
import io
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from skreg import activations, augmentations, schedules
from skreg._utils.threads import torch_threads
from skreg.network import generators
from skreg.network.inference import predict_raw, prepare_rows
from skreg.network.layers import BatchNorm, LayerNorm
from skreg.training.augmented_batch import CallableAugmentation
from skreg.training.constraints import MaxNorm
from skreg.training.early_stopping import LossMonitor
from skreg.training.losses import HuberLoss, PinballLoss
from skreg.training.penalties import ElasticNet
from skreg.training.trainer import Trainer
from tests.helpers import NET_LEVELS, NET_MEMBERS, NET_NUMBERS, TRAIN_INDEX, make_net, member_rows, train_net

pytestmark = pytest.mark.usefixtures("one_thread")
DEEP = {
    "norm": LayerNorm,
    "residual": True,
    "activation": activations.selu,
    "hidden": (8, 8, 8),
    "dropout": (0.2,) * 3,
    "patience": None,
}
PLAIN = {"solver": "sgd", "norm": None, "dropout": (0.0, 0.0), "input_dropout": 0.0, "patience": None}
AUGMENTATIONS = [partial(getattr(augmentations, name), magnitude=0.5) for name in augmentations.__all__]


def scale_and_shift(inputs, generator):
    """A user-defined augmentation with a random number for each row."""
    return 2 * inputs + torch.randn(len(inputs), 1, generator=generator, dtype=inputs.dtype)


# A patience of all epochs, because a member that has stopped is still trained beside others. No L1 penalty, because its
# threshold amplifies rounding errors.
AUGMENTED = [
    {"augmentation": chosen, "patience": 7, "penalty": ElasticNet(1e-3, 0.0)}
    for chosen in (*AUGMENTATIONS, CallableAugmentation(scale_and_shift))
]


def predictions(net):
    return predict_raw(net.module_, torch.from_numpy(NET_NUMBERS), torch.from_numpy(NET_LEVELS))


def assert_member_is(net, i, alone, tolerance=1e-5):
    for ours, theirs in zip(net.trained_tensors(), alone.trained_tensors(), strict=True):
        torch.testing.assert_close(ours[i : i + 1], theirs, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(predictions(net)[i : i + 1], predictions(alone), atol=tolerance, rtol=tolerance)
    assert net.stopping_.best_epoch[i] == alone.stopping_.best_epoch[0]
    assert net.stopping_.best[i].item() == pytest.approx(alone.stopping_.best[0].item(), abs=tolerance)


SMOOTH = ElasticNet(1e-3, 0.0)
LAYERS = {"penalty": [SMOOTH, None, SMOOTH], "constraint": [None, MaxNorm(1.0), None]}
# the rates of members are reduced at different epochs
REDUCED = [
    {"plateau_patience": 1, "patience": 7, "lr": 0.1, "solver": name, "penalty": SMOOTH} for name in ("adamw", "sgd")
]
# no clipping, which adds rounding errors
SELECTING = {"feature_alpha": 0.05, "penalty": SMOOTH, "patience": None, "clip_norm": None}
MORE = [
    LAYERS,
    *REDUCED,
    *(DEEP, SELECTING, {**SELECTING, "solver": "sgd"}),
    *({"ema_decay": 0.9}, {"swa_start": 0.3}, {**PLAIN, "swa_start": 0.3}),
    *({"criterion": HuberLoss}, {"criterion": PinballLoss}),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("settings", [{}, {"solver": "adam"}, {"solver": "sgd"}, PLAIN, *MORE, *AUGMENTED])
def test_a_member_trains_as_if_alone(settings, dtype):
    together = train_net(*make_net(range(NET_MEMBERS), dtype, **settings))
    for i in range(NET_MEMBERS):
        assert_member_is(together, i, train_net(*make_net([i], dtype, **settings)))


@pytest.mark.parametrize("augmented", AUGMENTED)
def test_a_member_is_augmented_as_if_alone_beside_members_with_more_rows(augmented):
    """The augmentation of a member depends neither on padding nor on the number of members."""
    index = [rows[: 90 - 2 * m] for m, rows in enumerate(TRAIN_INDEX)]
    settings = {**PLAIN, "norm": BatchNorm, "epochs": 3, **augmented, "patience": None}

    def trained(members):
        net, *_ = make_net(members, torch.float64, **settings)
        return train_net(net, member_rows(members, index, torch.float64), None)

    together = trained(range(NET_MEMBERS))
    assert together.stopping_.diverged.tolist() == [False] * NET_MEMBERS
    for i in range(NET_MEMBERS):
        assert_member_is(together, i, trained([i]))


DROPOUTS = [
    {"dropout": (0.3, 0.1), "input_dropout": 0.1},  # masks of one rate for all members
    {"dropout": (torch.tensor([0.1, 0.2, 0.0, 0.4], dtype=torch.float64), 0.2)},  # a rate for each member
    {"dropout": (0.2, 0.2), "activation": activations.selu},  # alpha dropout
]


@pytest.mark.parametrize("hidden", [(8, 8), (40, 16)])
@pytest.mark.parametrize("n_rows", [(100, 96, 91, 85), (81, 100, 83, 100)])
@pytest.mark.parametrize("settings", [*DROPOUTS, *AUGMENTED])
def test_random_numbers_of_a_member_do_not_depend_on_the_heights_of_other_members(
    settings, n_rows, hidden, monkeypatch
):
    """Members have batches of different heights, whose windows do not fit in a quarter of the standard pool."""
    monkeypatch.setattr(generators, "POOL_SIZE", 64)
    index = [np.resize(TRAIN_INDEX[0], n) for n in n_rows]
    given = {**PLAIN, "epochs": 2, **settings, "hidden": hidden, "patience": None}
    rates = given.pop("dropout")

    def trained(members):
        net, *_ = make_net(members, torch.float64, **given, dropout=(0.5, 0.5))
        chosen = torch.tensor(list(members))
        net.module_.dropout = tuple(rate[chosen] if isinstance(rate, torch.Tensor) else rate for rate in rates)
        return train_net(net, member_rows(members, index, torch.float64), None)

    together = trained(range(NET_MEMBERS))
    for members in ([0], [2], [3, 1]):
        alone = trained(members)
        for i, member in enumerate(members):
            for ours, theirs in zip(together.trained_tensors(), alone.trained_tensors(), strict=True):
                torch.testing.assert_close(ours[member], theirs[i], atol=1e-9, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [DROPOUTS[0], DROPOUTS[1], *AUGMENTED])
def test_random_numbers_beyond_the_standard_pool_are_freed_after_training(settings, monkeypatch):
    monkeypatch.setattr(generators, "POOL_SIZE", 64)
    net, rows, _ = make_net(range(NET_MEMBERS), **{**PLAIN, **settings, "hidden": (400, 16), "patience": None})

    def long_tensors():
        gc.collect()
        return [t for t in gc.get_objects() if type(t) is torch.Tensor and t.dim() == 1 and len(t) >= 4 * 20 * 16]

    before = long_tensors()  # pools that earlier tests have cached
    train_net(net, rows, None, epochs=1)
    assert len(long_tensors()) == len(before)


@pytest.mark.parametrize("settings", [{"solver": "sgd", "epochs": 2}, {"norm": None, "epochs": 2}])
def test_a_member_trains_as_if_alone_with_two_threads(settings):
    with torch_threads(2):
        together = train_net(*make_net(range(NET_MEMBERS), **settings))
        assert_member_is(together, 2, train_net(*make_net([2], **settings)))


@pytest.mark.parametrize("settings", [{}, {"solver": "sgd"}, PLAIN])
def test_a_diverging_member_does_not_change_the_others(settings):
    net, train_rows, valid_rows = make_net(range(NET_MEMBERS), **settings)
    with torch.no_grad():
        net.module_.head.weight[1] = torch.nan
    train_net(net, train_rows, valid_rows)
    assert net.stopping_.diverged.tolist() == [False, True, False, False]
    for i in (0, 2, 3):
        assert_member_is(net, i, train_net(*make_net([i], **settings)))


@pytest.mark.parametrize("settings", REDUCED)
def test_the_learning_rates_of_members_differ_after_a_reduction(settings):
    net = train_net(*make_net(range(NET_MEMBERS), **settings))
    assert len(net.reduce_on_plateau_.factors.unique()) > 1
    assert net.history[-1, "lr"] < 0.2 * net.history[0, "lr"]


def test_members_differ_from_each_other():
    raw = predictions(train_net(*make_net(range(NET_MEMBERS))))
    for i in range(NET_MEMBERS):
        for j in range(i):
            assert (raw[i] - raw[j]).abs().max() > 0.01


def saved_by_torch(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file)


def saved_by_pickle(state):
    return pickle.loads(pickle.dumps(state))


@pytest.mark.parametrize("save", [saved_by_torch, saved_by_pickle])
@pytest.mark.parametrize(
    "settings",
    [
        *({}, {"solver": "sgd", "patience": 1}, {"solver": "adam", "patience": None}, PLAIN, {"ema_decay": 0.9}),
        *(*REDUCED, {"feature_alpha": 0.05}),
        *({"swa_start": 0.3}, {"swa_start": 0.3, "patience": None}),
        *AUGMENTED,
    ],
)
def test_training_continues_exactly_from_its_state(settings, save):
    whole, *data = make_net(range(NET_MEMBERS), **settings)
    train_net(whole, *data)
    half, *data = make_net(range(NET_MEMBERS), **settings)
    train_net(half, *data, epochs=3)
    state = save(half.state_dict())
    fresh, *data = make_net(range(NET_MEMBERS), seed=99, **settings)
    fresh.load_state_dict(state)
    assert fresh.epoch_ == 3
    train_net(fresh, *data)
    assert fresh.epoch_ == whole.epoch_
    for ours, theirs in zip(fresh.trained_tensors(), whole.trained_tensors(), strict=True):
        assert torch.equal(ours, theirs)
    assert fresh.history[:, "train_loss"] == whole.history[:, "train_loss"]
    if whole.patience is not None:
        assert fresh.history[:, "valid_loss"] == whole.history[:, "valid_loss"]
    for name in ("best", "best_epoch", "waited", "active", "diverged"):
        assert torch.equal(getattr(fresh.stopping_, name), getattr(whole.stopping_, name)), name
    assert torch.equal(predictions(fresh.snapshot()), predictions(whole.snapshot()))


def test_a_state_does_not_change_with_later_epochs():
    """Neither the net that continues to train nor one that loads the state changes it."""
    net, *data = make_net(range(NET_MEMBERS))
    train_net(net, *data, epochs=3)
    state = net.state_dict()
    kept = saved_by_pickle(state)
    other, *others_data = make_net(range(NET_MEMBERS), seed=99)
    other.load_state_dict(state)
    train_net(other, *others_data)
    for name in ("best", "best_epoch", "waited", "active"):
        assert torch.equal(state["stopping"][name], kept["stopping"][name]), name
    for ours, theirs in zip(state["stopping"]["kept"], kept["stopping"]["kept"], strict=True):
        assert torch.equal(ours, theirs)


def test_the_best_weights_are_restored_at_the_end():
    net, train_rows, valid_rows = make_net(range(NET_MEMBERS), lr=0.3, epochs=12)
    net.train(None, None, train_rows, valid_rows, LossMonitor())
    score, _ = net._validate(prepare_rows(net.module_, valid_rows), LossMonitor())
    torch.testing.assert_close(score, net.stopping_.best, rtol=1e-6, atol=1e-6)
    assert (net.stopping_.best_epoch < net.epoch_).any()


class Interrupt(Callback):
    """Raise ``KeyboardInterrupt`` after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


def test_an_interrupt_is_raised_after_the_best_weights_are_restored():
    net, train_rows, valid_rows = make_net(range(NET_MEMBERS), callbacks=[Interrupt(4)])
    with pytest.raises(KeyboardInterrupt):
        net.train(None, None, train_rows, valid_rows, LossMonitor())
    assert net.epoch_ == 4
    score, _ = net._validate(prepare_rows(net.module_, valid_rows), LossMonitor())
    torch.testing.assert_close(score, net.stopping_.best, rtol=1e-6, atol=1e-6)


class BatchListener(Callback):
    """Record the events of batches."""

    def __init__(self):
        self.events = []

    def on_batch_begin(self, net, **kwargs):
        self.events.append("begin")

    def on_grad_computed(self, net, named_parameters, **kwargs):
        assert all(parameter.grad is not None for _, parameter in named_parameters)
        self.events.append("gradient")

    def on_batch_end(self, net, **kwargs):
        self.events.append("end")


def test_batch_events_reach_listeners_and_do_not_change_the_training():
    listener = BatchListener()
    with_events = train_net(*make_net([0], callbacks=[listener], epochs=2))
    without_events = train_net(*make_net([0], epochs=2))
    assert listener.events == ["begin", "gradient", "end"] * 10
    assert torch.equal(predictions(with_events), predictions(without_events))
    assert "batches" not in without_events.history[-1] or not without_events.history[-1]["batches"]
    assert len(with_events.history[-1, "batches"]) == 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_prediction_of_a_row_does_not_depend_on_other_rows(dtype):
    net, *_ = make_net(range(NET_MEMBERS), dtype)
    together = predictions(net)
    numbers, levels = torch.from_numpy(NET_NUMBERS), torch.from_numpy(NET_LEVELS)
    for rows in (slice(0, 1), slice(7, 8), slice(3, 60), slice(100, 120)):
        assert torch.equal(predict_raw(net.module_, numbers[rows], levels[rows]), together[:, rows])


def test_a_snapshot_does_not_change_with_later_epochs():
    net, *data = make_net(range(NET_MEMBERS))
    train_net(net, *data, epochs=2)
    snapshot = net.snapshot()
    before, n_epochs = predictions(snapshot), len(snapshot.history)
    train_net(net, *data)
    assert torch.equal(predictions(snapshot), before)
    assert len(snapshot.history) == n_epochs
    assert not torch.equal(predictions(net), before)


def test_the_history_contains_means_over_the_active_members(monkeypatch):
    net, train_rows, valid_rows = make_net(range(NET_MEMBERS), patience=1, lr=0.3, epochs=8)
    losses = []
    usual = Trainer.train_epoch

    def epoch(*arguments):
        active = net.stopping_.active.clone()
        loss = usual(*arguments)
        losses.append(loss[active].mean().item())
        return loss

    monkeypatch.setattr(Trainer, "train_epoch", epoch)
    train_net(net, train_rows, valid_rows)
    assert net.history[:, "train_loss"] == losses
    assert net.stopping_.best_epoch.unique().numel() > 1


def test_the_history_contains_the_last_learning_rate_of_each_epoch():
    net = train_net(*make_net([0], epochs=3))
    expected = [0.01 * schedules.cosine((epoch + 4 / 5) / 3) for epoch in range(3)]
    np.testing.assert_allclose(net.history[:, "lr"], expected)
