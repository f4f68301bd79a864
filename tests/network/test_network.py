"""The layers: each against a plain formula, member by member."""

import numpy as np
import pytest
import torch
from scipy.special import ndtri
from torch import Generator

from skreg import activations, embeddings, initializers
from skreg.data.statistics import Statistics, learn_statistics
from skreg.network.generators import Dropout, MemberGenerators
from skreg.network.input_layer import InputLayer
from skreg.network.layers import BatchNorm, Embeddings, LayerNorm, Linear
from skreg.network.network import Network

F64 = torch.float64
CPU = torch.device("cpu")


def generators(*seeds):
    return [Generator().manual_seed(seed) for seed in seeds]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=F64)


def plain_inputs(width, members=2):
    ones = np.ones((members, width))
    return InputLayer(Statistics(0 * ones, 0 * ones, ones, None, False), [], [], 3.0, F64)


def make_network(width=4, hidden=(6, 5), members=2, dropout=0.0, input_dropout=0.0, n_raw=3, **structure):
    rates = dropout if isinstance(dropout, tuple) else (dropout,) * len(hidden)
    statistics = np.zeros((members, n_raw)), np.ones((members, n_raw))
    network = Network(
        plain_inputs(width, members),
        [],
        8,
        hidden,
        n_raw,
        structure.get("activation", activations.relu),
        structure.get("norm"),
        structure.get("residual", False),
        rates,
        input_dropout,
        *statistics,
    )
    network.draw(initializers.he_normal, initializers.he_normal, list(range(members)))
    return network


def test_linear_is_an_affine_map_of_each_member():
    linear = Linear(3, 4, 5, F64)
    linear.draw = torch.no_grad()(linear.draw)
    linear.draw(initializers.he_normal, generators(0, 1, 2))
    with torch.no_grad():
        linear.bias.copy_(normal(3, 1, 5))
    x = normal(3, 7, 4)
    for m in range(3):
        expected = x[m] @ linear.weight[m] + linear.bias[m]
        torch.testing.assert_close(linear(x)[m], expected)


def test_weights_of_a_member_are_drawn_from_its_own_seed():
    together, alone = make_network(members=2), make_network(members=1)
    alone.draw(initializers.he_normal, initializers.he_normal, [1])
    for a, b in zip(together.linears, alone.linears, strict=True):
        assert torch.equal(a.weight[1:], b.weight)
        assert not torch.equal(a.weight[0], a.weight[1])
        assert (a.bias == 0).all()


def test_batch_norm_is_that_of_torch():
    ours, theirs = BatchNorm(2, 5, F64), torch.nn.BatchNorm1d(5, dtype=F64)
    x = normal(2, 40, 5) * 3 + 1
    out = ours(x, torch.full((2, 40), 1 / 40, dtype=F64))
    torch.testing.assert_close(out[1], theirs(x[1]))
    torch.testing.assert_close(out.mean(1), torch.zeros(2, 5, dtype=F64), atol=1e-12, rtol=0)


def test_batch_norm_weighs_its_rows():
    x = normal(1, 6, 3)
    weight = torch.tensor([[2.0, 1, 0, 1, 2, 0]], dtype=F64)
    repeated = x[:, [0, 0, 1, 3, 4, 4]]
    one, other = BatchNorm(1, 3, F64), BatchNorm(1, 3, F64)
    out = one(x, weight)
    expected = other(repeated, torch.ones(1, 6, dtype=F64))
    torch.testing.assert_close(out[:, [0, 0, 1, 3, 4, 4]], expected)
    torch.testing.assert_close(one.mean, other.mean)
    torch.testing.assert_close(one.variance, other.variance)


def test_running_statistics_are_plain_means_first():
    norm = BatchNorm(1, 2, F64)
    batches = [normal(1, 10, 2, seed=i) + i for i in range(4)]
    for batch in batches:
        norm(batch, torch.ones(1, 10, dtype=F64))
    torch.testing.assert_close(norm.mean, torch.stack([b.mean(1, keepdim=True) for b in batches]).mean(0))
    variance = norm.variance.clone()
    norm(batches[0], None)
    assert torch.equal(norm.variance, variance)


def test_embeddings_look_up_each_members_vectors_and_unknown_is_zero():
    embeddings = Embeddings(2, [3, 10], 4, F64)
    with torch.no_grad():
        embeddings.draw(generators(0, 1))
    out = embeddings(torch.tensor([[[0, 0], [3, 10]], [[0, 7], [3, 10]]]))
    assert out.shape == (2, 2, 8)
    assert (out[0, 0] == 0).all()
    assert (out[1, 0, :4] == 0).all()
    assert (out[1, 0, 4:] != 0).all()
    assert torch.equal(out[1, 1, 4:], embeddings.weight[1, -1])
    assert not torch.equal(out[0, 1], out[1, 1])


def learned(X, levels=None, sizes=(), scaling="robust", weight=None):
    levels = np.zeros((len(X), 0), np.int32) if levels is None else levels
    weight = np.ones((1, len(X))) if weight is None else weight
    return learn_statistics(X, levels, list(sizes), weight, scaling)


def run(inputs, X, levels=None):
    members = len(inputs.fill)
    codes = None if levels is None else torch.from_numpy(levels).expand(members, -1, -1)
    return inputs(torch.from_numpy(X).expand(members, -1, -1), codes)


def test_robust_inputs_are_centred_scaled_and_clipped():
    X = np.random.RandomState(0).randn(50, 2) * [1, 100] + [0, 7]
    X[0, 0] = 1e9
    out, codes = run(InputLayer(learned(X), [], [], 3.0, F64), X)
    low, median, high = np.quantile(X, [0.25, 0.5, 0.75], axis=0, method="averaged_inverted_cdf")
    z = (X - median) / (high - low)
    np.testing.assert_allclose(out[0].numpy(), z / np.sqrt(1 + (z / 3) ** 2))
    assert out.abs().max() <= 3 + 1e-12
    assert codes is None


def test_quantile_inputs_are_normal_scores():
    X = np.random.RandomState(0).exponential(size=(301, 1)) ** 3
    out, _ = run(InputLayer(learned(X, scaling="quantile"), [], [], 3.0, F64), X)
    ranks = X[:, 0].argsort().argsort() / 300
    central = (ranks > 0.1) & (ranks < 0.9)
    np.testing.assert_allclose(out[0, central, 0].numpy(), ndtri(ranks[central]), atol=0.15)
    far, _ = run(InputLayer(learned(X, scaling="quantile"), [], [], 3.0, F64), np.array([[-1e9], [1e9]]))
    np.testing.assert_allclose(far[0, :, 0].numpy(), [ndtri(1e-4), -ndtri(1e-4)])


def test_missing_numbers_are_filled_and_indicated():
    X = np.array([[1.0, 5], [np.nan, 6], [3, 7], [2, 8]])
    out, _ = run(InputLayer(learned(X, scaling=None), [], [], 3.0, F64), X)
    np.testing.assert_array_equal(out[0].numpy(), [[1, 5, 0], [2, 6, 1], [3, 7, 0], [2, 8, 0]])


def test_one_hot_levels_are_zeros_where_unknown():
    levels = np.array([[1, 2], [2, 1], [1, 3], [0, 0]], np.int32)
    weight = np.array([[1.0, 1, 1, 1], [1, 1, 0, 1]])
    statistics = learned(np.zeros((4, 0)), levels, [2, 3], None, weight)
    out, _ = run(InputLayer(statistics, [0, 1], [], 3.0, F64), np.zeros((4, 0)), levels)
    np.testing.assert_array_equal(out[0].numpy(), [[-1, 0, 1, 0], [1, 1, 0, 0], [-1, 0, 0, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(out[1].numpy(), [[-1, 0, 1, 0], [1, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 0]])


def test_features_are_the_columns_of_the_users_table():
    X = np.array([[1.0, 5], [np.nan, 6], [3, 7], [2, 9]])
    levels = np.array([[1, 1, 2], [2, 4, 1], [1, 3, 3], [0, 2, 0]], np.int32)
    inputs = InputLayer(learned(X, levels, [2, 12, 3]), [0, 2], [1], 3.0, F64)
    columns, codes = inputs.features()
    assert columns.tolist() == [
        0,
        1,
        0,
        2,
        3,
        3,
        3,
    ]  # two numbers, an indicator, two levels in one column, three levels
    assert codes.tolist() == [4]
    assert inputs.n_features == 5
    assert inputs.width == len(columns)


@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
def test_the_missing_row_is_what_a_row_without_values_becomes(scaling):
    X = np.array([[1.0, 5], [np.nan, 6], [3, 7], [2, 9]])
    levels = np.array([[1, 1, 2], [2, 4, 1], [1, 3, 3], [0, 2, 0]], np.int32)
    inputs = InputLayer(learned(X, levels, [2, 12, 3], scaling), [0, 2], [1], 3.0, F64)
    row, code = inputs.missing_row()
    expected, expected_code = run(inputs, np.full((1, 2), np.nan), np.zeros((1, 3), np.int32))
    assert torch.equal(row, expected)
    assert torch.equal(code, expected_code)
    assert row[0, 0, 2:].tolist() == [1, 0, 0, 0, 0]
    assert code.tolist() == [[[0]]]


def test_embedded_levels_are_zero_where_unknown():
    levels = np.array([[1], [2], [3]], np.int32)
    statistics = learned(np.zeros((3, 0)), levels, [3], None, np.array([[1.0, 1, 0]]))
    _, codes = run(InputLayer(statistics, [], [0], 3.0, F64), np.zeros((3, 0)), levels)
    np.testing.assert_array_equal(codes[0], [[1], [2], [0]])


def test_the_network_is_its_layers_in_order():
    network = make_network()
    x = normal(2, 9, 4)
    raw = network(x)
    for m in range(2):
        h = x[m].numpy()
        for layer in network.hidden:
            h = np.maximum(h @ layer.weight[m].detach().numpy() + layer.bias[m].detach().numpy(), 0)
        expected = h @ network.head.weight[m].detach().numpy() + network.head.bias[m].detach().numpy()
        np.testing.assert_allclose(raw[m].detach().numpy(), expected, atol=1e-12)


def test_no_hidden_layer_is_a_linear_model():
    network = make_network(hidden=())
    x = normal(2, 9, 4)
    torch.testing.assert_close(network(x), network.head(x))
    assert torch.equal(network(x, weight=torch.ones(2, 9)), network.head(x))


def test_vectors_of_embedded_categories_are_blended_as_asked():
    levels = np.array([[1], [2], [3]], np.int32)
    inputs = InputLayer(learned(np.zeros((3, 1)), levels, [3]), [], [0], 3.0, F64)
    network = Network(inputs, [3], 4, (), 2, activations.relu, None, False, (), 0.0, None, None)
    network.draw(initializers.he_normal, initializers.he_normal, [0])
    x, codes = normal(1, 3, 1), torch.from_numpy(levels).long().unsqueeze(0)
    vectors = network.embeddings(codes)
    raw = network(x, codes, torch.ones(1, 3), blend=lambda v: 0.3 * v + 0.7 * v.flip(1))
    mixed = torch.cat([x, 0.3 * vectors + 0.7 * vectors.flip(1)], -1)
    torch.testing.assert_close(raw, network.head(mixed))


def test_weights_are_all_but_biases_and_norms():
    network = make_network(norm=BatchNorm)
    assert [w.shape for w in network.weights()] == [(2, 4, 6), (2, 6, 5), (2, 5, 3)]


class Recorder:
    """Keeps what was asked to be dropped."""

    def __init__(self):
        self.asked = []

    def drop(self, x, rate, floor=0.0, in_place=False):
        self.asked.append((x.shape[-1], rate))
        return x


@pytest.mark.parametrize(
    ("input_dropout", "dropout", "asked"),
    [
        (0.0, (0.0, 0.0), []),
        (0.2, (0.0, 0.0), [(4, 0.2)]),
        (0.0, (0.1, 0.5), [(6, 0.1), (5, 0.5)]),
        (0.3, (0.0, 0.5), [(4, 0.3), (5, 0.5)]),
    ],
)
def test_dropout_acts_where_it_says(input_dropout, dropout, asked):
    network, recorder = make_network(input_dropout=input_dropout, dropout=dropout), Recorder()
    network(normal(2, 9, 4), noise=recorder)
    assert recorder.asked == asked
    assert network.n_masks == len(asked)


def test_input_dropout_zeroes_inputs_and_layer_dropout_units():
    network = make_network(width=50, hidden=(), input_dropout=0.4, n_raw=1)
    with torch.no_grad():
        network.head.weight.fill_(1.0)
    noise = Dropout(MemberGenerators([1, 2]), torch.ones(2, 1, dtype=torch.bool), 200 * 50, F64, CPU)
    noise.begin_epoch(1)
    kept = network(torch.ones(2, 200, 50, dtype=F64), noise=noise) * 0.6
    assert kept.mean().item() == pytest.approx(30, abs=0.5)
    torch.testing.assert_close(kept, kept.round())


def test_effective_layers_are_in_the_units_of_the_target():
    inputs, center, scale = plain_inputs(2, 1), np.array([[3.0]]), np.array([[2.0]])
    network = Network(inputs, [], 8, (), 1, activations.relu, None, False, (), 0.0, center, scale)
    network.draw(initializers.he_normal, initializers.he_normal, [0])
    ((weight, bias),) = network.effective_layers()
    np.testing.assert_allclose(weight, 2 * network.head.weight[0].detach().numpy())
    np.testing.assert_allclose(bias, [3.0])
    _, _, target = network.prepare(torch.zeros(1, 1, 2, dtype=F64), None, torch.full((1, 1, 1), 7.0, dtype=F64))
    assert target.item() == 2


def test_known_statistics_are_a_copy():
    network = make_network()
    inputs, (center, scale) = network.known_statistics(torch.float32)
    assert inputs.dtype == torch.float32
    assert network.inputs.dtype == F64
    inputs.center += 1
    assert (network.inputs.center == 0).all()
    np.testing.assert_array_equal(center, np.zeros((2, 3)))
    np.testing.assert_array_equal(scale, np.ones((2, 3)))


def test_layer_norm_is_that_of_torch_and_knows_no_batch():
    ours, theirs = LayerNorm(2, 5, F64), torch.nn.LayerNorm(5, dtype=F64)
    x = normal(2, 40, 5) * 3 + 1
    torch.testing.assert_close(ours(x, torch.ones(2, 40))[1], theirs(x[1]))
    torch.testing.assert_close(ours(x, torch.ones(2, 40))[:, :7], ours(x[:, :7], None))


def test_a_residual_layer_adds_its_input_where_the_width_stays():
    network = make_network(width=6, hidden=(6, 5, 5), residual=True)
    assert network.adds == [True, False, True]
    with torch.no_grad():
        for linear in network.hidden:
            linear.weight.zero_()
            linear.bias.zero_()
        network.hidden[1].bias.fill_(1.0)
    x = normal(2, 9, 6)
    torch.testing.assert_close(network(x), network.head(torch.full((2, 9, 5), 0.5**0.5, dtype=F64)))


def spread_after_ten_layers(rate, seed=0):
    """Mean and variance of the activations ten self-normalising layers deep, in training."""
    network = make_network(
        width=64, hidden=(128,) * 10, members=1, dropout=rate, n_raw=128, activation=activations.selu
    )
    network.draw(initializers.lecun_normal, initializers.lecun_normal, [seed])
    with torch.no_grad():
        network.head.weight.copy_(torch.eye(128, dtype=F64))
    noise = Dropout(MemberGenerators([seed]), torch.ones(1, 10, dtype=torch.bool), 512 * 128, F64, CPU)
    noise.begin_epoch(1)
    out = network(normal(1, 512, 64), weight=torch.ones(1, 512), noise=noise if rate else None)
    return out.mean().item(), out.var().item()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3])
def test_a_self_normalising_network_keeps_mean_and_variance_ten_layers_deep(rate, seed):
    mean, variance = spread_after_ten_layers(rate, seed)
    assert abs(mean) < 0.15
    assert 0.7 < variance < 1.4


@pytest.mark.parametrize("norm", [None, BatchNorm, LayerNorm])
@pytest.mark.parametrize("scaling", ["robust", "quantile"])
def test_members_are_taken_with_all_that_is_theirs(norm, scaling):
    numbers = normal(40, 3).numpy()
    numbers[::7, 1] = np.nan
    levels = np.random.RandomState(0).randint(0, 4, (40, 2)).astype(np.int32)
    weight = np.random.RandomState(1).rand(3, 40)
    statistics = learn_statistics(numbers, levels, [3, 3], weight, scaling, 5)
    network = Network(
        *(InputLayer(statistics, [0], [1], 3.0, F64), [3], 8, (6,), 1, activations.relu, norm, False, (0.0,), 0.0),
        *(np.random.RandomState(2).rand(3, 1), np.ones((3, 1))),
        numeric_embedding=embeddings.piecewise_linear,
    )
    network.draw(initializers.he_normal, initializers.he_normal, [0, 1, 2])

    def raw(network):
        members = network.n_members
        shown = torch.from_numpy(numbers).expand(members, -1, -1), torch.from_numpy(levels).expand(members, -1, -1)
        return network(*network.inputs(*shown))

    taken = network.of_members([2, 0, 2])
    torch.testing.assert_close(raw(taken), raw(network)[[2, 0, 2]], rtol=0, atol=1e-12)
    assert torch.equal(taken.target_center, network.target_center[[2, 0, 2]])
    assert raw(network.of_members([1])).shape == (1, 40, 1)
    assert network.n_members == 3


@pytest.mark.parametrize("rows", [3, 32])
@pytest.mark.parametrize("residual", [False, True])
def test_factors_on_the_inputs_mean_the_same_in_training_and_prediction(residual, rows):
    """In training of many rows they are multiplied into the weights, unless the inputs go past those as well."""
    inputs = plain_inputs(6, 2)
    network = Network(
        inputs, [], 8, (6, 5), 3, activations.silu, None, residual, (0.0, 0.0), 0.0, None, None, scaled=True
    )
    network.draw(initializers.he_normal, initializers.he_normal, [0, 1])
    with torch.no_grad():
        network.scale.weight.copy_(1 + normal(2, 1, 6))
    assert network._scales_weights(rows) == (rows == 32 and not residual)
    x = normal(2, rows, 6)
    torch.testing.assert_close(network(x, weight=torch.ones(2, rows, dtype=F64)), network(x))
