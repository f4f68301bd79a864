"""The net: members that train as if alone, and a fit whose state can be written down and continued exactly."""

import io
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from skreg import activations, augmentations, schedules
from skreg._utils.threads import torch_threads
from skreg.data.batches import MemberRows
from skreg.data.statistics import learn_statistics, target_statistics
from skreg.network.config import NetworkConfig
from skreg.network.generators import member_seeds
from skreg.network.inference import predict_raw, prepare_rows
from skreg.network.input_layer import InputLayer
from skreg.network.layers import BatchNorm, LayerNorm
from skreg.network.network import Network
from skreg.training.augmented_batch import PerMember
from skreg.training.config import TrainingConfig
from skreg.training.constraints import MaxNorm
from skreg.training.losses.base import HalfSquaredError, HuberLoss, PinballLoss
from skreg.training.monitor import LossMonitor
from skreg.training.net import Net
from skreg.training.penalties import ElasticNet
from skreg.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")
N, MEMBERS = 120, 4
RNG = np.random.RandomState(0)
NUMBERS = RNG.randn(N, 4) * [1, 5, 100, 0.1]
NUMBERS[RNG.rand(N, 4) < 0.05] = np.nan
LEVELS = np.column_stack([RNG.randint(0, 4, N), RNG.randint(0, 13, N)]).astype(np.int32)
SIZES = [3, 12]
TARGET = (np.nan_to_num(NUMBERS[:, :1]) + LEVELS[:, :1] + RNG.randn(N, 1) * 0.3) * 7 + 3
WEIGHT = RNG.rand(N) + 0.5
FOLD = RNG.permutation(N) % MEMBERS
HELD_IN = [np.flatnonzero(m != FOLD) for m in range(MEMBERS)]
HELD_OUT = [np.flatnonzero(m == FOLD) for m in range(MEMBERS)]
CPU = torch.device("cpu")

EVERYTHING = {
    "solver": "adamw",
    "norm": BatchNorm,
    "residual": False,
    "dropout": (0.3, 0.1),
    "input_dropout": 0.1,
    "penalty": ElasticNet(1e-3, 0.5),
    "constraint": MaxNorm(3.0),
    "clip_norm": 1.0,
    "weight_decay": 0.01,
    "patience": 3,
}
DEEP = {
    "norm": LayerNorm,
    "residual": True,
    "activation": activations.selu,
    "hidden": (8, 8, 8),
    "dropout": (0.2,) * 3,
    "patience": None,
}
AVERAGING = ("ema_decay", "swa_start")
COURSE = (
    *("solver", "penalty", "feature_alpha", "constraint", "clip_norm", "weight_decay", "augmentation"),
    *(*AVERAGING, "plateau"),
)
PLAIN = {"solver": "sgd", "norm": None, "dropout": (0.0, 0.0), "input_dropout": 0.0, "patience": None}
AUGMENTATIONS = [partial(getattr(augmentations, name), strength=0.5) for name in augmentations.__all__]


def scale_and_shift(inputs, generator):
    """An augmentation of a user's, of which each row takes a random number."""
    return 2 * inputs + torch.randn(len(inputs), 1, generator=generator, dtype=inputs.dtype)


# patience for all epochs: one that stops alone stops training, beside others it trains on; and no L1 penalty, whose
# threshold makes much of a rounding error
AUGMENTED = [
    {"augmentation": chosen, "patience": 7, "penalty": ElasticNet(1e-3, 0.0)}
    for chosen in (*AUGMENTATIONS, PerMember(scale_and_shift))
]


def rows(members, index, dtype):
    return MemberRows(NUMBERS, LEVELS, TARGET, [index[m] for m in members], WEIGHT, dtype, CPU)


def make_net(members, dtype=torch.float32, seed=0, lr=0.01, epochs=7, **changes):
    """A net of some of the members, and what they train on and are watched on."""
    settings = {**EVERYTHING, **changes}
    criterion = settings.pop("criterion", HalfSquaredError)
    weight = np.zeros((len(members), N))
    for row, m in zip(weight, members, strict=True):
        row[HELD_IN[m]] = WEIGHT[HELD_IN[m]]
    statistics = learn_statistics(NUMBERS, LEVELS, SIZES, weight, "robust")
    config = NetworkConfig(
        hidden_layer_sizes=settings.pop("hidden", (16, 8)),
        activation=settings.pop("activation", activations.silu),
        **{name: settings.pop(name) for name in ("norm", "residual", "dropout", "input_dropout")},
    )
    seeds = [member_seeds(seed, MEMBERS)[m] for m in members]
    network = Network(
        config,
        InputLayer(statistics, [0], [1], 3.0, dtype),
        1,
        [of_weights for of_weights, _ in seeds],
        [12],
        target_statistics(TARGET, weight),
    )
    trained = {name: settings.pop(name) for name in COURSE if name in settings}
    net = Net(
        network,
        criterion,
        TrainingConfig(rate=lr, schedule=schedules.cosine, **trained),
        max_epochs=epochs,
        batch_size=20,
        seeds=[of_stream for _, of_stream in seeds],
        min_delta=0.0,
        device="cpu",
        verbose=0,
        **settings,
    ).initialize()
    return net, rows(members, HELD_IN, dtype), rows(members, HELD_OUT, dtype)


def train(net, train_rows, valid_rows, epochs=None):
    """Train without putting the best weights back; early stopping watches if the net has patience."""
    validation = net.patience is not None
    monitor = LossMonitor() if validation else None
    return net.fit_loop(
        None, epochs=epochs, train=train_rows, valid=valid_rows if validation else None, monitor=monitor
    )


def predictions(net):
    return predict_raw(net.module_, torch.from_numpy(NUMBERS), torch.from_numpy(LEVELS))


def assert_member_is(net, i, alone, tolerance=1e-5):
    for ours, theirs in zip(net._trained(), alone._trained(), strict=True):
        torch.testing.assert_close(ours[i : i + 1], theirs, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(predictions(net)[i : i + 1], predictions(alone), atol=tolerance, rtol=tolerance)
    assert net.stopping_.best_epoch[i] == alone.stopping_.best_epoch[0]
    assert net.stopping_.best[i].item() == pytest.approx(alone.stopping_.best[0].item(), abs=tolerance)


SMOOTH = ElasticNet(1e-3, 0.0)
LAYERS = {"penalty": [SMOOTH, None, SMOOTH], "constraint": [None, MaxNorm(1.0), None]}
# members cut their rates at different epochs, so that they differ
CUT = [{"plateau": 1, "patience": 7, "lr": 0.1, "solver": name, "penalty": SMOOTH} for name in ("adamw", "sgd")]
# no clipping, whose sums round
SELECTING = {"feature_alpha": 0.05, "penalty": SMOOTH, "patience": None, "clip_norm": None}
MORE = [
    LAYERS,
    *CUT,
    *(DEEP, SELECTING, {**SELECTING, "solver": "sgd"}),
    *({"ema_decay": 0.9}, {"swa_start": 0.3}, {**PLAIN, "swa_start": 0.3}),
    *({"criterion": HuberLoss}, {"criterion": PinballLoss}),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("settings", [{}, {"solver": "adam"}, {"solver": "sgd"}, PLAIN, *MORE, *AUGMENTED])
def test_a_member_trains_as_if_alone(settings, dtype):
    together = train(*make_net(range(MEMBERS), dtype, **settings))
    for i in range(MEMBERS):
        assert_member_is(together, i, train(*make_net([i], dtype, **settings)))


@pytest.mark.parametrize("augmented", AUGMENTED)
def test_a_member_is_augmented_as_if_alone_beside_longer_ones(augmented):
    """Neither the padding that its neighbours make nor their number decides what a member suffers."""
    index = [rows[: 90 - 2 * m] for m, rows in enumerate(HELD_IN)]
    settings = {**PLAIN, "norm": BatchNorm, "epochs": 3, **augmented, "patience": None}

    def trained(members):
        net, *_ = make_net(members, torch.float64, **settings)
        return train(net, rows(members, index, torch.float64), None)

    together = trained(range(MEMBERS))
    assert together.stopping_.diverged.tolist() == [False] * MEMBERS
    for i in range(MEMBERS):
        assert_member_is(together, i, trained([i]))


@pytest.mark.parametrize("settings", [{"solver": "sgd", "epochs": 2}, {"norm": None, "epochs": 2}])
def test_a_member_trains_as_if_alone_with_two_threads(settings):
    with torch_threads(2):
        together = train(*make_net(range(MEMBERS), **settings))
        assert_member_is(together, 2, train(*make_net([2], **settings)))


@pytest.mark.parametrize("settings", [{}, {"solver": "sgd"}, PLAIN])
def test_a_neighbour_that_diverges_changes_nothing(settings):
    net, train_rows, valid_rows = make_net(range(MEMBERS), **settings)
    with torch.no_grad():
        net.module_.head.weight[1] = torch.nan
    train(net, train_rows, valid_rows)
    assert net.stopping_.diverged.tolist() == [False, True, False, False]
    for i in (0, 2, 3):
        assert_member_is(net, i, train(*make_net([i], **settings)))


@pytest.mark.parametrize("settings", CUT)
def test_the_rates_of_members_differ_once_they_are_cut(settings):
    net = train(*make_net(range(MEMBERS), **settings))
    assert len(net.reduce_on_plateau_.factors.unique()) > 1
    assert net.history[-1, "lr"] < 0.2 * net.history[0, "lr"]


def test_members_differ_from_each_other():
    raw = predictions(train(*make_net(range(MEMBERS))))
    for i in range(MEMBERS):
        for j in range(i):
            assert (raw[i] - raw[j]).abs().max() > 0.01


def written_torch(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file)


def written_pickle(state):
    return pickle.loads(pickle.dumps(state))


@pytest.mark.parametrize("write", [written_torch, written_pickle])
@pytest.mark.parametrize(
    "settings",
    [
        *({}, {"solver": "sgd", "patience": 1}, {"solver": "adam", "patience": None}, PLAIN, {"ema_decay": 0.9}),
        *(*CUT, {"feature_alpha": 0.05}),
        *({"swa_start": 0.3}, {"swa_start": 0.3, "patience": None}),
        *AUGMENTED,
    ],
)
def test_a_fit_continues_exactly_from_its_state(settings, write):
    whole, *data = make_net(range(MEMBERS), **settings)
    train(whole, *data)
    half, *data = make_net(range(MEMBERS), **settings)
    train(half, *data, epochs=3)
    state = write(half.state_dict())
    fresh, *data = make_net(range(MEMBERS), seed=99, **settings)
    fresh.load_state_dict(state)
    assert fresh.epoch_ == 3
    train(fresh, *data)
    assert fresh.epoch_ == whole.epoch_
    for ours, theirs in zip(fresh._trained(), whole._trained(), strict=True):
        assert torch.equal(ours, theirs)
    assert fresh.history[:, "train_loss"] == whole.history[:, "train_loss"]
    if whole.patience is not None:
        assert fresh.history[:, "valid_loss"] == whole.history[:, "valid_loss"]
    for name in ("best", "best_epoch", "waited", "active", "diverged"):
        assert torch.equal(getattr(fresh.stopping_, name), getattr(whole.stopping_, name)), name
    assert torch.equal(predictions(fresh.snapshot()), predictions(whole.snapshot()))


def test_a_state_is_what_it_was_when_it_was_asked_for():
    """A fit that goes on, or another that continues from the same state, does not change it."""
    net, *data = make_net(range(MEMBERS))
    train(net, *data, epochs=3)
    state = net.state_dict()
    kept = written_pickle(state)
    other, *others_data = make_net(range(MEMBERS), seed=99)
    other.load_state_dict(state)
    train(other, *others_data)
    for name in ("best", "best_epoch", "waited", "active"):
        assert torch.equal(state["stopping"][name], kept["stopping"][name]), name
    for ours, theirs in zip(state["stopping"]["kept"], kept["stopping"]["kept"], strict=True):
        assert torch.equal(ours, theirs)


def test_best_weights_are_put_back_at_the_end():
    net, train_rows, valid_rows = make_net(range(MEMBERS), lr=0.3, epochs=12)
    net.partial_fit(None, train=train_rows, valid=valid_rows, monitor=LossMonitor())
    score, _ = net._validate(prepare_rows(net.module_, valid_rows), LossMonitor())
    torch.testing.assert_close(score, net.stopping_.best, rtol=1e-6, atol=1e-6)
    assert (net.stopping_.best_epoch < net.epoch_).any()


class Interrupt(Callback):
    """Presses Ctrl-C after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


def test_an_interrupt_is_passed_on_with_the_best_weights_in_place():
    net, train_rows, valid_rows = make_net(range(MEMBERS), callbacks=[Interrupt(4)])
    with pytest.raises(KeyboardInterrupt):
        net.partial_fit(None, train=train_rows, valid=valid_rows, monitor=LossMonitor())
    assert net.epoch_ == 4
    score, _ = net._validate(prepare_rows(net.module_, valid_rows), LossMonitor())
    torch.testing.assert_close(score, net.stopping_.best, rtol=1e-6, atol=1e-6)


class Listener(Callback):
    """Counts the events of batches."""

    def __init__(self):
        self.events = []

    def on_batch_begin(self, net, **kwargs):
        self.events.append("begin")

    def on_grad_computed(self, net, named_parameters, **kwargs):
        assert all(parameter.grad is not None for _, parameter in named_parameters)
        self.events.append("gradient")

    def on_batch_end(self, net, **kwargs):
        self.events.append("end")


def test_events_of_batches_reach_who_listens_and_change_nothing():
    listener = Listener()
    heard = train(*make_net([0], callbacks=[listener], epochs=2))
    silent = train(*make_net([0], epochs=2))
    assert listener.events == ["begin", "gradient", "end"] * 10
    assert torch.equal(predictions(heard), predictions(silent))
    assert "batches" not in silent.history[-1] or not silent.history[-1]["batches"]
    assert len(heard.history[-1, "batches"]) == 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_is_predicted_alike_in_any_company(dtype):
    net, *_ = make_net(range(MEMBERS), dtype)
    together = predictions(net)
    numbers, levels = torch.from_numpy(NUMBERS), torch.from_numpy(LEVELS)
    for part in (slice(0, 1), slice(7, 8), slice(3, 60), slice(100, 120)):
        assert torch.equal(predict_raw(net.module_, numbers[part], levels[part]), together[:, part])


def test_a_snapshot_does_not_change_with_later_epochs():
    net, *data = make_net(range(MEMBERS))
    train(net, *data, epochs=2)
    snapshot = net.snapshot()
    before, n_epochs = predictions(snapshot), len(snapshot.history)
    train(net, *data)
    assert torch.equal(predictions(snapshot), before)
    assert len(snapshot.history) == n_epochs
    assert not torch.equal(predictions(net), before)


def test_the_history_holds_means_over_the_members_that_train(monkeypatch):
    net, train_rows, valid_rows = make_net(range(MEMBERS), patience=1, lr=0.3, epochs=8)
    losses = []
    usual = Trainer.epoch

    def epoch(*arguments):
        active = net.stopping_.active.clone()
        loss = usual(*arguments)
        losses.append(loss[active].mean().item())
        return loss

    monkeypatch.setattr(Trainer, "epoch", epoch)
    train(net, train_rows, valid_rows)
    assert net.history[:, "train_loss"] == losses
    assert net.stopping_.best_epoch.unique().numel() > 1


def test_an_epoch_ends_with_the_schedules_last_rate():
    net = train(*make_net([0], epochs=3))
    expected = [0.01 * schedules.cosine((epoch + 4 / 5) / 3) for epoch in range(3)]
    np.testing.assert_allclose(net.history[:, "lr"], expected)
