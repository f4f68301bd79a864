"""The network compared with plain formulas, member by member."""

import numpy as np
import pytest
import torch
from torch import Generator

from skreg import activations, embeddings, initializers
from skreg.data.statistics import Statistics, learn_statistics
from skreg.network.config import NetworkConfig
from skreg.network.dropout import Dropout
from skreg.network.generators import MemberGenerators
from skreg.network.input_layer import InputLayer
from skreg.network.layers import BatchNorm, LayerNorm
from skreg.network.network import Network

F64 = torch.float64
CPU = torch.device("cpu")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=F64)


def plain_inputs(width, members=2):
    ones = np.ones((members, width))
    return InputLayer(Statistics(0 * ones, 0 * ones, ones, None, False), [], [], 3.0, F64)


def make_network(width=4, hidden=(6, 5), members=2, dropout=0.0, n_raw=3, seeds=None, **structure):
    rates = dropout if isinstance(dropout, tuple) else (dropout,) * len(hidden)
    config = NetworkConfig(hidden_layer_sizes=hidden, dropout=rates, **structure)
    statistics = np.zeros((members, n_raw)), np.ones((members, n_raw))
    seeds = range(members) if seeds is None else seeds
    return Network(config, plain_inputs(width, members), n_raw, seeds, target_statistics=statistics)


def test_initial_weights_of_a_member_depend_on_its_own_seed_only():
    together, alone = make_network(members=2), make_network(members=1, seeds=[1])
    for a, b in zip(together.linears, alone.linears, strict=True):
        assert torch.equal(a.weight[1:], b.weight)
        assert not torch.equal(a.weight[0], a.weight[1])
        assert (a.bias == 0).all()


def test_raw_output_equals_the_layers_applied_in_order():
    network = make_network()
    x = normal(2, 9, 4)
    raw = network(x)
    for m in range(2):
        h = x[m].numpy()
        for layer in network.hidden:
            h = np.maximum(h @ layer.weight[m].detach().numpy() + layer.bias[m].detach().numpy(), 0)
        expected = h @ network.head.weight[m].detach().numpy() + network.head.bias[m].detach().numpy()
        np.testing.assert_allclose(raw[m].detach().numpy(), expected, atol=1e-12)


def test_network_without_hidden_layer_is_a_linear_model():
    network = make_network(hidden=())
    x = normal(2, 9, 4)
    torch.testing.assert_close(network(x), network.head(x))
    assert torch.equal(network(x, weight=torch.ones(2, 9)), network.head(x))


def test_blend_is_applied_to_the_vectors_of_embedded_categories():
    levels = np.array([[1], [2], [3]], np.int32)
    inputs = InputLayer(learn_statistics(np.zeros((3, 1)), levels, [3], np.ones((1, 3)), "robust"), [], [0], 3.0, F64)
    network = Network(NetworkConfig(hidden_layer_sizes=(), embedding_width=4), inputs, 2, [0], [3])
    x, codes = normal(1, 3, 1), torch.from_numpy(levels).long().unsqueeze(0)
    vectors = network.embeddings(codes)
    raw = network(x, codes, torch.ones(1, 3), blend=lambda v: 0.3 * v + 0.7 * v.flip(1))
    mixed = torch.cat([x, 0.3 * vectors + 0.7 * vectors.flip(1)], -1)
    torch.testing.assert_close(raw, network.head(mixed))


def test_weights_exclude_biases_and_norms():
    network = make_network(norm=BatchNorm)
    assert [w.shape for w in network.weights()] == [(2, 4, 6), (2, 6, 5), (2, 5, 3)]


class RecordingDropout:
    """Dropout that records widths and rates, and drops nothing."""

    def __init__(self):
        self.calls = []

    def drop(self, x, rate, negative_limit=0.0, in_place=False):
        self.calls.append((x.shape[-1], rate))
        return x


@pytest.mark.parametrize(
    ("input_dropout", "dropout", "expected"),
    [
        (0.0, (0.0, 0.0), []),
        (0.2, (0.0, 0.0), [(4, 0.2)]),
        (0.0, (0.1, 0.5), [(6, 0.1), (5, 0.5)]),
        (0.3, (0.0, 0.5), [(4, 0.3), (5, 0.5)]),
    ],
)
def test_dropout_applies_to_the_layers_whose_rate_is_not_zero(input_dropout, dropout, expected):
    network, recorder = make_network(input_dropout=input_dropout, dropout=dropout), RecordingDropout()
    network(normal(2, 9, 4), dropout=recorder)
    assert recorder.calls == expected
    assert network.dropout_masks().shape == (2, len(expected))
    assert network.uses_dropout == bool(expected)


def test_input_dropout_sets_inputs_to_zero():
    network = make_network(width=50, hidden=(), input_dropout=0.4, n_raw=1)
    with torch.no_grad():
        network.head.weight.fill_(1.0)
    dropout = Dropout(MemberGenerators([1, 2]), torch.ones(2, 1, dtype=torch.bool), [200 * 50] * 2, F64, CPU)
    dropout.begin_epoch(1)
    kept = network(torch.ones(2, 200, 50, dtype=F64), dropout=dropout) * 0.6
    assert kept.mean().item() == pytest.approx(30, abs=0.5)
    torch.testing.assert_close(kept, kept.round())


def test_effective_layers_are_in_the_units_of_the_target():
    statistics = np.array([[3.0]]), np.array([[2.0]])
    network = Network(NetworkConfig(hidden_layer_sizes=()), plain_inputs(2, 1), 1, [0], target_statistics=statistics)
    ((weight, bias),) = network.effective_layers()
    np.testing.assert_allclose(weight, 2 * network.head.weight[0].detach().numpy())
    np.testing.assert_allclose(bias, [3.0])
    _, _, target = network.prepare(torch.zeros(1, 1, 2, dtype=F64), None, torch.full((1, 1, 1), 7.0, dtype=F64))
    assert target.item() == 2


def test_copy_statistics_returns_copies():
    network = make_network()
    inputs, (center, scale) = network.copy_statistics(torch.float32)
    assert inputs.dtype == torch.float32
    assert network.inputs.dtype == F64
    inputs.center += 1
    assert (network.inputs.center == 0).all()
    np.testing.assert_array_equal(center, np.zeros((2, 3)))
    np.testing.assert_array_equal(scale, np.ones((2, 3)))


def test_residual_layer_adds_its_input_if_the_width_is_the_same():
    network = make_network(width=6, hidden=(6, 5, 5), residual=True)
    assert network.has_skip == [True, False, True]
    with torch.no_grad():
        for linear in network.hidden:
            linear.weight.zero_()
            linear.bias.zero_()
        network.hidden[1].bias.fill_(1.0)
    x = normal(2, 9, 6)
    torch.testing.assert_close(network(x), network.head(torch.full((2, 9, 5), 0.5**0.5, dtype=F64)))


def moments_after_ten_layers(rate, seed=0):
    """Mean and variance of the activations after ten self-normalizing layers, in training."""
    structure = {"activation": activations.selu, "init": initializers.lecun_normal}
    network = make_network(64, (128,) * 10, members=1, dropout=rate, n_raw=128, seeds=[seed], **structure)
    with torch.no_grad():
        network.head.weight.copy_(torch.eye(128, dtype=F64))
    dropout = Dropout(MemberGenerators([seed]), torch.ones(1, 10, dtype=torch.bool), [512 * 128], F64, CPU)
    dropout.begin_epoch(1)
    out = network(normal(1, 512, 64), weight=torch.ones(1, 512), dropout=dropout if rate else None)
    return out.mean().item(), out.var().item()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3])
def test_self_normalizing_network_keeps_mean_and_variance_over_ten_layers(rate, seed):
    mean, variance = moments_after_ten_layers(rate, seed)
    assert abs(mean) < 0.15
    assert 0.7 < variance < 1.4


@pytest.mark.parametrize("norm", [None, BatchNorm, LayerNorm])
@pytest.mark.parametrize("scaling", ["robust", "quantile"])
def test_select_members_copies_all_tensors_of_the_members(norm, scaling):
    numbers = normal(40, 3).numpy()
    numbers[::7, 1] = np.nan
    levels = np.random.RandomState(0).randint(0, 4, (40, 2)).astype(np.int32)
    weight = np.random.RandomState(1).rand(3, 40)
    statistics = learn_statistics(numbers, levels, [3, 3], weight, scaling, 5)
    config = NetworkConfig(
        hidden_layer_sizes=(6,), norm=norm, dropout=(0.0,), numeric_embedding=embeddings.piecewise_linear
    )
    inputs = InputLayer(statistics, [0], [1], 3.0, F64)
    of_target = np.random.RandomState(2).rand(3, 1), np.ones((3, 1))
    network = Network(config, inputs, 1, [0, 1, 2], [3], of_target)

    def raw(network):
        members = network.n_members
        columns = torch.from_numpy(numbers).expand(members, -1, -1), torch.from_numpy(levels).expand(members, -1, -1)
        return network(*network.inputs(*columns))

    selected = network.select_members([2, 0, 2])
    torch.testing.assert_close(raw(selected), raw(network)[[2, 0, 2]], rtol=0, atol=1e-12)
    assert torch.equal(selected.target_center, network.target_center[[2, 0, 2]])
    assert raw(network.select_members([1])).shape == (1, 40, 1)
    assert network.n_members == 3


@pytest.mark.parametrize("rows", [3, 32])
@pytest.mark.parametrize("residual", [False, True])
def test_input_scale_has_the_same_effect_in_training_and_prediction(residual, rows):
    """In training with many rows it is multiplied into the weights, unless a skip connection uses the inputs."""
    network = make_network(6, activation=activations.silu, residual=residual, scale_layer=True)
    with torch.no_grad():
        network.scale.weight.copy_(1 + normal(2, 1, 6))
    assert network.scales_weights(rows) == (rows == 32 and not residual)
    x = normal(2, rows, 6)
    torch.testing.assert_close(network(x, weight=torch.ones(2, rows, dtype=F64)), network(x))
